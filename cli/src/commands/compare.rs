//! `gradus compare`: one recipe in several variants over several seeds, and what can be said about the differences.

use nn::core::Device;
use nn::models::Model;
use nn::spec::Recipe;
use nn::train::{Control, Event, Trial};
use serde_json::json;

use self::outcome::{Row, csv, judge, text};
use crate::args::CompareArgs;
use crate::datasets::load::known_shape;
use crate::failure::{Failure, Kind};
use crate::interrupt::Interrupt;
use crate::report::dots;
use crate::report::history::Numbers;
use crate::report::run_folder::RunFolder;
use crate::samples::Samples;
use crate::terminal::{Format, Terminal};
use crate::{bases, machine, recipes};

mod outcome;

/// A recipe with some of its values replaced.
struct Variant {
    name: String,
    overrides: Vec<(String, String)>,
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
            Model::build(recipe, &shape)?;
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
            let (recipe, start) =
                bases::with_weights(open(args, variant, Some(seed))?, &args.out, args.data.as_deref())?;
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
}
