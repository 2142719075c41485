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
    type Elem: Copy + Default + Add<Output = Self::Elem> + MulAdd;
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
    /// `self * b + c`.
    unsafe fn mul_add(self, b: Self, c: Self) -> Self;
    /// `self + b`.
    unsafe fn add(self, b: Self) -> Self;
    /// Copies the transposed part of a square of [`Lane::LANES`] rows; `from` has as many rows as `to` has columns, and the
    /// other way round.
    unsafe fn transpose(from: Square<*const Self::Elem>, to: Square<*mut Self::Elem>);
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

/// Asks for the cache line of `at`, which will be read or written soon.
#[inline(always)]
pub(in crate::cpu) fn prefetch<T>(at: *const T) {
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
mod x86 {
    use std::arch::x86_64::*;

    use super::{Lane, Square};

    /// Lanes of `std::arch`; `$mask` makes of a length what selects the first elements.
    macro_rules! x86_lane {
        ($Lane:ident, $T:ty, $lanes:literal, $splat:ident, $load:ident, $store:ident, $stream:ident, $fma:ident,
         $add:ident, $mask:ident, $load_first:ident, $store_first:ident, $transposed:ident) => {
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
                unsafe fn stream(self, to: *mut $T) {
                    // SAFETY: as above, and the caller vouches for the alignment.
                    unsafe { $stream(to, self) }
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
                #[inline(always)]
                unsafe fn transpose(from: Square<*const $T>, to: Square<*mut $T>) {
                    transpose!($Lane, $lanes, from, to, $transposed)
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

    // Transposing a square exchanges its halves, quarters and so on; each step works on pairs of registers. Pairs, then
    // quads, are woven within the 128-bit parts of a register; then whole parts change places.

    #[inline(always)]
    unsafe fn transposed_4(r: [__m256d; 4]) -> [__m256d; 4] {
        // SAFETY: only called where AVX2 is there.
        unsafe {
            let [a, b, c, d] = [
                _mm256_unpacklo_pd(r[0], r[1]),
                _mm256_unpackhi_pd(r[0], r[1]),
                _mm256_unpacklo_pd(r[2], r[3]),
                _mm256_unpackhi_pd(r[2], r[3]),
            ];
            [
                _mm256_permute2f128_pd::<0x20>(a, c),
                _mm256_permute2f128_pd::<0x20>(b, d),
                _mm256_permute2f128_pd::<0x31>(a, c),
                _mm256_permute2f128_pd::<0x31>(b, d),
            ]
        }
    }

    /// The columns `j` and `j + 4` of four rows, for each `j` below 4.
    #[inline(always)]
    unsafe fn woven_8([a, b, c, d]: [__m256; 4]) -> [__m256; 4] {
        // SAFETY: as for its caller.
        unsafe {
            let low = _mm256_castps_pd(_mm256_unpacklo_ps(a, b));
            let high = _mm256_castps_pd(_mm256_unpackhi_ps(a, b));
            let (low_too, high_too) = (_mm256_unpacklo_ps(c, d), _mm256_unpackhi_ps(c, d));
            let (low_too, high_too) = (_mm256_castps_pd(low_too), _mm256_castps_pd(high_too));
            [
                _mm256_castpd_ps(_mm256_unpacklo_pd(low, low_too)),
                _mm256_castpd_ps(_mm256_unpackhi_pd(low, low_too)),
                _mm256_castpd_ps(_mm256_unpacklo_pd(high, high_too)),
                _mm256_castpd_ps(_mm256_unpackhi_pd(high, high_too)),
            ]
        }
    }

    #[inline(always)]
    unsafe fn transposed_8(r: [__m256; 8]) -> [__m256; 8] {
        // SAFETY: only called where AVX2 is there.
        unsafe {
            let [a, b, c, d, e, f, g, h] = r;
            let (top, bottom) = (woven_8([a, b, c, d]), woven_8([e, f, g, h]));
            let mut columns = r;
            for j in 0..4 {
                columns[j] = _mm256_permute2f128_ps::<0x20>(top[j], bottom[j]);
                columns[j + 4] = _mm256_permute2f128_ps::<0x31>(top[j], bottom[j]);
            }
            columns
        }
    }

    #[inline(always)]
    unsafe fn transposed_8_wide(r: [__m512d; 8]) -> [__m512d; 8] {
        // SAFETY: only called where AVX-512 is there.
        unsafe {
            let mut columns = r;
            for j in 0..2 {
                let mut pairs = [r[0]; 4];
                for i in 0..4 {
                    // Columns `j`, `j + 2`, `j + 4` and `j + 6` of two rows.
                    let (row, next) = (r[2 * i], r[2 * i + 1]);
                    pairs[i] = if j == 0 { _mm512_unpacklo_pd(row, next) } else { _mm512_unpackhi_pd(row, next) };
                }
                let [a, b, c, d] = pairs;
                let (even, odd) = (_mm512_shuffle_f64x2::<0x88>(a, b), _mm512_shuffle_f64x2::<0xdd>(a, b));
                let (even_too, odd_too) = (_mm512_shuffle_f64x2::<0x88>(c, d), _mm512_shuffle_f64x2::<0xdd>(c, d));
                columns[j] = _mm512_shuffle_f64x2::<0x88>(even, even_too);
                columns[j + 2] = _mm512_shuffle_f64x2::<0x88>(odd, odd_too);
                columns[j + 4] = _mm512_shuffle_f64x2::<0xdd>(even, even_too);
                columns[j + 6] = _mm512_shuffle_f64x2::<0xdd>(odd, odd_too);
            }
            columns
        }
    }

    /// The columns `j`, `j + 4`, `j + 8` and `j + 12` of four rows, for each `j` below 4.
    #[inline(always)]
    unsafe fn woven_16([a, b, c, d]: [__m512; 4]) -> [__m512; 4] {
        // SAFETY: as for its caller.
        unsafe {
            let low = _mm512_castps_pd(_mm512_unpacklo_ps(a, b));
            let high = _mm512_castps_pd(_mm512_unpackhi_ps(a, b));
            let (low_too, high_too) = (_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d));
            let (low_too, high_too) = (_mm512_castps_pd(low_too), _mm512_castps_pd(high_too));
            [
                _mm512_castpd_ps(_mm512_unpacklo_pd(low, low_too)),
                _mm512_castpd_ps(_mm512_unpackhi_pd(low, low_too)),
                _mm512_castpd_ps(_mm512_unpacklo_pd(high, high_too)),
                _mm512_castpd_ps(_mm512_unpackhi_pd(high, high_too)),
            ]
        }
    }

    #[inline(always)]
    unsafe fn transposed_16(r: [__m512; 16]) -> [__m512; 16] {
        // SAFETY: only called where AVX-512 is there.
        unsafe {
            let first = woven_16([r[0], r[1], r[2], r[3]]);
            let second = woven_16([r[4], r[5], r[6], r[7]]);
            let third = woven_16([r[8], r[9], r[10], r[11]]);
            let fourth = woven_16([r[12], r[13], r[14], r[15]]);
            let mut columns = r;
            for j in 0..4 {
                let [a, b, c, d] = [first[j], second[j], third[j], fourth[j]];
                let (even, odd) = (_mm512_shuffle_f32x4::<0x88>(a, b), _mm512_shuffle_f32x4::<0xdd>(a, b));
                let (even_too, odd_too) = (_mm512_shuffle_f32x4::<0x88>(c, d), _mm512_shuffle_f32x4::<0xdd>(c, d));
                columns[j] = _mm512_shuffle_f32x4::<0x88>(even, even_too);
                columns[j + 4] = _mm512_shuffle_f32x4::<0x88>(odd, odd_too);
                columns[j + 8] = _mm512_shuffle_f32x4::<0xdd>(even, even_too);
                columns[j + 12] = _mm512_shuffle_f32x4::<0xdd>(odd, odd_too);
            }
            columns
        }
    }

    x86_lane!(
        __m256,
        f32,
        8,
        _mm256_set1_ps,
        _mm256_loadu_ps,
        _mm256_storeu_ps,
        _mm256_storeu_ps,
        _mm256_fmadd_ps,
        _mm256_add_ps,
        first_f32,
        _mm256_maskload_ps,
        _mm256_maskstore_ps,
        transposed_8
    );
    x86_lane!(
        __m256d,
        f64,
        4,
        _mm256_set1_pd,
        _mm256_loadu_pd,
        _mm256_storeu_pd,
        _mm256_storeu_pd,
        _mm256_fmadd_pd,
        _mm256_add_pd,
        first_f64,
        _mm256_maskload_pd,
        _mm256_maskstore_pd,
        transposed_4
    );
    x86_lane!(
        __m512,
        f32,
        16,
        _mm512_set1_ps,
        _mm512_loadu_ps,
        _mm512_storeu_ps,
        _mm512_stream_ps,
        _mm512_fmadd_ps,
        _mm512_add_ps,
        first_16,
        load_first_16,
        _mm512_mask_storeu_ps,
        transposed_16
    );
    x86_lane!(
        __m512d,
        f64,
        8,
        _mm512_set1_pd,
        _mm512_loadu_pd,
        _mm512_storeu_pd,
        _mm512_stream_pd,
        _mm512_fmadd_pd,
        _mm512_add_pd,
        first_8,
        load_first_8,
        _mm512_mask_storeu_pd,
        transposed_8_wide
    );
}
