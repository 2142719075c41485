//! Every primitive in the plainest loops: the specification, and the oracle that fast backends are tested against.
//!
//! Values are read in row-major order into vectors of `f64` (or [`Scalar`], where whole numbers must stay exact), the
//! result is computed in `f64` and rounded once to the element type. Nothing here is meant to be fast.

mod along;
mod conv;
mod fused;
mod index;
mod matmul;
mod norm;
mod pointwise;
mod step;

use crate::backend::{ArgReduce, Backend, Moving, Normalize, Reduce, Window};
use crate::{
    Binary, Bool, Buffer, Compare, DType, Distribution, Element, Error, Layout, RandomKey, Result, Scalar, Unary, View,
    random, with_element,
};

/// The backend made of plain loops.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reference;

/// The one instance, for callers that want a `&'static dyn Backend`.
pub static REFERENCE: Reference = Reference;

impl Backend for Reference {
    fn name(&self) -> &'static str {
        "reference"
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
        with_element!(dtype, T => random::fill(distribution, key, 0, buffer.as_mut_slice::<T>()));
        Ok(buffer)
    }

    fn copy(&self, x: View) -> Result<Buffer> {
        self.cast(x, x.dtype())
    }

    fn copy_into(&self, x: View, y: &mut Buffer, at: &Layout) -> Result<()> {
        with_element!(x.dtype(), T => {
            let from = x.buffer.as_slice::<T>();
            let to = y.as_mut_slice::<T>();
            for (from_position, to_position) in x.layout.positions().zip(at.positions()) {
                to[to_position] = from[from_position];
            }
        });
        Ok(())
    }

    fn cast(&self, x: View, to: DType) -> Result<Buffer> {
        Ok(write(to, read(x)))
    }

    fn unary(&self, op: Unary, x: View) -> Result<Buffer> {
        pointwise::unary(op, x)
    }

    fn binary(&self, op: Binary, a: View, b: View) -> Result<Buffer> {
        pointwise::binary(op, a, b)
    }

    fn compare(&self, op: Compare, a: View, b: View) -> Result<Buffer> {
        pointwise::compare(op, a, b)
    }

    fn select(&self, condition: View, a: View, b: View) -> Result<Buffer> {
        pointwise::select(condition, a, b)
    }

    fn reduce(&self, op: Reduce, x: View, axes: &[usize]) -> Result<Buffer> {
        along::reduce(op, x, axes)
    }

    fn arg_reduce(&self, op: ArgReduce, x: View, axis: usize) -> Result<Buffer> {
        along::arg_reduce(op, x, axis)
    }

    fn cumsum(&self, x: View, axis: usize) -> Result<Buffer> {
        along::cumsum(x, axis)
    }

    fn sort(&self, x: View, axis: usize, descending: bool) -> Result<(Buffer, Buffer)> {
        along::sort(x, axis, descending)
    }

    fn matmul(&self, a: View, b: View) -> Result<Buffer> {
        matmul::matmul(a, b)
    }

    fn add_product(&self, c: &mut Buffer, scale: f64, a: View, b: View) -> Result<()> {
        matmul::add_product(c, scale, a, b)
    }

    fn linear(&self, x: View, w: View, bias: Option<View>, activation: Option<Unary>) -> Result<Buffer> {
        matmul::linear(x, w, bias, activation)
    }

    fn activation_grad(&self, op: Unary, y: View, dy: View) -> Result<(Buffer, Buffer)> {
        norm::activation_grad(op, y, dy)
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
        conv::conv2d(x, w, bias, activation, window, groups)
    }

    fn conv2d_grad_input(
        &self,
        dy: View,
        w: View,
        input: [usize; 2],
        window: &Window,
        groups: usize,
    ) -> Result<Buffer> {
        conv::conv2d_grad_input(dy, w, input, window, groups)
    }

    fn conv2d_grad_weight(
        &self,
        x: View,
        dy: View,
        kernel: [usize; 2],
        window: &Window,
        groups: usize,
    ) -> Result<Buffer> {
        conv::conv2d_grad_weight(x, dy, kernel, window, groups)
    }

    fn max_pool2d(&self, x: View, size: [usize; 2], window: &Window) -> Result<(Buffer, Buffer)> {
        conv::max_pool2d(x, size, window)
    }

    fn max_pool2d_grad(
        &self,
        dy: View,
        places: View,
        input: [usize; 2],
        size: [usize; 2],
        window: &Window,
    ) -> Result<Buffer> {
        conv::max_pool2d_grad(dy, places, input, size, window)
    }

    fn avg_pool2d(&self, x: View, size: [usize; 2], window: &Window, count_padding: bool) -> Result<Buffer> {
        conv::avg_pool2d(x, size, window, count_padding)
    }

    fn avg_pool2d_grad(
        &self,
        dy: View,
        input: [usize; 2],
        size: [usize; 2],
        window: &Window,
        count_padding: bool,
    ) -> Result<Buffer> {
        conv::avg_pool2d_grad(dy, input, size, window, count_padding)
    }

    fn gather(&self, x: View, index: View, axis: usize) -> Result<Buffer> {
        index::gather(x, index, axis)
    }

    fn scatter_add(&self, x: View, index: View, source: View, axis: usize) -> Result<Buffer> {
        index::scatter_add(x, index, source, axis)
    }

    fn index_select(&self, x: View, index: View, axis: usize) -> Result<Buffer> {
        index::index_select(x, index, axis)
    }

    fn index_add(&self, x: View, index: View, source: View, axis: usize) -> Result<Buffer> {
        index::index_add(x, index, source, axis)
    }

    fn softmax(&self, x: View, axis: usize) -> Result<Buffer> {
        fused::softmax(x, axis)
    }

    fn softmax_grad(&self, y: View, dy: View, axis: usize) -> Result<Buffer> {
        fused::softmax_grad(y, dy, axis)
    }

    fn log_softmax(&self, x: View, axis: usize) -> Result<Buffer> {
        fused::log_softmax(x, axis)
    }

    fn log_softmax_grad(&self, y: View, dy: View, axis: usize) -> Result<Buffer> {
        fused::log_softmax_grad(y, dy, axis)
    }

    fn cross_entropy(&self, logits: View, labels: View) -> Result<Buffer> {
        fused::cross_entropy(logits, labels)
    }

    fn cross_entropy_with_grad(&self, logits: View, labels: View) -> Result<(Buffer, Buffer)> {
        fused::cross_entropy_with_grad(logits, labels)
    }

    fn cross_entropy_grad(&self, logits: View, labels: View, dy: View) -> Result<Buffer> {
        fused::cross_entropy_grad(logits, labels, dy)
    }

    fn moments(&self, x: View, axis: usize) -> Result<(Buffer, Buffer)> {
        norm::moments(x, axis)
    }

    fn normalize(&self, x: View, axis: usize, how: &Normalize<'_>) -> Result<Buffer> {
        norm::normalize(x, axis, how)
    }

    fn normalize_grad_params(&self, x: View, dy: View, axis: usize, how: &Normalize<'_>) -> Result<(Buffer, Buffer)> {
        norm::normalize_grad_params(x, dy, axis, how)
    }

    fn normalize_grad_input(
        &self,
        x: View,
        dy: View,
        axis: usize,
        how: &Normalize<'_>,
        params: Option<(&Buffer, &Buffer)>,
    ) -> Result<Buffer> {
        norm::normalize_grad_input(x, dy, axis, how, params)
    }

    fn batch_norm(&self, x: View, axis: usize, gamma: View, beta: View, epsilon: f64) -> Result<[Buffer; 3]> {
        norm::batch_norm(x, axis, gamma, beta, epsilon)
    }

    fn batch_norm_grad(&self, x: View, dy: View, axis: usize, how: &Normalize<'_>) -> Result<[Buffer; 3]> {
        norm::batch_norm_grad(x, dy, axis, how)
    }

    fn layer_norm(&self, x: View, gamma: View, beta: View, epsilon: f64) -> Result<Buffer> {
        norm::layer_norm(x, gamma, beta, epsilon)
    }

    fn update(&self, all: &mut [Moving<'_>]) -> Result<()> {
        all.iter_mut().try_for_each(step::update)
    }
}

