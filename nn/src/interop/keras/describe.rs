//! From a recipe to Keras' description of a model, in JSON, as Keras 3 writes it.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use toml::Table;

use super::objects;
use super::optimizer;
use super::rows::row;
use crate::models::{Model, Row};
use crate::optim::{Constraint, Regularizer};
use crate::spec::{Preset, Recipe};
use crate::{Error, Result};

/// The whole description.
pub(super) fn model(model: &Model) -> Result<Value> {
    let recipe = recipe(model)?;
    let rows = model.summary();
    let tables = tables(recipe)?;
    let mut layers = Vec::new();
    for place in order(&rows) {
        layers.push(layer(&rows[place], &tables, &rows, recipe.preset)?);
    }
    let inputs: Vec<&Row> = rows.iter().filter(|row| row.class == "Input").collect();
    let is_chain = inputs.len() == 1 && rows.windows(2).all(|pair| pair[1].inputs == [pair[0].name.clone()]);
    let config =
        if is_chain { sequential(recipe, &inputs, layers) } else { functional(recipe, &inputs, layers, &rows) };
    let mut whole = match is_chain {
        true => json!({ "module": "keras", "class_name": "Sequential", "config": config, "registered_name": null }),
        // Keras does not name this class in public.
        false => json!({
            "module": "keras.src.models.functional", "class_name": "Functional", "config": config, "registered_name": "Functional",
        }),
    };
    if let [input] = inputs.as_slice() {
        whole["build_config"] = json!({ "input_shape": batch(&input.shape) });
    }
    if let (Some(loss), Some(optimizer)) =
        (objects::loss_json(&recipe.train.loss), optimizer::describe(&recipe.optimizer).config)
    {
        whole["compile_config"] =
            json!({ "optimizer": optimizer, "loss": loss, "loss_weights": null, "metrics": metrics(recipe) });
    }
    Ok(whole)
}

/// The places of the layers, inputs left out, in the order in which Keras has them and numbers their weights: those farthest from the end
/// come first, and of two that are equally far the one that is met first on the way back from the end, along the first inputs first.
pub(super) fn order(rows: &[Row]) -> Vec<usize> {
    let places: BTreeMap<&str, usize> = rows.iter().enumerate().map(|(i, row)| (row.name.as_str(), i)).collect();
    let inputs = |place: usize| rows[place].inputs.iter().filter_map(|name| places.get(name.as_str()).copied());
    let mut depths = vec![0; rows.len()];
    for place in (0..rows.len()).rev() {
        for input in inputs(place) {
            depths[input] = depths[input].max(depths[place] + 1);
        }
    }
    let (mut met, mut count, mut stack) = (vec![usize::MAX; rows.len()], 0, Vec::from_iter(rows.len().checked_sub(1)));
    while let Some(place) = stack.pop() {
        if met[place] == usize::MAX {
            (met[place], count) = (count, count + 1);
            let at = stack.len();
            stack.extend(inputs(place));
            stack[at..].reverse();
        }
    }
    let mut order: Vec<usize> = (0..rows.len()).filter(|&place| rows[place].class != "Input").collect();
    order.sort_by_key(|&place| (std::cmp::Reverse(depths[place]), met[place]));
    order
}

/// How the model was trained, as the older files say it; `None` where Keras lacks the loss.
pub(super) fn training(model: &Model) -> Option<Value> {
    let recipe = model.recipe()?;
    let loss = objects::loss_json(&recipe.train.loss)?;
    Some(
        json!({ "loss": loss, "loss_weights": null, "metrics": metrics(recipe), "optimizer_config": optimizer::describe(&recipe.optimizer).config? }),
    )
}

fn recipe(model: &Model) -> Result<&Recipe> {
    model.recipe().ok_or_else(|| {
        Error::Config(
            "a model that was built in Rust has no description to give to Keras; build it from a recipe".into(),
        )
    })
}

/// The layers' tables as the recipe writes them, by name.
fn tables(recipe: &Recipe) -> Result<BTreeMap<String, Table>> {
    let text: Table =
        recipe.to_toml().parse().map_err(|error| Error::Config(format!("the recipe cannot be read back: {error}")))?;
    let layers =
        text.get("layer").and_then(toml::Value::as_array).into_iter().flatten().filter_map(toml::Value::as_table);
    Ok(layers.filter_map(|table| Some((table.get("name")?.as_str()?.to_string(), table.clone()))).collect())
}

