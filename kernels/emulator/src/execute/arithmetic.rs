//! Arithmetic, logic and comparisons on whole rows.

use super::numbers::{Canonical, Integer, Number};
use super::vector::vectorised;
use super::{convert, math};
use crate::counters::each;
use crate::isa::{Binary, Comparison, Operand, Register, Rounding, Ternary, Type, Unary};
use crate::warp::{Lane, Warp, Word, row_of};

/// An operation with its type and rounding.
type Form<Op> = (Op, Type, Rounding);

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
    let a = T::Word::row(warp, a);
    let row = row_of(|lane| f(T::of(a[lane])).word());
    warp.put(d, mask, &row);
}

#[inline(always)]
fn map2<T: Lane, U: Lane>(warp: &mut Warp, mask: u32, d: Register, [a, b]: [Operand; 2], f: impl Fn(T, U) -> T) {
    let (a, b) = (T::Word::row(warp, a), U::Word::row(warp, b));
    let row = row_of(|lane| f(T::of(a[lane]), U::of(b[lane])).word());
    warp.put(d, mask, &row);
}

#[inline(always)]
fn map3<T: Lane, U: Lane>(warp: &mut Warp, mask: u32, d: Register, [a, b, c]: [Operand; 3], f: impl Fn(T, U, U) -> T) {
    let (a, b, c) = (T::Word::row(warp, a), U::Word::row(warp, b), U::Word::row(warp, c));
    let row = row_of(|lane| f(T::of(a[lane]), U::of(b[lane]), U::of(c[lane])).word());
    warp.put(d, mask, &row);
}

#[inline(always)]
fn widen<T: Lane, W: Lane + Number>(warp: &mut Warp, mask: u32, d: Register, [a, b]: [Operand; 2], c: Option<Operand>) {
    let [a, b] = [a, b].map(|operand| T::Word::row(warp, operand));
    // The sign is repeated to the left, as far as the product goes.
    let product = |lane: usize| W::from_bits(T::of(a[lane]).bits()).mul(W::from_bits(T::of(b[lane]).bits()));
    let row = match c {
        None => row_of(|lane| product(lane).word()),
        Some(c) => {
            let c = W::Word::row(warp, c);
            row_of(|lane| product(lane).add(W::of(c[lane])).word())
        }
    };
    warp.put(d, mask, &row);
}

vectorised! {
pub(super) fn unary(warp: &mut Warp, mask: u32, op: Unary, ty: Type, d: Register, a: Operand) {
    let wide = ty.size() == 8;
    match op {
        Unary::Neg => with_number!(ty, T => map1(warp, mask, d, a, <T as Number>::neg)),
        Unary::Abs => with_number!(ty, T => map1(warp, mask, d, a, <T as Number>::abs)),
        Unary::Not if wide => map1(warp, mask, d, a, |a: u64| !a),
        Unary::Not => map1(warp, mask, d, a, |a: u32| !a),
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
        Unary::RcpFlush => map1(warp, mask, d, a, |a: f32| math::flush(1.0 / math::flush(a)).canonical()),
        Unary::Rcp => map1(warp, mask, d, a, |a: f32| Number::div(1.0, a)),
        Unary::Sqrt => map1(warp, mask, d, a, |a: f32| a.sqrt().canonical()),
        _ => {
            let (f, a) = (math::function(op), u32::row(warp, a));
            let mut row = [0; 32];
            // Each takes as long as a whole row of sums, so lanes that are elsewhere are spared.
            each(mask, |lane| row[lane] = f(f32::of(a[lane])).word());
            warp.put(d, mask, &row);
        }
    }
}

pub(super) fn binary(warp: &mut Warp, mask: u32, form: Form<Binary>, d: Register, from: [Operand; 2]) {
    let (op, ty, rounding) = form;
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
        Binary::And if ty.size() == 8 => map2(warp, mask, d, from, |a: u64, b: u64| a & b),
        Binary::And => map2(warp, mask, d, from, |a: u32, b: u32| a & b),
        Binary::Or if ty.size() == 8 => map2(warp, mask, d, from, |a: u64, b: u64| a | b),
        Binary::Or => map2(warp, mask, d, from, |a: u32, b: u32| a | b),
        Binary::Xor if ty.size() == 8 => map2(warp, mask, d, from, |a: u64, b: u64| a ^ b),
        Binary::Xor => map2(warp, mask, d, from, |a: u32, b: u32| a ^ b),
        Binary::Shl if ty.size() == 8 => map2(warp, mask, d, from, |a: u64, b: u32| a.checked_shl(b).unwrap_or(0)),
        // Beyond 16 bits the register has room; whoever reads it as 16 bits does not see them.
        Binary::Shl => map2(warp, mask, d, from, |a: u32, b: u32| a.checked_shl(b).unwrap_or(0)),
        Binary::Shr => with_integer!(ty, T => map2(warp, mask, d, from, |a: T, b: u32| a.shift_right(b))),
        Binary::Copysign if ty == Type::F64 => map2(warp, mask, d, from, |a: f64, b: f64| b.copysign(a)),
        Binary::Copysign => map2(warp, mask, d, from, |a: f32, b: f32| b.copysign(a)),
    }
}

