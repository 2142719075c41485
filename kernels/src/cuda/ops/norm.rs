//! Normalisation of features, and the gradient through an activation, whose sums go the same way.

use super::super::device::Gpu;
use super::super::launch::{Address, Grid, Kernel, parts};
use super::super::operand::{count, start};
use super::matmul::number;
use super::{Dense, Perhaps, along, result, room};
use crate::backend::Normalize;
use crate::{Buffer, DType, Result, Unary, View};

type A = Address;

static MOMENTS: Kernel<(A, A, A, u32, u32)> = Kernel::new("norm", "moments");
static MOMENTS_JOIN: Kernel<(A, A, A, A, u32, u32, u32)> = Kernel::new("norm", "moments_join");
static MOMENTS_INNER: Kernel<(A, A, A, u32, u32)> = Kernel::new("norm", "moments_inner");
static NORMALIZE: Kernel<(A, A, A, A, A, A, u32, u32, u32, f32)> = Kernel::new("norm", "normalize");
static GRAD_PARAMS: Kernel<(A, A, A, A, A, A, u32, u32, f32)> = Kernel::new("norm", "normalize_grad_params");
static GRAD_PARAMS_INNER: Kernel<(A, A, A, A, A, A, u32, u32, f32)> =
    Kernel::new("norm", "normalize_grad_params_inner");
static GRAD_INPUT: Kernel<(A, A, A, A, A, A, A, A, u32, u32, u32, u32, f32)> =
    Kernel::new("norm", "normalize_grad_input");
static ACTIVATION_GRAD: Kernel<(A, A, A, A, u32, u32, u32, f32)> = Kernel::new("norm", "activation_grad");
static LAYER_NORM: Kernel<(A, A, A, A, u32, f32)> = Kernel::new("norm", "layer_norm");

/// How many rows a part has at least.
const LEAST_PART: u32 = 64;

/// Where features lie: the elements of one, features, and elements behind a feature.
#[derive(Clone, Copy)]
struct Features {
    rows: u32,
    columns: u32,
    inner: u32,
}

impl Features {
    fn new(shape: &[usize], axis: usize) -> Result<Self> {
        let columns = shape[axis];
        let rows = shape.iter().product::<usize>().checked_div(columns).unwrap_or(0);
        Ok(Self { rows: count(rows)?, columns: count(columns)?, inner: count(shape[axis + 1..].iter().product())? })
    }

    /// Blocks of 32 columns, for each part of the rows.
    fn grid(self) -> Grid {
        let mut grid = Grid::columns(self.columns);
        grid.blocks[1] = parts(grid.blocks[0], self.rows / LEAST_PART);
        grid
    }

    /// How many results partial sums are.
    fn partial(self, grid: Grid) -> usize {
        grid.blocks[1] as usize * self.columns as usize
    }
}

/// The numbers of [`Normalize`] without gaps.
struct Numbers {
    mean: Dense,
    variance: Dense,
    gamma: Dense,
    beta: Dense,
    epsilon: f32,
}

impl Numbers {
    fn new(gpu: &'static Gpu, how: &Normalize<'_>) -> Result<Self> {
        let dense = |x| Dense::new(gpu, x);
        let (mean, variance, gamma, beta) =
            (dense(how.mean)?, dense(how.variance)?, dense(how.gamma)?, dense(how.beta)?);
        Ok(Self { mean, variance, gamma, beta, epsilon: how.epsilon as f32 })
    }
}

/// The mean and the biased variance of each feature.
pub fn moments(gpu: &'static Gpu, x: View, axis: usize) -> Perhaps<(Buffer, Buffer)> {
    if x.dtype() != DType::F32 {
        return Ok(None);
    }
    let features = Features::new(x.shape(), axis)?;
    let Features { rows, columns, inner } = features;
    let (mean, mean_to) = result(gpu, DType::F32, columns as usize)?;
    let (variance, variance_to) = result(gpu, DType::F32, columns as usize)?;
    if columns == 0 {
        return Ok(Some((mean, variance)));
    }
    let from = Dense::new(gpu, x)?.at;
    if inner > 1 {
        gpu.launch(&MOMENTS_INNER, Grid::rows(columns), (from, mean_to, variance_to, rows, inner))?;
        return Ok(Some((mean, variance)));
    }
    let grid = features.grid();
    let parts = grid.blocks[1];
    if parts == 1 {
        gpu.launch(&MOMENTS, grid, (from, mean_to, variance_to, rows, columns))?;
        return Ok(Some((mean, variance)));
    }
    let (means, variances) =
        (result(gpu, DType::F32, features.partial(grid))?, result(gpu, DType::F32, features.partial(grid))?);
    gpu.launch(&MOMENTS, grid, (from, means.1, variances.1, rows, columns))?;
    let arguments = (means.1, variances.1, mean_to, variance_to, rows, columns, parts);
    gpu.launch(&MOMENTS_JOIN, Grid::each(columns), arguments)?;
    Ok(Some((mean, variance)))
}

