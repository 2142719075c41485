//! Functions that take sixteen numbers at a time with AVX-512, where the plain ones keep its arithmetic units busy for
//! longer than memory takes.
//!
//! A register holds sixteen numbers and a pair of them 32, of which one instruction picks sixteen: tables that cost no memory
//! access. So `e^x` needs a short polynomial only, as in Tang, "Table-driven implementation of the exponential function"
//! (1989), and what took a quotient of polynomials is one polynomial for each of many intervals. Those are minimax fits of the
//! relative error, by Lawson's algorithm as in [`math`](super). The functions' last bits differ from those of the plain
//! ones, and their bounds by a unit at most.
//!
//! What is below [`Pack`] uses instructions that are known to be there: it is reached only from the two functions that the
//! compiler builds for them, which are called where the machine was seen to have them, and is copied into these.

mod tables;

use std::arch::asm;
use std::arch::x86_64::*;

use self::tables::{HALF_ROOTS_BELOW, NORMAL, NORMAL_END, NORMAL_STEP, ROOTS, SLOPE, STEP, TANH, TO_EXPONENT};
use crate::Unary;
use crate::cpu::simd::Isa;

/// Numbers in a vector.
const LANES: usize = 16;

/// Adding and subtracting this rounds to 32nds, whose number then stands in the sum's lowest bits.
const TO_32NDS: f32 = 393_216.0;

/// Writes a function of the first slice's elements to the second.
type Loop = fn(&[f32], &mut [f32]);

/// The function for whole slices, if there is one here and the machine can run it.
pub fn of(op: Unary) -> Option<Loop> {
    let run: Loop = match op {
        Unary::Exp => exp_all,
        Unary::Sigmoid => sigmoid_all,
        Unary::Silu => silu_all,
        Unary::Tanh => tanh_all,
        Unary::Gelu => gelu_all,
        _ => return None,
    };
    (Isa::get() == Isa::Avx512).then_some(run)
}

/// Functions of slices.
macro_rules! all {
    ($($name:ident: $f:ident;)*) => {$(
        fn $name(x: &[f32], y: &mut [f32]) {
            #[target_feature(enable = "avx512f,avx512dq")]
            fn run(x: &[f32], y: &mut [f32]) {
                for_packs(x, y, 0.0, |x| $f(x));
            }
            assert!(Isa::Avx512.is_available());
            // SAFETY: this machine was just seen to have the instructions.
            unsafe { run(x, y) }
        }
    )*};
}
all! {
    exp_all: exp;
    sigmoid_all: sigmoid;
    silu_all: silu;
    tanh_all: tanh;
    gelu_all: gelu;
}

/// `e = exp(x - max)`, and the sum of `e` to a few units in the last place; nothing where the machine cannot run this.
pub fn exp_row(x: &[f32], max: f32, e: &mut [f32]) -> Option<f64> {
    // SAFETY: only if this machine was seen to have the instructions.
    (Isa::get() == Isa::Avx512).then(|| unsafe { exp_row_wide(x, max, e) })
}

/// [`exp_row`]. Blocks are added up in their own precision, side by side, and blocks' sums in double precision.
#[target_feature(enable = "avx512f,avx512dq")]
fn exp_row_wide(x: &[f32], max: f32, e: &mut [f32]) -> f64 {
    let max = all(max);
    let mut sum = 0.0;
    for (x, e) in x.chunks(1024).zip(e.chunks_mut(1024)) {
        let mut sums = all(0.0);
        // What fills the last pack up adds nothing.
        for_packs(x, e, f32::NEG_INFINITY, |x| {
            let e = exp_below(sub(x, max));
            sums = add(sums, e);
            e
        });
        let [a, b, c, d] = sums;
        sum += f64::from(_mm512_reduce_add_ps(_mm512_add_ps(_mm512_add_ps(a, b), _mm512_add_ps(c, d))));
    }
    sum
}

/// Vectors that go through a function together: one alone would leave most of the processor waiting for the result of
/// one operation to come into the next.
type Pack = [__m512; 4];

/// Numbers in a pack.
const PACK: usize = 4 * LANES;

