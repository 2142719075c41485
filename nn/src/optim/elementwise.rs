//! What all optimizers have in common: each weight moves by a rule of its own gradients.

use std::fmt::Debug;

use gradus_core::Tensor;
use gradus_core::kernels::backend::{Adjust, Rule};
use gradus_core::ops::step::{self, Step};

use super::state::States;
use super::{Move, Optimizer};
use crate::spec::Preset;
use crate::{Error, Param, Result};

/// The numbers of an optimizer, and the rule that follows from them.
pub trait Options: Clone + Debug + PartialEq + Send + 'static {
    /// What users write for the kind of optimizer.
    const KIND: &'static str;

    /// The defaults of a framework.
    fn preset(preset: Preset) -> Self;

    /// The step size.
    fn learning_rate(&self) -> f64;

    /// Shows `visit` every number with the name that users write.
    ///
    /// # Errors
    /// Those of `visit`.
    fn settings(&mut self, visit: &mut Visit<'_>) -> Result<()>;

    /// What is remembered of each weight, by name.
    fn states(&self) -> Vec<&'static str>;

    /// What every state starts with.
    fn start(&self) -> f64 {
        0.0
    }

    /// How weights shrink by themselves.
    fn weight_decay(&self) -> WeightDecay;

    /// How a weight moves in step number `step`, which starts at 1, with step size `rate`.
    fn rule(&self, rate: f64, step: u64) -> Rule;
}

/// What [`Options::settings`] shows its numbers to.
pub type Visit<'a> = dyn FnMut(&'static str, Setting<'_>) -> Result<()> + 'a;

/// A number of an optimizer or a schedule, and which values it may have. One that is NaN, or an empty list, has no default.
#[derive(Debug)]
pub enum Setting<'a> {
    /// A finite number above 0.
    Positive(&'a mut f64),
    /// A finite number of 0 or more.
    NotNegative(&'a mut f64),
    /// A number from 0 up to but without 1.
    Share(&'a mut f64),
    /// Yes or no.
    Flag(&'a mut bool),
    /// Some numbers, each finite and not below 0.
    List(&'a mut Vec<f64>),
    /// A whole number of 0 or more.
    Count(&'a mut u64),
    /// A word.
    Text(&'a mut String),
    /// How weights shrink by themselves.
    Decay(&'a mut WeightDecay),
}

/// How weights shrink by themselves at each step, whatever their gradients say.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum WeightDecay {
    /// By this share of the step size (Loshchilov and Hutter 2019); Keras' meaning of `weight_decay`.
    Decoupled(f64),
    /// As if the gradient were larger by this times the weight; PyTorch's meaning, but for AdamW.
    Coupled(f64),
}

impl WeightDecay {
    /// None at all, in the way that is meant by a framework.
    pub const fn none(preset: Preset) -> Self {
        match preset {
            Preset::Keras => WeightDecay::Decoupled(0.0),
            Preset::Torch => WeightDecay::Coupled(0.0),
        }
    }

    /// Adds the decay to what is done to a gradient and a weight, for a step size of `rate`.
    fn add_to(self, adjust: &mut Adjust, rate: f64) {
        match self {
            WeightDecay::Decoupled(share) => adjust.keep *= 1.0 - rate * share,
            WeightDecay::Coupled(slope) => adjust.decay += slope,
        }
    }
}

/// An optimizer whose every weight moves by a rule of its own gradients: all of them.
///
/// The weights of a model move in one pass over memory, as one job for the threads. Where nothing but the gradient is
/// subtracted, and that is a product of matrices, the product is added to the weights as it is computed.
#[derive(Debug)]
pub struct Elementwise<O> {
    options: O,
    learning_rate: f64,
    states: States,
    /// Steps made so far.
    steps: u64,
}

impl<O: Options> Elementwise<O> {
    /// The optimizer before its first step.
    pub fn new(options: O) -> Self {
        let (learning_rate, states) = (options.learning_rate(), States::new(options.states()));
        Self { options, learning_rate, states, steps: 0 }
    }
}

impl<O: Options> Optimizer for Elementwise<O> {
    fn advance(&mut self, moves: Vec<Move<'_>>) -> Result<()> {
        let step = self.steps + 1;
        let decay = self.options.weight_decay();
        let mut together = Vec::with_capacity(moves.len());
        for mut each in moves {
            let rate = self.learning_rate * each.rate;
            let rule = self.options.rule(rate, step);
            decay.add_to(&mut each.adjust, rate);
            match rule {
                Rule::Descend { rate } if each.adjust == Adjust::NOTHING && each.gradient.factors().is_some() => {
                    each.param.update(|weights| Ok(weights.descend(rate, &each.gradient)?))?;
                }
                _ => together.push((each, rule)),
            }
        }
        let params: Vec<&Param> = together.iter().map(|(each, _)| each.param).collect();
        let mut states =
            self.states.of(together.iter().map(|(each, _)| (&*each.name, each.param)), self.options.start())?;
        Param::update_all(&params, |weights| {
            let steps = together.iter().zip(weights).zip(&mut states).map(|(((each, rule), weights), states)| {
                Ok(Step { weights, gradient: each.gradient.value()?, states, adjust: each.adjust, rule: *rule })
            });
            Ok(step::update(steps.collect::<Result<_>>()?)?)
        })?;
        self.steps = step;
        Ok(())
    }

    fn learning_rate(&self) -> f64 {
        self.learning_rate
    }

    fn set_learning_rate(&mut self, learning_rate: f64) {
        self.learning_rate = learning_rate;
    }

    fn state(&self) -> Vec<(String, Tensor)> {
        let mut state = self.states.save();
        state.push((STEP.into(), Tensor::scalar(self.steps as i64)));
        state
    }

    fn load_state(&mut self, mut state: Vec<(String, Tensor)>) -> Result<()> {
        let at = state.iter().position(|(name, _)| name == STEP);
        let steps = at.map(|at| state.swap_remove(at).1.item()).transpose()?;
        self.states.load(state)?;
        let Some(steps) = steps else {
            return Err(Error::Config("optimizer state: \"step\", the number of steps made, is missing".into()));
        };
        self.steps = steps as u64;
        Ok(())
    }
}

/// Under which name the number of steps is saved.
const STEP: &str = "step";
