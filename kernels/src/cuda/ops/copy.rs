//! Copies through strides, constants, and conversions between types.

use super::super::device::Gpu;
use super::super::launch::{Address, Argument, Grid, Kernel};
use super::super::operand::{Strided, count, first};
use super::{Perhaps, result};
use crate::{Buffer, DType, Element, Layout, Result, Scalar, View, with_element};

type Copy = Kernel<(Address, Strided, Address, u32)>;
type CopyInto = Kernel<(Address, Address, Strided, u32)>;

/// By the size of an element: 1, 2, 4 and 8 bytes.
static COPY: [Copy; 4] = [
    Kernel::new("copy", "copy_8"),
    Kernel::new("copy", "copy_16"),
    Kernel::new("copy", "copy_32"),
    Kernel::new("copy", "copy_64"),
];
static COPY_INTO: [CopyInto; 4] = [
    Kernel::new("copy", "copy_into_8"),
    Kernel::new("copy", "copy_into_16"),
    Kernel::new("copy", "copy_into_32"),
    Kernel::new("copy", "copy_into_64"),
];

/// The elements of `x` in row-major order.
pub fn copy(gpu: &'static Gpu, x: View) -> Result<Buffer> {
    let (y, to) = result(gpu, x.dtype(), x.len())?;
    let size = x.dtype().size();
    for_parts(x.layout, size, first(x)?, to, &mut |layout, from, to| {
        let n = count(layout.1)?;
        gpu.launch(&COPY[size.ilog2() as usize], Grid::each(n), (from, layout.0, to, n))
    })?;
    Ok(y)
}

/// Writes the elements of `x` to the places that `at` describes.
pub fn copy_into(gpu: &'static Gpu, x: View, y: &mut Buffer, at: &Layout) -> Result<()> {
    let packed = super::Dense::new(gpu, x)?;
    let size = x.dtype().size();
    let places = View::new(y, at);
    for_parts(at, size, first(places)?, packed.at, &mut |layout, to, from| {
        let n = count(layout.1)?;
        gpu.launch(&COPY_INTO[size.ilog2() as usize], Grid::each(n), (from, to, layout.0, n))
    })
}

/// Calls `f` with a layout that a kernel can take, the number of its elements, where its first element stands, and where the
/// first of them stands among all in row-major order: once, or for the parts of a layout of too many dimensions.
fn for_parts(
    layout: &Layout,
    size: usize,
    strided: Address,
    packed: Address,
    f: &mut dyn FnMut((Strided, usize), Address, Address) -> Result<()>,
) -> Result<()> {
    if layout.is_empty() {
        return Ok(());
    }
    if let Some(fits) = Strided::new(layout)? {
        return f((fits, layout.len()), strided, packed);
    }
    let inner = layout.slice(0, 0, 1, 1).remove_axis(0);
    for i in 0..layout.shape()[0] {
        let step = (i as isize * layout.strides()[0] * size as isize) as u64;
        let packed = Address(packed.0 + (i * inner.len() * size) as u64);
        for_parts(&inner, size, Address(strided.0.wrapping_add(step)), packed, f)?;
    }
    Ok(())
}

/// The elements as `to`.
pub fn cast(gpu: &'static Gpu, x: View, to: DType) -> Perhaps<Buffer> {
    if x.dtype() == to {
        return copy(gpu, x).map(Some);
    }
    let name = format!("cast_{}_{to}", x.dtype());
    let Some(kernel) = Copy::find("cast", name) else { return Ok(None) };
    let packed;
    let dense = Layout::contiguous(x.shape());
    let (x, layout) = match Strided::new(x.layout)? {
        Some(layout) => (x, layout),
        None => {
            packed = copy(gpu, x)?;
            (View::new(&packed, &dense), Strided::new(&Layout::contiguous(&[x.len()]))?.unwrap_or_default())
        }
    };
    let (y, address) = result(gpu, to, x.len())?;
    let n = count(x.len())?;
    if n > 0 {
        gpu.launch(&kernel, Grid::each(n), (first(x)?, layout, address, n))?;
    }
    Ok(Some(y))
}

/// `len` equal values.
pub fn full(gpu: &'static Gpu, dtype: DType, len: usize, value: Scalar) -> Result<Buffer> {
    let (y, to) = result(gpu, dtype, len)?;
    let mut bits = [0; 8];
    with_element!(dtype, T => bits[..size_of::<T>()].copy_from_slice(bytemuck::bytes_of(&T::from_scalar(value))));
    let bits = u64::from_le_bytes(bits);
    match dtype.size() {
        1 => fill(gpu, "fill_8", to, bits as u8, len)?,
        2 => fill(gpu, "fill_16", to, bits as u16, len)?,
        4 => fill(gpu, "fill_32", to, bits as u32, len)?,
        _ => fill(gpu, "fill_64", to, bits, len)?,
    }
    Ok(y)
}

fn fill<T: Argument>(gpu: &Gpu, name: &'static str, to: Address, value: T, len: usize) -> Result<()> {
    let n = count(len)?;
    if n == 0 {
        return Ok(());
    }
    gpu.launch(&Kernel::<(Address, T, u32)>::new("copy", name), Grid::each(n), (to, value, n))
}
