//! Batch and layer normalisation.
//!
//! As in `linear`, kernels compute gradients in one or two passes, and plain operations where a gradient is itself to be
//! differentiated.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::sync::{Arc, OnceLock};

use gradus_kernels::{Buffer, Layout, Unary, View, backend};
use smallvec::SmallVec;

use super::cast::{apply_to_same, same_types};
use super::unary::{back, finished, reads_result};
use crate::grad::{Grads, Op, Saved, Saves, apply, is_recording};
use crate::{Error, Result, Tensor};

impl Tensor {
    /// Batch normalisation (Ioffe and Szegedy 2015) in training: `(x - mean) / sqrt(variance + epsilon) * gamma + beta`
    /// with the mean and the biased variance of each feature along `axis`.
    ///
    /// Gives the result, and the mean and the variance as constants of shape `[features]`. Gradients flow through both.
    pub fn batch_norm(&self, gamma: &Tensor, beta: &Tensor, axis: isize, epsilon: f64) -> Result<[Tensor; 3]> {
        self.batch_norm_activated(gamma, beta, axis, epsilon, None)
    }

    /// [`Tensor::batch_norm`] put through an activation, in the same passes where the device knows how.
    pub fn batch_norm_activated(
        &self,
        gamma: &Tensor,
        beta: &Tensor,
        axis: isize,
        epsilon: f64,
        activation: Option<Unary>,
    ) -> Result<[Tensor; 3]> {
        let axis = self.axis("batch_norm", axis)?;
        if !self.dtype().is_float() || self.is_empty() {
            let what = format!("needs floats, and at least one a feature, not {} {:?}", self.dtype(), self.shape());
            return Err(Error::shape("batch_norm", what));
        }
        let (activation, after) = split(activation);
        let moments = Arc::new(OnceLock::new());
        let op = Normalize { axis, epsilon, moments: moments.clone(), of_input: true, activation };
        let y = apply_to_same(op, [self, gamma, beta])?;
        let [mean, variance] = moments.get().expect("the op has run").clone();
        Ok([finished(y, after)?, mean, variance])
    }

    /// [`Tensor::batch_norm`] with a given mean and variance, which are constants.
    pub fn normalize(&self, moments: [&Tensor; 2], rows: [&Tensor; 2], axis: isize, epsilon: f64) -> Result<Tensor> {
        self.normalize_activated(moments, rows, axis, epsilon, None)
    }

    /// [`Tensor::normalize`] put through an activation, in the same pass where the device knows how.
    pub fn normalize_activated(
        &self,
        [mean, variance]: [&Tensor; 2],
        [gamma, beta]: [&Tensor; 2],
        axis: isize,
        epsilon: f64,
        activation: Option<Unary>,
    ) -> Result<Tensor> {
        let axis = self.axis("normalize", axis)?;
        let (mean, variance) = (mean.detach(), variance.detach());
        let [x, gamma, beta, mean, variance] = same_types([self, gamma, beta, &mean, &variance])?;
        let (activation, after) = split(activation);
        let moments = Arc::new(OnceLock::from([mean, variance].map(Cow::into_owned)));
        let y = apply(Normalize { axis, epsilon, moments, of_input: false, activation }, &[&x, &gamma, &beta])?;
        finished(y, after)
    }

    /// Layer normalisation (Ba, Kiros and Hinton 2016): each row along the last dimension with mean 0 and variance 1, times
    /// `gamma` plus `beta`, which have the length of a row.
    pub fn layer_norm(&self, gamma: &Tensor, beta: &Tensor, epsilon: f64) -> Result<Tensor> {
        apply_to_same(LayerNorm(epsilon), [self, gamma, beta])
    }
}

/// An activation whose gradient follows from its result belongs to the op, which keeps that; any other comes after it.
fn split(activation: Option<Unary>) -> (Option<Unary>, Option<Unary>) {
    match activation {
        Some(f) if !reads_result(f) => (None, Some(f)),
        other => (other, None),
    }
}

#[derive(Debug)]
struct Normalize {
    axis: usize,
    epsilon: f64,
    /// Mean and variance.
    moments: Arc<OnceLock<[Tensor; 2]>>,
    /// Whether they are those of the input, which are there once it has run, and change with it.
    of_input: bool,
    activation: Option<Unary>,
}

impl Normalize {
    fn moments(&self) -> &[Tensor; 2] {
        self.moments.get().expect("given, or computed by `forward`")
    }

