//! Convolutions in which every channel has a filter of its own.
//!
//! There is nothing to be shared between channels, so there is no product of matrices in it: each element is used a few
//! times, and memory sets the pace. Vectors hold neighbouring channels; rows of pixels are walked through once, while the
//! rows that the kernel reads stay in a near cache.

use smallvec::SmallVec;

use super::Sizes;
use super::channels::{Pairs, Strip};
use super::lattice::Lattice;
use crate::backend::Unary;
use crate::buffer::scratch::Scratch;
use crate::cpu::copy::Dense;
use crate::cpu::matmul::{Activate, HasKernels, Kernels, Number, Then, ranges, with_number};
use crate::cpu::read::for_parts;
use crate::cpu::simd::Isa;
use crate::cpu::stream;
use crate::cpu::threads::GRAIN;
use crate::{Buffer, Result, View};

/// Images that are convolved channel by channel.
struct Layer<'a, T: 'static> {
    kernels: &'static Kernels<T>,
    /// The images that are read, with how many pixels they have and how many of them are in a row.
    x: &'a [T],
    x_pixels: usize,
    x_width: usize,
    w: &'a [T],
    /// Taps in a row of the kernel.
    w_width: usize,
    /// As many numbers as channels.
    base: &'a [T],
    channels: usize,
}

impl<T: Number> Layer<'_, T> {
    /// Computes row `u` of one lattice's results, for image `n`, into `row`, which holds all of its image's columns.
    fn row(&self, n: usize, [height, width]: [&Lattice; 2], u: usize, row: &mut [T]) {
        let rows: SmallVec<[(usize, usize); 8]> =
            height.taps.iter().filter_map(|&(tap, offset)| Some((tap, height.read(u, offset)?))).collect();
        let inner = width.inner();
        let single = (0..inner.start).chain(inner.end..width.count);
        for range in single.map(|v| v..v + 1).chain([inner.clone()]).filter(|range| !range.is_empty()) {
            let mut taps: SmallVec<[(*const T, *const T); 16]> = SmallVec::new();
            for &(kh, ih) in &rows {
                let columns =
                    width.taps.iter().filter_map(|&(kw, offset)| Some((kw, width.read(range.start, offset)?)));
                for (kw, iw) in columns {
                    let pixel = (n * self.x_pixels + ih * self.x_width + iw) * self.channels;
                    let weights = (kh * self.w_width + kw) * self.channels;
                    taps.push((self.x[pixel..].as_ptr(), self.w[weights..].as_ptr()));
                }
            }
            let to = &mut row[(width.first + range.start * width.step) * self.channels..];
            assert!(to.len() >= ((range.len() - 1) * width.step + 1) * self.channels, "the row holds the strip");
            let strip = Strip {
                count: range.len(),
                channels: self.channels,
                taps: &taps,
                from_step: width.source_step * self.channels,
                base: self.base.as_ptr(),
                to: to.as_mut_ptr(),
                to_step: width.step * self.channels,
            };
            // SAFETY: `read` names pixels of the image, and `inner` those results for which it does so for every tap; weights
            // and base have all channels, the row was just checked, and the kernels are those of this machine.
            unsafe { (self.kernels.weigh)(&strip) };
        }
    }

    /// Computes all rows: `lattices` for height and width, of which every pair has some of the results.
    fn rows(&self, [height, width]: [&[Lattice]; 2], [rows, columns]: [usize; 2], y: &mut [T], then: Option<&Then<T>>) {
        let len = columns * self.channels;
        let past = stream::pays(size_of_val(y));
        let taps = self.w.len() / self.channels.max(1);
        // Tasks of many rows, whose neighbours then find theirs in the cache, and of which memory is read as it expects it.
        let each = (GRAIN / (len * taps).max(1)).max(y.len() / len.max(1) / 64).max(1);
        for_parts(y, each * len.max(1), &|start, y| {
            let mut near = Scratch::filled(if past { len } else { 0 }, T::default());
            for (i, y) in y.chunks_mut(len).enumerate() {
                let (n, row) = ((start / len + i) / rows, (start / len + i) % rows);
                let height = &height[row % height.len()];
                let to = if past { &mut near[..] } else { &mut y[..] };
                for width in width {
                    self.row(n, [height, width], (row - height.first) / height.step, to);
                }
                if let Some(then) = then {
                    then(to);
                }
                if past {
                    stream::copy(&near, y);
                }
            }
            if past {
                stream::fence();
            }
        });
    }
}

