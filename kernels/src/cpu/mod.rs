//! The CPU backend's kernels.
//!
//! [`simd`] compiles one body for every instruction set and picks one at run time; [`threads`] cuts work into chunks that
//! depend on its size alone, so that results have the same bits at any thread count.

mod backend;
mod binary;
pub mod cache;
mod conv;
mod copy;
mod fused;
mod index;
mod math;
pub mod matmul;
mod norm;
pub mod peak;
mod pool;
mod read;
mod reduce;
mod scan_sort;
pub mod simd;
mod slope;
mod step;
mod stream;
pub mod threads;
mod transpose;
mod unary;
mod widen;

pub use backend::{CPU, Cpu};
