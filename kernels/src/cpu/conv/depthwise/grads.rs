//! The gradients of depthwise convolutions, of which those of the weights are sums over all pixels.

use std::ops::Range;

use smallvec::SmallVec;

use super::{Kernels, of_input};
use crate::cpu::conv::Sizes;
use crate::cpu::conv::channels::Pairs;
use crate::cpu::conv::lattice::Lattice;
use crate::cpu::conv::nine::Nine;
use crate::cpu::conv::weight::{Parts, add_rows};
use crate::cpu::copy::Dense;
use crate::cpu::matmul::{Number, ranges, with_number};
use crate::cpu::simd::Isa;
use crate::{Buffer, Result, View};

/// The gradients of the weights and of a bias.
pub fn of_params(x: View, dy: View, s: &Sizes) -> Result<[Buffer; 2]> {
    let [mut dw, mut db] = [s.taps() * s.c, s.c].map(|len| Buffer::unspecified(x.dtype(), len));
    with_number!("conv2d_grad_weight", x.dtype(), T => {
        let (x, dy) = (Dense::<T>::new(x), Dense::<T>::new(dy));
        let correlation = Correlation::new(x.as_slice(), dy.as_slice(), s);
        let sums = [dw.as_mut_slice::<T>(), db.as_mut_slice::<T>()];
        correlation.parts(s.n * s.axes[0].output).add_up(sums, &mut [], &|rows, mut sums, _| {
            sums.iter_mut().for_each(|sums| sums.fill(T::default()));
            correlation.add(rows, &mut sums);
        });
    });
    Ok([dw, db])
}

/// Elements of `dy` for which [`of_all`] pays: smaller ones are still in a near cache when they are read again.
const FAR: usize = 1 << 18;

/// Whether [`of_all`] pays, and there are so many images that it can cut work between them.
pub fn pays(s: &Sizes) -> bool {
    s.n >= Parts::MOST && s.outputs() * s.c >= FAR
}

/// The gradients of the images, of the weights and of a bias. Some rows of `dy` at a time are used for all of them, so that
/// memory is read once.
pub fn of_all(x: View, w: View, dy: View, s: &Sizes) -> Result<[Buffer; 3]> {
    let lens = [s.inputs() * s.c, s.taps() * s.c, s.c];
    let [mut dx, mut dw, mut db] = lens.map(|len| Buffer::unspecified(x.dtype(), len));
    with_number!("conv2d_grads", x.dtype(), T => {
        let (x, w, dy) = (Dense::<T>::new(x), Dense::<T>::new(w), Dense::<T>::new(dy));
        let correlation = Correlation::new(x.as_slice(), dy.as_slice(), s);
        let (dx, sums) = (dx.as_mut_slice::<T>(), [dw.as_mut_slice::<T>(), db.as_mut_slice::<T>()]);
        let bytes = size_of_val(dx);
        let [height, width] = s.axes;
        let row = width.input * s.c;
        of_input(dy.as_slice(), w.as_slice(), s, bytes, |layer, plan| {
            correlation.parts(s.n).add_up(sums, dx, &|images, mut sums, mut dx| {
                sums.iter_mut().for_each(|sums| sums.fill(T::default()));
                for n in images {
                    for rows in ranges(0..height.output, correlation.beside()) {
                        correlation.add(n * height.output + rows.start..n * height.output + rows.end, &mut sums);
                        // As many rows of the images belong to these, and to the last ones all that are left.
                        let end = if rows.end == height.output { height.input } else { rows.end * height.stride };
                        let first = (rows.start * height.stride).min(height.input);
                        let (now, rest) = std::mem::take(&mut dx).split_at_mut((end.min(height.input) - first) * row);
                        layer.fill_rows(plan, n * height.input + first, now);
                        dx = rest;
                    }
                }
            });
        });
    });
    Ok([dx, dw, db])
}

/// The sums for the gradients of weights and bias.
struct Correlation<'a, T: 'static> {
    kernels: &'static Kernels<T>,
    s: &'a Sizes,
    x: &'a [T],
    dy: &'a [T],
    nine: Option<Nine>,
}

impl<'a, T: Number> Correlation<'a, T> {
    fn new(x: &'a [T], dy: &'a [T], s: &'a Sizes) -> Self {
        let kernels = T::kernels(Isa::get());
        let [height, width] = s.axes.map(|axis| Lattice::forward(&axis));
        Self { kernels, s, x, dy, nine: Nine::of([&height, &width], s.c, kernels.lanes) }
    }

    /// The sum over all pixels, cut where one of so many rows begins.
    fn parts(&self, rows: usize) -> Parts {
        let len = self.s.taps() * self.s.c;
        // Sums of nine weights a channel are soon added up, so a quarter of the work that pays for a part elsewhere pays here.
        Parts::new(rows, 4 * self.s.outputs() / rows.max(1) * len, len)
    }

    /// How many rows are worked on at a time.
    fn beside(&self) -> usize {
        self.nine.as_ref().map_or(1, |nine| nine.rows::<T>(self.s.c))
    }

    /// Adds what some rows of the result's gradient, counted over all images, have to say of weights and bias.
    fn add(&self, rows: Range<usize>, [dw, db]: &mut [&mut [T]; 2]) {
        let (channels, height) = (self.s.c, self.s.axes[0].output);
        assert!(dw.len() >= self.s.taps() * channels && db.len() >= channels, "there are sums for all channels");
        let Some(nine) = &self.nine else {
            let row = self.s.axes[1].output * channels;
            add_rows(&self.dy[rows.start * row..rows.end * row], &mut db[..channels]);
            return rows.for_each(|row| self.add_row(row, dw));
        };
        let mut at = rows.start;
        while at < rows.end {
            let (n, row) = (at / height, at % height);
            let count = self.beside().min(height - row).min(rows.end - at);
            for (rows, first, patch) in nine.patches(self.x, channels, n, row..row + count) {
                let other = &self.dy[(n * height + rows.start) * patch.to_row..][..rows.len() * patch.to_row];
                let sums = dw[3 * first * channels..].as_mut_ptr();
                // SAFETY: `patches` names pixels of the image, as many rows of gradients were just cut out, there are sums for all
                // channels of all taps, and the kernels are those of this machine.
                unsafe { (self.kernels.correlate_nine)(&patch, other.as_ptr(), sums, db.as_mut_ptr()) };
            }
            at += count;
        }
    }

    /// Adds what a row of the result's gradient has to say of all weights.
    fn add_row(&self, row: usize, dw: &mut [T]) {
        let &Self { kernels, s, x, dy, .. } = self;
        let [height, width] = s.axes;
        let (n, oh) = (row / height.output, row % height.output);
        assert!(dw.len() >= s.taps() * s.c, "each tap has sums for all channels");
        let inner = Lattice::forward(&width).inner();
        let borders = (0..inner.start).chain(inner.end..width.output).map(|ow| ow..ow + 1);
        // A few pixels at a time, with all channels and all taps, so that memory is read from one end to the other.
        for range in borders.chain(ranges(inner, PIXELS)).filter(|range| !range.is_empty()) {
            for (kh, ih) in height.taps(oh) {
                let taps: SmallVec<[(*const T, *mut T); 8]> = width
                    .taps(range.start)
                    .map(|(kw, iw)| {
                        let pixel = ((n * height.input + ih) * width.input + iw) * s.c;
                        (x[pixel..].as_ptr(), dw[(kh * width.kernel + kw) * s.c..].as_mut_ptr())
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
}

/// Pixels that are worked on at a time.
const PIXELS: usize = 16;
