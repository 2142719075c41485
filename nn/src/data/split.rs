//! Keeping a part of the training samples for validation.

use std::collections::BTreeMap;
use std::fmt;

use gradus_core::kernels::random::permutation;
use gradus_core::{DType, RandomKey};

use super::Dataset;
use super::mersenne::Mersenne;
use crate::{Error, Result};

/// Which samples are kept for validation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Split {
    /// Those that come first.
    First(Share),
    /// Those that come last; with a fraction this is Keras' `validation_split`.
    Last(Share),
    /// A fraction of every class, drawn at random; both parts keep the order of the samples.
    Stratified(f64),
    /// Drawn as scikit-learn's `train_test_split` draws with this `random_state`: both parts in the same order as there.
    Sklearn(Share, u32),
}

/// How many samples.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Share {
    /// So many.
    Count(usize),
    /// This part of all, between 0 and 1.
    Fraction(f64),
}

impl Split {
    /// Reads `first:5000`, `first:0.1`, `last:5000`, `last:0.1`, `stratified:0.2` or `sklearn:0.2:42`.
    pub fn parse(text: &str) -> Result<Self> {
        let wrong = |why: &str| {
            let forms = "write first:5000 or last:5000 for a count, last:0.1 for a fraction, stratified:0.2 for a part of every \
                         class, sklearn:0.2:42 for that of scikit-learn with random_state 42";
            Error::Config(format!("split {text:?}: {why}; {forms}"))
        };
        let (kind, amount) = text.split_once(':').ok_or_else(|| wrong("a kind, a colon and an amount are expected"))?;
        let (amount, state) = match amount.split_once(':') {
            Some((amount, state)) => {
                let state = state.trim().parse::<u32>();
                (amount, Some(state.map_err(|_| wrong("random_state must be a whole number below 2^32"))?))
            }
            None => (amount, None),
        };
        let share = match amount.trim().parse::<usize>() {
            Ok(0) => return Err(wrong("0 samples are no part")),
            Ok(count) => Share::Count(count),
            Err(_) => match amount.trim().parse::<f64>() {
                Ok(fraction) if fraction > 0.0 && fraction < 1.0 => Share::Fraction(fraction),
                Ok(_) => return Err(wrong("a fraction must lie between 0 and 1")),
                Err(_) => return Err(wrong("the amount is not a number")),
            },
        };
        match (kind.trim(), share, state) {
            ("sklearn", share, Some(state)) => Ok(Split::Sklearn(share, state)),
            ("sklearn", _, None) => Err(wrong("sklearn needs a random_state")),
            ("first", share, None) => Ok(Split::First(share)),
            ("last", share, None) => Ok(Split::Last(share)),
            ("stratified", Share::Fraction(fraction), None) => Ok(Split::Stratified(fraction)),
            ("stratified", Share::Count(_), None) => Err(wrong("stratified takes a fraction")),
            ("first" | "last" | "stratified", _, Some(_)) => Err(wrong("only sklearn takes a random_state")),
            _ => Err(wrong("the kind must be first, last, stratified or sklearn")),
        }
    }

    /// Splits `set` into the part for training and that for validation; only `stratified` draws from `key`.
    pub fn apply(self, set: &Dataset, key: RandomKey) -> Result<(Dataset, Dataset)> {
        let all = set.len();
        match self {
            Split::First(share) => {
                let kept = self.kept(share, set)?;
                Ok((set.subset(kept..all)?, set.subset(0..kept)?))
            }
            Split::Last(share) => {
                let kept = self.kept(share, set)?;
                Ok((set.subset(0..all - kept)?, set.subset(all - kept..all)?))
            }
            Split::Stratified(fraction) => {
                let kept = self.kept(Share::Fraction(fraction), set)?;
                let (train, validation) = stratified(set, fraction, kept, key)?;
                Ok((set.select(&train)?, set.select(&validation)?))
            }
            Split::Sklearn(share, state) => {
                let kept = self.kept(share, set)?;
                let order = Mersenne::new(state).permutation(all);
                Ok((set.select(&order[kept..])?, set.select(&order[..kept])?))
            }
        }
    }

