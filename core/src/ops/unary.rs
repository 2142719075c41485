//! Functions of one number: a row has the method, the function, what its gradient rule reads, and the rule.
//!
//! `x` stands for the input, `y` for the result, `dy` for its gradient; the rule's value is `dx`. A rule names what it
//! reads, and only that is kept: `_` keeps nothing. `zero` marks functions that are constant between jumps.

use std::f64::consts::{FRAC_2_SQRT_PI, LN_2, LN_10, PI};

use gradus_kernels::Unary;
use gradus_kernels::pointwise::{SELU_ALPHA, SELU_SCALE};

use crate::grad::{Grads, Op, Saved, Saves, apply, is_recording};
use crate::{DType, Error, Result, Tensor};

macro_rules! unary {
    ($($(#[$doc:meta])* $name:ident $(($($p:ident),+))? = $Op:ident, $saves:tt $rule:tt;)*) => {
        impl Tensor {
            $($(#[$doc])* pub fn $name(&self $($(, $p: f64)+)?) -> Result<Tensor> {
                pointwise(self, Unary::$Op $(($($p),+))?)
            })*
        }

        /// What the rule of `f` reads; `None` where the table has no row.
        fn saves(f: Unary) -> Option<Saves> {
            match f {
                $(unary!(@pattern $Op $(($($p),+))?) => Some(unary!(@saves $saves)),)*
                _ => None,
            }
        }

        /// `dx` for `f`; `None` where the table has no row.
        #[allow(unused_variables, reason = "a rule need not use every parameter of its function")]
        fn rule(f: Unary, saved: &Saved<'_>, dy: &Tensor) -> Option<Result<Tensor>> {
            match f {
                $(Unary::$Op $(($($p),+))? => Some(unary!(@rule $saves saved dy $rule)),)*
                _ => None,
            }
        }
    };
    (@pattern $Op:ident) => { Unary::$Op };
    (@pattern $Op:ident ($($p:ident),+)) => { Unary::$Op(..) };
    (@saves x) => { Saves::INPUTS };
    (@saves y) => { Saves::OUTPUT };
    (@saves _) => { Saves::NOTHING };
    (@saves zero) => { Saves::NOTHING };
    (@rule x $saved:ident $dy:ident (|$x:ident, $g:ident| $dx:expr)) => { $saved.inputs().and_then(|[$x]| { let $g = $dy; Ok($dx) }) };
    (@rule y $saved:ident $dy:ident (|$y:ident, $g:ident| $dx:expr)) => { $saved.output().and_then(|$y| { let $g = $dy; Ok($dx) }) };
    (@rule _ $saved:ident $dy:ident (|$g:ident| $dx:expr)) => { { let $g = $dy; Ok($dx) } };
    (@rule zero $saved:ident $dy:ident ()) => { $dy.zeros_like() };
}

unary! {
    /// `-x`.
    neg = Neg, _ (|dy| -dy);
    /// `|x|`.
    abs = Abs, x (|x, dy| dy * x.sign()?);
    /// -1, 0 or 1.
    sign = Sign, zero ();
    /// `x * x`.
    square = Square, x (|x, dy| dy * x * 2.0);
    /// The square root.
    sqrt = Sqrt, y (|y, dy| dy / y * 0.5);
    /// `1 / sqrt(x)`.
    rsqrt = Rsqrt, y (|y, dy| dy * (y * y * y) * -0.5);
    /// `1 / x`.
    recip = Recip, y (|y, dy| -(dy * y * y));
    /// `e^x`.
    exp = Exp, y (|y, dy| dy * y);
    /// `e^x - 1`, accurate near 0.
    expm1 = Expm1, y (|y, dy| dy * (y + 1.0));
    /// The natural logarithm.
    log = Log, x (|x, dy| dy / x);
    /// The logarithm to base 2.
    log2 = Log2, x (|x, dy| dy / (x * LN_2));
    /// The logarithm to base 10.
    log10 = Log10, x (|x, dy| dy / (x * LN_10));
    /// `log(1 + x)`, accurate near 0.
    log1p = Log1p, x (|x, dy| dy / (x + 1.0));
    /// The sine of an angle in radians.
    sin = Sin, x (|x, dy| dy * x.cos()?);
    /// The cosine of an angle in radians.
    cos = Cos, x (|x, dy| -(dy * x.sin()?));
    /// The tangent of an angle in radians.
    tan = Tan, y (|y, dy| dy * (y * y + 1.0));
    /// The angle whose sine is `x`.
    asin = Asin, x (|x, dy| dy * (1.0 - x * x).rsqrt()?);
    /// The angle whose cosine is `x`.
    acos = Acos, x (|x, dy| -(dy * (1.0 - x * x).rsqrt()?));
    /// The angle whose tangent is `x`.
    atan = Atan, x (|x, dy| dy / (x * x + 1.0));
    /// The hyperbolic sine.
    sinh = Sinh, x (|x, dy| dy * x.cosh()?);
    /// The hyperbolic cosine.
    cosh = Cosh, x (|x, dy| dy * x.sinh()?);
    /// The hyperbolic tangent.
    tanh = Tanh, y (|y, dy| dy * (1.0 - y * y));
    /// The inverse of `sinh`.
    asinh = Asinh, x (|x, dy| dy * (x * x + 1.0).rsqrt()?);
    /// The inverse of `cosh`.
    acosh = Acosh, x (|x, dy| dy * (x * x - 1.0).rsqrt()?);
    /// The inverse of `tanh`.
    atanh = Atanh, x (|x, dy| dy / (1.0 - x * x));
    /// The error function.
    erf = Erf, x (|x, dy| dy * (-(x * x)).exp()? * FRAC_2_SQRT_PI);
    /// The largest whole number not above `x`.
    floor = Floor, zero ();
    /// The smallest whole number not below `x`.
    ceil = Ceil, zero ();
    /// The nearest whole number, halves to even.
    round = Round, zero ();
    /// The whole part.
    trunc = Trunc, zero ();
    /// `max(x, 0)`; the gradient at 0 is 0.
    relu = Relu, y (|y, dy| dy.masked(&y.gt_scalar(0.0)?)?);
    /// `min(max(x, 0), 6)`.
    relu6 = Relu6, y (|y, dy| dy.masked(&y.gt_scalar(0.0)?)?.masked(&y.lt_scalar(6.0)?)?);
    /// `x` above 0, `slope * x` elsewhere; the gradient at 0 is `slope`.
    leaky_relu(slope) = LeakyRelu, x (|x, dy| dy.select(&x.gt_scalar(0.0)?, &(dy * slope))?);
    /// `x` above 0, `alpha * (e^x - 1)` elsewhere.
    elu(alpha) = Elu, x (|x, dy| dy.select(&x.gt_scalar(0.0)?, &(dy * x.clamp(f64::MIN, 0.0)?.exp()? * alpha))?);
    /// ELU with the constants that keep the variance.
    selu = Selu, y (|y, dy| (dy * SELU_SCALE).select(&y.gt_scalar(0.0)?, &(dy * (y + SELU_SCALE * SELU_ALPHA)))?);
    /// `max(x, 0) + min(alpha * (e^(x / alpha) - 1), 0)`.
    celu(alpha) = Celu, x (|x, dy| dy.select(&x.gt_scalar(0.0)?, &(dy * (x.clamp(f64::MIN, 0.0)? / alpha).exp()?))?);
    /// `log(1 + e^x)`.
    softplus = Softplus, x (|x, dy| dy * x.sigmoid()?);
    /// `x / (1 + |x|)`.
    softsign = Softsign, x (|x, dy| dy / (x.abs()? + 1.0).square()?);
    /// `1 / (1 + e^-x)`.
    sigmoid = Sigmoid, y (|y, dy| dy * (y * (1.0 - y)));
    /// `log(sigmoid(x))`.
    log_sigmoid = LogSigmoid, x (|x, dy| dy * (-x).sigmoid()?);
    /// `min(max(x / 6 + 1/2, 0), 1)`.
    hard_sigmoid = HardSigmoid, x (|x, dy| dy.masked(&x.between(-3.0, 3.0)?)? / 6.0);
    /// `min(max(x, -1), 1)`.
    hard_tanh = HardTanh, x (|x, dy| dy.masked(&x.between(-1.0, 1.0)?)?);
    /// `x * hard_sigmoid(x)`.
    hard_swish = HardSwish, x (|x, dy| dy * (x.hard_sigmoid()? + (x / 6.0).masked(&x.between(-3.0, 3.0)?)?));
    /// `x * sigmoid(x)`, also called swish.
    silu = Silu, x (|x, dy| { let s = x.sigmoid()?; dy * (&s * (x * (1.0 - &s) + 1.0)) });
    /// `x * Phi(x)` with the normal distribution function `Phi`.
    gelu = Gelu, x (|x, dy| {
        let density = (x * x * -0.5).exp()? * (0.5 / PI).sqrt();
        let share = ((x * 0.5f64.sqrt()).erf()? + 1.0) * 0.5;
        dy * (share + x * density)
    });
    /// GELU by its `tanh` approximation.
    gelu_tanh = GeluTanh, x (|x, dy| {
        let c = 2.0 * (2.0 / PI).sqrt();
        let s = ((x + x * x * x * 0.044715) * c).sigmoid()?;
        dy * (&s + x * &s * (1.0 - &s) * ((x * x * (3.0 * 0.044715) + 1.0) * c))
    });
    /// `x * tanh(softplus(x))`.
    mish = Mish, x (|x, dy| {
        let t = x.softplus()?.tanh()?;
        dy * (&t + x * x.sigmoid()? * (1.0 - &t * &t))
    });
    /// `min(max(x, low), high)`; the gradient is 0 outside.
    clamp(low, high) = Clamp, x (|x, dy| dy.masked(&x.between(low, high)?)?);
    /// `x^exponent` for a constant exponent.
    powf(exponent) = Powf, x (|x, dy| dy * (x.powf(exponent - 1.0)? * exponent));
}

/// Applies `f` to every element.
pub fn pointwise(x: &Tensor, f: Unary) -> Result<Tensor> {
    apply(Pointwise(f), &[x])
}

/// Whether the slope of `f` follows from its value, so that [`through`] knows its gradient.
pub(super) fn tells_slope(f: Unary) -> bool {
    f.slope_at(0.0).is_some()
}

/// Whether the gradient of `f` follows from its value alone, so that [`back`] knows it.
pub(super) fn reads_result(f: Unary) -> bool {
    tells_slope(f) || saves(f) == Some(Saves::OUTPUT)
}

/// The gradient `dx` through `f`, of which the result was kept.
pub(super) fn back(f: Unary, saved: &Saved<'_>, dy: &Tensor) -> Result<Tensor> {
    if tells_slope(f) { Ok(through(f, saved, dy)?.0) } else { gradient(f, saved, dy) }
}

/// The gradient `dx` through `f`, of which the result was kept; and, where a kernel sums it on the way, its sum over all
/// dimensions but the last.
///
/// The kernel does it in one pass. Plain operations are for gradients that will be differentiated themselves.
pub(super) fn through(f: Unary, saved: &Saved<'_>, dy: &Tensor) -> Result<(Tensor, Option<Tensor>)> {
    let y = saved.output()?;
    if !is_recording() {
        let (dx, sums) = y.backend().activation_grad(f, y.view(), dy.view())?;
        let row = &y.shape()[y.rank().saturating_sub(1)..];
        return Ok((y.computed(dx, y.shape())?, Some(y.computed(sums, row)?)));
    }
    let dx = match f {
        // The table's rules of these read `x`, since a negative parameter hides its sign.
        Unary::LeakyRelu(slope) => dy.select(&y.gt_scalar(0.0)?, &(dy * slope))?,
        Unary::Elu(alpha) => dy.select(&y.gt_scalar(0.0)?, &(dy * (y + alpha)))?,
        _ => gradient(f, saved, dy)?,
    };
    Ok((dx, None))
}

/// `dx` by the table.
fn gradient(f: Unary, saved: &Saved<'_>, dy: &Tensor) -> Result<Tensor> {
    rule(f, saved, dy).unwrap_or_else(|| {
        let name = f.name();
        Err(Error::Gradient(format!("{name} has no gradient: core/src/ops/unary.rs has no row for it")))
    })
}

/// `y` put through what comes after an op that could not take it in.
pub(super) fn finished(y: Tensor, after: Option<Unary>) -> Result<Tensor> {
    match after {
        None => Ok(y),
        Some(f) => pointwise(&y, f),
    }
}

/// Whether the table has a gradient rule for `f`.
pub fn has_gradient(f: Unary) -> bool {
    saves(f).is_some()
}

#[derive(Debug)]
struct Pointwise(Unary);

impl Op for Pointwise {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn saves(&self) -> Saves {
        if tells_slope(self.0) { Saves::OUTPUT } else { saves(self.0).unwrap_or(Saves::NOTHING) }
    }

    fn forward(&self, inputs: &[&Tensor]) -> Result<Tensor> {
        let [x] = inputs else { unreachable!("`pointwise` passes one input") };
        if x.dtype() == DType::Bool {
            let what = "not defined for truth values; convert them with to_dtype first";
            return Err(Error::dtype(self.name(), what));
        }
        x.computed(x.backend().unary(self.0, x.view())?, x.shape())
    }

    fn backward(&self, saved: &Saved<'_>, dy: &Tensor, grads: &mut Grads<'_>) -> Result<()> {
        grads.wrt(0, || back(self.0, saved, dy))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pointwise_function_has_a_gradient_row() {
        for &f in Unary::ALL {
            assert!(has_gradient(f), "{} has no row in core/src/ops/unary.rs: add one with its gradient", f.name());
        }
    }

    #[test]
    fn only_what_a_rule_reads_is_kept() {
        assert_eq!(saves(Unary::Exp), Some(Saves::OUTPUT));
        assert_eq!(saves(Unary::Neg), Some(Saves::NOTHING));
        assert_eq!(saves(Unary::Clamp(0.0, 1.0)), Some(Saves::INPUTS));
    }
}
