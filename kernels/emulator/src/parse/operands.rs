//! The operands of an instruction, checked against the sizes that it wants.

use std::collections::HashMap;

use super::Param;
use crate::isa::{Address, Operand, Register, Special, Type};

/// The names that are known at a place.
pub(super) struct Scope<'a> {
    /// Registers with their sizes in bytes, for each pair of braces.
    registers: Vec<HashMap<String, (Register, usize)>>,
    /// Variables in shared and local memory, with their addresses there.
    pub symbols: HashMap<String, u64>,
    /// Names of the shared memory that a launch adds, and where it begins.
    pub dynamic: Vec<String>,
    pub dynamic_at: u64,
    params: HashMap<String, usize>,
    variables: &'a HashMap<String, u16>,
}

impl<'a> Scope<'a> {
    pub fn new(params: &[Param], variables: &'a HashMap<String, u16>) -> Self {
        Self {
            registers: Vec::new(),
            symbols: HashMap::new(),
            dynamic: Vec::new(),
            dynamic_at: 0,
            params: params.iter().map(|param| (param.name.clone(), param.offset)).collect(),
            variables,
        }
    }

    pub fn enter(&mut self) {
        self.registers.push(HashMap::new());
    }

    pub fn leave(&mut self) {
        self.registers.pop();
    }

    pub fn declare(&mut self, name: String, register: Register, size: usize) {
        if let Some(innermost) = self.registers.last_mut() {
            innermost.insert(name, (register, size));
        }
    }

    pub fn register(&self, name: &str) -> Result<(Register, usize), String> {
        let found = self.registers.iter().rev().find_map(|names| names.get(name));
        found.copied().ok_or_else(|| format!("nothing is called {name}"))
    }

    /// A name whose value is an address.
    fn symbol(&self, name: &str) -> Option<Operand> {
        if self.dynamic.iter().any(|dynamic| dynamic == name) {
            return Some(Operand::Constant(self.dynamic_at));
        }
        let local = self.symbols.get(name).map(|&at| Operand::Constant(at));
        local.or_else(|| self.variables.get(name).map(|&number| Operand::Variable(number, 0)))
    }
}

/// The operands, taken one after another.
pub(super) struct Operands<'a> {
    list: std::vec::IntoIter<&'a str>,
    scope: &'a Scope<'a>,
}

impl<'a> Operands<'a> {
    /// Cuts at the commas outside of brackets.
    pub fn new(text: &'a str, scope: &'a Scope<'a>) -> Result<Self, String> {
        let mut list = Vec::new();
        let (mut depth, mut start) = (0, 0);
        for (at, c) in text.char_indices() {
            match c {
                '{' | '[' => depth += 1,
                '}' | ']' => depth -= 1,
                ',' if depth == 0 => {
                    list.push(text[start..at].trim());
                    start = at + 1;
                }
                _ => {}
            }
        }
        if depth != 0 {
            return Err("a bracket is open".into());
        }
        if !text[start..].trim().is_empty() {
            list.push(text[start..].trim());
        }
        Ok(Self { list: list.into_iter(), scope })
    }

    /// Two operands as they are written, with the names of `others`.
    pub fn one_after_another(d: &'a str, a: &'a str, others: &Self) -> Self {
        Self { list: vec![d, a].into_iter(), scope: others.scope }
    }

    /// How many are left.
    pub fn left(&self) -> usize {
        self.list.len()
    }

    /// Fails if any is left.
    pub fn end(mut self) -> Result<(), String> {
        self.list.next().map_or(Ok(()), |extra| Err(format!("{extra} is one operand too many")))
    }

