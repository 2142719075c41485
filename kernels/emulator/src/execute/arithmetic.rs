//! Arithmetic, logic and comparisons on whole rows.

use super::numbers::{Integer, Number};
use super::{convert, fma, math};
use crate::isa::{Binary, Comparison, Operand, Register, Rounding, Ternary, Type, Unary};
use crate::warp::{Lane, Warp};

/// Runs the body with `$T` as the Rust type of an integer or bit type.
macro_rules! with_integer {
    ($ty:expr, $T:ident => $body:expr) => {
        match $ty {
            Type::U16 | Type::B16 => {
                type $T = u16;
                $body
            }
            Type::U32 | Type::B32 => {
                type $T = u32;
                $body
            }
            Type::U64 | Type::B64 => {
                type $T = u64;
                $body
            }
            Type::S16 => {
                type $T = i16;
                $body
            }
            Type::S32 => {
                type $T = i32;
                $body
            }
            Type::S64 => {
                type $T = i64;
                $body
            }
            other => unreachable!("the parser lets no {other:?} here"),
        }
    };
}

/// As `with_integer`, and for floats too.
macro_rules! with_number {
    ($ty:expr, $T:ident => $body:expr) => {
        match $ty {
            Type::F32 => { type $T = f32; $body }
            Type::F64 => { type $T = f64; $body }
            other => with_integer!(other, $T => $body),
        }
    };
}

#[inline(always)]
fn map1<T: Lane, R: Lane>(warp: &mut Warp, mask: u32, d: Register, a: Operand, f: impl Fn(T) -> R) {
    let a = warp.row::<T>(a);
    warp.write(d, mask, &std::array::from_fn(|lane| f(a[lane])));
}

#[inline(always)]
fn map2<T: Lane, U: Lane>(warp: &mut Warp, mask: u32, d: Register, [a, b]: [Operand; 2], f: impl Fn(T, U) -> T) {
    let (a, b) = (warp.row::<T>(a), warp.row::<U>(b));
    warp.write(d, mask, &std::array::from_fn(|lane| f(a[lane], b[lane])));
}

#[inline(always)]
fn map3<T: Lane, R: Lane>(warp: &mut Warp, mask: u32, d: Register, [a, b, c]: [Operand; 3], f: impl Fn(T, T, T) -> R) {
    let (a, b, c) = (warp.row::<T>(a), warp.row::<T>(b), warp.row::<T>(c));
    warp.write(d, mask, &std::array::from_fn(|lane| f(a[lane], b[lane], c[lane])));
}

pub(super) fn unary(warp: &mut Warp, mask: u32, op: Unary, ty: Type, d: Register, a: Operand) {
    let wide = ty.size() == 8;
    match op {
        Unary::Neg => with_number!(ty, T => map1(warp, mask, d, a, <T as Number>::neg)),
        Unary::Abs => with_number!(ty, T => map1(warp, mask, d, a, <T as Number>::abs)),
        Unary::Not => map1(warp, mask, d, a, |a: u64| !a),
        Unary::Popc if wide => map1(warp, mask, d, a, |a: u64| a.count_ones()),
        Unary::Popc => map1(warp, mask, d, a, u32::count_ones),
        Unary::Clz if wide => map1(warp, mask, d, a, |a: u64| a.leading_zeros()),
        Unary::Clz => map1(warp, mask, d, a, u32::leading_zeros),
        Unary::Brev if wide => map1(warp, mask, d, a, u64::reverse_bits),
        Unary::Brev => map1(warp, mask, d, a, u32::reverse_bits),
        Unary::Rcp if wide => map1(warp, mask, d, a, |a: f64| Number::div(1.0, a)),
        Unary::RcpFlush if wide => map1(warp, mask, d, a, |a: f64| math::coarse(a, |a| 1.0 / a)),
        Unary::RsqrtFlush => map1(warp, mask, d, a, |a: f64| math::coarse(a, |a| 1.0 / a.sqrt())),
        Unary::Sqrt if wide => map1(warp, mask, d, a, f64::sqrt),
        _ => {
            let f = math::function(op);
            map1(warp, mask, d, a, f);
        }
    }
}

/// An operation with its type and rounding.
type Form<Op> = (Op, Type, Rounding);

