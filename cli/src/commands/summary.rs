//! `gradus summary`: a model layer by layer.

use std::path::Path;

use nn::models::{Counts, Model};
use serde_json::json;

use super::train::Params;
use crate::args::SummaryArgs;
use crate::datasets::load::known_shape;
use crate::failure::Failure;
use crate::report::keras_summary;
use crate::report::table::Table;
use crate::samples::Samples;
use crate::terminal::Terminal;
use crate::{model_file, recipes};

/// Shows it.
///
/// # Errors
/// If there is no such recipe or model, or its layers do not fit together.
pub fn run(args: &SummaryArgs, terminal: &Terminal) -> Result<(), Failure> {
    let path = Path::new(&args.model);
    let (name, model) = if model_file::is_model(path) {
        let loaded = model_file::load_with(path, &args.layers, &args.set)?;
        (loaded.recipe.name, loaded.model)
    } else {
        let recipe = recipes::open(&args.model, &args.set)?;
        let model = match known_shape(&recipe.data) {
            Some(shape) => Model::build(&recipe, &shape)?,
            None => Model::build(&recipe, Samples::load(&recipe, args.data.as_deref())?.train.sample_shape())?,
        };
        (recipe.name, model)
    };
    let layers: Vec<_> = model
        .summary()
        .into_iter()
        .map(|row| {
            let params = Params::from(row.params);
            json!({ "name": row.name, "type": row.class, "shape": row.shape, "params": params, "inputs": row.inputs })
        })
        .collect();
    let value = json!({ "name": name, "layers": layers, "params": Params::from(model.counts()) });
    terminal.answer(&value, || match args.style {
        Some(style) => keras_summary::text(&name, &model, style).trim_end_matches('\n').to_owned(),
        None => text(&name, &model, terminal),
    })
}

/// The summary as Keras users know it.
pub fn text(name: &str, model: &Model, terminal: &Terminal) -> String {
    let table = layers(model).to_string();
    let (heading, rest) = table.split_once('\n').unwrap_or((&table, ""));
    let Counts { total, trainable, non_trainable } = model.counts();
    format!(
        "{}\n\n{}\n{rest}\n\nTotal params: {}\nTrainable params: {}\nNon-trainable params: {}",
        terminal.bold(name),
        terminal.dim(heading),
        grouped(total),
        grouped(trainable),
        grouped(non_trainable)
    )
}

/// One row for each layer.
pub fn layers(model: &Model) -> Table {
    let rows = model.summary();
    // Who reads whom is said only where it is not simply the layer before.
    let is_chain = rows.windows(2).all(|pair| pair[1].inputs == [pair[0].name.clone()]);
    let heading = ["layer (type)", "output shape", "params", "inputs"];
    let mut table = Table::new(heading.into_iter().take(4 - usize::from(is_chain))).right([2]);
    for row in &rows {
        let shape: String = row.shape.iter().map(|size| format!(", {size}")).collect();
        let layer = format!("{} ({})", row.name, row.class);
        let inputs = (!is_chain).then(|| row.inputs.join(", "));
        table.row([layer, format!("(None{shape})"), grouped(row.params.total)].into_iter().chain(inputs));
    }
    table
}

/// A number with commas between thousands.
pub fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_grouped() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (271_346, "271,346"), (1_234_567, "1,234,567")]
        {
            assert_eq!(grouped(number), text);
        }
    }
}
