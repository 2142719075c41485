//! Products with few rows and a long sum, as a small batch times a weight: the sum is cut instead of the result.
//!
//! Each part adds up some rows of `b`, and the parts' results, small beside `b`, are added: the first two, the second two, and then
//! both sums. A thread that has the first rows of the weights here has the same rows of them when their gradient is added to
//! them, so they stay in its own cache: fetching them from another core's takes longer than the arithmetic. Parts depend on the
//! sizes alone, and so does the order of additions: results have the same bits at any thread count.

use std::iter::once;
use std::slice;

use smallvec::SmallVec;

use super::grid::{Grid, Split};
use super::kernels::Kernels;
use super::{Number, Problem, Steps, Target, block, complete};
use crate::Buffer;
use crate::cpu::threads;

/// Rows of `b` that a part has, at least.
const ROWS: usize = 128;

/// Parts, at most: each may have a sum of its own to be written and read again.
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
    /// Adds one other sum and the bias to a row, or three as a tree: the second two before they come to the first two.
    fn add_others<T>(row: &mut [T], others: [&[T]; MOST - 1], bias: &[T]) where [T: Number] {
        let [second, third, fourth] = others;
        if third.is_empty() {
            for ((sum, &second), &bias) in row.iter_mut().zip(second).zip(bias) {
                *sum = *sum + second + bias;
            }
            return;
        }
        for ((((sum, &second), &third), &fourth), &bias) in row.iter_mut().zip(second).zip(third).zip(fourth).zip(bias) {
            *sum = *sum + second + (third + fourth) + bias;
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
    // Two threads add two parts each before they fetch the other's sum; tiles do so while they write, unless a part is itself a sum
    // of several blocks.
    let longest = split.range(0).len();
    let is_block = Steps::new(kernels, p.m, p.n, longest, false).k >= longest;
    let sums = if threads::threads() <= 2 && is_block { 2 } else { parts };
    let mut others = Buffer::unspecified(T::DTYPE, (sums - 1) * len);
    let others = others.as_mut_slice::<T>();
    // The first sum is made where the result goes.
    let places = others.chunks_exact_mut(len).map(|sum| Target { start: sum.as_mut_ptr(), row: p.n as isize, col: 1 });
    let places: SmallVec<[Target<T>; MOST]> = once(p.c).chain(places).collect();
    let each = parts / sums;
    let part = |i: usize| {
        let (rows, c, accumulate) = (split.range(i), places[i / each], !i.is_multiple_of(each));
        let shifted = p.shifted([rows.start as isize * p.a.col, rows.start as isize * p.b.row, 0]);
        Problem { k: rows.len(), c, accumulate, bias: None, then: None, ..shifted }
    };
    let problems: SmallVec<[Problem<'_, T>; MOST]> = (0..parts).map(part).collect();
    let grid = Grid::new(kernels, &problems[0], sums);
    threads::for_tasks(sums * grid.len(), &|task| {
        let (rows, columns) = grid.part(task % grid.len());
        for part in &problems[task / grid.len() * each..][..each] {
            // SAFETY: sums have places of their own, and parts of the grid do not overlap.
            unsafe { block(kernels, part, rows.clone(), columns.clone()) };
        }
    });
    let mut bias = Buffer::unspecified(T::DTYPE, p.n);
    let bias = bias.as_mut_slice::<T>();
    for (j, bias) in bias.iter_mut().enumerate() {
        // SAFETY: the caller vouches for the bias, which is as large as `c`.
        *bias = p.bias.map_or(T::default(), |bias| unsafe { *bias.at(0, j) });
    }
    let mut others = others.chunks_exact(len);
    let others: [&[T]; MOST - 1] = std::array::from_fn(|_| others.next().unwrap_or_default());
    // A power of two here as well.
    let rows = Split::new(p.m, len.div_ceil(TOGETHER).next_power_of_two(), 1);
    threads::for_tasks(rows.parts(), &|task| {
        let rows = rows.range(task);
        for i in rows.clone() {
            // SAFETY: the caller vouches for `c`, whose rows have neighbouring elements; nobody else has this one.
            let row = unsafe { slice::from_raw_parts_mut(p.c.at(i, 0), p.n) };
            add_others(row, others.map(|sum| sum.get(i * p.n..(i + 1) * p.n).unwrap_or_default()), bias);
        }
        // SAFETY: passed on.
        unsafe { complete(p, None, p.then, rows, 0..p.n) };
    });
}
