//! Layers that join several inputs.

use gradus_core::Tensor;

use crate::{Error, Result};

/// A way to join several tensors into one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Merge {
    /// The sum, element by element.
    Add,
    /// The product, element by element.
    Multiply,
    /// The mean, element by element.
    Average,
    /// The largest, element by element.
    Maximum,
    /// One after another along a dimension.
    Concatenate {
        /// The dimension of a sample, counted without the batch; negative ones count from the end.
        axis: isize,
    },
}

impl Merge {
    /// Joins batches.
    pub fn apply(&self, inputs: &[&Tensor]) -> Result<Tensor> {
        let Some((&first, rest)) = inputs.split_first() else { return Err(self.fail("there is nothing to join")) };
        let fold = |f: fn(&Tensor, &Tensor) -> gradus_core::Result<Tensor>| {
            rest.iter().try_fold(first.clone(), |joined, next| f(&joined, next))
        };
        Ok(match *self {
            Merge::Add => fold(Tensor::add)?,
            Merge::Multiply => fold(Tensor::mul)?,
            Merge::Maximum => fold(Tensor::maximum)?,
            Merge::Average => fold(Tensor::add)?.mul_scalar(1.0 / inputs.len() as f64)?,
            Merge::Concatenate { axis } => Tensor::cat(inputs, if axis < 0 { axis } else { axis + 1 })?,
        })
    }

    /// The shape of one sample of the result for samples of these shapes.
    pub fn output_shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        let Some((&first, rest)) = inputs.split_first() else { return Err(self.fail("there is nothing to join")) };
        let Merge::Concatenate { axis } = *self else {
            return match rest.iter().find(|&&other| other != first) {
                None => Ok(first.to_vec()),
                Some(other) => Err(self.fail(&format!("samples of shapes {first:?} and {other:?} differ"))),
            };
        };
        let rank = first.len() as isize;
        if axis < -rank || axis >= rank {
            return Err(self.fail(&format!("axis {axis} is out of range for samples of shape {first:?}")));
        }
        let axis = axis.rem_euclid(rank) as usize;
        let mut joined = first.to_vec();
        for other in rest {
            let same = |i: usize| i == axis || other[i] == first[i];
            if other.len() != first.len() || !(0..first.len()).all(same) {
                return Err(
                    self.fail(&format!("samples of shapes {first:?} and {other:?} differ outside of axis {axis}"))
                );
            }
            joined[axis] += other[axis];
        }
        Ok(joined)
    }

    fn fail(&self, what: &str) -> Error {
        let name = match self {
            Merge::Add => "add",
            Merge::Multiply => "multiply",
            Merge::Average => "average",
            Merge::Maximum => "maximum",
            Merge::Concatenate { .. } => "concatenate",
        };
        Error::Config(format!("{name}: {what}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::testing::{checked, random};
    use gradus_core::grad::check::check_gradient;

    const ALL: [Merge; 6] = [
        Merge::Add,
        Merge::Multiply,
        Merge::Average,
        Merge::Maximum,
        Merge::Concatenate { axis: -1 },
        Merge::Concatenate { axis: 0 },
    ];

    #[test]
    fn joined_batches_have_the_inferred_shape() {
        let [a, b, c] = [0, 1, 2].map(|key| random(&[4, 2, 3], key));
        for merge in ALL {
            let shape = merge.output_shape(&[&[2, 3], &[2, 3], &[2, 3]]).unwrap();
            assert_eq!(&merge.apply(&[&a, &b, &c]).unwrap().shape()[1..], shape, "{merge:?}");
        }
        let average = Merge::Average.apply(&[&a, &a.mul_scalar(2.0).unwrap(), &a.mul_scalar(6.0).unwrap()]).unwrap();
        let error = average.sub(&a.mul_scalar(3.0).unwrap()).unwrap().abs().unwrap().max(&[]).unwrap();
        assert!(error.item().unwrap() < 1e-15);
    }

    #[test]
    fn shapes_that_do_not_fit_are_refused() {
        let complaint = |merge: Merge, shapes: &[&[usize]]| merge.output_shape(shapes).unwrap_err().to_string();
        assert_eq!(complaint(Merge::Add, &[&[2], &[3]]), "add: samples of shapes [2] and [3] differ");
        let axis = |axis| Merge::Concatenate { axis };
        assert_eq!(
            complaint(axis(-1), &[&[2, 3], &[4, 3]]),
            "concatenate: samples of shapes [2, 3] and [4, 3] differ outside of axis 1"
        );
        assert_eq!(complaint(axis(2), &[&[2, 3]]), "concatenate: axis 2 is out of range for samples of shape [2, 3]");
        assert_eq!(complaint(Merge::Average, &[]), "average: there is nothing to join");
    }

    #[test]
    fn gradients_agree_with_differences_to_second_order() {
        let inputs = [0, 1, 2].map(|key| random(&[2, 2, 3], key));
        for merge in ALL {
            let join = |x: &[Tensor]| checked(merge.apply(&x.iter().collect::<Vec<_>>()));
            check_gradient(join, &inputs, 2).unwrap_or_else(|error| panic!("{merge:?}: {error}"));
        }
    }
}
