//! Arithmetic on one number, for every type that PTX computes with.

use crate::warp::Lane;

/// The result of every invalid operation in single precision.
pub(super) const NAN: f32 = f32::from_bits(0x7fff_ffff);

/// A number: what instructions on integers and floats have in common.
pub(super) trait Number: Lane + PartialOrd {
    fn add(self, other: Self) -> Self;
    fn sub(self, other: Self) -> Self;
    fn mul(self, other: Self) -> Self;
    fn div(self, other: Self) -> Self;
    fn lesser(self, other: Self) -> Self;
    fn greater(self, other: Self) -> Self;
    fn neg(self) -> Self;
    fn abs(self) -> Self;
    fn is_nan(self) -> bool;
}

/// A number without a fraction.
pub(super) trait Integer: Number {
    fn rem(self, other: Self) -> Self;
    fn mul_high(self, other: Self) -> Self;
    /// Shifted by at most all its bits; the sign moves in where there is one.
    fn shift_right(self, by: u32) -> Self;
}

macro_rules! integers {
    ($($T:ident, $Wide:ident, $abs:expr, $neg:expr;)*) => {$(
        impl Number for $T {
            #[inline(always)]
            fn add(self, other: Self) -> Self {
                self.wrapping_add(other)
            }

            #[inline(always)]
            fn sub(self, other: Self) -> Self {
                self.wrapping_sub(other)
            }

            #[inline(always)]
            fn mul(self, other: Self) -> Self {
                self.wrapping_mul(other)
            }

            /// PTX leaves the quotient by 0 open; hardware gives ones in all bits.
            #[inline(always)]
            fn div(self, other: Self) -> Self {
                if other == 0 { !0 } else { self.wrapping_div(other) }
            }

            #[inline(always)]
            fn lesser(self, other: Self) -> Self {
                Ord::min(self, other)
            }

            #[inline(always)]
            fn greater(self, other: Self) -> Self {
                Ord::max(self, other)
            }

            #[inline(always)]
            fn neg(self) -> Self {
                $neg(self)
            }

            #[inline(always)]
            fn abs(self) -> Self {
                $abs(self)
            }

            #[inline(always)]
            fn is_nan(self) -> bool {
                false
            }
        }

        impl Integer for $T {
            /// As for the quotient by 0.
            #[inline(always)]
            fn rem(self, other: Self) -> Self {
                if other == 0 { !0 } else { self.wrapping_rem(other) }
            }

            #[inline(always)]
            fn mul_high(self, other: Self) -> Self {
                ((self as $Wide * other as $Wide) >> $T::BITS) as $T
            }

            #[inline(always)]
            fn shift_right(self, by: u32) -> Self {
                // The shift in two steps, since all bits at once are too many for one.
                let by = by.min($T::BITS);
                self >> (by / 2) >> (by - by / 2)
            }
        }
    )*};
}

integers! {
    u16, u32, |x| x, u16::wrapping_neg;
    u32, u64, |x| x, u32::wrapping_neg;
    u64, u128, |x| x, u64::wrapping_neg;
    i16, i32, i16::wrapping_abs, i16::wrapping_neg;
    i32, i64, i32::wrapping_abs, i32::wrapping_neg;
    i64, i128, i64::wrapping_abs, i64::wrapping_neg;
}

macro_rules! floats {
    ($($T:ident, $nan:expr;)*) => {$(
        impl Number for $T {
            #[inline(always)]
            fn add(self, other: Self) -> Self {
                (self + other).canonical()
            }

            #[inline(always)]
            fn sub(self, other: Self) -> Self {
                (self - other).canonical()
            }

            #[inline(always)]
            fn mul(self, other: Self) -> Self {
                (self * other).canonical()
            }

            #[inline(always)]
            fn div(self, other: Self) -> Self {
                (self / other).canonical()
            }

            /// The other where one is NaN, and -0 below +0.
            #[inline(always)]
            fn lesser(self, other: Self) -> Self {
                match (self.is_nan(), other.is_nan()) {
                    (true, true) => $nan,
                    (true, false) => other,
                    (false, true) => self,
                    _ if self == other => if self.is_sign_negative() { self } else { other },
                    _ => if self < other { self } else { other },
                }
            }

            #[inline(always)]
            fn greater(self, other: Self) -> Self {
                match (self.is_nan(), other.is_nan()) {
                    (true, true) => $nan,
                    (true, false) => other,
                    (false, true) => self,
                    _ if self == other => if self.is_sign_negative() { other } else { self },
                    _ => if self > other { self } else { other },
                }
            }

            #[inline(always)]
            fn neg(self) -> Self {
                -self
            }

            #[inline(always)]
            fn abs(self) -> Self {
                $T::abs(self)
            }

            #[inline(always)]
            fn is_nan(self) -> bool {
                self != self
            }
        }
    )*};
}

floats! {
    f32, NAN;
    f64, f64::from_bits(0x7fff_ffff_ffff_ffff);
}

/// A float whose NaN can be made the one that a GPU gives.
pub(super) trait Canonical {
    /// The number, or the one NaN in place of any.
    fn canonical(self) -> Self;
}

macro_rules! canonical {
    ($($T:ident, $infinity:literal, $nan:literal;)*) => {$(
        impl Canonical for $T {
            // On bits, since the compiler may take one NaN for another.
            #[inline(always)]
            fn canonical(self) -> Self {
                let bits = self.to_bits();
                $T::from_bits(if bits & $nan > $infinity { $nan } else { bits })
            }
        }
    )*};
}

canonical! {
    f32, 0x7f80_0000, 0x7fff_ffff;
    f64, 0x7ff0_0000_0000_0000, 0x7fff_ffff_ffff_ffff;
}
