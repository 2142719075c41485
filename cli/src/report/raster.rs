//! A canvas of pixels: smooth strokes, and letters made of strokes, so that a PNG needs neither a browser nor a font file.

use image::RgbImage;

use super::canvas::{Canvas, Ink, Place};

/// Pixels of the PNG for one pixel of the layout: sharp on dense screens.
const SCALE: f64 = 2.0;
/// The strokes of the letters of ASCII, see README.md beside the file.
const FONT: &str = include_str!("font/futural.jhf");
/// Capital letters of the font are 21 units high.
const CAPITAL: f64 = 21.0;
/// The unit of the base line.
const BASE: f64 = 9.0;

type Color = [u8; 3];

const WHITE: Color = [0xff, 0xff, 0xff];
const TEXT: Color = [0x57, 0x60, 0x6a];
const HEADING: Color = [0x1f, 0x23, 0x28];

/// The pixels of a picture in the colours of the light style sheet.
#[derive(Debug)]
pub struct Raster(RgbImage);

impl Raster {
    /// A white canvas of this size in pixels of the layout.
    pub fn new(width: f64, height: f64) -> Raster {
        let size = |x: f64| (x * SCALE).ceil().max(1.0) as u32;
        Raster(RgbImage::from_pixel(size(width), size(height), image::Rgb(WHITE)))
    }

    /// The picture.
    pub fn into_image(self) -> RgbImage {
        self.0
    }

    /// Draws a line of pixels as wide as `width`, each as dark as the part of it that the line covers.
    fn line(&mut self, points: &[(f64, f64)], width: f64, color: Color) {
        let points: Vec<(f64, f64)> = points.iter().map(|&(x, y)| (x * SCALE, y * SCALE)).collect();
        let reach = width * SCALE / 2.0 + 0.5;
        let first = points.first().copied().into_iter().map(|point| (point, point));
        // A single point is a segment without length.
        for (a, b) in points.windows(2).map(|pair| (pair[0], pair[1])).chain(first.filter(|_| points.len() == 1)) {
            let range = |a: f64, b: f64, size: u32| {
                let (low, high) = ((a.min(b) - reach).floor().max(0.0), (a.max(b) + reach).ceil());
                low as u32..(high.max(0.0) as u32).min(size)
            };
            for y in range(a.1, b.1, self.0.height()) {
                for x in range(a.0, b.0, self.0.width()) {
                    let distance = distance((f64::from(x) + 0.5, f64::from(y) + 0.5), a, b);
                    let cover = (reach - distance).clamp(0.0, 1.0);
                    let pixel = self.0.get_pixel_mut(x, y);
                    for (old, new) in pixel.0.iter_mut().zip(color) {
                        let mixed = f64::from(*old) + (f64::from(new) - f64::from(*old)) * cover;
                        *old = mixed.round() as u8;
                    }
                }
            }
        }
    }
}

impl Canvas for Raster {
    fn text(&mut self, place: Place, x: f64, y: f64, text: &str) {
        let (capital, width, color) = match place {
            Place::Title => (10.0, 1.5, HEADING),
            _ => (8.5, 1.1, TEXT),
        };
        let unit = capital / CAPITAL;
        let glyphs: Vec<Glyph> = text.replace('…', "..").chars().map(Glyph::of).collect();
        let length = unit * glyphs.iter().map(|glyph| glyph.right - glyph.left).sum::<f64>();
        let mut x = match place {
            Place::Start | Place::Title => x,
            Place::Middle => x - length / 2.0,
            Place::End => x - length,
        };
        for glyph in &glyphs {
            for stroke in &glyph.strokes {
                let at = |&(gx, gy): &(f64, f64)| (x + unit * (gx - glyph.left), y + unit * (gy - BASE));
                self.line(&stroke.iter().map(at).collect::<Vec<_>>(), width, color);
            }
            x += unit * (glyph.right - glyph.left);
        }
    }

    fn stroke(&mut self, ink: Ink, points: &[(f64, f64)]) {
        match ink {
            Ink::Grid => self.line(points, 1.0, color(ink)),
            Ink::First | Ink::Second => self.line(points, 2.0, color(ink)),
            Ink::Faint => dashes(points).iter().for_each(|dash| self.line(dash, 1.5, color(ink))),
        }
    }

    fn dot(&mut self, ink: Ink, x: f64, y: f64) {
        self.line(&[(x, y)], 6.0, color(ink));
    }

    fn image(&mut self, x: f64, y: f64, width: f64, height: f64, image: &RgbImage) {
        let size = |x: f64| (x * SCALE).round().max(1.0) as u32;
        let (left, top, width, height) = (size(x), size(y), size(width), size(height));
        for row in 0..height.min(self.0.height().saturating_sub(top)) {
            for column in 0..width.min(self.0.width().saturating_sub(left)) {
                let source = image.get_pixel(column * image.width() / width, row * image.height() / height);
                self.0.put_pixel(left + column, top + row, *source);
            }
        }
    }
}

