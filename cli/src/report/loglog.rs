//! Curves over powers of ten in both directions, as SVG: how time grows with work.

use std::fmt::Write;

use super::svg::{STYLE, escape};

/// One curve.
#[derive(Clone, Debug)]
pub struct Curve {
    /// What the legend calls it.
    pub name: String,
    /// Pairs of positive numbers, from left to right.
    pub points: Vec<(f64, f64)>,
}

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 480.0;
const LEFT: f64 = 72.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 44.0;
const BOTTOM: f64 = 48.0;
/// The classes of the style sheet that curves take in turn.
const CLASSES: [&str; 3] = ["a", "b", "c"];

/// Draws the curves over whole decades, which enclose them; the same bytes for the same numbers.
pub fn draw(title: &str, across: &str, up: &str, curves: &[Curve]) -> String {
    let points = || curves.iter().flat_map(|curve| &curve.points);
    let (left, right) = decades(points().map(|point| point.0));
    let (bottom, top) = decades(points().map(|point| point.1));
    let x = |value: f64| LEFT + (WIDTH - LEFT - RIGHT) * (value.log10() - left) / (right - left);
    let y = |value: f64| HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (value.log10() - bottom) / (top - bottom);

    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{HEIGHT}\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         role=\"img\">\n<title>{0}</title>\n<style>{STYLE}</style>\n<text class=\"t\" x=\"{LEFT}\" y=\"24\">{0}</text>\n",
        escape(title)
    );
    // Writing to a string cannot fail, so the results of `writeln!` are dropped.
    for power in bottom as i32..=top as i32 {
        let at = y(10f64.powi(power));
        let _ = writeln!(svg, "<path class=\"g\" d=\"M{LEFT} {at:.1}H{:.1}\"/>", WIDTH - RIGHT);
        let _ = writeln!(svg, "<text class=\"e\" x=\"{}\" y=\"{:.1}\">1e{power}</text>", LEFT - 8.0, at + 4.0);
    }
    for power in left as i32..=right as i32 {
        let at = x(10f64.powi(power));
        let _ = writeln!(svg, "<path class=\"g\" d=\"M{at:.1} {TOP}V{:.1}\"/>", HEIGHT - BOTTOM);
        let _ = writeln!(svg, "<text class=\"m\" x=\"{at:.1}\" y=\"{}\">1e{power}</text>", HEIGHT - BOTTOM + 18.0);
    }
    let middle = (LEFT + WIDTH - RIGHT) / 2.0;
    let _ = writeln!(svg, "<text class=\"m\" x=\"{middle}\" y=\"{}\">{}</text>", HEIGHT - 8.0, escape(across));
    let _ = writeln!(svg, "<text x=\"8\" y=\"{}\">{}</text>", TOP - 8.0, escape(up));
    for (i, curve) in curves.iter().enumerate() {
        let class = CLASSES[i % CLASSES.len()];
        let mut path = String::new();
        for &(across, up) in curve.points.iter().filter(|(across, up)| is_drawn(*across) && is_drawn(*up)) {
            let _ = write!(path, "{}{:.1} {:.1}", if path.is_empty() { "M" } else { "L" }, x(across), y(up));
        }
        if !path.is_empty() {
            let _ = writeln!(svg, "<path class=\"{class}\" d=\"{path}\"/>");
        }
        let at = TOP + 16.0 + 16.0 * i as f64;
        let _ = writeln!(svg, "<path class=\"{class}\" d=\"M{} {at}H{}\"/>", LEFT + 12.0, LEFT + 28.0);
        let _ = writeln!(svg, "<text x=\"{}\" y=\"{}\">{}</text>", LEFT + 34.0, at + 4.0, escape(&curve.name));
    }
    svg + "</svg>\n"
}

/// Whether a number has a place between powers of ten.
fn is_drawn(value: f64) -> bool {
    value.is_finite() && value > 0.0
}

/// The powers of ten that enclose all values.
fn decades(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let powers: Vec<f64> = values.filter(|&value| is_drawn(value)).map(f64::log10).collect();
    let low = powers.iter().copied().fold(f64::INFINITY, f64::min).floor();
    let high = powers.iter().copied().fold(f64::NEG_INFINITY, f64::max).ceil();
    if low.is_finite() { (low, high.max(low + 1.0)) } else { (0.0, 1.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curves_lie_between_whole_decades() {
        assert_eq!(decades([3.0, 40.0].into_iter()), (0.0, 2.0));
        assert_eq!(decades([100.0].into_iter()), (2.0, 3.0));
        assert_eq!(decades([f64::NAN, -1.0, 0.0].into_iter()), (0.0, 1.0));
        let curve = |points: &[(f64, f64)]| Curve { name: "a < b".into(), points: points.to_vec() };
        let svg = draw("t", "n", "s", &[curve(&[(1.0, 1e-6), (10.0, f64::NAN), (100.0, 1e-4)]), curve(&[])]);
        assert!(
            svg.contains(&format!("d=\"M{LEFT:.1} {:.1}L{:.1} {TOP:.1}\"", HEIGHT - BOTTOM, WIDTH - RIGHT)),
            "{svg}"
        );
        assert!(svg.contains("a &lt; b") && !svg.contains("NaN"), "{svg}");
    }
}
