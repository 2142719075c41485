//! Sums over the taps of a kernel: the result of a convolution, and the gradient of its images.
//!
//! A tile of the result is some neighbouring pixels by some filters. Its sum has a run for each tap: along the channels of
//! the pixels that the tap reads, where they lie, and along the weights, which are packed in the order in which they are
//! read.

use std::ops::Range;

use smallvec::SmallVec;

use super::lattice::Lattice;
use super::{Image, Sizes, padded};
use crate::Buffer;
use crate::buffer::scratch::Scratch;
use crate::cpu::cache::caches;
use crate::cpu::matmul::{Copied, Kernels, MAX_HEIGHT, Number, Operand, Then, Tile, heights, ranges, unbounded};
use crate::cpu::read::for_parts;
use crate::cpu::simd::Isa;
use crate::cpu::stream;
use crate::cpu::threads::for_tasks;

/// Weights in panels, each as wide as the widest tile: for each tap, a row for each channel that is summed over.
pub struct Panels<T: 'static> {
    kernels: &'static Kernels<T>,
    buffer: Buffer,
    taps: usize,
    depth: usize,
    columns: usize,
}

impl<T: Number> Panels<T> {
    /// Packs a `depth x columns` matrix for each tap.
    ///
    /// # Safety
    /// The elements of the matrices may be read, and the kernels are those of this machine.
    pub unsafe fn pack(kernels: &'static Kernels<T>, taps: &[Operand<T>], depth: usize, columns: usize) -> Self {
        let (width, starts) = (kernels.width(), Matrices(taps));
        let len = taps.len() * depth * width;
        let mut buffer = Buffer::unspecified(T::DTYPE, columns.div_ceil(width) * len);
        for_parts(buffer.as_mut_slice::<T>(), len, &|start, panel| {
            let first = start / len * width;
            // Rows that are neighbours are filled up as they are copied. Columns are not, and what memory held before would be
            // multiplied for nothing, slowly where it is denormal.
            if width > columns - first && starts.iter().any(|tap| tap.col != 1) {
                panel.fill(T::default());
            }
            for (tap, panel) in starts.iter().zip(panel.chunks_mut((depth * width).max(1))) {
                let from = Operand { start: tap.at(0, first), ..*tap };
                let (columns, to) = (width.min(columns - first), panel.as_mut_ptr());
                // SAFETY: the panel has a place for each row, and the caller vouches for the rest.
                unsafe { (kernels.copy)(&Copied { from, rows: depth, columns, to, distance: width }) };
            }
        });
        Self { kernels, buffer, taps: taps.len(), depth, columns }
    }

    /// How many elements a panel has.
    fn len(&self) -> usize {
        self.taps * self.depth * self.kernels.width()
    }

    /// Where each tap begins in the panel of the columns from `first` on.
    pub fn starts(&self, first: usize) -> Starts<T> {
        let width = self.kernels.width();
        let panel = &self.buffer.as_slice::<T>()[first / width * self.len()..];
        (0..self.taps).map(|tap| panel[tap * self.depth * width..].as_ptr()).collect()
    }
}

/// Where each tap begins in a panel.
type Starts<T> = SmallVec<[*const T; 16]>;

/// Matrices that several threads read.
struct Matrices<'a, T>(&'a [Operand<T>]);

impl<T> Matrices<'_, T> {
    fn iter(&self) -> impl Iterator<Item = &Operand<T>> {
        self.0.iter()
    }
}

// SAFETY: the matrices are only read, and their owner is borrowed meanwhile.
unsafe impl<T: Sync> Sync for Matrices<'_, T> {}

/// Where results are written: where the first one is, and how far apart channels, pixels, rows and images are.
#[derive(Clone, Copy)]
struct Place<T> {
    start: *mut T,
    channel: usize,
    pixel: usize,
    row: usize,
    image: usize,
}

