//! Tensors and reverse-mode differentiation.
