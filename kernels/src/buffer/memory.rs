//! A caching pool of aligned blocks.
//!
//! Fresh pages cost a page fault for every 4 KiB, which on large activations is more than the arithmetic on them, and a
//! training step asks for the same sizes again and again. So a block that is let go is kept for the next taker of its
//! size class. Classes grow in steps of a quarter octave, so at most a fifth of a block is never used.
//!
//! Each thread keeps a few small blocks to itself, which it takes and gives back without a lock, and without a number that other
//! threads change as well: its line of the cache would go from core to core each time, which takes longer than a small task.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::cell::RefCell;
use std::ptr::NonNull;
use std::sync::Mutex;
use std::sync::atomic::{AtomicIsize, AtomicUsize, Ordering::Relaxed};

use crate::cpu::cache::Line;

/// Cache lines and the widest vector registers have this size in bytes.
const ALIGN: usize = 64;

/// How many bytes the pool may own beyond one and a half times what was ever in use at one time. What a step needed the next
/// one needs again, and its sizes come at different moments; more than that is left from other work, of other sizes.
const SLACK: usize = 256 << 20;

/// The size of a huge page. A block of some of them asks for such pages: it takes fewer entries of the table that finds
/// pages, which a walk across rows would wait for at each step.
const HUGE_PAGE: usize = 2 << 20;

/// How many size classes there are: four for each octave above four lines of 64 bytes.
const CLASSES: usize = 4 * 57;

/// Classes below this, up to 64 KiB, may be kept by a thread.
const LOCAL_CLASSES: usize = 36;

/// How many blocks of a class a thread keeps.
const LOCAL_BLOCKS: usize = 4;

/// How many bytes a thread may have taken, or given back, before it tells the others.
const UNTOLD: usize = 64 << 10;

static FREE: [Mutex<Vec<Block>>; CLASSES] = [const { Mutex::new(Vec::new()) }; CLASSES];
/// What is in use, as far as threads have told. Less than nothing where one gave back what another has not told of.
static LIVE: Line<AtomicIsize> = Line(AtomicIsize::new(0));
static PEAK: AtomicUsize = AtomicUsize::new(0);
/// What was taken from the system and not given back; what of it is not live is cached.
static OWNED: AtomicUsize = AtomicUsize::new(0);
static FRESH: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static LOCAL: RefCell<Local> = const { RefCell::new(Local::new()) };
}

/// What a thread keeps to itself.
struct Local {
    /// Blocks by class.
    blocks: [Vec<Block>; LOCAL_CLASSES],
    /// How many bytes it took since it last told the others, less those that it gave back.
    taken: isize,
}

impl Local {
    const fn new() -> Self {
        Self { blocks: [const { Vec::new() }; LOCAL_CLASSES], taken: 0 }
    }

    fn tell(&mut self) {
        tell(std::mem::take(&mut self.taken));
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        self.tell();
        for (class, blocks) in self.blocks.iter_mut().enumerate() {
            shared(class).append(blocks);
        }
    }
}

/// Changes what is in use for all threads to see.
fn tell(change: isize) {
    let live = LIVE.0.fetch_add(change, Relaxed) + change;
    let live = usize::try_from(live).unwrap_or(0);
    if live > PEAK.load(Relaxed) {
        PEAK.fetch_max(live, Relaxed);
    }
}

/// What the pool holds, in bytes: exact for what the calling thread takes and gives back, and to 64 KiB for each other thread.
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
    _ = LOCAL.try_with(|local| local.borrow_mut().tell());
    let live = usize::try_from(LIVE.0.load(Relaxed)).unwrap_or(0);
    Stats {
        live,
        peak: PEAK.load(Relaxed),
        // While other threads take and give back, the two figures may be of different moments.
        cached: OWNED.load(Relaxed).saturating_sub(live),
        fresh_blocks: FRESH.load(Relaxed),
    }
}

/// Gives all cached blocks back to the system, but for the few small ones that other threads keep to themselves.
pub fn trim() {
    let local = LOCAL.try_with(|local| std::mem::replace(&mut *local.borrow_mut(), Local::new()));
    // Dropped, they are where all threads find them.
    drop(local);
    for class in 0..CLASSES {
        let blocks = std::mem::take(&mut *shared(class));
        blocks.into_iter().for_each(Block::release);
    }
}

/// The blocks of a class that any thread may take.
fn shared(class: usize) -> std::sync::MutexGuard<'static, Vec<Block>> {
    // A panic while the lock was held cannot leave the list half changed, so a poisoned lock is still good.
    FREE[class].lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Counts `change` bytes as taken, and returns what `f` makes of the calling thread's own blocks of a class; nothing if it
