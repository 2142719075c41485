//! Trainings that Keras began go on here as they do there, and the other way round: `tests/golden/memory.py` made the files.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;

use super::{Architecture, Format, Opened, open, save};
use crate::core::Tensor;
use crate::data::{Batch, read_npy_bytes};
use crate::format::archive::{Archive, Packer};
use crate::format::hdf5::Hdf5;
use crate::models::Model;
use crate::spec::Recipe;
use crate::train::Trainer;

/// How many steps Keras made before it saved the models.
const BEFORE: usize = 6;
/// How far a loss may be off, relative: both compute in single precision.
const TOLERANCE: f64 = 2e-5;

/// The members of a golden file, and a folder to put them into.
struct Golden {
    archive: Archive,
    folder: TempDir,
}

impl Golden {
    fn new(name: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/interop").join(name);
        Self { archive: Archive::open(&path, "golden").unwrap(), folder: tempfile::tempdir().unwrap() }
    }

    fn bytes(&mut self, member: &str) -> Vec<u8> {
        self.archive.bytes(member, 1 << 24).unwrap().unwrap_or_else(|| panic!("{member} is missing"))
    }

    fn file(&mut self, member: &str) -> PathBuf {
        let path = self.folder.path().join(member);
        fs::write(&path, self.bytes(member)).unwrap();
        path
    }

    /// The name of every model, and the losses of the steps after it was saved.
    fn list(&mut self) -> Vec<(String, Vec<f64>)> {
        let list: Value = serde_json::from_slice(&self.bytes("list.json")).unwrap();
        let losses = |case: &Value| case["losses"].as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect();
        list.as_array().unwrap().iter().map(|case| (case["file"].as_str().unwrap().into(), losses(case))).collect()
    }

    fn batches(&mut self) -> Vec<Batch> {
        let [inputs, targets] = ["x.npy", "y.npy"].map(|name| read_npy_bytes(name, &self.bytes(name)).unwrap());
        let part = |all: &Tensor, i: usize| all.slice(0, i, i + 1).unwrap().reshape(&all.shape()[1..]);
        let batch = |i| {
            let (inputs, targets) = (part(&inputs, i).unwrap(), part(&targets, i).unwrap());
            Batch { size: targets.len(), inputs, targets, weights: None }
        };
        (0..inputs.shape()[0]).map(batch).collect()
    }
}

/// The model, which must have come without a remark.
fn opened(path: &Path) -> Model {
    let Opened { model, remarks, .. } = open(path, None).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(remarks, [""; 0], "{}", path.display());
    model
}

/// Fails unless a training that goes on from `model` has these losses.
fn goes_on(name: &str, model: &Model, batches: &[Batch], losses: &[f64]) {
    let mut trainer = Trainer::of(model.recipe().unwrap(), model);
    trainer.recall(model, name).unwrap();
    for (step, (batch, theirs)) in batches[BEFORE..].iter().zip(losses).enumerate() {
        let (ours, _) = trainer.step(batch).unwrap();
        assert!((ours - theirs).abs() <= TOLERANCE * theirs, "{name}, step {step}: {ours}, Keras has {theirs}");
    }
}

#[test]
fn trainings_of_keras_go_on_as_they_do_there() {
    for (file, cases) in [("memory-keras.zip", 18), ("memory-keras2.zip", 13)] {
        let mut golden = Golden::new(file);
        let (list, batches) = (golden.list(), golden.batches());
        assert_eq!(list.len(), cases);
        for (name, losses) in list {
            let model = opened(&golden.file(&name));
            goes_on(&name, &model, &batches, &losses);
        }
    }
}

#[test]
fn what_is_written_goes_on_too() {
    let mut golden = Golden::new("memory-keras.zip");
    let (list, batches) = (golden.list(), golden.batches());
    for (name, losses) in list {
        let model = opened(&golden.file(&name));
        for format in [Format::Keras, Format::KerasH5, Format::Gradus] {
            let path = golden.folder.path().join("again");
            let remarks = save(&model, &path, format, Default::default()).unwrap();
            assert_eq!(remarks, [""; 0], "{name}");
            goes_on(&name, &opened(&path), &batches, &losses);
        }
    }
}

