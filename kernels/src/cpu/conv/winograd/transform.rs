//! The transforms of Winograd's convolution, for 4 x 4 results of a kernel of 3 x 3.
//!
//! Along one dimension, four results of three taps are values of a polynomial's coefficients. Six points tell it: 0, 3/4, -3/4,
//! 3/2, -3/2 and infinity. The customary 1 and 2 in place of 3/4 and 3/2 make errors twice as large, and the largest ones three times.
//! Each transform is applied to the rows and to the columns of a square, for as many channels at a time as fill a vector.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{__m256, __m512};
use std::mem::MaybeUninit;

use crate::cpu::matmul::lane::Lane;
use crate::cpu::simd::Isa;

/// The results along a side of a tile, the points, and the taps.
pub const RESULTS: usize = 4;
pub const POINTS: usize = 6;
pub const TAPS: usize = 3;

/// The points other than zero and infinity are these and their negatives.
const A: f32 = 0.75;
const B: f32 = 1.5;

/// Squares of numbers, of which each has `len` channels, to be transformed into squares.
pub struct Squares<const N: usize, const M: usize> {
    pub from: [[*const f32; N]; N],
    pub to: [[*mut f32; M]; M],
    pub len: usize,
    /// Whether `to` has room for whole vectors, which are then filled up with what zeros become.
    pub whole: bool,
    /// What is added to every result, a number for each channel; nothing if null.
    pub base: *const f32,
}

/// A transform's code for one instruction set.
///
/// # Safety
/// To be called with as many elements as said behind every pointer, and nobody else may use those of `to`.
type Code<const N: usize, const M: usize> = unsafe fn(&Squares<N, M>);

/// The code of all transforms for one instruction set.
pub struct Transforms {
    /// Images to points.
    pub images: Code<POINTS, POINTS>,
    /// Points to results.
    pub results: Code<POINTS, RESULTS>,
    /// Weights to points.
    pub weights: Code<TAPS, POINTS>,
    /// Gradients of results to points: the transpose of `results`.
    pub slopes: Code<RESULTS, POINTS>,
    /// Points to gradients of weights: the transpose of `weights`.
    pub sums: Code<POINTS, TAPS>,
}

/// A transform along one dimension.
trait Along<const N: usize, const M: usize> {
    /// # Safety
    /// The instruction set of `V` is there.
    unsafe fn apply<V: Lane<Elem = f32>>(x: [V; N]) -> [V; M];
}

/// `c x + y`.
///
/// # Safety
/// The instruction set of `V` is there.
#[inline(always)]
unsafe fn add<V: Lane<Elem = f32>>(c: f32, x: V, y: V) -> V {
    // SAFETY: passed on.
    unsafe { x.mul_add(V::splat(c), y) }
}

/// `c x`.
///
/// # Safety
/// The instruction set of `V` is there.
#[inline(always)]
unsafe fn times<V: Lane<Elem = f32>>(c: f32, x: V) -> V {
    // SAFETY: passed on.
    unsafe { x.mul_add(V::splat(c), V::splat(0.0)) }
}

struct Images;

impl Along<POINTS, POINTS> for Images {
    #[inline(always)]
    unsafe fn apply<V: Lane<Elem = f32>>(x: [V; POINTS]) -> [V; POINTS] {
        const PRODUCT: f32 = A * A * B * B;
        const SUM: f32 = A * A + B * B;
        // SAFETY: the caller has the instruction set.
        unsafe {
            let (even_a, odd_a) = (add(-B * B, x[2], x[4]), add(-B * B, x[1], x[3]));
            let (even_b, odd_b) = (add(-A * A, x[2], x[4]), add(-A * A, x[1], x[3]));
            [
                add(PRODUCT, x[0], add(-SUM, x[2], x[4])),
                add(A, odd_a, even_a),
                add(-A, odd_a, even_a),
                add(B, odd_b, even_b),
                add(-B, odd_b, even_b),
                add(PRODUCT, x[1], add(-SUM, x[3], x[5])),
            ]
        }
    }
}

struct Results;

impl Along<POINTS, RESULTS> for Results {
    #[inline(always)]
    unsafe fn apply<V: Lane<Elem = f32>>(x: [V; POINTS]) -> [V; RESULTS] {
        // SAFETY: the caller has the instruction set.
        unsafe {
            let (sum_a, difference_a) = (x[1].add(x[2]), add(-1.0, x[2], x[1]));
            let (sum_b, difference_b) = (x[3].add(x[4]), add(-1.0, x[4], x[3]));
            [
                x[0].add(sum_a).add(sum_b),
                add(A, difference_a, times(B, difference_b)),
                add(A * A, sum_a, times(B * B, sum_b)),
                add(A * A * A, difference_a, add(B * B * B, difference_b, x[5])),
            ]
        }
    }
}

/// What the polynomial's coefficients are divided by at each point.
const AT_ZERO: f32 = 1.0 / (A * A * B * B);
const AT_A: f32 = 1.0 / (2.0 * A * A * (A * A - B * B));
const AT_B: f32 = 1.0 / (2.0 * B * B * (B * B - A * A));

struct Weights;

impl Along<TAPS, POINTS> for Weights {
    #[inline(always)]
    unsafe fn apply<V: Lane<Elem = f32>>(x: [V; TAPS]) -> [V; POINTS] {
        // SAFETY: the caller has the instruction set.
        unsafe {
            let even_a = times(AT_A, add(A * A, x[2], x[0]));
            let even_b = times(AT_B, add(B * B, x[2], x[0]));
            [
                times(AT_ZERO, x[0]),
                add(AT_A * A, x[1], even_a),
                add(-AT_A * A, x[1], even_a),
                add(AT_B * B, x[1], even_b),
                add(-AT_B * B, x[1], even_b),
                x[2],
            ]
        }
    }
}

