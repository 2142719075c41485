//! The training loop.

use std::time::Instant;

use super::checkpoint::{Begun, Progress};
use super::early_stop::Verdict;
use super::evaluate::Sums;
use super::features::Features;
use super::{Control, EarlyStop, Ended, EpochReport, Event, FEATURE_CACHE, History, Listener, Phase};
use crate::core::{DType, RandomKey, Tensor};
use crate::data::{Batch, Loader};
use crate::format::safetensors::NamedTensors;
use crate::loss::Loss;
use crate::metrics::Metric;
use crate::models::{Model, Stem};
use crate::module::Ctx;
use crate::optim::Update;
use crate::spec::Recipe;
use crate::{Error, Result};

/// Trains a model, step by step or epoch by epoch.
#[derive(Debug)]
pub struct Trainer<'a> {
    pub(super) model: &'a Model,
    loss: Loss,
    /// How much a sample counts, by the number of its class; empty if all count the same.
    class_weight: Vec<f64>,
    metrics: Vec<Metric>,
    pub(super) update: Update,
    /// Where dropout and its kind draw from; every step gets a stream of its own.
    pub(super) key: RandomKey,
    early_stop: Option<EarlyStop>,
    /// How many bytes the results of frozen layers may take that are kept from epoch to epoch.
    feature_cache: usize,
    pub(super) progress: Progress,
    /// The weights of the best epoch, where they are wanted back at the end.
    pub(super) best_weights: NamedTensors,
}

impl<'a> Trainer<'a> {
    /// Trains `model` to make `loss` small; `update` is an optimizer, or an [`Update`] around one.
    pub fn new(model: &'a Model, loss: Loss, metrics: Vec<Metric>, update: impl Into<Update>, key: RandomKey) -> Self {
        let (progress, best_weights) = (Progress::default(), NamedTensors::new());
        let class_weight = Vec::new();
        Self {
            model,
            loss,
            class_weight,
            metrics,
            update: update.into(),
            key,
            early_stop: None,
            feature_cache: FEATURE_CACHE,
            progress,
            best_weights,
        }
    }

    /// Trains `model` as `recipe` says.
    pub fn of(recipe: &Recipe, model: &'a Model) -> Self {
        let train = &recipe.train;
        let key = RandomKey::new(recipe.seed).named("steps");
        let trainer = Self::new(model, train.loss.clone(), train.metrics.clone(), recipe.optimizer.build(), key);
        Self { class_weight: train.class_weight.clone(), early_stop: train.early_stop.clone(), ..trainer }
    }

    /// Lets the loss of each sample count in training as its class does, by number; see [`Loss::weighted`].
    pub fn class_weight(mut self, weights: Vec<f64>) -> Self {
        self.class_weight = weights;
        self
    }

    /// Keeps what frozen layers make of the samples from epoch to epoch, where no layer in front of them is trained, if it takes no
    /// more than so many bytes ([`FEATURE_CACHE`] unless told otherwise, 0 for never). It saves time, and changes no bit.
    pub fn feature_cache(mut self, bytes: usize) -> Self {
        self.feature_cache = bytes;
        self
    }

    /// What moves the weights: for its state, and for changing its rate.
    pub fn update(&mut self) -> &mut Update {
        &mut self.update
    }

    /// Where the random numbers of the step that comes next are drawn from.
    fn step_key(&self) -> RandomKey {
        self.key.numbered(self.progress.history.steps as u64)
    }

    /// Learns from one batch. Gives the loss before the update, with all penalties as in Keras, and the sum of each metric over
    /// the batch.
    pub fn step(&mut self, batch: &Batch) -> Result<(f64, Vec<f64>)> {
        self.step_behind(None, batch)
    }

