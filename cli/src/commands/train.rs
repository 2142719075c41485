//! `gradus train`: from a recipe to a trained network in a run folder.

use std::path::Path;

use nn::core::Device;
use nn::core::kernels::memory;
use nn::models::{Counts, Model};
use nn::spec::Recipe;
use nn::train::{EVALUATION_BATCH, Ended, FEATURE_CACHE, History, Trainer};
use serde::Serialize;
use serde_json::json;

use super::summary;
use crate::args::TrainArgs;
use crate::checkpoints::Checkpoints;
use crate::datasets::load::known_shape;
use crate::failure::{Failure, Kind, is_of_device};
use crate::interrupt::Interrupt;
use crate::model_file;
use crate::report::confusion::ClassReport;
use crate::report::document;
use crate::report::environment::{Environment, peak_memory};
use crate::report::examined::Examined;
use crate::report::finish::Finished;
use crate::report::frozen::Frozen;
use crate::report::history::{Epoch, Numbers};
use crate::report::progress::{self, View};
use crate::report::run_folder::{CONFIG, DATA, MODEL, RunFolder};
use crate::report::watch::Watch;
use crate::samples::{Samples, measuring};
use crate::terminal::{Format, Terminal};
use crate::{bases, checkpoints, datasets, machine, recipes};

use saving::Saved;

mod resume;
mod saving;

/// What `--json` prints.
#[derive(Debug, Serialize)]
pub struct Outcome {
    recipe: String,
    epochs: usize,
    steps: usize,
    params: Params,
    /// Every epoch's numbers.
    pub history: Vec<Epoch>,
    /// What the model gives on the test part.
    pub test: Option<Numbers>,
    /// Which classes of the test were taken for which, if the model is a classifier.
    confusion: Option<ClassReport>,
    seconds: f64,
    /// Samples trained on in a second.
    pub samples_per_second: f64,
    /// The most that the process held at one time, where the system tells.
    peak_memory_bytes: Option<u64>,
    /// The most that tensors held at one time.
    peak_tensor_bytes: usize,
    weights_sha256: String,
    /// The run folder.
    pub run_dir: String,
    /// What frozen layers save in a step, where the run began with some.
    #[serde(skip_serializing_if = "Option::is_none")]
    saving: Option<Saved>,
    /// Frozen layers that were computed once, or might have been.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    frozen: Vec<Frozen>,
}

/// How many numbers the model holds.
#[derive(Debug, Serialize)]
pub struct Params {
    total: usize,
    trainable: usize,
    non_trainable: usize,
}

impl From<Counts> for Params {
    fn from(counts: Counts) -> Params {
        Params { total: counts.total, trainable: counts.trainable, non_trainable: counts.non_trainable }
    }
}

/// Trains.
///
/// # Errors
/// If the recipe is wrong, data are missing, the loss runs away, or a file cannot be written.
pub fn run(args: &TrainArgs, terminal: &Terminal) -> Result<(), Failure> {
    let device = machine::open(&args.machine)?;
    machine::compute(|| {
        let (recipe, base) = start(args, terminal)?;
        train(args, recipe, base, terminal, device)
    })
}

/// The recipe, and the trained model that it starts from; a dry run needs no more of that than its layers.
fn start(args: &TrainArgs, terminal: &Terminal) -> Result<(Recipe, Option<Model>), Failure> {
    let (overrides, data) = (overrides(args), args.data.as_deref());
    let name = match (&args.resume, &args.recipe) {
        (Some(folder), _) => {
            return bases::with_weights(resume::recipe(folder, args, &overrides)?, &args.out, data);
        }
        (None, Some(name)) => name,
        (None, None) => return Err(Failure::new(Kind::Usage, "train: name a recipe, or a run with --resume")),
    };
    if let Some(path) = bases::trained(name) {
        let (recipe, base) = bases::further(path, &overrides, terminal)?;
        return Ok((recipe, Some(base)));
    }
    let recipe = recipes::read(name, &overrides)?;
    if args.base.is_some() && recipes::read(name, &args.set)?.base.is_none() {
        let text = "--base: the recipe has no [base], so it starts from fresh weights; `gradus transfer` puts a new last layer \
                    on a trained model";
        return Err(Failure::new(Kind::Usage, text));
    }
    if args.dry_run { Ok((bases::with_layers(recipe)?, None)) } else { bases::with_weights(recipe, &args.out, data) }
}

