//! Models and weights of Keras: `.keras`, `.h5` with a model (Keras 2 and 3), and weights alone, in the older form and the newer.

mod config;
mod describe;
mod fields;
mod images;
mod memory;
mod objects;
mod optimizer;
mod rows;
mod weights;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;

use self::config::Description;
use self::memory::{Form, Trained};
use self::rows::row;
use self::weights::{Weights, Written};
use crate::core::Tensor;
use crate::format::NamedTensors;
use crate::format::archive::{Archive, Packer};
use crate::format::hdf5::{Hdf5, Node};
use crate::models::Model;
use crate::{Error, Param, Result};

/// The version of Keras in whose form models are written.
const VERSION: &str = "3.0.0";
const CONFIG: &str = "config.json";
const WEIGHTS: &str = "model.weights.h5";
/// A description of layers is no longer than this.
const LONGEST_TEXT: u64 = 64 << 20;

/// Whether an archive with these members is Keras'.
pub(super) fn is_archive(members: &[String]) -> bool {
    members.iter().any(|name| name == CONFIG)
}

/// Reads a `.keras` file; also gives what users should know.
pub(super) fn read_archive(path: &Path) -> Result<(Model, Vec<String>)> {
    let name = path.display().to_string();
    let mut archive = Archive::open(path, "Keras")?;
    let version = match archive.bytes("metadata.json", LONGEST_TEXT)? {
        Some(text) => json(&text, &name, "metadata.json")?["keras_version"].as_str().unwrap_or("3").to_string(),
        None => "3".into(),
    };
    let lacks = |member: &str| Error::Data(format!("{name}: no model of Keras: it lacks {member}"));
    let text = archive.bytes(CONFIG, LONGEST_TEXT)?.ok_or_else(|| lacks(CONFIG))?;
    let model = json(&text, &name, CONFIG)?;
    let description = config::read(&name, &version, &model, model.get("compile_config"))?;
    let weights = archive.bytes(WEIGHTS, u64::MAX)?.ok_or_else(|| lacks(WEIGHTS))?;
    let file = Hdf5::new(&format!("{name}: {WEIGHTS}"), weights)?;
    let (weights, variables) = (weights::read_new(&file)?, weights::optimizer_new(&file)?);
    build(description, weights, variables, &name, |layer| &layer.group)
}

/// Whether an HDF5 file has a whole model, not weights alone.
pub(super) fn has_model(file: &Hdf5) -> Result<bool> {
    Ok(file.text("", "model_config")?.is_some())
}

/// Reads an `.h5` file with a whole model; also gives what users should know.
pub(super) fn read_h5(file: &Hdf5, name: &str) -> Result<(Model, Vec<String>)> {
    let text = |key| file.text("", key);
    let version = text("keras_version")?.unwrap_or_else(|| "2".into());
    let parsed = |key| text(key)?.map(|text| json(text.as_bytes(), name, key)).transpose();
    let model = parsed("model_config")?.unwrap_or_default();
    let description = config::read(name, &version, &model, parsed("training_config")?.as_ref())?;
    let models = description.layers.iter().filter_map(|layer| Some(layer.theirs.split_once('/')?.0)).collect();
    let weights = weights::read_old(file, "model_weights", &models)?.into_iter().collect();
    build(description, weights, weights::optimizer_old(file)?, name, |layer| &layer.theirs)
}

