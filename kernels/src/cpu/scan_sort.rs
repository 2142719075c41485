//! What keeps an order along one dimension: running sums, sorting, and where the largest stands.

use std::cmp::Ordering;

use super::copy::{Dense, cast, with_axis_last};
use super::read::{BLOCK, Reader, Stage, for_parts};
use super::reduce::{Fold, Max, Min, fold_lanes, sum_dtype};
use super::threads::GRAIN;
use crate::backend::ArgReduce;
use crate::{Buffer, DType, Element, Layout, Result, Scalar, View, with_element};

/// The index of what `op` looks for along `axis`. `f16` and `bf16` are not meant to come here.
pub fn arg_reduce(op: ArgReduce, x: View, axis: usize) -> Result<Buffer> {
    match x.dtype() {
        DType::F32 => Ok(arg_extreme::<f32>(op, x, axis)),
        DType::F64 => Ok(arg_extreme::<f64>(op, x, axis)),
        _ => {
            let (wide, layout) = (cast(x, DType::I64), Layout::contiguous(x.shape()));
            Ok(arg_extreme::<i64>(op, View::new(&wide, &layout), axis))
        }
    }
}

/// Elements looked at side by side.
const LANES: usize = 64;

/// Which of two elements is looked for.
trait Better<T>: Copy + Sync {
    fn is_better(self, a: T, b: T) -> bool;
}

impl<T: PartialOrd> Better<T> for Max {
    #[inline(always)]
    fn is_better(self, a: T, b: T) -> bool {
        a > b
    }
}

impl<T: PartialOrd> Better<T> for Min {
    #[inline(always)]
    fn is_better(self, a: T, b: T) -> bool {
        a < b
    }
}

crate::simd! {
    /// The best of `x`, if no element is NaN: looking for both takes less time than a fold that knows NaN.
    fn best_number<F, T>(f: F, x: &[T], nothing: T) -> Option<T> where [F: Better<T>, T: PartialOrd + Copy] {
        let (mut best, mut odd) = ([nothing; LANES], [nothing; LANES]);
        let (blocks, rest) = x.as_chunks::<LANES>();
        for block in blocks {
            for ((best, odd), &x) in best.iter_mut().zip(&mut odd).zip(block) {
                *best = if f.is_better(x, *best) { x } else { *best };
                *odd = if is_nan(x) { x } else { *odd };
            }
        }
        if any(&odd, is_nan) || any(rest, is_nan) {
            return None;
        }
        let mut width = LANES / 2;
        while width > 0 {
            for i in 0..width {
                best[i] = if f.is_better(best[i + width], best[i]) { best[i + width] } else { best[i] };
            }
            width /= 2;
        }
        Some(rest.iter().fold(best[0], |best, &x| if f.is_better(x, best) { x } else { best }))
    }
    /// The first place of `wanted`, which is among `x`; NaN is itself here.
    fn place_of<T>(x: &[T], wanted: T) -> usize where [T: PartialOrd + Copy] {
        let (blocks, rest) = x.as_chunks::<LANES>();
        let is_wanted = |x: &T| if is_nan(wanted) { is_nan(*x) } else { *x == wanted };
        for (at, block) in blocks.iter().enumerate() {
            if any(block, |x| is_wanted(&x)) {
                return at * LANES + block.iter().position(is_wanted).unwrap_or(0);
            }
        }
        blocks.len() * LANES + rest.iter().position(is_wanted).unwrap_or(0)
    }
    /// Puts what is better in `row` into `best`, and `place` to where it is.
    fn improve<F, T>(f: F, row: &[T], best: &mut [T], place: u32, places: &mut [u32]) where [F: Better<T>, T: PartialOrd + Copy] {
        for ((&x, best), at) in row.iter().zip(best).zip(places) {
            let better = f.is_better(x, *best) || is_nan(x) && !is_nan(*best);
            *best = if better { x } else { *best };
            *at = if better { place } else { *at };
        }
    }
}

/// Whether `f` holds for any element, without stopping at the first: so it vectorises.
#[inline(always)]
fn any<T: Copy>(x: &[T], f: impl Fn(T) -> bool) -> bool {
    x.iter().fold(false, |any, &x| any | f(x))
}

fn arg_extreme<T: Element>(op: ArgReduce, x: View, axis: usize) -> Buffer
where
    Max: Fold<T, Total = T>,
    Min: Fold<T, Total = T>,
{
    match op {
        ArgReduce::Max => places::<T, _>(Max, x, axis),
        ArgReduce::Min => places::<T, _>(Min, x, axis),
    }
}

fn places<T: Element, F: Fold<T, Total = T> + Better<T>>(f: F, x: View, axis: usize) -> Buffer {
    let shape = x.shape();
    let (size, inner) = (shape[axis], shape[axis + 1..].iter().product::<usize>());
    let mut places = Buffer::unspecified(DType::I64, x.len() / size);
    let reader = Reader::<T>::new(x);
    // Rows are read in stretches of some length.
    let chunk = (GRAIN / size).max(if inner == 1 { 1 } else { BLOCK / 4 });
    for_parts(places.as_mut_slice::<i64>(), chunk, &|start, places| {
        if inner == 1 {
            let mut stage = Stage::new();
            for (lane, place) in (start..).zip(places) {
                *place = place_in_lane(f, &reader, lane * size, size, &mut stage) as i64;
            }
        } else {
            places_in_rows(f, &reader, size, inner, start, places);
        }
    });
    places
}

