//! What can go wrong below the level of shapes, which callers check first.

use crate::DType;

/// A primitive's failure.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Error {
    /// The primitive is not defined for this element type.
    #[error("{op}: not defined for {dtype}; {hint}")]
    DType {
        /// The primitive.
        op: &'static str,
        /// The offending type.
        dtype: DType,
        /// How to mend it.
        hint: &'static str,
    },
    /// An index points outside the dimension that it selects from.
    #[error("{op}: index {index} at position {position} is out of range for a dimension of {size}")]
    Index {
        /// The primitive.
        op: &'static str,
        /// The offending index.
        index: i64,
        /// Where it stands in the index buffer, in row-major order.
        position: usize,
        /// The size of the dimension.
        size: usize,
    },
    /// A pointwise function without a row in a backend's table.
    #[error("{op}: the {backend} backend has no row for it in {table}; add one")]
    NoKernel {
        /// The function.
        op: &'static str,
        /// The backend.
        backend: &'static str,
        /// The file of the table.
        table: &'static str,
    },
    /// `GRADUS_ISA` asks for what this machine lacks, or for something unknown.
    #[error("{0}")]
    Isa(String),
    /// The number of threads cannot be what was asked for.
    #[error("{0}")]
    Threads(String),
    /// A device could not be opened.
    #[error("{0}")]
    Device(String),
}

/// A result with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;
