//! `gradus lab`: the trainings of a lab one after the other, and a table of what came out beside its document.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

use nn::core::{Device, RandomKey};
use nn::models::Model;
use nn::spec::Recipe;
use nn::spec::training::Document;
use nn::train::{EarlyStop, gradient_sizes};
use serde::Serialize;

use super::train::{self, Outcome};
use crate::args::{LabArgs, TrainArgs};
use crate::failure::{Failure, Kind};
use crate::labs::{self, Lab, Run};
use crate::report::history::{Numbers, panels};
use crate::report::run_folder::RunFolder;
use crate::report::svg;
use crate::report::table::Table;
use crate::samples::Samples;
use crate::terminal::Terminal;
use crate::{machine, recipes};

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Answer {
    lab: String,
    seed: u64,
    seconds: f64,
    rows: Vec<Row>,
    seen: String,
    notes: String,
    /// What the user changed in all runs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    set: Vec<String>,
    run_dir: String,
}

/// One number of one run.
#[derive(Debug, Serialize)]
struct Row {
    run: String,
    metric: String,
    document: Option<f64>,
    here: Option<f64>,
    difference: Option<f64>,
    /// Whether the difference is within what seeds and rounding explain, where somebody said how much that is.
    within: Option<bool>,
}

/// How a run ended.
enum End {
    Done(Box<Outcome>),
    /// Its loss ran away; what the error said.
    RanAway(String),
}

/// Runs a lab.
///
/// # Errors
/// If there is no such lab, data are missing, or a training fails in another way than by its loss running away.
pub fn run(args: &LabArgs, terminal: &Terminal) -> Result<(), Failure> {
    let lab = labs::open(&args.name)?;
    let device = machine::open(&args.machine)?;
    machine::compute(|| conduct(args, &lab, terminal, device))
}

fn conduct(args: &LabArgs, lab: &Lab, terminal: &Terminal, device: Device) -> Result<(), Failure> {
    let began = Instant::now();
    let folder = RunFolder::create(&args.out, &format!("lab-{}", args.name))?;
    terminal.say(format!("{}: {} runs, {}", args.name, lab.runs.len(), folder.path().display()));
    let mut folders: BTreeMap<&str, PathBuf> = BTreeMap::new();
    let (mut rows, mut ends, mut pictures) = (Vec::new(), Vec::new(), Vec::new());
    let mut seed = 0;
    for run in &lab.runs {
        terminal.say(format!("\n{}", run.name));
        let train = arguments(args, run, folder.path().to_owned(), &folders);
        let recipe = recipes::open(&run.recipe, &train.set)?;
        seed = recipe.seed;
        let end = match train::outcome(&train, terminal, device) {
            Ok(done) => {
                folders.insert(&run.name, PathBuf::from(&done.run_dir));
                End::Done(Box::new(done))
            }
            Err(failure) if failure.kind() == Kind::Numeric => {
                terminal.warn(failure.to_string());
                End::RanAway(failure.to_string())
            }
            Err(failure) => return Err(failure),
        };
        let unchanged = run.set.is_empty() && args.epochs.is_none();
        let document = recipe.document.as_ref().filter(|_| unchanged);
        let values =
            if unchanged && run.document.is_empty() { document.map(|d| &d.values) } else { Some(&run.document) };
        let tolerance =
            run.tolerance.or(document.and_then(|document| document.tolerance)).filter(|_| args.set.is_empty());
        rows.extend(at_epochs(lab, run, document, &end));
        rows.extend(compare(run, lab, values, tolerance, &end));
        if lab.gradients {
            for (metric, size) in first_and_last_gradient(&recipe, args, device)? {
                let (run, metric, here) = (run.name.clone(), metric.to_owned(), Some(size));
                rows.push(Row { run, metric, document: None, here, difference: None, within: None });
            }
        }
        if let End::Done(outcome) = &end {
            let panel = panels(&outcome.history, document).into_iter().find(|panel| lab.metric.ends_with(&panel.title));
            pictures.extend(panel.map(|panel| svg::Panel { title: format!("{}: {}", run.name, panel.title), ..panel }));
        }
        ends.push((run.name.as_str(), end));
    }
    let answer = Answer {
        lab: args.name.clone(),
        seed,
        seconds: began.elapsed().as_secs_f64(),
        seen: seen(lab, &rows, &ends),
        notes: lab.notes.clone(),
        set: args.set.iter().map(|(key, value)| format!("{key}={value}")).collect(),
        rows,
        run_dir: folder.path().display().to_string(),
    };
    folder.write("curves.svg", svg::grid(&args.name, &pictures))?;
    folder.write_json("lab.json", &answer)?;
    if args.markdown {
        return terminal.result(markdown(&answer, lab));
    }
    terminal.answer(&answer, || text(&answer))
}

