//! Arithmetic on buffers.
//!
//! This crate knows no graph, no tensor and no layer: to it, `softmax_grad(y, dy)` is one more function of arrays.
//! [`Backend`] lists the primitives and specifies each in a sentence; [`mod@reference`] writes every one of them in the
//! plainest loops; [`cpu`] makes them fast.

pub mod backend;
pub mod buffer;
pub mod cpu;
pub mod cuda;
pub mod dtype;
pub mod error;
pub mod layout;
pub mod pointwise;
pub mod random;
pub mod reference;
pub mod update;
pub mod window;

pub use backend::{ArgReduce, Backend, Binary, Compare, Distribution, RandomKey, Reduce, Unary};
pub use buffer::{Buffer, View, memory};
pub use cpu::{CPU, Cpu};
pub use dtype::{Bool, DType, Element, Scalar};
pub use error::{Error, Result};
pub use layout::{Dims, Layout};
pub use reference::{REFERENCE, Reference};
pub use window::Window;
