//! Lion.

use gradus_core::kernels::backend::Rule;

use super::elementwise::Visit;
use super::{Elementwise, Options, Setting, WeightDecay};
use crate::Result;
use crate::spec::Preset;

/// How [`Lion`] moves weights.
#[derive(Clone, Debug, PartialEq)]
pub struct LionOptions {
    /// The step size.
    pub learning_rate: f64,
    /// How much the mean gradient counts beside the newest, from 0 to 1.
    pub beta_1: f64,
    /// How much of the mean gradient is kept at each step, from 0 to 1.
    pub beta_2: f64,
    /// How weights shrink by themselves.
    pub weight_decay: WeightDecay,
}

impl LionOptions {
    /// Keras' defaults.
    pub const fn keras() -> Self {
        let weight_decay = WeightDecay::none(Preset::Keras);
        Self { learning_rate: 1e-3, beta_1: 0.9, beta_2: 0.99, weight_decay }
    }

    /// Keras' defaults, since PyTorch has no Lion.
    pub const fn torch() -> Self {
        let weight_decay = WeightDecay::none(Preset::Torch);
        Self { weight_decay, ..Self::keras() }
    }
}

/// Lion (Chen et al. 2023): all steps have the same size, and the sign of the mean gradient.
pub type Lion = Elementwise<LionOptions>;

impl Options for LionOptions {
    const KIND: &'static str = "lion";

    fn preset(preset: Preset) -> Self {
        if preset == Preset::Torch { Self::torch() } else { Self::keras() }
    }

    fn learning_rate(&self) -> f64 {
        self.learning_rate
    }

    fn settings(&mut self, visit: &mut Visit<'_>) -> Result<()> {
        visit("learning_rate", Setting::Positive(&mut self.learning_rate))?;
        visit("beta_1", Setting::Share(&mut self.beta_1))?;
        visit("beta_2", Setting::Share(&mut self.beta_2))?;
        visit("weight_decay", Setting::Decay(&mut self.weight_decay))
    }

    fn states(&self) -> Vec<&'static str> {
        vec!["m"]
    }

    fn weight_decay(&self) -> WeightDecay {
        self.weight_decay
    }

    fn rule(&self, rate: f64, _: u64) -> Rule {
        Rule::Sign { beta1: self.beta_1, beta2: self.beta_2, rate }
    }
}
