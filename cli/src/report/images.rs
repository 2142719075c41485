//! Samples as people see them: images with what the model says about each, and a grid of such images.

use std::io::Cursor;

use image::imageops::{self, FilterType};
use image::{ImageFormat, RgbImage};
use nn::core::{DType, Tensor};
use nn::data::Dataset;
use nn::metrics::Predictions;

use super::canvas::{Canvas, Ink, Place, SvgCanvas};
use super::confusion::class_name;
use super::raster::Raster;
use super::svg::{self, STYLE, escape};
use crate::datasets::catalog::SOURCES;
use crate::failure::Failure;
use crate::inputs::layout;

/// How many of the first samples a grid shows.
const FIRST: usize = 30;
/// How many of the surest mistakes it shows.
const MISTAKES: usize = 20;
/// Nobody needs more pixels of a sample than this in a grid.
const MOST_PIXELS: u32 = 96;

const COLUMNS: usize = 10;
const SIDE: f64 = 64.0;
const CELL: (f64, f64) = (112.0, 104.0);
const MARGIN: f64 = 12.0;
const HEADING: f64 = 34.0;

/// A sample with what is said about it.
#[derive(Clone, Debug)]
pub struct Tile {
    /// What it looks like.
    pub image: RgbImage,
    /// What the model says: `Coat 98%`.
    pub said: String,
    /// What it is, if the model is wrong.
    pub truth: Option<String>,
}

/// Some tiles under a heading.
#[derive(Clone, Debug)]
pub struct Section {
    /// The heading.
    pub title: String,
    /// The samples.
    pub tiles: Vec<Tile>,
}

/// `Coat 98%`
pub fn said(class: &str, probability: f64) -> String {
    format!("{class} {:.0}%", 100.0 * probability)
}

/// The image that each row of `samples` shows, with 0 as black and `white` as white; `None` if no image has this shape.
///
/// # Errors
/// If the samples cannot be read.
pub fn images(samples: &Tensor, white: f64) -> Result<Option<Vec<RgbImage>>, Failure> {
    let Some((height, width, channels)) = layout(&samples.shape()[1..]) else { return Ok(None) };
    let values = samples.to_dtype(DType::F32).and_then(|samples| samples.to_vec::<f32>()).map_err(nn::Error::from)?;
    let pixel = |value: &f32| (f64::from(*value) / white * 255.0).round().clamp(0.0, 255.0) as u8;
    let image = |row: &[f32]| {
        let parts = row.iter().map(pixel).flat_map(|part| std::iter::repeat_n(part, if channels == 1 { 3 } else { 1 }));
        let image = RgbImage::from_raw(width, height, parts.collect()).unwrap_or_default();
        match width.max(height) {
            large if large > MOST_PIXELS => {
                let part = |size: u32| (size * MOST_PIXELS / large).max(1);
                imageops::resize(&image, part(width), part(height), FilterType::Triangle)
            }
            _ => image,
        }
    };
    let size = height as usize * width as usize * channels;
    Ok(Some(values.chunks_exact(size.max(1)).map(image).collect()))
}

/// The number in samples of this source that is white in a picture.
///
/// # Errors
/// If the samples cannot be read.
pub fn white(source: &str, samples: &Tensor) -> Result<f64, Failure> {
    if let Some(source) = SOURCES.iter().find(|known| known.name == source) {
        return Ok(source.white);
    }
    if samples.dtype() == DType::U8 {
        return Ok(255.0);
    }
    let largest = samples.max(&[]).and_then(|largest| largest.item()).map_err(nn::Error::from)?;
    Ok(if largest > 0.0 { largest } else { 1.0 })
}

/// The first samples of a set and the surest mistakes, as far as samples are images; `white` as in [`images`].
///
/// # Errors
/// If the samples cannot be read.
pub fn sections(set: &Dataset, all: &Predictions, white: f64) -> Result<Vec<Section>, Failure> {
    let mut mistakes: Vec<usize> = (0..all.truth.len()).filter(|&at| !all.is_right(at)).collect();
    // Stable, so that equally sure ones stay in the order of the data.
    mistakes.sort_by(|&a, &b| all.confidence[b].total_cmp(&all.confidence[a]));
    let count = mistakes.len();
    mistakes.truncate(MISTAKES);
    let first: Vec<usize> = (0..all.truth.len().min(FIRST)).collect();
    let titles = [
        (format!("the first {} samples, mistakes marked", first.len()), first),
        (format!("the {} surest of {count} mistakes", mistakes.len()), mistakes),
    ];
    let mut sections = Vec::new();
    for (title, rows) in titles.into_iter().filter(|(_, rows)| !rows.is_empty()) {
        let Some(images) = images(&set.select(&rows)?.inputs, white)? else { return Ok(Vec::new()) };
        let name = |class| class_name(&set.classes, class);
        let tile = |(&at, image): (&usize, RgbImage)| Tile {
            image,
            said: said(&name(all.predicted[at]), all.confidence[at]),
            truth: (!all.is_right(at)).then(|| name(all.truth[at])),
        };
        sections.push(Section { title, tiles: rows.iter().zip(images).map(tile).collect() });
    }
    Ok(sections)
}

/// The size of the grid of these sections.
fn size(sections: &[Section]) -> (f64, f64) {
    let rows = |section: &Section| section.tiles.len().div_ceil(COLUMNS) as f64;
    let height = sections.iter().map(|section| HEADING + CELL.1 * rows(section)).sum::<f64>();
    let columns = sections.iter().map(|section| section.tiles.len()).max().unwrap_or(0).clamp(4, COLUMNS);
    (2.0 * MARGIN + CELL.0 * columns as f64, height + MARGIN)
}

