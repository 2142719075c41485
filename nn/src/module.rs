//! What a layer is, and what it is told about the pass it takes part in.

use std::fmt::Debug;

use gradus_core::kernels::Unary;
use gradus_core::{RandomKey, Tensor};

use crate::layers::{Activation, BatchNorm};
use crate::{Param, Result};

/// A function of a tensor with parameters: a layer, or a whole model.
pub trait Module: Debug + Send + Sync {
    /// Computes the result for a batch `x`, whose first dimension counts the samples.
    fn forward(&self, x: &Tensor, ctx: &Ctx) -> Result<Tensor>;

    /// [`Module::forward`] that may leave off a last softmax or sigmoid, and says which.
    ///
    /// Losses take the two apart: computed together with the loss, both lose no digits and cost less.
    fn forward_raw(&self, x: &Tensor, ctx: &Ctx) -> Result<(Tensor, Activation)> {
        Ok((self.forward(x, ctx)?, Activation::Linear))
    }

    /// [`Module::forward`] put through `function`, if the layer needs fewer passes for both together than one after the other.
    fn forward_activated(&self, x: &Tensor, ctx: &Ctx, function: Unary) -> Result<Option<Tensor>> {
        _ = (x, ctx, function);
        Ok(None)
    }

    /// [`Module::forward`] without the [non-decreasing](Unary::is_non_decreasing) function that the layer ends in, and that function, if
    /// there is one: behind a layer that [takes largest elements](Module::takes_largest) fewer numbers are put through it.
    fn forward_unfinished(&self, x: &Tensor, ctx: &Ctx) -> Result<Option<(Tensor, Unary)>> {
        _ = (x, ctx);
        Ok(None)
    }

    /// Whether all that the layer does is to take largest elements, which a non-decreasing function does not change the places of.
    fn takes_largest(&self) -> bool {
        false
    }

    /// [`Module::forward`] put through `next` and `function`, if `next` [scales](Module::as_scale) and the layer can scale its
    /// weights instead.
    fn forward_scaled(
        &self,
        x: &Tensor,
        ctx: &Ctx,
        next: &dyn Module,
        function: Option<Unary>,
    ) -> Result<Option<Tensor>> {
        _ = (x, ctx, next, function);
        Ok(None)
    }

    /// If all that the layer does in this pass is to multiply the channels of the last dimension with a number each, and to add
    /// another: these.
    fn as_scale(&self, ctx: &Ctx) -> Result<Option<[Tensor; 2]>> {
        _ = ctx;
        Ok(None)
    }

    /// The function of one number that the layer is, if it is nothing else.
    fn as_function(&self) -> Option<Unary> {
        None
    }

    /// The batch norm that the layer is, if it is one.
    fn as_batch_norm(&self) -> Option<&BatchNorm> {
        None
    }

    /// Shows `visit` each parameter with its name inside the module: `kernel`, `bias`, … Without parameters, nothing.
    fn params(&self, visit: &mut dyn FnMut(&str, &Param)) {
        _ = visit;
    }

    /// Learns before the training what the layer must know of the data; `walk` shows it what will be its inputs. Most need nothing,
    /// and do not look.
    fn adapt(&self, walk: &mut Walk<'_>) -> Result<()> {
        _ = walk;
        Ok(())
    }

    /// How many multiply-adds the products with weights take for one sample of shape `input`; other work counts as nothing.
    fn multiply_adds(&self, input: &[usize]) -> usize {
        _ = input;
        0
    }

    /// Whether the layer makes the same of a sample in every pass while its parameters stay: nothing is drawn, nothing is remembered,
    /// and no other sample of the batch is looked at. Only then may a training keep the result instead of computing it again.
    fn is_steady(&self) -> bool {
        false
    }

    /// The shape of one sample of the result for samples of shape `input`; an error if the module cannot take them.
    fn output_shape(&self, input: &[usize]) -> Result<Vec<usize>>;
}

/// Shows a layer its inputs, batch by batch, once through all data each time it is called.
pub type Walk<'a> = dyn FnMut(&mut dyn FnMut(&Tensor) -> Result<()>) -> Result<()> + 'a;

/// What a module must know about the pass: dropout and batch norm never guess.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ctx {
    /// Whether this is a step of training, not an evaluation.
    pub training: bool,
    /// Where random numbers come from; another key for every step and layer.
    pub key: RandomKey,
}

impl Ctx {
    /// A step of training.
    pub const fn train(key: RandomKey) -> Self {
        Self { training: true, key }
    }

    /// Evaluation or prediction: nothing is random, and nothing is remembered.
    pub const fn eval() -> Self {
        Self { training: false, key: RandomKey::new(0) }
    }

    /// The same pass with random numbers of its own for layer number `index`.
    pub fn for_layer(self, index: u64) -> Self {
        Self { key: self.key.numbered(index), ..self }
    }
}
