//! The board: a thread with tasks to share pins them up here, and workers that are awake come and take some.
//!
//! Handing out a task is one addition to a shared counter, and nobody waits for a worker that has not taken any. So sharing
//! costs a fraction of a microsecond if a worker is awake, and less if none is.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering::*};
use std::sync::{Mutex, PoisonError};

/// What is pinned up now; null if nothing is.
static PINNED: AtomicPtr<Job> = AtomicPtr::new(ptr::null_mut());
/// How many workers may be looking at what is pinned up.
static READERS: AtomicUsize = AtomicUsize::new(0);
/// Whether somebody is using the board.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// Tasks that several threads work through.
struct Job {
    /// What a task does; it lives as long as the call of [`share`] that pinned the job up.
    task: *const (dyn Fn(usize) + Sync),
    /// The tasks that nobody has taken yet: the first in the upper half of the bits, the end in the lower.
    ///
    /// Who shares them takes them from the front, and helpers take them from the end: so with two threads each works on the
    /// same half of the data in one kernel after the other, and finds it in its own cache.
    left: AtomicU64,
    /// What the first task that panicked left.
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

impl Job {
    /// A task, if there is one left.
    fn take(&self, from_the_end: bool) -> Option<usize> {
        let taken = self.left.fetch_update(Relaxed, Relaxed, |left| {
            let (first, end) = (left >> 32, left & u64::from(u32::MAX));
            let rest = if from_the_end { left.wrapping_sub(1) } else { left + (1 << 32) };
            (first < end).then_some(rest)
        });
        let (first, end) = taken.map(|left| (left >> 32, left & u64::from(u32::MAX))).ok()?;
        Some(if from_the_end { end - 1 } else { first } as usize)
    }

    /// Does tasks until there are none left. Tells whether there was one.
    fn work(&self, from_the_end: bool) -> bool {
        let mut worked = false;
        loop {
            let Some(i) = self.take(from_the_end) else {
                return worked;
            };
            worked = true;
            // SAFETY: a task is only taken between `share` pinning the job up and waiting for its readers.
            let task = || unsafe { (*self.task)(i) };
            if let Err(panic) = catch_unwind(AssertUnwindSafe(task)) {
                self.left.store(0, Relaxed);
                self.panic.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(panic);
            }
        }
    }
}

/// Calls `task(0)`, `task(1)`, … up to `count` on this thread and on all that come to help. If the board is in use, by
/// another thread or further up on this one's stack, does nothing and says so.
pub fn share(count: usize, task: &(dyn Fn(usize) + Sync)) -> bool {
    if count > u32::MAX as usize || TAKEN.swap(true, Acquire) {
        return false;
    }
    // SAFETY: only the lifetime changes; nobody looks at the job after this function has returned.
    let task: &'static (dyn Fn(usize) + Sync) = unsafe { std::mem::transmute(task) };
    let job = Job { task, left: AtomicU64::new(count as u64), panic: Mutex::new(None) };
    PINNED.store(ptr::from_ref(&job).cast_mut(), SeqCst);
    job.work(false);
    PINNED.store(ptr::null_mut(), SeqCst);
    // Who has not become a reader by now will find the board empty; who has may still be at a task.
    let mut spins = 0u32;
    while READERS.load(SeqCst) != 0 {
        spins = spins.wrapping_add(1);
        if spins.is_multiple_of(1 << 14) {
            // The reader seems to wait for a core.
            std::thread::yield_now();
        }
        std::hint::spin_loop();
    }
    TAKEN.store(false, Release);
    if let Some(panic) = job.panic.into_inner().unwrap_or_else(PoisonError::into_inner) {
        resume_unwind(panic);
    }
    true
}

/// Does tasks of what is pinned up, if anything is. Tells whether there was one.
pub fn help() -> bool {
    if PINNED.load(Relaxed).is_null() {
        return false;
    }
    READERS.fetch_add(1, SeqCst);
    let job = PINNED.load(SeqCst);
    // SAFETY: the job outlives its readers: `share` empties the board, and then waits until there are none.
    let worked = !job.is_null() && unsafe { (*job).work(true) };
    READERS.fetch_sub(1, SeqCst);
    worked
}

/// A slice whose parts several tasks write, each its own.
pub struct Parts<T> {
    start: *mut T,
    len: usize,
}

// SAFETY: tasks get exclusive slices, or values, of what may be sent to another thread.
unsafe impl<T: Send> Sync for Parts<T> {}

impl<T> Parts<T> {
    /// The parts of `all`, which nobody else may use meanwhile.
    pub fn new(all: &mut [T]) -> Self {
        Self { start: all.as_mut_ptr(), len: all.len() }
    }

    /// Where element `at` stands.
    pub fn place(&self, at: usize) -> *mut T {
        assert!(at < self.len, "no element {at} of {}", self.len);
        self.start.wrapping_add(at)
    }

    /// The elements from `start` on, at most `len`, and as many as there are.
    ///
    /// # Safety
    /// The slice that [`Parts::new`] got is still borrowed, and no other part that is in use overlaps this one.
    #[expect(clippy::mut_from_ref, reason = "parts do not overlap")]
    pub unsafe fn part(&self, start: usize, len: usize) -> &mut [T] {
        let start = start.min(self.len);
        let len = len.min(self.len - start);
        // SAFETY: the part lies within the slice; the rest is the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(start), len) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_runs_once_with_helpers_coming_and_going() {
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    while !over.load(Relaxed) {
                        help();
                    }
                });
            }
            for round in 0..2000 {
                let counts: Vec<AtomicUsize> = (0..round % 17).map(|_| AtomicUsize::new(0)).collect();
                let task = |i: usize| _ = counts[i].fetch_add(1, Relaxed);
                // Other tests may be at the board.
                while !share(counts.len(), &task) {}
                assert!(counts.iter().all(|count| count.load(Relaxed) == 1), "{round}");
            }
            over.store(true, Relaxed);
        });
    }

    #[test]
    fn a_board_in_use_is_left_alone_and_a_panic_reaches_the_caller() {
        let inner = AtomicUsize::new(0);
        let fails = |_: usize| {
            inner.fetch_add(usize::from(!share(1, &|_| ())), Relaxed);
            panic!("of a task");
        };
        let caught = loop {
            match catch_unwind(AssertUnwindSafe(|| share(1, &fails))) {
                Ok(false) => {}
                other => break other,
            }
        };
        assert_eq!(*caught.unwrap_err().downcast::<&str>().unwrap(), "of a task");
        assert_eq!(inner.load(Relaxed), 1);
        while !share(1, &|_| ()) {}
    }
}
