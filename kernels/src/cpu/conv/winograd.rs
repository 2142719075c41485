//! Convolutions with kernels of 3 x 3 in a quarter of the multiplications.
//!
//! Four results of three taps take twelve products; as values of a polynomial at six points they take six (Winograd 1980; Lavin
//! and Gray 2016). For squares of 4 x 4 results these are 36 instead of 144. The squares of an image that the results read,
//! 6 x 6 pixels each, are transformed to points, and so are the weights; then each point is a product of matrices, squares by
//! channels times channels by filters, for the microkernel of `matmul`; and its sums are transformed to results. A few squares at
//! a time go all the way through while their numbers are in the second-level cache.
//!
//! The gradient of the images is such a convolution with the weights turned around. The gradient of the weights is the transpose:
//! gradients of results are transformed to points, multiplied there with those of the images, summed over all squares, and only the
//! sums are transformed to taps.
//!
//! Transforms add and subtract, so an error can be larger than that of a sum of products: on average five times, and below
//! 1e-6 of the largest sum of a result's products without their signs, as a test holds. That is for `f32` alone; `f64` is asked for where digits count.

mod squares;
mod transform;

use std::cell::Cell;
use std::ops::Range;
use std::ptr;

use super::taps::Panels;
use super::weight::Parts;
use super::{Sizes, extent};
use crate::buffer::scratch::Scratch;
use crate::cpu::cache::caches;
use crate::cpu::matmul::{HasKernels, Kernels, MAX_HEIGHT, Operand, Then, Tile, heights, ranges};
use crate::cpu::read::for_parts;
use crate::cpu::simd::Isa;
use crate::cpu::threads::for_tasks;
use crate::window::Axis;
use crate::{Buffer, DType};
use squares::{APART, Grid, Image, Points};
use transform::{POINTS, RESULTS, Squares, TAPS, transforms};

/// The points of a square.
const ALL: usize = POINTS * POINTS;

/// Whether images of `axes` in, or gradients of them, take much less time in this way. Says nothing of how many images there are, so
/// that an image has the same result in every batch.
fn pays(s: &Sizes, [height, width]: [usize; 2]) -> bool {
    let is_plain = |axis: &Axis| axis.kernel == TAPS && axis.stride == 1 && axis.dilation == 1;
    let squares = height.div_ceil(RESULTS) * width.div_ceil(RESULTS);
    let saved = height * width * s.taps() >= 2 * squares * ALL;
    let transformed_often = s.c * s.o <= squares << 14;
    s.groups == 1 && s.axes.iter().all(is_plain) && s.c.min(s.o) >= 16 && saved && transformed_often
}

/// Whether [`forward`] is the way to a convolution's result.
pub fn pays_forward(s: &Sizes) -> bool {
    pays(s, s.axes.map(|axis| axis.output))
}

/// Whether [`grad_input`] is the way to the gradient of its images.
pub fn pays_grad_input(s: &Sizes) -> bool {
    pays(s, s.axes.map(|axis| axis.input))
}

/// Whether [`grad_weight`] is the way to the gradient of its weights: the sums of all points should be near while they grow.
pub fn pays_grad_weight(s: &Sizes) -> bool {
    pays(s, s.axes.map(|axis| axis.output)) && s.c * s.o <= 1 << 14
}

fn kernels() -> &'static Kernels<f32> {
    f32::kernels(Isa::get())
}

/// Squares that go through together: their points fill half of the second-level cache.
fn together(channels: usize) -> usize {
    let height = kernels().height();
    let most = caches().l2 / 2 / (ALL * channels * size_of::<f32>());
    (most / height).clamp(1, 8) * height
}

/// Transforms what the squares in `range` read to points.
///
/// # Safety
/// `code` reads pixels of `N x N`.
unsafe fn read<const N: usize>(
    code: unsafe fn(&Squares<N, POINTS>),
    (grid, range): (&Grid, Range<usize>),
    image: &Image,
    points: &mut Points,
) {
    for (i, square) in range.enumerate() {
        let (from, to) = (image.pixels(grid.place(square)), points.of(i));
        let squares = Squares { from, to, len: image.channels, whole: true, base: ptr::null() };
        // SAFETY: pixels are followed by their channels, and so are zeros; rows of points hold whole vectors.
        unsafe { code(&squares) };
    }
}

/// The points of weights, in panels as wide as the widest tile: for each point, a row for each channel that is summed over.
struct Weights {
    buffer: Buffer,
    depth: usize,
    columns: usize,
}