#[test]
fn weights_alone_come_with_what_an_optimizer_of_the_recipe_remembers() {
    let mut golden = Golden::new("memory-keras.zip");
    let keras = golden.file("adam.keras");
    let (weights, model) = (golden.folder.path().join("m.weights.h5"), opened(&keras));
    let bytes = Archive::open(&keras, "Keras").unwrap().bytes("model.weights.h5", u64::MAX).unwrap().unwrap();
    fs::write(&weights, bytes).unwrap();
    let recipe = model.recipe().unwrap().clone();
    let Opened { model, remarks, .. } =
        open(&weights, Some(&Architecture { recipe, input: vec![5], names: Vec::new() })).unwrap();
    assert_eq!(remarks, [""; 0]);
    let (_, losses) = golden.list().into_iter().find(|(name, _)| name == "adam.keras").unwrap();
    goes_on("m.weights.h5", &model, &golden.batches(), &losses);
}

/// The variables of the optimizer in a `.keras` file.
fn variables(path: &Path) -> Vec<Tensor> {
    let bytes = Archive::open(path, "Keras").unwrap().bytes("model.weights.h5", u64::MAX).unwrap().unwrap();
    let file = Hdf5::new("weights", bytes).unwrap();
    let count = file.arrays("optimizer/vars").unwrap().len();
    (0..count).map(|i| file.tensor(&format!("optimizer/vars/{i}")).unwrap()).collect()
}

#[test]
fn variables_stand_where_keras_has_them() {
    let mut golden = Golden::new("memory-keras.zip");
    for (name, _) in golden.list().into_iter().filter(|(name, _)| name.ends_with(".keras")) {
        let (theirs, ours) = (golden.file(&name), golden.folder.path().join("ours"));
        save(&opened(&theirs), &ours, Format::Keras, Default::default()).unwrap();
        let (theirs, ours) = (variables(&theirs), variables(&ours));
        assert_eq!(ours.len(), theirs.len(), "{name}");
        for (i, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
            assert_eq!(ours.shape(), theirs.shape(), "{name}: {i}");
            let pairs = ours.to_f64_vec().unwrap().into_iter().zip(theirs.to_f64_vec().unwrap());
            let apart = pairs.map(|(ours, theirs)| (ours - theirs).abs()).fold(0.0, f64::max);
            // Gradients that wait for nothing are not kept here, and mean nothing there.
            assert!(apart <= 1e-8, "{name}: {i}: {apart}");
        }
    }
}

