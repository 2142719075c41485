//! Kernels with arguments that they compute correctly, for bugs to be put in.

use gradus_emulator::Fault;

use crate::gpu::{Arg, Gpu, list, numbers};

/// A kernel ready to be launched, and what it should leave where.
pub struct Call {
    pub grid: [u32; 3],
    pub block: [u32; 3],
    pub args: Vec<Arg>,
    out: u64,
    expected: Vec<f32>,
}

/// What came of a launch.
#[derive(Debug)]
pub enum Outcome {
    Right,
    Wrong,
    Incomplete,
    Fault(Fault),
}

impl Call {
    fn new(grid: [u32; 3], block: [u32; 3], args: &[Arg], out: u64) -> Call {
        Call { grid, block, args: args.to_vec(), out, expected: Vec::new() }
    }

    /// With the first `len` elements that the kernel as it is shipped leaves; other tests hold those against the reference.
    pub fn learned(mut self, gpu: &mut Gpu, kernel: &str, len: usize) -> Call {
        gpu.launch(kernel, self.grid, self.block, &self.args);
        self.expected = gpu.get(self.out, len);
        self
    }

    /// Launches it, and compares with `expected`.
    pub fn outcome(&self, gpu: &mut Gpu, kernel: &str, expected: &[f32]) -> Outcome {
        if let Err(fault) = gpu.try_launch(kernel, self.grid, self.block, &self.args) {
            return Outcome::Fault(fault);
        }
        match gpu.try_get::<f32>(self.out, expected.len()) {
            None => Outcome::Incomplete,
            Some(found) if found.iter().zip(expected).all(|(a, b)| a.to_bits() == b.to_bits()) => Outcome::Right,
            Some(_) => Outcome::Wrong,
        }
    }

    pub fn expected(self) -> Vec<f32> {
        self.expected
    }
}

/// A call of a kernel, and how many elements it leaves.
pub fn prepare(gpu: &mut Gpu, kernel: &str) -> (Call, usize) {
    let x = |gpu: &mut Gpu, len: usize, seed: u32| gpu.put(&numbers(len, seed));
    let row = |gpu: &mut Gpu| x(gpu, 300, 3);
    match kernel {
        "matmul_tiled" => {
            let (a, b, c) = (x(gpu, 40 * 44, 1), x(gpu, 44 * 36, 2), gpu.room(4 * 40 * 36));
            (Call::new([2, 2, 1], [32, 32, 1], list![a, b, c, 40u32, 36u32, 44u32], c), 40 * 36)
        }
        "matmul_128" => {
            let (a, b, c) = (x(gpu, 130 * 24, 1), x(gpu, 24 * 132, 2), gpu.room(4 * 130 * 132));
            (Call::new([2, 2, 1], [256, 1, 1], list![a, b, c, 130u32, 132u32, 24u32], c), 130 * 132)
        }
        "matmul_bf16" => {
            let half = |len, seed| numbers(len, seed).into_iter().map(half::bf16::from_f32).collect::<Vec<_>>();
            let (a, b, c) = (gpu.put(&half(64 * 136, 1)), gpu.put(&half(136 * 72, 2)), gpu.room(4 * 64 * 72));
            (Call::new([1; 3], [256, 1, 1], list![a, b, c, 64u32, 72u32, 136u32], c), 64 * 72)
        }
        "layer_norm" => {
            let (from, gamma, beta, y) = (x(gpu, 900, 1), row(gpu), row(gpu), gpu.room(3600));
            (Call::new([3, 1, 1], [96, 1, 1], list![from, gamma, beta, y, 300u32, 1e-3f32], y), 900)
        }
        "moments" => {
            let (from, out) = (x(gpu, 20 * 40, 1), gpu.room(320));
            (Call::new([2, 1, 1], [32, 8, 1], list![from, out, out + 160, 20u32, 40u32], out), 80)
        }
        "normalize_grad_params" => {
            let (from, dy, mean, variance) = (x(gpu, 800, 1), x(gpu, 800, 2), row(gpu), gpu.put(&[0.5f32; 40]));
            let out = gpu.room(320);
            let args = list![from, dy, mean, variance, out, out + 160, 20u32, 40u32, 1e-3f32];
            (Call::new([2, 1, 1], [32, 8, 1], args, out), 80)
        }
        "reduce_rows_block_sum_f32" => {
            let (from, y) = (x(gpu, 2000, 1), gpu.room(16));
            (Call::new([4, 1, 1], [128, 1, 1], list![from, y, 500u32, 1f32], y), 4)
        }
        "softmax" => {
            let (from, y) = (x(gpu, 300, 1), gpu.room(1200));
            (Call::new([2, 1, 1], [128, 1, 1], list![from, y, 6u32, 50u32], y), 300)
        }
        "cumsum_rows_f32" => {
            let (from, y) = (x(gpu, 210, 1), gpu.room(840));
            (Call::new([2, 1, 1], [64, 1, 1], list![from, y, 3u32, 70u32], y), 210)
        }
        "unary_square_f32" => {
            let (from, y) = (x(gpu, 999, 1), gpu.room(3996));
            (Call::new([4, 1, 1], [64, 1, 1], list![from, y, 999u32, 0f32, 0f32], y), 999)
        }
        "update_descend" => {
            let (w, g) = (x(gpu, 200, 1), x(gpu, 200, 2));
            let adjust = [0.0, 0.0, 1.0, 9.0, 0.0, 1.0];
            (Call::new([2, 1, 1], [64, 1, 1], list![w, g, 200u32, adjust, 0.5f32], w), 200)
        }
        "random_uniform" => {
            let y = gpu.room(4 * 101);
            (Call::new([2, 1, 1], [32, 1, 1], list![y, 101u32, 0f64, 1f64, 0.99f32, 5u64, 6u64], y), 101)
        }
        "index_select_32_i64" | "index_add_atomic_f32_i64" => {
            let (index, bad) = (gpu.put(&[6i64, 0, 2, 2, 6]), gpu.put(&[0i64; 4]));
            let (table, slices) = (x(gpu, 84, 1), x(gpu, 60, 2));
            let (args, out, len) = match kernel {
                "index_select_32_i64" => {
                    let y = gpu.room(240);
                    (list![table, index, y, 60u32, 7u32, 5u32, 4u32, bad].to_vec(), y, 60)
                }
                _ => (list![index, slices, table, 60u32, 7u32, 5u32, 4u32, bad].to_vec(), table, 84),
            };
            (Call::new([4, 1, 1], [32, 1, 1], &args, out), len)
        }
        other => panic!("nobody said how {other} is called"),
    }
}
