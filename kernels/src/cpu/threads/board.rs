//! The board: a thread with tasks to share pins them up here, and workers that are awake come and take some.
//!
//! Nobody waits for a worker that has not taken a task, so sharing costs next to nothing if none is awake. Where one is, the two
//! cores hand lines of the cache to each other, and each of these steps may take longer than a small task. So there are few:
//! all that a worker has to know is in the one line that it looks at, the caller has the first tasks before anyone sees the rest,
//! who comes takes several tasks at a time while many are left, and a worker says that they are done before it looks for more.

use std::any::Any;
use std::cell::UnsafeCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering::*};
use std::sync::{Mutex, PoisonError};

use crate::cpu::cache::Line;
use crate::cpu::stream::prefetch;

type Task<'a> = dyn Fn(usize) + Sync + 'a;

/// What is pinned up. Two lines of the cache, of which a core that reads one may take the other too.
#[repr(align(128))]
struct Board {
    /// The tasks that nobody has taken yet.
    left: AtomicU64,
    /// Where the memory of `task` begins, for asking for it before one may look.
    near: AtomicPtr<()>,
    /// How many threads may come, the caller among them.
    threads: AtomicUsize,
    /// What a task does. Only who has taken one may look, until it has said that it is done.
    task: UnsafeCell<Option<&'static Task<'static>>>,
}

// SAFETY: `task` is written by the thread that has `TAKEN`, when no task is left, and read by those that have taken one.
unsafe impl Sync for Board {}

static BOARD: Board = Board {
    left: AtomicU64::new(0),
    near: AtomicPtr::new(ptr::null_mut()),
    threads: AtomicUsize::new(1),
    task: UnsafeCell::new(None),
};

/// How many tasks of the job that is pinned up workers have done.
static DONE: Line<AtomicUsize> = Line(AtomicUsize::new(0));

/// Whether somebody is using the board.
static TAKEN: Line<AtomicBool> = Line(AtomicBool::new(false));

/// What the first task that panicked left.
static PANIC: Mutex<Option<Box<dyn Any + Send>>> = Mutex::new(None);

/// Tasks that nobody has taken yet, in 64 bits.
///
/// Who shares them takes them from the front, and workers take them from the end: so with two threads each works on the same half of
/// the data in one kernel after the other, and finds it in its own cache.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Left {
    /// The job's number, so that a worker that was asleep between looking and taking does not take a task of another job. Jobs
    /// would have to come round to the same number meanwhile, in more than an hour.
    job: u32,
    first: u16,
    end: u16,
}

/// How many tasks a job has, at most.
const MOST: usize = u16::MAX as usize;

impl Left {
    fn of(bits: u64) -> Self {
        Self { job: (bits >> 32) as u32, first: (bits >> 16) as u16, end: bits as u16 }
    }

    fn bits(self) -> u64 {
        u64::from(self.job) << 32 | u64::from(self.first) << 16 | u64::from(self.end)
    }

    fn is_empty(self) -> bool {
        self.first >= self.end
    }

    /// How many tasks one of so many threads takes at a time: half of an equal share of what is left, so that the last ones are
    /// taken one by one and all threads are done together, after much fewer takings than there are tasks. This is guided
    /// self-scheduling (Polychronopoulos and Kuck 1987), whose whole share leaves nobody anything to take over from a slow thread.
    fn handful(self, threads: usize) -> u16 {
        (usize::from(self.end - self.first) / (2 * threads)).max(1) as u16
    }
}

/// Changes what is left to what `f` makes of it, if there is anything, and tells what was left before.
fn change(f: impl Fn(Left) -> Left) -> Option<Left> {
    let change = |bits| Some(Left::of(bits)).filter(|left| !left.is_empty()).map(|left| f(left).bits());
    BOARD.left.fetch_update(AcqRel, Acquire, change).ok().map(Left::of)
}

/// Calls `task` with each of the numbers. If one panics, its thread leaves out the others, and nobody takes another one.
fn run(task: &Task<'_>, numbers: impl Iterator<Item = u16>) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| numbers.for_each(|i| task(usize::from(i))))) {
        change(|left| Left { first: left.end, ..left });
        PANIC.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(panic);
    }
}

