//! Layers, losses, optimizers, data and the training loop.

pub mod data;
pub mod error;
pub mod format;
pub mod init;
pub mod interop;
pub mod layers;
pub mod loss;
mod memo;
pub mod metrics;
pub mod models;
pub mod module;
mod named;
pub mod optim;
pub mod param;
pub mod profile;
pub mod spec;
pub mod statistics;
pub mod train;

pub use error::{Error, Result};
pub use module::{Ctx, Module};
pub use param::Param;

/// Tensors and gradients.
pub use gradus_core as core;
