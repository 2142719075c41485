//! Which classes were taken for which: as tables, as JSON, and as a picture.

use std::fmt::Write;

use nn::metrics::{Confusion, Scores};
use serde::Serialize;

use super::svg::{self, STYLE, escape};
use super::table::Table;

/// The confusion matrix of named classes with the scores that follow from it.
#[derive(Clone, Debug, Serialize)]
pub struct ClassReport {
    /// The names, from class 0.
    pub classes: Vec<String>,
    /// Rows are the truth, columns the prediction.
    pub matrix: Vec<Vec<u64>>,
    /// One for each class.
    pub per_class: Vec<ClassScores>,
    /// Each class counts alike.
    pub macro_average: Scores,
    /// Each class counts as often as it has samples.
    pub weighted_average: Scores,
}

/// The scores of one class.
#[derive(Clone, Debug, Serialize)]
pub struct ClassScores {
    /// Its name.
    pub class: String,
    /// Its numbers.
    #[serde(flatten)]
    pub scores: Scores,
}

/// A matrix of more classes is no longer readable on a terminal.
const MOST_IN_TEXT: usize = 20;
/// A picture of more classes shows no numbers in its cells.
const MOST_NUMBERS: usize = 32;

/// The name of a class: what the data call it, else its number.
pub fn class_name(names: &[String], class: usize) -> String {
    names.get(class).cloned().unwrap_or_else(|| class.to_string())
}

impl ClassReport {
    /// The report of a matrix, whose classes have these names.
    pub fn new(confusion: &Confusion, names: &[String]) -> ClassReport {
        let classes: Vec<String> = (0..confusion.classes()).map(|class| class_name(names, class)).collect();
        let per_class = classes.iter().cloned().zip(confusion.scores());
        ClassReport {
            per_class: per_class.map(|(class, scores)| ClassScores { class, scores }).collect(),
            classes,
            matrix: confusion.rows().map(<[u64]>::to_vec).collect(),
            macro_average: confusion.macro_average(),
            weighted_average: confusion.weighted_average(),
        }
    }

    /// The scores of the classes, then their averages.
    pub fn scores(&self) -> Table {
        let averages = [("macro average", &self.macro_average), ("weighted average", &self.weighted_average)];
        let rows = self.per_class.iter().map(|row| (row.class.as_str(), &row.scores)).chain(averages);
        let mut table = Table::new(["class", "precision", "recall", "f1", "support"]).right(1..5);
        for (name, row) in rows {
            let number = |value: f64| format!("{value:.4}");
            let numbers = [row.precision, row.recall, row.f1].map(number);
            table.row(std::iter::once(name.to_owned()).chain(numbers).chain([row.support.to_string()]));
        }
        table
    }

    /// Both tables for people, the scores first.
    pub fn text(&self) -> String {
        let scores = self.scores();
        let count = self.classes.len();
        if count > MOST_IN_TEXT {
            return format!(
                "{scores}\n\nThe confusion matrix of {count} classes is too wide for a terminal; --json has it."
            );
        }
        // Names would make wide columns, so the columns have numbers unless the names are numbers.
        let label = |(class, name): (usize, &String)| match name.parse() == Ok(class) {
            true => name.clone(),
            false => format!("{class} {name}"),
        };
        let heading = std::iter::once("truth \\ given".to_owned()).chain((0..count).map(|class| class.to_string()));
        let mut matrix = Table::new(heading).right(1..=count);
        for (at, row) in self.classes.iter().enumerate().zip(&self.matrix) {
            matrix.row(std::iter::once(label(at)).chain(row.iter().map(u64::to_string)));
        }
        format!("{scores}\n\n{matrix}")
    }

