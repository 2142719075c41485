//! Stochastic gradient descent.

use gradus_core::{Gradients, Tensor, kernels::backend};

use super::state::States;
use super::{Optimizer, pair};
use crate::Result;

/// How [`Sgd`] moves weights.
#[derive(Clone, Debug, PartialEq)]
pub struct SgdOptions {
    /// The step size.
    pub learning_rate: f64,
    /// The share of the last step that is kept, from 0 to 1.
    pub momentum: f64,
    /// Whether the gradient counts as taken ahead of the step (Nesterov 1983, in the form of Sutskever et al. 2013).
    pub nesterov: bool,
}

impl SgdOptions {
    /// Keras' defaults: learning rate 0.01, no momentum.
    pub const fn keras() -> Self {
        Self { learning_rate: 0.01, momentum: 0.0, nesterov: false }
    }

    /// PyTorch's defaults: learning rate 0.001, no momentum.
    pub const fn torch() -> Self {
        Self { learning_rate: 1e-3, ..Self::keras() }
    }
}

impl Default for SgdOptions {
    fn default() -> Self {
        Self::keras()
    }
}

/// Stochastic gradient descent: each weight goes against its gradient, with momentum if asked for.
///
/// The velocity holds steps, as in Keras. PyTorch's holds gradients, which makes a difference only at the moment in which
/// the learning rate changes.
#[derive(Debug)]
pub struct Sgd {
    options: SgdOptions,
    velocities: States<1>,
    steps: u64,
}

impl Sgd {
    /// Gradient descent that starts at rest.
    pub fn new(options: SgdOptions) -> Self {
        Self { options, velocities: States::new(["velocity"]), steps: 0 }
    }
}

impl Optimizer for Sgd {
    fn step(&mut self, params: &[crate::Param], gradients: Gradients) -> Result<()> {
        let SgdOptions { learning_rate, momentum, nesterov } = self.options;
        let how = backend::Sgd { learning_rate, momentum, nesterov };
        self.steps += 1;
        for (param, gradient) in pair(params, gradients)? {
            match momentum {
                0.0 => param.update(|value| Ok(value.descend(learning_rate, &gradient)?))?,
                _ => {
                    let [velocity] = self.velocities.of(param, self.steps)?;
                    param.update(|value| Ok(value.sgd_step(&how, gradient.value()?, Some(velocity))?))?;
                }
            }
        }
        Ok(())
    }

    fn learning_rate(&self) -> f64 {
        self.options.learning_rate
    }

    fn set_learning_rate(&mut self, learning_rate: f64) {
        self.options.learning_rate = learning_rate;
    }

    fn state(&self) -> Vec<(String, Tensor)> {
        self.velocities.save()
    }

    fn load_state(&mut self, state: Vec<(String, Tensor)>) -> Result<()> {
        self.velocities.load(state)
    }
}
