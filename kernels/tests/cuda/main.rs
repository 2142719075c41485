//! The CUDA kernels, executed by the emulator from the very PTX that is shipped, against the reference.

mod binary;
mod conv;
mod copy;
mod gpu;
mod index;
mod matmul;
mod norm;
mod pointwise;
mod ptx;
mod random;
mod reduce;
mod seeded;
mod softmax;
mod update;
