//! Products of matrices. Which kernel computes one depends on its sizes alone, so that sums are made in the same order on any GPU.

use super::super::device::Gpu;
use super::super::launch::{Address, Argument, Grid, Kernel, parts};
use super::super::operand::{Strides, count, first, start};
use super::{Dense, Perhaps, copy, pointwise, result};
use crate::{Buffer, DType, Layout, Result, Unary, View};

type A = Address;

type Single = Kernel<(A, A, A, A, u32, u32, u32, Strides, u32, f32, u32, u32, f32)>;

static TILES_OF_64: Single = Kernel::new("matmul_any", "matmul_64");
static FEW_ROWS: Single = Kernel::new("matmul_any", "matmul_few");
/// Tiles of 128 for operands that lie by rows, `b` by columns, and `a` by columns.
static TILES_OF_128: [Single; 3] = [
    Kernel::new("matmul_wide", "matmul_wide_nn"),
    Kernel::new("matmul_wide", "matmul_wide_nt"),
    Kernel::new("matmul_wide", "matmul_wide_tn"),
];
static JOIN: Kernel<(A, A, A, u32, u32, u32, u32, f32, u32, u32, f32)> = Kernel::new("matmul_any", "matmul_join");
#[rustfmt::skip]
static DOUBLE: Kernel<(A, A, A, A, u32, u32, u32, Strides, f64, u32, u32, f64)> = Kernel::new("matmul_any", "matmul_f64");

/// So many rows of the left matrix are few: all work is to read the right one.
const FEW: u32 = 16;

/// Shorter parts of a sum are not worth the pass that adds them.
const LEAST_PART: u32 = 256;

/// What becomes of sums before they are written; `Finish` in `common.h`.
#[derive(Clone, Copy, Debug)]
pub struct Finish<R> {
    bias: Address,
    scale: R,
    accumulate: u32,
    activation: u32,
    p: R,
}

impl<R: Argument> Finish<R> {
    /// Nothing but a factor, and whether results are added to what stands there.
    fn new(scale: R, accumulate: bool, p: R) -> Self {
        Self { bias: Address(0), scale, accumulate: accumulate.into(), activation: 0, p }
    }
}

/// The number of an activation that products end with, and its parameter; `None` for one that takes a pass of its own.
pub fn number(activation: Option<Unary>) -> Option<(u32, f64)> {
    match activation {
        None => Some((0, 0.0)),
        Some(Unary::Relu) => Some((1, 0.0)),
        Some(Unary::Sigmoid) => Some((2, 0.0)),
        Some(Unary::Tanh) => Some((3, 0.0)),
        Some(Unary::LeakyRelu(slope)) => Some((4, slope)),
        Some(Unary::Elu(alpha)) => Some((5, alpha)),
        Some(Unary::Selu) => Some((6, 0.0)),
        Some(_) => None,
    }
}

/// A product `[batch, m, k]` times `[batch, k, n]`, with operands where they are.
struct Product {
    a: Address,
    b: Address,
    batch: u32,
    m: u32,
    n: u32,
    k: u32,
    strides: Strides,
    /// Operands that had to be copied; they must live until the launch.
    _copies: Vec<Buffer>,
}

impl Product {
    fn new(gpu: &'static Gpu, a: View, b: View) -> Result<Self> {
        let rank = a.shape().len();
        let (m, k, n) = (a.shape()[rank - 2], a.shape()[rank - 1], b.shape()[rank - 1]);
        let batch: usize = a.shape()[..rank - 2].iter().product();
        let mut copies = Vec::new();
        let mut place = |x: View, shape: [usize; 3]| -> Result<(Address, Layout)> {
            match x.layout.reshape(&shape).filter(Strides::fit) {
                Some(layout) => Ok((first(x)?, layout)),
                None => {
                    let packed = copy::copy(gpu, x)?;
                    let at = start(&packed)?;
                    copies.push(packed);
                    Ok((at, Layout::contiguous(&shape)))
                }
            }
        };
        let ((a, at_a), (b, at_b)) = (place(a, [batch, m, k])?, place(b, [batch, k, n])?);
        let strides = Strides::new(&at_a, &at_b);
        Ok(Self { a, b, batch: count(batch)?, m: count(m)?, n: count(n)?, k: count(k)?, strides, _copies: copies })
    }

