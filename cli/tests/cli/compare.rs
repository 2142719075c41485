//! `gradus compare`: variants over seeds, and what is said about them.

use serde_json::Value;

use crate::Place;

const TWICE: [&str; 8] =
    ["compare", "digits", "--epochs", "2", "--seeds", "3", "--vary", "layer.*.init=zeros,he_normal,glorot_uniform"];

#[test]
fn a_comparison_tells_a_difference_from_chance() {
    let place = Place::new();
    // Only the first dense layer of the recipe says its init, so the others keep theirs.
    let outcome: Value = serde_json::from_str(&place.ok(&[&TWICE[..], &["--json", "-q"]].concat())).unwrap();
    assert_eq!((&outcome["metric"], &outcome["seeds"]), (&"test_accuracy".into(), &serde_json::json!([42, 43, 44])));
    let mean = |i: usize| outcome["variants"][i]["mean"].as_f64().unwrap();
    assert!(mean(0) < 0.2 && mean(1) > 0.5 && mean(2) > 0.5, "{outcome}");
    assert_eq!(outcome["differences"].as_array().unwrap().len(), 3);
    assert_eq!(outcome["differences"][0]["significant"], true);
    let folder = place.path().join(outcome["run_dir"].as_str().unwrap());
    let csv = std::fs::read_to_string(folder.join("compare.csv")).unwrap();
    assert!(csv.starts_with("variant,seed,loss,accuracy,val_loss,val_accuracy,test_loss,test_accuracy,seconds\n"));
    assert_eq!(csv.lines().count(), 1 + 9);
    assert!(std::fs::read_to_string(folder.join("compare.svg")).unwrap().ends_with("</svg>\n"));
    let again: Value = serde_json::from_slice(&std::fs::read(folder.join("compare.json")).unwrap()).unwrap();
    assert_eq!(again, outcome);
    // A variant is an ordinary training of its recipe.
    let alone = place.ok(&["train", "digits", "--epochs", "2", "--seed", "43", "--json", "-q"]);
    let alone: Value = serde_json::from_str(&alone).unwrap();
    assert_eq!(alone["test"]["accuracy"], outcome["variants"][1]["values"][1]);
}

#[test]
fn wrong_comparisons_are_refused_before_the_first_training() {
    let place = Place::new();
    let refused = |vary: &[&str], text: &str| place.fails(&[&["compare", "digits"], vary].concat(), 2, &[text]);
    refused(&["--vary", "train.batch=32"], "--vary train.batch: one value has nothing to be compared with");
    refused(&["--vary", "train.batch=32,0"], "batch = 0 in [train]");
    refused(&["--vary", "layer.*.rat=1,2"], "layer.*.rat: no layer has \"rat\"");
    refused(&["--vary", "train.batch=32,64", "--seeds", "0"], "0 is not in 1..=1000");
    assert!(!place.path().join("runs").exists());
    let metric = ["--vary", "train.batch=32,64", "--epochs", "1", "--seeds", "1", "--metric", "speed"];
    refused(&metric, "--metric speed is not measured; there are loss, accuracy, val_loss");
}
