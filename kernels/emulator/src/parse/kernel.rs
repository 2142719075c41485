//! A kernel: its head, its declarations, its instructions.

use std::collections::HashMap;

use super::operands::{Operands, Scope};
use super::rows::{Filled, fill};
use super::statements::{Statement, Statements};
use super::{Declared, Kernel, Names, Param, ParseError, arithmetic, memory, warp};
use crate::isa::{Instruction, Op, Register, Type};

/// The most registers of a kind; a GPU has 255 for each thread, and PTX counts each value once.
const MOST_REGISTERS: usize = 1 << 16;

/// Reads a kernel whose head is `head`.
pub(super) fn read(head: &Statement, rest: &mut Statements, names: &Names) -> Result<Kernel, ParseError> {
    let (name, params, max_threads) = read_head(&head.text).map_err(|reason| head.wrong(reason))?;
    let mut reader = Reader::new(&params, names);
    let mut depth = 0;
    loop {
        let statement = rest.next()?.ok_or_else(|| head.wrong("the file ends within the kernel"))?;
        match statement.text.as_str() {
            "{" => {
                depth += 1;
                reader.scope.enter();
            }
            "}" => {
                depth -= 1;
                reader.scope.leave();
                if depth == 0 {
                    break;
                }
            }
            _ => reader.statement(&statement).map_err(|reason| statement.wrong(reason))?,
        }
    }
    reader.finish(name, params, max_threads)
}

/// The name, the parameters and the size of a block.
#[allow(clippy::type_complexity)]
fn read_head(text: &str) -> Result<(String, Vec<Param>, Option<[u32; 3]>), String> {
    let (_, text) = text.split_once(".entry").ok_or("a kernel begins with .entry")?;
    let (name, rest) = text.split_once('(').unwrap_or_else(|| text.trim().split_once(' ').unwrap_or((text, "")));
    let (list, tail) = rest.split_once(')').unwrap_or(("", rest));
    let mut params = Vec::new();
    let mut offset: usize = 0;
    for text in list.split(',').map(str::trim).filter(|text| !text.is_empty()) {
        if !text.starts_with(".param") {
            return Err(format!("{text} is no parameter"));
        }
        let Declared { name, ty, align, bytes } = Declared::read(text)?;
        offset = offset.next_multiple_of(align);
        params.push(Param { name, ty, size: bytes, offset });
        offset += bytes;
    }
    if offset > 4096 {
        return Err(format!("the parameters take {offset} bytes, and 4096 are the most"));
    }
    Ok((name.trim().to_owned(), params, read_tail(tail)?))
}

/// What stands between the parameters and the body: limits for the compiler.
fn read_tail(text: &str) -> Result<Option<[u32; 3]>, String> {
    let text = text.replace(',', " ");
    let mut words = text.split_whitespace().peekable();
    let mut max_threads = None;
    while let Some(word) = words.next() {
        let mut numbers = Vec::new();
        while let Some(number) = words.peek().and_then(|word| word.parse().ok()) {
            words.next();
            numbers.push(number);
        }
        match (word, numbers.as_slice()) {
            (".maxntid" | ".reqntid", [x, rest @ ..]) if rest.len() <= 2 => {
                max_threads = Some([*x, *rest.first().unwrap_or(&1), *rest.get(1).unwrap_or(&1)]);
            }
            (".minnctapersm" | ".maxnreg", [_]) => {}
            _ => return Err(format!("the emulator does not know {word} here")),
        }
    }
    Ok(max_threads)
}

struct Reader<'a> {
    scope: Scope<'a>,
    code: Vec<Instruction>,
    labels: HashMap<String, u32>,
    /// Branches, with the labels that they go to.
    branches: Vec<(usize, String, Statement)>,
    source: Option<(u32, u32)>,
    shared_bytes: usize,
    local_bytes: usize,
    registers: [usize; 3],
}

impl<'a> Reader<'a> {
    fn new(params: &[Param], names: &'a Names) -> Self {
        let mut reader = Self {
            scope: Scope::new(params, &names.variables),
            code: Vec::new(),
            labels: HashMap::new(),
            branches: Vec::new(),
            source: None,
            shared_bytes: 0,
            local_bytes: 0,
            registers: [0; 3],
        };
        for declared in &names.shared {
            let at = place(&mut reader.shared_bytes, declared);
            reader.scope.symbols.insert(declared.name.clone(), at);
        }
        reader.scope.dynamic.extend(names.dynamic.iter().cloned());
        reader
    }

    fn statement(&mut self, statement: &Statement) -> Result<(), String> {
        let text = statement.text.as_str();
        if let Some(label) = text.strip_suffix(':') {
            return match self.labels.insert(label.to_owned(), self.code.len() as u32) {
                None => Ok(()),
                Some(_) => Err("the label stands twice".into()),
            };
        }
        let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        match word {
            ".reg" => self.declare_registers(rest),
            ".shared" | ".local" => self.declare_memory(word, text),
            ".loc" => self.locate(rest),
            // A hint for the compiler's loop unroller.
            ".pragma" if rest == "\"nounroll\"" => Ok(()),
            _ if word.starts_with('.') => Err("the emulator does not know this directive".into()),
            _ => self.instruction(statement),
        }
    }

