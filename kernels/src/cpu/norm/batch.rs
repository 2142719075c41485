//! Batch normalisation of few rows: all that belongs to some features, from their sums to the last result, by one thread
//! while their elements lie in its first-level cache.

use smallvec::SmallVec;

use super::Shape;
use super::after::After;
use super::columns::{COLUMNS, HALF, column_sums, in_columns};
use crate::backend::Normalize;
use crate::cpu::copy::Dense;
use crate::cpu::math::Real;
use crate::cpu::simd::mul_add;
use crate::cpu::threads::{Block, column_blocks, for_chunks};
use crate::{Buffer, Element, View};

crate::simd! {
    /// `y`, and the mean and the variance of each column of `x`, whose rows are `stride` apart.
    fn forward<T, F>(
        x: &[T], stride: usize, y: &mut Block<'_, T>, rows: [&[T]; 2], epsilon: f64, moments: [&mut [T]; 2], after: F,
    ) where [T: Real, F: After<T>] {
        let [mean, variance] = moments;
        let count = x.len().div_ceil(stride) as f64;
        in_columns!(mean.len(), [COLUMNS, HALF], |at, len| {
            let moments = [&mut *mean, &mut *variance];
            forward_columns::<FMA, T, F>(x, stride, y, rows, (epsilon, count), moments, (at, len), after)
        });
    }
    /// `dx`, and the gradients of each column's `gamma` and `beta`; `rows` are mean, variance, `gamma` and `beta`.
    fn backward<T, F>(
        data: [&[T]; 2], stride: usize, dx: &mut Block<'_, T>, rows: [&[T]; 4], epsilon: f64, grads: [&mut [T]; 2], after: F,
    ) where [T: Real, F: After<T>] {
        let [dgamma, dbeta] = grads;
        let count = data[0].len().div_ceil(stride) as f64;
        in_columns!(dgamma.len(), [COLUMNS, HALF], |at, len| {
            let grads = [&mut *dgamma, &mut *dbeta];
            backward_columns::<FMA, T, F>(data, stride, dx, rows, (epsilon, count), grads, (at, len), after)
        });
    }
}

#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "compiled into its one caller, for constant lengths")]
fn forward_columns<const FMA: bool, T: Real, F: After<T>>(
    x: &[T],
    stride: usize,
    y: &mut Block<'_, T>,
    [gamma, beta]: [&[T]; 2],
    (epsilon, count): (f64, f64),
    [mean, variance]: [&mut [T]; 2],
    (at, len): (usize, usize),
    after: F,
) {
    let mut centres = column_sums(x, stride, (at, len), |_, x| x.wide());
    centres.iter_mut().for_each(|sum| *sum /= count);
    let squares = column_sums(x, stride, (at, len), |i, x| (x.wide() - centres[i]) * (x.wide() - centres[i]));
    let [mut means, mut spreads, mut factors, mut shifts] = [[T::of(0.0); COLUMNS]; 4];
    factors[..len].copy_from_slice(&gamma[at..at + len]);
    shifts[..len].copy_from_slice(&beta[at..at + len]);
    for i in 0..len {
        means[i] = T::of(centres[i]);
        spreads[i] = T::of(squares[i] / count);
        factors[i] = T::of(factors[i].wide() / (spreads[i].wide() + epsilon).sqrt());
    }
    mean[at..at + len].copy_from_slice(&means[..len]);
    variance[at..at + len].copy_from_slice(&spreads[..len]);
    for (x, y) in x.chunks(stride).zip(y.rows()) {
        // In an array of its own, which shares no memory with anything, a row becomes a few vectors.
        let mut row = [T::of(0.0); COLUMNS];
        row[..len].copy_from_slice(&x[at..at + len]);
        for i in 0..len {
            row[i] = after.value(mul_add::<FMA, T>(row[i] - means[i], factors[i], shifts[i]));
        }
        y[at..at + len].copy_from_slice(&row[..len]);
    }
}

