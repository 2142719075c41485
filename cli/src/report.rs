//! What a run leaves behind, and what people see while it runs.

pub mod document;
pub mod environment;
pub mod history;
pub mod loglog;
pub mod progress;
pub mod run_folder;
pub mod svg;
pub mod table;
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
