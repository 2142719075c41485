//! The gradients of weights and bias: for each tap of the kernel a product of the images, transposed, with the gradient of
//! the result, summed over all pixels; and the sum of that gradient, while it is in the cache.
//!
//! The tiles of that product walk along rows of pixels where they lie: a run is a row, and nothing is copied. A block of rows
//! stays in the second-level cache while the tiles of every tap go through it. The sum over pixels is cut into parts that
//! depend on the sizes alone, each with a result of its own; these are added in order.

use std::ops::Range;

use smallvec::SmallVec;

use super::{Image, Sizes, padded, pointwise};
use crate::Buffer;
use crate::cpu::cache::caches;
use crate::cpu::matmul::{Copied, EARLY, Kernels, Number, Operand, SOON, Tile, heights, ranges};
use crate::cpu::read::for_parts;
use crate::cpu::simd::Isa;
use crate::cpu::stream;
use crate::cpu::threads::{GRAIN, for_chunks};

/// A sum over rows of pixels, cut into parts.
pub struct Parts {
    rows: usize,
    /// Rows in a part.
    each: usize,
}

impl Parts {
    /// Multiply-adds that pay for a part.
    const WORTH: usize = 1 << 19;
    /// Parts, at most.
    pub const MOST: usize = 8;
    /// Elements of all parts' sums, at most, where there are more than two.
    const ROOM: usize = 1 << 20;

    /// For a sum of `len` elements over `rows` rows, each of which takes `cost` multiply-adds.
    pub fn new(rows: usize, cost: usize, len: usize) -> Self {
        let most = (Self::ROOM / len.max(1)).clamp(2, Self::MOST);
        let wanted = (rows.saturating_mul(cost) / Self::WORTH).clamp(1, most);
        // A power of two, so that two threads, and four, have the same number each.
        Self { rows, each: rows.div_ceil(1 << wanted.ilog2()).max(1) }
    }

    /// Calls `f` with the rows of each part and places for their sums, of weights and of a bias, on several threads, and adds
    /// up the sums. Each part also gets its rows' share of `beside`, which is not summed.
    pub fn add_up<T: Number>(&self, [dw, db]: [&mut [T]; 2], beside: &mut [T], f: &OnPart<'_, T>) {
        let parts: SmallVec<[Range<usize>; 8]> = ranges(0..self.rows, self.each).collect();
        let (middle, len) = (dw.len(), dw.len() + db.len());
        if parts.len() <= 1 || len == 0 {
            return f(0..self.rows, [dw, db], beside);
        }
        let mut sums = Buffer::unspecified(T::DTYPE, parts.len() * len);
        let sums = sums.as_mut_slice::<T>();
        let mut shares = beside.chunks_mut((beside.len() / self.rows * self.each).max(1));
        let tasks = parts.into_iter().zip(sums.chunks_exact_mut(len));
        let mut tasks: SmallVec<[_; 8]> =
            tasks.map(|(rows, sums)| (rows, sums.split_at_mut(middle), shares.next().unwrap_or_default())).collect();
        for_chunks(&mut tasks, 1, &|_, tasks| {
            for (rows, (dw, db), share) in tasks {
                f(rows.clone(), [dw, db], share);
            }
        });
        drop(tasks);
        let (first, rest) = sums.split_at(len);
        for (sum, at) in [(dw, 0), (db, middle)] {
            for_parts(sum, GRAIN / self.rows.div_ceil(self.each), &|start, sum| {
                add_parts(sum, &first[at + start..][..sum.len()], &rest[at + start..], len);
            });
        }
    }
}

/// Computes the sums of some rows, of weights and bias, and those rows of something else.
pub type OnPart<'a, T> = dyn Fn(Range<usize>, [&mut [T]; 2], &mut [T]) + Sync + 'a;

crate::simd! {
    /// A row of sums from its first part and the other parts, `distance` apart.
    fn add_parts<T>(row: &mut [T], first: &[T], rest: &[T], distance: usize) where [T: Number] {
        row.copy_from_slice(first);
        for part in rest.chunks(distance) {
            for (sum, &part) in row.iter_mut().zip(part) {
                *sum = *sum + part;
            }
        }
    }
    /// Adds rows of numbers to `sums`, which is as long as a row.
    pub fn add_rows<T>(rows: &[T], sums: &mut [T]) where [T: Number] {
        let (width, mut at) = (sums.len(), 0);
        while width - at >= 32 {
            add_columns::<T, 32>(rows, at, sums);
            at += 32;
        }
        while width - at >= 8 {
            add_columns::<T, 8>(rows, at, sums);
            at += 8;
        }
        while width > at {
            add_columns::<T, 1>(rows, at, sums);
            at += 1;
        }
    }
}

