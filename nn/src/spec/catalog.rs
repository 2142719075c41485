//! Every type of layer that a text can ask for, one row each; the files below read what the row's type can be told.

mod basic;
mod convolution;
mod images;
mod norm;

use std::sync::Arc;

use super::{LayerConfig, Preset, Table};
use crate::layers::Merge;
use crate::module::Module;
use crate::{Error, Result};

pub(super) use self::basic::activation;

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
    pub(super) read: Read,
}

/// Reads what a text says about a layer.
type Read = fn(&mut Table, Preset) -> Result<Arc<dyn LayerConfig>>;

/// A row of the table.
const fn row(name: &'static str, also: &'static [&'static str], about: &'static str, read: Read) -> LayerType {
    LayerType { name, also, about, read }
}

/// All types, in the order in which a list shows them. Every activation's name is a type as well.
pub const LAYERS: &[LayerType] = &[
    row(
        "dense",
        &["linear"],
        "every output is a weighted sum of all inputs; units, activation, init, bias_init, bias",
        basic::dense,
    ),
    row(
        "conv2d",
        &[],
        "filters that move over images; filters, kernel_size, strides, padding, dilation, groups, activation, init, bias",
        convolution::conv2d,
    ),
    row(
        "conv1d",
        &[],
        "filters that move over rows of numbers; as conv2d, with one number for each size",
        convolution::conv1d,
    ),
    row(
        "conv2d_transpose",
        &[],
        "a convolution the other way round, which makes images larger; as conv2d",
        convolution::transpose,
    ),
    row(
        "depthwise_conv2d",
        &[],
        "filters that see one channel each; kernel_size, depth_multiplier, strides, padding, dilation, activation, init, bias",
        convolution::depthwise,
    ),
    row(
        "separable_conv2d",
        &[],
        "a depthwise convolution, then one of 1 x 1; filters and what depthwise_conv2d has",
        convolution::separable,
    ),
    row(
        "max_pool2d",
        &["max_pooling2d"],
        "the largest number of each window; pool_size, strides, padding",
        images::max_pool,
    ),
    row(
        "avg_pool2d",
        &["average_pooling2d"],
        "the mean of each window; pool_size, strides, padding, count_padding",
        images::avg_pool,
    ),
    row(
        "global_avg_pool2d",
        &["global_average_pooling2d"],
        "the mean of each channel; keepdims",
        images::global_avg_pool,
    ),
    row(
        "global_max_pool2d",
        &["global_max_pooling2d"],
        "the largest number of each channel; keepdims",
        images::global_max_pool,
    ),
    row(
        "adaptive_avg_pool2d",
        &["adaptive_average_pooling2d"],
        "means that leave so many rows and columns; output_size",
        images::adaptive_avg_pool,
    ),
    row(
        "adaptive_max_pool2d",
        &["adaptive_max_pooling2d"],
        "the largest numbers, so many rows and columns of them; output_size",
        images::adaptive_max_pool,
    ),
    row("up_sampling2d", &["upsampling2d"], "images so many times as large; size, interpolation", images::up_sampling),
    row("zero_padding2d", &[], "zeros around images; padding", images::zero_padding),
    row("rescaling", &[], "every number times scale plus offset; scale, offset", images::rescaling),
    row("flatten", &[], "all numbers of a sample in one row", basic::flatten),
    row("reshape", &[], "the numbers of a sample in another shape; shape", basic::reshape),
    row("activation", &[], "a function of every number; function", basic::any_activation),
    row("dropout", &[], "in training some numbers become 0, the others grow to make up for it; rate", basic::dropout),
    row(
        "spatial_dropout2d",
        &[],
        "in training some channels become 0, the others grow to make up for it; rate",
        basic::spatial_dropout,
    ),
    row(
        "batch_norm",
        &["batch_normalization"],
        "every feature with mean 0 and variance 1 over the batch; momentum, epsilon, center, scale, axis",
        norm::batch_norm,
    ),
    row(
        "layer_norm",
        &["layer_normalization"],
        "the last dimension of each sample with mean 0 and variance 1; epsilon, center, scale",
        norm::layer_norm,
    ),
    row(
        "group_norm",
        &["group_normalization"],
        "groups of channels of each sample with mean 0 and variance 1; groups, epsilon, center, scale",
        norm::group_norm,
    ),
    row(
        "instance_norm",
        &["instance_normalization"],
        "each channel of each sample with mean 0 and variance 1; epsilon, center, scale",
        norm::instance_norm,
    ),
    row(
        "rms_norm",
        &["rms_normalization"],
        "the last dimension of each sample with mean square 1; epsilon",
        norm::rms_norm,
    ),
    row(
        "normalization",
        &["standardize"],
        "every feature with mean 0 and variance 1 over the training data, learnt before the training",
        norm::normalization,
    ),
    row("add", &[], "the sum of several layers", |_, _| Ok(Arc::new(Merge::Add))),
    row("multiply", &[], "the product of several layers", |_, _| Ok(Arc::new(Merge::Multiply))),
    row("average", &[], "the mean of several layers", |_, _| Ok(Arc::new(Merge::Average))),
    row("maximum", &[], "the largest of several layers", |_, _| Ok(Arc::new(Merge::Maximum))),
    row("concatenate", &[], "several layers side by side; axis", basic::concatenate),
];

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
