//! Functions of each element, or of each pair. The rows of the tables stand in `pointwise.cu` and `binary.cu`.

use super::super::device::Gpu;
use super::super::launch::{Address, Argument, Grid, Kernel};
use super::super::operand::{Strided, count, first};
use super::{Dense, Perhaps, copy, result};
use crate::{Binary, Buffer, Compare, DType, Layout, Result, Unary, View};

/// The parameters of a function, as its kernel takes them.
fn parameters(op: Unary) -> [f64; 2] {
    match op {
        Unary::LeakyRelu(p) | Unary::Elu(p) | Unary::Celu(p) | Unary::Powf(p) => [p, 0.0],
        Unary::Clamp(low, high) => [low, high],
        _ => [0.0; 2],
    }
}

/// `op` of every element.
pub fn unary(gpu: &'static Gpu, op: Unary, x: View) -> Perhaps<Buffer> {
    let [p, q] = parameters(op);
    match x.dtype() {
        DType::F32 => each(gpu, op, x, [p as f32, q as f32]),
        DType::F64 => each(gpu, op, x, [p, q]),
        // The bounds of a clamp are the whole numbers between those that were asked for.
        _ => each(gpu, op, x, [p.ceil() as i64, q.floor() as i64]),
    }
}

fn each<P: Argument>(gpu: &'static Gpu, op: Unary, x: View, [p, q]: [P; 2]) -> Perhaps<Buffer> {
    let name = format!("unary_{}_{}", op.name(), x.dtype());
    let Some(kernel) = Kernel::<(Address, Address, u32, P, P)>::find("pointwise", name) else { return Ok(None) };
    let (y, to) = result(gpu, x.dtype(), x.len())?;
    let n = count(x.len())?;
    if n > 0 {
        let from = Dense::new(gpu, x)?;
        gpu.launch(&kernel, Grid::each(n), (from.at, to, n, p, q))?;
    }
    Ok(Some(y))
}

/// An operand of a kernel that reads through strides.
struct Seen {
    at: Address,
    layout: Strided,
    /// A copy of a view of too many dimensions; it must live until the launch.
    _copy: Option<Buffer>,
}

fn see(gpu: &'static Gpu, x: View) -> Result<Seen> {
    if let Some(layout) = Strided::new(x.layout)? {
        return Ok(Seen { at: first(x)?, layout, _copy: None });
    }
    let packed = copy::copy(gpu, x)?;
    let dense = Layout::contiguous(&[x.len()]);
    let layout = Strided::new(&dense)?.unwrap_or_default();
    Ok(Seen { at: first(View::new(&packed, &dense))?, layout, _copy: Some(packed) })
}

/// The kernel `name` of every pair.
fn pairs(gpu: &'static Gpu, name: String, a: View, b: View, dtype: DType) -> Perhaps<Buffer> {
    type Pairs = Kernel<(Address, Strided, Address, Strided, Address, u32)>;
    let Some(kernel) = Pairs::find("binary", name) else { return Ok(None) };
    let (y, to) = result(gpu, dtype, a.len())?;
    let n = count(a.len())?;
    if n > 0 {
        let (a, b) = (see(gpu, a)?, see(gpu, b)?);
        gpu.launch(&kernel, Grid::each(n), (a.at, a.layout, b.at, b.layout, to, n))?;
    }
    Ok(Some(y))
}

/// `op` of every pair.
pub fn binary(gpu: &'static Gpu, op: Binary, a: View, b: View) -> Perhaps<Buffer> {
    pairs(gpu, format!("binary_{}_{}", op.name(), a.dtype()), a, b, a.dtype())
}

/// Whether `op` holds for each pair.
pub fn compare(gpu: &'static Gpu, op: Compare, a: View, b: View) -> Perhaps<Buffer> {
    pairs(gpu, format!("compare_{}_{}", op.name(), a.dtype()), a, b, DType::Bool)
}

/// `a` where `condition` holds, else `b`, for elements of any type.
pub fn select(gpu: &'static Gpu, condition: View, a: View, b: View) -> Perhaps<Buffer> {
    type Select = Kernel<(Address, Strided, Address, Strided, Address, Strided, Address, u32)>;
    let name = format!("select_{}", 8 * a.dtype().size());
    let Some(kernel) = Select::find("binary", name) else { return Ok(None) };
    let (y, to) = result(gpu, a.dtype(), a.len())?;
    let n = count(a.len())?;
    if n > 0 {
        let (condition, a, b) = (see(gpu, condition)?, see(gpu, a)?, see(gpu, b)?);
        let arguments = (condition.at, condition.layout, a.at, a.layout, b.at, b.layout, to, n);
        gpu.launch(&kernel, Grid::each(n), arguments)?;
    }
    Ok(Some(y))
}
