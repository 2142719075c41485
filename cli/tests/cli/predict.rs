//! `gradus predict`: pictures, arrays and stdin.

use std::io::{Read, Write};
use std::process::Stdio;

use serde_json::Value;

use crate::train::{Trained, trained};
use crate::{Place, Run, bundled};

/// The digits of the bundled set: 64 numbers from 0 to 16, and the class.
fn digits() -> Vec<(Vec<u8>, usize)> {
    let mut text = String::new();
    flate2::read::GzDecoder::new(&bundled("digits/digits.csv.gz")[..]).read_to_string(&mut text).unwrap();
    let row = |line: &str| {
        let numbers: Vec<u8> = line.split(',').map(|cell| cell.parse().unwrap()).collect();
        (numbers[..64].to_vec(), usize::from(numbers[64]))
    };
    text.lines().map(row).collect()
}

fn png(pixels: &[u8], side: u32) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    let image = image::GrayImage::from_raw(side, side, pixels.to_vec()).unwrap();
    image.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    bytes.into_inner()
}

/// A digit as a picture, white at 255.
fn picture(pixels: &[u8]) -> Vec<u8> {
    let grey: Vec<u8> = pixels.iter().map(|&pixel| (f32::from(pixel) * 255.0 / 16.0).round() as u8).collect();
    png(&grey, 8)
}

