//! Pooling of images `[n, h, w, c]`.

use super::super::device::Gpu;
use super::super::launch::{Address, Grid, Kernel};
use super::super::operand::{Images, count};
use super::{Dense, Perhaps, result};
use crate::{Buffer, DType, View, Window};

static MAX: Kernel<(Address, Address, Address, u32, Images)> = Kernel::new("conv", "max_pool2d");
static MAX_GRAD: Kernel<(Address, Address, Address, u32, Images)> = Kernel::new("conv", "max_pool2d_grad");
static AVG: Kernel<(Address, Address, u32, Images, u32)> = Kernel::new("conv", "avg_pool2d");
static AVG_GRAD: Kernel<(Address, Address, u32, Images, u32)> = Kernel::new("conv", "avg_pool2d_grad");

/// The shape of a view of four dimensions.
pub fn four(x: View) -> [usize; 4] {
    std::array::from_fn(|axis| x.shape()[axis])
}

/// The largest element of each window and its place.
pub fn max_pool2d(gpu: &'static Gpu, x: View, size: [usize; 2], window: &Window) -> Perhaps<(Buffer, Buffer)> {
    let [n, h, w, c] = four(x);
    let Some([out_h, out_w]) = window.output([h, w], size) else { return Ok(None) };
    if x.dtype() != DType::F32 {
        return Ok(None);
    }
    let images = Images::new([n, h, w, c], [n, out_h, out_w, c], size, 1, window)?;
    let len = n * out_h * out_w * c;
    let (y, to) = result(gpu, DType::F32, len)?;
    let (places, places_to) = result(gpu, DType::I32, len)?;
    if len > 0 {
        let from = Dense::new(gpu, x)?;
        gpu.launch(&MAX, Grid::each(count(len)?), (from.at, to, places_to, count(len)?, images))?;
    }
    Ok(Some((y, places)))
}

/// Its gradient.
pub fn max_pool2d_grad(
    gpu: &'static Gpu,
    dy: View,
    places: View,
    input: [usize; 2],
    size: [usize; 2],
    window: &Window,
) -> Perhaps<Buffer> {
    if dy.dtype() != DType::F32 || places.dtype() != DType::I32 {
        return Ok(None);
    }
    let [n, _, _, c] = four(dy);
    let images = Images::new([n, input[0], input[1], c], four(dy), size, 1, window)?;
    let len = n * input[0] * input[1] * c;
    let (dx, to) = result(gpu, DType::F32, len)?;
    if len > 0 {
        let (dy, places) = (Dense::new(gpu, dy)?, Dense::new(gpu, places)?);
        gpu.launch(&MAX_GRAD, Grid::each(count(len)?), (dy.at, places.at, to, count(len)?, images))?;
    }
    Ok(Some(dx))
}

/// The mean of each window.
pub fn avg_pool2d(
    gpu: &'static Gpu,
    x: View,
    size: [usize; 2],
    window: &Window,
    count_padding: bool,
) -> Perhaps<Buffer> {
    let [n, h, w, c] = four(x);
    let Some([out_h, out_w]) = window.output([h, w], size) else { return Ok(None) };
    if x.dtype() != DType::F32 {
        return Ok(None);
    }
    let images = Images::new([n, h, w, c], [n, out_h, out_w, c], size, 1, window)?;
    let len = n * out_h * out_w * c;
    let (y, to) = result(gpu, DType::F32, len)?;
    if len > 0 {
        let from = Dense::new(gpu, x)?;
        gpu.launch(&AVG, Grid::each(count(len)?), (from.at, to, count(len)?, images, count_padding.into()))?;
    }
    Ok(Some(y))
}

/// Its gradient.
pub fn avg_pool2d_grad(
    gpu: &'static Gpu,
    dy: View,
    input: [usize; 2],
    size: [usize; 2],
    window: &Window,
    count_padding: bool,
) -> Perhaps<Buffer> {
    if dy.dtype() != DType::F32 {
        return Ok(None);
    }
    let [n, _, _, c] = four(dy);
    let images = Images::new([n, input[0], input[1], c], four(dy), size, 1, window)?;
    let len = n * input[0] * input[1] * c;
    let (dx, to) = result(gpu, DType::F32, len)?;
    if len > 0 {
        let dy = Dense::new(gpu, dy)?;
        gpu.launch(&AVG_GRAD, Grid::each(count(len)?), (dy.at, to, count(len)?, images, count_padding.into()))?;
    }
    Ok(Some(dx))
}
