//! `gradus data`, and where data is searched.

use serde_json::Value;

use crate::{Place, bundled};

fn labels() -> Vec<u8> {
    bundled("fashion-mnist/t10k-labels-idx1-ubyte.gz")
}

/// Files with the names of Fashion-MNIST; only the smallest is genuine, which is what telling the sets apart needs.
fn fill(place: &Place, folder: &str) {
    for name in ["train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz", "t10k-images-idx3-ubyte.gz"] {
        place.write(&format!("{folder}/{name}"), b"");
    }
    place.write(&format!("{folder}/t10k-labels-idx1-ubyte.gz"), labels());
}

fn found(place: &Place, options: &[&str], environment: &[(&str, &str)]) -> Value {
    let mut command = place.command(&["data", "info", "fashion-mnist", "--json"]);
    command.args(options).envs(environment.iter().copied());
    let run = crate::Run::of(command.output().unwrap());
    assert_eq!(run.code, 0, "{}", run.stderr);
    serde_json::from_str::<Value>(&run.stdout).unwrap()["found"].clone()
}

#[test]
fn places_are_searched_in_order() {
    let place = Place::new();
    let path = |name: &str| place.path().join(name).to_str().unwrap().to_owned();
    let environment = [("GRADUS_DATA", path("own")), ("XDG_CACHE_HOME", path("cache"))];
    let environment: Vec<(&str, &str)> = environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let machine = std::path::Path::new("/usr/share/datasets/fashion-mnist").is_dir();
    if !machine {
        assert_eq!(found(&place, &[], &environment), "inside the binary");
        fill(&place, "data/FashionMNIST/raw");
        assert_eq!(found(&place, &[], &environment), "torchvision");
        fill(&place, "home/.keras/datasets/fashion-mnist");
        assert_eq!(found(&place, &[], &environment), "Keras");
    }
    fill(&place, "cache/gradus/datasets/fashion-mnist");
    assert_eq!(found(&place, &[], &environment), "cache");
    fill(&place, "own/fashion-mnist");
    assert_eq!(found(&place, &[], &environment), "GRADUS_DATA");
    fill(&place, "given");
    assert_eq!(found(&place, &["--data", "given"], &environment), "--data");
}

#[test]
fn missing_data_ends_with_3_and_three_ways() {
    let place = Place::new();
    let ways = ["gradus data fetch mnist", "--data DIR or GRADUS_DATA=DIR", "torchvision.datasets.MNIST"];
    place.fails(&["data", "path", "mnist"], 3, &ways);
    place.fails(&["data", "path", "mnist", "--data", "nowhere"], 3, &["nowhere", "there is no such file or folder"]);
    fill(&place, "clothes");
    place.fails(&["data", "path", "mnist", "--data", "clothes"], 3, &["clothes holds fashion-mnist, not mnist"]);
}

#[test]
fn an_unknown_set_ends_with_2_and_the_nearest_name() {
    Place::new().fails(
        &["data", "info", "fasion-mnist"],
        2,
        &["unknown data set \"fasion-mnist\". Did you mean \"fashion-mnist\"? `gradus data list` names all"],
    );
}

#[test]
fn verify_accepts_the_bundled_copy_and_names_a_damaged_file() {
    let place = Place::new();
    let verdict: Value = serde_json::from_str(&place.ok(&["data", "verify", "digits", "--json"])).unwrap();
    assert_eq!(verdict["files"][0]["ok"], true);
    let mut damaged = bundled("digits/digits.csv.gz");
    damaged.truncate(1000);
    place.write("bad/digits.csv.gz", damaged);
    let run = place.run(&["data", "verify", "digits", "--data", "bad"]);
    assert_eq!(run.code, 5);
    assert!(run.stdout.contains("its gzip stream ends too early"), "{}", run.stdout);
    assert!(run.stderr.contains("digits.csv of digits in bad"), "{}", run.stderr);
}

#[test]
fn list_and_path_print_results_only_on_stdout() {
    let place = Place::new();
    let run = place.run(&["data", "list"]);
    assert_eq!((run.code, run.stderr.as_str()), (0, ""));
    assert_eq!(run.stdout.lines().count(), 5, "{}", run.stdout);
    let list: Value = serde_json::from_str(&place.ok(&["data", "list", "--json"])).unwrap();
    assert_eq!(list.as_array().unwrap().len(), 4);
    assert_eq!(place.ok(&["data", "list", "--jsonl"]).lines().count(), 4);
    fill(&place, "own");
    assert_eq!(place.ok(&["data", "path", "fashion-mnist", "--data", "own"]), "own\n");
}

#[test]
fn a_closed_pipe_is_no_error() {
    let place = Place::new();
    let mut child = place.command(&["completions", "bash"]);
    let mut child = child.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert_eq!(output.status.code(), Some(0));
}
