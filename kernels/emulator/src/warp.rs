//! A warp: 32 lanes in lock step, their registers, and where each of them is.

use crate::isa::{Operand, Register, Special};
use crate::parse::Kernel;

/// All lanes.
pub(crate) const ALL: u32 = u32::MAX;

/// Lanes that are at the same instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Group {
    pub pc: u32,
    pub mask: u32,
}

/// An asynchronous copy that has not arrived.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Copy {
    pub lane: usize,
    /// The number of its group among those of its lane.
    pub group: u32,
    pub to: usize,
    pub from: u64,
    /// How many bytes are written.
    pub bytes: usize,
    /// How many of them are read; the others are zeros.
    pub size: usize,
}

/// The numbers that a launch gives to all threads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Geometry<'a> {
    pub grid: [u32; 3],
    pub block_size: [u32; 3],
    pub block: [u32; 3],
    /// The addresses of the module's variables.
    pub variables: &'a [u64],
}

/// A value of one lane: how it stands in a register.
pub(crate) trait Lane: std::marker::Copy {
    /// From the bits of a register, of which there may be too many.
    fn from_bits(bits: u64) -> Self;
    /// The bits, with the sign repeated to the left.
    fn bits(self) -> u64;
}

macro_rules! integer_lanes {
    ($($T:ty => $Wide:ty),*) => {$(
        impl Lane for $T {
            #[inline(always)]
            fn from_bits(bits: u64) -> Self {
                bits as $T
            }

            #[inline(always)]
            fn bits(self) -> u64 {
                self as $Wide as u64
            }
        }
    )*};
}

integer_lanes!(u8 => u64, u16 => u64, u32 => u64, u64 => u64, i8 => i64, i16 => i64, i32 => i64, i64 => i64);

impl Lane for f32 {
    #[inline(always)]
    fn from_bits(bits: u64) -> Self {
        f32::from_bits(bits as u32)
    }

    #[inline(always)]
    fn bits(self) -> u64 {
        u64::from(self.to_bits())
    }
}

impl Lane for f64 {
    #[inline(always)]
    fn from_bits(bits: u64) -> Self {
        f64::from_bits(bits)
    }

    #[inline(always)]
    fn bits(self) -> u64 {
        self.to_bits()
    }
}

/// The state of a warp.
#[derive(Debug)]
pub(crate) struct Warp<'a> {
    narrow: Vec<[u32; 32]>,
    wide: Vec<[u64; 32]>,
    predicates: Vec<u32>,
    geometry: Geometry<'a>,
    /// Each lane's place in its block.
    thread: [[u32; 32]; 3],
    /// The number of lane 0 in its block.
    pub first_thread: u32,
    /// The lanes that exist.
    pub lanes: u32,
    /// Lanes that can run.
    pub running: Vec<Group>,
    /// Lanes that wait at a barrier of the block.
    pub waiting: Vec<Group>,
    /// How many barriers of its own the warp has passed.
    pub epoch: u32,
    /// Local memory: that of lane 0, then that of lane 1, and so on.
    pub local: Vec<u32>,
    /// Copies on their way.
    pub copies: Vec<Copy>,
    /// How many groups of copies each lane has ended.
    pub groups: [u32; 32],
}

impl<'a> Warp<'a> {
    /// Warp number `number` of a block.
    pub fn new(kernel: &Kernel, geometry: Geometry<'a>, number: u32) -> Self {
        let [x, y, z] = geometry.block_size;
        let first_thread = 32 * number;
        let count = (x * y * z - first_thread).min(32);
        let lanes = ALL >> (32 - count);
        let place = |f: &dyn Fn(u32) -> u32| std::array::from_fn(|lane| f(first_thread + lane as u32));
        Self {
            narrow: vec![[0xdead_beef; 32]; kernel.registers[0]],
            wide: vec![[0xdead_beef_dead_beef; 32]; kernel.registers[1]],
            predicates: vec![0; kernel.registers[2]],
            geometry,
            thread: [place(&|i| i % x), place(&|i| i / x % y), place(&|i| i / (x * y))],
            first_thread,
            lanes,
            running: vec![Group { pc: 0, mask: lanes }],
            waiting: Vec::new(),
            epoch: 0,
            local: vec![0xcdcd_cdcd; 32 * kernel.local_bytes.div_ceil(4)],
            copies: Vec::new(),
            groups: [0; 32],
        }
    }

