//! Listens to a training run: shows it, writes it down, and saves it so that it can go on.

use std::time::{Duration, Instant};

use nn::core::Tensor;
use nn::data::Batch;
use nn::metrics::Histogram;
use nn::models::Model;
use nn::spec::Recipe;
use nn::train::{Control, Ended, EpochReport, Event, Listener, Trainer, gradients};
use serde_json::json;

use super::frozen::Frozen;
use super::history::{self, Epoch, Numbers};
use super::progress::{self, Moment, Plan, View};
use super::run_folder::{BEST, MODEL, RunFolder};
use super::svg;
use crate::checkpoints::Checkpoints;
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::model_file;
use crate::terminal::{Format, Terminal};

/// Nobody reads numbers that change more often than this.
const REFRESH: Duration = Duration::from_millis(80);

/// A listener for the command line.
pub struct Watch<'a> {
    terminal: &'a Terminal,
    folder: &'a mut RunFolder,
    interrupt: &'a Interrupt,
    recipe: &'a Recipe,
    model: &'a Model,
    classes: &'a [String],
    /// The batch whose gradients are shown.
    probe: &'a Batch,
    view: Box<dyn View + 'a>,
    shown: Instant,
    epochs: usize,
    history: Vec<Epoch>,
    frozen: Vec<Frozen>,
    checkpoints: Checkpoints<'a>,
    /// The first thing that went wrong here; training stops for it.
    failure: Option<Failure>,
}

