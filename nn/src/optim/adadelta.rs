//! Adadelta.

use gradus_core::kernels::backend::Rule;

use super::elementwise::Visit;
use super::{Elementwise, Options, Setting, WeightDecay};
use crate::Result;
use crate::spec::Preset;

/// How [`Adadelta`] moves weights.
#[derive(Clone, Debug, PartialEq)]
pub struct AdadeltaOptions {
    /// The step size.
    pub learning_rate: f64,
    /// How much of the mean squared gradients and steps is kept at each step, from 0 to 1.
    pub rho: f64,
    /// Added below both roots, so that the first step is not 0.
    pub epsilon: f64,
    /// How weights shrink by themselves.
    pub weight_decay: WeightDecay,
}

impl AdadeltaOptions {
    /// Keras' defaults.
    pub const fn keras() -> Self {
        let weight_decay = WeightDecay::none(Preset::Keras);
        Self { learning_rate: 1e-3, rho: 0.95, epsilon: 1e-7, weight_decay }
    }

    /// PyTorch's defaults.
    pub const fn torch() -> Self {
        let weight_decay = WeightDecay::none(Preset::Torch);
        Self { learning_rate: 1.0, rho: 0.9, epsilon: 1e-6, weight_decay }
    }
}

/// Adadelta (Zeiler 2012): each weight's step is its gradient times the mean size of its steps over that of its gradients.
///
/// The paper has no step size, which is a learning rate of 1.
pub type Adadelta = Elementwise<AdadeltaOptions>;

impl Options for AdadeltaOptions {
    const KIND: &'static str = "adadelta";

    fn preset(preset: Preset) -> Self {
        if preset == Preset::Torch { Self::torch() } else { Self::keras() }
    }

    fn learning_rate(&self) -> f64 {
        self.learning_rate
    }

    fn settings(&mut self, visit: &mut Visit<'_>) -> Result<()> {
        visit("learning_rate", Setting::Positive(&mut self.learning_rate))?;
        visit("rho", Setting::Share(&mut self.rho))?;
        visit("epsilon", Setting::Positive(&mut self.epsilon))?;
        visit("weight_decay", Setting::Decay(&mut self.weight_decay))
    }

    fn states(&self) -> Vec<&'static str> {
        vec!["v", "steps"]
    }

    fn weight_decay(&self) -> WeightDecay {
        self.weight_decay
    }

    fn rule(&self, rate: f64, _: u64) -> Rule {
        Rule::Deltas { rho: self.rho, rate, epsilon: self.epsilon }
    }
}