impl Weights {
    /// Transforms a `depth x columns` matrix for each tap.
    ///
    /// # Safety
    /// The elements of the matrices may be read.
    unsafe fn new(taps: &[Operand<f32>], depth: usize, columns: usize) -> Self {
        // SAFETY: passed on; the kernels are those of this machine.
        let panels = unsafe { Panels::pack(kernels(), taps, depth, columns) };
        let width = kernels().width();
        let len = ALL * depth * width;
        let mut buffer = Buffer::unspecified(DType::F32, columns.div_ceil(width) * len);
        for_parts(buffer.as_mut_slice::<f32>(), len, &|start, panel| {
            let first = start / len * width;
            let taps = panels.starts(first);
            for row in 0..depth {
                let to = panel[row * width..].as_mut_ptr();
                let squares = Squares {
                    from: std::array::from_fn(|i| {
                        std::array::from_fn(|j| taps[i * TAPS + j].wrapping_add(row * width))
                    }),
                    to: std::array::from_fn(|i| {
                        std::array::from_fn(|j| to.wrapping_add((i * POINTS + j) * depth * width))
                    }),
                    len: width.min(columns - first),
                    whole: true,
                    base: ptr::null(),
                };
                // SAFETY: rows of both panels have room for whole vectors.
                unsafe { (transforms().weights)(&squares) };
            }
        });
        Self { buffer, depth, columns }
    }
}

/// Where results go, and what is done to them on the way.
struct Finish<'a> {
    y: *mut f32,
    bias: Option<&'a [f32]>,
    then: Option<&'a Then<'a, f32>>,
}

// SAFETY: tasks write the pixels of different squares.
unsafe impl Sync for Finish<'_> {}

/// Convolves.
///
/// # Safety
/// There are as many elements behind `finish.y` as the grid's results have filters, and nobody else uses them.
unsafe fn convolve(grid: &Grid, image: &Image, weights: &Weights, finish: &Finish) {
    let (lanes, squares, columns) = (kernels().lanes, grid.squares(), weights.columns);
    let block = together(image.channels + columns).min(squares.max(1));
    for_tasks(squares.div_ceil(block), &|task| {
        let range = task * block..squares.min((task + 1) * block);
        let mut points = Points::new(block, image.channels, lanes);
        let mut sums = Points::new(block, columns, lanes);
        // SAFETY: images are transformed from squares of as many pixels.
        unsafe { read(transforms().images, (grid, range.clone()), image, &mut points) };
        for point in 0..ALL {
            // SAFETY: rows and columns are those of the block.
            unsafe { multiply(&points, weights, point, range.len(), &mut sums) };
        }
        let mut outside = Scratch::filled(columns, 0.0);
        for (i, square) in range.enumerate() {
            // SAFETY: passed on.
            unsafe { write(sums.of(i), grid, grid.place(square), finish, &mut outside) };
        }
    });
}

/// Multiplies the matrix of a point with that of the weights.
///
/// # Safety
/// `sums` have rows for as many filters as weights have columns.
unsafe fn multiply(points: &Points, weights: &Weights, point: usize, rows: usize, sums: &mut Points) {
    let (kernels, &Weights { depth, columns, .. }) = (kernels(), weights);
    let (width, a) = (kernels.width(), points.at(point));
    let row = sums.row;
    let c = sums.at_mut(point);
    let (a_rows, b_row) = ([const { Cell::new(ptr::null()) }; MAX_HEIGHT], Cell::new(ptr::null()));
    let mut tile = Tile {
        a: a_rows.as_ptr().cast(),
        b: b_row.as_ptr(),
        b_step: width as isize,
        c_row: row as isize,
        ..Tile::of(depth)
    };
    for panel in ranges(0..columns, width) {
        b_row.set(weights.buffer.as_slice::<f32>()[(panel.start / width * ALL + point) * depth * width..].as_ptr());
        tile.columns = panel.len().next_multiple_of(kernels.lanes);
        for rows in heights(0..rows, kernels.height()) {
            for (first, i) in a_rows.iter().zip(rows.clone()) {
                first.set(a[i * points.row..].as_ptr());
            }
            tile.c = c[rows.start * row + panel.start..].as_mut_ptr();
            // SAFETY: points have as many rows, with a number for each row of the panel; rows of sums hold whole vectors.
            unsafe { kernels.tile(rows.len(), tile.columns)(&tile) };
        }
    }
}

