//! The device's memory: allocations at addresses of their own, and who touched which word in the launch that runs.
//!
//! Blocks run on several cores and a faulty kernel may race, so every word is an atomic: a race gives a report, never
//! undefined behaviour. Sizes are rounded up to whole words, but accesses are checked against the size that was asked for.

mod allocation;

use std::collections::BTreeMap;

pub(crate) use allocation::{Access, Allocation, Toucher};

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
        allocation.write((address - allocation.start) as usize, bytes);
        Ok(())
    }

    /// Copies to the host; bytes that nobody has written are whatever they are.
    ///
    /// # Errors
    /// If no allocation holds so many bytes there.
    pub fn read(&self, address: u64, bytes: &mut [u8]) -> Result<(), MemoryError> {
        let allocation = self.holding(address, bytes.len())?;
        allocation.read((address - allocation.start) as usize, bytes);
        Ok(())
    }

    /// Writes `value`, so many times.
    ///
    /// # Errors
    /// If no allocation holds so many bytes there.
    pub fn fill(&self, address: u64, value: &[u8], count: usize) -> Result<(), MemoryError> {
        let bytes = value.len().saturating_mul(count);
        let allocation = self.holding(address, bytes)?;
        let first = (address - allocation.start) as usize;
        // Many values at once, since each write begins anew.
        let many = value.repeat((4096 / value.len().max(1)).min(count));
        for at in (0..bytes).step_by(many.len().max(1)) {
            allocation.write(first + at, &many[..many.len().min(bytes - at)]);
        }
        Ok(())
    }

    /// Copies within the device; what nobody has written stays so.
    ///
    /// # Errors
    /// If an allocation is missing, or holds fewer bytes.
    pub fn copy(&self, to: u64, from: u64, bytes: usize) -> Result<(), MemoryError> {
        let (target, source) = (self.holding(to, bytes)?, self.holding(from, bytes)?);
        let (to, from) = ((to - target.start) as usize, (from - source.start) as usize);
        let mut kept = vec![0; bytes];
        source.read(from, &mut kept);
        let mut unwritten = Vec::new();
        let mut at = 0;
        while let Some(next) = source.unwritten(from + at, bytes - at) {
            unwritten.push(next - from);
            at = next - from + 1;
        }
        target.write(to, &kept);
        unwritten.into_iter().for_each(|at| target.forget(to + at));
        Ok(())
    }

    /// The first byte of a range that nobody has written, if there is one.
    ///
    /// # Errors
    /// If no allocation holds so many bytes there.
    pub fn unwritten(&self, address: u64, bytes: usize) -> Result<Option<u64>, MemoryError> {
        let allocation = self.holding(address, bytes)?;
        let first = (address - allocation.start) as usize;
        Ok(allocation.unwritten(first, bytes).map(|at| allocation.start + at as u64))
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

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!(memory.fill(at, &[7, 8], 3), Ok(()));
        memory.read(at, &mut back).unwrap();
        assert_eq!(back, [7, 8, 7, 8, 7]);
        assert!(memory.fill(at + 6, &[7, 8], 1).is_err());
        memory.free(at).unwrap();
        assert!(memory.free(at).is_err());
        assert!(memory.allocate(1000).is_ok());
    }

    #[test]
    fn copies_do_not_make_unwritten_bytes_written() {
        let mut memory = Memory::new(1000);
        let (from, to) = (memory.allocate(9).unwrap(), memory.allocate(9).unwrap());
        memory.write(from + 3, &[1, 2, 3, 4, 5]).unwrap();
        memory.write(to, &[9; 9]).unwrap();
        memory.copy(to + 1, from + 2, 6).unwrap();
        let mut back = [0; 9];
        memory.read(to, &mut back).unwrap();
        assert_eq!((back[0], &back[2..7], back[8]), (9, &[1, 2, 3, 4, 5][..], 9));
        assert_eq!(memory.unwritten(to, 9), Ok(Some(to + 1)));
        assert_eq!(memory.unwritten(to + 2, 7), Ok(None));
        assert!(memory.copy(to, from, 10).is_err());
    }
}
