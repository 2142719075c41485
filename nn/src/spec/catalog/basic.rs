//! Dense layers, activations, dropout, shapes, and ways to join layers.

use std::sync::Arc;

use super::{Piece, layer, one};
use crate::core::RandomKey;
use crate::layers::{Activation, Dense, DenseOptions, Dropout, Flatten, Merge, Reshape};
use crate::spec::optimizer::{fill, share};
use crate::spec::{LayerConfig, Naming, Preset, Table, Writer};
use crate::{Error, Result};

pub(super) fn dense(table: &mut Table, preset: Preset) -> Result<Arc<dyn LayerConfig>> {
    weights_aliases(table)?;
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

/// Other names of what layers with weights can be told.
pub(super) fn weights_aliases(table: &mut Table) -> Result<()> {
    for (other, key) in [
        ("kernel_init", "init"),
        ("kernel_initializer", "init"),
        ("bias_initializer", "bias_init"),
        ("use_bias", "bias"),
    ] {
        table.alias(other, key)?;
    }
    Ok(())
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

pub(super) fn flatten(_: &mut Table, _: Preset) -> Result<Arc<dyn LayerConfig>> {
    Ok(Arc::new(Flatten))
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

pub(super) fn reshape(table: &mut Table, _: Preset) -> Result<Arc<dyn LayerConfig>> {
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
pub(super) fn function(text: &str, preset: Preset, slope: f64) -> Result<Activation> {
    match (text.parse()?, preset) {
        (Activation::LeakyRelu(_), _) if text.contains('(') => text.parse(),
        (Activation::LeakyRelu(_), Preset::Keras) => Ok(Activation::LeakyRelu(slope)),
        (Activation::LeakyRelu(_), Preset::Torch) => Ok(Activation::LeakyRelu(0.01)),
        (activation, _) => Ok(activation),
    }
}

pub(super) fn any_activation(table: &mut Table, preset: Preset) -> Result<Arc<dyn LayerConfig>> {
    let wanted = format!("one of {}", Activation::NAMES.join(", "));
    let read = table.take_parsed("function", |text| function(text, preset, 0.2))?;
    Ok(Arc::new(read.ok_or_else(|| table.lacks("function", &wanted))?))
}

/// An activation whose name is the layer's type: `type = "leaky_relu"`, which may come with a `slope`.
pub(in crate::spec) fn activation(kind: &str, table: &mut Table, preset: Preset) -> Result<Arc<dyn LayerConfig>> {
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
struct DropoutConfig {
    rate: f64,
    spatial: bool,
}

pub(super) fn dropout(table: &mut Table, _: Preset) -> Result<Arc<dyn LayerConfig>> {
    let rate = share(table, "rate")?.ok_or_else(|| table.lacks("rate", "the share of numbers that become 0"))?;
    Ok(Arc::new(DropoutConfig { rate, spatial: false }))
}

pub(super) fn spatial_dropout(table: &mut Table, _: Preset) -> Result<Arc<dyn LayerConfig>> {
    let rate = share(table, "rate")?.ok_or_else(|| table.lacks("rate", "the share of channels that become 0"))?;
    Ok(Arc::new(DropoutConfig { rate, spatial: true }))
}

impl LayerConfig for DropoutConfig {
    fn naming(&self) -> Naming {
        match self.spatial {
            false => Naming { kind: "dropout", class: "Dropout", auto: "dropout" },
            true => Naming { kind: "spatial_dropout2d", class: "SpatialDropout2D", auto: "spatial_dropout2d" },
        }
    }

    fn write(&self, out: &mut Writer) {
        out.put("rate", self.rate);
    }

    fn build(&self, inputs: &[&[usize]], _: RandomKey) -> Result<Piece> {
        one(inputs)?;
        layer(if self.spatial { Dropout::spatial(self.rate)? } else { Dropout::new(self.rate)? })
    }
}

pub(super) fn concatenate(table: &mut Table, _: Preset) -> Result<Arc<dyn LayerConfig>> {
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
