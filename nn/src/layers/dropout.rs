//! Dropout.

use gradus_core::{Distribution, Tensor};

use crate::{Ctx, Error, Module, Result};

/// In training each number becomes 0 with probability `rate`, and the others grow by `1 / (1 - rate)`, so that sums keep
/// their mean (Srivastava et al. 2014). Otherwise everything passes as it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dropout {
    rate: f64,
    /// Whether whole channels are dropped.
    spatial: bool,
}

impl Dropout {
    /// Drops a share of `rate`, from 0 up to but without 1.
    pub fn new(rate: f64) -> Result<Self> {
        if !(0.0..1.0).contains(&rate) {
            return Err(Error::Config(format!("dropout: rate is {rate}; it must lie from 0 up to but without 1")));
        }
        Ok(Self { rate, spatial: false })
    }

    /// Drops whole channels: what is dropped is dropped at all places of a sample, since neighbours say nearly the same
    /// (Tompson et al. 2015).
    pub fn spatial(rate: f64) -> Result<Self> {
        Ok(Self { spatial: true, ..Self::new(rate)? })
    }

    /// The shape of what is drawn for a batch of this shape.
    fn drawn(&self, batch: &[usize]) -> Vec<usize> {
        let last = batch.len().saturating_sub(1);
        let size = |(axis, &size): (usize, &usize)| if self.spatial && axis > 0 && axis < last { 1 } else { size };
        batch.iter().enumerate().map(size).collect()
    }
}

impl Module for Dropout {
    fn forward(&self, x: &Tensor, ctx: &Ctx) -> Result<Tensor> {
        if !ctx.training || self.rate == 0.0 {
            return Ok(x.clone());
        }
        let kept = Distribution::Bernoulli { probability: 1.0 - self.rate };
        let mask = Tensor::random(&self.drawn(x.shape()), kept, ctx.key, x.dtype(), x.device())?;
        Ok(x.mul(&mask.mul_scalar(1.0 / (1.0 - self.rate))?)?)
    }

    fn is_steady(&self) -> bool {
        self.rate == 0.0
    }

    fn output_shape(&self, input: &[usize]) -> Result<Vec<usize>> {
        Ok(input.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::{DType, Device, RandomKey};
    use crate::layers::testing::check_layer;

    #[test]
    fn a_share_is_dropped_and_the_rest_grows() {
        let x = Tensor::ones(&[100, 200], DType::F32, Device::CPU).unwrap();
        let layer = Dropout::new(0.2).unwrap();
        let ctx = Ctx::train(RandomKey::new(3));
        let y = layer.forward(&x, &ctx).unwrap().to_vec::<f32>().unwrap();
        let dropped = y.iter().filter(|&&y| y == 0.0).count();
        assert!(y.iter().all(|&y| y == 0.0 || y == 1.25));
        // Four standard errors of a share of 0.2 in 20,000.
        assert!((dropped as f64 / 20_000.0 - 0.2).abs() < 0.0114, "{dropped}");
        assert_eq!(y, layer.forward(&x, &ctx).unwrap().to_vec::<f32>().unwrap());
        assert_ne!(y, layer.forward(&x, &ctx.for_layer(1)).unwrap().to_vec::<f32>().unwrap());
    }

    #[test]
    fn whole_channels_are_dropped() {
        let x = Tensor::ones(&[10, 3, 4, 50], DType::F32, Device::CPU).unwrap();
        let y = Dropout::spatial(0.5).unwrap().forward(&x, &Ctx::train(RandomKey::new(3))).unwrap();
        let of_channel = y.sum(&[1, 2]).unwrap().to_vec::<f32>().unwrap();
        assert!(of_channel.iter().all(|&sum| sum == 0.0 || sum == 24.0));
        let dropped = of_channel.iter().filter(|&&sum| sum == 0.0).count();
        assert!((205..=295).contains(&dropped), "{dropped}");
    }

    #[test]
    fn evaluation_drops_nothing() {
        let x = Tensor::ones(&[10, 20], DType::F32, Device::CPU).unwrap();
        let y = Dropout::new(0.5).unwrap().forward(&x, &Ctx::eval()).unwrap();
        assert_eq!(y.to_vec::<f32>().unwrap(), x.to_vec::<f32>().unwrap());
    }

    #[test]
    fn a_rate_that_is_no_share_is_refused() {
        for rate in [-0.1, 1.0, f64::NAN] {
            let error = Dropout::new(rate).unwrap_err().to_string();
            assert_eq!(error, format!("dropout: rate is {rate}; it must lie from 0 up to but without 1"));
        }
    }

    #[test]
    fn gradients_agree_with_differences_to_second_order() {
        check_layer(&Dropout::new(0.4).unwrap(), &[4, 3]);
        check_layer(&Dropout::spatial(0.4).unwrap(), &[2, 2, 2, 3]);
    }
}