/// Digits as an NPY file of bytes.
fn npy(rows: &[(Vec<u8>, usize)]) -> Vec<u8> {
    let mut header =
        format!("{{'descr': '|u1', 'fortran_order': False, 'shape': ({}, 8, 8), }}", rows.len()).into_bytes();
    while (10 + header.len() + 1) % 64 != 0 {
        header.push(b' ');
    }
    header.push(b'\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend(u16::try_from(header.len()).unwrap().to_le_bytes());
    bytes.extend(header);
    rows.iter().for_each(|(pixels, _)| bytes.extend(pixels));
    bytes
}

/// Digits as an IDX file.
fn idx(rows: &[(Vec<u8>, usize)]) -> Vec<u8> {
    let mut bytes = vec![0, 0, 8, 3];
    for size in [rows.len(), 8, 8] {
        bytes.extend(u32::try_from(size).unwrap().to_be_bytes());
    }
    rows.iter().for_each(|(pixels, _)| bytes.extend(pixels));
    bytes
}

fn predictions(place: &Place, trained: &Trained, input: &str) -> Vec<Value> {
    let model = trained.place.path().join(trained.run_dir());
    let text = place.ok(&["predict", model.to_str().unwrap(), input, "--jsonl"]);
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn pictures_and_arrays_of_the_same_digits_get_the_same_names() {
    let (trained, place) = (trained(), Place::new());
    let rows = &digits()[..20];
    place.write("batch.npy", npy(rows));
    place.write("batch-idx3-ubyte", idx(rows));
    let from_npy = predictions(&place, trained, "batch.npy");
    let from_idx = predictions(&place, trained, "batch-idx3-ubyte");
    assert_eq!((from_npy.len(), from_idx.len()), (20, 20));
    let mut right = 0;
    for (i, (pixels, class)) in rows.iter().enumerate() {
        place.write("digit.png", picture(pixels));
        let from_png = &predictions(&place, trained, "digit.png")[0];
        assert_eq!(from_png["index"], from_npy[i]["index"], "digit {i}");
        assert_eq!(from_idx[i]["probability"], from_npy[i]["probability"], "digit {i}");
        assert_eq!((&from_npy[i]["row"], &from_npy[i]["class"]), (&i.into(), &from_npy[i]["index"].to_string().into()));
        right += usize::from(from_png["index"] == *class);
    }
    assert!(right >= 18, "{right} of 20 digits, most of which it was trained on");
}

#[test]
fn probabilities_are_sorted_and_cut_at_top_k() {
    let (trained, place) = (trained(), Place::new());
    let file = place.write("digit.png", picture(&digits()[0].0));
    let text = trained.place.ok(&["predict", trained.run_dir(), &file, "--top-k", "10", "--json"]);
    let value: Value = serde_json::from_str(&text).unwrap();
    let top = value["predictions"][0]["top"].as_array().unwrap();
    let probabilities: Vec<f64> = top.iter().map(|choice| choice["probability"].as_f64().unwrap()).collect();
    assert_eq!(probabilities.len(), 10);
    assert!(probabilities.is_sorted_by(|a, b| a >= b), "{probabilities:?}");
    assert!((probabilities.iter().sum::<f64>() - 1.0).abs() < 1e-5);
    let text = trained.place.ok(&["predict", trained.run_dir(), &file, "--top-k", "2"]);
    assert_eq!(text.trim_end().split('\t').count(), 3, "{text}");
    trained.place.fails(&["predict", trained.run_dir(), &file, "--top-k", "0"], 2, &["--top-k 0"]);
}

#[test]
fn a_dash_reads_stdin() {
    let trained = trained();
    for bytes in [npy(&digits()[..3]), picture(&digits()[0].0)] {
        let mut command = trained.place.command(&["predict", trained.run_dir(), "-", "--jsonl"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(&bytes).unwrap();
        let run = Run::of(child.wait_with_output().unwrap());
        assert_eq!(run.code, 0, "{}", run.stderr);
        let first: Value = serde_json::from_str(run.stdout.lines().next().unwrap()).unwrap();
        assert_eq!((&first["input"], &first["row"]), (&"-".into(), &0.into()));
    }
}

#[test]
fn odd_pictures_work_with_a_warning() {
    let (trained, place) = (trained(), Place::new());
    let model = trained.place.path().join(trained.run_dir());
    let model = model.to_str().unwrap();
    let negative: Vec<u8> = digits()[0].0.iter().map(|&pixel| 255 - pixel * 15).collect();
    place.write("negative.png", png(&negative, 8));
    let run = place.run(&["predict", model, "negative.png"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(run.stderr.contains("dark on light") && run.stderr.contains("--invert"), "{}", run.stderr);
    let run = place.run(&["predict", model, "negative.png", "--invert"]);
    assert_eq!((run.code, run.stderr.as_str()), (0, ""));
    assert!(run.stdout.starts_with("negative.png\t0 "), "the first digit is a 0: {}", run.stdout);
    place.write("large.png", png(&[0; 256], 16));
    let run = place.run(&["predict", model, "large.png"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(run.stderr.contains("large.png is 16x16 and was resized to 8x8"), "{}", run.stderr);
}

#[test]
fn a_grid_shows_every_sample_with_its_class() {
    let (trained, place) = (trained(), Place::new());
    place.write("batch.npy", npy(&digits()[..12]));
    place.write("one.png", picture(&digits()[20].0));
    let model = trained.place.path().join(trained.run_dir());
    let model = model.to_str().unwrap();
    let lines = place.ok(&["predict", model, "batch.npy", "one.png", "--images", "grid.svg"]);
    let svg = std::fs::read_to_string(place.path().join("grid.svg")).unwrap();
    assert_eq!((svg.matches("<image ").count(), lines.lines().count()), (13, 13), "{svg}");
    let (class, probability) = lines.split_once('\t').unwrap().1.split_once('\t').unwrap().0.split_once(' ').unwrap();
    let caption = format!(">{class} {:.0}%<", 100.0 * probability.parse::<f64>().unwrap());
    assert!(svg.contains(&caption) && svg.contains(">13 samples<"), "{caption}: {svg}");
    place.write("many.npy", npy(&digits()[..300]));
    place.ok(&["predict", model, "many.npy", "--images", "grid.svg"]);
    let svg = std::fs::read_to_string(place.path().join("grid.svg")).unwrap();
    assert!(svg.matches("<image ").count() == 200 && svg.contains(">the first 200 of 300 samples<"));
}

#[test]
fn what_is_no_sample_ends_with_3() {
    let (trained, place) = (trained(), Place::new());
    let model = trained.place.path().join(trained.run_dir());
    let model = model.to_str().unwrap();
    place.write("text.txt", "not a picture");
    place.write("broken.png", &picture(&digits()[0].0)[..40]);
    let wide = String::from_utf8_lossy(&npy(&digits()[..1])).into_owned();
    assert!(wide.contains("(1, 8, 8)"));
    let mut other = npy(&digits()[..1]);
    let at = other.windows(9).position(|window| window == b"(1, 8, 8)").unwrap();
    other[at..at + 9].copy_from_slice(b"(2, 4, 8)");
    place.write("other.npy", other);
    place.fails(&["predict", model, "text.txt"], 3, &["text.txt: neither a PNG or JPEG image nor an NPY or IDX file"]);
    place.fails(&["predict", model, "broken.png"], 3, &["broken.png: "]);
    place.fails(&["predict", model, "missing.png"], 3, &["missing.png: No such file"]);
    place.fails(
        &["predict", model, "other.npy"],
        3,
        &["other.npy: an array of shape [2, 4, 8]; the model takes samples of shape [8, 8]"],
    );
    place.fails(&["predict", "nowhere", "text.txt"], 3, &["nowhere: there is no such file or folder"]);
    place.fails(&["predict", ".", "text.txt"], 3, &["there is no model.safetensors in this folder"]);
    place.fails(
        &["predict", "text.txt", "text.txt"],
        3,
        &["text.txt: no model file: it is neither safetensors nor HDF5"],
    );
}
