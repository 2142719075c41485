//! Every type of layer that a text can ask for: one row each, and below it what the row's type can be told.

use std::sync::Arc;

use super::optimizer::{fill, share};
use super::{LayerConfig, Naming, Preset, Table, Writer};
use crate::core::RandomKey;
use crate::layers::{
    Activation, BatchNorm, BatchNormOptions, Dense, DenseOptions, Dropout, Flatten, Merge, Normalization, Reshape,
};
use crate::module::Module;
use crate::{Error, Result};

/// What stands in a model: a layer of one input, or a way to join several.
#[derive(Clone, Debug)]
pub enum Piece {
    /// A layer of one input. A clone is the same layer.
    Layer(Arc<dyn Module>),
    /// A way to join several.
    Merge(Merge),
}

/// A type of layer.
#[derive(Debug)]
pub struct LayerType {
    /// What users write.
    pub name: &'static str,
    /// Other names for it.
    pub also: &'static [&'static str],
    /// What it does, in a sentence.
    pub about: &'static str,
    /// Reads what the text says about one.
    pub(super) read: fn(&mut Table, Preset) -> Result<Arc<dyn LayerConfig>>,
}

/// All types, in the order in which a list shows them. Every activation's name is a type as well.
pub const LAYERS: &[LayerType] = &[
    LayerType {
        name: "dense",
        also: &["linear"],
        about: "every output is a weighted sum of all inputs; units, activation, init, bias_init, bias",
        read: read_dense,
    },
    LayerType {
        name: "flatten",
        also: &[],
        about: "all numbers of a sample in one row",
        read: |_, _| Ok(Arc::new(Flatten)),
    },
    LayerType {
        name: "reshape",
        also: &[],
        about: "the numbers of a sample in another shape; shape",
        read: read_reshape,
    },
    LayerType { name: "activation", also: &[], about: "a function of every number; function", read: read_activation },
    LayerType {
        name: "dropout",
        also: &[],
        about: "in training some numbers become 0, the others grow to make up for it; rate",
        read: read_dropout,
    },
    LayerType {
        name: "batch_norm",
        also: &["batch_normalization"],
        about: "every feature with mean 0 and variance 1 over the batch; momentum, epsilon, center, scale, axis",
        read: read_batch_norm,
    },
    LayerType {
        name: "normalization",
        also: &["standardize"],
        about: "every feature with mean 0 and variance 1 over the training data, learnt before the training",
        read: |_, _| Ok(Arc::new(NormalizationConfig)),
    },
    LayerType { name: "add", also: &[], about: "the sum of several layers", read: |_, _| Ok(Arc::new(Merge::Add)) },
    LayerType {
        name: "multiply",
        also: &[],
        about: "the product of several layers",
        read: |_, _| Ok(Arc::new(Merge::Multiply)),
    },
    LayerType {
        name: "average",
        also: &[],
        about: "the mean of several layers",
        read: |_, _| Ok(Arc::new(Merge::Average)),
    },
    LayerType {
        name: "maximum",
        also: &[],
        about: "the largest of several layers",
        read: |_, _| Ok(Arc::new(Merge::Maximum)),
    },
    LayerType { name: "concatenate", also: &[], about: "several layers side by side; axis", read: read_concatenate },
];

fn read_dense(table: &mut Table, preset: Preset) -> Result<Arc<dyn LayerConfig>> {
    for (other, key) in [
        ("kernel_init", "init"),
        ("kernel_initializer", "init"),
        ("bias_initializer", "bias_init"),
        ("use_bias", "bias"),
    ] {
        table.alias(other, key)?;
    }
    let units = table.need_if("units", "a whole number of 1 or more", |&n: &usize| n > 0)?;
    let mut options = match preset {
        Preset::Keras => DenseOptions::keras(units),
        Preset::Torch => DenseOptions::torch(units),
    };
    fill(&mut options.activation, table.take_parsed("activation", |text| function(text, preset, 0.2))?);
    fill(&mut options.kernel_init, table.take_named("init")?);
    fill(&mut options.bias_init, table.take_named("bias_init")?);
    fill(&mut options.bias, table.take("bias")?);
    Ok(Arc::new(options))
}

impl LayerConfig for DenseOptions {
    fn naming(&self) -> Naming {
        Naming { kind: "dense", class: "Dense", auto: "dense" }
    }

    fn write(&self, out: &mut Writer) {
        out.put_number("units", self.units);
        out.put_named("activation", &self.activation);
        out.put_named("init", &self.kernel_init);
        out.put_named("bias_init", &self.bias_init);
        out.put("bias", self.bias);
    }

