//! `gradus convert`, and models of other programs in every command that takes a model.

use serde_json::Value;

use crate::Place;

fn golden(file: &str) -> String {
    format!("{}/../tests/golden/interop/{file}", env!("CARGO_MANIFEST_DIR"))
}

fn json(place: &Place, arguments: &[&str]) -> Value {
    serde_json::from_str(&place.ok(&[arguments, &["--json"]].concat())).expect("stdout is not one JSON value")
}

/// What the model makes of the golden rows, number by number.
fn predictions(place: &Place, model: &str) -> Vec<f64> {
    let value = json(place, &["predict", model, &golden("rows.npy"), "--quiet"]);
    let rows = value["predictions"].as_array().unwrap();
    let numbers = |row: &Value| match row["values"].as_array() {
        Some(values) => values.iter().map(|x| x.as_f64().unwrap()).collect::<Vec<_>>(),
        None => vec![row["index"].as_f64().unwrap(), row["probability"].as_f64().unwrap()],
    };
    rows.iter().flat_map(numbers).collect()
}

#[test]
fn every_form_predicts_the_same() {
    let place = Place::new();
    for (model, recipe) in [("keras-chain.keras", true), ("keras2-skip.h5", false)] {
        let wanted = predictions(&place, &golden(model));
        assert_eq!(wanted.len(), 8);
        for (name, form) in [("a.keras", "keras"), ("b.h5", "h5"), ("c.safetensors", "gradus")] {
            let done = json(&place, &["convert", &golden(model), name]);
            assert_eq!((done["origin"].as_str(), done["format"].as_str()), (Some("Keras"), Some(form)));
            assert_eq!(predictions(&place, name), wanted, "{model} as {name}");
        }
        // Weights alone need layers: those of the recipe in gradus' own file, which is text.
        if recipe {
            let text = std::fs::read(place.path().join("c.safetensors")).unwrap();
            let header =
                String::from_utf8_lossy(&text[8..8 + u64::from_le_bytes(text[..8].try_into().unwrap()) as usize])
                    .into_owned();
            let header: Value = serde_json::from_str(header.trim_end()).unwrap();
            let layers = header["__metadata__"]["gradus.model"]
                .as_str()
                .unwrap()
                .replace("source = \"unknown\"", "source = \"digits\"");
            // The bundled digits are 8x8; the layers take rows of six.
            let layers = layers.replace("source = \"digits\"", "source = \"csv\"\nfiles.train = [\"rows.csv\"]");
            place.write("rows.csv", "1,2,3,4,5,6,0\n6,5,4,3,2,1,1\n");
            let layers = place.write("layers.toml", layers);
            for (name, form) in [("d.weights.h5", "weights.h5"), ("e.npz", "npz"), ("f.safetensors", "torch")] {
                place.ok(&["convert", "a.keras", name, "--to", form]);
                place.fails(
                    &["predict", name, &golden("rows.npy")],
                    2,
                    &["the file holds weights and no layers", "--recipe"],
                );
                place.ok(&["convert", name, "back.safetensors", "--recipe", &layers]);
                assert_eq!(predictions(&place, "back.safetensors"), wanted, "{name}");
            }
        }
    }
}

#[test]
fn a_trained_model_goes_to_keras_and_back() {
    let place = Place::new();
    let trained = json(&place, &["train", "digits", "--epochs", "1"]);
    let accuracy = trained["test"]["accuracy"].as_f64().unwrap();
    place.ok(&["convert", "runs/0001-digits", "m.keras"]);
    let lost = place.run(&["eval", "m.keras"]);
    assert_eq!(lost.code, 2);
    assert!(
        lost.stderr.contains("the model's file does not say what data it takes; add --set data.source="),
        "{}",
        lost.stderr
    );
    let told = ["--set", "data.source=digits", "--set", "data.split.test=last:0.2"];
    let split = json(&place, &[&["eval", "runs/0001-digits"][..], &[]].concat());
    assert_eq!(split["accuracy"].as_f64().unwrap(), accuracy);
    let run = place.run(&[&["eval", "m.keras", "--json"][..], &told].concat());
    assert!(run.code == 0, "{}", run.stderr);
    place.fails(
        &["eval", "m.keras", "--set", "layer.1.units=3"],
        2,
        &["--set layer.1.units: the layers of m.keras are trained"],
    );
    place.ok(&["convert", "m.keras", "known.safetensors", "--set", "data.source=digits", "--set", "data.scale=16"]);
    assert!(place.ok(&["summary", "known.safetensors"]).contains("Total params: 4,810"));
}