pub(super) fn ternary(warp: &mut Warp, mask: u32, form: Form<Ternary>, d: Register, from: [Operand; 3]) {
    let (op, ty, rounding) = form;
    match op {
        Ternary::Fma if ty == Type::F64 => map3(warp, mask, d, from, |a: f64, b: f64, c: f64| a.mul_add(b, c)),
        Ternary::Fma if rounding == Rounding::Nearest => {
            map3(warp, mask, d, from, |a: f32, b: f32, c: f32| a.mul_add(b, c).canonical());
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
            match bits {
                64 => map3(warp, mask, d, from, |a: u64, b: u32, c: u32| extract(a, b, c, signed, bits)),
                _ => map3(warp, mask, d, from, |a: u32, b: u32, c: u32| extract(a.into(), b, c, signed, bits) as u32),
            }
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

/// The product in twice the width, plus the third if there is one.
pub(super) fn mul_wide(warp: &mut Warp, mask: u32, ty: Type, d: Register, from: [Operand; 2], c: Option<Operand>) {
    match ty {
        Type::U32 => widen::<u32, u64>(warp, mask, d, from, c),
        Type::S32 => widen::<i32, i64>(warp, mask, d, from, c),
        Type::U16 => widen::<u16, u32>(warp, mask, d, from, c),
        _ => widen::<i16, i32>(warp, mask, d, from, c),
    }
}

pub(super) fn insert(warp: &mut Warp, mask: u32, ty: Type, d: Register, from: [Operand; 4]) {
    let bits = 8 * ty.size() as u32;
    let [a, b, start, len] = from;
    let (start, len) = (warp.row::<u32>(start), warp.row::<u32>(len));
    let (a, b) = (warp.row::<u64>(a), warp.row::<u64>(b));
    let row: [u64; 32] = row_of(|lane| {
        let (start, len) = (start[lane] & 255, len[lane] & 255);
        let ones = u64::MAX.checked_shr(64 - len.min(bits).min(64)).unwrap_or(0);
        let field = ones.checked_shl(start).unwrap_or(0);
        b[lane] & !field | a[lane].checked_shl(start).unwrap_or(0) & field
    });
    warp.write(d, mask, &row);
}

/// The lanes in which a comparison holds.
pub(super) fn compare(warp: &Warp, op: Comparison, ty: Type, from: [Operand; 2]) -> u32 {
    with_number!(ty, T => {
        let [a, b] = from.map(|operand| <T as Lane>::Word::row(warp, operand));
        compare_rows::<T>(op, a, b)
    })
}

/// Moves, or picks by the lanes of `which` from `a` and else from `b`.
pub(super) fn select(warp: &mut Warp, mask: u32, ty: Type, d: Register, from: [Operand; 2], which: u32) {
    let pick = |lane: usize| which >> lane & 1 == 1;
    if ty.size() == 8 {
        let [a, b] = from.map(|operand| u64::row(warp, operand));
        let row = row_of(|lane| if pick(lane) { a[lane] } else { b[lane] });
        warp.put(d, mask, &row);
    } else {
        let [a, b] = from.map(|operand| u32::row(warp, operand));
        let row = row_of(|lane| if pick(lane) { a[lane] } else { b[lane] });
        warp.put(d, mask, &row);
    }
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

#[inline(always)]
fn compare_rows<T: Number>(op: Comparison, a: &[T::Word; 32], b: &[T::Word; 32]) -> u32 {
    use Comparison::*;
    let unordered = |a: T, b: T| a.is_nan() || b.is_nan();
    match op {
        Eq => holds(a, b, |a: T, b: T| a == b),
        Ne => holds(a, b, |a: T, b: T| a != b && !unordered(a, b)),
        Lt => holds(a, b, |a: T, b: T| a < b),
        Le => holds(a, b, |a: T, b: T| a <= b),
        Gt => holds(a, b, |a: T, b: T| a > b),
        Ge => holds(a, b, |a: T, b: T| a >= b),
        EqUnordered => holds(a, b, |a: T, b: T| a == b || unordered(a, b)),
        NeUnordered => holds(a, b, |a: T, b: T| a != b),
        LtUnordered => holds(a, b, |a: T, b: T| a < b || unordered(a, b)),
        LeUnordered => holds(a, b, |a: T, b: T| a <= b || unordered(a, b)),
        GtUnordered => holds(a, b, |a: T, b: T| a > b || unordered(a, b)),
        GeUnordered => holds(a, b, |a: T, b: T| a >= b || unordered(a, b)),
        Number => holds(a, b, |a: T, b: T| !unordered(a, b)),
        Nan => holds(a, b, unordered),
    }
}

#[inline(always)]
fn holds<T: Lane>(a: &[T::Word; 32], b: &[T::Word; 32], f: impl Fn(T, T) -> bool) -> u32 {
    (0..32).fold(0, |bits, lane| bits | u32::from(f(T::of(a[lane]), T::of(b[lane]))) << lane)
}