    /// [`Trainer::step`], where the batch may hold what a stem of the model makes of its samples.
    ///
    /// Only penalties on layers' results are part of the graph: the slopes of those on weights are added in the pass that
    /// moves the weights, and cost nothing where there are none.
    fn step_behind(&mut self, stem: Option<&Stem>, batch: &Batch) -> Result<(f64, Vec<f64>)> {
        let ctx = Ctx::train(self.step_key());
        let (raw, left, activity) = self.model.forward_behind(stem, &batch.inputs, &ctx)?;
        let weights = self.sample_weights(batch)?;
        let mut loss = self.loss.weighted(&raw, &left, &batch.targets, weights.as_ref())?;
        if let Some(activity) = activity {
            loss = loss.add(&activity)?;
        }
        // Not to hold on to the graph, whose weights are about to change in place.
        let raw = { raw }.detach();
        // Reading the loss waits for a GPU, so the way back is started first.
        let value = loss.detach();
        let gradients = loss.backward()?;
        let value = value.item()? + self.model.penalty()?;
        let counts =
            self.metrics.iter().map(|metric| metric.count(&raw, &left, &batch.targets)).collect::<Result<_>>()?;
        if value.is_finite() {
            self.update.apply(self.model.params(), gradients)?;
        }
        self.progress.history.steps += 1;
        self.progress.history.samples += batch.size;
        Ok((value, counts))
    }

    /// How much each sample of a batch counts: as itself and as its class says. `None` if all count the same.
    fn sample_weights(&self, batch: &Batch) -> Result<Option<Tensor>> {
        if self.class_weight.is_empty() {
            return Ok(batch.weights.clone());
        }
        let targets = &batch.targets;
        let classes = match (targets.dtype(), targets.shape()) {
            (DType::I64, _) => targets.reshape(&[batch.size])?,
            (_, [_, columns]) if *columns > 1 => targets.argmax(-1)?,
            _ => targets.reshape(&[targets.len()])?.to_dtype(DType::I64)?,
        };
        let (count, given) = (self.class_weight.len(), self.class_weight.iter().map(|&weight| weight as f32));
        let table = Tensor::from_slice(&given.collect::<Vec<_>>(), &[count])?.to_device(targets.device())?;
        let highest = classes.max(&[])?.item()?;
        if highest >= count as f64 {
            return Err(Error::Config(format!(
                "class_weight: there are {count} weights, and a sample of class {highest}; give one for each class, from 0 on"
            )));
        }
        let weights = table.index_select(&classes, 0)?;
        Ok(Some(match &batch.weights {
            Some(own) => weights.mul(own)?,
            None => weights,
        }))
    }

    /// Learns from everything that `train` holds until `epochs` epochs are done, and measures on `val` after each.
    ///
    /// Goes on where the trainer stands: at the very beginning, or where [`Trainer::resume`] put it. Ends early, and in
    /// good order, when a listener says so or nothing gets better. A loss that is not finite is an error.
    pub fn fit(
        &mut self,
        train: &Loader,
        val: Option<&Loader>,
        epochs: usize,
        listeners: &mut [&mut dyn Listener],
    ) -> Result<History> {
        self.check_targets(train)?;
        if let Some(val) = val {
            self.check_targets(val)?;
        }
        let mut tell = |event: &Event<'_>, trainer: &Trainer<'_>| {
            let stops = listeners.iter_mut().map(|listener| listener.on(event, trainer) == Control::Stop);
            // Everyone hears it, even after the first has asked for the end.
            stops.fold(false, |any, stop| any | stop)
        };
        let mut stop = tell(&Event::Start { epochs, steps: train.steps(), samples: train.set().len() }, self);
        if self.progress.history.ended == Ended::Stopped {
            self.progress.history.ended = Ended::Complete;
        }
        let is_over = |history: &History| history.epochs.len() >= epochs || history.ended == Ended::NoBetter;
        let mut features = Features::default();
        while !stop && !is_over(&self.progress.history) {
            stop = self.epoch((train, val), epochs, &mut features, &mut tell)?;
        }
        drop(features);
        // Whoever asks for the end when all is done anyway has interrupted nothing.
        if !is_over(&self.progress.history) {
            self.progress.history.ended = Ended::Stopped;
        } else if self.best_weights.is_empty() {
            self.update.finish(self.model.params())?;
        } else {
            self.model.set_weights(std::mem::take(&mut self.best_weights), "the best epoch")?;
        }
        let history = self.progress.history.clone();
        tell(&Event::End(&history), self);
        Ok(history)
    }

