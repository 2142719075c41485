//! The error function and the Gaussian error linear units.

use super::super::simd::mul_add;
use super::{exp_below, polynomial, product_tail, within};

/// The error function within 6 ulp (3 in units of the largest value, 1), as a quotient of polynomials up to where it rounds to 1.
#[inline(always)]
pub fn erf<const FMA: bool>(x: f32) -> f32 {
    let x = within(x, -3.93, 3.93);
    let z = x * x;
    let p = polynomial::<FMA, 6>(
        [2.041_959e-6, 2.848_084e-4, 3.779_627_8e-3, 5.279_034_7e-2, 1.907_843_5e-1, std::f32::consts::FRAC_2_SQRT_PI],
        z,
    );
    let q = polynomial::<FMA, 6>([3.800_394e-5, 1.165_216e-3, 1.499_747_8e-2, 1.142_577_4e-1, 5.024_11e-1, 1.0], z);
    within(x * p / q, -1.0, 1.0)
}

/// `x * Phi(x)`, the Gaussian error linear unit, within 7 ulp, or 1e-43 where the result is that small.
///
/// `Phi(-x) e^(x²/2)` is smooth, and a quotient of polynomials with positive coefficients up to where `Phi` vanishes.
#[inline(always)]
pub fn gelu<const FMA: bool>(x: f32) -> f32 {
    let a = x.abs();
    // Here the exponential is half the smallest number, and `Phi` far below it.
    let a = if a > 14.4 { 14.4 } else { a };
    let p = polynomial::<FMA, 5>([4.116_306_5e-3, 4.063_327e-2, 1.832_353_8e-1, 4.382_954_2e-1, 0.5], a);
    let q = polynomial::<FMA, 6>([1.031_793_1e-2, 1.018_589_6e-1, 4.694_712_5e-1, 1.202_504_4, 1.674_475_8, 1.0], a);
    // What rounding takes from the square would be multiplied by its size, so it is put back.
    let square = a * a;
    let tail = product_tail::<FMA>(a, a, square);
    let p = mul_add::<FMA, _>(-0.5 * tail, p, p);
    let below = exp_below::<FMA>(-0.5 * square) * (p / q);
    x * if x < 0.0 { below } else { 1.0 - below }
}

/// The `tanh` approximation of [`gelu`] within 5 ulp, or 1e-43 where the result is that small.
#[inline(always)]
pub fn gelu_tanh<const FMA: bool>(x: f32) -> f32 {
    // 2 sqrt(2 / pi) and its product with 0.044715, each in two parts.
    const SLOPE: [f32; 2] = [1.595_769_2, -4.534_068e-8];
    const CUBIC: [f32; 2] = [7.135_481_4e-2, 2.398_832_4e-9];
    let a = x.abs();
    let a = if a > 15.0 { 15.0 } else { a };
    // a (SLOPE + CUBIC a²) to twice the usual precision, since the exponential turns distances into ratios.
    let square = a * a;
    let square_tail = product_tail::<FMA>(a, a, square);
    let cubic = CUBIC[0] * square;
    let cubic_tail =
        product_tail::<FMA>(CUBIC[0], square, cubic) + mul_add::<FMA, _>(CUBIC[0], square_tail, CUBIC[1] * square);
    let sum = SLOPE[0] + cubic;
    let larger = if cubic > SLOPE[0] { cubic } else { SLOPE[0] };
    let smaller = if cubic > SLOPE[0] { SLOPE[0] } else { cubic };
    let sum_tail = (larger - sum) + smaller + (SLOPE[1] + cubic_tail);
    let inner = a * sum;
    let inner_tail = product_tail::<FMA>(a, sum, inner) + a * sum_tail;
    let e = exp_below::<FMA>(-inner);
    let e = mul_add::<FMA, _>(-e, inner_tail, e);
    x * ((if x < 0.0 { e } else { 1.0 }) / (1.0 + e))
}
