//! Layers that give the numbers of a sample another shape.

use gradus_core::Tensor;

use crate::{Ctx, Error, Module, Result};

/// All numbers of a sample in one row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flatten;

impl Module for Flatten {
    fn forward(&self, x: &Tensor, _: &Ctx) -> Result<Tensor> {
        reshape(x, &self.output_shape(x.shape().get(1..).unwrap_or_default())?)
    }

    fn is_steady(&self) -> bool {
        true
    }

    fn output_shape(&self, input: &[usize]) -> Result<Vec<usize>> {
        Ok(vec![input.iter().product()])
    }
}

/// The numbers of a sample in another shape, in row-major order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reshape {
    shape: Vec<usize>,
}

impl Reshape {
    /// To `shape`, which leaves out the batch.
    pub fn new(shape: Vec<usize>) -> Self {
        Self { shape }
    }
}

impl Module for Reshape {
    fn forward(&self, x: &Tensor, _: &Ctx) -> Result<Tensor> {
        reshape(x, &self.shape)
    }

    fn is_steady(&self) -> bool {
        true
    }

    fn output_shape(&self, input: &[usize]) -> Result<Vec<usize>> {
        let (have, want) = (input.iter().product::<usize>(), self.shape.iter().product::<usize>());
        if have != want {
            return Err(Error::Config(format!(
                "reshape: {:?} takes {want} numbers, a sample of shape {input:?} has {have}",
                self.shape
            )));
        }
        Ok(self.shape.clone())
    }
}

fn reshape(x: &Tensor, sample: &[usize]) -> Result<Tensor> {
    let batch = x.shape().first().copied().unwrap_or(1);
    Ok(x.reshape(&[&[batch], sample].concat())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::testing::check_layer;

    #[test]
    fn samples_keep_their_numbers() {
        let x = Tensor::from_slice(&[1f32, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0], &[2, 2, 2]).unwrap();
        let y = Flatten.forward(&x, &Ctx::eval()).unwrap();
        assert_eq!(y.shape(), [2, 4]);
        let z = Reshape::new(vec![4, 1]).forward(&y, &Ctx::eval()).unwrap();
        assert_eq!(z.shape(), [2, 4, 1]);
        assert_eq!(z.to_vec::<f32>().unwrap(), x.to_vec::<f32>().unwrap());
        assert_eq!(Flatten.output_shape(&[28, 28]).unwrap(), [784]);
        assert_eq!(Flatten.output_shape(&[]).unwrap(), [1]);
    }

    #[test]
    fn a_shape_of_another_size_is_refused() {
        let error = Reshape::new(vec![3, 3]).output_shape(&[2, 4]).unwrap_err().to_string();
        assert_eq!(error, "reshape: [3, 3] takes 9 numbers, a sample of shape [2, 4] has 8");
    }

    #[test]
    fn gradients_agree_with_differences_to_second_order() {
        check_layer(&Flatten, &[2, 2, 3]);
        check_layer(&Reshape::new(vec![3, 2]), &[2, 6]);
    }
}
