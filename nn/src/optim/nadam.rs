//! Nadam.

use gradus_core::kernels::backend::Rule;

use super::elementwise::Visit;
use super::{Elementwise, Options, Setting, WeightDecay};
use crate::Result;
use crate::spec::Preset;

/// How [`Nadam`] moves weights.
#[derive(Clone, Debug, PartialEq)]
pub struct NadamOptions {
    /// The step size.
    pub learning_rate: f64,
    /// How much of the mean gradient is kept at each step, from 0 to 1.
    pub beta_1: f64,
    /// How much of the mean squared gradient is kept at each step, from 0 to 1.
    pub beta_2: f64,
    /// Added to the root of the mean squared gradient.
    pub epsilon: f64,
    /// How fast the momentum grows to `beta_1`: in step t it is `beta_1 (1 - 0.96^(t momentum_decay) / 2)`.
    pub momentum_decay: f64,
    /// How weights shrink by themselves.
    pub weight_decay: WeightDecay,
}

impl NadamOptions {
    /// Keras' defaults.
    pub const fn keras() -> Self {
        let weight_decay = WeightDecay::none(Preset::Keras);
        Self { learning_rate: 1e-3, beta_1: 0.9, beta_2: 0.999, epsilon: 1e-7, momentum_decay: 1.0, weight_decay }
    }

    /// PyTorch's defaults.
    pub const fn torch() -> Self {
        let weight_decay = WeightDecay::none(Preset::Torch);
        Self { learning_rate: 2e-3, epsilon: 1e-8, momentum_decay: 4e-3, weight_decay, ..Self::keras() }
    }
}

/// Nadam (Dozat 2016): Adam with Nesterov's momentum.
///
/// Keras lets the momentum grow with 0.96^t, and PyTorch with 0.96^(0.004 t) as in the paper.
pub type Nadam = Elementwise<NadamOptions>;

impl Options for NadamOptions {
    const KIND: &'static str = "nadam";

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
        visit("momentum_decay", Setting::NotNegative(&mut self.momentum_decay))?;
        visit("weight_decay", Setting::Decay(&mut self.weight_decay))
    }

    fn states(&self) -> Vec<&'static str> {
        vec!["m", "v"]
    }

    fn weight_decay(&self) -> WeightDecay {
        self.weight_decay
    }

    fn rule(&self, rate: f64, step: u64) -> Rule {
        let NadamOptions { beta_1, beta_2, epsilon, momentum_decay, .. } = *self;
        let root = 1.0 / (1.0 - beta_2.powf(step as f64)).sqrt();
        let fade = 0.96f64.powf(momentum_decay);
        let momentum = |faded: f64| beta_1 * (1.0 - 0.5 * faded);
        // The product of all momenta so far soon differs too little from 0 to matter beside 1.
        let (mut faded, mut product) = (1.0, 1.0);
        for _ in 0..step {
            faded *= fade;
            product *= momentum(faded);
            if product < f64::EPSILON / 4.0 {
                break;
            }
        }
        let at = |step: u64| momentum(fade.powf(step as f64));
        let (now, next) = (at(step), at(step + 1));
        let (rate_m, rate_g) = (rate * next / (1.0 - product * next), rate * (1.0 - now) / (1.0 - product));
        Rule::Moments { beta1: beta_1, beta2: beta_2, rate_m, rate_g, root, epsilon, largest: false }
    }
}
