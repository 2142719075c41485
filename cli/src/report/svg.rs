//! Learning curves as SVG: drawn by hand, the same bytes for the same numbers, readable on white and on black.

use std::fmt::Write;

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
    fn class(self) -> &'static str {
        match self {
            Role::Training => "a",
            Role::Validation => "b",
            Role::Document => "c",
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
circle.a{fill:#0969da}circle.b{fill:#d4621a}circle.c{fill:#8c959f}
@media(prefers-color-scheme:dark){svg{background:#0d1117}text{fill:#9198a1}.t{fill:#f0f6fc}.g{stroke:#30363d}
path.a{stroke:#58a6ff}path.b{stroke:#f0883e}path.c{stroke:#6e7681}
circle.a{fill:#58a6ff}circle.b{fill:#f0883e}circle.c{fill:#6e7681}}";

/// Draws the panels side by side, with the numbers of the last epoch in the legend.
pub fn curves(title: &str, panels: &[Panel]) -> String {
    let width = WIDTH * panels.len().max(1) as f64;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{HEIGHT}\" viewBox=\"0 0 {width} {HEIGHT}\" \
         role=\"img\">\n<title>{}</title>\n<style>{STYLE}</style>\n",
        escape(title)
    );
    for (i, panel) in panels.iter().enumerate() {
        let _ = writeln!(svg, "<g transform=\"translate({} 0)\">", i as f64 * WIDTH);
        draw(&mut svg, panel);
        svg += "</g>\n";
    }
    svg + "</svg>\n"
}

/// Writing to a string cannot fail, so the results of `writeln!` are dropped.
fn draw(svg: &mut String, panel: &Panel) {
    let epochs = panel.lines.iter().map(|line| line.values.len()).max().unwrap_or(0);
    let finite = || panel.lines.iter().flat_map(|line| &line.values).copied().filter(|value| value.is_finite());
    let lowest = finite().fold(f64::INFINITY, f64::min);
    let ticks = ticks(lowest, finite().fold(f64::NEG_INFINITY, f64::max));
    let (bottom, top) = (ticks[0], ticks[ticks.len() - 1]);
    let x = |epoch: usize| match epochs {
        0 | 1 => (LEFT + WIDTH - RIGHT) / 2.0,
        _ => LEFT + (WIDTH - LEFT - RIGHT) * epoch as f64 / (epochs - 1) as f64,
    };
    let y = |value: f64| HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (value - bottom) / (top - bottom);

    let _ = writeln!(svg, "<text class=\"t\" x=\"{LEFT}\" y=\"22\">{}</text>", escape(&panel.title));
    let digits = decimals(ticks[1] - ticks[0]);
    for &tick in &ticks {
        let (at, right) = (y(tick), WIDTH - RIGHT);
        let _ = writeln!(svg, "<path class=\"g\" d=\"M{LEFT} {at:.1}H{right}\"/>");
        let _ = writeln!(svg, "<text class=\"e\" x=\"{}\" y=\"{:.1}\">{tick:.digits$}</text>", LEFT - 8.0, at + 4.0);
    }
    let stride = epochs.div_ceil(10).max(1);
    for epoch in (0..epochs).step_by(stride) {
        let at = HEIGHT - BOTTOM + 18.0;
        let _ = writeln!(svg, "<text class=\"m\" x=\"{:.1}\" y=\"{at}\">{}</text>", x(epoch), epoch + 1);
    }
    let middle = (LEFT + WIDTH - RIGHT) / 2.0;
    let _ = writeln!(svg, "<text class=\"m\" x=\"{middle}\" y=\"{}\">epoch</text>", HEIGHT - 6.0);

    // The first line is drawn last, on top of the others.
    for line in panel.lines.iter().rev() {
        draw_line(svg, line, &x, &y);
    }
    legend(svg, panel);
}

fn draw_line(svg: &mut String, line: &Line, x: &dyn Fn(usize) -> f64, y: &dyn Fn(f64) -> f64) {
    let class = line.role.class();
    let mut path = String::new();
    let mut pen_is_down = false;
    for (epoch, &value) in line.values.iter().enumerate() {
        if value.is_finite() {
            let _ = write!(path, "{}{:.1} {:.1}", if pen_is_down { "L" } else { "M" }, x(epoch), y(value));
        }
        pen_is_down = value.is_finite();
    }
    if !path.is_empty() {
        let _ = writeln!(svg, "<path class=\"{class}\" d=\"{path}\"/>");
    }
    // A single point is no line, and the last one is what people look for.
    if let Some((epoch, &value)) = line.values.iter().enumerate().rfind(|(_, value)| value.is_finite()) {
        let _ = writeln!(svg, "<circle class=\"{class}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\"/>", x(epoch), y(value));
    }
}

/// One line below the title, from left to right.
fn legend(svg: &mut String, panel: &Panel) {
    let mut x = LEFT;
    for line in &panel.lines {
        let last = line.values.iter().rfind(|value| value.is_finite());
        let text = last.map_or_else(|| line.name.clone(), |value| format!("{} {value:.4}", line.name));
        let class = line.role.class();
        let _ = writeln!(svg, "<path class=\"{class}\" d=\"M{x:.1} 38H{:.1}\"/>", x + 16.0);
        let _ = writeln!(svg, "<text x=\"{:.1}\" y=\"42\">{}</text>", x + 21.0, escape(&text));
        // Nobody measures text without a font; 6.6 pixels a character errs on the wide side.
        x += 21.0 + 6.6 * text.chars().count() as f64 + 14.0;
    }
}

/// Four to eight round numbers that enclose the values.
fn ticks(low: f64, high: f64) -> Vec<f64> {
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
fn decimals(step: f64) -> usize {
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
        assert_eq!(svg.matches("class=\"a\" d=\"M").count(), 4, "a legend for each, and one curve: {svg}");
    }
}
