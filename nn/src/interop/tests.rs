//! Files that are damaged, hostile, or ask for what gradus lacks: one clear error each.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use zip::CompressionMethod;
use zip::write::{SimpleFileOptions, ZipWriter};

use super::{Architecture, open};
use crate::Error;
use crate::core::Tensor;
use crate::format::archive::Packer;
use crate::format::hdf5::Node;
use crate::spec::Recipe;

const LAYERS: &str = "[data]\nsource = \"x\"\n[[layer]]\ntype = \"dense\"\nunits = 2\n[[layer]]\ntype = \"dense\"\nunits = 3\n\
                      [optimizer]\nkind = \"sgd\"\n[train]\nloss = \"mse\"\n";

fn golden(file: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/interop").join(file)).unwrap()
}

fn layers() -> Architecture {
    Architecture { recipe: Recipe::parse(LAYERS, "r.toml").unwrap(), input: vec![2], names: Vec::new() }
}

/// A folder with a file of these bytes.
struct File(tempfile::TempDir);

impl File {
    fn new(bytes: &[u8]) -> Self {
        let file = Self(tempfile::tempdir().unwrap());
        fs::write(file.path(), bytes).unwrap();
        file
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("file")
    }

    /// What is said about the file, without its name.
    fn refusal(&self, layers: Option<&Architecture>) -> String {
        let error = open(self.path(), layers).unwrap_err();
        assert!(matches!(error, Error::Data(_) | Error::Config(_)), "{error:?}");
        error.to_string().replace(&self.path().display().to_string(), "FILE")
    }
}

fn refusal(bytes: &[u8]) -> String {
    File::new(bytes).refusal(None)
}

fn weights_refusal(bytes: &[u8]) -> String {
    File::new(bytes).refusal(Some(&layers()))
}

fn tensor(shape: &[usize]) -> Tensor {
    let values: Vec<f32> = (0..shape.iter().product::<usize>()).map(|i| i as f32).collect();
    Tensor::from_slice(&values, shape).unwrap()
}

fn dense(units: usize, name: &str) -> Value {
    json!({ "class_name": "Dense", "config": { "name": name, "units": units } })
}

/// A chain of layers for samples of two numbers.
fn sequential(layers: &[Value]) -> Value {
    json!({ "class_name": "Sequential", "config": { "name": "m", "layers": layers, "build_input_shape": [null, 2] } })
}

/// Weights as the newer files have them.
fn weights(layers: &[(&str, &[&[usize]])]) -> Node {
    let mut root = Node::default();
    for (name, shapes) in layers {
        for (i, shape) in shapes.iter().enumerate() {
            root.group(&format!("layers/{name}/vars")).put_tensor(&i.to_string(), &tensor(shape));
        }
    }
    root
}

fn keras(config: &Value, weights: &Node) -> Vec<u8> {
    let mut archive = Packer::new();
    archive.put("config.json", config.to_string().as_bytes()).unwrap();
    archive.put("model.weights.h5", &weights.to_bytes().unwrap()).unwrap();
    archive.finish().unwrap()
}

/// What is said about a chain without weights.
fn chain_refusal(layers: &[Value]) -> String {
    refusal(&keras(&sequential(layers), &Node::default()))
}

const TWO: &[(&str, &[&[usize]])] = &[("dense", &[&[2, 2], &[2]]), ("dense_1", &[&[2, 3], &[3]])];