/// What is summed up, and where the sums go.
struct Sums<'a, T: 'static> {
    panels: &'a Panels<T>,
    x: Image<'a, T>,
    n: usize,
    /// Height and width.
    lattices: [&'a Lattice; 2],
    bias: Option<&'a [T]>,
    then: Option<&'a Then<'a, T>>,
    to: Place<T>,
    /// What taps in the padding read.
    zeros: &'a [T],
    /// The rows and columns of which no tap lies in the padding.
    inner: [Range<usize>; 2],
}

// SAFETY: images and panels are only read, and tasks write the pixels of different rows.
unsafe impl<T: Sync> Sync for Sums<'_, T> {}

/// For each tap of a tile, where the channels of each pixel begin.
type Runs<T> = SmallVec<[*const T; 128]>;

/// Multiply-adds that are worth a task.
const WORTH: usize = 1 << 19;

/// Tasks, at most: they depend on the sizes, not on how many threads there are.
const TASKS: usize = 64;

impl<'a, T: Number> Sums<'a, T> {
    /// The sums over the taps of `lattices`, which are those of the panels, row by row, of `n` images, from the channel that
    /// `x` begins with. `zeros` are as many as a tap has channels.
    fn new(
        panels: &'a Panels<T>,
        (n, x): (usize, Image<'a, T>),
        lattices: [&'a Lattice; 2],
        to: Place<T>,
        zeros: &'a [T],
    ) -> Self {
        Self { panels, x, n, lattices, bias: None, then: None, to, zeros, inner: lattices.map(Lattice::inner) }
    }

    /// Computes all sums, on several threads.
    ///
    /// # Safety
    /// Taps find their channels in the images wherever the lattices say that they find elements, and nobody else uses the
    /// places of the results.
    unsafe fn write(&self) {
        let rows = self.n * self.lattices[0].count;
        let cost =
            self.lattices[1].count * self.panels.len().max(1) / self.panels.kernels.width() * self.panels.columns;
        let each = rows.div_ceil(TASKS).max(WORTH / cost.max(1)).max(1);
        for_tasks(rows.div_ceil(each), &|task| {
            // SAFETY: passed on.
            unsafe { self.write_rows(task * each..rows.min((task + 1) * each)) };
        });
    }

    /// Computes some rows, counted over all images.
    ///
    /// # Safety
    /// As for [`Sums::write`].
    unsafe fn write_rows(&self, rows: Range<usize>) {
        let (kernels, width) = (self.panels.kernels, self.lattices[1].count);
        // Panels that fit into half of the second-level cache are used for all pixels before others are.
        let together = (caches().l2 / 2 / size_of::<T>() / self.panels.len().max(1)).max(1) * kernels.width();
        let gapless = self.lattices.iter().all(|lattice| lattice.step == 1)
            && self.to.row == width * self.to.pixel
            && self.to.image == self.lattices[0].count * self.to.row;
        let line = if gapless { rows.len() } else { 1 };
        let mut runs = Runs::from_elem(self.zeros.as_ptr(), kernels.height() * self.panels.taps);
        for columns in ranges(0..self.panels.columns, together) {
            let panels: SmallVec<[_; 2]> = ranges(columns.clone(), kernels.width())
                .map(|panel| (panel.clone(), self.panels.starts(panel.start)))
                .collect();
            for rows in ranges(rows.clone(), line.max(1)) {
                for pixels in heights(rows.start * width..rows.end * width, kernels.height()) {
                    if !pixels.is_empty() {
                        self.find_runs(pixels.clone(), &mut runs);
                        // SAFETY: passed on; the runs are those of the pixels.
                        unsafe { self.write_tile(&runs, pixels, &panels) };
                    }
                }
            }
        }
    }

    /// Computes the filters of some panels for some pixels, which are counted over all images and lie equally far apart.
    unsafe fn write_tile(&self, runs: &Runs<T>, pixels: Range<usize>, panels: &[(Range<usize>, Starts<T>)]) {
        let kernels = self.panels.kernels;
        let bounds = self.then.and_then(|then| then.bounds);
        let (to, to_row) = (self.place(pixels.start), self.lattices[1].step * self.to.pixel);
        let mut tile = Tile {
            runs: self.panels.taps,
            a: runs.as_ptr(),
            b_step: kernels.width() as isize,
            c_row: to_row as isize,
            c_col: self.to.channel as isize,
            plain: self.bias.is_none() && bounds.is_none(),
            bounds: bounds.unwrap_or_else(unbounded),
            ..Tile::of(self.panels.depth)
        };
        for (panel, b) in panels {
            tile.b = b.as_ptr();
            tile.c = to.wrapping_add(panel.start * self.to.channel);
            tile.columns = panel.len();
            if let Some(bias) = self.bias {
                tile.base = Operand { start: bias[panel.start..panel.end].as_ptr(), row: 0, col: 1 };
            }
            // SAFETY: `runs` name elements of the images or zeros, panels are as wide as tiles, and the caller vouches for the
            // results.
            unsafe { kernels.tile(pixels.len(), panel.len())(&tile) };
        }
        let Some(then) = self.then.filter(|_| bounds.is_none()) else { return };
        let columns = panels[0].0.start..panels[panels.len() - 1].0.end;
        let gapless = columns.len() == to_row;
        let (count, len) = if gapless { (1, pixels.len() * to_row) } else { (pixels.len(), columns.len()) };
        for i in 0..count {
            // SAFETY: these are the elements that were just written.
            (then.call)(unsafe { std::slice::from_raw_parts_mut(to.wrapping_add(i * to_row + columns.start), len) });
        }
    }

    /// The image, the row and the column of a pixel.
    fn split(&self, pixel: usize) -> [usize; 3] {
        let [height, width] = self.lattices.map(|lattice| lattice.count);
        [pixel / width / height, pixel / width % height, pixel % width]
    }

    fn place(&self, pixel: usize) -> *mut T {
        let ([n, u, v], [height, width]) = (self.split(pixel), self.lattices);
        let (row, column) = (height.first + u * height.step, width.first + v * width.step);
        self.to.start.wrapping_add(n * self.to.image + row * self.to.row + column * self.to.pixel)
    }

    /// Finds out for each tap where it finds the channels of each pixel, and asks for what the next tile will read.
    fn find_runs(&self, pixels: Range<usize>, runs: &mut Runs<T>) {
        let ([height, width], count) = (self.lattices, pixels.len());
        let data = self.x.data.as_ptr();
        // For each pixel, its row and column times the steps of the images, and where these are.
        let (mut rows, mut columns, mut starts) = ([0; MAX_HEIGHT], [0; MAX_HEIGHT], [data; MAX_HEIGHT]);
        let [mut n, mut u, mut v] = self.split(pixels.start);
        let (mut found, mut inner) = (0, true);
        while found < count {
            let beside = found..count.min(found + width.count - v);
            let row = u * height.source_step;
            let start = data.wrapping_add(n * self.x.image + row * self.x.row);
            let places =
                rows[beside.clone()].iter_mut().zip(&mut columns[beside.clone()]).zip(&mut starts[beside.clone()]);
            for (i, ((row_of, column), from)) in places.enumerate() {
                (*row_of, *column) = (row as isize, ((v + i) * width.source_step) as isize);
                *from = start.wrapping_add((v + i) * width.source_step * self.x.pixel);
            }
            let last = v + beside.len();
            inner &= self.inner[0].contains(&u) && self.inner[1].start <= v && last <= self.inner[1].end;
            (found, v) = (beside.end, last);
            if v == width.count {
                (u, v) = (u + 1, 0);
            }
            if u == height.count {
                (n, u) = (n + 1, 0);
            }
        }
        let mut last = 0;
        let taps = height.taps.iter().flat_map(|&(_, down)| width.taps.iter().map(move |&(_, across)| (down, across)));
        for ((down, across), runs) in taps.zip(runs.chunks_exact_mut(count)) {
            let offset = down * self.x.row as isize + across * self.x.pixel as isize;
            last = offset;
            for (run, start) in runs.iter_mut().zip(&starts) {
                *run = start.wrapping_offset(offset);
            }
            if !inner {
                for (run, (&row, &column)) in runs.iter_mut().zip(rows.iter().zip(&columns)) {
                    let (row, column) = (row + down, column + across);
                    let rows = 0..height.source as isize;
                    if !(rows.contains(&row) && (0..width.source as isize).contains(&column)) {
                        *run = self.zeros.as_ptr();
                    }
                }
            }
        }
        // The last tap reads what no other has read before.
        let next = n * self.x.image + u * height.source_step * self.x.row + v * width.source_step * self.x.pixel;
        stream::fetch(self.x.data, next.saturating_add_signed(last), count * width.source_step * self.x.pixel);
    }
}

/// `then(x * w + bias)`.
pub fn forward<T: Number>(x: &[T], w: &[T], bias: Option<&[T]>, s: &Sizes, then: Option<&Then<'_, T>>, y: &mut [T]) {
    if y.is_empty() {
        return;
    }
    if s.has_few_channels() && s.has_padding() {
        let (x, s) = padded(x, s);
        return forward(x.as_slice(), w, bias, &s, then, y);
    }
    let kernels = T::kernels(Isa::get());
    let [height, width] = s.axes;
    let mut lattices = s.axes.map(|axis| Lattice::forward(&axis));
    let (mut depth, columns) = (s.c / s.groups, s.o / s.groups);
    // Channels of the taps in a row of the kernel are neighbours, unless something lies between them: one long run.
    if s.groups == 1 && width.dilation == 1 && width.before == 0 && super::extent(&width) <= width.input {
        depth *= width.kernel;
        lattices[1].taps.truncate(1);
    }
    let taps = s.taps() * (s.c / s.groups) / depth.max(1);
    let zeros = Scratch::filled(depth, T::default());
    for group in 0..s.groups {
        let matrix = |tap: usize| {
            let start = w.as_ptr().wrapping_add(tap * depth * s.o + group * columns);
            Operand { start, row: s.o as isize, col: 1 }
        };
        let matrices: SmallVec<[Operand<T>; 16]> = (0..taps).map(matrix).collect();
        // SAFETY: each tap has `depth` rows of weights, and each row has those of all filters; the kernels were chosen for
        // this machine.
        let panels = unsafe { Panels::pack(kernels, &matrices, depth, columns) };
        let channels = &x[(group * (s.c / s.groups)).min(x.len())..];
        let to = Place {
            start: y[group * columns..].as_mut_ptr(),
            channel: 1,
            pixel: s.o,
            row: width.output * s.o,
            image: height.output * width.output * s.o,
        };
        let images = Image::new(channels, s.axes.map(|axis| axis.input), s.c);
        let sums = Sums {
            bias: bias.map(|bias| &bias[group * columns..][..columns]),
            then,
            ..Sums::new(&panels, (s.n, images), lattices.each_ref(), to, &zeros)
        };
        // SAFETY: lattices name pixels of the images, each with the channels of its group or, in long runs, followed by those of
        // the taps beside it; `y` has a place for each result.
        unsafe { sums.write() };
    }
}

/// The gradient of the images.
pub fn grad_input<T: Number>(dy: &[T], w: &[T], s: &Sizes, dx: &mut [T]) {
    let kernels = T::kernels(Isa::get());
    let [height, width] = s.axes;
    let (depth, columns) = (s.o / s.groups, s.c / s.groups);
    let zeros = Scratch::filled(depth, T::default());
    let phases = (0..height.stride).flat_map(|down| (0..width.stride).map(move |across| [down, across]));
    for ([down, across], group) in phases.flat_map(|phase| (0..s.groups).map(move |group| (phase, group))) {
        let lattices = [Lattice::backward(&height, down), Lattice::backward(&width, across)];
        if lattices.iter().any(|lattice| lattice.count == 0) || dx.is_empty() {
            continue;
        }
        let pairs = lattices[0].taps.iter().flat_map(|&(kh, _)| lattices[1].taps.iter().map(move |&(kw, _)| (kh, kw)));
        let matrix = |(kh, kw): (usize, usize)| {
            let start = w.as_ptr().wrapping_add((kh * width.kernel + kw) * columns * s.o + group * depth);
            Operand { start, row: 1, col: s.o as isize }
        };
        let matrices: SmallVec<[Operand<T>; 16]> = pairs.map(matrix).collect();
        // SAFETY: each tap has a row of weights for each channel, with those of all filters; the kernels were chosen for this
        // machine.
        let panels = unsafe { Panels::pack(kernels, &matrices, depth, columns) };
        let channels = &dy[(group * depth).min(dy.len())..];
        let to = Place {
            start: dx[group * columns..].as_mut_ptr(),
            channel: 1,
            pixel: s.c,
            row: width.input * s.c,
            image: height.input * width.input * s.c,
        };
        let images = Image::new(channels, s.axes.map(|axis| axis.output), s.o);
        let sums = Sums::new(&panels, (s.n, images), lattices.each_ref(), to, &zeros);
        // SAFETY: lattices name pixels of the result, each with the filters of the group; `dx` has a place for each pixel, and
        // lattices of different phases have none in common.
        unsafe { sums.write() };
    }
}
