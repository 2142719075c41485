//! Counter-based random numbers: element `i` of a stream is a function of the key and of `i` alone, so the numbers are the
//! same at any thread count, in any order of computation and on any device.
//!
//! Four neighbouring elements share one block of Philox4x32-10 ([`philox`]), whose counter is the block's number and the
//! stream, and whose key is the seed. Values are computed in `f64` from 32 random bits each and rounded once, so that a
//! stream of `f32` is the rounded stream of `f64`.

mod philox;

pub use philox::{Philox, philox};

use crate::{Element, Scalar};

/// What a random number is drawn from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Distribution {
    /// Evenly from `low` (included) to `high` (excluded).
    Uniform {
        /// The lowest value.
        low: f64,
        /// The first value that is too high.
        high: f64,
    },
    /// The normal distribution.
    Normal {
        /// The centre.
        mean: f64,
        /// The standard deviation.
        std: f64,
    },
    /// The normal distribution without what lies further than two `std` from `mean`; `std` is that of the whole
    /// distribution, the standard deviation of what is left is 0.8796 times that.
    TruncatedNormal {
        /// The centre.
        mean: f64,
        /// The standard deviation before the cut.
        std: f64,
    },
    /// 1 with this probability, else 0.
    Bernoulli {
        /// The probability of 1.
        probability: f64,
    },
}

/// Names a stream of random numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RandomKey {
    /// What the user chose.
    pub seed: u64,
    /// Which of the seed's streams.
    pub stream: u64,
}

impl RandomKey {
    /// The first stream of a seed.
    pub const fn new(seed: u64) -> Self {
        Self { seed, stream: 0 }
    }

    /// A stream of its own for a name, such as a parameter's path (FNV-1a over the bytes, on top of this stream).
    pub fn named(self, name: &str) -> Self {
        let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325 ^ self.stream, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        Self { stream: hash, ..self }
    }

    /// A stream of its own for a number, such as an epoch or a step (SplitMix64's mixing, on top of this stream).
    pub fn numbered(self, number: u64) -> Self {
        let mut z = self.stream.wrapping_add(number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Self { stream: z ^ (z >> 31), ..self }
    }
}

/// Elements that one block of the generator serves.
const BLOCK: usize = 4;

/// Writes elements `first..first + out.len()` of the stream that `key` names.
pub fn fill<T: Element>(distribution: Distribution, key: RandomKey, first: usize, out: &mut [T]) {
    // The rounded product may reach the excluded end of an interval; the number before it stands in.
    let (end, before_end) = match distribution {
        Distribution::Uniform { low, high } => (high, number_below::<T>(high).filter(|&x| x >= low).unwrap_or(low)),
        _ => (f64::INFINITY, f64::INFINITY),
    };
    let mut at = first;
    let mut rest = out;
    while !rest.is_empty() {
        let values = block(distribution, key, (at / BLOCK) as u64);
        let skipped = at % BLOCK;
        let (now, later) = rest.split_at_mut(rest.len().min(BLOCK - skipped));
        for (slot, &value) in now.iter_mut().zip(&values[skipped..]) {
            let rounded = T::from_scalar(Scalar::Float(value));
            let inside = rounded.to_scalar().as_f64() < end || value.is_nan();
            *slot = if inside { rounded } else { T::from_scalar(Scalar::Float(before_end)) };
        }
        at += now.len();
        rest = later;
    }
}

/// The numbers `0..n` in random order, each order equally likely (Fisher and Yates, in Durstenfeld's form).
pub fn permutation(key: RandomKey, n: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..n).collect();
    let mut generator = Philox::new(key);
    for last in (1..n).rev() {
        order.swap(last, generator.below(last as u64 + 1) as usize);
    }
    order
}

