//! One allocation, and who touched which word of it.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use crate::fault::FaultKind;
use crate::isa::Space;

/// Who touches a place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Toucher {
    /// The number of the launch.
    pub launch: u16,
    /// The number of the block, modulo 2^20.
    pub block: u32,
    /// The line of the instruction.
    pub line: u32,
}

/// What an access does with a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Write,
    Atomic,
}

impl Access {
    pub fn name(self) -> &'static str {
        match self {
            Access::Read => "a read",
            Access::Write => "a write",
            Access::Atomic => "an atomic",
        }
    }
}

/// One allocation, with a mark of the last writer and of the readers of each word.
#[derive(Debug)]
pub(crate) struct Allocation {
    pub start: u64,
    pub len: usize,
    words: Box<[AtomicU32]>,
    writes: Box<[AtomicU64]>,
    reads: Box<[AtomicU64]>,
}

/// A mark packed into a word: launch (16 bits), block (20), line (19), whether it was an atomic or, for reads, whether several
/// blocks read (1), the bytes that the block touched (4), the bytes that anyone has ever written (4).
#[derive(Clone, Copy)]
struct Mark(u64);

impl Mark {
    const BLOCKS: u32 = 1 << 20;
    const LINES: u32 = 1 << 19;

    fn new(by: Toucher, flag: bool, bytes: u8, written: u8) -> Self {
        let block = u64::from(by.block % Self::BLOCKS);
        let line = u64::from(by.line.min(Self::LINES - 1));
        let low = u64::from(flag) << 8 | u64::from(bytes) << 4 | u64::from(written);
        Self(u64::from(by.launch) << 48 | block << 28 | line << 9 | low)
    }

    fn launch(self) -> u16 {
        (self.0 >> 48) as u16
    }

    fn block(self) -> u32 {
        (self.0 >> 28) as u32 % Self::BLOCKS
    }

    /// Whether the launch and the block are these.
    fn is_of(self, by: Toucher) -> bool {
        self.launch() == by.launch && self.block() == by.block % Self::BLOCKS
    }

    fn line(self) -> u32 {
        (self.0 >> 9) as u32 % Self::LINES
    }

    fn flag(self) -> bool {
        self.0 >> 8 & 1 == 1
    }

    fn bytes(self) -> u8 {
        (self.0 >> 4) as u8 & 15
    }

    fn written(self) -> u8 {
        self.0 as u8 & 15
    }
}