    /// One epoch, or what is left of it. Gives whether a listener wants no more.
    fn epoch(
        &mut self,
        (train, val): (&Loader, Option<&Loader>),
        epochs: usize,
        features: &mut Features,
        tell: &mut dyn FnMut(&Event<'_>, &Trainer<'_>) -> bool,
    ) -> Result<bool> {
        let epoch = self.progress.history.epochs.len() + 1;
        let began = Instant::now();
        let fresh = || Begun { step: 0, sums: Sums::new(&self.metrics), seconds: 0.0 };
        let mut now = self.progress.begun.clone().unwrap_or_else(fresh);
        let before = now.seconds;
        // Where the run goes on within an epoch, the optimizer of its phase is the one that was saved.
        if let Some(update) = Phase::begin(self.model, epoch)?.filter(|_| now.step == 0) {
            self.update = update;
        }
        let frozen = features.begin(self.model, (train, val), (epoch, epochs), self.feature_cache)?;
        let mut stop = tell(&Event::EpochStart { epoch }, self);
        if let Some(frozen) = &frozen {
            stop |= tell(&Event::FrozenStem(frozen), self);
        }
        let stem = features.stem().cloned();
        for batch in features.training(self.model, train, epoch, now.step) {
            if stop {
                return Ok(true);
            }
            let batch = batch?;
            let (loss, counts) = self.step_behind(stem.as_ref(), &batch)?;
            now.step += 1;
            if !loss.is_finite() {
                return Err(self.runaway(stem.as_ref(), &batch, loss, epoch, now.step));
            }
            now.sums.add(loss, counts, batch.size);
            now.seconds = before + began.elapsed().as_secs_f64();
            // The listener may ask for a checkpoint.
            self.progress.begun = Some(now.clone());
            let (step, seconds) = (now.step, now.seconds);
            stop = tell(&Event::Step { epoch, step, loss, so_far: now.sums.means(), seconds }, self);
        }
        if stop {
            return Ok(true);
        }
        if epoch < epochs {
            features.end(self.model, train)?;
        }
        let val = val.map(|val| features.evaluate(self.model, &self.loss, &self.metrics, val)).transpose()?;
        let seconds = before + began.elapsed().as_secs_f64();
        let train = now.sums.means().clone();
        let report = EpochReport { epoch, train, val, train_seconds: now.seconds, seconds };
        self.update.epoch_end(&report.values())?;
        self.finish_epoch(&report)?;
        Ok(tell(&Event::EpochEnd(&report), self))
    }

    /// Writes an epoch into the history, and judges whether the training shall go on.
    fn finish_epoch(&mut self, report: &EpochReport) -> Result<()> {
        if let Some(rule) = &self.early_stop {
            match rule.judge(report, &mut self.progress.best)? {
                Verdict::Best if rule.restore_best => self.best_weights = self.model.weights(),
                Verdict::Enough => self.progress.history.ended = Ended::NoBetter,
                _ => {}
            }
        }
        let history = &mut self.progress.history;
        history.train_seconds += report.train_seconds;
        history.seconds += report.seconds;
        history.epochs.push(report.clone());
        self.progress.begun = None;
        Ok(())
    }

