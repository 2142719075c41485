//! What a finished run leaves for people to look at: pictures, the page, and the pictures of TensorBoard.

use nn::data::Dataset;
use nn::models::Model;
use nn::spec::Recipe;
use serde::Serialize;
use serde_json::Value;

use super::environment::Environment;
use super::examined::Examined;
use super::frozen::Frozen;
use super::history::{self, Epoch};
use super::images::{self, Section, png};
use super::page::Page;
use super::run_folder::RunFolder;
use super::{document, svg};
use crate::commands::summary::{grouped, layers};
use crate::datasets::load::Origin;
use crate::failure::Failure;

/// A run that came to its end.
#[derive(Debug)]
pub struct Finished<'a> {
    /// What was asked for.
    pub recipe: &'a Recipe,
    /// What came out.
    pub model: &'a Model,
    /// Its epochs.
    pub epochs: &'a [Epoch],
    /// The samples of the test, and what the model made of them.
    pub test: Option<(&'a Dataset, &'a Examined)>,
    /// Where it took place.
    pub environment: &'a Environment,
    /// Where the data came from.
    pub origin: &'a Origin,
    /// How long the epochs took.
    pub seconds: f64,
    /// Samples trained on in a second.
    pub samples_per_second: f64,
    /// Frozen layers that were computed once, or might have been.
    pub frozen: &'a [Frozen],
}

impl Finished<'_> {
    /// Writes everything into the run's folder.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn write(&self, folder: &mut RunFolder) -> Result<(), Failure> {
        let name = &self.recipe.name;
        let panels = history::panels(self.epochs, self.recipe.document.as_ref());
        if !panels.is_empty() {
            folder.write("curves.png", png(&svg::curves_image(&panels)))?;
        }
        let confusion = self.test.and_then(|(_, examined)| examined.confusion.as_ref());
        if let Some(confusion) = confusion {
            folder.write("confusion.svg", confusion.svg(&format!("{name}: confusion matrix of the test")))?;
        }
        let sections = self.sections()?;
        if !sections.is_empty() {
            folder.write("samples.svg", images::grid_svg(&format!("{name}: samples of the test"), &sections))?;
            folder
                .events(|events| events.image(self.epochs.len() as u64, "samples", &images::grid_image(&sections)))?;
        }
        let comparison = match (self.epochs.last(), &self.recipe.document) {
            (Some(last), Some(document)) => Some(document::comparison(last, document)),
            _ => None,
        };
        let page = Page {
            title: name,
            about: folder.path().display().to_string(),
            facts: self.facts(),
            panels,
            comparison,
            confusion,
            sections: &sections,
            layers: layers(self.model),
            recipe: self.recipe.to_toml(),
            objects: vec![("Environment", value(self.environment)), ("Data", value(self.origin))],
        };
        folder.write("report.html", page.html())
    }

    /// Samples of the test as images, if they are some and the model is a classifier.
    fn sections(&self) -> Result<Vec<Section>, Failure> {
        let Some((set, Examined { predictions: Some(all), .. })) = self.test else { return Ok(Vec::new()) };
        let white = images::white(&self.recipe.data.source, &set.inputs)?;
        images::sections(set, all, white)
    }

    /// What people look for first.
    fn facts(&self) -> Vec<(String, String)> {
        let fact = |name: &str, value: String| (name.to_owned(), value);
        let numbers = self.test.map(|(_, examined)| &examined.numbers);
        let numbers = numbers.into_iter().flat_map(|numbers| &numbers.0);
        let tests = numbers.map(|(name, value)| (format!("test {name}"), format!("{value:.4}")));
        let frozen = self.frozen.iter().map(|frozen| fact("frozen layers", frozen.line()));
        let others = [
            fact("parameters", grouped(self.model.counts().total)),
            fact("epochs", self.epochs.len().to_string()),
            fact("seconds", format!("{:.1}", self.seconds)),
            fact("samples/s", grouped(self.samples_per_second.round() as usize)),
        ];
        tests.chain(others).chain(frozen).collect()
    }
}

/// Any of our own structures as JSON, which all of them can be.
fn value(object: &impl Serialize) -> Value {
    serde_json::to_value(object).unwrap_or_default()
}
