//! The training loop.

use std::time::Instant;

use super::evaluate::Sums;
use super::{Control, EpochReport, Event, History, Listener, evaluate};
use crate::core::{DType, RandomKey, Tensor, no_grad};
use crate::data::{Batch, Loader};
use crate::loss::Loss;
use crate::metrics::Metric;
use crate::models::Model;
use crate::module::Ctx;
use crate::optim::Update;
use crate::spec::Recipe;
use crate::{Error, Result};

/// Trains a model, step by step or epoch by epoch.
#[derive(Debug)]
pub struct Trainer<'a> {
    model: &'a Model,
    loss: Loss,
    metrics: Vec<Metric>,
    update: Update,
    /// Where dropout and its kind draw from; every step gets a stream of its own.
    key: RandomKey,
    /// Steps made so far.
    steps: u64,
}

impl<'a> Trainer<'a> {
    /// Trains `model` to make `loss` small; `update` is an optimizer, or an [`Update`] around one.
    pub fn new(model: &'a Model, loss: Loss, metrics: Vec<Metric>, update: impl Into<Update>, key: RandomKey) -> Self {
        Self { model, loss, metrics, update: update.into(), key, steps: 0 }
    }

    /// Trains `model` as `recipe` says.
    pub fn of(recipe: &Recipe, model: &'a Model) -> Self {
        let train = &recipe.train;
        let key = RandomKey::new(recipe.seed).named("steps");
        Self::new(model, train.loss.clone(), train.metrics.clone(), recipe.optimizer.build(), key)
    }

    /// What moves the weights: for its state, and for changing its rate.
    pub fn update(&mut self) -> &mut Update {
        &mut self.update
    }

    /// Learns from one batch. Gives the loss before the update, and the sum of each metric over the batch.
    pub fn step(&mut self, batch: &Batch) -> Result<(f64, Vec<f64>)> {
        let ctx = Ctx::train(self.key.numbered(self.steps));
        let (raw, left) = self.model.forward_raw(&batch.inputs, &ctx)?;
        let loss = self.loss.value(&raw, &left, &batch.targets)?;
        let value = loss.item()?;
        // Not to hold on to the graph, whose weights are about to change in place.
        let raw = { raw }.detach();
        let counts =
            self.metrics.iter().map(|metric| metric.count(&raw, &left, &batch.targets)).collect::<Result<_>>()?;
        if value.is_finite() {
            let gradients = loss.backward()?;
            self.update.apply(self.model.params(), gradients)?;
        }
        self.steps += 1;
        Ok((value, counts))
    }

    /// Learns from everything that `train` holds, `epochs` times, and measures on `val` after each.
    ///
    /// Ends early, and in good order, when a listener says so. A loss that is not finite is an error.
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
        let began = Instant::now();
        let mut history = History::default();
        let steps = train.steps();
        let mut tell = |event: &Event<'_>| {
            let stops = listeners.iter_mut().map(|listener| listener.on(event) == Control::Stop);
            // Everyone hears it, even after the first has asked for the end.
            stops.fold(false, |any, stop| any | stop)
        };
        let mut stop = tell(&Event::Start { epochs, steps, samples: train.set().len() });
        for epoch in 1..=epochs {
            if stop {
                break;
            }
            stop = tell(&Event::EpochStart { epoch });
            let epoch_began = Instant::now();
            let mut sums = Sums::new(&self.metrics);
            for (step, batch) in (1..).zip(train.epoch(epoch as u64)) {
                let batch = batch?;
                let (loss, counts) = self.step(&batch)?;
                if !loss.is_finite() {
                    return Err(self.runaway(&batch, loss, epoch, step));
                }
                sums.add(loss, counts, batch.size);
                history.steps += 1;
                history.samples += batch.size;
                let seconds = epoch_began.elapsed().as_secs_f64();
                stop |= tell(&Event::Step { epoch, step, loss, so_far: sums.means(), seconds });
                if stop {
                    break;
                }
            }
            let train_seconds = epoch_began.elapsed().as_secs_f64();
            history.train_seconds += train_seconds;
            if stop {
                break;
            }
            let val = val.map(|val| evaluate(self.model, &self.loss, &self.metrics, val)).transpose()?;
            let seconds = epoch_began.elapsed().as_secs_f64();
            let report = EpochReport { epoch, train: sums.means().clone(), val, train_seconds, seconds };
            self.update.epoch_end(&report.values());
            stop = tell(&Event::EpochEnd(&report));
            history.epochs.push(report);
        }
        history.stopped = history.epochs.len() < epochs;
        history.seconds = began.elapsed().as_secs_f64();
        tell(&Event::End(&history));
        Ok(history)
    }

    /// Class numbers must have an output each, before the first step rather than in the middle of an epoch.
    fn check_targets(&self, loader: &Loader) -> Result<()> {
        match self.model.output_shape() {
            &[outputs] if outputs > 1 => loader.set().check_labels(outputs),
            _ => Ok(()),
        }
    }

    /// The complaint about a loss that is not finite, with the first layer that shows it.
    ///
    /// No update was made from the bad loss, so the same batch still shows where the numbers ran away.
    fn runaway(&self, batch: &Batch, loss: f64, epoch: usize, step: usize) -> Error {
        let bad_weights = self.model.params().iter().find(|param| !is_finite(&param.value()));
        let mut bad_layer = None;
        let walk = no_grad(|| {
            self.model.graph().run(&[&batch.inputs], &Ctx::train(self.key.numbered(self.steps - 1)), |name, y| {
                if bad_layer.is_none() && !is_finite(y) {
                    bad_layer = Some(name.to_string());
                }
                Ok(())
            })
        });
        let place = match (bad_layer, bad_weights, walk) {
            _ if !is_finite(&batch.inputs) => "the data themselves are not finite".into(),
            (Some(layer), Some(param), _) => {
                format!(
                    "the first output that is not finite is that of layer {layer:?}, and {} is not finite",
                    param.name()
                )
            }
            (Some(layer), None, _) => format!("the first output that is not finite is that of layer {layer:?}"),
            (None, _, Err(error)) => format!("looking for the layer failed: {error}"),
            (None, ..) => "all layers' outputs are finite, so the loss itself ran away".into(),
        };
        let rate = self.update.learning_rate();
        Error::Numeric(format!(
            "epoch {epoch}, step {step}: the loss is {loss}: {place}; lower optimizer.learning_rate (it is {rate:?}) or look \
             at data.scale"
        ))
    }
}

/// Whether no element is infinite or NaN.
fn is_finite(x: &Tensor) -> bool {
    let finite = || x.detach().to_dtype(DType::F64)?.to_vec::<f64>();
    finite().is_ok_and(|values| values.iter().all(|value| value.is_finite()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Dataset, Scale};

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
        assert_eq!((history.steps, history.samples, history.stopped), (320, 10_000, false));
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
        assert_eq!((history.steps, history.epochs.len(), history.stopped), (4 + 3, 1, true));
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