#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "compiled into its one caller, for constant lengths")]
fn backward_columns<const FMA: bool, T: Real, F: After<T>>(
    [x, dy]: [&[T]; 2],
    stride: usize,
    dx: &mut Block<'_, T>,
    [mean, variance, gamma, beta]: [&[T]; 4],
    (epsilon, count): (f64, f64),
    [dgamma, dbeta]: [&mut [T]; 2],
    (at, len): (usize, usize),
    after: F,
) {
    let [mean, variance, gamma, beta] = [mean, variance, gamma, beta].map(|row| &row[at..at + len]);
    let (dgamma, dbeta) = (&mut dgamma[at..at + len], &mut dbeta[at..at + len]);
    let [mut factors, mut centres, mut slopes] = [[T::of(0.0); COLUMNS]; 3];
    for i in 0..len {
        factors[i] = T::of(gamma[i].wide() / (variance[i].wide() + epsilon).sqrt());
    }
    let [mut sums, mut products] = [[0.0; COLUMNS]; 2];
    for (x, dy) in x.chunks(stride).zip(dy.chunks(stride)) {
        let (x, dy) = (&x[at..at + len], &dy[at..at + len]);
        for i in 0..len {
            let distance = x[i] - mean[i];
            let dy = after.back(mul_add::<FMA, T>(distance, factors[i], beta[i]), dy[i]).wide();
            sums[i] += dy;
            products[i] = mul_add::<FMA, f64>(dy, distance.wide(), products[i]);
        }
    }
    for i in 0..len {
        let root = 1.0 / (variance[i].wide() + epsilon).sqrt();
        (dgamma[i], dbeta[i]) = (T::of(products[i] * root), T::of(sums[i]));
        centres[i] = T::of(sums[i] / count);
        slopes[i] = T::of(products[i] / count * root * root);
    }
    for ((x, dy), dx) in x.chunks(stride).zip(dy.chunks(stride)).zip(dx.rows()) {
        let (x, dy, dx) = (&x[at..at + len], &dy[at..at + len], &mut dx[at..at + len]);
        for i in 0..len {
            let distance = x[i] - mean[i];
            let dy = after.back(mul_add::<FMA, T>(distance, factors[i], beta[i]), dy[i]);
            dx[i] = factors[i] * (dy - centres[i] - distance * slopes[i]);
        }
    }
}

/// What computes a piece.
type OnPiece<'a, T> = dyn Fn(usize, &mut Block<'_, T>, [&mut [T]; 2]) + Sync + 'a;

/// Calls `f` for all pieces of a result like `x`: with where it begins among the elements and among the features, the piece,
/// and its parts of two rows, which are returned behind the result.
fn in_pieces<T: Real + Element>(shape: Shape, f: &OnPiece<'_, T>) -> [Buffer; 3] {
    let features = shape.features;
    let [mut y, mut first, mut second] =
        [shape.outer * features, features, features].map(|len| Buffer::unspecified(T::DTYPE, len));
    let (_, side) = shape.cut();
    let rows = first.as_mut_slice::<T>().chunks_mut(side).zip(second.as_mut_slice::<T>().chunks_mut(side));
    let mut pieces: SmallVec<[_; 4]> = column_blocks(y.as_mut_slice::<T>(), features, side).zip(rows).collect();
    for_chunks(&mut pieces, 1, &|i, pieces| {
        for (y, (first, second)) in pieces {
            f(i * side, y, [first, second]);
        }
    });
    drop(pieces);
    [y, first, second]
}

/// `y`, and the mean and the variance of each feature.
pub fn batch_norm<T: Real + Element>(
    x: View,
    shape: Shape,
    rows: [View; 2],
    epsilon: f64,
    after: impl After<T>,
) -> [Buffer; 3] {
    let (x, rows) = (Dense::<T>::new(x), rows.map(Dense::<T>::new));
    let (x, [gamma, beta]) = (x.as_slice(), rows.each_ref().map(Dense::as_slice));
    in_pieces(shape, &|at, y, [mean, variance]| {
        forward(&x[at..], shape.features, y, [&gamma[at..], &beta[at..]], epsilon, [mean, variance], after);
    })
}

/// The gradients with respect to `x`, `gamma` and `beta`; `shift` is `beta`, where it matters.
pub fn batch_norm_grad<T: Real + Element>(
    data: [View; 2],
    shape: Shape,
    how: &Normalize,
    shift: Option<&[T]>,
    after: impl After<T>,
) -> [Buffer; 3] {
    let (data, rows) = (data.map(Dense::<T>::new), [how.mean, how.variance, how.gamma].map(Dense::<T>::new));
    let ([x, dy], [mean, variance, gamma]) =
        (data.each_ref().map(Dense::as_slice), rows.each_ref().map(Dense::as_slice));
    let beta = shift.unwrap_or(mean);
    in_pieces(shape, &|at, dx, [dgamma, dbeta]| {
        let rows = [mean, variance, gamma, beta].map(|row| &row[at..]);
        backward([&x[at..], &dy[at..]], shape.features, dx, rows, how.epsilon, [dgamma, dbeta], after);
    })
}
