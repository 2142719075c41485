//! Criterion benches over the operations that the labs spend their time in; `cargo bench --bench ops -- matmul` runs a part.
//!
//! Inputs are random. Throughput is floating-point operations a second for products, elements or samples elsewhere. The
//! group `cases` runs every operation of `tests/cases`, forward and backward, at the small sizes of the tests: it shows
//! what an operation costs before any arithmetic.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use gradus::core::{DType, Device, RandomKey, Result, Tensor, no_grad};

#[path = "../tests/cases/mod.rs"]
mod cases;

fn random(shape: &[usize]) -> Tensor {
    Tensor::randn(shape, RandomKey::new(1), DType::F32, Device::CPU).expect("a shape that fits into memory")
}

fn matmul(c: &mut Criterion) {
    let mut group = c.benchmark_group("matmul");
    let shapes = [(64, 64, 64), (256, 256, 256), (512, 512, 512), (1024, 1024, 1024), (32, 784, 300), (32, 300, 100)];
    for (m, k, n) in shapes {
        let (a, b) = (random(&[m, k]), random(&[k, n]));
        group.throughput(Throughput::Elements(2 * (m * k * n) as u64));
        group.bench_function(format!("{m}x{k}x{n}"), |bench| bench.iter(|| a.matmul(black_box(&b))));
    }
    let (x, dy, w) = (random(&[32, 784]), random(&[32, 300]), random(&[784, 300]));
    group.throughput(Throughput::Elements(2 * 32 * 784 * 300));
    group.bench_function("xt_dy 784x32x300", |bench| bench.iter(|| x.t()?.matmul(black_box(&dy))));
    group.bench_function("dy_wt 32x300x784", |bench| bench.iter(|| dy.matmul(&black_box(&w).t()?)));
    group.finish();
}

fn pointwise(c: &mut Criterion) {
    type Function = fn(&Tensor) -> Result<Tensor>;
    const FUNCTIONS: [(&str, Function); 6] = [
        ("relu", Tensor::relu),
        ("exp", Tensor::exp),
        ("tanh", Tensor::tanh),
        ("sigmoid", Tensor::sigmoid),
        ("gelu", Tensor::gelu),
        ("transpose", |x| x.t()?.contiguous()),
    ];
    let mut group = c.benchmark_group("pointwise");
    let (x, y) = (random(&[1024, 1024]), random(&[1024, 1024]));
    group.throughput(Throughput::Elements(1 << 20));
    for (name, function) in FUNCTIONS {
        group.bench_function(format!("{name} 1M"), |bench| bench.iter(|| function(black_box(&x))));
    }
    group.bench_function("add 1M", |bench| bench.iter(|| x.add(black_box(&y))));
    group.bench_function("mul scalar 1M", |bench| bench.iter(|| x.mul_scalar(black_box(1.5))));
    group.finish();
}

fn reductions(c: &mut Criterion) {
    let mut group = c.benchmark_group("reduce");
    let x = random(&[1024, 1024]);
    group.throughput(Throughput::Elements(1 << 20));
    group.bench_function("sum 1M", |bench| bench.iter(|| black_box(&x).sum(&[])));
    group.bench_function("sum axis 0 1M", |bench| bench.iter(|| black_box(&x).sum(&[0])));
    group.bench_function("sum axis 1 1M", |bench| bench.iter(|| black_box(&x).sum(&[1])));
    group.bench_function("argmax axis 1 1M", |bench| bench.iter(|| black_box(&x).argmax(1)));
    group.finish();

    let mut group = c.benchmark_group("softmax");
    let logits = random(&[256, 1000]);
    group.throughput(Throughput::Elements(256_000));
    group.bench_function("softmax 256x1000", |bench| bench.iter(|| black_box(&logits).softmax(1)));
    group.bench_function("log_softmax 256x1000", |bench| bench.iter(|| black_box(&logits).log_softmax(1)));
    group.finish();
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

criterion_group!(benches, matmul, pointwise, reductions, training_step, every_case);
criterion_main!(benches);
