//! Functions of two elements, comparisons and selection.

use super::copy::{with_word, words, words_mut};
use super::math::Real;
use super::read::{BLOCK, Reader, Stage, for_parts, map2};
use super::threads::chunk_len;
use crate::backend::{Binary, Compare};
use crate::{Bool, Buffer, DType, Element, Error, Result, View, with_element};

/// A row's body for the element type `T`. `FMA` is for functions of [`math`](super::math).
trait Body<T>: Copy + Sync {
    fn at<const FMA: bool>(self, a: T, b: T) -> T;
}

crate::simd! {
    fn run<F, T>(f: F, a: &[T], b: &[T], y: &mut [T]) where [F: Body<T>, T: Copy] {
        for ((y, &a), &b) in y.iter_mut().zip(a).zip(b) {
            *y = f.at::<FMA>(a, b);
        }
    }
    fn run_compare<T>(op: Compare, a: &[T], b: &[T], y: &mut [Bool]) where [T: Copy + PartialOrd] {
        // One loop for each comparison, since a choice inside the loop would keep it from being vectorised.
        match op {
            Compare::Eq => each(a, b, y, |a, b| a == b),
            Compare::Ne => each(a, b, y, |a, b| a != b),
            Compare::Lt => each(a, b, y, |a, b| a < b),
            Compare::Le => each(a, b, y, |a, b| a <= b),
            Compare::Gt => each(a, b, y, |a, b| a > b),
            Compare::Ge => each(a, b, y, |a, b| a >= b),
        }
    }
    fn run_select<T>(condition: &[Bool], a: &[T], b: &[T], y: &mut [T]) where [T: Copy] {
        for (((y, &a), &b), condition) in y.iter_mut().zip(a).zip(b).zip(condition) {
            *y = if condition.get() { a } else { b };
        }
    }
}

#[inline(always)]
fn each<T: Copy>(a: &[T], b: &[T], y: &mut [Bool], holds: impl Fn(T, T) -> bool) {
    for ((y, &a), &b) in y.iter_mut().zip(a).zip(b) {
        *y = Bool::from(holds(a, b));
    }
}

/// Each row: the function, how many times an addition it costs, and its value for `f32` and for `f64`.
macro_rules! table {
    ($($Op:ident: $cost:literal => |$a:ident, $b:ident| $value:expr;)*) => {
        table!(@for f32 single $($Op: $cost => |$a, $b| $value;)*);
        table!(@for f64 double $($Op: $cost => |$a, $b| $value;)*);
    };
    (@for $T:ident $name:ident $($Op:ident: $cost:literal => |$a:ident, $b:ident| $value:expr;)*) => {
        fn $name(op: Binary, a: &Reader<$T>, b: &Reader<$T>, y: &mut [$T]) -> Result<()> {
            match op {
                $(Binary::$Op => {
                    #[derive(Clone, Copy)]
                    struct Row;
                    impl Body<$T> for Row {
                        #[inline(always)]
                        fn at<const FMA: bool>(self, $a: $T, $b: $T) -> $T { $value }
                    }
                    map2(a, b, y, chunk_len(y.len(), $cost), &|a, b, y| run(Row, a, b, y));
                    Ok(())
                })*
                // A function that has no row yet; a test names it.
                #[allow(unreachable_patterns)]
                _ => Err(Error::NoKernel { op: op.name(), backend: "cpu", table: "kernels/src/cpu/binary.rs" }),
            }
        }
    };
}

table! {
    Add: 1 => |a, b| a + b;
    Sub: 1 => |a, b| a - b;
    Mul: 1 => |a, b| a * b;
    Div: 2 => |a, b| a / b;
    Pow: 20 => |a, b| a.power::<FMA>(b);
    Maximum: 1 => |a, b| if a.is_nan() || a > b { a } else { b };
    Minimum: 1 => |a, b| if a.is_nan() || a < b { a } else { b };
    Atan2: 8 => |a, b| a.angle::<FMA>(b);
    LogisticLoss: 8 => |a, b| logistic_loss::<FMA, _>(a, b);
    // In double precision, since the quotient's rounding would be multiplied by `b`.
    Remainder: 4 => |a, b| Real::of(Binary::Remainder.reference(a.wide(), b.wide()));
}

