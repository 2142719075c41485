//! `gradus train` and `gradus eval`: what they print, what they leave behind, how they end.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::OnceLock;

use serde_json::Value;

use crate::{Place, Run};

/// A network that was trained once for all tests that only look at it.
pub struct Trained {
    pub place: Place,
    /// What `--json` printed.
    pub result: Value,
}

pub fn trained() -> &'static Trained {
    static TRAINED: OnceLock<Trained> = OnceLock::new();
    TRAINED.get_or_init(|| {
        let place = Place::new();
        let result = place.ok(&["train", "digits", "--epochs", "12", "--json"]);
        Trained { result: serde_json::from_str(&result).expect("stdout is not one JSON object"), place }
    })
}

impl Trained {
    pub fn run_dir(&self) -> &str {
        self.result["run_dir"].as_str().unwrap()
    }
}

fn keys(value: &Value) -> Vec<&str> {
    let mut keys: Vec<&str> = value.as_object().expect("no object").keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

#[test]
fn json_is_one_object_with_the_promised_keys() {
    let result = &trained().result;
    let promised = [
        "confusion",
        "epochs",
        "history",
        "params",
        "peak_memory_bytes",
        "peak_tensor_bytes",
        "recipe",
        "run_dir",
        "samples_per_second",
        "seconds",
        "steps",
        "test",
        "weights_sha256",
    ];
    assert_eq!(keys(result), promised);
    assert_eq!(keys(&result["params"]), ["non_trainable", "total", "trainable"]);
    assert_eq!(keys(&result["test"]), ["accuracy", "loss"]);
    let history = result["history"].as_array().unwrap();
    assert_eq!((history.len(), &result["epochs"], &result["recipe"]), (12, &Value::from(12), &Value::from("digits")));
    for (i, epoch) in history.iter().enumerate() {
        assert_eq!(keys(epoch), ["accuracy", "epoch", "loss", "seconds", "val_accuracy", "val_loss"]);
        assert_eq!(epoch["epoch"], i + 1);
    }
    assert_eq!(result["params"]["total"], 64 * 64 + 64 + 64 * 10 + 10);
    assert_eq!(result["weights_sha256"].as_str().unwrap().len(), 64);
    let (process, tensors) = (result["peak_memory_bytes"].as_u64(), result["peak_tensor_bytes"].as_u64().unwrap());
    // The weights and their gradients at least.
    assert!(tensors > 2 * 4 * 4810 && process.is_none_or(|process| process > tensors), "{process:?} {tensors}");
    let accuracy = result["test"]["accuracy"].as_f64().unwrap();
    assert!(accuracy > 0.9, "digits after 12 epochs: {accuracy}");
}

#[test]
fn the_run_folder_holds_everything() {
    let trained = trained();
    let folder = trained.place.path().join(trained.run_dir());
    let read =
        |name: &str| std::fs::read_to_string(folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert!(read("config.toml").contains("learning_rate = 0.001"), "{}", read("config.toml"));
    assert_eq!(read("history.csv").lines().count(), 13);
    assert_eq!(read("history.csv").lines().next(), Some("epoch,loss,accuracy,val_loss,val_accuracy,seconds"));
    let log: Vec<Value> = read("log.jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((log.len(), &log[0]["event"], &log[13]["event"]), (14, &Value::from("start"), &Value::from("end")));
    let environment: Value = serde_json::from_str(&read("env.json")).unwrap();
    assert!(environment["threads"].as_u64().unwrap() > 0 && environment["isa"].is_string());
    let data: Value = serde_json::from_str(&read("data.json")).unwrap();
    assert_eq!((&data["source"], data["files"][0]["sha256"].as_str().map(str::len)), (&"digits".into(), Some(64)));
    assert!(read("curves.svg").ends_with("</svg>\n"));
    assert_eq!(serde_json::from_str::<Value>(&read("result.json")).unwrap(), trained.result);
    let mut names: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    let expected = [
        "ckpt",
        "config.toml",
        "confusion.svg",
        "curves.png",
        "curves.svg",
        "data.json",
        "env.json",
        "history.csv",
        "log.jsonl",
        "model.safetensors",
        "report.html",
        "result.json",
        "samples.svg",
        "tb",
    ];
    assert_eq!(names, expected, "nothing temporary is left");
}

#[test]
fn eval_repeats_the_test_numbers_exactly() {
    let trained = trained();
    let again: Value = serde_json::from_str(&trained.place.ok(&["eval", trained.run_dir(), "--json"])).unwrap();
    for name in ["loss", "accuracy"] {
        assert_eq!(again[name], trained.result["test"][name], "{name}");
    }
    let val = trained.place.ok(&["eval", trained.run_dir(), "--split", "val", "--json"]);
    let last = &trained.result["history"][11];
    assert_eq!(serde_json::from_str::<Value>(&val).unwrap()["loss"], last["val_loss"]);
    let text = trained.place.ok(&["eval", trained.run_dir()]);
    assert!(
        text.starts_with("test  loss ") && text.lines().nth(2).unwrap().ends_with("recall      f1  support"),
        "{text}"
    );
}

#[test]
fn the_confusion_matrix_agrees_with_the_accuracy() {
    let trained = trained();
    let confusion = &trained.result["confusion"];
    assert_eq!(keys(confusion), ["classes", "macro_average", "matrix", "per_class", "weighted_average"]);
    assert_eq!(keys(&confusion["per_class"][9]), ["class", "f1", "precision", "recall", "support"]);
    let count = |row: usize, column: usize| confusion["matrix"][row][column].as_u64().unwrap();
    let right: u64 = (0..10).map(|class| count(class, class)).sum();
    let all: u64 = (0..100).map(|at| count(at / 10, at % 10)).sum();
    assert_eq!(all, confusion["macro_average"]["support"].as_u64().unwrap());
    let accuracy = trained.result["test"]["accuracy"].as_f64().unwrap();
    assert!((right as f64 / all as f64 - accuracy).abs() < 1e-12, "{right} of {all}, {accuracy}");
    let again: Value = serde_json::from_str(&trained.place.ok(&["eval", trained.run_dir(), "--json"])).unwrap();
    assert_eq!(&again["confusion"], confusion);
    let folder = trained.place.path().join(trained.run_dir());
    let svg = std::fs::read_to_string(folder.join("confusion.svg")).unwrap();
    assert!(svg.matches("<rect ").count() == 100 && svg.ends_with("</svg>\n"), "{svg}");
    // A model of numbers has no classes to confuse.
    let place = Place::new();
    place.write("line.csv", "x,y\n0,0\n1,2\n2,4\n3,6\n");
    place.write(
        "line.toml",
        "[data]\nsource = \"csv\"\nfiles.train = [\"line.csv\"]\nfiles.test = [\"line.csv\"]\n[[layer]]\ntype = \"dense\"\n\
         units = 1\n[optimizer]\nkind = \"sgd\"\n[train]\nloss = \"mse\"\nepochs = 1\n",
    );
    let line: Value = serde_json::from_str(&place.ok(&["train", "line.toml", "--json"])).unwrap();
    assert!(line["confusion"].is_null() && line["test"]["loss"].is_number(), "{line}");
}

#[test]
fn a_model_file_moved_elsewhere_still_loads() {
    let trained = trained();
    let elsewhere = Place::new();
    let file = elsewhere.path().join("my model.safetensors");
    std::fs::copy(trained.place.path().join(trained.run_dir()).join("model.safetensors"), &file).unwrap();
    let again: Value = serde_json::from_str(&elsewhere.ok(&["eval", "my model.safetensors", "--json"])).unwrap();
    assert_eq!(again["accuracy"], trained.result["test"]["accuracy"]);
    assert!(elsewhere.ok(&["summary", "my model.safetensors"]).contains("Total params: 4,810"));
}

#[test]
fn the_saved_recipe_trains_the_same_weights() {
    let trained = trained();
    let config = PathBuf::from(trained.run_dir()).join("config.toml");
    let again = trained.place.ok(&["train", config.to_str().unwrap(), "--json", "--out", "again"]);
    let again: Value = serde_json::from_str(&again).unwrap();
    assert_eq!(again["weights_sha256"], trained.result["weights_sha256"]);
    assert_eq!(again["run_dir"], "again/0001-digits");
}

#[test]
fn weights_depend_on_the_seed_and_not_on_threads() {
    let place = Place::new();
    let hash = |options: &[&str]| {
        let arguments = [&["train", "digits", "--epochs", "2", "--json", "-q"], options].concat();
        let result: Value = serde_json::from_str(&place.ok(&arguments)).unwrap();
        result["weights_sha256"].as_str().unwrap().to_owned()
    };
    let one = hash(&["--threads", "1"]);
    assert_eq!(one, hash(&["--threads", "2"]));
    assert_eq!(one, hash(&["--threads", "3"]));
    assert_ne!(one, hash(&["--seed", "7"]));
}

#[test]
fn results_go_to_stdout_and_talk_to_stderr() {
    let place = Place::new();
    let run = place.run(&["train", "digits", "--epochs", "2"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert_eq!(run.stdout.lines().last(), Some("runs/0001-digits"));
    assert!(run.stdout.contains("test  loss "), "{}", run.stdout);
    let epochs: Vec<&str> = run.stderr.lines().filter(|line| line.starts_with("epoch ")).collect();
    assert_eq!(epochs.len(), 2, "one line for each epoch in a pipe: {}", run.stderr);
    assert!(epochs[1].starts_with("epoch 2/2  loss ") && epochs[1].contains("  val_accuracy "), "{}", epochs[1]);
    assert!(!run.stdout.contains('\x1b') && !run.stderr.contains('\x1b'), "colours in a pipe");
    let quiet = place.run(&["train", "digits", "--epochs", "1", "-q"]);
    assert_eq!((quiet.code, quiet.stderr.as_str()), (0, ""));
    assert!(quiet.stdout.ends_with("runs/0002-digits\n"), "{}", quiet.stdout);
}

#[test]
fn jsonl_tells_every_epoch() {
    let lines = Place::new().ok(&["train", "digits", "--epochs", "3", "--jsonl"]);
    let events: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let names: Vec<&str> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
    assert_eq!(names, ["start", "epoch", "epoch", "epoch", "end"]);
    assert_eq!(events[2]["numbers"]["epoch"], 2);
    assert_eq!(events[4]["result"]["epochs"], 3);
}

#[test]
fn options_change_the_recipe() {
    let place = Place::new();
    let options = ["--epochs", "1", "--batch", "64", "--lr", "0.5", "--seed", "9", "--set", "layer.2.units=16"];
    place.ok(&[&["train", "digits", "-q"], &options[..]].concat());
    let config = std::fs::read_to_string(place.path().join("runs/0001-digits/config.toml")).unwrap();
    for line in ["epochs = 1", "batch = 64", "learning_rate = 0.5", "seed = 9", "units = 16"] {
        assert!(config.lines().any(|other| other == line), "{line} is not in {config}");
    }
}

#[test]
fn a_dry_run_leaves_nothing_behind() {
    let place = Place::new();
    let text = place.ok(&["train", "digits", "--dry-run"]);
    assert!(text.contains("Total params: 4,810") && text.contains("steps of 32 samples"), "{text}");
    assert!(!place.path().join("runs").exists());
    let value: Value = serde_json::from_str(&place.ok(&["train", "digits", "--dry-run", "--json"])).unwrap();
    let samples = &value["samples"];
    let sum: u64 = ["train", "val", "test"].iter().map(|part| samples[part].as_u64().unwrap()).sum();
    assert_eq!(sum, 1797);
}

#[test]
fn an_output_folder_that_cannot_be_written_ends_with_1() {
    let place = Place::new();
    place.write("taken", "a file");
    place.fails(&["train", "digits", "--out", "taken"], 1, &["--out taken: the output folder cannot be written"]);
}

/// Starts an endless run, waits for its second epoch, sends a signal, and returns how it ended.
#[cfg(unix)]
fn interrupt(place: &Place, signal: &str) -> Run {
    let mut command = place.command(&["train", "digits", "--epochs", "1000000", "--jsonl"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    // The start, and two epochs.
    for _ in 0..3 {
        lines.next().expect("the run ended early").unwrap();
    }
    let killed = std::process::Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    // The run may still print epochs; nobody reading them must not stop it from saving.
    let reader = std::thread::spawn(move || lines.map_while(Result::ok).count());
    let output = child.wait_with_output().unwrap();
    reader.join().unwrap();
    Run::of(output)
}

#[cfg(unix)]
#[test]
fn a_signal_leaves_a_model_that_loads() {
    for (signal, code) in [("-INT", 130), ("-TERM", 143)] {
        let place = Place::new();
        let run = interrupt(&place, signal);
        assert_eq!(run.code, code, "{}", run.stderr);
        assert!(run.stderr.contains("gradus train --resume runs/0001-digits;"), "{}", run.stderr);
        let measured: Value = serde_json::from_str(&place.ok(&["eval", "runs/0001-digits", "--json"])).unwrap();
        assert!(measured["accuracy"].as_f64().unwrap() > 0.3, "{measured}");
    }
}
