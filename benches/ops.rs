//! Criterion benches of every kernel and of a training step; `cargo bench --bench ops -- softmax/` runs a part.
//!
//! Kernels have the names, shapes and inputs of `gradus kernel list`, which prints rates and shares of the machine's peak.
//! The group `cases` runs every operation of `tests/cases`, forward and backward, at the small sizes of the tests: it shows
//! what an operation costs before any arithmetic.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use gradus::core::{DType, Device, RandomKey, Result, Tensor, no_grad};
use gradus::nn::profile::{operations, show};

#[path = "../tests/cases/mod.rs"]
mod cases;

fn random(shape: &[usize]) -> Tensor {
    Tensor::randn(shape, RandomKey::new(1), DType::F32, Device::CPU).expect("a shape that fits into memory")
}

/// Everything of `gradus kernel list`, under the same names: `relu/1024x1024`, `matmul_tn/784x32x300`.
fn kernels(c: &mut Criterion) {
    for operation in operations() {
        let mut group = c.benchmark_group(operation.name);
        for shape in &operation.shapes {
            group.bench_function(show(shape), |bench| {
                let mut inputs = operation.inputs(shape).expect("inputs that fit into memory");
                no_grad(|| bench.iter(|| operation.run(black_box(&mut inputs)).expect("inputs that were made for it")));
            });
        }
        group.finish();
    }
}

/// A dense network's step by hand: forward, loss, backward and descent for 784-300-100-10 at batch 32.
fn training_step(c: &mut Criterion) {
    let mut group = c.benchmark_group("step");
    let sizes = [784, 300, 100, 10];
    let matrix = |pair: &[usize]| random(pair).mul_scalar(0.05).expect("a matrix times a number");
    let mut weights: Vec<Tensor> = sizes.windows(2).map(matrix).collect();
    let inputs = random(&[32, 784]);
    let labels = Tensor::from_slice(&(0..32).map(|i| i % 10).collect::<Vec<i64>>(), &[32]).expect("32 labels");
    group.throughput(Throughput::Elements(32));
    group.bench_function("mlp 784-300-100-10 batch 32", |bench| {
        bench.iter(|| -> Result<()> {
            let leaves: Vec<Tensor> = weights.iter().map(Tensor::requires_grad).collect();
            let hidden = inputs.matmul(&leaves[0])?.relu()?.matmul(&leaves[1])?.relu()?;
            let gradients = hidden.matmul(&leaves[2])?.cross_entropy(&labels)?.mean(&[])?.backward()?;
            let descend = |leaf: &Tensor| leaf.sub(&gradients.get(leaf)?.mul_scalar(1e-3)?);
            weights = no_grad(|| leaves.iter().map(descend).collect::<Result<_>>())?;
            Ok(())
        });
    });
    group.finish();
}

fn every_case(c: &mut Criterion) {
    let mut group = c.benchmark_group("cases");
    for case in cases::all() {
        group.bench_function(&case.name, |bench| {
            bench.iter(|| {
                let leaves: Vec<Tensor> = case.inputs.iter().map(Tensor::requires_grad).collect();
                (case.compute)(&leaves)?.sum(&[])?.backward()
            });
        });
    }
    group.finish();
}

criterion_group!(benches, kernels, training_step, every_case);
criterion_main!(benches);
