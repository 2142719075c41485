//! `gradus summary`, `list` and `device`.

use serde_json::Value;

use crate::Place;

fn json(place: &Place, arguments: &[&str]) -> Value {
    serde_json::from_str(&place.ok(&[arguments, &["--json"]].concat())).expect("stdout is not one JSON value")
}

#[test]
fn summaries_count_what_the_labs_count() {
    let place = Place::new();
    let text = place.ok(&["summary", "fashion-bn"]);
    for line in ["Total params: 271,346", "Trainable params: 268,978", "Non-trainable params: 2,368"] {
        assert!(text.lines().any(|other| other == line), "{line} is not in {text}");
    }
    assert!(text.contains("(None, 784)"), "{text}");
    for (recipe, total) in [("fashion-mlp", 266_610), ("mnist", 266_610), ("digits", 4_810)] {
        let summary = json(&place, &["summary", recipe]);
        assert_eq!(summary["params"]["total"], total, "{recipe}");
        let sum: u64 = summary["layers"].as_array().unwrap().iter().filter_map(|l| l["params"]["total"].as_u64()).sum();
        assert_eq!(sum, total, "{recipe}");
    }
    let narrow = json(&place, &["summary", "digits", "--set", "layer.2.units=8"]);
    assert_eq!(narrow["params"]["total"], 64 * 8 + 8 + 8 * 10 + 10);
}

#[test]
fn lists_name_what_recipes_use() {
    let place = Place::new();
    for (what, some) in [
        ("recipes", "fashion-bn"),
        ("layers", "dense"),
        ("losses", "sparse_categorical_crossentropy"),
        ("optimizers", "sgd"),
        ("schedules", "one_cycle"),
        ("regularizers", "l1_l2"),
        ("constraints", "max_norm"),
        ("inits", "he_normal"),
        ("activations", "leaky_relu"),
        ("datasets", "fashion-mnist"),
        ("metrics", "accuracy"),
    ] {
        let text = place.ok(&["list", what]);
        assert!(text.lines().any(|line| line.split_whitespace().next() == Some(some)), "{some} is not in {text}");
        let list = json(&place, &["list", what]);
        assert!(list.as_array().unwrap().iter().any(|row| row["name"] == some), "{what}");
    }
}

#[test]
fn the_device_names_its_instruction_sets() {
    let device = &json(&Place::new(), &["device"])["devices"][0];
    assert_eq!(device["name"], "cpu");
    let available = device["isa_available"].as_array().unwrap();
    assert!(available.contains(&device["isa"]), "{device}");
    let narrowed =
        Place::new().command(&["device", "--json"]).env("GRADUS_ISA", available[0].as_str().unwrap()).output();
    let narrowed: Value = serde_json::from_slice(&narrowed.unwrap().stdout).unwrap();
    assert_eq!(narrowed["devices"][0]["isa"], available[0]);
}