/// Calls `f` for all of `x`, a pack at a time, and writes what it returns to `y`. The last pack is filled up with `fill`.
#[inline(always)]
fn for_packs(x: &[f32], y: &mut [f32], fill: f32, mut f: impl FnMut(Pack) -> Pack) {
    // One loop for all packs, since the compiler copies `f` into it only if there is no other call.
    for (x, y) in x.chunks(PACK).zip(y.chunks_mut(PACK)) {
        let values = f(match x.first_chunk() {
            Some(x) => load(x),
            None => load_some(x, fill),
        });
        match y.first_chunk_mut() {
            Some(y) => store(y, values),
            None => store_some(y, values),
        }
    }
}

/// Fewer numbers than a pack has, and `fill` in its other lanes.
#[inline(always)]
fn load_some(x: &[f32], fill: f32) -> Pack {
    let mut pack = all(fill);
    for (i, vector) in pack.iter_mut().enumerate() {
        // SAFETY: the mask has no lane beyond the slice's end; for the instruction, see the module.
        *vector = unsafe { _mm512_mask_loadu_ps(*vector, lanes(x.len(), i), x.as_ptr().wrapping_add(i * LANES)) };
    }
    pack
}

/// Writes as many numbers as there is room for.
#[inline(always)]
fn store_some(y: &mut [f32], pack: Pack) {
    for (i, vector) in pack.into_iter().enumerate() {
        // SAFETY: as for `load_some`.
        unsafe { _mm512_mask_storeu_ps(y.as_mut_ptr().wrapping_add(i * LANES), lanes(y.len(), i), vector) };
    }
}

/// A mask of the lanes of a pack's vector `i` that lie within its first `len`.
#[inline(always)]
fn lanes(len: usize, i: usize) -> __mmask16 {
    (((1u64 << len) - 1) >> (i * LANES)) as __mmask16
}

#[inline(always)]
fn load(x: &[f32; PACK]) -> Pack {
    let mut pack = all(0.0);
    for (vector, x) in pack.iter_mut().zip(x.as_chunks().0) {
        *vector = load_vector(x);
    }
    pack
}

#[inline(always)]
fn load_vector(x: &[f32; LANES]) -> __m512 {
    // SAFETY: there are as many numbers as lanes; for the instruction, see the module.
    unsafe { _mm512_loadu_ps(x.as_ptr()) }
}

#[inline(always)]
fn store(y: &mut [f32; PACK], pack: Pack) {
    for (y, vector) in y.as_chunks_mut::<LANES>().0.iter_mut().zip(pack) {
        // SAFETY: there are as many numbers as lanes; for the instruction, see the module.
        unsafe { _mm512_storeu_ps(y.as_mut_ptr(), vector) };
    }
}

/// The same number in all lanes.
#[inline(always)]
fn all(x: f32) -> Pack {
    // SAFETY: for the instruction, see the module.
    unsafe { [_mm512_set1_ps(x); 4] }
}

/// The same pack, but known to the compiler as four results that are all there before any is used: it would otherwise
/// compute one vector after the other again, to save registers.
#[inline]
#[target_feature(enable = "avx512f")]
fn together([mut a, mut b, mut c, mut d]: Pack) -> Pack {
    // SAFETY: there is no instruction.
    unsafe {
        asm!("/* {} {} {} {} */", inout(zmm_reg) a, inout(zmm_reg) b, inout(zmm_reg) c, inout(zmm_reg) d, options(pure, nomem, nostack, preserves_flags));
    }
    [a, b, c, d]
}

