//! Measuring a model without changing it.

use serde::{Deserialize, Serialize};

use super::checkpoint::bits;
use crate::Result;
use crate::core::no_grad;
use crate::data::{Batch, Loader};
use crate::loss::Loss;
use crate::metrics::{Metric, Predictions};
use crate::models::{Model, Stem};
use crate::module::Ctx;

/// A loss and metrics as means over samples.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// The mean loss.
    #[serde(with = "bits")]
    pub loss: f64,
    /// The mean of each metric, by name.
    #[serde(with = "bits::named")]
    pub metrics: Vec<(String, f64)>,
    /// Over how many samples.
    pub samples: usize,
}

impl Evaluation {
    /// Means over no samples yet.
    pub(super) fn of(metrics: &[Metric]) -> Self {
        Self { metrics: metrics.iter().map(|metric| (metric.to_string(), 0.0)).collect(), ..Self::default() }
    }

    /// All numbers by name, the loss first.
    pub fn values(&self) -> Vec<(String, f64)> {
        std::iter::once(("loss".to_string(), self.loss)).chain(self.metrics.iter().cloned()).collect()
    }
}

/// Sums from which running means are read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Sums {
    #[serde(with = "bits")]
    loss: f64,
    #[serde(with = "bits::all")]
    counts: Vec<f64>,
    means: Evaluation,
}

impl Sums {
    pub(super) fn new(metrics: &[Metric]) -> Self {
        Self { loss: 0.0, counts: vec![0.0; metrics.len()], means: Evaluation::of(metrics) }
    }

    /// Adds a batch of `samples`: its mean loss, and the sum of each metric over its samples.
    pub(super) fn add(&mut self, loss: f64, counts: impl IntoIterator<Item = f64>, samples: usize) {
        self.loss += loss * samples as f64;
        self.means.samples += samples;
        let all = self.means.samples as f64;
        self.means.loss = self.loss / all;
        for ((sum, count), (_, mean)) in self.counts.iter_mut().zip(counts).zip(&mut self.means.metrics) {
            *sum += count;
            *mean = *sum / all;
        }
    }

    pub(super) fn means(&self) -> &Evaluation {
        &self.means
    }
}

/// The loss, penalties included, and the metrics of `model` on everything that `loader` holds, without training.
pub fn evaluate(model: &Model, loss: &Loss, metrics: &[Metric], loader: &Loader) -> Result<Evaluation> {
    measure((model, None), loss, metrics, loader.epoch(0), &mut None)
}

/// Like [`evaluate`], with what a classifier said about every sample; `None` if the model is no classifier.
pub fn examine(
    model: &Model,
    loss: &Loss,
    metrics: &[Metric],
    loader: &Loader,
) -> Result<(Evaluation, Option<Predictions>)> {
    let mut predictions = Predictions::of(loss, model.output_shape());
    let means = measure((model, None), loss, metrics, loader.epoch(0), &mut predictions)?;
    Ok((means, predictions))
}

/// Measures on `batches`, which hold what the stem of the model made of their samples, if one is given.
pub(super) fn measure(
    (model, stem): (&Model, Option<&Stem>),
    loss: &Loss,
    metrics: &[Metric],
    batches: impl Iterator<Item = Result<Batch>>,
    predictions: &mut Option<Predictions>,
) -> Result<Evaluation> {
    let mut sums = Sums::new(metrics);
    no_grad(|| {
        let penalty = model.penalty()?;
        for batch in batches {
            let batch = batch?;
            let (raw, left, activity) = model.forward_behind(stem, &batch.inputs, &Ctx::eval())?;
            let activity = activity.map_or(Ok(0.0), |activity| activity.item())?;
            let value =
                loss.weighted(&raw, &left, &batch.targets, batch.weights.as_ref())?.item()? + penalty + activity;
            let counts = metrics.iter().map(|metric| metric.count(&raw, &left, &batch.targets));
            sums.add(value, counts.collect::<Result<Vec<_>>>()?, batch.size);
            if let Some(predictions) = predictions {
                predictions.add(loss, &raw, &left, &batch.targets)?;
            }
        }
        Ok(sums.means().clone())
    })
}
