//! Files of Keras and PyTorch against what those programs make of them: `tests/golden/interop`, and, where `GRADUS_DATA` names a folder
//! with them, models that strangers trained.

use std::path::{Path, PathBuf};

use gradus::core::{DType, Tensor};
use gradus::nn::data::{read_idx, read_npy, read_npz};
use gradus::nn::interop::{Architecture, Format, open, save};
use gradus::nn::models::Model;
use gradus::nn::spec::Recipe;

const CHAIN: &str = r#"
[data]
source = "x"
[[layer]]
type = "dense"
units = 5
activation = "elu"
[[layer]]
type = "batch_norm"
epsilon = 1e-4
[[layer]]
type = "leaky_relu"
slope = 0.2
[[layer]]
type = "dense"
units = 4
activation = "selu"
bias = false
[[layer]]
type = "batch_norm"
scale = false
[[layer]]
type = "dense"
units = 3
activation = "softmax"
[optimizer]
kind = "sgd"
[train]
loss = "sparse_categorical_crossentropy"
"#;

const TORCH: &str = r#"
preset = "torch"
[data]
source = "x"
[[layer]]
type = "flatten"
[[layer]]
type = "batch_norm"
[[layer]]
type = "dense"
name = "one"
units = 7
activation = "relu"
[[layer]]
type = "dense"
name = "two"
units = 7
activation = "tanh"
[[layer]]
type = "dense"
units = 3
bias = false
activation = "softmax"
[optimizer]
kind = "sgd"
[train]
loss = "sparse_categorical_crossentropy"
"#;

fn golden(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/interop").join(file)
}

fn architecture(text: &str, input: &[usize]) -> Architecture {
    let recipe = Recipe::parse(text, "r.toml").unwrap_or_else(|error| panic!("{error}"));
    Architecture { recipe, input: input.to_vec(), names: Vec::new() }
}

/// The largest difference between what the model makes of `inputs` and `wanted`.
fn apart(model: &Model, inputs: &Tensor, wanted: &Tensor) -> f64 {
    let ours = model.predict(inputs).unwrap();
    assert_eq!(ours.shape(), wanted.shape());
    let pairs = ours.to_f64_vec().unwrap().into_iter().zip(wanted.to_f64_vec().unwrap());
    pairs.map(|(ours, theirs)| (ours - theirs).abs()).fold(0.0, f64::max)
}

/// Fails unless the model gives what the file `outputs` says.
fn agrees(model: &Model, inputs: &str, outputs: &str) {
    let far = apart(model, &read_npy(golden(inputs)).unwrap(), &read_npy(golden(outputs)).unwrap());
    assert!(far < 2e-6, "{outputs}: {far:e}");
}

#[test]
fn models_of_keras_predict_the_same() {
    for name in [
        "keras-chain.keras",
        "keras-chain.h5",
        "keras2-chain.h5",
        "keras-skip.keras",
        "keras-skip.h5",
        "keras2-skip.h5",
        "keras-image.keras",
        "keras-image.h5",
        "keras2-image.h5",
        "keras-nested.keras",
        "keras-nested.h5",
    ] {
        let opened = open(golden(name), None).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!((opened.origin, opened.remarks.as_slice()), ("Keras", &[][..]), "{name}");
        let stem = name.split('.').next().unwrap();
        let inputs = if stem.ends_with("image") { "pictures.npy" } else { "rows.npy" };
        agrees(&opened.model, inputs, &format!("{stem}.npy"));
    }
}

#[test]
fn what_keras_says_of_a_training_stands_in_the_recipe() {
    for name in ["keras-chain.keras", "keras-chain.h5", "keras2-chain.h5"] {
        let model = open(golden(name), None).unwrap().model;
        let recipe = model.recipe().unwrap();
        let names = recipe.layer_names().join(" ");
        assert!(names.starts_with("first batch_normalization") && names.ends_with(" last"), "{names}");
        assert_eq!(recipe.train.loss.name(), "sparse_categorical_crossentropy", "{name}");
        assert_eq!((recipe.optimizer.kind(), recipe.optimizer.learning_rate()), ("nadam", 0.002), "{name}");
        let text = recipe.to_toml();
        for line in [
            "init = \"he_normal\"",
            "kernel_regularizer = \"l2(0.01)\"",
            "kernel_constraint = \"max_norm(1.5)\"",
            "momentum = 0.9\n",
            "trainable = false",
            "beta_2 = 0.99\n",
        ] {
            assert!(text.contains(line), "{name}: {line} is not in\n{text}");
        }
        assert!(model.counts().non_trainable > 0);
    }
}

