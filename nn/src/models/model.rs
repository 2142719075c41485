//! A whole model: what is trained, saved, loaded and asked.

use std::collections::BTreeMap;
use std::path::Path;

use super::Graph;
use crate::core::{Device, Tensor, no_grad};
use crate::data::Loader;
use crate::format::safetensors::{self, NamedTensors};
use crate::layers::Activation;
use crate::module::{Ctx, Module};
use crate::param::Param;
use crate::spec::Recipe;
use crate::spec::catalog::Piece;
use crate::{Error, Result};

/// The recipe in a model file's metadata.
const RECIPE: &str = "gradus.model";
/// The shapes of the inputs in a model file's metadata.
const INPUTS: &str = "gradus.inputs";

/// What stands in front of the names of what the training remembers, in a model file; no layer can be called so.
const MEMORY: &str = "update/";

/// A graph of layers with its parameters.
#[derive(Debug)]
pub struct Model {
    pub(super) graph: Graph,
    params: Vec<Param>,
    recipe: Option<Recipe>,
    memory: NamedTensors,
}

/// How many numbers a model holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// All of them.
    pub total: usize,
    /// Those that training moves.
    pub trainable: usize,
    /// The others: frozen weights and moving averages.
    pub non_trainable: usize,
}

/// One layer in a summary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The layer's name.
    pub name: String,
    /// Its class, as Keras calls it.
    pub class: &'static str,
    /// The shape of its result, without the batch.
    pub shape: Vec<usize>,
    /// What it holds itself.
    pub params: Counts,
    /// Where its inputs come from.
    pub inputs: Vec<String>,
}

impl Model {
    /// A model of a graph that was built in Rust.
    pub fn new(graph: Graph) -> Self {
        Self { params: graph.params(), graph, recipe: None, memory: NamedTensors::new() }
    }

    /// A model of one layer, such as a [`Sequential`](super::Sequential) chain, for samples of shape `input`.
    pub fn of(layer: impl Module + 'static, input: &[usize]) -> Result<Self> {
        let mut graph = Graph::default();
        let value = graph.input("input", input)?;
        graph.layer("model", layer, value)?;
        let model = Self::new(graph);
        // The chain is the whole model, so its name would say nothing in front of every parameter's.
        for param in model.params() {
            let name = param.name();
            param.set_name(name.strip_prefix("model.").unwrap_or(&name));
        }
        Ok(model)
    }

    /// The model that a recipe describes, for samples of shape `input`, with fresh weights.
    ///
    /// Shapes are inferred and checked; the error shows the layers so far with their shapes, and marks the culprit.
    pub fn build(recipe: &Recipe, input: &[usize]) -> Result<Self> {
        Self::with_inputs(recipe, &[input.to_vec()])
    }

    /// [`Model::build`] with as many inputs as there are shapes.
    pub(crate) fn with_inputs(recipe: &Recipe, inputs: &[Vec<usize>]) -> Result<Self> {
        let graph = super::build::graph(recipe, inputs)?;
        Ok(Self { params: graph.params(), graph, recipe: Some(recipe.clone()), memory: NamedTensors::new() })
    }

    /// The recipe, if the model was built from one.
    pub fn recipe(&self) -> Option<&Recipe> {
        self.recipe.as_ref()
    }

    /// Replaces what the model says of its data and training; the layers must be those that it has.
    pub fn set_recipe(&mut self, recipe: Recipe) -> Result<()> {
        let names: Vec<&str> = self.graph.layers().iter().map(|node| node.name.as_str()).collect();
        if recipe.layer_names() != names {
            return Err(Error::Config(format!(
                "a recipe with the layers {} does not describe a model with the layers {}",
                recipe.layer_names().join(", "),
                names.join(", ")
            )));
        }
        self.recipe = Some(recipe);
        Ok(())
    }

    /// What the training that made the model remembers, where it was saved with it; else empty. A training can go on from it: see
    /// [`Trainer::recall`](crate::train::Trainer::recall).
    pub fn memory(&self) -> &NamedTensors {
        &self.memory
    }

