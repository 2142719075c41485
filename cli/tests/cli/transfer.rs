//! `gradus transfer`, and recipes that start from a trained model.

use gradus_nn::models::Model;
use gradus_nn::spec::Recipe;
use serde_json::Value;

use crate::Place;
use crate::train::{Trained, trained};

/// A place of its own with a copy of the trained digits under `runs`.
fn place() -> Place {
    let Trained { place: from, .. } = trained();
    let place = Place::new();
    let model = std::fs::read(from.path().join(trained().run_dir()).join("model.safetensors")).unwrap();
    place.write("runs/0007-digits/model.safetensors", model);
    place
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).expect("stdout is not one JSON object")
}

#[test]
fn a_new_head_is_trained_first_alone_and_then_with_the_rest() {
    let place = place();
    let options = ["--new-head", "2", "--labels", "parity", "--freeze", "..-1", "--unfreeze-after", "2", "--json"];
    let result = json(&place.ok(&[&["transfer", "runs/0007-digits", "--epochs", "4"], &options[..]].concat()));
    assert_eq!(result["recipe"], "digits-transfer");
    // After the second epoch all is trained.
    assert_eq!(result["params"]["total"], 64 * 64 + 64 + 64 * 2 + 2);
    assert_eq!(result["params"]["trainable"], result["params"]["total"]);
    let (frozen, whole) = (&result["saving"]["frozen"], &result["saving"]["whole"]);
    assert_eq!(frozen["multiply_adds"], 64 * 64 + 2 * 128);
    assert_eq!(whole["multiply_adds"], 2 * 64 * 64 + 3 * 128);
    assert!(frozen["kept_bytes"].as_u64().unwrap() < whole["kept_bytes"].as_u64().unwrap(), "{result}");
    assert!(result["test"]["accuracy"].as_f64().unwrap() > 0.7, "{result}");

    let run = result["run_dir"].as_str().unwrap();
    assert_eq!(json(&place.ok(&["eval", run, "--json"]))["loss"], result["test"]["loss"]);
    let config = format!("{run}/config.toml");
    let again = json(&place.ok(&["train", &config, "--json"]));
    assert_eq!(again["weights_sha256"], result["weights_sha256"], "the saved recipe trains the same weights");
    let newest = json(&place.ok(&[&["transfer", "digits", "--epochs", "4"], &options[..]].concat()));
    assert_eq!(newest["weights_sha256"], result["weights_sha256"], "a recipe's name stands for its newest run");
}

#[test]
fn results_of_frozen_layers_are_kept_until_they_are_trained_and_change_nothing() {
    let place = place();
    let arguments = ["transfer", "digits", "--new-head", "2", "--labels", "parity", "--epochs", "5"];
    let options = ["--freeze", "..-1", "--unfreeze-after", "3", "--json"];
    let train = |more: &[&str]| json(&place.ok(&[&arguments[..], &options, more].concat()));
    let kept = train(&[]);
    let frozen = &kept["frozen"][0];
    assert_eq!(
        (&frozen["epochs"], &frozen["layer"]),
        (&serde_json::json!([1, 3]), &serde_json::json!("dense")),
        "{kept}"
    );
    assert_eq!((frozen["numbers_per_sample"].as_u64(), frozen["kept"].as_bool()), (Some(64), Some(true)));
    assert_eq!(frozen["multiply_adds"], serde_json::json!([64 * 64 + 2 * 128, 2 * 128]));
    assert_eq!(frozen["bytes"].as_u64().unwrap(), frozen["samples"].as_u64().unwrap() * 64 * 4);
    assert_eq!(kept["frozen"].as_array().unwrap().len(), 1, "nothing is kept once all is trained: {kept}");
    let page =
        std::fs::read_to_string(place.path().join(kept["run_dir"].as_str().unwrap()).join("report.html")).unwrap();
    assert!(page.contains("frozen up to dense: computed once, 64 numbers of "), "the page does not tell");
    let plain = train(&["--feature-cache", "off"]);
    assert!(plain.get("frozen").is_none(), "{plain}");
    for number in ["weights_sha256", "test"] {
        assert_eq!(kept[number], plain[number]);
    }
    let small = train(&["--feature-cache", "1K"]);
    assert_eq!(
        (small["frozen"][0]["kept"].as_bool(), &small["weights_sha256"]),
        (Some(false), &kept["weights_sha256"])
    );
    let wrong = [&arguments[..], &["--feature-cache", "lots"]].concat();
    place.fails(&wrong, 2, &["--feature-cache", "expected a size such as 512M or 2G, or off"]);
}

/// A model file whose batch norm has averages that were folded away.
fn folded(place: &Place) {
    let text = "name = \"folded\"\n[data]\nsource = \"digits\"\nscale = 16\n[[layer]]\ntype = \"flatten\"\n[[layer]]\ntype = \"dense\"\n\
                units = 32\nbias = false\n[[layer]]\ntype = \"batch_norm\"\n[[layer]]\ntype = \"activation\"\nfunction = \"relu\"\n\
                [[layer]]\ntype = \"dense\"\nunits = 10\nactivation = \"softmax\"\n[optimizer]\nkind = \"adam\"\n[train]\n\
                loss = \"sparse_categorical_crossentropy\"\nmetrics = [\"accuracy\"]\n";
    let model = Model::build(&Recipe::parse(text, "folded.toml").unwrap(), &[8, 8]).unwrap();
    let variance = model.params().iter().find(|param| param.name().ends_with("moving_variance")).unwrap();
    variance.set(variance.value().mul_scalar(1.0 - 1e-3).unwrap()).unwrap();
    model.save(place.path().join("folded.safetensors"), Default::default()).unwrap();
}

