//! The primitives that a device must offer.
//!
//! Callers check shapes; a backend may trust them. Every view may have any strides: zero, negative, overlapping. Results
//! are new buffers in row-major order unless a primitive says that it writes into one it was given. Floating-point
//! primitives take every float type; `f16` and `bf16` are computed in `f32` and rounded once at the end.

use std::fmt::Debug;

use crate::{Buffer, DType, Layout, Result, Scalar, View};

pub use crate::pointwise::{Binary, Compare, Unary};
pub use crate::random::{Distribution, RandomKey};
pub use crate::update::{Adjust, Moving, Rule};
pub use crate::window::Window;

/// What [`Backend::reduce`] makes of many elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reduce {
    /// The sum; 0 of nothing.
    Sum,
    /// The product; 1 of nothing.
    Prod,
    /// The arithmetic mean; NaN of nothing. Floats only.
    Mean,
    /// The largest; NaN if any is NaN. Of nothing: the lowest value of the type (-inf for floats).
    Max,
    /// The smallest; NaN if any is NaN. Of nothing: the highest value of the type (+inf for floats).
    Min,
}

/// What [`Backend::arg_reduce`] looks for. The first of equals wins; a NaN wins over all numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ArgReduce {
    /// The largest.
    Max,
    /// The smallest.
    Min,
}

/// What [`Backend::normalize`] takes features to: one number for each feature in every view.
#[derive(Clone, Copy, Debug)]
pub struct Normalize<'a> {
    /// What is subtracted.
    pub mean: View<'a>,
    /// What `x` is divided by the root of.
    pub variance: View<'a>,
    /// What the quotient is multiplied with.
    pub gamma: View<'a>,
    /// What is added at last.
    pub beta: View<'a>,
    /// Added to the variance, so that a feature that never changes does not divide by 0.
    pub epsilon: f64,
}

/// What happened between the host and a device with memory of its own, since it was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Figures {
    /// Kernels that were started.
    pub launches: u64,
    /// Copies to the device.
    pub uploads: u64,
    /// Copies to the host, for which the host waits until all work is done.
    pub downloads: u64,
    /// Operations that were computed on the host, since the device has no kernel for their type.
    pub on_host: u64,
    /// The bytes of its memory that are in use.
    pub live: usize,
    /// The most that ever were.
    pub peak: usize,
}

/// A device's arithmetic. Object-safe, so that a tensor carries its device as a value.
pub trait Backend: Debug + Send + Sync {
    /// What users call the device: `cpu`, `reference`, `cuda:0`.
    fn name(&self) -> &'static str;
    /// What happened on a device with memory of its own; nothing on the host.
    fn figures(&self) -> Option<Figures> {
        None
    }

    // Memory.

    /// Brings host memory to the device.
    fn upload(&self, host: Buffer) -> Result<Buffer>;
    /// Brings device memory to the host.
    fn download(&self, buffer: &Buffer) -> Result<Buffer>;
    /// `len` equal values.
    fn full(&self, dtype: DType, len: usize, value: Scalar) -> Result<Buffer>;
    /// `len` random values of a float type; element `i` depends on nothing but the distribution, `key` and `i`.
    fn random(&self, dtype: DType, len: usize, distribution: Distribution, key: RandomKey) -> Result<Buffer>;
    /// The elements of `x` in row-major order.
    fn copy(&self, x: View) -> Result<Buffer>;
    /// Writes the elements of `x` to the places of `y` that `at` describes; `at` has the shape of `x` and no two of its
    /// elements share a place.
    fn copy_into(&self, x: View, y: &mut Buffer, at: &Layout) -> Result<()>;
    /// The elements as `to`: rounded to nearest even between floats, towards zero and saturating to integers (NaN to 0),
    /// "not zero" to truth values.
    fn cast(&self, x: View, to: DType) -> Result<Buffer>;

