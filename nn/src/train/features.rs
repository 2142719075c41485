//! What frozen layers make of samples, computed once and kept.
//!
//! A frozen body makes the same of a sample in every epoch. The first epoch computes it batch by batch as ever and writes it down;
//! later ones read it, and train what stands behind. The bits of all weights are those of a training that computes everything
//! anew: a sample's features are always computed in a batch of the recipe's size, since products may be summed in another order
//! in a smaller one, and the short batch at the end of an epoch is therefore never read from what was kept.

use super::evaluate::measure;
use super::{Evaluation, Phase};
use crate::Result;
use crate::core::{DType, Device, RandomKey, Tensor};
use crate::data::{Batch, Loader};
use crate::loss::Loss;
use crate::metrics::Metric;
use crate::models::{Model, Stem};
use crate::module::Ctx;

/// What a training keeps at most of what frozen layers make of its samples, in bytes, unless told otherwise.
pub const FEATURE_CACHE: usize = 1 << 30;

/// What a training does about the frozen layers in front of all that are trained, from an epoch on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrozenStem {
    /// The first epoch of which it is true.
    pub epoch: usize,
    /// The last epoch of which it is true.
    pub last: usize,
    /// The last of these layers.
    pub layer: String,
    /// How many numbers it makes of a sample.
    pub numbers: usize,
    /// How many samples there are, those for validation included.
    pub samples: usize,
    /// What it takes to keep the numbers of all samples.
    pub bytes: usize,
    /// Whether they are kept; otherwise `bytes` is more than is allowed.
    pub kept: bool,
    /// Multiply-adds of a sample in a step of training that computes everything.
    pub whole: usize,
    /// Multiply-adds that a sample of a later epoch does without, if they are kept.
    pub saved: usize,
}

/// The features that a call of [`Trainer::fit`](super::Trainer::fit) keeps.
#[derive(Debug, Default)]
pub(super) struct Features {
    /// What there was to choose from when it was last decided what to keep.
    stems: Option<Vec<Stem>>,
    stem: Option<Stem>,
    train: Kept,
    val: Kept,
}

/// The features of one part of the data.
#[derive(Debug, Default)]
enum Kept {
    #[default]
    Nothing,
    /// Of the rows that say so.
    Some(Store),
    /// Of all, handed out like the samples themselves.
    All(Box<Loader>),
}

#[derive(Debug)]
struct Store {
    /// `[N, ..]`, on the processor.
    numbers: Tensor,
    has: Vec<bool>,
}

impl Store {
    fn new(model: &Model, stem: &Stem, samples: usize) -> Result<Self> {
        let shape: Vec<usize> = std::iter::once(samples).chain(model.features_shape(stem).iter().copied()).collect();
        Ok(Self { numbers: Tensor::zeros(&shape, DType::F32, Device::CPU)?, has: vec![false; samples] })
    }

    /// Writes down the first features of a batch as those of `rows`.
    fn keep(&mut self, features: &Tensor, rows: &[usize]) -> Result<()> {
        let numbers: Vec<f32> = features.detach().to_device(Device::CPU)?.to_vec()?;
        let width = self.numbers.len() / self.has.len();
        let all = self.numbers.make_mut()?.as_mut_slice::<f32>();
        for (&row, numbers) in rows.iter().zip(numbers.chunks(width)) {
            all[row * width..][..width].copy_from_slice(numbers);
            self.has[row] = true;
        }
        Ok(())
    }

    fn missing(&self) -> Vec<usize> {
        (0..self.has.len()).filter(|&row| !self.has[row]).collect()
    }
}

