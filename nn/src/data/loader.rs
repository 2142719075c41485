//! Batches, prepared on a thread of their own while the network works on the one before.
//!
//! Bytes that nothing but a scale is to be done to become numbers when a batch is handed out: a quarter of the memory then goes from
//! the loader's core to those that compute, each of which writes what it will read.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Builder, JoinHandle};

use gradus_core::kernels::random::permutation;
use gradus_core::{DType, Device, RandomKey, Tensor};

use super::{Augment, Dataset};
use crate::{Error, Result};

/// How many groups of batches are prepared ahead.
const AHEAD: usize = 2;

/// Batches are handed over in groups of about so many bytes, and of at most so many batches: waking a thread costs as much
/// as preparing a small batch.
const GROUP: (usize, usize) = (1 << 19, 8);

/// Some samples, ready for the network.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The samples, `[size, ..]`, as scaled `f32`.
    pub inputs: Tensor,
    /// Their targets, as in [`Dataset::targets`].
    pub targets: Tensor,
    /// How much each counts in the loss, `[size]`, as in [`Dataset::weights`].
    pub weights: Option<Tensor>,
    /// How many samples these are; the last batch of an epoch may have fewer than the others.
    pub size: usize,
}

/// What is done to the numbers of the inputs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scale {
    /// Nothing.
    None,
    /// They are divided by this number, in `f32` as NumPy does it.
    Divide(f64),
}

/// Hands out a data set in batches, epoch by epoch.
///
/// Which samples form which batch depends on the key and the epoch alone, never on threads or timing.
#[derive(Clone, Debug)]
pub struct Loader {
    set: Dataset,
    batch: usize,
    order: Order,
    scale: Scale,
    augment: Option<(Augment, RandomKey)>,
    device: Device,
}

#[derive(Clone, Debug)]
enum Order {
    AsStored,
    Shuffled(RandomKey),
    Given(Arc<Vec<Vec<usize>>>),
}

impl Loader {
    /// Batches of `batch` samples: as they are stored, or in an order drawn anew from `shuffle` for every epoch.
    ///
    /// The last batch has what is left. Fails with [`Error::Config`] if `batch` is 0 or the scale is no divisor.
    pub fn new(set: &Dataset, batch: usize, shuffle: Option<RandomKey>, scale: Scale) -> Result<Self> {
        if batch == 0 {
            return Err(Error::Config("batch: 0 samples make no step; a batch has 1 or more".into()));
        }
        let order = shuffle.map_or(Order::AsStored, Order::Shuffled);
        Self::made(set, batch, order, scale)
    }

    /// The given batches, each a list of rows, the same in every epoch.
    pub fn with_order(set: &Dataset, batches: Vec<Vec<usize>>, scale: Scale) -> Result<Self> {
        if let Some(row) = batches.iter().flatten().find(|&&row| row >= set.len()) {
            return Err(Error::Config(format!(
                "row {row} of a batch is not there: {} has {} samples",
                set.name,
                set.len()
            )));
        }
        let batch = batches.iter().map(Vec::len).max().unwrap_or(0);
        Self::made(set, batch, Order::Given(Arc::new(batches)), scale)
    }

    fn made(set: &Dataset, batch: usize, order: Order, scale: Scale) -> Result<Self> {
        match scale {
            Scale::Divide(by) if !by.is_finite() || by == 0.0 => {
                Err(Error::Config(format!("scale: the inputs cannot be divided by {by}; it must be finite and not 0")))
            }
            _ => Ok(Self { set: set.clone(), batch, order, scale, augment: None, device: Device::CPU }),
        }
    }

    /// The same loader, varying images as `augment` says. White is 255 in images of bytes, and 1 in others.
    ///
    /// # Errors
    /// If the samples are no images, or are to be mixed while their targets are classes' numbers.
    pub fn varied(self, augment: &Augment, key: RandomKey) -> Result<Self> {
        if augment.is_nothing() {
            return Ok(Self { augment: None, ..self });
        }
        augment.check(self.set.sample_shape())?;
        if augment.mixup > 0.0 && !self.set.targets.dtype().is_float() {
            let mend = "set one_hot = true in [data], and the loss to categorical_crossentropy";
            return Err(Error::Config(format!("[data.augment]: mixup needs targets that can be mixed: {mend}")));
        }
        Ok(Self { augment: Some((augment.clone(), key)), ..self })
    }

    /// The same loader, handing out batches on `device`.
    pub fn on(self, device: Device) -> Self {
        Self { device, ..self }
    }

    /// The data set.
    pub fn set(&self) -> &Dataset {
        &self.set
    }

    /// Whether a sample is the same in every epoch, and all batches but the last of an epoch are of one size.
    pub(crate) fn repeats_samples(&self) -> bool {
        self.augment.is_none() && !matches!(self.order, Order::Given(_))
    }

