//! What training reports beside the loss.

mod confusion;
mod histogram;
mod predictions;

pub use confusion::{Confusion, Scores};
pub use histogram::Histogram;
pub use predictions::Predictions;

use gradus_core::{Tensor, no_grad};

use crate::layers::Activation;
use crate::loss::{Loss, align, align_labels};
use crate::named::named;
use crate::{Error, Result};

named! {
    /// A number for each sample, averaged over an epoch.
    Metric "metric" {
        /// The share of samples that are classified rightly; which of the next three it is follows from the shapes.
        Accuracy = "accuracy" | "acc";
        /// The share of rows whose largest output stands at the target, a class number.
        SparseCategoricalAccuracy = "sparse_categorical_accuracy";
        /// The share of rows whose largest output stands where the target's largest does.
        CategoricalAccuracy = "categorical_accuracy";
        /// The share of outputs that lie on the same side of `threshold` as the target.
        BinaryAccuracy(threshold: f64 = 0.5) = "binary_accuracy";
        /// The share of rows whose target, a class number or a one-hot row, is among the `k` largest outputs.
        TopK(k: usize = 5) = "top_k_accuracy" | "top_k_categorical_accuracy" | "sparse_top_k_categorical_accuracy";
        /// The mean of `(y - t)²`.
        MeanSquaredError = "mean_squared_error" | "mse";
        /// The mean of `|y - t|`.
        MeanAbsoluteError = "mean_absolute_error" | "mae";
    }
}

impl Metric {
    /// What people usually want to know beside `loss`.
    pub fn usual_for(loss: &Loss) -> Option<Metric> {
        match loss {
            Loss::SparseCategoricalCrossentropy(_)
            | Loss::SparseCategoricalCrossentropyLogits(_)
            | Loss::CategoricalCrossentropy(_)
            | Loss::CategoricalCrossentropyLogits(_)
            | Loss::BinaryCrossentropy(_)
            | Loss::BinaryCrossentropyLogits(_) => Some(Metric::Accuracy),
            _ => None,
        }
    }

    /// The sum of the metric over a batch's samples: divide by their number, of as many batches as you like.
    ///
    /// `raw` and `left` are what [`Module::forward_raw`](crate::Module::forward_raw) gives.
    pub fn count(&self, raw: &Tensor, left: &Activation, target: &Tensor) -> Result<f64> {
        no_grad(|| {
            let values = self.values(&raw.detach(), left, target)?;
            // A sample may have several values; it counts once.
            let samples = raw.shape().first().copied().unwrap_or(1);
            let each = values.len().checked_div(samples).unwrap_or(1).max(1);
            Ok(values.sum(&[])?.item()? / each as f64)
        })
    }

    fn values(&self, raw: &Tensor, left: &Activation, target: &Tensor) -> Result<Tensor> {
        // Neither softmax nor sigmoid changes which output is the largest.
        match self.resolve(raw, target) {
            Metric::Accuracy | Metric::SparseCategoricalAccuracy => {
                let labels = align_labels(raw, target)?.ok_or_else(|| self.mismatch(raw, target))?;
                Ok(raw.argmax(-1)?.eq(&labels)?)
            }
            Metric::CategoricalAccuracy => {
                let (y, t) = align(raw, target)?.ok_or_else(|| self.mismatch(raw, target))?;
                Ok(y.argmax(-1)?.eq(&t.argmax(-1)?)?)
            }
            Metric::BinaryAccuracy(threshold) => {
                let (y, t) = align(&left.apply(raw)?, target)?.ok_or_else(|| self.mismatch(raw, target))?;
                Ok(y.gt_scalar(threshold)?.to_dtype(y.dtype())?.eq(&t)?)
            }
            Metric::TopK(k) => {
                let one_hot = target.shape() == raw.shape();
                let numbers = if one_hot { target.argmax(-1)? } else { target.clone() };
                let labels = align_labels(raw, &numbers)?.ok_or_else(|| self.mismatch(raw, target))?;
                let chosen = raw.gather(&labels.unsqueeze(-1)?, -1)?;
                // A NaN is above nothing, and must not count as the best of all.
                let better = raw.gt(&chosen)?.sum(&[-1])?.lt_scalar(k as f64)?;
                Ok(better.logical_and(&chosen.is_nan()?.logical_not()?.squeeze(-1)?)?)
            }
            Metric::MeanSquaredError => Loss::MeanSquaredError.each(raw, left, target),
            Metric::MeanAbsoluteError => Loss::MeanAbsoluteError.each(raw, left, target),
        }
    }

    /// Which accuracy is meant, by Keras' rule.
    fn resolve(&self, raw: &Tensor, target: &Tensor) -> Metric {
        if *self != Metric::Accuracy {
            return self.clone();
        }
        let one = |x: &Tensor| x.shape().last() == Some(&1);
        if raw.rank() == 1 || one(raw) {
            Metric::BinaryAccuracy(0.5)
        } else if target.rank() < raw.rank() || one(target) {
            Metric::SparseCategoricalAccuracy
        } else {
            Metric::CategoricalAccuracy
        }
    }