    /// Replaces what the training remembers by what [`Update::state`](crate::optim::Update::state) gave; it is saved with the model.
    pub fn set_memory(&mut self, memory: NamedTensors) {
        self.memory = memory;
    }

    /// The layers.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// Every parameter, in the order of the layers.
    pub fn params(&self) -> &[Param] {
        &self.params
    }

    /// The shape of one sample of the result.
    pub fn output_shape(&self) -> &[usize] {
        self.graph.last().map_or(&[], |value| self.graph.shape(value))
    }

    /// The result for a batch.
    pub fn forward(&self, x: &Tensor, ctx: &Ctx) -> Result<Tensor> {
        self.graph.forward(&[x], ctx)
    }

    /// The result before the last activation, and that activation: losses are more exact when they know it.
    pub fn forward_raw(&self, x: &Tensor, ctx: &Ctx) -> Result<(Tensor, Activation)> {
        self.graph.forward_raw(&[x], ctx)
    }

    /// [`Model::forward_raw`], and the sum of the penalties on layers' results, if there are any.
    pub fn forward_penalized(&self, x: &Tensor, ctx: &Ctx) -> Result<(Tensor, Activation, Option<Tensor>)> {
        self.graph.forward_penalized(&[x], ctx)
    }

    /// The sum of the penalties on trainable parameters, which belongs to the loss.
    pub fn penalty(&self) -> Result<f64> {
        let of = |param: &Param| match param.regularizer().filter(|_| param.trainable()) {
            Some(regularizer) => Ok(regularizer.penalty(&param.value().detach())?.item()?),
            None => Ok(0.0),
        };
        self.params.iter().map(of).sum()
    }

    /// The result for a batch when nothing is to be learnt from it.
    pub fn predict(&self, x: &Tensor) -> Result<Tensor> {
        no_grad(|| self.forward(x, &Ctx::eval()))
    }

    /// Lets the layers that must know the data before the training look at them, from the first layer to the last: see
    /// [`Module::adapt`]. Frozen ones keep what they know.
    pub fn adapt(&self, data: &Loader) -> Result<()> {
        let nodes = self.graph.nodes();
        for node in nodes {
            let (Some(Piece::Layer(layer)), [from, ..]) = (&node.piece, node.from.as_slice()) else { continue };
            let from = &nodes[*from];
            layer.adapt(&mut |look| {
                no_grad(|| {
                    for batch in data.epoch(0) {
                        let inputs = batch?.inputs;
                        match from.piece {
                            None => look(&inputs)?,
                            Some(_) => {
                                _ = self.graph.run(&[&inputs], &Ctx::eval(), |name, y| {
                                    if name == from.name { look(y) } else { Ok(()) }
                                })?
                            }
                        }
                    }
                    Ok(())
                })
            })?;
        }
        Ok(())
    }

    /// Moves every parameter to `device`.
    pub fn to_device(&self, device: Device) -> Result<()> {
        for param in &self.params {
            param.set(param.value().detach().to_device(device)?)?;
        }
        Ok(())
    }

    /// One row for each layer, inputs included.
    pub fn summary(&self) -> Vec<Row> {
        let nodes = self.graph.nodes();
        let row = |node: &super::graph::Node| {
            let mut own = Vec::new();
            if let Some(Piece::Layer(layer)) = &node.piece {
                layer.params(&mut |_, param| own.push(param.clone()));
            }
            Row {
                name: node.name.clone(),
                class: node.class,
                shape: node.shape.clone(),
                params: Counts::of(&own),
                inputs: node.from.iter().map(|&value| nodes[value].name.clone()).collect(),
            }
        };
        nodes.iter().map(row).collect()
    }

    /// How many numbers the model holds. A parameter that layers share counts once.
    pub fn counts(&self) -> Counts {
        Counts::of(&self.params)
    }

    /// Every parameter's name and value.
    pub fn weights(&self) -> Vec<(String, Tensor)> {
        self.params.iter().map(|param| (param.name(), param.value().detach())).collect()
    }