    /// The kernel of large tiles for the way in which the operands lie, if they are large and all stands in pieces of 16 bytes.
    fn large_tiles(&self) -> Option<&'static Single> {
        let pieces = |n: u32| n.is_multiple_of(4);
        let [a_across, b_across] = self.strides.in_pieces()?;
        let aligned = self.a.0.is_multiple_of(16) && self.b.0.is_multiple_of(16);
        let whole = pieces(self.n) && pieces(self.k) && (!a_across || pieces(self.m));
        let way = match [a_across, b_across] {
            [false, true] => 0,
            [false, false] => 1,
            [true, true] => 2,
            [true, false] => return None,
        };
        (self.m >= 128 && self.n >= 128 && aligned && whole).then(|| &TILES_OF_128[way])
    }

    fn len(&self) -> Result<u32> {
        count(self.batch as usize * self.m as usize * self.n as usize)
    }

    /// Writes the product in single precision.
    fn write(&self, gpu: &'static Gpu, c: Address, end: Finish<f32>) -> Result<()> {
        let Self { a, b, batch, m, n, k, strides, .. } = *self;
        let (kernel, [x, y], threads) = match self.large_tiles() {
            _ if m <= FEW => (&FEW_ROWS, [n.div_ceil(32), 1], [32, 8, 1]),
            Some(kernel) => (kernel, [n.div_ceil(128), m.div_ceil(128)], [256, 1, 1]),
            None => (&TILES_OF_64, [n.div_ceil(64), m.div_ceil(64)], [256, 1, 1]),
        };
        let parts = parts(x * y * batch, k / LEAST_PART);
        let grid = Grid { blocks: [x, y, batch * parts], threads };
        let launch = |c: Address, end: Finish<f32>| {
            let Finish { bias, scale, accumulate, activation, p } = end;
            gpu.launch(kernel, grid, (a, b, c, bias, m, n, k, strides, parts, scale, accumulate, activation, p))
        };
        if parts == 1 {
            return launch(c, end);
        }
        let (_sums, to) = result(gpu, DType::F32, self.len()? as usize * parts as usize)?;
        launch(to, Finish::new(1.0, false, 0.0))?;
        self.join(gpu, to, c, parts, end)
    }

    /// Adds the parts of all sums in order, and finishes them.
    fn join(&self, gpu: &Gpu, from: Address, c: Address, parts: u32, end: Finish<f32>) -> Result<()> {
        let Finish { bias, scale, accumulate, activation, p } = end;
        let (len, size) = (self.len()?, self.m * self.n);
        let arguments = (from, c, bias, len, size, self.n, parts, scale, accumulate, activation, p);
        gpu.launch(&JOIN, Grid::each(len), arguments)
    }

    /// Writes the product in double precision.
    fn write_double(&self, gpu: &Gpu, c: Address, end: Finish<f64>) -> Result<()> {
        let Self { a, b, batch, m, n, k, strides, .. } = *self;
        let Finish { bias, scale, accumulate, activation, p } = end;
        let grid = Grid { blocks: [n.div_ceil(16), m.div_ceil(16), batch], threads: [16, 16, 1] };
        gpu.launch(&DOUBLE, grid, (a, b, c, bias, m, n, k, strides, scale, accumulate, activation, p))
    }
}

/// `a` times `b` for equal leading dimensions, plus `bias`, put through the activation of a number.
fn product(gpu: &'static Gpu, a: View, b: View, bias: Address, (activation, p): (u32, f64)) -> Perhaps<Buffer> {
    if !matches!(a.dtype(), DType::F32 | DType::F64) {
        return Ok(None);
    }
    let product = Product::new(gpu, a, b)?;
    let (c, to) = result(gpu, a.dtype(), product.len()? as usize)?;
    if !c.is_empty() {
        match a.dtype() {
            DType::F32 => product.write(gpu, to, Finish { bias, activation, ..Finish::new(1.0, false, p as f32) })?,
            _ => product.write_double(gpu, to, Finish { bias, activation, ..Finish::new(1.0, false, p) })?,
        }
    }
    Ok(Some(c))
}

