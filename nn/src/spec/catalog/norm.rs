//! Normalisations: over batches, over single samples, over the training data.

use std::sync::Arc;

use super::{Piece, layer, one};
use crate::core::RandomKey;
use crate::layers::{BatchNorm, BatchNormOptions, Normalization, Over, RmsNorm, SampleNorm, SampleNormOptions};
use crate::spec::optimizer::fill;
use crate::spec::{LayerConfig, Naming, Preset, Table, Writer};
use crate::{Error, Result};

pub(super) fn batch_norm(table: &mut Table, preset: Preset) -> Result<Arc<dyn LayerConfig>> {
    let mut options = match preset {
        Preset::Keras => BatchNormOptions::keras(),
        Preset::Torch => BatchNormOptions::torch(),
    };
    // Momentum is the share of the old in Keras and the share of the new in PyTorch; the options hold the former.
    let momentum = table.take_if("momentum", "a number from 0 to 1", |x: &f64| (0.0..=1.0).contains(x))?;
    let of_old = |momentum| if preset == Preset::Keras { momentum } else { 1.0 - momentum };
    fill(&mut options.momentum, momentum.map(of_old));
    fill(&mut options.epsilon, epsilon(table)?);
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

fn epsilon(table: &mut Table) -> Result<Option<f64>> {
    table.take_if("epsilon", "a finite number above 0", |&x: &f64| x.is_finite() && x > 0.0)
}

/// Which of the normalisations of single samples is meant, in the user's words.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Layer,
    Group,
    Instance,
}

#[derive(Debug)]
struct SampleNormConfig {
    kind: Kind,
    /// Groups of channels; for [`Kind::Group`] alone.
    groups: usize,
    epsilon: f64,
    center: bool,
    scale: bool,
}

/// The defaults of `kind` and what the text says instead. Both frameworks learn `gamma` and `beta`, but PyTorch's
/// `InstanceNorm2d`.
fn sample_norm(kind: Kind, table: &mut Table, preset: Preset) -> Result<Arc<dyn LayerConfig>> {
    let learned = preset == Preset::Keras || kind != Kind::Instance;
    let usual = if preset == Preset::Keras { 1e-3 } else { 1e-5 };
    let mut config = SampleNormConfig { kind, groups: 32, epsilon: usual, center: learned, scale: learned };
    if kind == Kind::Group {
        table.alias("num_groups", "groups")?;
        fill(&mut config.groups, table.take_if("groups", "a whole number of 1 or more", |&groups: &usize| groups > 0)?);
    }
    fill(&mut config.epsilon, epsilon(table)?);
    fill(&mut config.center, table.take("center")?);
    fill(&mut config.scale, table.take("scale")?);
    Ok(Arc::new(config))
}

pub(super) fn layer_norm(table: &mut Table, preset: Preset) -> Result<Arc<dyn LayerConfig>> {
    sample_norm(Kind::Layer, table, preset)
}

pub(super) fn group_norm(table: &mut Table, preset: Preset) -> Result<Arc<dyn LayerConfig>> {
    sample_norm(Kind::Group, table, preset)
}

pub(super) fn instance_norm(table: &mut Table, preset: Preset) -> Result<Arc<dyn LayerConfig>> {
    sample_norm(Kind::Instance, table, preset)
}

impl LayerConfig for SampleNormConfig {
    fn naming(&self) -> Naming {
        match self.kind {
            Kind::Layer => Naming { kind: "layer_norm", class: "LayerNormalization", auto: "layer_normalization" },
            Kind::Group => Naming { kind: "group_norm", class: "GroupNormalization", auto: "group_normalization" },
            Kind::Instance => {
                Naming { kind: "instance_norm", class: "InstanceNormalization", auto: "instance_normalization" }
            }
        }
    }

    fn write(&self, out: &mut Writer) {
        if self.kind == Kind::Group {
            out.put_number("groups", self.groups);
        }
        out.put("epsilon", self.epsilon);
        out.put("center", self.center);
        out.put("scale", self.scale);
    }

    fn build(&self, inputs: &[&[usize]], _: RandomKey) -> Result<Piece> {
        let channels = features(one(inputs)?, self.naming().kind)?;
        let over = match self.kind {
            Kind::Layer => Over::Last,
            Kind::Group => Over::Groups(self.groups),
            Kind::Instance => Over::Groups(channels),
        };
        let Self { epsilon, center, scale, .. } = *self;
        layer(SampleNorm::new(channels, SampleNormOptions { over, epsilon, center, scale })?)
    }
}

#[derive(Debug)]
struct RmsNormConfig(f64);

pub(super) fn rms_norm(table: &mut Table, preset: Preset) -> Result<Arc<dyn LayerConfig>> {
    // PyTorch adds what a rounding error of an f32 is.
    let usual = if preset == Preset::Keras { 1e-6 } else { f64::from(f32::EPSILON) };
    Ok(Arc::new(RmsNormConfig(epsilon(table)?.unwrap_or(usual))))
}

impl LayerConfig for RmsNormConfig {
    fn naming(&self) -> Naming {
        Naming { kind: "rms_norm", class: "RMSNormalization", auto: "rms_normalization" }
    }

    fn write(&self, out: &mut Writer) {
        out.put("epsilon", self.0);
    }

    fn build(&self, inputs: &[&[usize]], _: RandomKey) -> Result<Piece> {
        layer(RmsNorm::new(features(one(inputs)?, "rms_norm")?, self.0)?)
    }
}

#[derive(Debug)]
struct NormalizationConfig;

pub(super) fn normalization(_: &mut Table, _: Preset) -> Result<Arc<dyn LayerConfig>> {
    Ok(Arc::new(NormalizationConfig))
}

impl LayerConfig for NormalizationConfig {
    fn naming(&self) -> Naming {
        Naming { kind: "normalization", class: "Normalization", auto: "normalization" }
    }

    fn write(&self, _: &mut Writer) {}

    fn build(&self, inputs: &[&[usize]], _: RandomKey) -> Result<Piece> {
        layer(Normalization::new(features(one(inputs)?, "normalization")?)?)
    }
}

/// The size of a sample's last dimension.
fn features(sample: &[usize], kind: &str) -> Result<usize> {
    sample
        .last()
        .copied()
        .ok_or_else(|| Error::Config(format!("a sample is a single number here; {kind} needs at least a row of them")))
}
