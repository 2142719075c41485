//! Convolution of images, without copies of their patches.
//!
//! A convolution is a product of matrices: a row for each pixel, which holds the patch of the image around it, times the
//! weights. Such rows are never written down, since neighbours share most of their elements, and a buffer of them would be
//! nine times the image for a kernel of 3 x 3. With the channels of a pixel next to each other, a patch consists of a few
//! runs of neighbouring elements, one for each tap of the kernel. So the microkernel of `matmul` takes a list of where runs
//! begin, and walks along the images themselves; a tap that lies in the padding points at zeros.
//!
//! - `taps` computes the result, and the gradient of the images, which is a convolution with the weights turned around.
//! - `weight` computes the gradients of weights and bias, whose sums walk along rows of pixels.
//! - `fold` computes the gradient of images of few channels, where the result's rows would be too short for vectors.
//! - `winograd` computes all three with a quarter of the products, where kernels are 3 x 3 and channels not few.
//! - `depthwise` has filters of one channel, which are no product of matrices; its kernels are `channels` and, for three by
//!   three taps, `nine`.
//! - A kernel of 1 x 1 has one tap, and is a product of matrices as it stands; `pointwise` hands it to `matmul`.

pub(in crate::cpu) mod channels;
mod depthwise;
mod fold;
mod lattice;
pub(in crate::cpu) mod nine;
mod pointwise;
mod taps;
mod weight;
mod winograd;

use super::copy::Dense;
use super::matmul::{Activate, Number, with_number};
use super::reduce::reduce;
use crate::backend::{Reduce, Unary};
use crate::window::{Axis, Window};
use crate::{Buffer, DType, Result, View};

/// A convolution's sizes.
struct Sizes {
    n: usize,
    /// Channels of the images.
    c: usize,
    /// Filters.
    o: usize,
    groups: usize,
    /// Height and width.
    axes: [Axis; 2],
}

impl Sizes {
    fn new(n: usize, input: [usize; 2], w: [usize; 4], window: &Window, groups: usize) -> Self {
        let axes = window.axes(input, [w[0], w[1]]).expect("callers check that the kernel fits");
        Self { n, c: w[2] * groups, o: w[3], groups, axes }
    }

    /// Pixels of all images.
    fn inputs(&self) -> usize {
        self.n * self.axes[0].input * self.axes[1].input
    }

    /// Pixels of the result.
    fn outputs(&self) -> usize {
        self.n * self.axes[0].output * self.axes[1].output
    }

    /// Taps of the kernel.
    fn taps(&self) -> usize {
        self.axes[0].kernel * self.axes[1].kernel
    }

    /// Whether it is a product of matrices as it stands.
    fn is_pointwise(&self) -> bool {
        self.groups == 1
            && self.axes.iter().all(|axis| axis.kernel == 1 && axis.stride == 1 && axis.input == axis.output)
    }

    /// Whether every channel has one filter of its own.
    fn is_depthwise(&self) -> bool {
        self.groups == self.c && self.c == self.o
    }

    /// Whether there are so few channels that it pays to take those of neighbouring pixels together.
    fn has_few_channels(&self) -> bool {
        self.groups == 1 && self.c <= 4
    }

    /// Whether some tap reads padding.
    fn has_padding(&self) -> bool {
        self.axes.iter().any(|axis| axis.before > 0 || extent(axis) > axis.input)
    }
}

/// How many elements the results of a dimension reach over, from the padding's first on.
fn extent(axis: &Axis) -> usize {
    (axis.output - 1) * axis.stride + (axis.kernel - 1) * axis.dilation + 1
}

/// Images in memory: how far apart pixels, rows and images are.
#[derive(Clone, Copy)]
struct Image<'a, T> {
    data: &'a [T],
    pixel: usize,
    row: usize,
    image: usize,
}

impl<'a, T> Image<'a, T> {
    /// Row-major images without gaps.
    fn new(data: &'a [T], [height, width]: [usize; 2], channels: usize) -> Self {
        Self { data, pixel: channels, row: width * channels, image: height * width * channels }
    }
}