/// The four elements of one block.
fn block(distribution: Distribution, key: RandomKey, number: u64) -> [f64; BLOCK] {
    const SCALE: f64 = 1.0 / 4_294_967_296.0;
    let words = philox(philox::counter(number, key.stream), philox::halves(key.seed));
    match distribution {
        Distribution::Uniform { low, high } => words.map(|word| low + (high - low) * (f64::from(word) * SCALE)),
        Distribution::Bernoulli { probability } => {
            words.map(|word| if f64::from(word) * SCALE < probability { 1.0 } else { 0.0 })
        }
        Distribution::Normal { mean, std } => {
            let pair = |a: u32, b: u32| {
                // Box and Muller 1958: a point of a random angle, at a distance made from a number in (0, 1].
                let radius = (-2.0 * libm::log((f64::from(a) + 1.0) * SCALE)).sqrt();
                let (sin, cos) = libm::sincos(std::f64::consts::TAU * (f64::from(b) * SCALE));
                [mean + std * (radius * cos), mean + std * (radius * sin)]
            };
            let ([a, b], [c, d]) = (pair(words[0], words[1]), pair(words[2], words[3]));
            [a, b, c, d]
        }
        Distribution::TruncatedNormal { mean, std } => words.map(|word| {
            let tail = 0.5 * libm::erfc(std::f64::consts::SQRT_2);
            let p = tail + (1.0 - 2.0 * tail) * ((f64::from(word) + 0.5) * SCALE);
            mean + std * normal_quantile(p).clamp(-2.0, 2.0)
        }),
    }
}

/// The point below which a normal variable lies with probability `p`, for `p` in `[1e-11, 1 - 1e-11]`.
///
/// Algorithm AS 241, PPND16 (Wichura 1988), to about 1e-16; its third branch, for the far tails, is left out.
fn normal_quantile(p: f64) -> f64 {
    const A: [f64; 8] = [
        3.387_132_872_796_366_6,
        1.331_416_678_917_843_8e2,
        1.971_590_950_306_551_3e3,
        1.373_169_376_550_946e4,
        4.592_195_393_154_987e4,
        6.726_577_092_700_87e4,
        3.343_057_558_358_813e4,
        2.509_080_928_730_122_7e3,
    ];
    const B: [f64; 8] = [
        1.0,
        4.231_333_070_160_091e1,
        6.871_870_074_920_579e2,
        5.394_196_021_424_751e3,
        2.121_379_430_158_659_7e4,
        3.930_789_580_009_271e4,
        2.872_908_573_572_194_3e4,
        5.226_495_278_852_854e3,
    ];
    const C: [f64; 8] = [
        1.423_437_110_749_683_5,
        4.630_337_846_156_546,
        5.769_497_221_460_691,
        3.647_848_324_763_204_5,
        1.270_458_252_452_368_4,
        2.417_807_251_774_506e-1,
        2.272_384_498_926_918_4e-2,
        7.745_450_142_783_414e-4,
    ];
    const D: [f64; 8] = [
        1.0,
        2.053_191_626_637_759,
        1.676_384_830_183_803_8,
        6.897_673_349_851e-1,
        1.481_039_764_274_800_8e-1,
        1.519_866_656_361_645_7e-2,
        5.475_938_084_995_345e-4,
        1.050_750_071_644_416_9e-9,
    ];
    let polynomial = |c: &[f64; 8], x: f64| c.iter().rev().fold(0.0, |sum, c| sum * x + c);
    let q = p - 0.5;
    if q.abs() <= 0.425 {
        let r = 0.180_625 - q * q;
        return q * polynomial(&A, r) / polynomial(&B, r);
    }
    let r = (-libm::log(p.min(1.0 - p))).sqrt() - 1.6;
    (polynomial(&C, r) / polynomial(&D, r)).copysign(q)
}