/// Operations on each vector of packs. Of two numbers of which one is NaN, a minimum or maximum is the second.
macro_rules! each {
    ($($name:ident($($x:ident),+): $value:expr;)*) => {$(
        #[inline(always)]
        fn $name($($x: Pack),+) -> Pack {
            #[inline(always)]
            fn one($($x: __m512),+) -> __m512 {
                // SAFETY: for the instruction, see the module.
                unsafe { $value }
            }
            let pack = [one($($x[0]),+), one($($x[1]),+), one($($x[2]),+), one($($x[3]),+)];
            // SAFETY: as above.
            unsafe { together(pack) }
        }
    )*};
}
each! {
    add(a, b): _mm512_add_ps(a, b);
    sub(a, b): _mm512_sub_ps(a, b);
    mul(a, b): _mm512_mul_ps(a, b);
    div(a, b): _mm512_div_ps(a, b);
    mul_add(a, b, c): _mm512_fmadd_ps(a, b, c);
    neg_mul_add(a, b, c): _mm512_fnmadd_ps(a, b, c);
    min(a, b): _mm512_min_ps(a, b);
    max(a, b): _mm512_max_ps(a, b);
    abs(a): _mm512_abs_ps(a);
    or(a, b): _mm512_or_ps(a, b);
    and(a, b): _mm512_and_ps(a, b);
    // `a * 2^floor(n)`, rounded once, also where that is subnormal.
    scale(a, n): _mm512_scalef_ps(a, n);
    // Adds 32nds, in the lowest bits of `n`, to the exponent of `a`.
    double(a, n): {
        let exponent = _mm512_slli_epi32::<TO_EXPONENT>(_mm512_castps_si512(n));
        _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(a), exponent))
    };
    // `value` where `x < limit`.
    choose_below(x, limit, value, other): _mm512_mask_mov_ps(other, _mm512_cmp_ps_mask::<_CMP_LT_OQ>(x, limit), value);
    // Negative infinity times 0 is undefined: answer 3 to class 4 of arguments.
    not_at_infinity(x, value): _mm512_fixupimm_ps::<0>(value, x, _mm512_set1_epi32(3 << 16));
    permute(table, index): _mm512_permutexvar_ps(_mm512_castps_si512(index), table);
    permute_both(low, index, high): _mm512_permutex2var_ps(low, _mm512_castps_si512(index), high);
}

/// Numbers that the lowest bits of `index` pick from a table of one vector or two.
trait Table: Copy {
    fn picked(&self, index: Pack) -> Pack;
}

impl Table for [f32; 16] {
    #[inline(always)]
    fn picked(&self, index: Pack) -> Pack {
        permute([load_vector(self); 4], index)
    }
}

impl Table for [f32; 32] {
    #[inline(always)]
    fn picked(&self, index: Pack) -> Pack {
        let [low, high] = [0, 1].map(|half| [load_vector(&self.as_chunks().0[half]); 4]);
        permute_both(low, index, high)
    }
}

/// The value of the polynomial of `r` whose coefficients `index` picks.
#[inline(always)]
fn polynomial<const N: usize>(tables: &[impl Table; N], index: Pack, r: Pack) -> Pack {
    let mut sum = tables[0].picked(index);
    for table in &tables[1..] {
        sum = mul_add(sum, r, table.picked(index));
    }
    sum
}

/// `e^x` within 2 ulp, for arguments whose size does not matter to rounding.
#[inline(always)]
fn exp_within(x: Pack) -> Pack {
    let shifted = mul_add(x, all(std::f32::consts::LOG2_E), all(TO_32NDS));
    let n = sub(shifted, all(TO_32NDS));
    // ln 2 in two parts, the first short enough for exact products.
    let r = mul_add(n, all(-0.693_359_4), x);
    let r = mul_add(n, all(2.121_944_4e-4), r);
    let root = ROOTS.picked(shifted);
    let p = mul_add(r, all(0.5), all(SLOPE));
    scale(mul_add(p, mul(root, r), root), n)
}

/// `e^x` within 2 ulp.
#[inline(always)]
fn exp(x: Pack) -> Pack {
    exp_within(min(all(89.0), max(all(-104.0), x)))
}

/// [`exp`] of an `x` that is not positive.
#[inline(always)]
fn exp_below(x: Pack) -> Pack {
    exp_within(max(all(-104.0), x))
}

/// `1 + e^-x`, which is infinite below -88.71.
#[inline(always)]
fn one_and_exp_of_negative(x: Pack) -> Pack {
    // From the lower bound to the upper one half the power of two is finite, and no less than the smallest normal number: its
    // bits are made of integers, which takes less than scaling.
    let x = min(all(86.0), max(all(-128.0 * std::f32::consts::LN_2), x));
    // As in `exp_within`, with -1 in the constants, and with twice the polynomial as a square and a constant: the processor adds
    // beside its products, of which there is one less.
    let shifted = neg_mul_add(x, all(std::f32::consts::LOG2_E), all(TO_32NDS));
    let n = sub(shifted, all(TO_32NDS));
    let s = mul_add(n, all(0.693_359_4), x);
    let root = add(s, mul_add(n, all(-2.121_944_4e-4), all(-SLOPE)));
    let double_p = mul_add(root, root, all(2.0 - SLOPE * SLOPE));
    mul_add(double_p, double(HALF_ROOTS_BELOW.picked(shifted), shifted), all(1.0))
}

