//! What came out of a lab, in a few sentences that follow from its numbers alone.

use std::cmp::Ordering;

use nn::statistics::Difference;
use nn::train::EarlyStop;

use super::rows::Row;
use super::{End, Training};
use crate::labs::Lab;

/// The sentences. `rows` are those over all seeds.
pub fn seen(lab: &Lab, rows: &[Row], trainings: &[Training]) -> String {
    let rule = EarlyStop { monitor: lab.metric.clone(), ..EarlyStop::keras() };
    let order = |a: f64, b: f64| match rule.is_better(a, b) {
        true => Ordering::Less,
        false if a == b => Ordering::Equal,
        false => Ordering::Greater,
    };
    let mut sentences = Vec::new();
    sentences.extend(ranking(lab, rows, order));
    sentences.extend(tolerances(rows));
    for training in trainings {
        if let End::RanAway(why) = &training.end {
            let several = trainings.iter().any(|other| other.seed != training.seed);
            let seed = if several { format!(" with seed {}", training.seed) } else { String::new() };
            sentences.push(format!("{} ran away{seed}: {why}.", training.run));
        }
    }
    for (i, run) in lab.runs.iter().enumerate().filter(|(_, run)| run.base.is_some()) {
        // The last one before that starts from nothing is the same network from scratch.
        let Some(scratch) = lab.runs[..i].iter().rfind(|other| other.base.is_none()) else { continue };
        sentences.extend(wins(lab, rows, &run.name, &scratch.name, order));
        if let Some((ours, theirs)) = rate(trainings, &run.name).zip(rate(trainings, &scratch.name)) {
            let times = ours / theirs;
            sentences.push(format!(
                "{} trained on {ours:.0} samples a second, {} on {theirs:.0}: {times:.2} times as many.",
                run.name, scratch.name
            ));
        }
    }
    sentences.join(" ")
}

/// The runs, the best first.
fn ranking(lab: &Lab, rows: &[Row], order: impl Fn(f64, f64) -> Ordering) -> Option<String> {
    let of_it = rows.iter().filter(|row| row.metric == lab.metric);
    let mut ranked: Vec<(&str, f64)> = of_it.filter_map(|row| Some((row.run.as_str(), row.here?))).collect();
    ranked.sort_by(|a, b| order(a.1, b.1));
    let places: Vec<String> = ranked.iter().map(|(run, value)| format!("{run} {value:.4}")).collect();
    (!places.is_empty()).then(|| format!("By {}: {}.", lab.metric, places.join(", ")))
}

/// Which numbers are further from the document than chance explains.
fn tolerances(rows: &[Row]) -> Option<String> {
    let judged: Vec<&Row> = rows.iter().filter(|row| row.within.is_some()).collect();
    let outside: Vec<String> = judged
        .iter()
        .filter(|row| row.within == Some(false))
        .map(|row| format!("{} of {} ({:+.4})", row.metric, row.run, row.difference.unwrap_or(f64::NAN)))
        .collect();
    match (judged.len(), outside.len()) {
        (0, _) => None,
        (all, 0) => Some(format!("All {all} numbers with a stated tolerance are within it.")),
        (all, out) => {
            Some(format!("Of {all} numbers with a stated tolerance {out} are not within it: {}.", outside.join(", ")))
        }
    }
}

/// In how many seeds one run was ahead of another, and whether that is chance.
fn wins(lab: &Lab, rows: &[Row], run: &str, other: &str, order: impl Fn(f64, f64) -> Ordering) -> Option<String> {
    let of = |run: &str| rows.iter().find(|row| row.run == run && row.metric == lab.metric).map(|row| &row.by_seed);
    let (ours, theirs) = (of(run)?, of(other)?);
    let seeds = ours.len().min(theirs.len());
    if seeds < 2 {
        return None;
    }
    let count = |wanted| ours.iter().zip(theirs).filter(|&(&a, &b)| order(a, b) == wanted).count();
    let level = match count(Ordering::Equal) {
        0 => String::new(),
        level => format!(", level in {level}"),
    };
    let Difference { estimate, p } = Difference::of(ours, theirs);
    let (mean, (low, high)) = (estimate.mean, estimate.interval);
    Some(format!(
        "{run} is ahead of {other} in {} of {seeds} seeds{level}; {mean:+.4} in the mean, with a 95 % interval from {low:.4} to {high:.4} \
         (p = {p:.3}).",
        count(Ordering::Less)
    ))
}

/// How many samples a second a run trained on, in the mean over its seeds.
fn rate(trainings: &[Training], run: &str) -> Option<f64> {
    let rates: Vec<f64> = trainings
        .iter()
        .filter(|training| training.run == run)
        .filter_map(|training| match &training.end {
            End::Done(outcome) => Some(outcome.samples_per_second),
            End::RanAway(_) => None,
        })
        .collect();
    (!rates.is_empty()).then(|| rates.iter().sum::<f64>() / rates.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::labs::Run;

    fn lab(runs: &[(&str, Option<&str>)]) -> Lab {
        let run = |(name, base): &(&str, Option<&str>)| {
            let base = base.map_or_else(String::new, |base| format!("base = '{base}'"));
            format!("[[run]]\nname = '{name}'\nrecipe = 'digits'\n{base}\n")
        };
        let runs: String = runs.iter().map(run).collect();
        toml::from_str(&format!("about = ''\nmetric = 'val_loss'\nnotes = ''\n{runs}")).unwrap()
    }

    fn row(run: &Run, by_seed: &[f64]) -> Row {
        Row { by_seed: by_seed.to_vec(), ..Row::new(run, "val_loss", None, by_seed.first().copied()) }
    }

    #[test]
    fn what_was_seen_follows_from_the_numbers() {
        let lab = lab(&[("a", None), ("b", None), ("c", None), ("d", None)]);
        let mut rows: Vec<Row> =
            lab.runs.iter().zip([&[0.5][..], &[0.25], &[], &[0.75]]).map(|(r, v)| row(r, v)).collect();
        (rows[1].difference, rows[1].within, rows[3].within) = (Some(0.1), Some(false), Some(true));
        let ran_away = |seed| Training { run: "c", seed, end: End::RanAway("the loss is NaN".into()) };
        assert_eq!(
            seen(&lab, &rows, &[ran_away(1)]),
            "By val_loss: b 0.2500, a 0.5000, d 0.7500. Of 2 numbers with a stated tolerance 1 are not within it: val_loss \
             of b (+0.1000). c ran away: the loss is NaN."
        );
        assert!(
            seen(&lab, &[], &[ran_away(1), ran_away(2)]).starts_with("c ran away with seed 1: the loss is NaN. c ran")
        );
    }

    #[test]
    fn wins_are_counted_by_seed_and_lower_losses_win() {
        let lab = lab(&[("scratch", None), ("transferred", Some("scratch"))]);
        let rows = [row(&lab.runs[0], &[0.5, 0.5, 0.5, 0.5]), row(&lab.runs[1], &[0.25, 0.25, 0.5, 0.75])];
        let seen = seen(&lab, &rows, &[]);
        assert!(
            seen.contains("transferred is ahead of scratch in 2 of 4 seeds, level in 1; -0.0625 in the mean"),
            "{seen}"
        );
        assert!(seen.ends_with("from -0.4434 to 0.3184 (p = 0.638)."), "{seen}");
    }
}
