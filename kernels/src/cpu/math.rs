//! Elementary functions in plain arithmetic, without branches and calls, so that loops over them vectorise.
//!
//! Each is written as: reduce the argument to a short interval, evaluate a polynomial there, put the parts together;
//! special values come from selections at the end. `FMA` says whether [`mul_add`](mul_add()) is one instruction; the bounds hold for
//! both, and the tests check them over the whole range of `f32`. One ulp is the distance to the next number. Polynomials
//! and quotients of polynomials without another source are minimax fits computed for these files, in double precision by
//! Lawson's algorithm.

mod angle;
mod hyperbolic;
mod normal;
mod power;
#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
pub mod wide;
#[cfg(not(target_arch = "x86_64"))]
pub mod wide {
    //! No instruction set of this architecture has wider forms of functions.

    /// Writes a function of the first slice's elements to the second.
    type Loop = fn(&[f32], &mut [f32]);

    /// No function.
    pub fn of(_: crate::Unary) -> Option<Loop> {
        None
    }
    /// Nothing.
    pub fn exp_row(_: &[f32], _: f32, _: &mut [f32]) -> Option<f64> {
        None
    }
}

pub use angle::{FAR, acos, asin, atan, atan2, cos, sin, tan};
pub use hyperbolic::{acosh, asinh, atanh, cosh, sinh, tanh};
pub use normal::{erf, gelu, gelu_tanh};
pub use power::pow;

use std::ops::{Add, Div, Mul, Neg, Sub};

use bytemuck::Pod;

use super::simd::{MulAdd, mul_add};

/// Numbers that fused kernels compute with.
pub trait Real:
    MulAdd
    + PartialOrd
    + Pod
    + Send
    + Sync
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
{
    /// The number nearest to `x`.
    fn of(x: f64) -> Self;
    /// The number in double precision.
    fn wide(self) -> f64;
    /// `e^x`.
    fn exp<const FMA: bool>(self) -> Self;
    /// `e^x` for an `x` that is not positive.
    fn exp_below<const FMA: bool>(self) -> Self;
    /// `e = exp(x - max)` for `x` up to `max`, and the sum of `e`, where the instruction set has a faster way than the function.
    fn exp_row(_x: &[Self], _max: Self, _e: &mut [Self]) -> Option<f64> {
        None
    }
    /// `log(1 + e^x)`.
    fn softplus<const FMA: bool>(self) -> Self;
    /// The square root.
    fn root(self) -> Self;
    /// `self^exponent`.
    fn power<const FMA: bool>(self, exponent: Self) -> Self;
    /// The angle of the point `(x, self)`.
    fn angle<const FMA: bool>(self, x: Self) -> Self;
}

/// The sum of `f` of every element: `LANES` sums side by side, which hide the time that an addition takes, put together in
/// a fixed order.
#[inline(always)]
pub fn total<const LANES: usize, T: Copy>(x: &[T], f: impl Fn(T) -> f64) -> f64 {
    let mut partial = [0.0; LANES];
    let (blocks, rest) = x.as_chunks::<LANES>();
    for block in blocks {
        for (partial, &x) in partial.iter_mut().zip(block) {
            *partial += f(x);
        }
    }
    rest.iter().map(|&x| f(x)).sum::<f64>() + partial.iter().sum::<f64>()
}

/// [`total`] of pairs.
#[inline(always)]
pub fn total_of_two<const LANES: usize, T: Copy>(x: &[T], y: &[T], f: impl Fn(T, T) -> f64) -> f64 {
    let mut partial = [0.0; LANES];
    let ((x, x_rest), (y, y_rest)) = (x.as_chunks::<LANES>(), y.as_chunks::<LANES>());
    for (x, y) in x.iter().zip(y) {
        for ((partial, &x), &y) in partial.iter_mut().zip(x).zip(y) {
            *partial += f(x, y);
        }
    }
    x_rest.iter().zip(y_rest).map(|(&x, &y)| f(x, y)).sum::<f64>() + partial.iter().sum::<f64>()
}