/// Gives a model the weights of a file that has no layers, and what an optimizer of the recipe's kind remembers; `map` has pairs of a
/// name there and a layer here.
pub(super) fn read_weights(
    file: &Hdf5,
    name: &str,
    model: &mut Model,
    map: &[(String, String)],
) -> Result<Vec<String>> {
    let layers = layers(model)?;
    let old_root =
        ["", "model_weights"].into_iter().find(|root| matches!(file.texts(root, "layer_names"), Ok(Some(_))));
    let (stored, mut names): (BTreeMap<String, Weights>, BTreeMap<String, String>) = match old_root {
        Some(root) => {
            let stored = weights::read_old(file, root, &BTreeSet::new())?;
            let ours = layers.into_iter().filter(|layer| !layer.weights.is_empty()).map(|layer| layer.name);
            let names = paired(stored.iter().map(|(name, _)| name), ours.collect());
            (stored.into_iter().collect(), names)
        }
        None => {
            let groups = weights::group_names(layers.iter().map(|layer| layer.class));
            let names = groups.into_iter().zip(layers.into_iter().map(|layer| layer.name)).collect();
            (weights::read_new(file)?, names)
        }
    };
    for (theirs, ours) in map {
        names.retain(|_, other| other != ours);
        names.insert(theirs.clone(), ours.clone());
    }
    assign(model, stored, &names, name)?;
    let variables = if old_root.is_none() { weights::optimizer_new(file)? } else { Vec::new() };
    Ok(recall(model, variables, Some(Form::Numbered), |_| None)?.into_iter().collect())
}

/// Which of a file's layers is which of the model's: by name, or, since names often differ between two builds of one net, by order
/// where there are as many, as Keras does.
fn paired<'a>(theirs: impl Iterator<Item = &'a String>, ours: Vec<String>) -> BTreeMap<String, String> {
    let theirs: Vec<&String> = theirs.collect();
    match theirs.len() == ours.len() && theirs.iter().any(|name| !ours.contains(name)) {
        true => theirs.into_iter().cloned().zip(ours).collect(),
        false => ours.iter().cloned().zip(ours.iter().cloned()).collect(),
    }
}

/// The bytes of a `.keras` file, and what users should know about what is not in it.
pub(super) fn archive(model: &Model) -> Result<(Vec<u8>, Vec<String>)> {
    let described = describe::model(model)?.to_string();
    let (variables, remarks) = remembered(model)?;
    let mut weights = Node::default();
    weights::write_new(&layers(model)?, &mut weights);
    weights::write_optimizer_new(&variables, &mut weights);
    let mut archive = Packer::new();
    archive.put("metadata.json", serde_json::json!({ "keras_version": VERSION }).to_string().as_bytes())?;
    archive.put(CONFIG, described.as_bytes())?;
    archive.put(WEIGHTS, &weights.to_bytes()?)?;
    Ok((archive.finish()?, remarks))
}

/// The bytes of an `.h5` file with the whole model, and what users should know about what is not in it.
pub(super) fn h5(model: &Model) -> Result<(Vec<u8>, Vec<String>)> {
    let (variables, remarks) = remembered(model)?;
    let mut root = Node::default();
    root.put_text("backend", "tensorflow");
    root.put_text("keras_version", VERSION);
    root.put_text("model_config", &describe::model(model)?.to_string());
    if let Some(training) = describe::training(model) {
        root.put_text("training_config", &training.to_string());
    }
    weights::write_old(&layers(model)?, VERSION, root.group("model_weights"));
    weights::write_optimizer_old(&variables, &mut root);
    Ok((root.to_bytes()?, remarks))
}

/// The bytes of a `.weights.h5` file.
pub(super) fn weights_h5(model: &Model) -> Result<Vec<u8>> {
    let mut root = Node::default();
    weights::write_new(&layers(model)?, &mut root);
    root.to_bytes()
}

fn json(text: &[u8], name: &str, what: &str) -> Result<Value> {
    serde_json::from_slice(text)
        .map_err(|error| Error::Data(format!("{name}: {what} in it is no readable JSON: {error}")))
}

