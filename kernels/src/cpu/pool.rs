//! Pools: for each pixel, the largest or a weighted sum of some pixels of another image, channel by channel.
//!
//! Going back is the same with the images exchanged: what a pixel of `x` gets comes from the windows that hold it. So
//! every pixel that is written is written once, by one thread, and its channels fill vector registers.

use smallvec::SmallVec;

use super::copy::Dense;
use super::fused::with_real;
use super::math::Real;
use super::read::for_parts;
use super::threads::{GRAIN, for_chunks};
use crate::buffer::scratch::Scratch;
use crate::window::{Axis, Window};
use crate::{Buffer, DType, Element, Error, Result, View};

/// How many channels are worked on side by side.
const LANES: usize = 16;

/// Numbers of pixels within an image, row by row.
type Pixels = SmallVec<[usize; 16]>;

/// Which pixels of the other image a pixel is made of.
#[derive(Clone, Copy)]
struct Near {
    axes: [Axis; 2],
    /// The windows that hold it; else the pixels that its window holds.
    windows: bool,
}

impl Near {
    /// The places along one dimension.
    fn along(&self, axis: usize, at: usize) -> Pixels {
        let axis = self.axes[axis];
        match self.windows {
            true => axis.readers(at).map(|(_, output)| output).collect(),
            false => axis.taps(at).map(|(_, input)| input).collect(),
        }
    }

    /// How many pixels there are: of the image that is made, along height and width, and in all of the other.
    fn sizes(&self) -> ([usize; 2], usize) {
        let (inputs, outputs) = (self.axes.map(|axis| axis.input), self.axes.map(|axis| axis.output));
        if self.windows { (inputs, outputs.iter().product()) } else { (outputs, inputs.iter().product()) }
    }

    /// How many rows of the image that is made are worth a thread's while, depending on the sizes alone.
    fn rows_at_once(&self, images: usize, channels: usize) -> usize {
        let [height, width] = self.sizes().0;
        let taps: usize = self.axes.iter().map(|axis| axis.kernel).product();
        (GRAIN / (width * channels * taps).max(1)).max(images * height / 64).max(1)
    }
}

/// The places along the width for every column, found out once for many rows.
struct Columns {
    near: Near,
    /// For each column, where its places end.
    ends: Scratch<usize>,
    places: Scratch<usize>,
}

impl Columns {
    fn new(near: Near) -> Self {
        let width = near.sizes().0[1];
        let mut ends = Scratch::filled(width, 0);
        let mut places = Scratch::filled(width * near.axes[1].kernel, 0);
        let mut end = 0;
        for column in 0..width {
            for place in near.along(1, column) {
                places[end] = place;
                end += 1;
            }
            ends[column] = end;
        }
        Self { near, ends, places }
    }

    /// The places of each column.
    fn each(&self) -> impl Iterator<Item = &[usize]> {
        let ends = self.ends.iter();
        ends.scan(0, |start, &end| Some(&self.places[std::mem::replace(start, end)..end]))
    }

    /// Calls `f(column, rows, columns, pixels)` for every pixel of a row: where the pixels lie that it is made of.
    fn for_row(&self, row: usize, mut f: impl FnMut(usize, &[usize], &[usize], &[usize])) {
        let rows = self.near.along(0, row);
        let width = if self.near.windows { self.near.axes[1].output } else { self.near.axes[1].input };
        let mut pixels = Pixels::new();
        for (column, columns) in self.each().enumerate() {
            pixels.clear();
            for row in &rows {
                pixels.extend(columns.iter().map(|column| row * width + column));
            }
            f(column, &rows, columns, &pixels);
        }
    }
}

