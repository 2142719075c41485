//! Labs: several recipes trained one after the other, each described by a file in `labs/`.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::failure::{Failure, Kind, did_you_mean};

macro_rules! bundled {
    ($($name:literal),* $(,)?) => {
        /// Name and text of every lab.
        pub const LABS: &[(&str, &str)] = &[$(($name, include_str!(concat!("../labs/", $name, ".toml")))),*];
    };
}

bundled![
    "transfer-parity",
    "transfer-fashion",
    "init-sgd",
    "init-adam",
    "optimizers",
    "regularization",
    "schedules",
    "gradients",
    "mobilenet-mnist",
    "mobilenet-cifar",
    "learning-rate",
];

/// What is trained, and what to look at.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lab {
    /// What it is about, in a sentence.
    pub about: String,
    /// The number by which the runs are ranked.
    pub metric: String,
    /// How many seeds every run is trained with, where one says too little.
    #[serde(default = "one")]
    pub seeds: u16,
    /// Whether the gradients of the first and the last layer are compared before training.
    #[serde(default)]
    pub gradients: bool,
    /// Numbers that are shown of every run, besides those that its document reports.
    #[serde(default)]
    pub also: Vec<String>,
    /// Epochs after which the validation's numbers are shown, besides the last.
    #[serde(default)]
    pub epochs: Vec<usize>,
    /// What is true whatever comes out: what the document leaves open or gets wrong.
    pub notes: String,
    /// The runs, in their order.
    #[serde(rename = "run")]
    pub runs: Vec<Run>,
}

fn one() -> u16 {
    1
}

/// One training.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// What the table calls it.
    pub name: String,
    /// The bundled recipe.
    pub recipe: String,
    /// Values of the recipe that are replaced, as on the command line.
    #[serde(default)]
    pub set: BTreeMap<String, String>,
    /// The run whose model this one starts from.
    pub base: Option<String>,
    /// What the document reports of this run. A run that changes nothing in its recipe has what the recipe says.
    #[serde(default)]
    pub document: BTreeMap<String, f64>,
    /// How far our numbers may be off.
    pub tolerance: Option<f64>,
}

/// The lab of this name.
///
/// # Errors
/// If there is none.
pub fn open(name: &str) -> Result<Lab, Failure> {
    let names = || LABS.iter().map(|(name, _)| *name);
    let Some((_, text)) = LABS.iter().find(|(known, _)| *known == name) else {
        let hint = did_you_mean(name, names());
        let all = names().collect::<Vec<_>>().join(", ");
        return Err(Failure::new(Kind::Usage, format!("unknown lab \"{name}\".{hint} There are {all}.")));
    };
    toml::from_str(text).map_err(|error| Failure::new(Kind::Usage, format!("lab {name}: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipes;

    #[test]
    fn every_lab_names_recipes_keys_and_bases_that_are_there() {
        for (name, _) in LABS {
            let lab = open(name).unwrap();
            assert!(lab.seeds > 0, "{name}");
            for (i, run) in lab.runs.iter().enumerate() {
                let set: Vec<_> = run.set.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
                recipes::open(&run.recipe, &set).unwrap_or_else(|failure| panic!("{name}, {}: {failure}", run.name));
                let base = |base: &String| lab.runs[..i].iter().any(|earlier| earlier.name == *base);
                assert!(run.base.as_ref().is_none_or(base), "{name}, {}", run.name);
                assert!(run.document.is_empty() || run.tolerance.is_some(), "{name}, {}", run.name);
            }
        }
    }
}