#[inline(always)]
fn logistic_loss<const FMA: bool, T: Real>(a: T, b: T) -> T {
    let (zero, one) = (T::of(0.0), T::of(1.0));
    let size = if a < zero { -a } else { a };
    size * (if a > zero { one - b } else { b }) + (-size).softplus::<FMA>()
}

/// `op` of every pair. `f16` and `bf16` are not meant to come here: see [`widen`](super::widen).
pub fn binary(op: Binary, a: View, b: View) -> Result<Buffer> {
    let dtype = a.dtype();
    let mut y = Buffer::unspecified(dtype, a.len());
    match dtype {
        DType::F32 => single(op, &Reader::new(a), &Reader::new(b), y.as_mut_slice())?,
        DType::F64 => double(op, &Reader::new(a), &Reader::new(b), y.as_mut_slice())?,
        _ if dtype.is_float() || op.reference_int(0, 0).is_none() => {
            return Err(Error::DType { op: op.name(), dtype, hint: "cast to f32 first" });
        }
        // Integers count and index; their arithmetic is never what a program waits for, so the specification serves.
        _ => with_element!(dtype, T => {
            let chunk = chunk_len(a.len(), 4);
            map2(&Reader::<T>::new(a), &Reader::<T>::new(b), y.as_mut_slice::<T>(), chunk, &|a, b, y| {
                for ((y, a), b) in y.iter_mut().zip(a).zip(b) {
                    let whole = op.reference_int(a.to_scalar().as_i64(), b.to_scalar().as_i64());
                    *y = T::wrap(whole.unwrap_or(0));
                }
            });
        }),
    }
    Ok(y)
}

/// Whether `op` holds for each pair.
pub fn compare(op: Compare, a: View, b: View) -> Result<Buffer> {
    let mut y = Buffer::unspecified(DType::Bool, a.len());
    with_element!(a.dtype(), T => {
        map2(&Reader::<T>::new(a), &Reader::<T>::new(b), y.as_mut_slice(), chunk_len(a.len(), 1), &|a, b, y| {
            run_compare(op, a, b, y);
        });
    });
    Ok(y)
}

/// `a` where the condition holds, else `b`.
pub fn select(condition: View, a: View, b: View) -> Result<Buffer> {
    let condition = Reader::<Bool>::new(condition);
    let mut y = Buffer::unspecified(a.dtype(), a.len());
    with_word!(a.dtype(), W => {
        let (chunk, a, b) = (chunk_len(a.len(), 1), words::<W>(a), words::<W>(b));
        for_parts(words_mut::<W>(&mut y), chunk, &|start, y| {
            let (mut stage, mut stage_a, mut stage_b) = (Stage::new(), Stage::new(), Stage::new());
            for (i, y) in y.chunks_mut(BLOCK).enumerate() {
                let (start, len) = (start + i * BLOCK, y.len());
                let condition = condition.read(start, len, &mut stage);
                run_select(condition, a.read(start, len, &mut stage_a), b.read(start, len, &mut stage_b), y);
            }
        });
    });
    Ok(y)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Layout;

    #[test]
    fn every_function_has_a_row() {
        let x = Buffer::from_slice(&[0.5f32]);
        let layout = Layout::contiguous(&[1]);
        let view = View::new(&x, &layout);
        let missing = Binary::ALL.iter().filter_map(|&op| binary(op, view, view).err());
        let missing: Vec<String> = missing.map(|error| error.to_string()).collect();
        assert!(missing.is_empty(), "{}", missing.join("\n"));
    }
}
