//! Trained models that recipes start from.

use std::fs;
use std::path::{Path, PathBuf, absolute};

use nn::models::Model;
use nn::spec::{BaseSpec, Cut, Recipe};
use nn::train::Phase;

use crate::checkpoints;
use crate::failure::{Failure, Kind};
use crate::model_file::{self, Loaded};
use crate::pretrained;
use crate::recipes;
use crate::report::run_folder::MODEL;
use crate::terminal::Terminal;

/// The whole recipe, whose base is only needed for its layers: they are known from the model's file, or from the recipe that the
/// base names.
///
/// # Errors
/// If there is no such base, or too few of its layers are left.
pub fn with_layers(recipe: Recipe) -> Result<Recipe, Failure> {
    let Some(base) = recipe.base.as_ref().filter(|_| recipe.lacks_base()) else { return Ok(recipe) };
    let path = Path::new(&base.model);
    let layers = match path.exists() {
        true => model_file::load(path)?.recipe,
        false => recipes::open(&base.model, &[])?,
    };
    Ok(recipe.on(&layers)?)
}

/// The whole recipe and the trained model that it starts from; the recipe names the model's file from then on.
///
/// # Errors
/// If there is no such model; the text says how to train it.
pub fn with_weights(mut recipe: Recipe, runs: &Path, data: Option<&Path>) -> Result<(Recipe, Option<Model>), Failure> {
    let Some(base) = &mut recipe.base else { return Ok((recipe, None)) };
    let Loaded { mut model, recipe: layers, path, .. } = find(&base.model, runs, data)?;
    base.model = full(&path)?;
    if base.optimizer {
        checkpoints::remember(&mut model, &path)?;
    }
    Ok((recipe.on(&layers)?, Some(model)))
}

fn full(path: &Path) -> Result<String, Failure> {
    Ok(absolute(path).map_err(|error| Failure::io(path.display(), &error))?.display().to_string())
}

/// The trained model that is meant where a recipe could be named too: a run folder or a file that is no TOML.
pub fn trained(name: &str) -> Option<&Path> {
    let is_bundled = recipes::BUNDLED.iter().any(|(bundled, _)| *bundled == name);
    Some(Path::new(name)).filter(|path| !is_bundled && model_file::is_model(path))
}

/// The recipe with which a trained model is trained further, all its layers and what its optimizer remembers included, and the model.
///
/// # Errors
/// If the model cannot be read, or an override is wrong.
pub fn further(path: &Path, overrides: &[(String, String)], terminal: &Terminal) -> Result<(Recipe, Model), Failure> {
    let Loaded { mut model, recipe: old, path, remarks, .. } = model_file::load(path)?;
    checkpoints::remember(&mut model, &path)?;
    remarks.iter().for_each(|remark| terminal.warn(remark));
    let mut new = old.clone();
    new.name = format!("{}-further", old.name);
    new.about = format!("{}, trained further", old.name);
    new.document = None;
    let mut base = BaseSpec::new(full(&path)?);
    (base.drop, base.optimizer) = (Cut::Last(0), !model.memory().is_empty());
    new.base = Some(base);
    // What was trained at the end is trained now.
    let last = Phase::all(&old)?.pop();
    let trained = last.into_iter().flat_map(|phase| phase.trainable);
    for (layer, is_trained) in new.layers.iter_mut().zip(trained) {
        (layer.from_base, layer.trainable) = (true, is_trained);
    }
    if overrides.iter().any(|(key, _)| key == "base.model") {
        return Err(Failure::new(Kind::Usage, "train: a model is named already; --base is for recipes with a [base]"));
    }
    let recipe = Recipe::with_overrides(&new.to_toml(), "the recipe of the model", overrides)?;
    terminal.say(match recipe.base.as_ref().is_some_and(|base| base.optimizer) {
        true => format!("going on with the weights of {} and with what its optimizer remembers", path.display()),
        false => format!("going on with the weights of {} and a fresh optimizer", path.display()),
    });
    Ok((recipe, model))
}

/// The model that a path or the name of a recipe stands for, which is the newest run of that recipe, or the weights of others below
/// `data` or where data sets are.
///
/// # Errors
/// If there is none.
pub fn find(name: &str, runs: &Path, data: Option<&Path>) -> Result<Loaded, Failure> {
    let path = Path::new(name);
    if path.exists() {
        return model_file::load(path);
    }
    if let Some(path) = newest(name, runs) {
        return model_file::load(&path);
    }
    if name == pretrained::MOBILENET_V2 {
        return model_file::load(&pretrained::find(data)?);
    }
    let runs = runs.display();
    let text = match recipes::BUNDLED.iter().any(|(bundled, _)| *bundled == name) {
        true => format!(
            "base {name}: there is no run of this recipe in {runs}. Train it first, with gradus train {name}, or name a run \
             folder or a model file."
        ),
        false => format!("base {name}: there is no such run folder or model file, and no run of that name in {runs}"),
    };
    Err(Failure::new(Kind::Data, text))
}

/// The folder of the last finished run of a recipe.
fn newest(recipe: &str, runs: &Path) -> Option<PathBuf> {
    let number = |path: &Path| -> Option<u32> {
        let (number, name) = path.file_name()?.to_str()?.split_once('-')?;
        (name == recipe && path.join(MODEL).is_file()).then(|| number.parse().ok())?
    };
    let folders = fs::read_dir(runs).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    folders.filter_map(|path| Some((number(&path)?, path))).max().map(|(_, path)| path)
}
