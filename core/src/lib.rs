//! Tensors and reverse-mode automatic differentiation.
//!
//! Start with [`mod@grad`]: its page explains the engine. [`ops`] lists every operation with its gradient. This crate knows no
//! layer, no optimizer and no file format, and never asks which device a tensor is on: it calls a
//! [`Backend`](gradus_kernels::Backend).

pub mod device;
mod display;
pub mod error;
pub mod grad;
pub mod ops;
pub mod tensor;

pub use device::Device;
pub use error::{Error, Result};
pub use grad::{Gradient, Gradients, Op, grad, no_grad};
pub use gradus_kernels::{Bool, Buffer, DType, Distribution, Element, RandomKey, Scalar, Window};
pub use tensor::Tensor;

/// Everything below tensors: layouts, buffers, memory and the primitives themselves.
pub use gradus_kernels as kernels;