/// The images with their padding, which some kernels would rather read than avoid, and the sizes of the same convolution
/// of those.
fn padded<T: Number>(x: &[T], s: &Sizes) -> (Buffer, Sizes) {
    let axes = s.axes.map(|axis| Axis { input: extent(&axis), before: 0, ..axis });
    let whole = Sizes { axes, ..*s };
    let mut buffer = Buffer::full(T::DTYPE, whole.inputs() * s.c, 0i64.into());
    let ([height, width], row) = (s.axes, axes[1].input * s.c);
    let len = width.input.min(axes[1].input.saturating_sub(width.before)) * s.c;
    for (i, to) in buffer.as_mut_slice::<T>().chunks_exact_mut(row.max(1)).enumerate() {
        let (n, at) = (i / axes[0].input, (i % axes[0].input).wrapping_sub(height.before));
        if at < height.input {
            let from = &x[(n * height.input + at) * width.input * s.c..];
            to[width.before * s.c..][..len].copy_from_slice(&from[..len]);
        }
    }
    (buffer, whole)
}

fn shape(x: View) -> [usize; 4] {
    x.shape().try_into().expect("images have four dimensions")
}

/// `activation(x * w + bias)` for images `x` (`[n, h, w, c]`) and weights `w` (`[kh, kw, c / groups, o]`).
///
/// # Errors
/// If the element type is not `f32` or `f64`.
pub fn conv2d(
    x: View,
    w: View,
    bias: Option<View>,
    activation: Option<Unary>,
    window: &Window,
    groups: usize,
) -> Result<Buffer> {
    let [n, h, width, _] = shape(x);
    let s = Sizes::new(n, [h, width], shape(w), window, groups);
    if s.is_depthwise() {
        return depthwise::forward(x, w, bias, activation, &s);
    }
    let mut y = Buffer::unspecified(x.dtype(), s.outputs() * s.o);
    if x.dtype() == DType::F32 && winograd::pays_forward(&s) {
        let (x, w, bias) = (Dense::<f32>::new(x), Dense::<f32>::new(w), bias.map(Dense::<f32>::new));
        let bias = bias.as_ref().map(Dense::as_slice);
        f32::activate(activation, &mut |then| {
            winograd::forward(x.as_slice(), w.as_slice(), bias, &s, then, y.as_mut_slice());
        })?;
        return Ok(y);
    }
    with_number!("conv2d", x.dtype(), T => {
        let (x, w, bias) = (Dense::<T>::new(x), Dense::<T>::new(w), bias.map(Dense::<T>::new));
        let bias = bias.as_ref().map(Dense::as_slice);
        T::activate(activation, &mut |then| {
            let of = if s.is_pointwise() { pointwise::forward } else { taps::forward };
            of(x.as_slice(), w.as_slice(), bias, &s, then, y.as_mut_slice());
        })?;
    });
    Ok(y)
}

/// The gradient of [`conv2d`] with respect to `x`, whose height and width are `input`.
///
/// # Errors
/// If the element type is not `f32` or `f64`.
pub fn conv2d_grad_input(dy: View, w: View, input: [usize; 2], window: &Window, groups: usize) -> Result<Buffer> {
    let s = Sizes::new(dy.shape()[0], input, shape(w), window, groups);
    grad_input(dy, w, &s, false)
}

