//! The dense layer.

use gradus_core::kernels::Unary;
use gradus_core::{RandomKey, Tensor};

use super::Activation;
use crate::init::{Fans, Init};
use crate::{Ctx, Error, Module, Param, Result};

/// What a [`Dense`] layer is made of.
#[derive(Clone, Debug, PartialEq)]
pub struct DenseOptions {
    /// How many outputs.
    pub units: usize,
    /// Whether a number of its own is added to each output.
    pub bias: bool,
    /// How the weights start.
    pub kernel_init: Init,
    /// How the bias starts.
    pub bias_init: Init,
    /// What the sums are put through.
    pub activation: Activation,
}

impl DenseOptions {
    /// Keras' defaults: Glorot's uniform weights, a bias of 0, no activation.
    pub const fn keras(units: usize) -> Self {
        let (kernel_init, bias_init) = (Init::GlorotUniform, Init::Zeros);
        Self { units, bias: true, kernel_init, bias_init, activation: Activation::Linear }
    }

    /// PyTorch's defaults: weights and bias uniform within `1 / √inputs`, no activation.
    pub fn torch(units: usize) -> Self {
        let init = Init::KaimingUniform(5f64.sqrt());
        Self { kernel_init: init.clone(), bias_init: init, ..Self::keras(units) }
    }
}

/// Every output is a weighted sum of all inputs plus a bias, put through an activation: `f(x W + b)`.
///
/// Works on the last dimension; all before it are kept.
#[derive(Debug)]
pub struct Dense {
    kernel: Param,
    bias: Option<Param>,
    activation: Activation,
}

impl Dense {
    /// A layer of `inputs` inputs. `key` is the layer's; kernel and bias draw from streams of their own below it.
    pub fn new(inputs: usize, options: &DenseOptions, key: RandomKey) -> Result<Self> {
        let DenseOptions { units, bias, kernel_init, bias_init, activation } = options;
        if *units == 0 {
            return Err(Error::Config("dense: units is 0; a layer has at least one output".into()));
        }
        let fans = Fans { inputs, outputs: *units };
        let kernel = Param::weight("kernel", kernel_init.sample(&[inputs, *units], fans, key.named("kernel"))?);
        let draw = || Ok::<_, Error>(Param::weight("bias", bias_init.sample(&[*units], fans, key.named("bias"))?));
        Ok(Self { kernel, bias: bias.then(draw).transpose()?, activation: activation.clone() })
    }

    /// The sums, put through `function` in the same pass.
    fn sums(&self, x: &Tensor, function: Option<Unary>) -> Result<Tensor> {
        let bias = self.bias.as_ref().map(Param::value);
        Ok(x.linear(&self.kernel.value(), bias.as_ref(), function)?)
    }
}

impl Module for Dense {
    fn forward(&self, x: &Tensor, _: &Ctx) -> Result<Tensor> {
        self.activation.finish(|function| self.sums(x, function))
    }

    fn forward_raw(&self, x: &Tensor, ctx: &Ctx) -> Result<(Tensor, Activation)> {
        match self.activation {
            // Losses want to see what comes before these.
            Activation::Softmax | Activation::Sigmoid => self.activation.apply_raw(self.sums(x, None)?),
            _ => Ok((self.forward(x, ctx)?, Activation::Linear)),
        }
    }

    fn forward_activated(&self, x: &Tensor, _: &Ctx, function: Unary) -> Result<Option<Tensor>> {
        let alone = self.activation == Activation::Linear;
        alone.then(|| self.sums(x, Some(function))).transpose()
    }

    fn params(&self, visit: &mut dyn FnMut(&str, &Param)) {
        visit("kernel", &self.kernel);
        if let Some(bias) = &self.bias {
            visit("bias", bias);
        }
    }

    fn multiply_adds(&self, input: &[usize]) -> usize {
        let rows = input.split_last().map_or(0, |(_, before)| before.iter().product());
        rows * self.kernel.len()
    }

    fn is_steady(&self) -> bool {
        true
    }

