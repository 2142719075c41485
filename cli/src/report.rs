//! What a run leaves behind, and what people see while it runs.

pub mod progress;
pub mod table;

use std::fs;
use std::path::Path;

use crate::failure::Failure;

/// Writes a whole file or none of it.
///
/// # Errors
/// If it cannot be written; what was there before is still there then.
pub fn write_file(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    fs::write(path, bytes).map_err(|error| Failure::io(path.display(), &error))
}
