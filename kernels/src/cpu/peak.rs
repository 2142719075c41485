//! What this machine can do at most: the roof that kernels are measured against.
//!
//! Williams, Waterman and Patterson (2009) call it the roofline: work that does many operations on each byte is bound by
//! arithmetic ([`flops`]), all other work by the memory that its data lie in ([`triad`]). Both are the best of many short
//! runs, since whatever else the machine does can only make them slower.

use std::hint::black_box;
use std::time::{Duration, Instant};

use super::matmul::lane::Lane;
use super::simd::Isa;
use super::threads;
use crate::{Buffer, DType, Result, Scalar};

/// How many chains of operations run beside each other: enough to hide the latency of each (four cycles in two units, or
/// eight where multiplication and addition are two instructions), and few enough for the registers of every set.
const CHAINS: usize = 12;

/// How long to look for the best run.
const PATIENCE: Duration = Duration::from_millis(120);

/// The best rate of `f32` multiply-adds in registers, in operations (two for each) a second, on `count` threads.
///
/// # Errors
/// If the machine lacks the instruction set, or the count is out of range.
pub fn flops(isa: Isa, count: usize) -> Result<f64> {
    isa.require()?;
    threads::with_threads(count, || {
        // Half a millisecond or more, so that handing out the work does not count.
        let rounds = 150_000;
        let lanes = lanes(isa);
        let seconds = best(|| threads::for_tasks(count, &|_| _ = black_box(multiply_adds(isa, rounds))));
        (2 * lanes * CHAINS * rounds * count) as f64 / seconds
    })
}

/// The best rate at which `a = b + s * c` passes over arrays of `len` numbers of type `f32`, in bytes (twelve for each) a
/// second, on up to `count` threads: the triad of McCalpin's STREAM (1995).
///
/// Where the arrays fit into a cache, this is the rate of that cache. The best of one and all threads, with stores that
/// pass by the caches and with plain ones.
///
/// # Errors
/// If the count is out of range.
pub fn triad(len: usize, count: usize) -> Result<f64> {
    threads::with_threads(count, || {
        let array = |value: f64| Buffer::full(DType::F32, len, Scalar::Float(value));
        let (mut a, b, c) = (array(0.0), array(1.0), array(2.0));
        let (a, b, c) = (a.as_mut_slice::<f32>(), b.as_slice::<f32>(), c.as_slice::<f32>());
        let shares = if count > 1 { &[1, count][..] } else { &[1] };
        let mut seconds = f64::INFINITY;
        for &share in shares {
            // Aligned parts for streaming stores; one for each thread, so that it finds its part in its own cache again.
            let chunk = len.div_ceil(share).next_multiple_of(64);
            for pass in [add_scaled as fn(&mut [f32], &[f32], &[f32], f32), add_scaled_streaming] {
                let run = |start: usize, a: &mut [f32]| {
                    let end = start + a.len();
                    pass(a, &b[start..end], &c[start..end], 3.0);
                };
                // Arrays in a near cache are passed over many times for each look at the clock.
                let repeats = (65_536 / len.max(1)).max(1);
                let once = best(|| (0..repeats).for_each(|_| threads::for_chunks(black_box(&mut *a), chunk, &run)));
                seconds = seconds.min(once / repeats as f64);
            }
        }
        (12 * len) as f64 / seconds
    })
}

/// The seconds that the fastest of many runs takes.
fn best(mut run: impl FnMut()) -> f64 {
    run();
    let start = Instant::now();
    let mut seconds = f64::INFINITY;
    while start.elapsed() < PATIENCE {
        let begin = Instant::now();
        run();
        seconds = seconds.min(begin.elapsed().as_secs_f64());
    }
    seconds
}

crate::simd! {
    /// `a = b + s * c`.
    fn add_scaled(a: &mut [f32], b: &[f32], c: &[f32], s: f32) {
        for ((a, &b), &c) in a.iter_mut().zip(b).zip(c) {
            *a = super::simd::mul_add::<FMA, f32>(s, c, b);
        }
    }
}

