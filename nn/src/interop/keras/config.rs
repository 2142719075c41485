//! From Keras' description of a model, in JSON, to a recipe.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::fields::Fields;
use super::memory::Form;
use super::objects;
use super::optimizer;
use super::rows;
use super::weights::group_names;
use crate::interop::UNKNOWN_DATA;
use crate::layers::Activation;
use crate::loss::Loss;
use crate::spec::{Recipe, Writer};
use crate::{Error, Result};

/// What a description says.
#[derive(Debug)]
pub(super) struct Description {
    /// The layers, and how the model was trained as far as the file knows it.
    pub(super) recipe: Recipe,
    /// The shapes of the inputs, without the batch.
    pub(super) inputs: Vec<Vec<usize>>,
    /// What every layer but the inputs is called.
    pub(super) layers: Vec<Named>,
    /// What users should know.
    pub(super) remarks: Vec<String>,
    /// In which order the file keeps what the optimizer remembers; `None` if gradus lacks the optimizer, or nothing is said of it.
    pub(super) memory: Option<Form>,
}

/// A layer's names in the older files, in the newer ones, and here.
#[derive(Clone, Debug)]
pub(super) struct Named {
    /// The layer's own name; inside another model, behind that of the outermost one and a slash.
    pub(super) theirs: String,
    pub(super) group: String,
    /// Where it stands in the description, from the outermost model inwards: Keras has weights in this order.
    pub(super) place: Vec<usize>,
    pub(super) ours: String,
}

/// A layer as Keras describes it.
struct Layer<'a> {
    class: &'a str,
    name: String,
    /// The names of the models around it, if any, and its own: other layers refer to it by this.
    path: String,
    /// What newer files call the group of its weights, which follows from the order in the description.
    group: String,
    /// Where it stands in the description.
    place: Vec<usize>,
    config: &'a Map<String, Value>,
    /// The layers it reads, by their paths.
    from: Vec<String>,
    /// Whether a model around it is frozen.
    frozen: bool,
    /// The same settings, as they stand in the file.
    whole_config: &'a Value,
}

/// The layers, each behind those it reads and the last one last, and names and shapes of the inputs; a shape may be missing inside.
type Plan<'a> = (Vec<Layer<'a>>, Vec<(String, Option<Vec<usize>>)>);

/// Reads a description. `file` is what complaints call the file, `version` is that of the Keras which wrote it; `training` has
/// its loss and optimizer.
pub(super) fn read(file: &str, version: &str, model: &Value, training: Option<&Value>) -> Result<Description> {
    read_inner(version, model, training, file).map_err(|error| match error {
        Error::Data(text) if !text.starts_with(file) => Error::Data(format!("{file}: {text}")),
        other => other,
    })
}

fn read_inner(version: &str, model: &Value, training: Option<&Value>, file: &str) -> Result<Description> {
    let class = model["class_name"].as_str().unwrap_or_default();
    let config = &model["config"];
    let (layers, inputs) = plan(class, config)?.ok_or_else(|| {
        Error::Data(format!(
            "the model is of the class {class:?}, whose code is not in the file; gradus reads Sequential and Functional models"
        ))
    })?;
    let (mut names, mut shapes) = (Names::default(), Vec::new());
    for (i, (name, shape)) in inputs.iter().enumerate() {
        names.set(name, if i == 0 { "input".into() } else { format!("input_{i}") });
        shapes.push(shape.clone().ok_or_else(|| {
            Error::Data(format!(
                "layer {name:?}: the size of its input is not said, or left open, so its weights have no shape"
            ))
        })?);
    }
    let title = config["name"].as_str().unwrap_or("model");
    let mut out = Writer::default();
    out.put("name", plain(title));
    out.put("about", format!("A model that Keras {version} saved"));
    out.put("preset", "keras");
    let mut remarks = Vec::new();
    let last = layers.iter().rev().find(|layer| layer.class != "InputLayer");
    let loss = loss_of(training, last.map(|layer| layer.config), version, &mut remarks);
    out.table("data");
    out.put("source", UNKNOWN_DATA);
    if matches!(loss, Loss::CategoricalCrossentropy(_) | Loss::CategoricalCrossentropyLogits(_)) {
        out.put("one_hot", true);
    }
    let mut before = inputs.last().map(|input| input.0.clone());
    for layer in layers.iter().filter(|layer| layer.class != "InputLayer") {
        let is_next = layer.from.len() == 1 && layer.from.first() == before.as_ref() || layer.from.is_empty();
        write_layer(layer, is_next, version, &mut names, &mut out)?;
        before = Some(layer.path.clone());
    }
    out.table("optimizer");
    let kind = optimizer::kind(training, &mut remarks);
    out.put("kind", kind.as_deref().unwrap_or("sgd"));
    out.table("train");
    out.put_named("loss", &loss);
    let text = out.finish();
    let mut recipe = Recipe::parse(&text, &format!("the recipe made of {file}"))?;
    let mut form = kind.map(|_| Form::Numbered);
    if let Some((_, Some(numbers))) = optimizer::of(training).filter(|_| form.is_some()) {
        optimizer::read(numbers, &mut recipe.optimizer, &mut remarks);
        if optimizer::is_legacy(numbers) {
            form = Some(Form::Blocks);
        }
    }
    let named = |layer: Layer| {
        let ours = names.ours.get(&layer.path).filter(|_| layer.class != "InputLayer")?.clone();
        let theirs = match layer.path.split_once('\n') {
            Some((outermost, _)) => format!("{outermost}/{}", layer.name),
            None => layer.name,
        };
        Some(Named { theirs, group: layer.group, place: layer.place, ours })
    };
    let layers = layers.into_iter().filter_map(named).collect();
    Ok(Description { recipe, inputs: shapes, layers, remarks, memory: form })
}