pub(super) fn binary(warp: &mut Warp, mask: u32, (op, ty, rounding): Form<Binary>, d: Register, from: [Operand; 2]) {
    if rounding != Rounding::Nearest {
        let f = directed(op, rounding);
        return map2(warp, mask, d, from, f);
    }
    match op {
        Binary::Add => with_number!(ty, T => map2(warp, mask, d, from, <T as Number>::add)),
        Binary::Sub => with_number!(ty, T => map2(warp, mask, d, from, <T as Number>::sub)),
        Binary::Mul => with_number!(ty, T => map2(warp, mask, d, from, <T as Number>::mul)),
        Binary::MulHigh => with_integer!(ty, T => map2(warp, mask, d, from, <T as Integer>::mul_high)),
        Binary::Div => with_number!(ty, T => map2(warp, mask, d, from, <T as Number>::div)),
        Binary::Rem => with_integer!(ty, T => map2(warp, mask, d, from, <T as Integer>::rem)),
        Binary::Min => with_number!(ty, T => map2(warp, mask, d, from, <T as Number>::lesser)),
        Binary::Max => with_number!(ty, T => map2(warp, mask, d, from, <T as Number>::greater)),
        Binary::MinNan => map2(warp, mask, d, from, |a: f32, b: f32| or_nan(a, b, Number::lesser(a, b))),
        Binary::MaxNan => map2(warp, mask, d, from, |a: f32, b: f32| or_nan(a, b, Number::greater(a, b))),
        Binary::And => map2(warp, mask, d, from, |a: u64, b: u64| a & b),
        Binary::Or => map2(warp, mask, d, from, |a: u64, b: u64| a | b),
        Binary::Xor => map2(warp, mask, d, from, |a: u64, b: u64| a ^ b),
        Binary::Shl if ty.size() == 8 => map2(warp, mask, d, from, |a: u64, b: u32| a.checked_shl(b).unwrap_or(0)),
        // Beyond 16 bits the register has room; whoever reads it as 16 bits does not see them.
        Binary::Shl => map2(warp, mask, d, from, |a: u32, b: u32| a.checked_shl(b).unwrap_or(0)),
        Binary::Shr => with_integer!(ty, T => map2(warp, mask, d, from, |a: T, b: u32| a.shift_right(b))),
        Binary::Copysign if ty == Type::F64 => map2(warp, mask, d, from, |a: f64, b: f64| b.copysign(a)),
        Binary::Copysign => map2(warp, mask, d, from, |a: f32, b: f32| b.copysign(a)),
    }
}

fn or_nan(a: f32, b: f32, x: f32) -> f32 {
    if a.is_nan() || b.is_nan() { super::numbers::NAN } else { x }
}

/// An operation on `f32` that does not round to nearest: the exact result is a sum of two `f64`.
fn directed(op: Binary, rounding: Rounding) -> impl Fn(f32, f32) -> f32 {
    move |a, b| {
        let (a, b) = (f64::from(a), f64::from(b));
        match op {
            Binary::Mul => convert::round_sum(a * b, 0.0, rounding),
            Binary::Sub => convert::round_sum(a, -b, rounding),
            _ => convert::round_sum(a, b, rounding),
        }
    }
}

pub(super) fn ternary(warp: &mut Warp, mask: u32, (op, ty, rounding): Form<Ternary>, d: Register, from: [Operand; 3]) {
    match op {
        Ternary::Fma if ty == Type::F64 => map3(warp, mask, d, from, |a: f64, b: f64, c: f64| a.mul_add(b, c)),
        Ternary::Fma if rounding == Rounding::Nearest => {
            let [a, b, c] = from;
            let (a, b, c) = (warp.row::<f32>(a), warp.row::<f32>(b), warp.row::<f32>(c));
            warp.write(d, mask, &fma::multiply_add(&a, &b, &c));
        }
        Ternary::Fma => map3(warp, mask, d, from, |a: f32, b: f32, c: f32| {
            convert::round_sum(f64::from(a) * f64::from(b), f64::from(c), rounding)
        }),
        Ternary::Mad => with_integer!(ty, T => map3(warp, mask, d, from, |a: T, b: T, c: T| a.mul(b).add(c))),
        Ternary::MadHigh => {
            with_integer!(ty, T => map3(warp, mask, d, from, |a: T, b: T, c: T| a.mul_high(b).add(c)))
        }
        Ternary::Bfe => {
            let (signed, bits) = (ty.is_signed(), 8 * ty.size() as u32);
            map3(warp, mask, d, from, |a: u64, b: u64, c: u64| extract(a, b as u32, c as u32, signed, bits));
        }
        Ternary::Prmt => map3(warp, mask, d, from, permute),
        Ternary::ShiftLeftWrap => map3(warp, mask, d, from, |a, b, n| (pair(a, b) << (n & 31) >> 32) as u32),
        Ternary::ShiftRightWrap => map3(warp, mask, d, from, |a, b, n| (pair(a, b) >> (n & 31)) as u32),
        Ternary::ShiftLeftClamp => map3(warp, mask, d, from, |a, b, n: u32| (pair(a, b) << n.min(32) >> 32) as u32),
        Ternary::ShiftRightClamp => map3(warp, mask, d, from, |a, b, n: u32| (pair(a, b) >> n.min(32)) as u32),
        Ternary::Lop3(table) => map3(warp, mask, d, from, |a: u32, b: u32, c: u32| {
            let minterm = |i: u8| {
                let pick = |x: u32, bit: u8| if i >> bit & 1 == 1 { x } else { !x };
                if table >> i & 1 == 1 { pick(a, 2) & pick(b, 1) & pick(c, 0) } else { 0 }
            };
            (0..8).fold(0, |bits, i| bits | minterm(i))
        }),
    }
}