    fn build(&self, inputs: &[&[usize]], key: RandomKey) -> Result<Piece> {
        let [.., features] = one(inputs)? else {
            return Err(Error::Config("a sample is a single number here; dense needs at least a row of them".into()));
        };
        layer(Dense::new(*features, self, key)?)
    }
}

impl LayerConfig for Flatten {
    fn naming(&self) -> Naming {
        Naming { kind: "flatten", class: "Flatten", auto: "flatten" }
    }

    fn write(&self, _: &mut Writer) {}

    fn build(&self, inputs: &[&[usize]], _: RandomKey) -> Result<Piece> {
        one(inputs)?;
        layer(Flatten)
    }
}

#[derive(Debug)]
struct ReshapeConfig(Vec<usize>);

fn read_reshape(table: &mut Table, _: Preset) -> Result<Arc<dyn LayerConfig>> {
    let wanted = "a list of sizes, without the batch";
    let shape = table.need_if("shape", wanted, |shape: &Vec<usize>| shape.iter().all(|&size| size > 0))?;
    Ok(Arc::new(ReshapeConfig(shape)))
}

impl LayerConfig for ReshapeConfig {
    fn naming(&self) -> Naming {
        Naming { kind: "reshape", class: "Reshape", auto: "reshape" }
    }

    fn write(&self, out: &mut Writer) {
        out.put_sizes("shape", &self.0);
    }

    fn build(&self, inputs: &[&[usize]], _: RandomKey) -> Result<Piece> {
        one(inputs)?;
        layer(Reshape::new(self.0.clone()))
    }
}

/// An activation by name. Without a number of its own a leaky ReLU gets `slope` in Keras, where a layer has 0.3 and a
/// function 0.2, and 0.01 in PyTorch.
fn function(text: &str, preset: Preset, slope: f64) -> Result<Activation> {
    match (text.parse()?, preset) {
        (Activation::LeakyRelu(_), _) if text.contains('(') => text.parse(),
        (Activation::LeakyRelu(_), Preset::Keras) => Ok(Activation::LeakyRelu(slope)),
        (Activation::LeakyRelu(_), Preset::Torch) => Ok(Activation::LeakyRelu(0.01)),
        (activation, _) => Ok(activation),
    }
}

fn read_activation(table: &mut Table, preset: Preset) -> Result<Arc<dyn LayerConfig>> {
    let wanted = format!("one of {}", Activation::NAMES.join(", "));
    let read = table.take_parsed("function", |text| function(text, preset, 0.2))?;
    Ok(Arc::new(read.ok_or_else(|| table.lacks("function", &wanted))?))
}

/// An activation whose name is the layer's type: `type = "leaky_relu"`, which may come with a `slope`.
pub(super) fn activation(kind: &str, table: &mut Table, preset: Preset) -> Result<Arc<dyn LayerConfig>> {
    let mut activation = function(kind, preset, 0.3)?;
    if let Activation::LeakyRelu(slope) = &mut activation {
        fill(slope, table.take_if("slope", "a finite number", |x: &f64| x.is_finite())?);
    }
    Ok(Arc::new(activation))
}

impl LayerConfig for Activation {
    fn naming(&self) -> Naming {
        let (class, auto) = match self {
            Activation::Relu => ("ReLU", "re_lu"),
            Activation::LeakyRelu(_) => ("LeakyReLU", "leaky_re_lu"),
            Activation::Elu(_) => ("ELU", "elu"),
            Activation::Softmax => ("Softmax", "softmax"),
            _ => ("Activation", "activation"),
        };
        Naming { kind: "activation", class, auto }
    }

    fn write(&self, out: &mut Writer) {
        out.put_named("function", self);
    }

    fn build(&self, inputs: &[&[usize]], _: RandomKey) -> Result<Piece> {
        one(inputs)?;
        layer(self.clone())
    }
}

#[derive(Debug)]
struct DropoutConfig(f64);

fn read_dropout(table: &mut Table, _: Preset) -> Result<Arc<dyn LayerConfig>> {
    let rate = share(table, "rate")?;
    Ok(Arc::new(DropoutConfig(rate.ok_or_else(|| table.lacks("rate", "the share of numbers that become 0"))?)))
}

impl LayerConfig for DropoutConfig {
    fn naming(&self) -> Naming {
        Naming { kind: "dropout", class: "Dropout", auto: "dropout" }
    }

    fn write(&self, out: &mut Writer) {
        out.put("rate", self.0);
    }

    fn build(&self, inputs: &[&[usize]], _: RandomKey) -> Result<Piece> {
        one(inputs)?;
        layer(Dropout::new(self.0)?)
    }
}

