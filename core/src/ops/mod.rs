//! Every operation, with its gradient.
//!
//! | file | what | written as |
//! |---|---|---|
//! | [`unary`] | functions of one number: `exp`, `relu`, … | a table: one row each |
//! | [`binary`] | functions of two numbers, with broadcasting; operators | a table: one row each |
//! | [`compare`] | comparisons, logic, choice by condition | one op; the rest composed |
//! | [`cast`] | element types and devices | ops |
//! | [`shape`] | reshape, permute, broadcast, slice, cat, … | ops on layouts |
//! | [`reduce`] | sums, means, extremes over dimensions; scans | ops |
//! | [`matmul`] | matrix products | one op |
//! | [`linear`] | the dense layer: product, bias, activation | one op with gradient kernels |
//! | [`conv`] | convolution, transposed convolution | three ops that are each other's gradients |
//! | [`pool`] | pools, padding and enlarging of images | ops; the rest composed |
//! | [`norm`] | batch and layer normalisation | ops with gradient kernels |
//! | [`index`] | gather, scatter, index, sort | ops |
//! | [`fused`] | softmax, log-softmax, cross-entropy | ops with gradient kernels |
//! | [`step`] | optimizer steps, in place | no ops: nothing is recorded |
//! | [`composed`] | whatever the ones above express well | plain functions |
//!
//! An operation that others express well is a plain function of tensors and needs no gradient: `composed` has examples. A
//! pointwise one is a row in a table. Anything else implements [`Op`](crate::Op) in full, as [`matmul`] does.

pub mod binary;
pub mod cast;
pub mod compare;
pub mod composed;
pub mod conv;
pub mod fused;
pub mod index;
pub mod linear;
pub mod matmul;
pub mod norm;
pub mod pool;
pub mod reduce;
pub mod shape;
pub mod step;
pub mod unary;