fn pair(low: u32, high: u32) -> u64 {
    u64::from(low) | u64::from(high) << 32
}

/// `len` bits of `a` from bit `start` on, with the sign of the highest one that is there.
fn extract(a: u64, start: u32, len: u32, signed: bool, bits: u32) -> u64 {
    let (start, len) = (start & 255, len & 255);
    let a = if bits == 32 { a & 0xffff_ffff } else { a };
    let ones = |count: u32| u64::MAX.checked_shr(64 - count.min(64)).unwrap_or(0);
    let field = a.checked_shr(start).unwrap_or(0) & ones(len);
    let sign = (start + len).saturating_sub(1).min(bits - 1);
    let negative = signed && len > 0 && a >> sign & 1 == 1;
    let known = len.min(bits.saturating_sub(start));
    if negative { field | !ones(known) } else { field }
}

/// Four bytes of the eight in `a` and `b`, each named by 4 bits of `which`; the highest bit of a name repeats the sign.
fn permute(a: u32, b: u32, which: u32) -> u32 {
    let bytes = pair(a, b).to_le_bytes();
    let byte = |i: usize| {
        let name = which >> (4 * i) & 15;
        let byte = bytes[name as usize & 7];
        if name & 8 != 0 { ((byte as i8) >> 7) as u8 } else { byte }
    };
    u32::from_le_bytes(std::array::from_fn(byte))
}

pub(super) fn mul_wide(warp: &mut Warp, mask: u32, ty: Type, d: Register, [a, b]: [Operand; 2], c: Option<Operand>) {
    let c = c.map_or([0; 32], |c| warp.row::<u64>(c));
    let row: [u64; 32] = with_integer!(ty, T => {
        let (a, b) = (warp.row::<T>(a), warp.row::<T>(b));
        std::array::from_fn(|lane| (a[lane].bits()).wrapping_mul(b[lane].bits()).wrapping_add(c[lane]))
    });
    warp.write(d, mask, &row);
}

pub(super) fn insert(warp: &mut Warp, mask: u32, ty: Type, d: Register, [a, b]: [Operand; 2], at: [Operand; 2]) {
    let bits = 8 * ty.size() as u32;
    let [start, len] = at.map(|operand| warp.row::<u32>(operand));
    let (a, b) = (warp.row::<u64>(a), warp.row::<u64>(b));
    let row: [u64; 32] = std::array::from_fn(|lane| {
        let (start, len) = (start[lane] & 255, len[lane] & 255);
        let ones = u64::MAX.checked_shr(64 - len.min(bits).min(64)).unwrap_or(0);
        let field = ones.checked_shl(start).unwrap_or(0);
        b[lane] & !field | a[lane].checked_shl(start).unwrap_or(0) & field
    });
    warp.write(d, mask, &row);
}

/// The lanes in which a comparison holds.
pub(super) fn compare(warp: &Warp, op: Comparison, ty: Type, [a, b]: [Operand; 2]) -> u32 {
    with_number!(ty, T => {
        let (a, b) = (warp.row::<T>(a), warp.row::<T>(b));
        compare_rows(op, &a, &b)
    })
}

#[inline(always)]
fn compare_rows<T: Number>(op: Comparison, a: &[T; 32], b: &[T; 32]) -> u32 {
    use Comparison::*;
    let unordered = |a: T, b: T| a.is_nan() || b.is_nan();
    match op {
        Eq => holds(a, b, |a, b| a == b),
        Ne => holds(a, b, |a, b| a != b && !unordered(a, b)),
        Lt => holds(a, b, |a, b| a < b),
        Le => holds(a, b, |a, b| a <= b),
        Gt => holds(a, b, |a, b| a > b),
        Ge => holds(a, b, |a, b| a >= b),
        EqUnordered => holds(a, b, |a, b| a == b || unordered(a, b)),
        NeUnordered => holds(a, b, |a, b| a != b),
        LtUnordered => holds(a, b, |a, b| a < b || unordered(a, b)),
        LeUnordered => holds(a, b, |a, b| a <= b || unordered(a, b)),
        GtUnordered => holds(a, b, |a, b| a > b || unordered(a, b)),
        GeUnordered => holds(a, b, |a, b| a >= b || unordered(a, b)),
        Number => holds(a, b, |a, b| !unordered(a, b)),
        Nan => holds(a, b, unordered),
    }
}

#[inline(always)]
fn holds<T: Copy>(a: &[T; 32], b: &[T; 32], f: impl Fn(T, T) -> bool) -> u32 {
    (0..32).fold(0, |bits, lane| bits | u32::from(f(a[lane], b[lane])) << lane)
}
