//! Layers, losses, optimizers, data and the training loop.

pub mod error;
pub mod spec;

pub use error::{Error, Result};

/// Tensors and gradients.
pub use gradus_core as core;
