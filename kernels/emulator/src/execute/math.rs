//! The functions that a GPU approximates, rounded from double precision.

use super::numbers::Canonical;
use crate::isa::Unary;

/// The function of single precision, if it is one that the processor has no instruction for.
pub(super) fn function(op: Unary) -> fn(f32) -> f32 {
    match op {
        Unary::Rsqrt => |x| ((1.0 / f64::from(x).sqrt()) as f32).canonical(),
        Unary::Sin => |x| (libm::sin(f64::from(flush(x))) as f32).canonical(),
        Unary::Cos => |x| (libm::cos(f64::from(flush(x))) as f32).canonical(),
        Unary::Lg2 => |x| (libm::log2(f64::from(x)) as f32).canonical(),
        Unary::Ex2 => |x| (libm::exp2(f64::from(x)) as f32).canonical(),
        Unary::Tanh => |x| (libm::tanh(f64::from(x)) as f32).canonical(),
        Unary::Lg2Flush => |x| flush(libm::log2(f64::from(flush(x))) as f32).canonical(),
        Unary::Ex2Flush => |x| flush(libm::exp2(f64::from(flush(x))) as f32).canonical(),
        Unary::Rcp
        | Unary::RcpFlush
        | Unary::Sqrt
        | Unary::RsqrtFlush
        | Unary::Neg
        | Unary::Abs
        | Unary::Not
        | Unary::Popc
        | Unary::Clz
        | Unary::Brev => {
            unreachable!("{op:?} is no function of single precision alone")
        }
    }
}

/// A subnormal number as 0 with its sign.
#[inline(always)]
pub(super) fn flush(x: f32) -> f32 {
    if x.is_subnormal() { 0f32.copysign(x) } else { x }
}

/// A function of double precision as the first step of an iteration: without the lower half of the bits, and with subnormal numbers
/// taken for 0.
pub(super) fn coarse(x: f64, f: impl Fn(f64) -> f64) -> f64 {
    let flush = |x: f64| if x.is_subnormal() { 0f64.copysign(x) } else { x };
    let y = flush(f(flush(x)));
    if y.is_nan() { y } else { f64::from_bits(y.to_bits() & !0xffff_ffff) }
}
