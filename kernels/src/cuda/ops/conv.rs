//! Convolution of images `[n, h, w, c]` with weights `[kh, kw, c / groups, o]`.

use super::super::device::Gpu;
use super::super::launch::{Address, Grid, Kernel, parts};
use super::super::operand::{Images, count};
use super::matmul::{activated, number};
use super::pool::four;
use super::{Dense, Perhaps, along, pointwise, result};
use crate::{Binary, Buffer, DType, Layout, Unary, View, Window};

type A = Address;
type Plain = Kernel<(A, A, A, u32, Images)>;
type Tiles = Kernel<(A, A, A, Images)>;

/// For groups of several channels: a thread for each result.
static PLAIN: Plain = Kernel::new("conv", "conv2d");
static PLAIN_GRAD_INPUT: Plain = Kernel::new("conv", "conv2d_grad_input");
static PLAIN_GRAD_WEIGHT: Plain = Kernel::new("conv", "conv2d_grad_weight");
/// For one group: a product of matrices, the left of which is read from the images.
static TILES: Kernel<(A, A, A, A, Images, u32, f32)> = Kernel::new("conv_tiles", "conv2d_tiles");
static TILES_GRAD_INPUT: Tiles = Kernel::new("conv_tiles", "conv2d_tiles_grad_input");
static TILES_GRAD_WEIGHT: Tiles = Kernel::new("conv_tiles", "conv2d_tiles_grad_weight");
/// For a group for each channel, with one filter.
static CHANNELS: Kernel<(A, A, A, A, u32, Images, u32, f32)> = Kernel::new("conv_tiles", "conv2d_depthwise");
static CHANNELS_GRAD_WEIGHT: Tiles = Kernel::new("conv_tiles", "conv2d_depthwise_grad_weight");

/// Rows and columns of a tile.
const TILE: u32 = 64;

/// How many neighbours of a row a thread computes where each channel is convolved by itself; `STRIP` in `conv_tiles.cu`.
const STRIP: usize = 4;

/// How many results a part of a sum takes at least.
const LEAST_PART: usize = 512;

fn tiles(x: u32, y: u32, z: u32) -> Grid {
    Grid { blocks: [x.div_ceil(TILE), y.div_ceil(TILE), z], threads: [256, 1, 1] }
}

/// `x` with `w` plus `bias`, put through `activation`.
pub fn conv2d(
    gpu: &'static Gpu,
    x: View,
    w: View,
    bias: Option<View>,
    activation: Option<Unary>,
    window: &Window,
    groups: usize,
) -> Perhaps<Buffer> {
    let ([n, h, width, c], [kh, kw, _, o]) = (four(x), four(w));
    let Some([out_h, out_w]) = window.output([h, width], [kh, kw]) else { return Ok(None) };
    if x.dtype() != DType::F32 {
        return Ok(None);
    }
    let images = Images::new(four(x), [n, out_h, out_w, o], [kh, kw], groups, window)?;
    let len = n * out_h * out_w * o;
    let (y, to) = result(gpu, DType::F32, len)?;
    if len == 0 {
        return Ok(Some(y));
    }
    let (x, w) = (Dense::new(gpu, x)?, Dense::new(gpu, w)?);
    let row = bias.map(|bias| Dense::new(gpu, bias)).transpose()?;
    let bias_at = row.as_ref().map_or(Address(0), |row| row.at);
    let fused = number(activation);
    let (code, p) = fused.map_or((0, 0.0), |(code, p)| (code, p as f32));
    if groups == 1 {
        let grid = tiles(count(n * out_h * out_w)?, count(o)?, 1);
        gpu.launch(&TILES, grid, (x.at, w.at, to, bias_at, images, code, p))?;
    } else if groups == c && c == o {
        let strips = count(n * out_h * out_w.div_ceil(STRIP) * c)?;
        gpu.launch(&CHANNELS, Grid::each(strips), (x.at, w.at, to, bias_at, strips, images, code, p))?;
    } else {
        gpu.launch(&PLAIN, Grid::each(count(len)?), (x.at, w.at, to, count(len)?, images))?;
        return finish(gpu, y, bias, activation);
    }
    if fused.is_some() { Ok(Some(y)) } else { activated(gpu, &y, activation) }
}

