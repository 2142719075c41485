//! Normalisation: statistics over features or rows, and what is made of them, in one or two passes.
//!
//! A tensor with a dimension of features is `outer x features x inner`: batches of vectors have an `inner` of 1, and their
//! rows are worked on feature by feature side by side; images have runs of `inner` pixels, each of one feature. Statistics
//! are computed over pieces that depend on the shape alone, each in two passes while it lies in cache, and merged in order
//! by the rule of Chan, Golub and LeVeque (1979), which loses no digits to cancellation.

mod batch;
mod layer;

use std::ops::Range;

pub use self::layer::layer_norm;
use super::copy::Dense;
use super::fused::with_real;
use super::math::{Real, total, total_of_two};
use super::read::for_parts;
use super::simd::mul_add;
use super::threads::{Block, GRAIN, OnBlock, for_blocks};
use crate::backend::Normalize;
use crate::buffer::scratch::Scratch;
use crate::{Buffer, DType, Element, Error, Layout, Result, View};

/// Features of a piece of many rows, at most: their sums stay in the first-level cache.
const SIDE: usize = 512;

/// Elements of a piece of many rows, at least.
const PIECE: usize = 2 * GRAIN;

/// Elements of a piece of few rows, at least, and how many such pieces there are at most.
const LEAST: usize = 4096;
const MOST: usize = 4;

/// Rows of some features that the first-level cache holds, together with their gradient.
const LOW: usize = 128;

/// Columns whose sums are kept in registers while they are added up.
const COLUMNS: usize = 32;

/// The sums over all rows, `stride` apart, of what `f` makes of the elements of `len` columns, at most `COLUMNS`, from `at` on.
#[inline(always)]
fn column_sums<T: Real>(
    x: &[T],
    stride: usize,
    (at, len): (usize, usize),
    f: impl Fn(usize, T) -> f64,
) -> [f64; COLUMNS] {
    let mut sums = [0.0; COLUMNS];
    for row in x.chunks(stride) {
        for (i, (sum, &x)) in sums.iter_mut().zip(&row[at..at + len]).enumerate() {
            *sum += f(i, x);
        }
    }
    sums
}

