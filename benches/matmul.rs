//! Criterion benches of matrix products beside two other crates, one group for each shape; `cargo bench --bench matmul` runs
//! them all, and `GRADUS_ISA=avx2` or `RAYON_NUM_THREADS=1` before it narrow what all three, or ours alone, may use.
//!
//! Compare within a group: its three functions run one after the other on the same operands. `matrixmultiply` takes its
//! number of threads from `MATMUL_NUM_THREADS`, and both peers choose instruction sets of their own.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use gemm::Parallelism;
use gradus_kernels::cpu::matmul::{Finish, Matrix, gemm as ours};
use gradus_kernels::cpu::threads;
use gradus_kernels::{Buffer, DType, Distribution, RandomKey, random};

/// How an operand is stored.
#[derive(Clone, Copy, PartialEq)]
enum Stored {
    Plain,
    Transposed,
}
use Stored::{Plain, Transposed};

/// Squares, and the products of a training step: a layer's forward pass, its weight's and its input's gradient.
const SHAPES: &[(usize, usize, usize, Stored, Stored)] = &[
    (64, 64, 64, Plain, Plain),
    (128, 128, 128, Plain, Plain),
    (256, 256, 256, Plain, Plain),
    (512, 512, 512, Plain, Plain),
    (1024, 1024, 1024, Plain, Plain),
    (2048, 2048, 2048, Plain, Plain),
    (32, 784, 300, Plain, Plain),
    (32, 300, 100, Plain, Plain),
    (32, 100, 10, Plain, Plain),
    (128, 784, 512, Plain, Plain),
    (64, 576, 1024, Plain, Plain),
    (784, 32, 300, Transposed, Plain),
    (300, 32, 100, Transposed, Plain),
    (32, 300, 784, Plain, Transposed),
    (32, 100, 300, Plain, Transposed),
    (256, 784, 128, Plain, Plain),
    (784, 256, 128, Transposed, Plain),
    (256, 128, 784, Plain, Transposed),
];

/// Random numbers for a `rows x columns` operand, and the distances between its rows and columns.
fn operand(rows: usize, columns: usize, stored: Stored) -> (Vec<f32>, isize, isize) {
    let mut buffer = Buffer::unspecified(DType::F32, rows * columns);
    random::fill(Distribution::Normal { mean: 0.0, std: 1.0 }, RandomKey::new(1), 0, buffer.as_mut_slice::<f32>());
    let (row, col) = if stored == Plain { (columns as isize, 1) } else { (1, rows as isize) };
    (buffer.as_slice().to_vec(), row, col)
}

fn products(c: &mut Criterion) {
    for &(m, k, n, a_stored, b_stored) in SHAPES {
        let mark = |stored| if stored == Plain { "" } else { "t" };
        let mut group = c.benchmark_group(format!("{m}x{k}{} {k}x{n}{}", mark(a_stored), mark(b_stored)));
        group.throughput(Throughput::Elements(2 * (m * k * n) as u64));
        let (a, a_row, a_col) = operand(m, k, a_stored);
        let (b, b_row, b_col) = operand(k, n, b_stored);
        let mut y = vec![0.0; m * n];
        group.bench_function("gradus", |bench| {
            threads::run(|| {
                bench.iter(|| {
                    let a = Matrix { data: black_box(&a[..]), offset: 0, row: a_row, col: a_col };
                    let b = Matrix { data: &b[..], offset: 0, row: b_row, col: b_col };
                    ours((m, n, k), a, b, Matrix::row_major(&mut y[..], n), Finish::default());
                });
            });
        });
        let parallel = if threads::threads() == 1 { Parallelism::None } else { Parallelism::Rayon(0) };
        let (to, row) = (y.as_mut_ptr(), n as isize);
        group.bench_function("gemm", |bench| {
            bench.iter(|| {
                let (a, b) = (black_box(a.as_ptr()), b.as_ptr());
                let plain = (0.0, 1.0, false, false, false);
                // SAFETY: the distances are those of the operands, and `y` has room for the result.
                unsafe {
                    gemm::gemm(
                        m, n, k, to, 1, row, false, a, a_col, a_row, b, b_col, b_row, plain.0, plain.1, plain.2,
                        plain.3, plain.4, parallel,
                    );
                }
            });
        });
        group.bench_function("matrixmultiply", |bench| {
            bench.iter(|| {
                let (a, b) = (black_box(a.as_ptr()), b.as_ptr());
                // SAFETY: as above.
                unsafe { matrixmultiply::sgemm(m, k, n, 1.0, a, a_row, a_col, b, b_row, b_col, 0.0, to, row, 1) };
            });
        });
        group.finish();
    }
}

criterion_group!(benches, products);
criterion_main!(benches);
