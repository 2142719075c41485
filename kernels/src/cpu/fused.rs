//! Softmax, its logarithm, and the loss made of it, in few passes over rows that stay in cache.
//!
//! Exponentials are taken over whole blocks of rows, so that they fill vector registers however short a row is.

use smallvec::SmallVec;

use super::copy::{Dense, with_axis_last};
use super::index::indices;
use super::math::{Real, total, total_of_two};
use super::read::{BLOCK, for_parts};
use super::threads::{GRAIN, for_chunks};
use crate::buffer::scratch::Scratch;
use crate::{Buffer, DType, Element, Error, Result, View};

/// How many elements are worked on side by side.
const LANES: usize = 16;

/// Rows of this length fill vector registers on their own.
const LONG: usize = 128;

/// Passes over memory that an element of a row costs.
const COST: usize = 8;

crate::simd! {
    /// `e = exp(x - max)` for rows of `len` elements, with each row's largest element and sum of `e`.
    fn exp_rows<T>(x: &[T], len: usize, e: &mut [T], max: &mut [T], sum: &mut [f64]) where [T: Real] {
        if len >= LONG {
            for (((x, e), max), sum) in x.chunks_exact(len).zip(e.chunks_exact_mut(len)).zip(max).zip(sum) {
                *max = largest(x);
                *sum = T::exp_row(x, *max, e).unwrap_or_else(|| {
                    for (e, &x) in e.iter_mut().zip(x) {
                        *e = (x - *max).exp_below::<FMA>();
                    }
                    sum_long(e)
                });
            }
            return;
        }
        for ((x, e), max) in x.chunks_exact(len).zip(e.chunks_exact_mut(len)).zip(max.iter_mut()) {
            *max = largest(x);
            for (e, &x) in e.iter_mut().zip(x) {
                *e = x - *max;
            }
        }
        for e in e.iter_mut() {
            *e = e.exp_below::<FMA>();
        }
        for (e, sum) in e.chunks_exact(len).zip(sum) {
            *sum = total::<LANES, _>(e, |e| e.wide());
        }
    }
    /// Divides each row by its sum, which takes a product for each element.
    fn divide_rows<T>(y: &mut [T], len: usize, sum: &[f64]) where [T: Real] {
        for (y, &sum) in y.chunks_exact_mut(len).zip(sum) {
            let share = T::of(1.0 / sum);
            for y in y {
                *y = *y * share;
            }
        }
    }
    /// `y = x - max - log(sum)` for each row.
    fn log_rows<T>(x: &[T], y: &mut [T], len: usize, max: &[T], sum: &[f64]) where [T: Real] {
        for (((x, y), &max), &sum) in x.chunks_exact(len).zip(y.chunks_exact_mut(len)).zip(max).zip(sum) {
            let log_sum = T::of(sum.ln());
            for (y, &x) in y.iter_mut().zip(x) {
                *y = (x - max) - log_sum;
            }
        }
    }
    /// `dx = y * (dy - sum(y * dy))` for each row.
    fn softmax_grad_rows<T>(y: &[T], dy: &[T], dx: &mut [T], len: usize) where [T: Real] {
        for ((y, dy), dx) in y.chunks_exact(len).zip(dy.chunks_exact(len)).zip(dx.chunks_exact_mut(len)) {
            let dot = T::of(total_of_two::<LANES, _>(y, dy, |y, dy| y.wide() * dy.wide()));
            for ((dx, &y), &dy) in dx.iter_mut().zip(y).zip(dy) {
                *dx = y * (dy - dot);
            }
        }
    }
    /// `dx = dy - exp(y) * sum(dy)` for each row.
    fn log_softmax_grad_rows<T>(y: &[T], dy: &[T], dx: &mut [T], len: usize) where [T: Real] {
        for (dx, &y) in dx.iter_mut().zip(y) {
            *dx = y.exp::<FMA>();
        }
        for (dy, dx) in dy.chunks_exact(len).zip(dx.chunks_exact_mut(len)) {
            let sum = T::of(total::<LANES, _>(dy, |dy| dy.wide()));
            for (dx, &dy) in dx.iter_mut().zip(dy) {
                *dx = dy - *dx * sum;
            }
        }
    }
    /// `dx *= dy` for each row, after 1 was taken from each row's label.
    fn scale_rows<T>(dx: &mut [T], len: usize, labels: &[usize], dy: &[T]) where [T: Real] {
        for ((dx, &label), &dy) in dx.chunks_exact_mut(len).zip(labels).zip(dy) {
            dx[label] = dx[label] - T::of(1.0);
            for dx in dx {
                *dx = *dx * dy;
            }
        }
    }
}

/// The largest element; NaN is passed over, and shows up in the sum.
#[inline(always)]
fn largest<T: Real>(x: &[T]) -> T {
    let larger = |a: T, b: T| if b > a { b } else { a };
    let nothing = T::of(f64::NEG_INFINITY);
    if x.len() < LONG {
        return x.iter().fold(nothing, |best, &x| larger(best, x));
    }
    // What is left behind whole blocks is looked at with some of what is before it once more.
    let rest = x.len() % (4 * LANES);
    let best = in_lanes(nothing, &x[..x.len() - rest], larger)[0];
    if rest == 0 {
        return best;
    }
    larger(best, in_lanes(nothing, &x[x.len() - 4 * LANES..], larger)[0])
}