impl<'a> Watch<'a> {
    /// Listens on behalf of these.
    pub fn new(
        terminal: &'a Terminal,
        folder: &'a mut RunFolder,
        interrupt: &'a Interrupt,
        recipe: &'a Recipe,
        model: &'a Model,
        classes: &'a [String],
        probe: &'a Batch,
    ) -> Watch<'a> {
        let view = Box::new(progress::Lines::new(terminal));
        let checkpoints = Checkpoints::new(folder.path(), &recipe.train.checkpoint, 0);
        Watch {
            terminal,
            folder,
            interrupt,
            recipe,
            model,
            classes,
            probe,
            view,
            shown: Instant::now(),
            epochs: 0,
            history: Vec::new(),
            frozen: Vec::new(),
            checkpoints,
            failure: None,
        }
    }

    /// Shows the run in this way, instead of lines and a bar.
    #[must_use]
    pub fn shown_by(mut self, view: Box<dyn View + 'a>) -> Watch<'a> {
        self.view = view;
        self
    }

    /// The epochs that were finished, and what became of frozen layers in them.
    ///
    /// # Errors
    /// What went wrong while listening.
    pub fn finish(mut self) -> Result<(Vec<Epoch>, Vec<Frozen>), Failure> {
        self.view.finish();
        let frozen = self.frozen.into_iter().map(|frozen| frozen.timed(&self.history)).collect();
        self.failure.map_or(Ok((self.history, frozen)), Err)
    }

    fn hear(&mut self, event: &Event<'_>, trainer: &Trainer<'_>) -> Result<(), Failure> {
        match event {
            Event::Start { epochs, steps, samples } => {
                self.epochs = *epochs;
                let before = &trainer.progress().history;
                self.history = before.epochs.iter().map(epoch_of).collect();
                self.checkpoints = Checkpoints::new(self.folder.path(), &self.recipe.train.checkpoint, before.steps);
                self.view.start(Plan { name: self.recipe.name.clone(), epochs: *epochs, steps: *steps });
                let name = &self.recipe.name;
                let folder = self.folder.path().display().to_string();
                self.folder.events(|events| events.graph(&self.model.summary()))?;
                self.tell(&json!({
                    "event": "start", "recipe": name, "epochs": epochs, "steps": steps, "samples": samples, "run_dir": folder,
                    "steps_done": before.steps,
                }))
            }
            Event::Step { epoch, step, so_far, seconds, .. } => {
                if self.shown.elapsed() >= REFRESH {
                    self.shown = Instant::now();
                    let (numbers, samples) = (Numbers(so_far.values()), so_far.samples);
                    let moment = Moment { epoch: *epoch, step: *step, numbers, samples, seconds: *seconds };
                    self.view.step(&moment, &self.history);
                }
                match self.interrupt.received() {
                    Some(_) => self.checkpoints.save(trainer),
                    None => self.checkpoints.after_step(trainer),
                }
            }
            Event::EpochEnd(report) => self.epoch(report, trainer),
            Event::FrozenStem(stem) => {
                let frozen = Frozen::from(*stem);
                self.view.remark(&frozen.line());
                self.frozen.push(frozen.clone());
                self.tell(&json!({ "event": "frozen", "frozen": frozen }))
            }
            Event::EpochStart { .. } | Event::End(_) => Ok(()),
        }
    }

    fn epoch(&mut self, report: &EpochReport, trainer: &Trainer<'_>) -> Result<(), Failure> {
        let epoch = epoch_of(report);
        let line = format!("epoch {}/{}  {}  {:.1} s", epoch.epoch, self.epochs, epoch.numbers.line(), epoch.seconds);
        self.tell(&json!({ "event": "epoch", "numbers": epoch }))?;
        self.history.push(epoch);
        self.view.epoch(&line, &self.history);
        self.folder.write("history.csv", history::csv(&self.history))?;
        let panels = history::panels(&self.history, self.recipe.document.as_ref());
        self.folder.write("curves.svg", svg::curves(&self.recipe.name, &panels))?;
        let history = &trainer.progress().history;
        let last = history.epochs.len() == self.epochs || history.ended == Ended::NoBetter;
        // A run that is complete can still be given more epochs.
        if last || self.interrupt.received().is_some() {
            self.checkpoints.save(trainer)?;
        }
        if let Some(name) = &self.recipe.train.checkpoint.best
            && history.best_epoch(name)? == Some(report.epoch)
        {
            model_file::save(self.model, &self.folder.path().join(BEST), self.classes)?;
        }
        self.events()?;
        // Whatever happens in the next epoch, this one is not lost.
        model_file::save(self.model, &self.folder.path().join(MODEL), self.classes)
    }

    /// Tells TensorBoard of the last epoch: its numbers, and how the weights and their gradients are spread.
    fn events(&mut self) -> Result<(), Failure> {
        let Some(last) = self.history.last() else { return Ok(()) };
        let tag = |name: &str| match name.strip_prefix("val_") {
            Some(name) => format!("{name}/validation"),
            None => format!("{name}/training"),
        };
        let scalars: Vec<(String, f64)> = last.numbers.0.iter().map(|(name, value)| (tag(name), *value)).collect();
        let weights = self.model.params().iter().map(|param| (param.name(), param.value()));
        let gradients = gradients(self.model, &self.recipe.train.loss, self.probe)?;
        let spread = |group: &'static str| {
            move |(name, x): (String, Tensor)| Ok((format!("{group}/{name}"), Histogram::of(&x)?))
        };
        let weights = weights.map(spread("weights"));
        let histograms: Vec<_> =
            weights.chain(gradients.into_iter().map(spread("gradients"))).collect::<nn::Result<_>>()?;
        let step = last.epoch as u64;
        self.folder.events(|events| {
            events.scalars(step, scalars.iter().map(|(name, value)| (name.as_str(), *value)))?;
            events.histograms(step, histograms.iter().map(|(name, histogram)| (name.as_str(), histogram)))
        })
    }

    /// Writes an event to the log, and to stdout for those who want to see every one.
    fn tell(&mut self, event: &serde_json::Value) -> Result<(), Failure> {
        self.folder.log(event)?;
        if self.terminal.format() == Format::JsonLines { self.terminal.json(event) } else { Ok(()) }
    }
}

/// What people see of an epoch.
fn epoch_of(report: &EpochReport) -> Epoch {
    Epoch { epoch: report.epoch, numbers: Numbers(report.values()), seconds: report.seconds }
}

impl Listener for Watch<'_> {
    fn on(&mut self, event: &Event<'_>, trainer: &Trainer<'_>) -> Control {
        if self.failure.is_none()
            && let Err(failure) = self.hear(event, trainer)
        {
            self.failure = Some(failure);
        }
        match self.failure.is_some() || self.interrupt.received().is_some() {
            true => Control::Stop,
            false => Control::Continue,
        }
    }
}
