//! What is made of the elements along dimensions: sums and extremes, running sums, order.

use super::super::device::Gpu;
use super::super::launch::{Address, Argument, Arguments, Grid, Kernel, parts};
use super::super::operand::count;
use super::{Dense, Perhaps, copy, moved_last, result, with_axis_last};
use crate::{ArgReduce, Backend, Buffer, CPU, DType, Element, Error, Layout, Reduce, Result, View, with_element};

/// Rows of at most this length are a warp's work, longer ones a block's.
const WARP_ROW: usize = 1024;

/// How many elements of a row or a column a block takes at least.
const LEAST_PART: usize = 4096;

/// `op` over `axes`.
pub fn reduce(gpu: &'static Gpu, op: Reduce, x: View, axes: &[usize]) -> Perhaps<Buffer> {
    let columns: usize = axes.iter().map(|&axis| x.shape()[axis]).product();
    if x.is_empty() {
        let rows = (0..x.shape().len()).filter(|axis| !axes.contains(axis)).map(|axis| x.shape()[axis]).product();
        return of_nothing(gpu, op, x.dtype(), rows).map(Some);
    }
    match (op, x.dtype()) {
        (Reduce::Mean, DType::F32) => reduced(gpu, "sum", x, axes, (1.0 / columns as f64) as f32),
        (Reduce::Mean, DType::F64) => reduced(gpu, "sum", x, axes, 1.0 / columns as f64),
        (Reduce::Mean, _) => Ok(None),
        (_, DType::F32) => reduced(gpu, name(op), x, axes, 1f32),
        (_, DType::F64) => reduced(gpu, name(op), x, axes, 1f64),
        _ => reduced(gpu, name(op), x, axes, None::<f32>),
    }
}

/// Sums from those of their parts, `len` of each part, one after another: added in order.
pub fn sum_of_parts(gpu: &'static Gpu, parts: Buffer, len: usize) -> Result<Buffer> {
    if parts.len() == len {
        return Ok(parts);
    }
    let layout = Layout::contiguous(&[parts.len() / len, len]);
    let sums = reduce(gpu, Reduce::Sum, View::new(&parts, &layout), &[0])?;
    sums.ok_or_else(|| Error::Device(format!("{}: there is no kernel for sums of {}", gpu.name, parts.dtype())))
}

/// What `op` makes of no elements, `len` times. The processor knows it.
fn of_nothing(gpu: &'static Gpu, op: Reduce, dtype: DType, len: usize) -> Result<Buffer> {
    let (nothing, shape) = (Buffer::unspecified(dtype, 0), Layout::contiguous(&[1, 0]));
    let one = CPU.reduce(op, View::new(&nothing, &shape), &[1])?;
    let value = with_element!(one.dtype(), T => one.as_slice::<T>()[0].to_scalar());
    copy::full(gpu, one.dtype(), len, value)
}

fn name(op: Reduce) -> &'static str {
    match op {
        Reduce::Sum | Reduce::Mean => "sum",
        Reduce::Prod => "prod",
        Reduce::Max => "max",
        Reduce::Min => "min",
    }
}

/// A factor of the result, which kernels of floats take and those of integers do not.
trait Factor: Copy {
    type Rows: Arguments;
    type Block: Arguments;
    fn rows(self, x: Address, y: Address, rows: u32, columns: u32) -> Self::Rows;
    fn block(self, x: Address, y: Address, columns: u32) -> Self::Block;
    /// The factor of sums that are only a part.
    fn one() -> Self;
}

impl<R: Argument + From<f32> + Copy> Factor for R {
    type Rows = (Address, Address, u32, u32, R);
    type Block = (Address, Address, u32, R);

    fn rows(self, x: Address, y: Address, rows: u32, columns: u32) -> Self::Rows {
        (x, y, rows, columns, self)
    }

    fn block(self, x: Address, y: Address, columns: u32) -> Self::Block {
        (x, y, columns, self)
    }

    fn one() -> Self {
        1f32.into()
    }
}

impl Factor for Option<f32> {
    type Rows = (Address, Address, u32, u32);
    type Block = (Address, Address, u32);

    fn rows(self, x: Address, y: Address, rows: u32, columns: u32) -> Self::Rows {
        (x, y, rows, columns)
    }

