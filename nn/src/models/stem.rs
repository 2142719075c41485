//! The layers of a model in front of everything that is trained: what they make of a sample does not change.

use super::Model;
use super::graph::Start;
use crate::Result;
use crate::core::Tensor;
use crate::layers::Activation;
use crate::module::Ctx;

/// The beginning of a model up to a layer, of which nothing is trained, drawn or remembered. The rest of the model reads nothing of
/// it but the last layer's result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stem {
    /// The place of the last layer's result in the graph.
    place: usize,
    /// The last layer.
    pub layer: String,
    /// How many numbers it makes of a sample.
    pub numbers: usize,
    /// How many multiply-adds the whole stem takes for a sample.
    pub multiply_adds: usize,
}

impl Model {
    /// The stems that take products with weights to compute, the shortest first; none if the first such layer is trained.
    pub fn stems(&self) -> Vec<Stem> {
        let (mut stems, mut multiply_adds) = (Vec::new(), 0);
        for stage in self.graph.stages() {
            // A penalty on a result belongs to the loss of every step.
            if stage.trained || !stage.is_steady || stage.node.regularizer.is_some() || stage.is_last {
                break;
            }
            multiply_adds += stage.multiply_adds;
            if stage.is_closed && multiply_adds > 0 {
                let (layer, numbers) = (stage.node.name.clone(), stage.numbers);
                stems.push(Stem { place: stage.place, layer, numbers, multiply_adds });
            }
        }
        stems
    }

    /// What the stem makes of a batch.
    pub(crate) fn features(&self, stem: &Stem, x: &Tensor, ctx: &Ctx) -> Result<Tensor> {
        self.graph.value_at(stem.place, &[x], ctx)
    }

    /// The shape of what the stem makes of a sample.
    pub(crate) fn features_shape(&self, stem: &Stem) -> &[usize] {
        &self.graph.nodes()[stem.place].shape
    }

    /// [`Model::forward_penalized`], where `x` is what the stem made of a batch, if one is given.
    pub(crate) fn forward_behind(
        &self,
        stem: Option<&Stem>,
        x: &Tensor,
        ctx: &Ctx,
    ) -> Result<(Tensor, Activation, Option<Tensor>)> {
        match stem {
            Some(stem) => self.graph.penalized(Start::Behind(stem.place, x), ctx),
            None => self.forward_penalized(x, ctx),
        }
    }

    /// Shows the results of all layers for a batch to `see`, or of those behind the stem, if one is given.
    pub(crate) fn see_behind(
        &self,
        stem: Option<&Stem>,
        x: &Tensor,
        ctx: &Ctx,
        see: impl FnMut(&str, &Tensor) -> Result<()>,
    ) -> Result<()> {
        match stem {
            Some(stem) => self.graph.run_from(Start::Behind(stem.place, x), ctx, see)?,
            None => self.graph.run(&[x], ctx, see)?,
        };
        Ok(())
    }
}
