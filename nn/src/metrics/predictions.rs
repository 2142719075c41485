//! What a classifier said about each single sample.

use gradus_core::{DType, Tensor, no_grad};

use super::Confusion;
use crate::layers::Activation;
use crate::loss::{Loss, align_labels};
use crate::{Error, Result};

/// True and predicted classes, in the order of the samples.
#[derive(Clone, Debug, PartialEq)]
pub struct Predictions {
    classes: usize,
    /// The class of each sample.
    pub truth: Vec<usize>,
    /// The class that the model finds likeliest.
    pub predicted: Vec<usize>,
    /// How likely the model finds the predicted class, from 0 to 1.
    pub confidence: Vec<f64>,
}

impl Predictions {
    /// No samples yet; `None` if a model with this loss and this output (without the batch) does not choose among classes
    /// that exclude each other.
    pub fn of(loss: &Loss, output: &[usize]) -> Option<Self> {
        let classes = match (loss, output) {
            (Loss::BinaryCrossentropy(_) | Loss::BinaryCrossentropyLogits(_), [] | [1]) => 2,
            (
                Loss::SparseCategoricalCrossentropy(_)
                | Loss::SparseCategoricalCrossentropyLogits(_)
                | Loss::CategoricalCrossentropy(_)
                | Loss::CategoricalCrossentropyLogits(_),
                &[classes],
            ) if classes > 1 => classes,
            _ => return None,
        };
        Some(Self { classes, truth: Vec::new(), predicted: Vec::new(), confidence: Vec::new() })
    }

    /// How many classes there are.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Adds a batch: what [`Module::forward_raw`](crate::Module::forward_raw) gives for it, and its class numbers or one-hot rows.
    pub fn add(&mut self, loss: &Loss, raw: &Tensor, left: &Activation, target: &Tensor) -> Result<()> {
        no_grad(|| {
            let raw = raw.detach();
            let samples = raw.shape().first().copied().unwrap_or(0);
            let raw = raw.reshape(&[samples, raw.len() / samples.max(1)])?;
            let width = raw.shape()[1];
            let one_hot = width > 1 && target.shape() == raw.shape();
            let numbers = if one_hot { target.argmax(-1)? } else { target.clone() };
            let labels = align_labels(&raw, &numbers)?.ok_or_else(|| {
                let (have, want) = (target.shape(), raw.shape());
                Error::Config(format!("targets of shape {have:?} name no classes of outputs of shape {want:?}"))
            })?;
            for label in labels.to_vec::<i64>()? {
                let class = usize::try_from(label).ok().filter(|&class| class < self.classes);
                self.truth.push(class.ok_or_else(|| {
                    Error::Data(format!("label {label} is out of range: the model knows {} classes", self.classes))
                })?);
            }
            let outputs = loss.last_activation().apply(&left.apply(&raw)?)?.to_dtype(DType::F64)?.to_vec::<f64>()?;
            // As the accuracy does: before the softmax, which may round two outputs to one number.
            let largest = raw.argmax(-1)?.to_vec::<i64>()?;
            for (row, largest) in outputs.chunks(width.max(1)).zip(largest) {
                let (class, confidence) = match *row {
                    [one] if one > 0.5 => (1, one),
                    [one] => (0, 1.0 - one),
                    _ => (largest as usize, row[largest as usize]),
                };
                self.predicted.push(class);
                self.confidence.push(confidence);
            }
            Ok(())
        })
    }

    /// Whether sample number `at` was classified rightly.
    pub fn is_right(&self, at: usize) -> bool {
        self.truth[at] == self.predicted[at]
    }

    /// Which classes were taken for which.
    pub fn confusion(&self) -> Confusion {
        Confusion::of(self.classes, self.truth.iter().copied().zip(self.predicted.iter().copied()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(values: &[f32], shape: &[usize]) -> Tensor {
        Tensor::from_slice(values, shape).unwrap()
    }

    #[test]
    fn class_numbers_and_one_hot_rows_mean_the_same() {
        let raw = tensor(&[0.0, 2.0, 1.0, 5.0, 0.0, 0.0], &[2, 3]);
        let labels = Tensor::from_slice(&[1i64, 2], &[2]).unwrap();
        for target in [labels, tensor(&[0.0, 1.0, 0.0, 0.0, 0.0, 1.0], &[2, 3])] {
            let loss = Loss::SparseCategoricalCrossentropy(0.0);
            let mut all = Predictions::of(&loss, &[3]).unwrap();
            all.add(&loss, &raw, &Activation::Softmax, &target).unwrap();
            assert_eq!((&all.truth[..], &all.predicted[..]), (&[1, 2][..], &[1, 0][..]));
            let sure = 1.0 / (1.0 + (-2f64).exp() + (-1f64).exp());
            assert!((all.confidence[0] - sure).abs() < 1e-6, "{:?}", all.confidence);
            assert!(all.is_right(0) && !all.is_right(1));
            assert_eq!(all.confusion().count(2, 0), 1);
        }
    }

    #[test]
    fn logits_become_probabilities_and_one_output_has_two_sides() {
        let loss = Loss::BinaryCrossentropyLogits(0.0);
        let mut all = Predictions::of(&loss, &[1]).unwrap();
        let labels = Tensor::from_slice(&[1i64, 1, 0], &[3]).unwrap();
        all.add(&loss, &tensor(&[0.4, -0.4, -3.0], &[3, 1]), &Activation::Linear, &labels).unwrap();
        assert_eq!((&all.predicted[..], all.classes()), (&[1, 0, 0][..], 2));
        assert!((all.confidence[1] - 1.0 / (1.0 + (-0.4f64).exp())).abs() < 1e-6, "{:?}", all.confidence);
    }

    #[test]
    fn what_is_no_choice_among_classes_is_told_apart() {
        assert_eq!(Predictions::of(&Loss::MeanSquaredError, &[3]), None);
        assert_eq!(Predictions::of(&Loss::BinaryCrossentropy(0.0), &[3]), None);
        assert_eq!(Predictions::of(&Loss::CategoricalCrossentropy(0.0), &[4, 3]), None);
        let loss = Loss::SparseCategoricalCrossentropy(0.0);
        let mut all = Predictions::of(&loss, &[2]).unwrap();
        let labels = Tensor::from_slice(&[2i64], &[1]).unwrap();
        let error = all.add(&loss, &tensor(&[0.0, 1.0], &[1, 2]), &Activation::Softmax, &labels).unwrap_err();
        assert_eq!(error.to_string(), "label 2 is out of range: the model knows 2 classes");
    }
}
