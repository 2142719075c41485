//! A lab's answer as text, and as a section of documentation.

use super::Answer;
use super::rows::Row;
use crate::labs::Lab;
use crate::report::table::Table;

const HEADING: [&str; 5] = ["run", "metric", "document", "here", "difference"];

fn cells(row: &Row) -> [String; 5] {
    let number = |value: Option<f64>| match value {
        None => "-".to_owned(),
        Some(value) if value != 0.0 && !(1e-3..1e4).contains(&value.abs()) => format!("{value:.1e}"),
        Some(value) => format!("{value:.4}"),
    };
    let deviation = row.deviation.map_or_else(String::new, |deviation| format!(" \u{b1} {deviation:.4}"));
    let here = format!("{}{deviation}", number(row.here));
    let difference = row.difference.map_or_else(|| "-".to_owned(), |difference| format!("{difference:+.4}"));
    [row.run.clone(), row.metric.clone(), number(row.document), here, difference]
}

/// The answer on a terminal.
pub fn text(answer: &Answer) -> String {
    let mut table = Table::new(HEADING).right([2, 3, 4]);
    answer.rows.iter().for_each(|row| table.row(cells(row)));
    let Answer { seen, notes, seconds, run_dir, .. } = answer;
    let (changed, seeds) = (changed(answer), seeds(answer));
    format!("{table}\n\n{seen}{changed}\n\n{notes}\n\n{seeds}; {seconds:.1} s in all\n{run_dir}")
}

/// The same for documentation.
pub fn markdown(answer: &Answer, lab: &Lab) -> String {
    let mut lines = vec![format!("## {}", answer.lab), String::new(), format!("{}.", lab.about), String::new()];
    lines.push(format!("| {} |", HEADING.join(" | ")));
    lines.push("|---|---|---|---|---|".to_owned());
    lines.extend(answer.rows.iter().map(|row| format!("| {} |", cells(row).join(" | "))));
    let Answer { seen, notes, seconds, .. } = answer;
    lines.extend([String::new(), format!("{seen}{}", changed(answer)), String::new(), notes.clone(), String::new()]);
    lines.push(format!("{}; {seconds:.1} s in all.", seeds(answer)));
    lines.join("\n")
}

/// What sets the runs apart from those of the document.
fn changed(answer: &Answer) -> String {
    match answer.set.as_slice() {
        [] => String::new(),
        set => format!(" All runs with {}, unlike the document's.", set.join(", ")),
    }
}

/// With which seeds, and what the numbers of several are.
fn seeds(answer: &Answer) -> String {
    match (answer.seed, answer.seeds) {
        (seed, 1) => format!("Seed {seed}"),
        (seed, count) => {
            let last = seed.wrapping_add(u64::from(count) - 1);
            format!("Seeds {seed} to {last}: means, and standard deviations between seeds")
        }
    }
}
