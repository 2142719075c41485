//! Bad recipes and bad data: every complaint says what, where, why and how to mend it.

use std::io::Write;

use crate::{Place, bundled};

const RECIPE: &str = r#"
[data]
source = "SOURCE"
files.train = FILES

[[layer]]
type = "dense"
units = 3
activation = "softmax"

[train]
loss = "sparse_categorical_crossentropy"
optimizer = "sgd"
epochs = 1
"#;

/// A place with a recipe for files of its own.
fn recipe(source: &str, files: &[&str]) -> Place {
    let place = Place::new();
    place.write("net.toml", RECIPE.replace("SOURCE", source).replace("FILES", &format!("{files:?}")));
    place
}

fn idx(sizes: &[u32], data: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, 8, u8::try_from(sizes.len()).unwrap()];
    sizes.iter().for_each(|size| bytes.extend(size.to_be_bytes()));
    bytes.extend(data);
    bytes
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

/// Training on these images and labels ends with 3 and this text.
#[track_caller]
fn images_fail(images: &[u8], labels: &[u8], texts: &[&str]) {
    let place = recipe("idx", &["images", "labels"]);
    place.write("images", images);
    place.write("labels", labels);
    place.fails(&["train", "net.toml"], 3, texts);
}

/// A dashboard that was not built in is said before anything is read or written; one that was draws on no pipe.
#[test]
fn the_dashboard_says_how_to_get_it() {
    let place = Place::new();
    if cfg!(feature = "tui") {
        let run = place.run(&["train", "digits", "--epochs", "1", "--tui"]);
        assert!(run.code == 0 && run.stderr.contains("--tui: stderr is no terminal"), "{}", run.stderr);
    } else {
        place.fails(&["train", "digits", "--tui"], 2, &["--tui: this gradus was built without", "--features tui"]);
        assert!(!place.path().join("runs").exists());
    }
}

#[test]
fn damaged_images_end_with_3() {
    let labels = idx(&[4], &[0, 1, 2, 0]);
    let good = idx(&[4, 2], &[0; 8]);
    images_fail(
        &good[..15],
        &labels,
        &["images: truncated: the header promises 8 bytes (shape [4, 2]), but only 3 are there; get the file again"],
    );
    images_fail(b"\x89PNG\r\n\x1a\n", &labels, &["images: not an IDX file: it begins with the bytes 89 50 4e 47"]);
    images_fail(
        &idx(&[u32::MAX; 3], &[0; 16]),
        &labels,
        &["[4294967295, 4294967295, 4294967295] in the header overflow"],
    );
    images_fail(&gzip(&idx(&[2, 2], &vec![0; 1 << 22])), &labels, &["images: longer than its header says"]);
    images_fail(
        &gzip(&idx(&[1 << 20, 1 << 20], &[0; 100])),
        &labels,
        &["promises 1099511627776 bytes (shape [1048576, 1048576])"],
    );
    images_fail(&good, &idx(&[3], &[0, 1, 2]), &["there are 4 samples and 3 targets"]);
    images_fail(&good, &idx(&[4], &[0, 1, 2, 3]), &["label 3 in row 3 (counted from 0) is out of range: 3 classes"]);
}

#[test]
fn missing_files_end_with_3() {
    let place = recipe("idx", &["images", "labels"]);
    place.fails(&["train", "net.toml"], 3, &["images: there is no such file; check the path"]);
    assert!(!place.path().join("runs").exists(), "a run folder for a run that never began");
    place.fails(&["eval", "runs/0001-digits"], 3, &["runs/0001-digits: there is no such file or folder"]);
}

#[test]
fn damaged_tables_end_with_3() {
    let place = recipe("csv", &["table.csv"]);
    place.write("table.csv", "a,b,c\n1,2,0\n3,4\n");
    place.fails(&["train", "net.toml"], 3, &["table.csv: line 3: the row has 2 cells, the first row has 3"]);
    place.write("table.csv", "a,b,c\n1,2,0\n3,x,1\n");
    place.fails(&["train", "net.toml"], 3, &["table.csv: line 3, column 2 (\"b\"): \"x\" is not a number"]);
}

#[test]
fn an_array_of_unknown_numbers_ends_with_3() {
    let place = recipe("npy", &["x.npy", "y.npy"]);
    let header = "{'descr': '<c16', 'fortran_order': False, 'shape': (1,), }\n";
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend([u8::try_from(header.len()).unwrap(), 0]);
    bytes.extend(header.as_bytes());
    bytes.extend([0; 16]);
    place.write("x.npy", bytes);
    place.fails(&["train", "net.toml"], 3, &["x.npy: unknown dtype \"<c16\""]);
}

