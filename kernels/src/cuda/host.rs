//! What the GPU has no kernel for: types that are widened first, and operations that the processor computes.

use super::device::Gpu;
use super::operand::memory;
use super::ops::{Perhaps, copy};
use crate::{Buffer, DType, Layout, Result, View};

/// One result of an operation, or several.
pub trait Results: Sized {
    /// All results, each put through `f`.
    fn each(self, f: &mut dyn FnMut(Buffer) -> Result<Buffer>) -> Result<Self>;
}

impl Results for Buffer {
    fn each(self, f: &mut dyn FnMut(Buffer) -> Result<Buffer>) -> Result<Self> {
        f(self)
    }
}

impl Results for (Buffer, Buffer) {
    fn each(self, f: &mut dyn FnMut(Buffer) -> Result<Buffer>) -> Result<Self> {
        Ok((f(self.0)?, f(self.1)?))
    }
}

impl Results for [Buffer; 3] {
    fn each(self, f: &mut dyn FnMut(Buffer) -> Result<Buffer>) -> Result<Self> {
        let [a, b, c] = self;
        Ok([f(a)?, f(b)?, f(c)?])
    }
}

/// Copies of views, in row-major order.
#[derive(Debug)]
pub struct Copies {
    buffers: Vec<Buffer>,
    layouts: Vec<Layout>,
}

impl Copies {
    /// Copies of the same shapes, each made by `f`.
    pub fn new(views: &[View], f: impl Fn(View) -> Result<Buffer>) -> Result<Self> {
        let buffers = views.iter().map(|&view| f(view)).collect::<Result<_>>()?;
        let layouts = views.iter().map(|view| Layout::contiguous(view.shape())).collect();
        Ok(Self { buffers, layouts })
    }

    /// The copies as views.
    pub fn views(&self) -> Vec<View<'_>> {
        self.buffers.iter().zip(&self.layouts).map(|(buffer, layout)| View::new(buffer, layout)).collect()
    }
}

/// Whether a type is only stored: arithmetic on it is that of `f32`.
fn is_narrow(dtype: DType) -> bool {
    matches!(dtype, DType::F16 | DType::BF16)
}

/// The elements of a view in the memory of the host.
pub fn bring(gpu: &'static Gpu, x: View) -> Result<Buffer> {
    let packed = copy::copy(gpu, x)?;
    gpu.download(memory(&packed)?, x.dtype(), x.len())
}

/// What `on_gpu` makes of the views: of these, or of views in single precision if theirs is only stored. Where it has no
/// kernel for the type, what `on_host` makes of copies in the memory of the host.
pub fn run<R: Results>(
    gpu: &'static Gpu,
    views: &[View],
    on_gpu: impl Fn(&[View]) -> Perhaps<R>,
    on_host: impl FnOnce(&[View]) -> Result<R>,
) -> Result<R> {
    if let Some(results) = on_gpu(views)? {
        return Ok(results);
    }
    if let Some(narrow) = views.iter().map(View::dtype).find(|&dtype| is_narrow(dtype)) {
        let wide = Copies::new(views, |view| match is_narrow(view.dtype()) {
            true => cast(gpu, view, DType::F32),
            false => copy::copy(gpu, view),
        })?;
        if let Some(results) = on_gpu(&wide.views())? {
            return results.each(&mut |y| match y.dtype() {
                DType::F32 => cast(gpu, View::new(&y, &Layout::contiguous(&[y.len()])), narrow),
                _ => Ok(y),
            });
        }
    }
    gpu.computed_on_host();
    let here = Copies::new(views, |view| bring(gpu, view))?;
    on_host(&here.views())?.each(&mut |y| gpu.upload(&y))
}

/// The elements as `to`, by way of the host where there is no kernel for the two types.
pub fn cast(gpu: &'static Gpu, x: View, to: DType) -> Result<Buffer> {
    if let Some(y) = copy::cast(gpu, x, to)? {
        return Ok(y);
    }
    gpu.computed_on_host();
    let here = bring(gpu, x)?;
    gpu.upload(&crate::Backend::cast(&crate::CPU, View::new(&here, &Layout::contiguous(x.shape())), to)?)
}
