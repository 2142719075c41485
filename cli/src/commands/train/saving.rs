//! What frozen layers save, for the report of a run.

use nn::core::Device;
use nn::models::Model;
use nn::spec::Recipe;
use nn::train::{Saving, StepCost};
use serde::Serialize;

use crate::commands::summary;
use crate::failure::Failure;
use crate::samples::Samples;

/// What a step costs with the frozen layers frozen, and with all layers trained.
#[derive(Debug, Serialize)]
pub struct Saved {
    frozen: Step,
    whole: Step,
}

/// What a step costs.
#[derive(Debug, Serialize)]
struct Step {
    /// Of one sample, forward and backward.
    multiply_adds: usize,
    /// Activations that the forward pass keeps for the backward pass.
    kept_bytes: usize,
    seconds: f64,
}

impl From<StepCost> for Step {
    fn from(cost: StepCost) -> Step {
        Step { multiply_adds: cost.multiply_adds, kept_bytes: cost.kept_bytes, seconds: cost.seconds }
    }
}

impl Saved {
    /// Measures on the first batch what frozen layers save; nothing where none are frozen.
    ///
    /// # Errors
    /// If the model cannot be trained.
    pub fn measure(
        recipe: &Recipe,
        model: &Model,
        samples: &Samples,
        device: Device,
    ) -> Result<Option<Saved>, Failure> {
        let counts = model.counts();
        let batch = samples.training(recipe, device)?.epoch(1).next();
        let (Some(batch), true) = (batch.transpose()?, counts.non_trainable > 0) else { return Ok(None) };
        let saving = Saving::measure(recipe, model, &batch)?;
        Ok(saving.map(|saving| Saved { frozen: saving.frozen.into(), whole: saving.whole.into() }))
    }

    /// What is saved, in one line.
    pub fn line(&self) -> String {
        let Saved { frozen, whole } = self;
        format!(
            "frozen layers save: {} of {} multiply-adds a sample are left, {:.1} of {:.1} KiB kept for backward, {:.0} of {:.0} \
             microseconds a step ({:.1} times faster)",
            summary::grouped(frozen.multiply_adds),
            summary::grouped(whole.multiply_adds),
            frozen.kept_bytes as f64 / 1024.0,
            whole.kept_bytes as f64 / 1024.0,
            frozen.seconds * 1e6,
            whole.seconds * 1e6,
            whole.seconds / frozen.seconds,
        )
    }
}
