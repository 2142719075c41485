//! Python's pickles, as far as PyTorch writes tensors with them, and no farther.
//!
//! A pickle is a program for a small machine with a stack, and in Python it may call any function. This machine knows the few
//! instructions and the handful of names that dictionaries of tensors need; whatever else a pickle asks for is refused by name.
//! Things lie in one list and refer to each other by their places in it, so that no nesting is too deep, no circle a leak, and
//! memory stays within a small multiple of the pickle.
//!
//! The instructions are those of CPython's `pickletools`, protocols 2 to 5.

use std::collections::HashMap;

use crate::data::array::Number;

/// The place of a thing among all.
pub(crate) type Id = usize;

/// No tensor has more dimensions.
const MOST_DIMENSIONS: usize = 32;

/// What a pickle can make.
#[derive(Clone, Debug)]
pub(crate) enum Thing {
    None,
    Bool,
    Int(i64),
    Float,
    Text(String),
    Bytes,
    Tuple(Vec<Id>),
    List(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    /// A name that tensors need: `torch._utils._rebuild_tensor_v2`.
    Global(Global),
    /// Numbers that lie in another member of the archive.
    Storage(Storage),
    /// A view of a storage.
    Tensor(View),
}

/// What tensors need by name.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Global {
    OrderedDict,
    RebuildTensor,
    RebuildParameter,
    Size,
    StorageType(Number),
}

/// Numbers in a row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Storage {
    pub(crate) number: Number,
    /// The name of the member below `data/`.
    pub(crate) key: Id,
    pub(crate) count: usize,
}

/// A tensor as PyTorch describes it.
#[derive(Clone, Debug)]
pub(crate) struct View {
    pub(crate) storage: Storage,
    pub(crate) offset: usize,
    pub(crate) shape: Vec<usize>,
    pub(crate) strides: Vec<usize>,
}

/// What a pickle made.
#[derive(Debug)]
pub(crate) struct Things {
    all: Vec<Thing>,
    root: Id,
}

impl Things {
    /// The thing that the pickle stands for.
    pub(crate) fn root(&self) -> &Thing {
        &self.all[self.root]
    }

    /// The thing at a place.
    pub(crate) fn get(&self, id: Id) -> &Thing {
        &self.all[id]
    }

    /// The text at a place, if it is one.
    pub(crate) fn text(&self, id: Id) -> Option<&str> {
        match &self.all[id] {
            Thing::Text(text) => Some(text),
            _ => None,
        }
    }
}

/// Runs a pickle. The error says what it asked for.
pub(crate) fn run(bytes: &[u8]) -> Result<Things, String> {
    let mut machine =
        Machine { rest: bytes, all: Vec::new(), stack: Vec::new(), marks: Vec::new(), memo: HashMap::new() };
    loop {
        if let Some(root) = machine.step()? {
            return Ok(Things { all: machine.all, root });
        }
    }
}

struct Machine<'a> {
    rest: &'a [u8],
    all: Vec<Thing>,
    stack: Vec<Id>,
    /// How high the stack was at each mark.
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
}

type Done<T = ()> = Result<T, String>;