    fn output_shape(&self, input: &[usize]) -> Result<Vec<usize>> {
        let (inputs, units) = (self.kernel.shape()[0], self.kernel.shape()[1]);
        match input {
            [before @ .., last] if *last == inputs => Ok([before, &[units]].concat()),
            _ => Err(Error::Config(format!(
                "dense: takes {inputs} numbers in the last dimension, a sample has shape {input:?}"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use gradus_core::ops::unary::pointwise;

    use super::*;
    use crate::layers::testing::check_layer;

    fn dense(options: &DenseOptions) -> Dense {
        Dense::new(3, options, RandomKey::new(1).named("dense")).unwrap()
    }

    #[test]
    fn every_output_is_the_activation_of_a_weighted_sum_plus_a_bias() {
        let layer = dense(&DenseOptions { activation: Activation::Relu, ..DenseOptions::keras(2) });
        layer.kernel.set(Tensor::from_slice(&[1f32, 2.0, 3.0, 4.0, 5.0, 6.0], &[3, 2]).unwrap()).unwrap();
        layer.bias.as_ref().unwrap().set(Tensor::from_slice(&[0.5f32, -100.0], &[2]).unwrap()).unwrap();
        let x = Tensor::from_slice(&[1f32, 0.0, 0.0, 0.0, 1.0, 1.0], &[2, 3]).unwrap();
        let y = layer.forward(&x, &Ctx::eval()).unwrap();
        assert_eq!(y.to_vec::<f32>().unwrap(), [1.5, 0.0, 8.5, 0.0]);
    }

    #[test]
    fn a_function_behind_the_layer_is_computed_with_it_unless_it_has_its_own() {
        let x = Tensor::from_slice(&[1f32, -2.0, 3.0], &[1, 3]).unwrap();
        let (ctx, function) = (Ctx::eval(), Unary::LeakyRelu(0.3));
        let plain = dense(&DenseOptions::keras(4));
        let together = plain.forward_activated(&x, &ctx, function).unwrap().unwrap();
        let apart = pointwise(&plain.forward(&x, &ctx).unwrap(), function).unwrap();
        assert_eq!(together.to_vec::<f32>().unwrap(), apart.to_vec::<f32>().unwrap());
        let own = dense(&DenseOptions { activation: Activation::Relu, ..DenseOptions::keras(4) });
        assert!(own.forward_activated(&x, &ctx, function).unwrap().is_none());
    }

    #[test]
    fn shapes_are_inferred_and_checked() {
        let layer = dense(&DenseOptions::keras(2));
        assert_eq!(layer.output_shape(&[5, 3]).unwrap(), [5, 2]);
        let x = Tensor::from_slice(&[1f32; 30], &[2, 5, 3]).unwrap();
        assert_eq!(layer.forward(&x, &Ctx::eval()).unwrap().shape(), [2, 5, 2]);
        let error = layer.output_shape(&[4]).unwrap_err().to_string();
        assert_eq!(error, "dense: takes 3 numbers in the last dimension, a sample has shape [4]");
    }

    #[test]
    fn softmax_and_sigmoid_are_left_to_the_loss() {
        let x = Tensor::from_slice(&[1f32, 2.0, 3.0], &[1, 3]).unwrap();
        for name in Activation::NAMES {
            let activation: Activation = name.parse().unwrap();
            let layer = dense(&DenseOptions { activation, ..DenseOptions::torch(2) });
            let (raw, left) = layer.forward_raw(&x, &Ctx::eval()).unwrap();
            let whole = layer.forward(&x, &Ctx::eval()).unwrap().to_vec::<f32>().unwrap();
            assert_eq!(left.apply(&raw).unwrap().to_vec::<f32>().unwrap(), whole, "{name}");
            assert_eq!(left != Activation::Linear, ["softmax", "sigmoid"].contains(name), "{name}");
        }
    }

    #[test]
    fn gradients_agree_with_differences_to_second_order() {
        check_layer(&dense(&DenseOptions { activation: Activation::Tanh, ..DenseOptions::torch(2) }), &[4, 3]);
        check_layer(&dense(&DenseOptions { bias: false, ..DenseOptions::keras(2) }), &[2, 2, 3]);
    }
}