impl Features {
    /// To be called when an epoch begins: keeps what the layers make that are now frozen, if another epoch reads it and it takes no
    /// more than `limit` bytes, and forgets the rest. Tells what changes.
    pub fn begin(
        &mut self,
        model: &Model,
        (train, val): (&Loader, Option<&Loader>),
        (epoch, epochs): (usize, usize),
        limit: usize,
    ) -> Result<Option<FrozenStem>> {
        let stems = model.stems();
        // Layers that join in, or leave, make other stems; until then all stays as it is.
        if self.stems.as_ref() == Some(&stems) {
            return Ok(None);
        }
        let loaders = || std::iter::once(train).chain(val);
        let last = last_epoch(model, epoch, epochs)?;
        let repeats = loaders().all(Loader::repeats_samples) && last > epoch;
        *self = Self { stems: Some(stems.clone()), ..Self::default() };
        let Some(longest) = stems.last().filter(|_| repeats && limit > 0) else { return Ok(None) };
        let samples = loaders().map(|loader| loader.set().len()).sum::<usize>();
        let bytes = |stem: &Stem| samples.saturating_mul(stem.numbers).saturating_mul(size_of::<f32>());
        let chosen = stems.iter().rev().find(|stem| bytes(stem) <= limit);
        self.stem = chosen.cloned();
        if let Some(stem) = chosen {
            let store = |loader: &Loader| Store::new(model, stem, loader.set().len()).map(Kept::Some);
            self.train = store(train)?;
            self.val = val.map(store).transpose()?.unwrap_or_default();
        }
        let stem = chosen.unwrap_or(longest);
        Ok(Some(FrozenStem {
            epoch,
            last,
            layer: stem.layer.clone(),
            numbers: stem.numbers,
            samples,
            bytes: bytes(stem),
            kept: chosen.is_some(),
            whole: model.cost().total(),
            saved: stem.multiply_adds,
        }))
    }

    /// The stem whose results batches hold in place of samples.
    pub fn stem(&self) -> Option<&Stem> {
        self.stem.as_ref()
    }

    /// The batches of an epoch of training without the first `done`, as what the stem makes of them.
    pub fn training<'a>(
        &'a mut self,
        model: &'a Model,
        train: &'a Loader,
        epoch: usize,
        done: usize,
    ) -> Box<dyn Iterator<Item = Result<Batch>> + 'a> {
        let epoch = epoch as u64;
        // What is drawn does not matter to layers that draw nothing.
        let ctx = Ctx::train(RandomKey::new(0));
        match (&self.stem, &mut self.train) {
            (Some(stem), Kept::Some(store)) => {
                let (rows, size) = (train.rows(epoch), train.batch_size());
                Box::new(train.rest_of_epoch(epoch, done).enumerate().map(move |(step, batch)| {
                    let batch = through(model, stem, batch?, &ctx)?;
                    if batch.size == size {
                        store.keep(&batch.inputs, &rows[(done + step) * size..][..size])?;
                    }
                    Ok(batch)
                }))
            }
            (Some(stem), Kept::All(loader)) => {
                let whole = train.set().len() / train.batch_size().max(1);
                let kept = loader.rest_of_epoch(epoch, done).take(whole.saturating_sub(done));
                let short = (whole < train.steps()).then(|| train.rest_of_epoch(epoch, whole.max(done)));
                Box::new(kept.chain(short.into_iter().flatten().map(move |batch| through(model, stem, batch?, &ctx))))
            }
            _ => Box::new(train.rest_of_epoch(epoch, done)),
        }
    }

    /// To be called when the steps of an epoch are done: hands out what was kept from now on, if it is all there.
    pub fn end(&mut self, model: &Model, train: &Loader) -> Result<()> {
        let (Some(stem), Kept::Some(store)) = (&self.stem, &mut self.train) else { return Ok(()) };
        let (missing, size) = (store.missing(), train.batch_size());
        // A training that went on in the middle of an epoch has seen too few; the next epoch shows them all.
        if missing.len() > size {
            return Ok(());
        }
        if !missing.is_empty() {
            let others = (0..train.set().len()).filter(|row| !missing.contains(row));
            let rows: Vec<usize> = missing.iter().copied().chain(others).take(size).collect();
            for batch in train.given(vec![rows]).epoch(0) {
                let batch = through(model, stem, batch?, &Ctx::train(RandomKey::new(0)))?;
                store.keep(&batch.inputs, &missing)?;
            }
        }
        self.train = Kept::All(Box::new(train.with_inputs(store.numbers.clone())));
        Ok(())
    }

    /// What [`evaluate`](super::evaluate()) gives, by way of what is kept.
    pub fn evaluate(&mut self, model: &Model, loss: &Loss, metrics: &[Metric], val: &Loader) -> Result<Evaluation> {
        let with = (model, self.stem.as_ref());
        match (&self.stem, &mut self.val) {
            (Some(stem), Kept::Some(store)) => {
                let mut row = 0;
                let batches = val.epoch(0).map(|batch| {
                    let batch = through(model, stem, batch?, &Ctx::eval())?;
                    let rows: Vec<usize> = (row..row + batch.size).collect();
                    row += batch.size;
                    store.keep(&batch.inputs, &rows)?;
                    Ok(batch)
                });
                let means = measure(with, loss, metrics, batches, &mut None)?;
                // In validation the batches are the same every time, the last one too.
                self.val = Kept::All(Box::new(val.with_inputs(store.numbers.clone())));
                Ok(means)
            }
            (Some(_), Kept::All(loader)) => measure(with, loss, metrics, loader.epoch(0), &mut None),
            _ => super::evaluate(model, loss, metrics, val),
        }
    }
}

