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
    place.fails(&["lab", "learning-rates"], 2, &["unknown lab \"learning-rates\". Did you mean \"learning-rate\"?"]);
}
