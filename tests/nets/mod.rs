//! What the tests that train share: the recipes, and images to train on.

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

/// The clothes that are in the repository.
pub fn clothes() -> Dataset {
    training_images(&file("cli/data/fashion-mnist")).unwrap()
}

/// The model of a recipe for images of 28 x 28.
pub fn model(recipe: &Recipe) -> Model {
    Model::build(recipe, &[28, 28]).unwrap()
}
