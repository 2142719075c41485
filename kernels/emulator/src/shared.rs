//! A block's shared memory, with a mark of who wrote and who read each word since the last barrier.

use crate::counters::Places;
use crate::fault::FaultKind;
use crate::isa::Space;
use crate::memory::Access;

/// Who touches a place, and when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Toucher {
    /// The number of the thread in its block.
    pub thread: u16,
    /// How many barriers the block has passed.
    pub epoch: u32,
    /// How many barriers the warp has passed by itself.
    pub warp_epoch: u32,
    /// The line of the instruction.
    pub line: u32,
}

/// Who touched a word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Who {
    /// One thread.
    #[default]
    One,
    /// Several of one warp.
    Warp,
    /// Several warps.
    Block,
}

/// The last touch of a word. An epoch of 0 is before the first.
#[derive(Clone, Copy, Debug, Default)]
struct Mark {
    epoch: u32,
    warp_epoch: u32,
    line: u32,
    thread: u16,
    bytes: u8,
    who: Who,
    atomic: bool,
}

impl Mark {
    fn of(by: Toucher, bytes: u8, access: Access) -> Self {
        let Toucher { thread, epoch, warp_epoch, line } = by;
        Self { epoch, warp_epoch, line, thread, bytes, who: Who::One, atomic: access == Access::Atomic }
    }

    /// Whether somebody else touched these bytes, and nothing made him come first.
    fn is_unordered(&self, by: Toucher, bytes: u8) -> bool {
        if self.epoch != by.epoch || self.bytes & bytes == 0 {
            return false;
        }
        let other = self.who != Who::One || self.thread != by.thread;
        let same_warp = self.thread / 32 == by.thread / 32 && self.who != Who::Block;
        other && !(same_warp && self.warp_epoch < by.warp_epoch)
    }