/// The sum of a long row of positive numbers to a few units in the last place: blocks are added up in their own
/// precision, side by side, and blocks' sums in double precision.
#[inline(always)]
fn sum_long<T: Real>(x: &[T]) -> f64 {
    x.chunks(1024).map(|x| in_lanes(T::of(0.0), x, |a, b| a + b)[0].wide()).sum()
}

/// Folds `x` in lanes side by side, then the lanes, in halves, into the first.
#[inline(always)]
fn in_lanes<T: Copy>(nothing: T, x: &[T], f: impl Fn(T, T) -> T) -> [T; 4 * LANES] {
    let mut lanes = [nothing; 4 * LANES];
    let (blocks, rest) = x.as_chunks::<{ 4 * LANES }>();
    for block in blocks {
        for (lane, &x) in lanes.iter_mut().zip(block) {
            *lane = f(*lane, x);
        }
    }
    for (lane, &x) in lanes.iter_mut().zip(rest) {
        *lane = f(*lane, x);
    }
    let mut width = 2 * LANES;
    while width > 0 {
        for i in 0..width {
            lanes[i] = f(lanes[i], lanes[i + width]);
        }
        width /= 2;
    }
    lanes
}

/// Calls `f::<T>` for the float type `T` of `$dtype`.
macro_rules! with_real {
    ($op:literal, $dtype:expr, $T:ident => $body:expr) => {
        match $dtype {
            DType::F32 => {
                type $T = f32;
                $body
            }
            DType::F64 => {
                type $T = f64;
                $body
            }
            dtype => return Err(Error::DType { op: $op, dtype, hint: "cast to f32 first" }),
        }
    };
}
pub(super) use with_real;

/// `exp(x) / sum(exp(x))` along `axis`.
pub fn softmax(x: View, axis: usize) -> Result<Buffer> {
    with_axis_last([x], axis, |[x]| {
        Ok(with_real!("softmax", x.dtype(), T => rows_with_sums::<T>(x, |_, e, len, _, sum| divide_rows(e, len, sum))))
    })
}

/// `x - log(sum(exp(x)))` along `axis`.
pub fn log_softmax(x: View, axis: usize) -> Result<Buffer> {
    with_axis_last([x], axis, |[x]| Ok(with_real!("log_softmax", x.dtype(), T => rows_with_sums::<T>(x, log_rows))))
}

/// The gradient of [`softmax`] from its output.
pub fn softmax_grad(y: View, dy: View, axis: usize) -> Result<Buffer> {
    with_axis_last([y, dy], axis, |[y, dy]| {
        Ok(with_real!("softmax_grad", y.dtype(), T => rows_of_two::<T>(y, dy, softmax_grad_rows)))
    })
}

/// The gradient of [`log_softmax`] from its output.
pub fn log_softmax_grad(y: View, dy: View, axis: usize) -> Result<Buffer> {
    with_axis_last([y, dy], axis, |[y, dy]| {
        Ok(with_real!("log_softmax_grad", y.dtype(), T => rows_of_two::<T>(y, dy, log_softmax_grad_rows)))
    })
}

/// For each row of `logits`, `-log_softmax(row)[label]`.
pub fn cross_entropy(logits: View, labels: View) -> Result<Buffer> {
    let len = logits.shape()[1];
    let labels = indices("cross_entropy", labels, len)?;
    let mut losses = Buffer::unspecified(logits.dtype(), labels.len());
    with_real!("cross_entropy", logits.dtype(), T => {
        let x = Dense::<T>::new(logits);
        let x = x.as_slice();
        for_parts(losses.as_mut_slice::<T>(), rows_at_once(len, GRAIN / COST), &|first, losses| {
            let mut rows = Rows::<T>::new(len);
            let together = rows.max.len();
            let mut scratch = Scratch::filled(together * len, T::of(0.0));
            for (i, losses) in losses.chunks_mut(together).enumerate() {
                let row = first + i * together;
                let x = &x[row * len..][..losses.len() * len];
                rows.exp(x, &mut scratch[..x.len()]);
                for (i, loss) in losses.iter_mut().enumerate() {
                    *loss = T::of(rows.sum[i].ln() - (x[i * len + labels[row + i]].wide() - rows.max[i].wide()));
                }
            }
        });
    });
    Ok(losses)
}

