//! What can go wrong above the level of tensors, sorted by who can mend it.

use std::path::{Path, PathBuf};

/// A failure; its text says what is wrong, where, why and how to mend it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A recipe, an argument or a model that cannot be right.
    #[error("{0}")]
    Config(String),
    /// Data that are missing or damaged.
    #[error("{0}")]
    Data(String),
    /// Numbers that ran away: a loss that is no longer finite.
    #[error("{0}")]
    Numeric(String),
    /// A device that is not there.
    #[error("{0}")]
    Device(String),
    /// A file that cannot be read or written.
    #[error("{path}: {source}")]
    Io {
        /// Which file or folder.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A tensor operation that failed.
    #[error(transparent)]
    Tensor(#[from] gradus_core::Error),
}

impl Error {
    /// Wraps the system's error with the file it is about.
    pub fn io(path: impl AsRef<Path>, source: std::io::Error) -> Self {
        Error::Io { path: path.as_ref().into(), source }
    }
}

/// A result with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;