/// Trains as the command line asks, without a word about the result.
///
/// # Errors
/// If the recipe is wrong, data are missing, the loss runs away, or a file cannot be written.
pub fn outcome(args: &TrainArgs, terminal: &Terminal, device: Device) -> Result<Outcome, Failure> {
    let (recipe, base) = start(args, terminal)?;
    Ok(Training::prepare(args, recipe, base, terminal, device)?.run(args, None, terminal, device)?.0)
}

/// Trains the whole `recipe`, beginning with the weights of `base` where it says so, and prints what came out.
///
/// # Errors
/// If the model does not fit the data, the loss runs away, or a file cannot be written.
pub fn train(
    args: &TrainArgs,
    recipe: Recipe,
    base: Option<Model>,
    terminal: &Terminal,
    device: Device,
) -> Result<(), Failure> {
    let view = if args.tui { Some(progress::whole_screen(terminal)?) } else { None };
    let training = Training::prepare(args, recipe, base, terminal, device)?;
    if args.dry_run {
        return dry_run(&training.recipe, &training.model, &training.samples, terminal);
    }
    let recipe = training.recipe.clone();
    let (outcome, test) = training.run(args, view, terminal, device)?;
    match terminal.format() {
        Format::Text => terminal.result(text(&outcome, &recipe, test.as_ref())),
        Format::Json => terminal.json(&outcome),
        Format::JsonLines => terminal.json(&json!({ "event": "end", "result": outcome })),
    }
}

/// A training before its first step.
struct Training {
    recipe: Recipe,
    samples: Samples,
    model: Model,
    /// The model with whose memory it goes on.
    memory: Option<Model>,
}

impl Training {
    /// Reads the data and builds the model.
    fn prepare(
        args: &TrainArgs,
        recipe: Recipe,
        base: Option<Model>,
        terminal: &Terminal,
        device: Device,
    ) -> Result<Training, Failure> {
        // A model that does not fit together is told before anybody waits for data.
        if let Some(shape) = known_shape(&recipe.data) {
            Model::build(&recipe, &shape)?;
        }
        let place = match &args.resume {
            Some(folder) => resume::data_place(folder, args),
            None => args.data.clone(),
        };
        let samples = Samples::load(&recipe, place.as_deref())?;
        terminal.detail(|| format!("data: {} from {}", samples.origin.source, samples.origin.place));
        let model = match args.resume.as_deref().map(checkpoints::are_there).transpose()? {
            // The weights come from a checkpoint, so there is nothing to adapt and nothing to calibrate.
            Some(true) => Model::build(&recipe, samples.train.sample_shape())?,
            _ => nn::train::start(&recipe, &samples.train, base.as_ref())?,
        };
        samples.check_outputs(&model, &recipe)?;
        model.to_device(device)?;
        let memory = base.filter(|_| recipe.base.as_ref().is_some_and(|base| base.optimizer));
        Ok(Training { recipe, samples, model, memory })
    }

