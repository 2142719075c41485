//! What other operations express well: plain functions of tensors, whose gradients follow.

use crate::{Result, Tensor};

impl Tensor {
    /// The variance over `axes`: the mean squared distance from the mean, with `n - correction` in place of `n`.
    ///
    /// `correction` 0 is the variance of these numbers, 1 the unbiased estimate for what they were drawn from.
    pub fn var(&self, axes: &[isize], correction: usize) -> Result<Tensor> {
        let count: usize = self.axes("var", axes)?.iter().map(|&axis| self.shape()[axis]).product();
        let squares = (self - self.mean_keepdim(axes)?).square()?.sum(axes)?;
        squares.mul_scalar(1.0 / (count as f64 - correction as f64))
    }

    /// The standard deviation over `axes`; see [`Tensor::var`].
    pub fn std(&self, axes: &[isize], correction: usize) -> Result<Tensor> {
        self.var(axes, correction)?.sqrt()
    }

    /// The Euclidean length over `axes`.
    pub fn norm(&self, axes: &[isize]) -> Result<Tensor> {
        self.square()?.sum(axes)?.sqrt()
    }

    /// Whether any element over `axes` is not zero.
    pub fn any(&self, axes: &[isize]) -> Result<Tensor> {
        self.ne_scalar(0.0)?.sum(axes)?.gt_scalar(0.0)
    }

    /// Whether every element over `axes` is not zero.
    pub fn all(&self, axes: &[isize]) -> Result<Tensor> {
        self.eq_scalar(0.0)?.any(axes)?.logical_not()
    }

    /// The elements of a matrix on and below diagonal `k`, zeros above; `k = 0` is the main diagonal, positive ones lie
    /// above it.
    pub fn tril(&self, k: isize) -> Result<Tensor> {
        let rows = Tensor::arange(0.0, self.size(-2)? as f64, 1.0, crate::DType::I64, self.device())?.unsqueeze(1)?;
        let columns = Tensor::arange(0.0, self.size(-1)? as f64, 1.0, crate::DType::I64, self.device())?;
        self.masked(&columns.le(&rows.add_scalar(k as f64)?)?)
    }

    /// The elements of a matrix on and above diagonal `k`, zeros below.
    pub fn triu(&self, k: isize) -> Result<Tensor> {
        self.sub(&self.tril(k - 1)?)
    }
}