/// `(x - mean) / sqrt(variance + epsilon) * gamma + beta`.
pub fn normalize(gpu: &'static Gpu, x: View, axis: usize, how: &Normalize<'_>) -> Perhaps<Buffer> {
    if x.dtype() != DType::F32 {
        return Ok(None);
    }
    let Features { columns, inner, .. } = Features::new(x.shape(), axis)?;
    let (y, to) = result(gpu, DType::F32, x.len())?;
    let n = count(x.len())?;
    if n > 0 {
        let (from, with) = (Dense::new(gpu, x)?, Numbers::new(gpu, how)?);
        let Numbers { mean, variance, gamma, beta, epsilon } = &with;
        let arguments = (from.at, mean.at, variance.at, gamma.at, beta.at, to, n, columns, inner, *epsilon);
        gpu.launch(&NORMALIZE, Grid::each(n), arguments)?;
    }
    Ok(Some(y))
}

/// The gradients of `gamma` and `beta`.
pub fn grad_params(
    gpu: &'static Gpu,
    x: View,
    dy: View,
    axis: usize,
    how: &Normalize<'_>,
) -> Perhaps<(Buffer, Buffer)> {
    if x.dtype() != DType::F32 {
        return Ok(None);
    }
    let features = Features::new(x.shape(), axis)?;
    let Features { rows, columns, inner } = features;
    let grid = if inner > 1 { Grid::rows(columns) } else { features.grid() };
    let len = if inner > 1 { columns as usize } else { features.partial(grid) };
    let ((gamma, gamma_to), (beta, beta_to)) = (result(gpu, DType::F32, len)?, result(gpu, DType::F32, len)?);
    if columns == 0 {
        return Ok(Some((gamma, beta)));
    }
    let (x, dy, with) = (Dense::new(gpu, x)?, Dense::new(gpu, dy)?, Numbers::new(gpu, how)?);
    let Numbers { mean, variance, epsilon, .. } = &with;
    let (kernel, wide) = if inner > 1 { (&GRAD_PARAMS_INNER, inner) } else { (&GRAD_PARAMS, columns) };
    let arguments = (x.at, dy.at, mean.at, variance.at, gamma_to, beta_to, rows, wide, *epsilon);
    gpu.launch(kernel, grid, arguments)?;
    Ok(Some((along::sum_of_parts(gpu, gamma, columns as usize)?, along::sum_of_parts(gpu, beta, columns as usize)?)))
}

/// The gradient of `x`; without `params`, mean and variance are constants.
pub fn grad_input(
    gpu: &'static Gpu,
    x: View,
    dy: View,
    axis: usize,
    how: &Normalize<'_>,
    params: Option<(&Buffer, &Buffer)>,
) -> Perhaps<Buffer> {
    if x.dtype() != DType::F32 {
        return Ok(None);
    }
    let Features { rows, columns, inner } = Features::new(x.shape(), axis)?;
    let (dx, to) = result(gpu, DType::F32, x.len())?;
    let n = count(x.len())?;
    if n > 0 {
        let (dgamma, dbeta) = match params {
            Some((dgamma, dbeta)) => (start(dgamma)?, start(dbeta)?),
            None => (Address(0), Address(0)),
        };
        let (x, dy, with) = (Dense::new(gpu, x)?, Dense::new(gpu, dy)?, Numbers::new(gpu, how)?);
        let Numbers { mean, variance, gamma, epsilon, .. } = &with;
        let (mean, variance, gamma) = (mean.at, variance.at, gamma.at);
        let arguments = (x.at, dy.at, mean, variance, gamma, dgamma, dbeta, to, n, rows, columns, inner, *epsilon);
        gpu.launch(&GRAD_INPUT, Grid::each(n), arguments)?;
    }
    Ok(Some(dx))
}

/// Each row less its mean and over the root of its variance, times `gamma` plus `beta`.
pub fn layer_norm(gpu: &'static Gpu, x: View, gamma: View, beta: View, epsilon: f64) -> Perhaps<Buffer> {
    if x.dtype() != DType::F32 {
        return Ok(None);
    }
    let columns = x.shape()[x.shape().len() - 1];
    let y = room(gpu, DType::F32, x.len())?;
    if !x.is_empty() {
        let (from, gamma, beta) = (Dense::new(gpu, x)?, Dense::new(gpu, gamma)?, Dense::new(gpu, beta)?);
        let arguments = (from.at, gamma.at, beta.at, start(&y)?, count(columns)?, epsilon as f32);
        gpu.launch(&LAYER_NORM, Grid::rows(count(x.len() / columns)?), arguments)?;
    }
    Ok(Some(y))
}

/// The gradient through an activation: `dx` from `y = op(x)` and `dy`, and the sum of `dx` over all dimensions but the last.
pub fn activation_grad(gpu: &'static Gpu, op: Unary, y: View, dy: View) -> Perhaps<(Buffer, Buffer)> {
    let Some((activation, p)) = number(Some(op)).filter(|_| y.dtype() == DType::F32) else { return Ok(None) };
    let features = Features::new(y.shape(), y.shape().len() - 1)?;
    let Features { rows, columns, .. } = features;
    let grid = features.grid();
    let ((dx, to), (sums, sums_to)) =
        (result(gpu, DType::F32, y.len())?, result(gpu, DType::F32, features.partial(grid))?);
    if columns > 0 {
        let (y, dy) = (Dense::new(gpu, y)?, Dense::new(gpu, dy)?);
        let arguments = (y.at, dy.at, to, sums_to, rows, columns, activation, p as f32);
        gpu.launch(&ACTIVATION_GRAD, grid, arguments)?;
    }
    Ok(Some((dx, along::sum_of_parts(gpu, sums, columns as usize)?)))
}