    /// Trains, tests, and writes the run folder.
    fn run(
        self,
        args: &TrainArgs,
        view: Option<Box<dyn View + '_>>,
        terminal: &Terminal,
        device: Device,
    ) -> Result<(Outcome, Option<Examined>), Failure> {
        let Training { recipe, mut samples, model, memory } = self;
        datasets::add_hashes(&samples.origin.source, &mut samples.origin.files)?;
        let mut trainer = Trainer::of(&recipe, &model).feature_cache(args.feature_cache.unwrap_or(FEATURE_CACHE));
        if let (Some(memory), Some(base)) = (memory, &recipe.base) {
            trainer.recall(&memory, &base.model)?;
        }
        let mut folder = match &args.resume {
            Some(folder) => reopen(folder, args, &samples, &recipe, &mut trainer, terminal)?,
            None => RunFolder::create(&args.out, &recipe.name)?,
        };
        folder.write(CONFIG, recipe.to_toml())?;
        let environment = Environment::look(device.name(), machine::thread_count(), machine::check_isa()?);
        folder.write_json("env.json", &environment)?;
        folder.write_json(DATA, &samples.origin)?;
        announce(&recipe, &model, &samples, &folder, terminal);

        let saving = Saved::measure(&recipe, &model, &samples, device)?;
        if let Some(saving) = &saving {
            terminal.say(saving.line());
        }
        let interrupt = Interrupt::listen().map_err(|error| Failure::io("signals", &error))?;
        let (history, (epochs, frozen)) = {
            let training = samples.training(&recipe, device)?;
            let validation =
                samples.val.as_ref().map(|val| measuring(val, &recipe, EVALUATION_BATCH, device)).transpose()?;
            let classes = &samples.train.classes;
            // Epochs of training count from 1, so this one draws a batch of its own.
            let probe =
                training.epoch(0).next().ok_or_else(|| Failure::new(Kind::Data, "data: no samples to train on"))??;
            let mut watch = Watch::new(terminal, &mut folder, &interrupt, &recipe, &model, classes, &probe);
            if let Some(view) = view {
                watch = watch.shown_by(view);
            }
            let fitted = trainer.fit(&training, validation.as_ref(), recipe.train.epochs, &mut [&mut watch]);
            let watched = watch.finish()?;
            let fitted = fitted.map_err(|error| match is_of_device(&error) {
                true => device_failed(&error, &trainer, &recipe, &folder),
                false => Failure::from(error),
            });
            (fitted?, watched)
        };
        model_file::save(&model, &folder.path().join(MODEL), &samples.train.classes)?;
        if let Some(signal) = interrupt.received()
            && history.ended == Ended::Stopped
        {
            return Err(interrupted(signal, &history, &folder));
        }

        let test = samples.test.as_ref();
        let test = test.map(|test| Examined::new(&model, &recipe, test, EVALUATION_BATCH, device)).transpose()?;
        let finished = Finished {
            recipe: &recipe,
            model: &model,
            epochs: &epochs,
            test: samples.test.as_ref().zip(test.as_ref()),
            environment: &environment,
            origin: &samples.origin,
            seconds: history.seconds,
            samples_per_second: history.samples_per_second(),
            frozen: &frozen,
        };
        finished.write(&mut folder)?;
        let outcome = Outcome {
            recipe: recipe.name.clone(),
            epochs: epochs.len(),
            steps: history.steps,
            params: model.counts().into(),
            history: epochs,
            test: test.as_ref().map(|test| test.numbers.clone()),
            confusion: test.as_ref().and_then(|test| test.confusion.clone()),
            seconds: history.seconds,
            samples_per_second: history.samples_per_second(),
            peak_memory_bytes: peak_memory(),
            peak_tensor_bytes: memory::stats().peak,
            weights_sha256: model.weights_sha256()?,
            run_dir: folder.path().display().to_string(),
            saving,
            frozen,
        };
        folder.log(&json!({ "event": "end", "result": outcome }))?;
        folder.write_json("result.json", &outcome)?;
        Ok((outcome, test))
    }
}

/// The folder of an interrupted run, and its state in `trainer`.
fn reopen(
    folder: &Path,
    args: &TrainArgs,
    samples: &Samples,
    recipe: &Recipe,
    trainer: &mut Trainer<'_>,
    terminal: &Terminal,
) -> Result<RunFolder, Failure> {
    resume::check_data(folder, args, &samples.origin)?;
    match checkpoints::newest(folder, terminal)? {
        Some((checkpoint, file)) => {
            resume::check_unfinished(folder, &checkpoint.progress().history, recipe)?;
            trainer.resume(&checkpoint, &file.display().to_string())?;
            let (epoch, step) = checkpoint.progress().place();
            terminal.say(format!("going on in epoch {epoch} after step {step}, from {}", file.display()));
        }
        None => terminal.say("the run ended before its first checkpoint: starting from the beginning"),
    }
    RunFolder::open(folder.to_owned()).map_err(|error| Failure::io(folder.display(), &error))
}

/// The options that change a value of the recipe, as paths into it.
pub fn overrides(args: &TrainArgs) -> Vec<(String, String)> {
    let short = [
        ("base.model", &args.base),
        ("train.epochs", &args.epochs),
        ("train.batch", &args.batch),
        ("train.checkpoint.every", &args.checkpoint_every),
        ("optimizer.learning_rate", &args.lr),
        ("seed", &args.seed),
    ];
    let short = short.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value.clone()?)));
    args.set.iter().cloned().chain(short).collect()
}

