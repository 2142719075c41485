//! What is said of a loss that ran away.

use super::Trainer;
use crate::Error;
use crate::core::{DType, Tensor, no_grad};
use crate::data::Batch;
use crate::models::Stem;
use crate::module::Ctx;

impl Trainer<'_> {
    /// The complaint about a loss that is not finite, with the first layer that shows it.
    ///
    /// No update was made from the bad loss, so the same batch still shows where the numbers ran away.
    pub(super) fn runaway(&self, stem: Option<&Stem>, batch: &Batch, loss: f64, epoch: usize, step: usize) -> Error {
        let failed = self.key.numbered(self.progress.history.steps as u64 - 1);
        let bad_weights = self.model.params().iter().find(|param| !is_finite(&param.value()));
        let mut bad_layer = None;
        let walk = no_grad(|| {
            self.model.see_behind(stem, &batch.inputs, &Ctx::train(failed), |name, y| {
                if bad_layer.is_none() && !is_finite(y) {
                    bad_layer = Some(name.to_string());
                }
                Ok(())
            })
        });
        let place = match (bad_layer, bad_weights, walk) {
            _ if !is_finite(&batch.inputs) => match stem {
                Some(stem) => format!("what the frozen layers up to {:?} make of the data is not finite", stem.layer),
                None => "the data themselves are not finite".into(),
            },
            (Some(layer), Some(param), _) => {
                format!(
                    "the first output that is not finite is that of layer {layer:?}, and {} is not finite",
                    param.name()
                )
            }
            (Some(layer), None, _) => format!("the first output that is not finite is that of layer {layer:?}"),
            (None, _, Err(error)) => format!("looking for the layer failed: {error}"),
            (None, ..) => "all layers' outputs are finite, so the loss itself ran away".into(),
        };
        let rate = self.update.learning_rate();
        Error::Numeric(format!(
            "epoch {epoch}, step {step}: the loss is {loss}: {place}; lower optimizer.learning_rate (it is {rate:?}) or look \
             at data.scale"
        ))
    }
}

/// Whether no element is infinite or NaN.
fn is_finite(x: &Tensor) -> bool {
    let finite = || x.detach().to_dtype(DType::F64)?.to_vec::<f64>();
    finite().is_ok_and(|values| values.iter().all(|value| value.is_finite()))
}