/// keeps none of that class.
fn with_local<R>(change: isize, class: usize, f: impl FnOnce(&mut Vec<Block>) -> Option<R>) -> Option<R> {
    let result = LOCAL.try_with(|local| {
        let local = &mut *local.borrow_mut();
        local.taken += change;
        if local.taken.unsigned_abs() >= UNTOLD {
            local.tell();
        }
        local.blocks.get_mut(class).and_then(f)
    });
    result.unwrap_or_else(|_| {
        // A thread that is about to end has nothing of its own any more.
        tell(change);
        None
    })
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
        let (class, size) = size_class(bytes);
        let cached = with_local(size.cast_signed(), class, Vec::pop).or_else(|| shared(class).pop());
        cached.unwrap_or_else(|| {
            let peak = PEAK.load(Relaxed);
            if OWNED.load(Relaxed) + size > peak + peak / 2 + SLACK {
                trim();
            }
            Self::fresh(size)
        })
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
        OWNED.fetch_add(size, Relaxed);
        // SAFETY: `size_class` never returns zero.
        let start = unsafe { alloc(layout) };
        let start = NonNull::new(start).unwrap_or_else(|| handle_alloc_error(layout));
        if layout.align() == HUGE_PAGE {
            ask_for_huge_pages(start, size);
        }
        // SAFETY: the block has this size, and any bytes may be written to it.
        unsafe { start.as_ptr().write_bytes(0, size) };
        Self { start, size }
    }

    /// Gives the memory back to the system instead of the pool.
    fn release(self) {
        OWNED.fetch_sub(self.size, Relaxed);
        // SAFETY: `start` came from `alloc` with this very layout, and `forget` keeps `drop` from using it again.
        unsafe { dealloc(self.start.as_ptr(), Self::layout(self.size)) };
        std::mem::forget(self);
    }

    fn layout(size: usize) -> Layout {
        let align = if size >= 2 * HUGE_PAGE { HUGE_PAGE } else { ALIGN };
        Layout::from_size_align(size, align).expect("callers check sizes before taking memory")
    }
}

/// Tells the system to serve the block with huge pages. It may decline, which costs nothing but time.
fn ask_for_huge_pages(start: NonNull<u8>, size: usize) {
    #[cfg(target_os = "linux")]
    // SAFETY: the range belongs to the caller, and the advice changes none of its contents.
    unsafe {
        libc::madvise(start.as_ptr().cast(), size, libc::MADV_HUGEPAGE);
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (start, size);
}

impl Drop for Block {
    fn drop(&mut self) {
        let block = Self { start: self.start, size: self.size };
        let (class, _) = size_class(block.size);
        let change = -block.size.cast_signed();
        let mut block = Some(block);
        with_local(change, class, |blocks| (blocks.len() < LOCAL_BLOCKS).then(|| blocks.extend(block.take())));
        if block.is_some() {
            shared(class).extend(block);
        }
    }
}

/// The number and the size of the smallest class that holds `bytes`: `ALIGN * {5, 6, 7, 8} * 2^k`, or up to four lines.
pub(crate) fn size_class(bytes: usize) -> (usize, usize) {
    let units = bytes.div_ceil(ALIGN).max(1);
    if units <= 4 {
        return (units - 1, units * ALIGN);
    }
    let octave = ((units - 1).ilog2() - 2) as usize;
    let quarters = units.div_ceil(1 << octave);
    (4 * octave + quarters - 1, (quarters << octave) * ALIGN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_hold_what_was_asked_for_and_waste_at_most_a_fifth() {
        for bytes in (0..5000).chain([65_535, 65_536, 65_537, 1_000_003]) {
            let (class, size) = size_class(bytes);
            assert!(size >= bytes.max(1) && size.is_multiple_of(ALIGN), "{bytes} bytes got {size}");
            let rounded = bytes.next_multiple_of(ALIGN);
            assert!(size < 4 * ALIGN || (size - rounded) * 5 <= size, "{bytes} bytes waste much of {size}");
            assert_eq!(size_class(size), (class, size), "a class is its own class");
            assert!(size_class(size + 1).0 == class + 1 && class < CLASSES, "classes are numbered in order");
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

    #[test]
    fn what_other_threads_gave_back_is_found() {
        const ODD: usize = 23_456;
        let blocks: Vec<_> = (0..3 * LOCAL_BLOCKS).map(|_| Block::take(ODD)).collect();
        let mut starts: Vec<_> = blocks.iter().map(|block| block.start).collect();
        std::thread::spawn(move || drop(blocks)).join().unwrap();
        let again: Vec<_> = starts.iter().map(|_| Block::take(ODD)).collect();
        let mut found: Vec<_> = again.iter().map(|block| block.start).collect();
        starts.sort();
        found.sort();
        assert_eq!(starts, found);
    }

    #[test]
    fn sizes_that_nobody_takes_again_are_not_kept_for_ever() {
        for megabytes in [320, 400, 500, 640] {
            drop(Block::take(megabytes << 20));
            let Stats { live, peak, cached, .. } = stats();
            assert!(live + cached <= peak + peak / 2 + SLACK, "{cached} bytes are kept, and {peak} were in use");
        }
    }

    #[test]
    fn the_largest_size_has_a_class() {
        let (class, size) = size_class(isize::MAX as usize - 4096);
        assert!(class < CLASSES && size >= isize::MAX as usize - 4096, "{class} {size}");
    }
}
