//! Files: weights in safetensors, and writing so that a failure never costs what was there before.

pub mod atomic;
pub mod safetensors;

pub use self::safetensors::{NamedTensors, load, save, weights_sha256};
pub use atomic::write_atomic;