/// The layers of a model, those of models inside in their places; `None` for a class that is no model whose layers are known.
fn plan<'a>(class: &str, config: &'a Value) -> Result<Option<Plan<'a>>> {
    let (layers, inputs) = match class {
        "Sequential" => sequential(config)?,
        "Functional" | "Model" => functional(config)?,
        _ => return Ok(None),
    };
    let mut all: Vec<Layer> = Vec::new();
    // What stands for the result of a model inside: that of its last layer.
    let mut results: BTreeMap<String, String> = BTreeMap::new();
    for mut layer in layers {
        for from in &mut layer.from {
            if let Some(result) = results.get(from) {
                result.clone_into(from);
            }
        }
        let Some((inner, ends)) = plan(layer.class, layer.whole_config)? else {
            all.push(layer);
            continue;
        };
        if ends.len() != layer.from.len() {
            let (name, takes, reads) = (&layer.name, ends.len(), layer.from.len());
            return Err(Error::Data(format!(
                "the model {name:?} inside takes {takes} inputs and reads {reads} layers"
            )));
        }
        let inside = |path: &str| format!("{}\n{path}", layer.path);
        let begins: BTreeMap<&String, &String> = ends.iter().map(|(name, _)| name).zip(&layer.from).collect();
        let outside = |path: &String| begins.get(path).map_or_else(|| inside(path), |&from| from.clone());
        let frozen = layer.config.get("trainable").and_then(Value::as_bool) == Some(false);
        let last = inner.last().map_or_else(String::new, |last| outside(&last.path));
        all.extend(inner.into_iter().filter(|layer| layer.class != "InputLayer").map(|inner| Layer {
            path: inside(&inner.path),
            group: format!("{}/layers/{}", layer.group, inner.group),
            place: [layer.place.as_slice(), &inner.place].concat(),
            from: inner.from.iter().map(outside).collect(),
            frozen: inner.frozen || frozen,
            ..inner
        }));
        results.insert(layer.path.clone(), last);
    }
    Ok(Some((all, inputs)))
}

/// The layers of a chain, and its one input.
fn sequential(config: &Value) -> Result<Plan<'_>> {
    // The oldest files have the list itself in the place of the settings.
    let mut layers = described(config.get("layers").unwrap_or(config))?;
    let first = layers.first().ok_or_else(|| Error::Data("the model has no layers".into()))?;
    let shape = match batch_shape(first.config).or_else(|| sizes(&config["build_input_shape"])) {
        Some(shape) => Some(shape),
        // A model in the first place knows its own.
        None => plan(first.class, first.whole_config)?.and_then(|(_, ends)| ends.into_iter().next()?.1),
    };
    let name = if first.class == "InputLayer" { first.name.clone() } else { "input".into() };
    let mut before = name.clone();
    for layer in layers.iter_mut().filter(|layer| layer.class != "InputLayer") {
        layer.from = vec![std::mem::replace(&mut before, layer.name.clone())];
    }
    Ok((layers, vec![(name, shape)]))
}