    fn block(self, x: Address, y: Address, columns: u32) -> Self::Block {
        (x, y, columns)
    }

    fn one() -> Self {
        None
    }
}

fn reduced<S: Factor>(gpu: &'static Gpu, op: &str, x: View, axes: &[usize], scale: S) -> Perhaps<Buffer> {
    let (sums, bytes) = (matches!(op, "sum" | "prod"), matches!(x.dtype(), DType::U8 | DType::Bool));
    let to = if sums && bytes { DType::I64 } else { x.dtype() };
    // The largest and the smallest truth value are those of bytes.
    let from = if x.dtype() == DType::Bool && !sums { DType::U8 } else { x.dtype() };
    let columns: usize = axes.iter().map(|&axis| x.shape()[axis]).product();
    let rows = x.len() / columns;
    let leading = axes.iter().enumerate().all(|(place, &axis)| place == axis);
    if leading && rows > 1 && x.layout.is_contiguous() {
        let from_x = Dense::new(gpu, x)?;
        return along_columns(
            gpu,
            &format!("{op}_{from}"),
            &format!("{op}_{to}"),
            from_x.at,
            to,
            [columns, rows],
            scale,
        );
    }
    let order = moved_last(x.shape().len(), axes);
    let from_x = Dense::new(gpu, View::new(x.buffer, &x.layout.permute(&order)))?;
    along_rows(gpu, &format!("{op}_{from}"), &format!("{op}_{to}"), from_x.at, to, [rows, columns], scale)
}

/// Each row to one number. `first` names the operation and the type that is read, `again` those of partial results.
fn along_rows<S: Factor>(
    gpu: &'static Gpu,
    first: &str,
    again: &str,
    x: Address,
    to: DType,
    [rows, columns]: [usize; 2],
    scale: S,
) -> Perhaps<Buffer> {
    let (y, at) = result(gpu, to, rows)?;
    let (rows, wide) = (count(rows)?, count(columns)?);
    if columns <= WARP_ROW {
        let Some(kernel) = Kernel::find("reduce", format!("reduce_rows_warp_{first}")) else { return Ok(None) };
        gpu.launch(&kernel, Grid::warps(rows), scale.rows(x, at, rows, wide))?;
        return Ok(Some(y));
    }
    let Some(kernel) = Kernel::find("reduce", format!("reduce_rows_block_{first}")) else { return Ok(None) };
    let parts = parts(rows, count(columns / LEAST_PART)?);
    let mut grid = Grid::rows(rows);
    grid.blocks[1] = parts;
    if parts == 1 {
        gpu.launch(&kernel, grid, scale.block(x, at, wide))?;
        return Ok(Some(y));
    }
    let (_partial, between) = result(gpu, to, rows as usize * parts as usize)?;
    gpu.launch(&kernel, grid, S::one().block(x, between, wide))?;
    along_rows(gpu, again, again, between, to, [rows as usize, parts as usize], scale)
}

/// Each column to one number.
fn along_columns<S: Factor>(
    gpu: &'static Gpu,
    first: &str,
    again: &str,
    x: Address,
    to: DType,
    [rows, columns]: [usize; 2],
    scale: S,
) -> Perhaps<Buffer> {
    let Some(kernel) = Kernel::find("reduce", format!("reduce_columns_{first}")) else { return Ok(None) };
    let (y, at) = result(gpu, to, columns)?;
    let (tall, wide) = (count(rows)?, count(columns)?);
    let width = wide.next_power_of_two().min(32);
    let height = tall.next_power_of_two().min(256 / width);
    let across = wide.div_ceil(width);
    let parts = parts(across, count(rows * width as usize / LEAST_PART)?);
    let grid = Grid { blocks: [across, parts, 1], threads: [width, height, 1] };
    if parts == 1 {
        gpu.launch(&kernel, grid, scale.rows(x, at, tall, wide))?;
        return Ok(Some(y));
    }
    let (_partial, between) = result(gpu, to, parts as usize * columns)?;
    gpu.launch(&kernel, grid, S::one().rows(x, between, tall, wide))?;
    along_columns(gpu, again, again, between, to, [parts as usize, columns], scale)
}

