//! Where a training stands, on disk: going on from it gives the bits that a training without a break gives.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::early_stop::Best;
use super::evaluate::Sums;
use super::{History, Trainer};
use crate::core::{Device, Tensor};
use crate::format::safetensors::{self, NamedTensors};
use crate::models::Model;
use crate::{Error, Result};

/// Where [`Progress`] stands in a file's metadata.
const PROGRESS: &str = "gradus.progress";
/// Where the fingerprint of all the rest stands in a file's metadata.
const SHA256: &str = "gradus.sha256";

/// How far a training has come: all that its next step depends on besides the tensors.
///
/// Random numbers need no state of their own: those of a step follow from the step's number, the order of an epoch's
/// samples from the epoch's.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// What was done so far; its time is that of finished epochs and of the epoch that is not.
    pub history: History,
    /// The epoch that is not finished.
    pub(super) begun: Option<Begun>,
    /// The best epoch so far, where early stopping looks for it.
    pub(super) best: Option<Best>,
}

/// An epoch that is not finished.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Begun {
    /// How many of its steps are done.
    pub step: usize,
    pub sums: Sums,
    #[serde(with = "bits")]
    pub seconds: f64,
}

impl Progress {
    /// The epoch that is under way or comes next, from 1, and how many of its steps are done.
    pub fn place(&self) -> (usize, usize) {
        (self.history.epochs.len() + 1, self.begun.as_ref().map_or(0, |begun| begun.step))
    }
}

/// A training at rest between two steps.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    progress: Progress,
    /// `weights/…`, `update/…`, and `best/…` where early stopping keeps the best weights.
    tensors: NamedTensors,
}

impl Checkpoint {
    /// How far the training had come.
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// What the training remembers besides the weights, if these are those of `model`; for [`Model::set_memory`].
    pub fn memory_of(&self, model: &Model) -> Option<NamedTensors> {
        let sorted = |mut weights: NamedTensors| {
            weights.sort_by(|a, b| a.0.cmp(&b.0));
            safetensors::weights_sha256(&weights).ok()
        };
        let (own, there) = (sorted(self.part("weights")), sorted(model.weights()));
        (own.is_some() && own == there).then(|| self.part("update"))
    }

    /// Writes the checkpoint, whole or not at all, with `extra` metadata.
    pub fn save(&self, path: impl AsRef<Path>, mut extra: BTreeMap<String, String>) -> Result<()> {
        let path = path.as_ref();
        let progress = serde_json::to_string(&self.progress)
            .map_err(|error| Error::Config(format!("{}: the progress cannot be written: {error}", path.display())))?;
        extra.insert(SHA256.into(), fingerprint(&progress, &self.tensors)?);
        extra.insert(PROGRESS.into(), progress);
        safetensors::save(path, &self.tensors, &extra)
    }

    /// Reads a checkpoint, and the metadata that was saved with it.
    ///
    /// A file that is truncated, or of which a single bit has changed, is refused with [`Error::Data`].
    pub fn load(path: impl AsRef<Path>) -> Result<(Self, BTreeMap<String, String>)> {
        let path = path.as_ref();
        let (mut tensors, mut metadata) = safetensors::load(path)?;
        let damaged = |what: String| Error::Data(format!("{}: {what}", path.display()));
        let mut take = |key: &str| {
            let lacks = || damaged(format!("no checkpoint of gradus: it lacks {key}"));
            metadata.remove(key).ok_or_else(lacks)
        };
        let (progress, sha256) = (take(PROGRESS)?, take(SHA256)?);
        // Tensors are stored by the size of their elements; a fingerprint needs one order.
        tensors.sort_by(|a, b| a.0.cmp(&b.0));
        if fingerprint(&progress, &tensors)? != sha256 {
            return Err(damaged("the checkpoint is damaged: its content has another SHA-256 than it says".into()));
        }
        let progress = serde_json::from_str(&progress)
            .map_err(|error| damaged(format!("the checkpoint's progress cannot be read: {error}")))?;
        Ok((Self { progress, tensors }, metadata))
    }

    /// The tensors below `prefix/`, without it.
    fn part(&self, prefix: &str) -> NamedTensors {
        let stripped = |(name, tensor): &(String, Tensor)| {
            let name = name.strip_prefix(prefix)?.strip_prefix('/')?;
            Some((name.to_string(), tensor.clone()))
        };
        self.tensors.iter().filter_map(stripped).collect()
    }
}

