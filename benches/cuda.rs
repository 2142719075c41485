//! What the kernels reach on a GPU, by the device's own clock, beside cuBLAS where that is installed. It prints a table; without a
//! GPU it says so. `bash benches/cuda-on-hardware.sh` runs the tests first.
//!
//! With `GRADUS_EMULATE_CUDA=1` everything runs once on the emulator, on small arrays: that shows that this program works, and no times.

use std::ffi::{c_int, c_void};

use gradus_kernels::backend::Normalize;
use gradus_kernels::cuda::{Cuda, found};
use gradus_kernels::{Backend, Binary, Buffer, DType, Distribution, Layout, RandomKey, Reduce, Result, Unary, View};
use libloading::Library;

/// Each figure is the median of so many runs, after two that do not count.
const RUNS: usize = 15;

/// Whether the emulator stands in for the driver.
fn is_emulated() -> bool {
    std::env::var_os("GRADUS_EMULATE_CUDA").is_some_and(|value| value == "1")
}

fn main() {
    if is_emulated() {
        gradus_emulator::driver::load_stand_in().unwrap_or_else(|error| panic!("{error}"));
    }
    let devices = match found() {
        Ok(devices) if devices.is_empty() => return println!("the driver shows no device"),
        Ok(devices) => devices,
        Err(error) => return println!("{error}"),
    };
    let device = &devices[0];
    let (major, minor) = device.capability;
    println!(
        "{}, compute capability {major}.{minor}, {:.1} GiB\n",
        device.model,
        device.memory as f64 / (1u64 << 30) as f64
    );
    if let Err(error) = Cuda::open(0).and_then(|gpu| products(&gpu).and_then(|()| streams(&gpu))) {
        eprintln!("{error}");
        std::process::exit(1);
    }
}

/// Random numbers on the device.
fn numbers(gpu: &Cuda, len: usize) -> Result<Buffer> {
    gpu.random(DType::F32, len, Distribution::Uniform { low: -1.0, high: 1.0 }, RandomKey::new(len as u64))
}

/// The median time of `work` in milliseconds; no number on the emulator.
fn median(gpu: &Cuda, mut work: impl FnMut() -> Result<()>) -> Result<f64> {
    if is_emulated() {
        return gpu.milliseconds(work).map(|_| f64::NAN);
    }
    let mut times = Vec::new();
    for run in 0..RUNS + 2 {
        let time = gpu.milliseconds(&mut work)?;
        times.extend((run >= 2).then_some(f64::from(time)));
    }
    times.sort_by(f64::total_cmp);
    Ok(times[RUNS / 2])
}

/// Products of single precision, `m` by `k` times `k` by `n`.
fn products(gpu: &Cuda) -> Result<()> {
    let blas = Blas::load();
    println!("| product | ms | TFLOP/s | cuBLAS ms | cuBLAS TFLOP/s | share |\n|---|---|---|---|---|---|");
    let squares = [256, 512, 1024, 2048, 4096, 8192].map(|n| [n, n, n]);
    let dense = [[32, 784, 300], [128, 784, 512], [256, 784, 128], [784, 32, 300], [4096, 768, 3072], [1, 4096, 4096]];
    let fits = |[m, k, n]: &[usize; 3]| !is_emulated() || m * k * n <= 1 << 24;
    for [m, k, n] in squares.into_iter().chain(dense).filter(fits) {
        let (a, b) = (numbers(gpu, m * k)?, numbers(gpu, k * n)?);
        let (rows, columns) = (Layout::contiguous(&[m, k]), Layout::contiguous(&[k, n]));
        let ours = median(gpu, || gpu.matmul(View::new(&a, &rows), View::new(&b, &columns)).map(drop))?;
        let rate = |ms: f64| 2.0 * (m * k * n) as f64 / ms / 1e9;
        let theirs = match &blas {
            None => "| | | |".into(),
            Some(blas) => {
                let c = numbers(gpu, m * n)?;
                let [a, b, c] = [gpu.address(&a)?, gpu.address(&b)?, gpu.address(&c)?];
                let theirs = median(gpu, || {
                    blas.multiply([a, b, c], [m, k, n]);
                    Ok(())
                })?;
                format!("| {theirs:.4} | {:.2} | {:.2} |", rate(theirs), theirs / ours)
            }
        };
        println!("| {m}x{k}x{n} | {ours:.4} | {:.2} {theirs}", rate(ours));
    }
    println!("{}", if blas.is_some() { "" } else { "\ncuBLAS is not installed (libcublas.so.12, .so.11)\n" });
    Ok(())
}

