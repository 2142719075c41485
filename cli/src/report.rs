//! What a run leaves behind, and what people see while it runs.

pub mod canvas;
pub mod confusion;
#[cfg(feature = "tui")]
pub mod dashboard;
pub mod document;
pub mod dots;
pub mod environment;
pub mod examined;
pub mod finish;
pub mod frozen;
pub mod history;
pub mod images;
pub mod keras_summary;
pub mod loglog;
pub mod page;
pub mod progress;
pub mod raster;
pub mod run_folder;
pub mod svg;
pub mod table;
pub mod tensorboard;
pub mod watch;

use std::path::Path;

use nn::format::write_atomic;

use crate::failure::Failure;

/// Writes a whole file or none of it.
///
/// # Errors
/// If it cannot be written; what was there before is still there then.
pub fn write_file(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    Ok(write_atomic(path, |writer| writer.write_all(bytes))?)
}