fn metrics(recipe: &Recipe) -> Vec<&'static str> {
    if recipe.train.loss.name().contains("crossentropy") { vec!["accuracy"] } else { Vec::new() }
}

fn batch(shape: &[usize]) -> Value {
    std::iter::once(Value::Null).chain(shape.iter().map(|&size| size.into())).collect()
}

fn input(row: &Row) -> Value {
    let config = json!({ "batch_shape": batch(&row.shape), "dtype": "float32", "sparse": false, "name": row.name });
    json!({ "module": "keras.layers", "class_name": "InputLayer", "config": config, "registered_name": null })
}

fn layer(layer: &Row, tables: &BTreeMap<String, Table>, rows: &[Row], preset: Preset) -> Result<Value> {
    let refused = |what: String| {
        Error::Config(format!("layer {:?} ({}) cannot be written for Keras: {what}", layer.name, layer.class))
    };
    let known =
        row(layer.class).ok_or_else(|| refused("Keras' files have no place for it; save it as safetensors".into()))?;
    let mut table = tables.get(&layer.name).cloned().unwrap_or_default();
    // PyTorch's momentum is the share of the new.
    if let (Preset::Torch, Some(momentum)) = (preset, table.get("momentum").and_then(toml::Value::as_float)) {
        table.insert("momentum".into(), (1.0 - momentum).into());
    }
    let mut config = (known.write)(&table).map_err(refused)?;
    config.insert("name".into(), layer.name.as_str().into());
    config.insert("dtype".into(), "float32".into());
    config.insert("trainable".into(), table.get("trainable").and_then(toml::Value::as_bool).unwrap_or(true).into());
    let text = |key: &str| table.get(key).and_then(toml::Value::as_str);
    for key in ["kernel_regularizer", "bias_regularizer", "activity_regularizer"] {
        if let Some(rule) = text(key).and_then(|text| text.parse::<Regularizer>().ok()) {
            config.insert(key.into(), objects::regularizer_json(&rule));
        }
    }
    for key in ["kernel_constraint", "bias_constraint"] {
        if let Some(rule) = text(key).and_then(|text| text.parse::<Constraint>().ok()) {
            config.insert(key.into(), objects::constraint_json(&rule));
        }
    }
    let shapes: Vec<Value> = sources(layer, rows).map(|from| batch(&from.shape)).collect();
    let shape = if let [one] = shapes.as_slice() { one.clone() } else { shapes.into() };
    Ok(json!({
        "module": "keras.layers", "class_name": layer.class, "config": config, "registered_name": null,
        "build_config": { "input_shape": shape }, "name": layer.name,
    }))
}

fn sources<'a>(layer: &'a Row, rows: &'a [Row]) -> impl Iterator<Item = &'a Row> {
    layer.inputs.iter().filter_map(|name| rows.iter().find(|row| row.name == *name))
}

fn sequential(recipe: &Recipe, inputs: &[&Row], layers: Vec<Value>) -> Value {
    let all: Vec<Value> = inputs.iter().map(|row| input(row)).chain(layers).collect();
    let shape = inputs.first().map(|row| batch(&row.shape)).unwrap_or_default();
    json!({ "name": recipe.name, "trainable": true, "dtype": "float32", "layers": all, "build_input_shape": shape })
}

fn functional(recipe: &Recipe, inputs: &[&Row], layers: Vec<Value>, rows: &[Row]) -> Value {
    let tensor = |row: &Row| json!({ "class_name": "__keras_tensor__", "config": { "shape": batch(&row.shape), "dtype": "float32", "keras_history": [row.name, 0, 0] } });
    let mut all = Vec::new();
    for row in inputs {
        let mut value = input(row);
        value["name"] = row.name.as_str().into();
        value["inbound_nodes"] = json!([]);
        all.push(value);
    }
    for (row, mut value) in order(rows).into_iter().map(|place| &rows[place]).zip(layers) {
        let tensors: Vec<Value> = sources(row, rows).map(tensor).collect();
        let arguments = if let [one] = tensors.as_slice() { json!([one]) } else { json!([tensors]) };
        value["inbound_nodes"] = json!([{ "args": arguments, "kwargs": {} }]);
        all.push(value);
    }
    let place = |row: &Row| json!([row.name, 0, 0]);
    let ends: Vec<Value> = rows.last().into_iter().map(place).collect();
    let begins: Vec<Value> = inputs.iter().map(|row| place(row)).collect();
    json!({ "name": recipe.name, "trainable": true, "layers": all, "input_layers": begins, "output_layers": ends })
}
