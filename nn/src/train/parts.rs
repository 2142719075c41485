//! From a recipe and its data to batches.

use crate::Result;
use crate::core::RandomKey;
use crate::data::{Dataset, Loader, Scale, Split};
use crate::models::Model;
use crate::spec::Recipe;

/// How many samples are measured at once: measuring needs no gradients, so more than in training pay.
///
/// The same wherever a model is measured, so that the same numbers come out.
pub const EVALUATION_BATCH: usize = 256;

/// A data set cut as a recipe says.
#[derive(Clone, Debug)]
pub struct Parts {
    /// What is trained on.
    pub train: Dataset,
    /// What is measured after every epoch.
    pub val: Option<Dataset>,
    /// What is measured at the very end.
    pub test: Option<Dataset>,
}

impl Parts {
    /// Cuts what the makers of a data set meant for training. Their test part stays as it is; where there is none,
    /// `split.test` takes one away first.
    ///
    /// After the splits, every part keeps the classes that the recipe asks for, with their new numbers; then only the `first`
    /// samples are trained on. In this order the parts of two recipes that learn different classes of one set never mix.
    pub fn cut(recipe: &Recipe, train: Dataset, test: Option<Dataset>) -> Result<Self> {
        let key = |name| RandomKey::new(recipe.seed).named("split").named(name);
        let split = |split: Option<Split>, set: Dataset, key| match split {
            Some(split) => split.apply(&set, key).map(|(rest, part)| (rest, Some(part))),
            None => Ok((set, None)),
        };
        let map = &recipe.data.classes;
        let train = train.prepared(&recipe.data.images)?;
        let test = test.map(|test| test.prepared(&recipe.data.images)).transpose()?;
        let relabelling = if map.is_identity() { None } else { Some(map.of(&train)?) };
        let (train, test) = match test {
            Some(test) => (train, Some(test)),
            None => split(recipe.data.test_split, train, key("test"))?,
        };
        let (train, val) = split(recipe.data.val_split, train, key("val"))?;
        let relabel = |set: Dataset| match &relabelling {
            Some(new) => new.apply(&set),
            None => Ok(set),
        };
        let train = relabel(train)?;
        let first = recipe.data.first.map_or(train.len(), |first| first.min(train.len()));
        Ok(Self {
            train: train.subset(0..first)?,
            val: val.map(relabel).transpose()?,
            test: test.map(relabel).transpose()?,
        })
    }
}

/// The model of a recipe as its training begins: fresh weights, layers that must know the data adapted to `train`, and the weights
/// of `base` where the recipe starts from them, calibrated on `train` if it says so.
pub fn start(recipe: &Recipe, train: &Dataset, base: Option<&Model>) -> Result<Model> {
    let model = Model::build(recipe, train.sample_shape())?;
    model.adapt(&evaluation_batches(recipe, train, EVALUATION_BATCH)?)?;
    if let Some(base) = base {
        model.take_weights(base)?;
        calibrate(recipe, &model, train)?;
    }
    Ok(model)
}

/// Calibrates the model on as many samples as its recipe says. They are evenly spaced: data may be sorted by class.
fn calibrate(recipe: &Recipe, model: &Model, train: &Dataset) -> Result<()> {
    let Some((base, wanted)) = recipe.base.as_ref().and_then(|base| Some((base, base.calibrate?))) else {
        return Ok(());
    };
    let all = train.len();
    if wanted > all {
        return Err(
            base.complain(format!("calibrate = {wanted}: there are only {all} samples to train on; ask for fewer"))
        );
    }
    let rows: Vec<usize> = (0..wanted).map(|i| i * all / wanted).collect();
    model.calibrate(&evaluation_batches(recipe, &train.select(&rows)?, recipe.train.batch)?)?;
    Ok(())
}