/// `a = b + s * c`, past the caches: a line of `a` that is written whole need not be read first.
#[cfg(target_arch = "x86_64")]
fn add_scaled_streaming(a: &mut [f32], b: &[f32], c: &[f32], s: f32) {
    use std::arch::x86_64::*;

    let head = a.len() / 4 * 4;
    let aligned = a.as_ptr().align_offset(16) == 0;
    let (a, tail) = a.split_at_mut(if aligned { head } else { 0 });
    for ((a, b), c) in a.chunks_exact_mut(4).zip(b.chunks_exact(4)).zip(c.chunks_exact(4)) {
        // SAFETY: SSE is part of x86-64; all three hold four numbers, and `a` was seen to begin at a multiple of 16 bytes.
        unsafe {
            let sum = _mm_add_ps(_mm_loadu_ps(b.as_ptr()), _mm_mul_ps(_mm_set1_ps(s), _mm_loadu_ps(c.as_ptr())));
            _mm_stream_ps(a.as_mut_ptr(), sum);
        }
    }
    add_scaled(tail, &b[a.len()..], &c[a.len()..], s);
    // Makes the stores visible to other threads before anyone says that they are done.
    // SAFETY: SSE is part of x86-64.
    unsafe { _mm_sfence() };
}

/// `a = b + s * c`; where no stores past the caches are known, the plain way.
#[cfg(not(target_arch = "x86_64"))]
fn add_scaled_streaming(a: &mut [f32], b: &[f32], c: &[f32], s: f32) {
    add_scaled(a, b, c, s);
}

/// How many `f32` a register of the set holds.
fn lanes(isa: Isa) -> usize {
    match isa {
        Isa::Baseline => wide::f32x4::LANES,
        Isa::Avx2 => 8,
        Isa::Avx512 => 16,
    }
}

/// [`CHAINS`] chains of `rounds` multiply-adds of registers; their sum, so that none can be left out.
fn multiply_adds(isa: Isa, rounds: usize) -> f32 {
    match isa {
        // SAFETY: the caller asked whether the set is there.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => unsafe { avx512(rounds) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => unsafe { avx2(rounds) },
        // SAFETY: the baseline is always there.
        _ => unsafe { chains::<wide::f32x4>(rounds) },
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx2,fma")]
fn avx512(rounds: usize) -> f32 {
    // SAFETY: this function enables the instruction set of the register.
    unsafe { chains::<std::arch::x86_64::__m512>(rounds) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn avx2(rounds: usize) -> f32 {
    // SAFETY: as above.
    unsafe { chains::<std::arch::x86_64::__m256>(rounds) }
}

/// # Safety
/// Only in functions that enable the instruction set of `V`.
#[inline(always)]
unsafe fn chains<V: Lane<Elem = f32>>(rounds: usize) -> f32 {
    // SAFETY: the caller vouches for the instruction set; `first` holds as many numbers as a register.
    unsafe {
        // Each chain tends to 1, far from the slow arithmetic of tiny numbers.
        let (factor, term) = (V::splat(black_box(0.75)), V::splat(black_box(0.25)));
        let mut sums = [V::splat(black_box(0.5)); CHAINS];
        for _ in 0..rounds {
            for sum in &mut sums {
                *sum = sum.mul_add(factor, term);
            }
        }
        let total = sums[1..].iter().fold(sums[0], |total, &sum| total.add(sum));
        let mut first = [0.0; 16];
        total.store_first(first.as_mut_ptr(), V::LANES);
        first.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chains_compute_what_they_claim() {
        for isa in Isa::available() {
            let (one, many) = (multiply_adds(isa, 1), multiply_adds(isa, 200));
            let registers = (CHAINS * lanes(isa)) as f32;
            assert_eq!(one, registers * (0.5 * 0.75 + 0.25), "{isa}");
            assert!((many - registers).abs() < 1e-3 * registers, "{isa}: {many}");
        }
    }

    #[test]
    fn both_ways_to_store_add_the_same() {
        let source: Vec<f32> = (0..77).map(|i| i as f32).collect();
        for start in 0..5 {
            let (mut plain, mut streamed) = (vec![0.0; 77], vec![0.0; 77]);
            add_scaled(&mut plain[start..], &source[start..], &source[..77 - start], 0.5);
            add_scaled_streaming(&mut streamed[start..], &source[start..], &source[..77 - start], 0.5);
            assert_eq!(plain, streamed);
            assert_eq!(plain[76], 76.0 + 0.5 * (76 - start) as f32);
        }
    }

    #[test]
    fn peaks_are_numbers_and_wrong_requests_are_refused() {
        let is_rate = |rate: Result<f64>| rate.is_ok_and(|rate| rate.is_finite() && rate > 0.0);
        assert!(is_rate(flops(Isa::Baseline, 1)) && is_rate(triad(1000, 2)));
        assert!(triad(0, 1).unwrap() == 0.0);
        assert!(flops(Isa::Baseline, 0).unwrap_err().to_string().contains("1 to 1024"));
        assert!(triad(10, 5000).unwrap_err().to_string().contains("5000 is out of range"));
    }
}
