//! What can go wrong in an operation on tensors.

/// A failed operation; its text names the operation, the shapes or types at fault, and how to mend it.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Shapes that do not go together.
    #[error("{op}: {what}")]
    Shape {
        /// The operation.
        op: &'static str,
        /// What is wrong, with the shapes.
        what: String,
    },
    /// An element type for which the operation is not defined.
    #[error("{op}: {what}")]
    DType {
        /// The operation.
        op: &'static str,
        /// What is wrong, with the types.
        what: String,
    },
    /// Any other argument that cannot be right: an axis, an index, a range.
    #[error("{op}: {what}")]
    Argument {
        /// The operation.
        op: &'static str,
        /// What is wrong, with the value.
        what: String,
    },
    /// A gradient that was asked for and does not exist.
    #[error("{0}")]
    Gradient(String),
    /// A device that is not there.
    #[error("{0}")]
    Device(String),
    /// A primitive's own failure.
    #[error(transparent)]
    Kernel(#[from] gradus_kernels::Error),
}

impl Error {
    /// Shapes that do not go together.
    pub fn shape(op: &'static str, what: impl Into<String>) -> Self {
        Error::Shape { op, what: what.into() }
    }

    /// An element type for which the operation is not defined.
    pub fn dtype(op: &'static str, what: impl Into<String>) -> Self {
        Error::DType { op, what: what.into() }
    }

    /// An argument that cannot be right.
    pub fn argument(op: &'static str, what: impl Into<String>) -> Self {
        Error::Argument { op, what: what.into() }
    }
}

/// A result with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;