/// The model of a description, with the weights of each layer under what `key` says of its names.
fn build(
    description: Description,
    weights: BTreeMap<String, Weights>,
    variables: Vec<Tensor>,
    from: &str,
    key: impl Fn(&config::Named) -> &String,
) -> Result<(Model, Vec<String>)> {
    let Description { recipe, inputs, layers, mut remarks, memory } = description;
    let mut model = Model::with_inputs(&recipe, &inputs)?;
    let names = layers.iter().map(|layer| (key(layer).clone(), layer.ours.clone())).collect();
    assign(&model, weights, &names, from)?;
    let places: BTreeMap<&String, &Vec<usize>> = layers.iter().map(|layer| (&layer.ours, &layer.place)).collect();
    remarks.extend(recall(&mut model, variables, memory, |layer| places.get(layer).copied())?);
    Ok((model, remarks))
}

/// Gives the model what its optimizer remembers, from a file's `variables`; `place` tells where a layer stands in the file. Gives a
/// remark where they do not fit: without them the model is whole, but a training begins afresh.
fn recall<'a>(
    model: &mut Model,
    variables: Vec<Tensor>,
    form: Option<Form>,
    place: impl Fn(&String) -> Option<&'a Vec<usize>>,
) -> Result<Option<String>> {
    // Before the first step an optimizer remembers nothing but numbers, of which the first is that of the steps.
    let is_fresh = variables.first().is_none_or(|steps| matches!(steps.item(), Ok(0.0)));
    if is_fresh && variables.iter().all(|variable| variable.rank() == 0) {
        return Ok(None);
    }
    let left = |why: &str| Ok(Some(format!("what its optimizer remembers is left out: {why}")));
    let (Some(form), Some(recipe)) = (form, model.recipe()) else {
        return left("the file does not say which optimizer that was, or gradus lacks it");
    };
    let mut layers = layers(model)?;
    layers.sort_by_key(|layer| place(&layer.name));
    match memory::read(variables, &recipe.optimizer, form, &trained(model, layers)) {
        Ok(state) => model.set_memory(state),
        Err(why) => return left(&why),
    }
    Ok(None)
}

/// What is trained of some layers, in their order.
fn trained(model: &Model, layers: Vec<Written>) -> Vec<Trained> {
    let params: BTreeMap<String, &Param> = model.params().iter().map(|param| (param.name(), param)).collect();
    let named = layers.into_iter().flat_map(|layer| {
        layer.weights.into_iter().map(move |(weight, value)| (format!("{}.{weight}", layer.name), value))
    });
    let trained = named.filter_map(|(name, value)| {
        let param = params.get(&name).filter(|param| param.trainable())?;
        Some(Trained { is_penalized: param.regularizer().is_some(), name, value })
    });
    trained.collect()
}

/// What Keras' optimizer remembers in the place of the model's, and what it cannot, or lacks altogether.
fn remembered(model: &Model) -> Result<(NamedTensors, Vec<String>)> {
    let Some(recipe) = model.recipe() else { return Ok(Default::default()) };
    let (described, mut remarks) = (optimizer::describe(&recipe.optimizer), Vec::new());
    if objects::loss_json(&recipe.train.loss).is_none() {
        remarks.push(format!("Keras lacks the loss {}: neither loss nor optimizer are in the file", recipe.train.loss));
        return Ok((NamedTensors::new(), remarks));
    }
    if !described.lacks.is_empty() {
        remarks.push(format!("Keras' optimizers have no {}", described.lacks.join(", ")));
    }
    let mut variables = Vec::new();
    if !model.memory().is_empty() {
        let trained = trained(model, layers(model)?);
        match memory::write(model.memory(), &recipe.optimizer, &trained) {
            Ok(written) if described.same_rule => variables = written,
            Ok(_) => remarks.push("what the optimizer remembers is left out: Keras' goes on in another way".into()),
            Err(why) => remarks.push(format!("what the optimizer remembers is left out: {why}")),
        }
    }
    Ok((variables, remarks))
}

