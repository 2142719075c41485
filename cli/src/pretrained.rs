//! A network that others trained: MobileNetV2, from the file of its folded weights, or of those that Keras saves.

use std::fs;
use std::path::{Path, PathBuf};

use nn::format::safetensors;
use nn::interop::{self, Architecture, Opened};
use nn::models::{Model, is_folded};
use nn::spec::Recipe;

use crate::datasets::search::{VARIABLE, cache_folder};
use crate::failure::{Failure, Kind};
use crate::model_file::Loaded;
use crate::recipes;

/// The recipe that describes the network.
pub const MOBILENET_V2: &str = "mobilenet-v2";
/// The folder of its files below one with data sets.
const FOLDER: &str = "mobilenetv2";
/// The names of the classes, one a line, beside the weights.
const LABELS: &str = "imagenet_labels_1001.txt";
/// The size that the weights were trained at.
const SAMPLE: [usize; 3] = [224, 224, 3];

/// The endings of files that may hold them.
const ENDINGS: [&str; 4] = ["safetensors", "h5", "hdf5", "keras"];

/// The file of the weights, in a folder `mobilenetv2` below `data`, that of `GRADUS_DATA` or of the downloads: the first model file
/// there.
///
/// # Errors
/// If there is none; the text says where it was looked for.
pub fn find(data: Option<&Path>) -> Result<PathBuf, Failure> {
    let variable = std::env::var_os(VARIABLE).map(PathBuf::from);
    let roots = data.map(Path::to_owned).into_iter().chain(variable).chain(cache_folder());
    let folders: Vec<PathBuf> = roots.map(|root| root.join(FOLDER)).collect();
    for folder in &folders {
        let entries = fs::read_dir(folder).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
        let is_model = |path: &PathBuf| {
            path.extension().is_some_and(|extension| ENDINGS.iter().any(|ending| extension == *ending))
        };
        if let Some(path) = entries.filter(is_model).min() {
            return Ok(path);
        }
    }
    let looked: Vec<String> = folders.iter().map(|folder| folder.display().to_string()).collect();
    Err(Failure::new(
        Kind::Data,
        format!(
            "{MOBILENET_V2}: there are no weights: no model file (.{}) in {}. Put weights of MobileNetV2 into one of these folders, \
             as Keras saves them or folded, give the folder above it with --data, or name the file itself",
            ENDINGS.join(", ."),
            looked.join(" or ")
        ),
    ))
}

/// The network with the weights of `file`, or `None` if the file holds something else.
///
/// # Errors
/// If the file cannot be read, or is for a network of another width.
pub fn load(file: &Path) -> Result<Option<Loaded>, Failure> {
    if interop::is_hdf5(file) {
        return of_keras(file);
    }
    let (tensors, _) = safetensors::load(file)?;
    if !is_folded(&tensors) {
        return Ok(None);
    }
    let recipe = recipes::read(MOBILENET_V2, &[])?;
    let model = Model::build(&recipe, &SAMPLE)?;
    model.take_folded_mobilenet_v2(&tensors, &file.display().to_string())?;
    Ok(Some(loaded(model, recipe, file, "safetensors", Vec::new())))
}

/// The same from weights of Keras' own MobileNetV2: for its 1,000 classes, those of the folded file and one more, or without a
/// classifier, in which case the network ends in the mean over all places.
fn of_keras(file: &Path) -> Result<Option<Loaded>, Failure> {
    for classes in [Some("1000"), Some("1001"), None] {
        let top = classes.map_or(("layer.2.include_top", "false"), |classes| ("layer.2.classes", classes));
        let mut recipe = recipes::read(MOBILENET_V2, &[(top.0.to_owned(), top.1.to_owned())])?;
        if classes.is_none() {
            let text = format!("{}\n[[layer]]\ntype = \"global_avg_pool2d\"\n", recipe.to_toml());
            recipe = Recipe::parse(&text, MOBILENET_V2)?;
        }
        let with = Architecture { recipe: recipe.clone(), input: SAMPLE.to_vec(), names: Vec::new() };
        if let Ok(Opened { model, remarks, .. }) = interop::open(file, Some(&with)) {
            return Ok(Some(loaded(model, recipe, file, "Keras", remarks)));
        }
    }
    Ok(None)
}

