//! Cutting work into chunks for several threads.
//!
//! Chunks depend on the size of the work alone, never on how many threads there are, and partial results come back in
//! the order of the chunks: the same bits at any thread count. Work that is too small to pay for waking another thread
//! runs on the calling one.
//!
//! Threads come from rayon, which starts them and puts them to sleep; the thread that first computes is one of them. Waking
//! a sleeping thread takes longer than most of a small network's kernels: over a hundred microseconds on a virtual machine.
//! So a worker that has had work looks for more for a while (`stay_awake`), as OpenMP's do, and finds it on a `board`
//! without any detour: there a caller shares tasks in less than a microsecond, and never waits for a sleeper.

mod board;

use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ops::Range;
use std::slice;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use self::board::Parts;
use super::cache::{Line, caches};
use crate::{Error, Result};

/// How much work a chunk is at least, in passes of one element: some ten microseconds, several times what it costs to wake
/// a sleeping thread.
pub const GRAIN: usize = 1 << 15;

/// More threads than this are a slip of the hand.
pub const MAX_THREADS: usize = 1024;

/// How long a worker without work stays awake: the longest pause within a training step, several times over.
const LINGER: Duration = Duration::from_millis(2);

/// How many threads there are, 0 before anyone asked.
static THREADS: AtomicUsize = AtomicUsize::new(0);

/// Whether the next call of [`for_tasks_over`] goes backwards.
static BACK: Line<AtomicBool> = Line(AtomicBool::new(false));

/// How many workers stay awake, or were asked to.
static AWAKE: AtomicUsize = AtomicUsize::new(0);

/// Sets how many threads kernels use; to be called once, before the first kernel. With 1 no thread is ever woken.
///
/// # Errors
/// If `count` is 0 or absurd, or threads are running already.
pub fn set_threads(count: usize) -> Result<()> {
    check(count)?;
    if count > 1 {
        start(count).map_err(|error| cannot_start(count, &error))?;
    }
    THREADS.store(count, Relaxed);
    Ok(())
}

/// Runs `f` on `count` threads of its own, whatever the rest of the process uses; to compare counts with one another.
///
/// # Errors
/// If `count` is 0 or absurd, or the threads cannot be started.
pub fn with_threads<R: Send>(count: usize, f: impl FnOnce() -> R + Send) -> Result<R> {
    check(count)?;
    let pool = rayon::ThreadPoolBuilder::new().num_threads(count).build();
    Ok(pool.map_err(|error| cannot_start(count, &error))?.install(f))
}

/// Whether `count` threads can be asked for.
///
/// # Errors
/// If it is 0 or absurd.
pub fn check(count: usize) -> Result<()> {
    match count {
        1..=MAX_THREADS => Ok(()),
        _ => Err(Error::Threads(format!("threads: {count} is out of range; give a number from 1 to {MAX_THREADS}"))),
    }
}

fn cannot_start(count: usize, error: &rayon::ThreadPoolBuildError) -> Error {
    Error::Threads(format!("threads: cannot start {count}: {error}"))
}

/// Starts `count` threads, of which the calling one is the first.
fn start(count: usize) -> std::result::Result<(), rayon::ThreadPoolBuildError> {
    rayon::ThreadPoolBuilder::new().num_threads(count).use_current_thread().build_global()
}

/// How many threads kernels use when called from here.
pub fn threads() -> usize {
    match THREADS.load(Relaxed) {
        0 => start_all(),
        1 if rayon::current_thread_index().is_none() => 1,
        _ => rayon::current_num_threads(),
    }
}

/// Starts as many threads as the machine has cores, or `RAYON_NUM_THREADS` says.
#[cold]
fn start_all() -> usize {
    // Inside somebody else's pool nothing is to be started.
    if rayon::current_thread_index().is_none() {
        // Where the global pool is there already, it is as good.
        _ = start(0);
        THREADS.store(rayon::current_num_threads(), Relaxed);
    }
    rayon::current_num_threads()
}

/// Runs `f` on one of the threads that kernels use, so that they share work with their caller instead of putting it to
/// sleep. Need not be called by the thread that called [`set_threads`], which is one of them.
pub fn run<R: Send>(f: impl FnOnce() -> R + Send) -> R {
    if threads() == 1 || rayon::current_thread_index().is_some() { f() } else { rayon::scope(|_| f()) }
}

