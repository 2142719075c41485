//! A warp: 32 lanes in lock step, their registers, and where each of them is.

use crate::counters::lanes;
use crate::isa::{Operand, Register, Special};
use crate::parse::Kernel;

/// All lanes.
pub(crate) const ALL: u32 = u32::MAX;

/// The number of each lane.
const LANES: [u32; 32] = {
    let mut numbers = [0; 32];
    let mut lane = 0;
    while lane < 32 {
        numbers[lane] = lane as u32;
        lane += 1;
    }
    numbers
};

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

impl Geometry<'_> {
    /// A value that is the same for all threads of a block.
    fn value(&self, operand: Operand) -> u64 {
        let of = |sizes: [u32; 3], axis: u8| u64::from(sizes[usize::from(axis)]);
        match operand {
            Operand::Special(Special::BlockSize(axis)) => of(self.block_size, axis),
            Operand::Special(Special::Block(axis)) => of(self.block, axis),
            Operand::Special(Special::GridSize(axis)) => of(self.grid, axis),
            Operand::Variable(number, offset) => self.variables[usize::from(number)].wrapping_add_signed(offset),
            Operand::Constant(bits) => bits,
            other => unreachable!("{other:?} is not the same for all threads"),
        }
    }
}

/// A row with the value of `f` for each lane. A loop, since the library's functions on arrays are not always compiled into one.
#[inline(always)]
pub(crate) fn row_of<W: Word>(f: impl Fn(usize) -> W) -> [W; 32] {
    let mut row = [W::ZERO; 32];
    for (lane, word) in row.iter_mut().enumerate() {
        *word = f(lane);
    }
    row
}

/// A register of a warp: a word for each lane.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
pub(crate) struct Row<T>([T; 32]);

/// What registers hold: 32 bits, or 64.
pub(crate) trait Word: std::marker::Copy {
    const ZERO: Self;
    /// The row of an operand, which must be a register of this width: the parser sees to it.
    fn row(warp: &Warp, operand: Operand) -> &[Self; 32];
    /// That of a result; none if it is dropped.
    fn row_mut(warp: &mut Warp, d: Register) -> Option<&mut [Self; 32]>;
}

impl Word for u32 {
    const ZERO: u32 = 0;

    #[inline(always)]
    fn row(warp: &Warp, operand: Operand) -> &[u32; 32] {
        match operand {
            Operand::Register(Register::Narrow(number)) => &warp.narrow[usize::from(number)].0,
            other => unreachable!("{other:?} is no register of 32 bits"),
        }
    }

    #[inline(always)]
    fn row_mut(warp: &mut Warp, d: Register) -> Option<&mut [u32; 32]> {
        match d {
            Register::Narrow(number) => Some(&mut warp.narrow[usize::from(number)].0),
            _ => None,
        }
    }
}

impl Word for u64 {
    const ZERO: u64 = 0;

    #[inline(always)]
    fn row(warp: &Warp, operand: Operand) -> &[u64; 32] {
        match operand {
            Operand::Register(Register::Wide(number)) => &warp.wide[usize::from(number)].0,
            other => unreachable!("{other:?} is no register of 64 bits"),
        }
    }

    #[inline(always)]
    fn row_mut(warp: &mut Warp, d: Register) -> Option<&mut [u64; 32]> {
        match d {
            Register::Wide(number) => Some(&mut warp.wide[usize::from(number)].0),
            _ => None,
        }
    }
}

/// A value of one lane: how it stands in a register.
pub(crate) trait Lane: std::marker::Copy {
    /// What holds it: types of fewer than 32 bits have registers of 32.
    type Word: Word;
    /// From the word of a register.
    fn of(word: Self::Word) -> Self;
    /// As the word of a register, with the sign repeated to the left.
    fn word(self) -> Self::Word;
    /// From the bits of a register, of which there may be too many.
    fn from_bits(bits: u64) -> Self;
    /// The bits, with the sign repeated to the left.
    fn bits(self) -> u64;
}

