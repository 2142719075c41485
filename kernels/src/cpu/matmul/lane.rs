//! Vector registers of each instruction set, behind one small trait, so that there is one microkernel.

use std::ops::Add;
use std::ptr;

use crate::cpu::simd::MulAdd;

/// A vector register full of numbers.
///
/// # Safety
/// Every function may only run on machines with the register's instruction set, inside a function that enables it.
/// Functions that take pointers read or write exactly the elements that they name.
pub(in crate::cpu) trait Lane: Copy {
    /// The type of one number.
    type Elem: Copy + Default + PartialOrd + Add<Output = Self::Elem> + MulAdd;
    /// How many numbers a register holds.
    const LANES: usize;

    /// `x` in every place.
    unsafe fn splat(x: Self::Elem) -> Self;
    /// The [`Lane::LANES`] numbers from `from` on; any alignment.
    unsafe fn load(from: *const Self::Elem) -> Self;
    /// Writes all numbers from `to` on; any alignment.
    unsafe fn store(self, to: *mut Self::Elem);
    /// As [`Lane::store`], past the caches where a register fills a cache line; `to` is aligned to the register's size.
    unsafe fn stream(self, to: *mut Self::Elem) {
        // SAFETY: as for the caller.
        unsafe { self.store(to) }
    }
    /// The first `len` numbers from `from` on, with `len <= LANES`, and zeros.
    unsafe fn load_first(from: *const Self::Elem, len: usize) -> Self;
    /// Writes the first `len` numbers, with `len <= LANES`.
    unsafe fn store_first(self, to: *mut Self::Elem, len: usize);
    /// The first half of the numbers from `from` on, in both halves.
    unsafe fn load_twice(from: *const Self::Elem) -> Self;
    /// `x` and `y`, which are each the same in every place, in the first half and the second. `upper` has a bit for each place of the
    /// second half: a compiler that knows these bits would make a permutation of what is a choice, and permutations of wide
    /// registers take the place of multiply-adds.
    unsafe fn halves(x: Self, y: Self, upper: u32) -> Self;
    /// The second half of `self` in both halves.
    unsafe fn second_half(self) -> Self;
    /// `self * b + c`.
    unsafe fn mul_add(self, b: Self, c: Self) -> Self;
    /// `self + b`.
    unsafe fn add(self, b: Self) -> Self;
    /// Each number, or the bound that it lies beyond; a NaN stays one.
    unsafe fn clamp(self, least: Self, most: Self) -> Self;
    /// Copies the transposed part of a square of [`Lane::LANES`] rows; `from` has as many rows as `to` has columns, and the
    /// other way round.
    unsafe fn transpose(from: Square<*const Self::Elem>, to: Square<*mut Self::Elem>);
}

/// `x`, or the bound that it lies beyond; a NaN stays one.
#[inline(always)]
pub(super) fn clamp<T: PartialOrd>(x: T, least: T, most: T) -> T {
    let x = if x < least { least } else { x };
    if x > most { most } else { x }
}

/// A part of a square matrix: `rows` rows, `distance` apart, of `columns` elements.
#[derive(Clone, Copy)]
pub(in crate::cpu) struct Square<P> {
    pub start: P,
    pub distance: isize,
    pub rows: usize,
    pub columns: usize,
}

/// The body of [`Lane::transpose`], around a function that transposes registers. A macro, since what is generic over
/// functions would not be compiled for the instruction set.
macro_rules! transpose {
    ($Lane:ty, $lanes:literal, $from:ident, $to:ident, $transposed:path) => {
        // SAFETY: the caller vouches for the elements and the instruction set.
        unsafe {
            let mut rows = [<$Lane as Lane>::splat(0.0); $lanes];
            for i in 0..$lanes {
                if i < $from.rows {
                    let row = $from.start.wrapping_offset(i as isize * $from.distance);
                    rows[i] = if $from.columns == $lanes {
                        <$Lane as Lane>::load(row)
                    } else {
                        <$Lane as Lane>::load_first(row, $from.columns)
                    };
                }
            }
            let rows = $transposed(rows);
            for i in 0..$lanes {
                if i < $to.rows {
                    let row = $to.start.wrapping_offset(i as isize * $to.distance);
                    if $to.columns == $lanes {
                        rows[i].store(row);
                    } else {
                        rows[i].store_first(row, $to.columns);
                    }
                }
            }
        }
    };
}

