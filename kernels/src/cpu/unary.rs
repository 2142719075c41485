//! Functions of one element: the table, and the loop that runs a row of it.

use super::math;
use super::read::{Reader, map1};
use super::threads::chunk_len;
use crate::backend::Unary;
use crate::pointwise::{SELU_ALPHA, SELU_SCALE};
use crate::{Buffer, DType, Element, Error, Result, View, with_element};

/// A row's body. `FMA` is for functions of [`math`].
trait Body: Copy + Sync {
    /// What takes over beyond [`math::FAR`], where the row says so.
    const BEYOND: Option<fn(f32) -> f32> = None;

    fn at<const FMA: bool>(self, x: f32) -> f32;
}

crate::simd! {
    fn run<F>(f: F, x: &[f32], y: &mut [f32]) where [F: Body] {
        for (y, &x) in y.iter_mut().zip(x) {
            *y = f.at::<FMA>(x);
        }
        if let Some(beyond) = F::BEYOND && x.iter().fold(false, |any, x| any | (x.abs() > math::FAR)) {
            x.iter().zip(y).filter(|(x, _)| x.abs() > math::FAR).for_each(|(&x, y)| *y = beyond(x));
        }
    }
}

/// Writes a function of the first slice's elements to the second.
type Loop<'a> = &'a (dyn Fn(&[f32], &mut [f32]) + Sync);

/// What those of [`math::wide`] cost, whichever they are: little more than reading and writing.
const WIDE_COST: usize = 2;

/// Each row: the function, how many times a negation it costs, its value for `f32`, and what is called for large arguments.
macro_rules! table {
    ($($Op:ident $(($($p:ident),+))?: $cost:literal => |$x:ident| $value:expr $(, beyond $beyond:expr)?;)*) => {
        /// Calls `f` with a function's cost and its loop over contiguous elements.
        pub(super) fn with_row(op: Unary, f: &mut dyn FnMut(usize, Loop)) -> Result<()> {
            match op {
                $(Unary::$Op $(($($p),+))? => {
                    #[derive(Clone, Copy)]
                    struct Row { $($($p: f32),+)? }
                    impl Body for Row {
                        $(const BEYOND: Option<fn(f32) -> f32> = Some($beyond);)?
                        #[inline(always)]
                        fn at<const FMA: bool>(self, $x: f32) -> f32 {
                            $(let Row { $($p),+ } = self;)?
                            $value
                        }
                    }
                    let row = Row { $($($p: $p as f32),+)? };
                    match math::wide::of(op) {
                        Some(wide) => f(WIDE_COST, &wide),
                        None => f($cost, &|x, y| run(row, x, y)),
                    }
                    Ok(())
                })*
                // Reached by a function that has no row yet; a test names it.
                #[allow(unreachable_patterns)]
                _ => Err(Error::NoKernel { op: op.name(), backend: "cpu", table: "kernels/src/cpu/unary.rs" }),
            }
        }
    };
}

