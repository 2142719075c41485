//! Layers. None of them implements a gradient: those follow from the operations they are made of.

mod activation;

pub use activation::Activation;
