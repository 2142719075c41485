//! What a comparison comes to: estimates for each variant, tests of each pair, and a sentence.

use std::fmt::Write;

use nn::statistics::{Difference, Estimate, holm};
use nn::train::EarlyStop;
use serde::Serialize;

use crate::report::history::Numbers;
use crate::report::table::Table;

/// Differences count as significant below this, after correction for their number.
const LEVEL: f64 = 0.05;

/// One training.
#[derive(Debug, Serialize)]
pub struct Row {
    /// Which variant.
    pub variant: String,
    /// Which seed.
    pub seed: u64,
    /// The numbers of the last epoch and of the test.
    #[serde(flatten)]
    pub numbers: Numbers,
    /// How long it took.
    pub seconds: f64,
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
pub struct Outcome {
    recipe: String,
    /// What is compared.
    pub metric: String,
    /// With which seeds.
    pub seeds: Vec<u64>,
    /// The variants, in their order.
    pub variants: Vec<Summary>,
    differences: Vec<Pair>,
    conclusion: String,
    run_dir: String,
}

/// A variant over all seeds.
#[derive(Debug, Serialize)]
pub struct Summary {
    /// Its name.
    pub variant: String,
    /// What came out, seed by seed.
    pub values: Vec<f64>,
    mean: f64,
    deviation: Option<f64>,
    interval: Option<(f64, f64)>,
    /// Of one training, in the mean.
    seconds: f64,
}

/// Two variants, compared seed by seed.
#[derive(Debug, Serialize)]
pub struct Pair {
    first: String,
    second: String,
    difference: f64,
    interval: Option<(f64, f64)>,
    /// After Holm's correction for the number of pairs.
    p: Option<f64>,
    significant: bool,
}

/// What `rows` say about `metric`.
pub fn judge(recipe: &str, metric: String, rows: &[Row], run_dir: String) -> Outcome {
    let mut names: Vec<&str> = Vec::new();
    for row in rows {
        if !names.contains(&row.variant.as_str()) {
            names.push(&row.variant);
        }
    }
    let of = |name: &str| rows.iter().filter(move |row| row.variant == name).collect::<Vec<_>>();
    let summary = |name: &&str| {
        let rows = of(name);
        let values: Vec<f64> = rows.iter().map(|row| row.numbers.get(&metric).unwrap_or(f64::NAN)).collect();
        let seconds = rows.iter().map(|row| row.seconds).sum::<f64>() / rows.len() as f64;
        let Estimate { mean, deviation, interval, .. } = Estimate::of(&values);
        let spread = deviation.is_finite();
        let (deviation, interval) = (spread.then_some(deviation), spread.then_some(interval));
        Summary { variant: (*name).to_owned(), values, mean, deviation, interval, seconds }
    };
    let variants: Vec<Summary> = names.iter().map(summary).collect();
    let pairs: Vec<(&Summary, &Summary, Difference)> = variants
        .iter()
        .enumerate()
        .flat_map(|(i, first)| variants[i + 1..].iter().map(move |second| (first, second)))
        .map(|(first, second)| (first, second, Difference::of(&first.values, &second.values)))
        .collect();
    let p = holm(&pairs.iter().map(|(.., difference)| difference.p).collect::<Vec<_>>());
    let pair = |((first, second, difference), p): (&(&Summary, &Summary, Difference), f64)| {
        let Estimate { mean, interval, .. } = difference.estimate;
        Pair {
            first: first.variant.clone(),
            second: second.variant.clone(),
            difference: mean,
            interval: interval.0.is_finite().then_some(interval),
            p: p.is_finite().then_some(p),
            significant: p < LEVEL,
        }
    };
    let differences: Vec<Pair> = pairs.iter().zip(p).map(pair).collect();
    let conclusion = conclusion(&metric, &variants, &differences);
    let mut seeds: Vec<u64> = rows.iter().map(|row| row.seed).collect();
    seeds.dedup();
    Outcome { recipe: recipe.to_owned(), metric, seeds, variants, differences, conclusion, run_dir }
}

/// What can be said, in a sentence or two.
fn conclusion(metric: &str, variants: &[Summary], differences: &[Pair]) -> String {
    let rule = EarlyStop { monitor: metric.to_owned(), ..EarlyStop::keras() };
    let better = |best: &'_ Summary, other: &Summary| rule.is_better(other.mean, best.mean);
    let best = variants.iter().fold(&variants[0], |best, other| if better(best, other) { other } else { best });
    if differences.iter().any(|pair| pair.p.is_none()) {
        return format!(
            "best {metric}: {}; one seed says nothing about chance, so give --seeds 5 or more",
            best.variant
        );
    }
    let ties: Vec<&str> = differences
        .iter()
        .filter(|pair| !pair.significant)
        .filter_map(|pair| match (pair.first == best.variant, pair.second == best.variant) {
            (true, _) => Some(pair.second.as_str()),
            (_, true) => Some(pair.first.as_str()),
            _ => None,
        })
        .collect();
    match (differences.iter().any(|pair| pair.significant), ties.as_slice()) {
        (false, _) => format!("no significant difference in {metric} between any two variants"),
        (true, []) => format!("best {metric}: {}, significantly ahead of every other variant", best.variant),
        (true, ties) => {
            let ties = ties.join(", ");
            format!("best {metric}: {}; no significant difference between it and {ties}", best.variant)
        }
    }
}

/// The result for people.
pub fn text(outcome: &Outcome) -> String {
    let four = |value: f64| format!("{value:.4}");
    let range = |interval: Option<(f64, f64)>| {
        interval.map_or_else(|| "-".to_owned(), |(low, high)| format!("{low:.4} .. {high:.4}"))
    };
    let metric = outcome.metric.as_str();
    let mut table = Table::new(["variant", metric, "deviation", "95 % interval", "seconds"]).right([1, 2, 4]);
    for variant in &outcome.variants {
        table.row([
            variant.variant.clone(),
            four(variant.mean),
            variant.deviation.map_or_else(|| "-".to_owned(), four),
            range(variant.interval),
            format!("{:.1}", variant.seconds),
        ]);
    }
    let mut pairs = Table::new(["difference", metric, "95 % interval", "p", ""]).right([1, 3]);
    for pair in &outcome.differences {
        pairs.row([
            format!("{} - {}", pair.first, pair.second),
            format!("{:+.4}", pair.difference),
            range(pair.interval),
            pair.p.map_or_else(|| "-".to_owned(), four),
            (if pair.significant { "significant" } else { "no significant difference" }).to_owned(),
        ]);
    }
    format!(
        "{table}\n\n{pairs}\n\n{} (paired t-tests over {} seeds, p after Holm's correction)\n{}",
        outcome.conclusion,
        outcome.seeds.len(),
        outcome.run_dir
    )
}

/// Every training as a line, with all of its numbers.
pub fn csv(rows: &[Row]) -> String {
    let names: Vec<&str> = rows.iter().flat_map(|row| &row.numbers.0).map(|(name, _)| name.as_str()).fold(
        Vec::new(),
        |mut names, name| {
            if !names.contains(&name) {
                names.push(name);
            }
            names
        },
    );
    let mut text = format!("variant,seed,{},seconds\n", names.join(","));
    for row in rows {
        // Writing to a string cannot fail, so the results of `write!` are dropped.
        let _ = write!(text, "\"{}\",{}", row.variant.replace('"', "\"\""), row.seed);
        for name in &names {
            let _ = match row.numbers.get(name) {
                Some(value) => write!(text, ",{value}"),
                None => write!(text, ","),
            };
        }
        let _ = writeln!(text, ",{}", row.seconds);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(values: &[(&str, &[f64])]) -> Outcome {
        let row = |(variant, values): &(&str, &[f64])| {
            let row = |(seed, &value): (u64, &f64)| Row {
                variant: (*variant).to_owned(),
                seed,
                numbers: Numbers(vec![("test_accuracy".to_owned(), value)]),
                seconds: 1.0,
            };
            (0..).zip(values.iter()).map(row).collect::<Vec<_>>()
        };
        judge("r", "test_accuracy".to_owned(), &values.iter().flat_map(row).collect::<Vec<_>>(), "runs/1".to_owned())
    }

    #[test]
    fn chance_is_not_called_a_difference() {
        let he: &[f64] = &[0.9771, 0.9759, 0.9768, 0.9780, 0.9749, 0.9763];
        let glorot: &[f64] = &[0.9761, 0.9763, 0.9752, 0.9771, 0.9751, 0.9748];
        let zeros: &[f64] = &[0.1135, 0.1135, 0.1136, 0.1135, 0.1134, 0.1135];
        let tie = outcome(&[("he", he), ("glorot", glorot)]);
        assert_eq!(tie.conclusion, "no significant difference in test_accuracy between any two variants");
        let three = outcome(&[("zeros", zeros), ("glorot", glorot), ("he", he)]);
        assert_eq!(three.conclusion, "best test_accuracy: he; no significant difference between it and glorot");
        assert_eq!(three.differences.iter().filter(|pair| pair.significant).count(), 2);
        let clear = outcome(&[("zeros", zeros), ("he", he)]);
        assert_eq!(clear.conclusion, "best test_accuracy: he, significantly ahead of every other variant");
        let once = outcome(&[("zeros", &zeros[..1]), ("he", &he[..1])]);
        assert!(once.conclusion.starts_with("best test_accuracy: he; one seed says nothing"), "{}", once.conclusion);
        assert!(text(&once).contains("-"));
    }
}