    /// How many samples a batch has, but for the last of an epoch, which may have fewer.
    pub(crate) fn batch_size(&self) -> usize {
        self.batch.min(self.set.len())
    }

    /// The rows of an epoch's samples, in the order in which they are handed out; those of batches that were given are not known.
    pub(crate) fn rows(&self, epoch: u64) -> Vec<usize> {
        match &self.order {
            Order::Shuffled(key) => permutation(key.numbered(epoch), self.set.len()),
            _ => (0..self.set.len()).collect(),
        }
    }

    /// The given batches of the same samples instead.
    pub(crate) fn given(&self, batches: Vec<Vec<usize>>) -> Self {
        Self { order: Order::Given(Arc::new(batches)), ..self.clone() }
    }

    /// The same batches, with `inputs` in place of what the set holds: they are handed out as they are.
    pub(crate) fn with_inputs(&self, inputs: Tensor) -> Self {
        let set = Dataset { inputs, preparation: None, ..self.set.clone() };
        Self { set, scale: Scale::None, ..self.clone() }
    }

    /// The number of batches in an epoch.
    pub fn steps(&self) -> usize {
        match &self.order {
            Order::Given(batches) => batches.len(),
            _ => self.set.len().div_ceil(self.batch),
        }
    }

    /// The batches of one epoch. Dropping them early ends the thread that prepares them.
    pub fn epoch(&self, epoch: u64) -> Batches {
        self.rest_of_epoch(epoch, 0)
    }

    /// The batches of one epoch without the first `done` of them.
    pub fn rest_of_epoch(&self, epoch: u64, done: usize) -> Batches {
        let (sender, receiver) = sync_channel(AHEAD);
        let (loader, for_errors) = (self.clone(), sender.clone());
        let worker = Builder::new().name("gradus-loader".into()).spawn(move || loader.prepare(epoch, done, &sender));
        let worker = worker.map_err(|error| {
            // The channel has room, and the receiver is alive.
            let _ = for_errors.send(vec![Err(Error::io("the thread that loads batches", error))]);
        });
        Batches { receiver: Some(receiver), group: Vec::new().into_iter(), worker: worker.ok(), scale: self.scale }
    }

    fn prepare(&self, epoch: u64, done: usize, sender: &SyncSender<Vec<Result<Batch>>>) {
        let order = match &self.order {
            Order::Shuffled(_) => self.rows(epoch),
            _ => Vec::new(),
        };
        let mut group = Vec::new();
        let mut most = 1;
        for step in done..self.steps() {
            let batch = self.batch(epoch, step, &order);
            let failed = batch.is_err();
            let bytes = batch.as_ref().map_or(0, |batch| batch.inputs.len() * batch.inputs.dtype().size());
            group.push(batch);
            if group.len() < most && !failed && step + 1 < self.steps() {
                continue;
            }
            // Sending fails when nobody wants the rest of the epoch.
            if sender.send(std::mem::take(&mut group)).is_err() || failed {
                return;
            }
            // The first batch goes alone, since somebody waits for it.
            most = (GROUP.0 / bytes.max(1)).clamp(1, GROUP.1);
        }
    }

    fn batch(&self, epoch: u64, step: usize, order: &[usize]) -> Result<Batch> {
        let start = step * self.batch;
        let end = self.set.len().min(start.saturating_add(self.batch));
        let (part, rows) = match &self.order {
            Order::AsStored => (self.set.subset(start..end)?, Cow::Owned((start..end).collect())),
            Order::Shuffled(_) => (self.set.select(&order[start..end])?, Cow::Borrowed(&order[start..end])),
            Order::Given(batches) => (self.set.select(&batches[step])?, Cow::Borrowed(batches[step].as_slice())),
        };
        let (size, plain) = (part.len(), part.inputs.dtype() == DType::U8);
        if plain && part.preparation.is_none() && self.augment.is_none() && self.device == Device::CPU {
            return Ok(Batch { inputs: part.inputs, targets: part.targets, weights: part.weights, size });
        }
        let (mut inputs, mut targets, mut weights) = (part.seen()?, part.targets, part.weights);
        if let Some((augment, key)) = &self.augment {
            let key = key.numbered(epoch);
            inputs = augment.apply(&inputs, &rows, if plain { 255.0 } else { 1.0 }, key)?;
            if augment.mixup > 0.0 {
                let mix = |batch: &Tensor| augment.mix(batch, &rows, key);
                (inputs, targets) = (mix(&inputs)?, mix(&targets)?);
                weights = weights.as_ref().map(mix).transpose()?;
            }
        }
        if let Scale::Divide(by) = self.scale {
            inputs = inputs.div(&inputs.scalar_like(by)?)?;
        }
        Ok(Batch {
            inputs: inputs.to_device(self.device)?,
            targets: targets.to_device(self.device)?,
            weights: weights.map(|weights| weights.to_device(self.device)).transpose()?,
            size,
        })
    }
}