    /// The SHA-256 of all names, shapes and values: equal exactly if the weights are.
    pub fn weights_sha256(&self) -> Result<String> {
        safetensors::weights_sha256(&self.weights())
    }

    /// Replaces every parameter's value; `from` is what complaints call the source.
    pub fn set_weights(&self, weights: Vec<(String, Tensor)>, from: &str) -> Result<()> {
        let mut weights: BTreeMap<String, Tensor> = weights.into_iter().collect();
        for param in &self.params {
            let name = param.name();
            let Some(value) = weights.remove(&name) else {
                return Err(Error::Data(format!("{from}: {name} is not in it; was it saved from another model?")));
            };
            let old = param.value();
            if value.shape() != old.shape() {
                let text =
                    format!("{from}: {name} has shape {:?} there and {:?} in the model", value.shape(), old.shape());
                return Err(Error::Data(text));
            }
            param.set(value.to_dtype(old.dtype())?.to_device(old.device())?)?;
        }
        match weights.keys().next() {
            Some(name) => {
                Err(Error::Data(format!("{from}: the model has no {name}; was it saved from another model?")))
            }
            None => Ok(()),
        }
    }

    /// Writes weights, recipe, what the training remembers, and `extra` metadata into one file, whole or not at all.
    pub fn save(&self, path: impl AsRef<Path>, mut extra: BTreeMap<String, String>) -> Result<()> {
        if let Some(recipe) = &self.recipe {
            extra.insert(RECIPE.into(), recipe.to_toml());
        }
        extra.insert(INPUTS.into(), format!("{:?}", self.graph.input_shapes()));
        let memory = self.memory.iter().map(|(name, tensor)| (format!("{MEMORY}{name}"), tensor.clone()));
        safetensors::save(path, &self.weights().into_iter().chain(memory).collect::<Vec<_>>(), &extra)
    }

    /// Reads a file of [`Model::save`]; also gives the metadata that was saved with it.
    pub fn load(path: impl AsRef<Path>) -> Result<(Self, BTreeMap<String, String>)> {
        let path = path.as_ref();
        let (weights, metadata) = safetensors::load(path)?;
        Self::restore(weights, metadata, &path.display().to_string())
    }

    /// Whether a file with this metadata is one of [`Model::save`].
    pub(crate) fn is_saved(metadata: &BTreeMap<String, String>) -> bool {
        metadata.contains_key(RECIPE)
    }

    /// The model that the content of a file stands for, and the metadata that are not the model's; complaints call it `from`.
    pub(crate) fn restore(
        weights: NamedTensors,
        mut metadata: BTreeMap<String, String>,
        from: &str,
    ) -> Result<(Self, BTreeMap<String, String>)> {
        let lacks = |what: &str| Error::Data(format!("{from}: no model file of gradus: it lacks {what}"));
        let text = metadata.remove(RECIPE).ok_or_else(|| lacks(RECIPE))?;
        let inputs = metadata.remove(INPUTS).ok_or_else(|| lacks(INPUTS))?;
        let inputs: Vec<Vec<usize>> = serde_json::from_str(&inputs).map_err(|_| lacks("readable input shapes"))?;
        let recipe = Recipe::parse(&text, &format!("the recipe in {from}"))?;
        let mut model = Self::with_inputs(&recipe, &inputs)?;
        let (memory, weights): (NamedTensors, _) = weights.into_iter().partition(|(name, _)| name.starts_with(MEMORY));
        model.set_weights(weights, from)?;
        let bare = |(name, tensor): (String, Tensor)| Some((name.strip_prefix(MEMORY)?.to_string(), tensor));
        model.set_memory(memory.into_iter().filter_map(bare).collect());
        Ok((model, metadata))
    }
}

impl Counts {
    fn of(params: &[Param]) -> Self {
        let total = params.iter().map(Param::len).sum();
        let trainable = params.iter().filter(|param| param.trainable()).map(Param::len).sum();
        Counts { total, trainable, non_trainable: total - trainable }
    }
}
