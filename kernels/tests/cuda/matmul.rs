//! Products of matrices, and what each version costs.

use gradus_emulator::Counters;
use gradus_kernels::{Backend, Buffer, Layout, REFERENCE, Unary, View};

use crate::gpu::{Gpu, assert_close, list, numbers};
use crate::matmul_any::activation;

fn reference([batch, m, n, k]: [usize; 4], a: &[f32], b: &[f32]) -> Vec<f32> {
    let (left, right) = (Buffer::from_slice(a), Buffer::from_slice(b));
    let (at_left, at_right) = (Layout::contiguous(&[batch, m, k]), Layout::contiguous(&[batch, k, n]));
    let c = REFERENCE.matmul(View::new(&left, &at_left), View::new(&right, &at_right)).unwrap();
    c.as_slice().to_vec()
}

/// How a kernel is launched: the blocks for `m` x `n`, and the threads of a block.
fn geometry(kernel: &str, batch: u32, m: u32, n: u32) -> ([u32; 3], [u32; 3]) {
    let (rows, columns) = (m.div_ceil(32), n.div_ceil(32));
    match kernel {
        "matmul_naive" => ([rows, columns, batch], [32, 32, 1]),
        "matmul_128" | "matmul_bf16" | "matmul_tf32" => ([n.div_ceil(128), m.div_ceil(128), batch], [256, 1, 1]),
        _ => ([columns, rows, batch], [32, 32, 1]),
    }
}

fn product(kernel: &str, shape: [usize; 4]) -> Counters {
    let [batch, m, n, k] = shape;
    let (a, b) = (numbers(batch * m * k, 6), numbers(batch * k * n, 7));
    let mut gpu = Gpu::new("matmul");
    let (left, right, to) = (gpu.put(&a), gpu.put(&b), gpu.room(4 * batch * m * n));
    let (grid, block) = geometry(kernel, batch as u32, m as u32, n as u32);
    let counters = gpu.launch(kernel, grid, block, list![left, right, to, m as u32, n as u32, k as u32]);
    assert_close(&format!("{kernel} {shape:?}"), &gpu.get(to, batch * m * n), &reference(shape, &a, &b), 2e-6);
    counters
}

#[test]
fn every_version_multiplies() {
    for kernel in ["matmul_naive", "matmul_coalesced", "matmul_tiled"] {
        for shape in [[1, 1, 1, 1], [2, 33, 35, 37], [1, 64, 64, 64]] {
            product(kernel, shape);
        }
    }
    for shape in [[1, 1, 4, 4], [2, 33, 36, 40], [1, 128, 128, 64], [1, 130, 140, 12]] {
        product("matmul_128", shape);
    }
}

#[test]
fn each_version_costs_less_than_the_one_before() {
    let cost = ["matmul_naive", "matmul_coalesced", "matmul_tiled", "matmul_128"]
        .map(|kernel| product(kernel, [1, 128, 128, 128]));
    let [naive, coalesced, tiled, large] = cost;
    assert!(naive.sectors_per_request() > 16.0 && coalesced.sectors_per_request() < 3.0);
    assert!(tiled.global_sectors * 8 < coalesced.global_sectors);
    assert!(large.global_sectors * 2 < tiled.global_sectors);
    // The loads of four neighbours at once by threads of a warp that are beside or below one another.
    assert_eq!((tiled.bank_conflicts(), large.bank_conflicts()), (0, 0));
    assert!(large.multiply_add_share() > 0.8, "{}", large.multiply_add_share());
    assert!(tiled.multiply_add_share() < 0.5);
}

#[test]
fn tensor_cores_multiply() {
    let mut gpu = Gpu::new("matmul_tensor");
    for [m, n, k] in [[1, 8, 8], [128, 128, 64], [130, 136, 200], [16, 256, 96]] {
        let half = |x: f32| half::bf16::from_f32(x);
        let (a, b): (Vec<_>, Vec<_>) =
            (numbers(m * k, 8).into_iter().map(half).collect(), numbers(k * n, 9).into_iter().map(half).collect());
        let wide = |x: &[half::bf16]| x.iter().map(|x| x.to_f32()).collect::<Vec<f32>>();
        let (left, right, to) = (gpu.put(&a), gpu.put(&b), gpu.room(4 * m * n));
        let (grid, block) = geometry("matmul_bf16", 1, m as u32, n as u32);
        let counters = gpu.launch("matmul_bf16", grid, block, list![left, right, to, m as u32, n as u32, k as u32]);
        let expected = reference([1, m, n, k], &wide(&a), &wide(&b));
        assert_close(&format!("{m} x {n} x {k}"), &gpu.get(to, m * n), &expected, 2e-6);
        assert_eq!(counters.bank_conflicts(), 0, "pieces are mixed so that matrices load without conflicts");
    }
}

/// With ten bits behind the point, halves away from 0.
fn tf32(x: f32) -> f32 {
    f32::from_bits(x.to_bits().wrapping_add(0x1000) & !0x1fff)
}

#[test]
fn tensor_cores_multiply_single_precision() {
    let mut gpu = Gpu::new("matmul_tensor");
    for [m, n, k] in [[1, 4, 4], [128, 128, 64], [130, 132, 100], [16, 256, 48]] {
        let (a, b) = (numbers(m * k, 8), numbers(k * n, 9));
        let (left, right, to) = (gpu.put(&a), gpu.put(&b), gpu.room(4 * m * n));
        let (grid, block) = geometry("matmul_tf32", 1, m as u32, n as u32);
        let counters = gpu.launch("matmul_tf32", grid, block, list![left, right, to, m as u32, n as u32, k as u32]);
        let rounded = [a, b].map(|x| x.into_iter().map(tf32).collect::<Vec<f32>>());
        let expected = reference([1, m, n, k], &rounded[0], &rounded[1]);
        assert_close(&format!("{m} x {n} x {k}"), &gpu.get(to, m * n), &expected, 2e-6);
        assert_eq!(counters.bank_conflicts(), 0, "rows are mixed so that neither operand loads with conflicts");
    }
    // No number stays no number.
    let (left, right, to) = (gpu.put(&[f32::NAN; 16]), gpu.put(&[1f32; 16]), gpu.room(64));
    gpu.launch("matmul_tf32", [1; 3], [256, 1, 1], list![left, right, to, 4u32, 4u32, 4u32]);
    assert!(gpu.get::<f32>(to, 16).iter().all(|x| x.is_nan()));
}

#[test]
fn a_bias_and_an_activation_follow() {
    let mut gpu = Gpu::new("matmul");
    let (y, bias) = (numbers(60, 10), numbers(12, 11));
    let functions = Unary::ALL.iter().filter(|op| op.slope_at(0.5).is_some()).map(|&op| Some(op));
    for op in functions.chain([None]) {
        for with_bias in [true, false] {
            let to = gpu.put(&y);
            let row = if with_bias { gpu.put(&bias) } else { 0 };
            let (number, p) = activation(op);
            gpu.each("bias_activation", 60, list![to, row, 60u32, 12u32, number, p as f32]);
            let sum = |i: usize| y[i] + if with_bias { bias[i % 12] } else { 0.0 };
            let expected: Vec<f32> =
                (0..60).map(|i| op.map_or(sum(i), |op| op.reference(sum(i).into()) as f32)).collect();
            assert_close(&format!("{op:?}"), &gpu.get(to, 60), &expected, 1e-6);
        }
    }
}
