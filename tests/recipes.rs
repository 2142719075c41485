//! The recipes of the command line against what the documents print about their networks and data: exact numbers, no training.

mod nets;

use gradus::nn::data::Dataset;
use gradus::nn::models::Model;
use gradus::nn::train::{Parts, training_batches};

/// Every recipe, the shape of its samples, and the numbers that its document prints or that follow from its layers: all
/// parameters, and those that are trained.
const COUNTS: &[(&str, &[usize], usize, usize)] = &[
    ("cnn-cifar", &[32, 32, 3], 1_250_858, 1_250_858),
    ("cnn-fashion", &[28, 28, 1], 225_034, 225_034),
    ("cnn-mnist", &[28, 28, 1], 225_034, 225_034),
    ("deep-bn", &[28, 28], 282_146, 276_778),
    ("deep-relu", &[28, 28], 271_410, 271_410),
    ("deep-sigmoid", &[28, 28], 271_410, 271_410),
    ("digits", &[8, 8], 4_810, 4_810),
    ("fashion-8", &[28, 28], 276_158, 276_158),
    ("fashion-bn", &[28, 28], 271_346, 268_978),
    ("fashion-dropout", &[28, 28], 266_610, 266_610),
    ("fashion-mlp", &[28, 28], 266_610, 266_610),
    ("fashion-small", &[28, 28], 266_610, 266_610),
    ("ffn-cifar", &[32, 32, 3], 3_676_682, 3_676_682),
    ("ffn-mnist", &[28, 28], 235_146, 235_146),
    ("init-adam", &[28, 28], 101_770, 101_770),
    ("init-sgd", &[28, 28], 235_146, 235_146),
    ("mnist", &[28, 28], 266_610, 266_610),
    ("mnist-parity", &[28, 28], 265_802, 265_802),
    ("mnist-parity-transfer", &[28, 28], 265_802, 202),
    ("mobilenet-cifar", &[96, 96, 3], 2_270_794, 12_810),
    ("mobilenet-mnist", &[32, 32, 3], 2_270_794, 12_810),
    ("mobilenet-v2", &[224, 224, 3], 3_540_265, 3_506_153),
    ("resnet-cifar", &[32, 32, 3], 274_048, 272_474),
    ("sandals-shirts", &[28, 28], 275_801, 275_801),
    ("sandals-shirts-transfer", &[28, 28], 275_801, 51),
];

#[test]
fn networks_have_the_documents_numbers_of_parameters() {
    assert_eq!(nets::recipe_names(), COUNTS.iter().map(|row| row.0).collect::<Vec<_>>(), "every recipe has a row");
    for &(name, shape, total, trainable) in COUNTS {
        let recipe = nets::whole_recipe(name);
        let counts = Model::build(&recipe, shape).unwrap().counts();
        assert_eq!((counts.total, counts.trainable), (total, trainable), "{name}");
        let document = recipe.document.and_then(|document| document.values.get("total_params").copied());
        assert!(document.is_none_or(|document| document == total as f64), "{name}: the recipe says {document:?}");
    }
}

fn cut(name: &str) -> Parts {
    Parts::cut(&nets::recipe(name), nets::named_clothes("train"), Some(nets::named_clothes("t10k"))).unwrap()
}

fn labels(set: &Dataset) -> Vec<i64> {
    set.targets.to_vec().unwrap()
}

#[test]
fn model_a_learns_eight_classes() {
    let Parts { train, val, test } = cut("fashion-8");
    assert_eq!((train.len(), val.unwrap().len(), test.unwrap().len()), (43_986, 4_014, 8_000));
    assert_eq!(labels(&train)[..10], [4, 0, 5, 7, 7, 7, 4, 4, 3, 4]);
    assert_eq!(train.classes.join(" "), "T-shirt/top Trouser Pullover Dress Coat Sneaker Bag Ankle boot");
    assert_eq!(training_batches(&nets::recipe("fashion-8"), &train).unwrap().steps(), 1_375);
}

#[test]
fn model_b_learns_from_two_hundred_images() {
    let Parts { train, val, test } = cut("sandals-shirts");
    assert_eq!((train.len(), val.unwrap().len(), test.unwrap().len()), (200, 986, 2_000));
    assert_eq!(labels(&train)[..10], [1, 1, 0, 0, 0, 0, 1, 1, 1, 0]);
    assert_eq!(train.classes.join(" "), "Sandal Shirt");
    assert_eq!(training_batches(&nets::recipe("sandals-shirts"), &train).unwrap().steps(), 7);
}

#[test]
fn the_splits_of_the_labs_have_the_documents_sizes() {
    // MNIST has as many images as Fashion-MNIST, and the splits look at nothing else.
    for (name, sizes, steps) in [
        ("fashion-bn", (55_000, 5_000), 1_719),
        ("mnist", (55_000, 5_000), 1_719),
        ("init-sgd", (54_000, 6_000), 1_688),
        ("init-adam", (48_000, 12_000), 750),
    ] {
        let Parts { train, val, .. } = cut(name);
        assert_eq!((train.len(), val.unwrap().len()), sizes, "{name}");
        assert_eq!(training_batches(&nets::recipe(name), &train).unwrap().steps(), steps, "{name}");
    }
    let parity = cut("mnist-parity").train;
    assert_eq!((labels(&parity)[..3].to_vec(), parity.classes.join(" ")), (vec![1, 1, 0], "odd even".into()));
}
