//! The gradient of the weights: for each tap of the kernel a product of the images, transposed, with the gradient of the
//! result, summed over all pixels.
//!
//! The tiles of that product walk along rows of pixels where they lie: a run is a row, and nothing is copied. A block of rows
//! stays in the second-level cache while the tiles of every tap go through it. The sum over pixels is cut into parts that
//! depend on the sizes alone, each with a result of its own; these are added in order.

use std::ops::Range;

use smallvec::SmallVec;

use super::{Image, Sizes, padded, pointwise};
use crate::Buffer;
use crate::cpu::cache::caches;
use crate::cpu::matmul::{Copied, EARLY, Kernels, MAX_WIDTH, Number, Operand, SOON, Tile, add_parts, heights, ranges};
use crate::cpu::read::for_parts;
use crate::cpu::simd::Isa;
use crate::cpu::stream;
use crate::cpu::threads::GRAIN;

/// A sum over rows of pixels, cut into parts.
pub struct Parts {
    rows: usize,
    /// Rows in a part.
    each: usize,
    /// Elements of the sum.
    len: usize,
}

impl Parts {
    /// Multiply-adds that pay for a part.
    const WORTH: usize = 1 << 19;
    /// Parts, at most.
    const MOST: usize = 8;
    /// Elements of all parts' sums, at most, where there are more than two.
    const ROOM: usize = 1 << 20;

    /// For a sum of `len` elements over `rows` rows, each of which takes `cost` multiply-adds.
    pub fn new(rows: usize, cost: usize, len: usize) -> Self {
        let most = (Self::ROOM / len.max(1)).clamp(2, Self::MOST);
        let wanted = (rows.saturating_mul(cost) / Self::WORTH).clamp(1, most);
        // A power of two, so that two threads, and four, have the same number each.
        Self { rows, each: rows.div_ceil(1 << wanted.ilog2()).max(1), len }
    }

    /// Calls `f` with the rows of each part and a place for their sum, on several threads, and adds up the sums.
    pub fn add_up<T: Number>(&self, sum: &mut [T], f: &(dyn Fn(Range<usize>, &mut [T]) + Sync)) {
        let parts: SmallVec<[Range<usize>; 8]> = ranges(0..self.rows, self.each).collect();
        if parts.len() == 1 || self.len == 0 {
            return f(0..self.rows, sum);
        }
        let mut sums = Buffer::unspecified(T::DTYPE, parts.len() * self.len);
        let sums = sums.as_mut_slice::<T>();
        for_parts(sums, self.len, &|start, sum| f(parts[start / self.len].clone(), sum));
        let (first, rest) = sums.split_at(self.len);
        for_parts(sum, GRAIN / parts.len(), &|start, sum| {
            add_parts(sum, &first[start..start + sum.len()], &rest[start..], self.len, &[]);
        });
    }
}

/// The gradient of the weights.
pub fn grad_weight<T: Number>(x: &[T], dy: &[T], s: &Sizes, dw: &mut [T]) {
    if s.has_few_channels() && s.has_padding() {
        let (x, s) = padded(x, s);
        return grad_weight(x.as_slice(), dy, &s, dw);
    }
    let longer = s.is_pointwise().then(|| pointwise::in_long_rows(s));
    let s = longer.as_ref().unwrap_or(s);
    let kernels = T::kernels(Isa::get());
    let (depth, columns) = (s.c / s.groups, s.o / s.groups);
    let [height, width] = s.axes;
    let len = s.taps() * depth * columns;
    let ragged = columns % kernels.lanes > 0;
    if ragged && s.is_pointwise() && depth.is_multiple_of(kernels.lanes) {
        return turned_around(x, dy, s, dw);
    }
    if len == 0 || s.outputs() == 0 {
        return dw.fill(T::default());
    }
    for group in 0..s.groups {
        let filled = ragged.then(|| fill_up(kernels, &dy[group * columns..], s.outputs(), s.o, columns));
        let product = Product {
            kernels,
            s,
            x: Image::new(&x[group * depth..], [height.input, width.input], s.c),
            dy: filled.as_ref().map_or(&dy[group * columns..], |filled| filled.as_slice()),
            dy_pixel: if ragged { columns.next_multiple_of(kernels.lanes) } else { s.o },
            columns,
        };
        let parts = Parts::new(s.n * height.output, width.output * len, len);
        let of_rows = |rows: Range<usize>, sum: &mut [T]| product.write(rows, sum);
        if s.groups == 1 {
            parts.add_up(dw, &of_rows);
        } else {
            let mut sum = Buffer::unspecified(T::DTYPE, len);
            parts.add_up(sum.as_mut_slice::<T>(), &of_rows);
            let rows = sum.as_slice::<T>().chunks_exact(columns);
            for (to, from) in dw.chunks_exact_mut(s.o).zip(rows) {
                to[group * columns..][..columns].copy_from_slice(from);
            }
        }
    }
}

/// [`grad_weight`] for a kernel of 1 x 1, where images and result may change places, if the channels of the images fill vectors
/// and those of the result do not.
fn turned_around<T: Number>(x: &[T], dy: &[T], s: &Sizes, dw: &mut [T]) {
    let mut transposed = Buffer::unspecified(T::DTYPE, dw.len());
    grad_weight(dy, x, &Sizes { c: s.o, o: s.c, ..*s }, transposed.as_mut_slice::<T>());
    for (i, row) in transposed.as_slice::<T>().chunks_exact(s.c.max(1)).enumerate() {
        for (to, &from) in dw[i..].iter_mut().step_by(s.o).zip(row) {
            *to = from;
        }
    }
}

