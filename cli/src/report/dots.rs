//! Results of repeated runs as SVG: a row for each variant, a dot for each run, the mean with its interval.

use std::fmt::Write;

use nn::statistics::Estimate;

use super::svg::{STYLE, decimals, escape, ticks};

/// One variant.
#[derive(Clone, Debug)]
pub struct Row {
    /// What stands beside it.
    pub name: String,
    /// A value for each run.
    pub values: Vec<f64>,
}

const WIDTH: f64 = 720.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 44.0;
const BOTTOM: f64 = 44.0;
const ROW: f64 = 34.0;

/// Draws the rows over one axis, which `across` names; the same bytes for the same numbers.
pub fn draw(title: &str, across: &str, rows: &[Row]) -> String {
    // Nobody measures text without a font; 6.6 pixels a character errs on the wide side.
    let longest = rows.iter().map(|row| row.name.chars().count()).max().unwrap_or(0);
    let left = (24.0 + 6.6 * longest as f64).min(WIDTH / 2.0);
    let height = TOP + ROW * rows.len() as f64 + BOTTOM;
    let finite = || rows.iter().flat_map(|row| &row.values).copied().filter(|value| value.is_finite());
    let ticks = ticks(finite().fold(f64::INFINITY, f64::min), finite().fold(f64::NEG_INFINITY, f64::max));
    let (low, high) = (ticks[0], ticks[ticks.len() - 1]);
    let x = |value: f64| left + (WIDTH - left - RIGHT) * (value.clamp(low, high) - low) / (high - low);

    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" viewBox=\"0 0 {WIDTH} {height}\" \
         role=\"img\">\n<title>{0}</title>\n<style>{STYLE}</style>\n<text class=\"t\" x=\"16\" y=\"24\">{0}</text>\n",
        escape(title)
    );
    // Writing to a string cannot fail, so the results of `writeln!` are dropped.
    let digits = decimals(ticks[1] - ticks[0]);
    for &tick in &ticks {
        let (at, bottom) = (x(tick), height - BOTTOM);
        let _ = writeln!(svg, "<path class=\"g\" d=\"M{at:.1} {TOP}V{bottom}\"/>");
        let _ = writeln!(svg, "<text class=\"m\" x=\"{at:.1}\" y=\"{}\">{tick:.digits$}</text>", bottom + 16.0);
    }
    let middle = (left + WIDTH - RIGHT) / 2.0;
    let _ = writeln!(svg, "<text class=\"m\" x=\"{middle:.1}\" y=\"{}\">{}</text>", height - 8.0, escape(across));
    for (i, row) in rows.iter().enumerate() {
        let y = TOP + ROW * (i as f64 + 0.5);
        let _ = writeln!(
            svg,
            "<text class=\"e\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            left - 10.0,
            y + 4.0,
            escape(&row.name)
        );
        for &value in row.values.iter().filter(|value| value.is_finite()) {
            let _ = writeln!(svg, "<circle class=\"c\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\"/>", x(value), y + 7.0);
        }
        let Estimate { mean, interval, .. } = Estimate::of(&row.values);
        if interval.0.is_finite() {
            let _ =
                writeln!(svg, "<path class=\"a\" d=\"M{:.1} {1:.1}H{2:.1}\"/>", x(interval.0), y - 3.0, x(interval.1));
        }
        if mean.is_finite() {
            let _ = writeln!(svg, "<circle class=\"a\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"4\"/>", x(mean), y - 3.0);
        }
    }
    svg + "</svg>\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_run_has_a_dot_and_every_variant_an_interval() {
        let row = |name: &str, values: &[f64]| Row { name: name.into(), values: values.to_vec() };
        let svg = draw("t", "accuracy", &[row("a < b", &[0.9, 0.91, 0.95]), row("c", &[f64::NAN, 0.5])]);
        assert_eq!(svg.matches("<circle class=\"c\"").count(), 4);
        assert_eq!(svg.matches("<path class=\"a\"").count(), 1, "one value has no interval");
        assert!(svg.contains("a &lt; b") && !svg.contains("NaN"), "{svg}");
    }
}