#[test]
fn a_calibrated_base_is_calibrated_once_and_a_resumed_run_ends_as_one_without_a_break() {
    let place = place();
    folded(&place);
    let transfer = |calibrate: &str, epochs: &str| {
        let options = ["--new-head", "10", "--freeze", "..-1", "--unfreeze-after", "1", "--json", "--epochs", epochs];
        let calibrate = if calibrate.is_empty() { vec![] } else { vec!["--calibrate", calibrate] };
        json(&place.ok(&[&["transfer", "folded.safetensors"], &options[..], &calibrate].concat()))
    };
    let (plain, whole) = (transfer("", "3"), transfer("200", "3"));
    assert_ne!(plain["weights_sha256"], whole["weights_sha256"]);
    // Frozen, both are the same function up to rounding.
    let loss = |run: &Value| run["history"][0]["loss"].as_f64().unwrap();
    assert!((loss(&plain) / loss(&whole) - 1.0).abs() < 1e-4, "{} {}", loss(&plain), loss(&whole));
    for epochs in ["1", "2"] {
        let run = transfer("200", epochs)["run_dir"].as_str().unwrap().to_owned();
        let resumed = json(&place.ok(&["train", "--resume", &run, "--epochs", "3", "--json"]));
        assert_eq!(resumed["weights_sha256"], whole["weights_sha256"], "resumed after epoch {epochs}");
    }
}

#[test]
fn frozen_layers_stay_as_they_were() {
    let place = place();
    let arguments = ["transfer", "digits", "--new-head", "1", "--classes", "3,8", "--freeze", "..-1", "--json"];
    let result = json(&place.ok(&[&arguments[..], &["--epochs", "2"]].concat()));
    assert_eq!(result["params"]["trainable"], 65);
    let summary = place.ok(&["summary", result["run_dir"].as_str().unwrap()]);
    assert!(summary.contains("Trainable params: 65\n"), "{summary}");
    let config = std::fs::read_to_string(place.path().join(result["run_dir"].as_str().unwrap()).join("config.toml"));
    let config = config.unwrap();
    for line in ["loss = \"binary_crossentropy\"", "classes = [3, 8]", "weights = \"base\"", "freeze = \"..-1\""] {
        assert!(config.lines().any(|other| other == line), "{line} is not in {config}");
    }
}

#[test]
fn a_recipe_on_a_base_shows_its_layers_without_a_trained_one() {
    let place = Place::new();
    for (recipe, total, trainable) in
        [("mnist-parity-transfer", "265,802", "202"), ("sandals-shirts-transfer", "275,801", "51")]
    {
        let text = place.ok(&["summary", recipe]);
        for line in [format!("Total params: {total}"), format!("Trainable params: {trainable}")] {
            assert!(text.lines().any(|other| other == line), "{line} is not in {text}");
        }
    }
}

#[test]
fn what_does_not_fit_is_told() {
    let place = place();
    let transfer = |options: &[&str], code, texts: &[&str]| {
        place.fails(&[&["transfer", "runs/0007-digits"], options].concat(), code, texts);
    };
    let ten = "tells 2 classes apart, and the data have 10: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9";
    transfer(&["--new-head", "2"], 2, &[ten, "labels = \"parity\""]);
    transfer(&["--new-head", "1"], 2, &["gives [1], which", ten]);
    transfer(
        &["--new-head", "10", "--freeze", "conv*"],
        2,
        &["[base]: freeze: conv* is none of the 4 layers: flatten, dense, dropout, dense_1"],
    );
    transfer(&["--new-head", "10", "--drop", "4"], 2, &["drop = 4 of the 4 layers", "none would be left"]);
    transfer(&["--new-head", "10", "--drop", "dens"], 2, &["drop = \"dens\"", "flatten, dense, dropout, dense_1"]);
    transfer(&["--new-head", "10", "--unfreeze-after", "2"], 2, &["nothing is frozen"]);
    transfer(&["--new-head", "10", "--freeze", ".."], 2, &["every weight is frozen"]);
    transfer(
        &["--new-head", "10", "--calibrate", "0"],
        2,
        &["calibrate = 0", "how many training samples", "1 or more"],
    );
    transfer(&["--new-head", "10", "--calibrate", "9"], 2, &["none of the layers from the base is a batch norm"]);
    folded(&place);
    let few = ["transfer", "folded.safetensors", "--new-head", "10", "--calibrate", "9999"];
    place.fails(&few, 2, &["[base]: calibrate = 9999: there are only", "samples to train on; ask for fewer"]);
    transfer(&["--new-head", "0"], 2, &["--new-head"]);
    transfer(&["--new-head", "2", "--labels", "odd"], 2, &["must be parity"]);
    transfer(&["--new-head", "2", "--classes", "0,10"], 2, &["there is no class 10; there are 0 to 9"]);
    place.fails(&["transfer", "mnist", "--new-head", "2"], 3, &["gradus train mnist"]);
    place.fails(&["transfer", "nothing", "--new-head", "2"], 3, &["no such run folder"]);
    place.fails(&["train", "mnist-parity-transfer"], 3, &["no run of this recipe in runs", "gradus train mnist"]);
    place.fails(&["train", "digits", "--base", "runs/0007-digits"], 2, &["the recipe has no [base]"]);
    // The digits are 8x8 and not 28x28.
    let options = ["--base", "runs/0007-digits"];
    place.fails(
        &[&["train", "sandals-shirts-transfer"], &options[..]].concat(),
        2,
        &["[64, 64] in the base", "[8, 8]"],
    );
}
