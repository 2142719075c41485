//! `gradus lab`: trainings in a row, and their table.

use serde_json::Value;

use crate::Place;

#[test]
fn a_lab_ranks_its_runs_and_says_which_ran_away() {
    let place = Place::new();
    let answer: Value =
        serde_json::from_str(&place.ok(&["lab", "learning-rate", "--epochs", "1", "--json", "-q"])).unwrap();
    let here: Vec<Option<f64>> = answer["rows"].as_array().unwrap().iter().map(|row| row["here"].as_f64()).collect();
    assert!(here[0].unwrap() < here[1].unwrap() && here[2].is_none(), "{answer}");
    let seen = answer["seen"].as_str().unwrap();
    assert!(seen.starts_with("By val_accuracy: 0.1 0.") && seen.contains("1000 ran away: epoch 1, step "), "{seen}");
    let folder = place.path().join(answer["run_dir"].as_str().unwrap());
    assert_eq!(serde_json::from_slice::<Value>(&std::fs::read(folder.join("lab.json")).unwrap()).unwrap(), answer);
    assert!(std::fs::read_to_string(folder.join("curves.svg")).unwrap().ends_with("</svg>\n"));
    assert!(folder.join("0001-fashion-mlp/model.safetensors").exists());
    assert!(answer["seeds"] == 1 && answer["rows"][0].get("by_seed").is_none(), "{answer}");
    place.fails(&["lab", "learning-rate", "--seeds", "0"], 2, &["0 is not in 1..=1000"]);
    place.fails(&["lab", "learning-rates"], 2, &["unknown lab \"learning-rates\". Did you mean \"learning-rate\"?"]);
}

#[test]
fn several_seeds_give_means_and_say_what_ran_away_with_which() {
    let place = Place::new();
    let arguments =
        ["lab", "learning-rate", "--epochs", "1", "--seeds", "2", "--set", "data.first=320", "--json", "-q"];
    let answer: Value = serde_json::from_str(&place.ok(&arguments)).unwrap();
    let row = &answer["rows"][0];
    let by_seed: Vec<f64> = row["by_seed"].as_array().unwrap().iter().map(|value| value.as_f64().unwrap()).collect();
    assert!(by_seed.len() == 2 && by_seed[0] != by_seed[1], "{row}");
    assert!((row["here"].as_f64().unwrap() - (by_seed[0] + by_seed[1]) / 2.0).abs() < 1e-12, "{row}");
    assert!(row["deviation"].as_f64().unwrap() > 0.0 && answer["seeds"] == 2 && answer["seed"] == 42, "{answer}");
    let text = place.ok(&["lab", "learning-rate", "--epochs", "1", "--seeds", "2", "--set", "data.first=320", "-q"]);
    assert!(text.contains(" \u{b1} ") && text.contains("Seeds 42 to 43: means"), "{text}");
}
