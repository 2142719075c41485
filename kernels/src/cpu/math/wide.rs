//! Functions that take sixteen numbers at a time with AVX-512, where the plain ones keep its arithmetic units busy for
//! longer than memory takes.
//!
//! A register holds sixteen numbers and a pair of them 32, of which one instruction picks sixteen: tables that cost no memory
//! access. So `e^x` needs a short polynomial only, as in Tang, "Table-driven implementation of the exponential function"
//! (1989), and what took a quotient of polynomials is one polynomial for each of many intervals. Those are minimax fits of the
//! relative error, by Lawson's algorithm as in [`math`](super). The functions keep the bounds of the plain ones; their last bits differ.
//!
//! What is below [`Pack`] uses instructions that are known to be there: it is reached only from the two functions that the
//! compiler builds for them, which are called where the machine was seen to have them, and is copied into these.

use std::arch::asm;
use std::arch::x86_64::*;

use crate::Unary;
use crate::cpu::simd::Isa;

/// Numbers in a vector.
const LANES: usize = 16;

/// Adding and subtracting this rounds to 32nds, whose number then stands in the sum's lowest bits.
const TO_32NDS: f32 = 393_216.0;

/// `2^(j/32)`.
#[rustfmt::skip]
const ROOTS: [f32; 32] = [
    1.0, 1.021_897_2, 1.044_273_7, 1.067_140_5, 1.090_507_7, 1.114_386_8, 1.138_788_6, 1.163_724_9,
    1.189_207_1, 1.215_247_4, 1.241_857_8, 1.269_051, 1.296_839_6, 1.325_236_7, 1.354_255_6, 1.38391,
    std::f32::consts::SQRT_2, 1.445_180_8, 1.476_826_2, 1.509_164_5, 1.542_210_8, 1.575_980_9, 1.610_490_3, 1.645_755_5,
    1.681_792_9, 1.718_619_3, 1.756_252_2, 1.794_709_1, 1.834_008_1, 1.874_167_7, 1.915_206_6, 1.957_144_1,
];

/// Where a number of 32nds goes in the bits of a float, so that each 32 of them double it.
const TO_EXPONENT: u32 = 23 - 5;

/// [`ROOTS`] less what the number of a root adds to their bits, when all 32nds are added to the exponent at once.
const ROOTS_BELOW: [f32; 32] = {
    let (mut roots, mut j) = (ROOTS, 0);
    while j < roots.len() {
        roots[j] = f32::from_bits(ROOTS[j].to_bits() - ((j as u32) << TO_EXPONENT));
        j += 1;
    }
    roots
};

/// `e^r` is `1 + r (SLOPE + r/2)` within 6e-8 for `r` of 64ths of ln 2: the rest of its series, `r³/6`, by the line nearest to it.
const SLOPE: f32 = 1.000_014_7;