fn announce(recipe: &Recipe, model: &Model, samples: &Samples, folder: &RunFolder, terminal: &Terminal) {
    terminal.say(format!(
        "{}: {} parameters, {} samples{}, {} epochs of {} steps, {}",
        recipe.name,
        summary::grouped(model.counts().total),
        summary::grouped(samples.train.len()),
        samples.val.as_ref().map_or_else(String::new, |val| format!(" + {} to watch", summary::grouped(val.len()))),
        recipe.train.epochs,
        samples.train.len().div_ceil(recipe.train.batch),
        folder.path().display(),
    ));
}

fn dry_run(recipe: &Recipe, model: &Model, samples: &Samples, terminal: &Terminal) -> Result<(), Failure> {
    let steps = samples.train.len().div_ceil(recipe.train.batch);
    let count = |set: &Option<nn::data::Dataset>| set.as_ref().map_or(0, nn::data::Dataset::len);
    let (val, test) = (count(&samples.val), count(&samples.test));
    let value = json!({
        "recipe": recipe.name,
        "params": Params::from(model.counts()),
        "samples": { "train": samples.train.len(), "val": val, "test": test },
        "steps_per_epoch": steps,
        "epochs": recipe.train.epochs,
        "config": recipe.to_toml(),
    });
    terminal.answer(&value, || {
        format!(
            "{}\n\nData: {} from {}\nSamples: {} to train, {} to watch, {} to test\nSteps: {} epochs of {} steps of {} \
             samples\n\n{}",
            summary::text(&recipe.name, model, terminal),
            samples.origin.source,
            samples.origin.place,
            summary::grouped(samples.train.len()),
            summary::grouped(val),
            summary::grouped(test),
            recipe.train.epochs,
            summary::grouped(steps),
            recipe.train.batch,
            recipe.to_toml().trim_end(),
        )
    })
}

/// The result for people: the last epoch and the test, beside what the document reports.
fn text(outcome: &Outcome, recipe: &Recipe, test: Option<&Examined>) -> String {
    let mut lines = Vec::new();
    if let (Some(last), Some(document)) = (outcome.history.last(), &recipe.document) {
        lines.push(document::comparison(last, document).to_string());
    } else if let Some(last) = outcome.history.last() {
        lines.push(format!("last epoch  {}", last.numbers.line()));
    }
    lines.extend(test.map(|test| test.text("test")));
    lines.extend(outcome.saving.as_ref().map(Saved::line));
    lines.extend(outcome.frozen.iter().map(Frozen::line));
    let mib = |bytes: u64| format!("{} MiB", bytes.div_ceil(1 << 20));
    let process = outcome.peak_memory_bytes.map_or_else(String::new, |bytes| format!("{} of memory, ", mib(bytes)));
    lines.push(format!(
        "{} samples/s; at most {process}{} of it tensors",
        summary::grouped(outcome.samples_per_second.round() as usize),
        mib(outcome.peak_tensor_bytes as u64),
    ));
    lines.push(outcome.run_dir.clone());
    lines.join("\n")
}

/// What a device's failure leaves: the training as it was before the step that failed, if the device still gives it.
fn device_failed(error: &nn::Error, trainer: &Trainer<'_>, recipe: &Recipe, folder: &RunFolder) -> Failure {
    let (steps, path) = (trainer.progress().history.steps, folder.path());
    let mut checkpoints = Checkpoints::new(path, &recipe.train.checkpoint, steps);
    let (path, what) = (path.display(), format!("{error}; step {} was not made", steps + 1));
    let left = match checkpoints.save(trainer) {
        Ok(()) => format!("go on with: gradus train --resume {path}, on another device or once this one has room"),
        Err(_) => format!("go on from the last checkpoint with: gradus train --resume {path}"),
    };
    Failure::new(Kind::Device, format!("{what}; {left}"))
}

fn interrupted(signal: u8, history: &History, folder: &RunFolder) -> Failure {
    let path = folder.path().display();
    let text = format!(
        "interrupted after {} steps, {} whole epochs; go on with: gradus train --resume {path}; `gradus eval {path}` \
         measures what it has learnt",
        history.steps,
        history.epochs.len()
    );
    Failure::new(Kind::Signal(signal), text)
}
