//! Normalisation, and the gradient through an activation.

use super::{floats, lanes, write};
use crate::backend::Normalize;
use crate::{Buffer, Error, Layout, Result, Unary, View};

/// The row-major positions of each feature's elements.
fn features(x: View, axis: usize) -> Vec<Vec<usize>> {
    let others: Vec<usize> = (0..x.shape().len()).filter(|&other| other != axis).collect();
    lanes(x.shape(), &others)
}

fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = values.len() as f64;
    values.sum::<f64>() / count
}

/// The mean and the biased variance of one feature's elements.
fn moments_of(values: &[f64], lane: &[usize]) -> (f64, f64) {
    let centre = mean(lane.iter().map(|&at| values[at]));
    (centre, mean(lane.iter().map(|&at| (values[at] - centre).powi(2))))
}

pub fn moments(x: View, axis: usize) -> Result<(Buffer, Buffer)> {
    let values = floats("moments", x)?;
    let (means, variances): (Vec<f64>, Vec<f64>) =
        features(x, axis).iter().map(|lane| moments_of(&values, lane)).unzip();
    Ok((write(x.dtype(), means), write(x.dtype(), variances)))
}

/// Mean, factor, `gamma` and `beta` of each feature.
fn scales(how: &Normalize) -> Result<Vec<[f64; 4]>> {
    let [mean, variance, gamma, beta] = [how.mean, how.variance, how.gamma, how.beta].map(|x| floats("normalize", x));
    let (mean, variance, gamma, beta) = (mean?, variance?, gamma?, beta?);
    let root = |i: usize| 1.0 / (variance[i] + how.epsilon).sqrt();
    Ok((0..mean.len()).map(|i| [mean[i], root(i), gamma[i], beta[i]]).collect())
}

pub fn normalize(x: View, axis: usize, how: &Normalize) -> Result<Buffer> {
    let mut values = floats("normalize", x)?;
    for (lane, [mean, root, gamma, beta]) in features(x, axis).iter().zip(scales(how)?) {
        for &at in lane {
            values[at] = (values[at] - mean) * root * gamma + beta;
        }
    }
    Ok(write(x.dtype(), values))
}

/// The gradients of each feature's `gamma` and `beta`.
fn params(values: &[f64], dy: &[f64], lanes: &[Vec<usize>], scales: &[[f64; 4]]) -> Vec<(f64, f64)> {
    let of = |(lane, [mean, root, ..]): (&Vec<usize>, &[f64; 4])| {
        let gamma = lane.iter().map(|&at| dy[at] * (values[at] - mean) * root).sum();
        (gamma, lane.iter().map(|&at| dy[at]).sum())
    };
    lanes.iter().zip(scales).map(of).collect()
}

/// The gradient of `x` from those of `gamma` and `beta`.
fn input(
    mut values: Vec<f64>,
    dy: &[f64],
    lanes: &[Vec<usize>],
    scales: &[[f64; 4]],
    params: &[(f64, f64)],
) -> Vec<f64> {
    for ((lane, [mean, root, gamma, _]), (dgamma, dbeta)) in lanes.iter().zip(scales).zip(params) {
        let count = lane.len() as f64;
        for &at in lane {
            let whitened = (values[at] - mean) * root;
            values[at] = gamma * root * (dy[at] - dbeta / count - whitened * dgamma / count);
        }
    }
    values
}

pub fn normalize_grad_params(x: View, dy: View, axis: usize, how: &Normalize) -> Result<(Buffer, Buffer)> {
    let (values, dy) = (floats("normalize", x)?, floats("normalize", dy)?);
    let (gamma, beta): (Vec<f64>, Vec<f64>) =
        params(&values, &dy, &features(x, axis), &scales(how)?).into_iter().unzip();
    Ok((write(x.dtype(), gamma), write(x.dtype(), beta)))
}

pub fn normalize_grad_input(
    x: View,
    dy: View,
    axis: usize,
    how: &Normalize,
    params: Option<(&Buffer, &Buffer)>,
) -> Result<Buffer> {
    let (values, dy) = (floats("normalize", x)?, floats("normalize", dy)?);
    let lanes = features(x, axis);
    let row = Layout::contiguous(&[lanes.len()]);
    let read = |sums: &Buffer| floats("normalize", View::new(sums, &row));
    let params = match params {
        Some((gamma, beta)) => read(gamma)?.into_iter().zip(read(beta)?).collect(),
        None => vec![(0.0, 0.0); lanes.len()],
    };
    Ok(write(x.dtype(), input(values, &dy, &lanes, &scales(how)?, &params)))
}

pub fn batch_norm(x: View, axis: usize, gamma: View, beta: View, epsilon: f64) -> Result<[Buffer; 3]> {
    let [mut values, gamma, beta] =
        [floats("batch_norm", x)?, floats("batch_norm", gamma)?, floats("batch_norm", beta)?];
    let lanes = features(x, axis);
    let moments: Vec<(f64, f64)> = lanes.iter().map(|lane| moments_of(&values, lane)).collect();
    for (i, (lane, (mean, variance))) in lanes.iter().zip(&moments).enumerate() {
        for &at in lane {
            values[at] = (values[at] - mean) / (variance + epsilon).sqrt() * gamma[i] + beta[i];
        }
    }
    let (means, variances): (Vec<f64>, Vec<f64>) = moments.into_iter().unzip();
    Ok([values, means, variances].map(|values| write(x.dtype(), values)))
}

pub fn batch_norm_grad(x: View, dy: View, axis: usize, how: &Normalize) -> Result<[Buffer; 3]> {
    let (values, dy) = (floats("batch_norm_grad", x)?, floats("batch_norm_grad", dy)?);
    let (lanes, scales) = (features(x, axis), scales(how)?);
    let params = params(&values, &dy, &lanes, &scales);
    let dx = input(values, &dy, &lanes, &scales, &params);
    let (dgamma, dbeta): (Vec<f64>, Vec<f64>) = params.into_iter().unzip();
    Ok([dx, dgamma, dbeta].map(|values| write(x.dtype(), values)))
}

pub fn layer_norm(x: View, gamma: View, beta: View, epsilon: f64) -> Result<Buffer> {
    let mut values = floats("layer_norm", x)?;
    let (gamma, beta) = (floats("layer_norm", gamma)?, floats("layer_norm", beta)?);
    for row in values.chunks_mut(gamma.len().max(1)) {
        let centre = mean(row.iter().copied());
        let root = 1.0 / (mean(row.iter().map(|x| (x - centre).powi(2))) + epsilon).sqrt();
        for ((x, gamma), beta) in row.iter_mut().zip(&gamma).zip(&beta) {
            *x = (*x - centre) * root * gamma + beta;
        }
    }
    Ok(write(x.dtype(), values))
}

pub fn activation_grad(op: Unary, y: View, dy: View) -> Result<(Buffer, Buffer)> {
    let (values, dy) = (floats("activation_grad", y)?, floats("activation_grad", dy)?);
    let slope = |y: f64| op.slope_at(y).ok_or(Error::NoKernel { op: op.name(), backend: "reference", table: TABLE });
    let dx = values.iter().zip(&dy).map(|(&y, dy)| Ok(slope(y)? * dy)).collect::<Result<Vec<f64>>>()?;
    let width = y.shape().last().copied().unwrap_or(1);
    let sums = (0..width).map(|column| dx.iter().skip(column).step_by(width.max(1)).sum::<f64>());
    let sums = write(y.dtype(), sums);
    Ok((write(y.dtype(), dx), sums))
}

/// Where a function gets its slope.
const TABLE: &str = "Unary::slope_at in kernels/src/pointwise.rs";
