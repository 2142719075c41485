//! Reading and adding at places that an index names.

use super::{lanes, read, write, write_wrapped};
use crate::{Buffer, DType, Error, Result, Scalar, View};

/// The indices in row-major order, each checked to lie in `0..size`.
pub(super) fn indices(op: &'static str, index: View, size: usize) -> Result<Vec<usize>> {
    if !matches!(index.dtype(), DType::I64 | DType::I32) {
        return Err(Error::DType { op, dtype: index.dtype(), hint: "an index must be i64 or i32" });
    }
    let check = |(position, value): (usize, Scalar)| {
        let index = value.as_i64();
        let inside = usize::try_from(index).ok().filter(|&index| index < size);
        inside.ok_or(Error::Index { op, index, position, size })
    };
    read(index).into_iter().enumerate().map(check).collect()
}

pub fn gather(x: View, index: View, axis: usize) -> Result<Buffer> {
    let values = read(x);
    let indices = indices("gather", index, x.shape()[axis])?;
    let mut y = vec![Scalar::Int(0); indices.len()];
    for (from, to) in lanes(x.shape(), &[axis]).iter().zip(lanes(index.shape(), &[axis])) {
        for at in to {
            y[at] = values[from[indices[at]]];
        }
    }
    Ok(write(x.dtype(), y))
}

pub fn scatter_add(x: View, index: View, source: View, axis: usize) -> Result<Buffer> {
    let mut values = read(x);
    let source = read(source);
    let indices = indices("scatter_add", index, x.shape()[axis])?;
    for (to, from) in lanes(x.shape(), &[axis]).iter().zip(lanes(index.shape(), &[axis])) {
        for at in from {
            let place = to[indices[at]];
            values[place] = add(values[place], source[at]);
        }
    }
    Ok(write_sums(x.dtype(), values))
}

pub fn index_select(x: View, index: View, axis: usize) -> Result<Buffer> {
    let values = read(x);
    let indices = indices("index_select", index, x.shape()[axis])?;
    let mut shape = x.shape().to_vec();
    shape[axis] = indices.len();
    let mut y = vec![Scalar::Int(0); shape.iter().product()];
    for (from, to) in lanes(x.shape(), &[axis]).iter().zip(lanes(&shape, &[axis])) {
        for (&at, &index) in to.iter().zip(&indices) {
            y[at] = values[from[index]];
        }
    }
    Ok(write(x.dtype(), y))
}

pub fn index_add(x: View, index: View, source: View, axis: usize) -> Result<Buffer> {
    let mut values = read(x);
    let added = read(source);
    let indices = indices("index_add", index, x.shape()[axis])?;
    for (to, from) in lanes(x.shape(), &[axis]).iter().zip(lanes(source.shape(), &[axis])) {
        for (&at, &index) in from.iter().zip(&indices) {
            values[to[index]] = add(values[to[index]], added[at]);
        }
    }
    Ok(write_sums(x.dtype(), values))
}

fn add(a: Scalar, b: Scalar) -> Scalar {
    match (a, b) {
        (Scalar::Int(a), Scalar::Int(b)) => Scalar::Int(a.wrapping_add(b)),
        _ => Scalar::Float(a.as_f64() + b.as_f64()),
    }
}

fn write_sums(dtype: DType, sums: Vec<Scalar>) -> Buffer {
    if dtype.is_float() { write(dtype, sums) } else { write_wrapped(dtype, sums.into_iter().map(Scalar::as_i64)) }
}
