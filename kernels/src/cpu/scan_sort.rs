//! What keeps an order along one dimension: running sums, sorting, and where the largest stands.

use std::cmp::Ordering;

use super::copy::{Dense, cast, with_axis_last};
use super::read::for_parts;
use super::reduce::{Fold, Max, Min, fold, sum_dtype};
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

/// First the extreme itself, which vectorises, then where it stands first.
fn arg_extreme<T: Element>(op: ArgReduce, x: View, axis: usize) -> Buffer
where
    Max: Fold<T, Total = T>,
    Min: Fold<T, Total = T>,
{
    let extremes = match op {
        ArgReduce::Max => fold::<T, _>(Max, x, &[axis]),
        ArgReduce::Min => fold::<T, _>(Min, x, &[axis]),
    };
    let (size, stride) = (x.shape()[axis], x.layout.strides()[axis]);
    let starts = x.layout.slice(axis, 0, 1, 1);
    let data = x.buffer.as_slice::<T>();
    let places = extremes.iter().zip(starts.positions()).map(|(extreme, start)| {
        let found = |x: &T| x == extreme || is_nan(*x) && is_nan(*extreme);
        (0..size).position(|i| found(&data[(start as isize + i as isize * stride) as usize])).unwrap_or(0) as i64
    });
    Buffer::from_slice(&places.collect::<Vec<_>>())
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
