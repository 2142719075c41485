//! Batch normalisation (Ioffe and Szegedy 2015).

use gradus_core::kernels::Unary;
use gradus_core::ops::step::{Step, update};
use gradus_core::{DType, Device, Tensor};

use crate::memo::Memo;
use crate::{Ctx, Error, Module, Param, Result};

/// How a [`BatchNorm`] layer works.
#[derive(Clone, Debug, PartialEq)]
pub struct BatchNormOptions {
    /// The share of the old in a moving statistic, as in Keras. PyTorch's momentum is the share of the new.
    pub momentum: f64,
    /// Added to the variance before the root is taken.
    pub epsilon: f64,
    /// Whether `beta`, learned, is added.
    pub center: bool,
    /// Whether `gamma`, learned, multiplies.
    pub scale: bool,
    /// Whether the moving variance takes in the unbiased variance of each batch, as PyTorch does; Keras' is biased.
    pub unbiased: bool,
    /// The dimension of the features, the batch counted; negative ones count from the end.
    pub axis: isize,
}

impl BatchNormOptions {
    /// Keras' defaults.
    pub const fn keras() -> Self {
        Self { momentum: 0.99, epsilon: 1e-3, center: true, scale: true, unbiased: false, axis: -1 }
    }

    /// PyTorch's defaults; its momentum of 0.1 is 0.9 here.
    pub const fn torch() -> Self {
        Self { momentum: 0.9, epsilon: 1e-5, center: true, scale: true, unbiased: true, axis: -1 }
    }
}

impl Default for BatchNormOptions {
    fn default() -> Self {
        Self::keras()
    }
}

/// Gives every feature mean 0 and variance 1, then a scale and a centre that are learned.
///
/// In training, mean and variance are those of the batch, over all dimensions but that of the features, and moving
/// averages of them are kept; gradients flow through both. Otherwise, and wherever the layer is frozen, the averages are
/// used.
#[derive(Debug)]
pub struct BatchNorm {
    options: BatchNormOptions,
    gamma: Option<Param>,
    beta: Option<Param>,
    moving_mean: Param,
    moving_variance: Param,
    scale: Memo,
}

impl BatchNorm {
    /// A layer of `features` features.
    pub fn new(features: usize, options: BatchNormOptions) -> Result<Self> {
        let ones = Tensor::ones(&[features], DType::F32, Device::CPU)?;
        let zeros = ones.zeros_like()?;
        Ok(Self {
            gamma: options.scale.then(|| Param::weight("gamma", ones.clone())),
            beta: options.center.then(|| Param::weight("beta", zeros.clone())),
            moving_mean: Param::state("moving_mean", zeros),
            moving_variance: Param::state("moving_variance", ones),
            scale: Memo::default(),
            options,
        })
    }

    /// Takes the statistics of a batch, of `count` numbers for each feature, into the moving ones.
    fn remember(&self, mean: &Tensor, variance: &Tensor, count: usize) -> Result<()> {
        let of_type = |new: &Tensor, param: &Param| new.detach().to_dtype(param.value().dtype());
        let mean = of_type(mean, &self.moving_mean)?;
        let mut variance = of_type(variance, &self.moving_variance)?;
        if self.options.unbiased {
            variance = variance.mul_scalar(count as f64 / (count as f64 - 1.0))?;
        }
        Param::update_all(&[&self.moving_mean, &self.moving_variance], |moving| {
            let steps = moving.into_iter().zip([&mean, &variance]);
            Ok(update(steps.map(|(old, new)| Step::following(old, new, self.options.momentum)).collect())?)
        })
    }