/// `tanh(a) / a` around multiples of [`STEP`], as coefficients of the distance, those of its highest power first.
#[rustfmt::skip]
const TANH: [[f32; 32]; 6] = [
    [
        0.0, -0.066_882_97, -0.049_165_506, -0.004_705_786_2, 0.014_026_865, 0.012_958_7, 0.007_402_105_3, 0.003_292_642_3,
        0.001_134_403, 1.924_012_9e-4, -1.508_606e-4, -2.368_644_2e-4, -2.260_772e-4, -1.867_133_7e-4, -1.449_981_4e-4, -1.094_268e-4,
        -8.156_184e-5, -6.057_973_2e-5, -4.507_384e-5, -3.370_247_2e-5, -2.537_332_1e-5, -1.925_581_5e-5, -1.473_922_7e-5, -1.138_197_9e-5,
        -8.86721e-6, -6.968_007_3e-6, -5.521_552_3e-6, -4.410_590_5e-6, -3.550_204_2e-6, -2.878_448_4e-6, -2.349_878_3e-6, -1.930_856_3e-6,
    ],
    [
        0.131_658_46, 0.074_935_01, -0.017_549_962, -0.055_017_166, -0.044_917_297, -0.024_147_479, -0.009_416_77, -0.001_932_518_7,
        0.001_081_686_4, 0.001_941_729_5, 0.001_926_809_7, 0.001_628_503_1, 0.001_287_751_8, 9.880_746e-4, 7.487_259_6e-4, 5.65703e-4,
        4.285_270_4e-4, 3.265_107_5e-4, 2.507_028e-4, 1.941_791_7e-4, 1.517_835_5e-4, 1.197_467_3e-4, 9.533_552e-5, 7.657_175e-5,
        6.202_084e-5, 5.063_777_6e-5, 4.16567e-5, 3.451_235_5e-5, 2.878_433_8e-5, 2.415_747e-5, 2.039_354_7e-5, 1.731_107_8e-5,
    ],
    [
        0.0, 0.130_384_88, 0.160_546_84, 0.11135, 0.050_595_947, 0.010_871_986, -0.007_630_905_6, -0.013_533_113_5,
        -0.013_680_668, -0.011_782_996, -0.009_492_14, -0.007_423_247, -0.005_739_143_6, -0.004_429_786_5, -0.003_432_397_3, -0.002_678_194,
        -0.002_107_866_8, -0.001_674_718_9, -0.001_343_498_5, -0.001_088_120_4, -8.894_432e-4, -7.334_434e-4, -6.098_216e-4, -5.109_748e-4,
        -4.312_532_8e-4, -3.664_264e-4, -3.133_001e-4, -2.694_426_2e-4, -2.329_869_2e-4, -2.024_874_3e-4, -1.768_159_6e-4, -1.550_850_4e-4,
    ],
    [
        -0.333_320_26, -0.271_797_42, -0.137_670_1, -0.016_692_542, 0.052_582_2, 0.077_461_77, 0.077_636_115, 0.067_841_575,
        0.055_795_53, 0.044_685_725, 0.035_463_534, 0.028_154_587, 0.022_476_11, 0.018_092_006, 0.014_702_999, 0.012_068_752,
        0.010_004_982, 0.008_373_38, 0.007_071_017_8, 0.006_021_394, 0.005_167_468_5, 0.004_466_465, 0.003_886_069, 0.003_401_663_2,
        0.002_994_332_5, 0.002_649_412_7, 0.002_355_436_8, 0.002_103_359, 0.001_885_986_7, 0.001_697_553_7, 0.001_533_404_2, 0.001_389_751_2,
    ],
    [
        0.0, -0.180_451_77, -0.300_048_26, -0.342_555_7, -0.329_620_2, -0.290_371_7, -0.244_772_82, -0.202_479_23,
        -0.166_736_87, -0.137_771_95, -0.114_699_93, -0.096_396_85, -0.081_831_75, -0.070_159_69, -0.060_721_498, -0.053_014_256,
        -0.046_657_357, -0.041_362_934, -0.036_912_356, -0.033_138_487, -0.029_912_496, -0.027_134_197, -0.024_724_951, -0.022_622_466,
        -0.020_776_952, -0.019_148_262, -0.017_703_766, -0.016_416_727, -0.015_265_078, -0.014_230_484, -0.013_297_607, -0.012_453_54,
    ],
    [
        1.0, 0.973_048_1, 0.901_710_4, 0.807_140_7, 0.709_028_36, 0.619_078_64, 0.541_734_5, 0.477_230_76,
        0.424_035_9, 0.380_179_76, 0.343_818_13, 0.313_409_75, 0.287_729_14, 0.265_822_62, 0.246_953_34, 0.230_551_62,
        0.216_174_66, 0.203_475_67, 0.192_180_57, 0.182_070_64, 0.172_969_68, 0.164_734_41, 0.157_247_22, 0.150_410_77,
        0.144_143_88, 0.138_378_23, 0.133_056_06, 0.128_128_08, 0.123_552_1, 0.119_291_69, 0.115_315_31, 0.111_595_46,
    ],
];

/// The distance between the middles of neighbouring intervals of [`TANH`].
const STEP: f32 = 37.0 / 128.0;

