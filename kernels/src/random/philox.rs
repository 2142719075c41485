//! Philox4x32-10 (Salmon, Moraes, Dror and Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3").

use rand::rand_core::utils::{fill_bytes_via_next_word, next_u64_via_u32};
use rand::{SeedableRng, TryRng};
use std::convert::Infallible;

use super::RandomKey;

/// Four random words for a counter and a key: ten rounds of multiplying, swapping and mixing in the key.
#[inline]
pub fn philox(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for _ in 0..10 {
        let [c0, c1, c2, c3] = counter;
        let [low0, high0] = halves(u64::from(c0) * 0xd251_1f53);
        let [low1, high1] = halves(u64::from(c2) * 0xcd9e_8d57);
        counter = [high1 ^ c1 ^ key[0], low1, high0 ^ c3 ^ key[1], low0];
        key = [key[0].wrapping_add(0x9e37_79b9), key[1].wrapping_add(0xbb67_ae85)];
    }
    counter
}

/// The counter of a stream's block.
pub(super) fn counter(block: u64, stream: u64) -> [u32; 4] {
    let ([a, b], [c, d]) = (halves(block), halves(stream));
    [a, b, c, d]
}

/// The lower and the upper 32 bits.
pub(super) fn halves(x: u64) -> [u32; 2] {
    [x as u32, (x >> 32) as u32]
}

/// The words of a stream one after another; a generator for the `rand` crate.
///
/// It reads the same words as [`fill`](super::fill) does for the same key, so a program wants different keys for both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Philox {
    key: RandomKey,
    next_block: u64,
    words: [u32; 4],
    used: usize,
}

impl Philox {
    /// The beginning of the stream that `key` names.
    pub fn new(key: RandomKey) -> Self {
        Self { key, next_block: 0, words: [0; 4], used: 4 }
    }

    /// A whole number in `0..n`, each equally likely; `n` is not 0.
    ///
    /// The upper half of a product with `n`, where products that would favour some numbers are drawn again (Lemire 2019).
    pub fn below(&mut self, n: u64) -> u64 {
        loop {
            let product = u128::from(self.next_pair()) * u128::from(n);
            if product as u64 >= n.wrapping_neg() % n {
                return (product >> 64) as u64;
            }
        }
    }

    fn next_word(&mut self) -> u32 {
        if self.used == 4 {
            self.words = philox(counter(self.next_block, self.key.stream), halves(self.key.seed));
            self.next_block = self.next_block.wrapping_add(1);
            self.used = 0;
        }
        self.used += 1;
        self.words[self.used - 1]
    }

    fn next_pair(&mut self) -> u64 {
        let low = u64::from(self.next_word());
        low | u64::from(self.next_word()) << 32
    }
}

impl TryRng for Philox {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(self.next_word())
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        next_u64_via_u32(self)
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        fill_bytes_via_next_word(bytes, || self.try_next_u32())
    }
}

impl SeedableRng for Philox {
    type Seed = [u8; 16];

    /// The first half is the seed, the second half the stream.
    fn from_seed(bytes: [u8; 16]) -> Self {
        let number = u128::from_le_bytes(bytes);
        Self::new(RandomKey { seed: number as u64, stream: (number >> 64) as u64 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::RngExt;

    #[test]
    fn known_answers_of_random123() {
        let cases = [
            ([0; 4], [0; 2], [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]),
            ([u32::MAX; 4], [u32::MAX; 2], [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]),
            (
                [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
                [0xa409_3822, 0x299f_31d0],
                [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1],
            ),
        ];
        for (counter, key, expected) in cases {
            assert_eq!(philox(counter, key), expected);
        }
    }

    #[test]
    fn serves_the_rand_crate() {
        let key = RandomKey { seed: 3, stream: 5 };
        let mut generator = Philox::new(key);
        let words = philox([0, 0, 5, 0], [3, 0]);
        assert_eq!(generator.random::<u32>(), words[0]);
        assert_eq!(generator.random::<u64>(), u64::from(words[1]) | u64::from(words[2]) << 32);
        let die: Vec<u32> = (0..100).map(|_| generator.random_range(1..=6)).collect();
        assert!((1..=6).all(|side| die.contains(&side)));
        let mut seed = [0; 16];
        (seed[0], seed[8]) = (3, 5);
        assert_eq!(Philox::from_seed(seed), Philox::new(key));
    }

    #[test]
    fn bounded_draws_are_even() {
        let mut generator = Philox::new(RandomKey::new(1));
        let mut seen = [0i32; 5];
        for _ in 0..50_000 {
            seen[generator.below(5) as usize] += 1;
        }
        assert!(seen.iter().all(|count| (count - 10_000).abs() < 500), "{seen:?}");
        assert!((0..1000).all(|_| generator.below(1) == 0));
    }
}
