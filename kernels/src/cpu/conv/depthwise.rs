//! Convolutions in which every channel has a filter of its own.
//!
//! There is nothing to be shared between channels, so there is no product of matrices in it: each element is used a few
//! times, and memory sets the pace. Vectors hold neighbouring channels; rows of pixels are walked through once, while the
//! rows that the kernel reads stay in a near cache. The gradients of weights are in `grads`.

pub mod grads;

use std::ops::Range;

use smallvec::SmallVec;

use super::Sizes;
use super::channels::Strip;
use super::lattice::Lattice;
use super::nine::{Nine, Patch};
use crate::backend::Unary;
use crate::buffer::scratch::Scratch;
use crate::cpu::copy::Dense;
use crate::cpu::matmul::{Activate, CACHE_LINE, HasKernels, Kernels, Number, Then, with_number};
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
}

/// How all results of a [`Layer`] are computed.
struct Plan<'a, T> {
    /// Those of height and of width, of which every pair has some of the results.
    lattices: [&'a [Lattice]; 2],
    /// Rows of an image's results.
    rows: usize,
    /// Numbers of a row.
    len: usize,
    nine: Option<Nine>,
    /// Rows that are computed at a time.
    beside: usize,
    /// Whether results are written past the caches by whoever computes them, or by copying.
    at_once: bool,
    by_copying: bool,
    then: Option<&'a Then<'a, T>>,
}

impl<'a, T: Number> Plan<'a, T> {
    /// For results of so many bytes in all.
    fn new(
        layer: &Layer<'_, T>,
        lattices: [&'a [Lattice]; 2],
        [rows, columns]: [usize; 2],
        bytes: usize,
        then: Option<&'a Then<'a, T>>,
    ) -> Self {
        let nine = match lattices {
            [[height], [width]] => Nine::of([height, width], layer.channels, layer.kernels.lanes),
            _ => None,
        };
        let nine = nine.filter(Nine::shares);
        let beside = nine.as_ref().map_or(1, |nine| nine.rows::<T>(layer.channels));
        let past = stream::pays(bytes);
        // Whole lines can be written past the caches by whoever computes them, if nothing else is made of them.
        let at_once = past && nine.is_some() && then.is_none() && layer.kernels.lanes * size_of::<T>() == CACHE_LINE;
        let len = (columns * layer.channels).max(1);
        Self { lattices, rows, len, nine, beside, at_once, by_copying: past && !at_once, then }
    }
}

impl<T: Number> Layer<'_, T> {
    /// Computes all results.
    fn fill(&self, plan: &Plan<'_, T>, y: &mut [T]) {
        let taps = self.w.len() / self.channels.max(1);
        // Tasks of many rows, whose neighbours then find theirs in the cache, and of which memory is read as it expects it.
        let each = (GRAIN / (plan.len * taps).max(1)).max(y.len() / plan.len / 64).max(1);
        for_parts(y, each * plan.len, &|start, y| self.fill_rows(plan, start / plan.len, y));
    }

    /// Computes the rows that `y` holds, from row `at` on, counted over all images.
    fn fill_rows(&self, plan: &Plan<'_, T>, mut at: usize, mut y: &mut [T]) {
        let &Plan { lattices: [height, width], rows, len, ref nine, beside, at_once, by_copying, then } = plan;
        let mut near = Scratch::filled(if by_copying { beside.min(rows) * len } else { 0 }, T::default());
        let end = at + y.len() / len;
        while at < end {
            let (n, row) = (at / rows, at % rows);
            let count = beside.min(rows - row).min(end - at);
            let (now, rest) = y.split_at_mut(count * len);
            (y, at) = (rest, at + count);
            let to = if by_copying { &mut near[..now.len()] } else { &mut *now };
            match nine {
                Some(nine) => self.rows_of_nine(nine, n, row..row + count, to, at_once),
                None => {
                    let height = &height[row % height.len()];
                    for width in width {
                        self.row(n, [height, width], (row - height.first) / height.step, to);
                    }
                }
            }
            if let Some(then) = then {
                (then.call)(to);
            }
            if by_copying {
                stream::copy(&near[..now.len()], now);
            }
        }
        if at_once || by_copying {
            stream::fence();
        }
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
            let y = y.as_mut_slice();
            let bytes = size_of_val(y);
            layer.fill(&Plan::new(&layer, [height, width], s.axes.map(|axis| axis.output), bytes, then), y);
        })?;
    });
    Ok(y)
}

/// [`conv2d_grad_input`](super::conv2d_grad_input) with as many groups as channels and filters.
pub fn grad_input(dy: View, w: View, s: &Sizes) -> Result<Buffer> {
    let mut dx = Buffer::unspecified(dy.dtype(), s.inputs() * s.c);
    with_number!("conv2d_grad_input", dy.dtype(), T => {
        let (dy, w) = (Dense::<T>::new(dy), Dense::<T>::new(w));
        let dx = dx.as_mut_slice();
        let bytes = size_of_val(dx);
        of_input(dy.as_slice(), w.as_slice(), s, bytes, |layer, plan| layer.fill(plan, dx));
    });
    Ok(dx)
}

/// Calls `f` with the convolution that makes the gradient of the images, of so many bytes.
fn of_input<T: Number>(dy: &[T], w: &[T], s: &Sizes, bytes: usize, f: impl FnOnce(&Layer<'_, T>, &Plan<'_, T>)) {
    let lattices = s.axes.map(|axis| {
        let firsts = 0..axis.stride.min(axis.input);
        firsts.map(|first| Lattice::backward(&axis, first)).collect::<SmallVec<[Lattice; 2]>>()
    });
    let zeros = Scratch::filled(s.c, T::default());
    let layer = Layer {
        kernels: T::kernels(Isa::get()),
        x: dy,
        x_pixels: s.axes[0].output * s.axes[1].output,
        x_width: s.axes[1].output,
        w,
        w_width: s.axes[1].kernel,
        base: &zeros,
        channels: s.c,
    };
    let [height, width] = &lattices;
    f(&layer, &Plan::new(&layer, [height, width], s.axes.map(|axis| axis.input), bytes, None));
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