/// SHA-256 over the progress and the tensors, which are sorted by name.
fn fingerprint(progress: &str, tensors: &[(String, Tensor)]) -> Result<String> {
    let text = Tensor::from_slice(progress.as_bytes(), &[progress.len()])?;
    let named = tensors.iter().map(|(name, tensor)| (name.as_str(), tensor.clone()));
    safetensors::weights_sha256(&std::iter::once((PROGRESS, text)).chain(named).collect::<Vec<_>>())
}

impl Trainer<'_> {
    /// How far the training has come.
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// The training as it stands, for [`Trainer::resume`].
    pub fn checkpoint(&self) -> Checkpoint {
        let below = |prefix: &str, tensors: NamedTensors| {
            tensors.into_iter().map(|(name, tensor)| (format!("{prefix}/{name}"), tensor)).collect::<Vec<_>>()
        };
        let mut tensors = below("weights", self.model.weights());
        tensors.extend(below("update", self.update.state()));
        tensors.extend(below("best", self.best_weights.clone()));
        tensors.sort_by(|a, b| a.0.cmp(&b.0));
        Checkpoint { progress: self.progress.clone(), tensors }
    }

    /// Goes on from a checkpoint of the same recipe, on the same data.
    ///
    /// `from` is what complaints call the checkpoint. If it does not fit, weights and optimizer may have changed in part.
    pub fn resume(&mut self, checkpoint: &Checkpoint, from: &str) -> Result<()> {
        self.model.set_weights(checkpoint.part("weights"), from)?;
        let device = self.model.params().first().map_or(Device::CPU, |param| param.value().device());
        let moved = |tensors: NamedTensors| {
            let tensors = tensors.into_iter().map(|(name, tensor)| Ok((name, tensor.to_device(device)?)));
            tensors.collect::<Result<NamedTensors>>()
        };
        self.update.load_state(moved(checkpoint.part("update"))?)?;
        self.best_weights = moved(checkpoint.part("best"))?;
        self.progress = checkpoint.progress.clone();
        Ok(())
    }
}

