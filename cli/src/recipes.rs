//! Recipes: the bundled ones, and files of the user's own.

use std::fs;
use std::io;
use std::path::{Path, absolute};

use nn::spec::Recipe;

use crate::bases;
use crate::failure::{Failure, Kind, did_you_mean};

macro_rules! bundled {
    ($($name:literal),* $(,)?) => {
        /// Name and text of every bundled recipe.
        pub const BUNDLED: &[(&str, &str)] = &[$(($name, include_str!(concat!("../recipes/", $name, ".toml")))),*];
    };
}

bundled![
    "fashion-bn",
    "fashion-mlp",
    "mnist",
    "mnist-parity",
    "mnist-parity-transfer",
    "init-sgd",
    "init-adam",
    "fashion-8",
    "fashion-dropout",
    "sandals-shirts",
    "sandals-shirts-transfer",
    "ffn-mnist",
    "ffn-cifar",
    "cnn-mnist",
    "cnn-fashion",
    "cnn-cifar",
    "resnet-cifar",
    "mobilenet-v2",
    "mobilenet-mnist",
    "mobilenet-cifar",
    "digits",
    "fashion-small",
    "deep-sigmoid",
    "deep-relu",
    "deep-bn",
];

/// Reads a recipe by its name or from its file, with some values replaced by those of the command line. Where it starts from a
/// base, the layers of the base are among its own.
///
/// # Errors
/// If there is no such recipe, or something in it is wrong.
pub fn open(name: &str, overrides: &[(String, String)]) -> Result<Recipe, Failure> {
    bases::with_layers(read(name, overrides)?)
}

/// Reads a recipe as it is written.
///
/// # Errors
/// If there is no such recipe, or something in it is wrong.
pub fn read(name: &str, overrides: &[(String, String)]) -> Result<Recipe, Failure> {
    if let Some((_, text)) = BUNDLED.iter().find(|(bundled, _)| *bundled == name) {
        return Ok(Recipe::with_overrides(text, &format!("{name}.toml"), overrides)?);
    }
    let path = Path::new(name);
    let text = fs::read_to_string(path).map_err(|error| unreadable(name, path, &error))?;
    let mut recipe = Recipe::with_overrides(&text, name, overrides)?;
    // Paths in a recipe count from its own folder, and a run folder must find the files from elsewhere.
    let folder = path.parent().unwrap_or(Path::new(""));
    let files = recipe.data.train_files.iter_mut().chain(&mut recipe.data.test_files);
    for file in files {
        let full = absolute(folder.join(&*file)).map_err(|error| Failure::io(&*file, &error))?;
        *file = full.display().to_string();
    }
    if let Some(base) = &mut recipe.base
        && !overrides.iter().any(|(key, _)| key == "base.model")
        && folder.join(&base.model).exists()
    {
        base.model = folder.join(&base.model).display().to_string();
    }
    Ok(recipe)
}

fn unreadable(name: &str, path: &Path, error: &io::Error) -> Failure {
    let is_file = path.extension().is_some_and(|extension| extension == "toml") || name.contains(['/', '\\']);
    let names: Vec<&str> = BUNDLED.iter().map(|(name, _)| *name).collect();
    let text = match error.kind() {
        io::ErrorKind::NotFound if is_file => format!(
            "recipe {name}: there is no such file. Give the path of a TOML file, or one of the bundled recipes: {}.",
            names.join(", ")
        ),
        io::ErrorKind::NotFound => {
            let hint = did_you_mean(name, names.iter().copied());
            format!(
                "unknown recipe \"{name}\".{hint} Bundled are {}; a file of your own ends in .toml, and no file or folder \
                 has this name.",
                names.join(", ")
            )
        }
        _ => format!("recipe {name}: {error}"),
    };
    Failure::new(Kind::Usage, text)
}
