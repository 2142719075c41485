//! Listens to a training run: shows it, writes it down, and keeps the weights of every finished epoch.

use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use nn::models::Model;
use nn::spec::Recipe;
use nn::train::{Control, EpochReport, Event, Listener};
use serde_json::json;

use super::history::{self, Epoch, Numbers};
use super::progress::training_bar;
use super::run_folder::RunFolder;
use super::svg;
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
    bar: ProgressBar,
    shown: Instant,
    epochs: usize,
    history: Vec<Epoch>,
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
    ) -> Watch<'a> {
        let bar = ProgressBar::hidden();
        let (shown, history) = (Instant::now(), Vec::new());
        Watch { terminal, folder, interrupt, recipe, model, classes, bar, shown, epochs: 0, history, failure: None }
    }

    /// The epochs that were finished.
    ///
    /// # Errors
    /// What went wrong while listening.
    pub fn finish(self) -> Result<Vec<Epoch>, Failure> {
        self.bar.finish_and_clear();
        self.failure.map_or(Ok(self.history), Err)
    }

    fn hear(&mut self, event: &Event<'_>) -> Result<(), Failure> {
        match event {
            Event::Start { epochs, steps, samples } => {
                self.epochs = *epochs;
                self.bar = training_bar(self.terminal, *steps);
                let name = &self.recipe.name;
                let folder = self.folder.path().display().to_string();
                self.tell(&json!({
                    "event": "start", "recipe": name, "epochs": epochs, "steps": steps, "samples": samples, "run_dir": folder,
                }))
            }
            Event::EpochStart { epoch } => {
                self.bar.reset();
                self.bar.set_prefix(format!("epoch {epoch}/{}", self.epochs));
                Ok(())
            }
            Event::Step { step, so_far, .. } => {
                if self.shown.elapsed() >= REFRESH {
                    self.shown = Instant::now();
                    self.bar.set_position(*step as u64);
                    self.bar.set_message(Numbers(so_far.values()).line());
                }
                Ok(())
            }
            Event::EpochEnd(report) => self.epoch(report),
            Event::End(_) => Ok(()),
        }
    }

    fn epoch(&mut self, report: &EpochReport) -> Result<(), Failure> {
        let epoch = Epoch { epoch: report.epoch, numbers: Numbers(report.values()), seconds: report.seconds };
        let line = format!("epoch {}/{}  {}  {:.1} s", epoch.epoch, self.epochs, epoch.numbers.line(), epoch.seconds);
        self.bar.suspend(|| self.terminal.say(line));
        self.tell(&json!({ "event": "epoch", "numbers": epoch }))?;
        self.history.push(epoch);
        self.folder.write("history.csv", history::csv(&self.history))?;
        let document = self.recipe.document.as_ref();
        let panels = history::panels(&self.history, |name| document?.history.get(name).cloned());
        self.folder.write("curves.svg", svg::curves(&self.recipe.name, &panels))?;
        // Whatever happens in the next epoch, this one is not lost.
        model_file::save(self.model, self.folder.path(), self.classes)
    }

    /// Writes an event to the log, and to stdout for those who want to see every one.
    fn tell(&mut self, event: &serde_json::Value) -> Result<(), Failure> {
        self.folder.log(event)?;
        if self.terminal.format() == Format::JsonLines { self.terminal.json(event) } else { Ok(()) }
    }
}

impl Listener for Watch<'_> {
    fn on(&mut self, event: &Event<'_>) -> Control {
        if self.failure.is_none()
            && let Err(failure) = self.hear(event)
        {
            self.failure = Some(failure);
        }
        match self.failure.is_some() || self.interrupt.received().is_some() {
            true => Control::Stop,
            false => Control::Continue,
        }
    }
}
