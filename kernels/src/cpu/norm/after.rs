//! What normalised numbers are put through at the end, in the same pass.

use crate::Unary;
use crate::cpu::math::Real;

/// A function of a normalised number, and the way back through it.
pub trait After<T>: Copy + Sync {
    /// The function's value.
    fn value(self, y: T) -> T;
    /// The gradient of `y` from that of the value.
    fn back(self, y: T, dy: T) -> T;
}

/// No function.
#[derive(Clone, Copy)]
pub struct Nothing;

impl<T: Real> After<T> for Nothing {
    #[inline(always)]
    fn value(self, y: T) -> T {
        y
    }

    #[inline(always)]
    fn back(self, _: T, dy: T) -> T {
        dy
    }
}

/// The nearest number from `low` to `high`.
#[derive(Clone, Copy)]
pub struct Clip<T> {
    low: T,
    high: T,
}

impl<T: Real> Clip<T> {
    /// The activation, if it is such a function.
    pub fn of(activation: Unary) -> Option<Self> {
        let high = match activation {
            Unary::Relu => f64::INFINITY,
            Unary::Relu6 => 6.0,
            _ => return None,
        };
        Some(Self { low: T::of(0.0), high: T::of(high) })
    }
}

impl<T: Real> After<T> for Clip<T> {
    #[inline(always)]
    fn value(self, y: T) -> T {
        let y = if y < self.low { self.low } else { y };
        if y > self.high { self.high } else { y }
    }

    #[inline(always)]
    fn back(self, y: T, dy: T) -> T {
        if y > self.low && y < self.high { dy } else { T::of(0.0) }
    }
}