macro_rules! integer_lanes {
    ($($T:ty => $Word:ty, $Wide:ty;)*) => {$(
        impl Lane for $T {
            type Word = $Word;

            #[inline(always)]
            fn of(word: $Word) -> Self {
                word as $T
            }

            #[inline(always)]
            fn word(self) -> $Word {
                self as $Wide as $Word
            }

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

integer_lanes! {
    u8 => u32, u64;
    u16 => u32, u64;
    u32 => u32, u64;
    u64 => u64, u64;
    i8 => u32, i64;
    i16 => u32, i64;
    i32 => u32, i64;
    i64 => u64, i64;
}

impl Lane for f32 {
    type Word = u32;

    #[inline(always)]
    fn of(word: u32) -> Self {
        f32::from_bits(word)
    }

    #[inline(always)]
    fn word(self) -> u32 {
        self.to_bits()
    }

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
    type Word = u64;

    #[inline(always)]
    fn of(word: u64) -> Self {
        f64::from_bits(word)
    }

    #[inline(always)]
    fn word(self) -> u64 {
        self.to_bits()
    }

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
pub(crate) struct Warp {
    narrow: Vec<Row<u32>>,
    wide: Vec<Row<u64>>,
    predicates: Vec<u32>,
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

impl Warp {
    /// Warp number `number` of a block.
    pub fn new(kernel: &Kernel, geometry: Geometry, number: u32) -> Self {
        let [x, y, z] = geometry.block_size;
        let first_thread = 32 * number;
        let count = (x * y * z - first_thread).min(32);
        let lanes = ALL >> (32 - count);
        let place = |f: &dyn Fn(u32) -> u32| std::array::from_fn(|lane| f(first_thread + lane as u32));
        let thread = [place(&|i| i % x), place(&|i| i / x % y), place(&|i| i / (x * y))];
        let [own_narrow, own_wide, predicates] = kernel.registers;
        let mut narrow = Vec::with_capacity(own_narrow + kernel.filled.narrow.len());
        narrow.resize(own_narrow, Row([0xdead_beef; 32]));
        narrow.extend(kernel.filled.narrow.iter().map(|&operand| match operand {
            Operand::Special(Special::Thread(axis)) => Row(thread[usize::from(axis)]),
            Operand::Special(Special::Lane) => Row(LANES),
            other => Row([geometry.value(other) as u32; 32]),
        }));
        let mut wide = Vec::with_capacity(own_wide + kernel.filled.wide.len());
        wide.resize(own_wide, Row([0xdead_beef_dead_beef; 32]));
        wide.extend(kernel.filled.wide.iter().map(|&operand| Row([geometry.value(operand); 32])));
        Self {
            narrow,
            wide,
            predicates: vec![0; predicates],
            thread,
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

    /// The values of an operand in all lanes, whatever its width. Instructions that are most of what kernels do take theirs from the
    /// rows.
    pub fn row<T: Lane>(&self, operand: Operand) -> [T; 32] {
        let mut values = [T::from_bits(0); 32];
        match operand {
            Operand::Register(Register::Narrow(number)) => {
                let row = &self.narrow[usize::from(number)].0;
                values.iter_mut().zip(row).for_each(|(value, &word)| *value = T::from_bits(word.into()));
            }
            Operand::Register(Register::Wide(number)) => {
                let row = &self.wide[usize::from(number)].0;
                values.iter_mut().zip(row).for_each(|(value, &word)| *value = T::from_bits(word));
            }
            other => unreachable!("{other:?} is no register"),
        }
        values
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

    /// Writes the lanes of `mask`, whatever the width of the register.
    pub fn write<T: Lane>(&mut self, d: Register, mask: u32, values: &[T; 32]) {
        match d {
            Register::Narrow(_) => self.put(d, mask, &row_of(|lane| values[lane].bits() as u32)),
            Register::Wide(_) => self.put(d, mask, &row_of(|lane| values[lane].bits())),
            Register::Predicate(_) | Register::Sink => {}
        }
    }

    /// Writes the lanes of `mask` of a register of this width.
    #[inline(always)]
    pub fn put<W: Word>(&mut self, d: Register, mask: u32, values: &[W; 32]) {
        let Some(row) = W::row_mut(self, d) else { return };
        if mask == ALL {
            *row = *values;
        } else {
            for lane in 0..32 {
                row[lane] = if mask >> lane & 1 == 1 { values[lane] } else { row[lane] };
            }
        }
    }

    /// Whether all these registers hold elements of this size as they are in memory: 4 bytes, or 8.
    pub fn have_width(&self, registers: &[Register], size: usize) -> bool {
        registers.iter().all(|register| match register {
            Register::Narrow(_) => size == 4,
            Register::Wide(_) => size == 8,
            Register::Predicate(_) | Register::Sink => false,
        })
    }

    /// Writes registers, each from one or two words of memory, which `word` gives by lane and number.
    #[inline(always)]
    pub fn fill_words(&mut self, d: &[Register], mask: u32, words: usize, word: impl Fn(usize, usize) -> u32) {
        for (element, &d) in d.iter().enumerate() {
            let at = element * words;
            match d {
                Register::Narrow(number) => {
                    let row = &mut self.narrow[usize::from(number)].0;
                    lanes(mask).for_each(|lane| row[lane] = word(lane, at));
                }
                Register::Wide(number) => {
                    let row = &mut self.wide[usize::from(number)].0;
                    let value = |lane| u64::from(word(lane, at)) | u64::from(word(lane, at + 1)) << 32;
                    lanes(mask).for_each(|lane| row[lane] = value(lane));
                }
                Register::Predicate(_) | Register::Sink => {}
            }
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
