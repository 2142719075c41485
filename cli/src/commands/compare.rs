//! `gradus compare`: one recipe in several variants over several seeds, and what can be said about the differences.

use std::fmt::Write;

use nn::core::Device;
use nn::models::Model;
use nn::spec::Recipe;
use nn::statistics::{Difference, Estimate, holm};
use nn::train::{Control, EarlyStop, Event, Trial};
use serde::Serialize;
use serde_json::json;

use crate::args::CompareArgs;
use crate::datasets::load::known_shape;
use crate::failure::{Failure, Kind};
use crate::interrupt::Interrupt;
use crate::report::dots;
use crate::report::history::Numbers;
use crate::report::run_folder::RunFolder;
use crate::report::table::Table;
use crate::samples::Samples;
use crate::terminal::{Format, Terminal};
use crate::{bases, machine, recipes};

/// Differences count as significant below this, after correction for their number.
const LEVEL: f64 = 0.05;

/// A recipe with some of its values replaced.
struct Variant {
    name: String,
    overrides: Vec<(String, String)>,
}

/// One training.
#[derive(Debug, Serialize)]
struct Row {
    variant: String,
    seed: u64,
    #[serde(flatten)]
    numbers: Numbers,
    seconds: f64,
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Outcome {
    recipe: String,
    metric: String,
    seeds: Vec<u64>,
    variants: Vec<Summary>,
    differences: Vec<Pair>,
    conclusion: String,
    run_dir: String,
}

/// A variant over all seeds.
#[derive(Debug, Serialize)]
struct Summary {
    variant: String,
    values: Vec<f64>,
    mean: f64,
    deviation: Option<f64>,
    interval: Option<(f64, f64)>,
    /// Of one training, in the mean.
    seconds: f64,
}

/// Two variants, compared seed by seed.
#[derive(Debug, Serialize)]
struct Pair {
    first: String,
    second: String,
    difference: f64,
    interval: Option<(f64, f64)>,
    /// After Holm's correction for the number of pairs.
    p: Option<f64>,
    significant: bool,
}

/// Compares.
///
/// # Errors
/// If a variant is no right recipe, data are missing, or a training fails.
pub fn run(args: &CompareArgs, terminal: &Terminal) -> Result<(), Failure> {
    let device = machine::open(&args.machine)?;
    machine::compute(|| compare(args, terminal, device))
}

fn compare(args: &CompareArgs, terminal: &Terminal, device: Device) -> Result<(), Failure> {
    let variants = variants(&args.vary)?;
    let first = variants.iter().map(|variant| bases::with_layers(open(args, variant, None)?));
    let first = first.collect::<Result<Vec<_>, _>>()?;
    // What does not fit together is told before the first training, not after the last but one.
    for recipe in &first {
        if let Some(shape) = known_shape(&recipe.data) {
            Model::build(recipe, shape)?;
        }
    }
    let base = &first[0];
    let seeds: Vec<u64> = (0..args.seeds as u64).map(|i| base.seed.wrapping_add(i)).collect();
    let mut folder = RunFolder::create(&args.out, &format!("compare-{}", base.name))?;
    terminal.say(format!(
        "{}: {} variants, {} seeds each, {}",
        base.name,
        variants.len(),
        seeds.len(),
        folder.path().display()
    ));
    let interrupt = Interrupt::listen().map_err(|error| Failure::io("signals", &error))?;
    let mut rows = Vec::new();
    for &seed in &seeds {
        let mut samples: Option<(Recipe, Samples)> = None;
        for variant in &variants {
            let (recipe, start) = bases::with_weights(open(args, variant, Some(seed))?, &args.out)?;
            if samples.as_ref().is_none_or(|(other, _)| other.data != recipe.data) {
                let loaded = Samples::load(&recipe, args.data.as_deref())?;
                samples = Some((recipe.clone(), loaded));
            }
            let Some((_, samples)) = &samples else { continue };
            let mut stop = |_: &Event<'_>| match interrupt.received() {
                Some(_) => Control::Stop,
                None => Control::Continue,
            };
            let trial = Trial::run(&recipe, start.as_ref(), &samples.parts(), device, &mut [&mut stop])?;
            if let Some(signal) = interrupt.received() {
                let path = folder.path().display();
                let text = format!("interrupted after {} trainings; their numbers are in {path}/log.jsonl", rows.len());
                return Err(Failure::new(Kind::Signal(signal), text));
            }
            let numbers = Numbers(trial.values());
            terminal.say(format!("{}  seed {seed}  {}  {:.1} s", variant.name, numbers.line(), trial.history.seconds));
            let row = Row { variant: variant.name.clone(), seed, numbers, seconds: trial.history.seconds };
            let event = json!({ "event": "trial", "trial": row });
            folder.log(&event)?;
            if terminal.format() == Format::JsonLines {
                terminal.json(&event)?;
            }
            rows.push(row);
        }
    }
    finish(args, &base.name, &rows, &folder, terminal)
}