fn read_batch_norm(table: &mut Table, preset: Preset) -> Result<Arc<dyn LayerConfig>> {
    let mut options = match preset {
        Preset::Keras => BatchNormOptions::keras(),
        Preset::Torch => BatchNormOptions::torch(),
    };
    // Momentum is the share of the old in Keras and the share of the new in PyTorch; the options hold the former.
    let momentum = table.take_if("momentum", "a number from 0 to 1", |x: &f64| (0.0..=1.0).contains(x))?;
    let of_old = |momentum| if preset == Preset::Keras { momentum } else { 1.0 - momentum };
    fill(&mut options.momentum, momentum.map(of_old));
    fill(
        &mut options.epsilon,
        table.take_if("epsilon", "a finite number above 0", |&x: &f64| x.is_finite() && x > 0.0)?,
    );
    fill(&mut options.center, table.take("center")?);
    fill(&mut options.scale, table.take("scale")?);
    fill(&mut options.unbiased, table.take("unbiased")?);
    fill(&mut options.axis, table.take("axis")?);
    Ok(Arc::new(BatchNormConfig { options, preset }))
}

/// The options together with the convention in which the user writes them.
#[derive(Debug)]
struct BatchNormConfig {
    options: BatchNormOptions,
    preset: Preset,
}

impl LayerConfig for BatchNormConfig {
    fn naming(&self) -> Naming {
        Naming { kind: "batch_norm", class: "BatchNormalization", auto: "batch_normalization" }
    }

    fn write(&self, out: &mut Writer) {
        let old = self.options.momentum;
        out.put("momentum", if self.preset == Preset::Keras { old } else { 1.0 - old });
        out.put("epsilon", self.options.epsilon);
        out.put("center", self.options.center);
        out.put("scale", self.options.scale);
        out.put("unbiased", self.options.unbiased);
        out.put_number("axis", self.options.axis);
    }

    fn build(&self, inputs: &[&[usize]], _: RandomKey) -> Result<Piece> {
        let (shape, axis) = (one(inputs)?, self.options.axis);
        // The axis counts the batch, the shape does not have it.
        let place = if axis < 0 { axis + shape.len() as isize } else { axis - 1 };
        let features = usize::try_from(place).ok().and_then(|place| shape.get(place));
        let missing =
            || Error::Config(format!("a batch of samples of shape {shape:?} has no axis {axis} for features"));
        layer(BatchNorm::new(*features.ok_or_else(missing)?, self.options.clone())?)
    }
}

#[derive(Debug)]
struct NormalizationConfig;

impl LayerConfig for NormalizationConfig {
    fn naming(&self) -> Naming {
        Naming { kind: "normalization", class: "Normalization", auto: "normalization" }
    }

    fn write(&self, _: &mut Writer) {}

    fn build(&self, inputs: &[&[usize]], _: RandomKey) -> Result<Piece> {
        let [.., features] = one(inputs)? else {
            return Err(Error::Config(
                "a sample is a single number here; normalization needs at least a row of them".into(),
            ));
        };
        layer(Normalization::new(*features)?)
    }
}

fn read_concatenate(table: &mut Table, _: Preset) -> Result<Arc<dyn LayerConfig>> {
    Ok(Arc::new(Merge::Concatenate { axis: table.take("axis")?.unwrap_or(-1) }))
}

impl LayerConfig for Merge {
    fn naming(&self) -> Naming {
        match self {
            Merge::Add => Naming { kind: "add", class: "Add", auto: "add" },
            Merge::Multiply => Naming { kind: "multiply", class: "Multiply", auto: "multiply" },
            Merge::Average => Naming { kind: "average", class: "Average", auto: "average" },
            Merge::Maximum => Naming { kind: "maximum", class: "Maximum", auto: "maximum" },
            Merge::Concatenate { .. } => Naming { kind: "concatenate", class: "Concatenate", auto: "concatenate" },
        }
    }

    fn write(&self, out: &mut Writer) {
        if let Merge::Concatenate { axis } = self {
            out.put_number("axis", axis);
        }
    }

    fn build(&self, inputs: &[&[usize]], _: RandomKey) -> Result<Piece> {
        if inputs.len() < 2 {
            return Err(Error::Config("joins several layers; name them: inputs = [\"a\", \"b\"]".into()));
        }
        Ok(Piece::Merge(self.clone()))
    }
}

/// The one input of a layer that takes no more.
fn one<'a>(inputs: &[&'a [usize]]) -> Result<&'a [usize]> {
    match inputs {
        &[input] => Ok(input),
        _ => Err(Error::Config(format!("takes one input, not {}; join them with add or concatenate", inputs.len()))),
    }
}

fn layer(module: impl Module + 'static) -> Result<Piece> {
    Ok(Piece::Layer(Arc::new(module)))
}
