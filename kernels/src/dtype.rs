//! Element types.

use std::fmt;

use bytemuck::{Pod, Zeroable};
use half::{bf16, f16};

/// The type of a buffer's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DType {
    /// IEEE 754 single precision; what networks train in.
    F32,
    /// IEEE 754 double precision; what gradients are checked in.
    F64,
    /// IEEE 754 half precision: storage, with arithmetic in `f32`.
    F16,
    /// The upper half of an `f32`: storage, with arithmetic in `f32`.
    BF16,
    /// 32-bit signed integer.
    I32,
    /// 64-bit signed integer; the type of indices and labels.
    I64,
    /// 8-bit unsigned integer; the type of raw pixels.
    U8,
    /// Truth value, one byte.
    Bool,
}

impl DType {
    /// Every element type.
    pub const ALL: [DType; 8] =
        [DType::F32, DType::F64, DType::F16, DType::BF16, DType::I32, DType::I64, DType::U8, DType::Bool];

    /// Bytes per element.
    pub const fn size(self) -> usize {
        match self {
            DType::F64 | DType::I64 => 8,
            DType::F32 | DType::I32 => 4,
            DType::F16 | DType::BF16 => 2,
            DType::U8 | DType::Bool => 1,
        }
    }

    /// Whether the type holds real numbers; only such tensors have gradients.
    pub const fn is_float(self) -> bool {
        matches!(self, DType::F32 | DType::F64 | DType::F16 | DType::BF16)
    }

    /// Whether the type holds whole numbers (truth values are none).
    pub const fn is_int(self) -> bool {
        matches!(self, DType::I32 | DType::I64 | DType::U8)
    }

    /// The name users write: `f32`, `i64`, `bool`.
    pub const fn name(self) -> &'static str {
        match self {
            DType::F32 => "f32",
            DType::F64 => "f64",
            DType::F16 => "f16",
            DType::BF16 => "bf16",
            DType::I32 => "i32",
            DType::I64 => "i64",
            DType::U8 => "u8",
            DType::Bool => "bool",
        }
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A truth value as it stands in a buffer: zero is false, anything else true.
///
/// Rust's `bool` forbids all bytes but 0 and 1, which memory taken from a pool cannot promise.
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
#[repr(transparent)]
pub struct Bool(u8);

impl Bool {
    /// The stored value as a `bool`.
    pub const fn get(self) -> bool {
        self.0 != 0
    }
}

impl From<bool> for Bool {
    fn from(value: bool) -> Self {
        Bool(u8::from(value))
    }
}

impl PartialEq for Bool {
    fn eq(&self, other: &Self) -> bool {
        self.get() == other.get()
    }
}

impl PartialOrd for Bool {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        self.get().partial_cmp(&other.get())
    }
}

/// A Rust type that can be an element of a buffer.
pub trait Element: Pod + PartialOrd + fmt::Debug + Send + Sync {
    /// The type's name at run time.
    const DTYPE: DType;
    /// The value, rounded to this type (floats to integers: towards zero, saturating; to [`Bool`]: whether not zero).
    fn from_scalar(value: Scalar) -> Self;
    /// The whole number, wrapped around to this type's range (floats: rounded; to [`Bool`]: whether not zero).
    fn wrap(value: i64) -> Self;
    /// The value without loss.
    fn to_scalar(self) -> Scalar;
}

/// One number of any element type, without loss.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scalar {
    /// A real number.
    Float(f64),
    /// A whole number or, as 0 or 1, a truth value.
    Int(i64),
}

impl Scalar {
    /// The value as a real number; integers beyond 2^53 are rounded.
    pub fn as_f64(self) -> f64 {
        match self {
            Scalar::Float(x) => x,
            Scalar::Int(x) => x as f64,
        }
    }

    /// The value as a whole number: towards zero, saturating.
    pub fn as_i64(self) -> i64 {
        match self {
            Scalar::Float(x) => x as i64,
            Scalar::Int(x) => x,
        }
    }

    /// The value as an element, rounded as [`Element::from_scalar`] says.
    pub fn to<T: Element>(self) -> T {
        T::from_scalar(self)
    }

    /// The value in single precision, rounded once.
    fn as_f32(self) -> f32 {
        match self {
            Scalar::Float(x) => x as f32,
            Scalar::Int(x) => x as f32,
        }
    }

    /// The value in single precision, rounded to odd: where it is inexact, the last bit is set.
    ///
    /// Such a value keeps which side of a tie it came from, so that rounding it to a type narrower by two bits or more
    /// gives what rounding once would have given (Boldo and Melquiond 2008).
    fn as_odd_f32(self) -> f32 {
        let exact = self.as_f64();
        let near = exact as f32;
        if f64::from(near) == exact || !near.is_finite() {
            return near;
        }
        let towards_zero = near.to_bits() - u32::from(f64::from(near).abs() > exact.abs());
        f32::from_bits(towards_zero | 1)
    }
}

