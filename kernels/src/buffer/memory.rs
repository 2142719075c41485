//! A caching pool of aligned blocks.
//!
//! Fresh pages cost a page fault for every 4 KiB, which on large activations is more than the arithmetic on them, and a
//! training step asks for the same sizes again and again. So a block that is let go is kept for the next taker of its
//! size class. Classes grow in steps of a quarter octave, so at most a fifth of a block is never used.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::collections::HashMap;
use std::ptr::NonNull;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Cache lines and the widest vector registers have this size in bytes.
const ALIGN: usize = 64;

/// Free blocks are given back to the system beyond this many bytes.
const CACHE_LIMIT: usize = 1 << 30;

static FREE: Mutex<Option<HashMap<usize, Vec<Block>>>> = Mutex::new(None);
static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);
static CACHED: AtomicUsize = AtomicUsize::new(0);
static FRESH: AtomicUsize = AtomicUsize::new(0);

/// What the pool holds, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stats {
    /// In use now.
    pub live: usize,
    /// The most that was ever in use at one time.
    pub peak: usize,
    /// Kept for the next taker.
    pub cached: usize,
    /// How many blocks were taken from the system so far.
    pub fresh_blocks: usize,
}

/// The pool's figures at this moment.
pub fn stats() -> Stats {
    Stats {
        live: LIVE.load(Relaxed),
        peak: PEAK.load(Relaxed),
        cached: CACHED.load(Relaxed),
        fresh_blocks: FRESH.load(Relaxed),
    }
}

/// Gives all cached blocks back to the system.
pub fn trim() {
    let blocks = lock().take();
    for block in blocks.into_iter().flat_map(HashMap::into_values).flatten() {
        CACHED.fetch_sub(block.size, Relaxed);
        block.release();
    }
}

fn lock() -> std::sync::MutexGuard<'static, Option<HashMap<usize, Vec<Block>>>> {
    // A panic while the lock was held cannot leave the map half changed, so a poisoned lock is still good.
    FREE.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// A block of initialised memory that returns to the pool when dropped.
#[derive(Debug)]
pub struct Block {
    start: NonNull<u8>,
    size: usize,
}

// SAFETY: a block is plain memory with one owner; `&Block` gives only shared slices of it.
unsafe impl Send for Block {}
// SAFETY: as above.
unsafe impl Sync for Block {}

impl Block {
    /// A block of at least `bytes` bytes with unspecified contents.
    pub fn take(bytes: usize) -> Self {
        let size = size_class(bytes);
        let live = LIVE.fetch_add(size, Relaxed) + size;
        PEAK.fetch_max(live, Relaxed);
        let cached = lock().as_mut().and_then(|free| free.get_mut(&size)?.pop());
        match cached {
            Some(block) => {
                CACHED.fetch_sub(size, Relaxed);
                block
            }
            None => Self::fresh(size),
        }
    }

    /// The memory.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: `start` points to `size` bytes that were zeroed when taken and belong to this block alone.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.size) }
    }

    /// The memory, for writing.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`; `&mut self` makes the access exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.size) }
    }

    fn fresh(size: usize) -> Self {
        let layout = Self::layout(size);
        FRESH.fetch_add(1, Relaxed);
        // SAFETY: `size_class` never returns zero.
        let start = unsafe { alloc_zeroed(layout) };
        let start = NonNull::new(start).unwrap_or_else(|| handle_alloc_error(layout));
        Self { start, size }
    }

    /// Gives the memory back to the system instead of the pool.
    fn release(self) {
        // SAFETY: `start` came from `alloc_zeroed` with this very layout, and `forget` keeps `drop` from using it again.
        unsafe { dealloc(self.start.as_ptr(), Self::layout(self.size)) };
        std::mem::forget(self);
    }

    fn layout(size: usize) -> Layout {
        Layout::from_size_align(size, ALIGN).expect("callers check sizes before taking memory")
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        let block = Self { start: self.start, size: self.size };
        LIVE.fetch_sub(block.size, Relaxed);
        if CACHED.load(Relaxed) + block.size > CACHE_LIMIT {
            return block.release();
        }
        CACHED.fetch_add(block.size, Relaxed);
        lock().get_or_insert_default().entry(block.size).or_default().push(block);
    }
}

/// The smallest size of the form `ALIGN * {4, 5, 6, 7} * 2^k / 4` that holds `bytes`.
fn size_class(bytes: usize) -> usize {
    let units = bytes.div_ceil(ALIGN).max(1);
    if units <= 4 {
        return units * ALIGN;
    }
    let step = 1 << ((units - 1).ilog2() - 2);
    units.next_multiple_of(step) * ALIGN
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_hold_what_was_asked_for_and_waste_at_most_a_fifth() {
        for bytes in (0..5000).chain([65_535, 65_536, 65_537, 1_000_003]) {
            let size = size_class(bytes);
            assert!(size >= bytes.max(1) && size.is_multiple_of(ALIGN), "{bytes} bytes got {size}");
            let rounded = bytes.next_multiple_of(ALIGN);
            assert!(size < 4 * ALIGN || (size - rounded) * 5 <= size, "{bytes} bytes waste much of {size}");
            assert_eq!(size_class(size), size, "a class is its own class");
        }
    }

    #[test]
    fn a_dropped_block_serves_the_next_taker() {
        const ODD: usize = 7_654_321;
        let block = Block::take(ODD);
        let start = block.start;
        drop(block);
        assert_eq!(Block::take(ODD).start, start);
    }
}
