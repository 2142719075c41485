//! Matrix products.

use super::{floats, write};
use crate::{Buffer, Layout, Result, Unary, View};

pub fn matmul(a: View, b: View) -> Result<Buffer> {
    let dtype = a.dtype();
    let rank = a.shape().len();
    let (m, k, n) = (a.shape()[rank - 2], a.shape()[rank - 1], b.shape()[rank - 1]);
    let batch: usize = a.shape()[..rank - 2].iter().product();
    let (a, b) = (floats("matmul", a)?, floats("matmul", b)?);
    let mut y = Vec::with_capacity(batch * m * n);
    for matrix in 0..batch {
        let (a, b) = (&a[matrix * m * k..], &b[matrix * k * n..]);
        for row in 0..m {
            for column in 0..n {
                y.push((0..k).map(|i| a[row * k + i] * b[i * n + column]).sum::<f64>());
            }
        }
    }
    Ok(write(dtype, y))
}

pub fn linear(x: View, w: View, bias: Option<View>, activation: Option<Unary>) -> Result<Buffer> {
    let (dtype, k, n) = (x.dtype(), w.shape()[0], w.shape()[1]);
    let rows: usize = x.shape()[..x.shape().len() - 1].iter().product();
    let (x, w) = (floats("linear", x)?, floats("linear", w)?);
    let bias = bias.map(|bias| floats("linear", bias)).transpose()?;
    let value = |at: usize| {
        let sum = (0..k).map(|i| x[at / n * k + i] * w[i * n + at % n]).sum::<f64>();
        let sum = sum + bias.as_ref().map_or(0.0, |bias| bias[at % n]);
        activation.map_or(sum, |activation| activation.reference(sum))
    };
    Ok(write(dtype, (0..rows * n).map(value)))
}

pub fn add_product(c: &mut Buffer, scale: f64, a: View, b: View) -> Result<()> {
    let (k, n) = (b.shape()[0], b.shape()[1]);
    let whole = Layout::contiguous(&[c.len()]);
    let (a, b, old) = (floats("matmul", a)?, floats("matmul", b)?, floats("matmul", View::new(c, &whole))?);
    let sum = |at: usize| (0..k).map(|i| a[at / n * k + i] * b[i * n + at % n]).sum::<f64>();
    *c = write(c.dtype(), old.iter().enumerate().map(|(at, old)| old + scale * sum(at)));
    Ok(())
}
