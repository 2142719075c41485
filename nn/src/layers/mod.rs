//! Layers. None of them implements a gradient: those follow from the operations they are made of.

mod activation;
mod batch_norm;
mod dense;
mod dropout;
mod merge;
mod normalization;
mod reshape;
#[cfg(test)]
pub(crate) mod testing;

pub use activation::Activation;
pub use batch_norm::{BatchNorm, BatchNormOptions};
pub use dense::{Dense, DenseOptions};
pub use dropout::Dropout;
pub use merge::Merge;
pub use normalization::Normalization;
pub use reshape::{Flatten, Reshape};
