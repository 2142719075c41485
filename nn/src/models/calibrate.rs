//! Averages for batch norms whose own were folded into the layers before them.

use super::Model;
use super::graph::Node;
use crate::core::{Tensor, no_grad};
use crate::data::Loader;
use crate::layers::BatchNorm;
use crate::module::Ctx;
use crate::spec::catalog::Piece;
use crate::{Error, Result};

/// Mean and spread of each feature, over what was seen of it so far.
#[derive(Debug, Default)]
struct Moments {
    count: f64,
    mean: Vec<f64>,
    /// Of the distances from the mean.
    squares: Vec<f64>,
}

impl Moments {
    /// Takes in another batch, as Chan, Golub and LeVeque do it (1979): no large numbers are subtracted.
    fn add(&mut self, count: f64, mean: &[f64], variance: &[f64]) {
        self.mean.resize(mean.len(), 0.0);
        self.squares.resize(mean.len(), 0.0);
        let (before, total) = (self.count, self.count + count);
        for (i, (mean, variance)) in mean.iter().zip(variance).enumerate() {
            let apart = mean - self.mean[i];
            self.mean[i] += apart * count / total;
            self.squares[i] += variance * count + apart * apart * before * count / total;
        }
        self.count = total;
    }
}

impl Model {
    /// Gives each batch norm from the base that [was folded](BatchNorm::was_folded) the mean and the variance that its inputs have over
    /// `data`, and a scale and a centre with which it computes what it did: in evaluation, and frozen, the model stays the same
    /// function up to rounding, and where training normalises by batches instead, it begins near that function. Says how many
    /// batch norms these were.
    ///
    /// One walk through the data is enough, since no result changes. Those with averages of their own keep them.
    pub fn calibrate(&self, data: &Loader) -> Result<usize> {
        let nodes = self.graph.nodes();
        let mut found: Vec<(&Node, &BatchNorm, Moments)> = Vec::new();
        for layer in self.recipe().iter().flat_map(|recipe| &recipe.layers).filter(|layer| layer.from_base) {
            let node = nodes.iter().find(|node| node.name == layer.name);
            let Some((node, Some(Piece::Layer(piece)))) = node.map(|node| (node, &node.piece)) else { continue };
            if let Some(norm) = piece.as_batch_norm()
                && norm.was_folded()?
            {
                found.push((node, norm, Moments::default()));
            }
        }
        if found.is_empty() {
            return Ok(0);
        }
        let mut look = |name: &str, x: &Tensor| {
            for (_, norm, moments) in found.iter_mut().filter(|(node, ..)| nodes[node.from[0]].name == name) {
                let (count, [mean, variance]) = norm.moments(x)?;
                moments.add(count as f64, &mean, &variance);
            }
            Ok(())
        };
        no_grad(|| {
            for batch in data.epoch(0) {
                let inputs = batch?.inputs;
                look(&nodes[0].name, &inputs)?;
                self.graph.run(&[&inputs], &Ctx::eval(), &mut look)?;
            }
            Ok::<_, Error>(())
        })?;
        for (node, norm, moments) in &found {
            let variance: Vec<f64> = moments.squares.iter().map(|squares| squares / moments.count).collect();
            if !moments.mean.iter().chain(&variance).all(|number| number.is_finite()) {
                let what =
                    "is not finite for some of the samples; are the images whole, and scaled as the base knows them?";
                return Err(Error::Data(format!("calibrate: what reaches the layer {:?} {what}", node.name)));
            }
            norm.take_averages(&moments.mean, &variance)?;
        }
        Ok(found.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::kernels::cpu::threads;
    use crate::core::kernels::random::Distribution;
    use crate::core::{DType, Device, RandomKey};
    use crate::data::Dataset;
    use crate::spec::Recipe;
    use crate::train::start;

    /// Convolutions with batch norms as in MobileNetV2, one of them read by two layers, and at the end one that knows its averages.
    const BASE: &str = r#"
[data]
source = "x"
[[layer]]
type = "conv2d"
filters = 6
kernel_size = 3
strides = 2
bias = false
[[layer]]
type = "batch_norm"
name = "first"
[[layer]]
type = "activation"
function = "relu6"
name = "relu"
[[layer]]
type = "depthwise_conv2d"
kernel_size = 3
padding = "same"
bias = false
[[layer]]
type = "batch_norm"
name = "second"
[[layer]]
type = "add"
inputs = ["second", "relu"]
[[layer]]
type = "batch_norm"
name = "known"
[[layer]]
type = "global_avg_pool2d"
[[layer]]
type = "dense"
units = 3
[optimizer]
kind = "sgd"
[train]
loss = "mse"
batch = 8
"#;

    fn recipe(keys: &str) -> Recipe {
        let head = BASE.find("[[layer]]\ntype = \"dense\"").unwrap();
        let text = format!("[data]\nsource = \"x\"\n[base]\nmodel = \"b\"\n{keys}\n{}", &BASE[head..]);
        Recipe::parse(&text, "top.toml").unwrap().on(&Recipe::parse(BASE, "base.toml").unwrap()).unwrap()
    }

    fn random(shape: &[usize], low: f64, high: f64, name: &str) -> Tensor {
        let key = RandomKey::new(7).named(name);
        Tensor::random(shape, Distribution::Uniform { low, high }, key, DType::F32, Device::CPU).unwrap()
    }

    /// The base, whose first two norms are as a folded file leaves them and whose third has seen something.
    fn base() -> Model {
        let base = Model::build(&Recipe::parse(BASE, "base.toml").unwrap(), &[12, 12, 3]).unwrap();
        for param in base.params() {
            let name = param.name();
            let shape = param.shape();
            let folded = !name.starts_with("known");
            match name.rsplit('.').next().unwrap() {
                "beta" => param.set(random(&shape, -1.0, 1.0, &name)).unwrap(),
                "moving_mean" if !folded => param.set(random(&shape, -1.0, 1.0, &name)).unwrap(),
                "moving_variance" if folded => {
                    param.set(param.value().ones_like().unwrap().mul_scalar(1.0 - 1e-3).unwrap()).unwrap();
                }
                "moving_variance" => param.set(random(&shape, 0.5, 2.0, &name)).unwrap(),
                _ => {}
            }
        }
        base
    }

    fn data(samples: usize) -> Dataset {
        let inputs = random(&[samples, 12, 12, 3], -1.0, 3.0, "images");
        Dataset::new("x", inputs, random(&[samples, 3], 0.0, 1.0, "targets"), Vec::new()).unwrap()
    }

    fn bits(model: &Model, name: &str) -> Vec<f32> {
        model.params().iter().find(|param| param.name() == name).unwrap().value().to_vec().unwrap()
    }

    /// The largest difference between two results, as a share of the largest number in the first.
    fn apart(a: &Tensor, b: &Tensor) -> f64 {
        let largest = |x: &Tensor| x.abs().unwrap().max(&[]).unwrap().item().unwrap();
        largest(&a.sub(b).unwrap()) / largest(a)
    }

    #[test]
    fn a_calibrated_model_is_the_same_function_and_trains_near_it() {
        let (base, set) = (base(), data(40));
        let start = |keys: &str| start(&recipe(keys), &set, Some(&base)).unwrap();
        let (plain, calibrated) = (start(""), start("calibrate = 40"));
        let alone = threads::with_threads(1, || start("calibrate = 40")).unwrap();
        assert_eq!(
            alone.weights_sha256().unwrap(),
            calibrated.weights_sha256().unwrap(),
            "one thread gives other bits"
        );
        let before = plain.predict(&set.inputs).unwrap();
        let shift = apart(&before, &calibrated.predict(&set.inputs).unwrap());
        assert!(shift < 1e-5, "{shift}");
        // All images in one batch have the very moments that they were calibrated with; only the last norm knows others.
        let trained = |model: &Model| {
            model.set_trainable("known", false).unwrap();
            model.forward(&set.inputs, &Ctx::train(RandomKey::new(1))).unwrap()
        };
        let (near, far) = (apart(&before, &trained(&calibrated)), apart(&before, &trained(&plain)));
        assert!(near < 1e-4 && far > 0.1, "{near} {far}");
        for part in ["gamma", "beta", "moving_mean", "moving_variance"] {
            let name = |norm: &str| format!("{norm}.{part}");
            assert_eq!(bits(&plain, &name("known")), bits(&calibrated, &name("known")));
            assert_ne!(bits(&plain, &name("first")), bits(&calibrated, &name("first")));
        }
        // Once is enough: nothing is folded any more.
        let again = calibrated.weights_sha256().unwrap();
        assert_eq!(calibrated.calibrate(&Loader::new(&set, 8, None, crate::data::Scale::None).unwrap()).unwrap(), 0);
        assert_eq!(calibrated.weights_sha256().unwrap(), again);
    }

    #[test]
    fn averages_are_those_of_all_numbers_of_a_feature() {
        let (base, set) = (base(), data(40));
        // A channel that never varies has no spread to divide by.
        let kernel = base.params().iter().find(|param| param.name() == "conv2d.kernel").unwrap();
        let mask = Tensor::from_slice(&[1f32, 1.0, 0.0, 1.0, 1.0, 1.0], &[6]).unwrap();
        kernel.set(kernel.value().detach().mul(&mask).unwrap()).unwrap();
        let model = start(&recipe("calibrate = 40"), &set, Some(&base)).unwrap();
        let convolved = base.graph().value_at(1, &[&set.inputs], &Ctx::eval()).unwrap();
        let wanted = [convolved.mean(&[0, 1, 2]).unwrap(), convolved.var(&[0, 1, 2], 0).unwrap()];
        for (part, wanted) in ["moving_mean", "moving_variance"].into_iter().zip(&wanted) {
            let ours = Tensor::from_slice(&bits(&model, &format!("first.{part}")), &[6]).unwrap();
            assert!(apart(wanted, &ours) < 1e-6, "{part}");
        }
        assert_eq!(bits(&model, "first.moving_variance")[2], 0.0);
        assert!((bits(&model, "first.gamma")[2] - 1e-3f32.sqrt()).abs() < 1e-7);
        let plain = start(&recipe(""), &set, Some(&base)).unwrap();
        let shift = apart(&plain.predict(&set.inputs).unwrap(), &model.predict(&set.inputs).unwrap());
        assert!(shift < 1e-5, "{shift}");
    }

    #[test]
    fn what_cannot_be_calibrated_is_told() {
        let (base, set) = (base(), data(40));
        let text = start(&recipe("calibrate = 41"), &set, Some(&base)).unwrap_err().to_string();
        assert_eq!(text, "top.toml:3:1: [base]: calibrate = 41: there are only 40 samples to train on; ask for fewer");
        let refusal = |keys: &str| {
            let text = format!(
                "[data]\nsource = \"x\"\n[base]\nmodel = \"b\"\n{keys}\n{}",
                &BASE[BASE.find("[opt").unwrap()..]
            );
            Recipe::parse(&text, "top.toml").unwrap_err().to_string()
        };
        let wanted =
            "calibrate = 0 in [base]: must be how many training samples batch norms are averaged over, 1 or more";
        assert!(refusal("calibrate = 0").contains(wanted), "{}", refusal("calibrate = 0"));
        let text = Model::build(&recipe("drop = \"first\"\ncalibrate = 8"), &[12, 12, 3]).unwrap_err().to_string();
        assert_eq!(
            text,
            "top.toml:3:1: [base]: calibrate: none of the layers from the base is a batch norm; leave it out"
        );
        let inputs = set.inputs.mul_scalar(f64::INFINITY).unwrap();
        let broken = Dataset::new("x", inputs, set.targets.clone(), Vec::new()).unwrap();
        let text = start(&recipe("calibrate = 8"), &broken, Some(&base)).unwrap_err().to_string();
        assert!(text.starts_with("calibrate: what reaches the layer \"first\" is not finite"), "{text}");
    }
}
