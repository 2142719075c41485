//! `[[layer]]`: one layer of a model.

use std::fmt::Debug;
use std::sync::Arc;

use super::block::BLOCKS;
use super::catalog::{self, LAYERS, Piece};
use super::preset::suggest;
use super::value::{Place, Value};
use super::{Preset, Table, Writer};
use crate::core::RandomKey;
use crate::layers::Activation;
use crate::module::Module;
use crate::optim::{Constraint, Regularizer};
use crate::{Error, Result};

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
    /// What training does to its parameters besides learning.
    pub rules: Rules,
    /// What it is.
    pub config: Arc<dyn LayerConfig>,
    /// Where it was written, for complaints.
    pub place: Place,
    /// What complaints call it: `[[layer]] number 3 ("dense_1")`.
    pub title: String,
}

/// Penalties and limits that training adds to a layer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rules {
    /// A penalty on the weights.
    pub kernel_regularizer: Option<Regularizer>,
    /// A penalty on the bias.
    pub bias_regularizer: Option<Regularizer>,
    /// A penalty on the layer's result, as a mean over the samples of a batch.
    pub activity_regularizer: Option<Regularizer>,
    /// A limit on the weights.
    pub kernel_constraint: Option<Constraint>,
    /// A limit on the bias.
    pub bias_constraint: Option<Constraint>,
}

impl Rules {
    /// Reads the rules; `l1 = 0.1`, `l2 = 0.01` and `max_norm = 1.0` are short for rules of the kernel.
    fn read(table: &mut Table) -> Result<Self> {
        let positive = |x: &f64| x.is_finite() && *x > 0.0;
        let mut short = |key| table.take_if(key, "a finite number above 0", positive);
        let (l1, l2, max_norm) = (short("l1")?, short("l2")?, short("max_norm")?);
        let mut rules = Self {
            kernel_regularizer: table.take_named("kernel_regularizer")?,
            bias_regularizer: table.take_named("bias_regularizer")?,
            activity_regularizer: table.take_named("activity_regularizer")?,
            kernel_constraint: table.take_named("kernel_constraint")?,
            bias_constraint: table.take_named("bias_constraint")?,
        };
        let brief = match (l1, l2) {
            (None, None) => None,
            (Some(l1), None) => Some(Regularizer::L1(l1)),
            (None, Some(l2)) => Some(Regularizer::L2(l2)),
            (Some(l1), Some(l2)) => Some(Regularizer::L1L2(l1, l2)),
        };
        if brief.is_some() && rules.kernel_regularizer.is_some() {
            return Err(table.complain("kernel_regularizer stands beside l1 or l2, which are short for it; keep one"));
        }
        if max_norm.is_some() && rules.kernel_constraint.is_some() {
            return Err(table.complain("kernel_constraint stands beside max_norm, which is short for it; keep one"));
        }
        rules.kernel_regularizer = rules.kernel_regularizer.or(brief);
        rules.kernel_constraint = rules.kernel_constraint.or(max_norm.map(Constraint::MaxNorm));
        Ok(rules)
    }

    fn write(&self, out: &mut Writer) {
        let mut put = |key, rule: Option<String>| {
            if let Some(rule) = rule {
                out.put(key, rule);
            }
        };
        put("kernel_regularizer", self.kernel_regularizer.as_ref().map(Regularizer::to_string));
        put("bias_regularizer", self.bias_regularizer.as_ref().map(Regularizer::to_string));
        put("activity_regularizer", self.activity_regularizer.as_ref().map(Regularizer::to_string));
        put("kernel_constraint", self.kernel_constraint.as_ref().map(Constraint::to_string));
        put("bias_constraint", self.bias_constraint.as_ref().map(Constraint::to_string));
    }

    /// Gives the parameters of `layer` their rules.
    ///
    /// # Errors
    /// If a rule is for a parameter that the layer does not have.
    pub fn give_to(&self, layer: &dyn Module) -> Result<()> {
        let rules = [
            ("kernel", &self.kernel_regularizer, &self.kernel_constraint),
            ("bias", &self.bias_regularizer, &self.bias_constraint),
        ];
        let mut names = Vec::new();
        layer.params(&mut |name, param| {
            if let Some((_, regularizer, constraint)) = rules.iter().find(|(of, ..)| *of == name) {
                param.set_regularizer((*regularizer).clone());
                param.set_constraint((*constraint).clone());
            }
            names.push(name.to_string());
        });
        for (of, regularizer, constraint) in rules {
            if (regularizer.is_some() || constraint.is_some()) && !names.iter().any(|name| name == of) {
                let key = if regularizer.is_some() { "regularizer" } else { "constraint" };
                return Err(Error::Config(format!("{of}_{key} is given, but the layer has no {of}")));
            }
        }
        Ok(())
    }
}

impl LayerSpec {
    pub(super) fn read(mut table: Table, preset: Preset) -> Result<Self> {
        let name = Self::read_name(&mut table)?.unwrap_or_default();
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
        let blocks = BLOCKS.iter().map(|block| block.name);
        let names = || LAYERS.iter().map(|layer| layer.name).chain(blocks.clone()).collect::<Vec<_>>();
        let Some(node) = table.take_node("type") else {
            return Err(table.lacks("type", &format!("one of {}", names().join(", "))));
        };
        let Value::Text(kind) = &node.value else {
            return Err(table.refuse("type", &node, "must be a text in quotes"));
        };
        if name.is_empty() {
            table.title = format!("{} ({kind:?})", table.title);
        }
        let rules = Rules::read(&mut table)?;
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
        Ok(Self { named: !name.is_empty(), name, inputs, trainable, from_base, rules, config, place, title })
    }

    /// The name that the user gives a layer, or a block of them.
    pub(super) fn read_name(table: &mut Table) -> Result<Option<String>> {
        let plain = |name: &String| !name.is_empty() && !name.contains(['.', '/', '"']);
        table.take_if("name", "a name without dots, slashes and quotes", plain)
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
        self.rules.write(out);
        self.config.write(out);
    }
}