/// The layers of a graph, each behind those it reads and the output last, and the inputs.
fn functional(config: &Value) -> Result<Plan<'_>> {
    let layers = described(&config["layers"])?;
    let places: BTreeMap<&str, usize> = layers.iter().enumerate().map(|(i, layer)| (layer.name.as_str(), i)).collect();
    let outputs = histories(&config["output_layers"]);
    let [output] = outputs.as_slice() else {
        return Err(Error::Data(format!("the model has {} outputs, and gradus' have one", outputs.len())));
    };
    let mut inputs = Vec::new();
    for name in histories(&config["input_layers"]) {
        let shape = places.get(name.as_str()).and_then(|&i| batch_shape(layers[i].config));
        inputs.push((name, shape));
    }
    let order = order(&layers, &places, output)?;
    let mut slots: Vec<Option<Layer>> = layers.into_iter().map(Some).collect();
    let ordered = order.into_iter().filter_map(|i| slots[i].take()).collect();
    Ok((ordered, inputs))
}

/// The places of the layers that `output` needs, each after those it reads. A loop of its own, since a file may nest them deep.
fn order(layers: &[Layer], places: &BTreeMap<&str, usize>, output: &str) -> Result<Vec<usize>> {
    let place = |name: &str| {
        places
            .get(name)
            .copied()
            .ok_or_else(|| Error::Data(format!("a layer reads {name:?}, which the description lacks")))
    };
    let (mut done, mut open, mut ordered) = (BTreeSet::new(), BTreeSet::new(), Vec::new());
    let mut stack = vec![place(output)?];
    while let Some(&top) = stack.last() {
        let next =
            layers[top].from.iter().map(|name| place(name)).find(|place| !matches!(place, Ok(i) if done.contains(i)));
        match next.transpose()? {
            Some(next) if open.contains(&next) || next == top => {
                return Err(Error::Data(format!("layer {:?} reads its own result", layers[top].name)));
            }
            Some(next) => {
                open.insert(top);
                stack.push(next);
            }
            None => {
                stack.pop();
                open.remove(&top);
                if done.insert(top) {
                    ordered.push(top);
                }
            }
        }
    }
    Ok(ordered)
}

/// The layers in a list of descriptions.
fn described(list: &Value) -> Result<Vec<Layer<'_>>> {
    let list = list.as_array().ok_or_else(|| Error::Data("its description has no list of layers".into()))?;
    let mut layers = list.iter().map(layer).collect::<Result<Vec<_>>>()?;
    let groups = group_names(layers.iter().map(|layer| layer.class));
    for (place, (layer, group)) in layers.iter_mut().zip(groups).enumerate() {
        (layer.group, layer.place) = (group, vec![place]);
    }
    Ok(layers)
}

fn layer(value: &Value) -> Result<Layer<'_>> {
    let (class, config) = (value["class_name"].as_str(), value["config"].as_object());
    let (Some(class), Some(config)) = (class, config) else {
        return Err(Error::Data("its description of a layer has no class or no settings".into()));
    };
    let name = config.get("name").or_else(|| value.get("name")).and_then(Value::as_str).unwrap_or(class).to_string();
    // One entry for each time that the layer is used.
    let uses = value["inbound_nodes"].as_array().map_or(&[][..], Vec::as_slice);
    if uses.len() > 1 {
        return Err(Error::Data(format!(
            "layer {name:?} ({class}) is used {} times, and gradus uses each once",
            uses.len()
        )));
    }
    let from = uses.first().map(histories).unwrap_or_default();
    let (path, group, place, whole_config) = (name.clone(), String::new(), Vec::new(), &value["config"]);
    Ok(Layer { class, name, path, group, place, config, from, frozen: false, whole_config })
}

/// The names of the layers that some nested lists refer to: `["dense", 0, 0]`, or objects with a `keras_history` of that form.
fn histories(value: &Value) -> Vec<String> {
    match value {
        Value::Array(items) => match items.as_slice() {
            [Value::String(name), node, tensor, ..] if node.is_u64() && tensor.is_u64() => vec![name.clone()],
            items => items.iter().flat_map(histories).collect(),
        },
        Value::Object(object) => match object.get("keras_history") {
            Some(history) => histories(history),
            None => object.values().flat_map(histories).collect(),
        },
        _ => Vec::new(),
    }
}