/// The elements in row-major order.
fn read(x: View) -> Vec<Scalar> {
    with_element!(x.dtype(), T => {
        let elements = x.buffer.as_slice::<T>();
        x.layout.positions().map(|position| elements[position].to_scalar()).collect()
    })
}

/// The elements of a float view in row-major order; an error for any other type.
fn floats(op: &'static str, x: View) -> Result<Vec<f64>> {
    if !x.dtype().is_float() {
        return Err(Error::DType { op, dtype: x.dtype(), hint: "cast to f32 first" });
    }
    Ok(read(x).into_iter().map(Scalar::as_f64).collect())
}

/// A buffer of these values, each rounded (and saturated) to the type.
fn write(dtype: DType, values: impl IntoIterator<Item = impl Into<Scalar>>) -> Buffer {
    with_element!(dtype, T => {
        let values: Vec<T> = values.into_iter().map(|value| T::from_scalar(value.into())).collect();
        Buffer::from_slice(&values)
    })
}

/// A buffer of these whole numbers, each wrapped around to the type.
fn write_wrapped(dtype: DType, values: impl IntoIterator<Item = i64>) -> Buffer {
    with_element!(dtype, T => {
        let values: Vec<T> = values.into_iter().map(T::wrap).collect();
        Buffer::from_slice(&values)
    })
}

/// Truth values as a buffer.
fn write_bools(values: impl IntoIterator<Item = bool>) -> Buffer {
    let values: Vec<Bool> = values.into_iter().map(Bool::from).collect();
    Buffer::from_slice(&values)
}

/// For each place in the dimensions besides `axes`, in row-major order: the row-major positions of the elements that lie
/// along `axes`.
fn lanes(shape: &[usize], axes: &[usize]) -> Vec<Vec<usize>> {
    let all = Layout::contiguous(shape);
    let keep = |wanted: bool, start: usize| {
        let axes = (0..shape.len()).filter(|axis| axes.contains(axis) == wanted);
        let (sizes, strides): (Vec<usize>, Vec<isize>) = axes.map(|axis| (shape[axis], all.strides()[axis])).unzip();
        Layout::strided(&sizes, &strides, start)
    };
    keep(false, 0).positions().map(|start| keep(true, start).positions().collect()).collect()
}
