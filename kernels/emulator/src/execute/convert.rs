//! Conversions between types.

use half::{bf16, f16};

use super::numbers::Canonical;
use crate::isa::{Conversion, Operand, Register, Rounding, Type};
use crate::warp::{Lane, Warp, row_of};

pub(super) fn convert(warp: &mut Warp, mask: u32, how: Conversion, d: Register, a: Operand) {
    let bits = warp.row::<u64>(a);
    let row: [u64; 32] = match (how.from.is_float(), how.to.is_float()) {
        (false, false) => row_of(|lane| cut(how.to, cut(how.from, bits[lane]))),
        (false, true) => row_of(|lane| from_integer(how, cut(how.from, bits[lane]))),
        (true, false) => row_of(|lane| cut(how.to, to_integer(how, float(how.from, bits[lane])))),
        (true, true) => row_of(|lane| between_floats(how, bits[lane])),
    };
    warp.write(d, mask, &row);
}

/// The bits of an integer type, with the sign repeated to the left.
fn cut(ty: Type, bits: u64) -> u64 {
    match ty {
        Type::U8 | Type::B8 => u8::from_bits(bits).bits(),
        Type::U16 | Type::B16 => u16::from_bits(bits).bits(),
        Type::U32 | Type::B32 => u32::from_bits(bits).bits(),
        Type::S8 => i8::from_bits(bits).bits(),
        Type::S16 => i16::from_bits(bits).bits(),
        Type::S32 => i32::from_bits(bits).bits(),
        _ => bits,
    }
}

/// A float's value, which `f64` holds exactly.
fn float(ty: Type, bits: u64) -> f64 {
    match ty {
        Type::F16 => f16::from_bits(bits as u16).to_f64(),
        Type::Bf16 => bf16::from_bits(bits as u16).to_f64(),
        Type::F32 => f64::from(f32::from_bits(bits as u32)),
        _ => f64::from_bits(bits),
    }
}

fn from_integer(how: Conversion, bits: u64) -> u64 {
    match (how.to, how.from.is_signed()) {
        (Type::F64, true) => (bits as i64 as f64).to_bits(),
        (Type::F64, false) => (bits as f64).to_bits(),
        (_, true) => (bits as i64 as f32).bits(),
        (_, false) => (bits as f32).bits(),
    }
}

/// The nearest whole number in a direction; beyond the type's ends the end, and 0 for NaN.
fn to_integer(how: Conversion, x: f64) -> u64 {
    let whole = to_whole(x, how.rounding);
    let nan = whole.is_nan();
    match how.to {
        // NaN becomes 0, but for 64 bits, where hardware gives the sign bit alone.
        Type::S64 if nan => 1 << 63,
        Type::U64 if nan => 1 << 63,
        Type::S8 => (whole as i8).bits(),
        Type::S16 => (whole as i16).bits(),
        Type::S32 => (whole as i32).bits(),
        Type::S64 => whole as i64 as u64,
        Type::U8 => (whole as u8).bits(),
        Type::U16 => (whole as u16).bits(),
        Type::U32 => (whole as u32).bits(),
        _ => whole as u64,
    }
}

fn to_whole(x: f64, rounding: Rounding) -> f64 {
    match rounding {
        Rounding::Nearest | Rounding::NearestAway => x.round_ties_even(),
        Rounding::Zero => x.trunc(),
        Rounding::Down => x.floor(),
        Rounding::Up => x.ceil(),
    }
}

fn between_floats(how: Conversion, bits: u64) -> u64 {
    let x = float(how.from, bits);
    let x = if how.whole { to_whole(x, how.rounding) } else { x };
    match how.to {
        Type::F64 => x.to_bits(),
        Type::F32 if how.saturate => {
            // NaN is 0 here, and so is -0.
            let x = if x > 0.0 { x.min(1.0) } else { 0.0 };
            (x as f32).bits()
        }
        Type::F32 => (x as f32).canonical().bits(),
        to => u64::from(half_bits(to, x as f32)),
    }
}

/// The bits of a 16-bit float.
fn half_bits(to: Type, x: f32) -> u16 {
    match to {
        _ if x.is_nan() => 0x7fff,
        Type::Bf16 => bf16::from_f32(x).to_bits(),
        _ => f16::from_f32(x).to_bits(),
    }
}

pub(super) fn pair(warp: &mut Warp, mask: u32, to: Type, d: Register, [a, b]: [Operand; 2]) {
    let (a, b) = (warp.row::<f32>(a), warp.row::<f32>(b));
    let half = |x: f32| u32::from(half_bits(to, x));
    let row: [u32; 32] = row_of(|lane| half(a[lane]) << 16 | half(b[lane]));
    warp.write(d, mask, &row);
}

/// The bits of a number rounded to 10 bits behind the point, halves away from 0.
pub(super) fn tf32(bits: u32) -> u32 {
    match f32::from_bits(bits) {
        x if x.is_nan() => (bits | 0x0040_0000) & !0x1fff,
        x if x.is_infinite() => bits,
        _ => bits.wrapping_add(0x1000) & !0x1fff,
    }
}

/// `a + b` rounded once, in a direction. Both are exact in `f64`; the sum may not be, so what it loses is computed too.
pub(super) fn round_sum(a: f64, b: f64, rounding: Rounding) -> f32 {
    let sum = a + b;
    if !sum.is_finite() {
        return (sum as f32).canonical();
    }
    // Knuth's two-sum: a + b = sum + lost, exactly.
    let part = sum - a;
    let lost = (a - (sum - part)) + (b - part);
    if sum == 0.0 && lost == 0.0 {
        let zero = if a.is_sign_negative() == b.is_sign_negative() { a } else { 0.0 };
        return if rounding == Rounding::Down && zero == 0.0 && a.is_sign_negative() != b.is_sign_negative() {
            -0.0
        } else {
            zero as f32
        };
    }
    let near = sum as f32;
    // How much too large the nearest is; exact, since both lie close together.
    let excess = f64::from(near) - sum;
    let down = match rounding {
        Rounding::Down => true,
        Rounding::Up => false,
        _ => sum > 0.0,
    };
    match rounding {
        Rounding::Nearest | Rounding::NearestAway => near,
        _ if down && excess > lost => near.next_down(),
        _ if !down && excess < lost => near.next_up(),
        _ => near,
    }
}
