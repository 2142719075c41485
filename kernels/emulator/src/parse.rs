//! From text to instructions.
//!
//! The reader takes what NVRTC, nvcc and clang emit for kernels without calls, and refuses everything else by name and line.

mod arithmetic;
mod kernel;
mod memory;
mod operands;
mod rows;
mod statements;
mod warp;

use std::collections::HashMap;

use crate::isa::{Instruction, Type};
use crate::memory::{Memory, MemoryError};
use statements::{Statement, Statements};

/// Text that is no PTX, or PTX that the emulator does not know.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("PTX line {line}: {reason}: `{text}`")]
pub struct ParseError {
    /// The line, from 1.
    pub line: u32,
    /// What is wrong.
    pub reason: String,
    /// The statement.
    pub text: String,
}

/// A parameter of a kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Param {
    /// Its name.
    pub name: String,
    /// Its type; for an array of bytes, that of an element.
    pub ty: Type,
    /// Its size in bytes.
    pub size: usize,
    /// Where it lies in the kernel's parameters.
    pub offset: usize,
}

/// A kernel.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// Its name.
    pub name: String,
    /// Its parameters, in order.
    pub params: Vec<Param>,
    /// How many threads a block may have, in x, y and z, where the kernel says so.
    pub max_threads: Option<[u32; 3]>,
    /// The bytes of shared memory that it declares.
    pub shared_bytes: usize,
    /// Where memory begins that the launch adds to them.
    pub dynamic_shared: usize,
    /// The bytes of local memory of each thread.
    pub local_bytes: usize,
    /// Its instructions.
    pub code: Vec<Instruction>,
    /// How many registers of up to 32 bits, of 64 bits, and predicates there are.
    pub registers: [usize; 3],
    /// What stands in the registers behind these.
    pub(crate) filled: rows::Filled,
}

/// A variable of the module, in global memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// What it holds at first.
    pub bytes: Vec<u8>,
}

/// A module: kernels and the variables that they share.
#[derive(Clone, Debug)]
pub struct Module {
    /// The version of the language, such as `7.8`.
    pub version: String,
    /// What it was compiled for, such as `sm_70`.
    pub target: String,
    /// The kernels, in the order of the text.
    pub kernels: Vec<Kernel>,
    /// The variables.
    pub variables: Vec<Variable>,
    /// The source files that lines refer to, by number.
    pub files: HashMap<u32, String>,
    lines: Vec<String>,
}

impl Module {
    /// Reads a module.
    ///
    /// # Errors
    /// At the first statement that is not understood in full.
    pub fn parse(text: &str) -> Result<Module, ParseError> {
        let mut module = Module {
            version: String::new(),
            target: String::new(),
            kernels: Vec::new(),
            variables: Vec::new(),
            files: HashMap::new(),
            lines: text.lines().map(|line| line.trim().to_owned()).collect(),
        };
        let mut names = Names::default();
        let mut statements = Statements::new(text);
        while let Some(statement) = statements.next()? {
            if is_entry(&statement.text) {
                module.kernels.push(kernel::read(&statement, &mut statements, &names)?);
            } else {
                let read = module.read(&statement, &mut statements, &mut names);
                read.map_err(|reason| statement.wrong(reason))?;
            }
        }
        if module.version.is_empty() {
            let (line, text) = (1, module.line(1).to_owned());
            return Err(ParseError { line, reason: "this is no PTX: there is no .version".into(), text });
        }
        Ok(module)
    }

    /// The kernel of this name.
    pub fn kernel(&self, name: &str) -> Option<&Kernel> {
        self.kernels.iter().find(|kernel| kernel.name == name)
    }

    /// The text of a line, from 1.
    pub fn line(&self, line: u32) -> &str {
        self.lines.get(line.wrapping_sub(1) as usize).map_or("", String::as_str)
    }

    /// Puts the variables into memory and says where each is.
    ///
    /// # Errors
    /// If there is no room.
    pub fn place(&self, memory: &mut Memory) -> Result<Vec<u64>, MemoryError> {
        let mut put = |variable: &Variable| {
            let address = memory.allocate(variable.bytes.len() as u64)?;
            memory.write(address, &variable.bytes)?;
            Ok(address)
        };
        self.variables.iter().map(&mut put).collect()
    }

