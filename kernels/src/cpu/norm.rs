//! Normalisation: statistics over features or rows, and what is made of them, in one or two passes.
//!
//! A tensor with a dimension of features is `outer x features x inner`: batches of vectors have an `inner` of 1, and their
//! rows are worked on feature by feature side by side; images have runs of `inner` pixels, each of one feature. Statistics
//! are computed over pieces that depend on the shape alone, runs in two passes while a piece lies in cache and columns in one, and
//! merged in order by the rule of Chan, Golub and LeVeque (1979), which loses no digits to cancellation.

mod after;
mod batch;
mod columns;
mod layer;

use std::ops::Range;

use self::after::{After, Clip, Nothing};
use self::columns::{
    SIDE, grad_rows, grad_run, inverse_roots, merge_moments, moments_of_columns, multiply_columns, products_run,
    scale_rows, scale_run, squares_run, sum_run,
};
pub use self::layer::layer_norm;
use super::copy::Dense;
use super::fused::with_real;
use super::math::Real;
use super::read::for_parts;
use super::stream;
use super::threads::{GRAIN, OnBlock, columns_of_few, for_blocks, for_chunks_over};
use crate::backend::Normalize;
use crate::buffer::scratch::Scratch;
use crate::{Buffer, DType, Element, Error, Layout, Result, Unary, View};

/// Elements of a piece of many rows, at least.
const PIECE: usize = 2 * GRAIN;

/// Many rows are cut into a multiple of so many pieces.
const EVEN: usize = 4;

/// Rows of some features that the first-level cache holds, together with their gradient.
const LOW: usize = 128;

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
    /// With an `inner` of 1, a few rows are cut between features alone.
    fn cut(self) -> (usize, usize) {
        let Self { outer, features, inner } = self;
        if inner > 1 {
            return (outer, (PIECE / self.count().max(1)).clamp(1, features));
        }
        let elements = outer * features;
        let side = if elements <= PIECE { columns_of_few(outer, features) } else { SIDE.min(features) };
        // Four pieces, or eight, …, so that two threads, and four, have the same number of rows each.
        let pieces = outer.div_ceil((PIECE / side).max(1));
        let pieces = if pieces > 1 { pieces.next_multiple_of(EVEN) } else { 1 };
        (outer.div_ceil(pieces).max(1), side)
    }

    /// Two sums for every feature over elements of `size` bytes: `part(rows, features, sums)` writes those of a piece, then
    /// `merge(totals, rows so far, parts, their rows)` puts them together in order.
    fn gather(
        self,
        size: usize,
        part: &Part<'_>,
        merge: impl Fn([&mut [f64]; 2], usize, [&[f64]; 2], usize),
    ) -> [Scratch<f64>; 2] {
        let Self { outer, features, inner } = self;
        let (rows, side) = self.cut();
        let (blocks, pieces) = (features.div_ceil(side), outer.div_ceil(rows));
        let mut parts = Scratch::filled(blocks * pieces * 2 * side, 0.0);
        for_chunks_over(outer * features * inner * size, &mut parts, 2 * side, &|start, sums| {
            let (piece, block) = (start / (2 * side) / blocks, start / (2 * side) % blocks);
            let features = block * side..features.min((block + 1) * side);
            let (first, second) = sums.split_at_mut(side);
            let sums = [&mut first[..features.len()], &mut second[..features.len()]];
            part(piece * rows..outer.min((piece + 1) * rows), features, sums);
        });
        let mut totals = [Scratch::filled(features, 0.0), Scratch::filled(features, 0.0)];
        let [first, second] = &mut totals;
        for (piece, parts) in parts.chunks(blocks * 2 * side).enumerate() {
            let totals = first.chunks_mut(side).zip(second.chunks_mut(side));
            for ((first, second), part) in totals.zip(parts.chunks(2 * side)) {
                let (part_first, part_second) = (&part[..first.len()], &part[side..side + second.len()]);
                if piece == 0 {
                    first.copy_from_slice(part_first);
                    second.copy_from_slice(part_second);
                    continue;
                }
                let rest = rows.min(outer - piece * rows);
                merge([&mut *first, &mut *second], piece * rows, [part_first, part_second], rest);
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
        let far = stream::is_far(size_of_val(x));
        let [mean, squares] = shape.gather(
            size_of::<T>(),
            &|rows, side, [mean, squares]| {
                let count = (rows.len() * inner) as f64;
                if inner == 1 {
                    let x = &x[rows.start * features + side.start..rows.end * features];
                    let sides = mean.chunks_mut(SIDE).zip(squares.chunks_mut(SIDE)).enumerate();
                    return sides.for_each(|(i, (mean, squares))| {
                        moments_of_columns(&x[i * SIDE..], features, far, [mean, squares]);
                    });
                }
                for (i, feature) in side.enumerate() {
                    let runs = || shape.runs(rows.clone(), feature).map(|run| &x[run]);
                    mean[i] = runs().map(sum_run).sum::<f64>() / count;
                    squares[i] = runs().map(|run| squares_run(run, mean[i])).sum();
                }
            },
            |totals, rows, parts, more| merge_moments(totals, parts, [rows, more].map(|rows| (rows * inner) as f64)),
        );
        let count = shape.count() as f64;
        Ok((row_buffer::<T>(features, |i| mean[i]), row_buffer::<T>(features, |i| squares[i] / count)))
    })
}

