//! `[[layer]]`: one layer of a model.

use std::fmt::Debug;
use std::sync::Arc;

use super::catalog::{self, LAYERS, Piece};
use super::preset::suggest;
use super::value::{Place, Value};
use super::{Preset, Table, Writer};
use crate::Result;
use crate::core::RandomKey;
use crate::layers::Activation;

/// What a layer of one type can be told: the text's side of it.
pub trait LayerConfig: Debug + Send + Sync {
    /// What it is called.
    fn naming(&self) -> Naming;
    /// Writes every value.
    fn write(&self, out: &mut Writer);
    /// The layer itself, for inputs of these shapes (without the batch), with weights drawn from `key`.
    fn build(&self, inputs: &[&[usize]], key: RandomKey) -> Result<Piece>;
}

/// What a layer is called, in three places.
#[derive(Clone, Copy, Debug)]
pub struct Naming {
    /// What `type` says.
    pub kind: &'static str,
    /// The class in a summary, as Keras calls it.
    pub class: &'static str,
    /// The name of a layer that the user gives none.
    pub auto: &'static str,
}

/// A layer of a model, with its place in it.
#[derive(Clone, Debug)]
pub struct LayerSpec {
    /// What the layer, and the path of its parameters, is called.
    pub name: String,
    /// Whether the user chose the name; others may still change when layers are put in front.
    pub named: bool,
    /// The layers it takes its inputs from; none means the layer before.
    pub inputs: Vec<String>,
    /// Whether training may change it.
    pub trainable: bool,
    /// Whether it starts from the weights of the base's layer of the same name.
    pub from_base: bool,
    /// What it is.
    pub config: Arc<dyn LayerConfig>,
    /// Where it was written, for complaints.
    pub place: Place,
    /// What complaints call it: `[[layer]] number 3 ("dense_1")`.
    pub title: String,
}

impl LayerSpec {
    pub(super) fn read(mut table: Table, preset: Preset) -> Result<Self> {
        let plain = |name: &String| !name.is_empty() && !name.contains(['.', '/', '"']);
        let name = table.take_if("name", "a name without dots, slashes and quotes", plain)?.unwrap_or_default();
        if !name.is_empty() {
            table.title = format!("{} ({name:?})", table.title);
        }
        let some = |names: &Vec<String>| !names.is_empty();
        let inputs = table.take_if("inputs", "a list of layers' names", some)?.unwrap_or_default();
        let trainable = table.take("trainable")?.unwrap_or(true);
        let from_base = match table.take_node("weights") {
            None => false,
            Some(node) => match &node.value {
                Value::Text(text) if text == "base" => true,
                _ => {
                    return Err(table.refuse(
                        "weights",
                        &node,
                        "must be \"base\": those of the base's layer of this name",
                    ));
                }
            },
        };
        let place = table.place().clone();
        let names = || LAYERS.iter().map(|layer| layer.name).collect::<Vec<_>>();
        let Some(node) = table.take_node("type") else {
            return Err(table.lacks("type", &format!("one of {}", names().join(", "))));
        };
        let Value::Text(kind) = &node.value else {
            return Err(table.refuse("type", &node, "must be a text in quotes"));
        };
        if name.is_empty() {
            table.title = format!("{} ({kind:?})", table.title);
        }
        let config = match LAYERS.iter().find(|layer| layer.name == kind || layer.also.contains(&kind.as_str())) {
            Some(layer) => (layer.read)(&mut table, preset)?,
            // An activation's name is a layer type too, as it is a class in Keras.
            None if kind.parse::<Activation>().is_ok() => catalog::activation(kind, &mut table, preset)?,
            None => {
                let all: Vec<_> = names().into_iter().chain(Activation::NAMES.iter().copied()).collect();
                return Err(table.refuse("type", &node, format!("unknown layer type{}", suggest(kind, &all))));
            }
        };
        let title = table.title.clone();
        table.finish()?;
        Ok(Self { named: !name.is_empty(), name, inputs, trainable, from_base, config, place, title })
    }

    pub(super) fn write(&self, out: &mut Writer) {
        out.element("layer");
        out.put("name", self.name.as_str());
        out.put("type", self.config.naming().kind);
        if !self.inputs.is_empty() {
            out.put("inputs", self.inputs.clone());
        }
        if !self.trainable {
            out.put("trainable", false);
        }
        if self.from_base {
            out.put("weights", "base");
        }
        self.config.write(out);
    }
}