    fn how<'a>(&'a self, gamma: &'a Tensor, beta: &'a Tensor) -> backend::Normalize<'a> {
        let [mean, variance] = self.moments();
        backend::Normalize {
            mean: mean.view(),
            variance: variance.view(),
            gamma: gamma.view(),
            beta: beta.view(),
            epsilon: self.epsilon,
        }
    }

    /// What was normalised, put through the activation in a pass of its own.
    fn activated(&self, x: &Tensor, y: Buffer) -> Result<Buffer> {
        match self.activation {
            None => Ok(y),
            Some(f) => Ok(x.backend().unary(f, View::new(&y, &Layout::contiguous(x.shape())))?),
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
            false => {
                let [mean, variance] = self.moments();
                (lift(mean)?, lift(variance)?)
            }
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
        if self.activation.is_some() { Saves::BOTH } else { Saves::INPUTS }
    }

    fn forward(&self, inputs: &[&Tensor]) -> Result<Tensor> {
        let [x, gamma, beta] = inputs else { unreachable!("every use passes three inputs") };
        let given = self.moments.get().into_iter().flatten();
        let rows: SmallVec<[&Tensor; 4]> = given.chain([*gamma, *beta]).collect();
        let features = &x.shape()[self.axis..=self.axis];
        if rows.iter().any(|row| row.device() != x.device() || row.shape() != features) {
            let shapes: Vec<_> = rows.iter().map(|row| row.shape()).collect();
            let names = if self.of_input { "gamma and beta" } else { "mean, variance, gamma and beta" };
            let (axis, shape) = (self.axis, x.shape());
            let what = format!("{names} {shapes:?} are not rows of dimension {axis} of");
            return Err(Error::shape("normalize", format!("{what} {} {shape:?} on {}", x.dtype(), x.device())));
        }
        let (backend, axis) = (x.backend(), self.axis);
        if !self.of_input {
            let how = self.how(gamma, beta);
            let at_once = self.activation.map(|f| backend.normalize_activated(x.view(), axis, &how, f)).transpose()?;
            let y = match at_once.flatten() {
                Some(y) => y,
                None => self.activated(x, backend.normalize(x.view(), axis, &how)?)?,
            };
            return x.computed(y, x.shape());
        }
        let (gamma, beta) = (gamma.view(), beta.view());
        let run = |f| backend.batch_norm_activated(x.view(), axis, gamma, beta, self.epsilon, f);
        let [y, mean, variance] = match self.activation.map(run).transpose()?.flatten() {
            Some(all) => all,
            None => {
                let [y, mean, variance] = backend.batch_norm(x.view(), axis, gamma, beta, self.epsilon)?;
                [self.activated(x, y)?, mean, variance]
            }
        };
        let moments = [x.computed(mean, features)?, x.computed(variance, features)?];
        self.moments.get_or_init(|| moments);
        x.computed(y, x.shape())
    }

    fn backward(&self, saved: &Saved<'_>, dy: &Tensor, grads: &mut Grads<'_>) -> Result<()> {
        let [x, gamma, beta] = saved.inputs()?;
        let through = || self.activation.map_or(Ok(dy.clone()), |f| back(f, saved, dy));
        if is_recording() {
            return self.composed([x, gamma], &through()?, grads);
        }
        let (backend, how) = (x.backend(), self.how(gamma, beta));
        if let Some(f) = self.activation.filter(|_| self.of_input)
            && let Some([dx, dgamma, dbeta]) =
                backend.batch_norm_activated_grad(x.view(), dy.view(), self.axis, &how, f)?
        {
            grads.wrt(0, || x.computed(dx, x.shape()))?;
            grads.wrt(1, || gamma.computed(dgamma, gamma.shape()))?;
            return grads.wrt(2, || beta.computed(dbeta, beta.shape()));
        }
        let dy = &through()?;
        let cell = OnceCell::new();
        let keep = |dgamma, dbeta| -> Result<&[Tensor; 2]> {
            let params = [gamma.computed(dgamma, gamma.shape())?, beta.computed(dbeta, beta.shape())?];
            Ok(cell.get_or_init(|| params))
        };
        let params = || -> Result<&[Tensor; 2]> {
            if let Some(params) = cell.get() {
                return Ok(params);
            }
            let (dgamma, dbeta) = backend.normalize_grad_params(x.view(), dy.view(), self.axis, &how)?;
            keep(dgamma, dbeta)
        };
        grads.wrt(0, || {
            if !self.of_input {
                return x
                    .computed(backend.normalize_grad_input(x.view(), dy.view(), self.axis, &how, None)?, x.shape());
            }
            let [dx, dgamma, dbeta] = backend.batch_norm_grad(x.view(), dy.view(), self.axis, &how)?;
            keep(dgamma, dbeta)?;
            x.computed(dx, x.shape())
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