/// The batch with what the stem makes of its samples in their place.
fn through(model: &Model, stem: &Stem, batch: Batch, ctx: &Ctx) -> Result<Batch> {
    Ok(Batch { inputs: model.features(stem, &batch.inputs, ctx)?, ..batch })
}

/// The last epoch that trains the same layers as `epoch`.
fn last_epoch(model: &Model, epoch: usize, epochs: usize) -> Result<usize> {
    let phases = model.recipe().map(Phase::all).transpose()?.unwrap_or_default();
    Ok(phases.iter().map(|phase| phase.first - 1).filter(|&last| last >= epoch).fold(epochs, usize::min))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::data::{Dataset, Scale};
    use crate::layers::{Dense, DenseOptions};
    use crate::models::Graph;
    use crate::module::Module;
    use crate::spec::Recipe;
    use crate::train::{Checkpoint, Control, Event, Trainer};

    const SAMPLES: usize = 100;
    const EPOCHS: usize = 5;

    /// A recipe with these layers in front of a head in which something is drawn, and something is averaged.
    fn recipe(stem: &str) -> Recipe {
        let text = format!(
            "[data]\nsource = \"x\"\n{stem}\n[[layer]]\ntype = \"dense\"\nunits = 12\nactivation = \"relu\"\n\
             [[layer]]\ntype = \"batch_norm\"\n[[layer]]\ntype = \"dropout\"\nrate = 0.3\n[[layer]]\ntype = \"dense\"\nunits = 3\n\
             activation = \"softmax\"\n[optimizer]\nkind = \"adam\"\n[train]\nloss = \"sparse_categorical_crossentropy\"\n\
             metrics = [\"accuracy\"]\n"
        );
        Recipe::parse(&text, "r.toml").unwrap()
    }

    const DENSE: &str = "[[layer]]\ntype = \"flatten\"\n[[layer]]\ntype = \"dense\"\nunits = 50\nactivation = \"tanh\"\n\
                         trainable = false\n[[layer]]\ntype = \"batch_norm\"\ntrainable = false\n";
    const CONV: &str = "[[layer]]\ntype = \"conv2d\"\nfilters = 6\nkernel_size = 3\nactivation = \"relu\"\ntrainable = false\n\
                        [[layer]]\ntype = \"max_pool2d\"\n[[layer]]\ntype = \"flatten\"\n";

    fn set(samples: usize) -> Dataset {
        let numbers: Vec<f32> = (0..samples * 192).map(|i| (i * 7919 % 1000) as f32 / 1000.0 - 0.5).collect();
        let labels: Vec<i64> = (0..samples).map(|i| (i * 31 % 3) as i64).collect();
        let inputs = Tensor::from_slice(&numbers, &[samples, 8, 8, 3]).unwrap();
        Dataset::new("x", inputs, Tensor::from_slice(&labels, &[samples]).unwrap(), Vec::new()).unwrap()
    }

    fn loaders(samples: usize, batch: usize) -> (Loader, Loader) {
        let val = Loader::new(&set(40), 25, None, Scale::Divide(2.0)).unwrap();
        (Loader::new(&set(samples), batch, Some(RandomKey::new(7)), Scale::Divide(2.0)).unwrap(), val)
    }

    /// What a training comes to: the weights, the numbers of all epochs, and what was said of frozen layers.
    type End = (String, Vec<Vec<(String, f64)>>, Vec<FrozenStem>);

    /// Trains from the beginning or from a checkpoint, to the end or for so many steps, which gives a checkpoint.
    fn train(
        model: &Model,
        recipe: &Recipe,
        limit: usize,
        from: Option<&Checkpoint>,
        stop: usize,
    ) -> (End, Option<Checkpoint>) {
        let mut trainer = Trainer::of(recipe, model).feature_cache(limit);
        if let Some(from) = from {
            trainer.resume(from, "the checkpoint").unwrap();
        }
        let (mut heard, mut steps) = (Vec::new(), trainer.progress().history.steps);
        let mut ear = |event: &Event<'_>| {
            match event {
                Event::FrozenStem(stem) => heard.push((*stem).clone()),
                Event::Step { .. } => steps += 1,
                _ => {}
            }
            if steps == stop { Control::Stop } else { Control::Continue }
        };
        let (training, val) = loaders(SAMPLES, 30);
        let history = trainer.fit(&training, Some(&val), EPOCHS, &mut [&mut ear]).unwrap();
        let checkpoint = (history.steps == stop).then(|| trainer.checkpoint());
        let numbers = history.epochs.iter().map(crate::train::EpochReport::values).collect();
        ((model.weights_sha256().unwrap(), numbers, heard), checkpoint)
    }

    fn build(recipe: &Recipe) -> Model {
        Model::build(recipe, &[8, 8, 3]).unwrap()
    }

    #[test]
    fn what_is_kept_changes_no_bit() {
        for (stem, layer, numbers, products) in
            [(DENSE, "batch_normalization", 50, 192 * 50), (CONV, "flatten", 9 * 6, 36 * 27 * 6)]
        {
            let recipe = recipe(stem);
            let whole = build(&recipe).cost().total();
            let ((weights, epochs, heard), _) = train(&build(&recipe), &recipe, FEATURE_CACHE, None, usize::MAX);
            let ((plain, plain_epochs, silence), _) = train(&build(&recipe), &recipe, 0, None, usize::MAX);
            assert_eq!((weights, epochs), (plain, plain_epochs), "{layer}");
            assert!(silence.is_empty());
            let (samples, bytes) = (SAMPLES + 40, (SAMPLES + 40) * numbers * 4);
            let layer = layer.to_owned();
            let wanted = FrozenStem {
                epoch: 1,
                last: EPOCHS,
                layer,
                numbers,
                samples,
                bytes,
                kept: true,
                whole,
                saved: products,
            };
            assert_eq!(heard, [wanted]);
        }
    }

    #[test]
    fn a_break_anywhere_changes_no_bit() {
        let recipe = recipe(DENSE);
        let (whole, _) = train(&build(&recipe), &recipe, FEATURE_CACHE, None, usize::MAX);
        for step in 1..4 * EPOCHS {
            let (_, checkpoint) = train(&build(&recipe), &recipe, FEATURE_CACHE, None, step);
            let (rest, _) = train(&build(&recipe), &recipe, FEATURE_CACHE, checkpoint.as_ref(), usize::MAX);
            assert_eq!((&rest.0, &rest.1), (&whole.0, &whole.1), "after step {step}");
        }
    }

    #[test]
    fn what_does_not_fit_is_not_kept() {
        let recipe = recipe(CONV);
        let (all, pooled) = ((SAMPLES + 40) * 36 * 6 * 4, (SAMPLES + 40) * 9 * 6 * 4);
        let told = |limit| train(&build(&recipe), &recipe, limit, None, usize::MAX).0.2;
        let told: Vec<_> = [all, pooled, pooled - 1].into_iter().flat_map(told).collect();
        let told: Vec<_> = told.iter().map(|stem| (stem.layer.as_str(), stem.bytes, stem.kept)).collect();
        assert_eq!(told, [("flatten", pooled, true), ("flatten", pooled, true), ("flatten", pooled, false)]);
    }

    /// A layer that counts what it computes.
    #[derive(Debug)]
    struct Counting(Arc<AtomicUsize>);

    impl Module for Counting {
        fn forward(&self, x: &Tensor, _: &Ctx) -> Result<Tensor> {
            self.0.fetch_add(x.shape()[0], Ordering::Relaxed);
            Ok(x.reshape(&[x.shape()[0], 192])?)
        }

        fn is_steady(&self) -> bool {
            true
        }

        fn multiply_adds(&self, _: &[usize]) -> usize {
            1
        }

        fn output_shape(&self, _: &[usize]) -> Result<Vec<usize>> {
            Ok(vec![192])
        }
    }

    #[test]
    fn a_sample_passes_frozen_layers_once() {
        let count = |samples, batch, epochs, limit| {
            let counted = Arc::new(AtomicUsize::new(0));
            let mut graph = Graph::default();
            let x = graph.input("x", &[8, 8, 3]).unwrap();
            let x = graph.layer("counting", Counting(counted.clone()), x).unwrap();
            graph.layer("head", Dense::new(192, &DenseOptions::keras(3), RandomKey::new(1)).unwrap(), x).unwrap();
            let model = Model::new(graph);
            let (loss, update) = (Loss::SparseCategoricalCrossentropyLogits(0.0), recipe(DENSE).optimizer.build());
            let (train, val) = loaders(samples, batch);
            let trainer = Trainer::new(&model, loss, Vec::new(), update, RandomKey::new(1));
            trainer.feature_cache(limit).fit(&train, Some(&val), epochs, &mut []).unwrap();
            counted.load(Ordering::Relaxed)
        };
        // 40 samples for validation. The ten that end the first epoch pass again in a batch of 30; so do the last ten of each epoch.
        assert_eq!(count(100, 30, 5, FEATURE_CACHE), 100 + 40 + 30 + 4 * 10);
        assert_eq!(count(90, 30, 5, FEATURE_CACHE), 90 + 40);
        assert_eq!(count(20, 30, 5, FEATURE_CACHE), 20 + 40);
        assert_eq!(count(90, 30, 1, FEATURE_CACHE), 90 + 40);
        assert_eq!(count(90, 30, 5, 0), 5 * (90 + 40));
    }

    #[test]
    fn stems_end_where_something_is_trained_drawn_or_penalised() {
        let longest = |stem: &str| build(&recipe(stem)).stems().last().map(|stem| stem.layer.clone());
        assert_eq!(longest(DENSE).as_deref(), Some("batch_normalization"));
        assert_eq!(longest(&DENSE.replacen("trainable = false", "trainable = true", 1)), None);
        let (dense, norm) = DENSE.split_at(DENSE.rfind("[[layer]]").unwrap());
        assert_eq!(longest(&format!("{dense}{}", norm.replace("false", "true"))).as_deref(), Some("dense"));
        let dropout = "[[layer]]\ntype = \"dropout\"\nrate = 0.5\n";
        assert_eq!(longest(&format!("{dense}{dropout}{norm}")).as_deref(), Some("dense"));
        let penalty = "trainable = false\nactivity_regularizer = \"l2(0.1)\"";
        assert_eq!(longest(&DENSE.replacen("trainable = false", penalty, 1)), None);
    }
}
