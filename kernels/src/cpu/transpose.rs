//! Transposing matrices of 32-bit words, a square of whole cache lines at a time.
//!
//! A square is read into registers, turned there, and written, so each cache line is read once and written once, whole;
//! it matters little then that lines a power of two apart push each other out of the cache, as they do in most matrices.
//! Whole lines may also be written past the caches: see [`stream`](super::stream).

use super::cache::caches;
use super::simd::Isa;

/// The side of a square: the words of a cache line.
pub const SIDE: usize = 16;

/// How many rows of a result to make at a time: enough for the lines of `x` to be read as long streams.
pub const BAND: usize = 256;

/// Whether a result of so many bytes is to be written past the caches. That pays much earlier than for results written in
/// order, whose lines the machine fetches ahead of the stores.
fn streams(bytes: usize) -> bool {
    bytes >= 2 * caches().l2
}

/// `y[r * columns + c] = x[c * stride + r]` for as many rows `r` of `columns` elements as `y` has.
///
/// `total` is the size of the whole result in bytes, of which `y` may be a part.
///
/// # Panics
/// If `x` ends before the last element that is read.
pub fn transpose(x: &[u32], stride: usize, y: &mut [u32], columns: usize, total: usize) {
    let rows = y.len() / columns.max(1);
    if rows == 0 {
        return;
    }
    let (whole_rows, whole_columns) = (rows / SIDE * SIDE, columns / SIDE * SIDE);
    assert!((columns - 1) * stride + rows <= x.len(), "the matrix ends before its last element");
    // Every row then begins at a cache line.
    let aligned = y.as_ptr().align_offset(4 * SIDE) == 0 && columns.is_multiple_of(SIDE);
    let stream = aligned && streams(total);
    for c in (0..whole_columns).step_by(SIDE) {
        // Along the lines of `x`, which are then read as streams that the machine sees coming.
        for r in (0..whole_rows).step_by(SIDE) {
            let (from, to) = (&x[c * stride + r..], &mut y[r * columns + c..]);
            assert!((SIDE - 1) * stride + SIDE <= from.len() && (SIDE - 1) * columns + SIDE <= to.len());
            match (Isa::get(), stream) {
                // SAFETY: `Isa::get` names what the machine has; the assertion covers the last element of the square, and
                // rows are aligned where `stream` says so.
                #[cfg(target_arch = "x86_64")]
                (Isa::Avx512, true) => unsafe {
                    x86::square_avx512::<true>(from.as_ptr(), stride, to.as_mut_ptr(), columns);
                },
                // SAFETY: as above.
                #[cfg(target_arch = "x86_64")]
                (Isa::Avx512, false) => unsafe {
                    x86::square_avx512::<false>(from.as_ptr(), stride, to.as_mut_ptr(), columns);
                },
                // SAFETY: as above.
                #[cfg(target_arch = "x86_64")]
                (Isa::Avx2, true) => unsafe {
                    x86::square_avx2::<true>(from.as_ptr(), stride, to.as_mut_ptr(), columns);
                },
                // SAFETY: as above.
                #[cfg(target_arch = "x86_64")]
                (Isa::Avx2, false) => unsafe {
                    x86::square_avx2::<false>(from.as_ptr(), stride, to.as_mut_ptr(), columns)
                },
                _ => plain(from, stride, to, columns, SIDE, 0..SIDE),
            }
        }
        if whole_rows < rows {
            let (from, to) = (&x[c * stride + whole_rows..], &mut y[whole_rows * columns + c..]);
            plain(from, stride, to, columns, rows - whole_rows, 0..SIDE);
        }
    }
    plain(x, stride, y, columns, rows, whole_columns..columns);
    super::stream::fence();
}