    /// Adds another reader.
    #[inline]
    fn join(&mut self, by: Toucher, bytes: u8) {
        if self.epoch != by.epoch || self.bytes & bytes == 0 {
            *self = Self::of(by, bytes, Access::Read);
            return;
        }
        if self.thread / 32 != by.thread / 32 {
            self.who = Who::Block;
        } else if self.warp_epoch < by.warp_epoch && self.who != Who::Block {
            *self = Self::of(by, bytes, Access::Read);
        } else if self.thread != by.thread && self.who == Who::One {
            self.who = Who::Warp;
        }
        (self.thread, self.line) = (by.thread, by.line);
        self.bytes |= bytes;
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Word {
    write: Mark,
    read: Mark,
    /// The bytes that somebody has written.
    written: u8,
    /// The line of an asynchronous copy that is on its way; 0 for none.
    in_flight: u32,
}

/// The memory and its marks.
#[derive(Debug)]
pub(crate) struct Shared {
    words: Vec<u32>,
    marks: Vec<Word>,
    bytes: usize,
}

impl Shared {
    pub fn new(bytes: usize) -> Self {
        let words = bytes.div_ceil(4);
        Self { words: vec![0xabab_abab; words], marks: vec![Word::default(); words], bytes }
    }

    pub fn holds(&self, address: u64, bytes: usize) -> bool {
        address.checked_add(bytes as u64).is_some_and(|end| end <= self.bytes as u64)
    }

    /// A word, by its number.
    #[inline(always)]
    pub fn word(&self, number: usize) -> u32 {
        self.words[number]
    }

    /// 1, 2, 4 or 8 bytes at an aligned place.
    pub fn load(&self, address: usize, bytes: usize) -> u64 {
        let word = self.words[address / 4];
        match bytes {
            4 => u64::from(word),
            8 => u64::from(word) | u64::from(self.words[address / 4 + 1]) << 32,
            _ => u64::from(word >> (8 * (address % 4)) & ((1 << (8 * bytes)) - 1)),
        }
    }

    /// Writes 1, 2, 4 or 8 bytes at an aligned place.
    pub fn store(&mut self, address: usize, bytes: usize, value: u64) {
        let word = &mut self.words[address / 4];
        match bytes {
            4 => *word = value as u32,
            8 => {
                *word = value as u32;
                self.words[address / 4 + 1] = (value >> 32) as u32;
            }
            _ => {
                let (shift, ones) = (8 * (address % 4), (1 << (8 * bytes)) - 1);
                *word = *word & !(ones << shift) | (value as u32 & ones) << shift;
            }
        }
    }

    /// Notes an access, and says what is wrong with it, if anything is.
    #[inline]
    pub fn touch(&mut self, address: usize, bytes: usize, access: Access, by: Toucher) -> Result<(), FaultKind> {
        for word in address / 4..(address + bytes).div_ceil(4) {
            let mask = if bytes >= 4 { 15 } else { ((1 << bytes) - 1) << (address % 4) };
            self.touch_word(word, mask, access, by)?;
        }
        Ok(())
    }

    #[inline]
    fn touch_word(&mut self, at: usize, mask: u8, access: Access, by: Toucher) -> Result<(), FaultKind> {
        let word = &mut self.marks[at];
        let address = 4 * at as u64;
        if word.in_flight != 0 {
            return Err(FaultKind::InFlight { access: access.name(), address, copy_line: word.in_flight });
        }
        if access != Access::Write && word.written & mask != mask {
            let address = address + u64::from((mask & !word.written).trailing_zeros());
            return Err(FaultKind::Unwritten { space: Space::Shared, address });
        }
        let both_atomic = access == Access::Atomic && word.write.atomic;
        if word.write.is_unordered(by, mask) && !both_atomic {
            let other = if word.write.atomic { Access::Atomic } else { Access::Write };
            return Err(race(access, address, &word.write, other));
        }
        if access == Access::Read {
            word.read.join(by, mask);
            return Ok(());
        }
        if word.read.is_unordered(by, mask) {
            return Err(race(access, address, &word.read, Access::Read));
        }
        word.write = Mark::of(by, mask, access);
        word.written |= mask;
        Ok(())
    }

    /// Notes the reads of a warp, each place with the lanes that read it, and says whether nothing is wrong with them. If
    /// something is, `touch` finds it, lane by lane.
    pub fn read_places(&mut self, places: &Places, bytes: usize, lane_0: Toucher) -> bool {
        let epoch = lane_0.epoch;
        places.iter().all(|(address, lanes)| {
            if !self.holds(address, bytes) {
                return false;
            }
            let first = address as usize / 4;
            let who = if lanes.is_power_of_two() { Who::One } else { Who::Warp };
            let by = Toucher { thread: lane_0.thread + (31 - lanes.leading_zeros()) as u16, ..lane_0 };
            self.marks[first..first + bytes / 4].iter_mut().all(|word| {
                let is_read = word.read.epoch == epoch && word.read.bytes != 0;
                // Once several warps have read a word it stays so until the next barrier.
                if !(is_read && word.read.who == Who::Block && word.read.bytes == 15) {
                    if is_read {
                        word.read.join(by, 15);
                        if who == Who::Warp && word.read.who == Who::One {
                            word.read.who = who;
                        }
                    } else {
                        word.read = Mark { who, ..Mark::of(by, 15, Access::Read) };
                    }
                }
                word.written == 15 && word.in_flight == 0 && word.write.epoch != epoch
            })
        })
    }

    /// As `read_places` for writes, each to a place of its own.
    pub fn write_places(&mut self, places: &Places, bytes: usize, lane_0: Toucher) -> bool {
        places.iter().all(|(address, lanes)| {
            let by = Toucher { thread: lane_0.thread + lanes.trailing_zeros() as u16, ..lane_0 };
            let is_one = lanes.is_power_of_two() && self.holds(address, bytes);
            is_one && self.touch(address as usize, bytes, Access::Write, by).is_ok()
        })
    }

    /// Notes that an asynchronous copy is on its way to whole words.
    pub fn begin_copy(&mut self, address: usize, bytes: usize, by: Toucher) -> Result<(), FaultKind> {
        self.touch(address, bytes, Access::Write, by)?;
        self.marks[address / 4..(address + bytes) / 4].iter_mut().for_each(|word| word.in_flight = by.line);
        Ok(())
    }

    /// Notes that it has arrived, as a write at this moment.
    pub fn end_copy(&mut self, address: usize, bytes: usize, by: Toucher) {
        for word in &mut self.marks[address / 4..(address + bytes) / 4] {
            word.in_flight = 0;
            word.write = Mark::of(by, 15, Access::Write);
        }
    }
}

fn race(access: Access, address: u64, mark: &Mark, other: Access) -> FaultKind {
    FaultKind::SharedRace {
        access: access.name(),
        address,
        other_thread: u32::from(mark.thread),
        other_access: other.name(),
        other_line: mark.line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn by(thread: u16, epoch: u32, warp_epoch: u32) -> Toucher {
        Toucher { thread, epoch, warp_epoch, line: 100 + u32::from(thread) }
    }

    fn is_race(result: Result<(), FaultKind>) -> bool {
        matches!(result, Err(FaultKind::SharedRace { .. }))
    }

    #[test]
    fn a_barrier_orders_a_write_and_a_read() {
        let mut shared = Shared::new(64);
        assert_eq!(shared.touch(0, 4, Access::Write, by(0, 1, 0)), Ok(()));
        assert_eq!(shared.touch(0, 4, Access::Read, by(0, 1, 0)), Ok(()), "its own");
        assert!(is_race(shared.touch(0, 4, Access::Read, by(40, 1, 0))));
        assert_eq!(shared.touch(0, 4, Access::Read, by(40, 2, 0)), Ok(()));
        assert_eq!(shared.touch(0, 4, Access::Read, by(0, 2, 0)), Ok(()));
        assert!(is_race(shared.touch(0, 4, Access::Write, by(0, 2, 0))), "thread 40 read it too");
        assert_eq!(shared.touch(0, 4, Access::Write, by(0, 3, 0)), Ok(()));
    }

    #[test]
    fn a_barrier_of_the_warp_orders_its_own_threads_only() {
        let mut shared = Shared::new(64);
        assert_eq!(shared.touch(4, 4, Access::Write, by(1, 1, 0)), Ok(()));
        assert!(is_race(shared.touch(4, 4, Access::Read, by(2, 1, 0))));
        assert_eq!(shared.touch(4, 4, Access::Read, by(2, 1, 1)), Ok(()));
        assert!(is_race(shared.touch(4, 4, Access::Read, by(33, 1, 1))));
    }

    #[test]
    fn bytes_of_a_word_are_apart() {
        let mut shared = Shared::new(64);
        assert_eq!(shared.touch(8, 2, Access::Write, by(0, 1, 0)), Ok(()));
        assert_eq!(shared.touch(10, 2, Access::Write, by(1, 1, 0)), Ok(()));
        assert_eq!(shared.touch(12, 2, Access::Write, by(1, 1, 0)), Ok(()));
        assert_eq!(
            shared.touch(12, 4, Access::Read, by(1, 1, 0)),
            Err(FaultKind::Unwritten { space: Space::Shared, address: 14 })
        );
    }

    #[test]
    fn a_copy_on_its_way_is_not_there() {
        let mut shared = Shared::new(64);
        shared.begin_copy(16, 16, by(3, 1, 0)).unwrap();
        assert!(matches!(
            shared.touch(20, 4, Access::Read, by(3, 1, 0)),
            Err(FaultKind::InFlight { copy_line: 103, .. })
        ));
        shared.end_copy(16, 16, by(3, 1, 0));
        assert_eq!(shared.touch(20, 4, Access::Read, by(3, 1, 0)), Ok(()));
        assert!(is_race(shared.touch(20, 4, Access::Read, by(40, 1, 0))), "others need a barrier as well");
    }
}
