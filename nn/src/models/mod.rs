//! Models: layers put together, in Rust or from a text.

mod build;
mod calibrate;
mod cost;
pub mod graph;
mod mobilenet;
pub mod model;
mod parts;
pub mod sequential;
mod stages;
mod stem;
mod transfer;

pub use cost::Cost;
pub use graph::{Graph, Value};
pub use mobilenet::is_folded;
pub use model::{Counts, Model, Row};
pub use sequential::Sequential;
pub use stem::Stem;
