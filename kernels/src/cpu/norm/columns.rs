//! The loops of normalisation: over some columns of rows, and over runs of one feature.

use super::after::After;
use crate::cpu::math::{Real, total, total_of_two};
use crate::cpu::simd::mul_add;
use crate::cpu::stream::fetch;
use crate::cpu::threads::Block;

/// Columns whose sums are kept in registers while they are added up.
pub const COLUMNS: usize = 32;
/// Those of what is left over.
pub const HALF: usize = COLUMNS / 2;
const QUARTER: usize = COLUMNS / 4;

/// Runs `$body` for as many columns at a time as each of the `$most` says, in order, then for the rest; a constant length keeps
/// sums in registers.
macro_rules! in_columns {
    ($width:expr, [$($most:ident),*], |$at:ident, $len:ident| $body:expr) => {{
        let (width, mut $at) = ($width, 0);
        $(while width - $at >= $most {
            let $len = $most;
            $body;
            $at += $len;
        })*
        if width > $at {
            let $len = width - $at;
            $body;
        }
    }};
}
pub(super) use in_columns;

/// Features of a piece of many rows, at most: their sums stay in the first-level cache.
pub const SIDE: usize = 512;

/// Rows that are added up in their own precision.
const ROWS: usize = 16;

/// Elements before their use at which memory is asked for them, in whole rows.
const AHEAD: usize = 1024;

/// Sums side by side: enough to hide the time that an addition takes.
pub const LANES: usize = 32;

