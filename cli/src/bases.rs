//! Trained models that recipes start from.

use std::fs;
use std::path::{Path, PathBuf, absolute};

use nn::models::Model;
use nn::spec::Recipe;

use crate::failure::{Failure, Kind};
use crate::model_file::{self, Loaded};
use crate::pretrained;
use crate::recipes;
use crate::report::run_folder::MODEL;

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
    let Loaded { model, recipe: layers, path, .. } = find(&base.model, runs, data)?;
    base.model = absolute(&path).map_err(|error| Failure::io(path.display(), &error))?.display().to_string();
    Ok((recipe.on(&layers)?, Some(model)))
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