    /// A lane's place in its block.
    pub fn thread(&self, lane: usize) -> [u32; 3] {
        std::array::from_fn(|axis| self.thread[axis][lane])
    }

    /// The values of an operand in all lanes. A call, so that each instruction is compiled once and not for each kind of operand.
    #[inline(never)]
    pub fn row<T: Lane>(&self, operand: Operand) -> [T; 32] {
        match operand {
            Operand::Register(Register::Narrow(number)) => {
                let row = &self.narrow[usize::from(number)];
                std::array::from_fn(|lane| T::from_bits(u64::from(row[lane])))
            }
            Operand::Register(Register::Wide(number)) => {
                let row = &self.wide[usize::from(number)];
                std::array::from_fn(|lane| T::from_bits(row[lane]))
            }
            Operand::Constant(bits) => [T::from_bits(bits); 32],
            other => self.rare(other).map(T::from_bits),
        }
    }

    /// The values of an operand that seldom stands in a loop.
    fn rare(&self, operand: Operand) -> [u64; 32] {
        let Geometry { grid, block_size, block, variables } = self.geometry;
        match operand {
            Operand::Special(Special::Thread(axis)) => self.thread[usize::from(axis)].map(u64::from),
            Operand::Special(Special::BlockSize(axis)) => [u64::from(block_size[usize::from(axis)]); 32],
            Operand::Special(Special::Block(axis)) => [u64::from(block[usize::from(axis)]); 32],
            Operand::Special(Special::GridSize(axis)) => [u64::from(grid[usize::from(axis)]); 32],
            Operand::Special(Special::Lane) => std::array::from_fn(|lane| lane as u64),
            Operand::Variable(number, offset) => [variables[usize::from(number)].wrapping_add_signed(offset); 32],
            Operand::Constant(bits) => [bits; 32],
            Operand::Register(_) | Operand::Not(_) => {
                let bits = self.predicate(operand);
                std::array::from_fn(|lane| u64::from(bits >> lane & 1))
            }
        }
    }

    /// The lanes in which a predicate holds.
    #[inline(always)]
    pub fn predicate(&self, operand: Operand) -> u32 {
        match operand {
            Operand::Register(Register::Predicate(number)) => self.predicates[usize::from(number)],
            Operand::Not(number) => !self.predicates[usize::from(number)],
            Operand::Constant(bits) if bits & 1 == 1 => ALL,
            _ => 0,
        }
    }

    /// Writes the lanes of `mask`.
    #[inline(never)]
    pub fn write<T: Lane>(&mut self, d: Register, mask: u32, values: &[T; 32]) {
        match d {
            Register::Narrow(number) => {
                let row = &mut self.narrow[usize::from(number)];
                let value = |lane: usize| values[lane].bits() as u32;
                if mask == ALL {
                    *row = std::array::from_fn(value);
                } else {
                    *row = std::array::from_fn(|lane| if mask >> lane & 1 == 1 { value(lane) } else { row[lane] });
                }
            }
            Register::Wide(number) => {
                let row = &mut self.wide[usize::from(number)];
                let keep = |lane: usize| mask >> lane & 1 == 0;
                *row = std::array::from_fn(|lane| if keep(lane) { row[lane] } else { values[lane].bits() });
            }
            Register::Predicate(_) | Register::Sink => {}
        }
    }

    /// Writes the lanes of `mask` of a predicate.
    #[inline(always)]
    pub fn write_predicate(&mut self, d: Register, mask: u32, bits: u32) {
        if let Register::Predicate(number) = d {
            let row = &mut self.predicates[usize::from(number)];
            *row = *row & !mask | bits & mask;
        }
    }

    /// Makes groups at the same place one, and orders them by place.
    pub fn merge(&mut self) {
        self.running.sort_unstable_by_key(|group| group.pc);
        self.running.dedup_by(|next, kept| {
            let same = next.pc == kept.pc;
            kept.mask |= if same { next.mask } else { 0 };
            same
        });
    }
}
