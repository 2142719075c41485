//! Models on disk: one file that can be loaded and run, wherever it was moved.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use nn::models::Model;
use nn::spec::Recipe;

use crate::failure::{Failure, Kind};
use crate::pretrained;
use crate::report::run_folder::MODEL;

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
}

/// Writes a model into a file, whole or not at all.
///
/// # Errors
/// If the file cannot be written; an older one is still there then.
pub fn save(model: &Model, file: &Path, classes: &[String]) -> Result<(), Failure> {
    let mut metadata = BTreeMap::new();
    if !classes.is_empty() {
        let classes = serde_json::to_string(classes).map_err(|error| Failure::io(CLASSES, &error.into()))?;
        metadata.insert(CLASSES.to_owned(), classes);
    }
    Ok(model.save(file, metadata)?)
}

/// Loads a model from its file or its run folder, or a network from the weights that others trained.
///
/// # Errors
/// If there is none, or the file is damaged.
pub fn load(path: &Path) -> Result<Loaded, Failure> {
    let file = if path.is_dir() { path.join(MODEL) } else { path.to_owned() };
    if !file.exists() {
        let text = match path.is_dir() {
            true => format!("{}: there is no {MODEL} in this folder; is it a run folder?", path.display()),
            false => {
                format!("{}: there is no such file or folder; give a run folder or a .safetensors file", path.display())
            }
        };
        return Err(Failure::new(Kind::Data, text));
    }
    let (model, metadata) = match Model::load(&file) {
        Ok(loaded) => loaded,
        // Weights without a recipe may be those of a network that is known.
        Err(error) => return pretrained::load(&file)?.ok_or_else(|| error.into()),
    };
    let recipe = model.recipe().cloned().ok_or_else(|| {
        Failure::new(Kind::Data, format!("{}: the file does not say how the model was made", file.display()))
    })?;
    let classes = metadata.get(CLASSES).map(|text| serde_json::from_str(text)).transpose();
    let classes = classes.map_err(|error| {
        Failure::new(Kind::Data, format!("{}: {CLASSES} in its metadata is no list of names: {error}", file.display()))
    })?;
    Ok(Loaded { model, recipe, classes: classes.unwrap_or_default(), path: file })
}