#[test]
fn a_whole_file_is_read() {
    let bytes = keras(&sequential(&[dense(2, "a"), dense(3, "b")]), &weights(TWO));
    let model = open(File::new(&bytes).path(), None).unwrap_or_else(|error| panic!("{error}")).model;
    assert_eq!(model.weights()[2].1.to_vec::<f32>().unwrap(), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
    open(File::new(&weights(TWO).to_bytes().unwrap()).path(), Some(&layers())).unwrap();
}

#[test]
fn layers_missing_or_left_over_are_named() {
    let config = sequential(&[dense(2, "a"), dense(3, "b")]);
    assert_eq!(
        refusal(&keras(&config, &weights(&TWO[..1]))),
        "FILE: it has no weights for b (Dense); none is left over"
    );
    let more = [TWO, &[("dense_2", &[&[3, 1]])]].concat();
    assert_eq!(
        refusal(&keras(&config, &weights(&more))),
        "FILE: it has weights for layers that the model lacks: dense_2"
    );
    let other = [TWO[0], ("lstm", TWO[1].1)];
    assert_eq!(refusal(&keras(&config, &weights(&other))), "FILE: it has no weights for b (Dense); left over are lstm");
    let less = [TWO[0], ("dense_1", &[&[2, 3][..]][..])];
    assert_eq!(
        refusal(&keras(&config, &weights(&less))),
        "FILE: layer \"b\" (Dense) has 1 weights there and 2 in the model: kernel, bias"
    );
    let wide = [TWO[0], ("dense_1", &[&[3, 2][..], &[3]][..])];
    assert_eq!(
        refusal(&keras(&config, &weights(&wide))),
        "FILE: b.kernel has shape [3, 2] there and [2, 3] in the model"
    );
    let mut inner = weights(TWO);
    inner.group("layers/functional/layers/dense/vars").put_tensor("0", &tensor(&[1]));
    assert_eq!(
        refusal(&keras(&config, &inner)),
        "FILE: it has weights for layers that the model lacks: functional/layers/dense"
    );
}

#[test]
fn what_gradus_lacks_is_named() {
    let lstm =
        chain_refusal(&[dense(2, "a"), json!({ "class_name": "LSTM", "config": { "name": "memory", "units": 3 } })]);
    assert!(lstm.starts_with("FILE: layer \"memory\" (LSTM): gradus has no such layer; it reads Dense, "), "{lstm}");
    let with = |key: &str, value: Value| {
        let mut layer = dense(2, "a");
        layer["config"][key] = value;
        chain_refusal(&[layer])
    };
    assert_eq!(with("lora_rank", 4.into()), "FILE: layer \"a\" (Dense): has lora_rank = 4, which gradus' layer lacks");
    assert_eq!(
        with("activation", "maxout".into()),
        "FILE: layer \"a\" (Dense): has the activation \"maxout\", which gradus lacks"
    );
    assert!(
        with("kernel_regularizer", json!({ "class_name": "OrthogonalRegularizer", "config": {} }))
            .contains("which gradus lacks")
    );
    assert_eq!(
        with("units", "many".into()),
        "FILE: layer \"a\" (Dense): units = \"many\": it must be a whole number of 1 or more"
    );
    assert_eq!(with("units", Value::Null), "FILE: layer \"a\" (Dense): units is missing");
    let norm = |key: &str, value: Value| {
        chain_refusal(&[json!({ "class_name": "BatchNormalization", "config": { "name": "n", key: value } })])
    };
    assert_eq!(
        norm("renorm", true.into()),
        "FILE: layer \"n\" (BatchNormalization): has renorm = true, which gradus' layer lacks"
    );
    assert!(norm("axis", json!([1, 2])).contains("gradus has one axis of features"));
    let custom = refusal(&keras(&json!({ "class_name": "Net", "config": {} }), &Node::default()));
    assert!(custom.starts_with("FILE: the model is of the class \"Net\", whose code is not in the file"), "{custom}");
}

#[test]
fn graphs_that_cannot_be_are_refused() {
    let layer = |name: &str, from: &[&str]| {
        let from: Vec<Value> = from.iter().map(|name| json!([name, 0, 0, {}])).collect();
        json!({ "class_name": "Add", "config": { "name": name }, "inbound_nodes": [from] })
    };
    let input =
        json!({ "class_name": "InputLayer", "config": { "name": "x", "batch_shape": [null, 2] }, "inbound_nodes": [] });
    let graph = |layers: &[Value], outputs: Value| {
        let config = json!({ "layers": layers, "input_layers": [["x", 0, 0]], "output_layers": outputs });
        refusal(&keras(&json!({ "class_name": "Functional", "config": config }), &Node::default()))
    };
    let end = json!([["b", 0, 0]]);
    assert_eq!(
        graph(&[input.clone(), layer("a", &["b"]), layer("b", &["x", "a"])], end.clone()),
        "FILE: layer \"a\" reads its own result"
    );
    assert_eq!(
        graph(&[input.clone(), layer("b", &["x", "z"])], end.clone()),
        "FILE: a layer reads \"z\", which the description lacks"
    );
    let two = json!([["a", 0, 0], ["b", 0, 0]]);
    assert_eq!(
        graph(&[input.clone(), layer("a", &["x", "x"]), layer("b", &["x", "a"])], two),
        "FILE: the model has 2 outputs, and gradus' have one"
    );
    let mut twice = layer("b", &["x", "x"]);
    twice["inbound_nodes"] = json!([[["x", 0, 0, {}]], [["x", 0, 0, {}]]]);
    assert_eq!(
        graph(&[input, twice], end.clone()),
        "FILE: layer \"b\" (Add) is used 2 times, and gradus uses each once"
    );
    let open = json!({ "class_name": "InputLayer", "config": { "name": "x", "batch_shape": [null, null] }, "inbound_nodes": [] });
    assert_eq!(
        graph(&[open, layer("b", &["x", "x"])], end),
        "FILE: layer \"x\": the size of its input is not said, or left open, so its weights have no shape"
    );
    assert_eq!(
        refusal(&keras(&json!({ "class_name": "Sequential", "config": { "layers": [] } }), &Node::default())),
        "FILE: the model has no layers"
    );
    let shapeless = json!({ "class_name": "Sequential", "config": { "layers": [dense(1, "a")] } });
    assert!(refusal(&keras(&shapeless, &Node::default())).contains("the size of its input is not said"));
}

#[test]
fn archives_with_tricks_and_bombs_are_refused() {
    let config = sequential(&[dense(2, "a")]).to_string();
    for name in ["../../evil", "/etc/passwd", "a\\..\\b", "C:\\x"] {
        let mut archive = Packer::new();
        archive.put("config.json", config.as_bytes()).unwrap();
        archive.put(name, b"x").unwrap();
        let text = refusal(&archive.finish().unwrap());
        assert!(text.contains("points out of the archive"), "{text}");
    }
    let bomb = |member: &str, rest: &[(&str, &[u8])]| {
        let mut zip = ZipWriter::new(std::io::Cursor::new(Vec::new()));
        let packed =
            SimpleFileOptions::default().compression_method(CompressionMethod::Deflated).compression_level(Some(9));
        zip.start_file(member, packed).unwrap();
        let zeros = vec![b' '; 1 << 20];
        (0..200).for_each(|_| std::io::Write::write_all(&mut zip, &zeros).unwrap());
        for (name, bytes) in rest {
            zip.start_file(*name, packed).unwrap();
            std::io::Write::write_all(&mut zip, bytes).unwrap();
        }
        zip.finish().unwrap().into_inner()
    };
    let text = refusal(&bomb("config.json", &[]));
    assert!(text.contains("unpacks to more than 67108864 bytes"), "{text}");
    let text = refusal(&bomb("model.weights.h5", &[("config.json", config.as_bytes())]));
    assert!(text.contains("unpacks to more than 67108864 bytes, far more than its size lets expect"), "{text}");
    let text = weights_refusal(&bomb("a.npy", &[]));
    assert!(text.contains("not an NPY file"), "{text}");
    let text = weights_refusal(&bomb("m/data.pkl", &[]));
    assert!(text.contains("unpacks to more than 67108864 bytes"), "{text}");

    let mut archive = Packer::new();
    archive.put("config.json", config.as_bytes()).unwrap();
    assert_eq!(refusal(&archive.finish().unwrap()), "FILE: no model of Keras: it lacks model.weights.h5");
    let mut archive = Packer::new();
    archive.put("config.json", b"{").unwrap();
    assert!(refusal(&archive.finish().unwrap()).starts_with("FILE: config.json in it is no readable JSON"));
    let mut archive = Packer::new();
    archive.put("hello.txt", b"x").unwrap();
    assert_eq!(
        refusal(&archive.finish().unwrap()),
        "FILE: a zip archive, but of none of Keras, PyTorch and NumPy; it has hello.txt"
    );
}

#[test]
fn hdf5_that_is_none_or_claims_too_much_is_refused() {
    assert!(
        refusal(b"Lorem ipsum dolor sit amet").starts_with("FILE: no model file: it is neither safetensors nor HDF5")
    );
    assert!(refusal(b"").starts_with("FILE: no model file"));
    assert!(
        refusal(b"\x89HDF\r\n\x1a\nand then nothing of it")
            .starts_with("FILE: no HDF5 file, or a damaged or truncated one")
    );
    let whole = golden("keras-chain.h5");
    for cut in (9..whole.len()).step_by(whole.len() / 50) {
        let file = File::new(&whole[..cut]);
        assert!(open(file.path(), None).is_err(), "cut at {cut}");
    }
    // The sizes of the first kernel, [6, 5], become larger than any memory.
    let sizes = [6u64, 5].map(u64::to_le_bytes).concat();
    let at = whole.windows(16).position(|bytes| bytes == sizes).unwrap();
    let mut huge = whole.clone();
    huge[at..at + 8].copy_from_slice(&(1u64 << 40).to_le_bytes());
    let text = refusal(&huge);
    assert!(text.contains("/model_weights/first/") && text.contains("claims the shape [1099511627776, 5]"), "{text}");
    // HDF5 that no Keras wrote.
    let mut other = Node::default();
    other.put_tensor("x", &tensor(&[2]));
    let text = weights_refusal(&other.to_bytes().unwrap());
    assert!(text.contains("it has neither layers nor layer_names"), "{text}");
}

#[test]
fn weights_that_are_no_numbers_are_refused() {
    let mut bad = Node::default();
    bad.group("layers/dense/vars").put_tensor("0", &tensor(&[2, 2]));
    bad.group("layers/dense/vars").put_tensor("1", &tensor(&[2]));
    bad.group("layers/dense_1/vars").put_tensor("0", &tensor(&[2, 3]));
    bad.group("layers/dense_1/vars")
        .put_tensor("1", &Tensor::from_slice(&[1f32, f32::NAN, f32::INFINITY], &[3]).unwrap());
    let text = refusal(&keras(&sequential(&[dense(2, "a"), dense(3, "b")]), &bad));
    assert_eq!(
        text,
        "FILE: 2 of the 3 numbers of b.bias are NaN or infinite; the training that made the file ran away"
    );
}

#[test]
fn weights_alone_need_layers_that_fit() {
    let torch = golden("torch.pt");
    let text = refusal(&torch);
    assert!(
        text.starts_with("FILE: the file holds weights and no layers; name a recipe with the same layers"),
        "{text}"
    );
    let text = weights_refusal(&torch);
    assert!(
        text.starts_with("FILE: nothing in it fits layer dense, which needs weight [2, 2], bias [2]; left are norm ("),
        "{text}"
    );
    let text = File::new(&golden("keras-chain.h5")).refusal(Some(&layers()));
    assert_eq!(text, "FILE: the file has layers of its own; leave the recipe out");
    let text = weights_refusal(&golden("keras-chain.npz"));
    assert_eq!(text, "FILE: it has 12 arrays, and the model 4 weights");
    let wrong = Architecture { names: vec![("fc9".into(), "dense".into())], ..layers() };
    let text = File::new(&torch).refusal(Some(&wrong));
    assert_eq!(text, "fc9=dense: there is no layer \"fc9\", only norm, fc1, fc2, fc3");
}

#[test]
fn pickles_are_read_for_tensors_alone() {
    let text = weights_refusal(&golden("torch-whole.pt"));
    let asks =
        "FILE: its pickle cannot be read: it asks for torch.nn.modules.container.Sequential, and only tensors are read";
    assert!(text.starts_with(asks), "{text}");
    assert!(
        weights_refusal(&golden("torch-old.pt")).starts_with("FILE: a bare pickle, the form of PyTorch before 1.6")
    );
    let pickled = |pickle: &[u8], numbers: Option<&[u8]>| {
        let mut archive = Packer::new();
        archive.put("m/data.pkl", pickle).unwrap();
        if let Some(numbers) = numbers {
            archive.put("m/data/0", numbers).unwrap();
        }
        weights_refusal(&archive.finish().unwrap())
    };
    assert!(pickled(b"\x80\x02cposix\nsystem\n.", None).contains("it asks for posix.system"));
    assert!(pickled(b"\x80\x02N.", None).contains("it holds no dictionary of tensors"));
    assert!(pickled(b"\x80\x02}.", None).contains("there are no tensors in its dictionary"));
    // One tensor "w" of six numbers: offset, shape and strides vary.
    let one = |offset: u8, size: u8, stride: u8| {
        let head = b"\x80\x02}X\x03\x00\x00\x00l.wctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x06tQ";
        [&head[..], &[b'K', offset, b'K', size, 0x85, b'K', stride, 0x85, 0x89, b'N', b't', b'R', b's', b'.']].concat()
    };
    assert!(pickled(&one(0, 6, 1), None).contains("l.w: its numbers, m/data/0, are not in the file"));
    assert!(pickled(&one(0, 6, 1), Some(&[0; 20])).contains("truncated"));
    assert!(pickled(&one(1, 6, 1), Some(&[0; 24])).contains("it reaches beyond its numbers"));
    assert!(pickled(&one(0, 200, 0), Some(&[0; 24])).contains("it shows numbers more than once"));
    assert!(pickled(&one(0, 6, 1), Some(&[0; 24])).contains("nothing in it fits layer dense"));
}

/// Files with random bytes in random places are read or refused, and never more.
#[test]
fn changed_files_do_no_harm() {
    let mut state = 88_172_645_463_325_252u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as usize
    };
    let names = [
        "keras-skip.keras",
        "keras2-chain.h5",
        "keras-chain.weights.h5",
        "torch.pt",
        "keras-chain.npz",
        "torch.safetensors",
    ];
    for name in names {
        let whole = golden(name);
        for _ in 0..60 {
            let mut bytes = whole.clone();
            for _ in 0..1 + random() % 8 {
                let place = random() % bytes.len();
                bytes[place] = random() as u8;
            }
            let file = File::new(&bytes);
            _ = open(file.path(), None);
            _ = open(file.path(), Some(&layers()));
        }
    }
}