/// Transforms the sums of a square to results. Those that lie outside of the image go to `outside`, which has a place for each filter.
///
/// # Safety
/// As for [`convolve`].
unsafe fn write(
    sums: [[*mut f32; POINTS]; POINTS],
    grid: &Grid,
    [n, row, column]: [usize; 3],
    finish: &Finish,
    outside: &mut [f32],
) {
    let ([height, width], filters) = (grid.results, outside.len());
    let (rows, columns) = (RESULTS.min(height - row), RESULTS.min(width - column));
    let (first, outside) = (((n * height + row) * width + column) * filters, outside.as_mut_ptr());
    let start = |i: usize| finish.y.wrapping_add(first + i * width * filters);
    let place = |i, j| if i < rows && j < columns { start(i).wrapping_add(j * filters) } else { outside };
    let squares = Squares {
        from: sums.map(|points| points.map(<*mut f32>::cast_const)),
        to: std::array::from_fn(|i| std::array::from_fn(|j| place(i, j))),
        len: filters,
        whole: false,
        base: finish.bias.map_or(ptr::null(), <[f32]>::as_ptr),
    };
    // SAFETY: sums have a number for each filter, and so have the bias and each place.
    unsafe { (transforms().results)(&squares) };
    for (i, then) in (0..rows).filter_map(|i| Some((i, finish.then?))) {
        // SAFETY: these are elements that were just written.
        (then.call)(unsafe { std::slice::from_raw_parts_mut(start(i), columns * filters) });
    }
}

/// `then(x * w + bias)`.
pub fn forward(x: &[f32], w: &[f32], bias: Option<&[f32]>, s: &Sizes, then: Option<&Then<f32>>, y: &mut [f32]) {
    let matrix = |tap: usize| Operand { start: w[tap * s.c * s.o..].as_ptr(), row: s.o as isize, col: 1 };
    let taps: [_; TAPS * TAPS] = std::array::from_fn(matrix);
    // SAFETY: each tap has a row of weights for each channel, with those of all filters.
    let weights = unsafe { Weights::new(&taps, s.c, s.o) };
    let zeros = Scratch::filled(s.c, 0.0);
    let image = Image {
        data: x,
        sizes: s.axes.map(|axis| axis.input),
        channels: s.c,
        before: s.axes.map(|axis| axis.before as isize),
        n: s.n,
        distance: APART,
        zeros: &zeros,
    };
    let grid = Grid { n: s.n, results: s.axes.map(|axis| axis.output) };
    assert_eq!(y.len(), s.outputs() * s.o, "there is a place for each result");
    // SAFETY: just checked.
    unsafe { convolve(&grid, &image, &weights, &Finish { y: y.as_mut_ptr(), bias, then }) };
}

/// The gradient of the images. Squares may lie in several of these if they may be `mixed`.
pub fn grad_input(dy: &[f32], w: &[f32], s: &Sizes, mixed: bool, dx: &mut [f32]) {
    let matrix = |tap: usize| {
        let start = w[(TAPS * TAPS - 1 - tap) * s.c * s.o..].as_ptr();
        Operand { start, row: 1, col: s.o as isize }
    };
    let taps: [_; TAPS * TAPS] = std::array::from_fn(matrix);
    // SAFETY: as above, turned around.
    let weights = unsafe { Weights::new(&taps, s.o, s.c) };
    let zeros = Scratch::filled(s.o, 0.0);
    let before = s.axes.map(|axis| extent(&axis) as isize - axis.output as isize - axis.before as isize);
    let [height, width] = s.axes.map(|axis| axis.input);
    // Without padding, rows that find pixels only above or below them part the images, so that these can stand one below the other,
    // and their squares fill all rows but the last ones.
    let as_one =
        mixed && s.axes[0].before == 0 && before[0] >= 0 && height as isize >= s.axes[0].output as isize + before[0];
    let (n, rows, distance) = if as_one { (1, s.n * height, height as isize) } else { (s.n, height, APART) };
    let image = Image {
        data: dy,
        sizes: s.axes.map(|axis| axis.output),
        channels: s.o,
        before,
        n: s.n,
        distance,
        zeros: &zeros,
    };
    let grid = Grid { n, results: [rows, width] };
    assert_eq!(dx.len(), s.inputs() * s.c, "there is a place for each pixel");
    // SAFETY: just checked.
    unsafe { convolve(&grid, &image, &weights, &Finish { y: dx.as_mut_ptr(), bias: None, then: None }) };
}

