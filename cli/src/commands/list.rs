//! `gradus list`: the names that recipes can use.

use nn::init::Init;
use nn::layers::Activation;
use nn::loss::Loss;
use nn::metrics::Metric;
use nn::optim::{Constraint, Regularizer};
use nn::spec::Recipe;
use nn::spec::block::BLOCKS;
use nn::spec::catalog::LAYERS;
use nn::spec::optimizer::{list_optimizers, list_schedules};
use serde_json::json;

use crate::args::Listing;
use crate::datasets::catalog::SOURCES;
use crate::failure::Failure;
use crate::labs::{self, LABS};
use crate::recipes::BUNDLED;
use crate::report::table::Table;
use crate::terminal::{Format, Terminal};

/// Lists.
///
/// # Errors
/// If stdout is closed.
pub fn run(what: Listing, terminal: &Terminal) -> Result<(), Failure> {
    let rows = rows(what)?;
    let values: Vec<_> = rows.iter().map(|(name, about)| json!({ "name": name, "about": about })).collect();
    if terminal.format() == Format::JsonLines {
        return values.iter().try_for_each(|value| terminal.json(value));
    }
    terminal.answer(&values, || {
        let mut table = Table::new(["name", "about"]);
        for (name, about) in &rows {
            table.row([name.clone(), about.clone()]);
        }
        // A heading over names alone would only be in the way of scripts.
        match rows.iter().all(|(_, about)| about.is_empty()) {
            true => rows.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join("\n"),
            false => table.to_string(),
        }
    })
}

fn rows(what: Listing) -> Result<Vec<(String, String)>, Failure> {
    let names = |names: &[&str]| names.iter().map(|&name| (name.to_owned(), String::new())).collect();
    let told = |rows: Vec<(&str, String)>| rows.into_iter().map(|(name, about)| (name.to_owned(), about)).collect();
    Ok(match what {
        Listing::Recipes => BUNDLED
            .iter()
            .map(|(name, text)| Ok(((*name).to_owned(), Recipe::parse(text, &format!("{name}.toml"))?.about)))
            .collect::<nn::Result<_>>()?,
        Listing::Labs => LABS
            .iter()
            .map(|(name, _)| Ok(((*name).to_owned(), labs::open(name)?.about)))
            .collect::<Result<_, Failure>>()?,
        Listing::Layers => {
            let layers = LAYERS.iter().map(|layer| (layer.name.to_owned(), layer.about.to_owned()));
            layers.chain(BLOCKS.iter().map(|block| (block.name.to_owned(), block.about.to_owned()))).collect()
        }
        Listing::Losses => names(Loss::NAMES),
        Listing::Optimizers => told(list_optimizers()),
        Listing::Schedules => told(list_schedules()),
        Listing::Regularizers => names(Regularizer::NAMES),
        Listing::Constraints => names(Constraint::NAMES),
        Listing::Inits => names(Init::NAMES),
        Listing::Activations => names(Activation::NAMES),
        Listing::Datasets => SOURCES.iter().map(|set| (set.name.to_owned(), set.about.to_owned())).collect(),
        Listing::Metrics => names(Metric::NAMES),
    })
}
