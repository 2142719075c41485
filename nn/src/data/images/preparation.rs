//! Bringing images into the form that a network takes.

use gradus_core::{DType, Tensor};

use super::{Resampling, frame, resize};
use crate::{Error, Result};

/// What is done to every image before a network sees it: resizing, then cutting out the centre, then giving it grey values or
/// colours.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Preparation {
    /// The height and width that images are resized to.
    pub size: Option<[usize; 2]>,
    /// How they are resized.
    pub resampling: Resampling,
    /// The height and width that are cut out of the centre.
    pub crop: Option<[usize; 2]>,
    /// How many channels images get, as a last dimension of that size: 1 (grey) or 3 (red, green, blue).
    pub channels: Option<usize>,
}

/// How much red, green and blue count in a grey value (ITU-R BT.601, as in Pillow, TensorFlow and torchvision).
const LUMA: [f32; 3] = [0.299, 0.587, 0.114];

impl Preparation {
    /// Whether images stay as they are.
    pub fn is_identity(&self) -> bool {
        self.size.is_none() && self.crop.is_none() && self.channels.is_none()
    }

    /// The shape of a sample of shape `sample` afterwards.
    ///
    /// # Errors
    /// If such samples are no images, are smaller than what is to be cut out, or have other channels than 1 or 3 where those
    /// are to change.
    pub fn shape(&self, sample: &[usize]) -> Result<Vec<usize>> {
        if self.is_identity() {
            return Ok(sample.to_vec());
        }
        let refuse = |what: String| Error::Config(format!("[data]: {what}"));
        let Some([height, width, channels]) = frame(sample) else {
            return Err(refuse(format!(
                "size, crop and channels are for images, and a sample has shape {sample:?}; leave them out"
            )));
        };
        let [height, width] = self.size.unwrap_or([height, width]);
        let [top, left] = self.crop.unwrap_or([height, width]);
        if top > height || left > width {
            return Err(refuse(format!("crop = [{top}, {left}] is more than the images have, {height} x {width}")));
        }
        match self.channels {
            Some(wanted) if ![1, 3].contains(&channels) || ![1, 3].contains(&wanted) => Err(refuse(format!(
                "channels = {wanted}: images of {channels} channels stay as they are; grey ones have 1, coloured ones 3"
            ))),
            Some(wanted) => Ok(vec![top, left, wanted]),
            None => Ok([&[top, left], &sample[2..]].concat()),
        }
    }

    /// Prepares a batch of images, `[N, height, width]` or `[N, height, width, channels]`; gives `f32`.
    ///
    /// # Errors
    /// As [`Preparation::shape`].
    pub fn apply(&self, images: &Tensor) -> Result<Tensor> {
        let shape = self.shape(images.shape().get(1..).unwrap_or_default())?;
        let mut images = images.to_dtype(DType::F32)?;
        if let Some(size) = self.size {
            images = resize(&images, size, self.resampling)?;
        }
        if let Some(crop) = self.crop {
            for (axis, wanted) in (1..).zip(crop) {
                let start = (images.shape()[axis] - wanted) / 2;
                images = images.slice(axis as isize, start, start + wanted)?;
            }
        }
        let Some(wanted) = self.channels else { return Ok(images) };
        let count = images.shape()[0];
        let given = images.shape().get(3).copied().unwrap_or(1);
        let whole: Vec<usize> = [&[count], &shape[..]].concat();
        let images = images.reshape(&[count, shape[0], shape[1], given])?;
        Ok(match (given, wanted) {
            (1, 3) => images.broadcast_to(&whole)?,
            (3, 1) => images.matmul(&Tensor::from_slice(&LUMA, &[3, 1])?)?,
            _ => images,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resizing_comes_first_then_cropping_then_colours() {
        let images = Tensor::from_slice(&(0..32u8).collect::<Vec<_>>(), &[2, 4, 4]).unwrap();
        let how = Preparation { size: Some([8, 8]), crop: Some([4, 2]), channels: Some(3), ..Preparation::default() };
        assert_eq!(how.shape(&[4, 4]).unwrap(), [4, 2, 3]);
        let ready = how.apply(&images).unwrap();
        assert_eq!(ready.shape(), [2, 4, 2, 3]);
        let whole = resize(&images, [8, 8], Resampling::Antialias).unwrap();
        let centre = whole.slice(1, 2, 6).unwrap().slice(2, 3, 5).unwrap();
        let reds = ready.select_index(3, 0).unwrap();
        assert_eq!(reds.to_vec::<f32>().unwrap(), centre.to_vec::<f32>().unwrap());
    }

    #[test]
    fn colours_become_grey_by_how_bright_they_look() {
        let pixels = [255u8, 0, 0, 0, 255, 0, 0, 0, 255, 9, 9, 9];
        let images = Tensor::from_slice(&pixels, &[1, 2, 2, 3]).unwrap();
        let how = Preparation { channels: Some(1), ..Preparation::default() };
        let grey = how.apply(&images).unwrap();
        assert_eq!(grey.shape(), [1, 2, 2, 1]);
        let wanted = [76.245f32, 149.685, 29.07, 9.0];
        grey.to_vec::<f32>().unwrap().iter().zip(wanted).for_each(|(x, y)| assert!((x - y).abs() < 1e-4, "{x} {y}"));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let refusal = |how: Preparation, shape: &[usize]| how.shape(shape).unwrap_err().to_string();
        let how = Preparation { crop: Some([30, 20]), ..Preparation::default() };
        assert_eq!(refusal(how, &[28, 28]), "[data]: crop = [30, 20] is more than the images have, 28 x 28");
        let how = Preparation { channels: Some(3), ..Preparation::default() };
        assert!(refusal(how.clone(), &[784]).contains("a sample has shape [784]"));
        assert!(refusal(how, &[4, 4, 4]).contains("images of 4 channels stay as they are"));
        assert_eq!(Preparation::default().shape(&[7]).unwrap(), [7]);
    }
}