#[test]
fn weights_go_into_the_layers_of_a_recipe() {
    let chain = architecture(CHAIN, &[6]);
    for name in ["keras-chain.weights.h5", "keras-chain.npz"] {
        let opened = open(golden(name), Some(&chain)).unwrap_or_else(|error| panic!("{error}"));
        agrees(&opened.model, "rows.npy", "keras-chain.npy");
    }
    let torch = architecture(TORCH, &[5, 4, 2]);
    for name in ["torch.pt", "torch-checkpoint.pt", "torch.safetensors"] {
        let opened = open(golden(name), Some(&torch)).unwrap_or_else(|error| panic!("{error}"));
        agrees(&opened.model, "images.npy", "torch.npy");
        let remarks = "norm became batch_normalization, fc1 became one, fc2 became two, fc3 became dense";
        assert_eq!(opened.remarks.join(", "), remarks, "{name}");
    }
    let names = [("fc2", "two"), ("norm", "batch_normalization")].map(|(a, b)| (a.to_string(), b.to_string()));
    let named = Architecture { names: names.to_vec(), ..torch };
    agrees(&open(golden("torch.pt"), Some(&named)).unwrap().model, "images.npy", "torch.npy");
}

#[test]
fn what_is_written_reads_back_in_every_form() {
    let folder = tempfile::tempdir().unwrap();
    let sources =
        [("keras-chain.keras", CHAIN, &[6][..]), ("keras-skip.h5", "", &[6]), ("keras-image.keras", "", &[12, 10, 2])];
    for (source, text, input) in sources {
        let model = open(golden(source), None).unwrap().model;
        for name in Format::NAMES {
            let format: Format = name.parse().unwrap();
            assert_eq!(format.to_string(), *name);
            // Keras' weights alone and NumPy's need layers.
            let alone = matches!(format, Format::KerasWeights | Format::Npz | Format::Torch);
            let text = if text.is_empty() { model.recipe().unwrap().to_toml() } else { text.into() };
            let layers =
                architecture(&if format == Format::Npz { model.recipe().unwrap().to_toml() } else { text }, input);
            let path = folder.path().join("file");
            if (source, format) == ("keras-image.keras", Format::Torch) {
                let error = save(&model, &path, format, Default::default()).unwrap_err().to_string();
                assert!(error.contains("(SeparableConv2D) is two layers in PyTorch"), "{error}");
                continue;
            }
            save(&model, &path, format, Default::default()).unwrap_or_else(|error| panic!("{name}: {error}"));
            let back = open(&path, alone.then_some(&layers)).unwrap_or_else(|error| panic!("{name}: {error}")).model;
            let values = |model: &Model| -> Vec<Vec<f32>> {
                model.weights().iter().map(|(_, x)| x.to_vec::<f32>().unwrap()).collect()
            };
            assert_eq!(values(&back), values(&model), "{name}");
            if !alone {
                assert_eq!(
                    back.recipe().unwrap().to_toml().replace("3.0.0", "3.15.1"),
                    model.recipe().unwrap().to_toml(),
                    "{name}"
                );
            }
        }
    }
    let torch = open(golden("torch.pt"), Some(&architecture(TORCH, &[5, 4, 2]))).unwrap().model;
    let path = folder.path().join("again.safetensors");
    save(&torch, &path, Format::Torch, Default::default()).unwrap();
    agrees(&open(&path, Some(&architecture(TORCH, &[5, 4, 2]))).unwrap().model, "images.npy", "torch.npy");
}

#[test]
fn an_ending_says_nothing_about_a_file() {
    let folder = tempfile::tempdir().unwrap();
    for (from, to) in
        [("keras-chain.h5", "really.keras"), ("keras-chain.keras", "really.h5"), ("keras-chain.keras", "m.safetensors")]
    {
        std::fs::copy(golden(from), folder.path().join(to)).unwrap();
        agrees(&open(folder.path().join(to), None).unwrap().model, "rows.npy", "keras-chain.npy");
    }
}