    fn read(&mut self, statement: &Statement, rest: &mut Statements, names: &mut Names) -> Result<(), String> {
        let words: Vec<&str> = statement.text.split_whitespace().collect();
        match words.as_slice() {
            [".version", version] => self.version = (*version).to_owned(),
            [".target", target] => self.target = (*target).to_owned(),
            [".address_size", "64"] => {}
            [".file", number, ..] => {
                let number = number.parse().map_err(|_| "a file has a number")?;
                let name = statement.text.split('"').nth(1).ok_or("a file has a name in quotes")?;
                self.files.insert(number, name.to_owned());
            }
            [".section", ..] => rest.skip_section()?,
            [".extern", ".shared", ..] => {
                let declared = Declared::read(&statement.text)?;
                names.dynamic.push(declared.name);
            }
            [".shared", ..] => names.shared.push(Declared::read(&statement.text)?),
            [".global" | ".const", ..] | [".visible", ".global" | ".const", ..] => {
                let variable = Declared::read(&statement.text)?.with_values(&statement.text)?;
                names.variables.insert(variable.name.clone(), self.variables.len() as u16);
                self.variables.push(variable);
            }
            _ => return Err("the emulator does not know this directive".into()),
        }
        Ok(())
    }
}

fn is_entry(text: &str) -> bool {
    statements::HEADERS.iter().any(|head| text.starts_with(head))
}

/// What a module's kernels may name.
#[derive(Debug, Default)]
struct Names {
    variables: HashMap<String, u16>,
    /// Shared memory that all kernels see.
    shared: Vec<Declared>,
    /// Shared memory whose size a launch gives.
    dynamic: Vec<String>,
}

/// A variable as it is declared: `.align 4 .b8 name[24]`.
#[derive(Debug)]
struct Declared {
    name: String,
    ty: Type,
    align: usize,
    bytes: usize,
}

impl Declared {
    fn read(text: &str) -> Result<Self, String> {
        let (declaration, _) = text.split_once('=').unwrap_or((text, ""));
        let words: Vec<&str> = declaration.split_whitespace().collect();
        let ty = words.iter().find_map(|word| word.strip_prefix('.').and_then(Type::named)).ok_or("it has no type")?;
        let align = match words.iter().position(|&word| word == ".align") {
            Some(at) => words.get(at + 1).and_then(|align| align.parse().ok()).ok_or("an alignment is a number")?,
            None => ty.size(),
        };
        let last = *words.last().ok_or("it has no name")?;
        let (name, count) = match last.split_once('[') {
            None => (last, 1),
            Some((name, "]")) => (name, 0),
            Some((name, count)) => {
                (name, count.trim_end_matches(']').parse::<usize>().map_err(|_| "an array has a length")?)
            }
        };
        let bytes = count.checked_mul(ty.size()).filter(|&bytes| bytes < 1 << 30).ok_or("it is larger than 1 GiB")?;
        if !usize::is_power_of_two(align) || align > 4096 {
            return Err("an alignment is a power of two of at most 4096".into());
        }
        Ok(Self { name: name.to_owned(), ty, align, bytes })
    }

    /// With the numbers behind `=`, and zeros after them.
    fn with_values(self, text: &str) -> Result<Variable, String> {
        let mut bytes = Vec::with_capacity(self.bytes);
        let values = text.split_once('=').map_or("", |(_, values)| values).trim().trim_matches(['{', '}']);
        for value in values.split(',').map(str::trim).filter(|value| !value.is_empty()) {
            let bits = operands::constant(value).ok_or_else(|| format!("{value} is no number"))?;
            bytes.extend_from_slice(&bits.to_le_bytes()[..self.ty.size()]);
        }
        if bytes.len() > self.bytes {
            return Err("there are more values than elements".into());
        }
        bytes.resize(self.bytes, 0);
        Ok(Variable { name: self.name, bytes })
    }
}
