//! Weights of MobileNetV2 that others trained.

use crate::core::{DType, Device, Tensor};
use crate::format::safetensors::NamedTensors;
use crate::{Error, Result};

use super::Model;

/// What Keras' MobileNetV2 adds to variances.
const EPSILON: f64 = 1e-3;

/// Whether tensors are those of a MobileNetV2 whose batch norms were folded into the convolutions before them.
pub fn is_folded(tensors: &NamedTensors) -> bool {
    tensors.iter().any(|(name, _)| name == "conv_stem.weight")
}

impl Model {
    /// Takes over the weights of a MobileNetV2 whose batch norms were folded into the convolutions before them: `conv_stem`,
    /// `block0.depthwise`, `block0.project`, `block1.expand`, …, `conv_head`, `classifier`, each with a `weight` in PyTorch's layout
    /// and a `bias`; `file` is what a complaint calls them.
    ///
    /// The batch norms of this model become what adds the bias and does nothing else. Layers of other names keep what they have, so
    /// that the classifier may be another one.
    ///
    /// # Errors
    /// If a tensor is missing, or is for another width (`alpha`).
    pub fn take_folded_mobilenet_v2(&self, tensors: &NamedTensors, file: &str) -> Result<()> {
        for (layer, norm, folded) in layers() {
            let find = |part: &str| {
                let name = format!("{folded}.{part}");
                let found = tensors.iter().find(|(other, _)| *other == name).map(|(_, tensor)| tensor);
                found.ok_or_else(|| {
                    Error::Data(format!("{file}: {name} is not in it; these are no folded MobileNetV2 weights"))
                })
            };
            self.set(&format!("{layer}.kernel"), &kernel(&folded, find("weight")?)?, file)?;
            let bias = find("bias")?;
            match norm {
                None => self.set(&format!("{layer}.bias"), bias, file)?,
                Some(norm) => {
                    let ones = Tensor::ones(bias.shape(), DType::F32, Device::CPU)?;
                    self.set(&format!("{norm}.gamma"), &ones, file)?;
                    self.set(&format!("{norm}.beta"), bias, file)?;
                    self.set(&format!("{norm}.moving_mean"), &ones.zeros_like()?, file)?;
                    self.set(&format!("{norm}.moving_variance"), &ones.mul_scalar(1.0 - EPSILON)?, file)?;
                }
            }
        }
        Ok(())
    }

    /// Sets the parameter of this name, if the model has it.
    fn set(&self, name: &str, value: &Tensor, file: &str) -> Result<()> {
        let Some(param) = self.params().iter().find(|param| param.name() == name) else { return Ok(()) };
        if param.shape() != value.shape() {
            let (theirs, ours) = (value.shape(), param.shape());
            let mend = "are they for another alpha, or another number of classes?";
            return Err(Error::Data(format!(
                "{file}: {name} has shape {theirs:?} there and {ours:?} in the model; {mend}"
            )));
        }
        param.set(value.to_dtype(param.value().dtype())?.to_device(param.value().device())?)
    }
}

/// The layers with weights: our name, that of the batch norm behind, and the name in the file.
fn layers() -> Vec<(String, Option<String>, String)> {
    let mut all = vec![("Conv1".into(), Some("bn_Conv1".into()), "conv_stem".into())];
    for block in 0..17 {
        let prefix = if block == 0 { "expanded_conv".into() } else { format!("block_{block}") };
        for part in ["expand", "depthwise", "project"].into_iter().skip(usize::from(block == 0)) {
            let name = format!("{prefix}_{part}");
            all.push((name.clone(), Some(format!("{name}_BN")), format!("block{block}.{part}")));
        }
    }
    all.push(("Conv_1".into(), Some("Conv_1_bn".into()), "conv_head".into()));
    all.push(("predictions".into(), None, "classifier".into()));
    all
}

/// From `[out, in, height, width]` to `[height, width, in, out]`; depthwise from `[channels, 1, height, width]` to
/// `[height, width, channels, 1]`; the classifier from `[out, in]` to `[in, out]`.
fn kernel(name: &str, weight: &Tensor) -> Result<Tensor> {
    let order: &[isize] = match weight.rank() {
        2 => &[1, 0],
        4 if name.ends_with("depthwise") => &[2, 3, 0, 1],
        4 => &[2, 3, 1, 0],
        rank => return Err(Error::Data(format!("{name}.weight has {rank} dimensions, where a kernel has 2 or 4"))),
    };
    Ok(weight.permute(order)?.contiguous()?)
}
