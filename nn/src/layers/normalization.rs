//! Standardising by what the training data are like.

use gradus_core::{DType, Device, Tensor};

use crate::module::Walk;
use crate::{Ctx, Error, Module, Param, Result};

/// Gives every feature, a place in the last dimension, mean 0 and variance 1 over the training data: `(x - mean) / √variance`.
///
/// Unlike [`BatchNorm`](super::BatchNorm) it learns mean and variance before the training and keeps them: they are part of the
/// model, so whoever predicts with it need not know them. A feature that never varies is only centred, as scikit-learn's
/// `StandardScaler` does it; Keras' layer of this name divides it by 1e-7.
#[derive(Debug)]
pub struct Normalization {
    mean: Param,
    variance: Param,
}

impl Normalization {
    /// A layer for `features` features, which does nothing until [`Module::adapt`] has seen data.
    pub fn new(features: usize) -> Result<Self> {
        let ones = Tensor::ones(&[features], DType::F32, Device::CPU)?;
        Ok(Self { mean: Param::state("mean", ones.zeros_like()?), variance: Param::state("variance", ones) })
    }

    fn check(&self, shape: &[usize]) -> Result<()> {
        let features = self.mean.len();
        match shape.last() {
            Some(&last) if last == features => Ok(()),
            _ => Err(Error::Config(format!(
                "normalization: takes {features} features in the last dimension, a sample has shape {shape:?}"
            ))),
        }
    }
}

impl Module for Normalization {
    fn forward(&self, x: &Tensor, _: &Ctx) -> Result<Tensor> {
        self.check(x.shape().get(1..).unwrap_or_default())?;
        Ok(x.sub(&self.mean.value())?.div(&self.variance.value().sqrt()?)?)
    }

    fn adapt(&self, walk: &mut Walk<'_>) -> Result<()> {
        if self.mean.is_frozen() {
            return Ok(());
        }
        let features = self.mean.len();
        // Two walks, both summed up in 64 bits: the difference of large sums would lose what is wanted.
        let mut count = 0.0;
        let mut sums = vec![0f64; features];
        walk(&mut |x| {
            count += (x.len() / features) as f64;
            add(&mut sums, &x.reshape(&[x.len() / features, features])?)
        })?;
        if count == 0.0 {
            return Err(Error::Data("normalization: there are no data to learn mean and variance from".into()));
        }
        let mean: Vec<f64> = sums.iter().map(|sum| sum / count).collect();
        let centre = Tensor::from_slice(&mean, &[features])?;
        let mut squares = vec![0f64; features];
        walk(&mut |x| {
            let rows = x.reshape(&[x.len() / features, features])?.to_dtype(DType::F64)?;
            add(&mut squares, &rows.sub(&centre.to_device(x.device())?)?.square()?)
        })?;
        let variance: Vec<f64> = squares.iter().map(|&sum| if sum > 0.0 { sum / count } else { 1.0 }).collect();
        for (param, values) in [(&self.mean, &mean), (&self.variance, &variance)] {
            let old = param.value();
            param.set(Tensor::from_slice(values, &[features])?.to_dtype(old.dtype())?.to_device(old.device())?)?;
        }
        Ok(())
    }

    fn params(&self, visit: &mut dyn FnMut(&str, &Param)) {
        visit("mean", &self.mean);
        visit("variance", &self.variance);
    }

    fn is_steady(&self) -> bool {
        true
    }

    fn output_shape(&self, input: &[usize]) -> Result<Vec<usize>> {
        self.check(input)?;
        Ok(input.to_vec())
    }
}

/// Adds the sums of the columns of `rows`.
fn add(sums: &mut [f64], rows: &Tensor) -> Result<()> {
    let new = rows.to_dtype(DType::F64)?.sum(&[0])?.to_vec::<f64>()?;
    sums.iter_mut().zip(new).for_each(|(sum, new)| *sum += new);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Dataset, Loader, Scale};
    use crate::layers::testing::check_layer;
    use crate::models::Model;
    use crate::spec::Recipe;

    const TEXT: &str = "[data]\nsource = \"x\"\n[[layer]]\ntype = \"normalization\"\n[[layer]]\ntype = \"dense\"\nunits = 2\n\
                        [[layer]]\ntype = \"normalization\"\n[optimizer]\nkind = \"sgd\"\n[train]\nloss = \"mse\"\n";

    fn loader() -> Loader {
        // The third feature never varies; the first has mean 3 and variance 8/3.
        let x = Tensor::from_slice(&[1f32, -1.0, 7.0, 3.0, 0.0, 7.0, 5.0, 1.0, 7.0], &[3, 3]).unwrap();
        let set = Dataset::new("x", x.clone(), x, Vec::new()).unwrap();
        Loader::new(&set, 2, None, Scale::None).unwrap()
    }

    #[test]
    fn mean_and_variance_are_those_of_all_the_data() {
        let model = Model::build(&Recipe::parse(TEXT, "r.toml").unwrap(), &[3]).unwrap();
        model.adapt(&loader()).unwrap();
        let value = |i: usize| model.params()[i].value().to_vec::<f32>().unwrap();
        assert_eq!((value(0), value(1)), (vec![3.0, 0.0, 7.0], vec![8.0 / 3.0, 2.0 / 3.0, 1.0]));
        assert_eq!((model.counts().total, model.counts().trainable), (6 + 8 + 4, 8));
        // The second one has learnt from what reaches it.
        let y = model.predict(&loader().set().inputs).unwrap();
        let (mean, square) = (y.mean(&[0]).unwrap(), y.square().unwrap().mean(&[0]).unwrap());
        assert!(mean.to_vec::<f32>().unwrap().iter().all(|x| x.abs() < 1e-6), "{mean:?}");
        assert!(square.to_vec::<f32>().unwrap().iter().all(|x| (x - 1.0).abs() < 1e-5), "{square:?}");
        // A frozen one keeps what it knows.
        let before = model.weights_sha256().unwrap();
        model.set_trainable("..", false).unwrap();
        model.params()[1].set(Tensor::ones(&[3], DType::F32, Device::CPU).unwrap()).unwrap();
        model.adapt(&loader()).unwrap();
        assert_ne!(model.weights_sha256().unwrap(), before);
    }

    #[test]
    fn gradients_agree_with_differences_to_second_order() {
        check_layer(&Normalization::new(3).unwrap(), &[4, 3]);
        let error = Normalization::new(3).unwrap().output_shape(&[4]).unwrap_err().to_string();
        assert_eq!(error, "normalization: takes 3 features in the last dimension, a sample has shape [4]");
    }
}