    /// Whether the layer only scales and shifts, as one does that was folded into the layer before it and taken apart again: its averages
    /// are a mean of 0 and a variance that is 1 with epsilon, which says nothing of its inputs.
    pub fn was_folded(&self) -> Result<bool> {
        let one = f64::from((1.0 - self.options.epsilon) as f32);
        let all = |param: &Param, wanted: f64| -> Result<bool> {
            Ok(param.value().to_f64_vec()?.iter().all(|&value| value == wanted))
        };
        Ok(self.gamma.is_some()
            && self.beta.is_some()
            && all(&self.moving_mean, 0.0)?
            && all(&self.moving_variance, one)?)
    }

    /// How many numbers of each feature are in a batch, their means, and their biased variances.
    pub(crate) fn moments(&self, x: &Tensor) -> Result<(usize, [Vec<f64>; 2])> {
        let Some(axis) = self.axis(x.rank()).filter(|&axis| x.shape()[axis] == self.moving_mean.len()) else {
            return Err(self.mismatch(x.shape().get(1..).unwrap_or_default(), x.rank().saturating_sub(1)));
        };
        let ones = Tensor::ones(&[x.shape()[axis]], x.dtype(), x.device())?;
        let [_, mean, variance] = x.batch_norm(&ones, &ones, axis as isize, self.options.epsilon)?;
        Ok((x.len() / x.shape()[axis].max(1), [mean.to_f64_vec()?, variance.to_f64_vec()?]))
    }

    /// Takes other averages, and a scale and a centre with which they give what the old ones gave.
    ///
    /// A feature that never varies gets the scale `√epsilon`, so that nothing is divided by 0. Fails with [`Error::Config`] where scale
    /// or centre is not learned, since there is nothing to change then.
    pub fn take_averages(&self, mean: &[f64], variance: &[f64]) -> Result<()> {
        let (Some(gamma), Some(beta)) = (&self.gamma, &self.beta) else {
            let what = "batch_norm: without scale or center, other averages cannot give what these give";
            return Err(Error::Config(what.into()));
        };
        let epsilon = self.options.epsilon;
        let read = |param: &Param| param.value().to_f64_vec();
        let (mut scale, mut centre) = (read(gamma)?, read(beta)?);
        let (old_mean, old_variance) = (read(&self.moving_mean)?, read(&self.moving_variance)?);
        // As they will be read back.
        let rounded = |numbers: &[f64]| numbers.iter().map(|&number| f64::from(number as f32)).collect::<Vec<_>>();
        let (mean, variance) = (rounded(mean), rounded(variance));
        for (i, (mean, variance)) in mean.iter().zip(&variance).enumerate() {
            let factor = scale[i] / (old_variance[i] + epsilon).sqrt();
            scale[i] = factor * (variance + epsilon).sqrt();
            centre[i] += factor * (mean - old_mean[i]);
        }
        let new = [(gamma, &scale), (beta, &centre), (&self.moving_mean, &mean), (&self.moving_variance, &variance)];
        for (param, numbers) in new {
            let old = param.value();
            let value = Tensor::from_slice(numbers, old.shape())?.to_dtype(old.dtype())?;
            param.set(value.to_device(old.device())?)?;
        }
        Ok(())
    }

    /// Whether the layer is frozen: it then normalises by its averages, in training too.
    fn keeps_averages(&self) -> bool {
        self.moving_mean.is_frozen() || self.moving_variance.is_frozen()
    }

    /// The dimension of the features in a tensor of this rank.
    fn axis(&self, rank: usize) -> Option<usize> {
        let axis = self.options.axis;
        usize::try_from(if axis < 0 { axis + rank as isize } else { axis }).ok().filter(|&axis| axis < rank)
    }