fn draw(canvas: &mut impl Canvas, sections: &[Section]) {
    let mut top = 0.0;
    for section in sections {
        canvas.text(Place::Title, MARGIN, top + 22.0, &section.title);
        top += HEADING;
        for (i, tile) in section.tiles.iter().enumerate() {
            let x = MARGIN + CELL.0 * (i % COLUMNS) as f64;
            let y = top + CELL.1 * (i / COLUMNS) as f64;
            draw_tile(canvas, tile, x, y);
        }
        top += CELL.1 * section.tiles.len().div_ceil(COLUMNS) as f64;
    }
}

fn draw_tile(canvas: &mut impl Canvas, tile: &Tile, x: f64, y: f64) {
    let (width, height) = (f64::from(tile.image.width()), f64::from(tile.image.height()));
    let scale = SIDE / width.max(height).max(1.0);
    let (width, height) = (width * scale, height * scale);
    let left = x + (CELL.0 - width) / 2.0;
    canvas.image(left, y, width, height, &tile.image);
    let middle = x + CELL.0 / 2.0;
    canvas.text(Place::Middle, middle, y + SIDE + 14.0, &fit(&tile.said));
    if let Some(truth) = &tile.truth {
        let (right, bottom) = (left + width + 2.0, y + height + 2.0);
        let (left, up) = (left - 2.0, y - 2.0);
        canvas.stroke(Ink::Second, &[(left, up), (right, up), (right, bottom), (left, bottom), (left, up)]);
        canvas.text(Place::Middle, middle, y + SIDE + 28.0, &fit(&format!("is {truth}")));
    }
}

/// As much of a caption as a cell holds: the end, where the probability stands, is kept.
fn fit(text: &str) -> String {
    let most = (CELL.0 / svg::text_width("x")) as usize;
    let count = text.chars().count();
    if count <= most {
        return text.to_owned();
    }
    let (word, end) = text.rsplit_once(' ').filter(|(_, end)| end.ends_with('%')).unwrap_or((text, ""));
    let kept: String = word.chars().take(most.saturating_sub(end.len() + 2)).collect();
    format!("{kept}… {end}").trim_end().to_owned()
}

/// The grid as SVG with the images inside.
pub fn grid_svg(title: &str, sections: &[Section]) -> String {
    let (width, height) = size(sections);
    let mut canvas = SvgCanvas::default();
    draw(&mut canvas, sections);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
         role=\"img\">\n<title>{}</title>\n<style>{STYLE}</style>\n{}</svg>\n",
        escape(title),
        canvas.0
    )
}

/// The grid as pixels.
pub fn grid_image(sections: &[Section]) -> RgbImage {
    let (width, height) = size(sections);
    let mut canvas = Raster::new(width, height);
    draw(&mut canvas, sections);
    canvas.into_image()
}

/// An image as a PNG file.
pub fn png(image: &RgbImage) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    // Writing to memory cannot fail, and every RGB image of at least one pixel can be a PNG.
    let _ = image.write_to(&mut bytes, ImageFormat::Png);
    bytes.into_inner()
}

/// An image as an address that holds it.
pub fn data_uri(image: &RgbImage) -> String {
    format!("data:image/png;base64,{}", base64(&png(image)))
}

/// Base64 with padding (RFC 4648).
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let part = |i: usize| u32::from(chunk.get(i).copied().unwrap_or(0));
        let bits = part(0) << 16 | part(1) << 8 | part(2);
        for place in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * place) & 63) as usize];
            text.push(if place <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_the_rfc() {
        let pairs = [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")];
        for (plain, coded) in pairs {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
        assert_eq!(base64(&[0xfb, 0xef, 0xff]), "++//");
    }

    #[test]
    fn numbers_become_pixels() {
        let samples = Tensor::from_slice(&[0f32, 8.0, 16.0, 99.0], &[1, 4]).unwrap();
        let [image] = &images(&samples, 16.0).unwrap().unwrap()[..] else { panic!("not one image") };
        assert_eq!(
            (image.dimensions(), image.get_pixel(1, 0).0, image.get_pixel(1, 1).0),
            ((2, 2), [128; 3], [255; 3])
        );
        let rgb = Tensor::from_slice(&[1f32, 0.0, 0.5], &[1, 1, 1, 3]).unwrap();
        assert_eq!(images(&rgb, 1.0).unwrap().unwrap()[0].get_pixel(0, 0).0, [255, 0, 128]);
        assert!(images(&Tensor::from_slice(&[1f32; 3], &[1, 3]).unwrap(), 1.0).unwrap().is_none());
        let large = Tensor::from_slice(&vec![1f32; 200 * 100], &[1, 200, 100]).unwrap();
        assert_eq!(images(&large, 1.0).unwrap().unwrap()[0].dimensions(), (48, 96));
    }

    #[test]
    fn a_grid_marks_what_is_wrong() {
        let tile = |truth: Option<&str>| Tile {
            image: RgbImage::new(2, 2),
            said: said("an animal with a long name", 0.987),
            truth: truth.map(str::to_owned),
        };
        let sections = [Section { title: "a & b".into(), tiles: vec![tile(None), tile(Some("cat"))] }];
        let svg = grid_svg("x", &sections);
        assert_eq!((svg.matches("<image ").count(), svg.matches("<path class=\"b\"").count()), (2, 1), "{svg}");
        assert!(svg.contains(">is cat<") && svg.contains("a &amp; b") && svg.contains("… 99%<"), "{svg}");
        assert!(svg.contains("href=\"data:image/png;base64,iVBORw0KGgo"));
        let image = grid_image(&sections);
        assert_eq!(image.width(), 2 * (24 + 4 * 112), "room for a heading above few tiles");
        assert_eq!(image::load_from_memory(&png(&image)).unwrap().to_rgb8(), image);
    }
}
