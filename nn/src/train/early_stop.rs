//! Ending a training that gets no better.

use serde::{Deserialize, Serialize};

use super::EpochReport;
use super::checkpoint::bits;
use crate::named::named;
use crate::{Error, Result};

named! {
    /// Which way is better.
    Mode "mode" {
        /// Up for what counts successes (its name has `acc` in it), down for everything else.
        Auto = "auto";
        /// Less is better.
        Min = "min";
        /// More is better.
        Max = "max";
    }
}

impl Mode {
    fn complaint(&self) -> Option<&'static str> {
        None
    }
}

/// Ends a training whose monitored number has not improved for some epochs, as Keras' `EarlyStopping`.
#[derive(Clone, Debug, PartialEq)]
pub struct EarlyStop {
    /// What is watched: a name of [`EpochReport::values`], such as `val_loss`.
    pub monitor: String,
    /// How much better a number must be to count.
    pub min_delta: f64,
    /// How many epochs may pass without an improvement before the training ends.
    pub patience: usize,
    /// Which way is better.
    pub mode: Mode,
    /// Whether the weights of the best epoch are put back at the end, whether the training was ended early or not.
    pub restore_best: bool,
    /// How many epochs pass before the first is looked at.
    pub start_from: usize,
}

impl EarlyStop {
    /// Keras' defaults: the training ends after the first epoch whose `val_loss` is no better than the best before.
    pub fn keras() -> Self {
        let monitor = "val_loss".to_string();
        Self { monitor, min_delta: 0.0, patience: 0, mode: Mode::Auto, restore_best: false, start_from: 0 }
    }

    /// The monitored number of an epoch.
    ///
    /// Fails with [`Error::Config`] where the epoch has no such number.
    pub fn value(&self, report: &EpochReport) -> Result<f64> {
        let values = report.values();
        values.iter().find(|(name, _)| *name == self.monitor).map(|&(_, value)| value).ok_or_else(|| {
            let names: Vec<_> = values.iter().map(|(name, _)| name.as_str()).collect();
            let hint = if report.val.is_none() { "; data.split.val keeps samples for validation" } else { "" };
            let known = names.join(", ");
            Error::Config(format!("monitor {:?} is not measured; {known} are{hint}", self.monitor))
        })
    }

    /// Whether `value` is better than `other`. What is not a number never is.
    pub fn is_better(&self, value: f64, other: f64) -> bool {
        match self.mode {
            Mode::Auto if self.monitor.contains("acc") => value - self.min_delta > other,
            Mode::Max => value - self.min_delta > other,
            Mode::Auto | Mode::Min => value + self.min_delta < other,
        }
    }
}

/// The best epoch so far.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// Which, from 1.
    pub epoch: usize,
    /// The monitored number.
    #[serde(with = "bits")]
    pub value: f64,
}

/// What an epoch means for the training.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is the best so far.
    Best,
    /// It is not, and the training goes on.
    Worse,
    /// It is not, and patience is at its end.
    Enough,
}

impl EarlyStop {
    /// Judges the epoch that `report` is about, and keeps in `best` what is best.
    pub(super) fn judge(&self, report: &EpochReport, best: &mut Option<Best>) -> Result<Verdict> {
        let value = self.value(report)?;
        if report.epoch <= self.start_from {
            return Ok(Verdict::Worse);
        }
        match best {
            Some(best) if !self.is_better(value, best.value) => {
                // Like Keras, a patience of 0 and of 1 mean the same: the first epoch without an improvement is the last.
                let waited = report.epoch - best.epoch;
                Ok(if waited >= self.patience { Verdict::Enough } else { Verdict::Worse })
            }
            _ => {
                *best = Some(Best { epoch: report.epoch, value });
                Ok(Verdict::Best)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::Evaluation;

    fn report(epoch: usize, val_loss: f64) -> EpochReport {
        let part = |loss| Evaluation { loss, metrics: vec![("accuracy".into(), -loss)], samples: 1 };
        let val = Some(part(val_loss));
        EpochReport { epoch, train: part(0.0), val, train_seconds: 0.0, seconds: 0.0 }
    }

    /// The epoch at which a training with these validation losses ends, and its best.
    fn end(rule: &EarlyStop, losses: &[f64]) -> (Option<usize>, usize) {
        let mut best = None;
        let epochs = losses.iter().zip(1..);
        let judged = epochs.map(|(&loss, epoch)| (epoch, rule.judge(&report(epoch, loss), &mut best).unwrap()));
        let ended = { judged }.find(|(_, verdict)| *verdict == Verdict::Enough).map(|(epoch, _)| epoch);
        (ended, best.unwrap().epoch)
    }

    /// What Keras 3.15.1's EarlyStopping does with the same numbers, printed by tests/golden/early_stop.py.
    #[test]
    fn trainings_end_where_keras_ends_them() {
        let losses = [1.0, 0.8, 0.81, 0.79, 0.795, 0.792, 0.791, 0.7, 0.71, 0.72, 0.73];
        let rule = |patience, min_delta| EarlyStop { patience, min_delta, ..EarlyStop::keras() };
        assert_eq!(end(&rule(0, 0.0), &losses), (Some(3), 2));
        assert_eq!(end(&rule(1, 0.0), &losses), (Some(3), 2));
        assert_eq!(end(&rule(2, 0.0), &losses), (Some(6), 4));
        assert_eq!(end(&rule(3, 0.0), &losses), (Some(7), 4));
        assert_eq!(end(&rule(4, 0.0), &losses), (None, 8));
        assert_eq!(end(&rule(2, 0.05), &losses), (Some(4), 2));
        assert_eq!(end(&EarlyStop { start_from: 5, ..rule(2, 0.0) }, &losses), (Some(10), 8));
        let up = EarlyStop { monitor: "val_accuracy".into(), ..rule(2, 0.0) };
        assert_eq!(end(&up, &losses), (Some(6), 4));
        let wrong_way = EarlyStop { mode: Mode::Min, ..up };
        assert_eq!(end(&wrong_way, &losses), (Some(3), 1));
    }

    #[test]
    fn what_is_not_a_number_is_never_better() {
        assert_eq!(end(&EarlyStop { patience: 2, ..EarlyStop::keras() }, &[1.0, f64::NAN, f64::NAN]), (Some(3), 1));
    }

    #[test]
    fn a_number_that_is_not_measured_is_an_error_that_names_those_that_are() {
        let rule = EarlyStop { monitor: "val_los".into(), ..EarlyStop::keras() };
        let error = rule.value(&report(1, 0.0)).unwrap_err().to_string();
        let known = "loss, accuracy, val_loss, val_accuracy are";
        assert_eq!(error, format!("monitor \"val_los\" is not measured; {known}"));
    }
}