struct Slopes;

impl Along<RESULTS, POINTS> for Slopes {
    #[inline(always)]
    unsafe fn apply<V: Lane<Elem = f32>>(x: [V; RESULTS]) -> [V; POINTS] {
        // SAFETY: the caller has the instruction set.
        unsafe {
            let (even_a, odd_a) = (add(A * A, x[2], x[0]), add(A * A, x[3], x[1]));
            let (even_b, odd_b) = (add(B * B, x[2], x[0]), add(B * B, x[3], x[1]));
            [x[0], add(A, odd_a, even_a), add(-A, odd_a, even_a), add(B, odd_b, even_b), add(-B, odd_b, even_b), x[3]]
        }
    }
}

struct Sums;

impl Along<POINTS, TAPS> for Sums {
    #[inline(always)]
    unsafe fn apply<V: Lane<Elem = f32>>(x: [V; POINTS]) -> [V; TAPS] {
        // SAFETY: the caller has the instruction set.
        unsafe {
            let (sum_a, difference_a) = (x[1].add(x[2]), add(-1.0, x[2], x[1]));
            let (sum_b, difference_b) = (x[3].add(x[4]), add(-1.0, x[4], x[3]));
            [
                add(AT_ZERO, x[0], add(AT_A, sum_a, times(AT_B, sum_b))),
                add(AT_A * A, difference_a, times(AT_B * B, difference_b)),
                add(AT_A * A * A, sum_a, add(AT_B * B * B, sum_b, x[5])),
            ]
        }
    }
}

/// Transforms the columns of squares, and then the rows.
///
/// # Safety
/// As for [`Code`]; the caller enables the instruction set of `V`.
#[inline(always)]
#[expect(clippy::needless_range_loop, reason = "plain indices with constant bounds keep arrays in registers")]
unsafe fn transform<V: Lane<Elem = f32>, F: Along<N, M>, const N: usize, const M: usize>(s: &Squares<N, M>) {
    // SAFETY: passed on; blocks of channels lie within those that there are.
    unsafe {
        for at in (0..s.len).step_by(V::LANES) {
            let len = (s.len - at).min(V::LANES);
            // Written before it is read; to fill it first would take as long as to write it.
            let mut columns = [[MaybeUninit::<V>::uninit(); N]; M];
            for j in 0..N {
                let mut x = [V::splat(0.0); N];
                for i in 0..N {
                    let from = s.from[i][j].add(at);
                    x[i] = if len == V::LANES { V::load(from) } else { V::load_first(from, len) };
                }
                let y = F::apply(x);
                for i in 0..M {
                    columns[i][j].write(y[i]);
                }
            }
            let base = if s.base.is_null() { V::splat(0.0) } else { V::load_first(s.base.add(at), len) };
            for i in 0..M {
                let mut y = F::apply(columns[i].map(|x| x.assume_init()));
                for j in 0..M {
                    if !s.base.is_null() {
                        y[j] = y[j].add(base);
                    }
                    let to = s.to[i][j].add(at);
                    if s.whole || len == V::LANES { y[j].store(to) } else { y[j].store_first(to, len) }
                }
            }
        }
    }
}

/// Compiles all transforms for an instruction set.
macro_rules! transforms {
    ($name:ident, $Lane:ty $(, $feature:literal)?) => {
        static $name: Transforms = {
            $(#[target_feature(enable = $feature)])?
            unsafe fn images(s: &Squares<POINTS, POINTS>) {
                // SAFETY: passed on to the caller; the instruction set is enabled here.
                unsafe { transform::<$Lane, Images, POINTS, POINTS>(s) }
            }
            $(#[target_feature(enable = $feature)])?
            unsafe fn results(s: &Squares<POINTS, RESULTS>) {
                // SAFETY: as above.
                unsafe { transform::<$Lane, Results, POINTS, RESULTS>(s) }
            }
            $(#[target_feature(enable = $feature)])?
            unsafe fn weights(s: &Squares<TAPS, POINTS>) {
                // SAFETY: as above.
                unsafe { transform::<$Lane, Weights, TAPS, POINTS>(s) }
            }
            $(#[target_feature(enable = $feature)])?
            unsafe fn slopes(s: &Squares<RESULTS, POINTS>) {
                // SAFETY: as above.
                unsafe { transform::<$Lane, Slopes, RESULTS, POINTS>(s) }
            }
            $(#[target_feature(enable = $feature)])?
            unsafe fn sums(s: &Squares<POINTS, TAPS>) {
                // SAFETY: as above.
                unsafe { transform::<$Lane, Sums, POINTS, TAPS>(s) }
            }
            Transforms { images, results, weights, slopes, sums }
        };
    };
}

transforms!(BASELINE, wide::f32x4);
#[cfg(target_arch = "x86_64")]
transforms!(AVX2, __m256, "avx2,fma");
#[cfg(target_arch = "x86_64")]
transforms!(AVX512, __m512, "avx512f,avx512vl,avx512bw,avx512dq,avx2,fma");

/// The transforms of the instruction set in use.
pub fn transforms() -> &'static Transforms {
    match Isa::get() {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => &AVX512,
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => &AVX2,
        _ => &BASELINE,
    }
}