/// Operations that are bound by memory, 64 MiB an array.
fn streams(gpu: &Cuda) -> Result<()> {
    let (rows, columns) = (if is_emulated() { 1 << 6 } else { 1 << 14 }, 1 << 10);
    let (x, y) = (numbers(gpu, rows * columns)?, numbers(gpu, rows * columns)?);
    let row = numbers(gpu, columns)?;
    let (whole, along) = (Layout::contiguous(&[rows, columns]), Layout::contiguous(&[columns]));
    let (x, y, row) = (View::new(&x, &whole), View::new(&y, &whole), View::new(&row, &along));
    let turned = whole.permute(&[1, 0]);
    let how = Normalize { mean: row, variance: row, gamma: row, beta: row, epsilon: 2.0 };
    println!("| operation on {rows} x {columns} | arrays read and written | ms | GB/s |\n|---|---|---|---|");
    let report = |name: &str, arrays: usize, work: &mut dyn FnMut() -> Result<()>| -> Result<()> {
        let ms = median(gpu, work)?;
        println!("| {name} | {arrays} | {ms:.4} | {:.0} |", (arrays * rows * columns * 4) as f64 / ms / 1e6);
        Ok(())
    };
    report("copy", 2, &mut || gpu.copy(x).map(drop))?;
    report("transpose", 2, &mut || gpu.copy(View::new(x.buffer, &turned)).map(drop))?;
    report("relu", 2, &mut || gpu.unary(Unary::Relu, x).map(drop))?;
    report("gelu", 2, &mut || gpu.unary(Unary::Gelu, x).map(drop))?;
    report("add", 3, &mut || gpu.binary(Binary::Add, x, y).map(drop))?;
    report("sum of rows", 1, &mut || gpu.reduce(Reduce::Sum, x, &[1]).map(drop))?;
    report("sum of columns", 1, &mut || gpu.reduce(Reduce::Sum, x, &[0]).map(drop))?;
    report("softmax", 2, &mut || gpu.softmax(x, 1).map(drop))?;
    report("layer norm", 2, &mut || gpu.layer_norm(x, row, row, 1e-5).map(drop))?;
    report("normalize", 2, &mut || gpu.normalize(x, 1, &how).map(drop))?;
    let uniform = Distribution::Uniform { low: 0.0, high: 1.0 };
    report("random, uniform", 1, &mut || gpu.random(DType::F32, rows * columns, uniform, RandomKey::new(1)).map(drop))
}

type Sgemm = unsafe extern "C" fn(
    handle: *mut c_void,
    transpose_a: c_int,
    transpose_b: c_int,
    m: c_int,
    n: c_int,
    k: c_int,
    alpha: *const f32,
    a: u64,
    lda: c_int,
    b: u64,
    ldb: c_int,
    beta: *const f32,
    c: u64,
    ldc: c_int,
) -> c_int;

/// NVIDIA's library, if it is there, with the two of its functions that are needed.
struct Blas {
    handle: *mut c_void,
    sgemm: Sgemm,
}

impl Blas {
    fn load() -> Option<Self> {
        let names = ["libcublas.so.13", "libcublas.so.12", "libcublas.so.11", "libcublas.so"];
        // SAFETY: loading the library runs its initialisers, as any program that uses it does.
        let library = names.into_iter().find_map(|name| unsafe { Library::new(name) }.ok())?;
        let mut handle = std::ptr::null_mut();
        // SAFETY: the symbols have these types in all versions; the library stays loaded, since it is forgotten below.
        let (status, sgemm) = unsafe {
            let create: unsafe extern "C" fn(*mut *mut c_void) -> c_int = *library.get(b"cublasCreate_v2\0").ok()?;
            let sgemm: Sgemm = *library.get(b"cublasSgemm_v2\0").ok()?;
            (create(&mut handle), sgemm)
        };
        std::mem::forget(library);
        (status == 0).then_some(Self { handle, sgemm })
    }

    /// `c = a b` for row-major matrices: to cuBLAS, whose matrices stand in columns, `c` turned is `b` turned times `a` turned.
    fn multiply(&self, [a, b, c]: [u64; 3], sizes: [usize; 3]) {
        let [m, k, n] = sizes.map(|size| size as c_int);
        let (one, zero) = (1f32, 0f32);
        // SAFETY: the three addresses are those of arrays of the device of these sizes.
        let status = unsafe { (self.sgemm)(self.handle, 0, 0, n, m, k, &one, b, n, a, k, &zero, c, n) };
        assert_eq!(status, 0, "cuBLAS refuses the product");
    }
}