impl Real for f32 {
    #[inline(always)]
    fn of(x: f64) -> Self {
        x as f32
    }
    #[inline(always)]
    fn wide(self) -> f64 {
        f64::from(self)
    }
    #[inline(always)]
    fn exp<const FMA: bool>(self) -> Self {
        exp::<FMA>(self)
    }
    #[inline(always)]
    fn exp_below<const FMA: bool>(self) -> Self {
        exp_below::<FMA>(self)
    }
    #[inline(always)]
    fn exp_row(x: &[Self], max: Self, e: &mut [Self]) -> Option<f64> {
        wide::exp_row(x, max, e)
    }
    #[inline(always)]
    fn softplus<const FMA: bool>(self) -> Self {
        softplus::<FMA>(self)
    }
    #[inline(always)]
    fn root(self) -> Self {
        self.sqrt()
    }
    #[inline(always)]
    fn power<const FMA: bool>(self, exponent: Self) -> Self {
        pow::<FMA>(self, exponent)
    }
    #[inline(always)]
    fn angle<const FMA: bool>(self, x: Self) -> Self {
        atan2::<FMA>(self, x)
    }
}

impl Real for f64 {
    #[inline(always)]
    fn of(x: f64) -> Self {
        x
    }
    #[inline(always)]
    fn wide(self) -> f64 {
        self
    }
    #[inline(always)]
    fn exp<const FMA: bool>(self) -> Self {
        self.exp()
    }
    #[inline(always)]
    fn exp_below<const FMA: bool>(self) -> Self {
        self.exp()
    }
    #[inline(always)]
    fn softplus<const FMA: bool>(self) -> Self {
        self.max(0.0) + (-self.abs()).exp().ln_1p()
    }
    #[inline(always)]
    fn root(self) -> Self {
        self.sqrt()
    }
    #[inline(always)]
    fn power<const FMA: bool>(self, exponent: Self) -> Self {
        self.powf(exponent)
    }
    #[inline(always)]
    fn angle<const FMA: bool>(self, x: Self) -> Self {
        self.atan2(x)
    }
}

/// Adding and subtracting this rounds to a whole number, which then stands in the sum's lowest bits.
const ROUND: f32 = 12_582_912.0;
const ROUND_WIDE: f64 = 6_755_399_441_055_744.0;

/// `2^n` for `n` in `-126..=127`.
#[inline(always)]
fn power_of_two(n: i32) -> f32 {
    f32::from_bits((n.wrapping_add(127) << 23) as u32)
}

#[inline(always)]
fn polynomial<const FMA: bool, const N: usize>(coefficients: [f32; N], x: f32) -> f32 {
    let mut sum = coefficients[0];
    for &c in &coefficients[1..] {
        sum = mul_add::<FMA, _>(sum, x, c);
    }
    sum
}

#[inline(always)]
fn polynomial_wide<const FMA: bool, const N: usize>(coefficients: [f64; N], x: f64) -> f64 {
    let mut sum = coefficients[0];
    for &c in &coefficients[1..] {
        sum = mul_add::<FMA, _>(sum, x, c);
    }
    sum
}

/// What `a * b` is beyond its rounded value `product`.
#[inline(always)]
fn product_tail<const FMA: bool>(a: f32, b: f32, product: f32) -> f32 {
    if FMA { mul_add::<FMA, _>(a, b, -product) } else { (f64::from(a) * f64::from(b) - f64::from(product)) as f32 }
}