/// The layers of a model and their weights in Keras' order and under Keras' names.
fn layers(model: &Model) -> Result<Vec<Written>> {
    let (mut layers, rows) = (Vec::new(), model.summary());
    for layer in describe::order(&rows).into_iter().map(|place| &rows[place]) {
        let mut params = BTreeMap::new();
        model.graph().params_of(&layer.name, &mut |param| {
            let name = param.name();
            let local = name.strip_prefix(&format!("{}.", layer.name)).unwrap_or(&name).to_string();
            params.insert(local, param.value().detach());
        });
        let order = row(layer.class).map_or(&[][..], |row| row.weights);
        let weights: Vec<(String, Tensor)> =
            order.iter().filter_map(|&name| Some((name.to_string(), params.remove(name)?))).collect();
        if let Some(name) = params.keys().next() {
            return Err(Error::Config(format!(
                "layer {:?} ({}) has the weight {name}, for which Keras' files have no place; save the model as safetensors",
                layer.name, layer.class
            )));
        }
        layers.push(Written { name: layer.name.clone(), class: layer.class, weights });
    }
    Ok(layers)
}

/// Gives each layer of the model its weights; `names` leads from a file's names to those of the model's layers.
fn assign(
    model: &Model,
    mut stored: BTreeMap<String, Weights>,
    names: &BTreeMap<String, String>,
    from: &str,
) -> Result<()> {
    let theirs: BTreeMap<&String, &String> = names.iter().map(|(theirs, ours)| (ours, theirs)).collect();
    let mut values = Vec::new();
    let mut missing = Vec::new();
    for layer in layers(model)?.into_iter().filter(|layer| !layer.weights.is_empty()) {
        let found = theirs.get(&layer.name).and_then(|&name| stored.remove(name));
        let Some(mut found) = found else {
            missing.push(format!("{} ({})", layer.name, layer.class));
            continue;
        };
        if layer.class == "Normalization" {
            // How many numbers it learnt from.
            found.truncate(2);
        }
        if found.len() != layer.weights.len() {
            let names: Vec<&str> = layer.weights.iter().map(|(name, _)| name.as_str()).collect();
            return Err(Error::Data(format!(
                "{from}: layer {:?} ({}) has {} weights there and {} in the model: {}",
                layer.name,
                layer.class,
                found.len(),
                names.len(),
                names.join(", ")
            )));
        }
        for ((name, old), new) in layer.weights.iter().zip(found) {
            values.push((format!("{}.{name}", layer.name), fitted(new, old)?));
        }
    }
    if !missing.is_empty() {
        let there: Vec<&str> = stored.keys().map(String::as_str).collect();
        let there =
            if there.is_empty() { "none is left over".into() } else { format!("left over are {}", there.join(", ")) };
        return Err(Error::Data(format!("{from}: it has no weights for {}; {there}", missing.join(", "))));
    }
    if !stored.is_empty() {
        let names: Vec<&str> = stored.keys().map(String::as_str).collect();
        return Err(Error::Data(format!(
            "{from}: it has weights for layers that the model lacks: {}",
            names.join(", ")
        )));
    }
    model.set_weights(values, from)
}

/// A weight in the shape that it has here, where only dimensions of size 1 are divided otherwise: Keras' normalisation keeps
/// `[1, features]`, its depthwise kernels `[height, width, channels, multiplier]`.
fn fitted(new: Tensor, old: &Tensor) -> Result<Tensor> {
    let same_numbers = new.len() == old.len();
    let is_grouped = new.shape().iter().filter(|&&size| size != 1).product::<usize>() == old.len();
    match same_numbers && is_grouped && new.rank() != old.rank() || is_depthwise(&new, old) {
        true => Ok(new.reshape(old.shape())?),
        false => Ok(new),
    }
}

/// `[height, width, channels, multiplier]` against `[height, width, 1, channels * multiplier]`: the same numbers in the same order.
fn is_depthwise(new: &Tensor, old: &Tensor) -> bool {
    match (new.shape(), old.shape()) {
        (&[h, w, channels, multiplier], &[height, width, 1, all]) => {
            (h, w, channels * multiplier) == (height, width, all)
        }
        _ => false,
    }
}