/// The pixels of `dy` with as many filters as fill vectors, zeros behind those that there are.
fn fill_up<T: Number>(kernels: &Kernels<T>, dy: &[T], pixels: usize, distance: usize, columns: usize) -> Buffer {
    let width = columns.next_multiple_of(kernels.lanes);
    let mut filled = Buffer::unspecified(T::DTYPE, pixels * width);
    for_parts(filled.as_mut_slice::<T>(), (GRAIN / width).max(1) * width, &|start, to| {
        let from = Operand { start: dy[start / width * distance..].as_ptr(), row: distance as isize, col: 1 };
        let (rows, to) = (to.len() / width, to.as_mut_ptr());
        // SAFETY: there are as many pixels in `dy`, each with its columns, and the place has room for them.
        unsafe { (kernels.copy)(&Copied { from, rows, columns, to, distance: width }) };
    });
    filled
}

/// A product for the gradient of one group's weights.
struct Product<'a, T: 'static> {
    kernels: &'static Kernels<T>,
    s: &'a Sizes,
    /// The images, from the group's first channel on.
    x: Image<'a, T>,
    /// The gradient of the result, from the group's first filter on, and how far apart its pixels are.
    dy: &'a [T],
    dy_pixel: usize,
    columns: usize,
}

impl<T: Number> Product<'_, T> {
    /// Writes the sum over some rows of the result's pixels, counted over all images.
    fn write(&self, rows: Range<usize>, sum: &mut [T]) {
        let s = self.s;
        let row =
            (s.axes[1].input * self.x.pixel * s.axes[0].stride + s.axes[1].output * self.dy_pixel) * size_of::<T>();
        let block = (caches().l2 / 2 / row).max(1);
        let depth = s.c / s.groups;
        // Tiles have channels of one tap, or of several where there are few.
        let span = if s.has_few_channels() { s.taps() * depth } else { depth };
        for block in ranges(rows.clone(), block) {
            for panel in ranges(0..self.columns, self.kernels.width()) {
                for taps in ranges(0..s.taps() * depth, span) {
                    for tile in heights(taps, self.kernels.height()) {
                        self.write_tile(block.clone(), tile, panel.clone(), block.start > rows.start, sum);
                    }
                }
            }
        }
    }

    /// Adds to, or writes, some rows and columns of the sum, over a block of rows of pixels.
    fn write_tile(&self, block: Range<usize>, tile: Range<usize>, panel: Range<usize>, adds: bool, sum: &mut [T]) {
        let ([height, width], kernels) = (self.s.axes, self.kernels);
        let beside = !self.s.has_few_channels();
        let [kh, kw, _] = self.tap(tile.start);
        // Where there are few channels, there is no padding: every tap finds elements for every result.
        let (readers, columns) = (height.outputs_of_tap(kh), width.outputs_of_tap(kw));
        let mut a: SmallVec<[*const T; 128]> = SmallVec::new();
        let mut b: SmallVec<[*const T; 64]> = SmallVec::new();
        for row in block.filter(|row| readers.contains(&(row % height.output))) {
            let (n, oh) = (row / height.output, row % height.output);
            for i in if beside { tile.start..tile.start + 1 } else { tile.clone() } {
                let [kh, kw, channel] = self.tap(i);
                let (ih, iw) = (height.place(oh, kh), width.place(columns.start, kw));
                let at = n as isize * self.x.image as isize + ih * self.x.row as isize + iw * self.x.pixel as isize;
                a.push(self.x.data.as_ptr().wrapping_offset(at + channel as isize));
            }
            let pixel = row * width.output + columns.start;
            b.push(self.dy.as_ptr().wrapping_add(pixel * self.dy_pixel + panel.start));
        }
        let zeros = [T::default(); MAX_WIDTH];
        let sum = &mut sum[tile.start * self.columns + panel.start..(tile.end - 1) * self.columns + panel.end];
        let c = sum.as_mut_ptr();
        let nothing = Operand { start: zeros.as_ptr(), row: 0, col: 0 };
        let c_row = self.columns as isize;
        let work = Tile {
            k: columns.len(),
            runs: b.len(),
            a: a.as_ptr(),
            a_beside: beside,
            a_step: (width.stride * self.x.pixel) as isize,
            next_a: zeros.as_ptr(),
            next_a_step: 0,
            b: b.as_ptr(),
            b_step: self.dy_pixel as isize,
            b_ahead: if stream::is_far(size_of_val(self.dy)) { EARLY } else { SOON },
            c,
            c_row,
            c_col: 1,
            columns: panel.len(),
            plain: !adds,
            scale: T::wrap(1),
            base: if adds { Operand { start: c, row: c_row, col: 1 } } else { nothing },
        };
        // SAFETY: runs name pixels of both images: rows and columns of the result for which the tap finds elements. Pixels of `dy`
        // have as many filters as fill vectors, or others follow. `sum` was checked; the kernels are this machine's.
        unsafe { kernels.tile(tile.len(), panel.len())(&work) };
    }

    /// The tap, as row and column, and the channel that a row of the sum belongs to.
    fn tap(&self, row: usize) -> [usize; 3] {
        let (depth, width) = (self.s.c / self.s.groups, self.s.axes[1].kernel);
        [row / depth / width, row / depth % width, row % depth]
    }
}
