//! Normalisations that look at one sample at a time, so that training and measuring do the same: by layer, by group of channels, by
//! channel, and by length alone.

use gradus_core::{DType, Device, Tensor};

use crate::{Ctx, Error, Module, Param, Result};

/// Over what a [`SampleNorm`] takes mean and variance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// The last dimension (Ba, Kiros and Hinton 2016).
    Last,
    /// All places of a group of channels, of which there are so many (Wu and He 2018); as many as channels are instance
    /// normalisation (Ulyanov, Vedaldi and Lempitsky 2016).
    Groups(usize),
}

/// How a [`SampleNorm`] works.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SampleNormOptions {
    /// Over what.
    pub over: Over,
    /// Added to the variance before the root is taken.
    pub epsilon: f64,
    /// Whether `beta`, learned, is added to each channel.
    pub center: bool,
    /// Whether `gamma`, learned, multiplies each channel.
    pub scale: bool,
}

/// Gives each sample, or each group of its channels, mean 0 and variance 1; then each channel, a place in the last dimension, a scale
/// and a centre that are learned.
#[derive(Debug)]
pub struct SampleNorm {
    options: SampleNormOptions,
    channels: usize,
    gamma: Option<Param>,
    beta: Option<Param>,
}

impl SampleNorm {
    /// A layer for `channels` channels.
    ///
    /// # Errors
    /// If the groups do not divide them.
    pub fn new(channels: usize, options: SampleNormOptions) -> Result<Self> {
        if let Over::Groups(groups) = options.over
            && (groups == 0 || !channels.is_multiple_of(groups))
        {
            return Err(Error::Config(format!(
                "group_norm: {groups} groups do not divide {channels} channels into equal parts"
            )));
        }
        let ones = Tensor::ones(&[channels], DType::F32, Device::CPU)?;
        Ok(Self {
            channels,
            gamma: options.scale.then(|| Param::weight("gamma", ones.clone())),
            beta: options.center.then(|| Ok::<_, Error>(Param::weight("beta", ones.zeros_like()?))).transpose()?,
            options,
        })
    }

    fn check(&self, sample: &[usize]) -> Result<()> {
        let name = if self.options.over == Over::Last { "layer_norm" } else { "group_norm" };
        check(name, self.channels, sample)
    }

    /// Mean 0 and variance 1 within groups of channels.
    fn within_groups(&self, x: &Tensor, groups: usize) -> Result<Tensor> {
        let places: usize = x.shape()[1..x.rank() - 1].iter().product();
        let split = x.reshape(&[x.shape()[0], places, groups, self.channels / groups])?;
        let centred = split.sub(&split.mean_keepdim(&[1, 3])?)?;
        let variance = centred.square()?.mean_keepdim(&[1, 3])?;
        Ok(centred.mul(&variance.add_scalar(self.options.epsilon)?.rsqrt()?)?.reshape(x.shape())?)
    }
}

impl Module for SampleNorm {
    fn forward(&self, x: &Tensor, _: &Ctx) -> Result<Tensor> {
        self.check(x.shape().get(1..).unwrap_or_default())?;
        let row = |param: &Option<Param>, fixed: f64| match param {
            Some(param) => Ok(param.value()),
            None => Tensor::full(&[self.channels], fixed, x.dtype(), x.device()),
        };
        match self.options.over {
            Over::Last => Ok(x.layer_norm(&row(&self.gamma, 1.0)?, &row(&self.beta, 0.0)?, self.options.epsilon)?),
            Over::Groups(groups) => {
                let mut y = self.within_groups(x, groups)?;
                if let Some(gamma) = &self.gamma {
                    y = y.mul(&gamma.value())?;
                }
                match &self.beta {
                    Some(beta) => Ok(y.add(&beta.value())?),
                    None => Ok(y),
                }
            }
        }
    }

    fn params(&self, visit: &mut dyn FnMut(&str, &Param)) {
        for (name, param) in [("gamma", &self.gamma), ("beta", &self.beta)] {
            param.iter().for_each(|param| visit(name, param));
        }
    }

    fn is_steady(&self) -> bool {
        true
    }

    fn output_shape(&self, input: &[usize]) -> Result<Vec<usize>> {
        self.check(input)?;
        Ok(input.to_vec())
    }
}

