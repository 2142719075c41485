//! Samples and what they should become.

use std::ops::Range;

use gradus_core::{DType, Tensor};

use super::Preparation;
use crate::{Error, Result};

/// Inputs and targets, row by row.
#[derive(Clone, Debug)]
pub struct Dataset {
    /// What users call it.
    pub name: String,
    /// The samples, `[N, ..]`, as `u8` or `f32`.
    pub inputs: Tensor,
    /// What the samples should become: class numbers `[N]` as `i64`, or numbers `[N, ..]` as `f32`.
    pub targets: Tensor,
    /// How much each sample counts in the loss, `[N]` as `f32`, where they do not all count the same; see
    /// [`Dataset::with_weights`].
    pub weights: Option<Tensor>,
    /// What the classes are called; empty if they have no names or there are none.
    pub classes: Vec<String>,
    /// What loaders do to the samples, and their shape after it; see [`Dataset::prepared`].
    pub(super) preparation: Option<(Preparation, Vec<usize>)>,
}

impl Dataset {
    /// A data set of `inputs` and `targets`, which must have equally many rows.
    ///
    /// Inputs of other types than `u8` become `f32`. Targets of integers become `i64`; those of real numbers become `f32`,
    /// and one such number a row becomes a column, `[N, 1]`, as a network with one output gives it.
    pub fn new(name: impl Into<String>, inputs: Tensor, targets: Tensor, classes: Vec<String>) -> Result<Self> {
        let name = name.into();
        let rows = |what: &str, tensor: &Tensor| {
            tensor.shape().first().copied().ok_or_else(|| {
                Error::Data(format!(
                    "{name}: the {what} are a single number; the first dimension must count the samples"
                ))
            })
        };
        let (samples, labels) = (rows("inputs", &inputs)?, rows("targets", &targets)?);
        if samples != labels {
            let what = format!("there are {samples} samples and {labels} targets");
            let mend = "every sample needs one; take both files from the same part of the set, training or test";
            return Err(Error::Data(format!("{name}: {what}; {mend}")));
        }
        if samples == 0 {
            return Err(Error::Data(format!("{name}: there are no samples in it")));
        }
        let inputs = if inputs.dtype() == DType::U8 { inputs } else { inputs.to_dtype(DType::F32)? };
        let targets = match (targets.dtype().is_float(), targets.rank()) {
            (false, _) => targets.to_dtype(DType::I64)?,
            (true, 1) => targets.to_dtype(DType::F32)?.reshape(&[labels, 1])?,
            (true, _) => targets.to_dtype(DType::F32)?,
        };
        let set = Self { name, inputs, targets, weights: None, classes, preparation: None };
        if !set.classes.is_empty() {
            set.check_labels(set.classes.len())?;
        }
        Ok(set)
    }

    /// The same set with a weight for each sample, by which its loss is multiplied in training and measuring.
    ///
    /// # Errors
    /// If there are more or fewer weights than samples, or one is negative or not finite.
    pub fn with_weights(self, weights: Tensor) -> Result<Self> {
        let weights = weights.to_dtype(DType::F32)?;
        if weights.shape() != [self.len()] {
            let (name, have, samples) = (&self.name, weights.shape(), self.len());
            return Err(Error::Data(format!("{name}: weights of shape {have:?} for {samples} samples; give one each")));
        }
        let bad = |weight: &f32| !weight.is_finite() || *weight < 0.0;
        if let Some(row) = weights.to_vec::<f32>()?.iter().position(bad) {
            let name = &self.name;
            return Err(Error::Data(format!(
                "{name}: the weight in row {row} (counted from 0) is not a number of 0 or more"
            )));
        }
        Ok(Self { weights: Some(weights), ..self })
    }

    /// The same set, of whose images loaders give what `preparation` makes of them. The images themselves stay as they are: prepared
    /// ones may take many times their memory.
    ///
    /// # Errors
    /// If the samples are no images, or other ones than it can prepare.
    pub fn prepared(self, preparation: &Preparation) -> Result<Self> {
        if preparation.is_identity() {
            return Ok(Self { preparation: None, ..self });
        }
        let shape = preparation.shape(&self.inputs.shape()[1..])?;
        Ok(Self { preparation: Some((preparation.clone(), shape)), ..self })
    }

    /// The samples as a network sees them, but for scaling: prepared, as `f32`.
    pub fn seen(&self) -> Result<Tensor> {
        match &self.preparation {
            Some((preparation, _)) => preparation.apply(&self.inputs),
            None => Ok(self.inputs.to_dtype(DType::F32)?),
        }
    }