/// [`conv2d`](super::conv2d) with as many groups as channels and filters.
pub fn forward(x: View, w: View, bias: Option<View>, activation: Option<Unary>, s: &Sizes) -> Result<Buffer> {
    let lattices = s.axes.map(|axis| [Lattice::forward(&axis)]);
    let mut y = Buffer::unspecified(x.dtype(), s.outputs() * s.o);
    with_number!("conv2d", x.dtype(), T => {
        let (x, w, bias) = (Dense::<T>::new(x), Dense::<T>::new(w), bias.map(Dense::<T>::new));
        let zeros = Scratch::filled(s.o, T::default());
        let layer = Layer {
            kernels: T::kernels(Isa::get()),
            x: x.as_slice(),
            x_pixels: s.axes[0].input * s.axes[1].input,
            x_width: s.axes[1].input,
            w: w.as_slice(),
            w_width: s.axes[1].kernel,
            base: bias.as_ref().map_or(&zeros, |bias| bias.as_slice()),
            channels: s.c,
        };
        let [height, width] = &lattices;
        T::activate(activation, &mut |then| {
            layer.rows([height, width], s.axes.map(|axis| axis.output), y.as_mut_slice(), then);
        })?;
    });
    Ok(y)
}

/// [`conv2d_grad_input`](super::conv2d_grad_input) with as many groups as channels and filters.
pub fn grad_input(dy: View, w: View, s: &Sizes) -> Result<Buffer> {
    let lattices = s.axes.map(|axis| {
        let firsts = 0..axis.stride.min(axis.input);
        firsts.map(|first| Lattice::backward(&axis, first)).collect::<SmallVec<[Lattice; 2]>>()
    });
    let mut dx = Buffer::unspecified(dy.dtype(), s.inputs() * s.c);
    with_number!("conv2d_grad_input", dy.dtype(), T => {
        let (dy, w) = (Dense::<T>::new(dy), Dense::<T>::new(w));
        let zeros = Scratch::filled(s.c, T::default());
        let layer = Layer {
            kernels: T::kernels(Isa::get()),
            x: dy.as_slice(),
            x_pixels: s.axes[0].output * s.axes[1].output,
            x_width: s.axes[1].output,
            w: w.as_slice(),
            w_width: s.axes[1].kernel,
            base: &zeros,
            channels: s.c,
        };
        let [height, width] = &lattices;
        layer.rows([height, width], s.axes.map(|axis| axis.input), dx.as_mut_slice(), None);
    });
    Ok(dx)
}

/// [`conv2d_grad_weight`](super::conv2d_grad_weight) with as many groups as channels and filters.
pub fn grad_weight(x: View, dy: View, s: &Sizes) -> Result<Buffer> {
    let len = s.taps() * s.c;
    let mut dw = Buffer::unspecified(x.dtype(), len);
    with_number!("conv2d_grad_weight", x.dtype(), T => {
        let (x, dy) = (Dense::<T>::new(x), Dense::<T>::new(dy));
        let rows = s.n * s.axes[0].output;
        let parts = super::weight::Parts::new(rows, s.axes[1].output * len, len);
        parts.add_up(dw.as_mut_slice::<T>(), &|part, sums| {
            sums.fill(T::default());
            for row in part {
                correlate_row(T::kernels(Isa::get()), x.as_slice(), dy.as_slice(), s, row, sums);
            }
        });
    });
    Ok(dw)
}

/// Pixels that are worked on at a time.
const PIXELS: usize = 16;

/// Adds what a row of the result's gradient has to say of all weights.
fn correlate_row<T: Number>(kernels: &Kernels<T>, x: &[T], dy: &[T], s: &Sizes, row: usize, sums: &mut [T]) {
    let [height, width] = s.axes;
    let (n, oh) = (row / height.output, row % height.output);
    assert!(sums.len() >= s.taps() * s.c, "each tap has sums for all channels");
    let inner = Lattice::forward(&width).inner();
    let borders = (0..inner.start).chain(inner.end..width.output).map(|ow| ow..ow + 1);
    // A few pixels at a time, with all channels and all taps, so that memory is read from one end to the other.
    for range in borders.chain(ranges(inner, PIXELS)).filter(|range| !range.is_empty()) {
        for (kh, ih) in height.taps(oh) {
            let taps: SmallVec<[(*const T, *mut T); 8]> = width
                .taps(range.start)
                .map(|(kw, iw)| {
                    let pixel = ((n * height.input + ih) * width.input + iw) * s.c;
                    (x[pixel..].as_ptr(), sums[(kh * width.kernel + kw) * s.c..].as_mut_ptr())
                })
                .collect();
            let other = &dy[(row * width.output + range.start) * s.c..];
            let pairs = Pairs {
                count: range.len(),
                channels: s.c,
                taps: &taps,
                step: width.stride * s.c,
                other: other.as_ptr(),
                other_step: s.c,
            };
            // SAFETY: `taps` names pixels of the image for the first result of the range, and so for all, since a range has one
            // result or is where every tap finds an element; sums have all channels; the kernels are this machine's.
            unsafe { (kernels.correlate)(&pairs) };
        }
    }
}
