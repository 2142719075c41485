//! The hyperbolic functions and their inverses.

use std::f32::consts::LN_2;

use super::super::simd::mul_add;
use super::{exp_parts, log1p, polynomial, power_of_two, within};

/// The hyperbolic tangent within 5 ulp, as a quotient of polynomials up to where it rounds to 1.
#[inline(always)]
pub fn tanh<const FMA: bool>(x: f32) -> f32 {
    let x = within(x, -9.02, 9.02);
    let z = x * x;
    let p =
        polynomial::<FMA, 6>([-1.220_352_6e-11, 3.058_511e-8, 2.800_749_8e-5, 3.868_329_8e-3, 1.367_991_7e-1, 1.0], z);
    let q = polynomial::<FMA, 5>([1.287_369_3e-6, 3.938_634_8e-4, 2.724_584_6e-2, 4.701_325e-1, 1.0], z);
    within(x * p / q, -1.0, 1.0)
}

/// `e^x / 2` for an `x` that is not negative; overflows where the result does, and not where `e^x` would.
#[inline(always)]
fn half_exp<const FMA: bool>(x: f32) -> f32 {
    let (n, q) = exp_parts::<FMA>(if x > 90.0 { 90.0 } else { x });
    let half = n >> 1;
    (q + 1.0) * power_of_two(half) * power_of_two(n.wrapping_sub(half).wrapping_sub(1))
}

/// The hyperbolic sine within 3 ulp.
#[inline(always)]
pub fn sinh<const FMA: bool>(x: f32) -> f32 {
    let z = x * x;
    let near = polynomial::<FMA, 4>([2.817_439_7e-6, 1.983_606_6e-4, 8.333_35e-3, 1.666_666_7e-1], z);
    let near = mul_add::<FMA, _>(x * z, near, x);
    let e = half_exp::<FMA>(x.abs());
    if x.abs() < 1.0 { near } else { (e - 0.25 / e).copysign(x) }
}

/// The hyperbolic cosine within 3 ulp.
#[inline(always)]
pub fn cosh<const FMA: bool>(x: f32) -> f32 {
    let e = half_exp::<FMA>(x.abs());
    e + 0.25 / e
}

/// Beyond this, squares overflow or adding 1 to them means nothing.
const LARGE: f32 = 1e9;

/// The inverse of [`sinh`] within 3 ulp, by `log(1 + x + x² / (1 + sqrt(1 + x²)))`.
#[inline(always)]
pub fn asinh<const FMA: bool>(x: f32) -> f32 {
    let a = x.abs();
    let z = a * a;
    (log1p_doubled::<FMA>(a, a + z / (1.0 + (1.0 + z).sqrt()))).copysign(x)
}

/// The inverse of [`cosh`] within 3 ulp, by `log(1 + t + sqrt(t (t + 2)))` for `t = x - 1`.
#[inline(always)]
pub fn acosh<const FMA: bool>(x: f32) -> f32 {
    let t = x - 1.0;
    let y = log1p_doubled::<FMA>(x, t + (t * (t + 2.0)).sqrt());
    if x < 1.0 { f32::NAN } else { y }
}

/// `log(1 + near)`, or `log(2 a)` where `a` is large.
#[inline(always)]
fn log1p_doubled<const FMA: bool>(a: f32, near: f32) -> f32 {
    let large = a > LARGE;
    log1p::<FMA>(if large { a } else { near }) + if large { LN_2 } else { 0.0 }
}

/// The inverse of [`tanh`] within 3 ulp, by `log(1 + 2x / (1 - x)) / 2`.
#[inline(always)]
pub fn atanh<const FMA: bool>(x: f32) -> f32 {
    let a = x.abs();
    (0.5 * log1p::<FMA>(2.0 * a / (1.0 - a))).copysign(x)
}
