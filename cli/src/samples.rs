//! The samples of a recipe, cut into the parts that training, watching and testing need.

use std::path::Path;

use nn::core::{Device, RandomKey};
use nn::data::{Dataset, Loader, Scale};
use nn::loss::Loss;
use nn::spec::Recipe;

use crate::datasets::load::{self, Origin};
use crate::failure::Failure;

/// How many samples are measured at once. The same wherever a model is measured, so that the same numbers come out.
pub const MEASURED_AT_ONCE: usize = 256;

/// The samples of a recipe.
#[derive(Debug)]
pub struct Samples {
    /// What to train on.
    pub train: Dataset,
    /// What to watch the training with.
    pub val: Option<Dataset>,
    /// What to test with at the end.
    pub test: Option<Dataset>,
    /// Where all came from.
    pub origin: Origin,
}

impl Samples {
    /// Reads and splits what the recipe asks for.
    ///
    /// # Errors
    /// If data are missing or damaged, or a split asks for more than there is.
    pub fn load(recipe: &Recipe, data: Option<&Path>) -> Result<Samples, Failure> {
        let parts = load::load(&recipe.data, data, wants_values(&recipe.train.loss))?;
        let key = RandomKey::new(recipe.seed).named("split");
        let (train, test) = match (parts.test, recipe.data.test_split) {
            (None, Some(split)) => {
                let (train, test) = split.apply(&parts.train, key.named("test"))?;
                (train, Some(test))
            }
            (test, _) => (parts.train, test),
        };
        let (train, val) = match recipe.data.val_split {
            Some(split) => {
                let (train, val) = split.apply(&train, key.named("val"))?;
                (train, Some(val))
            }
            None => (train, None),
        };
        Ok(Samples { train, val, test, origin: parts.origin })
    }

    /// Batches for training, in another order every epoch if the recipe says so.
    ///
    /// # Errors
    /// If the recipe's scale or batch size cannot be right.
    pub fn training(&self, recipe: &Recipe, device: Device) -> Result<Loader, Failure> {
        let shuffle = recipe.data.shuffle.then(|| RandomKey::new(recipe.seed).named("shuffle"));
        Ok(Loader::new(&self.train, recipe.train.batch, shuffle, Scale::Divide(recipe.data.scale))?.on(device))
    }
}

/// Batches for measuring.
///
/// # Errors
/// If the recipe's scale cannot be right.
pub fn measuring(set: &Dataset, recipe: &Recipe, batch: usize, device: Device) -> Result<Loader, Failure> {
    Ok(Loader::new(set, batch, None, Scale::Divide(recipe.data.scale))?.on(device))
}

/// Whether targets are numbers to come close to, not classes.
fn wants_values(loss: &Loss) -> bool {
    !loss.name().contains("crossentropy")
}
