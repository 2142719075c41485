//! Where Keras' files keep the weights of each layer.
//!
//! The older form (`.h5` with a model, and weights of Keras 2) has a group for each layer under its name and lists the names of its
//! arrays in an attribute. The newer one (`.weights.h5`, and inside `.keras`) numbers the arrays, and names the groups after the
//! classes: `layers/dense_1/vars/0` is the first weight of the second dense layer, whatever its name.

use std::collections::{BTreeMap, BTreeSet};

use super::objects::snake_case;
use crate::core::Tensor;
use crate::format::hdf5::{Hdf5, Node};
use crate::{Error, Result};

const OPTIMIZER_OLD: &str = "optimizer_weights";
const OPTIMIZER_NEW: &str = "optimizer/vars";

/// The weights of a layer in the order in which Keras has them.
pub(super) type Weights = Vec<Tensor>;

/// The weights of the layers of an older file that have some, with their names, in the file's order; `root` is the group of all
/// layers. `models` are the models among them: they have the weights of all that is in them in one list, first what is trained, and
/// the layer's name is the last but one part of each name there.
pub(super) fn read_old(file: &Hdf5, root: &str, models: &BTreeSet<&str>) -> Result<Vec<(String, Weights)>> {
    let names =
        file.texts(root, "layer_names")?.ok_or_else(|| file.damaged(root, "it does not say which layers it has"))?;
    let mut layers = Vec::new();
    for name in names {
        let group = join(root, &name);
        if !file.has(&group) {
            return Err(file.damaged(&group, "the file lists this layer, but does not have it: it is damaged"));
        }
        let arrays = file.texts(&group, "weight_names")?.unwrap_or_default();
        let mut parts: Vec<(String, Weights)> = Vec::new();
        for array in &arrays {
            let inside = array.rsplit('/').nth(1).filter(|_| models.contains(name.as_str()));
            let owner = inside.map_or_else(|| name.clone(), |inside| format!("{name}/{inside}"));
            let tensor = file.tensor(&join(&group, array))?;
            match parts.iter_mut().find(|(other, _)| *other == owner) {
                Some((_, weights)) => weights.push(tensor),
                None => parts.push((owner, vec![tensor])),
            }
        }
        layers.append(&mut parts);
    }
    Ok(layers)
}

/// The weights of the layers of a newer file that have some, by the names of their groups.
pub(super) fn read_new(file: &Hdf5) -> Result<BTreeMap<String, Weights>> {
    let root = ["layers", "_layer_checkpoint_dependencies"].into_iter().find(|root| file.has(root));
    let Some(root) = root else {
        return Err(Error::Data(
            file.damaged("", "it has neither layers nor layer_names; is it a file of weights that Keras saved?")
                .to_string(),
        ));
    };
    let mut layers = BTreeMap::new();
    let mut open: Vec<(String, String)> = vec![(root.into(), String::new())];
    while let Some((root, before)) = open.pop() {
        for name in file.groups(&root)? {
            let (group, key) = (format!("{root}/{name}"), format!("{before}{name}"));
            // A model within the model.
            let inside = format!("{group}/layers");
            if file.has(&inside) {
                open.push((inside, format!("{key}/layers/")));
            }
            let vars = format!("{group}/vars");
            let count = if file.has(&vars) { file.arrays(&vars)?.len() } else { 0 };
            let weights = (0..count).map(|i| file.tensor(&format!("{vars}/{i}"))).collect::<Result<Weights>>()?;
            if !weights.is_empty() {
                layers.insert(key, weights);
            }
        }
    }
    Ok(layers)
}

/// The variables of the optimizer in an older file, in their order; none where it has none.
pub(super) fn optimizer_old(file: &Hdf5) -> Result<Vec<Tensor>> {
    match file.has(OPTIMIZER_OLD) {
        true => {
            let names = file.texts(OPTIMIZER_OLD, "weight_names")?.unwrap_or_default();
            names.iter().map(|name| file.tensor(&join(OPTIMIZER_OLD, name))).collect()
        }
        false => Ok(Vec::new()),
    }
}

/// The variables of the optimizer in a newer file.
pub(super) fn optimizer_new(file: &Hdf5) -> Result<Vec<Tensor>> {
    let count = if file.has(OPTIMIZER_NEW) { file.arrays(OPTIMIZER_NEW)?.len() } else { 0 };
    (0..count).map(|i| file.tensor(&format!("{OPTIMIZER_NEW}/{i}"))).collect()
}

/// What newer files call the groups of layers of these classes.
pub(super) fn group_names<'a>(classes: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let name = |class: &str| {
        let name = snake_case(class);
        let count = counts.entry(name.clone()).or_default();
        *count += 1;
        if *count == 1 { name } else { format!("{name}_{}", *count - 1) }
    };
    classes.into_iter().map(name).collect()
}

/// A layer to be written.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) name: String,
    pub(super) class: &'static str,
    /// Keras' name of each weight, and its numbers.
    pub(super) weights: Vec<(String, Tensor)>,
}

/// Puts weights into a file of the older form.
pub(super) fn write_old(layers: &[Written], version: &str, root: &mut Node) {
    root.put_texts("layer_names", &layers.iter().map(|layer| layer.name.clone()).collect::<Vec<_>>());
    root.put_text("backend", "tensorflow");
    root.put_text("keras_version", version);
    for layer in layers {
        let group = root.group(&layer.name);
        let paths: Vec<String> = layer.weights.iter().map(|(name, _)| format!("{}/{name}", layer.name)).collect();
        group.put_texts("weight_names", &paths);
        for (path, (_, tensor)) in paths.iter().zip(&layer.weights) {
            group.put_tensor(path, tensor);
        }
    }
    root.group("top_level_model_weights").put_texts("weight_names", &[]);
}

/// Puts weights into a file of the newer form.
pub(super) fn write_new(layers: &[Written], root: &mut Node) {
    root.group("vars");
    for (layer, group) in layers.iter().zip(group_names(layers.iter().map(|layer| layer.class))) {
        let vars = root.group(&format!("layers/{group}/vars"));
        vars.put_text("name", &layer.name);
        for (i, (_, tensor)) in layer.weights.iter().enumerate() {
            vars.put_tensor(&i.to_string(), tensor);
        }
    }
}

/// Puts an optimizer's variables, under their names, into a file of the older form.
pub(super) fn write_optimizer_old(variables: &[(String, Tensor)], root: &mut Node) {
    if variables.is_empty() {
        return;
    }
    let group = root.group(OPTIMIZER_OLD);
    group.put_texts("weight_names", &variables.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>());
    variables.iter().for_each(|(name, tensor)| group.put_tensor(name, tensor));
}

/// Puts an optimizer's variables, numbered, into a file of the newer form.
pub(super) fn write_optimizer_new(variables: &[(String, Tensor)], root: &mut Node) {
    for (i, (_, tensor)) in variables.iter().enumerate() {
        root.put_tensor(&format!("{OPTIMIZER_NEW}/{i}"), tensor);
    }
}

fn join(root: &str, name: &str) -> String {
    if root.is_empty() { name.into() } else { format!("{root}/{name}") }
}
