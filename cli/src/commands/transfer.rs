//! `gradus transfer`: a new last layer on a trained model.

use std::path::absolute;

use nn::models::Model;
use nn::spec::{BaseSpec, Recipe};

use super::train;
use crate::args::TransferArgs;
use crate::failure::{Failure, Kind};
use crate::model_file::Loaded;
use crate::terminal::Terminal;
use crate::{bases, machine};

/// Makes the recipe of the new model and trains it.
///
/// # Errors
/// If there is no such base, the new layer does not fit the data, or the training fails.
pub fn run(args: &TransferArgs, terminal: &Terminal) -> Result<(), Failure> {
    let device = machine::open(&args.train.machine)?;
    machine::compute(|| {
        let (recipe, base) = recipe(args)?;
        train::train(&args.train, recipe, Some(base), terminal, device)
    })
}

/// The recipe of the base with another end, and the base itself.
fn recipe(args: &TransferArgs) -> Result<(Recipe, Model), Failure> {
    let base = match (&args.train.recipe, &args.train.resume) {
        (Some(base), None) => base,
        _ => {
            return Err(Failure::new(
                Kind::Usage,
                "transfer: name the base; `gradus train --resume` goes on with a run",
            ));
        }
    };
    let Loaded { model, recipe: old, path, .. } = bases::find(base, &args.train.out, args.train.data.as_deref())?;
    let path = absolute(&path).map_err(|error| Failure::io(path.display(), &error))?;
    let mut new = old.clone();
    new.name = format!("{}-transfer", old.name);
    new.about = format!("A new last layer of {} on the layers of {}", args.new_head, old.name);
    new.document = None;
    new.layers.clear();
    new.base = Some(BaseSpec::new(path.display().to_string()));
    if args.labels.is_some() || args.classes.is_some() {
        // What the base learnt to tell apart is another task's.
        let one_hot = new.data.classes.one_hot;
        new.data.classes = Default::default();
        new.data.classes.one_hot = one_hot;
    }
    let activation = if args.new_head == 1 { "sigmoid" } else { "softmax" };
    let head = format!("[[layer]]\ntype = \"dense\"\nunits = {}\nactivation = \"{activation}\"\n", args.new_head);
    let text = format!("{}\n{head}", new.to_toml());
    let loss = match (args.new_head, new.data.classes.one_hot) {
        (1, _) => "binary_crossentropy",
        (_, true) => "categorical_crossentropy",
        (_, false) => "sparse_categorical_crossentropy",
    };
    let classes = args.classes.as_ref().map(|classes| {
        let quoted = classes.split(',').map(|class| match class.trim() {
            number if number.parse::<usize>().is_ok() => number.to_owned(),
            name => format!("{name:?}"),
        });
        format!("[{}]", quoted.collect::<Vec<_>>().join(", "))
    });
    let own = [
        ("train.loss", Some(loss.to_owned())),
        ("train.metrics", Some("[\"accuracy\"]".to_owned())),
        ("base.drop", args.drop.clone()),
        ("base.freeze", args.freeze.clone()),
        ("base.unfreeze_after", args.unfreeze_after.clone()),
        ("base.unfreeze", args.unfreeze.clone()),
        ("base.calibrate", args.calibrate.clone()),
        ("data.labels", args.labels.clone()),
        ("data.classes", classes),
    ];
    let own = own.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?)));
    let overrides: Vec<_> = own.chain(train::overrides(&args.train)).collect();
    if overrides.iter().any(|(key, _)| key == "base.model") {
        return Err(Failure::new(Kind::Usage, "transfer: the base is named once, as the first argument"));
    }
    let recipe = Recipe::with_overrides(&text, "the recipe of the new model", &overrides)?.on(&old)?;
    Ok((recipe, model))
}
