//! Learning curves: drawn by hand, the same bytes for the same numbers, as SVG readable on white and on black.

use std::fmt::Write;

use image::RgbImage;

use super::canvas::{Canvas, Ink, Place, SvgCanvas};
use super::raster::Raster;

/// One picture of curves over epochs.
#[derive(Clone, Debug)]
pub struct Panel {
    /// What the vertical axis measures.
    pub title: String,
    /// The curves, the first one on top of the legend.
    pub lines: Vec<Line>,
}

/// One curve.
#[derive(Clone, Debug)]
pub struct Line {
    /// What the legend calls it.
    pub name: String,
    /// How it is drawn.
    pub role: Role,
    /// One value for each epoch; what is not finite leaves a gap.
    pub values: Vec<f64>,
}

/// What a curve stands for, which decides its colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Measured on the training data.
    Training,
    /// Measured on the validation data.
    Validation,
    /// What the document reports that the recipe reproduces.
    Document,
}

impl Role {
    fn ink(self) -> Ink {
        match self {
            Role::Training => Ink::First,
            Role::Validation => Ink::Second,
            Role::Document => Ink::Faint,
        }
    }
}

const WIDTH: f64 = 480.0;
const HEIGHT: f64 = 320.0;
// Room for the numbers of the axes and the title.
const LEFT: f64 = 56.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 60.0;
const BOTTOM: f64 = 40.0;

