//! The CUDA kernels, executed by the emulator from the very PTX that is shipped, against the reference.

mod binary;
mod conv;
mod conv_tiles;
mod copy;
mod gpu;
mod index;
mod matmul;
mod matmul_any;
mod norm;
mod order;
mod pointwise;
mod ptx;
mod random;
mod reduce;
mod seeded;
mod softmax;
mod update;
