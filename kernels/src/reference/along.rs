//! Reductions, running sums and sorting along dimensions.

use std::cmp::Ordering;

use super::{floats, lanes, read, write, write_wrapped};
use crate::backend::{ArgReduce, Reduce};
use crate::{Buffer, DType, Error, Result, Scalar, View};

pub fn reduce(op: Reduce, x: View, axes: &[usize]) -> Result<Buffer> {
    let dtype = x.dtype();
    let lanes = lanes(x.shape(), axes);
    if dtype.is_float() {
        let values = floats("reduce", x)?;
        return Ok(write(dtype, lanes.iter().map(|lane| reduce_floats(op, lane.iter().map(|&at| values[at])))));
    }
    let values: Vec<i64> = read(x).into_iter().map(Scalar::as_i64).collect();
    let lanes = lanes.iter().map(|lane| lane.iter().map(|&at| values[at]));
    Ok(match op {
        Reduce::Sum => write_wrapped(sum_dtype(dtype), lanes.map(|lane| lane.fold(0, i64::wrapping_add))),
        Reduce::Prod => write_wrapped(sum_dtype(dtype), lanes.map(|lane| lane.fold(1, i64::wrapping_mul))),
        Reduce::Max => write(dtype, lanes.map(|lane| lane.fold(i64::MIN, i64::max))),
        Reduce::Min => write(dtype, lanes.map(|lane| lane.fold(i64::MAX, i64::min))),
        Reduce::Mean => return Err(Error::DType { op: "mean", dtype, hint: "cast to f32 first" }),
    })
}

fn reduce_floats(op: Reduce, lane: impl ExactSizeIterator<Item = f64>) -> f64 {
    let len = lane.len() as f64;
    match op {
        Reduce::Sum => lane.sum(),
        Reduce::Prod => lane.product(),
        Reduce::Mean => lane.sum::<f64>() / len,
        Reduce::Max => lane.fold(f64::NEG_INFINITY, |best, x| if x.is_nan() || x > best { x } else { best }),
        Reduce::Min => lane.fold(f64::INFINITY, |best, x| if x.is_nan() || x < best { x } else { best }),
    }
}

/// The type of sums: bytes and truth values would overflow at once.
fn sum_dtype(dtype: DType) -> DType {
    if matches!(dtype, DType::U8 | DType::Bool) { DType::I64 } else { dtype }
}

pub fn arg_reduce(op: ArgReduce, x: View, axis: usize) -> Result<Buffer> {
    let values = read(x);
    let best = lanes(x.shape(), &[axis]).into_iter().map(|lane| {
        let mut best = 0;
        for (i, &at) in lane.iter().enumerate() {
            let order = order(values[at], values[lane[best]]);
            let is_nan = values[at].as_f64().is_nan();
            let better = match op {
                ArgReduce::Max => order == Ordering::Greater,
                ArgReduce::Min if is_nan || values[lane[best]].as_f64().is_nan() => order == Ordering::Greater,
                ArgReduce::Min => order == Ordering::Less,
            };
            if better {
                best = i;
            }
        }
        best as i64
    });
    Ok(write_wrapped(DType::I64, best))
}

pub fn cumsum(x: View, axis: usize) -> Result<Buffer> {
    let values = read(x);
    let mut sums = values.clone();
    for lane in lanes(x.shape(), &[axis]) {
        let (mut float, mut int) = (0.0, 0i64);
        for at in lane {
            sums[at] = match values[at] {
                Scalar::Float(x) => {
                    float += x;
                    Scalar::Float(float)
                }
                Scalar::Int(x) => {
                    int = int.wrapping_add(x);
                    Scalar::Int(int)
                }
            };
        }
    }
    if x.dtype().is_float() {
        return Ok(write(x.dtype(), sums));
    }
    Ok(write_wrapped(sum_dtype(x.dtype()), sums.into_iter().map(Scalar::as_i64)))
}

pub fn sort(x: View, axis: usize, descending: bool) -> Result<(Buffer, Buffer)> {
    let values = read(x);
    let mut sorted = values.clone();
    let mut came_from = vec![0i64; values.len()];
    for lane in lanes(x.shape(), &[axis]) {
        let mut ranks: Vec<usize> = (0..lane.len()).collect();
        ranks.sort_by(|&i, &j| {
            let order = order(values[lane[i]], values[lane[j]]);
            if descending { order.reverse() } else { order }
        });
        for (&at, &rank) in lane.iter().zip(&ranks) {
            sorted[at] = values[lane[rank]];
            came_from[at] = rank as i64;
        }
    }
    Ok((write(x.dtype(), sorted), write_wrapped(DType::I64, came_from)))
}

/// Numbers by size; NaN is the largest and equals itself.
fn order(a: Scalar, b: Scalar) -> Ordering {
    if let (Scalar::Int(a), Scalar::Int(b)) = (a, b) {
        return a.cmp(&b);
    }
    let (a, b) = (a.as_f64(), b.as_f64());
    a.partial_cmp(&b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
}
