//! gradus: a tensor engine written from scratch.
//!
//! This crate is the front door: [`core`] has tensors and gradients, [`nn`] the layers, optimizers and the training loop.
//!
//! ```
//! use gradus::prelude::*;
//!
//! // The slope of x * tanh(x) at 0.5, and the slope of that slope.
//! let x = Tensor::scalar(0.5f64).requires_grad();
//! let y = &x * x.tanh()?;
//! let dy = grad(&[&y], &[&x], true)?;
//! let ddy = grad(&[&dy[0]], &[&x], false)?;
//! assert!((dy[0].item()? - 0.855_341).abs() < 1e-6);
//! assert!((ddy[0].item()? - 1.209_464).abs() < 1e-6);
//! # Ok::<(), gradus::core::Error>(())
//! ```

pub use gradus_core as core;
pub use gradus_nn as nn;

/// What most programs want in scope.
pub mod prelude {
    pub use gradus_core::{DType, Device, Distribution, RandomKey, Tensor, grad, no_grad};
}
