//! The data sets that come with gradus, read from the files that are bundled.

use std::path::{Path, PathBuf};

use gradus_core::{DType, RandomKey};
use gradus_nn::data::{CsvOptions, Dataset, Loader, Scale, Split, read_csv, read_idx};

fn bundled(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("cli/data").join(file)
}

fn fashion(part: &str) -> Dataset {
    let images = read_idx(bundled(&format!("fashion-mnist/{part}-images-idx3-ubyte.gz"))).unwrap();
    let labels = read_idx(bundled(&format!("fashion-mnist/{part}-labels-idx1-ubyte.gz"))).unwrap();
    Dataset::new("fashion-mnist", images, labels, Vec::new()).unwrap()
}

fn counts(set: &Dataset) -> Vec<usize> {
    set.check_labels(10).unwrap();
    let mut counts = vec![0; 10];
    set.targets.to_vec::<i64>().unwrap().iter().for_each(|&label| counts[label as usize] += 1);
    counts
}

#[test]
fn fashion_mnist_is_whole() {
    for (part, count) in [("train", 60_000), ("t10k", 10_000)] {
        let set = fashion(part);
        assert_eq!((set.inputs.dtype(), set.inputs.shape()), (DType::U8, &[count, 28, 28][..]));
        assert_eq!(counts(&set), [count / 10; 10]);
    }
}

#[test]
fn the_lab_split_of_fashion_mnist() {
    let (train, validation) = Split::parse("first:5000").unwrap().apply(&fashion("train"), RandomKey::new(42)).unwrap();
    assert_eq!((train.len(), validation.len()), (55_000, 5_000));
    let loader = Loader::new(&train, 32, None, Scale::Divide(255.0)).unwrap();
    assert_eq!(loader.steps(), 1_719);
    let batch = loader.epoch(0).next().unwrap().unwrap();
    let largest = batch.inputs.max(&[]).unwrap().item().unwrap();
    assert_eq!((batch.inputs.shape(), batch.inputs.dtype(), largest), (&[32, 28, 28][..], DType::F32, 1.0));
}

#[test]
fn digits_are_whole_and_a_stratified_part_keeps_their_shares() {
    let set = read_csv(bundled("digits/digits.csv.gz"), &CsvOptions::default()).unwrap();
    assert_eq!(set.inputs.shape(), [1_797, 64]);
    assert_eq!(counts(&set), [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]);
    let (train, validation) = Split::parse("stratified:0.2").unwrap().apply(&set, RandomKey::new(1)).unwrap();
    assert_eq!((train.len(), validation.len()), (1_437, 360));
    for (all, kept) in counts(&set).into_iter().zip(counts(&validation)) {
        assert!((all as f64 * 0.2 - kept as f64).abs() < 1.0, "{kept} of {all}");
    }
}
