//! Registers of AVX2 and AVX-512.

use std::arch::x86_64::*;

use super::{Lane, Square};

/// Lanes of `std::arch`; `$mask` makes of a length what selects the first elements. Last come [`Lane::load_twice`],
/// [`Lane::halves`] and [`Lane::second_half`].
macro_rules! x86_lane {
    ($Lane:ident, $T:ty, $lanes:literal, $splat:ident, $load:ident, $store:ident, $stream:ident, $fma:ident,
     $add:ident, $max:ident, $min:ident, $mask:ident, $load_first:ident, $store_first:ident, $transposed:ident,
     |$from:ident| $twice:expr, |$x:ident, $y:ident, $upper:tt| $halves:expr, $second:expr) => {
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
            unsafe fn load_twice($from: *const $T) -> Self {
                // SAFETY: as above.
                unsafe { $twice }
            }
            #[inline(always)]
            unsafe fn halves($x: Self, $y: Self, $upper: u32) -> Self {
                // SAFETY: the instruction set is there.
                unsafe { $halves }
            }
            #[inline(always)]
            unsafe fn second_half(self) -> Self {
                let $x = self;
                // SAFETY: the instruction set is there.
                unsafe { $second }
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
            unsafe fn clamp(self, least: Self, most: Self) -> Self {
                // SAFETY: the instruction set is there. Of a NaN and a number, both instructions give what comes last.
                unsafe { $min(most, $max(least, self)) }
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
    _mm256_max_ps,
    _mm256_min_ps,
    first_f32,
    _mm256_maskload_ps,
    _mm256_maskstore_ps,
    transposed_8,
    |from| _mm256_set_m128(_mm_loadu_ps(from), _mm_loadu_ps(from)),
    |x, y, _| _mm256_insertf128_ps::<1>(x, _mm256_castps256_ps128(y)),
    _mm256_permute2f128_ps::<0x11>(x, x)
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
    _mm256_max_pd,
    _mm256_min_pd,
    first_f64,
    _mm256_maskload_pd,
    _mm256_maskstore_pd,
    transposed_4,
    |from| _mm256_set_m128d(_mm_loadu_pd(from), _mm_loadu_pd(from)),
    |x, y, _| _mm256_insertf128_pd::<1>(x, _mm256_castpd256_pd128(y)),
    _mm256_permute2f128_pd::<0x11>(x, x)
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
    _mm512_max_ps,
    _mm512_min_ps,
    first_16,
    load_first_16,
    _mm512_mask_storeu_ps,
    transposed_16,
    |from| _mm512_broadcast_f32x8(_mm256_loadu_ps(from)),
    |x, y, upper| _mm512_mask_blend_ps(upper as __mmask16, x, y),
    _mm512_shuffle_f32x4::<0xee>(x, x)
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
    _mm512_max_pd,
    _mm512_min_pd,
    first_8,
    load_first_8,
    _mm512_mask_storeu_pd,
    transposed_8_wide,
    |from| _mm512_broadcast_f64x4(_mm256_loadu_pd(from)),
    |x, y, upper| _mm512_mask_blend_pd(upper as __mmask8, x, y),
    _mm512_shuffle_f64x2::<0xee>(x, x)
);