crate::simd! {
    /// The sums of the columns of `x`, whose rows are `stride` apart.
    fn sum_columns<T>(x: &[T], stride: usize, sums: &mut [f64]) where [T: Real] {
        let (blocks, rest) = sums.as_chunks_mut::<COLUMNS>();
        let at = blocks.len() * COLUMNS;
        for (sums, at) in blocks.iter_mut().zip((0..).step_by(COLUMNS)) {
            *sums = column_sums(x, stride, (at, COLUMNS), |_, x| x.wide());
        }
        rest.fill(0.0);
        for row in x.chunks(stride) {
            for (sum, &x) in rest.iter_mut().zip(&row[at..]) {
                *sum += x.wide();
            }
        }
    }
    /// The sums of the columns' squared distances from `mean`.
    fn square_columns<T>(x: &[T], stride: usize, mean: &[f64], sums: &mut [f64]) where [T: Real] {
        let ((blocks, rest), (means, mean)) = (sums.as_chunks_mut::<COLUMNS>(), mean.as_chunks::<COLUMNS>());
        let at = blocks.len() * COLUMNS;
        for ((sums, mean), at) in blocks.iter_mut().zip(means).zip((0..).step_by(COLUMNS)) {
            *sums = column_sums(x, stride, (at, COLUMNS), |i, x| (x.wide() - mean[i]) * (x.wide() - mean[i]));
        }
        rest.fill(0.0);
        for row in x.chunks(stride) {
            for ((sum, &mean), &x) in rest.iter_mut().zip(mean).zip(&row[at..]) {
                let distance = x.wide() - mean;
                *sum = mul_add::<FMA, f64>(distance, distance, *sum);
            }
        }
    }
    /// The sums of the columns of `dy`, and those of `dy` times the distance of `x` from its mean.
    fn multiply_columns<T>(x: &[T], dy: &[T], stride: usize, mean: &[T], sums: &mut [f64], products: &mut [f64])
    where [T: Real] {
        let ((sums, sums_rest), (products, products_rest)) =
            (sums.as_chunks_mut::<COLUMNS>(), products.as_chunks_mut::<COLUMNS>());
        let (means, mean) = mean.as_chunks::<COLUMNS>();
        let at = sums.len() * COLUMNS;
        for (((sums, products), mean), at) in sums.iter_mut().zip(products).zip(means).zip((0..).step_by(COLUMNS)) {
            *sums = [0.0; COLUMNS];
            let mut inner = [0.0; COLUMNS];
            let mut outer = [0.0; COLUMNS];
            for (x, dy) in x.chunks(stride).zip(dy.chunks(stride)) {
                let (x, dy) = (&x[at..at + COLUMNS], &dy[at..at + COLUMNS]);
                for i in 0..COLUMNS {
                    outer[i] += dy[i].wide();
                    inner[i] = mul_add::<FMA, f64>(dy[i].wide(), (x[i] - mean[i]).wide(), inner[i]);
                }
            }
            (*sums, *products) = (outer, inner);
        }
        sums_rest.fill(0.0);
        products_rest.fill(0.0);
        for (x, dy) in x.chunks(stride).zip(dy.chunks(stride)) {
            let sums = sums_rest.iter_mut().zip(products_rest.iter_mut());
            for ((((sum, product), &mean), &x), &dy) in sums.zip(mean).zip(&x[at..]).zip(&dy[at..]) {
                *sum += dy.wide();
                *product = mul_add::<FMA, f64>(dy.wide(), (x - mean).wide(), *product);
            }
        }
    }
    /// One over the root of each variance: what a feature is multiplied with, if its `gamma` is 1.
    fn inverse_roots<T>(variance: &[T], epsilon: f64, roots: &mut [f64]) where [T: Real] {
        for (root, &variance) in roots.iter_mut().zip(variance) {
            *root = 1.0 / (variance.wide() + epsilon).sqrt();
        }
    }
    /// `y = (x - mean) * factor + shift`, row by row; the rows of `x` are `stride` apart.
    fn scale_rows<T>(x: &[T], stride: usize, y: &mut Block<'_, T>, mean: &[T], factor: &[T], shift: &[T]) where [T: Real] {
        for (x, y) in x.chunks(stride).zip(y.rows()) {
            for ((((y, &x), &mean), &factor), &shift) in y.iter_mut().zip(x).zip(mean).zip(factor).zip(shift) {
                *y = mul_add::<FMA, T>(x - mean, factor, shift);
            }
        }
    }
    /// `dx = factor * (dy - centre - (x - mean) * slope)`, row by row; the rows of `x` and `dy` are `stride` apart.
    fn grad_rows<T>(x: &[T], dy: &[T], stride: usize, dx: &mut Block<'_, T>, mean: &[T], terms: [&[T]; 3]) where [T: Real] {
        let [factor, centre, slope] = terms;
        for ((x, dy), dx) in x.chunks(stride).zip(dy.chunks(stride)).zip(dx.rows()) {
            let width = dx.len();
            let (x, dy, mean) = (&x[..width], &dy[..width], &mean[..width]);
            let (factor, centre, slope) = (&factor[..width], &centre[..width], &slope[..width]);
            for i in 0..width {
                dx[i] = factor[i] * (dy[i] - centre[i] - (x[i] - mean[i]) * slope[i]);
            }
        }
    }
    /// `y = (x - mean) * factor + shift` for one feature.
    fn scale_run<T>(x: &[T], y: &mut [T], mean: T, factor: T, shift: T) where [T: Real] {
        for (y, &x) in y.iter_mut().zip(x) {
            *y = mul_add::<FMA, T>(x - mean, factor, shift);
        }
    }
    /// `dx = factor * (dy - centre - (x - mean) * slope)` for one feature.
    fn grad_run<T>(x: &[T], dy: &[T], dx: &mut [T], mean: T, factor: T, centre: T, slope: T) where [T: Real] {
        for ((dx, &x), &dy) in dx.iter_mut().zip(x).zip(dy) {
            *dx = factor * (dy - centre - (x - mean) * slope);
        }
    }
    /// The sum of `x`.
    fn sum_run<T>(x: &[T]) -> f64 where [T: Real] {
        total::<LANES, _>(x, |x| x.wide())
    }
    /// The sum of squared distances from `mean`.
    fn squares_run<T>(x: &[T], mean: f64) -> f64 where [T: Real] {
        total::<LANES, _>(x, |x| (x.wide() - mean) * (x.wide() - mean))
    }
    /// The sum of `dy`, and that of `dy` times the distance of `x` from its mean.
    fn products_run<T>(x: &[T], dy: &[T], mean: T) -> (f64, f64) where [T: Real] {
        let products = total_of_two::<LANES, _>(x, dy, |x, dy| dy.wide() * (x - mean).wide());
        (total::<LANES, _>(dy, |dy| dy.wide()), products)
    }
}