    fn kept(self, share: Share, set: &Dataset) -> Result<usize> {
        let all = set.len();
        let kept = match share {
            Share::Count(count) => count,
            // scikit-learn rounds this part up.
            Share::Fraction(fraction) if matches!(self, Split::Sklearn(..)) => (all as f64 * fraction).ceil() as usize,
            // Keras rounds the other part down: 60,000 samples and 0.1 give 54,000 for training.
            Share::Fraction(fraction) => all - (all as f64 * (1.0 - fraction)).floor() as usize,
        };
        if kept == 0 || kept >= all {
            let part = if kept == 0 { "validation" } else { "training" };
            return Err(Error::Config(format!(
                "split {self}: nothing is left for {part}: {} has {all} samples",
                set.name
            )));
        }
        Ok(kept)
    }
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, share) = match *self {
            Split::First(share) => ("first", share),
            Split::Last(share) => ("last", share),
            Split::Stratified(fraction) => ("stratified", Share::Fraction(fraction)),
            Split::Sklearn(share, _) => ("sklearn", share),
        };
        match share {
            Share::Count(count) => write!(f, "{kind}:{count}")?,
            Share::Fraction(fraction) => write!(f, "{kind}:{fraction}")?,
        }
        match *self {
            Split::Sklearn(_, state) => write!(f, ":{state}"),
            _ => Ok(()),
        }
    }
}

/// The rows for training and the `kept` rows for validation, each ascending.
fn stratified(set: &Dataset, fraction: f64, kept: usize, key: RandomKey) -> Result<(Vec<usize>, Vec<usize>)> {
    if set.targets.dtype() != DType::I64 || set.targets.rank() != 1 {
        let what = "stratified needs one class number a sample; take first or last";
        return Err(Error::Config(format!(
            "split stratified:{fraction}: the targets of {} have no classes; {what}",
            set.name
        )));
    }
    let mut classes: BTreeMap<i64, Vec<usize>> = BTreeMap::new();
    for (row, class) in set.targets.to_vec::<i64>()?.into_iter().enumerate() {
        classes.entry(class).or_default().push(row);
    }
    // Every class gives its part rounded down; what is then missing comes from the classes that lost most by rounding.
    let mut parts: Vec<(i64, usize, f64)> = classes
        .iter()
        .map(|(&class, rows)| {
            let part = rows.len() as f64 * fraction;
            (class, part.floor() as usize, part.fract())
        })
        .collect();
    parts.sort_by(|a, b| b.2.total_cmp(&a.2));
    let missing = kept.saturating_sub(parts.iter().map(|part| part.1).sum());
    parts.iter_mut().take(missing).for_each(|part| part.1 += 1);
    let mut is_kept = vec![false; set.len()];
    for (class, part, _) in parts {
        let rows = &classes[&class];
        let order = permutation(key.numbered(class as u64), rows.len());
        order.iter().take(part).for_each(|&i| is_kept[rows[i]] = true);
    }
    Ok((0..set.len()).partition(|&row| !is_kept[row]))
}

#[cfg(test)]
mod tests {
    use gradus_core::Tensor;

    use super::*;
    use crate::data::dataset::tests::counting;

    const KEY: RandomKey = RandomKey::new(7);

    fn rows(set: &Dataset) -> Vec<u8> {
        set.inputs.to_vec::<u8>().unwrap().chunks(2).map(|sample| sample[0]).collect()
    }

    fn split(text: &str, count: usize) -> (Vec<u8>, Vec<u8>) {
        let (train, validation) = Split::parse(text).unwrap().apply(&counting(count, 3), KEY).unwrap();
        (rows(&train), rows(&validation))
    }

    #[test]
    fn first_and_last_take_counts_and_fractions() {
        assert_eq!(split("first:2", 5), (vec![2, 3, 4], vec![0, 1]));
        assert_eq!(split("last:2", 5), (vec![0, 1, 2], vec![3, 4]));
        assert_eq!(split("last:0.25", 5), (vec![0, 1, 2], vec![3, 4]));
        assert_eq!(split("first:0.5", 4), (vec![2, 3], vec![0, 1]));
    }

    #[test]
    fn fractions_round_as_keras_does() {
        let set = |count| Dataset::new("x", zeros(count), zeros(count), Vec::new()).unwrap();
        for (count, fraction, trained) in
            [(60_000, "last:0.1", 54_000), (60_000, "last:0.2", 48_000), (1_797, "last:0.2", 1_437)]
        {
            let (train, validation) = Split::parse(fraction).unwrap().apply(&set(count), KEY).unwrap();
            assert_eq!((train.len(), validation.len()), (trained, count - trained));
        }
    }

    fn zeros(count: usize) -> Tensor {
        Tensor::from_slice(&vec![0u8; count], &[count]).unwrap()
    }