/// Calls `task(0)`, `task(1)`, … up to `count` on this thread and on those of `threads` that come to help. If the board is in
/// use, by another thread or further up on this one's stack, does nothing and says so.
pub fn share(count: usize, threads: usize, task: &Task<'_>) -> bool {
    if count > MOST {
        let each = count.div_ceil(MOST);
        return share(count.div_ceil(each), threads, &|i| (i * each..count.min((i + 1) * each)).for_each(task));
    }
    if TAKEN.0.swap(true, Acquire) {
        return false;
    }
    // SAFETY: only the lifetime changes; nobody looks at the task after this function has returned.
    let forever = unsafe { std::mem::transmute::<&Task<'_>, &'static Task<'static>>(task) };
    // SAFETY: all tasks of the job before were taken, and whoever took one has said that it is done.
    unsafe { *BOARD.task.get() = Some(forever) };
    BOARD.near.store(ptr::from_ref(task).cast_mut().cast(), Relaxed);
    BOARD.threads.store(threads, Relaxed);
    DONE.0.store(0, Relaxed);
    let job = Left::of(BOARD.left.load(Relaxed)).job.wrapping_add(1);
    let all = Left { job, first: 0, end: count as u16 };
    let rest = |left: Left| Left { first: left.first + left.handful(threads), ..left };
    // The first tasks are this thread's already, so that it need not wait for the line to come back.
    BOARD.left.store(if all.is_empty() { all } else { rest(all) }.bits(), Release);
    let mut next = Some(all).filter(|all| !all.is_empty());
    while let Some(left) = next {
        run(task, left.first..rest(left).first);
        next = change(rest);
    }
    let elsewhere = count - usize::from(Left::of(BOARD.left.load(Relaxed)).end);
    let mut spins = 0u32;
    while DONE.0.load(Acquire) != elsewhere {
        spins = spins.wrapping_add(1);
        if spins.is_multiple_of(1 << 14) {
            // A worker seems to wait for a core.
            std::thread::yield_now();
        }
        std::hint::spin_loop();
    }
    let panic = PANIC.lock().unwrap_or_else(PoisonError::into_inner).take();
    TAKEN.0.store(false, Release);
    if let Some(panic) = panic {
        resume_unwind(panic);
    }
    true
}

/// Does tasks of what is pinned up, if anything is. Tells whether there was one.
pub fn help() -> bool {
    if Left::of(BOARD.left.load(Relaxed)).is_empty() {
        return false;
    }
    prefetch(BOARD.near.load(Relaxed));
    let threads = BOARD.threads.load(Relaxed);
    let rest = |left: Left| Left { end: left.end - left.handful(threads), ..left };
    let mut worked = false;
    while let Some(left) = change(rest) {
        // SAFETY: this thread has a task of the job whose `share` wrote it, and which waits until all have said that they are done.
        let task = unsafe { *BOARD.task.get() }.expect("written before there are tasks");
        run(task, (rest(left).end..left.end).rev());
        DONE.0.fetch_add(usize::from(left.handful(threads)), Release);
        worked = true;
    }
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
            for round in 0..if cfg!(miri) { 40 } else { 2000 } {
                let counts: Vec<AtomicUsize> = (0..round % 17).map(|_| AtomicUsize::new(0)).collect();
                let task = |i: usize| _ = counts[i].fetch_add(1, Relaxed);
                // Other tests may be at the board.
                while !share(counts.len(), 4, &task) {}
                assert!(counts.iter().all(|count| count.load(Relaxed) == 1), "{round}");
            }
            over.store(true, Relaxed);
        });
    }

    #[test]
    fn a_board_in_use_is_left_alone_and_a_panic_reaches_the_caller() {
        let inner = AtomicUsize::new(0);
        let fails = |_: usize| {
            inner.fetch_add(usize::from(!share(1, 2, &|_| ())), Relaxed);
            panic!("of a task");
        };
        let caught = loop {
            match catch_unwind(AssertUnwindSafe(|| share(1, 2, &fails))) {
                Ok(false) => {}
                other => break other,
            }
        };
        assert_eq!(*caught.unwrap_err().downcast::<&str>().unwrap(), "of a task");
        assert_eq!(inner.load(Relaxed), 1);
        while !share(1, 2, &|_| ()) {}
    }

    #[test]
    fn a_panic_anywhere_ends_the_job_and_leaves_the_board_to_the_next() {
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Relaxed) {
                    help();
                }
            });
            for round in 0..if cfg!(miri) { 20 } else { 200 } {
                let done = AtomicUsize::new(0);
                let task = |i: usize| {
                    assert!(i != round % 9, "task {i}");
                    done.fetch_add(1, Relaxed);
                };
                let caught = loop {
                    match catch_unwind(AssertUnwindSafe(|| share(9, 2, &task))) {
                        Ok(false) => {}
                        other => break other,
                    }
                };
                let text = caught.unwrap_err().downcast::<String>().unwrap();
                assert_eq!(*text, format!("task {}", round % 9));
                assert!(done.into_inner() < 9);
            }
            over.store(true, Relaxed);
        });
    }

    #[test]
    #[cfg_attr(miri, ignore = "a hundred thousand tasks take Miri half an hour")]
    fn more_tasks_than_the_board_counts_are_done_as_well() {
        let counts: Vec<AtomicUsize> = (0..2 * MOST + 5).map(|_| AtomicUsize::new(0)).collect();
        while !share(counts.len(), 4, &|i| _ = counts[i].fetch_add(1, Relaxed)) {}
        assert!(counts.iter().all(|count| count.load(Relaxed) == 1));
    }
}