    /// The number of samples.
    pub fn len(&self) -> usize {
        self.inputs.shape()[0]
    }

    /// Whether there are no samples.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The shape of one sample as a network sees it.
    pub fn sample_shape(&self) -> &[usize] {
        match &self.preparation {
            Some((_, shape)) => shape,
            None => &self.inputs.shape()[1..],
        }
    }

    /// The same samples in the shape that a model takes, where it has as many numbers: an image of 28x28 is one of 28x28x1.
    pub fn shaped(self, shape: &[usize]) -> Result<Self> {
        if self.sample_shape() == shape
            || self.sample_shape().iter().product::<usize>() != shape.iter().product::<usize>()
        {
            return Ok(self);
        }
        let batch: Vec<usize> = std::iter::once(self.len()).chain(shape.iter().copied()).collect();
        Ok(Self { inputs: self.inputs.reshape(&batch)?, ..self })
    }

    /// Fails, naming the row, if a class number does not lie in `0..classes`. Targets of real numbers have none.
    pub fn check_labels(&self, classes: usize) -> Result<()> {
        if self.targets.dtype() != DType::I64 {
            return Ok(());
        }
        let labels = self.targets.to_vec::<i64>()?;
        let Some(at) = labels.iter().position(|&label| label < 0 || label as u64 >= classes as u64) else {
            return Ok(());
        };
        let row = at / (labels.len() / self.len());
        let what = format!("label {} in row {row} (counted from 0) is out of range", labels[at]);
        let mend = format!("{classes} classes have the labels 0 to {}", classes.saturating_sub(1));
        Err(Error::Data(format!("{}: {what}: {mend}; are these the right labels for the model?", self.name)))
    }

    /// The samples of consecutive rows, sharing this set's memory.
    pub fn subset(&self, rows: Range<usize>) -> Result<Self> {
        let inputs = self.inputs.slice(0, rows.start, rows.end)?;
        let targets = self.targets.slice(0, rows.start, rows.end)?;
        let weights = self.weights.as_ref().map(|weights| weights.slice(0, rows.start, rows.end)).transpose()?;
        Ok(Self { inputs, targets, weights, ..self.clone() })
    }

    /// The samples of the given rows, in that order, as a copy.
    pub fn select(&self, rows: &[usize]) -> Result<Self> {
        let index = index(rows)?;
        let inputs = self.inputs.index_select(&index, 0)?;
        let targets = self.targets.index_select(&index, 0)?;
        let weights = self.weights.as_ref().map(|weights| weights.index_select(&index, 0)).transpose()?;
        Ok(Self { inputs, targets, weights, ..self.clone() })
    }
}

