//! Matrix products.

use super::{floats, write};
use crate::{Buffer, Result, View};

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
