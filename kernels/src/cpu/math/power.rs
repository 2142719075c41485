//! Powers.

use super::super::simd::mul_add;
use super::{ROUND_WIDE, polynomial, polynomial_wide, power_of_two};

/// `x^y` within 2 ulp; special values are those of IEEE 754, as in `f32::powf`.
///
/// It is `2^(y log2(x))`, with the logarithm in double precision, since the exponential turns distances into ratios.
#[inline(always)]
pub fn pow<const FMA: bool>(x: f32, y: f32) -> f32 {
    let a = x.abs();
    // An exponent times the logarithm of 1 is 0 even where it is infinite.
    let t = if a == 1.0 { 0.0 } else { f64::from(y) * log2_wide::<FMA>(a) };
    // Beyond these bounds the result is 0 or infinite.
    let t = if t < -152.0 { -152.0 } else { t };
    let t = if t > 130.0 { 130.0 } else { t };
    let shifted = t + ROUND_WIDE;
    let r = (t - (shifted - ROUND_WIDE)) as f32;
    let p = polynomial::<FMA, 7>(
        [1.531_505_4e-5, 1.546_722e-4, 1.333_343e-3, 9.618_036e-3, 5.550_411e-2, 2.402_265e-1, 6.931_472e-1],
        r,
    );
    let n = shifted.to_bits().wrapping_sub(ROUND_WIDE.to_bits()) as i32;
    let half = n >> 1;
    let size = mul_add::<FMA, _>(p, r, 1.0) * power_of_two(half) * power_of_two(n.wrapping_sub(half));
    let size = if y == 0.0 { 1.0 } else { size };
    // Floats from 2^24 on are even.
    const EVEN: f32 = 16_777_216.0;
    let b = y.abs();
    let whole_part = (if b < EVEN { b } else { EVEN }) as i32;
    let is_whole = b >= EVEN || whole_part as f32 == b;
    let is_odd = is_whole && whole_part & 1 == 1;
    let signed = f32::from_bits(size.to_bits() | if is_odd { x.to_bits() & 0x8000_0000 } else { 0 });
    let undefined = x < 0.0 && x > f32::NEG_INFINITY && !is_whole;
    if undefined { f32::NAN } else { signed }
}

/// The logarithm to base 2 to a relative 2^-37 of an `a` that is not negative.
#[inline(always)]
fn log2_wide<const FMA: bool>(a: f32) -> f64 {
    let subnormal = a < f32::MIN_POSITIVE;
    let bits = (if subnormal { a * 8_388_608.0 } else { a }).to_bits() as i32;
    let e = bits.wrapping_sub(std::f32::consts::FRAC_1_SQRT_2.to_bits() as i32) >> 23;
    let f = f64::from(f32::from_bits(bits.wrapping_sub(e << 23) as u32) - 1.0);
    let e = e.wrapping_sub(if subnormal { 23 } else { 0 });
    let p = polynomial_wide::<FMA, 14>(
        [
            -0.069_738_032_439_482_6,
            0.132_511_218_065_842_45,
            -0.134_629_499_794_761_21,
            0.130_275_837_605_058_48,
            -0.142_498_627_217_683_08,
            0.160_216_643_231_199_36,
            -0.180_436_750_694_797_64,
            0.206_107_124_337_264_7,
            -0.240_446_433_586_142_12,
            0.288_538_795_695_889_5,
            -0.360_673_793_137_190_4,
            0.480_898_348_803_172,
            -0.721_347_520_327_550_6,
            1.442_695_040_886_573_7,
        ],
        f,
    );
    let y = mul_add::<FMA, _>(p, f, f64::from(e));
    let y = if a == 0.0 { f64::NEG_INFINITY } else { y };
    if a < f32::INFINITY { y } else { f64::from(a) }
}