/// Numbers as their bits: JSON has no NaN, and a number must come back exactly.
pub(super) mod bits {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        value.to_bits().serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        u64::deserialize(deserializer).map(f64::from_bits)
    }

    /// The same for lists.
    pub mod all {
        use super::{Deserialize, Deserializer, Serialize, Serializer};

        pub fn serialize<S: Serializer>(values: &[f64], serializer: S) -> Result<S::Ok, S::Error> {
            values.iter().map(|value| value.to_bits()).collect::<Vec<_>>().serialize(serializer)
        }

        pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<f64>, D::Error> {
            Ok(Vec::<u64>::deserialize(deserializer)?.into_iter().map(f64::from_bits).collect())
        }
    }

    /// The same for numbers with names.
    pub mod named {
        use super::{Deserialize, Deserializer, Serialize, Serializer};

        pub fn serialize<S: Serializer>(values: &[(String, f64)], serializer: S) -> Result<S::Ok, S::Error> {
            values.iter().map(|(name, value)| (name, value.to_bits())).collect::<Vec<_>>().serialize(serializer)
        }

        pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<(String, f64)>, D::Error> {
            let values = Vec::<(String, u64)>::deserialize(deserializer)?;
            Ok(values.into_iter().map(|(name, bits)| (name, f64::from_bits(bits))).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::RandomKey;
    use crate::data::{Dataset, Loader, Scale};
    use crate::spec::Recipe;
    use crate::train::{Control, Ended, Event, Listener};

    /// A net in which everything has a memory: moving statistics, dropout, Adam, the best epoch.
    const TEXT: &str = r#"
[data]
source = "x"
[[layer]]
type = "batch_norm"
[[layer]]
type = "dense"
units = 8
activation = "relu"
[[layer]]
type = "dropout"
rate = 0.3
[[layer]]
type = "dense"
units = 3
activation = "softmax"
[optimizer]
kind = "adam"
[train]
loss = "sparse_categorical_crossentropy"
early_stop = { patience = 9, restore_best = true }
"#;

    const EPOCHS: usize = 3;

    /// Three epochs of four steps, from the beginning or from a checkpoint. Gives the model's fingerprint and the history
    /// without its times, and stops after `stop` steps.
    fn train(from: Option<&Checkpoint>, stop: usize, keep: &mut dyn FnMut(&Trainer<'_>)) -> (String, History) {
        struct Ear<'a>(usize, &'a mut dyn FnMut(&Trainer<'_>));
        impl Listener for Ear<'_> {
            fn on(&mut self, event: &Event<'_>, trainer: &Trainer<'_>) -> Control {
                match event {
                    Event::Step { .. } if trainer.progress().history.steps == self.0 => {
                        (self.1)(trainer);
                        Control::Stop
                    }
                    _ => Control::Continue,
                }
            }
        }
        let recipe = Recipe::parse(TEXT, "r.toml").unwrap();
        let numbers: Vec<f32> = (0..300).map(|i| (i * 7919 % 1000) as f32 / 1000.0).collect();
        let labels: Vec<i64> = (0..100).map(|i| i * 31 % 3).collect();
        let inputs = Tensor::from_slice(&numbers, &[100, 3]).unwrap();
        let set = Dataset::new("x", inputs, Tensor::from_slice(&labels, &[100]).unwrap(), Vec::new()).unwrap();
        let batches = |batch, key| Loader::new(&set, batch, key, Scale::None).unwrap();
        let model = Model::build(&recipe, &[3]).unwrap();
        let mut trainer = Trainer::of(&recipe, &model);
        if let Some(checkpoint) = from {
            trainer.resume(checkpoint, "the checkpoint").unwrap();
        }
        let (train, val) = (batches(30, Some(RandomKey::new(7))), batches(100, None));
        let mut history = trainer.fit(&train, Some(&val), EPOCHS, &mut [&mut Ear(stop, keep)]).unwrap();
        (history.seconds, history.train_seconds) = (0.0, 0.0);
        history.epochs.iter_mut().for_each(|epoch| (epoch.seconds, epoch.train_seconds) = (0.0, 0.0));
        (model.weights_sha256().unwrap(), history)
    }

    /// The checkpoint after `step` steps, having been in a file.
    fn after(step: usize) -> Checkpoint {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut save = |trainer: &Trainer<'_>| {
            trainer.checkpoint().save(file.path(), BTreeMap::from([("a".into(), "b".into())])).unwrap();
        };
        let (_, history) = train(None, step, &mut save);
        assert_eq!((history.ended, history.steps), (Ended::Stopped, step));
        let (checkpoint, extra) = Checkpoint::load(file.path()).unwrap();
        assert_eq!(extra["a"], "b");
        assert_eq!(checkpoint.progress().place(), ((step - 1) / 4 + 1, (step - 1) % 4 + 1));
        checkpoint
    }

    #[test]
    fn a_training_with_a_break_ends_as_one_without() {
        let whole = train(None, usize::MAX, &mut |_| {});
        assert_eq!((whole.1.ended, whole.1.steps, whole.1.epochs.len()), (Ended::Complete, 12, EPOCHS));
        for step in 1..=12 {
            let rest = train(Some(&after(step)), usize::MAX, &mut |_| {});
            assert_eq!(rest, whole, "after step {step}");
        }
    }

    #[test]
    fn any_flipped_bit_or_missing_byte_is_found() {
        let checkpoint = after(5);
        let file = tempfile::NamedTempFile::new().unwrap();
        checkpoint.save(file.path(), BTreeMap::new()).unwrap();
        let whole = std::fs::read(file.path()).unwrap();
        let complaint = |bytes: &[u8]| {
            std::fs::write(file.path(), bytes).unwrap();
            match Checkpoint::load(file.path()) {
                Err(Error::Data(text)) => text,
                other => panic!("{other:?}"),
            }
        };
        for at in (0..whole.len()).step_by(whole.len() / 40) {
            let mut damaged = whole.clone();
            damaged[at] ^= 4;
            complaint(&damaged);
            complaint(&whole[..at]);
        }
        let mut damaged = whole.clone();
        *damaged.last_mut().unwrap() ^= 1;
        assert!(complaint(&damaged).ends_with("its content has another SHA-256 than it says"));
    }
}