crate::simd! {
    /// A row of `y`: the largest of the pixels in `rows` and `columns` of an image `width` wide, channel by channel, and which it is.
    fn largest<T>(x: &[T], rows: &[usize], width: usize, columns: &Columns, y: &mut [T], places: &mut [i32])
    where [T: Real] {
        let channels = y.len() / columns.ends.len();
        for ((columns, y), places) in columns.each().zip(y.chunks_exact_mut(channels)).zip(places.chunks_exact_mut(channels)) {
            if let (&[top, bottom], &[left, right], LANES..) = (rows, columns, channels) {
                let (top, bottom) = (top * width, bottom * width);
                let pixels = [top + left, top + right, bottom + left, bottom + right];
                for i in 0..channels.div_ceil(LANES) {
                    largest_of_four::<T, LANES>(x, start(i, channels), pixels, y, places);
                }
            } else if channels < LANES {
                for at in 0..channels {
                    largest_block::<T, 1>(x, at, [rows, columns], width, y, places);
                }
            } else {
                for i in 0..channels.div_ceil(LANES) {
                    largest_block::<T, LANES>(x, start(i, channels), [rows, columns], width, y, places);
                }
            }
        }
    }
    /// A row of `dx` that begins with pixel `here`: for each channel of a pixel, the sum of those `dy` whose largest element it is,
    /// of the windows in `rows` and `columns` of an image `width` wide.
    fn chosen<T>(dy: &[T], places: &[i32], here: i32, rows: &[usize], width: usize, columns: &Columns, dx: &mut [T])
    where [T: Real] {
        let channels = dx.len() / columns.ends.len();
        for ((here, columns), dx) in (here..).zip(columns.each()).zip(dx.chunks_exact_mut(channels)) {
            if let (&[row], &[column]) = (rows, columns) {
                // Windows that share no pixels.
                let place = (row * width + column) * channels;
                let (dy, places) = (&dy[place..place + channels], &places[place..place + channels]);
                for ((dx, &slope), &place) in dx.iter_mut().zip(dy).zip(places) {
                    *dx = if place == here { slope } else { T::of(0.0) };
                }
            } else if channels < LANES {
                for at in 0..channels {
                    chosen_block::<T, 1>(dy, places, here, at, [rows, columns], width, dx);
                }
            } else {
                for i in 0..channels.div_ceil(LANES) {
                    chosen_block::<T, LANES>(dy, places, here, start(i, channels), [rows, columns], width, dx);
                }
            }
        }
    }
    /// The sum of some pixels times their weights in each channel of `y`.
    fn weighted<T>(x: &[T], pixels: &[usize], weights: &[T], y: &mut [T]) where [T: Real] {
        if y.len() < LANES {
            for at in 0..y.len() {
                weighted_block::<T, 1>(x, at, pixels, weights, y);
            }
        } else {
            for i in 0..y.len().div_ceil(LANES) {
                weighted_block::<T, LANES>(x, start(i, y.len()), pixels, weights, y);
            }
        }
    }
}

/// Where block `i` of some channels begins; the last one may overlap the one before it.
#[inline(always)]
fn start(i: usize, channels: usize) -> usize {
    (i * LANES).min(channels - LANES)
}

/// `N` channels of a pixel.
#[inline(always)]
fn block<T, const N: usize>(x: &[T], pixel: usize, channels: usize, at: usize) -> &[T; N] {
    x[pixel * channels + at..].first_chunk().expect("a pixel has all channels")
}

/// What is the largest so far with its place, after one more pixel; a NaN stays the largest.
///
/// Arrays come and go as values, which the compiler keeps in vector registers; of arrays changed in place it made single numbers.
#[inline(always)]
#[expect(clippy::eq_op, reason = "only a NaN is not equal to itself, and a comparison is an instruction")]
fn larger<T: Real, const N: usize>(best: [T; N], place: [i32; N], next: &[T; N], pixel: i32) -> ([T; N], [i32; N]) {
    let (mut new_best, mut new_place) = (best, place);
    for l in 0..N {
        let wins = (next[l] > best[l]) | ((next[l] != next[l]) & (best[l] == best[l]));
        new_best[l] = if wins { next[l] } else { best[l] };
        new_place[l] = if wins { pixel } else { place[l] };
    }
    (new_best, new_place)
}

