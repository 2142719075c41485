//! Activation functions by name.

use gradus_core::Tensor;
use gradus_core::kernels::Unary;
use gradus_core::ops::unary::pointwise;

use crate::named::named;
use crate::{Ctx, Module, Result};

named! {
    /// A function that makes a net more than one linear map; also a layer of its own.
    ///
    /// Defaults are those of Keras' layers.
    Activation "activation" {
        /// `x`.
        Linear = "linear" | "identity";
        /// `max(x, 0)`.
        Relu = "relu";
        /// `min(max(x, 0), 6)`.
        Relu6 = "relu6";
        /// `x` above 0, `slope * x` elsewhere. PyTorch's slope is 0.01, that of Keras' function (not layer) 0.2.
        LeakyRelu(slope: f64 = 0.3) = "leaky_relu";
        /// `x` above 0, `alpha * (e^x - 1)` elsewhere.
        Elu(alpha: f64 = 1.0) = "elu";
        /// ELU with the constants that keep the variance.
        Selu = "selu";
        /// `max(x, 0) + min(alpha * (e^(x / alpha) - 1), 0)`.
        Celu(alpha: f64 = 1.0) = "celu";
        /// `log(1 + e^x)`.
        Softplus = "softplus";
        /// `x / (1 + |x|)`.
        Softsign = "softsign";
        /// `1 / (1 + e^-x)`.
        Sigmoid = "sigmoid";
        /// `log(sigmoid(x))`.
        LogSigmoid = "log_sigmoid";
        /// `min(max(x / 6 + 1/2, 0), 1)`.
        HardSigmoid = "hard_sigmoid";
        /// `tanh(x)`.
        Tanh = "tanh";
        /// `min(max(x, -1), 1)`.
        HardTanh = "hard_tanh";
        /// `x * hard_sigmoid(x)`.
        HardSwish = "hard_swish" | "hard_silu";
        /// `x * sigmoid(x)`.
        Silu = "silu" | "swish";
        /// `x * Phi(x)` with the normal distribution function `Phi`.
        Gelu = "gelu";
        /// GELU by its `tanh` approximation.
        GeluTanh = "gelu_tanh";
        /// `x * tanh(softplus(x))`.
        Mish = "mish";
        /// `e^x`.
        Exponential = "exponential";
        /// `exp(x) / sum(exp(x))` over the last dimension.
        Softmax = "softmax";
        /// `log(softmax(x))` over the last dimension.
        LogSoftmax = "log_softmax";
    }
}

impl Activation {
    /// The function of one number; `None` for none at all, and for those of whole rows.
    pub const fn function(&self) -> Option<Unary> {
        Some(match *self {
            Activation::Linear | Activation::Softmax | Activation::LogSoftmax => return None,
            Activation::Relu => Unary::Relu,
            Activation::Relu6 => Unary::Relu6,
            Activation::LeakyRelu(slope) => Unary::LeakyRelu(slope),
            Activation::Elu(alpha) => Unary::Elu(alpha),
            Activation::Selu => Unary::Selu,
            Activation::Celu(alpha) => Unary::Celu(alpha),
            Activation::Softplus => Unary::Softplus,
            Activation::Softsign => Unary::Softsign,
            Activation::Sigmoid => Unary::Sigmoid,
            Activation::LogSigmoid => Unary::LogSigmoid,
            Activation::HardSigmoid => Unary::HardSigmoid,
            Activation::Tanh => Unary::Tanh,
            Activation::HardTanh => Unary::HardTanh,
            Activation::HardSwish => Unary::HardSwish,
            Activation::Silu => Unary::Silu,
            Activation::Gelu => Unary::Gelu,
            Activation::GeluTanh => Unary::GeluTanh,
            Activation::Mish => Unary::Mish,
            Activation::Exponential => Unary::Exp,
        })
    }