/// Divides the last dimension by the root of its mean square (Zhang and Sennrich 2019), then multiplies each place by a number that
/// is learned.
#[derive(Debug)]
pub struct RmsNorm {
    scale: Param,
    epsilon: f64,
}

impl RmsNorm {
    /// A layer for rows of `features` numbers; `epsilon` is added to the mean square.
    pub fn new(features: usize, epsilon: f64) -> Result<Self> {
        Ok(Self { scale: Param::weight("scale", Tensor::ones(&[features], DType::F32, Device::CPU)?), epsilon })
    }
}

impl Module for RmsNorm {
    fn forward(&self, x: &Tensor, _: &Ctx) -> Result<Tensor> {
        self.output_shape(x.shape().get(1..).unwrap_or_default())?;
        let root = x.square()?.mean_keepdim(&[-1])?.add_scalar(self.epsilon)?.rsqrt()?;
        Ok(x.mul(&root)?.mul(&self.scale.value())?)
    }

    fn params(&self, visit: &mut dyn FnMut(&str, &Param)) {
        visit("scale", &self.scale);
    }

    fn is_steady(&self) -> bool {
        true
    }

    fn output_shape(&self, input: &[usize]) -> Result<Vec<usize>> {
        check("rms_norm", self.scale.len(), input)?;
        Ok(input.to_vec())
    }
}

fn check(name: &str, channels: usize, sample: &[usize]) -> Result<()> {
    match sample.last() {
        Some(&last) if last == channels => Ok(()),
        _ => Err(Error::Config(format!(
            "{name}: takes {channels} numbers in the last dimension, a sample has shape {sample:?}"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::testing::{check_layer, random};

    fn norm(over: Over) -> SampleNorm {
        SampleNorm::new(4, SampleNormOptions { over, epsilon: 1e-3, center: true, scale: true }).unwrap()
    }

    #[test]
    fn groups_have_mean_0_and_variance_1() {
        let x = random(&[3, 5, 2, 4], 1).mul_scalar(100.0).unwrap().add_scalar(7.0).unwrap();
        for (over, axes) in [(Over::Last, &[3][..]), (Over::Groups(2), &[1, 3]), (Over::Groups(4), &[1, 3])] {
            let layer = norm(over);
            layer.params(&mut |_, param| param.to_dtype(DType::F64).unwrap());
            let y = layer.forward(&x, &Ctx::eval()).unwrap();
            let split = match over {
                Over::Last => y,
                Over::Groups(groups) => y.reshape(&[3, 10, groups, 4 / groups]).unwrap(),
            };
            let mean = split.mean(axes).unwrap().abs().unwrap().max(&[]).unwrap().item().unwrap();
            let square = split.square().unwrap().mean(axes).unwrap().add_scalar(-1.0).unwrap();
            let square = square.abs().unwrap().max(&[]).unwrap().item().unwrap();
            assert!(mean < 1e-12 && square < 1e-4, "{over:?}: {mean} {square}");
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let options = SampleNormOptions { over: Over::Groups(3), epsilon: 1e-3, center: true, scale: true };
        let error = SampleNorm::new(4, options).unwrap_err().to_string();
        assert_eq!(error, "group_norm: 3 groups do not divide 4 channels into equal parts");
        let error = norm(Over::Last).output_shape(&[2, 3]).unwrap_err().to_string();
        assert_eq!(error, "layer_norm: takes 4 numbers in the last dimension, a sample has shape [2, 3]");
        assert!(RmsNorm::new(4, 1e-6).unwrap().output_shape(&[]).is_err());
    }

    #[test]
    fn gradients_agree_with_differences_to_second_order() {
        for over in [Over::Last, Over::Groups(2), Over::Groups(4)] {
            check_layer(&norm(over), &[2, 3, 4]);
        }
        let bare = SampleNormOptions { over: Over::Groups(1), epsilon: 1e-3, center: false, scale: false };
        check_layer(&SampleNorm::new(4, bare).unwrap(), &[2, 2, 4]);
        check_layer(&RmsNorm::new(4, 1e-6).unwrap(), &[2, 3, 4]);
    }
}
