//! Vector registers of each instruction set, behind one small trait, so that there is one microkernel.

use std::ops::Add;
use std::ptr;

use crate::cpu::simd::MulAdd;

/// A vector register full of numbers.
///
/// # Safety
/// Every function may only run on machines with the register's instruction set, inside a function that enables it.
/// Functions that take pointers read or write exactly the elements that they name.
pub(super) trait Lane: Copy {
    /// The type of one number.
    type Elem: Copy + Default + Add<Output = Self::Elem> + MulAdd + Square;
    /// How many numbers a register holds.
    const LANES: usize;

    /// `x` in every place.
    unsafe fn splat(x: Self::Elem) -> Self;
    /// The [`Lane::LANES`] numbers from `from` on; any alignment.
    unsafe fn load(from: *const Self::Elem) -> Self;
    /// Writes all numbers from `to` on; any alignment.
    unsafe fn store(self, to: *mut Self::Elem);
    /// The first `len` numbers from `from` on, with `len <= LANES`, and zeros.
    unsafe fn load_first(from: *const Self::Elem, len: usize) -> Self;
    /// Writes the first `len` numbers, with `len <= LANES`.
    unsafe fn store_first(self, to: *mut Self::Elem, len: usize);
    /// `self * b + c`.
    unsafe fn mul_add(self, b: Self, c: Self) -> Self;
    /// `self + b`.
    unsafe fn add(self, b: Self) -> Self;
}

/// Asks for the cache line of `at`, which will be written soon.
#[inline(always)]
pub(super) fn prefetch<T>(at: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch of any address does no harm.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(at.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
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
            unsafe fn mul_add(self, b: Self, c: Self) -> Self {
                Self::mul_add(self, b, c)
            }
            #[inline(always)]
            unsafe fn add(self, b: Self) -> Self {
                self + b
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

/// Numbers of which a small square can be transposed in registers.
pub trait Square: Sized {
    /// The length of a side.
    const SIDE: usize;

    /// Writes the square whose rows stand `from_distance` apart transposed, in rows `to_distance` apart.
    ///
    /// # Safety
    /// Both squares lie in memory that may be read and written.
    unsafe fn transpose(from: *const Self, from_distance: isize, to: *mut Self, to_distance: usize);
}

macro_rules! square {
    ($T:ty, $Lane:ident, $side:literal) => {
        impl Square for $T {
            const SIDE: usize = $side;

            #[inline(always)]
            unsafe fn transpose(from: *const Self, from_distance: isize, to: *mut Self, to_distance: usize) {
                // SAFETY: the caller vouches for the squares, and the baseline's vectors are always there.
                unsafe {
                    let mut rows = [wide::$Lane::splat(0.0); $side];
                    for (i, row) in rows.iter_mut().enumerate() {
                        *row = Lane::load(from.offset(i as isize * from_distance));
                    }
                    for (i, row) in wide::$Lane::transpose(rows).into_iter().enumerate() {
                        row.store(to.add(i * to_distance));
                    }
                }
            }
        }
    };
}
square!(f32, f32x4, 4);
square!(f64, f64x2, 2);

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::Lane;

    /// Lanes of `std::arch`; `$mask` makes of a length what selects the first elements.
    macro_rules! x86_lane {
        ($Lane:ident, $T:ty, $lanes:literal, $splat:ident, $load:ident, $store:ident, $fma:ident, $add:ident,
         $mask:ident, $load_first:ident, $store_first:ident) => {
            // SAFETY of every block: the trait's contract, that the instruction set is there and pointers are good.
            impl Lane for $Lane {
                type Elem = $T;
                const LANES: usize = $lanes;

                #[inline(always)]
                unsafe fn splat(x: $T) -> Self {
                    // SAFETY: the instruction set is there.
                    unsafe { $splat(x) }
                }
                #[inline(always)]
                unsafe fn load(from: *const $T) -> Self {
                    // SAFETY: as above, and the caller vouches for the elements.
                    unsafe { $load(from) }
                }
                #[inline(always)]
                unsafe fn store(self, to: *mut $T) {
                    // SAFETY: as above.
                    unsafe { $store(to, self) }
                }
                #[inline(always)]
                unsafe fn load_first(from: *const $T, len: usize) -> Self {
                    // SAFETY: as above; what the mask leaves out is not read.
                    unsafe { $load_first(from, $mask(len)) }
                }
                #[inline(always)]
                unsafe fn store_first(self, to: *mut $T, len: usize) {
                    // SAFETY: as above; what the mask leaves out is not written.
                    unsafe { $store_first(to, $mask(len), self) }
                }
                #[inline(always)]
                unsafe fn mul_add(self, b: Self, c: Self) -> Self {
                    // SAFETY: the instruction set is there.
                    unsafe { $fma(self, b, c) }
                }
                #[inline(always)]
                unsafe fn add(self, b: Self) -> Self {
                    // SAFETY: the instruction set is there.
                    unsafe { $add(self, b) }
                }
            }
        };
    }

    #[inline(always)]
    unsafe fn first_f32(len: usize) -> __m256i {
        // SAFETY: only called where AVX2 is there.
        unsafe { _mm256_cmpgt_epi32(_mm256_set1_epi32(len as i32), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7)) }
    }

    #[inline(always)]
    unsafe fn first_f64(len: usize) -> __m256i {
        // SAFETY: as above.
        unsafe { _mm256_cmpgt_epi64(_mm256_set1_epi64x(len as i64), _mm256_setr_epi64x(0, 1, 2, 3)) }
    }

    #[inline(always)]
    unsafe fn first_16(len: usize) -> __mmask16 {
        ((1_u32 << len) - 1) as __mmask16
    }

    #[inline(always)]
    unsafe fn first_8(len: usize) -> __mmask8 {
        ((1_u32 << len) - 1) as __mmask8
    }

    #[inline(always)]
    unsafe fn load_first_16(from: *const f32, mask: __mmask16) -> __m512 {
        // SAFETY: only called where AVX-512 is there; the caller vouches for the elements of the mask.
        unsafe { _mm512_maskz_loadu_ps(mask, from) }
    }

    #[inline(always)]
    unsafe fn load_first_8(from: *const f64, mask: __mmask8) -> __m512d {
        // SAFETY: as above.
        unsafe { _mm512_maskz_loadu_pd(mask, from) }
    }

    x86_lane!(
        __m256,
        f32,
        8,
        _mm256_set1_ps,
        _mm256_loadu_ps,
        _mm256_storeu_ps,
        _mm256_fmadd_ps,
        _mm256_add_ps,
        first_f32,
        _mm256_maskload_ps,
        _mm256_maskstore_ps
    );
    x86_lane!(
        __m256d,
        f64,
        4,
        _mm256_set1_pd,
        _mm256_loadu_pd,
        _mm256_storeu_pd,
        _mm256_fmadd_pd,
        _mm256_add_pd,
        first_f64,
        _mm256_maskload_pd,
        _mm256_maskstore_pd
    );
    x86_lane!(
        __m512,
        f32,
        16,
        _mm512_set1_ps,
        _mm512_loadu_ps,
        _mm512_storeu_ps,
        _mm512_fmadd_ps,
        _mm512_add_ps,
        first_16,
        load_first_16,
        _mm512_mask_storeu_ps
    );
    x86_lane!(
        __m512d,
        f64,
        8,
        _mm512_set1_pd,
        _mm512_loadu_pd,
        _mm512_storeu_pd,
        _mm512_fmadd_pd,
        _mm512_add_pd,
        first_8,
        load_first_8,
        _mm512_mask_storeu_pd
    );
}
