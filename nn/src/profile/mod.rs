//! What kernels cost and how exact they are: one list of operations, measured alike by the command line and by the benches.
//!
//! [`operations`] lists what can be measured, with the shapes that the labs and the comparisons with other engines use. A
//! [`Bench`] times one of them on a [`Variant`] of the kernels, holds the time against what the machine can do at most
//! ([`peak`](crate::core::kernels::cpu::peak), measured by the same bench), and the result against the same computed with
//! `f64`.

mod bench;
mod exactness;
mod operation;
mod rows;
mod variant;

pub use bench::{Bench, Measurement};
pub use exactness::max_rel_error;
pub use operation::{Operation, Scale, show, to_shape};
pub use rows::operations;
pub use variant::Variant;