impl Machine<'_> {
    /// Does one instruction; gives the result after the last.
    fn step(&mut self) -> Done<Option<Id>> {
        let [code] = self.take()?;
        match code {
            0x80 => _ = self.take::<1>()?,
            0x95 => _ = self.take::<8>()?,
            b'.' => return self.pop().map(Some),
            b'(' => self.marks.push(self.stack.len()),
            b'0' => _ = self.pop()?,
            b'1' => _ = self.since_mark()?,
            b'2' => {
                let top = self.pop()?;
                self.stack.extend([top, top]);
            }
            b'N' => self.push(Thing::None),
            0x88 | 0x89 => self.push(Thing::Bool),
            b'J' => {
                let number = i32::from_le_bytes(self.take()?);
                self.push(Thing::Int(number.into()));
            }
            b'K' | b'M' | 0x8a => self.integer(code)?,
            b'G' => {
                self.take::<8>()?;
                self.push(Thing::Float);
            }
            b'X' | 0x8c | 0x8d | b'T' | b'U' => self.string(code)?,
            b'B' | b'C' | 0x8e => {
                let length = self.length(code)?;
                self.bytes(length)?;
                self.push(Thing::Bytes);
            }
            b')' => self.push(Thing::Tuple(Vec::new())),
            0x85..=0x87 => {
                let items = self.top(usize::from(code - 0x84))?;
                self.push(Thing::Tuple(items));
            }
            b't' | b'l' | b'd' => self.collect(code)?,
            b']' => self.push(Thing::List(Vec::new())),
            b'}' => self.push(Thing::Dict(Vec::new())),
            b'a' | b'e' => self.append(code)?,
            b's' | b'u' => self.set_items(code)?,
            b'c' | 0x93 => self.global(code)?,
            b'R' => self.call()?,
            // The attributes of a dictionary say nothing about its tensors.
            b'b' => _ = self.pop()?,
            b'Q' => self.storage()?,
            b'q' | b'r' | 0x94 | b'h' | b'j' => self.remember(code)?,
            _ => return Err(format!("it holds the instruction {code:#04x}, which no dictionary of tensors needs")),
        }
        Ok(None)
    }

    fn push(&mut self, thing: Thing) {
        self.stack.push(self.all.len());
        self.all.push(thing);
    }

    fn pop(&mut self) -> Done<Id> {
        let floor = self.marks.last().copied().unwrap_or(0);
        match self.stack.len() > floor {
            true => self.stack.pop().ok_or_else(broken),
            false => Err(broken()),
        }
    }

    /// The last `count` things on the stack, which they leave.
    fn top(&mut self, count: usize) -> Done<Vec<Id>> {
        let floor = self.marks.last().copied().unwrap_or(0);
        let start = self.stack.len().checked_sub(count).filter(|&start| start >= floor).ok_or_else(broken)?;
        Ok(self.stack.split_off(start))
    }

    fn since_mark(&mut self) -> Done<Vec<Id>> {
        let start = self.marks.pop().ok_or_else(broken)?;
        Ok(self.stack.split_off(start))
    }

    fn take<const N: usize>(&mut self) -> Done<[u8; N]> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or_else(ended)?;
        self.rest = rest;
        Ok(*taken)
    }

    fn bytes(&mut self, length: usize) -> Done<&[u8]> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or_else(ended)?;
        self.rest = rest;
        Ok(taken)
    }

    /// The length that stands before a text or bytes.
    fn length(&mut self, code: u8) -> Done<usize> {
        match code {
            b'U' | b'C' | 0x8c => Ok(usize::from(self.take::<1>()?[0])),
            0x8d | 0x8e => usize::try_from(u64::from_le_bytes(self.take()?)).map_err(|_| ended()),
            _ => usize::try_from(u32::from_le_bytes(self.take()?)).map_err(|_| ended()),
        }
    }

    fn string(&mut self, code: u8) -> Done {
        let length = self.length(code)?;
        let text = String::from_utf8_lossy(self.bytes(length)?).into_owned();
        self.push(Thing::Text(text));
        Ok(())
    }

    fn integer(&mut self, code: u8) -> Done {
        let length = match code {
            b'K' => 1,
            b'M' => 2,
            _ => usize::from(self.take::<1>()?[0]),
        };
        let bytes = self.bytes(length)?;
        // Those of one and two bytes have no sign.
        let sign = if code == 0x8a && bytes.last().is_some_and(|last| last & 0x80 != 0) { 0xff } else { 0 };
        let mut wide = [sign; 8];
        wide.get_mut(..length).ok_or("it holds a number of more than 8 bytes")?.copy_from_slice(bytes);
        self.push(Thing::Int(i64::from_le_bytes(wide)));
        Ok(())
    }

    fn collect(&mut self, code: u8) -> Done {
        let items = self.since_mark()?;
        self.push(match code {
            b't' => Thing::Tuple(items),
            b'l' => Thing::List(items),
            _ => Thing::Dict(pairs(&items)?),
        });
        Ok(())
    }

    fn append(&mut self, code: u8) -> Done {
        let items = if code == b'a' { self.top(1)? } else { self.since_mark()? };
        let list = *self.stack.last().ok_or_else(broken)?;
        match &mut self.all[list] {
            Thing::List(list) => list.extend(items),
            _ => return Err(broken()),
        }
        Ok(())
    }

    fn set_items(&mut self, code: u8) -> Done {
        let items = if code == b's' { self.top(2)? } else { self.since_mark()? };
        let dict = *self.stack.last().ok_or_else(broken)?;
        match &mut self.all[dict] {
            Thing::Dict(dict) => dict.extend(pairs(&items)?),
            _ => return Err(broken()),
        }
        Ok(())
    }

    fn remember(&mut self, code: u8) -> Done {
        let place = match code {
            b'q' | b'h' => u32::from(self.take::<1>()?[0]),
            0x94 => u32::try_from(self.memo.len()).map_err(|_| broken())?,
            _ => u32::from_le_bytes(self.take()?),
        };
        match code {
            b'h' | b'j' => self.stack.push(*self.memo.get(&place).ok_or_else(broken)?),
            _ => _ = self.memo.insert(place, *self.stack.last().ok_or_else(broken)?),
        }
        Ok(())
    }

    fn global(&mut self, code: u8) -> Done {
        let name = if code == b'c' {
            format!("{}.{}", self.line()?, self.line()?)
        } else {
            let parts = self.top(2)?;
            match (&self.all[parts[0]], &self.all[parts[1]]) {
                (Thing::Text(module), Thing::Text(name)) => format!("{module}.{name}"),
                _ => return Err(broken()),
            }
        };
        let known = known(&name).ok_or_else(|| {
            format!(
                "it asks for {name}, and only tensors are read from pickles: nothing of it was run. In PyTorch, save the numbers \
                 alone: torch.save(model.state_dict(), ...)"
            )
        })?;
        self.push(Thing::Global(known));
        Ok(())
    }

    fn line(&mut self) -> Done<String> {
        let end = self.rest.iter().position(|&byte| byte == b'\n').ok_or_else(ended)?;
        let text = String::from_utf8_lossy(&self.rest[..end]).into_owned();
        self.rest = &self.rest[end + 1..];
        Ok(text)
    }

    fn call(&mut self) -> Done {
        let parts = self.top(2)?;
        let (Thing::Global(function), Thing::Tuple(arguments)) = (&self.all[parts[0]], &self.all[parts[1]]) else {
            return Err(broken());
        };
        match (function, arguments.as_slice()) {
            (Global::OrderedDict, []) => self.push(Thing::Dict(Vec::new())),
            // Both give back what they are given, as far as numbers go.
            (Global::Size, &[same]) | (Global::RebuildParameter, &[same, ..]) => self.stack.push(same),
            (Global::RebuildTensor, &[storage, offset, shape, strides, ..]) => {
                let Thing::Storage(storage) = self.all[storage] else { return Err(broken()) };
                let (shape, strides) = (self.sizes(shape)?, self.sizes(strides)?);
                let view = View { storage, offset: self.size(offset)?, shape, strides };
                self.push(Thing::Tensor(view));
            }
            (function, arguments) => return Err(format!("it calls {function:?} with {} arguments", arguments.len())),
        }
        Ok(())
    }

    /// `("storage", type, key, location, count)`: numbers that lie elsewhere in the archive.
    fn storage(&mut self) -> Done {
        let id = self.pop()?;
        let Thing::Tuple(parts) = &self.all[id] else { return Err(broken()) };
        let &[_, kind, key, _, count] = parts.as_slice() else { return Err(broken()) };
        let (&Thing::Global(Global::StorageType(number)), Thing::Text(_)) = (&self.all[kind], &self.all[key]) else {
            return Err(broken());
        };
        let storage = Storage { number, key, count: self.size(count)? };
        self.push(Thing::Storage(storage));
        Ok(())
    }

    fn size(&self, id: Id) -> Done<usize> {
        match self.all[id] {
            Thing::Int(size) => usize::try_from(size).map_err(|_| format!("it holds the size {size}")),
            _ => Err(broken()),
        }
    }

    fn sizes(&self, id: Id) -> Done<Vec<usize>> {
        match &self.all[id] {
            Thing::Tuple(sizes) if sizes.len() <= MOST_DIMENSIONS => sizes.iter().map(|&id| self.size(id)).collect(),
            _ => Err(broken()),
        }
    }
}

