//! Reductions over any dimensions, without a transposed copy.
//!
//! The dimensions are put into one of two orders. If the last one is reduced, every result folds a *lane*, a stretch of
//! the reordered elements: in 32 partial results side by side, combined in a fixed order. If the last one is kept, whole
//! rows are folded into a row of results. Either way blocks, lanes and pieces depend on the shape alone.
//!
//! Sums and products of floats are kept in double precision, which costs little next to reading memory and leaves an
//! error of half a unit in the last place of the result.

use bytemuck::Pod;

use super::copy::cast;
use super::read::{BLOCK, Reader, Stage};
use super::threads::{GRAIN, for_chunks, map_tasks};
use crate::backend::Reduce;
use crate::buffer::scratch::Scratch;
use crate::{Buffer, DType, Element, Error, Layout, Result, Scalar, View, with_element};

/// Partial results side by side: enough of the widest registers to hide the time that an addition takes.
const LANES: usize = 32;

/// Elements folded into one partial result; what is longer is cut into pieces, for several threads.
const PIECE: usize = GRAIN;

/// Pieces of rows that each result is made of, at most, if they are long.
const PARTS: usize = 8;

/// How elements of type `T` are folded into one result.
pub trait Fold<T>: Copy + Sync {
    /// What the fold keeps.
    type Total: Pod + Send + Sync;
    /// The result for no elements.
    fn nothing(self) -> Self::Total;
    /// The result for one element.
    fn lift(self, x: T) -> Self::Total;
    /// The result with one more element.
    fn push(self, total: Self::Total, x: T) -> Self::Total;
    /// Two results as one.
    fn merge(self, a: Self::Total, b: Self::Total) -> Self::Total;
}

macro_rules! folds {
    ($($Fold:ident $T:ty => $Total:ty: $nothing:expr, |$a:ident, $b:ident| $merge:expr;)*) => {$(
        impl Fold<$T> for $Fold {
            type Total = $Total;
            #[inline(always)]
            fn nothing(self) -> $Total { $nothing }
            #[inline(always)]
            fn lift(self, x: $T) -> $Total { <$Total>::from(x) }
            #[inline(always)]
            fn push(self, total: $Total, x: $T) -> $Total { <Self as Fold<$T>>::merge(self, total, <Self as Fold<$T>>::lift(self, x)) }
            #[inline(always)]
            fn merge(self, $a: $Total, $b: $Total) -> $Total { $merge }
        }
    )*};
}

#[derive(Clone, Copy)]
struct Sum;
#[derive(Clone, Copy)]
struct Prod;
/// The largest; also for `arg_reduce`.
#[derive(Clone, Copy)]
pub struct Max;
/// The smallest; also for `arg_reduce`.
#[derive(Clone, Copy)]
pub struct Min;

folds! {
    Sum f32 => f64: 0.0, |a, b| a + b;
    Sum f64 => f64: 0.0, |a, b| a + b;
    Sum i64 => i64: 0, |a, b| a.wrapping_add(b);
    Prod f32 => f64: 1.0, |a, b| a * b;
    Prod f64 => f64: 1.0, |a, b| a * b;
    Prod i64 => i64: 1, |a, b| a.wrapping_mul(b);
    Max f32 => f32: f32::NEG_INFINITY, |a, b| if b > a || b.is_nan() { b } else { a };
    Max f64 => f64: f64::NEG_INFINITY, |a, b| if b > a || b.is_nan() { b } else { a };
    Max i64 => i64: i64::MIN, |a, b| a.max(b);
    Min f32 => f32: f32::INFINITY, |a, b| if b < a || b.is_nan() { b } else { a };
    Min f64 => f64: f64::INFINITY, |a, b| if b < a || b.is_nan() { b } else { a };
    Min i64 => i64: i64::MAX, |a, b| a.min(b);
}

crate::simd! {
    /// Folds each `len` elements of `x` into one of `totals`.
    pub(super) fn fold_lanes<F, T, A>(f: F, x: &[T], len: usize, totals: &mut [A]) where [F: Fold<T, Total = A>, T: Copy, A: Copy] {
        for (lane, total) in x.chunks_exact(len).zip(totals) {
            if len < LANES {
                *total = lane.iter().fold(*total, |total, &x| f.push(total, x));
                continue;
            }
            let mut partial = [f.nothing(); LANES];
            let (blocks, rest) = lane.as_chunks::<LANES>();
            for block in blocks {
                for (partial, &x) in partial.iter_mut().zip(block) {
                    *partial = f.push(*partial, x);
                }
            }
            for (partial, &x) in partial.iter_mut().zip(rest) {
                *partial = f.push(*partial, x);
            }
            let mut width = LANES / 2;
            while width > 0 {
                for i in 0..width {
                    partial[i] = f.merge(partial[i], partial[i + width]);
                }
                width /= 2;
            }
            *total = f.merge(*total, partial[0]);
        }
    }
    /// Folds the rows of `x` into the row `totals`.
    fn fold_rows<F, T, A>(f: F, x: &[T], totals: &mut [A]) where [F: Fold<T, Total = A>, T: Copy, A: Copy] {
        let width = totals.len();
        let fours = x.chunks_exact(4 * width);
        let rest = fours.remainder();
        for rows in fours {
            let (ab, cd) = rows.split_at(2 * width);
            let ((a, b), (c, d)) = (ab.split_at(width), cd.split_at(width));
            push_four(f, [a, b, c, d], totals);
        }
        for row in rest.chunks_exact(width) {
            for (total, &x) in totals.iter_mut().zip(row) {
                *total = f.push(*total, x);
            }
        }
    }
}

