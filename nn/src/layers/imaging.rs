//! Layers that change the size or the range of images without learning anything.

use gradus_core::Tensor;

use super::window::image;
use crate::named::named;
use crate::{Ctx, Error, Module, Result};

named! {
    /// What stands between the pixels of an enlarged image.
    #[derive(Copy, Default)]
    Interpolation "interpolation" {
        /// The nearest pixel.
        #[default]
        Nearest = "nearest";
        /// The four nearest ones, by distance.
        Bilinear = "bilinear";
    }
}

impl Interpolation {
    fn complaint(&self) -> Option<&'static str> {
        None
    }
}

/// Images so many times as high and as wide.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct UpSampling2d {
    /// How many times as high, and as wide.
    pub size: [usize; 2],
    /// What the new pixels are.
    pub interpolation: Interpolation,
}

impl Module for UpSampling2d {
    fn forward(&self, x: &Tensor, _: &Ctx) -> Result<Tensor> {
        let [down, across, _] = self.output_shape(x.shape().get(1..).unwrap_or_default())?[..] else {
            unreachable!("images have three dimensions")
        };
        Ok(match self.interpolation {
            Interpolation::Nearest => x.upsample_nearest2d(self.size)?,
            Interpolation::Bilinear => x.upsample_bilinear2d([down, across])?,
        })
    }

    fn is_steady(&self) -> bool {
        true
    }

    fn output_shape(&self, input: &[usize]) -> Result<Vec<usize>> {
        let [height, width, channels] = image("up_sampling2d", input)?;
        match (height.checked_mul(self.size[0]), width.checked_mul(self.size[1])) {
            (Some(down), Some(across)) if !self.size.contains(&0) => Ok(vec![down, across, channels]),
            _ => Err(Error::Config(format!("up_sampling2d: images cannot become {:?} times as large", self.size))),
        }
    }
}

/// Zeros around images: rows above and below, columns left and right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ZeroPadding2d(
    /// Above and below, left and right.
    pub [[usize; 2]; 2],
);

impl Module for ZeroPadding2d {
    fn forward(&self, x: &Tensor, _: &Ctx) -> Result<Tensor> {
        Ok(x.pad2d(self.0)?)
    }

    fn is_steady(&self) -> bool {
        true
    }

    fn output_shape(&self, input: &[usize]) -> Result<Vec<usize>> {
        let [height, width, channels] = image("zero_padding2d", input)?;
        let grown = |side: usize, [before, after]: [usize; 2]| side.checked_add(before)?.checked_add(after);
        match (grown(height, self.0[0]), grown(width, self.0[1])) {
            (Some(height), Some(width)) => Ok(vec![height, width, channels]),
            _ => Err(Error::Config(format!("zero_padding2d: {:?} is more than memory can hold", self.0))),
        }
    }
}

/// Every number times `scale` plus `offset`: `x / 127.5 - 1` brings pixels from 0..255 to -1..1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rescaling {
    /// What numbers are multiplied by.
    pub scale: f64,
    /// What is added after that.
    pub offset: f64,
}

impl Module for Rescaling {
    fn forward(&self, x: &Tensor, _: &Ctx) -> Result<Tensor> {
        Ok(x.mul_scalar(self.scale)?.add_scalar(self.offset)?)
    }

    fn is_steady(&self) -> bool {
        true
    }

    fn output_shape(&self, input: &[usize]) -> Result<Vec<usize>> {
        Ok(input.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::testing::check_layer;

    fn of(layer: &dyn Module) -> (Vec<usize>, Vec<f32>) {
        let x = Tensor::from_slice(&[1f32, 2.0], &[1, 1, 2, 1]).unwrap();
        let y = layer.forward(&x, &Ctx::eval()).unwrap();
        assert_eq!(&y.shape()[1..], layer.output_shape(&[1, 2, 1]).unwrap());
        (y.shape()[1..].to_vec(), y.to_vec().unwrap())
    }

    #[test]
    fn images_grow() {
        let nearest = UpSampling2d { size: [1, 2], interpolation: Interpolation::Nearest };
        assert_eq!(of(&nearest), (vec![1, 4, 1], vec![1.0, 1.0, 2.0, 2.0]));
        let bilinear = UpSampling2d { interpolation: Interpolation::Bilinear, ..nearest };
        assert_eq!(of(&bilinear).1, [1.0, 1.25, 1.75, 2.0]);
        assert_eq!(of(&ZeroPadding2d([[0, 1], [1, 0]])), (vec![2, 3, 1], vec![0.0, 1.0, 2.0, 0.0, 0.0, 0.0]));
        assert_eq!(of(&Rescaling { scale: 2.0, offset: -1.0 }).1, [1.0, 3.0]);
    }

    #[test]
    fn sizes_that_cannot_be_are_refused() {
        let none = UpSampling2d { size: [0, 2], interpolation: Interpolation::Nearest };
        assert!(none.output_shape(&[1, 2, 1]).unwrap_err().to_string().contains("[0, 2] times as large"));
        assert!(ZeroPadding2d([[usize::MAX, 1], [0, 0]]).output_shape(&[1, 2, 1]).is_err());
    }

    #[test]
    fn gradients_agree_with_differences_to_second_order() {
        for interpolation in [Interpolation::Nearest, Interpolation::Bilinear] {
            check_layer(&UpSampling2d { size: [2, 3], interpolation }, &[1, 2, 2, 2]);
        }
        check_layer(&ZeroPadding2d([[1, 0], [2, 1]]), &[1, 2, 2, 2]);
        check_layer(&Rescaling { scale: 0.5, offset: 1.0 }, &[2, 3]);
    }
}