impl Allocation {
    pub fn new(start: u64, len: usize) -> Self {
        let words = len.div_ceil(4);
        Self {
            start,
            len,
            words: (0..words).map(|_| AtomicU32::new(0xcdcd_cdcd)).collect(),
            writes: (0..words).map(|_| AtomicU64::new(0)).collect(),
            reads: (0..words).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    pub fn holds(&self, address: u64, bytes: usize) -> bool {
        address >= self.start && address - self.start <= self.len as u64 && {
            let offset = (address - self.start) as usize;
            bytes <= self.len - offset
        }
    }

    /// 1, 2, 4 or 8 bytes at an aligned place.
    pub fn load_bytes(&self, offset: usize, bytes: usize) -> u64 {
        let word = self.words[offset / 4].load(Relaxed);
        match bytes {
            4 => u64::from(word),
            8 => u64::from(word) | u64::from(self.words[offset / 4 + 1].load(Relaxed)) << 32,
            _ => u64::from(word >> (8 * (offset % 4)) & bits(bytes)),
        }
    }

    /// Writes 1, 2, 4 or 8 bytes at an aligned place.
    pub fn store_bytes(&self, offset: usize, bytes: usize, value: u64) {
        let word = &self.words[offset / 4];
        match bytes {
            4 => word.store(value as u32, Relaxed),
            8 => {
                word.store(value as u32, Relaxed);
                self.words[offset / 4 + 1].store((value >> 32) as u32, Relaxed);
            }
            _ => {
                let shift = 8 * (offset % 4);
                let put = |old: u32| old & !(bits(bytes) << shift) | (value as u32 & bits(bytes)) << shift;
                // Another block may write the other bytes of the word at the same time.
                word.fetch_update(Relaxed, Relaxed, |old| Some(put(old))).expect("the closure always answers");
            }
        }
    }

    /// Notes an access, and says what is wrong with it, if anything is.
    pub fn touch(&self, offset: usize, bytes: usize, access: Access, by: Toucher) -> Result<(), FaultKind> {
        for word in offset / 4..(offset + bytes).div_ceil(4) {
            self.touch_word(word, mask(word, offset, bytes), access, by)?;
        }
        Ok(())
    }

    /// As `touch` for reads of whole words, but says only whether all is well; if not, `touch` finds out what is wrong.
    #[inline(always)]
    pub fn read_plainly(&self, offset: usize, bytes: usize, by: Toucher) -> bool {
        let words = offset / 4..(offset + bytes) / 4;
        let mark = Mark::new(by, false, 15, 0).0;
        self.writes[words.clone()].iter().zip(&self.reads[words]).all(|(write, read)| {
            let (last_write, last_read) = (Mark(write.load(Relaxed)), Mark(read.load(Relaxed)));
            let is_shared = last_read.launch() == by.launch && (last_read.flag() || !last_read.is_of(by));
            read.store(mark | u64::from(is_shared) << 8, Relaxed);
            (last_write.launch() != by.launch || last_write.is_of(by)) && last_write.written() == 15
        })
    }

    /// As `read_plainly` for writes.
    #[inline(always)]
    pub fn write_plainly(&self, offset: usize, bytes: usize, by: Toucher) -> bool {
        let words = offset / 4..(offset + bytes) / 4;
        let mark = Mark::new(by, false, 15, 15).0;
        self.writes[words.clone()].iter().zip(&self.reads[words]).all(|(write, read)| {
            let (last_write, last_read) = (Mark(write.load(Relaxed)), Mark(read.load(Relaxed)));
            let is_unread = last_read.launch() != by.launch || last_read.is_of(by) && !last_read.flag();
            let is_fine = is_unread && (last_write.launch() != by.launch || last_write.is_of(by));
            if is_fine {
                write.store(mark, Relaxed);
            }
            is_fine
        })
    }

    /// All of it.
    pub fn words(&self) -> &[AtomicU32] {
        &self.words
    }

    fn touch_word(&self, word: usize, mask: u8, access: Access, by: Toucher) -> Result<(), FaultKind> {
        let address = self.start + 4 * word as u64;
        let write = Mark(self.writes[word].load(Relaxed));
        if access != Access::Write && write.written() & mask != mask {
            let address = address + u64::from((mask & !write.written()).trailing_zeros());
            return Err(FaultKind::Unwritten { space: Space::Global, address });
        }
        let block = by.block % Mark::BLOCKS;
        let race = |mark: Mark, other_access: Access| FaultKind::GlobalRace {
            access: access.name(),
            address,
            other_block: mark.block(),
            other_access: other_access.name(),
            other_line: mark.line(),
        };
        let foreign = |mark: Mark| mark.launch() == by.launch && mark.block() != block && mark.bytes() & mask != 0;
        if foreign(write) && !(access == Access::Atomic && write.flag()) {
            return Err(race(write, if write.flag() { Access::Atomic } else { Access::Write }));
        }
        let read = Mark(self.reads[word].load(Relaxed));
        if access == Access::Read {
            let known = read.launch() == by.launch && read.bytes() & mask == mask && read.block() == block;
            if !known {
                let several = foreign(read) || read.launch() == by.launch && read.flag() && read.bytes() & mask != 0;
                self.reads[word].store(Mark::new(by, several, mask, 0).0, Relaxed);
            }
            return Ok(());
        }
        // Of several readers the last is named; the flag says that there were others.
        if foreign(read) || read.launch() == by.launch && read.flag() && read.bytes() & mask != 0 {
            return Err(race(read, Access::Read));
        }
        let own = write.launch() == by.launch && write.block() == block;
        let bytes = mask | if own { write.bytes() } else { 0 };
        let mark = Mark::new(by, access == Access::Atomic, bytes, write.written() | mask);
        // Another block may have written other bytes of the word meanwhile.
        let with_others = |now: u64| Some(mark.0 | u64::from(Mark(now).written()));
        self.writes[word].fetch_update(Relaxed, Relaxed, with_others).expect("the closure always answers");
        Ok(())
    }

    /// Copies from the host.
    pub fn write(&self, first: usize, bytes: &[u8]) {
        let (front, middle) = bytes.split_at(front(first, bytes.len()));
        let (words, back) = middle.as_chunks::<4>();
        let middle = first + front.len();
        let put = |at: usize, bytes: &[u8]| {
            for (at, &byte) in (at..).zip(bytes) {
                self.store_bytes(at, 1, byte.into());
                self.mark_written(at, 1);
            }
        };
        put(first, front);
        for ((to, mark), word) in self.words[middle / 4..].iter().zip(&self.writes[middle / 4..]).zip(words) {
            to.store(u32::from_le_bytes(*word), Relaxed);
            mark.store(mark.load(Relaxed) | 15, Relaxed);
        }
        put(middle + 4 * words.len(), back);
    }

    /// Copies to the host.
    pub fn read(&self, first: usize, bytes: &mut [u8]) {
        let (front, middle) = bytes.split_at_mut(front(first, bytes.len()));
        let (words, back) = middle.as_chunks_mut::<4>();
        let middle = first + front.len();
        let get = |at: usize, bytes: &mut [u8]| {
            (at..).zip(bytes).for_each(|(at, byte)| *byte = self.load_bytes(at, 1) as u8);
        };
        get(first, front);
        for (from, word) in self.words[middle / 4..].iter().zip(&mut *words) {
            *word = from.load(Relaxed).to_le_bytes();
        }
        get(middle + 4 * words.len(), back);
    }

    /// The first byte of a range that nobody has written, if there is one.
    pub fn unwritten(&self, first: usize, bytes: usize) -> Option<usize> {
        let mut pieces = pieces(first, bytes);
        let (at, size) = pieces.find(|&(at, size)| !self.is_written(at, size))?;
        (at..at + size).find(|&at| !self.is_written(at, 1))
    }

    /// Takes a byte for not written from now on.
    pub fn forget(&self, offset: usize) {
        self.writes[offset / 4].fetch_and(!u64::from(mask(offset / 4, offset, 1)), Relaxed);
    }

    fn mark_written(&self, offset: usize, bytes: usize) {
        self.writes[offset / 4].fetch_or(u64::from(mask(offset / 4, offset, bytes)), Relaxed);
    }

    fn is_written(&self, offset: usize, bytes: usize) -> bool {
        let mask = mask(offset / 4, offset, bytes);
        Mark(self.writes[offset / 4].load(Relaxed)).written() & mask == mask
    }

    /// Takes all marks of launches off.
    pub fn forget_launches(&self) {
        self.writes.iter().for_each(|mark| mark.store(u64::from(Mark(mark.load(Relaxed)).written()), Relaxed));
        self.reads.iter().for_each(|mark| mark.store(0, Relaxed));
    }
}

/// How many bytes of a range lie in front of its first whole word.
fn front(first: usize, len: usize) -> usize {
    (first.next_multiple_of(4) - first).min(len)
}

/// A range cut into whole words and single bytes before and behind them: where each piece begins, and its size.
fn pieces(first: usize, len: usize) -> impl Iterator<Item = (usize, usize)> {
    let mut at = first;
    std::iter::from_fn(move || {
        let (here, left) = (at, first + len - at);
        let size = if here % 4 == 0 && left >= 4 { 4 } else { 1 };
        at += size;
        (left > 0).then_some((here, size))
    })
}

/// Which of a word's bytes an access touches.
fn mask(word: usize, offset: usize, bytes: usize) -> u8 {
    if bytes >= 4 { 15 } else { ((1 << bytes) - 1) << (offset - 4 * word) }
}

/// The lowest bits of a word, as many as one or two bytes have.
fn bits(bytes: usize) -> u32 {
    (1 << (8 * bytes)) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn by(block: u32) -> Toucher {
        Toucher { launch: 1, block, line: 10 + block }
    }

    #[test]
    fn blocks_may_share_reads_and_words_but_not_bytes() {
        let memory = Allocation::new(0x1000, 16);
        let touch = |offset, bytes, access, block| memory.touch(offset, bytes, access, by(block));
        assert!(matches!(touch(0, 4, Access::Read, 0), Err(FaultKind::Unwritten { .. })));
        memory.mark_written(0, 4);
        assert_eq!(touch(0, 4, Access::Read, 0), Ok(()));
        assert_eq!(touch(0, 4, Access::Read, 1), Ok(()));
        assert!(matches!(touch(0, 4, Access::Write, 1), Err(FaultKind::GlobalRace { .. })), "block 0 read it too");
        assert_eq!(touch(4, 1, Access::Write, 0), Ok(()));
        assert_eq!(touch(5, 1, Access::Write, 1), Ok(()));
        assert!(matches!(touch(5, 1, Access::Read, 2), Err(FaultKind::GlobalRace { other_block: 1, .. })));
        memory.mark_written(8, 4);
        assert_eq!(touch(8, 4, Access::Atomic, 0), Ok(()));
        assert_eq!(touch(8, 4, Access::Atomic, 1), Ok(()));
        assert!(matches!(touch(8, 4, Access::Read, 0), Err(FaultKind::GlobalRace { other_line: 11, .. })));
        let later = Toucher { launch: 2, block: 5, line: 1 };
        assert_eq!(memory.touch(8, 4, Access::Write, later), Ok(()), "launches follow one another");
    }
}