/// `a` times `b` for equal leading dimensions.
pub fn matmul(gpu: &'static Gpu, a: View, b: View) -> Perhaps<Buffer> {
    match a.dtype() {
        DType::BF16 => on_tensor_cores(gpu, a, b),
        _ => product(gpu, a, b, Address(0), (0, 0.0)),
    }
}

/// The product of two matrices of `bf16`, where the device has tensor cores for them and both have whole pieces of 16 bytes. Sums are
/// of single precision and rounded once, as everywhere: what `f32` would lose on tensor cores (`tf32`) is not taken unasked.
fn on_tensor_cores(gpu: &'static Gpu, a: View, b: View) -> Perhaps<Buffer> {
    static BF16: Kernel<(A, A, A, u32, u32, u32)> = Kernel::new("matmul_tensor", "matmul_bf16");
    let (&[m, k], &[_, n]) = (a.shape(), b.shape()) else { return Ok(None) };
    if gpu.capability < (8, 0) || m * n * k == 0 || k % 8 != 0 || n % 8 != 0 {
        return Ok(None);
    }
    let (a, b) = (Dense::new(gpu, a)?, Dense::new(gpu, b)?);
    if a.at.0 % 16 != 0 || b.at.0 % 16 != 0 {
        return Ok(None);
    }
    let (c, to) = result(gpu, DType::F32, m * n)?;
    let (m, n, k) = (count(m)?, count(n)?, count(k)?);
    let grid = Grid { blocks: [n.div_ceil(128), m.div_ceil(128), 1], threads: [256, 1, 1] };
    gpu.launch(&BF16, grid, (a.at, b.at, to, m, n, k))?;
    copy::cast(gpu, View::new(&c, &Layout::contiguous(&[c.len()])), DType::BF16)
}

/// `x` times `w` plus `bias`, put through `activation`.
pub fn linear(gpu: &'static Gpu, x: View, w: View, bias: Option<View>, activation: Option<Unary>) -> Perhaps<Buffer> {
    let k = w.shape()[0];
    let rows = x.shape()[..x.shape().len() - 1].iter().product();
    let (packed, layout);
    let x = match x.layout.reshape(&[rows, k]) {
        Some(flat) => {
            layout = flat;
            View::new(x.buffer, &layout)
        }
        None => {
            (packed, layout) = (copy::copy(gpu, x)?, Layout::contiguous(&[rows, k]));
            View::new(&packed, &layout)
        }
    };
    let bias = bias.map(|bias| Dense::new(gpu, bias)).transpose()?;
    let at = bias.as_ref().map_or(Address(0), |bias| bias.at);
    let Some(fused) = number(activation) else {
        return match product(gpu, x, w, at, (0, 0.0))? {
            Some(y) => activated(gpu, &y, activation),
            None => Ok(None),
        };
    };
    product(gpu, x, w, at, fused)
}

/// All elements of a buffer put through an activation that no product ends with.
pub fn activated(gpu: &'static Gpu, y: &Buffer, activation: Option<Unary>) -> Perhaps<Buffer> {
    let whole = Layout::contiguous(&[y.len()]);
    activation.map_or(Ok(None), |activation| pointwise::unary(gpu, activation, View::new(y, &whole)))
}

/// `c += scale a b`; false where there is no kernel for the type.
pub fn add_product(gpu: &'static Gpu, c: &mut Buffer, scale: f64, a: View, b: View) -> Result<bool> {
    if c.is_empty() {
        return Ok(true);
    }
    let at = start(c)?;
    match c.dtype() {
        DType::F32 => Product::new(gpu, a, b)?.write(gpu, at, Finish::new(scale as f32, true, 0.0))?,
        DType::F64 => Product::new(gpu, a, b)?.write_double(gpu, at, Finish::new(scale, true, 0.0))?,
        _ => return Ok(false),
    }
    Ok(true)
}
