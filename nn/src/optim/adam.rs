//! Adam and AdamW.

use gradus_core::kernels::backend::Rule;

use super::elementwise::Visit;
use super::{Elementwise, Options, Setting, WeightDecay};
use crate::Result;
use crate::spec::Preset;

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
    /// Whether steps are divided by the largest mean square so far (AMSGrad, Reddi et al. 2018).
    pub amsgrad: bool,
    /// How weights shrink by themselves.
    pub weight_decay: WeightDecay,
}

impl AdamOptions {
    /// Keras' defaults.
    pub const fn keras() -> Self {
        let weight_decay = WeightDecay::none(Preset::Keras);
        let (learning_rate, beta_1, beta_2, epsilon) = (1e-3, 0.9, 0.999, 1e-7);
        Self { learning_rate, beta_1, beta_2, epsilon, epsilon_inside: true, amsgrad: false, weight_decay }
    }

    /// PyTorch's defaults.
    pub const fn torch() -> Self {
        let weight_decay = WeightDecay::none(Preset::Torch);
        Self { epsilon: 1e-8, epsilon_inside: false, weight_decay, ..Self::keras() }
    }
}

/// Adam (Kingma and Ba 2015): each weight's step is its mean gradient over the root of its mean squared gradient.
pub type Adam = Elementwise<AdamOptions>;

impl Options for AdamOptions {
    const KIND: &'static str = "adam";

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
        visit("amsgrad", Setting::Flag(&mut self.amsgrad))?;
        visit("weight_decay", Setting::Decay(&mut self.weight_decay))
    }

    fn states(&self) -> Vec<&'static str> {
        if self.amsgrad { vec!["m", "v", "largest_v"] } else { vec!["m", "v"] }
    }

    fn weight_decay(&self) -> WeightDecay {
        self.weight_decay
    }

    fn rule(&self, rate: f64, step: u64) -> Rule {
        let AdamOptions { beta_1, beta_2, epsilon, .. } = *self;
        let mean = rate / (1.0 - beta_1.powf(step as f64));
        let root = (1.0 - beta_2.powf(step as f64)).sqrt();
        // Dividing the root by its correction is the same as multiplying the step with it, but for epsilon.
        let (rate_m, root) = if self.epsilon_inside { (mean * root, 1.0) } else { (mean, 1.0 / root) };
        Rule::Moments { beta1: beta_1, beta2: beta_2, rate_m, rate_g: 0.0, root, epsilon, largest: self.amsgrad }
    }
}

/// How [`AdamW`] moves weights: as [`Adam`] does, with a weight decay by default.
#[derive(Clone, Debug, PartialEq)]
pub struct AdamWOptions(pub AdamOptions);

impl AdamWOptions {
    /// Keras' defaults: a decay of 0.004.
    pub const fn keras() -> Self {
        Self(AdamOptions { weight_decay: WeightDecay::Decoupled(0.004), ..AdamOptions::keras() })
    }

    /// PyTorch's defaults: a decay of 0.01.
    pub const fn torch() -> Self {
        Self(AdamOptions { weight_decay: WeightDecay::Decoupled(0.01), ..AdamOptions::torch() })
    }
}

/// AdamW (Loshchilov and Hutter 2019): Adam with weights that shrink by themselves, not by way of their gradients.
pub type AdamW = Elementwise<AdamWOptions>;

impl Options for AdamWOptions {
    const KIND: &'static str = "adamw";

    fn preset(preset: Preset) -> Self {
        if preset == Preset::Torch { Self::torch() } else { Self::keras() }
    }

    fn learning_rate(&self) -> f64 {
        self.0.learning_rate
    }

    fn settings(&mut self, visit: &mut Visit<'_>) -> Result<()> {
        self.0.settings(visit)
    }

    fn states(&self) -> Vec<&'static str> {
        self.0.states()
    }

    fn weight_decay(&self) -> WeightDecay {
        self.0.weight_decay
    }

    fn rule(&self, rate: f64, step: u64) -> Rule {
        self.0.rule(rate, step)
    }
}