    #[test]
    fn stratified_keeps_the_share_of_every_class() {
        let labels: Vec<u8> = (0..100).map(|i| if i % 10 == 0 { 1 } else { 0 }).collect();
        let rows: Vec<u8> = (0..100).collect();
        let tensor = |values: &[u8]| Tensor::from_slice(values, &[100]).unwrap();
        let set = Dataset::new("rare", tensor(&rows), tensor(&labels), Vec::new()).unwrap();
        let apply = |key| Split::Stratified(0.2).apply(&set, key).unwrap();
        let (train, validation) = apply(KEY);
        assert_eq!((train.len(), validation.len()), (80, 20));
        assert_eq!(validation.targets.to_vec::<i64>().unwrap().iter().sum::<i64>(), 2);
        let (kept, rest) = (validation.inputs.to_vec::<u8>().unwrap(), train.inputs.to_vec::<u8>().unwrap());
        assert!(kept.is_sorted() && rest.is_sorted());
        let mut all = [kept.clone(), rest].concat();
        all.sort_unstable();
        assert_eq!(all, rows);
        assert_eq!(apply(KEY).1.inputs.to_vec::<u8>().unwrap(), kept);
        assert_ne!(apply(RandomKey::new(8)).1.inputs.to_vec::<u8>().unwrap(), kept);
    }

    /// The rows that `train_test_split(range(count), test_size=..., random_state=...)` of scikit-learn gives.
    #[test]
    fn sklearn_draws_the_same_rows_in_the_same_order() {
        let set = |count| {
            let rows: Vec<f32> = (0..count).map(|row| row as f32).collect();
            let rows = Tensor::from_slice(&rows, &[count]).unwrap();
            Dataset::new("rows", rows.clone(), rows, Vec::new()).unwrap()
        };
        let split = |text: &str, count| {
            let (train, validation) = Split::parse(text).unwrap().apply(&set(count), KEY).unwrap();
            let rows =
                |set: Dataset| set.inputs.to_vec::<f32>().unwrap().iter().map(|&x| x as usize).collect::<Vec<_>>();
            (rows(train), rows(validation))
        };
        let (train, validation) = split("sklearn:0.2:42", 60_000);
        assert_eq!((train.len(), validation.len()), (48_000, 12_000));
        assert_eq!(validation[..5], [12_628, 37_730, 39_991, 8_525, 8_279]);
        assert_eq!(train[..3], [48_572, 38_696, 13_611]);
        assert_eq!((train[47_999], validation[11_999]), (56_422, 36_568));
        assert_eq!(split("sklearn:0.25:7", 10), (vec![2, 1, 9, 7, 3, 6, 4], vec![8, 5, 0]));
        assert_eq!(split("sklearn:3:7", 10).1, split("sklearn:0.25:7", 10).1);
    }

    #[test]
    fn wrong_texts_say_what_is_allowed() {
        let refusal = |text| match Split::parse(text) {
            Err(Error::Config(text)) => text,
            other => panic!("{other:?}"),
        };
        assert_eq!(
            refusal("frist:5000"),
            "split \"frist:5000\": the kind must be first, last, stratified or sklearn; write first:5000 or last:5000 for a \
             count, last:0.1 for a fraction, stratified:0.2 for a part of every class, sklearn:0.2:42 for that of scikit-learn \
             with random_state 42"
        );
        assert!(refusal("5000").contains("a kind, a colon and an amount are expected"));
        assert!(refusal("first:0").contains("0 samples are no part"));
        assert!(refusal("last:1.5").contains("a fraction must lie between 0 and 1"));
        assert!(refusal("last:NaN").contains("a fraction must lie between 0 and 1"));
        assert!(refusal("last:many").contains("the amount is not a number"));
        assert!(refusal("stratified:10").contains("stratified takes a fraction"));
        assert!(refusal("sklearn:0.2").contains("sklearn needs a random_state"));
        assert!(refusal("sklearn:0.2:x").contains("must be a whole number below 2^32"));
        assert!(refusal("first:0.2:42").contains("only sklearn takes a random_state"));
        for text in ["first:5000", "last:0.1", "stratified:0.2", "sklearn:0.2:42"] {
            assert_eq!(Split::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn parts_must_not_be_empty() {
        let refusal = |text: &str| Split::parse(text).unwrap().apply(&counting(5, 3), KEY).unwrap_err().to_string();
        assert_eq!(refusal("first:5000"), "split first:5000: nothing is left for training: counting has 5 samples");
        assert_eq!(refusal("last:5"), "split last:5: nothing is left for training: counting has 5 samples");
        let values = Tensor::from_slice(&[0f32, 1.0, 2.0, 3.0], &[4]).unwrap();
        let set = Dataset::new("prices", values.clone(), values, Vec::new()).unwrap();
        let text = Split::Stratified(0.5).apply(&set, KEY).unwrap_err().to_string();
        assert!(text.starts_with("split stratified:0.5: the targets of prices have no classes"), "{text}");
    }
}