/// Asks for workers that are not awake. There may be more threads than cores, but those would only take turns.
fn wake_workers() {
    static CORES: OnceLock<usize> = OnceLock::new();
    let cores = *CORES.get_or_init(|| std::thread::available_parallelism().map_or(1, usize::from));
    let missing = threads().min(cores).saturating_sub(1 + AWAKE.load(Relaxed));
    if missing > 0 {
        AWAKE.fetch_add(missing, Relaxed);
        (0..missing).for_each(|_| rayon::spawn(stay_awake));
    }
}

/// Helps whoever has work to share, until nobody had any for `LINGER`.
fn stay_awake() {
    let mut idle = Instant::now();
    while idle.elapsed() < LINGER {
        let mut looks = 0;
        while looks < 256 && !board::help() {
            std::hint::spin_loop();
            looks += 1;
        }
        // Between looks at the board, whatever else rayon may have.
        if looks < 256 || rayon::yield_now() == Some(rayon::Yield::Executed) {
            idle = Instant::now();
        }
    }
    AWAKE.fetch_sub(1, Relaxed);
}

/// The length of a chunk of `len` elements of which each costs `cost` (1: read and write; 10: a dozen instructions).
///
/// A multiple of 64 elements, so that chunks of aligned memory are aligned. Depends on nothing but the arguments.
pub fn chunk_len(len: usize, cost: usize) -> usize {
    let smallest = (GRAIN / cost.max(1)).max(1);
    // More than some hundred chunks balance no better and only cost bookkeeping.
    smallest.max(len / 256).next_multiple_of(64)
}

/// Calls `f(start, chunk)` for consecutive chunks of `chunk` elements of `y`, the last one shorter.
///
/// The function is taken as an object, here and below, so that the machinery that spreads work is compiled once for a type
/// instead of once for every kernel; a call costs nothing beside a chunk's work.
pub fn for_chunks<T: Send>(y: &mut [T], chunk: usize, f: &(dyn Fn(usize, &mut [T]) + Sync)) {
    for_chunks_over(size_of_val(y), y, chunk, f);
}

/// [`for_chunks`] where the work is not over `y` but over so many bytes of something else; see `for_tasks_over`.
pub fn for_chunks_over<T: Send>(bytes: usize, y: &mut [T], chunk: usize, f: &(dyn Fn(usize, &mut [T]) + Sync)) {
    let chunk = chunk.max(1);
    let count = y.len().div_ceil(chunk);
    let parts = Parts::new(y);
    // SAFETY: `y` is borrowed until all tasks are done, and each task has a chunk of its own.
    for_tasks_over(bytes, count, &|i| f(i * chunk, unsafe { parts.part(i * chunk, chunk) }));
}

/// Some columns of some rows of a matrix, which one task writes.
pub struct Block<'a, T> {
    start: *mut T,
    rows: usize,
    columns: usize,
    /// The distance between rows.
    stride: usize,
    matrix: PhantomData<&'a mut [T]>,
}

impl<T> Block<'_, T> {
    /// The block's part of each row.
    pub fn rows(&mut self) -> impl Iterator<Item = &mut [T]> {
        // SAFETY: `for_blocks` keeps the matrix borrowed, and gives each task a block within it that no other has a part of.
        (0..self.rows).map(|i| unsafe { slice::from_raw_parts_mut(self.start.add(i * self.stride), self.columns) })
    }
}

// SAFETY: a block is an exclusive part of a matrix, as a slice would be.
unsafe impl<T: Send> Send for Block<'_, T> {}

/// The row-major matrix `y` of `width` columns as blocks of all rows and at most `columns` columns.
pub fn column_blocks<T: Send>(y: &mut [T], width: usize, columns: usize) -> impl Iterator<Item = Block<'_, T>> {
    assert!(y.len().is_multiple_of(width), "the rows are {width} long");
    let (rows, start) = (y.len() / width, y.as_mut_ptr());
    (0..if rows > 0 { width } else { 0 }).step_by(columns).map(move |j| Block {
        start: start.wrapping_add(j),
        rows,
        columns: columns.min(width - j),
        stride: width,
        matrix: PhantomData,
    })
}

/// How many columns a task has of a matrix of few rows that is cut between columns alone, a multiple of the widest register's: each
/// thread then has the columns that it has in the products before and after (see `matmul/long.rs`), and finds them in its own cache.
pub fn columns_of_few(rows: usize, width: usize) -> usize {
    /// Elements of a task, at least, and how many tasks there are at most.
    const LEAST: usize = 4096;
    const MOST: usize = 4;
    // A power of two, so that two threads, and four, have the same number each.
    let parts = 1 << (rows * width / LEAST).clamp(1, MOST).ilog2();
    width.div_ceil(parts).next_multiple_of(16).min(width)
}