/// The batches of one epoch, in order.
#[derive(Debug)]
pub struct Batches {
    receiver: Option<Receiver<Vec<Result<Batch>>>>,
    group: std::vec::IntoIter<Result<Batch>>,
    worker: Option<JoinHandle<()>>,
    scale: Scale,
}

impl Batches {
    /// The batch as it is handed out: with numbers, if the thread left bytes to be scaled.
    fn scaled(&self, batch: Result<Batch>) -> Result<Batch> {
        let batch = batch?;
        let inputs = match self.scale {
            _ if batch.inputs.dtype() != DType::U8 => return Ok(batch),
            Scale::None => batch.inputs.to_dtype(DType::F32)?,
            Scale::Divide(by) => batch.inputs.scaled_bytes(by)?,
        };
        Ok(Batch { inputs, ..batch })
    }
}

impl Iterator for Batches {
    type Item = Result<Batch>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.group.as_slice().is_empty() {
            match self.receiver.as_ref()?.recv() {
                Ok(group) => self.group = group.into_iter(),
                Err(_) => {
                    self.receiver = None;
                    // A panic must not look like the end of the epoch.
                    if let Some(Err(panic)) = self.worker.take().map(JoinHandle::join) {
                        std::panic::resume_unwind(panic);
                    }
                }
            }
        }
        let batch = self.group.next()?;
        Some(self.scaled(batch))
    }
}

