//! Batch and layer normalisation.
//!
//! As in `linear`, kernels compute gradients in one or two passes, and plain operations where a gradient is itself to be
//! differentiated.

use std::cell::OnceCell;

use gradus_kernels::backend;

use super::cast::same_types;
use crate::grad::{Grads, Op, Saved, Saves, apply, is_recording};
use crate::{Error, Result, Tensor};

impl Tensor {
    /// Batch normalisation (Ioffe and Szegedy 2015) in training: `(x - mean) / sqrt(variance + epsilon) * gamma + beta`
    /// with the mean and the biased variance of each feature along `axis`.
    ///
    /// Gives the result, and the mean and the variance as constants of shape `[features]`. Gradients flow through both.
    pub fn batch_norm(&self, gamma: &Tensor, beta: &Tensor, axis: isize, epsilon: f64) -> Result<[Tensor; 3]> {
        let axis = self.axis("batch_norm", axis)?;
        if !self.dtype().is_float() || self.is_empty() {
            let what = format!("needs floats, and at least one a feature, not {} {:?}", self.dtype(), self.shape());
            return Err(Error::shape("batch_norm", what));
        }
        let [x, gamma, beta] = same_types([self, gamma, beta])?;
        let (mean, variance) = x.backend().moments(x.view(), axis)?;
        let features = &x.shape()[axis..=axis];
        let (mean, variance) = (x.computed(mean, features)?, x.computed(variance, features)?);
        let op = Normalize { axis, epsilon, mean: mean.clone(), variance: variance.clone(), of_input: true };
        Ok([apply(op, &[&x, &gamma, &beta])?, mean, variance])
    }

    /// [`Tensor::batch_norm`] with a given mean and variance, which are constants.
    pub fn normalize(
        &self,
        [mean, variance]: [&Tensor; 2],
        [gamma, beta]: [&Tensor; 2],
        axis: isize,
        epsilon: f64,
    ) -> Result<Tensor> {
        let axis = self.axis("normalize", axis)?;
        let [x, gamma, beta, mean, variance] = same_types([self, gamma, beta, &mean.detach(), &variance.detach()])?;
        apply(Normalize { axis, epsilon, mean, variance, of_input: false }, &[&x, &gamma, &beta])
    }

    /// Layer normalisation (Ba, Kiros and Hinton 2016): each row along the last dimension with mean 0 and variance 1, times
    /// `gamma` plus `beta`, which have the length of a row.
    pub fn layer_norm(&self, gamma: &Tensor, beta: &Tensor, epsilon: f64) -> Result<Tensor> {
        apply(LayerNorm(epsilon), &same_types([self, gamma, beta])?.each_ref())
    }
}

#[derive(Debug)]
struct Normalize {
    axis: usize,
    epsilon: f64,
    mean: Tensor,
    variance: Tensor,
    /// Whether mean and variance are those of the input, and change with it.
    of_input: bool,
}

impl Normalize {
    fn how<'a>(&'a self, gamma: &'a Tensor, beta: &'a Tensor) -> backend::Normalize<'a> {
        backend::Normalize {
            mean: self.mean.view(),
            variance: self.variance.view(),
            gamma: gamma.view(),
            beta: beta.view(),
            epsilon: self.epsilon,
        }
    }

    /// The gradients in plain operations.
    fn composed(&self, [x, gamma]: [&Tensor; 2], dy: &Tensor, grads: &mut Grads<'_>) -> Result<()> {
        let over: Vec<isize> = (0..x.rank()).filter(|&other| other != self.axis).map(|other| other as isize).collect();
        let mean = |x: &Tensor| if over.is_empty() { Ok(x.clone()) } else { x.mean_keepdim(&over) };
        let sum = |x: Tensor| if over.is_empty() { Ok(x) } else { x.sum(&over) };
        let lift = |row: &Tensor| {
            let mut shape = vec![1; x.rank()];
            shape[self.axis] = row.len();
            row.reshape(&shape)
        };
        let (centre, variance) = match self.of_input {
            true => {
                let centre = mean(x)?;
                let variance = mean(&(x - &centre).square()?)?;
                (centre, variance)
            }
            false => (lift(&self.mean)?, lift(&self.variance)?),
        };
        let root = (variance + self.epsilon).rsqrt()?;
        let white = (x - centre) * &root;
        grads.wrt(0, || {
            let dwhite = dy * lift(gamma)?;
            if !self.of_input {
                return Ok(dwhite * &root);
            }
            let along = &white * mean(&(&dwhite * &white))?;
            Ok((&dwhite - mean(&dwhite)? - along) * &root)
        })?;
        grads.wrt(1, || sum(dy * &white))?;
        grads.wrt(2, || sum(dy.clone()))
    }
}