    /// Class numbers must have an output each, before the first step rather than in the middle of an epoch.
    fn check_targets(&self, loader: &Loader) -> Result<()> {
        match self.model.output_shape() {
            &[outputs] if outputs > 1 => loader.set().check_labels(outputs),
            // One probability tells two classes apart.
            [1] if matches!(self.loss, Loss::BinaryCrossentropy(_) | Loss::BinaryCrossentropyLogits(_)) => {
                loader.set().check_labels(2)
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Dataset, Scale};
    use crate::train::evaluate;

    const TEXT: &str = r#"
[data]
source = "x"
[[layer]]
type = "dense"
units = 8
activation = "relu"
[[layer]]
type = "dense"
units = 3
activation = "softmax"
[optimizer]
kind = "sgd"
learning_rate = 0.1
[train]
loss = "sparse_categorical_crossentropy"
metrics = ["accuracy"]
"#;

    fn recipe() -> Recipe {
        Recipe::parse(TEXT, "r.toml").unwrap()
    }

    /// Three classes that a small net can tell apart: which of three numbers is the largest.
    fn data(samples: usize) -> Dataset {
        let numbers: Vec<f32> = (0..samples * 3).map(|i| (i * 7919 % 1000) as f32 / 1000.0).collect();
        let largest = |x: &[f32]| (0..3).max_by(|&a, &b| x[a].total_cmp(&x[b])).unwrap() as i64;
        let labels: Vec<i64> = numbers.chunks(3).map(largest).collect();
        let inputs = Tensor::from_slice(&numbers, &[samples, 3]).unwrap();
        Dataset::new("largest", inputs, Tensor::from_slice(&labels, &[samples]).unwrap(), Vec::new()).unwrap()
    }

    fn loader(set: &Dataset) -> Loader {
        Loader::new(set, 32, Some(RandomKey::new(1)), Scale::None).unwrap()
    }

    #[test]
    fn a_net_learns_and_everyone_hears_of_it() {
        let (recipe, set) = (recipe(), data(500));
        let model = Model::build(&recipe, &[3]).unwrap();
        let mut heard = Vec::new();
        let mut ear = |event: &Event<'_>| {
            heard.push(match event {
                Event::Start { epochs, steps, samples } => format!("start {epochs} {steps} {samples}"),
                Event::EpochStart { epoch } => format!("epoch {epoch}"),
                Event::FrozenStem(stem) => format!("{stem:?}"),
                Event::Step { epoch, step, so_far, .. } => format!("step {epoch} {step} {}", so_far.samples),
                Event::EpochEnd(report) => format!("end of epoch {}", report.epoch),
                Event::End(history) => format!("end {}", history.steps),
            });
            Control::Continue
        };
        let history =
            Trainer::of(&recipe, &model).fit(&loader(&set), Some(&loader(&set)), 20, &mut [&mut ear]).unwrap();
        assert_eq!(heard[..4], ["start 20 16 500", "epoch 1", "step 1 1 32", "step 1 2 64"]);
        assert_eq!(heard[17..20], ["step 1 16 500", "end of epoch 1", "epoch 2"]);
        assert_eq!(heard.last().unwrap(), "end 320");
        let (first, last) = (&history.epochs[0], &history.epochs[19]);
        let accuracy = last.val.as_ref().unwrap().metrics[0].1;
        assert!(last.train.loss < first.train.loss && accuracy > 0.85, "{accuracy}");
        let names: Vec<_> = last.values().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["loss", "accuracy", "val_loss", "val_accuracy"]);
        assert_eq!((history.steps, history.samples, history.ended), (320, 10_000, Ended::Complete));
    }

    #[test]
    fn a_training_mean_weighs_samples_not_batches() {
        // 33 samples make a batch of 32 and one of 1; without learning, the mean over both is that over all samples.
        let (mut recipe, set) = (recipe(), data(33));
        recipe.layers.iter_mut().for_each(|layer| layer.trainable = true);
        let model = Model::build(&recipe, &[3]).unwrap();
        let whole = Loader::new(&set, 33, None, Scale::None).unwrap();
        let parts = Loader::new(&set, 32, None, Scale::None).unwrap();
        let of = |loader| evaluate(&model, &recipe.train.loss, &recipe.train.metrics, loader).unwrap();
        assert!((of(&whole).loss - of(&parts).loss).abs() < 1e-6);
        assert_eq!(of(&whole).metrics, of(&parts).metrics);
        assert_eq!(of(&parts).samples, 33);
    }