/// The largest number of type `T` below `end`, unless that lies within its subnormals.
pub(crate) fn number_below<T: Element>(end: f64) -> Option<f64> {
    let round = |x: f64| T::from_scalar(Scalar::Float(x)).to_scalar().as_f64();
    let precision = (1..=53).find(|&bits| round(1.0 + 0.5f64.powi(bits)) == 1.0)?;
    // Half the distance to the number below, at least: rounding falls on that number, or past a tie with `end`.
    [end, end - end.abs() * 0.5f64.powi(precision), end - end.abs() * 0.5f64.powi(precision - 1)]
        .into_iter()
        .map(round)
        .find(|&x| x < end)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: RandomKey = RandomKey { seed: 42, stream: 7 };

    fn stream<T: Element>(distribution: Distribution, len: usize) -> Vec<T> {
        let mut out = vec![T::from_scalar(Scalar::Int(0)); len];
        fill(distribution, KEY, 0, &mut out);
        out
    }

    fn moments(distribution: Distribution) -> (f64, f64) {
        let values: Vec<f64> = stream(distribution, 400_000);
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        (mean, (values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / values.len() as f64).sqrt())
    }

    const ALL: [Distribution; 4] = [
        Distribution::Uniform { low: -1.0, high: 3.0 },
        Distribution::Normal { mean: 1.0, std: 2.0 },
        Distribution::TruncatedNormal { mean: 1.0, std: 2.0 },
        Distribution::Bernoulli { probability: 0.3 },
    ];

    #[test]
    fn distributions_have_their_moments() {
        let expected = [(1.0, 4.0 / 12f64.sqrt()), (1.0, 2.0), (1.0, 2.0 * 0.879_626), (0.3, 0.21f64.sqrt())];
        for (distribution, (mean, std)) in ALL.into_iter().zip(expected) {
            let got = moments(distribution);
            // Five standard errors of the mean; the error of a standard deviation is smaller still.
            let bound = 5.0 * std / 400_000f64.sqrt();
            assert!((got.0 - mean).abs() < bound && (got.1 - std).abs() < bound, "{distribution:?} has {got:?}");
        }
    }

    #[test]
    fn normal_values_fall_where_they_should() {
        let values: Vec<f64> = stream(Distribution::Normal { mean: 0.0, std: 1.0 }, 400_000);
        for x in [-3.0, -1.5, -0.2, 0.0, 0.7, 2.5] {
            let share = values.iter().filter(|&&value| value < x).count() as f64 / values.len() as f64;
            let p = 0.5 * libm::erfc(-x / std::f64::consts::SQRT_2);
            assert!((share - p).abs() < 5.0 * (p * (1.0 - p) / 400_000.0).sqrt(), "{share} below {x}, {p} expected");
        }
    }

    #[test]
    fn chunks_do_not_change_the_stream() {
        for distribution in ALL {
            let whole: Vec<f32> = stream(distribution, 103);
            let mut parts = vec![0.0f32; 103];
            for (from, to) in [(50, 103), (0, 1), (1, 7), (7, 50)] {
                fill(distribution, KEY, from, &mut parts[from..to]);
            }
            assert_eq!(whole, parts);
            let wide: Vec<f64> = stream(distribution, 103);
            assert_eq!(whole, wide.iter().map(|&x| x as f32).collect::<Vec<_>>());
        }
    }

    #[test]
    fn values_stay_within_their_bounds_in_every_type() {
        fn check<T: Element>(low: f64, high: f64) {
            for value in stream::<T>(Distribution::Uniform { low, high }, 100_000) {
                let value = value.to_scalar().as_f64();
                assert!((low..high).contains(&value), "{value} outside {low}..{high} for {}", T::DTYPE);
            }
            let below = number_below::<T>(high).unwrap();
            assert!(below < high);
            let middle = T::from_scalar(Scalar::Float((below + high) / 2.0)).to_scalar().as_f64();
            assert!(middle == below || middle >= high, "{below} is not the last before {high} in {}", T::DTYPE);
        }
        for (low, high) in [(0.0, 1.0), (1.0, 2.0), (-2.0, -1.0), (0.5, 0.75)] {
            check::<f64>(low, high);
            check::<f32>(low, high);
            check::<half::f16>(low, high);
            check::<half::bf16>(low, high);
        }
        for value in stream::<f64>(Distribution::TruncatedNormal { mean: 0.0, std: 1.0 }, 100_000) {
            assert!(value.abs() <= 2.0);
        }
        assert!(stream::<f32>(Distribution::Bernoulli { probability: 1.0 }, 1000).iter().all(|&x| x == 1.0));
        assert!(stream::<f32>(Distribution::Bernoulli { probability: 0.0 }, 1000).iter().all(|&x| x == 0.0));
    }

    #[test]
    fn the_quantile_inverts_the_distribution_function() {
        for i in 1..1000 {
            let p = f64::from(i) / 1000.0;
            let back = 0.5 * libm::erfc(-normal_quantile(p) / std::f64::consts::SQRT_2);
            assert!((back - p).abs() < 1e-15, "{p} came back as {back}");
        }
    }

    #[test]
    fn permutations_are_complete_and_even() {
        let mut seen = vec![0; 6];
        for trial in 0..6000 {
            let order = permutation(KEY.numbered(trial), 3);
            let rank = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
            seen[rank.iter().position(|known| known[..] == order[..]).expect("a permutation")] += 1;
        }
        assert!(seen.iter().all(|&count: &i32| (count - 1000).abs() < 150), "{seen:?}");
        let mut long = permutation(KEY, 1000);
        assert_ne!(long[..10], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
        long.sort_unstable();
        assert!(long.into_iter().eq(0..1000));
        assert!(permutation(KEY, 0).is_empty());
    }
}
