//! Layers for images against Keras and PyTorch, and resized images against these and Pillow: files of `tests/golden`, made by the
//! scripts there.

mod golden;

use golden::{Case, distance};
use gradus::core::DType;
use gradus::nn::Ctx;
use gradus::nn::data::images::resize;
use gradus::nn::models::Model;
use gradus::nn::spec::Recipe;

/// A model of the one layer that a case describes, with the weights of the case.
fn model(case: &Case, sample: &[usize]) -> Model {
    let text = |key: &str| case.attributes[key].as_str().unwrap();
    let text = format!(
        "preset = \"{}\"\n[data]\nsource = \"x\"\n[[layer]]\n{}\n[optimizer]\nkind = \"sgd\"\n[train]\nloss = \"mse\"\n",
        text("preset"),
        text("recipe")
    );
    let recipe = Recipe::parse(&text, "golden.toml").unwrap_or_else(|error| panic!("{}: {error}", case.name));
    let model = Model::build(&recipe, sample).unwrap_or_else(|error| panic!("{}: {error}", case.name));
    for param in model.params() {
        param.to_dtype(DType::F64).unwrap();
        param.set(case.tensor(&format!("w.{}", local(&param.name()))).unwrap()).unwrap();
    }
    model
}

/// The name within the layer.
fn local(path: &str) -> &str {
    path.rsplit_once('.').unwrap().1
}

#[test]
fn layers_for_images_agree_with_keras_and_pytorch() {
    let cases = golden::read(include_bytes!("golden/layers.safetensors"));
    let mut failures = Vec::new();
    for case in &cases {
        let x = case.tensor("x").unwrap().requires_grad();
        let model = model(case, &x.shape()[1..]);
        let wanted = case.attributes["params"].as_array().unwrap().len();
        assert_eq!(model.params().len(), wanted, "{}", case.name);
        let y = model.forward(&x, &Ctx::eval()).unwrap_or_else(|error| panic!("{}: {error}", case.name));
        let gradients = y.mul(&case.tensor("dy").unwrap()).unwrap().sum(&[]).unwrap().backward().unwrap();
        let mut apart = vec![
            ("y".to_string(), distance(&y, &case.tensor("y").unwrap())),
            ("dx".to_string(), distance(gradients.get(&x).unwrap(), &case.tensor("dx").unwrap())),
        ];
        for param in model.params() {
            let name = format!("d.{}", local(&param.name()));
            let ours = gradients.get(&param.value()).unwrap();
            apart.push((name.clone(), distance(ours, &case.tensor(&name).unwrap())));
        }
        failures.extend(apart.into_iter().filter(|(_, far)| *far > 1e-12).map(|x| format!("{}: {x:?}", case.name)));
    }
    assert!(failures.is_empty(), "of {} cases these differ:\n{}", cases.len(), failures.join("\n"));
    assert_eq!(cases.len(), 35);
}

#[test]
fn resized_images_agree_with_pytorch_keras_and_pillow() {
    let cases = golden::read(include_bytes!("golden/images.safetensors"));
    let mut failures = Vec::new();
    for case in &cases {
        let size = [0, 1].map(|i| case.attributes["size"][i].as_u64().unwrap() as usize);
        let method = case.attributes["method"].as_str().unwrap().parse().unwrap();
        let ours = resize(&case.tensor("x").unwrap(), size, method).unwrap();
        let apart = distance(&ours, &case.tensor("y").unwrap());
        // Pixels are f32, those of JAX and Pillow too; the values lie between 0 and 1.
        if apart > 5e-7 {
            failures.push(format!("{}: {apart:e} apart", case.name));
        }
    }
    assert!(failures.is_empty(), "of {} cases these differ:\n{}", cases.len(), failures.join("\n"));
    assert_eq!(cases.len(), 41);
}