/// Where the best of `size` elements from `start` on stands first: the best of each block first, which vectorises, then
/// its place in the last block that had a better one.
fn place_in_lane<T: Element, F: Fold<T, Total = T> + Better<T>>(
    f: F,
    x: &Reader<T>,
    start: usize,
    size: usize,
    stage: &mut Stage<T>,
) -> usize {
    let (mut best, mut found) = (f.nothing(), 0);
    for done in (0..size).step_by(BLOCK) {
        let block = x.read(start + done, BLOCK.min(size - done), stage);
        let number = if block.len() < 2 * LANES { None } else { best_number(f, block, f.nothing()) };
        let most = number.unwrap_or_else(|| {
            let mut most = f.nothing();
            fold_lanes(f, block, block.len(), std::slice::from_mut(&mut most));
            most
        });
        if done == 0 || f.is_better(most, best) || is_nan(most) && !is_nan(best) {
            (best, found) = (most, done + place_of(block, most));
        }
    }
    found
}

/// Where the best along the middle one of three dimensions stands, for as many places as there are from `start` on.
fn places_in_rows<T: Element, F: Fold<T, Total = T> + Better<T>>(
    f: F,
    x: &Reader<T>,
    size: usize,
    inner: usize,
    mut start: usize,
    mut places: &mut [i64],
) {
    let (mut stage, mut best, mut at) = (Stage::new(), Vec::new(), [0; BLOCK]);
    while !places.is_empty() {
        let column = start % inner;
        let (now, later) = places.split_at_mut(places.len().min(inner - column).min(BLOCK));
        let first = start / inner * size * inner + column;
        let at = &mut at[..now.len()];
        at.fill(0);
        best.clear();
        best.extend_from_slice(x.read(first, now.len(), &mut stage));
        for row in 1..size {
            improve(f, x.read(first + row * inner, now.len(), &mut stage), &mut best, row as u32, at);
        }
        now.iter_mut().zip(at).for_each(|(place, at)| *place = i64::from(*at));
        start += now.len();
        places = later;
    }
}

/// Running sums along `axis`. `f16` and `bf16` are not meant to come here.
pub fn cumsum(x: View, axis: usize) -> Result<Buffer> {
    with_axis_last([x], axis, |[x]| {
        let to = sum_dtype(x.dtype());
        let mut y = cast(x, to);
        with_element!(to, T => for_lanes(x, y.as_mut_slice::<T>(), |_, lane| {
            if to.is_float() {
                lane.iter_mut().fold(0.0, |sum, y| {
                    let sum = sum + y.to_scalar().as_f64();
                    *y = T::from_scalar(Scalar::Float(sum));
                    sum
                });
            } else {
                lane.iter_mut().fold(0, |sum: i64, y| {
                    let sum = sum.wrapping_add(y.to_scalar().as_i64());
                    *y = T::wrap(sum);
                    sum
                });
            }
        }));
        Ok(y)
    })
}

/// The elements in order along `axis`, and where each stood.
pub fn sort(x: View, axis: usize, descending: bool) -> Result<(Buffer, Buffer)> {
    let ranks = with_axis_last([x], axis, |[x]| Ok(with_element!(x.dtype(), T => ranks::<T>(x, descending))))?;
    let layout = Layout::contiguous(x.shape());
    let y = super::index::gather(x, View::new(&ranks, &layout), axis)?;
    Ok((y, ranks))
}

/// For each place along the last dimension, where its element stood before sorting.
fn ranks<T: Element>(x: View, descending: bool) -> Buffer {
    let elements = Dense::<T>::new(x);
    let elements = elements.as_slice();
    let size = x.shape().last().copied().unwrap_or(1);
    let mut ranks = Buffer::unspecified(DType::I64, x.len());
    for_lanes(x, ranks.as_mut_slice::<i64>(), |start, lane| {
        let elements = &elements[start..start + size];
        lane.iter_mut().enumerate().for_each(|(i, rank)| *rank = i as i64);
        // Stable sorting keeps equals in order, whichever way it sorts.
        lane.sort_by(|&i, &j| {
            let order = order(elements[i as usize], elements[j as usize]);
            if descending { order.reverse() } else { order }
        });
    });
    ranks
}

/// Numbers by size; NaN is the largest and equals itself.
fn order<T: PartialOrd + Copy>(a: T, b: T) -> Ordering {
    a.partial_cmp(&b).unwrap_or_else(|| is_nan(a).cmp(&is_nan(b)))
}

/// Whether `x` is the one thing that cannot be compared with itself.
#[inline(always)]
fn is_nan<T: PartialOrd>(x: T) -> bool {
    x.partial_cmp(&x).is_none()
}

/// Calls `f(start, lane)` for the stretches of `y` that lie along the last dimension of `x`.
fn for_lanes<T: Element>(x: View, y: &mut [T], f: impl Fn(usize, &mut [T]) + Sync) {
    let size = x.shape().last().copied().unwrap_or(1).max(1);
    let lanes = (GRAIN / 8 / size).max(1);
    for_parts(y, lanes * size, &|start, y| {
        y.chunks_mut(size).enumerate().for_each(|(i, lane)| f(start + i * size, lane));
    });
}
