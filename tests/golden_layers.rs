//! Losses, optimizers and batch norm against Keras and PyTorch: the files of `tests/golden`, made by the scripts there.

mod golden;

use golden::{Case, distance};
use gradus::core::{DType, RandomKey};
use gradus::nn::layers::{Activation, BatchNorm, BatchNormOptions};
use gradus::nn::loss::Loss;
use gradus::nn::optim::{Adam, AdamOptions, Optimizer, Sgd, SgdOptions};
use gradus::nn::{Ctx, Module, Param};

/// Runs `compare` on every case; it gives the distances by name, or `None` for a case that is left out.
fn run(bytes: &[u8], least: usize, compare: impl Fn(&Case) -> Option<Vec<(&'static str, f64)>>) {
    let cases = golden::read(bytes);
    let (mut failures, mut ran) = (Vec::new(), 0);
    for case in &cases {
        let Some(distances) = compare(case) else { continue };
        ran += 1;
        for (name, apart) in distances {
            // One unit in the last place of an f32, for the cases that were computed in that.
            let bound = if case.name.starts_with("oracle/") { 6.0e-8 } else { 1e-12 };
            if apart > bound {
                failures.push(format!("{}: {name} is {apart:e} apart", case.name));
            }
        }
    }
    assert!(failures.is_empty(), "of {ran} cases these differ:\n{}", failures.join("\n"));
    assert!(ran >= least, "only {ran} of {} cases ran", cases.len());
}

#[test]
fn losses_agree_with_keras() {
    run(include_bytes!("golden/losses.safetensors"), 35, |case| {
        // Nothing asks for smoothed labels or for cosines along another dimension.
        if !case.attributes["label_smoothing"].is_null() || !case.attributes["axis"].is_null() {
            return None;
        }
        let loss = match case.op.as_str() {
            "huber" => Loss::Huber(case.number("delta")),
            name => name.parse().unwrap(),
        };
        let x = case.tensor("x0").unwrap().requires_grad();
        let mut each = loss.each(&x, &Activation::Linear, &case.tensor("x1").unwrap()).unwrap();
        let mean = match case.tensor("weight") {
            None => loss.value(&x, &Activation::Linear, &case.tensor("x1").unwrap()).unwrap(),
            Some(weight) => {
                each = each.mul(&weight).unwrap();
                each.mean(&[]).unwrap()
            }
        };
        let y = distance(&mean, &case.tensor("y").unwrap());
        let dx = mean.backward().unwrap().get(&x).unwrap().clone();
        let wanted = |name| case.tensor(name).unwrap();
        Some(vec![("y", y), ("dx", distance(&dx, &wanted("dx0"))), ("each", distance(&each, &wanted("each")))])
    });
}

#[test]
fn optimizers_agree_with_keras_and_pytorch() {
    run(include_bytes!("golden/optimizers.safetensors"), 13, |case| {
        let torch = case.attributes["from"] == "torch";
        let given = case.attributes.as_object().unwrap();
        let number = |key: &str, default: f64| given.get(key).map_or(default, |_| case.number(key));
        let rate = number("lr", number("learning_rate", 0.0));
        let list = |key: &str| {
            given
                .get(key)
                .and_then(|list| list.as_array())
                .map(|list| list.iter().map(|x| x.as_f64().unwrap()).collect::<Vec<_>>())
        };
        let known =
            ["from", "lr", "learning_rate", "momentum", "nesterov", "beta_1", "beta_2", "betas", "epsilon", "eps"];
        if given.keys().any(|key| !known.contains(&key.as_str())) {
            return None;
        }
        let mut optimizer: Box<dyn Optimizer> = match case.op.as_str() {
            "sgd" => {
                let nesterov = case.attributes["nesterov"] == true;
                Box::new(Sgd::new(SgdOptions { learning_rate: rate, momentum: number("momentum", 0.0), nesterov }))
            }
            "adam" => {
                let preset = if torch { AdamOptions::torch() } else { AdamOptions::keras() };
                let betas =
                    list("betas").unwrap_or(vec![number("beta_1", preset.beta_1), number("beta_2", preset.beta_2)]);
                let epsilon = number("eps", number("epsilon", preset.epsilon));
                Box::new(Adam::new(AdamOptions {
                    learning_rate: rate,
                    beta_1: betas[0],
                    beta_2: betas[1],
                    epsilon,
                    ..preset
                }))
            }
            _ => return None,
        };
        let (gradients, wanted) = (case.tensor("grads").unwrap(), case.tensor("w").unwrap());
        let weight = Param::weight("w", case.tensor("w0").unwrap());
        let mut worst = 0f64;
        for step in 0..wanted.shape()[0] {
            let gradient = gradients.select_index(0, step).unwrap();
            let loss = weight.value().mul(&gradient).unwrap().sum(&[]).unwrap();
            optimizer.step(std::slice::from_ref(&weight), loss.backward().unwrap()).unwrap();
            worst = worst.max(distance(&weight.value(), &wanted.select_index(0, step).unwrap()));
        }
        Some(vec![("w", worst)])
    });
}

#[test]
fn batch_norm_agrees_with_keras_and_pytorch() {
    run(include_bytes!("golden/batchnorm.safetensors"), 14, |case| {
        let torch = case.attributes["from"] == "torch";
        let (momentum, epsilon) = (case.number("momentum"), case.number("epsilon"));
        let axis = case.number("axis") as isize;
        let preset = if torch { BatchNormOptions::torch() } else { BatchNormOptions::keras() };
        let momentum = if torch { 1.0 - momentum } else { momentum };
        let tensor = |name: &str| case.tensor(name).unwrap();
        let layer =
            BatchNorm::new(tensor("gamma").len(), BatchNormOptions { momentum, epsilon, axis, ..preset }).unwrap();
        let mut params = Vec::new();
        layer.params(&mut |name, param| {
            param.to_dtype(DType::F64).unwrap();
            param.set(tensor(name)).unwrap();
            params.push(param.clone());
        });
        let x = tensor("x").requires_grad();
        let ctx = if case.attributes["training"] == true { Ctx::train(RandomKey::new(0)) } else { Ctx::eval() };
        let y = layer.forward(&x, &ctx).unwrap();
        let [gamma, beta, mean, variance] = params.as_slice() else { panic!("four parameters") };
        let gradients = y.mul(&tensor("dy")).unwrap().sum(&[]).unwrap().backward().unwrap();
        Some(vec![
            ("y", distance(&y, &tensor("y"))),
            ("dx", distance(gradients.get(&x).unwrap(), &tensor("dx"))),
            ("dgamma", distance(gradients.get(&gamma.value()).unwrap(), &tensor("dgamma"))),
            ("dbeta", distance(gradients.get(&beta.value()).unwrap(), &tensor("dbeta"))),
            ("moving_mean", distance(&mean.value(), &tensor("new_moving_mean"))),
            ("moving_variance", distance(&variance.value(), &tensor("new_moving_variance"))),
        ])
    });
}