    fn mismatch(&self, y: &Tensor, target: &Tensor) -> Error {
        let (have, want) = (target.shape(), y.shape());
        let name = self.name();
        Error::Config(format!("metric {name}: targets of shape {have:?} do not fit outputs of shape {want:?}"))
    }

    fn complaint(&self) -> Option<&'static str> {
        match *self {
            Metric::TopK(0) => Some("k must be 1 or more"),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matrix(values: &[f32], columns: usize) -> Tensor {
        Tensor::from_slice(values, &[values.len() / columns, columns]).unwrap()
    }

    fn count(metric: &str, raw: &Tensor, left: Activation, target: &Tensor) -> f64 {
        metric.parse::<Metric>().unwrap().count(raw, &left, target).unwrap()
    }

    #[test]
    fn every_name_reads_back_as_it_is_written() {
        for name in Metric::NAMES {
            let metric: Metric = name.parse().unwrap();
            assert_eq!(metric.to_string().parse::<Metric>().unwrap(), metric);
        }
        let error = "top_k_accuracy(0)".parse::<Metric>().unwrap_err().to_string();
        assert_eq!(error, "metric \"top_k_accuracy(0)\": k must be 1 or more");
    }

    #[test]
    fn accuracy_follows_from_the_shapes() {
        let y = matrix(&[0.1, 0.9, 0.0, 0.3, 0.3, 0.4, 0.5, 0.2, 0.3], 3);
        let labels = Tensor::from_slice(&[1i64, 0, 0], &[3]).unwrap();
        let one_hot = matrix(&[0.0, 1.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0], 3);
        for target in [&labels, &labels.reshape(&[3, 1]).unwrap(), &one_hot] {
            assert_eq!(count("accuracy", &y, Activation::Linear, target), 2.0);
        }
        // A sigmoid of 0.4 lies above one half, 0.4 itself below.
        let column = matrix(&[0.4, -0.4, 2.0], 1);
        assert_eq!(count("accuracy", &column, Activation::Sigmoid, &labels), 2.0);
        assert_eq!(count("accuracy", &column, Activation::Linear, &labels), 1.0);
        assert_eq!(count("binary_accuracy(-1)", &column, Activation::Linear, &labels), 1.0);
        assert_eq!(count("accuracy", &matrix(&[0.4, 0.4, -2.0], 1), Activation::Sigmoid, &labels), 2.0);
    }

    #[test]
    fn a_sample_of_several_rows_counts_once() {
        let y = Tensor::from_slice(&[1f32, 0.0, 0.0, 1.0, 1.0, 0.0, 1.0, 0.0], &[2, 2, 2]).unwrap();
        let labels = Tensor::from_slice(&[0i64, 0, 0, 0], &[2, 2]).unwrap();
        assert_eq!(count("accuracy", &y, Activation::Linear, &labels), 1.5);
        assert_eq!(
            count("binary_accuracy", &matrix(&[1.0, 0.0, 1.0], 3), Activation::Linear, &matrix(&[1.0; 3], 3)),
            2.0 / 3.0
        );
    }

    #[test]
    fn top_k_looks_at_the_k_largest() {
        let y = matrix(&[0.1, 0.4, 0.2, 0.3, 0.4, 0.3, 0.2, 0.1, 0.0, f32::NAN, 0.0, 0.0], 4);
        let labels = Tensor::from_slice(&[3i64, 3, 1], &[3]).unwrap();
        let one_hot = matrix(&[0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 1.0, 0.0, 0.0], 4);
        for target in [&labels, &one_hot] {
            let top = |k| count(&format!("top_k_accuracy({k})"), &y, Activation::Linear, target);
            assert_eq!([1, 2, 3, 4].map(top), [0.0, 1.0, 1.0, 2.0]);
        }
    }

    #[test]
    fn errors_are_averaged_over_a_sample() {
        let (y, t) = (matrix(&[1.0, 2.0, 3.0, 4.0], 2), matrix(&[0.0, 4.0, 3.0, 4.0], 2));
        assert_eq!(count("mae", &y, Activation::Linear, &t), 1.5);
        assert_eq!(count("mse", &y, Activation::Linear, &t), 2.5);
    }

    #[test]
    fn targets_that_do_not_fit_are_refused() {
        let labels = Tensor::from_slice(&[0i64, 0], &[2]).unwrap();
        let error =
            Metric::Accuracy.count(&matrix(&[0.0; 6], 2), &Activation::Linear, &labels).unwrap_err().to_string();
        assert_eq!(error, "metric accuracy: targets of shape [2] do not fit outputs of shape [3, 2]");
    }
}
