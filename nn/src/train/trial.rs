//! A recipe trained and tested in one call.

use super::{EVALUATION_BATCH, Evaluation, History, Listener, Parts, Trainer, evaluate};
use super::{evaluation_batches, start, training_batches};
use crate::Result;
use crate::core::Device;
use crate::models::Model;
use crate::spec::Recipe;

/// A trained model, and what its training and its test came to.
#[derive(Debug)]
pub struct Trial {
    /// The model, as it was at the end.
    pub model: Model,
    /// The epochs.
    pub history: History,
    /// What the model gives on the test part; nothing where there is none, or where a listener ended the training.
    pub test: Option<Evaluation>,
}

impl Trial {
    /// Builds the recipe's model, trains it on `parts`, and measures it on the test part. A recipe on a base begins with the
    /// weights of `base`.
    pub fn run(
        recipe: &Recipe,
        base: Option<&Model>,
        parts: &Parts,
        device: Device,
        listeners: &mut [&mut dyn Listener],
    ) -> Result<Self> {
        let model = start(recipe, &parts.train, base)?;
        model.to_device(device)?;
        let training = training_batches(recipe, &parts.train)?.on(device);
        let measuring = |set| evaluation_batches(recipe, set, EVALUATION_BATCH).map(|loader| loader.on(device));
        let val = parts.val.as_ref().map(measuring).transpose()?;
        let history = Trainer::of(recipe, &model).fit(&training, val.as_ref(), recipe.train.epochs, listeners)?;
        let test = match &parts.test {
            Some(test) if history.ended != super::Ended::Stopped => {
                Some(evaluate(&model, &recipe.train.loss, &recipe.train.metrics, &measuring(test)?)?)
            }
            _ => None,
        };
        Ok(Self { model, history, test })
    }

    /// All numbers of the last epoch and of the test by name: `loss`, `val_accuracy`, `test_accuracy`.
    pub fn values(&self) -> Vec<(String, f64)> {
        let mut values = self.history.epochs.last().map(super::EpochReport::values).unwrap_or_default();
        let test = self.test.iter().flat_map(Evaluation::values);
        values.extend(test.map(|(name, value)| (format!("test_{name}"), value)));
        values
    }
}