    /// The next as it is written.
    pub fn name(&mut self) -> Result<&'a str, String> {
        self.list.next().ok_or_else(|| "an operand is missing".into())
    }

    /// A register for a result of this type.
    pub fn d(&mut self, ty: Type) -> Result<Register, String> {
        let name = self.name()?;
        self.register(name, ty, false)
    }

    /// A register for a result, which may be wider than the type.
    pub fn wide_d(&mut self, ty: Type) -> Result<Register, String> {
        let name = self.name()?;
        self.register(name, ty, true)
    }

    /// A value of this type.
    pub fn a(&mut self, ty: Type) -> Result<Operand, String> {
        let name = self.name()?;
        self.value(name, ty, false)
    }

    /// A value, which may come from a register that is wider than the type.
    pub fn wide_a(&mut self, ty: Type) -> Result<Operand, String> {
        let name = self.name()?;
        self.value(name, ty, true)
    }

    /// A value of this type if there is one more.
    pub fn optional_a(&mut self, ty: Type) -> Result<Option<Operand>, String> {
        if self.left() == 0 { Ok(None) } else { self.a(ty).map(Some) }
    }

    /// `a|p`: a result and a predicate; or the result alone.
    pub fn d_and_predicate(&mut self, ty: Type) -> Result<(Register, Register), String> {
        let name = self.name()?;
        let (d, predicate) = name.split_once('|').unwrap_or((name, "_"));
        Ok((self.register(d, ty, false)?, self.register(predicate, Type::Pred, false)?))
    }

    /// `{a, b}`, or a single one.
    pub fn ds(&mut self, ty: Type, wider: bool) -> Result<Vec<Register>, String> {
        let text = self.name()?;
        elements(text).map(|name| self.register(name, ty, wider)).collect()
    }

    /// `{a, b}`, or a single one.
    pub fn values(&mut self, ty: Type, wider: bool) -> Result<Vec<Operand>, String> {
        let text = self.name()?;
        elements(text).map(|name| self.value(name, ty, wider)).collect()
    }

    /// `{a, b, ..}` of a fixed number.
    pub fn exactly<const N: usize, T>(list: Vec<T>) -> Result<[T; N], String> {
        let found = list.len();
        list.try_into().map_err(|_| format!("{N} registers stand in these braces, not {found}"))
    }

    /// `[base+offset]`.
    pub fn address(&mut self) -> Result<Address, String> {
        let (base, offset) = self.inside()?;
        let base = match self.scope.symbol(base) {
            Some(symbol) => symbol,
            None => match self.scope.register(base) {
                Ok((Register::Predicate(_), _)) => return Err(format!("{base} is no address")),
                Ok((register, size)) if size >= 4 => Operand::Register(register),
                Ok(_) => return Err(format!("{base} is too small for an address")),
                Err(unknown) => Operand::Constant(constant(base).ok_or(unknown)?),
            },
        };
        Ok(Address { base, offset })
    }

    /// `[parameter+offset]`: where it lies.
    pub fn param(&mut self) -> Result<usize, String> {
        let (name, offset) = self.inside()?;
        let at = *self.scope.params.get(name).ok_or_else(|| format!("there is no parameter {name}"))?;
        usize::try_from(at as i64 + offset).map_err(|_| "this is in front of the parameters".into())
    }

    fn inside(&mut self) -> Result<(&'a str, i64), String> {
        let text = self.name()?;
        let inner = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
        let inner = inner.ok_or_else(|| format!("{text} is no address in brackets"))?.trim();
        let Some((base, offset)) = inner.split_once('+') else { return Ok((inner, 0)) };
        let offset = constant(offset.trim()).ok_or_else(|| format!("{offset} is no offset"))?;
        Ok((base.trim(), offset as i64))
    }

    fn register(&self, name: &str, ty: Type, wider: bool) -> Result<Register, String> {
        if name == "_" {
            return Ok(Register::Sink);
        }
        let (register, size) = self.scope.register(name)?;
        check(name, register, size, ty, wider)?;
        Ok(register)
    }

    fn value(&self, name: &str, ty: Type, wider: bool) -> Result<Operand, String> {
        if let Some(name) = name.strip_prefix('!') {
            return match self.scope.register(name)? {
                (Register::Predicate(number), _) if ty == Type::Pred => Ok(Operand::Not(number)),
                _ => Err(format!("only a predicate can be turned around, not {name}")),
            };
        }
        if let Ok((register, size)) = self.scope.register(name) {
            check(name, register, size, ty, wider)?;
            return Ok(Operand::Register(register));
        }
        if let Some(special) = special(name) {
            return match ty.size() {
                4 => Ok(Operand::Special(special)),
                _ => Err(format!("{name} has 32 bits")),
            };
        }
        if let Some(symbol) = self.scope.symbol(name) {
            return Ok(symbol);
        }
        let is_double = name.starts_with("0d") || name.starts_with("0D");
        let is_float = name.starts_with("0f") || name.starts_with("0F") || is_double;
        match constant(name) {
            Some(_) if is_float && is_double != (ty.size() == 8) => Err(format!("{name} is of another size")),
            Some(_) if ty.is_float() && !is_float => Err(format!("{name} is no float")),
            Some(bits) => Ok(Operand::Constant(bits)),
            None => Err(format!("nothing is called {name}")),
        }
    }
}

/// Fails if a register's size is not the one wanted.
fn check(name: &str, register: Register, size: usize, ty: Type, wider: bool) -> Result<(), String> {
    let is_predicate = matches!(register, Register::Predicate(_));
    let fits = match ty {
        Type::Pred => is_predicate,
        // There are no registers of one byte; two hold it.
        _ => !is_predicate && (size == ty.size().max(2) || wider && size >= ty.size()),
    };
    if fits { Ok(()) } else { Err(format!("{name} does not have the size of {ty:?}")) }
}

fn elements(text: &str) -> impl Iterator<Item = &str> {
    let inner = text.strip_prefix('{').and_then(|text| text.strip_suffix('}')).unwrap_or(text);
    inner.split(',').map(str::trim)
}

/// The bits of `-5`, `0x1F`, `7U`, `0f3F800000` or `0d3FF0000000000000`.
pub(super) fn constant(text: &str) -> Option<u64> {
    let hex = |digits| u64::from_str_radix(digits, 16).ok();
    match text.as_bytes() {
        [b'0', b'f' | b'F', ..] if text.len() == 10 => hex(&text[2..]),
        [b'0', b'd' | b'D', ..] if text.len() == 18 => hex(&text[2..]),
        [b'0', b'x' | b'X', ..] => hex(text[2..].trim_end_matches('U')),
        [b'-', ..] => text[1..].parse::<u64>().ok().map(u64::wrapping_neg),
        _ => text.trim_end_matches('U').parse().ok(),
    }
}

fn special(name: &str) -> Option<Special> {
    if name == "%laneid" {
        return Some(Special::Lane);
    }
    let (name, axis) = name.rsplit_once('.')?;
    let axis = ["x", "y", "z"].iter().position(|&known| known == axis)? as u8;
    Some(match name {
        "%tid" => Special::Thread(axis),
        "%ntid" => Special::BlockSize(axis),
        "%ctaid" => Special::Block(axis),
        "%nctaid" => Special::GridSize(axis),
        _ => return None,
    })
}