/// Writes the files of the folder and prints the result.
fn finish(
    args: &CompareArgs,
    recipe: &str,
    rows: &[Row],
    folder: &RunFolder,
    terminal: &Terminal,
) -> Result<(), Failure> {
    let metric = metric(args, &rows[0].numbers)?;
    let outcome = judge(recipe, metric, rows, folder.path().display().to_string());
    folder.write("compare.csv", csv(rows))?;
    folder.write_json("compare.json", &outcome)?;
    let dots = outcome.variants.iter().map(|v| dots::Row { name: v.variant.clone(), values: v.values.clone() });
    let title = format!("{recipe}, {} seeds", outcome.seeds.len());
    folder.write("compare.svg", dots::draw(&title, &outcome.metric, &dots.collect::<Vec<_>>()))?;
    if args.csv {
        return terminal.result(csv(rows).trim_end());
    }
    terminal.answer(&outcome, || text(&outcome))
}

/// The recipe of a variant as it is written; its own seed if none is given.
fn open(args: &CompareArgs, variant: &Variant, seed: Option<u64>) -> Result<Recipe, Failure> {
    let epochs = args.epochs.iter().map(|epochs| ("train.epochs".to_owned(), epochs.clone()));
    let overrides = args.set.iter().cloned().chain(epochs).chain(variant.overrides.iter().cloned());
    let recipe = recipes::read(&args.recipe, &overrides.collect::<Vec<_>>())?;
    Ok(Recipe { seed: seed.unwrap_or(recipe.seed), ..recipe })
}

/// Every combination of the values of every `--vary`.
fn variants(vary: &[(String, String)]) -> Result<Vec<Variant>, Failure> {
    let mut variants = vec![Variant { name: String::new(), overrides: Vec::new() }];
    for (key, values) in vary {
        let values = split(values);
        if values.len() < 2 && vary.len() == 1 {
            let text =
                format!("--vary {key}: one value has nothing to be compared with; give several, as in {key}=a,b");
            return Err(Failure::new(Kind::Usage, text));
        }
        let with = |variant: &Variant, value: &str| {
            let name = [variant.name.as_str(), value].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>();
            let mut overrides = variant.overrides.clone();
            overrides.push((key.clone(), value.to_owned()));
            Variant { name: name.join(" "), overrides }
        };
        variants = variants.iter().flat_map(|variant| values.iter().map(move |value| with(variant, value))).collect();
    }
    Ok(variants)
}

/// The parts of a list between commas, except those inside parentheses, brackets, braces and quotes.
fn split(list: &str) -> Vec<String> {
    let (mut parts, mut depth, mut quoted) = (vec![String::new()], 0, false);
    for c in list.chars() {
        match c {
            '"' => quoted = !quoted,
            '(' | '[' | '{' if !quoted => depth += 1,
            ')' | ']' | '}' if !quoted => depth -= 1,
            ',' if depth == 0 && !quoted => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        if let Some(part) = parts.last_mut() {
            part.push(c);
        }
    }
    parts.iter().map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect()
}

/// The number that is compared: what the user says, or what says most about data that no training step has seen.
fn metric(args: &CompareArgs, numbers: &Numbers) -> Result<String, Failure> {
    let names: Vec<&str> = numbers.0.iter().map(|(name, _)| name.as_str()).collect();
    if let Some(name) = &args.metric {
        return match names.contains(&name.as_str()) {
            true => Ok(name.clone()),
            false => {
                let text = format!("--metric {name} is not measured; there are {}", names.join(", "));
                Err(Failure::new(Kind::Usage, text))
            }
        };
    }
    let unseen = |prefix: &str| {
        let of_prefix = names.iter().filter(|name| name.starts_with(prefix));
        of_prefix.max_by_key(|name| usize::from(!name.ends_with("loss"))).copied()
    };
    Ok(unseen("test_").or_else(|| unseen("val_")).unwrap_or("loss").to_owned())
}

fn judge(recipe: &str, metric: String, rows: &[Row], run_dir: String) -> Outcome {
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

fn text(outcome: &Outcome) -> String {
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
fn csv(rows: &[Row]) -> String {
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

    #[test]
    fn commas_inside_parentheses_belong_to_a_value() {
        assert_eq!(split("zeros, random_normal(0, 1),he_normal"), ["zeros", "random_normal(0, 1)", "he_normal"]);
        assert_eq!(split("\"a,b\",{ kind = \"x\", y = [1, 2] },"), ["\"a,b\"", "{ kind = \"x\", y = [1, 2] }"]);
    }

    #[test]
    fn several_keys_are_combined() {
        let vary = [("a".to_owned(), "1,2".to_owned()), ("b".to_owned(), "x,y,z".to_owned())];
        let names: Vec<_> = variants(&vary).unwrap().into_iter().map(|variant| variant.name).collect();
        assert_eq!(names, ["1 x", "1 y", "1 z", "2 x", "2 y", "2 z"]);
        assert!(variants(&vary[..1]).is_ok() && variants(&[("a".to_owned(), "1".to_owned())]).is_err());
    }

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
