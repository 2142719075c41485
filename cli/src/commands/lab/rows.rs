//! The numbers of a lab's runs, beside those of its document.

use nn::spec::training::Document;
use nn::statistics::Estimate;
use serde::Serialize;

use super::End;
use crate::commands::train::Outcome;
use crate::labs::{Lab, Run};
use crate::report::history::Numbers;

/// One number of one run.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    pub run: String,
    pub metric: String,
    pub document: Option<f64>,
    /// The mean over the seeds.
    pub here: Option<f64>,
    pub difference: Option<f64>,
    /// Whether the difference is within what seeds and rounding explain, where somebody said how much that is.
    pub within: Option<bool>,
    /// The standard deviation between seeds, where there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deviation: Option<f64>,
    /// The number of each seed, where there are several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub by_seed: Vec<f64>,
    /// How far `here` may be off the document.
    #[serde(skip)]
    pub tolerance: Option<f64>,
}

impl Row {
    pub fn new(run: &Run, metric: &str, document: Option<f64>, here: Option<f64>) -> Self {
        let (run, metric) = (run.name.clone(), metric.to_owned());
        let (difference, within, deviation, by_seed, tolerance) = (None, None, None, Vec::new(), None);
        Self { run, metric, document, here, difference, within, deviation, by_seed, tolerance }
    }
}

/// One row for each number of the validation after the epochs that the lab looks at.
pub fn at_epochs(lab: &Lab, run: &Run, document: Option<&Document>, end: &End) -> Vec<Row> {
    let End::Done(outcome) = end else { return Vec::new() };
    let epochs = outcome.history.iter().filter(|epoch| lab.epochs.contains(&epoch.epoch));
    let numbers = epochs.flat_map(|epoch| epoch.numbers.0.iter().map(|(name, value)| (epoch.epoch, name, *value)));
    let row = |(epoch, name, here): (usize, &String, f64)| {
        let document = document.and_then(|document| document.history.get(name)?.get(epoch - 1)).copied();
        Row::new(run, &format!("{name}, epoch {epoch}"), document, Some(here))
    };
    numbers.filter(|(_, name, _)| name.starts_with("val_")).map(row).collect()
}

/// One row for each number that the document reports and that was measured; those that the lab is about in any case. `document` is the
/// recipe's, where the run is what the recipe says; what the lab says of the run comes before it. The numbers are held to their tolerance
/// if they are `judged`.
pub fn at_the_end(lab: &Lab, run: &Run, document: Option<&Document>, judged: bool, end: &End) -> Vec<Row> {
    let tolerance = run.tolerance.or(document.and_then(|document| document.tolerance)).filter(|_| judged);
    let document =
        document.map(|document| &document.values).filter(|_| run.document.is_empty()).unwrap_or(&run.document);
    let here = match end {
        End::Done(outcome) => numbers(outcome),
        End::RanAway(_) => Numbers::default(),
    };
    let reported = |name: &str| document.get(name).copied();
    let metric = lab.metric.as_str();
    let wanted = |name: &str| name == metric || lab.also.iter().any(|also| also == name) || reported(name).is_some();
    let mut names: Vec<&str> = here.0.iter().map(|(name, _)| name.as_str()).filter(|name| wanted(name)).collect();
    if names.is_empty() {
        names.push(metric);
    }
    let row = |name: &str| {
        // The tolerance is stated for the accuracy that the document ends with.
        let tolerance = tolerance.filter(|_| name == metric || name.ends_with("_accuracy"));
        Row { tolerance, ..Row::new(run, name, reported(name), here.get(name)) }
    };
    names.into_iter().map(row).collect()
}

/// All numbers of the last epoch and of the test, the latter with `test_` before their names.
fn numbers(outcome: &Outcome) -> Numbers {
    let mut numbers = outcome.history.last().map(|epoch| epoch.numbers.clone()).unwrap_or_default();
    let test = outcome.test.iter().flat_map(|test| &test.0);
    numbers.0.extend(test.map(|(name, value)| (format!("test_{name}"), *value)));
    numbers
}

/// One row for each number of each run, from those of all seeds in turn. A number that one seed lacks, since its loss ran away, has no
/// mean.
pub fn over_seeds(rows: Vec<Row>) -> Vec<Row> {
    let mut groups: Vec<Vec<Row>> = Vec::new();
    for row in rows {
        let of_it = |group: &&mut Vec<Row>| group[0].run == row.run && group[0].metric == row.metric;
        match groups.iter_mut().find(of_it) {
            Some(group) => group.push(row),
            None => groups.push(vec![row]),
        }
    }
    groups.iter().map(|group| over(group)).collect()
}

fn over(group: &[Row]) -> Row {
    let mut row = group[0].clone();
    if let Some(values) = group.iter().map(|row| row.here).collect::<Option<Vec<f64>>>() {
        let Estimate { mean, deviation, .. } = Estimate::of(&values);
        row.here = Some(mean);
        if values.len() > 1 {
            (row.deviation, row.by_seed) = (Some(deviation), values);
        }
    } else {
        row.here = None;
    }
    row.difference = row.here.zip(row.document).map(|(here, document)| here - document);
    row.within = row.difference.zip(row.tolerance).map(|(difference, tolerance)| difference.abs() <= tolerance + 1e-6);
    row
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_averaged_where_all_of_them_ended() {
        let run: Run = toml::from_str("name = 'a'\nrecipe = 'digits'").unwrap();
        let row = |metric, here| Row { tolerance: Some(0.2), ..Row::new(&run, metric, Some(0.5), here) };
        let seeds = vec![row("loss", Some(0.25)), row("lost", None), row("loss", Some(0.75)), row("lost", Some(1.0))];
        let rows = over_seeds(seeds);
        assert_eq!(rows.len(), 2);
        assert_eq!((rows[0].here, rows[0].difference, rows[0].within), (Some(0.5), Some(0.0), Some(true)));
        assert_eq!((rows[0].deviation, rows[0].by_seed.as_slice()), (Some(0.125f64.sqrt()), [0.25, 0.75].as_slice()));
        assert_eq!((rows[1].here, rows[1].within, rows[1].deviation), (None, None, None));
        let once = over_seeds(vec![row("loss", Some(0.8))]);
        assert_eq!((once[0].here, once[0].within, once[0].deviation), (Some(0.8), Some(false), None));
    }
}