/// The training of a run, as the command line would ask for it.
fn arguments(args: &LabArgs, run: &Run, out: PathBuf, folders: &BTreeMap<&str, PathBuf>) -> TrainArgs {
    let set = run.set.iter().map(|(key, value)| (key.clone(), value.clone()));
    let seed = args.seed.iter().map(|seed| ("seed".to_owned(), seed.clone()));
    let epochs = args.epochs.iter().map(|epochs| ("train.epochs".to_owned(), epochs.clone()));
    let base = run.base.as_ref().and_then(|base| folders.get(base.as_str()));
    TrainArgs {
        recipe: Some(run.recipe.clone()),
        set: set.chain(args.set.iter().cloned()).chain(seed).chain(epochs).collect(),
        base: base.map(|folder| folder.display().to_string()),
        data: args.data.clone(),
        out,
        machine: args.machine.clone(),
        ..TrainArgs::default()
    }
}

/// How large the gradients of the first and the last kernel are when the first batch meets the fresh model.
fn first_and_last_gradient(
    recipe: &Recipe,
    args: &LabArgs,
    device: Device,
) -> Result<[(&'static str, f64); 2], Failure> {
    let samples = Samples::load(recipe, args.data.as_deref())?;
    let model = Model::build(recipe, samples.train.sample_shape())?;
    model.to_device(device)?;
    let mut batches = samples.training(recipe, device)?.epoch(1);
    let batch = batches.next().ok_or_else(|| Failure::new(Kind::Data, "data: no samples to train on"))??;
    let sizes = gradient_sizes(&model, &recipe.train.loss, &batch, RandomKey::new(recipe.seed))?;
    let mut kernels = sizes.iter().filter(|(name, _)| name.ends_with(".kernel")).map(|&(_, size)| size);
    let first = kernels.next().unwrap_or(f64::NAN);
    Ok([("first_gradient", first), ("last_gradient", kernels.next_back().unwrap_or(first))])
}

/// All numbers of the last epoch and of the test, the latter with `test_` before their names.
fn numbers(outcome: &Outcome) -> Numbers {
    let mut numbers = outcome.history.last().map(|epoch| epoch.numbers.clone()).unwrap_or_default();
    let test = outcome.test.iter().flat_map(|test| &test.0);
    numbers.0.extend(test.map(|(name, value)| (format!("test_{name}"), *value)));
    numbers
}

/// One row for each number of the validation after the epochs that the lab looks at.
fn at_epochs(lab: &Lab, run: &Run, document: Option<&Document>, end: &End) -> Vec<Row> {
    let End::Done(outcome) = end else { return Vec::new() };
    let epochs = outcome.history.iter().filter(|epoch| lab.epochs.contains(&epoch.epoch));
    let numbers = epochs.flat_map(|epoch| epoch.numbers.0.iter().map(|(name, value)| (epoch.epoch, name, *value)));
    let row = |(epoch, name, here): (usize, &String, f64)| {
        let document = document.and_then(|document| document.history.get(name)?.get(epoch - 1)).copied();
        let (run, metric) = (run.name.clone(), format!("{name}, epoch {epoch}"));
        Row { run, metric, document, here: Some(here), difference: document.map(|there| here - there), within: None }
    };
    numbers.filter(|(_, name, _)| name.starts_with("val_")).map(row).collect()
}

/// One row for each number that the document reports and that was measured; those that the lab is about in any case.
fn compare(
    run: &Run,
    lab: &Lab,
    document: Option<&BTreeMap<String, f64>>,
    tolerance: Option<f64>,
    end: &End,
) -> Vec<Row> {
    let here = match end {
        End::Done(outcome) => numbers(outcome),
        End::RanAway(_) => Numbers::default(),
    };
    let reported = |name: &str| document.and_then(|document| document.get(name)).copied();
    let metric = lab.metric.as_str();
    let wanted = |name: &str| name == metric || lab.also.iter().any(|also| also == name) || reported(name).is_some();
    let mut names: Vec<&str> = here.0.iter().map(|(name, _)| name.as_str()).filter(|name| wanted(name)).collect();
    if names.is_empty() {
        names.push(metric);
    }
    let row = |name: &str| {
        let (document, here) = (reported(name), here.get(name));
        let difference = here.zip(document).map(|(here, document)| here - document);
        // The tolerance is stated for the accuracy that the document ends with.
        let judged = difference.zip(tolerance).filter(|_| name == metric || name.ends_with("_accuracy"));
        let within = judged.map(|(difference, tolerance)| difference.abs() <= tolerance + 1e-6);
        Row { run: run.name.clone(), metric: name.to_owned(), document, here, difference, within }
    };
    names.into_iter().map(row).collect()
}

/// What came out, in a few sentences that follow from the numbers alone.
fn seen(lab: &Lab, rows: &[Row], ends: &[(&str, End)]) -> String {
    let mut sentences = Vec::new();
    let rule = EarlyStop { monitor: lab.metric.clone(), ..EarlyStop::keras() };
    let ranked =
        rows.iter().filter(|row| row.metric == lab.metric).filter_map(|row| Some((row.run.as_str(), row.here?)));
    let mut ranked: Vec<(&str, f64)> = ranked.collect();
    ranked.sort_by(|a, b| match rule.is_better(a.1, b.1) {
        true => std::cmp::Ordering::Less,
        false if a.1 == b.1 => std::cmp::Ordering::Equal,
        false => std::cmp::Ordering::Greater,
    });
    let places: Vec<String> = ranked.iter().map(|(run, value)| format!("{run} {value:.4}")).collect();
    if !places.is_empty() {
        sentences.push(format!("By {}: {}.", lab.metric, places.join(", ")));
    }
    let judged: Vec<&Row> = rows.iter().filter(|row| row.within.is_some()).collect();
    let outside: Vec<String> = judged
        .iter()
        .filter(|row| row.within == Some(false))
        .map(|row| format!("{} of {} ({:+.4})", row.metric, row.run, row.difference.unwrap_or(f64::NAN)))
        .collect();
    match (judged.len(), outside.len()) {
        (0, _) => {}
        (all, 0) => sentences.push(format!("All {all} numbers with a stated tolerance are within it.")),
        (all, out) => sentences
            .push(format!("Of {all} numbers with a stated tolerance {out} are not within it: {}.", outside.join(", "))),
    }
    for (name, end) in ends {
        if let End::RanAway(why) = end {
            sentences.push(format!("{name} ran away: {why}."));
        }
    }
    let transferred = lab.runs.iter().filter(|run| run.base.is_some()).map(|run| run.name.as_str());
    for run in transferred {
        let rate = |name: &str| {
            ends.iter().find_map(|(other, end)| match end {
                End::Done(outcome) if *other == name => Some(outcome.samples_per_second),
                _ => None,
            })
        };
        // The last one before that starts from nothing is the same network from scratch.
        let before = lab.runs.iter().take_while(|other| other.name != run).filter(|other| other.base.is_none()).last();
        if let Some((before, (ours, theirs))) =
            before.and_then(|before| Some((before, (rate(run)?, rate(&before.name)?))))
        {
            let times = ours / theirs;
            sentences.push(format!(
                "{run} trained on {ours:.0} samples a second, {} on {theirs:.0}: {times:.2} times as many.",
                before.name
            ));
        }
    }
    sentences.join(" ")
}

fn cells(row: &Row) -> [String; 5] {
    let number = |value: Option<f64>| match value {
        None => "-".to_owned(),
        Some(value) if value != 0.0 && !(1e-3..1e4).contains(&value.abs()) => format!("{value:.1e}"),
        Some(value) => format!("{value:.4}"),
    };
    let difference = row.difference.map_or_else(|| "-".to_owned(), |difference| format!("{difference:+.4}"));
    [row.run.clone(), row.metric.clone(), number(row.document), number(row.here), difference]
}

const HEADING: [&str; 5] = ["run", "metric", "document", "here", "difference"];

fn text(answer: &Answer) -> String {
    let mut table = Table::new(HEADING).right([2, 3, 4]);
    answer.rows.iter().for_each(|row| table.row(cells(row)));
    let Answer { seen, notes, seconds, run_dir, .. } = answer;
    let changed = changed(answer);
    format!("{table}\n\n{seen}{changed}\n\n{notes}\n\n{seconds:.1} s in all\n{run_dir}")
}

/// What sets the runs apart from those of the document.
fn changed(answer: &Answer) -> String {
    match answer.set.as_slice() {
        [] => String::new(),
        set => format!(" All runs with {}, unlike the document's.", set.join(", ")),
    }
}

/// The same for documentation.
fn markdown(answer: &Answer, lab: &Lab) -> String {
    let mut lines = vec![format!("## {}", answer.lab), String::new(), format!("{}.", lab.about), String::new()];
    lines.push(format!("| {} |", HEADING.join(" | ")));
    lines.push("|---|---|---|---|---|".to_owned());
    lines.extend(answer.rows.iter().map(|row| format!("| {} |", cells(row).join(" | "))));
    let Answer { seen, notes, seconds, seed, .. } = answer;
    lines.extend([String::new(), format!("{seen}{}", changed(answer)), String::new(), notes.clone(), String::new()]);
    lines.push(format!("Seed {seed}; {seconds:.1} s in all."));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(run: &str, here: Option<f64>, difference: Option<f64>, within: Option<bool>) -> Row {
        Row { run: run.into(), metric: "val_loss".into(), document: None, here, difference, within }
    }

    #[test]
    fn what_was_seen_follows_from_the_numbers() {
        let lab = Lab {
            about: String::new(),
            metric: "val_loss".into(),
            also: Vec::new(),
            epochs: Vec::new(),
            notes: String::new(),
            runs: Vec::new(),
            gradients: false,
        };
        let rows = [
            row("a", Some(0.5), None, None),
            row("b", Some(0.25), Some(0.1), Some(false)),
            row("c", None, None, None),
            row("d", Some(0.75), Some(0.0), Some(true)),
        ];
        let ends = [("c", End::RanAway("the loss is NaN".into()))];
        assert_eq!(
            seen(&lab, &rows, &ends),
            "By val_loss: b 0.2500, a 0.5000, d 0.7500. Of 2 numbers with a stated tolerance 1 are not within it: val_loss \
             of b (+0.1000). c ran away: the loss is NaN."
        );
    }
}
