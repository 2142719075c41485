//! What the training loop tells those who listen.

use serde::{Deserialize, Serialize};

use super::checkpoint::bits;
use super::{EarlyStop, Evaluation, FrozenStem, Trainer};
use crate::Result;

/// Something that happened. Epochs and steps count from 1.
#[derive(Debug)]
pub enum Event<'a> {
    /// Training begins, or goes on from a checkpoint: then the trainer's history has what was before.
    Start {
        /// How many epochs there will be.
        epochs: usize,
        /// How many steps an epoch has.
        steps: usize,
        /// How many samples an epoch has.
        samples: usize,
    },
    /// An epoch begins.
    EpochStart {
        /// Which.
        epoch: usize,
    },
    /// From this epoch on frozen layers make the same of every sample, which is kept, or would take too much memory.
    FrozenStem(&'a FrozenStem),
    /// A step is done.
    Step {
        /// The epoch.
        epoch: usize,
        /// The step within the epoch.
        step: usize,
        /// The loss of this step, before its update.
        loss: f64,
        /// The means over the epoch's samples so far.
        so_far: &'a Evaluation,
        /// Since the epoch began.
        seconds: f64,
    },
    /// An epoch is done, validation included.
    EpochEnd(&'a EpochReport),
    /// Training is over.
    End(&'a History),
}

/// Whether training goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// It does.
    Continue,
    /// It ends after this step, in good order.
    Stop,
}

/// Anyone who wants to know: a progress bar, a log file, a test.
pub trait Listener {
    /// Takes notice, and may ask for the end. `trainer` can be asked for a [`Checkpoint`](super::Checkpoint).
    fn on(&mut self, event: &Event<'_>, trainer: &Trainer<'_>) -> Control;
}

impl<F: FnMut(&Event<'_>) -> Control> Listener for F {
    fn on(&mut self, event: &Event<'_>, _: &Trainer<'_>) -> Control {
        self(event)
    }
}

/// What an epoch came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochReport {
    /// Which epoch, from 1.
    pub epoch: usize,
    /// Means over the epoch's samples while the weights were moving.
    pub train: Evaluation,
    /// The validation part after the epoch's last step.
    pub val: Option<Evaluation>,
    /// How long the steps took.
    #[serde(with = "bits")]
    pub train_seconds: f64,
    /// How long everything took, validation included.
    #[serde(with = "bits")]
    pub seconds: f64,
}

impl EpochReport {
    /// All numbers by the names that Keras users know: `loss`, `accuracy`, `val_loss`, `val_accuracy`.
    pub fn values(&self) -> Vec<(String, f64)> {
        let prefixed = |prefix: &str, part: &Evaluation| {
            part.values().into_iter().map(|(name, value)| (format!("{prefix}{name}"), value)).collect::<Vec<_>>()
        };
        let mut values = prefixed("", &self.train);
        values.extend(self.val.iter().flat_map(|val| prefixed("val_", val)));
        values
    }
}

/// What a training run came to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct History {
    /// The finished epochs.
    pub epochs: Vec<EpochReport>,
    /// How many steps were made in all.
    pub steps: usize,
    /// How many samples were seen in all.
    pub samples: usize,
    /// How long the steps took, without validation.
    #[serde(with = "bits")]
    pub train_seconds: f64,
    /// How long everything took.
    #[serde(with = "bits")]
    pub seconds: f64,
    /// Why the run ended.
    pub ended: Ended,
}

/// Why a training ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ended {
    /// All its epochs are done.
    #[default]
    Complete,
    /// A listener asked for it; it can go on from a checkpoint.
    Stopped,
    /// What [`EarlyStop`] watches got no better.
    NoBetter,
}

impl History {
    /// The epoch, from 1, with the best `monitor`, as [`EarlyStop`] understands it; the first of equals.
    ///
    /// Fails with [`Error::Config`](crate::Error::Config) where an epoch has no such number.
    pub fn best_epoch(&self, monitor: &str) -> Result<Option<usize>> {
        let rule = EarlyStop { monitor: monitor.into(), ..EarlyStop::keras() };
        let mut best = None;
        for report in &self.epochs {
            rule.judge(report, &mut best)?;
        }
        Ok(best.map(|best| best.epoch))
    }

    /// Samples trained on in a second.
    pub fn samples_per_second(&self) -> f64 {
        self.samples as f64 / self.train_seconds.max(f64::MIN_POSITIVE)
    }
}
