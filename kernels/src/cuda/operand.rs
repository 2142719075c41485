//! What kernels see of a view: an address and, where they read through strides, a layout as `common.h` has it.

use super::launch::Address;
use crate::buffer::Buffer;
use crate::{Error, Layout, Result, View, Window};

/// The most dimensions of a strided operand; `RANK` in `common.h`.
const RANK: usize = 6;

/// A layout whose first element stands at the pointer that goes with it; `Layout` in `common.h`.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Strided {
    rank: u32,
    shape: [u32; RANK],
    stride: [i32; RANK],
}

/// How far neighbours of an operand's rows and columns lie apart, and its matrices; `Strides` in `matmul_any.cu`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Strides {
    rows_and_columns: [i32; 4],
    batch: [i64; 2],
}

impl Strides {
    /// Whether a layout of `[batch, rows, columns]` can be told to a kernel.
    pub fn fit(layout: &Layout) -> bool {
        layout.strides()[1..].iter().all(|&stride| i32::try_from(stride).is_ok())
    }

    /// Those of two operands, each of `[batch, rows, columns]` and such that it fits.
    pub fn new(a: &Layout, b: &Layout) -> Self {
        let narrow = |layout: &Layout, axis: usize| layout.strides()[axis] as i32;
        Self {
            rows_and_columns: [narrow(a, 1), narrow(a, 2), narrow(b, 1), narrow(b, 2)],
            batch: [a.strides()[0] as i64, b.strides()[0] as i64],
        }
    }

    /// Whether the elements of `a` that lie beside each other are of one column, and those of `b` of one row, if all that lies
    /// beside each other can be read four at a time.
    pub fn in_pieces(&self) -> Option<[bool; 2]> {
        let [a_row, a_column, b_row, b_column] = self.rows_and_columns;
        let other = |near: i32, far: i32| near == 1 && far > 1 && far % 4 == 0;
        let a = if other(a_column, a_row) { false } else { other(a_row, a_column).then_some(true)? };
        let b = if other(b_column, b_row) { true } else { other(b_row, b_column).then_some(false)? };
        self.batch.iter().all(|stride| *stride >= 0 && stride % 4 == 0).then_some([a, b])
    }
}

/// Sizes and window of a convolution or a pool; `Images` in `conv.cu`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Images {
    sizes: [u32; 10],
    window: [i32; 6],
}

/// What is done to a gradient; `Adjust` in `update.cu`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Adjusted(pub [f32; 6]);

impl Strided {
    /// The layout with as few dimensions as it can have; `None` if those are too many.
    pub fn new(layout: &Layout) -> Result<Option<Self>> {
        let runs = layout.merged();
        if runs.len() > RANK {
            return Ok(None);
        }
        let mut out = Self { rank: runs.len() as u32, ..Self::default() };
        for (axis, &(size, stride)) in runs.iter().enumerate() {
            out.shape[axis] = count(size)?;
            out.stride[axis] = i32::try_from(stride).map_err(|_| too_large(stride.unsigned_abs()))?;
        }
        Ok(Some(out))
    }
}

impl Images {
    /// Images `[n, h, w, c]` and results `[n, oh, ow, oc]`.
    pub fn new(x: [usize; 4], y: [usize; 4], kernel: [usize; 2], groups: usize, window: &Window) -> Result<Self> {
        let [n, h, w, c] = x;
        let [_, out_h, out_w, out_c] = y;
        let mut sizes = [0; 10];
        for (to, from) in sizes.iter_mut().zip([n, h, w, c, out_h, out_w, out_c, kernel[0], kernel[1], groups]) {
            *to = count(from)?;
        }
        let Window { stride, dilation, padding } = window;
        let numbers = [stride[0], stride[1], dilation[0], dilation[1], padding[0][0], padding[1][0]];
        let mut window = [0; 6];
        for (to, from) in window.iter_mut().zip(numbers) {
            *to = i32::try_from(from).map_err(|_| too_large(from))?;
        }
        Ok(Self { sizes, window })
    }
}

/// A count as kernels take it.
///
/// # Errors
/// If it does not fit into 32 bits less the threads of a grid, which kernels add to it.
pub fn count(n: usize) -> Result<u32> {
    u32::try_from(n).ok().filter(|&n| n < u32::MAX - (1 << 21)).ok_or_else(|| too_large(n))
}

fn too_large(n: usize) -> Error {
    Error::Device(format!("cuda: {n} elements are more than a kernel can count; use a smaller batch or --device cpu"))
}

/// Where the first element of a view stands. It must be on a GPU.
pub fn first(x: View) -> Result<Address> {
    // An empty view may begin anywhere.
    let at = if x.is_empty() { 0 } else { x.layout.offset() };
    Ok(memory(x.buffer)?.address(at * x.dtype().size()))
}

/// Where a buffer of a GPU begins.
pub fn start(x: &Buffer) -> Result<Address> {
    Ok(memory(x)?.address(0))
}

/// The memory of a buffer. It must be on a GPU.
pub fn memory(x: &Buffer) -> Result<&super::Memory> {
    let fault = || Error::Device("cuda: an operand is in the memory of the host; bring it to the device first".into());
    x.device_memory().ok_or_else(fault)
}
