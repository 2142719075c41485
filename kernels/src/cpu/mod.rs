//! The CPU backend's kernels.
//!
//! [`simd`] compiles one body for every instruction set and picks one at run time; [`threads`] cuts work into chunks that
//! depend on its size alone, so that results have the same bits at any thread count.

pub mod cache;
pub mod matmul;
pub mod simd;
pub mod threads;
