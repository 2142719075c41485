//! Losses, optimizers and batch norm against Keras and PyTorch: the files of `tests/golden`, made by the scripts there.

mod golden;

use golden::{Case, distance};
use gradus::core::{DType, RandomKey, Tensor};
use gradus::nn::layers::{Activation, BatchNorm, BatchNormOptions};
use gradus::nn::loss::Loss;
use gradus::nn::optim::Update;
use gradus::nn::spec::{Recipe, Rules};
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
    run(include_bytes!("golden/losses.safetensors"), 37, |case| {
        // Nothing asks for cosines along another dimension.
        if !case.attributes["axis"].is_null() {
            return None;
        }
        let mut loss = match case.op.as_str() {
            "huber" => Loss::Huber(case.number("delta")),
            name => name.parse().unwrap(),
        };
        if !case.attributes["label_smoothing"].is_null() {
            *loss.label_smoothing().unwrap() = case.number("label_smoothing");
        }
        let x = case.tensor("x0").unwrap().requires_grad();
        let (target, weight) = (case.tensor("x1").unwrap(), case.tensor("weight"));
        let mut each = loss.each(&x, &Activation::Linear, &target).unwrap();
        let mean = loss.weighted(&x, &Activation::Linear, &target, weight.as_ref()).unwrap();
        if let Some(weight) = weight {
            each = each.mul(&weight).unwrap();
        }
        let y = distance(&mean, &case.tensor("y").unwrap());
        let dx = mean.backward().unwrap().get(&x).unwrap().clone();
        let wanted = |name| case.tensor(name).unwrap();
        Some(vec![("y", y), ("dx", distance(&dx, &wanted("dx0"))), ("each", distance(&each, &wanted("each")))])
    });
}

/// The optimizer, and all that is done around it, that a recipe asks for.
fn update(preset: &str, optimizer: &str) -> Update {
    let text = format!(
        "preset = \"{preset}\"\n[data]\nsource = \"x\"\n[[layer]]\ntype = \"flatten\"\n[train]\nloss = \"mse\"\n[optimizer]\n{optimizer}"
    );
    Recipe::parse(&text, "golden.toml").unwrap_or_else(|error| panic!("{error}\n{text}")).optimizer.build()
}

/// Moves parameters by given gradients, as if a loss had them.
fn step(update: &mut Update, params: &[Param], gradients: &[Tensor]) {
    let parts = params.iter().zip(gradients).map(|(param, gradient)| param.value().mul(gradient)?.sum(&[]));
    let parts: Vec<Tensor> = parts.collect::<Result<_, _>>().unwrap();
    let loss = parts[1..].iter().fold(parts[0].clone(), |sum, part| sum.add(part).unwrap());
    update.apply(params, loss.backward().unwrap()).unwrap();
}

#[test]
fn optimizers_agree_with_keras_and_pytorch() {
    run(include_bytes!("golden/optimizers.safetensors"), 45, |case| {
        let mut recipe = format!("kind = \"{}\"\n", case.op);
        for (key, value) in case.attributes.as_object().unwrap() {
            match key.as_str() {
                "from" => {}
                // Nobody has asked for it yet.
                "dampening" => return None,
                "lr" => recipe += &format!("learning_rate = {value}\n"),
                "eps" => recipe += &format!("epsilon = {value}\n"),
                "betas" => recipe += &format!("beta_1 = {}\nbeta_2 = {}\n", value[0], value[1]),
                key => recipe += &format!("{key} = {value}\n"),
            }
        }
        let mut update = update(case.attributes["from"].as_str().unwrap(), &recipe);
        let (gradients, wanted) = (case.tensor("grads").unwrap(), case.tensor("w").unwrap());
        let weight = Param::weight("w", case.tensor("w0").unwrap());
        let mut worst = 0f64;
        for i in 0..wanted.shape()[0] {
            step(&mut update, std::slice::from_ref(&weight), &[gradients.select_index(0, i).unwrap()]);
            worst = worst.max(distance(&weight.value(), &wanted.select_index(0, i).unwrap()));
        }
        Some(vec![("w", worst)])
    });
}

