//! What `predict` reads: pictures and arrays, turned into samples as the model knows them.

use std::fs;
use std::io::Read;
use std::path::Path;

use image::{DynamicImage, GenericImageView};
use nn::core::{DType, Tensor};
use nn::data::{Preparation, read_idx_bytes, read_npy_bytes};
use nn::spec::Recipe;

use crate::datasets::catalog::SOURCES;
use crate::datasets::images::{decode_picture, picture_format};
use crate::failure::{Failure, Kind};

/// Samples of one input.
#[derive(Debug)]
pub struct Input {
    /// The path, or `-`.
    pub name: String,
    /// `[N, ..]` as `f32`, scaled as in training.
    pub samples: Tensor,
    /// What people should know about how it was read.
    pub remarks: Vec<String>,
}

/// How samples of a model look.
#[derive(Debug)]
pub struct Wanted<'a> {
    /// The shape of one sample.
    pub shape: &'a [usize],
    /// What was done to images in training.
    pub images: &'a Preparation,
    /// What the numbers of the training data were divided by.
    pub scale: f64,
    /// The largest number in the training data: what white is to a picture.
    pub white: f64,
    /// Whether dark and light are to be exchanged in pictures.
    pub invert: bool,
    /// Whether pictures of the training data have a dark background.
    pub dark_background: bool,
}

impl<'a> Wanted<'a> {
    /// Samples of this shape as training with `recipe` saw them.
    pub fn of(recipe: &'a Recipe, shape: &'a [usize], invert: bool) -> Self {
        let source = SOURCES.iter().find(|source| source.name == recipe.data.source);
        Self {
            shape,
            images: &recipe.data.images,
            scale: recipe.data.scale,
            white: source.map_or(255.0, |source| source.white),
            invert,
            dark_background: source.is_some(),
        }
    }
}

/// Reads one input; `-` is stdin.
///
/// # Errors
/// If it is missing, damaged, or not what the model takes.
pub fn read(path: &Path, wanted: &Wanted<'_>) -> Result<Input, Failure> {
    let name = path.display().to_string();
    let bytes = if name == "-" {
        let mut bytes = Vec::new();
        std::io::stdin().lock().read_to_end(&mut bytes).map(|_| bytes)
    } else {
        fs::read(path)
    };
    let bytes = bytes.map_err(|error| Failure::new(Kind::Data, format!("{name}: {error}")))?;
    // Content tells more than a name, and stdin has none.
    match bytes.as_slice() {
        [0x93, b'N', b'U', b'M', ..] => array(name.clone(), read_npy_bytes(&name, &bytes)?, wanted),
        [0, 0, ..] | [0x1f, 0x8b, ..] => array(name.clone(), read_idx_bytes(&name, &bytes)?, wanted),
        _ => match picture_format(&bytes) {
            Some(format) => {
                let image = decode_picture(&name, &bytes, format)?;
                picture(name, &image, wanted)
            }
            None => {
                let text = format!("{name}: neither a PNG or JPEG image nor an NPY or IDX file");
                Err(Failure::new(Kind::Data, text))
            }
        },
    }
}

fn array(name: String, array: Tensor, wanted: &Wanted<'_>) -> Result<Input, Failure> {
    let shape = array.shape().to_vec();
    let per_sample: usize = wanted.shape.iter().product();
    let is_raw = |rest: &[usize]| wanted.images.shape(rest).is_ok_and(|shape| shape == wanted.shape);
    // A batch of samples, a single one, a batch as the training data are stored, or one of which only the shape of the samples
    // differs: 784 for 28x28.
    let mut array = array;
    let count = match shape.as_slice() {
        whole if whole == wanted.shape => 1,
        [count, rest @ ..] if is_raw(rest) => {
            array = wanted.images.apply(&array)?;
            *count
        }
        [count, rest @ ..] if rest.iter().product::<usize>() == per_sample => *count,
        _ => {
            let text = format!(
                "{name}: an array of shape {shape:?}; the model takes samples of shape {0:?}, so give {0:?} or [N, ...]",
                wanted.shape
            );
            return Err(Failure::new(Kind::Data, text));
        }
    };
    let batch: Vec<usize> = std::iter::once(count).chain(wanted.shape.iter().copied()).collect();
    let samples = array.to_dtype(DType::F32).and_then(|array| array.reshape(&batch)).and_then(|array| {
        // A division, as in training, so that the same sample gives the same bits.
        array.div(&Tensor::scalar(wanted.scale as f32))
    });
    Ok(Input { name, samples: samples.map_err(nn::Error::from)?, remarks: Vec::new() })
}

