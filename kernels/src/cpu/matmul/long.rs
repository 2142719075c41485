//! Products with few rows and a long sum, as a small batch times a weight: the sum is cut instead of the result.
//!
//! Each part adds up some rows of `b`, and the parts' results, small beside `b`, are added in order. A thread that has the
//! first rows of the weights here has the same rows of them when their gradient is added to them, so they stay in its own
//! cache: fetching them from another core's takes longer than the arithmetic. Parts depend on the sizes alone, so results
//! have the same bits at any thread count.

use super::grid::{Grid, Split};
use super::kernels::Kernels;
use super::{Number, Problem, Target, block, complete};
use crate::Buffer;
use crate::cpu::threads;

/// Rows of `b` that a part has, at least.
const ROWS: usize = 128;

/// Parts, at most: each has a result of its own to be written and read again.
const MOST: usize = 4;

/// Elements of `b` that two cores' own caches hold on most machines. Of more, no thread would find its rows there again, and parts'
/// results would be written and fetched for nothing.
const NEAR: usize = 1 << 19;

/// Columns that threads can share instead.
const WIDE: usize = 256;

/// How many parts the sum is cut into.
pub(super) fn parts<T>(p: &Problem<T>) -> usize {
    let few_rows = p.m > 1 && p.n > 1 && p.k >= 8 * p.m;
    let is_far = p.n >= WIDE && p.k * p.n > NEAR;
    if !few_rows || is_far || p.accumulate || p.b.col != 1 || p.c.col != 1 {
        return 1;
    }
    // A power of two, so that two threads, and four, have the same number each.
    1 << (p.k / ROWS).clamp(1, MOST).ilog2()
}

/// Elements of the result that are put together at a time.
const TOGETHER: usize = 4096;

crate::simd! {
    /// A row of the result from its first part, the other parts, `distance` apart, and the bias.
    pub(in crate::cpu) fn add_parts<T>(row: &mut [T], first: &[T], rest: &[T], distance: usize, bias: &[T]) where [T: Number] {
        row.copy_from_slice(first);
        for part in rest.chunks(distance) {
            for (sum, &part) in row.iter_mut().zip(part) {
                *sum = *sum + part;
            }
        }
        for (sum, &bias) in row.iter_mut().zip(bias) {
            *sum = *sum + bias;
        }
    }
}

/// Computes a product in `parts` parts.
///
/// # Safety
/// As for [`products`](super::products).
pub(super) unsafe fn product<T: Number>(kernels: &Kernels<T>, p: &Problem<'_, T>, parts: usize) {
    let len = p.m * p.n;
    let split = Split::new(p.k, parts, 1);
    let mut sums = Buffer::unspecified(T::DTYPE, parts * len);
    let sums = sums.as_mut_slice::<T>();
    let whole =
        Problem { c: Target { start: sums.as_mut_ptr(), row: p.n as isize, col: 1 }, bias: None, then: None, ..*p };
    let part = |i: usize| {
        let rows = split.range(i);
        let (a, b) = (rows.start as isize * p.a.col, rows.start as isize * p.b.row);
        Problem { k: rows.len(), ..whole.shifted([a, b, (i * len) as isize]) }
    };
    let grid = Grid::new(kernels, &part(0), parts);
    threads::for_tasks(parts * grid.len(), &|task| {
        let (rows, columns) = grid.part(task % grid.len());
        // SAFETY: parts have places of their own in `sums`, and those of the grid do not overlap.
        unsafe { block(kernels, &part(task / grid.len()), rows, columns) };
    });
    let (first, rest) = sums.split_at(len);
    let mut bias = Buffer::unspecified(T::DTYPE, p.n);
    let bias = bias.as_mut_slice::<T>();
    for (j, bias) in bias.iter_mut().enumerate() {
        // SAFETY: the caller vouches for the bias, which is as large as `c`.
        *bias = p.bias.map_or(T::default(), |bias| unsafe { *bias.at(0, j) });
    }
    // A power of two here as well.
    let rows = Split::new(p.m, len.div_ceil(TOGETHER).next_power_of_two(), 1);
    threads::for_tasks(rows.parts(), &|task| {
        let rows = rows.range(task);
        let (first, rest) = (&first[rows.start * p.n..rows.end * p.n], &rest[rows.start * p.n..]);
        for (i, first) in rows.clone().zip(first.chunks_exact(p.n)) {
            // SAFETY: the caller vouches for `c`, whose rows have neighbouring elements; nobody else has this one.
            let row = unsafe { std::slice::from_raw_parts_mut(p.c.at(i, 0), p.n) };
            add_parts(row, first, &rest[(i - rows.start) * p.n..], len, bias);
        }
        // SAFETY: passed on.
        unsafe { complete(p, None, p.then, rows, 0..p.n) };
    });
}