#[test]
fn a_training_goes_on_from_a_run_and_from_its_file_for_keras_alike() {
    let place = Place::new();
    place.ok(&["train", "digits", "--epochs", "1", "--quiet"]);
    place.ok(&["convert", "runs/0001-digits", "m.keras"]);
    let data = ["source=digits", "scale=16", "split.test=stratified:0.2", "split.val=stratified:0.1"];
    let data: Vec<String> = data.iter().flat_map(|pair| ["--set".to_owned(), format!("data.{pair}")]).collect();
    let further = |model: &str, more: &[&str]| {
        let data = if model.ends_with("keras") { data.as_slice() } else { &[] };
        let data: Vec<&str> = data.iter().map(String::as_str).collect();
        json(&place, &[&["train", model, "--epochs", "1", "--seed", "42"], data.as_slice(), more].concat())
    };
    let hash = |done: &Value| done["weights_sha256"].as_str().unwrap().to_owned();
    let run = further("runs/0001-digits", &[]);
    assert_eq!((run["recipe"].as_str(), run["steps"].as_u64()), (Some("digits-further"), Some(41)));
    let config = std::fs::read_to_string(place.path().join("runs/0002-digits-further/config.toml")).unwrap();
    assert!(config.contains("drop = 0\noptimizer = true\n"), "{config}");
    assert_eq!(hash(&further("m.keras", &[])), hash(&run));
    let fresh = further("m.keras", &["--set", "base.optimizer=false"]);
    assert_ne!(hash(&fresh), hash(&run));
    // The run that went on can be gone on with, and so can what comes of it.
    further("runs/0002-digits-further", &[]);
    place.fails(
        &["train", "runs/0001-digits", "--set", "optimizer.amsgrad=true"],
        2,
        &["does not go on here: adam needs dense.kernel/largest_v, which is not there; begin afresh with --set base"],
    );
    place.fails(&["train", "runs/0001-digits", "--base", "m.keras"], 2, &["a model is named already"]);
}

#[test]
fn a_model_of_keras_is_a_base_for_transfer() {
    let place = Place::new();
    place.ok(&["train", "digits", "--epochs", "1", "--quiet"]);
    place.ok(&["convert", "runs/0001-digits", "base.h5"]);
    let arguments =
        ["transfer", "base.h5", "--new-head", "2", "--labels", "parity", "--freeze", "..-1", "--epochs", "1"];
    let data = ["--set", "data.source=digits", "--set", "data.scale=16", "--set", "data.split.test=last:0.2"];
    let done = json(&place, &[&arguments[..], &data].concat());
    assert!(done["epochs"].is_number() || done.is_object(), "{done}");
}

#[test]
fn complaints_say_what_a_conversion_lacks() {
    let place = Place::new();
    let model = golden("keras-chain.keras");
    place.fails(
        &["convert", &model, "x.bin"],
        2,
        &["the ending of x.bin does not tell its form", "gradus, keras, h5, weights.h5, npz, torch"],
    );
    place.fails(&["convert", &model, "x.h5", "--to", "onnx"], 2, &["unknown format \"onnx\""]);
    place.fails(&["convert", "nothing.h5", "x.keras"], 3, &["nothing.h5: there is no such file or folder"]);
    place.fails(
        &["convert", &golden("torch-whole.pt"), "x.safetensors", "--recipe", "digits"],
        3,
        &["torch.nn.modules.container.Sequential", "nothing of it was run"],
    );
    let text = place.write("model.h5", "this is no HDF5");
    place.fails(&["summary", &text], 3, &["no model file: it is neither safetensors nor HDF5"]);
    place.fails(&["convert", &golden("torch.pt"), "x.keras", "--recipe", "digits"], 3, &["nothing in it fits layer"]);
}

/// As Keras prints them; `tests/golden/summaries.py` made the files, and the first is a document's.
#[test]
fn summaries_look_as_keras_prints_them() {
    let place = Place::new();
    let chain = |style: &str| place.ok(&["summary", "fashion-bn", "--style", style]);
    let same = |ours: &str, theirs: &str| assert_eq!(ours.trim_end(), theirs.trim_end(), "\n{ours}\n{theirs}");
    same(&chain("tf2.5").replace("fashion-bn", "sequential"), include_str!("summaries/chain.tf2.5.txt"));
    same(&chain("tf2.13"), include_str!("summaries/chain.tf2.13.txt"));
    same(&chain("keras3"), include_str!("summaries/chain.keras3.txt"));
    let layer =
        |kind: &str, name: &str, rest: &str| format!("[[layer]]\ntype = \"{kind}\"\nname = \"{name}\"\n{rest}\n");
    let text = [
        "name = \"skip\"\n[data]\nsource = \"csv\"\nfiles.train = [\"rows.csv\"]\n".to_string(),
        layer("dense", "first_layer_of_this_model", "units = 6\nactivation = \"tanh\""),
        layer("dense", "second", "units = 6\ntrainable = false"),
        layer("add", "sum", "inputs = [\"input\", \"second\"]"),
        layer("concatenate", "both", "inputs = [\"sum\", \"first_layer_of_this_model\"]"),
        layer("dense", "out", "units = 2"),
        "[optimizer]\nkind = \"sgd\"\n[train]\nloss = \"mse\"\n".to_string(),
    ];
    place.write("rows.csv", "1,2,3,4,5,6,0.5\n6,5,4,3,2,1,0.25\n");
    let recipe = place.write("skip.toml", text.concat());
    same(&place.ok(&["summary", &recipe, "--style", "tf2.13"]), include_str!("summaries/graph.tf2.13.txt"));
    same(&place.ok(&["summary", &recipe, "--style", "keras3"]), include_str!("summaries/graph.keras3.txt"));
    let older = place.ok(&["summary", &recipe, "--style", "tf2.5"]);
    assert!(
        older.contains(
            "\n                                                                 second[0][0]                     \n"
        ),
        "{older}"
    );
}