    /// The layer's result, put through a function.
    fn normalize(&self, x: &Tensor, ctx: &Ctx, function: Option<Unary>) -> Result<Tensor> {
        let axis = self.axis(x.rank()).filter(|&axis| x.shape()[axis] == self.moving_mean.len());
        let Some(axis) = axis else {
            return Err(self.mismatch(x.shape().get(1..).unwrap_or_default(), x.rank().saturating_sub(1)));
        };
        // What is not learned is as it would be before any learning.
        let row = |param: &Option<Param>, fixed: f64| match param {
            Some(param) => Ok(param.value()),
            None => Tensor::full(&[x.shape()[axis]], fixed, x.dtype(), x.device()),
        };
        let (gamma, beta) = (row(&self.gamma, 1.0)?, row(&self.beta, 0.0)?);
        let epsilon = self.options.epsilon;

        if !ctx.training || self.keeps_averages() {
            let (mean, variance) = (self.moving_mean.value(), self.moving_variance.value());
            return Ok(x.normalize_activated([&mean, &variance], [&gamma, &beta], axis as isize, epsilon, function)?);
        }
        let count = x.len() / x.shape()[axis].max(1);
        if x.rank() < 2 || count == 0 || (self.options.unbiased && count == 1) {
            let what = format!("batch_norm: a batch of shape {:?} has {count} numbers a feature", x.shape());
            return Err(Error::Config(format!("{what}; training needs a spread: use a larger batch")));
        }
        let [y, mean, variance] = x.batch_norm_activated(&gamma, &beta, axis as isize, epsilon, function)?;
        self.remember(&mean, &variance, count)?;
        Ok(y)
    }

    fn mismatch(&self, shape: &[usize], axis: usize) -> Error {
        let features = self.moving_mean.len();
        Error::Config(format!(
            "batch_norm: takes {features} features in dimension {axis} of a batch, a sample has shape {shape:?}"
        ))
    }
}

impl Module for BatchNorm {
    fn forward(&self, x: &Tensor, ctx: &Ctx) -> Result<Tensor> {
        self.normalize(x, ctx, None)
    }

    fn forward_activated(&self, x: &Tensor, ctx: &Ctx, function: Unary) -> Result<Option<Tensor>> {
        self.normalize(x, ctx, Some(function)).map(Some)
    }

    fn as_scale(&self, ctx: &Ctx) -> Result<Option<[Tensor; 2]>> {
        if (ctx.training && !self.keeps_averages()) || self.options.axis != -1 {
            return Ok(None);
        }
        let [mean, variance] = [&self.moving_mean, &self.moving_variance].map(Param::value);
        let [gamma, beta] = [&self.gamma, &self.beta].map(|param| param.as_ref().map(Param::value));
        let from: Vec<&Tensor> = [&mean, &variance].into_iter().chain(&gamma).chain(&beta).collect();
        let scale = self.scale.of(&from, || {
            let root = variance.add_scalar(self.options.epsilon)?.rsqrt()?;
            let factor = gamma.as_ref().map_or(Ok(root.clone()), |gamma| gamma.mul(&root))?;
            let shift = mean.mul(&factor)?.neg()?;
            let shift = beta.as_ref().map_or(Ok(shift.clone()), |beta| beta.add(&shift))?;
            Ok([factor, shift])
        })?;
        Ok(Some(scale))
    }

    fn as_batch_norm(&self) -> Option<&BatchNorm> {
        Some(self)
    }

    fn params(&self, visit: &mut dyn FnMut(&str, &Param)) {
        let learned = [("gamma", &self.gamma), ("beta", &self.beta)];
        learned.iter().for_each(|(name, param)| param.iter().for_each(|param| visit(name, param)));
        visit("moving_mean", &self.moving_mean);
        visit("moving_variance", &self.moving_variance);
    }

    fn is_steady(&self) -> bool {
        self.keeps_averages()
    }

