//! The CPU as a [`Backend`].

use super::read::for_parts;
use super::threads::chunk_len;
use super::widen::{widen, widen_pair, widen_some, widen_to};
use super::{binary, conv, copy, fused, index, matmul, norm, pool, reduce, scan_sort, slope, step, unary};
use crate::backend::{ArgReduce, Backend, Moving, Normalize, Reduce, Window};
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

    fn scaled_bytes(&self, x: View, divisor: f64) -> Result<Buffer> {
        Ok(copy::scaled_bytes(x, divisor as f32))
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
        widen([a, b], |[a, b]| matmul::matmul(a, b))
    }

    fn add_product(&self, c: &mut Buffer, scale: f64, a: View, b: View) -> Result<()> {
        matmul::matmul_into(a, b, c, scale, true)
    }

    fn linear(&self, x: View, w: View, bias: Option<View>, activation: Option<Unary>) -> Result<Buffer> {
        match bias {
            Some(bias) => widen([x, w, bias], |[x, w, bias]| matmul::linear(x, w, Some(bias), activation)),
            None => widen([x, w], |[x, w]| matmul::linear(x, w, None, activation)),
        }
    }

    fn activation_grad(&self, op: Unary, y: View, dy: View) -> Result<(Buffer, Buffer)> {
        widen_pair([y, dy], |[y, dy]| slope::activation_grad(op, y, dy))
    }

    fn conv2d(
        &self,
        x: View,
        w: View,
        bias: Option<View>,
        activation: Option<Unary>,
        window: &Window,
        groups: usize,
    ) -> Result<Buffer> {
        match bias {
            Some(bias) => {
                widen([x, w, bias], |[x, w, bias]| conv::conv2d(x, w, Some(bias), activation, window, groups))
            }
            None => widen([x, w], |[x, w]| conv::conv2d(x, w, None, activation, window, groups)),
        }
    }

    fn conv2d_grad_input(
        &self,
        dy: View,
        w: View,
        input: [usize; 2],
        window: &Window,
        groups: usize,
    ) -> Result<Buffer> {
        widen([dy, w], |[dy, w]| conv::conv2d_grad_input(dy, w, input, window, groups))
    }

    fn conv2d_grad_weight(
        &self,
        x: View,
        dy: View,
        kernel: [usize; 2],
        window: &Window,
        groups: usize,
    ) -> Result<Buffer> {
        widen([x, dy], |[x, dy]| conv::conv2d_grad_weight(x, dy, kernel, window, groups))
    }

    fn conv2d_grads(
        &self,
        views: [View; 3],
        wanted: [bool; 3],
        window: &Window,
        groups: usize,
    ) -> Result<[Option<Buffer>; 3]> {
        widen_some(views, |views| conv::conv2d_grads(views, wanted, window, groups))
    }

    fn max_pool2d(&self, x: View, size: [usize; 2], window: &Window) -> Result<(Buffer, Buffer)> {
        widen_pair([x], |[x]| pool::max_pool2d(x, size, window))
    }

    fn max_pool2d_grad(
        &self,
        dy: View,
        places: View,
        input: [usize; 2],
        size: [usize; 2],
        window: &Window,
    ) -> Result<Buffer> {
        widen([dy], |[dy]| pool::max_pool2d_grad(dy, places, input, size, window))
    }

    fn avg_pool2d(&self, x: View, size: [usize; 2], window: &Window, count_padding: bool) -> Result<Buffer> {
        widen([x], |[x]| pool::avg_pool2d(x, size, window, count_padding))
    }

    fn avg_pool2d_grad(
        &self,
        dy: View,
        input: [usize; 2],
        size: [usize; 2],
        window: &Window,
        count_padding: bool,
    ) -> Result<Buffer> {
        widen([dy], |[dy]| pool::avg_pool2d_grad(dy, input, size, window, count_padding))
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

    fn cross_entropy_with_grad(&self, logits: View, labels: View) -> Result<(Buffer, Buffer)> {
        widen_pair([logits], |[logits]| fused::cross_entropy_with_grad(logits, labels))
    }

    fn cross_entropy_grad(&self, logits: View, labels: View, dy: View) -> Result<Buffer> {
        widen([logits, dy], |[logits, dy]| fused::cross_entropy_grad(logits, labels, dy))
    }

    fn moments(&self, x: View, axis: usize) -> Result<(Buffer, Buffer)> {
        widen_pair([x], |[x]| norm::moments(x, axis))
    }

    fn normalize(&self, x: View, axis: usize, how: &Normalize<'_>) -> Result<Buffer> {
        widen([x, how.mean, how.variance, how.gamma, how.beta], |[x, mean, variance, gamma, beta]| {
            norm::normalize(x, axis, &Normalize { mean, variance, gamma, beta, ..*how }, None)
        })
    }

    fn normalize_grad_params(&self, x: View, dy: View, axis: usize, how: &Normalize<'_>) -> Result<(Buffer, Buffer)> {
        widen_pair([x, dy, how.mean, how.variance, how.gamma, how.beta], |[x, dy, mean, variance, gamma, beta]| {
            let how = Normalize { mean, variance, gamma, beta, ..*how };
            norm::normalize_grad_params(x, dy, axis, &how, None)
        })
    }

    fn normalize_grad_input(
        &self,
        x: View,
        dy: View,
        axis: usize,
        how: &Normalize<'_>,
        params: Option<(&Buffer, &Buffer)>,
    ) -> Result<Buffer> {
        let Some((dgamma, dbeta)) = params else {
            return widen([x, dy, how.mean, how.variance, how.gamma], |[x, dy, mean, variance, gamma]| {
                norm::normalize_grad_input(x, dy, axis, &Normalize { mean, variance, gamma, ..*how }, None, None)
            });
        };
        let row = Layout::contiguous(&[dgamma.len()]);
        let sums = [dgamma, dbeta].map(|sums| View::new(sums, &row));
        let [mean, variance, gamma] = [how.mean, how.variance, how.gamma];
        widen([x, dy, mean, variance, gamma, sums[0], sums[1]], |[x, dy, mean, variance, gamma, dgamma, dbeta]| {
            let how = Normalize { mean, variance, gamma, ..*how };
            norm::normalize_grad_input(x, dy, axis, &how, Some((dgamma.buffer, dbeta.buffer)), None)
        })
    }

    fn batch_norm(&self, x: View, axis: usize, gamma: View, beta: View, epsilon: f64) -> Result<[Buffer; 3]> {
        widen_to([x, gamma, beta], |[x, gamma, beta]| norm::batch_norm(x, axis, gamma, beta, epsilon, None))
    }

    fn batch_norm_grad(&self, x: View, dy: View, axis: usize, how: &Normalize<'_>) -> Result<[Buffer; 3]> {
        widen_to([x, dy, how.mean, how.variance, how.gamma, how.beta], |[x, dy, mean, variance, gamma, beta]| {
            norm::batch_norm_grad(x, dy, axis, &Normalize { mean, variance, gamma, beta, ..*how }, None)
        })
    }

    fn normalize_activated(
        &self,
        x: View,
        axis: usize,
        how: &Normalize<'_>,
        activation: Unary,
    ) -> Result<Option<Buffer>> {
        let known = norm::knows(activation).then_some(activation);
        let run = |[x, mean, variance, gamma, beta]: [View; 5]| {
            norm::normalize(x, axis, &Normalize { mean, variance, gamma, beta, ..*how }, known)
        };
        known.map(|_| widen([x, how.mean, how.variance, how.gamma, how.beta], run)).transpose()
    }

    fn batch_norm_activated(
        &self,
        x: View,
        axis: usize,
        gamma: View,
        beta: View,
        epsilon: f64,
        activation: Unary,
    ) -> Result<Option<[Buffer; 3]>> {
        let known = norm::knows(activation).then_some(activation);
        let run = |[x, gamma, beta]: [View; 3]| norm::batch_norm(x, axis, gamma, beta, epsilon, known);
        known.map(|_| widen_to([x, gamma, beta], run)).transpose()
    }

    fn batch_norm_activated_grad(
        &self,
        x: View,
        dy: View,
        axis: usize,
        how: &Normalize<'_>,
        activation: Unary,
    ) -> Result<Option<[Buffer; 3]>> {
        let known = norm::knows(activation).then_some(activation);
        let run = |[x, dy, mean, variance, gamma, beta]: [View; 6]| {
            norm::batch_norm_grad(x, dy, axis, &Normalize { mean, variance, gamma, beta, ..*how }, known)
        };
        known.map(|_| widen_to([x, dy, how.mean, how.variance, how.gamma, how.beta], run)).transpose()
    }

    fn layer_norm(&self, x: View, gamma: View, beta: View, epsilon: f64) -> Result<Buffer> {
        widen([x, gamma, beta], |[x, gamma, beta]| norm::layer_norm(x, gamma, beta, epsilon))
    }

    fn update(&self, all: &mut [Moving<'_>]) -> Result<()> {
        step::update(all)
    }
}