/// [`cross_entropy`] and its gradient for a `dy` of 1, in one pass over the exponentials.
pub fn cross_entropy_with_grad(logits: View, labels: View) -> Result<(Buffer, Buffer)> {
    let len = logits.shape()[1];
    let labels = indices("cross_entropy", labels, len)?;
    with_real!("cross_entropy", logits.dtype(), T => {
        let mut dx = Buffer::unspecified(T::DTYPE, logits.len());
        let mut losses = Buffer::unspecified(T::DTYPE, labels.len());
        let x = Dense::<T>::new(logits);
        let together = rows_at_once(len, BLOCK);
        let piece = together * (GRAIN / COST / (together * len).max(1)).max(1);
        {
            let dx = dx.as_mut_slice::<T>().chunks_mut((piece * len).max(1));
            let mut parts: SmallVec<[_; 4]> = dx.zip(losses.as_mut_slice::<T>().chunks_mut(piece)).collect();
            for_chunks(&mut parts, 1, &|i, parts| {
                for (dx, losses) in parts {
                    let x = &x.as_slice()[i * piece * len..][..dx.len()];
                    losses_and_grads(x, &labels[i * piece..], len, dx, losses);
                }
            });
        }
        Ok((losses, dx))
    })
}

fn losses_and_grads<T: Real>(x: &[T], labels: &[usize], len: usize, dx: &mut [T], losses: &mut [T]) {
    let mut rows = Rows::<T>::new(len);
    let together = rows.max.len();
    let blocks = x.chunks(together * len).zip(dx.chunks_mut(together * len)).zip(losses.chunks_mut(together));
    for (((x, dx), losses), labels) in blocks.zip(labels.chunks(together)) {
        rows.exp(x, dx);
        divide_rows(dx, len, &rows.sum);
        for (i, (loss, &label)) in losses.iter_mut().zip(labels).enumerate() {
            let at = i * len + label;
            *loss = T::of(rows.sum[i].ln() - (x[at].wide() - rows.max[i].wide()));
            dx[at] = dx[at] - T::of(1.0);
        }
    }
}

/// The gradient of [`cross_entropy`].
pub fn cross_entropy_grad(logits: View, labels: View, dy: View) -> Result<Buffer> {
    let len = logits.shape()[1];
    let labels = indices("cross_entropy_grad", labels, len)?;
    Ok(with_real!("cross_entropy_grad", logits.dtype(), T => {
        let dy = Dense::<T>::new(dy);
        let dy = dy.as_slice();
        let mut dx = rows_with_sums::<T>(logits, |_, e, len, _, sum| divide_rows(e, len, sum));
        let together = rows_at_once(len, GRAIN);
        for_parts(dx.as_mut_slice::<T>(), together * len, &|start, dx| {
            let row = start / len;
            scale_rows(dx, len, &labels[row..], &dy[row..]);
        });
        dx
    }))
}

/// How many rows hold about `elements`.
fn rows_at_once(len: usize, elements: usize) -> usize {
    (elements / len.max(1)).max(1)
}

/// The largest elements and sums of a block of rows.
struct Rows<T> {
    len: usize,
    max: Scratch<T>,
    sum: Scratch<f64>,
}

impl<T: Real> Rows<T> {
    fn new(len: usize) -> Self {
        let rows = rows_at_once(len, BLOCK);
        Self { len, max: Scratch::filled(rows, T::of(0.0)), sum: Scratch::filled(rows, 0.0) }
    }

    fn exp(&mut self, x: &[T], e: &mut [T]) {
        exp_rows(x, self.len, e, &mut self.max, &mut self.sum);
    }
}

/// What makes a result of `(x, e, len, max, sum)`, where `e = exp(x - max)` becomes that result.
type Finish<T> = fn(&[T], &mut [T], usize, &[T], &[f64]);

/// `finish` for blocks of rows along the last dimension.
fn rows_with_sums<T: Real + Element>(x: View, finish: Finish<T>) -> Buffer {
    let len = x.shape().last().copied().unwrap_or(1);
    let mut y = Buffer::unspecified(T::DTYPE, x.len());
    let x = Dense::<T>::new(x);
    let x = x.as_slice();
    for_parts(y.as_mut_slice::<T>(), rows_at_once(len, GRAIN / COST) * len, &|start, y| {
        let mut rows = Rows::new(len);
        let together = rows.max.len() * len;
        for (i, y) in y.chunks_mut(together).enumerate() {
            let x = &x[start + i * together..][..y.len()];
            rows.exp(x, y);
            finish(x, y, len, &rows.max, &rows.sum);
        }
    });
    y
}

/// `f(a, b, y, len)` for blocks of rows, `len` long.
fn rows_of_two<T: Real + Element>(a: View, b: View, f: fn(&[T], &[T], &mut [T], usize)) -> Buffer {
    let len = a.shape().last().copied().unwrap_or(1);
    let mut y = Buffer::unspecified(T::DTYPE, a.len());
    let (a, b) = (Dense::<T>::new(a), Dense::<T>::new(b));
    let (a, b) = (a.as_slice(), b.as_slice());
    for_parts(y.as_mut_slice::<T>(), rows_at_once(len, GRAIN / COST) * len, &|start, y| {
        let block = rows_at_once(len, BLOCK) * len;
        for (i, y) in y.chunks_mut(block).enumerate() {
            let from = start + i * block;
            f(&a[from..][..y.len()], &b[from..][..y.len()], y, len);
        }
    });
    y
}