impl Drop for Batches {
    fn drop(&mut self) {
        // Without a receiver the thread's next send fails, and it ends.
        self.receiver = None;
        if let Some(worker) = self.worker.take() {
            // A panic of the thread has no one left to tell: whoever drops the batches early wants no more of them.
            let _ = worker.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::dataset::tests::counting;

    const KEY: RandomKey = RandomKey::new(3);

    fn rows(loader: &Loader, epoch: u64) -> Vec<Vec<f32>> {
        let first = |batch: Batch| batch.inputs.to_vec::<f32>().unwrap().chunks(2).map(|sample| sample[0]).collect();
        loader.epoch(epoch).map(|batch| first(batch.unwrap())).collect()
    }

    #[test]
    fn batches_come_in_order_with_a_short_last_one() {
        let loader = Loader::new(&counting(5, 3), 2, None, Scale::None).unwrap();
        assert_eq!(loader.steps(), 3);
        assert_eq!(rows(&loader, 0), [vec![0.0, 1.0], vec![2.0, 3.0], vec![4.0]]);
        let last = loader.epoch(0).last().unwrap().unwrap();
        assert_eq!((last.size, last.inputs.shape(), last.targets.to_vec::<i64>().unwrap()), (1, &[1, 2][..], vec![1]));
        let large = Loader::new(&counting(5, 3), usize::MAX, None, Scale::None).unwrap();
        assert_eq!((large.steps(), rows(&large, 0).len()), (1, 1));
    }

    #[test]
    fn pixels_are_divided_as_numpy_divides_them() {
        let loader = Loader::new(&counting(254, 3), 100, None, Scale::Divide(255.0)).unwrap();
        let scaled = rows(&loader, 0).concat();
        assert!(scaled.iter().enumerate().all(|(i, &x)| x.to_bits() == (i as f32 / 255.0).to_bits()));
    }

    #[test]
    fn shuffling_depends_on_key_and_epoch_alone() {
        let set = counting(100, 3);
        let loader = Loader::new(&set, 32, Some(KEY), Scale::None).unwrap();
        let first = rows(&loader, 0);
        assert_eq!(first.iter().map(Vec::len).collect::<Vec<_>>(), [32, 32, 32, 4]);
        assert_eq!(rows(&loader, 0), first);
        assert_eq!(rows(&loader, 1), rows(&Loader::new(&set, 32, Some(KEY), Scale::None).unwrap(), 1));
        assert_ne!(rows(&loader, 1), first);
        let mut all = first.concat();
        all.sort_by(f32::total_cmp);
        assert_eq!(all, (0..100).map(|i| i as f32).collect::<Vec<_>>());
        for batch in loader.epoch(5) {
            let batch = batch.unwrap();
            let labels: Vec<i64> = batch.inputs.to_vec::<f32>().unwrap().chunks(2).map(|x| x[0] as i64 % 3).collect();
            assert_eq!(batch.targets.to_vec::<i64>().unwrap(), labels);
        }
    }

    #[test]
    fn batches_can_be_given() {
        let set = counting(5, 3);
        let loader = Loader::with_order(&set, vec![vec![4, 0], vec![2]], Scale::None).unwrap();
        assert_eq!((loader.steps(), rows(&loader, 9)), (2, vec![vec![4.0, 0.0], vec![2.0]]));
        let error = Loader::with_order(&set, vec![vec![5]], Scale::None).unwrap_err().to_string();
        assert_eq!(error, "row 5 of a batch is not there: counting has 5 samples");
    }

    fn pictures(count: usize) -> Dataset {
        let pixels: Vec<u8> = (0..count * 12).map(|i| (i * 7 % 256) as u8).collect();
        let labels: Vec<u8> = (0..count).map(|i| (i % 2) as u8).collect();
        let inputs = Tensor::from_slice(&pixels, &[count, 3, 4]).unwrap();
        Dataset::new("pictures", inputs, Tensor::from_slice(&labels, &[count]).unwrap(), Vec::new()).unwrap()
    }

    #[test]
    fn images_are_varied_anew_in_every_epoch_and_wherever_it_begins() {
        let augment = Augment { crop: 1, brightness: 0.2, ..Augment::default() };
        let plain = Loader::new(&pictures(40), 16, Some(KEY), Scale::Divide(255.0)).unwrap();
        let loader = plain.clone().varied(&augment, KEY.named("augment")).unwrap();
        let inputs = |batches: Batches| -> Vec<Vec<f32>> {
            batches.map(|batch| batch.unwrap().inputs.to_vec().unwrap()).collect()
        };
        let first = inputs(loader.epoch(1));
        assert_eq!(first, inputs(loader.epoch(1)));
        assert_eq!(first[1..], inputs(loader.rest_of_epoch(1, 1)));
        assert_ne!(first, inputs(loader.epoch(2)));
        assert_ne!(first, inputs(plain.epoch(1)));
        assert!(first.concat().iter().all(|x| (0.0..=1.0).contains(x)));
        // A sample's numbers do not depend on the batch that it comes in.
        let other = Loader::new(&pictures(40), 7, Some(KEY), Scale::Divide(255.0)).unwrap();
        let other = other.varied(&augment, KEY.named("augment")).unwrap();
        assert_eq!(first.concat(), inputs(other.epoch(1)).concat());
    }

    #[test]
    fn only_what_can_be_varied_is() {
        let mixup = Augment { mixup: 0.2, ..Augment::default() };
        let loader = Loader::new(&pictures(4), 2, None, Scale::None).unwrap();
        let error = loader.clone().varied(&mixup, KEY).unwrap_err().to_string();
        assert!(
            error.starts_with("[data.augment]: mixup needs targets that can be mixed: set one_hot = true"),
            "{error}"
        );
        let mut set = pictures(4);
        set.targets = set.targets.one_hot(2, DType::F32).unwrap();
        let mixed = Loader::new(&set, 2, None, Scale::None).unwrap().varied(&mixup, KEY).unwrap();
        let targets = mixed.epoch(1).next().unwrap().unwrap().targets.to_vec::<f32>().unwrap();
        assert!((targets[0] + targets[1] - 1.0).abs() < 1e-6 && targets[1] > 0.0, "{targets:?}");
        let rows = Loader::new(&counting(4, 2), 2, None, Scale::None).unwrap();
        let error = rows.varied(&mixup, KEY).unwrap_err().to_string();
        assert_eq!(error, "[data.augment] is for images, and a sample has shape [2]; leave it out");
    }

    #[test]
    fn dropping_an_epoch_early_ends_its_thread() {
        let loader = Loader::new(&counting(200, 3), 1, Some(KEY), Scale::None).unwrap();
        for _ in 0..20 {
            let mut batches = loader.epoch(0);
            batches.next().unwrap().unwrap();
            // Dropping joins the thread: this test hangs if the thread goes on waiting.
            drop(batches);
        }
    }

    #[test]
    fn what_fails_on_the_thread_is_told() {
        let mut set = counting(4, 2);
        set.targets = Tensor::from_slice(&[0i64, 1], &[2]).unwrap();
        let results: Vec<_> =
            Loader::new(&set, 2, None, Scale::None).unwrap().epoch(0).map(|batch| batch.is_ok()).collect();
        assert_eq!(results, [true, false]);
    }

    #[test]
    fn wrong_settings_are_refused() {
        let refusal = |batch, scale| match Loader::new(&counting(4, 2), batch, None, scale) {
            Err(Error::Config(text)) => text,
            other => panic!("{other:?}"),
        };
        assert_eq!(refusal(0, Scale::None), "batch: 0 samples make no step; a batch has 1 or more");
        let text = "scale: the inputs cannot be divided by 0; it must be finite and not 0";
        assert_eq!(refusal(2, Scale::Divide(0.0)), text);
        assert!(refusal(2, Scale::Divide(f64::NAN)).contains("divided by NaN"));
    }
}
