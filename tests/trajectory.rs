//! The same weights and the same batches as Keras: the same losses, step by step. `tests/golden/README.md` tells how the
//! stored numbers were made.

mod nets;

use std::path::Path;

use gradus::core::{DType, Tensor};
use gradus::nn::data::{Dataset, Loader, Scale};
use gradus::nn::format::safetensors;
use gradus::nn::models::Model;
use gradus::nn::spec::Recipe;
use gradus::nn::train::Trainer;

/// How far a loss may be off, relative. Sums in another order give 1e-6; another rule gives far more.
const TOLERANCE: f64 = 1e-4;

fn golden(name: &str) -> Vec<(String, Tensor)> {
    safetensors::load(nets::file(&format!("tests/golden/{name}.safetensors"))).unwrap().0
}

fn tensor<'a>(golden: &'a [(String, Tensor)], name: &str) -> &'a Tensor {
    let found = golden.iter().find(|(other, _)| other == name);
    &found.unwrap_or_else(|| panic!("{name} is not among the stored tensors")).1
}

/// Trains from Keras' initial weights on Keras' batches and compares every step's loss.
fn follow(
    recipe: &Recipe,
    model: Model,
    initial: &[(String, Tensor)],
    golden: &[(String, Tensor)],
    data: &Dataset,
) -> Model {
    let start = |(name, value): &(String, Tensor)| Some((name.strip_prefix("initial/")?.to_string(), value.clone()));
    model.set_weights(initial.iter().filter_map(start).collect(), "the stored weights").unwrap();

    let batches = tensor(golden, "batches");
    let rows = batches.to_dtype(DType::I64).unwrap().to_vec::<i64>().unwrap();
    let batches =
        rows.chunks(batches.shape()[1]).map(|batch| batch.iter().map(|&row| row as usize).collect()).collect();
    let loader = Loader::with_order(data, batches, Scale::Divide(recipe.data.scale)).unwrap();
    let theirs = tensor(golden, "losses").to_f64_vec().unwrap();
    assert_eq!((loader.steps(), theirs.len()), (200, 200));

    let mut trainer = Trainer::of(recipe, &model);
    let mut worst = 0f64;
    for (step, (batch, theirs)) in loader.epoch(1).zip(&theirs).enumerate() {
        let (ours, _) = trainer.step(&batch.unwrap()).unwrap();
        let off = (ours / theirs - 1.0).abs();
        assert!(off < TOLERANCE, "{}, step {}: loss {ours}, Keras has {theirs}", recipe.name, step + 1);
        worst = worst.max(off);
    }
    println!("{}: 200 losses within {worst:.1e} of Keras", recipe.name);
    model
}

#[test]
fn fashion_bn_follows_keras_and_ends_with_its_weights() {
    let golden = golden("fashion-bn");
    let recipe = nets::recipe("fashion-bn");
    let model = follow(&recipe, nets::model(&recipe), &golden, &golden, &nets::clothes());
    for (name, ours) in model.weights() {
        let theirs = tensor(&golden, &format!("final/{name}")).to_f64_vec().unwrap();
        let largest = theirs.iter().fold(0f64, |most, x| most.max(x.abs()));
        for (i, (ours, theirs)) in ours.to_f64_vec().unwrap().iter().zip(&theirs).enumerate() {
            assert!((ours - theirs).abs() <= TOLERANCE * largest, "{name}[{i}]: {ours}, Keras has {theirs}");
        }
    }
}

#[test]
fn mnist_net_follows_keras_on_clothes() {
    let golden = golden("mnist-on-fashion");
    let recipe = nets::recipe("mnist");
    follow(&recipe, nets::model(&recipe), &golden, &golden, &nets::clothes());
}

#[test]
fn mnist_follows_keras() {
    let Some(folder) = std::env::var_os("GRADUS_DATA") else {
        println!("skipped: set GRADUS_DATA to a folder that holds MNIST to run this test");
        return;
    };
    let folder = Path::new(&folder);
    let inner = folder.join("mnist");
    let data = nets::training_images(if inner.is_dir() { &inner } else { folder }).unwrap();
    let recipe = nets::recipe("mnist");
    follow(&recipe, nets::model(&recipe), &golden("mnist-on-fashion"), &golden("mnist"), &data);
}

#[test]
fn every_optimizer_rule_and_weighting_follows_keras() {
    let path = nets::file("tests/golden/vocabulary.safetensors");
    let (golden, metadata) = safetensors::load(path).unwrap();
    let list: serde_json::Value = serde_json::from_str(&metadata["cases"]).unwrap();
    let cases = list["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 32);
    for case in cases {
        let text = |key: &str| case[key].as_str().unwrap();
        let recipe = format!(
            "[data]\nsource = \"x\"\n[[layer]]\ntype = \"dense\"\nunits = 16\nactivation = \"tanh\"\n{}[[layer]]\n\
             type = \"dense\"\nunits = 3\nactivation = \"softmax\"\n[train]\nloss = \"sparse_categorical_crossentropy\"\n{}\
             [optimizer]\n{}",
            text("layer"),
            text("train"),
            text("optimizer")
        );
        let name = text("case");
        let recipe = Recipe::parse(&recipe, name).unwrap_or_else(|error| panic!("{error}\n{recipe}"));
        let inputs = |name: &str| tensor(&golden, name).clone();
        let mut data = Dataset::new(name, inputs("inputs"), inputs("labels"), Vec::new()).unwrap();
        if case["weighted"] == true {
            data = data.with_weights(inputs("weights")).unwrap();
        }
        let mut own = vec![("batches".to_string(), inputs("batches"))];
        own.push(("losses".to_string(), inputs(&format!("losses/{name}"))));
        follow(&recipe, Model::build(&recipe, &[8]).unwrap(), &golden, &own, &data);
    }
}