#[test]
fn a_recipe_finds_its_files_beside_itself() {
    let place = Place::new();
    place.write("deep/net.toml", RECIPE.replace("SOURCE", "csv").replace("FILES", "[\"table.csv\"]"));
    let rows: String = (0..60).map(|i| format!("{},{},{}\n", i % 3, i % 5, i % 3)).collect();
    place.write("deep/table.csv", rows);
    place.ok(&["train", "deep/net.toml", "-q"]);
    place.fails(&["eval", "runs/0001-net"], 2, &["keeps no test data aside; choose another --split"]);
    place.ok(&["eval", "runs/0001-net", "--split", "train"]);
}

#[test]
fn unknown_names_end_with_2_and_the_nearest() {
    let place = Place::new();
    place.fails(&["train", "fashion-bm"], 2, &["unknown recipe \"fashion-bm\". Did you mean \"fashion-bn\"?"]);
    place.fails(&["train", "net.toml"], 2, &["recipe net.toml: there is no such file"]);
    place.write("net.toml", RECIPE.replace("SOURCE", "csv").replace("FILES", "[\"x.csv\"]").replace("units", "unitz"));
    place.fails(
        &["train", "net.toml"],
        2,
        &["net.toml:8:1: unknown key \"unitz\" in [[layer]] number 1 (\"dense\"); did you mean \"units\"?"],
    );
    place.fails(&["train", "digits", "--set", "optimizer.learning_rat=1"], 2, &["learning_rat", "learning_rate"]);
    place.fails(
        &["train", "digits", "--set", "data.source=digit"],
        2,
        &["unknown data set \"digit\". Did you mean \"digits\"?"],
    );
    place.fails(&["train", "digits", "--set", "data.source=alice"], 2, &["alice is a text"]);
}

#[test]
fn layers_that_do_not_fit_show_the_chain() {
    let place = Place::new();
    let bad = bundled("../recipes/digits.toml");
    let bad = String::from_utf8(bad).unwrap().replace("type = \"flatten\"", "type = \"reshape\"\nshape = [9, 7]");
    place.write("bad.toml", bad);
    place.fails(
        &["summary", "bad.toml"],
        2,
        &["bad.toml:", "[[layer]] number 1 (\"reshape\")", "input (Input)", "[8, 8]", "> reshape (Reshape)"],
    );
}

#[test]
fn numbers_out_of_range_end_with_2() {
    let place = Place::new();
    for (option, value, key) in [
        ("--lr", "-1", "learning_rate = -1"),
        ("--lr", "NaN", "learning_rate = "),
        ("--lr", "0", "learning_rate = 0"),
        ("--batch", "0", "batch = 0"),
        ("--epochs", "0", "epochs = 0"),
        ("--epochs", "many", "epochs = \"many\""),
        ("--seed", "-1", "seed = -1"),
    ] {
        place.fails(&["train", "digits", option, value], 2, &[key, "must be a"]);
    }
    place.fails(&["train", "digits", "--threads", "0"], 2, &["--threads: 0 is out of range"]);
    let isa = place.command(&["device"]).env("GRADUS_ISA", "avx1024").output().unwrap();
    assert_eq!(isa.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&isa.stderr).contains("avx1024"));
}

#[test]
fn lr_is_another_name_for_learning_rate() {
    let place = Place::new();
    place.ok(&["train", "digits", "--epochs", "1", "-q", "--set", "optimizer.lr=0.25"]);
    let config = std::fs::read_to_string(place.path().join("runs/0001-digits/config.toml")).unwrap();
    assert!(config.contains("learning_rate = 0.25"), "{config}");
}

#[test]
fn a_loss_that_runs_away_ends_with_4() {
    let place = Place::new();
    let options = ["--set", "optimizer.kind=sgd", "--lr", "1e30", "--epochs", "3"];
    place.fails(
        &[&["train", "digits"], &options[..]].concat(),
        4,
        &["epoch 1, step ", "the loss is ", "layer \"dense"],
    );
}

#[test]
fn an_unknown_device_ends_with_6() {
    Place::new().fails(&["train", "digits", "--device", "tpu"], 6, &["\"tpu\" is no device"]);
}