/// The sums over all rows, `stride` apart, of what `f` makes of the elements of `len` columns, at most `COLUMNS`, from `at` on.
#[inline(always)]
pub fn column_sums<T: Real>(
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

/// Asks memory for some columns of [`ROWS`] rows. Blocks of columns are not an order in which the machine looks ahead by itself.
#[inline(always)]
fn fetch_block<T>(x: &[T], stride: usize, first: usize, at: usize) {
    for row in first..first + ROWS {
        fetch(x, row * stride + at, COLUMNS);
    }
}

/// Adds the distances of some columns from numbers near their means, and the squares, to `sums`; the `first` rows tell
/// which numbers. A few rows are added up in their own precision, many in double precision.
#[inline(always)]
fn add_moments<const FMA: bool, T: Real>(
    x: &[T],
    stride: usize,
    (at, len): (usize, usize),
    first: bool,
    near: &mut [T; SIDE],
    [sums, squares]: [&mut [f64]; 2],
) {
    if first {
        let count = x.len().div_ceil(stride) as f64;
        let totals = column_sums(x, stride, (at, len), |_, x| x.wide());
        near[at..at + len].iter_mut().zip(totals).for_each(|(near, total)| *near = T::of(total / count));
        sums[at..at + len].fill(0.0);
        squares[at..at + len].fill(0.0);
    }
    let [mut centre, mut sum, mut square] = [[T::of(0.0); COLUMNS]; 3];
    centre[..len].copy_from_slice(&near[at..at + len]);
    for row in x.chunks(stride) {
        for (i, &x) in row[at..at + len].iter().enumerate() {
            let distance = x - centre[i];
            sum[i] = sum[i] + distance;
            square[i] = mul_add::<FMA, T>(distance, distance, square[i]);
        }
    }
    sums[at..at + len].iter_mut().zip(sum).for_each(|(total, sum)| *total += sum.wide());
    squares[at..at + len].iter_mut().zip(square).for_each(|(total, square)| *total += square.wide());
}

/// Adds what [`multiply_columns`] wants of a few rows and of `len` columns, at most `COLUMNS`, from `at` on.
#[inline(always)]
fn add_products<const FMA: bool, T: Real, F: After<T>>(
    [x, dy]: [&[T]; 2],
    stride: usize,
    mean: &[T],
    [factor, shift]: [&[T]; 2],
    after: F,
    (at, len): (usize, usize),
    [sums, products]: [&mut [f64]; 2],
) {
    let [mut means, mut factors, mut shifts, mut sum, mut product] = [[T::of(0.0); COLUMNS]; 5];
    means[..len].copy_from_slice(&mean[at..at + len]);
    factors[..len].copy_from_slice(&factor[at..at + len]);
    shifts[..len].copy_from_slice(&shift[at..at + len]);
    for (x, dy) in x.chunks(stride).zip(dy.chunks(stride)) {
        let (x, dy) = (&x[at..at + len], &dy[at..at + len]);
        for i in 0..len {
            let distance = x[i] - means[i];
            let dy = after.back(mul_add::<FMA, T>(distance, factors[i], shifts[i]), dy[i]);
            sum[i] = sum[i] + dy;
            product[i] = mul_add::<FMA, T>(dy, distance, product[i]);
        }
    }
    sums[at..at + len].iter_mut().zip(sum).for_each(|(total, sum)| *total += sum.wide());
    products[at..at + len].iter_mut().zip(product).for_each(|(total, product)| *total += product.wide());
}

/// `x`, or 0 where rounding made it less. A NaN stays one, where a maximum would hide it.
#[inline(always)]
pub(super) fn not_negative(x: f64) -> f64 {
    if x < 0.0 { 0.0 } else { x }
}

crate::simd! {
    /// For each of at most [`SIDE`] columns of `x`, whose rows are `stride` apart, the mean and the sum of squared distances from it, in
    /// one pass.
    ///
    /// Distances are taken from a number near the mean, that of the first rows. They are part of what is measured, so were
    /// they far from all the others, the squares of these distances would still be no more than some ten times those that
    /// are wanted, which is all that can be lost when the one is made of the other.
    ///
    /// Here and below `far` tells that no cache holds the elements.
    pub fn moments_of_columns<T>(x: &[T], stride: usize, far: bool, moments: [&mut [f64]; 2]) where [T: Real] {
        let [mean, squares] = moments;
        let count = x.len().div_ceil(stride);
        let mut near = [T::of(0.0); SIDE];
        for (i, few) in x.chunks(ROWS * stride).enumerate() {
            in_columns!(mean.len(), [COLUMNS, HALF, QUARTER], |at, len| {
                if far {
                    fetch_block(x, stride, (i + 1) * ROWS, at);
                }
                add_moments::<FMA, T>(few, stride, (at, len), i == 0, &mut near, [&mut *mean, &mut *squares])
            });
        }
        for ((mean, squares), near) in mean.iter_mut().zip(squares).zip(near) {
            let distance = *mean / count as f64;
            *squares = not_negative(*squares - *mean * distance);
            *mean = near.wide() + distance;
        }
    }
    /// Puts means and squared distances of more elements to those of some, as many as `counts` says; the rule of Chan, Golub
    /// and LeVeque (1979).
    pub fn merge_moments(totals: [&mut [f64]; 2], parts: [&[f64]; 2], counts: [f64; 2]) {
        let ([mean, squares], [part_mean, part_squares], [count, part]) = (totals, parts, counts);
        let (share, weight) = (part / (count + part), count * part / (count + part));
        for (((mean, squares), part_mean), part_squares) in mean.iter_mut().zip(squares).zip(part_mean).zip(part_squares) {
            let distance = part_mean - *mean;
            *squares += part_squares + distance * distance * weight;
            *mean += distance * share;
        }
    }
    /// The sums of the columns of `dy` on its way back through `after`, and those of that times the distance of `x` from its
    /// mean. [`scale_rows`] put `(x - mean) * factor + shift` through `after`. A few rows are added up in their own precision, many
    /// in double precision.
    pub fn multiply_columns<T, F>(
        data: [&[T]; 2], stride: usize, mean: &[T], line: [&[T]; 2], after: F, far: bool, totals: [&mut [f64]; 2],
    ) where [T: Real, F: After<T>] {
        let ([x, dy], [sums, products]) = (data, totals);
        sums.fill(0.0);
        products.fill(0.0);
        for (i, (few_x, few_dy)) in x.chunks(ROWS * stride).zip(dy.chunks(ROWS * stride)).enumerate() {
            // Blocks of eight would not become vectors here.
            in_columns!(sums.len(), [COLUMNS, HALF], |at, len| {
                if far {
                    fetch_block(x, stride, (i + 1) * ROWS, at);
                    fetch_block(dy, stride, (i + 1) * ROWS, at);
                }
                let (data, totals) = ([few_x, few_dy], [&mut *sums, &mut *products]);
                add_products::<FMA, T, F>(data, stride, mean, line, after, (at, len), totals)
            });
        }
    }
    /// One over the root of each variance: what a feature is multiplied with, if its `gamma` is 1.
    pub fn inverse_roots<T>(variance: &[T], epsilon: f64, roots: &mut [f64]) where [T: Real] {
        for (root, &variance) in roots.iter_mut().zip(variance) {
            *root = 1.0 / (variance.wide() + epsilon).sqrt();
        }
    }
    /// `y = after((x - mean) * factor + shift)`, row by row; the rows of `x` are `stride` apart.
    pub fn scale_rows<T, F>(x: &[T], stride: usize, y: &mut Block<'_, T>, mean: &[T], line: [&[T]; 2], after: F)
    where [T: Real, F: After<T>] {
        let [factor, shift] = line;
        for (x, y) in x.chunks(stride).zip(y.rows()) {
            for ((((y, &x), &mean), &factor), &shift) in y.iter_mut().zip(x).zip(mean).zip(factor).zip(shift) {
                *y = after.value(mul_add::<FMA, T>(x - mean, factor, shift));
            }
        }
    }
    /// `dx = factor * (dy - centre - (x - mean) * slope)`, row by row, for `dy` on its way back through `after`; the rows of `x`
    /// and `dy` are `stride` apart. A compiler loads only what `after` lets through, and so not before it has compared `x`,
    /// which is why `far` rows are asked for.
    pub fn grad_rows<T, F>(
        data: [&[T]; 2], stride: usize, dx: &mut Block<'_, T>, mean: &[T], terms: [&[T]; 4], after: F, far: bool,
    ) where [T: Real, F: After<T>] {
        let [x, dy] = data;
        let [factor, shift, centre, slope] = terms;
        let ahead = AHEAD.next_multiple_of(stride);
        for (i, dx) in dx.rows().enumerate() {
            let (width, at) = (dx.len(), i * stride);
            if far {
                fetch(x, at + ahead, width);
                fetch(dy, at + ahead, width);
            }
            let (x, dy) = (&x[at..], &dy[at..]);
            let (x, dy, mean) = (&x[..width], &dy[..width], &mean[..width]);
            let (factor, shift) = (&factor[..width], &shift[..width]);
            let (centre, slope) = (&centre[..width], &slope[..width]);
            for i in 0..width {
                let distance = x[i] - mean[i];
                let dy = after.back(mul_add::<FMA, T>(distance, factor[i], shift[i]), dy[i]);
                dx[i] = factor[i] * (dy - centre[i] - distance * slope[i]);
            }
        }
    }
    /// `y = after((x - mean) * factor + shift)` for one feature.
    pub fn scale_run<T, F>(x: &[T], y: &mut [T], mean: T, line: [T; 2], after: F) where [T: Real, F: After<T>] {
        let [factor, shift] = line;
        for (y, &x) in y.iter_mut().zip(x) {
            *y = after.value(mul_add::<FMA, T>(x - mean, factor, shift));
        }
    }
    /// [`grad_rows`] for one feature.
    pub fn grad_run<T, F>(data: [&[T]; 2], dx: &mut [T], mean: T, terms: [T; 4], after: F) where [T: Real, F: After<T>] {
        let [x, dy] = data;
        let [factor, shift, centre, slope] = terms;
        for ((dx, &x), &dy) in dx.iter_mut().zip(x).zip(dy) {
            let dy = after.back(mul_add::<FMA, T>(x - mean, factor, shift), dy);
            *dx = factor * (dy - centre - (x - mean) * slope);
        }
    }
    /// The sum of `x`.
    pub fn sum_run<T>(x: &[T]) -> f64 where [T: Real] {
        total::<LANES, _>(x, |x| x.wide())
    }
    /// The sum of squared distances from `mean`.
    pub fn squares_run<T>(x: &[T], mean: f64) -> f64 where [T: Real] {
        total::<LANES, _>(x, |x| (x.wide() - mean) * (x.wide() - mean))
    }
    /// [`multiply_columns`] for one feature.
    pub fn products_run<T, F>(data: [&[T]; 2], mean: T, line: [T; 2], after: F) -> (f64, f64) where [T: Real, F: After<T>] {
        let ([x, dy], [factor, shift]) = (data, line);
        let back = |x: T, dy: T| after.back(mul_add::<FMA, T>(x - mean, factor, shift), dy).wide();
        let products = total_of_two::<LANES, _>(x, dy, |x, dy| back(x, dy) * (x - mean).wide());
        (total_of_two::<LANES, _>(x, dy, back), products)
    }
}