/// The style sheet of every picture.
pub(super) const STYLE: &str = "\
svg{background:#fff;font:12px system-ui,sans-serif}
text{fill:#57606a}.t{fill:#1f2328;font-size:14px;font-weight:600}.m{text-anchor:middle}.e{text-anchor:end}
.g{stroke:#d8dee4;stroke-width:1}
path{fill:none;stroke-width:2;stroke-linejoin:round}
path.a{stroke:#0969da}path.b{stroke:#d4621a}path.c{stroke:#8c959f;stroke-dasharray:5 4;stroke-width:1.5}
circle.a,rect.a{fill:#0969da}circle.b,rect.b{fill:#d4621a}circle.c{fill:#8c959f}
.k{fill:#1f2328}.i{fill:#fff}
@media(prefers-color-scheme:dark){svg{background:#0d1117}text{fill:#9198a1}.t{fill:#f0f6fc}.g{stroke:#30363d}
path.a{stroke:#58a6ff}path.b{stroke:#f0883e}path.c{stroke:#6e7681}
circle.a,rect.a{fill:#58a6ff}circle.b,rect.b{fill:#f0883e}circle.c{fill:#6e7681}.k{fill:#f0f6fc}.i{fill:#0d1117}}";

/// Draws the panels side by side, with the numbers of the last epoch in the legend.
pub fn curves(title: &str, panels: &[Panel]) -> String {
    lay_out(title, panels, panels.len().max(1))
}

/// Draws the panels in rows of three, for pictures with more of them than fit side by side.
pub fn grid(title: &str, panels: &[Panel]) -> String {
    lay_out(title, panels, panels.len().clamp(1, 3))
}

fn lay_out(title: &str, panels: &[Panel], columns: usize) -> String {
    let (width, height) = (WIDTH * columns as f64, HEIGHT * panels.len().div_ceil(columns).max(1) as f64);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
         role=\"img\">\n<title>{}</title>\n<style>{STYLE}</style>\n",
        escape(title)
    );
    for (i, panel) in panels.iter().enumerate() {
        let (x, y) = ((i % columns) as f64 * WIDTH, (i / columns) as f64 * HEIGHT);
        // Writing to a string cannot fail.
        let _ = writeln!(svg, "<g transform=\"translate({x} {y})\">");
        svg += &body(panel);
        svg += "</g>\n";
    }
    svg + "</svg>\n"
}

/// One panel as an SVG element that takes its style sheet from the page around it.
pub fn element(panel: &Panel) -> String {
    format!(
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">\n{}</svg>\n",
        escape(&panel.title),
        body(panel)
    )
}

fn body(panel: &Panel) -> String {
    let mut canvas = SvgCanvas::default();
    draw(&mut canvas, panel, 0.0);
    canvas.0
}

/// The same picture as [`curves`], in pixels.
pub fn curves_image(panels: &[Panel]) -> RgbImage {
    let mut canvas = Raster::new(WIDTH * panels.len().max(1) as f64, HEIGHT);
    for (i, panel) in panels.iter().enumerate() {
        draw(&mut canvas, panel, i as f64 * WIDTH);
    }
    canvas.into_image()
}

/// Draws one panel, `shift` pixels from the left.
fn draw(canvas: &mut impl Canvas, panel: &Panel, shift: f64) {
    let epochs = panel.lines.iter().map(|line| line.values.len()).max().unwrap_or(0);
    let finite = || panel.lines.iter().flat_map(|line| &line.values).copied().filter(|value| value.is_finite());
    let lowest = finite().fold(f64::INFINITY, f64::min);
    let ticks = ticks(lowest, finite().fold(f64::NEG_INFINITY, f64::max));
    let (bottom, top) = (ticks[0], ticks[ticks.len() - 1]);
    let (left, right) = (shift + LEFT, shift + WIDTH - RIGHT);
    let x = |epoch: usize| match epochs {
        0 | 1 => (left + right) / 2.0,
        _ => left + (right - left) * epoch as f64 / (epochs - 1) as f64,
    };
    let y = |value: f64| HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (value - bottom) / (top - bottom);

    canvas.text(Place::Title, left, 22.0, &panel.title);
    let digits = decimals(ticks[1] - ticks[0]);
    for &tick in &ticks {
        let at = y(tick);
        canvas.stroke(Ink::Grid, &[(left, at), (right, at)]);
        canvas.text(Place::End, left - 8.0, at + 4.0, &format!("{tick:.digits$}"));
    }
    let stride = epochs.div_ceil(10).max(1);
    for epoch in (0..epochs).step_by(stride) {
        canvas.text(Place::Middle, x(epoch), HEIGHT - BOTTOM + 18.0, &(epoch + 1).to_string());
    }
    canvas.text(Place::Middle, (left + right) / 2.0, HEIGHT - 6.0, "epoch");

    // The first line is drawn last, on top of the others.
    for line in panel.lines.iter().rev() {
        draw_line(canvas, line, &x, &y);
    }
    legend(canvas, panel, left);
}

fn draw_line(canvas: &mut impl Canvas, line: &Line, x: &dyn Fn(usize) -> f64, y: &dyn Fn(f64) -> f64) {
    let ink = line.role.ink();
    let points: Vec<(usize, f64)> = line.values.iter().copied().enumerate().collect();
    // What is not finite leaves a gap, and a single point is no line.
    for piece in points.split(|(_, value)| !value.is_finite()).filter(|piece| piece.len() > 1) {
        canvas.stroke(ink, &piece.iter().map(|&(epoch, value)| (x(epoch), y(value))).collect::<Vec<_>>());
    }
    // The last one is what people look for.
    if let Some(&(epoch, value)) = points.iter().rfind(|(_, value)| value.is_finite()) {
        canvas.dot(ink, x(epoch), y(value));
    }
}

/// One line below the title, from left to right.
fn legend(canvas: &mut impl Canvas, panel: &Panel, mut x: f64) {
    for line in &panel.lines {
        let last = line.values.iter().rfind(|value| value.is_finite());
        let text = last.map_or_else(|| line.name.clone(), |value| format!("{} {value:.4}", line.name));
        canvas.stroke(line.role.ink(), &[(x, 38.0), (x + 16.0, 38.0)]);
        canvas.text(Place::Start, x + 21.0, 42.0, &text);
        x += 21.0 + text_width(&text) + 14.0;
    }
}

/// How wide a text of the usual size is, in pixels. Nobody measures text without a font; this errs on the wide side.
pub(super) fn text_width(text: &str) -> f64 {
    6.6 * text.chars().count() as f64
}

/// Four to eight round numbers that enclose the values.
pub(super) fn ticks(low: f64, high: f64) -> Vec<f64> {
    let (low, high) = match (low, high) {
        _ if !(low.is_finite() && high.is_finite()) => (0.0, 1.0),
        _ if high - low < 1e-9 * high.abs().max(1.0) => (low - 0.5, high + 0.5),
        both => both,
    };
    let rough = (high - low) / 5.0;
    let power = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|factor| factor * power).find(|step| *step >= rough * 0.999);
    let step = step.unwrap_or(10.0 * power);
    let first = (low / step + 1e-9).floor() as i64;
    let last = (high / step - 1e-9).ceil() as i64;
    (first..=last.max(first + 1)).map(|i| i as f64 * step).collect()
}

/// How many decimals tell two ticks apart.
pub(super) fn decimals(step: f64) -> usize {
    (-step.log10().floor()).clamp(0.0, 9.0) as usize
}

/// Text that stands for itself in SVG.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn panel(values: &[f64]) -> Panel {
        Panel {
            title: "loss".into(),
            lines: vec![Line { name: "training".into(), role: Role::Training, values: values.to_vec() }],
        }
    }

    #[test]
    fn ticks_are_round_and_enclose_the_values() {
        let text = |low, high| ticks(low, high).iter().map(|tick| format!("{tick:.3}")).collect::<Vec<_>>().join(" ");
        assert_eq!(text(0.3621, 0.8269), "0.300 0.400 0.500 0.600 0.700 0.800 0.900");
        assert_eq!(text(0.0, 1.0), "0.000 0.200 0.400 0.600 0.800 1.000");
        assert_eq!(text(-3.0, 12.0), "-5.000 0.000 5.000 10.000 15.000");
        for (low, high) in [(2.0, 2.0), (f64::INFINITY, f64::NEG_INFINITY), (0.0, 1e-12), (1e9, 1e9 + 1.0)] {
            let ticks = ticks(low, high);
            assert!((2..=12).contains(&ticks.len()) && ticks[0] < ticks[1], "{low} {high}: {ticks:?}");
        }
    }

    #[test]
    fn the_same_numbers_give_the_same_bytes() {
        let draw = || curves("a & b", &[panel(&[0.9, 0.5, 0.4]), panel(&[0.1])]);
        assert_eq!(draw(), draw());
        let svg = draw();
        assert!(svg.contains("<title>a &amp; b</title>") && svg.contains("width=\"960\""), "{svg}");
        assert_eq!(svg.matches("<g ").count(), svg.matches("</g>").count());
    }

    #[test]
    fn gaps_do_not_draw_and_do_not_fail() {
        let svg = curves("gaps", &[panel(&[1.0, f64::NAN, 0.5, 0.25]), panel(&[]), panel(&[f64::INFINITY])]);
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        assert_eq!(svg.matches("class=\"a\" d=\"M").count(), 4, "a legend for each, and one piece of a curve: {svg}");
        assert_eq!(svg.matches("<circle ").count(), 1, "{svg}");
        assert_eq!(curves_image(&[panel(&[1.0, f64::NAN, 0.5, 0.25]), panel(&[])]).dimensions(), (1920, 640));
    }
}