    #[test]
    fn a_listener_ends_the_run_after_the_step() {
        let (recipe, set) = (recipe(), data(100));
        let model = Model::build(&recipe, &[3]).unwrap();
        let mut stop = |event: &Event<'_>| match event {
            Event::Step { epoch: 2, step: 3, .. } => Control::Stop,
            _ => Control::Continue,
        };
        let history = Trainer::of(&recipe, &model).fit(&loader(&set), None, 9, &mut [&mut stop]).unwrap();
        assert_eq!((history.steps, history.epochs.len(), history.ended), (4 + 3, 1, Ended::Stopped));
    }

    #[test]
    fn a_training_that_was_stopped_can_go_on_and_is_complete_then() {
        let (recipe, set) = (recipe(), data(100));
        let model = Model::build(&recipe, &[3]).unwrap();
        let mut trainer = Trainer::of(&recipe, &model);
        let at = |epoch: usize, trainer: &mut Trainer<'_>| {
            let mut stop = |event: &Event<'_>| match event {
                Event::EpochEnd(report) if report.epoch == epoch => Control::Stop,
                _ => Control::Continue,
            };
            let history = trainer.fit(&loader(&set), None, 3, &mut [&mut stop]).unwrap();
            (history.epochs.len(), history.ended)
        };
        assert_eq!(at(1, &mut trainer), (1, Ended::Stopped));
        // The second stop comes with the last epoch, when there is nothing left to stop.
        assert_eq!(at(3, &mut trainer), (3, Ended::Complete));
    }

    #[test]
    fn a_loss_that_runs_away_names_epoch_step_and_layer() {
        let mut recipe = recipe();
        recipe.train.epochs = 3;
        let set = data(100);
        let model = Model::build(&recipe, &[3]).unwrap();
        let mut trainer = Trainer::of(&recipe, &model);
        trainer.update().set_learning_rate(1e30);
        let error = trainer.fit(&loader(&set), None, 3, &mut []).unwrap_err();
        assert!(matches!(error, Error::Numeric(_)), "{error:?}");
        let text = error.to_string();
        assert!(text.starts_with("epoch 1, step ") && text.contains("layer \"dense"), "{text}");
        assert!(text.contains("lower optimizer.learning_rate (it is 1e30)"), "{text}");
    }

    #[test]
    fn data_that_are_not_finite_are_blamed_themselves() {
        let recipe = recipe();
        let inputs = Tensor::from_slice(&[1f32, f32::NAN, 0.0], &[1, 3]).unwrap();
        let set = Dataset::new("bad", inputs, Tensor::from_slice(&[1i64], &[1]).unwrap(), Vec::new()).unwrap();
        let model = Model::build(&recipe, &[3]).unwrap();
        let error = Trainer::of(&recipe, &model).fit(&loader(&set), None, 1, &mut []).unwrap_err().to_string();
        assert!(error.starts_with("epoch 1, step 1: the loss is NaN: the data themselves are not finite"), "{error}");
    }

    #[test]
    fn labels_beyond_the_outputs_are_found_before_the_first_step() {
        let recipe = recipe();
        let inputs = Tensor::from_slice(&[1f32, 2.0, 3.0, 4.0, 5.0, 6.0], &[2, 3]).unwrap();
        let set = Dataset::new("bad", inputs, Tensor::from_slice(&[1i64, 3], &[2]).unwrap(), Vec::new()).unwrap();
        let model = Model::build(&recipe, &[3]).unwrap();
        let error = Trainer::of(&recipe, &model).fit(&loader(&set), None, 1, &mut []).unwrap_err();
        assert!(matches!(&error, Error::Data(text) if text.contains("label 3 in row 1")), "{error:?}");
    }
}
