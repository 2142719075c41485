//! The trigonometric functions and their inverses.

use std::f32::consts::PI;

use super::super::simd::mul_add;
use super::{ROUND_WIDE, polynomial};

/// Up to this size [`sin`], [`cos`] and [`tan`] keep their bounds; what is larger belongs to the standard library.
pub const FAR: f32 = 1e6;

/// `(n, r)` with `x = n pi / 2 + r` and the shortest `r`, in the manner of Cody and Waite (1980): the constant stands in two
/// parts (those of FreeBSD's `e_rem_pio2.c`), the first so short that its product with `n` is exact up to [`FAR`].
#[inline(always)]
fn quarters<const FMA: bool>(x: f32) -> (i32, f32) {
    let x = f64::from(x);
    let shifted = mul_add::<FMA, _>(x, std::f64::consts::FRAC_2_PI, ROUND_WIDE);
    let n = shifted - ROUND_WIDE;
    let r = mul_add::<FMA, _>(n, -1.570_796_326_734_125_6, x);
    let r = mul_add::<FMA, _>(n, -6.077_100_506_506_192e-11, r);
    (shifted.to_bits() as i32, r as f32)
}

/// The sine and the cosine of an angle up to a quarter of pi.
#[inline(always)]
fn sin_cos<const FMA: bool>(r: f32) -> (f32, f32) {
    let z = r * r;
    let s = polynomial::<FMA, 3>([-1.951_408_4e-4, 8.332_155e-3, -1.666_665_5e-1], z);
    let c = polynomial::<FMA, 3>([2.443_484_5e-5, -1.388_733_7e-3, 4.166_664_6e-2], z);
    // The sum of -0 and what is left of it would be +0.
    (mul_add::<FMA, _>(r * z, s, r).copysign(r), mul_add::<FMA, _>(z * z, c, mul_add::<FMA, _>(z, -0.5, 1.0)))
}

/// The sine of an angle `n` quarter turns further on than `r`.
#[inline(always)]
fn turned<const FMA: bool>(n: i32, r: f32) -> f32 {
    let (s, c) = sin_cos::<FMA>(r);
    let y = if n & 1 == 0 { s } else { c };
    f32::from_bits(y.to_bits() ^ ((n as u32 & 2) << 30))
}

/// The sine within 2 ulp, for angles up to [`FAR`].
#[inline(always)]
pub fn sin<const FMA: bool>(x: f32) -> f32 {
    let (n, r) = quarters::<FMA>(x);
    turned::<FMA>(n, r)
}

/// The cosine within 2 ulp, for angles up to [`FAR`].
#[inline(always)]
pub fn cos<const FMA: bool>(x: f32) -> f32 {
    let (n, r) = quarters::<FMA>(x);
    turned::<FMA>(n.wrapping_add(1), r)
}

/// The tangent within 4 ulp, for angles up to [`FAR`].
#[inline(always)]
pub fn tan<const FMA: bool>(x: f32) -> f32 {
    let (n, r) = quarters::<FMA>(x);
    let (s, c) = sin_cos::<FMA>(r);
    let even = n & 1 == 0;
    (if even { s } else { -c }) / if even { c } else { s }
}

/// What a quarter turn is beyond its rounded value.
const QUARTER_TAIL: f32 = -4.371_139e-8;

/// `pi / 2 - y`.
#[inline(always)]
fn from_quarter(y: f32) -> f32 {
    PI / 2.0 - (y - QUARTER_TAIL)
}

/// `(asin(s), mirrored)` where `s` is `|x|`, or `sqrt((1 - |x|) / 2)` if that is shorter, with `asin |x| = pi / 2 - 2 asin(s)`.
#[inline(always)]
fn short_arc<const FMA: bool>(x: f32) -> (f32, bool) {
    let a = x.abs();
    let mirrored = a > 0.5;
    let z = if mirrored { 0.5 - 0.5 * a } else { a * a };
    let s = if mirrored { z.sqrt() } else { a };
    let p = polynomial::<FMA, 5>([4.221_854_7e-2, 2.414_761e-2, 4.547_71e-2, 7.495_242e-2, 1.666_675_4e-1], z);
    (mul_add::<FMA, _>(s * z, p, s), mirrored)
}

/// The inverse of the sine within 3 ulp.
#[inline(always)]
pub fn asin<const FMA: bool>(x: f32) -> f32 {
    let (p, mirrored) = short_arc::<FMA>(x);
    (if mirrored { from_quarter(2.0 * p) } else { p }).copysign(x)
}

/// The inverse of the cosine within 3 ulp.
#[inline(always)]
pub fn acos<const FMA: bool>(x: f32) -> f32 {
    let (p, mirrored) = short_arc::<FMA>(x);
    let far = if x < 0.0 { PI - (2.0 * p - 2.0 * QUARTER_TAIL) } else { 2.0 * p };
    if mirrored { far } else { from_quarter(p.copysign(x)) }
}

/// The inverse of the tangent, of an argument from 0 to 1.
#[inline(always)]
fn short_atan<const FMA: bool>(t: f32) -> f32 {
    let z = t * t;
    let p = polynomial::<FMA, 9>(
        [
            -1.827_184_7e-3,
            1.106_431_5e-2,
            -3.145_547e-2,
            5.823_432e-2,
            -8.419_446e-2,
            1.095_757_2e-1,
            -1.426_524_5e-1,
            1.999_863_8e-1,
            -3.333_33e-1,
        ],
        z,
    );
    mul_add::<FMA, _>(t * z, p, t)
}

/// The inverse of the tangent within 3 ulp.
#[inline(always)]
pub fn atan<const FMA: bool>(x: f32) -> f32 {
    let a = x.abs();
    let steep = a > 1.0;
    let p = short_atan::<FMA>(if steep { 1.0 / a } else { a });
    (if steep { from_quarter(p) } else { p }).copysign(x)
}

/// The angle of the point `(x, y)` within 3 ulp; special values are those of IEEE 754, as in `f32::atan2`.
#[inline(always)]
pub fn atan2<const FMA: bool>(y: f32, x: f32) -> f32 {
    let (a, b) = (y.abs(), x.abs());
    let steep = a > b;
    let (short, long) = if steep { (b, a) } else { (a, b) };
    let t = short / if long == 0.0 { 1.0 } else { long };
    // Two infinities are as good as two equal numbers.
    let t = if short == f32::INFINITY { 1.0 } else { t };
    let p = short_atan::<FMA>(t);
    let p = if steep { from_quarter(p) } else { p };
    let p = if x.is_sign_negative() { PI - (p - 2.0 * QUARTER_TAIL) } else { p };
    // NaN is unordered: neither steep nor a quotient of its own where only one of the two is NaN.
    let p = if x.is_nan() { x } else { p };
    p.copysign(y)
}
