//! Convolutions in which every channel has a filter of its own.
//!
//! There is nothing to be shared between channels, so there is no product of matrices in it: each element is used a few
//! times, and memory sets the pace. Vectors hold neighbouring channels; rows of pixels are walked through once, while the
//! rows that the kernel reads stay in a near cache.

use std::ops::Range;

use smallvec::SmallVec;

use super::Sizes;
use super::channels::{Pairs, Strip};
use super::lattice::Lattice;
use super::nine::{Nine, Patch};
use crate::backend::Unary;
use crate::buffer::scratch::Scratch;
use crate::cpu::copy::Dense;
use crate::cpu::matmul::{Activate, CACHE_LINE, HasKernels, Kernels, Number, Then, ranges, with_number};
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

    /// Computes some rows of the results of image `n`, which `y` holds, of three by three taps, and writes them past the caches
    /// if they are aligned.
    fn rows_of_nine(&self, nine: &Nine, n: usize, rows: Range<usize>, y: &mut [T], past: bool) {
        for (part, first, patch) in nine.patches(self.x, self.channels, n, rows.clone()) {
            let weights = nine.weights(self.w, self.channels, first);
            let y = &mut y[(part.start - rows.start) * patch.to_row..][..part.len() * patch.to_row];
            let patch = Patch { past: past && y.as_ptr().align_offset(CACHE_LINE) == 0, ..patch };
            // SAFETY: `patches` names pixels of the image, weights and base have all channels, the results were just cut out,
            // and the kernels are those of this machine.
            unsafe { (self.kernels.weigh_nine)(&patch, &weights, self.base.as_ptr(), y.as_mut_ptr()) };
        }
    }

    /// Computes all rows: `lattices` for height and width, of which every pair has some of the results.
    fn rows(&self, [height, width]: [&[Lattice]; 2], [rows, columns]: [usize; 2], y: &mut [T], then: Option<&Then<T>>) {
        let len = (columns * self.channels).max(1);
        let past = stream::pays(size_of_val(y));
        let taps = self.w.len() / self.channels.max(1);
        let nine = match (height, width) {
            ([height], [width]) => Nine::of([height, width], self.channels, self.kernels.lanes),
            _ => None,
        };
        let nine = nine.filter(Nine::shares);
        let beside = nine.as_ref().map_or(1, |nine| nine.rows::<T>(self.channels));
        // Whole lines can be written past the caches by whoever computes them, if nothing else is made of them.
        let at_once = past && nine.is_some() && then.is_none() && self.kernels.lanes * size_of::<T>() == CACHE_LINE;
        let by_copying = past && !at_once;
        // Tasks of many rows, whose neighbours then find theirs in the cache, and of which memory is read as it expects it.
        let each = (GRAIN / (len * taps).max(1)).max(y.len() / len / 64).max(1);
        for_parts(y, each * len, &|start, y| {
            let mut near = Scratch::filled(if by_copying { beside.min(rows) * len } else { 0 }, T::default());
            let (mut at, end) = (start / len, (start + y.len()) / len);
            let mut y = y;
            while at < end {
                let (n, row) = (at / rows, at % rows);
                let count = beside.min(rows - row).min(end - at);
                let (now, rest) = y.split_at_mut(count * len);
                (y, at) = (rest, at + count);
                let to = if by_copying { &mut near[..now.len()] } else { &mut *now };
                match &nine {
                    Some(nine) => self.rows_of_nine(nine, n, row..row + count, to, at_once),
                    None => {
                        let height = &height[row % height.len()];
                        for width in width {
                            self.row(n, [height, width], (row - height.first) / height.step, to);
                        }
                    }
                }
                if let Some(then) = then {
                    then(to);
                }
                if by_copying {
                    stream::copy(&near[..now.len()], now);
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
        // Sums of nine weights a channel are soon added up, so a quarter of the work that pays for a part elsewhere pays here.
        let parts = super::weight::Parts::new(rows, 4 * s.axes[1].output * len, len);
        let (x, dy, kernels) = (x.as_slice(), dy.as_slice(), T::kernels(Isa::get()));
        let [height, width] = s.axes.map(|axis| Lattice::forward(&axis));
        let nine = Nine::of([&height, &width], s.c, kernels.lanes);
        parts.add_up(dw.as_mut_slice::<T>(), &|part, sums| {
            sums.fill(T::default());
            match &nine {
                Some(nine) => correlate_nine(kernels, nine, [x, dy], [height.count, s.c], part, sums),
                None => part.for_each(|row| correlate_row(kernels, x, dy, s, row, sums)),
            }
        });
    });
    Ok(dw)
}

/// Adds what some rows of the result's gradient have to say of all weights of three by three taps.
fn correlate_nine<T: Number>(
    kernels: &Kernels<T>,
    nine: &Nine,
    [x, dy]: [&[T]; 2],
    [height, channels]: [usize; 2],
    part: Range<usize>,
    sums: &mut [T],
) {
    assert!(sums.len() >= 9 * channels, "each tap has sums for all channels");
    let beside = nine.rows::<T>(channels);
    let mut at = part.start;
    while at < part.end {
        let (n, row) = (at / height, at % height);
        let count = beside.min(height - row).min(part.end - at);
        for (rows, first, patch) in nine.patches(x, channels, n, row..row + count) {
            let other = &dy[(n * height + rows.start) * patch.to_row..][..rows.len() * patch.to_row];
            let sums = &mut sums[3 * first * channels..];
            // SAFETY: `patches` names pixels of the image, as many rows of gradients were just cut out, the sums have all
            // channels of all taps, and the kernels are those of this machine.
            unsafe { (kernels.correlate_nine)(&patch, other.as_ptr(), sums.as_mut_ptr()) };
        }
        at += count;
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DType;
    use crate::window::Window;

    #[test]
    fn results_past_the_caches_are_the_same() {
        let s = Sizes::new(2, [9, 11], [3, 3, 1, 32], &Window::valid().padded([[1; 2]; 2]), 32);
        let numbers = |len: usize| (0..len).map(|i| (i * i % 97) as f32 / 97.0).collect::<Vec<_>>();
        let (x, w, base) = (numbers(s.inputs() * s.c), numbers(9 * s.c), numbers(s.c));
        let kernels = f32::kernels(Isa::get());
        let layer = Layer { kernels, x: &x, x_pixels: 99, x_width: 11, w: &w, w_width: 3, base: &base, channels: s.c };
        let [height, width] = s.axes.map(|axis| Lattice::forward(&axis));
        let nine = Nine::of([&height, &width], s.c, kernels.lanes).unwrap();
        let rows = |past: bool| {
            let mut y = Buffer::unspecified(DType::F32, 7 * 11 * s.c);
            layer.rows_of_nine(&nine, 1, 2..9, y.as_mut_slice(), past);
            y.as_slice::<f32>().to_vec()
        };
        let near = rows(false);
        assert!(rows(true) == near && near.iter().all(|y| *y != 0.0));
    }
}
