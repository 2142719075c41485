//! `gradus train --resume`: a run with a break ends as one without.

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;

use crate::Place;

const RUN: &str = "runs/0001-digits";

/// The weights of the run that these arguments make, to its end.
fn weights(place: &Place, arguments: &[&str]) -> String {
    let result: Value = serde_json::from_str(&place.ok(&[&["train", "--json", "-q"], arguments].concat())).unwrap();
    result["weights_sha256"].as_str().unwrap().to_owned()
}

fn checkpoints(place: &Place) -> Vec<PathBuf> {
    let entries = fs::read_dir(place.path().join(RUN).join("ckpt")).map(|entries| entries.map(|e| e.unwrap().path()));
    let whole = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "safetensors");
    let mut files: Vec<_> = entries.into_iter().flatten().filter(whole).collect();
    files.sort();
    files
}

/// A run that is killed in the middle, at a time that `attempt` decides.
fn killed(arguments: &[&str], attempt: u64) -> Place {
    let place = Place::new();
    let mut command = place.command(&[&["train", "digits", "--checkpoint-every", "3"], arguments].concat());
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    while checkpoints(&place).is_empty() {
        std::thread::sleep(Duration::from_millis(1));
    }
    // Anywhere in the writing, the training, the watching.
    std::thread::sleep(Duration::from_micros(attempt * 3571 % 40_000));
    child.kill().unwrap();
    child.wait().unwrap();
    place
}

#[test]
fn a_run_that_is_killed_twenty_times_over_goes_on_to_the_same_weights() {
    let arguments = ["--epochs", "20", "--seed", "3"];
    let whole = weights(&Place::new(), &[&["digits"], &arguments[..]].concat());
    for attempt in 0..20 {
        let place = killed(&arguments, attempt);
        assert!(!place.path().join(RUN).join("result.json").exists(), "the run was over before it was killed");
        assert_eq!(weights(&place, &["--resume", RUN, "--checkpoint-every", "1h"]), whole, "attempt {attempt}");
        let history = fs::read_to_string(place.path().join(RUN).join("history.csv")).unwrap();
        assert_eq!(history.lines().count(), 21);
    }
}

#[test]
fn a_damaged_checkpoint_is_passed_over_for_the_one_before() {
    let arguments = ["--epochs", "20", "--seed", "3"];
    let place = killed(&arguments, 11);
    let files = checkpoints(&place);
    let newest = files.last().unwrap();
    let mut bytes = fs::read(newest).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(newest, bytes).unwrap();
    if files.len() == 1 {
        place.fails(&["train", "--resume", RUN], 3, &["none of its checkpoints can be read"]);
        return;
    }
    let run = place.run(&["train", "--resume", RUN, "--json"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(run.stderr.contains("is damaged") && run.stderr.contains("trying the one before"), "{}", run.stderr);
    let result: Value = serde_json::from_str(&run.stdout).unwrap();
    let whole = weights(&Place::new(), &[&["digits"], &arguments[..]].concat());
    assert_eq!(result["weights_sha256"], *whole);
}

#[test]
fn more_epochs_go_on_where_a_finished_run_ended() {
    let place = Place::new();
    weights(&place, &["digits", "--epochs", "3"]);
    let complete = format!("--resume {RUN}: the run is complete: all of its 3 epochs are done; more with --epochs N");
    place.fails(&["train", "--resume", RUN], 2, &[&complete]);
    let longer = weights(&place, &["--resume", RUN, "--epochs", "5"]);
    assert_eq!(longer, weights(&Place::new(), &["digits", "--epochs", "5"]));
}

#[test]
fn another_recipe_is_refused_with_the_difference() {
    let place = Place::new();
    weights(&place, &["digits", "--epochs", "1"]);
    let changed = ["train", "--resume", RUN, "--epochs", "2", "--lr", "0.5"];
    let texts = ["- [optimizer] learning_rate = 0.001", "+ [optimizer] learning_rate = 0.5", "insist with --force"];
    place.fails(&changed, 2, &texts);
    weights(&place, &[&changed[1..], &["--force"]].concat());
    place.fails(&["train", "--resume", "nowhere"], 3, &["there is no config.toml in it"]);
}

#[test]
fn a_run_that_ended_before_its_first_checkpoint_starts_again() {
    let place = Place::new();
    let whole = weights(&place, &["digits", "--epochs", "2"]);
    fs::remove_dir_all(place.path().join(RUN).join("ckpt")).unwrap();
    assert_eq!(weights(&place, &["--resume", RUN]), whole);
}

#[test]
fn other_data_are_refused() {
    let place = Place::new();
    let table = |last: &str| place.write("points.csv", format!("0,0,0\n1,1,1\n0,1,0\n1,0,{last}\n").repeat(10));
    table("1");
    let recipe = "[data]\nsource = \"csv\"\nfiles.train = [\"points.csv\"]\n[[layer]]\ntype = \"dense\"\nunits = 2\n\
                  activation = \"softmax\"\n[optimizer]\nkind = \"sgd\"\n[train]\nloss = \"sparse_categorical_crossentropy\"\n";
    place.write("points.toml", recipe);
    place.ok(&["train", "points.toml"]);
    table("0");
    let resumed = ["train", "--resume", "runs/0001-points", "--epochs", "2"];
    place.fails(&resumed, 3, &["points.csv is not the file that the run was trained on", "--force"]);
    table("1");
    place.ok(&resumed);
}

#[test]
fn early_stopping_ends_a_run_and_puts_the_best_weights_back() {
    let place = Place::new();
    let rule = "train.early_stop={ monitor = \"val_loss\", patience = 1, restore_best = true }";
    let arguments = [
        "train",
        "digits",
        "--epochs",
        "200",
        "--lr",
        "0.01",
        "--set",
        rule,
        "--set",
        "train.checkpoint.best=\"val_loss\"",
    ];
    let result: Value = serde_json::from_str(&place.ok(&[&arguments[..], &["--json"]].concat())).unwrap();
    let losses: Vec<f64> =
        result["history"].as_array().unwrap().iter().map(|epoch| epoch["val_loss"].as_f64().unwrap()).collect();
    assert!(losses.len() < 200);
    let best = losses.iter().copied().fold(f64::INFINITY, f64::min);
    for model in [RUN.to_owned(), format!("{RUN}/best.safetensors")] {
        let measured: Value = serde_json::from_str(&place.ok(&["eval", &model, "--split", "val", "--json"])).unwrap();
        assert_eq!(measured["loss"].as_f64(), Some(best), "{model}");
    }
    place.fails(&["train", "--resume", RUN], 2, &["early stopping ended it after epoch"]);
    let unknown = "train.early_stop={ monitor = \"val_los\" }";
    place.fails(&["train", "digits", "--set", unknown], 2, &["monitor \"val_los\" is not measured"]);
}