    /// Bytes as `f32`, each divided by `divisor`: what pixels are to a network.
    fn scaled_bytes(&self, x: View, divisor: f64) -> Result<Buffer> {
        let (floats, divisor) = (self.cast(x, DType::F32)?, self.full(DType::F32, 1, divisor.into())?);
        let layout = Layout::contiguous(x.shape());
        let repeated = Layout::contiguous(&[]).broadcast_to(x.shape()).expect("one number is broadcast to any shape");
        self.binary(Binary::Div, View::new(&floats, &layout), View::new(&divisor, &repeated))
    }

    // Pointwise. Operands have one shape (broadcast by the caller) and one type.

    /// `op` of every element; see [`Unary`] for each function.
    fn unary(&self, op: Unary, x: View) -> Result<Buffer>;
    /// `op` of every pair; see [`Binary`] for each function.
    fn binary(&self, op: Binary, a: View, b: View) -> Result<Buffer>;
    /// Whether `op` holds for each pair, as [`DType::Bool`]; comparisons with NaN are false but for `Ne`.
    fn compare(&self, op: Compare, a: View, b: View) -> Result<Buffer>;
    /// `a` where `condition` (a [`DType::Bool`]) holds, else `b`.
    fn select(&self, condition: View, a: View, b: View) -> Result<Buffer>;

    // Along dimensions.

    /// `op` over `axes` (ascending, without repeats), which vanish from the result's shape. Sums of `f32` are exact to a
    /// few units in the last place of the sum of magnitudes; partial results are combined in an order that depends on
    /// the shape alone. Integers wrap. `U8` and `Bool` sum and multiply to `I64`; every other combination keeps the type.
    fn reduce(&self, op: Reduce, x: View, axes: &[usize]) -> Result<Buffer>;
    /// The index, as `I64`, of what `op` looks for along `axis`, which vanishes; its size is not 0.
    fn arg_reduce(&self, op: ArgReduce, x: View, axis: usize) -> Result<Buffer>;
    /// Running sums along `axis`, from its first element on; the types are those of [`Reduce::Sum`].
    fn cumsum(&self, x: View, axis: usize) -> Result<Buffer>;
    /// The elements in order along `axis` and, as `I64`, where each stood. Stable; NaN counts as the largest.
    fn sort(&self, x: View, axis: usize, descending: bool) -> Result<(Buffer, Buffer)>;

    // Linear algebra.

    /// `a` (`[.., m, k]`) times `b` (`[.., k, n]`) for equal leading dimensions; floats only.
    fn matmul(&self, a: View, b: View) -> Result<Buffer>;
    /// `c += scale * a b` for matrices `a` (`[m, k]`) and `b` (`[k, n]`) and a row-major `c`; `f32` or `f64`.
    fn add_product(&self, c: &mut Buffer, scale: f64, a: View, b: View) -> Result<()>;
    /// A dense layer: `x` (`[.., k]`) times `w` (`[k, n]`) plus `bias` (`[n]`), put through `activation`; floats only.
    fn linear(&self, x: View, w: View, bias: Option<View>, activation: Option<Unary>) -> Result<Buffer>;
    /// The gradient through an activation whose slope follows from its value ([`Unary::slope_at`]): `dx` from `y = op(x)`
    /// and `dy`, and the sum of `dx` over all dimensions but the last, which is the gradient of a bias.
    fn activation_grad(&self, op: Unary, y: View, dy: View) -> Result<(Buffer, Buffer)>;

    // Images: `[n, h, w, channels]`. A window tells which elements each result reads; callers check that the kernel is not
    // larger than the padded image. With groups, the channels of `x` and of the result are cut into as many equal parts, and
    // a part of the result is made of the same part of `x`.