/// [`transpose`] for some columns of the first `rows` rows, an element at a time.
fn plain(x: &[u32], stride: usize, y: &mut [u32], row_stride: usize, rows: usize, columns: std::ops::Range<usize>) {
    for r in 0..rows {
        for c in columns.clone() {
            y[r * row_stride + c] = x[c * stride + r];
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    /// Turns a square of 16 by 16.
    ///
    /// # Safety
    /// Lines of 16 words that start `stride` apart from `x` on must be readable, and so apart from `y` on writable;
    /// the latter aligned to their size where they are written past the caches (`STREAM`).
    #[target_feature(enable = "avx512f")]
    pub unsafe fn square_avx512<const STREAM: bool>(x: *const u32, stride: usize, y: *mut u32, row_stride: usize) {
        let mut a = [_mm512_setzero_si512(); 16];
        let mut b = a;
        for (i, a) in a.iter_mut().enumerate() {
            // SAFETY: the caller's promise.
            *a = unsafe { _mm512_loadu_si512(x.add(i * stride).cast()) };
        }
        // Words, then pairs of words change places within quarters of registers, then the quarters themselves.
        for i in 0..8 {
            b[2 * i] = _mm512_unpacklo_epi32(a[2 * i], a[2 * i + 1]);
            b[2 * i + 1] = _mm512_unpackhi_epi32(a[2 * i], a[2 * i + 1]);
        }
        for i in 0..4 {
            a[4 * i] = _mm512_unpacklo_epi64(b[4 * i], b[4 * i + 2]);
            a[4 * i + 1] = _mm512_unpackhi_epi64(b[4 * i], b[4 * i + 2]);
            a[4 * i + 2] = _mm512_unpacklo_epi64(b[4 * i + 1], b[4 * i + 3]);
            a[4 * i + 3] = _mm512_unpackhi_epi64(b[4 * i + 1], b[4 * i + 3]);
        }
        for i in 0..4 {
            b[i] = _mm512_shuffle_i32x4::<0x88>(a[i], a[4 + i]);
            b[4 + i] = _mm512_shuffle_i32x4::<0xdd>(a[i], a[4 + i]);
            b[8 + i] = _mm512_shuffle_i32x4::<0x88>(a[8 + i], a[12 + i]);
            b[12 + i] = _mm512_shuffle_i32x4::<0xdd>(a[8 + i], a[12 + i]);
        }
        for i in 0..4 {
            a[i] = _mm512_shuffle_i32x4::<0x88>(b[i], b[8 + i]);
            a[8 + i] = _mm512_shuffle_i32x4::<0xdd>(b[i], b[8 + i]);
            a[4 + i] = _mm512_shuffle_i32x4::<0x88>(b[4 + i], b[12 + i]);
            a[12 + i] = _mm512_shuffle_i32x4::<0xdd>(b[4 + i], b[12 + i]);
        }
        for (i, &a) in a.iter().enumerate() {
            // SAFETY: the caller's promise.
            unsafe {
                let to = y.add(i * row_stride).cast();
                if STREAM { _mm512_stream_si512(to, a) } else { _mm512_storeu_si512(to, a) }
            }
        }
    }

    /// As [`square_avx512`], in four squares of 8 by 8.
    ///
    /// # Safety
    /// As there.
    #[target_feature(enable = "avx2")]
    pub unsafe fn square_avx2<const STREAM: bool>(x: *const u32, stride: usize, y: *mut u32, row_stride: usize) {
        for r in [0, 8] {
            // SAFETY: the caller's promise.
            let (left, right) = unsafe { (turned(x.add(r), stride), turned(x.add(8 * stride + r), stride)) };
            // Both halves of a line at once: what is written past the caches goes out in whole lines only then.
            for (i, halves) in left.into_iter().zip(right).enumerate() {
                for (at, half) in [(0, halves.0), (8, halves.1)] {
                    // SAFETY: the caller's promise.
                    unsafe {
                        let to = y.add((r + i) * row_stride + at).cast();
                        if STREAM { _mm256_stream_si256(to, half) } else { _mm256_storeu_si256(to, half) }
                    }
                }
            }
        }
    }

    /// The columns of a square of 8 by 8.
    ///
    /// # Safety
    /// Lines of 8 words that start `stride` apart from `x` on must be readable.
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn turned(x: *const u32, stride: usize) -> [__m256i; 8] {
        let mut a = [_mm256_setzero_si256(); 8];
        let mut b = a;
        for (i, a) in a.iter_mut().enumerate() {
            // SAFETY: the caller's promise.
            *a = unsafe { _mm256_loadu_si256(x.add(i * stride).cast()) };
        }
        for i in 0..4 {
            b[2 * i] = _mm256_unpacklo_epi32(a[2 * i], a[2 * i + 1]);
            b[2 * i + 1] = _mm256_unpackhi_epi32(a[2 * i], a[2 * i + 1]);
        }
        for i in 0..2 {
            a[4 * i] = _mm256_unpacklo_epi64(b[4 * i], b[4 * i + 2]);
            a[4 * i + 1] = _mm256_unpackhi_epi64(b[4 * i], b[4 * i + 2]);
            a[4 * i + 2] = _mm256_unpacklo_epi64(b[4 * i + 1], b[4 * i + 3]);
            a[4 * i + 3] = _mm256_unpackhi_epi64(b[4 * i + 1], b[4 * i + 3]);
        }
        for i in 0..4 {
            b[i] = _mm256_permute2x128_si256::<0x20>(a[i], a[4 + i]);
            b[4 + i] = _mm256_permute2x128_si256::<0x31>(a[i], a[4 + i]);
        }
        b
    }
}

#[cfg(test)]
mod tests {
    use bytemuck::cast_slice_mut;

    use super::*;
    use crate::{Buffer, DType};

    #[test]
    fn every_element_finds_its_place() {
        for (rows, columns, stride) in [(16, 16, 16), (1, 1, 1), (5, 40, 7), (40, 5, 40), (33, 50, 37), (64, 64, 100)] {
            let x: Vec<u32> = (0..(columns * stride) as u32).collect();
            for total in [0, usize::MAX] {
                let mut y = Buffer::unspecified(DType::I32, rows * columns);
                let y = cast_slice_mut(y.bytes_mut());
                transpose(&x, stride, y, columns, total);
                for (i, &y) in y.iter().enumerate() {
                    assert_eq!(y as usize, i % columns * stride + i / columns, "{rows} x {columns}, {stride} apart");
                }
            }
        }
    }
}
