//! Optimizers: how weights follow their gradients.

mod adam;
mod sgd;
mod state;
mod update;

use std::fmt::Debug;

use gradus_core::{Gradient, Gradients, Tensor};

use crate::{Error, Param, Result};

pub use adam::{Adam, AdamOptions};
pub use sgd::{Sgd, SgdOptions};
pub use update::Update;

/// A rule that moves weights, with what it remembers about them.
pub trait Optimizer: Debug + Send {
    /// Moves every trainable parameter by its gradient. Names must differ: what is remembered goes by name.
    ///
    /// A trainable parameter without a gradient is an error that names it, and then nothing has moved.
    fn step(&mut self, params: &[Param], gradients: Gradients) -> Result<()>;

    /// The current step size.
    fn learning_rate(&self) -> f64;

    /// Changes the step size from the next step on.
    fn set_learning_rate(&mut self, learning_rate: f64);

    /// What is remembered, under names such as `dense.kernel/velocity`: for saving.
    fn state(&self) -> Vec<(String, Tensor)>;

    /// Goes on from what [`Optimizer::state`] gave.
    fn load_state(&mut self, state: Vec<(String, Tensor)>) -> Result<()>;
}

/// The trainable parameters with their gradients, which leave `gradients`.
fn pair(params: &[Param], mut gradients: Gradients) -> Result<Vec<(&Param, Gradient)>> {
    let trainable = params.iter().filter(|param| param.trainable());
    let found = trainable.map(|param| match gradients.take(&param.value()) {
        Some(gradient) => Ok((param, gradient)),
        None => Err(Error::Config(format!(
            "no gradient for parameter {:?}: the loss was not computed from it in this step; use it, or freeze it",
            param.name()
        ))),
    });
    found.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORACLE: [f32; 3] = [0.5, -0.25, 0.1];

    /// Where a single weight of 1 goes with the gradients of labs' three-step oracle.
    fn oracle(optimizer: &mut dyn Optimizer) -> f32 {
        let param = Param::weight("w", Tensor::scalar(1f32));
        ORACLE.iter().for_each(|&gradient| step(optimizer, &param, gradient));
        param.value().to_vec::<f32>().unwrap()[0]
    }

    fn step(optimizer: &mut dyn Optimizer, param: &Param, gradient: f32) {
        let loss = param.value().mul(&Tensor::scalar(gradient)).unwrap();
        optimizer.step(std::slice::from_ref(param), loss.backward().unwrap()).unwrap();
    }

    fn heavy(nesterov: bool) -> Sgd {
        Sgd::new(SgdOptions { learning_rate: 1e-3, momentum: 0.9, nesterov })
    }

    /// What Keras 3.15.1 gives, rounded to f32; one unit in the last place is left for the order of operations.
    #[test]
    fn three_steps_end_where_keras_ends() {
        let near = |got: f32, keras: f64| assert!((f64::from(got) - keras).abs() <= 6.1e-8, "{got} is not {keras}");
        near(oracle(&mut heavy(false)), 0.999019980430603);
        near(oracle(&mut heavy(true)), 0.9987679719924927);
        near(oracle(&mut Adam::new(AdamOptions::keras())), 0.9984184503555298);
    }

    #[test]
    fn an_optimizer_goes_on_from_its_saved_state() {
        let makers: [fn() -> Box<dyn Optimizer>; 2] =
            [|| Box::new(heavy(true)), || Box::new(Adam::new(AdamOptions::keras()))];
        for make in makers {
            let param = Param::weight("w", Tensor::scalar(1f32));
            let (mut first, mut second) = (make(), make());
            step(&mut *first, &param, 0.5);
            second.load_state(first.state()).unwrap();
            step(&mut *second, &param, -0.25);
            step(&mut *second, &param, 0.1);
            assert_eq!(param.value().to_vec::<f32>().unwrap(), [oracle(&mut *make())]);
        }
    }

    #[test]
    fn a_missing_gradient_is_an_error_and_nothing_moves() {
        let used = Param::weight("used", Tensor::scalar(1f32));
        let unused = Param::weight("dense.bias", Tensor::scalar(1f32));
        let params = [used.clone(), unused.clone()];
        let gradients = || used.value().square().unwrap().backward().unwrap();
        let error = heavy(false).step(&params, gradients()).unwrap_err().to_string();
        assert!(error.starts_with("no gradient for parameter \"dense.bias\""), "{error}");
        assert_eq!(used.value().item().unwrap(), 1.0);
        unused.set_trainable(false);
        heavy(false).step(&params, gradients()).unwrap();
        assert!(used.value().item().unwrap() < 1.0);
    }

    #[test]
    fn two_parameters_of_one_name_are_refused() {
        let params = [Param::weight("w", Tensor::scalar(1f32)), Param::weight("w", Tensor::scalar(1f32))];
        let loss = params[0].value().mul(&params[1].value()).unwrap();
        let error = heavy(false).step(&params, loss.backward().unwrap()).unwrap_err().to_string();
        assert_eq!(error, "two parameters are called \"w\"; an optimizer tells them apart by name");
    }

    #[test]
    fn a_state_of_another_optimizer_is_refused() {
        let state = vec![("w/velocity".to_string(), Tensor::scalar(1f32))];
        let error = Adam::new(AdamOptions::keras()).load_state(state).unwrap_err().to_string();
        assert_eq!(error, "optimizer state \"w/velocity\": not one of step, PARAMETER/m, PARAMETER/v");
    }
}
