//! `gradus train --resume`: the recipe, the data and the state with which a run goes on.

use std::fs;
use std::path::{Path, PathBuf};

use nn::spec::{Recipe, TrainSpec};
use nn::train::{Ended, History};
use serde_json::Value;

use crate::args::TrainArgs;
use crate::datasets::load::Origin;
use crate::failure::{Failure, Kind};
use crate::recipes;
use crate::report::run_folder::{CONFIG, DATA};

/// The recipe with which the run in `folder` goes on: its own, or the one that the user names, with the values of the
/// command line.
///
/// # Errors
/// If it differs from the run's in more than the number of epochs, and nobody forces it.
pub fn recipe(folder: &Path, args: &TrainArgs, overrides: &[(String, String)]) -> Result<Recipe, Failure> {
    let config = folder.join(CONFIG);
    if !config.exists() {
        let text = format!("--resume {}: there is no {CONFIG} in it; give the folder of a run", folder.display());
        return Err(Failure::new(Kind::Data, text));
    }
    let config = config.display().to_string();
    let before = recipes::open(&config, &[])?;
    let now = recipes::open(args.recipe.as_deref().unwrap_or(&config), overrides)?;
    // How long it goes on and how often it is saved change nothing that was done so far.
    let (epochs, checkpoint) = (before.train.epochs, before.train.checkpoint.clone());
    let train = TrainSpec { epochs, checkpoint, ..now.train.clone() };
    let comparable = Recipe { train, ..now.clone() };
    let changes = difference(&before.to_toml(), &comparable.to_toml());
    if !changes.is_empty() && !args.force {
        let text = format!(
            "--resume {}: the recipe is not the one of the run:\n{changes}\nA run that goes on with another recipe ends like \
             neither; leave the change out, start a new run, or insist with --force",
            folder.display()
        );
        return Err(Failure::new(Kind::Usage, text));
    }
    Ok(now)
}

/// The lines of two recipes that are not in the other, in the manner of `diff`.
fn difference(before: &str, now: &str) -> String {
    let section = |text: &str| {
        let mut title = String::new();
        let mut lines = Vec::new();
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            if line.starts_with('[') {
                // Layers are lists: the third [[layer]] is another place than the second.
                let number = 1 + lines.iter().filter(|(_, other): &&(String, String)| other == line).count();
                title = if line.starts_with("[[") { format!("{line} {number}") } else { line.to_owned() };
                lines.push((title.clone(), line.to_owned()));
            } else {
                lines.push((title.clone(), line.to_owned()));
            }
        }
        lines
    };
    let (before, now) = (section(before), section(now));
    let only = |sign: &str, these: &[(String, String)], others: &[(String, String)]| {
        let lines = these.iter().filter(|line| !others.contains(line));
        lines.map(|(title, line)| format!("  {sign} {title} {line}")).collect::<Vec<_>>()
    };
    [only("-", &before, &now), only("+", &now, &before)].concat().join("\n")
}

/// Where to look for the data: where the user says, or where the run found them.
pub fn data_place(folder: &Path, args: &TrainArgs) -> Option<PathBuf> {
    let found = || {
        let origin: Value = serde_json::from_slice(&fs::read(folder.join(DATA)).ok()?).ok()?;
        let file = PathBuf::from(origin["files"][0]["path"].as_str()?);
        Some(file.parent()?.to_owned())
    };
    args.data.clone().or_else(found)
}

/// Refuses other data than those of the run.
///
/// # Errors
/// If a file has another SHA-256 than the run wrote down, and nobody forces it.
pub fn check_data(folder: &Path, args: &TrainArgs, origin: &Origin) -> Result<(), Failure> {
    let path = folder.join(DATA);
    let text = fs::read(&path).map_err(|error| Failure::new(Kind::Data, format!("{}: {error}", path.display())))?;
    let before: Value = serde_json::from_slice(&text)
        .map_err(|error| Failure::new(Kind::Data, format!("{}: {error}", path.display())))?;
    let hash = |name: &str| {
        let file = before["files"].as_array()?.iter().find(|file| file["name"] == *name)?;
        file["sha256"].as_str().map(str::to_owned)
    };
    match origin.files.iter().find(|file| hash(&file.name) != file.sha256) {
        Some(file) if !args.force => {
            let text = format!(
                "--resume {}: {} is not the file that the run was trained on (its SHA-256 differs); give the folder of \
                 the right one with --data, or insist with --force",
                folder.display(),
                file.path.as_deref().unwrap_or(&file.name)
            );
            Err(Failure::new(Kind::Data, text))
        }
        _ => Ok(()),
    }
}

/// Refuses to go on with a run that is done.
///
/// # Errors
/// If all of its epochs are done, or early stopping ended it.
pub fn check_unfinished(folder: &Path, history: &History, recipe: &Recipe) -> Result<(), Failure> {
    let (done, folder) = (history.epochs.len(), folder.display());
    let text = match history.ended {
        Ended::NoBetter => {
            format!("--resume {folder}: the run is complete: early stopping ended it after epoch {done}")
        }
        _ if done >= recipe.train.epochs => {
            format!("--resume {folder}: the run is complete: all of its {done} epochs are done; more with --epochs N")
        }
        _ => return Ok(()),
    };
    Err(Failure::new(Kind::Usage, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_names_its_table() {
        let before = "seed = 1\n[[layer]]\nunits = 3\n\n[[layer]]\nunits = 4\n\n[train]\nbatch = 32\n";
        let now = before.replace("units = 4", "units = 5").replace("seed = 1", "seed = 2");
        let expected = "  -  seed = 1\n  - [[layer]] 2 units = 4\n  +  seed = 2\n  + [[layer]] 2 units = 5";
        assert_eq!(difference(before, &now), expected);
        assert_eq!(difference(before, before), "");
    }
}
