//! `gradus show`: what is inside a model for images, as pictures.

use std::path::{Path, PathBuf};

use image::{Rgb, RgbImage};
use nn::core::{DType, Tensor, no_grad};
use nn::spec::Selection;
use serde_json::json;

use crate::args::{FilterArgs, MapArgs, Picture, Shown};
use crate::failure::{Failure, Kind};
use crate::inputs::{self, Wanted};
use crate::machine;
use crate::model_file::{self, Loaded};
use crate::report::images::{Section, Tile, grid_image, png};
use crate::report::write_file;
use crate::terminal::Terminal;

/// Draws.
///
/// # Errors
/// If the model or the input is missing or damaged, or has nothing to show.
pub fn run(what: &Shown, terminal: &Terminal) -> Result<(), Failure> {
    match what {
        Shown::Filters(args) => filters(args, terminal),
        Shown::Maps(args) => {
            let device = machine::open(&args.machine)?;
            machine::compute(|| maps(args, terminal, device))
        }
    }
}

fn filters(args: &FilterArgs, terminal: &Terminal) -> Result<(), Failure> {
    let loaded = model(&args.picture)?;
    let is_shown = chosen(&args.picture, &loaded)?;
    let mut sections = Vec::new();
    for param in loaded.model.params() {
        let name = param.name();
        let Some((layer, _)) =
            name.rsplit_once('.').filter(|(layer, part)| part.ends_with("kernel") && is_shown(layer))
        else {
            continue;
        };
        if let &[height, width, depth, count] = param.shape().as_slice()
            && height * width > 1
        {
            let most = count.min(usize::from(args.picture.most));
            let of = if depth == 1 { String::new() } else { format!(", {depth} channels deep") };
            let title = format!("{layer}: {most} of {count} filters of {height} x {width}{of}");
            sections.push(Section { title, tiles: filter_tiles(&param.value(), most)? });
        }
    }
    finish(&args.picture, "filters", &sections, terminal)
}

fn maps(args: &MapArgs, terminal: &Terminal, device: nn::core::Device) -> Result<(), Failure> {
    let loaded = model(&args.picture)?;
    loaded.model.to_device(device)?;
    let is_shown = chosen(&args.picture, &loaded)?;
    let shape = loaded.model.graph().input_shapes().into_iter().next().unwrap_or_default();
    let input = inputs::read(&args.input, &Wanted::of(&loaded.recipe, &shape, args.invert))?;
    input.remarks.iter().for_each(|remark| terminal.warn(remark));
    let first = input.samples.slice(0, 0, 1).and_then(|first| first.to_device(device)).map_err(nn::Error::from)?;
    let mut sections = Vec::new();
    let most = usize::from(args.picture.most);
    no_grad(|| {
        loaded.model.graph().run(&[&first], &nn::Ctx::eval(), |layer, y| {
            if let (&[_, height, width, count], true) = (y.shape(), is_shown(layer))
                && height * width > 1
            {
                let title = format!("{layer}: {} of {count} channels, {height} x {width}", most.min(count));
                sections.push(Section { title, tiles: map_tiles(y, most.min(count))? });
            }
            Ok(())
        })
    })?;
    finish(&args.picture, "maps", &sections, terminal)
}

fn model(picture: &Picture) -> Result<Loaded, Failure> {
    model_file::load_with(&picture.model, &picture.layers, &[])
}

/// Which layers are to be shown.
fn chosen(picture: &Picture, loaded: &Loaded) -> Result<impl Fn(&str) -> bool, Failure> {
    let names: Vec<String> = loaded.recipe.layer_names().into_iter().map(String::from).collect();
    let wanted = match &picture.layer {
        None => vec![true; names.len()],
        Some(text) => {
            let all: Vec<&str> = names.iter().map(String::as_str).collect();
            text.parse::<Selection>()
                .and_then(|selection| selection.of(&all))
                .map_err(|error| Failure::new(Kind::Usage, format!("--layer {text}: {error}")))?
        }
    };
    Ok(move |layer: &str| names.iter().zip(&wanted).any(|(name, &wanted)| wanted && name == layer))
}

