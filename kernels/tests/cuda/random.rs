//! Random numbers: the same as on the processor, bit by bit.

use gradus_kernels::{Backend, DType, Distribution, REFERENCE, RandomKey};

use crate::gpu::{Gpu, assert_close, list, numbers};

const KEY: RandomKey = RandomKey { seed: 0x0123_4567_89ab_cdef, stream: 0xfedc_ba98_7654_3210 };

fn expected(distribution: Distribution, len: usize) -> Vec<f32> {
    REFERENCE.random(DType::F32, len, distribution, KEY).unwrap().as_slice().to_vec()
}

#[test]
fn numbers_are_those_of_the_processor() {
    let mut gpu = Gpu::new("random");
    for len in [1, 4, 1003] {
        for (low, high) in [(0.0f64, 1.0f64), (-3.0, 5.0), (1.0, 1.0000001)] {
            let y = gpu.room(4 * len);
            let before = (high as f32).next_down();
            let args = list![y, len as u32, low, high, before, KEY.seed, KEY.stream];
            gpu.each("random_uniform", len.div_ceil(4), args);
            assert_eq!(gpu.get::<f32>(y, len), expected(Distribution::Uniform { low, high }, len), "{low} to {high}");
        }
        let y = gpu.room(4 * len);
        gpu.each("random_bernoulli", len.div_ceil(4), list![y, len as u32, 0.3f64, KEY.seed, KEY.stream]);
        assert_eq!(gpu.get::<f32>(y, len), expected(Distribution::Bernoulli { probability: 0.3 }, len));
    }
}

#[test]
fn normal_numbers_are_those_of_the_processor() {
    let mut gpu = Gpu::new("random");
    for len in [1, 2, 3, 4000] {
        for (mean, std) in [(0.0, 1.0), (-3.0, 0.1)] {
            let normal = Distribution::Normal { mean, std };
            let truncated = Distribution::TruncatedNormal { mean, std };
            for (kernel, distribution) in [("random_normal", normal), ("random_truncated_normal", truncated)] {
                let y = gpu.room(4 * len);
                gpu.each(kernel, len.div_ceil(4), list![y, len as u32, mean, std, KEY.seed, KEY.stream]);
                let (found, expected) = (gpu.get::<f32>(y, len), expected(distribution, len));
                // Not bit by bit: the functions behind them are another library's, and may round otherwise.
                assert_close(kernel, &found, &expected, 1e-7);
                let equal = found.iter().zip(&expected).filter(|(a, b)| a == b).count();
                assert!(equal * 1000 >= len * 999, "{kernel}: {equal} of {len}");
            }
        }
    }
}

#[test]
fn dropout_keeps_what_the_same_stream_keeps() {
    let mut gpu = Gpu::new("random");
    let x = numbers(999, 26);
    let (from, to) = (gpu.put(&x), gpu.room(4 * 999));
    gpu.each("dropout", 250, list![from, to, 999u32, 0.8f64, KEY.seed, KEY.stream]);
    let keep = expected(Distribution::Bernoulli { probability: 0.8 }, 999);
    let expected: Vec<f32> = x.iter().zip(keep).map(|(x, keep)| x * 1.25 * keep).collect();
    assert!(gpu.get::<f32>(to, 999).iter().zip(expected).all(|(&y, expected)| y == expected));
}