crate::simd! {
    /// Folds four rows into the row `totals`.
    fn fold_four<F, T, A>(f: F, rows: [&[T]; 4], totals: &mut [A]) where [F: Fold<T, Total = A>, T: Copy, A: Copy] {
        push_four(f, rows, totals);
    }
}

/// Four rows at a time read and write the totals a quarter as often.
#[inline(always)]
fn push_four<F: Fold<T>, T: Copy>(f: F, [a, b, c, d]: [&[T]; 4], totals: &mut [F::Total]) {
    for ((((total, &a), &b), &c), &d) in totals.iter_mut().zip(a).zip(b).zip(c).zip(d) {
        let (ab, cd) = (f.push(f.lift(a), b), f.push(f.lift(c), d));
        *total = f.merge(*total, f.merge(ab, cd));
    }
}

/// `op` over `axes`. `f16` and `bf16` are not meant to come here: see [`widen`](super::widen).
pub fn reduce(op: Reduce, x: View, axes: &[usize]) -> Result<Buffer> {
    let dtype = x.dtype();
    match dtype {
        DType::F32 => return Ok(reduce_floats::<f32>(op, x, axes)),
        DType::F64 => return Ok(reduce_floats::<f64>(op, x, axes)),
        _ if dtype.is_float() || op == Reduce::Mean => {
            return Err(Error::DType { op: "mean", dtype, hint: "cast to f32 first" });
        }
        _ => {}
    }
    let wide = cast(x, DType::I64);
    let layout = Layout::contiguous(x.shape());
    let x = View::new(&wide, &layout);
    let totals = match op {
        Reduce::Prod => fold::<i64, _>(Prod, x, axes),
        Reduce::Max => fold::<i64, _>(Max, x, axes),
        Reduce::Min => fold::<i64, _>(Min, x, axes),
        Reduce::Sum | Reduce::Mean => fold::<i64, _>(Sum, x, axes),
    };
    let sums = matches!(op, Reduce::Sum | Reduce::Prod);
    let to = if sums { sum_dtype(dtype) } else { dtype };
    Ok(with_element!(to, T => {
        let of = |x| if sums { T::wrap(x) } else { T::from_scalar(Scalar::Int(x)) };
        Buffer::from_fn::<T>(totals.len(), |i| of(totals[i]))
    }))
}

/// The type of sums: bytes and truth values would overflow at once.
pub fn sum_dtype(dtype: DType) -> DType {
    if matches!(dtype, DType::U8 | DType::Bool) { DType::I64 } else { dtype }
}

fn reduce_floats<T: Element>(op: Reduce, x: View, axes: &[usize]) -> Buffer
where
    Sum: Fold<T, Total = f64>,
    Prod: Fold<T, Total = f64>,
    Max: Fold<T, Total = T>,
    Min: Fold<T, Total = T>,
{
    let rounded = |totals: Scratch<f64>, count: f64| {
        let of = |x: f64| T::from_scalar(Scalar::Float(x / count));
        Buffer::from_fn(totals.len(), |i| of(totals[i]))
    };
    match op {
        Reduce::Sum => rounded(fold::<T, _>(Sum, x, axes), 1.0),
        Reduce::Prod => rounded(fold::<T, _>(Prod, x, axes), 1.0),
        Reduce::Mean => {
            let count: usize = axes.iter().map(|&axis| x.shape()[axis]).product();
            rounded(fold::<T, _>(Sum, x, axes), count as f64)
        }
        Reduce::Max => Buffer::from_slice(&fold::<T, _>(Max, x, axes)),
        Reduce::Min => Buffer::from_slice(&fold::<T, _>(Min, x, axes)),
    }
}

/// The results of `f` over `axes`, in row-major order of the other dimensions.
fn fold<T: Element, F: Fold<T>>(f: F, x: View, axes: &[usize]) -> Scratch<F::Total> {
    let shape = x.shape();
    let size = |order: &[usize]| order.iter().map(|&axis| shape[axis]).product::<usize>();
    // A dimension of size 1 is on whichever side suits.
    let reduced: Vec<usize> = axes.iter().copied().filter(|&axis| shape[axis] != 1).collect();
    let kept: Vec<usize> = (0..shape.len()).filter(|axis| shape[*axis] != 1 && !axes.contains(axis)).collect();
    let (outputs, depth) = (size(&kept), size(&reduced));
    let mut totals = Scratch::filled(outputs, f.nothing());
    if outputs == 0 || depth == 0 {
        return totals;
    }
    let last = reduced.last().copied().unwrap_or(0);
    let (before, behind): (Vec<usize>, Vec<usize>) = kept.iter().partition(|&&axis| axis < last);
    let order: Vec<usize> = [&before[..], &reduced[..], &behind[..]].concat();
    let layout = x.layout.permute(&order);
    let reader = Reader::new(View::new(x.buffer, &layout));
    if behind.is_empty() || depth == 1 {
        fold_all_lanes(f, &reader, depth, &mut totals);
    } else {
        fold_all_rows(f, &reader, depth, size(&behind), &mut totals);
    }
    totals
}

