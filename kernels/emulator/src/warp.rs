//! A warp: 32 lanes in lock step, their registers, and where each of them is.

mod row;

use crate::counters::each;
use crate::isa::{Operand, Register, Special};
use crate::parse::Kernel;
pub(crate) use row::{Lane, Row, Word, row_of};

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

/// The state of a warp.
#[derive(Debug, Default)]
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
    /// Which of its bytes have been written.
    pub local_written: Vec<bool>,
    /// Copies on their way.
    pub copies: Vec<Copy>,
    /// How many groups of copies each lane has ended.
    pub groups: [u32; 32],
}

impl Warp {
    /// Makes it warp number `number` of a block that begins; what it was before is forgotten.
    pub fn begin(&mut self, kernel: &Kernel, geometry: Geometry, number: u32) {
        let [x, y, z] = geometry.block_size;
        let first_thread = 32 * number;
        let mut place = [first_thread % x, first_thread / x % y, first_thread / (x * y)];
        for lane in 0..32 {
            (0..3).for_each(|axis| self.thread[axis][lane] = place[axis]);
            place[0] += 1;
            if place[0] == x {
                place = [0, place[1] + 1, place[2]];
            }
            if place[1] == y {
                place = [place[0], 0, place[2] + 1];
            }
        }
        let [own_narrow, own_wide, predicates] = kernel.registers;
        let thread = &self.thread;
        self.narrow.clear();
        self.narrow.resize(own_narrow, Row([0xdead_beef; 32]));
        self.narrow.extend(kernel.filled.narrow.iter().map(|&operand| match operand {
            Operand::Special(Special::Thread(axis)) => Row(thread[usize::from(axis)]),
            Operand::Special(Special::Lane) => Row(LANES),
            other => Row([geometry.value(other) as u32; 32]),
        }));
        self.wide.clear();
        self.wide.resize(own_wide, Row([0xdead_beef_dead_beef; 32]));
        self.wide.extend(kernel.filled.wide.iter().map(|&operand| Row([geometry.value(operand); 32])));
        self.predicates.clear();
        self.predicates.resize(predicates, 0);
        self.local.clear();
        self.local.resize(32 * kernel.local_bytes.div_ceil(4), 0xcdcd_cdcd);
        self.local_written.clear();
        self.local_written.resize(4 * self.local.len(), false);
        self.first_thread = first_thread;
        self.lanes = ALL >> (32 - (x * y * z - first_thread).min(32));
        self.running.clear();
        self.running.push(Group { pc: 0, mask: self.lanes });
        self.waiting.clear();
        self.copies.clear();
        (self.epoch, self.groups) = (0, [0; 32]);
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
                    each(mask, |lane| row[lane] = word(lane, at));
                }
                Register::Wide(number) => {
                    let row = &mut self.wide[usize::from(number)].0;
                    let value = |lane| u64::from(word(lane, at)) | u64::from(word(lane, at + 1)) << 32;
                    each(mask, |lane| row[lane] = value(lane));
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
