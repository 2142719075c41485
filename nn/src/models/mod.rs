//! Models: layers put together, in Rust or from a text.

mod build;
pub mod graph;
pub mod model;
pub mod sequential;

pub use graph::{Graph, Value};
pub use model::{Counts, Model, Row};
pub use sequential::Sequential;
