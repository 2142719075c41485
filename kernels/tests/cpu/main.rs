//! Every primitive of the CPU against the reference, on views of every kind.
//!
//! The kernels run with the instruction set that `GRADUS_ISA` names, or with the widest of this machine.

mod along;
mod common;
mod images;
mod index;
mod layers;
mod pointwise;
mod step;
mod winograd;