/// Each result folds the next `depth` elements.
fn fold_all_lanes<T: Element, F: Fold<T>>(f: F, x: &Reader<T>, depth: usize, totals: &mut [F::Total]) {
    if depth > PIECE {
        let pieces = depth.div_ceil(PIECE);
        let partial = map_tasks(totals.len() * pieces, &|task| {
            let start = task % pieces * PIECE;
            let mut total = f.nothing();
            let len = PIECE.min(depth - start);
            fold_lane(f, x, task / pieces * depth + start, len, &mut total, &mut Stage::new());
            total
        });
        for (total, partial) in totals.iter_mut().zip(partial.chunks_exact(pieces)) {
            *total = partial.iter().fold(*total, |total, &part| f.merge(total, part));
        }
        return;
    }
    for_chunks(totals, (PIECE / depth).max(1), &|first, totals| {
        let mut stage = Stage::new();
        let mut start = first * depth;
        for totals in totals.chunks_mut((BLOCK / depth).max(1)) {
            if depth <= BLOCK {
                fold_lanes(f, x.read(start, totals.len() * depth, &mut stage), depth, totals);
            } else {
                fold_lane(f, x, start, depth, &mut totals[0], &mut stage);
            }
            start += totals.len() * depth;
        }
    });
}

fn fold_lane<T: Element, F: Fold<T>>(
    f: F,
    x: &Reader<T>,
    start: usize,
    len: usize,
    total: &mut F::Total,
    stage: &mut Stage<T>,
) {
    for done in (0..len).step_by(BLOCK) {
        let block = x.read(start + done, BLOCK.min(len - done), stage);
        fold_lanes(f, block, block.len(), std::slice::from_mut(total));
    }
}

/// Each row of `width` results folds the next `depth` rows.
fn fold_all_rows<T: Element, F: Fold<T>>(f: F, x: &Reader<T>, depth: usize, width: usize, totals: &mut [F::Total]) {
    let block = width.min(BLOCK);
    // Of many rows few parts are made, since adding them up is one thread's work.
    let rows = (PIECE / block).max(depth.div_ceil(PARTS)).min(depth);
    // What is left to do: a stretch of one row of results, and where the elements of its first row begin.
    let mut tasks: Vec<(usize, &mut [F::Total])> = Vec::with_capacity(totals.len().div_ceil(block));
    for (i, totals) in totals.chunks_mut(width).enumerate() {
        let columns = totals.chunks_mut(block).enumerate();
        tasks.extend(columns.map(|(column, totals)| (i * depth * width + column * block, totals)));
    }
    let fold_rows = |first: usize, count: usize, totals: &mut [F::Total], stages: &mut [Stage<T>; 4]| {
        // Whole rows stand one behind another, so that several short ones are read at once.
        let together = if totals.len() == width { BLOCK / width } else { 1 };
        if together >= 4 {
            for row in (0..count).step_by(together) {
                let len = together.min(count - row) * totals.len();
                fold_rows(f, x.read(first + row * width, len, &mut stages[0]), totals);
            }
            return;
        }
        let len = totals.len();
        for row in (0..count).step_by(4) {
            let start = |i: usize| first + (row + i) * width;
            if count - row >= 4 {
                let [a, b, c, d] = &mut *stages;
                let rows = [
                    x.read(start(0), len, a),
                    x.read(start(1), len, b),
                    x.read(start(2), len, c),
                    x.read(start(3), len, d),
                ];
                fold_four(f, rows, totals);
            } else {
                (0..count - row).for_each(|i| fold_rows(f, x.read(start(i), len, &mut stages[0]), totals));
            }
        }
    };
    if rows == depth {
        return for_chunks(&mut tasks, (PIECE / (rows * block)).max(1), &|_, tasks| {
            let mut stages = [const { Stage::new() }; 4];
            tasks.iter_mut().for_each(|(first, totals)| fold_rows(*first, depth, totals, &mut stages));
        });
    }
    let pieces = depth.div_ceil(rows);
    let partial = map_tasks(tasks.len() * pieces, &|task| {
        let (first, totals) = &tasks[task / pieces];
        let row = task % pieces * rows;
        let mut partial = Scratch::filled(totals.len(), f.nothing());
        fold_rows(first + row * width, rows.min(depth - row), &mut partial, &mut [const { Stage::new() }; 4]);
        partial
    });
    for ((_, totals), partial) in tasks.iter_mut().zip(partial.chunks_exact(pieces)) {
        for part in partial {
            totals.iter_mut().zip(part.iter()).for_each(|(total, &part)| *total = f.merge(*total, part));
        }
    }
}