/// Sums side by side: enough to hide the time that an addition takes.
const LANES: usize = 32;

/// Writes two sums over some rows for each of some features.
type Part<'a> = dyn Fn(Range<usize>, Range<usize>, [&mut [f64]; 2]) + Sync + 'a;

/// How the elements stand around the dimension of features.
#[derive(Clone, Copy)]
struct Shape {
    outer: usize,
    features: usize,
    inner: usize,
}

impl Shape {
    fn of(x: View, axis: usize) -> Self {
        let shape = x.shape();
        let product = |sizes: &[usize]| sizes.iter().product();
        Self { outer: product(&shape[..axis]), features: shape[axis], inner: product(&shape[axis + 1..]) }
    }

    /// How many elements a feature has.
    fn count(self) -> usize {
        self.outer * self.inner
    }

    /// Whether a piece has all elements of its features, and those few enough for the first-level cache.
    fn is_low(self) -> bool {
        self.inner == 1 && (1..=PIECE).contains(&(self.outer * self.features)) && self.outer <= LOW
    }

    /// How many rows and how many features a piece of the work has.
    ///
    /// With an `inner` of 1, a few rows are cut between features alone: each thread then has the columns here that it has
    /// in the products before and after (see `matmul/long.rs`), and finds them in its own cache.
    fn cut(self) -> (usize, usize) {
        let Self { outer, features, inner } = self;
        if inner > 1 {
            return (outer, (PIECE / self.count().max(1)).clamp(1, features));
        }
        let elements = outer * features;
        let side = match (elements / LEAST).clamp(1, MOST) {
            parts if elements <= PIECE => features.div_ceil(1 << parts.ilog2()).next_multiple_of(COLUMNS / 2),
            _ => SIDE,
        };
        let side = side.min(features);
        ((PIECE / side).max(1), side)
    }

    /// Two sums for every feature: `part(rows, features, sums)` writes those of a piece, then `merge(total, rows so far, part,
    /// its rows)` puts them together in order.
    fn gather(self, part: &Part<'_>, merge: impl Fn([&mut f64; 2], usize, [f64; 2], usize)) -> [Scratch<f64>; 2] {
        let Self { outer, features, .. } = self;
        let (rows, side) = self.cut();
        let (blocks, pieces) = (features.div_ceil(side), outer.div_ceil(rows));
        let mut parts = Scratch::filled(blocks * pieces * 2 * side, 0.0);
        for_parts(&mut parts, 2 * side, &|start, sums| {
            let (block, piece) = (start / (2 * side) / pieces, start / (2 * side) % pieces);
            let features = block * side..features.min((block + 1) * side);
            let (first, second) = sums.split_at_mut(side);
            let sums = [&mut first[..features.len()], &mut second[..features.len()]];
            part(piece * rows..outer.min((piece + 1) * rows), features, sums);
        });
        let mut totals = [Scratch::filled(features, 0.0), Scratch::filled(features, 0.0)];
        let [first, second] = &mut totals;
        let totals_of_blocks = first.chunks_mut(side).zip(second.chunks_mut(side));
        for ((first, second), parts) in totals_of_blocks.zip(parts.chunks(pieces * 2 * side)) {
            for (piece, part) in parts.chunks(2 * side).enumerate() {
                let (part_first, part_second) = (&part[..first.len()], &part[side..side + second.len()]);
                if piece == 0 {
                    first.copy_from_slice(part_first);
                    second.copy_from_slice(part_second);
                    continue;
                }
                let rest = rows.min(outer - piece * rows);
                for i in 0..first.len() {
                    merge([&mut first[i], &mut second[i]], piece * rows, [part_first[i], part_second[i]], rest);
                }
            }
        }
        totals
    }

    /// The runs of one feature in some rows.
    fn runs(self, rows: Range<usize>, feature: usize) -> impl Iterator<Item = Range<usize>> {
        rows.map(move |row| {
            let start = (row * self.features + feature) * self.inner;
            start..start + self.inner
        })
    }

