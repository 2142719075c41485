//! Adam (Kingma and Ba 2015).

use gradus_core::{Gradients, Tensor, kernels::backend};

use super::state::States;
use super::{Optimizer, pair};
use crate::{Error, Param, Result};

/// How [`Adam`] moves weights.
#[derive(Clone, Debug, PartialEq)]
pub struct AdamOptions {
    /// The step size.
    pub learning_rate: f64,
    /// How much of the mean gradient is kept at each step, from 0 to 1.
    pub beta_1: f64,
    /// How much of the mean squared gradient is kept at each step, from 0 to 1.
    pub beta_2: f64,
    /// Added to the root of the mean squared gradient, so that a weight without gradients does not divide by 0.
    pub epsilon: f64,
    /// Whether `epsilon` is added before the root's bias is corrected, as Keras does, or after, as PyTorch does.
    pub epsilon_inside: bool,
}

impl AdamOptions {
    /// Keras' defaults.
    pub const fn keras() -> Self {
        Self { learning_rate: 1e-3, beta_1: 0.9, beta_2: 0.999, epsilon: 1e-7, epsilon_inside: true }
    }

    /// PyTorch's defaults.
    pub const fn torch() -> Self {
        Self { epsilon: 1e-8, epsilon_inside: false, ..Self::keras() }
    }
}

impl Default for AdamOptions {
    fn default() -> Self {
        Self::keras()
    }
}

/// Adam: each weight's step is its mean gradient over the root of its mean squared gradient.
#[derive(Debug)]
pub struct Adam {
    options: AdamOptions,
    moments: States<2>,
    steps: u64,
}

impl Adam {
    /// Adam before its first step.
    pub fn new(options: AdamOptions) -> Self {
        Self { options, moments: States::new(["m", "v"]), steps: 0 }
    }
}

impl Optimizer for Adam {
    fn step(&mut self, params: &[Param], gradients: Gradients) -> Result<()> {
        let AdamOptions { learning_rate, beta_1: beta1, beta_2: beta2, epsilon, epsilon_inside } = self.options;
        let pairs = pair(params, gradients)?;
        self.steps += 1;
        let how = backend::Adam { learning_rate, beta1, beta2, epsilon, epsilon_inside, step: self.steps };
        for (param, gradient) in pairs {
            let [m, v] = self.moments.of(param, self.steps)?;
            param.update(|value| Ok(value.adam_step(&how, gradient.value()?, m, v)?))?;
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
        let mut state = self.moments.save();
        state.push(("step".into(), Tensor::scalar(self.steps as i64)));
        state
    }

    fn load_state(&mut self, mut state: Vec<(String, Tensor)>) -> Result<()> {
        let at = state.iter().position(|(name, _)| name == "step");
        let steps = at.map(|at| state.swap_remove(at).1.item()).transpose()?;
        self.moments.load(state)?;
        let Some(steps) = steps else {
            return Err(Error::Config("optimizer state: \"step\", the number of steps made, is missing".into()));
        };
        self.steps = steps as u64;
        Ok(())
    }
}