    /// The function's values.
    pub fn apply(&self, x: &Tensor) -> Result<Tensor> {
        Ok(match (self.function(), self) {
            (Some(function), _) => pointwise(x, function)?,
            (None, Activation::Softmax) => x.softmax(-1)?,
            (None, Activation::LogSoftmax) => x.log_softmax(-1)?,
            (None, _) => x.clone(),
        })
    }

    /// Applies the function, or leaves it to the loss if it is one that losses take in.
    pub fn apply_raw(&self, x: Tensor) -> Result<(Tensor, Activation)> {
        match self {
            Activation::Softmax | Activation::Sigmoid => Ok((x, self.clone())),
            _ => Ok((self.apply(&x)?, Activation::Linear)),
        }
    }

    /// The function of what `sums` computes, which takes it into the same pass where it can be.
    pub(super) fn finish(&self, sums: impl FnOnce(Option<Unary>) -> Result<Tensor>) -> Result<Tensor> {
        match self.function() {
            None => self.apply(&sums(None)?),
            function => sums(function),
        }
    }

    fn complaint(&self) -> Option<&'static str> {
        match *self {
            Activation::Celu(0.0) => Some("alpha must not be 0"),
            _ => None,
        }
    }
}

impl Module for Activation {
    fn forward(&self, x: &Tensor, _: &Ctx) -> Result<Tensor> {
        self.apply(x)
    }

    fn forward_raw(&self, x: &Tensor, _: &Ctx) -> Result<(Tensor, Activation)> {
        self.apply_raw(x.clone())
    }

    fn as_function(&self) -> Option<Unary> {
        self.function()
    }

    fn is_steady(&self) -> bool {
        true
    }

    fn output_shape(&self, input: &[usize]) -> Result<Vec<usize>> {
        Ok(input.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::grad::check::check_gradient;

    #[test]
    fn every_name_reads_back_as_it_is_written() {
        for name in Activation::NAMES {
            let activation: Activation = name.parse().unwrap();
            assert_eq!(activation.to_string().parse::<Activation>().unwrap(), activation);
        }
        assert_eq!("swish".parse::<Activation>().unwrap(), Activation::Silu);
        assert_eq!("leaky_relu".parse::<Activation>().unwrap().to_string(), "leaky_relu(0.3)");
        assert_eq!(" elu ( 2 ) ".parse::<Activation>().unwrap(), Activation::Elu(2.0));
    }

    #[test]
    fn complaints_say_what_is_wrong() {
        let complaint = |text: &str| text.parse::<Activation>().unwrap_err().to_string();
        assert_eq!(complaint("rellu"), "unknown activation \"rellu\"; did you mean \"relu\"?");
        assert_eq!(complaint("elu(2"), "activation \"elu(2\": the closing parenthesis is missing");
        assert_eq!(complaint("elu(x)"), "activation \"elu(x)\": alpha must be a finite number, not \"x\"");
        assert_eq!(complaint("elu(nan)"), "activation \"elu(nan)\": alpha must be a finite number, not \"nan\"");
        assert_eq!(complaint("elu(1, 2)"), "activation \"elu(1, 2)\": takes 1 numbers at most, not 2");
        assert_eq!(complaint("relu(1)"), "activation \"relu(1)\": takes 0 numbers at most, not 1");
        assert_eq!(complaint("celu(0)"), "activation \"celu(0)\": alpha must not be 0");
    }

    #[test]
    fn gradients_agree_with_differences_to_second_order() {
        let x = Tensor::from_slice(&[-4.1, -1.3, -0.4, 0.2, 0.7, 1.9, 3.7, 6.5], &[2, 4]).unwrap();
        for name in Activation::NAMES {
            let activation: Activation = name.parse().unwrap();
            let layer = |x: &[Tensor]| {
                activation.forward(&x[0], &Ctx::eval()).map_err(|error| match error {
                    crate::Error::Tensor(error) => error,
                    other => panic!("{other}"),
                })
            };
            check_gradient(layer, std::slice::from_ref(&x), 2).unwrap_or_else(|error| panic!("{name}: {error}"));
        }
    }
}