/// Adds `N` columns of rows to `sums`, several rows side by side, so that no addition waits for the one before.
#[inline(always)]
fn add_columns<T: Number, const N: usize>(rows: &[T], at: usize, sums: &mut [T]) {
    const BESIDE: usize = 4;
    let width = sums.len();
    let mut blocks = [[T::default(); N]; BESIDE];
    let add = |block: &mut [T; N], row: &[T]| {
        for (sum, &x) in block.iter_mut().zip(&row[at..at + N]) {
            *sum = *sum + x;
        }
    };
    let mut groups = rows.chunks_exact(BESIDE * width);
    for group in &mut groups {
        for (block, row) in blocks.iter_mut().zip(group.chunks_exact(width)) {
            add(block, row);
        }
    }
    for (block, row) in blocks.iter_mut().zip(groups.remainder().chunks_exact(width)) {
        add(block, row);
    }
    for block in blocks {
        sums[at..].iter_mut().zip(block).for_each(|(sum, x)| *sum = *sum + x);
    }
}

/// The gradient of the weights, and that of a bias, unless `db` is empty.
pub fn grad_params<T: Number>(x: &[T], dy: &[T], s: &Sizes, dw: &mut [T], db: &mut [T]) {
    db.fill(T::default());
    if s.has_few_channels() && s.has_padding() {
        let (x, s) = padded(x, s);
        return with_total([x.as_slice(), dy], &s, dw, (dy, db));
    }
    let longer = s.is_pointwise().then(|| pointwise::in_long_rows(s));
    let s = longer.as_ref().unwrap_or(s);
    let lanes = T::kernels(Isa::get()).lanes;
    if s.is_pointwise() && !s.o.is_multiple_of(lanes) && s.c.is_multiple_of(lanes) {
        // Images and result change places, since the channels of the images fill vectors, and those of the result do not.
        let mut turned = Buffer::unspecified(T::DTYPE, dw.len());
        with_total([dy, x], &Sizes { c: s.o, o: s.c, ..*s }, turned.as_mut_slice::<T>(), (dy, db));
        for (i, row) in turned.as_slice::<T>().chunks_exact(s.c.max(1)).enumerate() {
            for (to, &from) in dw[i..].iter_mut().step_by(s.o).zip(row) {
                *to = from;
            }
        }
        return;
    }
    with_total([x, dy], s, dw, (dy, db));
}

/// Writes the sum of `x`, transposed, times `dy`, and adds the numbers of each pixel, of which there are as many as sums in
/// `total`.
fn with_total<T: Number>([x, dy]: [&[T]; 2], s: &Sizes, dw: &mut [T], (pixels, total): (&[T], &mut [T])) {
    let kernels = T::kernels(Isa::get());
    let (depth, columns) = (s.c / s.groups, s.o / s.groups);
    let [height, width] = s.axes;
    let len = s.taps() * depth * columns;
    let ragged = columns % kernels.lanes > 0;
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
            pixels,
        };
        let parts = Parts::new(s.n * height.output, width.output * len, len);
        let of_rows: &OnPart<'_, T> = &|rows, [sum, total], _| product.write(rows, sum, total);
        if s.groups == 1 {
            return parts.add_up([dw, total], &mut [], of_rows);
        }
        let mut sum = Buffer::unspecified(T::DTYPE, len);
        // One group's sums are for all channels.
        let total = if group == 0 { &mut *total } else { &mut [] };
        parts.add_up([sum.as_mut_slice::<T>(), total], &mut [], of_rows);
        let rows = sum.as_slice::<T>().chunks_exact(columns);
        for (to, from) in dw.chunks_exact_mut(s.o).zip(rows) {
            to[group * columns..][..columns].copy_from_slice(from);
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
    /// What the total is of.
    pixels: &'a [T],
}

impl<T: Number> Product<'_, T> {
    /// Writes the sum over some rows of the result's pixels, counted over all images, and the total of those.
    fn write(&self, rows: Range<usize>, sum: &mut [T], total: &mut [T]) {
        total.fill(T::default());
        let s = self.s;
        let row =
            (s.axes[1].input * self.x.pixel * s.axes[0].stride + s.axes[1].output * self.dy_pixel) * size_of::<T>();
        let block = (caches().l2 / 2 / row).max(1);
        let depth = s.c / s.groups;
        // Tiles have channels of one tap, or of several where there are few.
        let span = if s.has_few_channels() { s.taps() * depth } else { depth };
        for block in ranges(rows.clone(), block) {
            if !total.is_empty() {
                let row = s.axes[1].output * total.len();
                add_rows(&self.pixels[block.start * row..block.end * row], total);
            }
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
        let sum = &mut sum[tile.start * self.columns + panel.start..(tile.end - 1) * self.columns + panel.end];
        let mut work = Tile {
            runs: b.len(),
            a: a.as_ptr(),
            a_beside: beside,
            a_step: (width.stride * self.x.pixel) as isize,
            b: b.as_ptr(),
            b_step: self.dy_pixel as isize,
            b_ahead: if stream::is_far(size_of_val(self.dy)) { EARLY } else { SOON },
            c: sum.as_mut_ptr(),
            c_row: self.columns as isize,
            columns: panel.len(),
            ..Tile::of(columns.len())
        };
        if adds {
            work.accumulate();
        }
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
