//! Convolution of images, as products of patches with the weights.

use super::copy::Dense;
use super::matmul::{Finish, Matrix, Number, gemm};
use super::unary;
use crate::backend::Unary;
use crate::window::{Axis, Window};
use crate::{Buffer, DType, Element, Error, Layout, Result, View};

/// A convolution's sizes.
struct Sizes {
    n: usize,
    c: usize,
    o: usize,
    groups: usize,
    axes: [Axis; 2],
}

impl Sizes {
    fn new(n: usize, input: [usize; 2], w: [usize; 4], window: &Window, groups: usize) -> Self {
        let axes = window.axes(input, [w[0], w[1]]).expect("callers check that the kernel fits");
        Self { n, c: w[2] * groups, o: w[3], groups, axes }
    }

    fn pixels(&self) -> usize {
        self.n * self.axes[0].output * self.axes[1].output
    }

    fn taps(&self) -> usize {
        self.axes[0].kernel * self.axes[1].kernel
    }

    fn depth(&self) -> usize {
        self.taps() * self.c / self.groups
    }

    /// Calls `f(column of the patches, element of x)` with runs of channels.
    fn for_runs(&self, group: usize, mut f: impl FnMut(usize, usize)) {
        let [height, width] = self.axes;
        let run = self.c / self.groups;
        let pixels = (0..self.n).flat_map(|n| (0..height.output).map(move |oh| (n, oh)));
        let pixels = pixels.flat_map(|(n, oh)| (0..width.output).map(move |ow| (n, oh, ow)));
        for (pixel, (n, oh, ow)) in pixels.enumerate() {
            for (kh, ih) in height.taps(oh) {
                for (kw, iw) in width.taps(ow) {
                    let x = ((n * height.input + ih) * width.input + iw) * self.c + group * run;
                    f(pixel * self.depth() + (kh * width.kernel + kw) * run, x);
                }
            }
        }
    }

    fn patches<T: Number>(&self, x: &[T], group: usize) -> Buffer {
        let mut patches = Buffer::full(T::DTYPE, self.pixels() * self.depth(), 0i64.into());
        let (run, to) = (self.c / self.groups, patches.as_mut_slice::<T>());
        self.for_runs(group, |at, from| to[at..at + run].copy_from_slice(&x[from..from + run]));
        patches
    }
}

fn matrix<S>(data: S, offset: usize, columns: usize) -> Matrix<S> {
    Matrix { data, offset, row: columns as isize, col: 1 }
}

macro_rules! with_number {
    ($op:literal, $dtype:expr, $T:ident => $body:expr) => {
        match $dtype {
            DType::F32 => {
                type $T = f32;
                $body
            }
            DType::F64 => {
                type $T = f64;
                $body
            }
            dtype => return Err(Error::DType { op: $op, dtype, hint: "cast to f32 or f64 first" }),
        }
    };
}

fn shape(x: View) -> [usize; 4] {
    x.shape().try_into().expect("images have four dimensions")
}

/// The convolution of `x` with `w`, plus `bias`, put through `activation`.
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
    let mut y = Buffer::unspecified(x.dtype(), s.pixels() * s.o);
    with_number!("conv2d", x.dtype(), T => {
        let (x, w, bias) = (Dense::<T>::new(x), Dense::<T>::new(w), bias.map(Dense::<T>::new));
        let columns = s.o / groups;
        for group in 0..groups {
            let patches = s.patches::<T>(x.as_slice(), group);
            let bias = bias.as_ref().map(|bias| &bias.as_slice()[group * columns..][..columns]);
            let a = matrix(patches.as_slice::<T>(), 0, s.depth());
            let b = matrix(w.as_slice(), group * columns, s.o);
            let c = matrix(y.as_mut_slice::<T>(), group * columns, s.o);
            gemm((s.pixels(), columns, s.depth()), a, b, c, Finish { bias, ..Finish::default() });
        }
    });
    match activation {
        Some(op) => unary::unary(op, View::new(&y, &Layout::contiguous(&[y.len()]))),
        None => Ok(y),
    }
}

/// The gradient of [`conv2d`] with respect to `x`.
pub fn conv2d_grad_input(dy: View, w: View, input: [usize; 2], window: &Window, groups: usize) -> Result<Buffer> {
    let s = Sizes::new(dy.shape()[0], input, shape(w), window, groups);
    let mut dx = Buffer::full(dy.dtype(), s.n * input[0] * input[1] * s.c, 0i64.into());
    with_number!("conv2d_grad_input", dy.dtype(), T => {
        let (dy, w) = (Dense::<T>::new(dy), Dense::<T>::new(w));
        let (columns, run) = (s.o / groups, s.c / groups);
        for group in 0..groups {
            let mut patches = Buffer::unspecified(T::DTYPE, s.pixels() * s.depth());
            let a = matrix(dy.as_slice(), group * columns, s.o);
            let b = matrix(w.as_slice(), group * columns, s.o).transposed();
            let c = matrix(patches.as_mut_slice::<T>(), 0, s.depth());
            gemm((s.pixels(), s.depth(), columns), a, b, c, Finish::default());
            let (from, to) = (patches.as_slice::<T>(), dx.as_mut_slice::<T>());
            s.for_runs(group, |at, x| {
                to[x..x + run].iter_mut().zip(&from[at..]).for_each(|(sum, &term)| *sum += term);
            });
        }
    });
    Ok(dx)
}

/// The gradient of [`conv2d`] with respect to `w`.
pub fn conv2d_grad_weight(x: View, dy: View, kernel: [usize; 2], window: &Window, groups: usize) -> Result<Buffer> {
    let ([n, h, w, c], [.., o]) = (shape(x), shape(dy));
    let s = Sizes::new(n, [h, w], [kernel[0], kernel[1], c / groups, o], window, groups);
    let mut dw = Buffer::unspecified(x.dtype(), s.depth() * s.o);
    with_number!("conv2d_grad_weight", x.dtype(), T => {
        let (x, dy) = (Dense::<T>::new(x), Dense::<T>::new(dy));
        let columns = s.o / groups;
        for group in 0..groups {
            let patches = s.patches::<T>(x.as_slice(), group);
            let a = matrix(patches.as_slice::<T>(), 0, s.depth()).transposed();
            let b = matrix(dy.as_slice(), group * columns, s.o);
            let c = matrix(dw.as_mut_slice::<T>(), group * columns, s.o);
            gemm((s.depth(), columns, s.pixels()), a, b, c, Finish::default());
        }
    });
    Ok(dw)
}
