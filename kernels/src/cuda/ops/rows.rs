//! Softmax, its logarithm, and the loss made of it: a warp for each row.

use super::super::device::Gpu;
use super::super::launch::{Address, Grid, Kernel};
use super::super::operand::count;
use super::{Dense, Perhaps, result, with_axis_last};
use crate::{Buffer, DType, View};

type Forward = Kernel<(Address, Address, u32, u32)>;
type Backward = Kernel<(Address, Address, Address, u32, u32)>;

static SOFTMAX: Forward = Kernel::new("softmax", "softmax");
static LOG_SOFTMAX: Forward = Kernel::new("softmax", "log_softmax");
static SOFTMAX_GRAD: Backward = Kernel::new("softmax", "softmax_grad");
static LOG_SOFTMAX_GRAD: Backward = Kernel::new("softmax", "log_softmax_grad");
static CROSS_ENTROPY: Kernel<(Address, Address, Address, Address, u32, u32, Address)> =
    Kernel::new("softmax", "cross_entropy");
static CROSS_ENTROPY_GRAD: Kernel<(Address, Address, Address, Address, u32, u32, Address)> =
    Kernel::new("softmax", "cross_entropy_grad");

/// Which of the two functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Function {
    /// `exp(x) / sum(exp(x))`.
    Softmax,
    /// `x - log(sum(exp(x)))`.
    LogSoftmax,
}

/// The function along `axis`.
pub fn softmax(gpu: &'static Gpu, function: Function, x: View, axis: usize) -> Perhaps<Buffer> {
    if x.dtype() != DType::F32 {
        return Ok(None);
    }
    let kernel = if function == Function::Softmax { &SOFTMAX } else { &LOG_SOFTMAX };
    let y = with_axis_last(gpu, &[x], axis, |from, rows, columns| {
        let (y, to) = result(gpu, DType::F32, rows * columns)?;
        if rows > 0 {
            gpu.launch(kernel, Grid::warps(count(rows)?), (from[0], to, count(rows)?, count(columns)?))?;
        }
        Ok(y)
    })?;
    Ok(Some(y))
}

/// Its gradient from its output.
pub fn softmax_grad(gpu: &'static Gpu, function: Function, y: View, dy: View, axis: usize) -> Perhaps<Buffer> {
    if y.dtype() != DType::F32 {
        return Ok(None);
    }
    let kernel = if function == Function::Softmax { &SOFTMAX_GRAD } else { &LOG_SOFTMAX_GRAD };
    let dx = with_axis_last(gpu, &[y, dy], axis, |from, rows, columns| {
        let (dx, to) = result(gpu, DType::F32, rows * columns)?;
        if rows > 0 {
            gpu.launch(kernel, Grid::warps(count(rows)?), (from[0], from[1], to, count(rows)?, count(columns)?))?;
        }
        Ok(dx)
    })?;
    Ok(Some(dx))
}

/// The loss of each row.
pub fn cross_entropy(gpu: &'static Gpu, logits: View, labels: View) -> Perhaps<Buffer> {
    losses(gpu, logits, labels, Address(0))
}

/// The loss of each row and its gradient.
pub fn cross_entropy_with_grad(gpu: &'static Gpu, logits: View, labels: View) -> Perhaps<(Buffer, Buffer)> {
    let (dx, to) = result(gpu, DType::F32, logits.len())?;
    Ok(losses(gpu, logits, labels, to)?.map(|loss| (loss, dx)))
}

fn losses(gpu: &'static Gpu, logits: View, labels: View, dx: Address) -> Perhaps<Buffer> {
    if logits.dtype() != DType::F32 || labels.dtype() != DType::I64 {
        return Ok(None);
    }
    let (rows, columns) = (count(logits.shape()[0])?, count(logits.shape()[1])?);
    let (loss, to) = result(gpu, DType::F32, logits.shape()[0])?;
    if rows > 0 {
        let (x, labels) = (Dense::new(gpu, logits)?, Dense::new(gpu, labels)?);
        let arguments = (x.at, labels.at, to, dx, rows, columns, gpu.alarm()?);
        gpu.launch(&CROSS_ENTROPY, Grid::warps(rows), arguments)?;
    }
    Ok(Some(loss))
}

/// The gradient of the losses, each times its `dy`.
pub fn cross_entropy_grad(gpu: &'static Gpu, logits: View, labels: View, dy: View) -> Perhaps<Buffer> {
    if logits.dtype() != DType::F32 || labels.dtype() != DType::I64 {
        return Ok(None);
    }
    let (rows, columns) = (count(logits.shape()[0])?, count(logits.shape()[1])?);
    let (dx, to) = result(gpu, DType::F32, logits.len())?;
    if rows > 0 {
        let (x, labels, dy) = (Dense::new(gpu, logits)?, Dense::new(gpu, labels)?, Dense::new(gpu, dy)?);
        let arguments = (x.at, labels.at, dy.at, to, rows, columns, gpu.alarm()?);
        gpu.launch(&CROSS_ENTROPY_GRAD, Grid::warps(rows), arguments)?;
    }
    Ok(Some(dx))
}
