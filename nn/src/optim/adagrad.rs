//! Adagrad.

use gradus_core::kernels::backend::Rule;

use super::elementwise::Visit;
use super::{Elementwise, Options, Setting, WeightDecay};
use crate::Result;
use crate::spec::Preset;

/// How [`Adagrad`] moves weights.
#[derive(Clone, Debug, PartialEq)]
pub struct AdagradOptions {
    /// The step size.
    pub learning_rate: f64,
    /// What the sum of squared gradients starts with.
    pub initial_accumulator_value: f64,
    /// Added so that a weight without gradients does not divide by 0.
    pub epsilon: f64,
    /// Whether `epsilon` is added below the root, as Keras does, or to it, as PyTorch does.
    pub epsilon_inside: bool,
    /// How weights shrink by themselves.
    pub weight_decay: WeightDecay,
}

impl AdagradOptions {
    /// Keras' defaults.
    pub const fn keras() -> Self {
        let weight_decay = WeightDecay::none(Preset::Keras);
        Self { learning_rate: 1e-3, initial_accumulator_value: 0.1, epsilon: 1e-7, epsilon_inside: true, weight_decay }
    }

    /// PyTorch's defaults.
    pub const fn torch() -> Self {
        let weight_decay = WeightDecay::none(Preset::Torch);
        Self {
            learning_rate: 0.01,
            initial_accumulator_value: 0.0,
            epsilon: 1e-10,
            epsilon_inside: false,
            weight_decay,
        }
    }
}

/// Adagrad (Duchi, Hazan and Singer 2011): each weight's step is its gradient over the root of the sum of all its squared
/// gradients, so that steps become ever shorter.
pub type Adagrad = Elementwise<AdagradOptions>;

impl Options for AdagradOptions {
    const KIND: &'static str = "adagrad";

    fn preset(preset: Preset) -> Self {
        if preset == Preset::Torch { Self::torch() } else { Self::keras() }
    }

    fn learning_rate(&self) -> f64 {
        self.learning_rate
    }

    fn settings(&mut self, visit: &mut Visit<'_>) -> Result<()> {
        visit("learning_rate", Setting::Positive(&mut self.learning_rate))?;
        visit("initial_accumulator_value", Setting::NotNegative(&mut self.initial_accumulator_value))?;
        visit("epsilon", Setting::Positive(&mut self.epsilon))?;
        visit("epsilon_inside", Setting::Flag(&mut self.epsilon_inside))?;
        visit("weight_decay", Setting::Decay(&mut self.weight_decay))
    }

    fn states(&self) -> Vec<&'static str> {
        vec!["accumulator"]
    }

    fn start(&self) -> f64 {
        self.initial_accumulator_value
    }

    fn weight_decay(&self) -> WeightDecay {
        self.weight_decay
    }

    fn rule(&self, rate: f64, _: u64) -> Rule {
        let (inside, outside) = if self.epsilon_inside { (self.epsilon, 0.0) } else { (0.0, self.epsilon) };
        let (keep, add, inner, outer) = (1.0, 1.0, rate, 1.0);
        Rule::Squares { keep, add, centered: false, momentum: 0.0, inner, outer, inside, outside }
    }
}
