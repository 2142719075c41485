//! Normalisation: statistics over features or rows, and what is made of them, in one or two passes.
//!
//! A tensor with a dimension of features is `outer x features x inner`: batches of vectors have an `inner` of 1, and their
//! rows are worked on feature by feature side by side; images have runs of `inner` pixels, each of one feature. Statistics
//! are computed over pieces that depend on the shape alone, each in two passes while it lies in cache, and merged in order
//! by the rule of Chan, Golub and LeVeque (1979), which loses no digits to cancellation.

use std::ops::Range;

use super::copy::Dense;
use super::fused::with_real;
use super::math::{Real, total, total_of_two};
use super::read::for_parts;
use super::simd::mul_add;
use super::threads::GRAIN;
use crate::backend::Normalize;
use crate::{Buffer, DType, Element, Error, Result, View};

/// Features worked on side by side, at most: their sums stay in the first-level cache.
const SIDE: usize = 512;

/// Elements of a piece, at least.
const PIECE: usize = 2 * GRAIN;

crate::simd! {
    /// Adds the rows of `x`, `stride` apart, to `sums`.
    fn add_rows<T>(x: &[T], stride: usize, sums: &mut [f64]) where [T: Real] {
        for row in x.chunks(stride) {
            for (sum, &x) in sums.iter_mut().zip(row) {
                *sum += x.wide();
            }
        }
    }
    /// Adds the squared distances from `mean` of the rows of `x` to `sums`.
    fn add_squares<T>(x: &[T], stride: usize, mean: &[f64], sums: &mut [f64]) where [T: Real] {
        for row in x.chunks(stride) {
            for ((sum, &mean), &x) in sums.iter_mut().zip(mean).zip(row) {
                let distance = x.wide() - mean;
                *sum = mul_add::<FMA, f64>(distance, distance, *sum);
            }
        }
    }
    /// Adds `dy` to `sums`, and `dy` times the distance of `x` from its mean to `products`, row by row.
    fn add_products<T>(x: &[T], dy: &[T], stride: usize, mean: &[T], sums: &mut [f64], products: &mut [f64]) where [T: Real] {
        for (x, dy) in x.chunks(stride).zip(dy.chunks(stride)) {
            for ((((sum, product), &mean), &x), &dy) in sums.iter_mut().zip(products.iter_mut()).zip(mean).zip(x).zip(dy) {
                *sum += dy.wide();
                *product = mul_add::<FMA, f64>(dy.wide(), (x - mean).wide(), *product);
            }
        }
    }
    /// `y = (x - mean) * factor + shift`, row by row.
    fn scale_rows<T>(x: &[T], y: &mut [T], mean: &[T], factor: &[T], shift: &[T]) where [T: Real] {
        let width = mean.len();
        for (x, y) in x.chunks_exact(width).zip(y.chunks_exact_mut(width)) {
            for ((((y, &x), &mean), &factor), &shift) in y.iter_mut().zip(x).zip(mean).zip(factor).zip(shift) {
                *y = mul_add::<FMA, T>(x - mean, factor, shift);
            }
        }
    }
    /// `dx = factor * (dy - centre - (x - mean) * slope)`, row by row.
    fn grad_rows<T>(x: &[T], dy: &[T], dx: &mut [T], mean: &[T], factor: &[T], centre: &[T], slope: &[T]) where [T: Real] {
        let width = mean.len();
        for ((x, dy), dx) in x.chunks_exact(width).zip(dy.chunks_exact(width)).zip(dx.chunks_exact_mut(width)) {
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
    /// Each row of `x` with mean 0 and variance 1, times `gamma` plus `beta`.
    fn layer_rows<T>(x: &[T], y: &mut [T], gamma: &[T], beta: &[T], epsilon: f64) where [T: Real] {
        let width = gamma.len();
        for (x, y) in x.chunks_exact(width).zip(y.chunks_exact_mut(width)) {
            let mean = total::<LANES, _>(x, |x| x.wide()) / width as f64;
            let variance = total::<LANES, _>(x, |x| (x.wide() - mean) * (x.wide() - mean)) / width as f64;
            let (mean, factor) = (T::of(mean), T::of(1.0 / (variance + epsilon).sqrt()));
            for (((y, &x), &gamma), &beta) in y.iter_mut().zip(x).zip(gamma).zip(beta) {
                *y = mul_add::<FMA, T>((x - mean) * factor, gamma, beta);
            }
        }
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

    /// Two sums for every feature: `part(rows, features, sums)` for every piece of the elements, which is some rows of some
    /// features, or all runs of some features; then `merge(total, rows so far, part, its rows)` in order.
    fn gather(self, part: &Part<'_>, merge: impl Fn([&mut f64; 2], usize, [f64; 2], usize)) -> Sums {
        let Self { outer, features, inner } = self;
        let side = if inner == 1 { features.min(SIDE) } else { (PIECE / self.count().max(1)).clamp(1, features) };
        let rows = if inner == 1 { (PIECE / side).max(1) } else { outer };
        let (blocks, pieces) = (features.div_ceil(side), outer.div_ceil(rows));
        let mut sums = Buffer::unspecified(DType::F64, blocks * pieces * 2 * side);
        let all = sums.as_mut_slice::<f64>();
        all.fill(0.0);
        for_parts(all, 2 * side, &|start, sums| {
            let (block, piece) = (start / (2 * side) / pieces, start / (2 * side) % pieces);
            let features = block * side..features.min((block + 1) * side);
            let (first, second) = sums.split_at_mut(side);
            let sums = [&mut first[..features.len()], &mut second[..features.len()]];
            part(piece * rows..outer.min((piece + 1) * rows), features, sums);
        });
        for block in all.chunks_mut(pieces * 2 * side) {
            let (total, parts) = block.split_at_mut(2 * side);
            let (first, second) = total.split_at_mut(side);
            for (part, piece) in parts.chunks(2 * side).zip(1..) {
                for i in 0..side {
                    let rest = rows.min(outer - piece * rows);
                    merge([&mut first[i], &mut second[i]], piece * rows, [part[i], part[side + i]], rest);
                }
            }
        }
        Sums { sums, side, pieces }
    }

    /// The runs of one feature in some rows.
    fn runs(self, rows: Range<usize>, feature: usize) -> impl Iterator<Item = Range<usize>> {
        rows.map(move |row| {
            let start = (row * self.features + feature) * self.inner;
            start..start + self.inner
        })
    }

    /// Calls `rows` for chunks of whole rows, or `run` for each run with its feature.
    fn for_each<T: Real>(
        self,
        y: &mut [T],
        rows: &(dyn Fn(usize, &mut [T]) + Sync),
        run: &(dyn Fn(usize, usize, &mut [T]) + Sync),
    ) {
        let Self { features, inner, .. } = self;
        let unit = if inner == 1 { features } else { inner };
        for_parts(y, (GRAIN / unit).max(1) * unit, &|start, y| {
            if inner == 1 {
                return rows(start, y);
            }
            for (i, y) in y.chunks_mut(inner).enumerate() {
                run(start + i * inner, (start / inner + i) % features, y);
            }
        });
    }
}

/// Two sums for every feature, as [`Shape::gather`] left them.
struct Sums {
    sums: Buffer,
    side: usize,
    pieces: usize,
}

impl Sums {
    fn of(&self, feature: usize) -> [f64; 2] {
        let at = feature / self.side * self.pieces * 2 * self.side + feature % self.side;
        let sums = self.sums.as_slice::<f64>();
        [sums[at], sums[at + self.side]]
    }
}

/// A buffer of `value(0)`, `value(1)`, … up to `len`.
fn row<T: Real + Element>(len: usize, value: impl Fn(usize) -> f64) -> Buffer {
    Buffer::from_fn(len, |i| T::of(value(i)))
}

/// The mean and the biased variance of each feature.
pub fn moments(x: View, axis: usize) -> Result<(Buffer, Buffer)> {
    with_real!("moments", x.dtype(), T => {
        let shape = Shape::of(x, axis);
        let (features, inner) = (shape.features, shape.inner);
        let x = Dense::<T>::new(x);
        let x = x.as_slice();
        let moments = shape.gather(
            &|rows, side, [mean, squares]| {
                let count = (rows.len() * inner) as f64;
                if inner == 1 {
                    let x = &x[rows.start * features + side.start..rows.end * features];
                    add_rows(x, features, mean);
                    mean.iter_mut().for_each(|mean| *mean /= count);
                    return add_squares(x, features, mean, squares);
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
        Ok((row::<T>(features, |i| moments.of(i)[0]), row::<T>(features, |i| moments.of(i)[1] / count)))
    })
}

/// What a feature is multiplied with, if its `gamma` is 1: one over the root of its variance.
fn inverse_root<T: Real>(variance: T, epsilon: f64) -> f64 {
    1.0 / (variance.wide() + epsilon).sqrt()
}

/// `(x - mean) / sqrt(variance + epsilon) * gamma + beta`, feature by feature.
pub fn normalize(x: View, axis: usize, how: &Normalize) -> Result<Buffer> {
    with_real!("normalize", x.dtype(), T => {
        let shape = Shape::of(x, axis);
        let mut y = Buffer::unspecified(T::DTYPE, x.len());
        let [x, mean, variance, gamma, beta] = [x, how.mean, how.variance, how.gamma, how.beta].map(Dense::<T>::new);
        let (x, mean, beta) = (x.as_slice(), mean.as_slice(), beta.as_slice());
        let (variance, gamma) = (variance.as_slice(), gamma.as_slice());
        let factor = row::<T>(shape.features, |i| inverse_root(variance[i], how.epsilon) * gamma[i].wide());
        let factor = factor.as_slice::<T>();
        shape.for_each(
            y.as_mut_slice::<T>(),
            &|start, y| scale_rows(&x[start..][..y.len()], y, mean, factor, beta),
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
        let sums = shape.gather(
            &|rows, side, [sums, products]| {
                if shape.inner == 1 {
                    let place = rows.start * features + side.start..rows.end * features;
                    return add_products(&x[place.clone()], &dy[place], features, &mean[side], sums, products);
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
        let variance = variance.as_slice();
        let gamma = row::<T>(features, |i| sums.of(i)[1] * inverse_root(variance[i], how.epsilon));
        Ok((gamma, row::<T>(features, |i| sums.of(i)[0])))
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
        let root = |i: usize| inverse_root(variance[i], how.epsilon);
        let of = |sums: Option<&Buffer>, i: usize| sums.map_or(0.0, |sums| sums.as_slice::<T>()[i].wide() / count);
        let factor = row::<T>(features, |i| root(i) * gamma[i].wide());
        let slope = row::<T>(features, |i| of(params.map(|params| params.0), i) * root(i));
        let centre = row::<T>(features, |i| of(params.map(|params| params.1), i));
        let [factor, centre, slope] = [&factor, &centre, &slope].map(Buffer::as_slice::<T>);
        shape.for_each(
            dx.as_mut_slice::<T>(),
            &|start, dx| {
                let place = start..start + dx.len();
                grad_rows(&x[place.clone()], &dy[place], dx, mean, factor, centre, slope);
            },
            &|start, i, dx| {
                let place = start..start + dx.len();
                grad_run(&x[place.clone()], &dy[place], dx, mean[i], factor[i], centre[i], slope[i]);
            },
        );
        Ok(dx)
    })
}

/// Each row along the last dimension with mean 0 and variance 1, times `gamma` plus `beta`.
pub fn layer_norm(x: View, gamma: View, beta: View, epsilon: f64) -> Result<Buffer> {
    with_real!("layer_norm", x.dtype(), T => {
        let mut y = Buffer::unspecified(T::DTYPE, x.len());
        let [x, gamma, beta] = [x, gamma, beta].map(Dense::<T>::new);
        let (x, gamma, beta) = (x.as_slice(), gamma.as_slice(), beta.as_slice());
        let width = gamma.len().max(1);
        for_parts(y.as_mut_slice::<T>(), (GRAIN / width).max(1) * width, &|start, y| {
            layer_rows(&x[start..][..y.len()], y, gamma, beta, epsilon);
        });
        Ok(y)
    })
}