/// A layer whose only use is its two parameters.
#[derive(Debug)]
struct Pair([Param; 2]);

impl Module for Pair {
    fn forward(&self, x: &Tensor, _: &Ctx) -> gradus::nn::Result<Tensor> {
        Ok(x.clone())
    }

    fn params(&self, visit: &mut dyn FnMut(&str, &Param)) {
        self.0.iter().zip(["kernel", "bias"]).for_each(|(param, name)| visit(name, param));
    }

    fn output_shape(&self, input: &[usize]) -> gradus::nn::Result<Vec<usize>> {
        Ok(input.to_vec())
    }
}

#[test]
fn what_is_done_around_steps_agrees_with_keras_and_pytorch() {
    run(include_bytes!("golden/training.safetensors"), 35, |case| {
        let mut update = update("keras", &recipe_of(case));
        let rates = |update: &mut Update, each: &mut dyn FnMut(&mut Update, usize)| {
            let wanted = case.tensor("rates").unwrap();
            let rates = (0..wanted.len()).map(|i| {
                each(update, i);
                update.learning_rate()
            });
            let rates: Vec<f64> = rates.collect();
            vec![("rates", distance(&Tensor::from_slice(&rates, wanted.shape()).unwrap(), &wanted))]
        };
        let weight = Param::weight("w", Tensor::scalar(1f64));
        match case.op.as_str() {
            "schedule" => Some(rates(&mut update, &mut |update, i| {
                if i > 0 {
                    step(update, std::slice::from_ref(&weight), &[Tensor::scalar(0f64)]);
                }
            })),
            "plateau" => {
                let values = case.tensor("values").unwrap().to_f64_vec().unwrap();
                let monitor = case.attributes["monitor"].as_str().unwrap().to_string();
                Some(rates(&mut update, &mut |update, i| update.epoch_end(&[(monitor.clone(), values[i])]).unwrap()))
            }
            _ => {
                let start = |name: &str| Param::weight(name, case.tensor(&format!("w0.{name}")).unwrap());
                let params = [start("kernel"), start("bias")];
                rules_of(case).give_to(&Pair(params.clone())).unwrap();
                let part = |what: &str, name: &str| case.tensor(&format!("{what}.{name}")).unwrap();
                let mut worst = 0f64;
                for i in 0..part("w", "bias").shape()[0] {
                    let gradients = ["kernel", "bias"].map(|name| part("grads", name).select_index(0, i).unwrap());
                    step(&mut update, &params, &gradients);
                    for param in &params {
                        let wanted = part("w", &param.name()).select_index(0, i).unwrap();
                        worst = worst.max(distance(&param.value(), &wanted));
                    }
                }
                update.finish(&params).unwrap();
                let last = params.iter().map(|param| distance(&param.value(), &part("last", &param.name())));
                Some(vec![("w", worst), ("last", last.fold(0.0, f64::max))])
            }
        }
    });
}

/// What stands under `[optimizer]` for a case; a schedule has a table of its own.
fn recipe_of(case: &Case) -> String {
    let recipe = case.attributes["recipe"].as_str().unwrap();
    match case.op.as_str() {
        "around" => recipe.to_string(),
        _ => format!("kind = \"sgd\"\nlearning_rate = 0.2\n[optimizer.schedule]\n{recipe}"),
    }
}

/// The rules of a case's layer.
fn rules_of(case: &Case) -> Rules {
    let rules = case.attributes["rules"].as_str().unwrap();
    let text = format!(
        "[data]\nsource = \"x\"\n[[layer]]\ntype = \"flatten\"\n{rules}[train]\nloss = \"mse\"\noptimizer = \"sgd\"\n"
    );
    Recipe::parse(&text, "golden.toml").unwrap_or_else(|error| panic!("{error}\n{text}")).layers[0].rules.clone()
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
