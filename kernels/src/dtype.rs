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

/// A Rust type that can be an element of a buffer.
pub trait Element: Pod + PartialEq + fmt::Debug + Send + Sync {
    /// The type's name at run time.
    const DTYPE: DType;
    /// The value, rounded to this type (floats to integers: towards zero, saturating; to [`Bool`]: whether not zero).
    fn from_scalar(value: Scalar) -> Self;
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
}

macro_rules! element {
    ($($type:ty => $dtype:ident, $scalar:ident, |$s:ident| $from:expr, |$x:ident| $to:expr;)*) => {$(
        impl Element for $type {
            const DTYPE: DType = DType::$dtype;
            #[inline(always)]
            fn from_scalar($s: Scalar) -> Self { $from }
            #[inline(always)]
            fn to_scalar(self) -> Scalar { let $x = self; Scalar::$scalar($to) }
        }
        impl From<$type> for Scalar {
            fn from(x: $type) -> Self { x.to_scalar() }
        }
    )*};
}

element! {
    f32  => F32,  Float, |s| s.as_f64() as f32,               |x| f64::from(x);
    f64  => F64,  Float, |s| s.as_f64(),                      |x| x;
    f16  => F16,  Float, |s| f16::from_f64(s.as_f64()),       |x| x.to_f64();
    bf16 => BF16, Float, |s| bf16::from_f64(s.as_f64()),      |x| x.to_f64();
    i32  => I32,  Int,   |s| s.as_i64().clamp(i32::MIN.into(), i32::MAX.into()) as i32, |x| i64::from(x);
    i64  => I64,  Int,   |s| s.as_i64(),                      |x| x;
    u8   => U8,   Int,   |s| s.as_i64().clamp(0, 255) as u8,  |x| i64::from(x);
    Bool => Bool, Int,   |s| Bool::from(s.as_f64() != 0.0),   |x| i64::from(x.get());
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