/// The gradient of the weights.
pub fn grad_weight(x: &[f32], dy: &[f32], s: &Sizes, dw: &mut [f32]) {
    if dy.is_empty() {
        return dw.fill(0.0);
    }
    let (kernels, zeros) = (kernels(), Scratch::filled(s.c.max(s.o), 0.0));
    let grid = Grid { n: s.n, results: s.axes.map(|axis| axis.output) };
    let before = s.axes.map(|axis| axis.before as isize);
    let apart = Image { data: x, sizes: grid.results, channels: s.c, before, n: s.n, distance: APART, zeros: &zeros };
    let images = Image { sizes: s.axes.map(|axis| axis.input), ..apart };
    let slopes = Image { data: dy, channels: s.o, before: [0; 2], ..apart };
    let columns = s.o.next_multiple_of(kernels.lanes);
    let len = ALL * s.c * columns;
    let block = together(s.c + s.o);
    let mut sums = Buffer::unspecified(DType::F32, len);
    Parts::new(grid.squares(), len, len).add_up(
        [sums.as_mut_slice::<f32>(), &mut []],
        &mut [],
        &|squares, [sums, _], _| {
            let mut points = [s.c, s.o].map(|channels| Points::new(block.min(squares.len()), channels, kernels.lanes));
            for part in ranges(squares.clone(), block) {
                let [of_images, of_slopes] = &mut points;
                // SAFETY: each code gets squares of as many pixels as it reads.
                unsafe {
                    read(transforms().images, (&grid, part.clone()), &images, of_images);
                    read(transforms().slopes, (&grid, part.clone()), &slopes, of_slopes);
                }
                for (point, sums) in sums.chunks_exact_mut(s.c * columns).enumerate() {
                    // SAFETY: the points are those of the part.
                    unsafe { correlate(&points, point, part.len(), part.start > squares.start, s, sums) };
                }
            }
        },
    );
    let sums = sums.as_slice::<f32>();
    for channel in 0..s.c {
        let (from, to) = (sums[channel * columns..].as_ptr(), dw[channel * s.o..].as_mut_ptr());
        let squares = Squares {
            from: std::array::from_fn(|i| std::array::from_fn(|j| from.wrapping_add((i * POINTS + j) * s.c * columns))),
            to: std::array::from_fn(|i| std::array::from_fn(|j| to.wrapping_add((i * TAPS + j) * s.c * s.o))),
            len: s.o,
            whole: false,
            base: ptr::null(),
        };
        // SAFETY: there are sums and weights of every channel, point or tap, and filter.
        unsafe { (transforms().sums)(&squares) };
    }
}

/// Adds to, or writes, the sums of a point over some squares: the points of images, transposed, times those of slopes.
///
/// # Safety
/// The points have so many squares.
unsafe fn correlate([x, dy]: &[Points; 2], point: usize, squares: usize, adds: bool, s: &Sizes, sums: &mut [f32]) {
    let (kernels, columns) = (kernels(), dy.row);
    let (a, b) = (x.at(point), dy.at(point));
    let (a_row, b_row) = (Cell::new(ptr::null()), Cell::new(ptr::null()));
    let mut tile = Tile {
        a: a_row.as_ptr(),
        a_beside: true,
        a_step: x.row as isize,
        b: b_row.as_ptr(),
        b_step: columns as isize,
        c_row: columns as isize,
        ..Tile::of(squares)
    };
    for panel in ranges(0..columns, kernels.width()) {
        b_row.set(b[panel.start..].as_ptr());
        tile.columns = panel.len();
        for rows in heights(0..s.c, kernels.height()) {
            a_row.set(a[rows.start..].as_ptr());
            tile.c = sums[rows.start * columns + panel.start..].as_mut_ptr();
            if adds {
                tile.accumulate();
            }
            // SAFETY: rows of points and of sums hold whole vectors, and there are sums for each channel.
            unsafe { kernels.tile(rows.len(), panel.len())(&tile) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Window;

    #[test]
    fn layers_of_the_labs_take_this_way_and_others_do_not() {
        let of = |[side, c, o]: [usize; 3], padding: usize, groups| {
            let window = Window::valid().padded([[padding; 2]; 2]);
            let s = Sizes::new(1, [side; 2], [3, 3, c / groups, o], &window, groups);
            [pays_forward(&s), pays_grad_input(&s), pays_grad_weight(&s)]
        };
        for layer in [[13, 32, 64], [30, 32, 32], [15, 64, 64], [32, 16, 16], [8, 64, 64], [32, 64, 64]] {
            assert_eq!(of(layer, 1, 1), [true; 3], "{layer:?}");
        }
        // Few channels, groups, squares that are mostly empty, weights that are larger than the images.
        for (layer, groups) in [([28, 1, 32], 1), ([32, 64, 64], 2), ([2, 64, 64], 1), ([7, 512, 512], 1)] {
            assert_eq!(of(layer, 1, groups), [false; 3], "{layer:?}");
        }
        assert_eq!(of([16, 256, 256], 1, 1), [true, true, false]);
        let strided = Window::valid().strided([2; 2]);
        assert!(!pays_forward(&Sizes::new(1, [32; 2], [3, 3, 64, 64], &strided, 1)));
    }
}
