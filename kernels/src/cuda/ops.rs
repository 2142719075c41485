//! The primitives as launches. A function here takes views of the device's memory and gives nothing (`None`) where there is
//! no kernel for their type; shapes were checked by callers.

#![allow(clippy::type_complexity, reason = "the type of a kernel is the list of its parameters")]

pub mod along;
pub mod conv;
pub mod copy;
pub mod index;
pub mod matmul;
pub mod norm;
pub mod pointwise;
pub mod pool;
pub mod random;
pub mod rows;
pub mod update;

use super::device::Gpu;
use super::launch::Address;
use super::memory::Memory;
use super::operand::{first, start};
use crate::{Buffer, DType, Layout, Result, View};

/// What an operation on a GPU gives: nothing where there is no kernel for the types of its operands.
pub type Perhaps<T> = Result<Option<T>>;

/// A new buffer for results.
pub fn room(gpu: &'static Gpu, dtype: DType, len: usize) -> Result<Buffer> {
    Ok(Buffer::on_device(dtype, len, Memory::take(gpu, len * dtype.size())?))
}

/// A new buffer for results, and where it begins.
pub fn result(gpu: &'static Gpu, dtype: DType, len: usize) -> Result<(Buffer, Address)> {
    let buffer = room(gpu, dtype, len)?;
    let address = start(&buffer)?;
    Ok((buffer, address))
}

/// The elements of a view in row-major order without gaps: where they are, or copied.
#[derive(Debug)]
pub struct Dense {
    /// Where the first stands.
    pub at: Address,
    /// The copy, if there had to be one. It must live until the launch.
    _copy: Option<Buffer>,
}

impl Dense {
    /// The elements of `x`.
    pub fn new(gpu: &'static Gpu, x: View) -> Result<Self> {
        if x.layout.is_contiguous() {
            return Ok(Self { at: first(x)?, _copy: None });
        }
        let copy = copy::copy(gpu, x)?;
        Ok(Self { at: start(&copy)?, _copy: Some(copy) })
    }
}

/// The dimensions of a view besides `axes`, then `axes`.
pub fn moved_last(rank: usize, axes: &[usize]) -> Vec<usize> {
    (0..rank).filter(|axis| !axes.contains(axis)).chain(axes.iter().copied()).collect()
}

/// What `f` makes of a view whose dimension `axis` was moved to the end, moved back to where it was.
///
/// `f` takes the rows of all views one after another, their number and their length, and gives as many elements.
pub fn with_axis_last(
    gpu: &'static Gpu,
    views: &[View],
    axis: usize,
    f: impl FnOnce(&[Address], usize, usize) -> Result<Buffer>,
) -> Result<Buffer> {
    let shape = views[0].shape();
    let order = moved_last(shape.len(), &[axis]);
    let layouts: Vec<_> = views.iter().map(|view| view.layout.permute(&order)).collect();
    let dense = views.iter().zip(&layouts).map(|(view, layout)| Dense::new(gpu, View::new(view.buffer, layout)));
    let dense = dense.collect::<Result<Vec<_>>>()?;
    let addresses: Vec<Address> = dense.iter().map(|dense| dense.at).collect();
    let columns = shape[axis];
    let rows = views[0].len().checked_div(columns).unwrap_or(0);
    let y = f(&addresses, rows, columns)?;
    if axis + 1 == shape.len() {
        return Ok(y);
    }
    put_back(gpu, &y, &Layout::contiguous(layouts[0].shape()), &order)
}

/// A copy of `y`, whose dimensions stand in the order of `moved`, with dimension `order[i]` of the result where `i` is.
fn put_back(gpu: &'static Gpu, y: &Buffer, moved: &Layout, order: &[usize]) -> Result<Buffer> {
    let mut back = vec![0; order.len()];
    order.iter().enumerate().for_each(|(place, &axis)| back[axis] = place);
    copy::copy(gpu, View::new(y, &moved.permute(&back)))
}