fn picture(name: String, image: &DynamicImage, wanted: &Wanted<'_>) -> Result<Input, Failure> {
    let Some((height, width, channels)) = layout(wanted.shape) else {
        let text = format!("{name}: the model takes samples of shape {:?}, which no image has", wanted.shape);
        return Err(Failure::new(Kind::Data, text));
    };
    let mut remarks = Vec::new();
    let (own_width, own_height) = image.dimensions();
    if (own_width, own_height) != (width, height) {
        remarks.push(format!("{name} is {own_width}x{own_height} and was resized to {width}x{height}"));
    }
    let mut pixels = match channels {
        1 => image.to_luma8().into_raw(),
        _ => image.to_rgb8().into_raw(),
    };
    if wanted.invert {
        pixels.iter_mut().for_each(|pixel| *pixel = 255 - *pixel);
    } else if wanted.dark_background && has_light_border(image) {
        remarks.push(format!(
            "{name} is dark on light, and the model learnt from light on dark; --invert exchanges the two"
        ));
    }
    let samples = samples(&pixels, [own_height as usize, own_width as usize, channels], wanted)?;
    Ok(Input { name, samples, remarks })
}

/// The one sample that a picture is, as training would have prepared it.
fn samples(pixels: &[u8], frame: [usize; 3], wanted: &Wanted<'_>) -> nn::Result<Tensor> {
    let picture = Tensor::from_slice(pixels, &[&[1], &frame[..]].concat())?;
    let how = match (wanted.images.size, wanted.images.crop, layout(wanted.shape)) {
        (Some(_), Some(_), _) | (.., None) => Preparation { channels: None, ..wanted.images.clone() },
        (.., Some((height, width, _))) => {
            let size = Some([height as usize, width as usize]);
            Preparation { size, resampling: wanted.images.resampling, ..Preparation::default() }
        }
    };
    let batch: Vec<usize> = std::iter::once(1).chain(wanted.shape.iter().copied()).collect();
    let white = how.apply(&picture)?.mul(&Tensor::scalar((wanted.white / 255.0) as f32))?;
    // A division, as in training, so that the same sample gives the same bits.
    Ok(white.div(&Tensor::scalar(wanted.scale as f32))?.reshape(&batch)?)
}

/// Height, width and channels of the images that a sample's shape can mean.
pub fn layout(shape: &[usize]) -> Option<(u32, u32, usize)> {
    let (height, width, channels) = match *shape {
        [height, width] | [height, width, 1] => (height, width, 1),
        [height, width, 3] => (height, width, 3),
        // A flat row that was a square picture once.
        [pixels] if pixels.isqrt().pow(2) == pixels => (pixels.isqrt(), pixels.isqrt(), 1),
        _ => return None,
    };
    Some((u32::try_from(height).ok()?, u32::try_from(width).ok()?, channels))
}

/// Whether most of the pixels at the border are light.
fn has_light_border(image: &DynamicImage) -> bool {
    let grey = image.to_luma8();
    let (width, height) = grey.dimensions();
    let border = grey.enumerate_pixels().filter(|(x, y, _)| *x == 0 || *y == 0 || *x + 1 == width || *y + 1 == height);
    let (light, all) =
        border.fold((0, 0), |(light, all), (_, _, pixel)| (light + usize::from(pixel.0[0] > 127), all + 1));
    2 * light > all
}
