//! A model measured on a part of the data: the numbers, and what it said about each sample.

use nn::core::Device;
use nn::data::Dataset;
use nn::metrics::Predictions;
use nn::models::Model;
use nn::spec::Recipe;
use nn::train::examine;

use super::confusion::ClassReport;
use super::history::Numbers;
use crate::failure::Failure;
use crate::samples::measuring;

/// What came out.
#[derive(Debug)]
pub struct Examined {
    /// The loss and the metrics.
    pub numbers: Numbers,
    /// What a classifier said about each sample.
    pub predictions: Option<Predictions>,
    /// Which classes were taken for which.
    pub confusion: Option<ClassReport>,
}

impl Examined {
    /// Measures `model` on `set`, `batch` samples at a time.
    ///
    /// # Errors
    /// If the data do not fit the model.
    pub fn new(
        model: &Model,
        recipe: &Recipe,
        set: &Dataset,
        batch: usize,
        device: Device,
    ) -> Result<Examined, Failure> {
        let loader = measuring(set, recipe, batch, device)?;
        let (means, predictions) = examine(model, &recipe.train.loss, &recipe.train.metrics, &loader)?;
        let confusion = predictions.as_ref().map(|all| ClassReport::new(&all.confusion(), &set.classes));
        Ok(Examined { numbers: Numbers(means.values()), predictions, confusion })
    }

    /// `test  loss 0.3621  accuracy 0.8732`, and the tables below.
    pub fn text(&self, part: &str) -> String {
        let line = format!("{part}  {}", self.numbers.line());
        self.confusion.as_ref().map_or(line.clone(), |confusion| format!("{line}\n\n{}\n", confusion.text()))
    }
}