#[inline(always)]
fn largest_block<T: Real, const N: usize>(
    x: &[T],
    at: usize,
    [rows, columns]: [&[usize]; 2],
    width: usize,
    y: &mut [T],
    places: &mut [i32],
) {
    let channels = y.len();
    let first = rows[0] * width + columns[0];
    let mut best: [T; N] = *block(x, first, channels, at);
    let mut place = [first as i32; N];
    for (i, row) in rows.iter().enumerate() {
        for column in &columns[usize::from(i == 0)..] {
            let pixel = row * width + column;
            (best, place) = larger(best, place, block(x, pixel, channels, at), pixel as i32);
        }
    }
    y[at..at + N].copy_from_slice(&best);
    places[at..at + N].copy_from_slice(&place);
}

/// [`largest_block`] of a window of four pixels.
#[inline(always)]
fn largest_of_four<T: Real, const N: usize>(
    x: &[T],
    at: usize,
    [first, second, third, fourth]: [usize; 4],
    y: &mut [T],
    places: &mut [i32],
) {
    let channels = y.len();
    let (best, place) = (*block(x, first, channels, at), [first as i32; N]);
    let (best, place) = larger(best, place, block(x, second, channels, at), second as i32);
    let (best, place) = larger(best, place, block(x, third, channels, at), third as i32);
    let (best, place) = larger(best, place, block(x, fourth, channels, at), fourth as i32);
    y[at..at + N].copy_from_slice(&best);
    places[at..at + N].copy_from_slice(&place);
}

#[inline(always)]
fn chosen_block<T: Real, const N: usize>(
    dy: &[T],
    places: &[i32],
    here: i32,
    at: usize,
    [rows, columns]: [&[usize]; 2],
    width: usize,
    dx: &mut [T],
) {
    let channels = dx.len();
    let mut sums = [T::of(0.0); N];
    for row in rows {
        for column in columns {
            let window = row * width + column;
            let dy: &[T; N] = block(dy, window, channels, at);
            let places: &[i32; N] = block(places, window, channels, at);
            for l in 0..N {
                // Read whether it is wanted or not: a choice of loads would be made of jumps.
                let slope = dy[l];
                sums[l] = sums[l] + if places[l] == here { slope } else { T::of(0.0) };
            }
        }
    }
    dx[at..at + N].copy_from_slice(&sums);
}

#[inline(always)]
fn weighted_block<T: Real, const N: usize>(x: &[T], at: usize, pixels: &[usize], weights: &[T], y: &mut [T]) {
    let channels = y.len();
    let mut sums = [T::of(0.0); N];
    for (&pixel, &weight) in pixels.iter().zip(weights) {
        let x: &[T; N] = block(x, pixel, channels, at);
        for l in 0..N {
            sums[l] = sums[l] + weight * x[l];
        }
    }
    y[at..at + N].copy_from_slice(&sums);
}

fn axes(window: &Window, input: [usize; 2], kernel: [usize; 2]) -> [Axis; 2] {
    window.axes(input, kernel).expect("callers check that the kernel fits")
}

/// The largest element of each window, and its place.
pub fn max_pool2d(x: View, size: [usize; 2], window: &Window) -> Result<(Buffer, Buffer)> {
    let &[n, h, w, c] = x.shape() else { unreachable!("images have four dimensions") };
    let near = Near { axes: axes(window, [h, w], size), windows: false };
    let ([oh, ow], pixels) = near.sizes();
    let mut y = Buffer::unspecified(x.dtype(), n * oh * ow * c);
    let mut places = Buffer::unspecified(DType::I32, y.len());
    let row = (ow * c).max(1);
    let chunk = near.rows_at_once(n, c) * row;
    with_real!("max_pool2d", x.dtype(), T => {
        let x = Dense::<T>::new(x);
        let x = x.as_slice();
        let parts = y.as_mut_slice::<T>().chunks_mut(chunk).zip(places.as_mut_slice::<i32>().chunks_mut(chunk));
        let mut parts: SmallVec<[_; 8]> = parts.collect();
        for_chunks(&mut parts, 1, &|i, parts| {
            let (y, places) = &mut parts[0];
            let columns = Columns::new(near);
            for (j, (y, places)) in y.chunks_mut(row).zip(places.chunks_mut(row)).enumerate() {
                let at = i * chunk / row + j;
                let image = &x[at / oh * pixels * c..][..pixels * c];
                largest(image, &near.along(0, at % oh), w, &columns, y, places);
            }
        });
    });
    Ok((y, places))
}

