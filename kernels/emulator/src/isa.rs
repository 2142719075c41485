//! The instructions that the emulator knows, with operands resolved: registers are numbers of rows, labels are positions.
//!
//! The set is closed. A form that is not here is refused by the parser, because an interpreter that skips a modifier which it
//! does not know computes something else than the GPU. Names and meanings are those of the PTX ISA manual, version 7.8.

mod functions;
mod types;

pub use functions::{Atomic, Binary, Comparison, Conversion, Logic, Mma, Rounding, Shuffle, Ternary, Unary, Vote};
pub use types::{Space, Type};

/// A register: the number of a row that holds one value for each lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Register {
    /// Of up to 32 bits.
    Narrow(u16),
    /// Of 64 bits.
    Wide(u16),
    /// A truth value.
    Predicate(u16),
    /// `_`: the result is dropped.
    Sink,
}

/// Values that the machine provides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Special {
    /// The thread's place in its block, in x, y or z.
    Thread(u8),
    /// The size of a block.
    BlockSize(u8),
    /// The block's place in the grid.
    Block(u8),
    /// The size of the grid.
    GridSize(u8),
    /// The thread's place in its warp.
    Lane,
}

/// A value that is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operand {
    /// What a register holds.
    Register(Register),
    /// A predicate that is turned around.
    Not(u16),
    /// The bits of a constant.
    Constant(u64),
    /// The machine's own.
    Special(Special),
    /// The address of a variable of the module, by its number, plus an offset.
    Variable(u16, i64),
}

/// An address: a base and a constant that is added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// What is added to.
    pub base: Operand,
    /// How many bytes are added.
    pub offset: i64,
}

/// What an instruction does.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)] // operands are named as in the manual: d, a, b, c
pub enum Op {
    Move {
        ty: Type,
        d: Register,
        a: Operand,
    },
    /// Several registers as one.
    Pack {
        each: Type,
        d: Register,
        parts: Vec<Operand>,
    },
    /// One register as several.
    Unpack {
        each: Type,
        parts: Vec<Register>,
        a: Operand,
    },
    Unary {
        op: Unary,
        ty: Type,
        d: Register,
        a: Operand,
    },
    Binary {
        op: Binary,
        ty: Type,
        rounding: Rounding,
        d: Register,
        a: Operand,
        b: Operand,
    },
    Ternary {
        op: Ternary,
        ty: Type,
        rounding: Rounding,
        d: Register,
        a: Operand,
        b: Operand,
        c: Operand,
    },
    /// A product of 32-bit integers in 64 bits, plus a third if there is one.
    MulWide {
        ty: Type,
        d: Register,
        a: Operand,
        b: Operand,
        c: Option<Operand>,
    },
    /// A field of bits put into a word: what, into which, where, how many.
    Insert {
        ty: Type,
        d: Register,
        a: Operand,
        b: Operand,
        c: Operand,
        len: Operand,
    },
    Compare {
        op: Comparison,
        ty: Type,
        d: Register,
        a: Operand,
        b: Operand,
        with: Option<(Logic, Operand)>,
    },
    Logic {
        op: Logic,
        d: Register,
        a: Operand,
        b: Operand,
    },
    NotPredicate {
        d: Register,
        a: Operand,
    },
    MovePredicate {
        d: Register,
        a: Operand,
    },
    Select {
        ty: Type,
        d: Register,
        a: Operand,
        b: Operand,
        which: Operand,
    },
    Convert {
        how: Conversion,
        d: Register,
        a: Operand,
    },
    /// Two floats as `bf16` or `f16` in one word, `a` in the upper half.
    ConvertPair {
        to: Type,
        d: Register,
        a: Operand,
        b: Operand,
    },
    /// To a number with 10 bits behind the point.
    ConvertTf32 {
        d: Register,
        a: Operand,
    },
    /// From an address in `space` to a generic one.
    ToGeneric {
        space: Space,
        d: Register,
        a: Operand,
    },
    /// From a generic address to one in `space`.
    FromGeneric {
        space: Space,
        d: Register,
        a: Operand,
    },
    LoadParam {
        ty: Type,
        d: Vec<Register>,
        offset: usize,
    },
    Load {
        space: Space,
        ty: Type,
        d: Vec<Register>,
        address: Address,
    },
    Store {
        space: Space,
        ty: Type,
        address: Address,
        a: Vec<Operand>,
    },
    Atomic {
        op: Atomic,
        space: Space,
        ty: Type,
        d: Register,
        address: Address,
        a: Operand,
        b: Operand,
    },
    Branch {
        target: u32,
    },
    /// The thread ends.
    Exit,
    /// All threads of the block wait for each other.
    Barrier,
    /// What the thread wrote is seen by others before what it writes later. Memory without caches has this by itself.
    Fence,
    /// The named lanes of the warp wait for each other.
    WarpBarrier {
        members: Operand,
    },
    Shuffle {
        how: Shuffle,
        d: Register,
        valid: Register,
        a: Operand,
        b: Operand,
        c: Operand,
        members: Operand,
    },
    Vote {
        how: Vote,
        d: Register,
        a: Operand,
        members: Operand,
    },
    ActiveMask {
        d: Register,
    },
    Mma {
        how: Mma,
        d: [Register; 4],
        a: [Operand; 4],
        b: [Operand; 2],
        c: [Operand; 4],
    },
    /// 8 x 8 matrices of 16-bit elements, spread over the warp.
    LoadMatrix {
        transposed: bool,
        d: Vec<Register>,
        address: Address,
    },
    /// Starts a copy from global to shared memory; `size` are read, the rest of `bytes` is filled with zeros.
    CopyAsync {
        to: Address,
        from: Address,
        bytes: u8,
        size: Option<Operand>,
    },
    /// Ends a group of copies.
    CommitGroup,
    /// Waits until at most so many of the last groups are unfinished; `None` waits for all copies, in groups or not.
    WaitGroup {
        unfinished: Option<u32>,
    },
}

/// An instruction in its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Instruction {
    /// What it does.
    pub op: Op,
    /// The predicate that a lane needs, and whether it is turned around.
    pub guard: Option<(u16, bool)>,
    /// Its line in the PTX, from 1.
    pub line: u32,
    /// The line of the source that it was made from, where the PTX says so: a number of a file, and a line.
    pub source: Option<(u32, u32)>,
}
