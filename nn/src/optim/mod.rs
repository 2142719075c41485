//! Optimizers: how weights follow their gradients.
//!
//! An [`Update`] is what training calls: an optimizer with its schedule, clipping and all else that happens around a step.
//! Each optimizer is an [`Elementwise`] around its numbers ([`Options`]): how a weight moves depends on its own gradients
//! alone, so all weights of a model move in one pass over memory.

mod adadelta;
mod adagrad;
mod adam;
mod adamax;
mod constraint;
mod elementwise;
mod lion;
pub(crate) mod memory;
mod nadam;
mod regularizer;
mod rmsprop;
mod schedule;
mod sgd;
mod state;
#[cfg(test)]
mod tests;
mod update;

use std::collections::HashSet;
use std::fmt::Debug;

use gradus_core::kernels::backend::Adjust;
use gradus_core::{Gradient, Gradients, Tensor};

use crate::{Error, Param, Result};

pub use adadelta::{Adadelta, AdadeltaOptions};
pub use adagrad::{Adagrad, AdagradOptions};
pub use adam::{Adam, AdamOptions, AdamW, AdamWOptions};
pub use adamax::{Adamax, AdamaxOptions};
pub use constraint::Constraint;
pub use elementwise::{Elementwise, Options, Setting, Visit, WeightDecay};
pub use lion::{Lion, LionOptions};
pub use nadam::{Nadam, NadamOptions};
pub use regularizer::Regularizer;
pub use rmsprop::{RmsProp, RmsPropOptions};
pub use schedule::{Plateau, Schedule, Warmup};
pub use sgd::{Sgd, SgdOptions};
pub use update::{Around, Average, Clip, Group, Update};

/// A rule that moves weights, with what it remembers about them.
pub trait Optimizer: Debug + Send {
    /// Moves every trainable parameter by its gradient. Names must differ: what is remembered goes by name.
    ///
    /// A trainable parameter without a gradient is an error that names it, and then nothing has moved.
    fn step(&mut self, params: &[Param], gradients: Gradients) -> Result<()> {
        self.advance(pair(params, gradients)?)
    }

    /// Moves parameters of different names.
    fn advance(&mut self, moves: Vec<Move<'_>>) -> Result<()>;

    /// The current step size.
    fn learning_rate(&self) -> f64;

    /// Changes the step size from the next step on.
    fn set_learning_rate(&mut self, learning_rate: f64);

    /// What is remembered, under names such as `dense.kernel/velocity`: for saving.
    fn state(&self) -> Vec<(String, Tensor)>;

    /// Goes on from what [`Optimizer::state`] gave.
    fn load_state(&mut self, state: Vec<(String, Tensor)>) -> Result<()>;
}

/// A parameter that is about to move.
#[derive(Debug)]
pub struct Move<'a> {
    /// The parameter.
    pub param: &'a Param,
    /// Its name, which no other has.
    pub name: String,
    /// Its gradient.
    pub gradient: Gradient,
    /// What is done to the gradient first.
    pub adjust: Adjust,
    /// The parameter's step size as a multiple of the optimizer's.
    pub rate: f64,
}

impl Move<'_> {
    /// The gradient as [`Adjust`] says, but for its limit and the weights' decay.
    pub fn adjusted(&self) -> Result<Tensor> {
        let Adjust { l1, l2, scale, .. } = self.adjust;
        let (mut gradient, weights) = (self.gradient.value()?.clone(), self.param.value().detach());
        if l1 != 0.0 {
            gradient = gradient.add(&weights.sign()?.mul_scalar(l1)?)?;
        }
        if l2 != 0.0 {
            gradient = gradient.add(&weights.mul_scalar(l2)?)?;
        }
        Ok(if scale == 1.0 { gradient } else { gradient.mul_scalar(scale)? })
    }

    /// The sum of the squares of [`Move::adjusted`].
    fn squares(&self) -> Result<f64> {
        Ok(self.adjusted()?.square()?.sum(&[])?.item()?)
    }
}

/// The trainable parameters with their gradients, which leave `gradients`.
fn pair(params: &[Param], mut gradients: Gradients) -> Result<Vec<Move<'_>>> {
    let mut moves: Vec<Move<'_>> = Vec::with_capacity(params.len());
    for param in params.iter().filter(|param| param.trainable()) {
        let name = param.name();
        let Some(gradient) = gradients.take(&param.value()) else {
            let text = format!(
                "no gradient for parameter {name:?}: the loss was not computed from it in this step; use it, or freeze it"
            );
            return Err(Error::Config(text));
        };
        moves.push(Move { param, name, gradient, adjust: Adjust::NOTHING, rate: 1.0 });
    }
    let mut names = HashSet::with_capacity(moves.len());
    if let Some(Move { name, .. }) = moves.iter().find(|each| !names.insert(each.name.as_str())) {
        let text = format!("two parameters are called {name:?}; an optimizer tells them apart by name");
        return Err(Error::Config(text));
    }
    Ok(moves)
}
