//! Adamax.

use gradus_core::kernels::backend::Rule;

use super::elementwise::Visit;
use super::{Elementwise, Options, Setting, WeightDecay};
use crate::Result;
use crate::spec::Preset;

/// How [`Adamax`] moves weights.
#[derive(Clone, Debug, PartialEq)]
pub struct AdamaxOptions {
    /// The step size.
    pub learning_rate: f64,
    /// How much of the mean gradient is kept at each step, from 0 to 1.
    pub beta_1: f64,
    /// How much of the largest gradient is kept at each step, from 0 to 1.
    pub beta_2: f64,
    /// Added to the largest gradient, so that a weight without gradients does not divide by 0.
    pub epsilon: f64,
    /// Whether `epsilon` is added to each gradient before the largest is taken, as PyTorch does, or after, as Keras does.
    pub epsilon_inside: bool,
    /// How weights shrink by themselves.
    pub weight_decay: WeightDecay,
}

impl AdamaxOptions {
    /// Keras' defaults.
    pub const fn keras() -> Self {
        let weight_decay = WeightDecay::none(Preset::Keras);
        Self { learning_rate: 1e-3, beta_1: 0.9, beta_2: 0.999, epsilon: 1e-7, epsilon_inside: false, weight_decay }
    }

    /// PyTorch's defaults.
    pub const fn torch() -> Self {
        let weight_decay = WeightDecay::none(Preset::Torch);
        Self { learning_rate: 2e-3, epsilon: 1e-8, epsilon_inside: true, weight_decay, ..Self::keras() }
    }
}

/// Adamax (Kingma and Ba 2015, section 7): Adam whose steps are divided by the largest gradient, which fades.
pub type Adamax = Elementwise<AdamaxOptions>;

impl Options for AdamaxOptions {
    const KIND: &'static str = "adamax";

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
        visit("epsilon", Setting::Positive(&mut self.epsilon))?;
        visit("epsilon_inside", Setting::Flag(&mut self.epsilon_inside))?;
        visit("weight_decay", Setting::Decay(&mut self.weight_decay))
    }

    fn states(&self) -> Vec<&'static str> {
        vec!["m", "u"]
    }

    fn weight_decay(&self) -> WeightDecay {
        self.weight_decay
    }

    fn rule(&self, rate: f64, step: u64) -> Rule {
        let AdamaxOptions { beta_1, beta_2, epsilon, .. } = *self;
        let (inside, outside) = if self.epsilon_inside { (epsilon, 0.0) } else { (0.0, epsilon) };
        let rate = rate / (1.0 - beta_1.powf(step as f64));
        Rule::Infinity { beta1: beta_1, beta2: beta_2, rate, inside, outside }
    }
}