    /// Calls `block` for pieces of `y` with where each begins, or `run` for each run with its feature.
    fn for_each<T: Real>(self, y: &mut [T], block: &OnBlock<'_, T>, run: &(dyn Fn(usize, usize, &mut [T]) + Sync)) {
        let Self { features, inner, .. } = self;
        if inner == 1 {
            return for_blocks(y, features, self.cut(), block);
        }
        for_parts(y, (GRAIN / inner).max(1) * inner, &|start, y| {
            for (i, y) in y.chunks_mut(inner).enumerate() {
                run(start + i * inner, (start / inner + i) % features, y);
            }
        });
    }
}

/// `value(0)`, `value(1)`, … up to `len`.
fn row<T: Real>(len: usize, value: impl Fn(usize) -> f64) -> Scratch<T> {
    let mut row = Scratch::filled(len, T::of(0.0));
    row.iter_mut().enumerate().for_each(|(i, y)| *y = T::of(value(i)));
    row
}

/// A buffer of `value(0)`, `value(1)`, … up to `len`.
fn row_buffer<T: Real + Element>(len: usize, value: impl Fn(usize) -> f64) -> Buffer {
    Buffer::from_fn(len, |i| T::of(value(i)))
}

/// [`inverse_roots`] of all features.
fn roots<T: Real>(variance: &[T], epsilon: f64) -> Scratch<f64> {
    let mut roots = Scratch::filled(variance.len(), 0.0);
    inverse_roots(variance, epsilon, &mut roots);
    roots
}

/// The mean and the biased variance of each feature.
pub fn moments(x: View, axis: usize) -> Result<(Buffer, Buffer)> {
    with_real!("moments", x.dtype(), T => {
        let shape = Shape::of(x, axis);
        let (features, inner) = (shape.features, shape.inner);
        let x = Dense::<T>::new(x);
        let x = x.as_slice();
        let [mean, squares] = shape.gather(
            &|rows, side, [mean, squares]| {
                let count = (rows.len() * inner) as f64;
                if inner == 1 {
                    let x = &x[rows.start * features + side.start..rows.end * features];
                    sum_columns(x, features, mean);
                    mean.iter_mut().for_each(|mean| *mean /= count);
                    return square_columns(x, features, mean, squares);
                }
                for (i, feature) in side.enumerate() {
                    let runs = || shape.runs(rows.clone(), feature).map(|run| &x[run]);
                    mean[i] = runs().map(sum_run).sum::<f64>() / count;
                    squares[i] = runs().map(|run| squares_run(run, mean[i])).sum();
                }
            },
            |[mean, squares], rows, [part_mean, part_squares], part_rows| {
                let (count, part) = ((rows * inner) as f64, (part_rows * inner) as f64);
                let distance = part_mean - *mean;
                *squares += part_squares + distance * distance * (count * part / (count + part));
                *mean += distance * (part / (count + part));
            },
        );
        let count = shape.count() as f64;
        Ok((row_buffer::<T>(features, |i| mean[i]), row_buffer::<T>(features, |i| squares[i] / count)))
    })
}

/// `(x - mean) / sqrt(variance + epsilon) * gamma + beta`, feature by feature.
pub fn normalize(x: View, axis: usize, how: &Normalize) -> Result<Buffer> {
    with_real!("normalize", x.dtype(), T => {
        let shape = Shape::of(x, axis);
        let mut y = Buffer::unspecified(T::DTYPE, x.len());
        let [x, mean, variance, gamma, beta] = [x, how.mean, how.variance, how.gamma, how.beta].map(Dense::<T>::new);
        let (x, mean, beta) = (x.as_slice(), mean.as_slice(), beta.as_slice());
        let (variance, gamma) = (variance.as_slice(), gamma.as_slice());
        let roots = roots(variance, how.epsilon);
        let factor = row::<T>(shape.features, |i| roots[i] * gamma[i].wide());
        let factor = &*factor;
        shape.for_each(
            y.as_mut_slice::<T>(),
            &|rows, side, y| {
                let x = &x[rows.start * shape.features + side.start..];
                scale_rows(x, shape.features, y, &mean[side.clone()], &factor[side.clone()], &beta[side]);
            },
            &|start, i, y| scale_run(&x[start..][..y.len()], y, mean[i], factor[i], beta[i]),
        );
        Ok(y)
    })
}

