//! Every dense lab follows Keras for 200 steps from the same weights and batches. Nothing of these is stored but Keras' losses:
//! weights, order and noise are functions of a counter, here and in `tests/golden/labs.py`, which made the losses.

mod nets;

use gradus::core::{DType, Tensor};
use gradus::nn::data::{Dataset, Loader, Split};
use gradus::nn::format::safetensors;
use gradus::nn::models::Model;
use gradus::nn::spec::Recipe;
use gradus::nn::train::{Parts, Phase, Trainer, scale};
use serde_json::Value;

/// How far a loss may be off, relative.
const TOLERANCE: f64 = 1e-4;
/// Where Keras' own losses in single and in double precision are farther apart than this, single precision says nothing: an
/// activation fell on the other side of relu's kink, and Adam's first steps are as large for a slope of 1e-9 as for one of 1.
const STABLE: f64 = TOLERANCE / 2.0;

/// The finaliser of MurmurHash3 (32 bits): a counter becomes noise.
fn mix(number: usize, salt: u32) -> u32 {
    let mut x = (number as u32).wrapping_add(salt.wrapping_mul(0x9E37_79B9));
    for (shift, factor) in [(16, 0x85EB_CA6B), (13, 0xC2B2_AE35), (16, 1)] {
        x ^= x >> shift;
        x = x.wrapping_mul(factor);
    }
    x
}

/// The weights that both programs begin with: uniform in plus and minus `spread`, rounded once.
fn initial(model: &Model, spreads: &Value) -> Vec<(String, Tensor)> {
    let weights = model.weights();
    assert_eq!(weights.len(), spreads.as_array().unwrap().len());
    let value = |spread: f64, salt, i| (spread * (2.0 * (f64::from(mix(i, salt)) / 4_294_967_296.0) - 1.0)) as f32;
    let drawn = weights.into_iter().enumerate().map(|(number, (name, old))| {
        let spread = spreads[number].as_f64().unwrap();
        let values: Vec<f32> = (0..old.len()).map(|i| value(spread, number as u32, i)).collect();
        (name, Tensor::from_slice(&values, old.shape()).unwrap())
    });
    drawn.collect()
}

/// The recipe of a lab, where `/` says what its weights begin with, and the part of the images that it trains on.
fn lab(name: &str) -> (Recipe, Dataset) {
    let mut recipe = nets::whole_recipe(name.split('/').next().unwrap());
    if name == "ffn-cifar" {
        let noise: Vec<u8> = (0..500 * 3072).map(|i| mix(i, 7) as u8).collect();
        let labels: Vec<i64> = (0..500).map(|i| i64::from(mix(i, 8) % 10)).collect();
        let inputs = Tensor::from_slice(&noise, &[500, 32, 32, 3]).unwrap();
        return (recipe, Dataset::new(name, inputs, Tensor::from_slice(&labels, &[500]).unwrap(), Vec::new()).unwrap());
    }
    if name.starts_with("init-adam") {
        recipe.data.val_split = Some(Split::parse("first:5000").unwrap());
    }
    if name == "fashion-dropout" {
        // Two generators draw different masks.
        let text = std::fs::read_to_string(nets::file("cli/recipes/fashion-dropout.toml")).unwrap();
        recipe = Recipe::parse(&text.replace("rate = 0.2", "rate = 0.0"), name).unwrap();
    }
    let [train, test] = ["train", "t10k"].map(nets::named_clothes);
    let data = Parts::cut(&recipe, train, Some(test)).unwrap().train;
    (recipe, data)
}

/// The losses of 200 steps, in single or double precision.
fn losses(recipe: &Recipe, data: &Dataset, spreads: &Value, dtype: DType) -> Vec<f64> {
    let model = Model::build(recipe, data.sample_shape()).unwrap();
    let weights = initial(&model, spreads);
    for param in model.params() {
        param.to_dtype(dtype).unwrap();
    }
    model.set_weights(weights, "the counter").unwrap();
    let (batch, samples) = (recipe.train.batch, data.len());
    let rows: Vec<usize> = (0..200 * batch).map(|k| mix(k, 100) as usize % samples).collect();
    let loader = Loader::with_order(data, rows.chunks(batch).map(<[usize]>::to_vec).collect(), scale(recipe)).unwrap();
    let steps_per_epoch = samples.div_ceil(batch);
    let mut trainer = Trainer::of(recipe, &model);
    let step = |(step, batch): (usize, gradus::nn::Result<gradus::nn::data::Batch>)| {
        if step % steps_per_epoch == 0
            && let Some(fresh) = Phase::begin(&model, step / steps_per_epoch + 1).unwrap()
        {
            *trainer.update() = fresh;
        }
        let mut batch = batch.unwrap();
        batch.inputs = batch.inputs.to_dtype(dtype).unwrap();
        trainer.step(&batch).unwrap().0
    };
    loader.epoch(1).enumerate().map(step).collect()
}

#[test]
fn every_dense_lab_follows_keras() {
    let (golden, metadata) = safetensors::load(nets::file("tests/golden/labs.safetensors")).unwrap();
    let list: Value = serde_json::from_str(&metadata["labs"]).unwrap();
    let list = list.as_array().unwrap();
    assert_eq!(list.len(), 13);
    for case in list {
        let name = case["lab"].as_str().unwrap();
        let (recipe, data) = lab(name);
        assert_eq!(data.len(), case["samples"].as_u64().unwrap() as usize, "{name}");
        let apart = case["apart"].as_f64().unwrap();
        for (dtype, kind) in [(DType::F32, "f32"), (DType::F64, "f64")] {
            if dtype == DType::F32 && apart > STABLE {
                println!("{name}: not compared in f32, where Keras leaves its own f64 by {apart:.1e}");
                continue;
            }
            let ours = losses(&recipe, &data, &case["spreads"], dtype);
            let theirs = &golden.iter().find(|(other, _)| *other == format!("{name}/{kind}")).unwrap().1;
            let theirs = theirs.to_f64_vec().unwrap();
            assert_eq!((ours.len(), theirs.len()), (200, 200));
            let mut worst = 0f64;
            for (step, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
                let off = (ours / theirs - 1.0).abs();
                assert!(off < TOLERANCE, "{name}, {kind}, step {}: loss {ours}, Keras has {theirs}", step + 1);
                worst = worst.max(off);
            }
            println!("{name}, {kind}: 200 losses within {worst:.1e} of Keras");
        }
    }
}