/// What computes a block of a matrix: its rows, its columns, and the block.
pub type OnBlock<'a, T> = dyn Fn(Range<usize>, Range<usize>, &mut Block<'_, T>) + Sync + 'a;

/// Calls `f(rows, columns, block)` for blocks of at most `rows` rows and `columns` columns that cover the row-major matrix `y`
/// of `width` columns. Blocks of the same rows follow each other, so that a thread has whole rows but for its first and last ones:
/// caches fetch ahead along rows, and would take away what another thread writes there.
pub fn for_blocks<T: Send>(y: &mut [T], width: usize, (rows, columns): (usize, usize), f: &OnBlock<'_, T>) {
    if y.is_empty() {
        return;
    }
    assert!(y.len().is_multiple_of(width), "the rows are {width} long");
    let height = y.len() / width;
    let (down, across) = (height.div_ceil(rows), width.div_ceil(columns));
    let bytes = size_of_val(y);
    let parts = Parts::new(y);
    for_tasks_over(bytes, down * across, &|task| {
        let (i, j) = (task / across * rows, task % across * columns);
        let (rows, columns) = (i..height.min(i + rows), j..width.min(j + columns));
        let (start, matrix) = (parts.place(i * width + j), PhantomData);
        f(
            rows.clone(),
            columns.clone(),
            &mut Block { start, rows: rows.len(), columns: columns.len(), stride: width, matrix },
        );
    });
}

/// What computes a part of a row: which row, where the part begins, and a slice of each of the row's arrays.
pub type OnRows<'a, T, const N: usize> = dyn Fn(usize, usize, [&mut [T]; N]) + Sync + 'a;

/// Calls `f(row, start, parts)` for parts of rows, each of which is some slices of one length or none: their elements from
/// `start` on. Together the parts cover all rows. Work is cut as if the rows stood one after the other, so that many short
/// ones are as little trouble as a long one; `cost` is what [`chunk_len`] wants to know.
pub fn for_rows<T: Send, const N: usize>(rows: &mut [[&mut [T]; N]], cost: usize, f: &OnRows<'_, T, N>) {
    let mut ends = Vec::with_capacity(rows.len());
    let mut parts = Vec::with_capacity(rows.len());
    for row in rows {
        ends.push(ends.last().unwrap_or(&0) + row[0].len());
        parts.push(row.each_mut().map(|slice| Parts::new(slice)));
    }
    let total = ends.last().copied().unwrap_or(0);
    let chunk = chunk_len(total, cost);
    for_tasks(total.div_ceil(chunk), &|i| {
        let (mut at, end) = (i * chunk, total.min((i + 1) * chunk));
        let mut row = ends.partition_point(|&end| end <= at);
        while at < end {
            let first = if row == 0 { 0 } else { ends[row - 1] };
            let len = end.min(ends[row]) - at;
            // SAFETY: `rows` is borrowed until all tasks are done, and no two tasks have an element in common.
            f(row, at - first, parts[row].each_ref().map(|slice| unsafe { slice.part(at - first, len) }));
            at += len;
            row += 1;
        }
    });
}

/// `f(range)` for consecutive ranges of `chunk` numbers that cover `0..len`, in order.
pub fn map_chunks<R: Send>(len: usize, chunk: usize, f: &(dyn Fn(Range<usize>) -> R + Sync)) -> Vec<R> {
    let chunk = chunk.max(1);
    let range = |i: usize| i * chunk..len.min((i + 1) * chunk);
    map_tasks(len.div_ceil(chunk), &|i| f(range(i)))
}

/// `f(0)`, `f(1)`, … up to `count`, in order; each is worth a chunk's work.
pub fn map_tasks<R: Send>(count: usize, f: &(dyn Fn(usize) -> R + Sync)) -> Vec<R> {
    let mut results: Vec<MaybeUninit<R>> = Vec::with_capacity(count);
    results.resize_with(count, MaybeUninit::uninit);
    let parts = Parts::new(&mut results);
    for_tasks(count, &|i| {
        // SAFETY: `results` is borrowed until all tasks are done, and each task has an element of its own.
        let result = unsafe { parts.part(i, 1) };
        result[0].write(f(i));
    });
    // SAFETY: every task has written its element; had one panicked, so would have `for_tasks`.
    results.into_iter().map(|result| unsafe { result.assume_init() }).collect()
}