fn batch_shape(config: &Map<String, Value>) -> Option<Vec<usize>> {
    config.get("batch_shape").or_else(|| config.get("batch_input_shape")).and_then(sizes)
}

/// A shape without its batch, if all other sizes are known.
fn sizes(shape: &Value) -> Option<Vec<usize>> {
    let [_, sizes @ ..] = shape.as_array()?.as_slice() else { return None };
    sizes.iter().map(|size| size.as_u64().and_then(|size| usize::try_from(size).ok())).collect()
}

/// Names in Keras, and what they became here.
#[derive(Default)]
struct Names {
    ours: BTreeMap<String, String>,
    taken: BTreeSet<String>,
}

impl Names {
    fn set(&mut self, theirs: &str, ours: String) {
        self.taken.insert(ours.clone());
        self.ours.insert(theirs.into(), ours);
    }

    /// A name that recipes allow, and that no other layer has.
    fn give(&mut self, path: &str, theirs: &str) -> String {
        let wanted: String = theirs.chars().map(|c| if matches!(c, '.' | '/' | '"') { '_' } else { c }).collect();
        let others = (1..).map(|i| format!("{wanted}_{i}"));
        let mut names = std::iter::once(wanted.clone()).chain(others);
        let name = names.find(|name| !name.is_empty() && !self.taken.contains(name)).unwrap_or_default();
        self.set(path, name.clone());
        name
    }
}

/// A name of letters, digits and a few signs.
fn plain(name: &str) -> String {
    let name: String =
        name.chars().map(|c| if c.is_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '-' }).collect();
    if name.is_empty() { "model".into() } else { name }
}

fn write_layer(layer: &Layer, is_next: bool, version: &str, names: &mut Names, out: &mut Writer) -> Result<()> {
    let title = format!("layer {:?} ({})", layer.name, layer.class);
    let Some(row) = rows::row(layer.class) else {
        let known: Vec<&str> = rows::all().map(|row| row.class).collect();
        return Err(Error::Data(format!("{title}: gradus has no such layer; it reads {}", known.join(", "))));
    };
    let fields = Fields::new(title, layer.config, version);
    out.element("layer");
    out.put("name", names.give(&layer.path, &layer.name));
    if !is_next {
        let from = layer.from.iter().map(|name| names.ours.get(name).cloned().unwrap_or_default());
        out.put("inputs", from.collect::<Vec<_>>());
    }
    if layer.frozen || layer.config.get("trainable").and_then(Value::as_bool) == Some(false) {
        out.put("trainable", false);
    }
    for key in ["kernel_regularizer", "bias_regularizer", "activity_regularizer"] {
        if let Some(value) = fields.get(key) {
            let rule = objects::regularizer(value)
                .ok_or_else(|| fields.complain(format!("{key} = {value}, which gradus lacks")))?;
            out.put_named(key, rule);
        }
    }
    for key in ["kernel_constraint", "bias_constraint"] {
        if let Some(value) = fields.get(key) {
            let rule = objects::constraint(value)
                .ok_or_else(|| fields.complain(format!("{key} = {value}, which gradus lacks")))?;
            out.put_named(key, rule);
        }
    }
    (row.read)(&fields, out)?;
    fields.finish()
}

/// The loss that the model was trained with, or the usual one for its last layer.
fn loss_of(
    training: Option<&Value>,
    last: Option<&Map<String, Value>>,
    version: &str,
    remarks: &mut Vec<String>,
) -> Loss {
    let given = training.and_then(|training| training.get("loss")).filter(|loss| !loss.is_null());
    if let Some(loss) = given.and_then(objects::loss) {
        return loss;
    }
    let activation =
        last.and_then(|config| config.get("activation")).and_then(|value| objects::activation(value, version).ok());
    let usual = match activation {
        Some(Activation::Softmax) => Loss::SparseCategoricalCrossentropy(0.0),
        Some(Activation::Sigmoid) => Loss::BinaryCrossentropy(0.0),
        _ => Loss::MeanSquaredError,
    };
    if let Some(given) = given {
        remarks.push(format!("gradus lacks the loss {given}; {usual} stands in the recipe"));
    }
    usual
}