/// `1 / (1 + e^-x)` within 5 ulp, or 3e-39 where the result is that small.
#[inline(always)]
fn sigmoid(x: Pack) -> Pack {
    div(all(1.0), one_and_exp_of_negative(x))
}

/// `x / (1 + e^-x)` within 5 ulp, or 3e-37 where the result is that small.
#[inline(always)]
fn silu(x: Pack) -> Pack {
    div(x, one_and_exp_of_negative(x))
}

/// The hyperbolic tangent within 5 ulp, as [`TANH`] up to where it rounds to 1.
#[inline(always)]
fn tanh(x: Pack) -> Pack {
    let a = min(all(9.02), abs(x));
    let shifted = mul_add(a, all(1.0 / STEP), all(super::ROUND));
    let r = neg_mul_add(sub(shifted, all(super::ROUND)), all(STEP), a);
    let y = mul(a, polynomial(&TANH, shifted, r));
    or(min(all(1.0), y), and(x, all(-0.0)))
}

/// `x * Phi(x)` within 7 ulp, or 1e-43 where the result is that small: the positive part of `x` less `|x| Phi(-|x|)`.
#[inline(always)]
fn gelu(x: Pack) -> Pack {
    let a = min(all(NORMAL_END), abs(x));
    let shifted = mul_add(a, all(1.0 / NORMAL_STEP), all(super::ROUND));
    let r = neg_mul_add(sub(shifted, all(super::ROUND)), all(NORMAL_STEP), a);
    let y = neg_mul_add(a, polynomial(&NORMAL, shifted, r), max(all(0.0), x));
    // As integers without a sign, negative numbers come after all others, and in the order of their magnitudes.
    let [first, second, third, fourth] = x;
    // SAFETY: for the instructions, see the module.
    let any_beyond = unsafe {
        let furthest = |a, b| _mm512_castsi512_ps(_mm512_max_epu32(_mm512_castps_si512(a), _mm512_castps_si512(b)));
        let furthest = furthest(furthest(first, second), furthest(third, fourth));
        _mm512_cmpgt_epu32_mask(_mm512_castps_si512(furthest), _mm512_set1_epi32((-NORMAL_END).to_bits() as i32)) != 0
    };
    if any_beyond { gelu_beyond(x, y) } else { y }
}

/// [`gelu`] where it is below `-NORMAL_END`, and `y` elsewhere. There `a Phi(-a) e^(a²/2)` is a polynomial of `1/a²`.
#[inline(always)]
fn gelu_beyond(x: Pack, y: Pack) -> Pack {
    // Here the exponential is half the smallest number.
    let a = min(all(14.4), abs(x));
    // As in `exp_within`, with -2 in every constant in place of a product, and no rounding of the square.
    let shifted = mul_add(mul(a, a), all(-0.5 * std::f32::consts::LOG2_E), all(TO_32NDS));
    let n = sub(shifted, all(TO_32NDS));
    let s = mul_add(a, a, mul(n, all(2.0 * 0.693_359_4)));
    let s = mul_add(n, all(-2.0 * 2.121_944_4e-4), s);
    let root = ROOTS.picked(shifted);
    let p = mul_add(s, all(0.125), all(-0.5 * SLOPE));
    let u = div(all(1.0), mul(a, a));
    let mut q = all(-22.154_818);
    for coefficient in [5.463_313, -1.189_911_2, 0.398_899_14, -0.398_942_17] {
        q = mul_add(q, u, all(coefficient));
    }
    let beyond = scale(mul(mul_add(p, mul(root, s), root), q), n);
    choose_below(x, all(-NORMAL_END), not_at_infinity(x, beyond), y)
}
