//! What is said of frozen layers whose results are kept from epoch to epoch.

use nn::train::FrozenStem;
use serde::Serialize;

use super::history::Epoch;
use crate::commands::summary::grouped;

/// What a training does about frozen layers in front of all others, for some epochs.
#[derive(Clone, Debug, Serialize)]
pub struct Frozen {
    /// The epochs, from the first to the last.
    epochs: [usize; 2],
    /// The last of the layers.
    layer: String,
    numbers_per_sample: usize,
    samples: usize,
    bytes: usize,
    /// Whether their results are kept.
    kept: bool,
    /// Of a sample in a step: with everything computed, and without what is kept.
    multiply_adds: [usize; 2],
    /// How long the first epoch took, and a later one in the mean.
    epoch_seconds: Option<[f64; 2]>,
}

impl From<&FrozenStem> for Frozen {
    fn from(stem: &FrozenStem) -> Frozen {
        Frozen {
            epochs: [stem.epoch, stem.last],
            layer: stem.layer.clone(),
            numbers_per_sample: stem.numbers,
            samples: stem.samples,
            bytes: stem.bytes,
            kept: stem.kept,
            multiply_adds: [stem.whole, if stem.kept { stem.whole - stem.saved } else { stem.whole }],
            epoch_seconds: None,
        }
    }
}

impl Frozen {
    /// The same with the times of its epochs, as far as they were done.
    pub fn timed(mut self, history: &[Epoch]) -> Frozen {
        let [first, last] = self.epochs;
        let seconds = |from, to| history.iter().filter(move |e| (from..=to).contains(&e.epoch)).map(|e| e.seconds);
        let (later, count) = (seconds(first + 1, last).sum::<f64>(), seconds(first + 1, last).count());
        self.epoch_seconds =
            seconds(first, first).next().filter(|_| count > 0).map(|first| [first, later / count as f64]);
        self
    }

    /// In one line, before the training or after it.
    pub fn line(&self) -> String {
        let Frozen { epochs: [first, last], layer, numbers_per_sample, samples, bytes, .. } = self;
        let mib = *bytes as f64 / f64::from(1 << 20);
        let what = format!("{} numbers of {} samples", grouped(*numbers_per_sample), grouped(*samples));
        if !self.kept {
            return format!(
                "frozen up to {layer}: computed in every epoch, since {what} would take {mib:.1} MiB; --feature-cache {}M keeps them",
                mib.ceil()
            );
        }
        let [whole, left] = self.multiply_adds.map(grouped);
        let times = match self.epoch_seconds {
            Some([first, later]) => format!(": {first:.2} s, then {later:.2} s an epoch"),
            None => String::new(),
        };
        format!(
            "frozen up to {layer}: computed once, {what} kept in {mib:.1} MiB; epochs {} to {last} take {left} of {whole} \
             multiply-adds a sample{times}",
            first + 1
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::history::Numbers;

    #[test]
    fn what_is_kept_and_what_is_not_is_told_with_its_size() {
        let stem = FrozenStem {
            epoch: 1,
            last: 3,
            layer: "relu".into(),
            numbers: 1280,
            samples: 1024,
            bytes: 5 << 20,
            kept: true,
            whole: 5000,
            saved: 4000,
        };
        let epoch = |epoch, seconds| Epoch { epoch, numbers: Numbers::default(), seconds };
        let history = [epoch(1, 8.0), epoch(2, 1.0), epoch(3, 2.0), epoch(4, 50.0)];
        let kept = "frozen up to relu: computed once, 1,280 numbers of 1,024 samples kept in 5.0 MiB; epochs 2 to 3 take 1,000 of \
                    5,000 multiply-adds a sample";
        assert_eq!(Frozen::from(&stem).line(), kept);
        assert_eq!(Frozen::from(&stem).timed(&history).line(), format!("{kept}: 8.00 s, then 1.50 s an epoch"));
        assert_eq!(Frozen::from(&stem).timed(&history[..1]).line(), kept);
        let line = Frozen::from(&FrozenStem { kept: false, ..stem }).line();
        let wanted = "frozen up to relu: computed in every epoch, since 1,280 numbers of 1,024 samples would take 5.0 MiB; \
                      --feature-cache 5M keeps them";
        assert_eq!(line, wanted);
    }
}