/// `Phi(-a)` around multiples of [`NORMAL_STEP`].
#[rustfmt::skip]
const NORMAL: [[f32; 16]; 8] = [
    [
        0.001_148_188, 6.512_572e-4, -3.449_659_3e-4, -8.321_318_3e-4, -5.496_063_4e-4, -1.379_446_5e-5, 2.622_092_7e-4, 2.240_866_2e-4,
        8.247_437e-5, -8.255_948e-6, -3.001_153_3e-5, -2.098_513_7e-5, -9.470_516_5e-6, -3.202_094_6e-6, -8.564_729e-7, -1.862_081_4e-7,
    ],
    [
        1.604_458_7e-5, 0.002_614_700_7, 0.003_019_535_7, 0.001_304_641_8, -6.455_643_5e-4, -0.001_385_941, -9.892_257e-4, -3.009_963_3e-4,
        1.078_083_2e-4, 1.926_734_5e-4, 1.324_543_4e-4, 6.229_684e-5, 2.243_885_9e-5, 6.472_609e-6, 1.530_189_5e-6, 3.006_186_7e-7,
    ],
    [
        -0.009_976_454, -0.006_742_563, 1.473_068_8e-4, 0.005_282_514, 0.005_868_337, 0.003_286_62, 4.618_357_6e-4, -9.686_778e-4,
        -0.001_107_826_4, -7.197_142_7e-4, -3.419_623e-4, -1.278_363_8e-4, -3.884_913_5e-5, -9.771_472e-6, -2.056_971_2e-6, -3.651_211e-7,
    ],
    [
        2.755_766_7e-7, -0.016_613_165, -0.022_937_754, -0.017_225_288, -0.006_071_400_4, 0.002_770_700_3, 0.006_137_110_3, 0.005_414_673_6,
        0.003_323_949_9, 0.001_582_454_1, 6.094_673_3e-4, 1.940_107_2e-4, 5.169_319_8e-5, 1.162_282e-5, 2.217_686e-6, 3.605_488_8e-7,
    ],
    [
        0.066_490_37, 0.053_260_487, 0.021_957_932, -0.009_379_954, -0.026_982_825, -0.028_840_074, -0.021_490_39, -0.012_492_233,
        -0.005_909_133_7, -0.002_322_511_5, -7.676_301e-4, -2.149_839_3e-4, -5.128_092_7e-5, -1.045_668_4e-5, -1.827_672_7e-6, -2.743_893_8e-7,
    ],
    [
        3.444_066e-10, 0.069_722_824, 0.112_926_535, 0.119_180_61, 0.097_138_196, 0.064_487_14, 0.035_707_11, 0.016_700_488,
        0.006_647_772, 0.002_263_137_8, 6.611_169e-4, 1.661_147_1e-4, 3.596_344_3e-5, 6.717_621e-6, 1.083_727e-6, 1.511_229_9e-7,
    ],
    [
        -0.398_942_3, -0.371_855_08, -0.301_137_42, -0.211_876_65, -0.129_517_6, -0.068_786_28, -0.031_739_652, -0.012_724_182,
        -0.004_431_848_4, -0.001_341_118_8, -3.525_956_7e-4, -8.054_045e-5, -1.598_374_2e-5, -2.755_943_1e-6, -4.128_472_4e-7, -5.373_236_8e-8,
    ],
    [
        0.5, 0.353_830_25, 0.226_627_35, 0.130_294_52, 0.066_807_2, 0.030_396_36, 0.012_224_473, 0.004_332_448_4,
        0.001_349_898, 3.690_784_5e-4, 8.841_728_4e-5, 1.853_673_7e-5, 3.397_673e-6, 5.440_423e-7, 7.60496e-8, 9.275_398e-9,
    ],
];

/// The distance between the middles of neighbouring intervals of [`NORMAL`].
const NORMAL_STEP: f32 = 3.0 / 8.0;

/// Just before the end of the last interval of [`NORMAL`].
const NORMAL_END: f32 = 5.8;

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
    // From the lower bound to the upper one the power of two is at most infinite, and no less than the smallest normal number: its bits
    // are made of integers, which takes less than scaling.
    let x = min(all(87.0), max(all(-128.0 * std::f32::consts::LN_2), x));
    // As in `exp_within`, with -1 in the constants.
    let shifted = neg_mul_add(x, all(std::f32::consts::LOG2_E), all(TO_32NDS));
    let n = sub(shifted, all(TO_32NDS));
    let s = mul_add(n, all(0.693_359_4), x);
    let s = mul_add(n, all(-2.121_944_4e-4), s);
    let power = double(ROOTS_BELOW.picked(shifted), shifted);
    let p = mul_add(s, all(0.5), all(-SLOPE));
    mul_add(mul_add(p, s, all(1.0)), power, all(1.0))
}

/// `1 / (1 + e^-x)` within 4 ulp, or 3e-39 where the result is that small.
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
