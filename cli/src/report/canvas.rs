//! What pictures are drawn on: an SVG, or the pixels of a PNG. Both take the same strokes, so a picture is laid out once.

use std::fmt::Write;

use image::RgbImage;

use super::images::data_uri;
use super::svg::escape;

/// What a stroke or a text is for, which decides its colour and width.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ink {
    /// The lines behind curves.
    Grid,
    /// The first curve; what is right.
    First,
    /// The second curve; what is wrong.
    Second,
    /// A curve in the background.
    Faint,
}

impl Ink {
    /// The class of the style sheet.
    pub fn class(self) -> &'static str {
        match self {
            Ink::Grid => "g",
            Ink::First => "a",
            Ink::Second => "b",
            Ink::Faint => "c",
        }
    }
}

/// Where a text stands, seen from its point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// It begins there.
    Start,
    /// Its middle is there.
    Middle,
    /// It ends there.
    End,
    /// It begins there, and is a heading.
    Title,
}

/// Takes strokes, texts and images, in pixels from the upper left corner.
pub trait Canvas {
    /// One line of text on the base line `y`.
    fn text(&mut self, place: Place, x: f64, y: f64, text: &str);
    /// Straight lines from point to point.
    fn stroke(&mut self, ink: Ink, points: &[(f64, f64)]);
    /// A dot.
    fn dot(&mut self, ink: Ink, x: f64, y: f64);
    /// An image, scaled to `width` by `height` without smoothing.
    fn image(&mut self, x: f64, y: f64, width: f64, height: f64, image: &RgbImage);
}

/// Writes SVG.
#[derive(Debug, Default)]
pub struct SvgCanvas(pub String);

// Writing to a string cannot fail, so the results of `writeln!` are dropped.
impl Canvas for SvgCanvas {
    fn text(&mut self, place: Place, x: f64, y: f64, text: &str) {
        let class = match place {
            Place::Start => "",
            Place::Middle => " class=\"m\"",
            Place::End => " class=\"e\"",
            Place::Title => " class=\"t\"",
        };
        let _ = writeln!(self.0, "<text{class} x=\"{x:.1}\" y=\"{y:.1}\">{}</text>", escape(text));
    }

    fn stroke(&mut self, ink: Ink, points: &[(f64, f64)]) {
        let mut path = String::new();
        for (i, (x, y)) in points.iter().enumerate() {
            let _ = write!(path, "{}{x:.1} {y:.1}", if i == 0 { "M" } else { "L" });
        }
        let _ = writeln!(self.0, "<path class=\"{}\" d=\"{path}\"/>", ink.class());
    }

    fn dot(&mut self, ink: Ink, x: f64, y: f64) {
        let _ = writeln!(self.0, "<circle class=\"{}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\"/>", ink.class());
    }

    fn image(&mut self, x: f64, y: f64, width: f64, height: f64, image: &RgbImage) {
        let _ = writeln!(
            self.0,
            "<image x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" preserveAspectRatio=\"none\" \
             image-rendering=\"pixelated\" href=\"{}\"/>",
            data_uri(image)
        );
    }
}
