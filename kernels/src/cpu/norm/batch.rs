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
    /// The gradients of each column's `gamma` and `beta` alone.
    fn params_backward<T, F>(
        data: [&[T]; 2], stride: usize, rows: [&[T]; 4], epsilon: f64, grads: [&mut [T]; 2], after: F,
    ) where [T: Real, F: After<T>] {
        let [dgamma, dbeta] = grads;
        in_columns!(dgamma.len(), [COLUMNS, HALF], |at, len| {
            let rows = rows.map(|row| &row[at..at + len]);
            let sums = sums_backward::<FMA, T, F>(data, stride, rows, &factors(rows[1], rows[2], epsilon), (at, len), after);
            write_params(&sums, rows, epsilon, [&mut dgamma[at..at + len], &mut dbeta[at..at + len]])
        });
    }
}

/// What each column's distance from its mean is multiplied with.
#[inline(always)]
fn factors<T: Real>(variance: &[T], gamma: &[T], epsilon: f64) -> [T; COLUMNS] {
    let mut factors = [T::of(0.0); COLUMNS];
    for ((factor, gamma), variance) in factors.iter_mut().zip(gamma).zip(variance) {
        *factor = T::of(gamma.wide() / (variance.wide() + epsilon).sqrt());
    }
    factors
}

/// For each column the sum of `dy` on its way back through `after`, and that of it times the distance of `x` from its mean.
#[inline(always)]
fn sums_backward<const FMA: bool, T: Real, F: After<T>>(
    [x, dy]: [&[T]; 2],
    stride: usize,
    [mean, _, _, beta]: [&[T]; 4],
    factors: &[T; COLUMNS],
    (at, len): (usize, usize),
    after: F,
) -> [[f64; COLUMNS]; 2] {
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
    [sums, products]
}

/// The gradients of `gamma` and `beta` from [`sums_backward`].
#[inline(always)]
fn write_params<T: Real>(
    [sums, products]: &[[f64; COLUMNS]; 2],
    [_, variance, _, _]: [&[T]; 4],
    epsilon: f64,
    [dgamma, dbeta]: [&mut [T]; 2],
) {
    for i in 0..dgamma.len() {
        let root = 1.0 / (variance[i].wide() + epsilon).sqrt();
        (dgamma[i], dbeta[i]) = (T::of(products[i] * root), T::of(sums[i]));
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
    let [mut means, mut spreads, mut shifts] = [[T::of(0.0); COLUMNS]; 3];
    shifts[..len].copy_from_slice(&beta[at..at + len]);
    for i in 0..len {
        means[i] = T::of(centres[i]);
        spreads[i] = T::of(squares[i] / count);
    }
    let factors = factors(&spreads[..len], &gamma[at..at + len], epsilon);
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
    rows: [&[T]; 4],
    (epsilon, count): (f64, f64),
    [dgamma, dbeta]: [&mut [T]; 2],
    (at, len): (usize, usize),
    after: F,
) {
    let rows = rows.map(|row| &row[at..at + len]);
    let factors = factors(rows[1], rows[2], epsilon);
    let sums = sums_backward::<FMA, T, F>([x, dy], stride, rows, &factors, (at, len), after);
    write_params(&sums, rows, epsilon, [&mut dgamma[at..at + len], &mut dbeta[at..at + len]]);
    let ([sums, products], [mean, variance, _, beta]) = (sums, rows);
    let [mut centres, mut slopes] = [[T::of(0.0); COLUMNS]; 2];
    for i in 0..len {
        let root = 1.0 / (variance[i].wide() + epsilon).sqrt();
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

/// What computes a piece: with where it begins among the features, its part of something else, and its parts of two rows.
type OnPiece<'a, B, T> = dyn Fn(usize, &mut B, [&mut [T]; 2]) + Sync + 'a;

/// Calls `f` for all pieces of two rows of features, which are returned, and of something else that is cut likewise.
fn in_pieces<B: Send, T: Real + Element>(
    shape: Shape,
    others: impl Iterator<Item = B>,
    f: &OnPiece<'_, B, T>,
) -> [Buffer; 2] {
    let [mut first, mut second] = [shape.features; 2].map(|len| Buffer::unspecified(T::DTYPE, len));
    let (_, side) = shape.cut();
    let rows = first.as_mut_slice::<T>().chunks_mut(side).zip(second.as_mut_slice::<T>().chunks_mut(side));
    let mut pieces: SmallVec<[_; 4]> = others.zip(rows).collect();
    for_chunks(&mut pieces, 1, &|i, pieces| {
        for (other, (first, second)) in pieces {
            f(i * side, other, [first, second]);
        }
    });
    drop(pieces);
    [first, second]
}

/// [`in_pieces`] of a matrix, which is returned before the rows.
fn in_blocks<T: Real + Element>(
    shape: Shape,
    f: impl Fn(usize, &mut Block<'_, T>, [&mut [T]; 2]) + Sync,
) -> [Buffer; 3] {
    let mut y = Buffer::unspecified(T::DTYPE, shape.outer * shape.features);
    let (_, side) = shape.cut();
    let blocks = column_blocks(y.as_mut_slice::<T>(), shape.features, side);
    let [first, second] = in_pieces(shape, blocks, &|at, y, rows| f(at, y, rows));
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
    in_blocks(shape, |at, y, [mean, variance]| {
        forward(&x[at..], shape.features, y, [&gamma[at..], &beta[at..]], epsilon, [mean, variance], after);
    })
}

/// The gradients with respect to `x`, `gamma` and `beta`.
pub fn batch_norm_grad<T: Real + Element>(
    data: [View; 2],
    shape: Shape,
    how: &Normalize,
    after: impl After<T>,
) -> [Buffer; 3] {
    let ([x, dy], rows) = (data.map(Dense::<T>::new), dense_rows(how));
    let ([x, dy], rows) = ([x.as_slice(), dy.as_slice()], rows.each_ref().map(Dense::as_slice));
    in_blocks(shape, |at, dx, grads| {
        let rows = rows.map(|row| &row[at..]);
        backward([&x[at..], &dy[at..]], shape.features, dx, rows, how.epsilon, grads, after);
    })
}

/// The gradients with respect to `gamma` and `beta` alone.
pub fn grad_params<T: Real + Element>(
    data: [View; 2],
    shape: Shape,
    how: &Normalize,
    after: impl After<T>,
) -> (Buffer, Buffer) {
    let ([x, dy], rows) = (data.map(Dense::<T>::new), dense_rows(how));
    let ([x, dy], rows) = ([x.as_slice(), dy.as_slice()], rows.each_ref().map(Dense::as_slice));
    let [dgamma, dbeta] = in_pieces(shape, std::iter::repeat(()), &|at, (), grads| {
        let rows = rows.map(|row| &row[at..]);
        params_backward([&x[at..], &dy[at..]], shape.features, rows, how.epsilon, grads, after);
    });
    (dgamma, dbeta)
}

/// Mean, variance, `gamma` and `beta`.
fn dense_rows<'a, T: Element>(how: &Normalize<'a>) -> [Dense<'a, T>; 4] {
    [how.mean, how.variance, how.gamma, how.beta].map(Dense::new)
}
