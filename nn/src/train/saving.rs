//! What it saves to freeze layers: counted and measured.

use std::time::{Duration, Instant};

use super::Trainer;
use crate::Result;
use crate::core::RandomKey;
use crate::core::kernels::memory;
use crate::data::Batch;
use crate::models::Model;
use crate::module::Ctx;
use crate::spec::Recipe;

/// How many steps of each model are timed, at most.
const STEPS: usize = 31;

/// How many are timed however long they take.
const LEAST: usize = 3;

/// How long more than these may take.
const PATIENCE: Duration = Duration::from_secs(1);

/// Steps that take memory and wake threads; they do not count.
const WARM_UP: usize = 2;

/// What a step costs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepCost {
    /// Multiply-adds of one sample, forward and backward, see [`Model::cost`].
    pub multiply_adds: usize,
    /// Bytes of activations that the forward pass of a batch keeps for the backward pass.
    pub kept_bytes: usize,
    /// How long a step takes: the median of some.
    pub seconds: f64,
}

/// What a step costs with the frozen layers frozen, and what it would cost with all layers trained.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Saving {
    /// As the model is.
    pub frozen: StepCost,
    /// With every layer trained.
    pub whole: StepCost,
}

impl Saving {
    /// Counts and times steps on one batch, on copies of `model`, which stays as it is. `None` if nothing is frozen, or
    /// everything.
    ///
    /// The copies take turns, so that whatever else the machine does hits both.
    pub fn measure(recipe: &Recipe, model: &Model, batch: &Batch) -> Result<Option<Self>> {
        let (frozen, whole) = (model.clone_with_weights()?, model.clone_with_weights()?);
        whole.train_only(&vec![true; recipe.layers.len()]);
        // Where everything is frozen there are no steps to time.
        if whole.counts() == frozen.counts() || frozen.counts().trainable == 0 {
            return Ok(None);
        }
        let mut trainers = [Trainer::of(recipe, &frozen), Trainer::of(recipe, &whole)];
        let mut seconds = [Vec::new(), Vec::new()];
        let all_began = Instant::now();
        for step in 0..WARM_UP + STEPS {
            if step >= WARM_UP + LEAST && all_began.elapsed() > PATIENCE {
                break;
            }
            for (trainer, seconds) in trainers.iter_mut().zip(&mut seconds) {
                let began = Instant::now();
                trainer.step(batch)?;
                if step >= WARM_UP {
                    seconds.push(began.elapsed().as_secs_f64());
                }
            }
        }
        let [frozen_seconds, whole_seconds] = seconds.map(|mut seconds| {
            seconds.sort_by(f64::total_cmp);
            seconds[seconds.len() / 2]
        });
        let cost = |model: &Model, seconds| -> Result<StepCost> {
            let kept_bytes = kept_bytes(recipe, model, batch)?;
            Ok(StepCost { multiply_adds: model.cost().total(), kept_bytes, seconds })
        };
        Ok(Some(Self { frozen: cost(&frozen, frozen_seconds)?, whole: cost(&whole, whole_seconds)? }))
    }
}

/// How many bytes the loss of a batch holds on to.
fn kept_bytes(recipe: &Recipe, model: &Model, batch: &Batch) -> Result<usize> {
    let before = memory::stats().live;
    let (raw, left) = model.forward_raw(&batch.inputs, &Ctx::train(RandomKey::new(0)))?;
    let loss = recipe.train.loss.value(&raw, &left, &batch.targets)?;
    drop(raw);
    let kept = memory::stats().live.saturating_sub(before);
    drop(loss);
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::Tensor;

    #[test]
    fn freezing_saves_products_and_memory_and_changes_nothing() {
        let text = "[data]\nsource = \"x\"\n[[layer]]\ntype = \"dense\"\nunits = 64\nactivation = \"relu\"\ntrainable = false\n\
                    [[layer]]\ntype = \"dense\"\nunits = 2\nactivation = \"softmax\"\n[optimizer]\nkind = \"sgd\"\n\
                    [train]\nloss = \"sparse_categorical_crossentropy\"\n";
        let recipe = Recipe::parse(text, "r.toml").unwrap();
        let model = Model::build(&recipe, &[32]).unwrap();
        let inputs = Tensor::from_slice(&[0.5f32; 16 * 32], &[16, 32]).unwrap();
        let targets = Tensor::from_slice(&[1i64; 16], &[16]).unwrap();
        let batch = Batch { inputs, targets, weights: None, size: 16 };
        let before = model.weights_sha256().unwrap();
        let Saving { frozen, whole } = Saving::measure(&recipe, &model, &batch).unwrap().unwrap();
        assert_eq!(model.weights_sha256().unwrap(), before);
        assert_eq!((frozen.multiply_adds, whole.multiply_adds), (64 * 32 + 128 + 128, 2 * 64 * 32 + 3 * 128));
        assert!(frozen.seconds > 0.0 && whole.seconds > 0.0);
        model.set_trainable("..", true).unwrap();
        assert_eq!(Saving::measure(&recipe, &model, &batch).unwrap(), None);
    }
}
