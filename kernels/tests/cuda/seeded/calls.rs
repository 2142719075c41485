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
        "matmul_tf32" => {
            let (a, b, c) = (x(gpu, 64 * 136, 1), x(gpu, 136 * 72, 2), gpu.room(4 * 64 * 72));
            (Call::new([1; 3], [256, 1, 1], list![a, b, c, 64u32, 72u32, 136u32], c), 64 * 72)
        }
        "matmul_64" | "matmul_few" => {
            let m = if kernel == "matmul_64" { 70 } else { 9 };
            let (a, b, c) = (x(gpu, m * 40, 1), x(gpu, 40 * 66, 2), gpu.room(4 * m * 66));
            let strides = Arg::words([40, 1, 66, 1, 0, 0, 0, 0]);
            let args = list![a, b, c, 0u64, m as u32, 66u32, 40u32, strides, 1u32, 1f32, 0u32, 0u32, 0f32];
            let (grid, block) = if m == 70 { ([2, 2, 1], [256, 1, 1]) } else { ([3, 1, 1], [32, 8, 1]) };
            (Call::new(grid, block, args, c), m * 66)
        }
        "matmul_wide_tn" => {
            let (a, b, c) = (x(gpu, 24 * 132, 1), x(gpu, 24 * 136, 2), gpu.room(4 * 132 * 136));
            let strides = Arg::words([1, 132, 136, 1, 0, 0, 0, 0]);
            let args = list![a, b, c, 0u64, 132u32, 136u32, 24u32, strides, 1u32, 1f32, 0u32, 0u32, 0f32];
            (Call::new([2, 2, 1], [256, 1, 1], args, c), 132 * 136)
        }
        "matmul_f64" => {
            // Doubles; the results are compared by halves, as bits.
            let double =
                |gpu: &mut Gpu, len, seed| gpu.put(&numbers(len, seed).into_iter().map(f64::from).collect::<Vec<_>>());
            let (a, b, c) = (double(gpu, 20 * 24, 1), double(gpu, 24 * 18, 2), gpu.room(8 * 20 * 18));
            let strides = Arg::words([24, 1, 18, 1, 0, 0, 0, 0]);
            let args = list![a, b, c, 0u64, 20u32, 18u32, 24u32, strides, 1f64, 0u32, 0u32, 0f64];
            (Call::new([2, 2, 1], [16, 16, 1], args, c), 2 * 20 * 18)
        }
        "conv2d_tiles" | "conv2d_tiles_grad_weight" | "conv2d_depthwise_grad_weight" => {
            // Kernels of 3 x 3 on images of 8 x 9: results of 6 x 7.
            let filters = if kernel == "conv2d_depthwise_grad_weight" { 4 } else { 6 };
            let (images, w, dy) = (x(gpu, 2 * 8 * 9 * 4, 1), x(gpu, 9 * 4 * 6, 2), x(gpu, 2 * 6 * 7 * filters, 3));
            let sizes = Arg::words([2, 8, 9, 4, 6, 7, filters as u32, 3, 3, 1, 1, 1, 1, 1, 0, 0]);
            let y = gpu.room(4 * 504);
            match kernel {
                "conv2d_tiles" => {
                    let args = list![images, w, y, 0u64, sizes, 0u32, 0f32];
                    (Call::new([2, 1, 1], [256, 1, 1], args, y), 504)
                }
                "conv2d_tiles_grad_weight" => (Call::new([1, 1, 2], [256, 1, 1], list![images, dy, y, sizes], y), 432),
                _ => (Call::new([1, 9, 2], [32, 8, 1], list![images, dy, y, sizes], y), 72),
            }
        }
        "activation_grad" => {
            let (y, dy, out) = (x(gpu, 800, 1), x(gpu, 800, 2), gpu.room(3360));
            let args = list![y, dy, out, out + 3200, 20u32, 40u32, 3u32, 0f32];
            (Call::new([2, 1, 1], [32, 8, 1], args, out), 840)
        }
        "reduce_columns_sum_f32" => {
            let (from, y) = (x(gpu, 800, 1), gpu.room(160));
            (Call::new([2, 1, 1], [32, 8, 1], list![from, y, 20u32, 40u32, 1f32], y), 40)
        }
        "sort_rows_f32" => {
            let (from, values, places) = (x(gpu, 200, 1), gpu.room(800), gpu.room(1600));
            (Call::new([2, 1, 1], [64, 1, 1], list![from, values, places, 100u32, 0u32], values), 200)
        }
        "sort_merge_f32" => {
            // Two runs in order: the rows of a matrix that grows.
            let rising: Vec<f32> = (0..64).map(|i| (i % 32) as f32).collect();
            let (from, places) = (gpu.put(&rising), gpu.put(&(0..64).collect::<Vec<i64>>()));
            let (to, to_places) = (gpu.room(256), gpu.room(512));
            let args = list![from, places, to, to_places, 64u32, 64u32, 32u32, 0u32];
            (Call::new([3, 1, 1], [32, 1, 1], args, to), 64)
        }
        "gather_32_i64" => {
            // The last index is outside: it is reported, and its element is 0.
            let index: Vec<i64> = (0..60).map(|i| if i == 59 { 7 } else { i % 7 }).collect();
            let (table, index, y, bad) = (x(gpu, 84, 1), gpu.put(&index), gpu.room(240), gpu.put(&[0i64; 4]));
            let args = list![table, index, y, 60u32, 7u32, 5u32, 4u32, bad];
            (Call::new([2, 1, 1], [32, 1, 1], args, y), 60)
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