/// `(n, e^r - 1)` for `x = n ln 2 + r` with a whole `n` and the shortest `r`; the polynomial is that of Cephes' `expf`.
#[inline(always)]
fn exp_parts<const FMA: bool>(x: f32) -> (i32, f32) {
    let shifted = mul_add::<FMA, _>(x, std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    // ln 2 in two parts, the first short enough for exact products.
    let r = mul_add::<FMA, _>(n, -0.693_359_4, x);
    let r = mul_add::<FMA, _>(n, 2.121_944_4e-4, r);
    let p =
        polynomial::<FMA, 6>([1.987_569_1e-4, 1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5], r);
    let n = (shifted.to_bits() as i32).wrapping_sub(ROUND.to_bits() as i32);
    (n, mul_add::<FMA, _>(p, r * r, r))
}

/// `e^x` within 2 ulp, subnormal results included.
#[inline(always)]
pub fn exp<const FMA: bool>(x: f32) -> f32 {
    let x = within(x, -104.0, 89.0);
    let (n, q) = exp_parts::<FMA>(x);
    // 2^n may lie outside the normal numbers where the result does not, so it is multiplied in two parts.
    let half = n >> 1;
    (q + 1.0) * power_of_two(half) * power_of_two(n.wrapping_sub(half))
}

/// `e^x - 1` within 3 ulp.
#[inline(always)]
pub fn expm1<const FMA: bool>(x: f32) -> f32 {
    let x = within(x, -104.0, 89.0);
    let (n, q) = exp_parts::<FMA>(x);
    // 2^n q + 2^n - 1, divided by 2^b and multiplied again to stay clear of overflow.
    let a = n >> 1;
    let b = n.wrapping_sub(a);
    let scale = power_of_two(a);
    mul_add::<FMA, _>(q, scale, scale - power_of_two(b.wrapping_neg())) * power_of_two(b)
}

/// The natural logarithm within 2 ulp; the polynomial is that of Cephes' `logf`.
#[inline(always)]
pub fn log<const FMA: bool>(x: f32) -> f32 {
    let (e, f, tail) = log_parts::<FMA>(x);
    let y = mul_add::<FMA, _>(e, -2.121_944_4e-4, tail);
    let y = mul_add::<FMA, _>(e, 0.693_359_4, f + y);
    log_limits(x, y)
}

/// The logarithm to base 2 within 3 ulp.
#[inline(always)]
pub fn log2<const FMA: bool>(x: f32) -> f32 {
    let (e, f, tail) = log_parts::<FMA>(x);
    // log2(e) - 1, so that the largest product needs no rounding.
    const REST: f32 = 0.442_695_05;
    let y = mul_add::<FMA, _>(f, REST, tail * REST) + tail;
    log_limits(x, (y + f) + e)
}

/// The logarithm to base 10 within 3 ulp.
#[inline(always)]
pub fn log10<const FMA: bool>(x: f32) -> f32 {
    let (e, f, tail) = log_parts::<FMA>(x);
    let y = mul_add::<FMA, _>(e, 4.605_039e-6, (f + tail) * std::f32::consts::LOG10_E);
    // log10(2) in two parts, the first short enough for exact products.
    log_limits(x, mul_add::<FMA, _>(e, 0.301_025_4, y))
}

/// `(e, f, t)` with `x = 2^e (1 + f)`, `1 + f` between the roots of 1/2 and of 2, and `log(1 + f) = f + t`.
#[inline(always)]
fn log_parts<const FMA: bool>(x: f32) -> (f32, f32, f32) {
    let subnormal = x < f32::MIN_POSITIVE;
    let (e, f) = exponent(if subnormal { x * 8_388_608.0 } else { x });
    let (f, tail) = log_series::<FMA>(f);
    (e as f32 - if subnormal { 23.0 } else { 0.0 }, f, tail)
}

/// `(e, f)` with `x = 2^e (1 + f)` for a normal positive `x`.
#[inline(always)]
fn exponent(x: f32) -> (i32, f32) {
    let bits = x.to_bits() as i32;
    let e = bits.wrapping_sub(std::f32::consts::FRAC_1_SQRT_2.to_bits() as i32) >> 23;
    (e, f32::from_bits(bits.wrapping_sub(e << 23) as u32) - 1.0)
}

/// `(f, t)` with `log(1 + f) = f + t`.
#[inline(always)]
fn log_series<const FMA: bool>(f: f32) -> (f32, f32) {
    let p = polynomial::<FMA, 9>(
        [
            7.037_683_6e-2,
            -1.151_461e-1,
            1.167_699_9e-1,
            -1.242_014_1e-1,
            1.424_932_3e-1,
            -1.666_805_8e-1,
            2.000_071_5e-1,
            -2.499_999_4e-1,
            3.333_333e-1,
        ],
        f,
    );
    let square = f * f;
    (f, mul_add::<FMA, _>(square * f, p, -0.5 * square))
}

/// What every logarithm is where the argument is no positive finite number.
#[inline(always)]
fn log_limits(x: f32, y: f32) -> f32 {
    let y = if x < f32::INFINITY { y } else { x };
    let y = if x == 0.0 { f32::NEG_INFINITY } else { y };
    if x < 0.0 { f32::NAN } else { y }
}

/// `log(1 + x)` within 3 ulp.
#[inline(always)]
pub fn log1p<const FMA: bool>(x: f32) -> f32 {
    let y = log1p_finite::<FMA>(x);
    let y = if x < f32::INFINITY { y } else { x };
    let y = if x == -1.0 { f32::NEG_INFINITY } else { y };
    if x < -1.0 { f32::NAN } else { y }
}

/// [`log1p`] between -1 and infinity.
#[inline(always)]
fn log1p_finite<const FMA: bool>(x: f32) -> f32 {
    let u = 1.0 + x;
    // What rounding took from the sum belongs to the part of it that the series gets.
    let lost = x - (u - 1.0);
    let (e, f) = exponent(u);
    let (f, tail) = log_series::<FMA>(mul_add::<FMA, _>(lost, power_of_two(e.wrapping_neg().max(-127)), f));
    let e = e as f32;
    let y = mul_add::<FMA, _>(e, -2.121_944_4e-4, tail);
    mul_add::<FMA, _>(e, 0.693_359_4, f + y)
}

/// `e^x` within 2 ulp for an `x` that is not positive, where the result's exponent takes one step less to put in.
#[inline(always)]
fn exp_below<const FMA: bool>(x: f32) -> f32 {
    let (n, q) = exp_parts::<FMA>(if x < -104.0 { -104.0 } else { x });
    // Raised by 24 the exponent is that of a normal number, down to the smallest result.
    (q + 1.0) * power_of_two(n.wrapping_add(24)) * 5.960_464_5e-8
}

/// `1 / (1 + e^-x)` within 4 ulp.
#[inline(always)]
pub fn sigmoid<const FMA: bool>(x: f32) -> f32 {
    // The exponential of what is not positive cannot overflow, and loses nothing in the tails.
    let e = exp_below::<FMA>(-x.abs());
    (if x < 0.0 { e } else { 1.0 }) / (1.0 + e)
}

/// `log(1 + e^x)` within 4 ulp.
#[inline(always)]
pub fn softplus<const FMA: bool>(x: f32) -> f32 {
    let y = log1p_finite::<FMA>(exp_below::<FMA>(-x.abs()));
    (if x > 0.0 { x } else { 0.0 }) + y
}

/// `x * sigmoid(x)` within 5 ulp, or 1e-43 where the result is that small.
#[inline(always)]
pub fn silu<const FMA: bool>(x: f32) -> f32 {
    x * sigmoid::<FMA>(x)
}

/// `x * tanh(softplus(x))` within 5 ulp, or 1e-43 where the result is that small, by `tanh(log(1 + e)) = e (e + 2) / (e (e + 2) + 2)`.
#[inline(always)]
pub fn mish<const FMA: bool>(x: f32) -> f32 {
    let e = exp::<FMA>(within(x, -104.0, 20.0));
    let n = e * (e + 2.0);
    x * (n / (n + 2.0))
}

/// `min(max(x, low), high)`; NaN stays NaN.
#[inline(always)]
pub fn within(x: f32, low: f32, high: f32) -> f32 {
    let x = if x < low { low } else { x };
    if x > high { high } else { x }
}