table! {
    Neg: 1 => |x| -x;
    Abs: 1 => |x| x.abs();
    Sign: 1 => |x| if x > 0.0 { 1.0 } else if x < 0.0 { -1.0 } else { x * 0.0 };
    Square: 1 => |x| x * x;
    Sqrt: 2 => |x| x.sqrt();
    Rsqrt: 3 => |x| 1.0 / x.sqrt();
    Recip: 2 => |x| 1.0 / x;
    Exp: 4 => |x| math::exp::<FMA>(x);
    Expm1: 4 => |x| math::expm1::<FMA>(x);
    Log: 4 => |x| math::log::<FMA>(x);
    Log2: 4 => |x| math::log2::<FMA>(x);
    Log10: 4 => |x| math::log10::<FMA>(x);
    Log1p: 6 => |x| math::log1p::<FMA>(x);
    Sin: 6 => |x| math::sin::<FMA>(x), beyond f32::sin;
    Cos: 6 => |x| math::cos::<FMA>(x), beyond f32::cos;
    Tan: 7 => |x| math::tan::<FMA>(x), beyond f32::tan;
    Asin: 5 => |x| math::asin::<FMA>(x);
    Acos: 5 => |x| math::acos::<FMA>(x);
    Atan: 6 => |x| math::atan::<FMA>(x);
    Sinh: 7 => |x| math::sinh::<FMA>(x);
    Cosh: 6 => |x| math::cosh::<FMA>(x);
    Tanh: 4 => |x| math::tanh::<FMA>(x);
    Asinh: 10 => |x| math::asinh::<FMA>(x);
    Acosh: 10 => |x| math::acosh::<FMA>(x);
    Atanh: 8 => |x| math::atanh::<FMA>(x);
    Erf: 4 => |x| math::erf::<FMA>(x);
    Floor: 1 => |x| x.floor();
    Ceil: 1 => |x| x.ceil();
    Round: 1 => |x| x.round_ties_even();
    Trunc: 1 => |x| x.trunc();
    Relu: 1 => |x| if x < 0.0 { 0.0 } else { x };
    Relu6: 1 => |x| math::within(x, 0.0, 6.0);
    LeakyRelu(slope): 1 => |x| if x > 0.0 { x } else { slope * x };
    Elu(alpha): 5 => |x| if x > 0.0 { x } else { alpha * math::expm1::<FMA>(x) };
    Selu: 5 => |x| {
        const SCALE: f32 = SELU_SCALE as f32;
        const BELOW: f32 = (SELU_SCALE * SELU_ALPHA) as f32;
        if x > 0.0 { SCALE * x } else { BELOW * math::expm1::<FMA>(x) }
    };
    Celu(alpha): 5 => |x| if x > 0.0 { x } else { alpha * math::expm1::<FMA>(x / alpha) };
    Softplus: 8 => |x| math::softplus::<FMA>(x);
    Softsign: 2 => |x| x / (1.0 + x.abs());
    Sigmoid: 5 => |x| math::sigmoid::<FMA>(x);
    LogSigmoid: 8 => |x| -math::softplus::<FMA>(-x);
    HardSigmoid: 1 => |x| math::within(x / 6.0 + 0.5, 0.0, 1.0);
    HardTanh: 1 => |x| math::within(x, -1.0, 1.0);
    HardSwish: 1 => |x| x * math::within(x / 6.0 + 0.5, 0.0, 1.0);
    Silu: 5 => |x| math::silu::<FMA>(x);
    Gelu: 6 => |x| math::gelu::<FMA>(x);
    GeluTanh: 8 => |x| math::gelu_tanh::<FMA>(x);
    Mish: 5 => |x| math::mish::<FMA>(x);
    Clamp(low, high): 1 => |x| math::within(x, low, high);
    Powf(exponent): 20 => |x| math::pow::<FMA>(x, exponent);
}

/// `op` of every element. `f16` and `bf16` are not meant to come here: see [`widen`](super::widen).
pub fn unary(op: Unary, x: View) -> Result<Buffer> {
    let dtype = x.dtype();
    let mut y = Buffer::unspecified(dtype, x.len());
    let chunk = chunk_len(x.len(), 20);
    match dtype {
        DType::F32 => {
            let (x, y) = (Reader::new(x), y.as_mut_slice());
            with_row(op, &mut |cost, run| map1(&x, y, chunk_len(y.len(), cost), run))?;
        }
        // Double precision is for checking gradients, so the specification itself serves as its kernel.
        DType::F64 => map1(&Reader::new(x), y.as_mut_slice::<f64>(), chunk, &|x, y| {
            y.iter_mut().zip(x).for_each(|(y, &x)| *y = op.reference(x));
        }),
        _ if dtype.is_int() && op.reference_int(0).is_some() => with_element!(dtype, T => {
            map1(&Reader::<T>::new(x), y.as_mut_slice::<T>(), chunk, &|x, y| {
                let whole = |x: T| op.reference_int(x.to_scalar().as_i64()).unwrap_or(0);
                y.iter_mut().zip(x).for_each(|(y, &x)| *y = T::wrap(whole(x)));
            });
        }),
        _ => return Err(Error::DType { op: op.name(), dtype, hint: "cast to f32 first" }),
    }
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
        let missing = Unary::ALL.iter().filter_map(|&op| unary(op, View::new(&x, &layout)).err());
        let missing: Vec<String> = missing.map(|error| error.to_string()).collect();
        assert!(missing.is_empty(), "{}", missing.join("\n"));
    }
}