/// Row numbers as the tensor that indexing takes.
fn index(rows: &[usize]) -> Result<Tensor> {
    let numbers: Vec<i64> = rows.iter().map(|&row| row as i64).collect();
    Ok(Tensor::from_slice(&numbers, &[rows.len()])?)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// `count` samples of two pixels, row number `i` holding `i` and `i + 1`, with labels that count up to `classes`.
    pub(in crate::data) fn counting(count: usize, classes: usize) -> Dataset {
        let pixels: Vec<u8> = (0..count).flat_map(|i| [i as u8, i as u8 + 1]).collect();
        let labels: Vec<u8> = (0..count).map(|i| (i % classes) as u8).collect();
        let inputs = Tensor::from_slice(&pixels, &[count, 2]).unwrap();
        Dataset::new("counting", inputs, Tensor::from_slice(&labels, &[count]).unwrap(), Vec::new()).unwrap()
    }

    #[test]
    fn types_and_shapes_are_brought_into_one_form() {
        let set = counting(6, 3);
        assert_eq!((set.inputs.dtype(), set.targets.dtype(), set.len()), (DType::U8, DType::I64, 6));
        assert_eq!(set.sample_shape(), [2]);
        let inputs = Tensor::from_slice(&[1f64, 2.0], &[2]).unwrap();
        let set = Dataset::new("x", inputs.clone(), inputs, Vec::new()).unwrap();
        assert_eq!(
            (set.inputs.dtype(), set.targets.dtype(), set.targets.shape()),
            (DType::F32, DType::F32, &[2, 1][..])
        );
    }

    #[test]
    fn images_are_prepared_when_they_are_looked_at() {
        let pixels: Vec<u8> = (0..32).collect();
        let labels = Tensor::from_slice(&[0u8, 1], &[2]).unwrap();
        let images = Tensor::from_slice(&pixels, &[2, 4, 4]).unwrap();
        let set = Dataset::new("x", images, labels, Vec::new()).unwrap();
        let how = Preparation { crop: Some([2, 2]), channels: Some(3), ..Preparation::default() };
        let set = set.prepared(&how).unwrap();
        assert_eq!((set.sample_shape(), set.inputs.shape()), (&[2, 2, 3][..], &[2, 4, 4][..]));
        let part = set.select(&[1]).unwrap();
        assert_eq!(part.seen().unwrap().shape(), [1, 2, 2, 3]);
        assert_eq!(part.seen().unwrap().to_vec::<f32>().unwrap()[..4], [21.0, 21.0, 21.0, 22.0]);
        assert_eq!(set.prepared(&Preparation::default()).unwrap().sample_shape(), [4, 4]);
    }

    #[test]
    fn different_counts_are_refused() {
        let tensor = |count: usize| Tensor::from_slice(&vec![0u8; count], &[count]).unwrap();
        let error = Dataset::new("fashion", tensor(60), tensor(10), Vec::new()).unwrap_err();
        assert!(matches!(error, Error::Data(_)));
        assert_eq!(
            error.to_string(),
            "fashion: there are 60 samples and 10 targets; every sample needs one; take both files from the same part of \
             the set, training or test"
        );
        let error = Dataset::new("fashion", Tensor::scalar(1u8), tensor(10), Vec::new()).unwrap_err().to_string();
        assert_eq!(error, "fashion: the inputs are a single number; the first dimension must count the samples");
        let error = Dataset::new("fashion", tensor(0), tensor(0), Vec::new()).unwrap_err().to_string();
        assert_eq!(error, "fashion: there are no samples in it");
    }

    #[test]
    fn labels_out_of_range_are_named_by_row() {
        let set = counting(12, 5);
        set.check_labels(5).unwrap();
        let error = set.check_labels(4).unwrap_err();
        assert!(matches!(error, Error::Data(_)));
        assert_eq!(
            error.to_string(),
            "counting: label 4 in row 4 (counted from 0) is out of range: 4 classes have the labels 0 to 3; are these the \
             right labels for the model?"
        );
        let names = vec!["a".to_string(), "b".to_string()];
        let error = Dataset::new("x", set.inputs.clone(), set.targets.clone(), names).unwrap_err().to_string();
        assert!(error.starts_with("x: label 2 in row 2 (counted from 0) is out of range: 2 classes"), "{error}");
        let negative = Tensor::from_slice(&[0i64, -1], &[2]).unwrap();
        let set = Dataset::new("x", negative.clone(), negative, Vec::new()).unwrap();
        assert!(set.check_labels(10).unwrap_err().to_string().starts_with("x: label -1 in row 1"));
    }

    #[test]
    fn weights_stay_with_their_samples() {
        let weights = |values: &[f32]| Tensor::from_slice(values, &[values.len()]).unwrap();
        let set = counting(4, 2).with_weights(weights(&[0.0, 1.0, 2.0, 3.0])).unwrap();
        let of = |set: &Dataset| set.weights.as_ref().unwrap().to_vec::<f32>().unwrap();
        let part = set.subset(1..4).unwrap();
        assert_eq!((of(&part), of(&part.select(&[2, 0]).unwrap())), (vec![1.0, 2.0, 3.0], vec![3.0, 1.0]));
        let error = counting(3, 2).with_weights(weights(&[1.0])).unwrap_err().to_string();
        assert_eq!(error, "counting: weights of shape [1] for 3 samples; give one each");
        let error = counting(2, 2).with_weights(weights(&[1.0, -1.0])).unwrap_err().to_string();
        assert_eq!(error, "counting: the weight in row 1 (counted from 0) is not a number of 0 or more");
    }

    #[test]
    fn parts_keep_rows_together() {
        let set = counting(6, 3);
        let part = set.subset(2..5).unwrap();
        assert_eq!(part.inputs.to_vec::<u8>().unwrap(), [2, 3, 3, 4, 4, 5]);
        assert_eq!(part.targets.to_vec::<i64>().unwrap(), [2, 0, 1]);
        let part = part.select(&[2, 0]).unwrap();
        assert_eq!(part.inputs.to_vec::<u8>().unwrap(), [4, 5, 2, 3]);
        assert_eq!(part.targets.to_vec::<i64>().unwrap(), [1, 2]);
        assert!(set.subset(2..7).is_err());
        assert!(set.select(&[6]).is_err());
    }
}
