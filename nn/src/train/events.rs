//! What the training loop tells those who listen.

use super::Evaluation;

/// Something that happened. Epochs and steps count from 1.
#[derive(Debug)]
pub enum Event<'a> {
    /// Training begins.
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
    /// Takes notice, and may ask for the end.
    fn on(&mut self, event: &Event<'_>) -> Control;
}

impl<F: FnMut(&Event<'_>) -> Control> Listener for F {
    fn on(&mut self, event: &Event<'_>) -> Control {
        self(event)
    }
}

/// What an epoch came to.
#[derive(Clone, Debug, PartialEq)]
pub struct EpochReport {
    /// Which epoch, from 1.
    pub epoch: usize,
    /// Means over the epoch's samples while the weights were moving.
    pub train: Evaluation,
    /// The validation part after the epoch's last step.
    pub val: Option<Evaluation>,
    /// How long the steps took.
    pub train_seconds: f64,
    /// How long everything took, validation included.
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
#[derive(Clone, Debug, Default, PartialEq)]
pub struct History {
    /// The finished epochs.
    pub epochs: Vec<EpochReport>,
    /// How many steps were made in all.
    pub steps: usize,
    /// How many samples were seen in all.
    pub samples: usize,
    /// How long the steps took, without validation.
    pub train_seconds: f64,
    /// How long everything took.
    pub seconds: f64,
    /// Whether a listener ended the run early.
    pub stopped: bool,
}

impl History {
    /// Samples trained on in a second.
    pub fn samples_per_second(&self) -> f64 {
        self.samples as f64 / self.train_seconds.max(f64::MIN_POSITIVE)
    }
}