fn pairs(items: &[Id]) -> Done<Vec<(Id, Id)>> {
    let (pairs, rest) = items.as_chunks::<2>();
    if rest.is_empty() { Ok(pairs.iter().map(|&[key, value]| (key, value)).collect()) } else { Err(broken()) }
}

/// The names that dictionaries of tensors need.
fn known(name: &str) -> Option<Global> {
    let number = |name| {
        Some(match name {
            "Float" => Number::F32,
            "Double" => Number::F64,
            "Half" => Number::F16,
            "BFloat16" => Number::BF16,
            "Long" => Number::I64,
            "Int" => Number::I32,
            "Short" => Number::I16,
            "Char" => Number::I8,
            "Byte" => Number::U8,
            "Bool" => Number::Bool,
            _ => return None,
        })
    };
    match name {
        "collections.OrderedDict" => Some(Global::OrderedDict),
        "torch._utils._rebuild_tensor_v2" => Some(Global::RebuildTensor),
        "torch._utils._rebuild_parameter" => Some(Global::RebuildParameter),
        "torch.Size" => Some(Global::Size),
        _ => Some(Global::StorageType(number(name.strip_prefix("torch.")?.strip_suffix("Storage")?)?)),
    }
}

fn broken() -> String {
    "damaged: its instructions do not fit together".into()
}

fn ended() -> String {
    "truncated: it ends in the middle of an instruction".into()
}

#[cfg(test)]
mod tests;
