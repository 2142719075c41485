//! Layers. None of them implements a gradient: those follow from the operations they are made of.

mod activation;
mod batch_norm;
mod convolution;
mod dense;
mod depthwise;
mod dropout;
mod imaging;
mod merge;
mod normalization;
mod pooling;
mod reshape;
mod sample_norm;
#[cfg(test)]
pub(crate) mod testing;
mod window;

pub use activation::Activation;
pub use batch_norm::{BatchNorm, BatchNormOptions};
pub use convolution::{Conv1d, Conv2d, Conv2dTranspose, ConvOptions};
pub use dense::{Dense, DenseOptions};
pub use depthwise::{DepthwiseConv2d, SeparableConv2d};
pub use dropout::Dropout;
pub use imaging::{Interpolation, Rescaling, UpSampling2d, ZeroPadding2d};
pub use merge::Merge;
pub use normalization::Normalization;
pub use pooling::{AdaptivePool2d, GlobalPool, Pool2d, Pooling};
pub use reshape::{Flatten, Reshape};
pub use sample_norm::{Over, RmsNorm, SampleNorm, SampleNormOptions};
pub use window::{Padding, Sliding};