/// Calls `f(0)`, `f(1)`, … up to `count` in any order; each is worth a chunk's work.
///
/// Tasks that come up within a task, or while another thread shares its own, run on the thread that has them.
pub fn for_tasks(count: usize, f: &(dyn Fn(usize) + Sync)) {
    let threads = threads();
    if count > 1 && threads > 1 {
        wake_workers();
        if board::share(count, threads, f) {
            return;
        }
    }
    (0..count).for_each(f);
}

/// [`for_tasks`] that read or write so many bytes, and about as many again.
///
/// What does not fit into the second-level cache is gone through the other way round at every second call, by each thread:
/// that begins with the data that the call before ended with, which are still there. Less than that is better done in one
/// order, where a thread that is early takes the same tasks of another's half each time.
fn for_tasks_over(bytes: usize, count: usize, f: &(dyn Fn(usize) + Sync)) {
    let l2 = caches().l2;
    let threads = if 2 * bytes > l2 { threads() } else { 1 };
    if 2 * bytes <= l2 * threads || !BACK.0.fetch_xor(true, Relaxed) {
        return for_tasks(count, f);
    }
    // The tasks that the caller will have done when it meets its helpers, if all are as fast.
    let own = count / threads;
    for_tasks(count, &|i| f(turned(i, own, count)));
}

/// Task `i` where the first `own` of `count` tasks, and likewise the rest, are counted from their end.
fn turned(i: usize, own: usize, count: usize) -> usize {
    if i < own { own - 1 - i } else { own + (count - 1 - i) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_cover_everything_once_and_in_order() {
        for len in [0, 1, 63, 64, 65, 1000, 100_000] {
            let mut y = vec![0; len];
            for_chunks(&mut y, 64, &|start, y| y.iter_mut().enumerate().for_each(|(i, y)| *y += start + i));
            assert!(y.iter().copied().eq(0..len), "{len}");
            let parts = map_chunks(len, 64, &|range| range.collect::<Vec<_>>());
            assert!(parts.into_iter().flatten().eq(0..len), "{len}");
        }
    }

    #[test]
    fn blocks_cover_a_matrix_once() {
        for (height, width, rows, columns) in [(0, 3, 2, 2), (1, 1, 1, 1), (7, 10, 3, 4), (8, 9, 20, 2), (5, 6, 1, 50)]
        {
            let mut y = vec![0; height * width];
            for_blocks(&mut y, width, (rows, columns), &|rows, columns, block| {
                for (i, row) in rows.zip(block.rows()) {
                    columns.clone().zip(row).for_each(|(j, y)| *y += 1 + i * width + j);
                }
            });
            assert!(y.iter().copied().eq(1..=height * width), "{height} {width} {rows} {columns}");
        }
    }

    #[test]
    fn rows_are_covered_once_whatever_their_lengths() {
        let lens = [0, 1, 64, 40_000, 0, 3, 100_000, 7];
        let mut whole: Vec<Vec<usize>> = lens.iter().map(|&len| vec![0; len]).collect();
        let mut rows: Vec<[&mut [usize]; 2]> = whole.iter_mut().map(|row| [row.as_mut_slice(), &mut []]).collect();
        for_rows(&mut rows, 1, &|row, start, [part, none]| {
            assert!(none.is_empty());
            part.iter_mut().enumerate().for_each(|(i, x)| *x += 1 + row + start + i);
        });
        for (row, values) in whole.iter().enumerate() {
            assert!(values.iter().copied().eq((0..lens[row]).map(|i| 1 + row + i)), "{row}");
        }
    }

    #[test]
    fn tasks_are_done_once_in_either_direction() {
        for (own, count) in [(0, 1), (1, 1), (4, 8), (9, 9), (3, 10)] {
            let mut tasks: Vec<usize> = (0..count).map(|i| turned(i, own, count)).collect();
            assert!(tasks[..own].iter().copied().eq((0..own).rev()), "{own} of {count}");
            tasks.sort_unstable();
            assert!(tasks.into_iter().eq(0..count), "{own} of {count}");
        }
    }

    #[test]
    fn absurd_counts_are_refused() {
        for count in [0, MAX_THREADS + 1, usize::MAX] {
            assert!(set_threads(count).unwrap_err().to_string().contains("1 to 1024"));
            assert!(with_threads(count, || ()).is_err());
        }
    }

    #[test]
    fn a_pool_is_asked_for_its_own_size() {
        assert_eq!(with_threads(3, threads).unwrap(), 3);
        assert_eq!(with_threads(1, threads).unwrap(), 1);
    }
}