/// The first filters of a kernel `[height, width, depth, filters]`: in colours where they see three channels, else their mean over
/// what they see. Grey is 0; the largest number of the layer is white or, below 0, black.
fn filter_tiles(kernel: &Tensor, most: usize) -> nn::Result<Vec<Tile>> {
    let kernel = kernel.to_dtype(DType::F32)?;
    let kernel = if kernel.shape()[2] == 3 { kernel } else { kernel.mean_keepdim(&[2])? };
    let [height, width, depth, count] = kernel.shape().try_into().unwrap_or_default();
    let values = kernel.to_vec::<f32>()?;
    let largest = values.iter().fold(f32::MIN_POSITIVE, |largest, value| value.abs().max(largest));
    let pixel = |filter: usize, x: u32, y: u32| {
        let at = (y as usize * width + x as usize) * depth;
        let part = |channel: usize| level(0.5 + 0.5 * values[(at + channel.min(depth - 1)) * count + filter] / largest);
        Rgb([part(0), part(1), part(2)])
    };
    let image = |filter| RgbImage::from_fn(width as u32, height as u32, |x, y| pixel(filter, x, y));
    Ok((0..most).map(|filter| Tile { image: image(filter), said: filter.to_string(), truth: None }).collect())
}

/// The first channels of a layer's result `[1, height, width, channels]`. Black is the least number of the layer, white the largest.
fn map_tiles(y: &Tensor, most: usize) -> nn::Result<Vec<Tile>> {
    let values = y.detach().to_dtype(DType::F32)?.to_vec::<f32>()?;
    let [_, height, width, count] = y.shape().try_into().unwrap_or_default();
    let low = values.iter().copied().fold(f32::INFINITY, f32::min);
    let spread = (values.iter().copied().fold(f32::NEG_INFINITY, f32::max) - low).max(f32::MIN_POSITIVE);
    let image = |channel: usize| {
        RgbImage::from_fn(width as u32, height as u32, |x, y| {
            Rgb([level((values[(y as usize * width + x as usize) * count + channel] - low) / spread); 3])
        })
    };
    Ok((0..most).map(|channel| Tile { image: image(channel), said: channel.to_string(), truth: None }).collect())
}

/// A number from 0 to 1 as the brightness of a pixel.
fn level(share: f32) -> u8 {
    (share * 255.0).round().clamp(0.0, 255.0) as u8
}

fn finish(picture: &Picture, what: &str, sections: &[Section], terminal: &Terminal) -> Result<(), Failure> {
    if sections.is_empty() {
        let text = format!(
            "{}: there are no {what} to show: no layer that was asked for has images or filters of more than one pixel",
            picture.model.display()
        );
        return Err(Failure::new(Kind::Usage, text));
    }
    let out = picture.out.clone().unwrap_or_else(|| PathBuf::from(format!("{what}.png")));
    write(&out, sections)?;
    let titles: Vec<&str> = sections.iter().map(|section| section.title.as_str()).collect();
    let value = json!({ "file": out, "layers": titles });
    terminal.answer(&value, || format!("{}\n{}", out.display(), titles.join("\n")))
}

fn write(out: &Path, sections: &[Section]) -> Result<(), Failure> {
    write_file(out, &png(&grid_image(sections)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_grey_around_0_and_colours_stay_apart() {
        let kernel = Tensor::from_slice(&[1f32, -1.0, 0.0, 0.5], &[1, 2, 1, 2]).unwrap();
        let tiles = filter_tiles(&kernel, 2).unwrap();
        let pixels = |tile: &Tile| tile.image.pixels().map(|pixel| pixel.0[0]).collect::<Vec<_>>();
        assert_eq!((pixels(&tiles[0]), pixels(&tiles[1])), (vec![255, 128], vec![0, 191]));
        let coloured = Tensor::from_slice(&[1f32, 0.0, -1.0], &[1, 1, 3, 1]).unwrap();
        assert_eq!(filter_tiles(&coloured, 1).unwrap()[0].image.get_pixel(0, 0).0, [255, 128, 0]);
    }

    #[test]
    fn maps_share_one_scale() {
        let y = Tensor::from_slice(&[2f32, 4.0, 3.0, 2.0], &[1, 1, 2, 2]).unwrap();
        let tiles = map_tiles(&y, 2).unwrap();
        let pixels = |tile: &Tile| tile.image.pixels().map(|pixel| pixel.0[1]).collect::<Vec<_>>();
        assert_eq!((pixels(&tiles[0]), pixels(&tiles[1])), (vec![0, 128], vec![255, 0]));
    }
}