    fn output_shape(&self, input: &[usize]) -> Result<Vec<usize>> {
        let rank = input.len() + 1;
        match self.axis(rank) {
            Some(axis) if axis > 0 && input[axis - 1] == self.moving_mean.len() => Ok(input.to_vec()),
            axis => Err(self.mismatch(input, axis.unwrap_or(rank - 1))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::testing::{check_layer, random, train};

    fn moving(layer: &BatchNorm) -> [Vec<f64>; 2] {
        [&layer.moving_mean, &layer.moving_variance].map(|param| param.value().to_f64_vec().unwrap())
    }

    #[test]
    fn training_normalises_the_batch_and_moves_the_averages() {
        let layer = BatchNorm::new(1, BatchNormOptions { epsilon: 0.0, ..BatchNormOptions::keras() }).unwrap();
        let x = Tensor::from_slice(&[1f32, 3.0, 5.0], &[3, 1]).unwrap();
        let y = layer.forward(&x, &train()).unwrap().to_vec::<f32>().unwrap();
        let root = 1.5f32.sqrt();
        y.iter().zip([-root, 0.0, root]).for_each(|(y, wanted)| assert!((y - wanted).abs() < 1e-6, "{y}"));
        let [mean, variance] = moving(&layer);
        // 0.99 of the old and 0.01 of the batch, whose mean is 3 and whose biased variance is 8/3.
        assert!((mean[0] - 0.03).abs() < 1e-7 && (variance[0] - (0.99 + 0.08 / 3.0)).abs() < 1e-6, "{variance:?}");
    }

    #[test]
    fn pytorch_takes_in_the_unbiased_variance() {
        let layer = BatchNorm::new(1, BatchNormOptions::torch()).unwrap();
        let x = Tensor::from_slice(&[1f32, 3.0, 5.0], &[3, 1]).unwrap();
        layer.forward(&x, &train()).unwrap();
        let [mean, variance] = moving(&layer);
        assert!((mean[0] - 0.3).abs() < 1e-6 && (variance[0] - (0.9 + 0.4)).abs() < 1e-6, "{mean:?} {variance:?}");
        let error = layer.forward(&x.slice(0, 0, 1).unwrap(), &train()).unwrap_err().to_string();
        assert!(error.starts_with("batch_norm: a batch of shape [1, 1] has 1 numbers a feature"), "{error}");
    }

    #[test]
    fn a_frozen_layer_and_evaluation_use_the_averages_and_leave_them() {
        let layer = BatchNorm::new(3, BatchNormOptions::keras()).unwrap();
        let x = random(&[5, 3], 1);
        layer.forward(&x, &train()).unwrap();
        let before = moving(&layer);
        let evaluated = layer.forward(&x, &Ctx::eval()).unwrap().to_f64_vec().unwrap();
        layer.params(&mut |_, param| param.set_trainable(false));
        let frozen = layer.forward(&x, &train()).unwrap().to_f64_vec().unwrap();
        assert_eq!(evaluated, frozen);
        assert_eq!(before, moving(&layer));
        let by_hand = (x.to_f64_vec().unwrap()[0] - before[0][0]) / (before[1][0] + 1e-3).sqrt();
        assert!((evaluated[0] - by_hand).abs() < 1e-6);
    }

    #[test]
    fn features_that_do_not_fit_are_refused() {
        let layer = BatchNorm::new(3, BatchNormOptions::keras()).unwrap();
        let wanted = "batch_norm: takes 3 features in dimension 2 of a batch, a sample has shape [3, 4]";
        assert_eq!(layer.output_shape(&[3, 4]).unwrap_err().to_string(), wanted);
        assert_eq!(layer.forward(&random(&[2, 3, 4], 0), &train()).unwrap_err().to_string(), wanted);
        assert_eq!(layer.output_shape(&[4, 3]).unwrap(), [4, 3]);
    }

    #[test]
    fn gradients_flow_through_mean_and_variance() {
        let options = BatchNormOptions::keras();
        check_layer(&BatchNorm::new(3, options.clone()).unwrap(), &[5, 3]);
        check_layer(&BatchNorm::new(3, BatchNormOptions { axis: 1, ..options.clone() }).unwrap(), &[2, 3, 2, 2]);
        check_layer(&BatchNorm::new(3, BatchNormOptions { center: false, scale: false, ..options }).unwrap(), &[5, 3]);
    }
}
