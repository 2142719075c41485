//! Random numbers: the very ones that the processor draws.

use super::super::device::Gpu;
use super::super::launch::{Address, Grid, Kernel};
use super::super::operand::count;
use super::{Perhaps, result};
use crate::{Buffer, DType, Distribution, RandomKey};

static UNIFORM: Kernel<(Address, u32, f64, f64, f32, u64, u64)> = Kernel::new("random", "random_uniform");
static BERNOULLI: Kernel<(Address, u32, f64, u64, u64)> = Kernel::new("random", "random_bernoulli");

/// `len` numbers. Normal ones are drawn by the processor: their logarithms and cosines of double precision, which a GPU
/// rounds in its own way, would not be the same.
pub fn random(
    gpu: &'static Gpu,
    dtype: DType,
    len: usize,
    distribution: Distribution,
    key: RandomKey,
) -> Perhaps<Buffer> {
    if dtype != DType::F32 {
        return Ok(None);
    }
    let n = count(len)?;
    let (y, to) = result(gpu, dtype, len)?;
    let RandomKey { seed, stream } = key;
    // A thread makes four of them.
    let grid = Grid::each(n.div_ceil(4));
    match distribution {
        _ if n == 0 => {}
        Distribution::Uniform { low, high } => {
            // As on the processor: the number before the excluded end stands in for products that round up to it.
            let before = crate::random::number_below::<f32>(high).filter(|&x| x >= low).unwrap_or(low);
            gpu.launch(&UNIFORM, grid, (to, n, low, high, before as f32, seed, stream))?;
        }
        Distribution::Bernoulli { probability } => gpu.launch(&BERNOULLI, grid, (to, n, probability, seed, stream))?,
        Distribution::Normal { .. } | Distribution::TruncatedNormal { .. } => return Ok(None),
    }
    Ok(Some(y))
}