/// The gradients of [`normalize`] with respect to `gamma` and `beta`.
pub fn normalize_grad_params(x: View, dy: View, axis: usize, how: &Normalize) -> Result<(Buffer, Buffer)> {
    with_real!("normalize_grad", x.dtype(), T => {
        let shape = Shape::of(x, axis);
        let [x, dy, mean, variance] = [x, dy, how.mean, how.variance].map(Dense::<T>::new);
        let (x, dy, mean) = (x.as_slice(), dy.as_slice(), mean.as_slice());
        let features = shape.features;
        let [sums, products] = shape.gather(
            &|rows, side, [sums, products]| {
                if shape.inner == 1 {
                    let place = rows.start * features + side.start..rows.end * features;
                    return multiply_columns(&x[place.clone()], &dy[place], features, &mean[side], sums, products);
                }
                for (i, feature) in side.enumerate() {
                    for run in shape.runs(rows.clone(), feature) {
                        let (sum, product) = products_run(&x[run.clone()], &dy[run], mean[feature]);
                        sums[i] += sum;
                        products[i] += product;
                    }
                }
            },
            |[sum, product], _, [part_sum, part_product], _| {
                *sum += part_sum;
                *product += part_product;
            },
        );
        let roots = roots(variance.as_slice(), how.epsilon);
        Ok((row_buffer::<T>(features, |i| products[i] * roots[i]), row_buffer::<T>(features, |i| sums[i])))
    })
}

/// The gradient of [`normalize`] with respect to `x`: with the gradients of `gamma` and `beta` where mean and variance are
/// those of `x` itself, and without where they are constants.
pub fn normalize_grad_input(
    x: View,
    dy: View,
    axis: usize,
    how: &Normalize,
    params: Option<(&Buffer, &Buffer)>,
) -> Result<Buffer> {
    with_real!("normalize_grad", x.dtype(), T => {
        let shape = Shape::of(x, axis);
        let mut dx = Buffer::unspecified(T::DTYPE, x.len());
        let [x, dy, mean, variance, gamma] = [x, dy, how.mean, how.variance, how.gamma].map(Dense::<T>::new);
        let (x, dy, mean, gamma) = (x.as_slice(), dy.as_slice(), mean.as_slice(), gamma.as_slice());
        let (variance, features, count) = (variance.as_slice(), shape.features, shape.count() as f64);
        let roots = roots(variance, how.epsilon);
        let of = |sums: Option<&Buffer>, i: usize| sums.map_or(0.0, |sums| sums.as_slice::<T>()[i].wide() / count);
        let factor = row::<T>(features, |i| roots[i] * gamma[i].wide());
        let slope = row::<T>(features, |i| of(params.map(|params| params.0), i) * roots[i]);
        let centre = row::<T>(features, |i| of(params.map(|params| params.1), i));
        let [factor, centre, slope] = [&*factor, &*centre, &*slope];
        shape.for_each(
            dx.as_mut_slice::<T>(),
            &|rows, side, dx| {
                let from = rows.start * features + side.start;
                let terms = [factor, centre, slope].map(|row| &row[side.clone()]);
                grad_rows(&x[from..], &dy[from..], features, dx, &mean[side], terms);
            },
            &|start, i, dx| {
                let place = start..start + dx.len();
                grad_run(&x[place.clone()], &dy[place], dx, mean[i], factor[i], centre[i], slope[i]);
            },
        );
        Ok(dx)
    })
}

/// [`normalize`] with the moments of `x` itself, and these.
pub fn batch_norm(x: View, axis: usize, gamma: View, beta: View, epsilon: f64) -> Result<[Buffer; 3]> {
    let shape = Shape::of(x, axis);
    if shape.is_low() {
        return Ok(with_real!("batch_norm", x.dtype(), T => batch::batch_norm::<T>(x, shape, gamma, beta, epsilon)));
    }
    let (mean, variance) = moments(x, axis)?;
    let row = Layout::contiguous(&[shape.features]);
    let how = Normalize { mean: View::new(&mean, &row), variance: View::new(&variance, &row), gamma, beta, epsilon };
    Ok([normalize(x, axis, &how)?, mean, variance])
}

/// The gradients of [`batch_norm`] with respect to `x`, `gamma` and `beta`.
pub fn batch_norm_grad(x: View, dy: View, axis: usize, how: &Normalize) -> Result<[Buffer; 3]> {
    let shape = Shape::of(x, axis);
    if shape.is_low() {
        return Ok(with_real!("batch_norm_grad", x.dtype(), T => batch::batch_norm_grad::<T>(x, dy, shape, how)));
    }
    let (dgamma, dbeta) = normalize_grad_params(x, dy, axis, how)?;
    let dx = normalize_grad_input(x, dy, axis, how, Some((&dgamma, &dbeta)))?;
    Ok([dx, dgamma, dbeta])
}
