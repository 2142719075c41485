//! The CPU as a [`Backend`].

use super::read::for_parts;
use super::threads::chunk_len;
use super::widen::widen;
use super::{binary, copy, fused, index, reduce, scan_sort, step, unary};
use crate::backend::{Adam, ArgReduce, Backend, Reduce, Sgd};
use crate::{
    Binary, Buffer, Compare, DType, Distribution, Error, Layout, RandomKey, Result, Scalar, Unary, View, random,
    with_element,
};

/// The processor, with all of its threads and the widest vector instructions it has.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cpu;

/// The one instance, for callers that want a `&'static dyn Backend`.
pub static CPU: Cpu = Cpu;

impl Backend for Cpu {
    fn name(&self) -> &'static str {
        "cpu"
    }

    fn upload(&self, host: Buffer) -> Result<Buffer> {
        Ok(host)
    }

    fn download(&self, buffer: &Buffer) -> Result<Buffer> {
        Ok(buffer.clone())
    }

    fn full(&self, dtype: DType, len: usize, value: Scalar) -> Result<Buffer> {
        Ok(Buffer::full(dtype, len, value))
    }

    fn random(&self, dtype: DType, len: usize, distribution: Distribution, key: RandomKey) -> Result<Buffer> {
        if !dtype.is_float() {
            return Err(Error::DType { op: "random", dtype, hint: "draw f32 and cast" });
        }
        let mut buffer = Buffer::unspecified(dtype, len);
        with_element!(dtype, T => {
            for_parts(buffer.as_mut_slice::<T>(), chunk_len(len, 20), &|first, chunk| {
                random::fill(distribution, key, first, chunk);
            });
        });
        Ok(buffer)
    }

    fn copy(&self, x: View) -> Result<Buffer> {
        Ok(copy::copy(x))
    }

    fn copy_into(&self, x: View, y: &mut Buffer, at: &Layout) -> Result<()> {
        copy::copy_into(x, y, at);
        Ok(())
    }

    fn cast(&self, x: View, to: DType) -> Result<Buffer> {
        Ok(copy::cast(x, to))
    }

    fn unary(&self, op: Unary, x: View) -> Result<Buffer> {
        widen([x], |[x]| unary::unary(op, x))
    }

    fn binary(&self, op: Binary, a: View, b: View) -> Result<Buffer> {
        widen([a, b], |[a, b]| binary::binary(op, a, b))
    }

    fn compare(&self, op: Compare, a: View, b: View) -> Result<Buffer> {
        binary::compare(op, a, b)
    }

    fn select(&self, condition: View, a: View, b: View) -> Result<Buffer> {
        binary::select(condition, a, b)
    }

    fn reduce(&self, op: Reduce, x: View, axes: &[usize]) -> Result<Buffer> {
        widen([x], |[x]| reduce::reduce(op, x, axes))
    }

    fn arg_reduce(&self, op: ArgReduce, x: View, axis: usize) -> Result<Buffer> {
        widen([x], |[x]| scan_sort::arg_reduce(op, x, axis))
    }

    fn cumsum(&self, x: View, axis: usize) -> Result<Buffer> {
        scan_sort::cumsum(x, axis)
    }

    fn sort(&self, x: View, axis: usize, descending: bool) -> Result<(Buffer, Buffer)> {
        scan_sort::sort(x, axis, descending)
    }

    fn matmul(&self, a: View, b: View) -> Result<Buffer> {
        widen([a, b], |[a, b]| super::matmul::matmul(a, b))
    }

    fn gather(&self, x: View, index: View, axis: usize) -> Result<Buffer> {
        index::gather(x, index, axis)
    }

    fn scatter_add(&self, x: View, index: View, source: View, axis: usize) -> Result<Buffer> {
        widen([x, source], |[x, source]| index::scatter_add(x, index, source, axis))
    }

    fn index_select(&self, x: View, index: View, axis: usize) -> Result<Buffer> {
        index::index_select(x, index, axis)
    }

    fn index_add(&self, x: View, index: View, source: View, axis: usize) -> Result<Buffer> {
        widen([x, source], |[x, source]| index::index_add(x, index, source, axis))
    }

    fn softmax(&self, x: View, axis: usize) -> Result<Buffer> {
        widen([x], |[x]| fused::softmax(x, axis))
    }

    fn softmax_grad(&self, y: View, dy: View, axis: usize) -> Result<Buffer> {
        widen([y, dy], |[y, dy]| fused::softmax_grad(y, dy, axis))
    }

    fn log_softmax(&self, x: View, axis: usize) -> Result<Buffer> {
        widen([x], |[x]| fused::log_softmax(x, axis))
    }

    fn log_softmax_grad(&self, y: View, dy: View, axis: usize) -> Result<Buffer> {
        widen([y, dy], |[y, dy]| fused::log_softmax_grad(y, dy, axis))
    }

    fn cross_entropy(&self, logits: View, labels: View) -> Result<Buffer> {
        widen([logits], |[logits]| fused::cross_entropy(logits, labels))
    }

    fn cross_entropy_grad(&self, logits: View, labels: View, dy: View) -> Result<Buffer> {
        widen([logits, dy], |[logits, dy]| fused::cross_entropy_grad(logits, labels, dy))
    }

    fn sgd_step(&self, how: &Sgd, weights: &mut Buffer, gradient: View, velocity: Option<&mut Buffer>) -> Result<()> {
        step::sgd(how, weights, gradient, velocity)
    }

    fn adam_step(
        &self,
        how: &Adam,
        weights: &mut Buffer,
        gradient: View,
        m: &mut Buffer,
        v: &mut Buffer,
    ) -> Result<()> {
        step::adam(how, weights, gradient, m, v)
    }
}