/// Runs `$body` with `$after` bound to what numbers are put through.
macro_rules! with_after {
    ($activation:expr, $T:ty, $after:ident => $body:expr) => {
        match $activation.and_then(Clip::<$T>::of) {
            Some($after) => $body,
            None => {
                let $after = Nothing;
                $body
            }
        }
    };
}

/// Whether the functions below know an activation, which they take into their passes.
pub fn knows(activation: Unary) -> bool {
    Clip::<f64>::of(activation).is_some()
}

/// `(x - mean) / sqrt(variance + epsilon) * gamma + beta`, feature by feature, put through an activation that [`knows`].
pub fn normalize(x: View, axis: usize, how: &Normalize, activation: Option<Unary>) -> Result<Buffer> {
    with_real!("normalize", x.dtype(), T => {
        let shape = Shape::of(x, axis);
        let mut y = Buffer::unspecified(T::DTYPE, x.len());
        let [x, mean, variance, gamma, beta] = [x, how.mean, how.variance, how.gamma, how.beta].map(Dense::<T>::new);
        let (x, mean, beta) = (x.as_slice(), mean.as_slice(), beta.as_slice());
        let factor = factors(variance.as_slice(), gamma.as_slice(), how.epsilon);
        let factor = &*factor;
        with_after!(activation, T, after => shape.for_each(
            y.as_mut_slice::<T>(),
            &|rows, side, y| {
                let x = &x[rows.start * shape.features + side.start..];
                scale_rows(x, shape.features, y, &mean[side.clone()], [factor, beta].map(|row| &row[side.clone()]), after);
            },
            &|start, i, y| scale_run(&x[start..][..y.len()], y, mean[i], [factor[i], beta[i]], after),
        ));
        Ok(y)
    })
}

/// What each feature's distance from its mean is multiplied with.
fn factors<T: Real>(variance: &[T], gamma: &[T], epsilon: f64) -> Scratch<T> {
    let roots = roots(variance, epsilon);
    row(variance.len(), |i| roots[i] * gamma[i].wide())
}

/// The gradients of [`normalize`] with respect to `gamma` and `beta`. With an activation, `dy` is the gradient of its result.
pub fn normalize_grad_params(
    x: View,
    dy: View,
    axis: usize,
    how: &Normalize,
    activation: Option<Unary>,
) -> Result<(Buffer, Buffer)> {
    let shape = Shape::of(x, axis);
    with_real!("normalize_grad", x.dtype(), T => {
        if shape.is_low() {
            return Ok(with_after!(activation, T, after => batch::grad_params::<T>([x, dy], shape, how, after)));
        }
        let [x_dense, dy, mean, variance] = [x, dy, how.mean, how.variance].map(Dense::<T>::new);
        let variance = variance.as_slice();
        let line = line::<T>(variance, how, activation);
        let [factor, shift] = line.as_ref().map_or([mean.as_slice(); 2], |[factor, shift]| [factor, shift]);
        let data = [x_dense.as_slice(), dy.as_slice()];
        let [sums, products] = with_after!(activation, T, after => {
            sums_of_params(shape, data, mean.as_slice(), [factor, shift], after)
        });
        let roots = roots(variance, how.epsilon);
        Ok((row_buffer::<T>(shape.features, |i| products[i] * roots[i]), row_buffer::<T>(shape.features, |i| sums[i])))
    })
}

/// Factors and shifts of all features, where there is an activation that wants to know what reached it.
fn line<T: Real + Element>(variance: &[T], how: &Normalize, activation: Option<Unary>) -> Option<[Scratch<T>; 2]> {
    activation?;
    let [gamma, beta] = [how.gamma, how.beta].map(Dense::<T>::new);
    let beta = beta.as_slice();
    Some([factors(variance, gamma.as_slice(), how.epsilon), row(beta.len(), |i| beta[i].wide())])
}