impl Op for Normalize {
    fn name(&self) -> &'static str {
        "normalize"
    }

    fn saves(&self) -> Saves {
        Saves::INPUTS
    }

    fn forward(&self, inputs: &[&Tensor]) -> Result<Tensor> {
        let [x, gamma, beta] = inputs else { unreachable!("every use passes three inputs") };
        let rows = [&self.mean, &self.variance, gamma, beta];
        if rows.iter().any(|row| row.device() != x.device())
            || rows.iter().any(|row| row.shape() != [x.shape()[self.axis]])
        {
            let (rows, shape) = (rows.map(Tensor::shape), x.shape());
            let what = format!("mean, variance, gamma and beta {rows:?} are not rows of dimension {} of", self.axis);
            return Err(Error::shape("normalize", format!("{what} {} {shape:?} on {}", x.dtype(), x.device())));
        }
        x.computed(x.backend().normalize(x.view(), self.axis, &self.how(gamma, beta))?, x.shape())
    }

    fn backward(&self, saved: &Saved<'_>, dy: &Tensor, grads: &mut Grads<'_>) -> Result<()> {
        let [x, gamma, beta] = saved.inputs()?;
        if is_recording() {
            return self.composed([x, gamma], dy, grads);
        }
        let (backend, how) = (x.backend(), self.how(gamma, beta));
        let cell = OnceCell::new();
        let params = || -> Result<&[Tensor; 2]> {
            if let Some(params) = cell.get() {
                return Ok(params);
            }
            let (dgamma, dbeta) = backend.normalize_grad_params(x.view(), dy.view(), self.axis, &how)?;
            let params = [gamma.computed(dgamma, gamma.shape())?, beta.computed(dbeta, beta.shape())?];
            Ok(cell.get_or_init(|| params))
        };
        grads.wrt(0, || {
            let params = if self.of_input { Some(params()?) } else { None };
            let params = params.map(|[dgamma, dbeta]| (dgamma.view().buffer, dbeta.view().buffer));
            x.computed(backend.normalize_grad_input(x.view(), dy.view(), self.axis, &how, params)?, x.shape())
        })?;
        grads.wrt(1, || params().map(|[dgamma, _]| dgamma.clone()))?;
        grads.wrt(2, || params().map(|[_, dbeta]| dbeta.clone()))
    }
}

#[derive(Debug)]
struct LayerNorm(f64);

impl Op for LayerNorm {
    fn name(&self) -> &'static str {
        "layer_norm"
    }

    fn saves(&self) -> Saves {
        Saves::INPUTS
    }

    fn forward(&self, inputs: &[&Tensor]) -> Result<Tensor> {
        let [x, gamma, beta] = inputs else { unreachable!("`layer_norm` passes three inputs") };
        let alike = [gamma, beta].iter().all(|row| row.device() == x.device());
        let row = x.shape().last().map(std::slice::from_ref);
        if !alike || !x.dtype().is_float() || row != Some(gamma.shape()) || row != Some(beta.shape()) {
            let (gamma, beta) = (gamma.shape(), beta.shape());
            let what = format!("gamma {gamma:?} and beta {beta:?} are not rows of {} {:?}", x.dtype(), x.shape());
            return Err(Error::shape("layer_norm", what));
        }
        x.computed(x.backend().layer_norm(x.view(), gamma.view(), beta.view(), self.0)?, x.shape())
    }

    fn backward(&self, saved: &Saved<'_>, dy: &Tensor, grads: &mut Grads<'_>) -> Result<()> {
        let [x, gamma, _] = saved.inputs()?;
        let row = &[-1];
        let centred = x - x.mean_keepdim(row)?;
        let root = (centred.square()?.mean_keepdim(row)? + self.0).rsqrt()?;
        let white = centred * &root;
        grads.wrt(0, || {
            let dwhite = dy * gamma;
            let along = &white * (&dwhite * &white).mean_keepdim(row)?;
            Ok((&dwhite - dwhite.mean_keepdim(row)? - along) * &root)
        })?;
        let rows = [x.shape()[..x.rank() - 1].iter().product(), gamma.len()];
        grads.wrt(1, || (dy * &white).reshape(&rows)?.sum(&[0]))?;
        grads.wrt(2, || dy.reshape(&rows)?.sum(&[0]))
    }
}
