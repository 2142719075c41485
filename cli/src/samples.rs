//! The samples of a recipe, cut into the parts that training, watching and testing need.

use std::path::Path;

use nn::core::Device;
use nn::data::{Dataset, Loader};
use nn::loss::Loss;
use nn::models::Model;
use nn::spec::Recipe;
use nn::train::{Parts, evaluation_batches, training_batches};

use crate::datasets::load::{self, Origin};
use crate::failure::{Failure, Kind};

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
        let found = load::load(&recipe.data, data, wants_values(&recipe.train.loss))?;
        let Parts { train, val, test } = Parts::cut(recipe, found.train, found.test)?;
        Ok(Samples { train, val, test, origin: found.origin })
    }

    /// The parts alone. The numbers are shared, not copied.
    pub fn parts(&self) -> Parts {
        Parts { train: self.train.clone(), val: self.val.clone(), test: self.test.clone() }
    }

    /// Whether a model has as many outputs as there are classes.
    ///
    /// # Errors
    /// If it has fewer, or none at all to spare for one; the text names the classes.
    pub fn check_outputs(&self, model: &Model, recipe: &Recipe) -> Result<(), Failure> {
        let (classes, outputs) = (&self.train.classes, model.output_shape());
        let wanted = match recipe.train.loss.name() {
            name if name.starts_with("binary_crossentropy") => 2,
            name if name.contains("categorical_crossentropy") => outputs.last().copied().unwrap_or(0),
            _ => return Ok(()),
        };
        if classes.len() <= wanted {
            return Ok(());
        }
        let text = format!(
            "the model's last layer gives {outputs:?}, which tells {wanted} classes apart, and the data have {}: {}. Give it as \
             many units, or map the classes: labels = \"parity\" or classes = [..] in [data]",
            classes.len(),
            classes.join(", ")
        );
        Err(Failure::new(Kind::Usage, text))
    }

    /// Batches for training, in another order every epoch if the recipe says so.
    ///
    /// # Errors
    /// If the recipe's scale or batch size cannot be right.
    pub fn training(&self, recipe: &Recipe, device: Device) -> Result<Loader, Failure> {
        Ok(training_batches(recipe, &self.train)?.on(device))
    }
}

/// Batches for measuring.
///
/// # Errors
/// If the recipe's scale cannot be right.
pub fn measuring(set: &Dataset, recipe: &Recipe, batch: usize, device: Device) -> Result<Loader, Failure> {
    Ok(evaluation_batches(recipe, set, batch)?.on(device))
}

/// Whether targets are numbers to come close to, not classes.
fn wants_values(loss: &Loss) -> bool {
    !loss.name().contains("crossentropy")
}