/// The gradient of the images. If these may be `mixed`, its last digits depend on the other images of the batch.
fn grad_input(dy: View, w: View, s: &Sizes, mixed: bool) -> Result<Buffer> {
    if s.is_depthwise() {
        return depthwise::grad_input(dy, w, s);
    }
    let mut dx = Buffer::unspecified(dy.dtype(), s.inputs() * s.c);
    if dy.dtype() == DType::F32 && winograd::pays_grad_input(s) {
        let (dy, w) = (Dense::<f32>::new(dy), Dense::<f32>::new(w));
        winograd::grad_input(dy.as_slice(), w.as_slice(), s, mixed, dx.as_mut_slice());
        return Ok(dx);
    }
    with_number!("conv2d_grad_input", dy.dtype(), T => {
        let (dy, w) = (Dense::<T>::new(dy), Dense::<T>::new(w));
        let of = match () {
            () if s.is_pointwise() => pointwise::grad_input::<T>,
            () if s.has_few_channels() => fold::grad_input::<T>,
            () => taps::grad_input::<T>,
        };
        of(dy.as_slice(), w.as_slice(), s, dx.as_mut_slice());
    });
    Ok(dx)
}

/// The gradient of [`conv2d`] with respect to `w`, whose height and width are `kernel`.
///
/// # Errors
/// If the element type is not `f32` or `f64`.
pub fn conv2d_grad_weight(x: View, dy: View, kernel: [usize; 2], window: &Window, groups: usize) -> Result<Buffer> {
    let ([n, h, w, c], [.., o]) = (shape(x), shape(dy));
    let s = Sizes::new(n, [h, w], [kernel[0], kernel[1], c / groups, o], window, groups);
    grad_params(x, dy, false, &s).map(|(dw, _)| dw)
}

/// The gradients of [`conv2d`] with respect to `x`, `w` and `bias`, of those that are `wanted`.
///
/// # Errors
/// If the element type is not `f32` or `f64`.
pub fn conv2d_grads(
    [x, w, dy]: [View; 3],
    wanted: [bool; 3],
    window: &Window,
    groups: usize,
) -> Result<[Option<Buffer>; 3]> {
    let [n, height, width, _] = shape(x);
    let s = Sizes::new(n, [height, width], shape(w), window, groups);
    let [images, weights, bias] = wanted;
    if images && weights && s.is_depthwise() && depthwise::grads::pays(&s) {
        let [dx, dw, db] = depthwise::grads::of_all(x, w, dy, &s)?;
        return Ok([Some(dx), Some(dw), bias.then_some(db)]);
    }
    let dx = images.then(|| grad_input(dy, w, &s, true)).transpose()?;
    let (dw, db) = match weights {
        true => grad_params(x, dy, bias, &s).map(|(dw, db)| (Some(dw), db))?,
        false => (None, None),
    };
    let db = match db {
        None if bias => Some(reduce(Reduce::Sum, dy, &[0, 1, 2])?),
        other => other,
    };
    Ok([dx, dw, db])
}

/// The gradient of the weights, and that of a bias if it is wanted and comes out with it.
fn grad_params(x: View, dy: View, bias: bool, s: &Sizes) -> Result<(Buffer, Option<Buffer>)> {
    if s.is_depthwise() {
        return depthwise::grads::of_params(x, dy, s).map(|[dw, db]| (dw, bias.then_some(db)));
    }
    let mut dw = Buffer::unspecified(x.dtype(), s.taps() * s.c / s.groups * s.o);
    if x.dtype() == DType::F32 && winograd::pays_grad_weight(s) {
        let (x, dy) = (Dense::<f32>::new(x), Dense::<f32>::new(dy));
        winograd::grad_weight(x.as_slice(), dy.as_slice(), s, dw.as_mut_slice());
        return Ok((dw, None));
    }
    let mut db = bias.then(|| Buffer::unspecified(x.dtype(), s.o));
    with_number!("conv2d_grad_weight", x.dtype(), T => {
        let (x, dy) = (Dense::<T>::new(x), Dense::<T>::new(dy));
        if pointwise::pays_grad_weight(s) {
            pointwise::grad_weight(x.as_slice(), dy.as_slice(), s, dw.as_mut_slice::<T>());
            return Ok((dw, None));
        }
        let sums = db.as_mut().map_or(&mut [][..], |db| db.as_mut_slice::<T>());
        weight::grad_params(x.as_slice(), dy.as_slice(), s, dw.as_mut_slice::<T>(), sums);
        Ok((dw, db))
    })
}
