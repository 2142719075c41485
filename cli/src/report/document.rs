//! Our numbers beside those of the document that a recipe reproduces.

use nn::spec::training::Document;

use super::history::Epoch;
use super::table::Table;

/// What the document reports for a number after this epoch: from its history if it has one, else its final number.
pub fn reported(document: &Document, name: &str, epoch: usize) -> Option<f64> {
    let history = document.history.get(name).and_then(|values| values.get(epoch - 1));
    history.or_else(|| document.values.get(name)).copied()
}

/// One row for each number of the epoch.
pub fn comparison(last: &Epoch, document: &Document) -> Table {
    let mut table = Table::new(["", "ours", &document.id, "difference"]).right([1, 2, 3]);
    for (name, ours) in &last.numbers.0 {
        let theirs = reported(document, name, last.epoch);
        let number = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.4}"));
        let difference = theirs.map_or_else(|| "-".to_owned(), |theirs| format!("{:+.4}", ours - theirs));
        table.row([name.clone(), format!("{ours:.4}"), number(theirs), difference]);
    }
    table
}