/// The net whose weights come without layers in Keras' form.
const DIGITS_KERAS: &str = r#"
[data]
source = "x"
[[layer]]
type = "conv2d"
filters = 32
kernel_size = 3
activation = "relu"
[[layer]]
type = "max_pool2d"
[[layer]]
type = "conv2d"
filters = 64
kernel_size = 3
activation = "relu"
[[layer]]
type = "max_pool2d"
[[layer]]
type = "flatten"
[[layer]]
type = "dense"
units = 100
activation = "relu"
[[layer]]
type = "dense"
units = 10
activation = "softmax"
[optimizer]
kind = "sgd"
[train]
loss = "sparse_categorical_crossentropy"
"#;

/// The net whose weights come without layers in PyTorch's form.
const DIGITS_TORCH: &str = r#"
preset = "torch"
[data]
source = "x"
[[layer]]
type = "conv2d"
filters = 8
kernel_size = 3
activation = "relu"
[[layer]]
type = "conv2d"
filters = 16
kernel_size = 3
activation = "relu"
[[layer]]
type = "conv2d"
filters = 24
kernel_size = 3
activation = "relu"
[[layer]]
type = "batch_norm"
[[layer]]
type = "flatten"
[[layer]]
type = "dense"
units = 32
activation = "relu"
[[layer]]
type = "dense"
units = 10
[[layer]]
type = "batch_norm"
[[layer]]
type = "log_softmax"
[optimizer]
kind = "sgd"
[train]
loss = "sparse_categorical_crossentropy"
"#;

/// The first 16 images of a test set, as most nets see them.
fn images(file: PathBuf) -> Tensor {
    let images = read_idx(file).unwrap().slice(0, 0, 16).unwrap().to_dtype(DType::F32).unwrap();
    images.reshape(&[16, 28, 28, 1]).unwrap().div(&Tensor::scalar(255f32)).unwrap()
}

#[test]
fn models_of_strangers_predict_the_same() {
    let Some(data) = std::env::var_os("GRADUS_DATA") else {
        println!("GRADUS_DATA is not set: the models of strangers were not read");
        return;
    };
    let data = Path::new(&data);
    let folder = data.join("interop-models");
    let agrees = |file: &str, layers: Option<&str>, inputs: &Tensor, bound: f64| {
        let layers = layers.map(|text| architecture(text, &[28, 28, 1]));
        let opened = open(folder.join(file), layers.as_ref()).unwrap_or_else(|error| panic!("{error}"));
        let key = file.replace('.', "_");
        let wanted = read_npz(folder.join("expected_outputs.npz"), &[&key]).unwrap().remove(0);
        let far = apart(&opened.model, inputs, &wanted);
        assert!(far < bound, "{file}: {far:e}");
    };
    let signals = read_npy(data.join("ecg5000/ecg5000_signals.npy")).unwrap().slice(0, 0, 16).unwrap();
    agrees("ecg_autoencoder_keras3.h5", None, &signals.to_dtype(DType::F32).unwrap(), 1e-5);
    let digits = images(data.join("mnist/t10k-images-idx3-ubyte.gz"));
    let clothes =
        images(Path::new(env!("CARGO_MANIFEST_DIR")).join("cli/data/fashion-mnist/t10k-images-idx3-ubyte.gz"));
    agrees("mnist_cnn_keras3.keras", None, &digits, 1e-5);
    agrees("mnist_cnn_bn_keras2.h5", None, &digits, 1e-5);
    agrees("mnist_cnn_keras3.weights.h5", Some(DIGITS_KERAS), &digits, 1e-5);
    agrees("fashion_cnn_keras3.h5", None, &clothes, 1e-5);
    // Logarithms of probabilities, down to -11: a few units in the last place of the sums behind them.
    let normal = digits.add_scalar(-0.1307).unwrap().mul_scalar(1.0 / 0.3081).unwrap();
    agrees("mnist_cnn_torch.safetensors", Some(DIGITS_TORCH), &normal, 2e-5);
    agrees("mnist_cnn_torch.pt", Some(DIGITS_TORCH), &normal, 2e-5);
    let custom = open(folder.join("keras_nested_container.keras"), None).unwrap_err().to_string();
    assert!(
        custom.contains("the model is of the class \"NestedDenseModel\", whose code is not in the file"),
        "{custom}"
    );
}
