//! The device's memory: allocations at addresses of their own, and who touched which word in the launch that runs.
//!
//! Blocks run on several cores and a faulty kernel may race, so every word is an atomic: a race gives a report, never
//! undefined behaviour. Sizes are rounded up to whole words, but accesses are checked against the size that was asked for.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use crate::fault::FaultKind;
use crate::isa::Space;

/// The first address. Low addresses are never valid, so that a null pointer with an offset is found.
const FIRST: u64 = 0x7f00_0000_0000;

/// What allocations are aligned to, as the driver promises.
const ALIGN: u64 = 256;

/// Why memory was not given or not copied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MemoryError {
    /// Nothing of this size is left.
    #[error("out of memory: {asked} bytes asked for, {used} of {limit} in use")]
    Full {
        /// How many bytes were asked for.
        asked: u64,
        /// How many are in use.
        used: u64,
        /// How many there are.
        limit: u64,
    },
    /// No allocation holds these bytes.
    #[error("no allocation holds {bytes} bytes at {address:#x}")]
    Outside {
        /// Where.
        address: u64,
        /// How many.
        bytes: u64,
    },
}

/// All allocations of a device.
#[derive(Debug)]
pub struct Memory {
    allocations: BTreeMap<u64, Allocation>,
    next: u64,
    used: u64,
    limit: u64,
    /// The number of the launch that runs; marks of earlier ones are void.
    pub(crate) launch: u16,
}

impl Default for Memory {
    fn default() -> Self {
        Self::new(8 << 30)
    }
}

impl Memory {
    /// A device with `limit` bytes.
    pub fn new(limit: u64) -> Self {
        Self { allocations: BTreeMap::new(), next: FIRST, used: 0, limit, launch: 0 }
    }

    /// The address of `bytes` new bytes, which count as not written.
    ///
    /// # Errors
    /// If so much is not left.
    pub fn allocate(&mut self, bytes: u64) -> Result<u64, MemoryError> {
        let full = MemoryError::Full { asked: bytes, used: self.used, limit: self.limit };
        if bytes > self.limit - self.used {
            return Err(full);
        }
        let address = self.next;
        self.allocations.insert(address, Allocation::new(address, bytes as usize));
        // A gap keeps neighbours apart, so that a step too far is outside of both.
        self.next += bytes.next_multiple_of(ALIGN) + ALIGN;
        self.used += bytes;
        Ok(address)
    }

    /// Gives back what [`Memory::allocate`] gave.
    ///
    /// # Errors
    /// If no allocation begins there.
    pub fn free(&mut self, address: u64) -> Result<(), MemoryError> {
        let gone = self.allocations.remove(&address).ok_or(MemoryError::Outside { address, bytes: 0 })?;
        self.used -= gone.len as u64;
        Ok(())
    }

    /// How many bytes are in use.
    pub fn used(&self) -> u64 {
        self.used
    }

    /// How many bytes there are.
    pub fn limit(&self) -> u64 {
        self.limit
    }

    /// Copies from the host.
    ///
    /// # Errors
    /// If no allocation holds so many bytes there.
    pub fn write(&self, address: u64, bytes: &[u8]) -> Result<(), MemoryError> {
        let allocation = self.holding(address, bytes.len())?;
        let first = (address - allocation.start) as usize;
        for (at, size) in pieces(first, bytes.len()) {
            let piece = &bytes[at - first..][..size];
            let value = piece.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte));
            allocation.store_bytes(at, size, value);
            allocation.mark_written(at, size);
        }
        Ok(())
    }

    /// Copies to the host; bytes that nobody has written are whatever they are.
    ///
    /// # Errors
    /// If no allocation holds so many bytes there.
    pub fn read(&self, address: u64, bytes: &mut [u8]) -> Result<(), MemoryError> {
        let allocation = self.holding(address, bytes.len())?;
        let first = (address - allocation.start) as usize;
        for (at, size) in pieces(first, bytes.len()) {
            let value = allocation.load_bytes(at, size).to_le_bytes();
            bytes[at - first..][..size].copy_from_slice(&value[..size]);
        }
        Ok(())
    }

    /// The first byte of a range that nobody has written, if there is one.
    ///
    /// # Errors
    /// If no allocation holds so many bytes there.
    pub fn unwritten(&self, address: u64, bytes: usize) -> Result<Option<u64>, MemoryError> {
        let allocation = self.holding(address, bytes)?;
        let first = (address - allocation.start) as usize;
        Ok((first..first + bytes).find(|&at| !allocation.is_written(at, 1)).map(|at| allocation.start + at as u64))
    }

    /// The allocation that an address lies in or right behind.
    pub(crate) fn find(&self, address: u64) -> Option<&Allocation> {
        self.allocations.range(..=address).next_back().map(|(_, allocation)| allocation)
    }

    /// Begins a launch: what earlier ones touched no longer matters.
    pub(crate) fn begin_launch(&mut self) {
        self.launch = self.launch.wrapping_add(1);
        if self.launch == 0 {
            self.allocations.values().for_each(Allocation::forget_launches);
            self.launch = 1;
        }
    }

    fn holding(&self, address: u64, bytes: usize) -> Result<&Allocation, MemoryError> {
        let outside = MemoryError::Outside { address, bytes: bytes as u64 };
        self.find(address).filter(|allocation| allocation.holds(address, bytes)).ok_or(outside)
    }
}

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
    fn new(start: u64, len: usize) -> Self {
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
        self.writes[word].store(mark.0, Relaxed);
        Ok(())
    }

    fn mark_written(&self, offset: usize, bytes: usize) {
        self.writes[offset / 4].fetch_or(u64::from(mask(offset / 4, offset, bytes)), Relaxed);
    }

    fn is_written(&self, offset: usize, bytes: usize) -> bool {
        let mask = mask(offset / 4, offset, bytes);
        Mark(self.writes[offset / 4].load(Relaxed)).written() & mask == mask
    }

    fn forget_launches(&self) {
        self.writes.iter().for_each(|mark| mark.store(u64::from(Mark(mark.load(Relaxed)).written()), Relaxed));
        self.reads.iter().for_each(|mark| mark.store(0, Relaxed));
    }
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
    fn copies_keep_bytes_and_find_what_is_outside() {
        let mut memory = Memory::new(1000);
        let at = memory.allocate(7).unwrap();
        memory.write(at + 1, &[1, 2, 3, 4, 5, 6]).unwrap();
        let mut back = [0; 5];
        memory.read(at + 2, &mut back).unwrap();
        assert_eq!(back, [2, 3, 4, 5, 6]);
        assert_eq!(memory.unwritten(at, 7), Ok(Some(at)));
        assert_eq!(memory.unwritten(at + 1, 6), Ok(None));
        assert!(memory.write(at + 5, &[0; 3]).is_err());
        assert!(memory.read(at - 1, &mut back).is_err());
        assert_eq!(memory.allocate(994), Err(MemoryError::Full { asked: 994, used: 7, limit: 1000 }));
        memory.free(at).unwrap();
        assert!(memory.free(at).is_err());
        assert!(memory.allocate(1000).is_ok());
    }

    #[test]
    fn blocks_may_share_reads_and_words_but_not_bytes() {
        let memory = Allocation::new(FIRST, 16);
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