fn color(ink: Ink) -> Color {
    match ink {
        Ink::Grid => [0xd8, 0xde, 0xe4],
        Ink::First => [0x09, 0x69, 0xda],
        Ink::Second => [0xd4, 0x62, 0x1a],
        Ink::Faint => [0x8c, 0x95, 0x9f],
    }
}

/// How far `p` is from the segment from `a` to `b`.
fn distance(p: (f64, f64), a: (f64, f64), b: (f64, f64)) -> f64 {
    let (dx, dy) = (b.0 - a.0, b.1 - a.1);
    let length = dx * dx + dy * dy;
    let along = if length == 0.0 { 0.0 } else { ((p.0 - a.0) * dx + (p.1 - a.1) * dy) / length };
    let along = along.clamp(0.0, 1.0);
    (p.0 - a.0 - along * dx).hypot(p.1 - a.1 - along * dy)
}

/// A line cut into dashes of 5 pixels, 4 apart.
fn dashes(points: &[(f64, f64)]) -> Vec<Vec<(f64, f64)>> {
    let (mut dashes, mut dash) = (Vec::new(), Vec::new());
    let (mut left, mut drawing) = (5.0, true);
    for pair in points.windows(2) {
        let (mut a, b) = (pair[0], pair[1]);
        loop {
            let length = (b.0 - a.0).hypot(b.1 - a.1);
            if drawing && dash.is_empty() {
                dash.push(a);
            }
            let part = (left / length.max(f64::MIN_POSITIVE)).min(1.0);
            a = (a.0 + part * (b.0 - a.0), a.1 + part * (b.1 - a.1));
            if drawing {
                dash.push(a);
            }
            if length < left {
                left -= length;
                break;
            }
            dashes.extend(drawing.then(|| std::mem::take(&mut dash)));
            drawing = !drawing;
            left = if drawing { 5.0 } else { 4.0 };
        }
    }
    dashes.extend((dash.len() > 1).then_some(dash));
    dashes
}

/// A letter as strokes.
struct Glyph {
    left: f64,
    right: f64,
    strokes: Vec<Vec<(f64, f64)>>,
}

impl Glyph {
    /// The strokes of a character; those of `?` for one that is not printable ASCII.
    fn of(character: char) -> Glyph {
        let place = (character as usize).checked_sub(' ' as usize).filter(|&place| place < FONT.lines().count());
        let line = FONT.lines().nth(place.unwrap_or('?' as usize - ' ' as usize)).unwrap_or_default();
        let mut pairs = line.as_bytes().get(8..).unwrap_or_default().chunks_exact(2).map(|pair| {
            let unit = |byte: u8| f64::from(byte) - f64::from(b'R');
            (pair != b" R").then(|| (unit(pair[0]), unit(pair[1])))
        });
        let (left, right) = pairs.next().flatten().unwrap_or((-8.0, 8.0));
        let points: Vec<Option<(f64, f64)>> = pairs.collect();
        let strokes = points.split(Option::is_none).map(|stroke| stroke.iter().flatten().copied().collect()).collect();
        Glyph { left, right, strokes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dark(raster: &Raster) -> usize {
        raster.0.pixels().filter(|pixel| pixel.0.iter().any(|&part| part < 128)).count()
    }

    #[test]
    fn every_printable_character_has_strokes_and_strangers_are_question_marks() {
        assert_eq!(FONT.lines().count(), 95);
        for character in '!'..='~' {
            let glyph = Glyph::of(character);
            assert!(glyph.right > glyph.left && !glyph.strokes.is_empty(), "{character}");
        }
        // The bar and the two feet of an A.
        assert_eq!(Glyph::of('A').strokes.len(), 3);
        assert_eq!(Glyph::of('é').strokes, Glyph::of('?').strokes);
    }

    #[test]
    fn a_stroke_is_as_wide_and_long_as_it_says() {
        let mut raster = Raster::new(100.0, 20.0);
        raster.stroke(Ink::First, &[(10.0, 10.0), (60.0, 10.0)]);
        // 50 by 2 pixels of the layout, each four of the PNG, and the round ends.
        let blue = raster.0.pixels().filter(|pixel| pixel.0 == color(Ink::First)).count();
        assert!((400..=416).contains(&blue), "{blue}");
        assert_eq!(raster.0.get_pixel(0, 0).0, WHITE);
        raster.text(Place::End, 5.0, 10.0, "outside on the left");
        raster.dot(Ink::Second, 1e9, -1e9);
    }

    #[test]
    fn text_ends_where_it_should() {
        let mut raster = Raster::new(100.0, 20.0);
        raster.text(Place::End, 90.0, 15.0, "0.9");
        assert!(dark(&raster) > 20);
        assert!((180..200).all(|x| (0..40).all(|y| raster.0.get_pixel(x, y).0[0] > 200)), "ink past the end");
    }

    #[test]
    fn dashes_leave_gaps() {
        let line = [(0.0, 0.0), (7.0, 0.0), (20.0, 0.0)];
        let ends: Vec<(f64, f64)> = dashes(&line).iter().map(|dash| (dash[0].0, dash[dash.len() - 1].0)).collect();
        assert_eq!(ends, [(0.0, 5.0), (9.0, 14.0), (18.0, 20.0)]);
    }
}
