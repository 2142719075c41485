//! Elementary functions in plain arithmetic, without branches and calls, so that loops over them vectorise.
//!
//! Each is written as: reduce the argument to a short interval, evaluate a polynomial there, put the parts together;
//! special values come from selections at the end. `FMA` says whether [`mul_add`](mul_add()) is one instruction; the bounds hold for
//! both, and the tests below check them over the whole range of `f32`. One ulp is the distance to the next number.

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
    /// The square root.
    fn root(self) -> Self;
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
    fn root(self) -> Self {
        self.sqrt()
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
    fn root(self) -> Self {
        self.sqrt()
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
    let bits = (if subnormal { x * 8_388_608.0 } else { x }).to_bits() as i32;
    let e = bits.wrapping_sub(std::f32::consts::FRAC_1_SQRT_2.to_bits() as i32) >> 23;
    let f = f32::from_bits(bits.wrapping_sub(e << 23) as u32) - 1.0;
    let e = e as f32 - if subnormal { 23.0 } else { 0.0 };
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
    (e, f, mul_add::<FMA, _>(square * f, p, -0.5 * square))
}

/// What every logarithm is where the argument is no positive finite number.
#[inline(always)]
fn log_limits(x: f32, y: f32) -> f32 {
    let y = if x < f32::INFINITY { y } else { x };
    let y = if x == 0.0 { f32::NEG_INFINITY } else { y };
    if x < 0.0 { f32::NAN } else { y }
}

/// `log(1 + x)` within 4 ulp.
#[inline(always)]
pub fn log1p<const FMA: bool>(x: f32) -> f32 {
    let u = 1.0 + x;
    // The logarithm of the rounded sum, corrected by what rounding made of `x` (Kahan, in the HP-15C's manual).
    let y = log::<FMA>(u) * (x / (u - 1.0));
    let y = if u == 1.0 { x } else { y };
    if x == f32::INFINITY { x } else { y }
}

/// `1 / (1 + e^-x)` within 4 ulp.
#[inline(always)]
pub fn sigmoid<const FMA: bool>(x: f32) -> f32 {
    // The exponential of what is not positive cannot overflow, and loses nothing in the tails.
    let e = exp::<FMA>(-x.abs());
    (if x < 0.0 { e } else { 1.0 }) / (1.0 + e)
}

/// The hyperbolic tangent within 4 ulp.
#[inline(always)]
pub fn tanh<const FMA: bool>(x: f32) -> f32 {
    let t = expm1::<FMA>(2.0 * within(x.abs(), 0.0, 10.0));
    (t / (t + 2.0)).copysign(x)
}

/// `log(1 + e^x)` within 4 ulp.
#[inline(always)]
pub fn softplus<const FMA: bool>(x: f32) -> f32 {
    let y = log1p::<FMA>(exp::<FMA>(-x.abs()));
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

/// `e^x` to a relative 1e-9 for `x` in `-700..=700` and infinite at 710, for use within functions of `f32`.
#[inline(always)]
fn exp_wide<const FMA: bool>(x: f64) -> f64 {
    let shifted = mul_add::<FMA, _>(x, std::f64::consts::LOG2_E, ROUND_WIDE);
    let r = mul_add::<FMA, _>(shifted - ROUND_WIDE, -std::f64::consts::LN_2, x);
    // Taylor's coefficients; the first one left out is below 1e-9 on so short an interval.
    let p = polynomial_wide::<FMA, 9>(
        [1.0 / 40320.0, 1.0 / 5040.0, 1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0],
        r,
    );
    let n = shifted.to_bits().wrapping_sub(ROUND_WIDE.to_bits());
    p * f64::from_bits(n.wrapping_add(1023) << 52)
}

/// `1 - erf(x)` to a relative 2e-8 up to 11, beyond which it vanishes in `f32`.
///
/// `(1 + 2x) e^(x²) erfc(x)` is smooth in `t = (x - 2) / (x + 2)` (after Shepherd and Laframboise 1981); the minimax
/// polynomial in `t` was computed for this file.
#[inline(always)]
fn erfc_wide<const FMA: bool>(x: f64) -> f64 {
    let z = x.abs();
    let far = z > 11.0;
    let z = if far { 11.0 } else { z };
    let p = polynomial_wide::<FMA, 11>(
        [
            3.292_978_824_533_049e-5,
            -3.500_619_706_422_878e-4,
            -1.249_076_639_065_97e-3,
            1.262_663_412_253_716_2e-3,
            8.631_818_070_686_182e-3,
            -8.042_481_414_213_442e-3,
            -5.420_320_747_903_471e-2,
            1.640_531_044_401_595_7e-1,
            -1.660_315_260_384_915_3e-1,
            -9.276_390_279_401_565e-2,
            1.276_978_394_169_889,
        ],
        (z - 2.0) / (z + 2.0),
    );
    let tail = p / (1.0 + 2.0 * z) * exp_wide::<FMA>(-(z * z));
    let tail = if far { 0.0 } else { tail };
    if x < 0.0 { 2.0 - tail } else { tail }
}

/// The error function within 2 ulp.
#[inline(always)]
pub fn erf<const FMA: bool>(x: f32) -> f32 {
    let z = f64::from(x);
    // A minimax polynomial in z², computed for this file, where the complement would lose small values.
    let p = polynomial_wide::<FMA, 7>(
        [
            7.875_875_062_682_01e-5,
            -8.016_864_287_164_737e-4,
            5.189_087_423_433_832e-3,
            -2.685_421_201_062_633e-2,
            1.128_359_471_516_021_5e-1,
            -3.761_262_666_672_033e-1,
            1.128_379_165_848_350_9,
        ],
        z * z,
    );
    (if z.abs() < 1.0 { z * p } else { 1.0 - erfc_wide::<FMA>(z) }) as f32
}

/// `x * Phi(x)`, the Gaussian error linear unit, within 2 ulp.
#[inline(always)]
pub fn gelu<const FMA: bool>(x: f32) -> f32 {
    let z = f64::from(x);
    (0.5 * z * erfc_wide::<FMA>(-z * std::f64::consts::FRAC_1_SQRT_2)) as f32
}

/// The `tanh` approximation of [`gelu`] within 2 ulp.
#[inline(always)]
pub fn gelu_tanh<const FMA: bool>(x: f32) -> f32 {
    const SLOPE: f64 = 1.595_769_121_605_731;
    let z = f64::from(x);
    let inner = -SLOPE * mul_add::<FMA, _>(z * z * z, 0.044715, z);
    // Here the exponential is infinite.
    let inner = if inner > 710.0 { 710.0 } else { inner };
    let inner = if inner < -700.0 { -700.0 } else { inner };
    (z / (1.0 + exp_wide::<FMA>(inner))) as f32
}

/// `min(max(x, low), high)`; NaN stays NaN.
#[inline(always)]
pub fn within(x: f32, low: f32, high: f32) -> f32 {
    let x = if x < low { low } else { x };
    if x > high { high } else { x }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The largest distance, in ulps of the exact result, over a sample of all `f32` and a dense one around 0; distances
    /// up to `floor` do not count.
    fn worst(name: &str, f: impl Fn(f32) -> f32, exact: impl Fn(f64) -> f64, bound: f64, floor: f64) {
        let sample = (0..u32::MAX / 4099).map(|i| f32::from_bits(i * 4099));
        let dense = (-100_000..100_000).map(|i| i as f32 * 1.0017e-3);
        let special = [0.0, -0.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN, f32::MIN_POSITIVE, f32::MAX, f32::MIN];
        let (mut most, mut at) = (0.0, 0.0);
        for x in sample.chain(dense).chain(special) {
            let (y, exact) = (f(x), exact(f64::from(x)));
            let rounded = exact as f32;
            if rounded.is_nan() || rounded.is_infinite() || y.is_nan() {
                // Where the exact value is close to overflow, a bound in ulps allows the largest finite number too.
                let same = y == rounded || y.is_nan() && rounded.is_nan();
                assert!(same || y.abs() > 0.999_999 * f32::MAX, "{name}({x}) is {y}, not {exact}");
                continue;
            }
            let ulp = f64::from(f32::from_bits(rounded.abs().to_bits() + 1)) - f64::from(rounded.abs());
            let distance = (f64::from(y) - exact).abs();
            let error = distance / ulp;
            if error > most && distance > floor {
                (most, at) = (error, x);
            }
        }
        println!("{name}: {most:.2} ulp at {at}");
        assert!(most <= bound, "{name}({at:e}) is {:e}: {most} ulp off", f(at));
    }

    fn all<const FMA: bool>() {
        use crate::Unary;
        let specified = |op: Unary| move |x| op.reference(x);
        worst("exp", exp::<FMA>, f64::exp, 2.0, 0.0);
        worst("expm1", expm1::<FMA>, f64::exp_m1, 3.0, 0.0);
        worst("log", log::<FMA>, f64::ln, 2.0, 0.0);
        worst("log2", log2::<FMA>, f64::log2, 3.0, 0.0);
        worst("log10", log10::<FMA>, f64::log10, 3.0, 0.0);
        worst("log1p", log1p::<FMA>, f64::ln_1p, 4.0, 0.0);
        worst("sigmoid", sigmoid::<FMA>, specified(Unary::Sigmoid), 4.0, 0.0);
        worst("tanh", tanh::<FMA>, f64::tanh, 4.0, 0.0);
        worst("softplus", softplus::<FMA>, specified(Unary::Softplus), 4.0, 0.0);
        worst("silu", silu::<FMA>, specified(Unary::Silu), 5.0, 1e-43);
        worst("mish", mish::<FMA>, specified(Unary::Mish), 5.0, 1e-43);
        worst("erf", erf::<FMA>, libm::erf, 2.0, 0.0);
        worst("gelu", gelu::<FMA>, specified(Unary::Gelu), 2.0, 0.0);
        worst("gelu_tanh", gelu_tanh::<FMA>, specified(Unary::GeluTanh), 2.0, 0.0);
    }

    #[test]
    fn functions_keep_their_bounds_without_fused_products() {
        all::<false>();
    }

    #[test]
    fn functions_keep_their_bounds_with_fused_products() {
        all::<true>();
    }
}
