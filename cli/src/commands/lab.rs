//! `gradus lab`: the trainings of a lab one after the other, and a table of what came out beside its document.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

use nn::core::{Device, RandomKey};
use nn::models::Model;
use nn::spec::Recipe;
use nn::train::gradient_sizes;
use serde::Serialize;

use self::rows::Row;
use super::train::{self, Outcome};
use crate::args::{LabArgs, TrainArgs};
use crate::failure::{Failure, Kind};
use crate::labs::{self, Lab, Run};
use crate::report::history::panels;
use crate::report::run_folder::RunFolder;
use crate::report::svg;
use crate::samples::Samples;
use crate::terminal::Terminal;
use crate::{machine, recipes};

mod page;
mod rows;
mod seen;

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Answer {
    lab: String,
    /// The first of the seeds.
    seed: u64,
    /// How many there are.
    seeds: u16,
    seconds: f64,
    rows: Vec<Row>,
    seen: String,
    notes: String,
    /// What the user changed in all runs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    set: Vec<String>,
    run_dir: String,
}

/// How a run ended.
enum End {
    Done(Box<Outcome>),
    /// Its loss ran away; what the error said.
    RanAway(String),
}

/// A run with one seed.
struct Training<'a> {
    run: &'a str,
    seed: u64,
    end: End,
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
    let seeds = args.seeds.unwrap_or(lab.seeds);
    let times = if seeds > 1 { format!(" with {seeds} seeds") } else { String::new() };
    terminal.say(format!("{}: {} runs{times}, {}", args.name, lab.runs.len(), folder.path().display()));
    let (mut rows, mut trainings, mut pictures) = (Vec::new(), Vec::new(), Vec::new());
    for i in 0..seeds {
        let mut folders: BTreeMap<&str, PathBuf> = BTreeMap::new();
        for run in &lab.runs {
            let mut train = arguments(args, run, folder.path().to_owned(), &folders);
            let mut recipe = recipes::open(&run.recipe, &train.set)?;
            let mut title = run.name.clone();
            if seeds > 1 {
                let seed = recipe.seed.wrapping_add(u64::from(i));
                train.set.push(("seed".to_owned(), seed.to_string()));
                recipe.seed = seed;
                title = format!("{title}, seed {seed}");
            }
            terminal.say(format!("\n{title}"));
            let end = train_once(&train, terminal, device)?;
            let unchanged = run.set.is_empty() && args.epochs.is_none();
            let document = recipe.document.as_ref().filter(|_| unchanged);
            rows.extend(rows::at_epochs(lab, run, document, &end));
            rows.extend(rows::at_the_end(lab, run, document, args.set.is_empty(), &end));
            if lab.gradients {
                let sizes = first_and_last_gradient(&recipe, args, device)?;
                rows.extend(sizes.map(|(metric, size)| Row::new(run, metric, None, Some(size))));
            }
            if let End::Done(outcome) = &end {
                folders.insert(&run.name, PathBuf::from(&outcome.run_dir));
                // One picture holds the curves of the first seed.
                let panels = if i == 0 { panels(&outcome.history, document) } else { Vec::new() };
                let panel = panels.into_iter().find(|panel| lab.metric.ends_with(&panel.title));
                pictures.extend(panel.map(|panel| svg::Panel { title: format!("{title}: {}", panel.title), ..panel }));
            }
            trainings.push(Training { run: &run.name, seed: recipe.seed, end });
        }
    }
    let rows = rows::over_seeds(rows);
    let answer = Answer {
        lab: args.name.clone(),
        seed: trainings.first().map_or(0, |training| training.seed),
        seeds,
        seconds: began.elapsed().as_secs_f64(),
        seen: seen::seen(lab, &rows, &trainings),
        notes: lab.notes.clone(),
        set: args.set.iter().map(|(key, value)| format!("{key}={value}")).collect(),
        rows,
        run_dir: folder.path().display().to_string(),
    };
    folder.write("curves.svg", svg::grid(&args.name, &pictures))?;
    folder.write_json("lab.json", &answer)?;
    if args.markdown {
        return terminal.result(page::markdown(&answer, lab));
    }
    terminal.answer(&answer, || page::text(&answer))
}

fn train_once(args: &TrainArgs, terminal: &Terminal, device: Device) -> Result<End, Failure> {
    match train::outcome(args, terminal, device) {
        Ok(outcome) => Ok(End::Done(Box::new(outcome))),
        Err(failure) if failure.kind() == Kind::Numeric => {
            terminal.warn(failure.to_string());
            Ok(End::RanAway(failure.to_string()))
        }
        Err(failure) => Err(failure),
    }
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
