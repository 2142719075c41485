//! RMSprop.

use gradus_core::kernels::backend::Rule;

use super::elementwise::Visit;
use super::{Elementwise, Options, Setting, WeightDecay};
use crate::Result;
use crate::spec::Preset;

/// How [`RmsProp`] moves weights.
#[derive(Clone, Debug, PartialEq)]
pub struct RmsPropOptions {
    /// The step size.
    pub learning_rate: f64,
    /// How much of the mean squared gradient is kept at each step, from 0 to 1.
    pub rho: f64,
    /// The share of the last step that is kept, from 0 to 1.
    pub momentum: f64,
    /// Added so that a weight without gradients does not divide by 0.
    pub epsilon: f64,
    /// Whether `epsilon` is added below the root, as Keras does, or to it, as PyTorch does.
    pub epsilon_inside: bool,
    /// Whether steps are divided by the deviation of the gradient instead of its mean size (Graves 2013).
    pub centered: bool,
    /// Whether momentum keeps steps, as in Keras, or what comes before the step size, as in PyTorch.
    pub rate_inside: bool,
    /// How weights shrink by themselves.
    pub weight_decay: WeightDecay,
}

impl RmsPropOptions {
    /// Keras' defaults.
    pub const fn keras() -> Self {
        let weight_decay = WeightDecay::none(Preset::Keras);
        Self {
            learning_rate: 1e-3,
            rho: 0.9,
            momentum: 0.0,
            epsilon: 1e-7,
            epsilon_inside: true,
            centered: false,
            rate_inside: true,
            weight_decay,
        }
    }

    /// PyTorch's defaults.
    pub const fn torch() -> Self {
        let weight_decay = WeightDecay::none(Preset::Torch);
        Self {
            learning_rate: 0.01,
            rho: 0.99,
            epsilon: 1e-8,
            epsilon_inside: false,
            rate_inside: false,
            weight_decay,
            ..Self::keras()
        }
    }
}

/// RMSprop (Tieleman and Hinton 2012, lecture 6.5): each weight's step is its gradient over the root of its mean squared
/// gradient.
pub type RmsProp = Elementwise<RmsPropOptions>;

impl Options for RmsPropOptions {
    const KIND: &'static str = "rmsprop";

    fn preset(preset: Preset) -> Self {
        if preset == Preset::Torch { Self::torch() } else { Self::keras() }
    }

    fn learning_rate(&self) -> f64 {
        self.learning_rate
    }

    fn settings(&mut self, visit: &mut Visit<'_>) -> Result<()> {
        visit("learning_rate", Setting::Positive(&mut self.learning_rate))?;
        visit("rho", Setting::Share(&mut self.rho))?;
        visit("momentum", Setting::Share(&mut self.momentum))?;
        visit("epsilon", Setting::Positive(&mut self.epsilon))?;
        visit("epsilon_inside", Setting::Flag(&mut self.epsilon_inside))?;
        visit("centered", Setting::Flag(&mut self.centered))?;
        visit("rate_inside", Setting::Flag(&mut self.rate_inside))?;
        visit("weight_decay", Setting::Decay(&mut self.weight_decay))
    }

    fn states(&self) -> Vec<&'static str> {
        let mut names = vec!["v"];
        names.extend(self.centered.then_some("mean"));
        names.extend((self.momentum != 0.0).then_some("velocity"));
        names
    }

    fn weight_decay(&self) -> WeightDecay {
        self.weight_decay
    }

    fn rule(&self, rate: f64, _: u64) -> Rule {
        let RmsPropOptions { rho, momentum, epsilon, centered, .. } = *self;
        let (inner, outer) = if self.rate_inside { (rate, 1.0) } else { (1.0, rate) };
        let (inside, outside) = if self.epsilon_inside { (epsilon, 0.0) } else { (0.0, epsilon) };
        Rule::Squares { keep: rho, add: 1.0 - rho, centered, momentum, inner, outer, inside, outside }
    }
}
