//! The first layers of a graph, through which a batch goes in parts.
//!
//! First layers make large values with few weights: what a layer makes of a whole batch has left the caches before the next one
//! reads it. A part of the batch stays there, and each thread takes parts of its own through all of these layers, without waiting
//! for another one in between. Where weights outweigh values it is the other way round, and the whole batch goes through each
//! layer at once.

use super::Graph;
use super::graph::Start;
use crate::Result;
use crate::core::grad::is_recording;
use crate::core::kernels::cpu::{cache, threads};
use crate::core::{Device, Tensor, no_grad};
use crate::module::Ctx;

/// Where such layers end, and how much they have to keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct First {
    /// The place of the last layer's result, of which no other layer behind reads what was before.
    place: usize,
    /// The numbers of that result, for a sample.
    numbers: usize,
    /// The numbers of the largest value on the way, for a sample.
    largest: usize,
}

impl Graph {
    /// What first layers in front of the place `end` make of a batch, computed in parts, and the place of that value. `None` where it
    /// does not pay, or a layer looks at the batch as a whole, or gradients are wanted.
    pub(super) fn first_in_parts(&self, inputs: &[&Tensor], end: usize, ctx: &Ctx) -> Result<Option<(usize, Tensor)>> {
        let &[x] = inputs else { return Ok(None) };
        if x.device() != Device::CPU || (is_recording() && x.is_tracked()) {
            return Ok(None);
        }
        let (batch, l2) = (x.shape()[0], cache::caches().l2 / x.dtype().size());
        let Some(first) = self.first(end, l2 / 4, ctx) else { return Ok(None) };
        let Some(size) = part(batch, l2 / first.largest.max(1)) else { return Ok(None) };
        let parts = threads::map_tasks(batch / size, &|i| -> Result<Tensor> {
            let part = x.slice(0, i * size, (i + 1) * size)?;
            Ok(no_grad(|| self.pass(Start::Inputs(&[&part]), first.place + 1, ctx, None))?.0)
        });
        let parts = parts.into_iter().collect::<Result<Vec<_>>>()?;
        Ok(Some((first.place, Tensor::cat(&parts.iter().collect::<Vec<_>>(), 0)?)))
    }

    /// The first layers with no more than so many weights, up to the smallest value that they make.
    fn first(&self, end: usize, most: usize, ctx: &Ctx) -> Option<First> {
        let (mut weights, mut largest, mut works) = (0, 0, false);
        let mut best: Option<First> = None;
        // The last layer may leave its function to the loss.
        for stage in self.stages().take(end).take_while(|stage| !stage.is_last) {
            let multiplies = stage.multiply_adds > 0;
            (weights, works) = (weights + stage.weights, works | multiplies);
            let learns = stage.trained && is_recording();
            let varies = ctx.training && !stage.is_steady;
            // A norm or a function belongs to the layer before it, whatever it weighs.
            if learns || varies || (multiplies && weights > most) {
                break;
            }
            largest = largest.max(stage.numbers);
            if works && stage.is_closed && best.is_none_or(|best| stage.numbers <= best.numbers) {
                best = Some(First { place: stage.place, numbers: stage.numbers, largest });
            }
        }
        best
    }
}

/// The size of a part: the largest that divides the batch, so that it does not matter where in the batch a sample stands, and is at most
/// so many samples. `None` if that is all of it.
fn part(batch: usize, most: usize) -> Option<usize> {
    let size = (1..=most.clamp(1, batch.max(1))).rev().find(|size| batch.is_multiple_of(*size))?;
    (size < batch).then_some(size)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::{DType, Distribution, RandomKey};
    use crate::models::Model;
    use crate::spec::Recipe;

    /// Two convolutions, whose weights are few, a norm after each, and a dense layer, whose weights are many.
    const TEXT: &str = r#"
[data]
source = "x"
[[layer]]
type = "conv2d"
filters = 32
kernel_size = 3
padding = "same"
[[layer]]
type = "batch_norm"
[[layer]]
type = "activation"
function = "relu"
[[layer]]
type = "conv2d"
filters = 8
kernel_size = 3
strides = 2
[[layer]]
type = "batch_norm"
[[layer]]
type = "flatten"
[[layer]]
type = "dense"
units = 1000
[[layer]]
type = "dense"
units = 10
[optimizer]
kind = "sgd"
learning_rate = 0.1
[train]
loss = "mse"
"#;

    fn model(trained: bool) -> Model {
        let recipe = Recipe::parse(TEXT, "r.toml").unwrap();
        let model = Model::build(&recipe, &[64, 64, 3]).unwrap();
        model.train_only(&[trained; 8]);
        model
    }

    #[test]
    fn parts_give_what_the_whole_batch_gives() {
        let (model, uniform) = (model(false), Distribution::Uniform { low: -1.0, high: 1.0 });
        let x = Tensor::random(&[12, 64, 64, 3], uniform, RandomKey::new(1), DType::F32, Device::CPU).unwrap();
        let (graph, ctx) = (&model.graph, Ctx::eval());
        let whole = graph.pass(Start::Inputs(&[&x]), graph.nodes().len(), &ctx, None).unwrap().0;
        let in_parts = |threads| threads::with_threads(threads, || graph.forward(&[&x], &ctx).unwrap()).unwrap();
        let [one, three] = [1, 3].map(|count| in_parts(count).to_vec::<f32>().unwrap());
        assert_eq!(one, three);
        let far = one.iter().zip(whole.to_vec::<f32>().unwrap()).map(|(part, whole)| (part - whole).abs());
        assert!(far.fold(0.0, f32::max) < 1e-5, "{one:?}");
    }

    #[test]
    fn parts_end_where_weights_outweigh_values_and_before_what_is_trained() {
        let model = model(false);
        let (graph, step) = (&model.graph, Ctx::train(RandomKey::new(0)));
        let ends = |most, ctx: &Ctx| graph.first(usize::MAX, most, ctx).map(|first| (first.place, first.largest));
        // The input, six layers up to flatten; or the norm and the function of the first convolution with it.
        assert_eq!(ends(1 << 15, &step), Some((6, 64 * 64 * 32)));
        assert_eq!(ends(1000, &step), Some((3, 64 * 64 * 32)));
        assert_eq!(ends(100, &step), None);
        model.train_only(&[false, false, false, true, true, true, true, true]);
        assert_eq!(ends(1 << 15, &step), Some((3, 64 * 64 * 32)));
        assert_eq!(no_grad(|| ends(1 << 15, &Ctx::eval())), Some((6, 64 * 64 * 32)));
        // A norm that learns looks at all of the batch, whoever wants gradients.
        assert_eq!(no_grad(|| ends(1 << 15, &step)).map(|end| end.0), Some(4));
    }

    #[test]
    fn parts_are_of_one_size() {
        assert_eq!(
            [(32, 5), (32, 0), (30, 16), (31, 16)].map(|(batch, most)| part(batch, most)),
            [4, 1, 15, 1].map(Some)
        );
        assert_eq!([(32, 32), (1, 0), (0, 3)].map(|(batch, most)| part(batch, most)), [None; 3]);
    }
}
