//! Counter-based random numbers: element `i` of a stream is a function of the key and of `i` alone, so the numbers are the
//! same at any thread count, in any order of computation and on any device.

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