#[test]
fn what_does_not_fit_is_said() {
    let mut golden = Golden::new("memory-keras.zip");
    let mut archive = Archive::open(&golden.file("adam.keras"), "Keras").unwrap();
    let config = String::from_utf8(archive.bytes("config.json", 1 << 20).unwrap().unwrap()).unwrap();
    let weights = archive.bytes("model.weights.h5", 1 << 24).unwrap().unwrap();
    let path = golden.folder.path().join("changed");
    let said = |from: &str, to: &str| {
        assert!(config.contains(from), "{config}");
        let mut archive = Packer::new();
        archive.put("config.json", config.replace(from, to).as_bytes()).unwrap();
        archive.put("model.weights.h5", &weights).unwrap();
        fs::write(&path, archive.finish().unwrap()).unwrap();
        let opened = open(&path, None).unwrap();
        assert_eq!(opened.model.memory().is_empty(), opened.remarks.join("").contains("left out"));
        opened.remarks.join("; ")
    };
    assert_eq!(
        said("\"class_name\": \"Adam\"", "\"class_name\": \"SGD\""),
        "its optimizer has beta_1 = 0.9, beta_2 = 0.999, epsilon = 1e-7, which gradus' sgd lacks; what its optimizer remembers is \
         left out: it has 12 arrays, where sgd over 6 trainable weights has 0"
    );
    assert_eq!(
        said("\"class_name\": \"Adam\"", "\"class_name\": \"Ftrl\""),
        "gradus lacks the optimizer Ftrl; sgd stands in the recipe; what its optimizer remembers is left out: the file does not say \
         which optimizer that was, or gradus lacks it"
    );
    assert_eq!(
        said("\"name\": \"still\", \"trainable\": false", "\"name\": \"still\", \"trainable\": true"),
        "what its optimizer remembers is left out: it has 12 arrays, where adam over 8 trainable weights has 16"
    );
    assert_eq!(
        said("\"loss_scale_factor\": null", "\"loss_scale_factor\": 8.0"),
        "its optimizer has loss_scale_factor = 8.0, which gradus' adam lacks"
    );
    assert_eq!(
        said("\"learning_rate\": 0.019999999552965164", "\"learning_rate\": {\"class_name\": \"Odd\", \"config\": {}}"),
        "its optimizer has learning_rate = {\"class_name\":\"Odd\",\"config\":{}}, which gradus' adam lacks"
    );

    let adam = opened(&golden.file("adam.keras"));
    let refusal = |base: &Model, recipe: &str, from: &str, to: &str| {
        assert!(recipe.contains(from), "{recipe}");
        let recipe = Recipe::parse(&recipe.replace(from, to), "r.toml").unwrap();
        let model = Model::build(&recipe, &[5]).unwrap();
        Trainer::of(&recipe, &model).recall(base, "FILE").unwrap_err().to_string()
    };
    let (text, afresh) = (adam.recipe().unwrap().to_toml(), "; begin afresh with --set base.optimizer=false");
    let other = "FILE: what its optimizer remembers does not go on here: ";
    assert_eq!(
        refusal(&adam, &text, "amsgrad = false", "amsgrad = true"),
        format!("{other}adam needs z.kernel/largest_v, which is not there{afresh}")
    );
    assert_eq!(
        refusal(&adam, &text, "units = 4\n", "units = 7\n"),
        format!("{other}z.kernel/m has shape [5, 4], and the weight [5, 7]{afresh}")
    );
    let amsgrad = opened(&golden.file("amsgrad.keras"));
    assert_eq!(
        refusal(&amsgrad, &text, "seed", "seed"),
        format!("{other}a.bias/largest_v means nothing to adam as the recipe has it{afresh}")
    );
    let fresh = Model::build(adam.recipe().unwrap(), &[5]).unwrap();
    assert_eq!(
        refusal(&fresh, &text, "seed", "seed"),
        format!("FILE: what its optimizer remembers was not saved with the model{afresh}")
    );
}

#[test]
fn what_keras_lacks_is_said_when_a_model_is_written() {
    let mut golden = Golden::new("memory-keras.zip");
    let mut model = opened(&golden.file("momentum.keras"));
    let path = golden.folder.path().join("again");
    let text = model.recipe().unwrap().to_toml();
    let mut said = |from: &str, to: &str| {
        assert!(text.contains(from), "{text}");
        model.set_recipe(Recipe::parse(&text.replace(from, to), "r.toml").unwrap()).unwrap();
        let remarks = save(&model, &path, Format::Keras, Default::default()).unwrap().join("; ");
        (remarks, opened(&path).memory().is_empty())
    };
    assert_eq!(said("seed", "seed"), (String::new(), false));
    assert_eq!(
        said("rate_inside = true", "rate_inside = false"),
        (
            "Keras' optimizers have no rate_inside = false; what the optimizer remembers is left out: Keras' goes on in another way"
                .into(),
            true
        )
    );
    let plateau = "[optimizer.schedule]\nkind = \"plateau\"\nwarmup_steps = 3\n[train]\n";
    assert_eq!(
        said("[train]\n", plateau),
        ("Keras' optimizers have no schedule plateau, warmup_steps = 3".into(), false)
    );
    let (loss, none) = (
        "loss = \"sparse_categorical_crossentropy\"",
        "Keras lacks the loss quadratic: neither loss nor optimizer are in the file",
    );
    assert_eq!(said(loss, "loss = \"quadratic\""), (none.into(), true));
}
