//! Stochastic gradient descent.

use gradus_core::kernels::backend::Rule;

use super::elementwise::Visit;
use super::{Elementwise, Options, Setting, WeightDecay};
use crate::Result;
use crate::spec::Preset;

/// How [`Sgd`] moves weights.
#[derive(Clone, Debug, PartialEq)]
pub struct SgdOptions {
    /// The step size.
    pub learning_rate: f64,
    /// The share of the last step that is kept, from 0 to 1.
    pub momentum: f64,
    /// Whether the gradient counts as taken ahead of the step (Nesterov 1983, in the form of Sutskever et al. 2013).
    pub nesterov: bool,
    /// Whether the velocity holds steps, as in Keras, or gradients, as in PyTorch: it matters where the step size changes.
    pub rate_inside: bool,
    /// How weights shrink by themselves.
    pub weight_decay: WeightDecay,
}

impl SgdOptions {
    /// Keras' defaults: learning rate 0.01, no momentum.
    pub const fn keras() -> Self {
        let weight_decay = WeightDecay::none(Preset::Keras);
        Self { learning_rate: 0.01, momentum: 0.0, nesterov: false, rate_inside: true, weight_decay }
    }

    /// PyTorch's defaults: learning rate 0.001, no momentum.
    pub const fn torch() -> Self {
        let weight_decay = WeightDecay::none(Preset::Torch);
        Self { learning_rate: 1e-3, rate_inside: false, weight_decay, ..Self::keras() }
    }
}

/// Stochastic gradient descent (Robbins and Monro 1951): each weight goes against its gradient, with momentum if asked for
/// (Polyak 1964).
pub type Sgd = Elementwise<SgdOptions>;

impl Options for SgdOptions {
    const KIND: &'static str = "sgd";

    fn preset(preset: Preset) -> Self {
        if preset == Preset::Torch { Self::torch() } else { Self::keras() }
    }

    fn learning_rate(&self) -> f64 {
        self.learning_rate
    }

    fn settings(&mut self, visit: &mut Visit<'_>) -> Result<()> {
        visit("learning_rate", Setting::Positive(&mut self.learning_rate))?;
        visit("momentum", Setting::Share(&mut self.momentum))?;
        visit("nesterov", Setting::Flag(&mut self.nesterov))?;
        visit("rate_inside", Setting::Flag(&mut self.rate_inside))?;
        visit("weight_decay", Setting::Decay(&mut self.weight_decay))
    }

    fn states(&self) -> Vec<&'static str> {
        if self.momentum == 0.0 { Vec::new() } else { vec!["velocity"] }
    }

    fn weight_decay(&self) -> WeightDecay {
        self.weight_decay
    }

    fn rule(&self, rate: f64, _: u64) -> Rule {
        if self.momentum == 0.0 {
            return Rule::Descend { rate };
        }
        let (inner, outer) = if self.rate_inside { (rate, 1.0) } else { (1.0, rate) };
        Rule::Momentum { momentum: self.momentum, inner, outer, nesterov: self.nesterov }
    }
}