    /// Convolution (cross-correlation, as networks have it): `x` with `w` (`[kh, kw, c / groups, o]`) plus `bias` (`[o]`),
    /// put through `activation`: `[n, oh, ow, o]`. Floats only, here and below.
    fn conv2d(
        &self,
        x: View,
        w: View,
        bias: Option<View>,
        activation: Option<Unary>,
        window: &Window,
        groups: usize,
    ) -> Result<Buffer>;
    /// The gradient of [`Backend::conv2d`] with respect to `x`, whose height and width are `input`: `[n, h, w, c]`. It is
    /// also the transposed convolution of `dy`.
    fn conv2d_grad_input(&self, dy: View, w: View, input: [usize; 2], window: &Window, groups: usize)
    -> Result<Buffer>;
    /// The gradient of [`Backend::conv2d`] with respect to `w`, whose height and width are `kernel`.
    fn conv2d_grad_weight(
        &self,
        x: View,
        dy: View,
        kernel: [usize; 2],
        window: &Window,
        groups: usize,
    ) -> Result<Buffer>;
    /// The gradients of [`Backend::conv2d`] with respect to `x`, `w` and `bias`, of those that are `wanted`, in as few passes as
    /// the device can.
    fn conv2d_grads(
        &self,
        [x, w, dy]: [View; 3],
        wanted: [bool; 3],
        window: &Window,
        groups: usize,
    ) -> Result<[Option<Buffer>; 3]> {
        let [input, kernel] = [[x.shape()[1], x.shape()[2]], [w.shape()[0], w.shape()[1]]];
        let [images, weights, bias] = wanted;
        Ok([
            images.then(|| self.conv2d_grad_input(dy, w, input, window, groups)).transpose()?,
            weights.then(|| self.conv2d_grad_weight(x, dy, kernel, window, groups)).transpose()?,
            bias.then(|| self.reduce(Reduce::Sum, dy, &[0, 1, 2])).transpose()?,
        ])
    }
    /// The largest element of each window of `size` and, as `I32`, its place `row * w + column`. The first of equals wins; a
    /// NaN wins over all numbers. Every window holds an element, here and below.
    fn max_pool2d(&self, x: View, size: [usize; 2], window: &Window) -> Result<(Buffer, Buffer)>;
    /// The gradient of [`Backend::max_pool2d`], given the places of the largest elements.
    fn max_pool2d_grad(
        &self,
        dy: View,
        places: View,
        input: [usize; 2],
        size: [usize; 2],
        window: &Window,
    ) -> Result<Buffer>;
    /// The mean of each window of `size`: the sum of its elements over the number of its taps, or with `count_padding` off
    /// over the number of its elements.
    fn avg_pool2d(&self, x: View, size: [usize; 2], window: &Window, count_padding: bool) -> Result<Buffer>;
    /// The gradient of [`Backend::avg_pool2d`] for images of height and width `input`.
    fn avg_pool2d_grad(
        &self,
        dy: View,
        input: [usize; 2],
        size: [usize; 2],
        window: &Window,
        count_padding: bool,
    ) -> Result<Buffer>;

    // By index. An index is an `I64` or `I32`; one outside `0..size` is an error.

    /// `y[.., i, ..] = x[.., index[.., i, ..], ..]` along `axis`; `index` has the shape of `y`, and that of `x` but for
    /// `axis`.
    fn gather(&self, x: View, index: View, axis: usize) -> Result<Buffer>;
    /// A copy of `x` with `source` added at the places that [`Backend::gather`] with `index` would read, in row-major
    /// order of `index`.
    fn scatter_add(&self, x: View, index: View, source: View, axis: usize) -> Result<Buffer>;
    /// The slices of `x` along `axis` that `index`, of one dimension, names.
    fn index_select(&self, x: View, index: View, axis: usize) -> Result<Buffer>;
    /// A copy of `x` with the slices of `source` added to the slices that `index` names, in order.
    fn index_add(&self, x: View, index: View, source: View, axis: usize) -> Result<Buffer>;

    // Fused. Computed stably: the largest element is subtracted before exponentials are taken.

