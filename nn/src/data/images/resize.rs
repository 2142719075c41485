//! Images of another size.

use gradus_core::{DType, Tensor};

use super::frame;
use crate::named::named;
use crate::{Error, Result};

named! {
    /// What the pixels of a resized image are made of. The centres of the first and the last pixel keep their distance to the
    /// border, as in Pillow, TensorFlow and PyTorch (`align_corners=False`).
    #[derive(Copy, Default)]
    Resampling "resize" {
        /// A mean of all pixels that a new one covers, weighted by a triangle; where images grow, the same as `bilinear`. Pillow
        /// calls this `BILINEAR`, PyTorch and TensorFlow bilinear with `antialias`.
        #[default]
        Antialias = "antialias";
        /// The four nearest pixels, by distance; where images shrink, pixels between are left out.
        Bilinear = "bilinear";
        /// The nearest pixel. PyTorch calls this `nearest-exact`.
        Nearest = "nearest";
    }
}

impl Resampling {
    fn complaint(&self) -> Option<&'static str> {
        None
    }
}

/// Images `[N, height, width]` or `[N, height, width, channels]` with another height and width, as `f32`.
///
/// # Errors
/// If `images` has another rank, or a side would have no pixels.
pub fn resize(images: &Tensor, size: [usize; 2], method: Resampling) -> Result<Tensor> {
    let shape = images.shape();
    let Some((&count, [height, width, channels])) =
        shape.split_first().and_then(|(count, sample)| Some((count, frame(sample)?)))
    else {
        return Err(Error::Data(format!("resize: samples in a batch of shape {shape:?} are no images")));
    };
    let [new_height, new_width] = size;
    if [height, width, new_height, new_width].contains(&0) {
        return Err(Error::Data(format!(
            "resize: images of {height} x {width} cannot become {new_height} x {new_width}"
        )));
    }
    let images = images.to_dtype(DType::F32)?;
    if [height, width] == size {
        return Ok(images);
    }
    let pixels = images.to_vec::<f32>()?;
    let pixels = along(&pixels, width, channels, &taps(width, new_width, method));
    let pixels = along(&pixels, height, new_width * channels, &taps(height, new_height, method));
    let new: Vec<usize> = [count, new_height, new_width].into_iter().chain(shape.get(3).copied()).collect();
    Ok(Tensor::from_slice(&pixels, &new)?)
}

/// The old pixels that make a new one: those from `first` on, with their weights, which add up to 1.
struct Taps {
    first: usize,
    weights: Vec<f32>,
}

/// What each of `to` pixels in a row is made of, if there were `from`.
fn taps(from: usize, to: usize, method: Resampling) -> Vec<Taps> {
    let step = from as f64 / to as f64;
    // Half the base of the triangle, in old pixels.
    let reach = if method == Resampling::Antialias { step.max(1.0) } else { 1.0 };
    let at = |i: usize| {
        let centre = (i as f64 + 0.5) * step;
        if method == Resampling::Nearest {
            return Taps { first: (centre as usize).min(from - 1), weights: vec![1.0] };
        }
        let first = (centre - reach + 0.5).max(0.0) as usize;
        let end = ((centre + reach + 0.5) as usize).min(from);
        let weight = |pixel: usize| (1.0 - ((pixel as f64 + 0.5 - centre) / reach).abs()).max(0.0);
        let weights: Vec<f64> = (first..end).map(weight).collect();
        // Beyond the border there is nothing: what is there shares the whole weight.
        let sum: f64 = weights.iter().sum();
        Taps { first, weights: weights.iter().map(|weight| (weight / sum) as f32).collect() }
    };
    (0..to).map(at).collect()
}

/// Resamples the middle dimension of `[.., from, inner]`.
fn along(pixels: &[f32], from: usize, inner: usize, taps: &[Taps]) -> Vec<f32> {
    let outer = pixels.len() / (from * inner).max(1);
    let mut out = vec![0f32; outer * taps.len() * inner];
    let blocks = pixels.chunks_exact((from * inner).max(1)).zip(out.chunks_exact_mut((taps.len() * inner).max(1)));
    for (old, new) in blocks {
        for (taps, sums) in taps.iter().zip(new.chunks_exact_mut(inner)) {
            for (&weight, pixel) in taps.weights.iter().zip(old[taps.first * inner..].chunks_exact(inner)) {
                sums.iter_mut().zip(pixel).for_each(|(sum, &value)| *sum += weight * value);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(values: &[f32], width: usize, method: Resampling) -> Vec<f32> {
        let image = Tensor::from_slice(values, &[1, 1, values.len()]).unwrap();
        resize(&image, [1, width], method).unwrap().to_vec().unwrap()
    }

    #[test]
    fn pixels_are_found_by_their_centres() {
        let values = [0.0, 1.0, 2.0, 3.0];
        assert_eq!(row(&values, 2, Resampling::Nearest), [1.0, 3.0]);
        assert_eq!(row(&values, 8, Resampling::Nearest), [0.0, 0.0, 1.0, 1.0, 2.0, 2.0, 3.0, 3.0]);
        assert_eq!(row(&values, 2, Resampling::Bilinear), [0.5, 2.5]);
        assert_eq!(row(&values[..2], 4, Resampling::Bilinear), [0.0, 0.25, 0.75, 1.0]);
        assert_eq!(row(&values, 4, Resampling::Bilinear), values);
    }

    #[test]
    fn a_shrunk_image_keeps_its_mean_only_where_all_pixels_count() {
        let spike = [0.0, 0.0, 0.0, 0.0, 8.0, 0.0, 0.0, 0.0, 0.0];
        assert_eq!(row(&spike, 1, Resampling::Bilinear), [8.0]);
        let mean = row(&spike, 1, Resampling::Antialias)[0];
        assert!(mean > 0.8 && mean < 1.4, "{mean}");
    }

    #[test]
    fn channels_and_samples_stay_apart() {
        let values: Vec<u8> = (0..2 * 2 * 2 * 3).collect();
        let images = Tensor::from_slice(&values, &[2, 2, 2, 3]).unwrap();
        let small = resize(&images, [1, 1], Resampling::Antialias).unwrap();
        assert_eq!(
            (small.shape(), small.to_vec::<f32>().unwrap()),
            (&[2, 1, 1, 3][..], vec![4.5, 5.5, 6.5, 16.5, 17.5, 18.5])
        );
        let error = resize(&images, [0, 4], Resampling::Antialias).unwrap_err().to_string();
        assert_eq!(error, "resize: images of 2 x 2 cannot become 0 x 4");
        let flat = images.reshape(&[2, 12]).unwrap();
        let error = resize(&flat, [4, 4], Resampling::Antialias).unwrap_err().to_string();
        assert_eq!(error, "resize: samples in a batch of shape [2, 12] are no images");
    }
}