/// For each feature the sum of `dy`, and that of `dy` times the distance of `x` from its mean.
fn sums_of_params<T: Real>(
    shape: Shape,
    [x, dy]: [&[T]; 2],
    mean: &[T],
    line: [&[T]; 2],
    after: impl After<T>,
) -> [Scratch<f64>; 2] {
    let (features, far) = (shape.features, stream::is_far(size_of_val(x)));
    shape.gather(
        size_of::<T>(),
        &|rows, side, [sums, products]| {
            if shape.inner == 1 {
                let place = rows.start * features + side.start..rows.end * features;
                let (data, line) = ([x, dy].map(|data| &data[place.clone()]), line.map(|row| &row[side.clone()]));
                return multiply_columns(data, features, &mean[side], line, after, far, [sums, products]);
            }
            for (i, feature) in side.enumerate() {
                for run in shape.runs(rows.clone(), feature) {
                    let (data, line) = ([x, dy].map(|data| &data[run.clone()]), line.map(|row| row[feature]));
                    let (sum, product) = products_run(data, mean[feature], line, after);
                    sums[i] += sum;
                    products[i] += product;
                }
            }
        },
        |totals, _, parts, _| {
            for (totals, parts) in totals.into_iter().zip(parts) {
                totals.iter_mut().zip(parts).for_each(|(total, part)| *total += part);
            }
        },
    )
}

/// The gradient of [`normalize`] with respect to `x`: with the gradients of `gamma` and `beta` where mean and variance are
/// those of `x` itself, and without where they are constants. With an activation, `dy` is the gradient of its result.
pub fn normalize_grad_input(
    x: View,
    dy: View,
    axis: usize,
    how: &Normalize,
    params: Option<(&Buffer, &Buffer)>,
    activation: Option<Unary>,
) -> Result<Buffer> {
    with_real!("normalize_grad", x.dtype(), T => {
        let shape = Shape::of(x, axis);
        let mut dx = Buffer::unspecified(T::DTYPE, x.len());
        let far = stream::is_far(size_of_val(dx.as_slice::<T>()));
        let [x, dy, mean, variance, gamma] = [x, dy, how.mean, how.variance, how.gamma].map(Dense::<T>::new);
        let (x, dy, mean, gamma) = (x.as_slice(), dy.as_slice(), mean.as_slice(), gamma.as_slice());
        let (variance, features, count) = (variance.as_slice(), shape.features, shape.count() as f64);
        let roots = roots(variance, how.epsilon);
        let of = |sums: Option<&Buffer>, i: usize| sums.map_or(0.0, |sums| sums.as_slice::<T>()[i].wide() / count);
        let factor = factors(variance, gamma, how.epsilon);
        let line = line::<T>(variance, how, activation);
        let shift = line.as_ref().map_or(mean, |[_, shift]| shift);
        let slope = row::<T>(features, |i| of(params.map(|params| params.0), i) * roots[i]);
        let centre = row::<T>(features, |i| of(params.map(|params| params.1), i));
        let terms = [&*factor, shift, &*centre, &*slope];
        with_after!(activation, T, after => shape.for_each(
            dx.as_mut_slice::<T>(),
            &|rows, side, dx| {
                let from = rows.start * features + side.start;
                let terms = terms.map(|row| &row[side.clone()]);
                grad_rows([&x[from..], &dy[from..]], features, dx, &mean[side], terms, after, far);
            },
            &|start, i, dx| {
                let place = start..start + dx.len();
                let data = [&x[place.clone()], &dy[place]];
                grad_run(data, dx, mean[i], terms.map(|row| row[i]), after);
            },
        ));
        Ok(dx)
    })
}

/// [`normalize`] with the moments of `x` itself, and these.
pub fn batch_norm(
    x: View,
    axis: usize,
    gamma: View,
    beta: View,
    epsilon: f64,
    activation: Option<Unary>,
) -> Result<[Buffer; 3]> {
    let shape = Shape::of(x, axis);
    if shape.is_low() {
        return Ok(with_real!("batch_norm", x.dtype(), T => with_after!(activation, T, after => {
            batch::batch_norm::<T>(x, shape, [gamma, beta], epsilon, after)
        })));
    }
    let (mean, variance) = moments(x, axis)?;
    let row = Layout::contiguous(&[shape.features]);
    let how = Normalize { mean: View::new(&mean, &row), variance: View::new(&variance, &row), gamma, beta, epsilon };
    Ok([normalize(x, axis, &how, activation)?, mean, variance])
}

/// The gradients of [`batch_norm`] with respect to `x`, `gamma` and `beta`.
pub fn batch_norm_grad(
    x: View,
    dy: View,
    axis: usize,
    how: &Normalize,
    activation: Option<Unary>,
) -> Result<[Buffer; 3]> {
    let shape = Shape::of(x, axis);
    if shape.is_low() {
        return Ok(with_real!("batch_norm_grad", x.dtype(), T => with_after!(activation, T, after => {
            batch::batch_norm_grad::<T>([x, dy], shape, how, after)
        })));
    }
    let (dgamma, dbeta) = normalize_grad_params(x, dy, axis, how, activation)?;
    let dx = normalize_grad_input(x, dy, axis, how, Some((&dgamma, &dbeta)), activation)?;
    Ok([dx, dgamma, dbeta])
}
