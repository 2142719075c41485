//! What the tests of all layers share.

use gradus_core::grad::check::check_gradient;
use gradus_core::{DType, Device, Distribution, RandomKey, Tensor};

use crate::{Ctx, Error, Module, Result};

/// Numbers from -1 to 1, in `f64`.
pub fn random(shape: &[usize], key: u64) -> Tensor {
    let distribution = Distribution::Uniform { low: -1.0, high: 1.0 };
    Tensor::random(shape, distribution, RandomKey::new(42).numbered(key), DType::F64, Device::CPU).unwrap()
}

/// A step of training.
pub fn train() -> Ctx {
    Ctx::train(RandomKey::new(7))
}

/// A tensor operation's error as such; every other is a failure of the test.
pub fn checked<T>(result: Result<T>) -> gradus_core::Result<T> {
    result.map_err(|error| match error {
        Error::Tensor(error) => error,
        other => panic!("{other}"),
    })
}

/// Checks the gradient of a layer to second order, in training: with respect to its input and to every weight.
pub fn check_layer(layer: &dyn Module, shape: &[usize]) {
    let mut params = Vec::new();
    layer.params(&mut |_, param| params.push(param.clone()));
    for (key, param) in (1..).zip(&params) {
        param.replace_by(|value| random(value.shape(), key).square().unwrap());
    }
    let weights: Vec<_> = params.iter().filter(|param| param.trainable()).collect();
    let inputs: Vec<Tensor> =
        std::iter::once(random(shape, 0)).chain(weights.iter().map(|param| param.value().detach())).collect();
    let run = |x: &[Tensor]| {
        for (param, value) in weights.iter().zip(&x[1..]) {
            param.replace_by(|_| value.clone());
        }
        checked(layer.forward(&x[0], &train()))
    };
    check_gradient(run, &inputs, 2).unwrap_or_else(|error| panic!("{layer:?}: {error}"));
}