/// Batches for training: of the recipe's size, in another order in every epoch unless it says otherwise, and with images varied as
/// it asks for.
pub fn training_batches(recipe: &Recipe, set: &Dataset) -> Result<Loader> {
    let key = RandomKey::new(recipe.seed).named("shuffle");
    let loader = Loader::new(set, recipe.train.batch, recipe.data.shuffle.then_some(key), scale(recipe))?;
    loader.varied(&recipe.data.augment, RandomKey::new(recipe.seed).named("augment"))
}

/// Batches for measuring: in the order of the data, usually [`EVALUATION_BATCH`] samples each.
pub fn evaluation_batches(recipe: &Recipe, set: &Dataset, batch: usize) -> Result<Loader> {
    Loader::new(set, batch, None, scale(recipe))
}

/// What the recipe does to inputs.
pub fn scale(recipe: &Recipe) -> Scale {
    if recipe.data.scale == 1.0 { Scale::None } else { Scale::Divide(recipe.data.scale) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::Tensor;

    fn set(samples: usize) -> Dataset {
        let numbers: Vec<u8> = (0..samples).map(|i| i as u8).collect();
        let inputs = Tensor::from_slice(&numbers, &[samples, 1]).unwrap();
        let labels = Tensor::from_slice(&numbers.iter().map(|&i| i64::from(i % 2)).collect::<Vec<_>>(), &[samples]);
        Dataset::new("numbers", inputs, labels.unwrap(), Vec::new()).unwrap()
    }

    fn recipe(data: &str) -> Recipe {
        let text = format!(
            "[data]\nsource = \"x\"\n{data}\n[[layer]]\ntype = \"flatten\"\n[optimizer]\nkind = \"sgd\"\n\
             [train]\nloss = \"sparse_categorical_crossentropy\"\nbatch = 8\n"
        );
        Recipe::parse(&text, "r.toml").unwrap()
    }

    #[test]
    fn the_test_part_is_taken_first_and_only_where_there_is_none() {
        let recipe = recipe("split.test = \"last:20\"\nsplit.val = \"last:0.1\"");
        let sizes =
            |parts: &Parts| [Some(&parts.train), parts.val.as_ref(), parts.test.as_ref()].map(|x| x.map(Dataset::len));
        assert_eq!(sizes(&Parts::cut(&recipe, set(100), None).unwrap()), [Some(72), Some(8), Some(20)]);
        assert_eq!(sizes(&Parts::cut(&recipe, set(100), Some(set(7))).unwrap()), [Some(90), Some(10), Some(7)]);
    }

    #[test]
    fn classes_are_chosen_after_the_splits_and_the_first_samples_after_that() {
        let data = "split.val = \"first:10\"\nclasses = [1, 0]\nfirst = 3";
        let parts = Parts::cut(&recipe(data), set(100), Some(set(7))).unwrap();
        assert_eq!(parts.train.inputs.to_vec::<u8>().unwrap(), [10, 11, 12]);
        assert_eq!(parts.train.targets.to_vec::<i64>().unwrap(), [1, 0, 1]);
        assert_eq!(
            (parts.val.unwrap().len(), parts.test.unwrap().targets.to_vec::<i64>().unwrap()[..2].to_vec()),
            (10, vec![1, 0])
        );
        let whole = Parts::cut(&recipe("first = 1000"), set(100), None).unwrap();
        assert_eq!(whole.train.len(), 100);
    }

    #[test]
    fn batches_follow_the_recipe() {
        let first = |loader: &Loader, epoch| loader.epoch(epoch).next().unwrap().unwrap().inputs.to_f64_vec().unwrap();
        let shuffled = training_batches(&recipe("scale = 2"), &set(50)).unwrap();
        assert_eq!(shuffled.steps(), 7);
        assert_ne!(first(&shuffled, 1), first(&shuffled, 2));
        let plain = training_batches(&recipe("scale = 2\nshuffle = false"), &set(50)).unwrap();
        assert_eq!(first(&plain, 1)[..3], [0.0, 0.5, 1.0]);
        assert_eq!(evaluation_batches(&recipe(""), &set(50), EVALUATION_BATCH).unwrap().steps(), 1);
    }
}