/// Lanes of `wide`: SSE2 on x86-64, NEON on Arm, two such registers where the type is twice as long.
macro_rules! wide_lane {
    ($Lane:ident, $T:ty, $lanes:literal) => {
        impl Lane for wide::$Lane {
            type Elem = $T;
            const LANES: usize = $lanes;

            #[inline(always)]
            unsafe fn splat(x: $T) -> Self {
                Self::from([x; $lanes])
            }
            #[inline(always)]
            unsafe fn load(from: *const $T) -> Self {
                // SAFETY: the caller vouches for the elements.
                Self::from(unsafe { ptr::read_unaligned(from.cast::<[$T; $lanes]>()) })
            }
            #[inline(always)]
            unsafe fn store(self, to: *mut $T) {
                // SAFETY: as above.
                unsafe { ptr::write_unaligned(to.cast::<[$T; $lanes]>(), self.to_array()) }
            }
            #[inline(always)]
            unsafe fn load_first(from: *const $T, len: usize) -> Self {
                let mut all = [0.0; $lanes];
                // SAFETY: as above.
                unsafe { ptr::copy_nonoverlapping(from, all.as_mut_ptr(), len) };
                Self::from(all)
            }
            #[inline(always)]
            unsafe fn store_first(self, to: *mut $T, len: usize) {
                // SAFETY: as above.
                unsafe { ptr::copy_nonoverlapping(self.to_array().as_ptr(), to, len) }
            }
            #[inline(always)]
            unsafe fn load_twice(from: *const $T) -> Self {
                // SAFETY: as above.
                let half = unsafe { ptr::read_unaligned(from.cast::<[$T; $lanes / 2]>()) };
                Self::from(std::array::from_fn(|i| half[i % half.len()]))
            }
            #[inline(always)]
            unsafe fn halves(x: Self, y: Self, _: u32) -> Self {
                let (first, second) = (x.to_array(), y.to_array());
                Self::from(std::array::from_fn(|i| if i < $lanes / 2 { first[i] } else { second[i - $lanes / 2] }))
            }
            #[inline(always)]
            unsafe fn second_half(self) -> Self {
                let all = self.to_array();
                Self::from(std::array::from_fn(|i| all[i | ($lanes / 2)]))
            }
            #[inline(always)]
            unsafe fn mul_add(self, b: Self, c: Self) -> Self {
                Self::mul_add(self, b, c)
            }
            #[inline(always)]
            unsafe fn add(self, b: Self) -> Self {
                self + b
            }
            #[inline(always)]
            unsafe fn clamp(self, least: Self, most: Self) -> Self {
                let (mut all, least, most) = (self.to_array(), least.to_array(), most.to_array());
                for (x, (&least, &most)) in all.iter_mut().zip(least.iter().zip(&most)) {
                    *x = clamp(*x, least, most);
                }
                Self::from(all)
            }
            #[inline(always)]
            unsafe fn transpose(from: Square<*const $T>, to: Square<*mut $T>) {
                transpose!(wide::$Lane, $lanes, from, to, wide::$Lane::transpose)
            }
        }
    };
}

wide_lane!(f32x4, f32, 4);
wide_lane!(f64x2, f64, 2);
// Arm has twice as many registers as SSE2, so a lane can be two of them.
#[cfg(target_arch = "aarch64")]
wide_lane!(f32x8, f32, 8);
#[cfg(target_arch = "aarch64")]
wide_lane!(f64x4, f64, 4);

#[cfg(target_arch = "x86_64")]
mod x86;