    /// The picture with a style sheet of its own.
    pub fn svg(&self, title: &str) -> String {
        let (width, height, body) = self.draw();
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
             role=\"img\">\n<title>{}</title>\n<style>{STYLE}</style>\n{body}</svg>\n",
            escape(title)
        )
    }

    /// The picture as an element of a page that has the style sheet.
    pub fn element(&self) -> String {
        let (width, height, body) = self.draw();
        format!(
            "<svg width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" role=\"img\" \
             aria-label=\"confusion matrix\">\n{body}</svg>\n"
        )
    }

    /// Width, height and content of the picture. The darker a cell, the larger its share of the row; what is right is blue,
    /// what is wrong orange.
    fn draw(&self) -> (f64, f64, String) {
        let count = self.classes.len();
        let cell = if count > MOST_NUMBERS { (1024.0 / count as f64).max(3.0) } else { 46.0 };
        let widest = self.classes.iter().map(|name| svg::text_width(name)).fold(0.0, f64::max).max(40.0);
        let names = count <= MOST_NUMBERS;
        // Slanted names reach up by about two thirds of their length.
        let (left, top) = if names { (widest + 36.0, 0.7 * widest + 48.0) } else { (36.0, 48.0) };
        let side = cell * count as f64;
        let mut body = String::new();
        // Writing to a string cannot fail, so the results of `writeln!` are dropped.
        let _ = writeln!(body, "<text class=\"t\" x=\"8\" y=\"22\">truth (rows) and prediction (columns)</text>");
        for (row, (name, counts)) in self.classes.iter().zip(&self.matrix).enumerate() {
            let (y, all) = (top + cell * row as f64, counts.iter().sum::<u64>().max(1));
            if names {
                let name = escape(name);
                let _ = writeln!(
                    body,
                    "<text class=\"e\" x=\"{:.1}\" y=\"{:.1}\">{name}</text>",
                    left - 8.0,
                    y + cell / 2.0 + 4.0
                );
                let (x, up) = (left + cell * (row as f64 + 0.4), top - 8.0);
                let _ = writeln!(body, "<text transform=\"translate({x:.1} {up:.1}) rotate(-45)\">{name}</text>");
            }
            for (column, &value) in counts.iter().enumerate() {
                let share = value as f64 / all as f64;
                let x = left + cell * column as f64;
                let class = if row == column { "a" } else { "b" };
                // The square root lets rare mistakes be seen beside the mass of what is right.
                let opacity = if value == 0 { 0.0 } else { share.sqrt().max(0.06) };
                let _ = writeln!(
                    body,
                    "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill-opacity=\"{opacity:.3}\">\
                     <title>{} taken for {}: {value} ({:.1}%)</title></rect>",
                    cell - 1.0,
                    cell - 1.0,
                    escape(name),
                    escape(&self.classes[column]),
                    100.0 * share,
                );
                if names {
                    let ink = if opacity > 0.6 {
                        "m i"
                    } else if value == 0 {
                        "m"
                    } else {
                        "m k"
                    };
                    let (x, y) = (x + cell / 2.0, y + cell / 2.0 + 4.0);
                    let _ = writeln!(body, "<text class=\"{ink}\" x=\"{x:.1}\" y=\"{y:.1}\">{value}</text>");
                }
            }
        }
        let right = if names { 0.7 * widest } else { 0.0 };
        (left + side + right + 12.0, top + side + 12.0, body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(names: &[&str]) -> ClassReport {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        ClassReport::new(&Confusion::of(3, [(0, 0), (0, 0), (0, 2), (1, 1), (2, 1), (2, 2)]), &names)
    }

    #[test]
    fn tables_name_the_classes() {
        let text = report(&["shirt", "coat"]).text();
        assert_eq!(
            text,
            "class             precision  recall      f1  support\n\
             shirt                1.0000  0.6667  0.8000        3\n\
             coat                 0.5000  1.0000  0.6667        1\n\
             2                    0.5000  0.5000  0.5000        2\n\
             macro average        0.6667  0.7222  0.6556        6\n\
             weighted average     0.7500  0.6667  0.6778        6\n\n\
             truth \\ given  0  1  2\n\
             0 shirt        2  0  1\n\
             1 coat         0  1  0\n\
             2              0  1  1"
        );
    }

    #[test]
    fn the_picture_has_a_cell_for_each_pair_and_escapes_names() {
        let svg = report(&["a<b", "c"]).svg("x & y");
        assert_eq!(svg.matches("<rect ").count(), 9);
        assert!(svg.contains("a&lt;b taken for 2: 1 (33.3%)") && svg.contains("<title>x &amp; y</title>"), "{svg}");
    }

    #[test]
    fn many_classes_are_a_small_picture_and_no_text() {
        let report = ClassReport::new(&Confusion::of(100, [(99, 99)]), &[]);
        assert!(report.text().contains("100 classes") && !report.svg("x").contains("<text transform"));
    }
}
