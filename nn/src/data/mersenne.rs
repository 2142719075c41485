//! The Mersenne Twister, for drawing exactly the rows that NumPy and scikit-learn draw. All our own random numbers come from
//! [`RandomKey`](gradus_core::RandomKey).

/// Words of state.
const WORDS: usize = 624;
/// The distance of the words that are mixed.
const SHIFT: usize = 397;

/// MT19937 (Matsumoto and Nishimura 1998), seeded as NumPy's `RandomState` is by a whole number.
#[derive(Debug)]
pub(super) struct Mersenne {
    state: [u32; WORDS],
    /// The next word to give; beyond the last one, all are made anew.
    next: usize,
}

impl Mersenne {
    pub(super) fn new(seed: u32) -> Self {
        let mut state = [seed; WORDS];
        for i in 1..WORDS {
            let before = state[i - 1];
            state[i] = 1_812_433_253u32.wrapping_mul(before ^ (before >> 30)).wrapping_add(i as u32);
        }
        Self { state, next: WORDS }
    }

    fn word(&mut self) -> u32 {
        if self.next == WORDS {
            for i in 0..WORDS {
                let joined = (self.state[i] & 0x8000_0000) | (self.state[(i + 1) % WORDS] & 0x7fff_ffff);
                let twisted = (joined >> 1) ^ if joined % 2 == 1 { 0x9908_b0df } else { 0 };
                self.state[i] = self.state[(i + SHIFT) % WORDS] ^ twisted;
            }
            self.next = 0;
        }
        let mut word = self.state[self.next];
        self.next += 1;
        word ^= word >> 11;
        word ^= (word << 7) & 0x9d2c_5680;
        word ^= (word << 15) & 0xefc6_0000;
        word ^ (word >> 18)
    }

    /// A number from 0 to `most`: words cut to its bits are thrown away until one fits.
    fn up_to(&mut self, most: u64) -> usize {
        let mask = u64::MAX.checked_shr(most.leading_zeros()).unwrap_or(0);
        loop {
            let word = match mask > u64::from(u32::MAX) {
                true => (u64::from(self.word()) << 32) | u64::from(self.word()),
                false => u64::from(self.word()),
            };
            if word & mask <= most {
                return (word & mask) as usize;
            }
        }
    }

    /// NumPy's `RandomState.permutation(count)`: Fisher and Yates' shuffle from the end.
    pub(super) fn permutation(&mut self, count: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..count).collect();
        for i in (1..count).rev() {
            order.swap(i, self.up_to(i as u64));
        }
        order
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_the_published_generator() {
        // C++'s standard demands this of the ten-thousandth word from the seed 5489.
        let mut twister = Mersenne::new(5489);
        let last = (0..10_000).map(|_| twister.word()).last();
        assert_eq!(last, Some(4_123_659_995));
    }

    #[test]
    fn permutations_are_numpys() {
        // numpy.random.RandomState(42).permutation(10), and of one and no elements.
        assert_eq!(Mersenne::new(42).permutation(10), [8, 1, 5, 0, 7, 2, 9, 4, 3, 6]);
        assert_eq!((Mersenne::new(42).permutation(1), Mersenne::new(42).permutation(0)), (vec![0], vec![]));
    }
}
