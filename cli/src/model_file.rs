//! Models on disk: one file that can be loaded and run, wherever it was moved.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use nn::interop::{self, Architecture, Opened};
use nn::models::Model;
use nn::spec::Recipe;

use crate::args::Layers;
use crate::datasets::load::known_shape;
use crate::failure::{Failure, Kind};
use crate::pretrained;
use crate::recipes;
use crate::report::run_folder::MODEL;
use crate::samples::Samples;

/// The names of the classes in a model file's metadata, as a JSON list.
const CLASSES: &str = "gradus.classes";

/// A model with what a file tells about it.
#[derive(Debug)]
pub struct Loaded {
    /// The model.
    pub model: Model,
    /// How it was made.
    pub recipe: Recipe,
    /// What its classes are called; empty if nobody said.
    pub classes: Vec<String>,
    /// The file.
    pub path: PathBuf,
    /// Whose file it is: `gradus`, `Keras`, …
    pub origin: &'static str,
    /// What users should know about how it was read.
    pub remarks: Vec<String>,
}

/// Writes a model into a file, whole or not at all.
///
/// # Errors
/// If the file cannot be written; an older one is still there then.
pub fn save(model: &Model, file: &Path, classes: &[String]) -> Result<(), Failure> {
    Ok(model.save(file, metadata(classes)?)?)
}

/// What a model file of gradus says besides the model.
///
/// # Errors
/// If the names cannot be written as JSON.
pub fn metadata(classes: &[String]) -> Result<BTreeMap<String, String>, Failure> {
    let mut metadata = BTreeMap::new();
    if !classes.is_empty() {
        let classes = serde_json::to_string(classes).map_err(|error| Failure::io(CLASSES, &error.into()))?;
        metadata.insert(CLASSES.to_owned(), classes);
    }
    Ok(metadata)
}

/// Whether a path means a model, not a recipe: a folder, or a file that is no TOML.
pub fn is_model(path: &Path) -> bool {
    path.is_dir() || (path.is_file() && path.extension().is_none_or(|extension| extension != "toml"))
}

/// Loads a model from its file or its run folder, or a network from the weights that others trained.
///
/// # Errors
/// If there is none, or the file is damaged.
pub fn load(path: &Path) -> Result<Loaded, Failure> {
    load_with(path, &Layers::default(), &[])
}

/// [`load`] of a file that may hold weights alone, with some values of the recipe replaced by those of the command line.
///
/// # Errors
/// If there is none, the file is damaged or does not fit the layers, or `set` names what no longer can be changed.
pub fn load_with(path: &Path, layers: &Layers, set: &[(String, String)]) -> Result<Loaded, Failure> {
    let file = if path.is_dir() { path.join(MODEL) } else { path.to_owned() };
    if !file.exists() {
        let text = match path.is_dir() {
            true => format!("{}: there is no {MODEL} in this folder; is it a run folder?", path.display()),
            false => {
                format!("{}: there is no such file or folder; give a run folder or a model file", path.display())
            }
        };
        return Err(Failure::new(Kind::Data, text));
    }
    let layers = architecture(layers)?;
    let Opened { mut model, metadata, origin, remarks } = match interop::open(&file, layers.as_ref()) {
        Ok(opened) => opened,
        // Weights without layers may be those of a network that is known.
        Err(error) if layers.is_none() && (interop::is_safetensors(&file) || interop::is_hdf5(&file)) => {
            return pretrained::load(&file)?.ok_or_else(|| error.into());
        }
        Err(error) => return Err(error.into()),
    };
    let recipe = model.recipe().cloned().ok_or_else(|| {
        Failure::new(Kind::Data, format!("{}: the file does not say how the model was made", file.display()))
    })?;
    let classes = metadata.get(CLASSES).map(|text| serde_json::from_str(text)).transpose();
    let classes = classes.map_err(|error| {
        Failure::new(Kind::Data, format!("{}: {CLASSES} in its metadata is no list of names: {error}", file.display()))
    })?;
    let recipe = changed(recipe, &file, set)?;
    model.set_recipe(recipe.clone())?;
    Ok(Loaded { model, recipe, classes: classes.unwrap_or_default(), path: file, origin, remarks })
}

/// The layers that the user names for a file of weights alone.
fn architecture(layers: &Layers) -> Result<Option<Architecture>, Failure> {
    let Some(name) = &layers.recipe else { return Ok(None) };
    let recipe = recipes::open(name, &[])?;
    let input = match known_shape(&recipe.data) {
        Some(shape) => shape.to_vec(),
        None => Samples::load(&recipe, None)?.train.sample_shape().to_vec(),
    };
    Ok(Some(Architecture { recipe, input, names: layers.map.clone() }))
}

/// The recipe of a model with other values for what is not its layers.
fn changed(recipe: Recipe, file: &Path, set: &[(String, String)]) -> Result<Recipe, Failure> {
    if let Some((key, _)) = set.iter().find(|(key, _)| key == "layer" || key.starts_with("layer.")) {
        let text = format!(
            "--set {key}: the layers of {} are trained and stay as they are; set data.* or train.*",
            file.display()
        );
        return Err(Failure::new(Kind::Usage, text));
    }
    if set.is_empty() {
        return Ok(recipe);
    }
    Ok(Recipe::with_overrides(&recipe.to_toml(), &format!("the recipe in {}", file.display()), set)?)
}
