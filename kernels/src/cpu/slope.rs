//! Gradients through activations, told from the activations' values, together with those of the bias before them.

use smallvec::SmallVec;

use super::copy::Dense;
use super::fused::with_real;
use super::math::Real;
use super::threads::{Block, GRAIN, column_blocks, columns_of_few, for_chunks};
use crate::pointwise::{SELU_ALPHA, SELU_SCALE};
use crate::{Buffer, DType, Element, Error, Result, Unary, View};

/// `dx` from `y = f(x)` and `dy`.
trait Slope: Copy + Sync {
    fn through<T: Real>(self, y: T, dy: T) -> T;
}

crate::simd! {
    /// `dx` for some columns of rows that are `stride` apart in `y` and `dy`, and the sum of each.
    fn rows<F, T>(f: F, y: &[T], dy: &[T], stride: usize, dx: &mut Block<'_, T>, sums: &mut [f64]) where [F: Slope, T: Real] {
        for ((y, dy), dx) in y.chunks(stride).zip(dy.chunks(stride)).zip(dx.rows()) {
            for (((sum, dx), &y), &dy) in sums.iter_mut().zip(dx).zip(y).zip(dy) {
                *dx = f.through(y, dy);
                *sum += dx.wide();
            }
        }
    }
}

/// Each row: the function, and `dx`; the slopes are those of [`Unary::slope_at`].
macro_rules! table {
    ($($Op:ident $(($p:ident))?: |$y:ident, $dy:ident| $dx:expr;)*) => {
        fn typed<T: Real + Element>(op: Unary, y: &[T], dy: &[T], dx: &mut [T], width: usize) -> Result<Buffer> {
            match op {
                $(Unary::$Op $(($p))? => {
                    #[derive(Clone, Copy)]
                    struct Row { $($p: f64)? }
                    impl Slope for Row {
                        #[inline(always)]
                        fn through<T: Real>(self, $y: T, $dy: T) -> T {
                            $(let $p = T::of(self.$p);)?
                            $dx
                        }
                    }
                    let row = Row { $($p)? };
                    Ok(all(y, dy, dx, width, &|y, dy, dx, sums| rows(row, y, dy, width, dx, sums)))
                })*
                _ => Err(Error::NoKernel { op: op.name(), backend: "cpu", table: "kernels/src/cpu/slope.rs" }),
            }
        }
    };
}

table! {
    Relu: |y, dy| if y > T::of(0.0) { dy } else { T::of(0.0) };
    LeakyRelu(slope): |y, dy| if y > T::of(0.0) { dy } else { slope * dy };
    Elu(alpha): |y, dy| if y > T::of(0.0) { dy } else { (y + alpha) * dy };
    Selu: |y, dy| if y > T::of(0.0) { T::of(SELU_SCALE) * dy } else { (y + T::of(SELU_SCALE * SELU_ALPHA)) * dy };
    Sigmoid: |y, dy| dy * (y * (T::of(1.0) - y));
    Tanh: |y, dy| dy * (T::of(1.0) - y * y);
}

/// Writes `dx` from `y` and `dy`, and adds its sums.
type OnBlock<'a, T> = dyn Fn(&[T], &[T], &mut Block<'_, T>, &mut [f64]) + Sync + 'a;

/// Runs `f` over pieces of many rows, or some columns of few, which depend on the shape alone, and adds the pieces' sums in order.
fn all<T: Real>(y: &[T], dy: &[T], dx: &mut [T], width: usize, f: &OnBlock<'_, T>) -> Buffer {
    let piece = (2 * GRAIN / width).max(1) * width;
    let columns = if dx.len() > piece { width } else { columns_of_few(dx.len() / width, width) };
    let mut sums = Buffer::unspecified(DType::F64, width * dx.len().div_ceil(piece).max(1));
    let parts = sums.as_mut_slice::<f64>();
    parts.fill(0.0);
    let pieces = dx.chunks_mut(piece).zip(parts.chunks_mut(width)).enumerate();
    let mut tasks: SmallVec<[_; 4]> = pieces
        .flat_map(|(i, (dx, sums))| {
            let starts = (i * piece..).step_by(columns);
            starts.zip(column_blocks(dx, width, columns).zip(sums.chunks_mut(columns)))
        })
        .collect();
    for_chunks(&mut tasks, 1, &|_, tasks| {
        for (start, (dx, sums)) in tasks {
            f(&y[*start..], &dy[*start..], dx, sums);
        }
    });
    drop(tasks);
    let (total, rest) = parts.split_at_mut(width);
    for part in rest.chunks(width) {
        total.iter_mut().zip(part).for_each(|(total, part)| *total += part);
    }
    sums
}

/// `dx` from `y = op(x)` and `dy`, and its sum over all dimensions but the last.
pub fn activation_grad(op: Unary, y: View, dy: View) -> Result<(Buffer, Buffer)> {
    let width = y.shape().last().copied().unwrap_or(1);
    if y.is_empty() {
        return Ok((Buffer::unspecified(y.dtype(), 0), Buffer::full(y.dtype(), width, 0.0.into())));
    }
    with_real!("activation_grad", y.dtype(), T => {
        let mut dx = Buffer::unspecified(T::DTYPE, y.len());
        let [y, dy] = [y, dy].map(Dense::<T>::new);
        let sums = typed::<T>(op, y.as_slice(), dy.as_slice(), dx.as_mut_slice::<T>(), width)?;
        let mut db = Buffer::unspecified(T::DTYPE, width);
        db.as_mut_slice::<T>().iter_mut().zip(sums.as_slice::<f64>()).for_each(|(db, &sum)| *db = T::of(sum));
        Ok((dx, db))
    })
}
