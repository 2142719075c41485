//! Vector registers of each instruction set, behind one small trait, so that there is one microkernel.

use std::ops::Add;
use std::ptr;

/// A vector register full of numbers.
///
/// # Safety
/// Every function may only run on machines with the register's instruction set, inside a function that enables it.
/// Functions that take pointers read or write exactly the elements that they name.
pub(super) trait Lane: Copy {
    /// The type of one number.
    type Elem: Copy + Default + Add<Output = Self::Elem>;
    /// How many numbers a register holds.
    const LANES: usize;

    /// `x` in every place.
    unsafe fn splat(x: Self::Elem) -> Self;
    /// The [`Lane::LANES`] numbers from `from` on; any alignment.
    unsafe fn load(from: *const Self::Elem) -> Self;
    /// Writes all numbers from `to` on; any alignment.
    unsafe fn store(self, to: *mut Self::Elem);
    /// Writes the first `len` numbers, with `len <= LANES`, or adds them to what is there.
    unsafe fn store_first(self, to: *mut Self::Elem, len: usize, accumulate: bool);
    /// `self * b + c`.
    unsafe fn mul_add(self, b: Self, c: Self) -> Self;
    /// `self + b`.
    unsafe fn add(self, b: Self) -> Self;
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
            unsafe fn store_first(self, to: *mut $T, len: usize, accumulate: bool) {
                for (i, &x) in self.to_array()[..len].iter().enumerate() {
                    // SAFETY: as above.
                    unsafe { *to.add(i) = if accumulate { *to.add(i) + x } else { x } }
                }
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

#[cfg(not(target_arch = "aarch64"))]
wide_lane!(f32x4, f32, 4);
#[cfg(not(target_arch = "aarch64"))]
wide_lane!(f64x2, f64, 2);
#[cfg(target_arch = "aarch64")]
wide_lane!(f32x8, f32, 8);
#[cfg(target_arch = "aarch64")]
wide_lane!(f64x4, f64, 4);

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::Lane;

    /// Lanes of `std::arch`. The mask that `$mask` makes of a length selects the first elements.
    macro_rules! x86_lane {
        ($Lane:ident, $T:ty, $lanes:literal, $splat:ident, $load:ident, $store:ident, $fma:ident, $add:ident,
         |$len:ident| $mask:expr, |$from:ident, $m:ident| $load_first:expr, |$to:ident, $n:ident, $x:ident| $store_first:expr) => {
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
                unsafe fn store_first(self, $to: *mut $T, $len: usize, accumulate: bool) {
                    // SAFETY: as above; what the mask leaves out is neither read nor written.
                    unsafe {
                        let $n = $mask;
                        let $x = if accumulate {
                            let ($from, $m) = ($to.cast_const(), $n);
                            $add(self, $load_first)
                        } else {
                            self
                        };
                        $store_first
                    }
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

    x86_lane!(
        __m256,
        f32,
        8,
        _mm256_set1_ps,
        _mm256_loadu_ps,
        _mm256_storeu_ps,
        _mm256_fmadd_ps,
        _mm256_add_ps,
        |len| _mm256_cmpgt_epi32(_mm256_set1_epi32(len as i32), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7)),
        |from, mask| _mm256_maskload_ps(from, mask),
        |to, mask, x| _mm256_maskstore_ps(to, mask, x)
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
        |len| _mm256_cmpgt_epi64(_mm256_set1_epi64x(len as i64), _mm256_setr_epi64x(0, 1, 2, 3)),
        |from, mask| _mm256_maskload_pd(from, mask),
        |to, mask, x| _mm256_maskstore_pd(to, mask, x)
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
        |len| ((1_u32 << len) - 1) as __mmask16,
        |from, mask| _mm512_maskz_loadu_ps(mask, from),
        |to, mask, x| _mm512_mask_storeu_ps(to, mask, x)
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
        |len| ((1_u32 << len) - 1) as __mmask8,
        |from, mask| _mm512_maskz_loadu_pd(mask, from),
        |to, mask, x| _mm512_mask_storeu_pd(to, mask, x)
    );
}
