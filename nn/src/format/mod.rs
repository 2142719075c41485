//! Files: weights in safetensors and in the containers of other programs, and writing so that a failure never costs what was
//! there before. What models of other programs mean is said in [`interop`](crate::interop).

pub(crate) mod archive;
pub mod atomic;
pub(crate) mod hdf5;
pub(crate) mod npz;
pub(crate) mod pickle;
pub mod safetensors;

use gradus_core::{Buffer, Tensor};

pub use self::safetensors::{NamedTensors, load, save, weights_sha256};
use crate::Result;
pub use atomic::write_atomic;

/// The tensor's numbers in row-major order, in the machine's memory.
pub(crate) fn download(tensor: &Tensor) -> Result<Buffer> {
    let backend = tensor.device().backend();
    let packed = backend.copy(tensor.view()).map_err(gradus_core::Error::from)?;
    Ok(backend.download(&packed).map_err(gradus_core::Error::from)?)
}
