//! Which classes are taken for which, and the scores that follow.

use serde::Serialize;

/// How often samples of each class were given each class: rows are the truth, columns the prediction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confusion {
    classes: usize,
    counts: Vec<u64>,
}

/// How well one class is told from the others. What would be a division by zero counts as 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Scores {
    /// The share of right ones among the samples that were given the class.
    pub precision: f64,
    /// The share of the samples of the class that were given it.
    pub recall: f64,
    /// The harmonic mean of both.
    pub f1: f64,
    /// How many samples are of the class.
    pub support: u64,
}

impl Confusion {
    /// Counts pairs of a true and a predicted class, each below `classes`; other pairs count nowhere.
    pub fn of(classes: usize, pairs: impl IntoIterator<Item = (usize, usize)>) -> Self {
        let mut counts = vec![0; classes * classes];
        for (truth, predicted) in pairs.into_iter().filter(|&(truth, predicted)| truth.max(predicted) < classes) {
            counts[truth * classes + predicted] += 1;
        }
        Self { classes, counts }
    }

    /// How many classes there are.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// How often a sample of class `truth` was taken for one of `predicted`.
    pub fn count(&self, truth: usize, predicted: usize) -> u64 {
        self.counts[truth * self.classes + predicted]
    }

    /// The rows of the matrix: what the samples of each class were taken for.
    pub fn rows(&self) -> impl Iterator<Item = &[u64]> {
        // No class, no row; a chunk of no size would be a panic.
        self.counts.chunks(self.classes.max(1))
    }

    /// The scores of each class.
    pub fn scores(&self) -> Vec<Scores> {
        let score = |class: usize| {
            let right = self.count(class, class);
            let (given, support) =
                (0..self.classes).fold((0, 0), |(g, s), i| (g + self.count(i, class), s + self.count(class, i)));
            // 2pr / (p + r), without the intermediate quotients.
            let f1 = ratio(2 * right, given + support);
            Scores { precision: ratio(right, given), recall: ratio(right, support), f1, support }
        };
        (0..self.classes).map(score).collect()
    }

    /// The mean of the classes' scores, each class counting alike.
    pub fn macro_average(&self) -> Scores {
        self.average(|_| 1.0)
    }

    /// The mean of the classes' scores, each class counting as often as it has samples.
    pub fn weighted_average(&self) -> Scores {
        self.average(|scores| scores.support as f64)
    }

    fn average(&self, weight: impl Fn(&Scores) -> f64) -> Scores {
        let scores = self.scores();
        let all: f64 = scores.iter().map(&weight).sum();
        let mean = |number: fn(&Scores) -> f64| match all {
            0.0 => 0.0,
            _ => scores.iter().map(|scores| weight(scores) * number(scores)).sum::<f64>() / all,
        };
        let support = scores.iter().map(|scores| scores.support).sum();
        Scores { precision: mean(|s| s.precision), recall: mean(|s| s.recall), f1: mean(|s| s.f1), support }
    }
}

fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn scores_are_those_of_scikit_learn() {
        let text = include_str!("../../../tests/golden/confusion.json");
        let cases: Value = serde_json::from_str(text).unwrap();
        let cases = cases.as_array().unwrap();
        assert_eq!(cases.len(), 3);
        for case in cases {
            let list = |key: &str| case[key].as_array().unwrap().iter().map(|x| x.as_u64().unwrap() as usize);
            let classes = case["classes"].as_u64().unwrap() as usize;
            let confusion = Confusion::of(classes, list("truth").zip(list("predicted")));
            let rows: Vec<&[u64]> = confusion.rows().collect();
            assert_eq!(serde_json::to_value(rows).unwrap(), case["matrix"]);
            let close = |ours: &Scores, theirs: &Value| {
                let number = |key: &str| theirs[key].as_f64().unwrap();
                for (ours, key) in [(ours.precision, "precision"), (ours.recall, "recall"), (ours.f1, "f1-score")] {
                    assert!((ours - number(key)).abs() < 1e-14, "{}: {key}: {ours} {theirs}", case["name"]);
                }
                assert_eq!(ours.support as f64, number("support"));
            };
            let report = &case["report"];
            for (class, scores) in confusion.scores().iter().enumerate() {
                close(scores, &report[class.to_string()]);
            }
            close(&confusion.macro_average(), &report["macro avg"]);
            close(&confusion.weighted_average(), &report["weighted avg"]);
        }
    }

    #[test]
    fn nothing_to_count_is_no_panic() {
        let confusion = Confusion::of(0, []);
        assert_eq!((confusion.rows().count(), confusion.macro_average()), (0, Scores::default()));
        assert_eq!(Confusion::of(2, [(2, 0), (0, 5)]).weighted_average(), Scores::default());
    }
}