/// The gradient of [`max_pool2d`], given the places.
pub fn max_pool2d_grad(dy: View, places: View, input: [usize; 2], size: [usize; 2], window: &Window) -> Result<Buffer> {
    let near = Near { axes: axes(window, input, size), windows: true };
    let places = Dense::<i32>::new(places);
    let places = places.as_slice();
    Ok(with_real!("max_pool2d_grad", dy.dtype(), T => each_row::<T>(dy, near, &|dy, first, row, columns, dx| {
        let places = &places[first..first + dy.len()];
        let here = (row * input[1]) as i32;
        chosen(dy, places, here, &near.along(0, row), near.axes[1].output, columns, dx);
    })))
}

/// The mean of each window.
pub fn avg_pool2d(x: View, size: [usize; 2], window: &Window, count_padding: bool) -> Result<Buffer> {
    let &[_, h, w, _] = x.shape() else { unreachable!("images have four dimensions") };
    averages(x, Near { axes: axes(window, [h, w], size), windows: false }, count_padding)
}

/// The gradient of [`avg_pool2d`].
pub fn avg_pool2d_grad(
    dy: View,
    input: [usize; 2],
    size: [usize; 2],
    window: &Window,
    count_padding: bool,
) -> Result<Buffer> {
    averages(dy, Near { axes: axes(window, input, size), windows: true }, count_padding)
}

/// Sums of pixels, each over what its window, or it as a window, is divided by.
fn averages(x: View, near: Near, count_padding: bool) -> Result<Buffer> {
    let c = x.shape()[3];
    let taps: usize = near.axes.iter().map(|axis| axis.kernel).product();
    // How many elements a window holds along one dimension.
    let held = |axis: usize, window: usize| near.axes[axis].taps(window).count();
    Ok(with_real!("avg_pool2d", x.dtype(), T => each_row::<T>(x, near, &|x, _, row, columns, y| {
        columns.for_row(row, |column, rows, columns, pixels| {
            let each = |divisor: usize| T::of(1.0 / divisor as f64);
            let weights: SmallVec<[T; 16]> = match (count_padding, near.windows) {
                (true, _) => SmallVec::from_elem(each(taps), pixels.len()),
                (false, false) => SmallVec::from_elem(each(pixels.len()), pixels.len()),
                (false, true) => rows
                    .iter()
                    .flat_map(|&row| columns.iter().map(move |&column| each(held(0, row) * held(1, column))))
                    .collect(),
            };
            weighted(x, pixels, &weights, &mut y[column * c..][..c]);
        });
    })))
}

/// Makes one row: from the other image, where that begins among all, the row's number, its columns, and the row.
type OfRow<'a, T> = dyn Fn(&[T], usize, usize, &Columns, &mut [T]) + Sync + 'a;

/// Images made row by row of the images `x`.
fn each_row<T: Real + Element>(x: View, near: Near, f: &OfRow<'_, T>) -> Buffer {
    let (n, c) = (x.shape()[0], x.shape()[3]);
    let ([height, width], pixels) = near.sizes();
    let mut y = Buffer::unspecified(T::DTYPE, n * height * width * c);
    let x = Dense::<T>::new(x);
    let x = x.as_slice();
    let row = (width * c).max(1);
    for_parts(y.as_mut_slice::<T>(), near.rows_at_once(n, c) * row, &|start, y| {
        let columns = Columns::new(near);
        for (i, y) in y.chunks_mut(row).enumerate() {
            let at = start / row + i;
            let first = at / height * pixels * c;
            f(&x[first..first + pixels * c], first, at % height, &columns, y);
        }
    });
    y
}
