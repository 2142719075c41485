//! Matrix products of gemm, matrixmultiply and faer. Usage: kernels gemm THREADS, with RAYON_NUM_THREADS and
//! MATMUL_NUM_THREADS set to the same number

use gradus_peers::{PRODUCTS, Random, emit, time_calls};

fn main() {
    let threads: usize = std::env::args().nth(2).and_then(|text| text.parse().ok()).unwrap_or(2);
    let (rayon, faer) = match threads {
        1 => (gemm::Parallelism::None, faer::Par::Seq),
        _ => (gemm::Parallelism::Rayon(threads), faer::Par::rayon(threads)),
    };
    let mut random = Random(7);
    for (name, m, k, n, a_stored, b_stored) in PRODUCTS {
        let (a, b, mut c) = (random.noise(m * k), random.noise(k * n), vec![0f32; m * n]);
        let (a_row, a_col) = if a_stored { (1, m as isize) } else { (k as isize, 1) };
        let (b_row, b_col) = if b_stored { (1, k as isize) } else { (n as isize, 1) };
        let rates = |seconds: Vec<f64>| seconds.into_iter().map(|s| 2e-9 * (m * k * n) as f64 / s).collect();
        let c = c.as_mut_ptr();
        let seconds = time_calls(|| {
            let (a, b) = (a.as_ptr(), b.as_ptr());
            // SAFETY: `c` holds `m n` numbers, as the peers are told, and `a` and `b` theirs.
            unsafe {
                gemm::gemm(
                    m, n, k, c, 1, n as isize, false, a, a_col, a_row, b, b_col, b_row, 0.0, 1.0, false, false, false,
                    rayon,
                )
            }
        });
        emit("A", "gemm", name, threads, "gflops", rates(seconds));
        let seconds = time_calls(|| {
            let (a, b) = (a.as_ptr(), b.as_ptr());
            // SAFETY: as above.
            unsafe { matrixmultiply::sgemm(m, k, n, 1.0, a, a_row, a_col, b, b_row, b_col, 0.0, c, n as isize, 1) }
        });
        emit("A", "matrixmultiply", name, threads, "gflops", rates(seconds));
        let seconds = time_calls(|| {
            // SAFETY: as above.
            let (a, b, c) = unsafe {
                (
                    faer::MatRef::from_raw_parts(a.as_ptr(), m, k, a_row, a_col),
                    faer::MatRef::from_raw_parts(b.as_ptr(), k, n, b_row, b_col),
                    faer::MatMut::from_raw_parts_mut(c, m, n, n as isize, 1),
                )
            };
            faer::linalg::matmul::matmul(c, faer::Accum::Replace, a, b, 1.0, faer);
        });
        emit("A", "faer", name, threads, "gflops", rates(seconds));
    }
}
