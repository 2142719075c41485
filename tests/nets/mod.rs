//! What the tests that train share: the recipes, and images to train on.

#![allow(dead_code, reason = "each test uses a part of it")]

use std::path::{Path, PathBuf};

use gradus::core::RandomKey;
use gradus::nn::Result;
use gradus::nn::data::{Dataset, Split, read_idx};
use gradus::nn::models::Model;
use gradus::nn::spec::Recipe;

/// A file of the repository.
pub fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A recipe of the command line.
pub fn recipe(name: &str) -> Recipe {
    let path = file(&format!("cli/recipes/{name}.toml"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    Recipe::parse(&text, &format!("{name}.toml")).unwrap()
}

/// A recipe of the command line with the layers of its base, where it has one.
pub fn whole_recipe(name: &str) -> Recipe {
    let recipe = recipe(name);
    match recipe.base.as_ref().map(|base| self::recipe(&base.model)) {
        Some(base) => recipe.on(&base).unwrap(),
        None => recipe,
    }
}

/// The names of all recipes of the command line.
pub fn recipe_names() -> Vec<String> {
    let files = std::fs::read_dir(file("cli/recipes")).unwrap().map(|entry| entry.unwrap().path());
    let mut names: Vec<String> = files.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect();
    names.sort();
    names
}

/// The images of a folder of IDX files; the part is called `train` or `t10k` there.
pub fn images(folder: &Path, part: &str) -> Result<Dataset> {
    let read = |stem: &str| {
        let packed = folder.join(format!("{part}-{stem}.gz"));
        read_idx(if packed.exists() { packed } else { folder.join(format!("{part}-{stem}")) })
    };
    Dataset::new(folder.display().to_string(), read("images-idx3-ubyte")?, read("labels-idx1-ubyte")?, Vec::new())
}

/// The images for training of a folder of IDX files: all but the first 5,000.
pub fn training_images(folder: &Path) -> Result<Dataset> {
    let (train, _) = Split::parse("first:5000")?.apply(&images(folder, "train")?, RandomKey::new(0))?;
    Ok(train)
}

/// A part of the clothes that are in the repository as the command line knows them, with the names of their classes.
pub fn named_clothes(part: &str) -> Dataset {
    let names =
        ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"];
    let set = images(&file("cli/data/fashion-mnist"), part).unwrap();
    Dataset::new(set.name, set.inputs, set.targets, names.map(String::from).to_vec()).unwrap()
}

/// The clothes that are in the repository.
pub fn clothes() -> Dataset {
    training_images(&file("cli/data/fashion-mnist")).unwrap()
}

/// The model of a recipe for images of 28 x 28.
pub fn model(recipe: &Recipe) -> Model {
    Model::build(recipe, &[28, 28]).unwrap()
}
