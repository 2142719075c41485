//! The gradients of a model at one moment, for whoever wants to look at them.

use crate::Result;
use crate::core::{RandomKey, Tensor};
use crate::data::Batch;
use crate::loss::Loss;
use crate::models::Model;
use crate::module::Ctx;

/// The gradient of the mean loss of `batch` with respect to every trainable parameter, by name; nothing is changed.
///
/// The model runs as in evaluation: batch normalisation uses and keeps its moving statistics, dropout does nothing.
pub fn gradients(model: &Model, loss: &Loss, batch: &Batch) -> Result<Vec<(String, Tensor)>> {
    gradients_in(model, loss, batch, &Ctx::eval())
}

/// The root mean square of the gradient of every trainable parameter, by name, in a step of training on `batch`.
///
/// As in training, batch normalisation uses the batch's statistics and moves its averages; weights stay as they are.
pub fn gradient_sizes(model: &Model, loss: &Loss, batch: &Batch, key: RandomKey) -> Result<Vec<(String, f64)>> {
    let size = |gradient: &Tensor| gradient.square()?.mean(&[])?.sqrt()?.item();
    let gradients = gradients_in(model, loss, batch, &Ctx::train(key))?;
    gradients.into_iter().map(|(name, gradient)| Ok((name, size(&gradient)?))).collect()
}

fn gradients_in(model: &Model, loss: &Loss, batch: &Batch, ctx: &Ctx) -> Result<Vec<(String, Tensor)>> {
    let (raw, left) = model.forward_raw(&batch.inputs, ctx)?;
    let gradients = loss.value(&raw, &left, &batch.targets)?.backward()?;
    let trainable = model.params().iter().filter(|param| param.trainable());
    trainable.map(|param| Ok((param.name(), gradients.get(&param.value())?.clone()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Recipe;

    #[test]
    fn the_gradient_of_a_line_is_known_and_the_model_stays_as_it_is() {
        let text = "[data]\nsource = \"x\"\n[[layer]]\ntype = \"dense\"\nunits = 1\ninit = \"zeros\"\n[optimizer]\nkind = \"sgd\"\n\
                    [train]\nloss = \"mse\"\n";
        let model = Model::build(&Recipe::parse(text, "r.toml").unwrap(), &[1]).unwrap();
        let before = model.weights_sha256().unwrap();
        let column = |values: &[f32]| Tensor::from_slice(values, &[values.len(), 1]).unwrap();
        let batch = Batch { inputs: column(&[1.0, 3.0]), targets: column(&[2.0, 4.0]), weights: None, size: 2 };
        let found = gradients(&model, &Loss::MeanSquaredError, &batch).unwrap();
        // d/dw mean((wx - t)²) = -2 mean(x t) at w = 0, and -2 mean(t) for the bias.
        let numbers: Vec<(&str, f64)> =
            found.iter().map(|(name, x)| (name.as_str(), x.to_f64_vec().unwrap()[0])).collect();
        assert_eq!(numbers, [("dense.kernel", -14.0), ("dense.bias", -6.0)]);
        let sizes = gradient_sizes(&model, &Loss::MeanSquaredError, &batch, RandomKey::new(1)).unwrap();
        assert_eq!(sizes, [("dense.kernel".into(), 14.0), ("dense.bias".into(), 6.0)]);
        assert_eq!(model.weights_sha256().unwrap(), before);
    }
}
