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
    assert_eq!(run.stdout.lines().count(), 6, "{}", run.stdout);
    let list: Value = serde_json::from_str(&place.ok(&["data", "list", "--json"])).unwrap();
    assert_eq!(list.as_array().unwrap().len(), 5);
    assert_eq!(place.ok(&["data", "list", "--jsonl"]).lines().count(), 5);
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

/// A PNG of one colour.
fn png(width: u32, height: u32, colour: impl Fn(u32, u32) -> [u8; 3]) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    let image = image::RgbImage::from_fn(width, height, |x, y| image::Rgb(colour(x, y)));
    image.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    bytes.into_inner()
}

const LAYERS: &str = "scale = 255\n[[layer]]\ntype = \"flatten\"\n[[layer]]\ntype = \"dense\"\nunits = UNITS\nactivation = \
                      \"softmax\"\n[train]\nloss = \"sparse_categorical_crossentropy\"\noptimizer = \"adam\"\nepochs = 60\nbatch = 4\n";

#[test]
fn folders_of_images_are_classes_to_learn() {
    let place = Place::new();
    for i in 0..12u8 {
        place.write(&format!("photos/train/sky/{i}.png"), png(6, 4, |_, _| [10, 20, 200 + i]));
        place.write(&format!("photos/train/grass/{i}.png"), png(6, 4, |_, _| [20, 200 + i, 30]));
    }
    place.write("photos/test/sky/a.png", png(6, 4, |_, _| [0, 0, 255]));
    place.write("photos/test/grass/b.png", png(6, 4, |_, _| [0, 255, 0]));
    let text = format!("[data]\nsource = \"folder\"\n{}", LAYERS.replace("UNITS", "2"));
    place.write("net.toml", &text);
    let result: Value = serde_json::from_str(&place.ok(&["train", "net.toml", "--data", "photos", "--json"])).unwrap();
    assert_eq!(
        (result["params"]["total"].as_u64(), result["test"]["accuracy"].as_f64()),
        (Some(72 * 2 + 2), Some(1.0))
    );
    let data = std::fs::read_to_string(place.path().join("runs/0001-net/data.json")).unwrap();
    let data: Value = serde_json::from_str(&data).unwrap();
    assert_eq!((data["files"].as_array().unwrap().len(), &data["files"][0]["name"]), (26, &"grass".into()));
    let predicted = place.ok(&["predict", "runs/0001-net", "photos/test/sky/a.png"]);
    assert!(predicted.contains("\tsky 0."), "{predicted}");
    // The recipe can name the folder itself.
    place.write("own.toml", text.replace("scale", "files.train = [\"photos/train\"]\nscale"));
    assert!(place.ok(&["train", "own.toml", "--dry-run"]).contains("Samples: 24 to train"));
    place.fails(&["train", "net.toml"], 2, &["source = \"folder\": which one? Give --data DIR"]);
}

#[test]
fn cifar_is_read_from_batches_and_from_sheets() {
    let place = Place::new();
    let tile = |x: u32, y: u32| [(x / 32 * 20) as u8, (y % 32) as u8, (x % 32) as u8];
    for name in ["train_00.png", "train_01.png", "test_00.png"] {
        place.write(&format!("sheets/{name}"), png(320, 64, tile));
    }
    // The same images, colour by colour.
    let record = |i: u32| {
        let plane = |colour: usize| (0..1024).map(move |p| tile(i % 10 * 32 + p % 32, p / 32)[colour]);
        std::iter::once((i % 10) as u8).chain((0..3).flat_map(plane)).collect::<Vec<u8>>()
    };
    for batch in 1..=5 {
        let records = (0..8).map(|i| record((batch - 1) * 8 + i)).collect::<Vec<_>>().concat();
        place.write(&format!("all/cifar-10-batches-bin/data_batch_{batch}.bin"), records);
    }
    place.write("all/cifar-10-batches-bin/test_batch.bin", (0..20).map(record).collect::<Vec<_>>().concat());
    place.write("net.toml", format!("[data]\nsource = \"cifar10\"\n{}", LAYERS.replace("UNITS", "10")));
    let hash = |data: &str| {
        let result = place.ok(&["train", "net.toml", "--data", data, "--epochs", "1", "--json"]);
        serde_json::from_str::<Value>(&result).unwrap()["weights_sha256"].clone()
    };
    assert_eq!(hash("sheets"), hash("all"));
    let hints = ["cifar-10-binary.tar.gz", "cifar-10-batches-bin"];
    place.fails(&["data", "fetch", "cifar10"], 1, &hints);
    place.fails(&["train", "net.toml"], 3, &hints);
    place.fails(&["data", "verify", "cifar10", "--data", "all"], 5, &["no hashes are known"]);
}
