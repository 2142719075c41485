//! Elements and slices by index. An index that is out of range raises the device's alarm, which the next download tells.

use super::super::device::Gpu;
use super::super::launch::{Address, Grid, Kernel};
use super::super::operand::{count, start};
use super::{Dense, Perhaps, copy, result};
use crate::{Buffer, DType, View};

type Read = Kernel<(Address, Address, Address, u32, u32, u32, u32, Address)>;

/// The sizes of the dimensions before, at and after an axis.
fn around(shape: &[usize], axis: usize) -> [usize; 3] {
    [shape[..axis].iter().product(), shape[axis], shape[axis + 1..].iter().product()]
}

fn index_type(index: View) -> Option<&'static str> {
    matches!(index.dtype(), DType::I64 | DType::I32).then(|| index.dtype().name())
}

/// Reads from `x` by an index of `count_of` entries along `axis`.
fn read(gpu: &'static Gpu, name: &str, x: View, index: View, axis: usize) -> Perhaps<Buffer> {
    let Some(kind) = index_type(index) else { return Ok(None) };
    let kernel = Read::find("index", format!("{name}_{}_{kind}", 8 * x.dtype().size()));
    let Some(kernel) = kernel else { return Ok(None) };
    let [outer, size, inner] = around(x.shape(), axis);
    let many = if name == "gather" { index.shape()[axis] } else { index.len() };
    let (y, to) = result(gpu, x.dtype(), outer * many * inner)?;
    let n = count(y.len())?;
    if n > 0 {
        let (x, index) = (Dense::new(gpu, x)?, Dense::new(gpu, index)?);
        let arguments = (x.at, index.at, to, n, count(size)?, count(many)?, count(inner)?, gpu.alarm()?);
        gpu.launch(&kernel, Grid::each(n), arguments)?;
    }
    Ok(Some(y))
}

/// `y[.., i, ..] = x[.., index[.., i, ..], ..]`.
pub fn gather(gpu: &'static Gpu, x: View, index: View, axis: usize) -> Perhaps<Buffer> {
    read(gpu, "gather", x, index, axis)
}

/// The slices of `x` that `index` names.
pub fn index_select(gpu: &'static Gpu, x: View, index: View, axis: usize) -> Perhaps<Buffer> {
    read(gpu, "index_select", x, index, axis)
}

/// Lines that are shared among this many threads fill a GPU.
const BUSY: usize = 1 << 16;

/// Adds `source` to a copy of `x` by an index; a thread takes all that falls on its part of a line, in order.
fn add(gpu: &'static Gpu, name: &str, x: View, index: View, source: View, axis: usize) -> Perhaps<Buffer> {
    let Some(kind) = index_type(index) else { return Ok(None) };
    let kernel = Read::find("index", format!("{name}_{}_{kind}", x.dtype()));
    let Some(kernel) = kernel else { return Ok(None) };
    let [outer, size, inner] = around(x.shape(), axis);
    let many = if name == "scatter_add" { index.shape()[axis] } else { index.len() };
    let y = copy::copy(gpu, x)?;
    let n = count(outer * inner)?;
    if n > 0 && many > 0 {
        let (index, source) = (Dense::new(gpu, index)?, Dense::new(gpu, source)?);
        let arguments = (index.at, source.at, start(&y)?, n, count(size)?, count(many)?, count(inner)?, gpu.alarm()?);
        let mut grid = Grid::each(n);
        grid.blocks[1] = count((BUSY / outer.saturating_mul(inner).max(1)).clamp(1, size))?;
        gpu.launch(&kernel, grid, arguments)?;
    }
    Ok(Some(y))
}

/// A copy of `x` with `source` added where [`gather`] with `index` would read.
pub fn scatter_add(gpu: &'static Gpu, x: View, index: View, source: View, axis: usize) -> Perhaps<Buffer> {
    add(gpu, "scatter_add", x, index, source, axis)
}

/// A copy of `x` with the slices of `source` added to the slices that `index` names.
pub fn index_add(gpu: &'static Gpu, x: View, index: View, source: View, axis: usize) -> Perhaps<Buffer> {
    add(gpu, "index_add", x, index, source, axis)
}