    /// `exp(x) / sum(exp(x))` along `axis`.
    fn softmax(&self, x: View, axis: usize) -> Result<Buffer>;
    /// The gradient of [`Backend::softmax`] from its output: `y * (dy - sum(y * dy))`.
    fn softmax_grad(&self, y: View, dy: View, axis: usize) -> Result<Buffer>;
    /// `x - log(sum(exp(x)))` along `axis`.
    fn log_softmax(&self, x: View, axis: usize) -> Result<Buffer>;
    /// The gradient of [`Backend::log_softmax`] from its output: `dy - exp(y) * sum(dy)`.
    fn log_softmax_grad(&self, y: View, dy: View, axis: usize) -> Result<Buffer>;
    /// For each row of `logits` (`[n, classes]`) the loss `-log_softmax(row)[label]`; `labels` are `[n]`, `I64`.
    fn cross_entropy(&self, logits: View, labels: View) -> Result<Buffer>;
    /// [`Backend::cross_entropy`] together with its gradient for a `dy` of 1: `softmax(row) - one_hot(label)`.
    fn cross_entropy_with_grad(&self, logits: View, labels: View) -> Result<(Buffer, Buffer)>;
    /// The gradient of [`Backend::cross_entropy`]: `(softmax(row) - one_hot(label)) * dy`, with one `dy` for each row.
    fn cross_entropy_grad(&self, logits: View, labels: View, dy: View) -> Result<Buffer>;

    // Normalisation. Features lie along `axis`; all other dimensions are averaged over.

    /// The mean and the biased variance of each feature.
    fn moments(&self, x: View, axis: usize) -> Result<(Buffer, Buffer)>;
    /// `(x - mean) / sqrt(variance + epsilon) * gamma + beta`.
    fn normalize(&self, x: View, axis: usize, how: &Normalize<'_>) -> Result<Buffer>;
    /// The gradients of [`Backend::normalize`] with respect to `gamma` and `beta`.
    fn normalize_grad_params(&self, x: View, dy: View, axis: usize, how: &Normalize<'_>) -> Result<(Buffer, Buffer)>;
    /// The gradient of [`Backend::normalize`] with respect to `x`. Where mean and variance are those of `x` itself,
    /// `params` are the gradients of `gamma` and `beta`; where they are constants, there are none.
    fn normalize_grad_input(
        &self,
        x: View,
        dy: View,
        axis: usize,
        how: &Normalize<'_>,
        params: Option<(&Buffer, &Buffer)>,
    ) -> Result<Buffer>;
    /// [`Backend::normalize`] with the moments of `x` itself: the result, the means and the variances.
    fn batch_norm(&self, x: View, axis: usize, gamma: View, beta: View, epsilon: f64) -> Result<[Buffer; 3]>;
    /// The gradients of [`Backend::batch_norm`] with respect to `x`, `gamma` and `beta`, given its moments.
    fn batch_norm_grad(&self, x: View, dy: View, axis: usize, how: &Normalize<'_>) -> Result<[Buffer; 3]>;
    /// [`Backend::normalize`] put through `activation` in the same pass; `None` where the device cannot, and the caller takes one
    /// step after the other, here and below.
    fn normalize_activated(
        &self,
        x: View,
        axis: usize,
        how: &Normalize<'_>,
        activation: Unary,
    ) -> Result<Option<Buffer>> {
        _ = (x, axis, how, activation);
        Ok(None)
    }
    /// [`Backend::batch_norm`] put through `activation` in the same pass.
    fn batch_norm_activated(
        &self,
        x: View,
        axis: usize,
        gamma: View,
        beta: View,
        epsilon: f64,
        activation: Unary,
    ) -> Result<Option<[Buffer; 3]>> {
        _ = (x, axis, gamma, beta, epsilon, activation);
        Ok(None)
    }
    /// The gradients of [`Backend::batch_norm_activated`] with respect to `x`, `gamma` and `beta`, given its moments.
    fn batch_norm_activated_grad(
        &self,
        x: View,
        dy: View,
        axis: usize,
        how: &Normalize<'_>,
        activation: Unary,
    ) -> Result<Option<[Buffer; 3]>> {
        _ = (x, dy, axis, how, activation);
        Ok(None)
    }
    /// Each row along the last dimension less its mean and over the root of its variance plus `epsilon`, times `gamma`
    /// plus `beta`, which have the length of a row.
    fn layer_norm(&self, x: View, gamma: View, beta: View, epsilon: f64) -> Result<Buffer>;

    // In place, for optimizers.

    /// Moves weights by their rules, all in one pass; the same as one after the other.
    fn update(&self, all: &mut [Moving<'_>]) -> Result<()>;
}
