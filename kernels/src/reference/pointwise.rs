//! Functions of one, two or three elements. What each computes is written in [`crate::pointwise`].

use super::{read, write, write_bools, write_wrapped};
use crate::{Binary, Buffer, Compare, Error, Result, Scalar, Unary, View};

pub fn unary(op: Unary, x: View) -> Result<Buffer> {
    let dtype = x.dtype();
    if dtype.is_float() {
        return Ok(write(dtype, read(x).into_iter().map(|x| op.reference(x.as_f64()))));
    }
    if !dtype.is_int() || op.reference_int(0).is_none() {
        return Err(Error::DType { op: op.name(), dtype, hint: "cast to f32 first" });
    }
    Ok(write_wrapped(dtype, read(x).into_iter().filter_map(|x| op.reference_int(x.as_i64()))))
}

pub fn binary(op: Binary, a: View, b: View) -> Result<Buffer> {
    let dtype = a.dtype();
    let pairs = read(a).into_iter().zip(read(b));
    if dtype.is_float() {
        return Ok(write(dtype, pairs.map(|(a, b)| op.reference(a.as_f64(), b.as_f64()))));
    }
    if op.reference_int(0, 0).is_none() {
        return Err(Error::DType { op: op.name(), dtype, hint: "cast to f32 first" });
    }
    Ok(write_wrapped(dtype, pairs.filter_map(|(a, b)| op.reference_int(a.as_i64(), b.as_i64()))))
}

pub fn compare(op: Compare, a: View, b: View) -> Result<Buffer> {
    let pairs = read(a).into_iter().zip(read(b));
    Ok(write_bools(pairs.map(|(a, b)| match (a, b) {
        (Scalar::Int(a), Scalar::Int(b)) => op.holds(a, b),
        _ => op.holds(a.as_f64(), b.as_f64()),
    })))
}

pub fn select(condition: View, a: View, b: View) -> Result<Buffer> {
    let pairs = read(a).into_iter().zip(read(b));
    let chosen = read(condition).into_iter().zip(pairs).map(|(c, (a, b))| if c.as_i64() != 0 { a } else { b });
    Ok(write(a.dtype(), chosen))
}