/// Results plus `bias`, put through `activation`, in passes of their own.
fn finish(gpu: &'static Gpu, mut y: Buffer, bias: Option<View>, activation: Option<Unary>) -> Perhaps<Buffer> {
    if let Some(bias) = bias {
        let shape = [y.len() / bias.len(), bias.len()];
        let rows = Layout::contiguous(&shape);
        let wide = Layout::strided(&shape, &[0, bias.layout.strides()[0]], bias.layout.offset());
        match pointwise::binary(gpu, Binary::Add, View::new(&y, &rows), View::new(bias.buffer, &wide))? {
            Some(sum) => y = sum,
            None => return Ok(None),
        }
    }
    if activation.is_none() { Ok(Some(y)) } else { activated(gpu, &y, activation) }
}

/// The gradient with respect to `x`, whose height and width are `input`.
pub fn grad_input(
    gpu: &'static Gpu,
    dy: View,
    w: View,
    input: [usize; 2],
    window: &Window,
    groups: usize,
) -> Perhaps<Buffer> {
    if dy.dtype() != DType::F32 {
        return Ok(None);
    }
    let ([n, ..], [kh, kw, part, _]) = (four(dy), four(w));
    let x = [n, input[0], input[1], part * groups];
    let images = Images::new(x, four(dy), [kh, kw], groups, window)?;
    let len = x.iter().product();
    let (dx, to) = result(gpu, DType::F32, len)?;
    if len == 0 {
        return Ok(Some(dx));
    }
    let (dy, w) = (Dense::new(gpu, dy)?, Dense::new(gpu, w)?);
    if groups == 1 {
        let grid = tiles(count(n * input[0] * input[1])?, count(part)?, 1);
        gpu.launch(&TILES_GRAD_INPUT, grid, (dy.at, w.at, to, images))?;
    } else {
        gpu.launch(&PLAIN_GRAD_INPUT, Grid::each(count(len)?), (dy.at, w.at, to, count(len)?, images))?;
    }
    Ok(Some(dx))
}

/// The gradient with respect to `w`, whose height and width are `kernel`.
pub fn grad_weight(
    gpu: &'static Gpu,
    x: View,
    dy: View,
    kernel: [usize; 2],
    window: &Window,
    groups: usize,
) -> Perhaps<Buffer> {
    if dy.dtype() != DType::F32 {
        return Ok(None);
    }
    let ([n, out_h, out_w, o], [_, _, _, c]) = (four(dy), four(x));
    let images = Images::new(four(x), four(dy), kernel, groups, window)?;
    let taps = kernel[0] * kernel[1];
    let len = taps * (c / groups) * o;
    let of_channels = groups == c && c == o;
    let (x, dy) = (Dense::new(gpu, x)?, Dense::new(gpu, dy)?);
    if len == 0 || (groups > 1 && !of_channels) {
        let (dw, to) = result(gpu, DType::F32, len)?;
        if len > 0 {
            gpu.launch(&PLAIN_GRAD_WEIGHT, Grid::each(count(len)?), (x.at, dy.at, to, count(len)?, images))?;
        }
        return Ok(Some(dw));
    }
    let (kernel, mut grid) = if groups == 1 {
        (&TILES_GRAD_WEIGHT, tiles(count(taps * c)?, count(o)?, 1))
    } else {
        let blocks = [count(c)?.div_ceil(32), count(taps)?, 1];
        (&CHANNELS_GRAD_WEIGHT, Grid { blocks, threads: [32, 8, 1] })
    };
    let parts = parts(grid.blocks[0] * grid.blocks[1], count(n * out_h * out_w / LEAST_PART)?);
    grid.blocks[2] = parts;
    let (dw, to) = result(gpu, DType::F32, len * parts as usize)?;
    gpu.launch(kernel, grid, (x.at, dy.at, to, images))?;
    along::sum_of_parts(gpu, dw, len).map(Some)
}
