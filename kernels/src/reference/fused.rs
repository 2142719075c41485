//! Softmax, its logarithm, and the loss made of it.

use super::index::indices;
use super::{floats, lanes, write};
use crate::{Buffer, Layout, Result, View};

pub fn softmax(x: View, axis: usize) -> Result<Buffer> {
    let values = floats("softmax", x)?;
    let mut y = vec![0.0; values.len()];
    for lane in lanes(x.shape(), &[axis]) {
        let max = max(&values, &lane);
        let sum: f64 = lane.iter().map(|&at| (values[at] - max).exp()).sum();
        for &at in &lane {
            y[at] = (values[at] - max).exp() / sum;
        }
    }
    Ok(write(x.dtype(), y))
}

pub fn softmax_grad(y: View, dy: View, axis: usize) -> Result<Buffer> {
    let (dtype, shape) = (y.dtype(), y.shape());
    let (y, dy) = (floats("softmax_grad", y)?, floats("softmax_grad", dy)?);
    let mut dx = vec![0.0; y.len()];
    for lane in lanes(shape, &[axis]) {
        let dot: f64 = lane.iter().map(|&at| y[at] * dy[at]).sum();
        for &at in &lane {
            dx[at] = y[at] * (dy[at] - dot);
        }
    }
    Ok(write(dtype, dx))
}

pub fn log_softmax(x: View, axis: usize) -> Result<Buffer> {
    let values = floats("log_softmax", x)?;
    let mut y = vec![0.0; values.len()];
    for lane in lanes(x.shape(), &[axis]) {
        let (max, log_sum) = log_sum_exp(&values, &lane);
        for &at in &lane {
            y[at] = values[at] - max - log_sum;
        }
    }
    Ok(write(x.dtype(), y))
}

pub fn log_softmax_grad(y: View, dy: View, axis: usize) -> Result<Buffer> {
    let (dtype, shape) = (y.dtype(), y.shape());
    let (y, dy) = (floats("log_softmax_grad", y)?, floats("log_softmax_grad", dy)?);
    let mut dx = vec![0.0; y.len()];
    for lane in lanes(shape, &[axis]) {
        let sum: f64 = lane.iter().map(|&at| dy[at]).sum();
        for &at in &lane {
            dx[at] = dy[at] - y[at].exp() * sum;
        }
    }
    Ok(write(dtype, dx))
}

pub fn cross_entropy(logits: View, labels: View) -> Result<Buffer> {
    let values = floats("cross_entropy", logits)?;
    let labels = indices("cross_entropy", labels, logits.shape()[1])?;
    let rows = lanes(logits.shape(), &[1]);
    let losses = rows.iter().zip(labels).map(|(row, label)| {
        let (max, log_sum) = log_sum_exp(&values, row);
        log_sum - (values[row[label]] - max)
    });
    Ok(write(logits.dtype(), losses))
}

pub fn cross_entropy_with_grad(logits: View, labels: View) -> Result<(Buffer, Buffer)> {
    let rows = Layout::contiguous(&[logits.shape()[0]]);
    let ones = Buffer::full(logits.dtype(), rows.len(), 1.0.into());
    Ok((cross_entropy(logits, labels)?, cross_entropy_grad(logits, labels, View::new(&ones, &rows))?))
}

pub fn cross_entropy_grad(logits: View, labels: View, dy: View) -> Result<Buffer> {
    let values = floats("cross_entropy_grad", logits)?;
    let dy = floats("cross_entropy_grad", dy)?;
    let labels = indices("cross_entropy_grad", labels, logits.shape()[1])?;
    let mut dx = vec![0.0; values.len()];
    for (n, row) in lanes(logits.shape(), &[1]).iter().enumerate() {
        let (max, log_sum) = log_sum_exp(&values, row);
        for (class, &at) in row.iter().enumerate() {
            let one_hot = f64::from(class == labels[n]);
            dx[at] = ((values[at] - max - log_sum).exp() - one_hot) * dy[n];
        }
    }
    Ok(write(logits.dtype(), dx))
}

fn max(values: &[f64], lane: &[usize]) -> f64 {
    lane.iter().map(|&at| values[at]).fold(f64::NEG_INFINITY, f64::max)
}

/// The largest element, and the logarithm of the sum of `exp(x - max)`. They stay apart, since their sum would lose the
/// smaller one.
fn log_sum_exp(values: &[f64], lane: &[usize]) -> (f64, f64) {
    let max = max(values, lane);
    (max, lane.iter().map(|&at| (values[at] - max).exp()).sum::<f64>().ln())
}