macro_rules! element {
    ($($type:ty => $dtype:ident, $scalar:ident, |$s:ident| $from:expr, |$w:ident| $wrap:expr, |$x:ident| $to:expr;)*) => {$(
        impl Element for $type {
            const DTYPE: DType = DType::$dtype;
            #[inline(always)]
            fn from_scalar($s: Scalar) -> Self { $from }
            #[inline(always)]
            fn wrap($w: i64) -> Self { $wrap }
            #[inline(always)]
            fn to_scalar(self) -> Scalar { let $x = self; Scalar::$scalar($to) }
        }
        impl From<$type> for Scalar {
            fn from(x: $type) -> Self { x.to_scalar() }
        }
    )*};
}

element! {
    f32  => F32,  Float, |s| s.as_f32(),                      |w| w as f32,                  |x| f64::from(x);
    f64  => F64,  Float, |s| s.as_f64(),                      |w| w as f64,                  |x| x;
    f16  => F16,  Float, |s| f16::from_f32(s.as_odd_f32()),   |w| Scalar::Int(w).to(),       |x| x.to_f64();
    bf16 => BF16, Float, |s| bf16::from_f32(s.as_odd_f32()),  |w| Scalar::Int(w).to(),       |x| x.to_f64();
    i32  => I32,  Int,   |s| s.as_i64().clamp(i32::MIN.into(), i32::MAX.into()) as i32, |w| w as i32, |x| i64::from(x);
    i64  => I64,  Int,   |s| s.as_i64(),                      |w| w,                         |x| x;
    u8   => U8,   Int,   |s| s.as_i64().clamp(0, 255) as u8,  |w| w as u8,                   |x| i64::from(x);
    Bool => Bool, Int,   |s| Bool::from(s.as_f64() != 0.0),   |w| Bool::from(w != 0),        |x| i64::from(x.get());
}

impl From<bool> for Scalar {
    fn from(x: bool) -> Self {
        Scalar::Int(x.into())
    }
}

/// Runs `$body` once for the element type that `$dtype` names, with `$T` bound to it.
#[macro_export]
macro_rules! with_element {
    ($dtype:expr, $T:ident => $body:expr) => {
        match $dtype {
            $crate::DType::F32 => {
                type $T = f32;
                $body
            }
            $crate::DType::F64 => {
                type $T = f64;
                $body
            }
            $crate::DType::F16 => {
                type $T = $crate::dtype::Half;
                $body
            }
            $crate::DType::BF16 => {
                type $T = $crate::dtype::BHalf;
                $body
            }
            $crate::DType::I32 => {
                type $T = i32;
                $body
            }
            $crate::DType::I64 => {
                type $T = i64;
                $body
            }
            $crate::DType::U8 => {
                type $T = u8;
                $body
            }
            $crate::DType::Bool => {
                type $T = $crate::Bool;
                $body
            }
        }
    };
}

/// IEEE 754 half precision, under a name that [`with_element!`] can reach from any crate.
pub type Half = f16;
/// The upper half of an `f32`, under a name that [`with_element!`] can reach from any crate.
pub type BHalf = bf16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn narrow_floats_are_rounded_once() {
        // Just above the middle between 1 and the next number: single precision alone would fall on the tie.
        let above = Scalar::Float(1.0 + 2f64.powi(-11) + 2f64.powi(-40));
        assert_eq!(above.to::<f16>().to_f64(), 1.0 + 2f64.powi(-10));
        let above = Scalar::Float(-1.0 - 2f64.powi(-8) - 2f64.powi(-40));
        assert_eq!(above.to::<bf16>().to_f64(), -1.0 - 2f64.powi(-7));
        let below = Scalar::Float(1.0 + 3.0 * 2f64.powi(-11) - 2f64.powi(-40));
        assert_eq!(below.to::<f16>().to_f64(), 1.0 + 2f64.powi(-10));
        assert!(Scalar::Float(f64::NAN).to::<f16>().is_nan());
        assert_eq!(Scalar::Float(1e300).to::<bf16>(), bf16::INFINITY);
        assert_eq!(Scalar::Float(1e-300).to::<f16>().to_f64(), 0.0);
    }

    #[test]
    fn integers_saturate_or_wrap() {
        assert_eq!(Scalar::Float(300.0).to::<u8>(), 255);
        assert_eq!(Scalar::Float(f64::NAN).to::<i64>(), 0);
        assert_eq!(Scalar::Int(i64::MAX).to::<i32>(), i32::MAX);
        assert_eq!((u8::wrap(-1), i32::wrap(1 << 32), Bool::wrap(2).get()), (255, 0, true));
    }
}