fn loaded(model: Model, recipe: Recipe, file: &Path, origin: &'static str, remarks: Vec<String>) -> Loaded {
    let outputs = model.output_shape().iter().product::<usize>();
    let labels = file.parent().and_then(|folder| fs::read_to_string(folder.join(LABELS)).ok()).unwrap_or_default();
    let classes: Vec<String> = labels.lines().map(|line| line.trim().to_owned()).collect();
    let classes = if classes.len() == outputs { classes } else { Vec::new() };
    Loaded { model, recipe, classes, path: file.to_owned(), origin, remarks }
}

#[cfg(test)]
mod tests {
    use nn::core::Tensor;
    use nn::data::{read_npy, read_npz};

    use super::*;
    use crate::datasets::images::{decode_picture, picture_format};

    /// The data that may not be shipped, where this machine has them.
    fn data() -> Option<PathBuf> {
        let data = std::env::var_os(VARIABLE).map(PathBuf::from).filter(|data| data.join(FOLDER).is_dir());
        if data.is_none() {
            eprintln!("skipped: {VARIABLE} names no folder with {FOLDER} in it");
        }
        data
    }

    fn farthest(ours: &Tensor, theirs: &Tensor) -> f64 {
        ours.sub(theirs).unwrap().abs().unwrap().max(&[]).unwrap().item().unwrap()
    }

    #[test]
    fn weights_that_keras_saves_are_known_with_and_without_the_classifier() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join(FOLDER).join("mine.weights.h5");
        fs::create_dir(place.path().join(FOLDER)).unwrap();
        let build = |key: &str, value: &str| {
            let recipe = recipes::read(MOBILENET_V2, &[(format!("layer.2.{key}"), value.to_owned())]).unwrap();
            Model::build(&recipe, &SAMPLE).unwrap()
        };
        for (key, value, outputs, last) in
            [("classes", "1000", 1000, "predictions"), ("include_top", "false", 1280, "global_average_pooling2d")]
        {
            let model = build(key, value);
            interop::save(&model, &file, interop::Format::KerasWeights, Default::default()).unwrap();
            assert_eq!(find(Some(place.path())).unwrap(), file);
            let loaded = load(&file).unwrap().unwrap();
            assert_eq!(loaded.model.weights_sha256().unwrap(), model.weights_sha256().unwrap());
            assert_eq!(loaded.model.output_shape(), [outputs]);
            assert_eq!(loaded.recipe.layer_names().last(), Some(&last));
        }
        interop::save(&build("alpha", "0.35"), &file, interop::Format::KerasWeights, Default::default()).unwrap();
        assert!(load(&file).unwrap().is_none(), "half as wide");
    }

    #[test]
    fn logits_are_those_of_the_reference() {
        let Some(data) = data() else { return };
        let Loaded { model, classes, .. } = load(&find(None).unwrap()).unwrap().unwrap();
        let npz = data.join(FOLDER).join("expected_outputs.npz");
        let wanted = &read_npz(&npz, &["logits"]).unwrap()[0];
        // In the order of the file's own list, which is an array of texts.
        let photos = ["cat", "bird", "grace_hopper", "sunflower", "dragonfly", "hot_dog", "parrot"];
        assert_eq!((photos.len(), classes.len()), (wanted.shape()[0], 1001));
        for (row, photo) in photos.iter().enumerate() {
            let bytes = fs::read(data.join(format!("images/{photo}_224.png"))).unwrap();
            let image = decode_picture("x", &bytes, picture_format(&bytes).unwrap()).unwrap().to_rgb8();
            let x =
                Tensor::from_slice(image.as_raw(), &[1, 224, 224, 3]).unwrap().to_dtype(nn::core::DType::F32).unwrap();
            let x = x.div(&Tensor::scalar(255f32)).unwrap();
            let (logits, _) = nn::core::no_grad(|| model.forward_raw(&x, &nn::Ctx::eval())).unwrap();
            let apart = farthest(&logits.squeeze(0).unwrap(), &wanted.select_index(0, row).unwrap());
            assert!(apart < 1e-3, "{photo}: {apart}");
        }
    }

    #[test]
    fn a_third_party_agrees() {
        let Some(data) = data() else { return };
        let Loaded { model, .. } = load(&find(None).unwrap()).unwrap().unwrap();
        let read = |name: &str| read_npy(data.join(FOLDER).join(name)).unwrap();
        // What is fed there comes after the scaling from 0..1 to -1..1, which is the model's first layer.
        let x = read("reference_input_0.npy").add_scalar(1.0).unwrap().mul_scalar(0.5).unwrap();
        let y = model.predict(&x).unwrap();
        let apart = farthest(&y, &read("reference_output_0.npy"));
        assert!(apart < 3e-3, "{apart}: the classifier of the file is rounded to 8 bits, theirs is not");
    }
}