    /// `.b32 %r<20>, %x`.
    fn declare_registers(&mut self, text: &str) -> Result<(), String> {
        let (ty, list) = text.trim().split_once(char::is_whitespace).ok_or("a register has a type and a name")?;
        let ty = ty.strip_prefix('.').and_then(Type::named).ok_or("a register has a type")?;
        for declared in list.split(',').map(str::trim) {
            match declared.split_once('<') {
                None => self.declare_register(declared.to_owned(), ty)?,
                Some((prefix, count)) => {
                    let count: usize = count.trim_end_matches('>').parse().map_err(|_| "a count is a number")?;
                    if count > MOST_REGISTERS {
                        return Err(format!("{count} registers are more than {MOST_REGISTERS}"));
                    }
                    (0..count).try_for_each(|i| self.declare_register(format!("{prefix}{i}"), ty))?;
                }
            }
        }
        Ok(())
    }

    fn declare_register(&mut self, name: String, ty: Type) -> Result<(), String> {
        let kind = match (ty, ty.size()) {
            (Type::Pred, _) => 2,
            (_, 8) => 1,
            _ => 0,
        };
        let number = u16::try_from(self.registers[kind]).map_err(|_| "the kernel has more than 65536 registers")?;
        self.registers[kind] += 1;
        let register = [Register::Narrow(number), Register::Wide(number), Register::Predicate(number)][kind];
        self.scope.declare(name, register, ty.size());
        Ok(())
    }

    fn declare_memory(&mut self, word: &str, text: &str) -> Result<(), String> {
        let declared = Declared::read(text)?;
        let total = if word == ".shared" { &mut self.shared_bytes } else { &mut self.local_bytes };
        let at = place(total, &declared);
        self.scope.symbols.insert(declared.name, at);
        Ok(())
    }

    /// `1 37 96, function_name .., inlined_at ..`: the line of what was inlined, where it was.
    fn locate(&mut self, text: &str) -> Result<(), String> {
        let mut numbers = text.split([' ', ',']).map_while(|word| word.parse::<u32>().ok());
        let (Some(file), Some(line)) = (numbers.next(), numbers.next()) else {
            return Err("a place is a file and a line".into());
        };
        // Line 0 is what the compiler made up itself.
        self.source = (line > 0).then_some((file, line));
        Ok(())
    }

    fn instruction(&mut self, statement: &Statement) -> Result<(), String> {
        let mut text = statement.text.as_str();
        let mut guard = None;
        if let Some(guarded) = text.strip_prefix('@') {
            let (name, rest) = guarded.split_once(char::is_whitespace).ok_or("a predicate guards nothing")?;
            let negated = name.starts_with('!');
            match self.scope.register(name.trim_start_matches('!'))? {
                (Register::Predicate(number), _) => guard = Some((number, negated)),
                _ => return Err(format!("{name} is no predicate")),
            }
            text = rest.trim_start();
        }
        let (opcode, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        let words: Vec<&str> = opcode.split('.').flat_map(|word| word.split("::")).collect();
        self.scope.dynamic_at = self.shared_bytes.next_multiple_of(16) as u64;
        let mut operands = Operands::new(rest, &self.scope)?;
        let op = match words.as_slice() {
            ["bra"] | ["bra", "uni"] => {
                self.branches.push((self.code.len(), operands.name()?.to_owned(), statement.clone()));
                Op::Branch { target: u32::MAX }
            }
            words => arithmetic::decode(words, &mut operands)
                .or_else(|| memory::decode(words, &mut operands))
                .or_else(|| warp::decode(words, &mut operands))
                .unwrap_or_else(|| Err(format!("the emulator does not know the instruction {opcode}")))?,
        };
        operands.end()?;
        self.code.push(Instruction { op, guard, line: statement.line, source: self.source });
        Ok(())
    }

    fn finish(mut self, name: String, params: Vec<Param>, max_threads: Option<[u32; 3]>) -> Result<Kernel, ParseError> {
        for (at, label, statement) in self.branches {
            let to = self.labels.get(&label).ok_or_else(|| statement.wrong(format!("there is no label {label}")))?;
            self.code[at].op = Op::Branch { target: *to };
        }
        let mut filled = Filled::default();
        for instruction in &mut self.code {
            let filled = fill(&mut instruction.op, self.registers, &mut filled);
            filled.map_err(|reason| ParseError { line: instruction.line, reason, text: name.clone() })?;
        }
        // A kernel may end without saying so.
        let line = self.code.last().map_or(0, |last| last.line);
        self.code.push(Instruction { op: Op::Exit, guard: None, line, source: self.source });
        Ok(Kernel {
            name,
            params,
            max_threads,
            shared_bytes: self.shared_bytes,
            dynamic_shared: self.shared_bytes.next_multiple_of(16),
            local_bytes: self.local_bytes,
            code: self.code,
            registers: self.registers,
            filled,
        })
    }
}

/// Puts a variable behind `total` bytes, which grow.
fn place(total: &mut usize, declared: &Declared) -> u64 {
    let at = total.next_multiple_of(declared.align);
    *total = at + declared.bytes;
    at as u64
}