/// The index of what `op` looks for along `axis`.
pub fn arg_reduce(gpu: &'static Gpu, op: ArgReduce, x: View, axis: usize) -> Perhaps<Buffer> {
    type Arg = Kernel<(Address, Address, u32, u32, u32)>;
    let Some(kernel) = Arg::find("order", format!("arg_rows_{}", x.dtype())) else { return Ok(None) };
    let order = moved_last(x.shape().len(), &[axis]);
    let columns = x.shape()[axis];
    let rows = x.len() / columns.max(1);
    let (y, to) = result(gpu, DType::I64, rows)?;
    if rows > 0 {
        let from = Dense::new(gpu, View::new(x.buffer, &x.layout.permute(&order)))?;
        let least = u32::from(op == ArgReduce::Min);
        gpu.launch(&kernel, Grid::warps(count(rows)?), (from.at, to, count(rows)?, count(columns)?, least))?;
    }
    Ok(Some(y))
}

/// Running sums along `axis`.
pub fn cumsum(gpu: &'static Gpu, x: View, axis: usize) -> Perhaps<Buffer> {
    type Scan = Kernel<(Address, Address, u32, u32)>;
    let Some(kernel) = Scan::find("order", format!("cumsum_rows_{}", x.dtype())) else { return Ok(None) };
    let dtype = if matches!(x.dtype(), DType::U8 | DType::Bool) { DType::I64 } else { x.dtype() };
    let y = with_axis_last(gpu, &[x], axis, |from, rows, columns| {
        let (y, to) = result(gpu, dtype, rows * columns)?;
        if rows > 0 {
            gpu.launch(&kernel, Grid::warps(count(rows)?), (from[0], to, count(rows)?, count(columns)?))?;
        }
        Ok(y)
    })?;
    Ok(Some(y))
}

/// How many elements one block sorts; `RUN` in `order.cu`.
const RUN: u32 = 1024;

/// The elements in order along `axis`, and where each stood.
pub fn sort(gpu: &'static Gpu, x: View, axis: usize, descending: bool) -> Perhaps<(Buffer, Buffer)> {
    type Runs = Kernel<(Address, Address, Address, u32, u32)>;
    type Merge = Kernel<(Address, Address, Address, Address, u32, u32, u32, u32)>;
    let Some(runs) = Runs::find("order", format!("sort_rows_{}", x.dtype())) else { return Ok(None) };
    let Some(merge) = Merge::find("order", format!("sort_merge_{}", x.dtype())) else { return Ok(None) };
    let down = u32::from(descending);
    let mut places = None;
    let values = with_axis_last(gpu, &[x], axis, |from, rows, columns| {
        let room = || Ok((result(gpu, x.dtype(), rows * columns)?, result(gpu, DType::I64, rows * columns)?));
        let (mut values, mut order) = room()?;
        let (n, rows, columns) = (count(rows * columns)?, count(rows)?, count(columns)?);
        if n > 0 {
            let grid = Grid { blocks: [rows, columns.div_ceil(RUN), 1], threads: [512, 1, 1] };
            gpu.launch(&runs, grid, (from[0], values.1, order.1, columns, down))?;
            let mut width = RUN;
            while width < columns {
                let (other_values, other_order) = room()?;
                let arguments = (values.1, order.1, other_values.1, other_order.1, n, columns, width, down);
                gpu.launch(&merge, Grid::each(n), arguments)?;
                (values, order) = (other_values, other_order);
                width *= 2;
            }
        }
        places = Some(order.0);
        Ok(values.0)
    })?;
    let Some(places) = places else { return Ok(None) };
    Ok(Some((values, moved_back(gpu, places, x.shape(), axis)?)))
}

/// Elements whose dimension `axis` stands last, as a buffer of `shape`.
fn moved_back(gpu: &'static Gpu, y: Buffer, shape: &[usize], axis: usize) -> Result<Buffer> {
    if axis + 1 == shape.len() {
        return Ok(y);
    }
    let order = moved_last(shape.len(), &[axis]);
    let moved: Vec<usize> = order.iter().map(|&axis| shape[axis]).collect();
    super::put_back(gpu, &y, &Layout::contiguous(&moved), &order)
}
