//! A model and its training as text.
//!
//! [`value`] turns TOML into a tree with places, [`reader`] takes typed values out of it and complains with file, line,
//! column and the nearest name, [`writer`] writes everything back. The other files each read one part of a recipe;
//! [`catalog`] lists the types of layers.

pub mod base;
pub mod block;
pub mod catalog;
pub mod checkpoint;
pub mod data;
mod images;
pub mod layer;
pub mod optimizer;
mod overrides;
pub mod preset;
pub mod reader;
pub mod recipe;
pub mod selection;
pub mod training;
pub mod value;
pub mod writer;

pub use base::{BaseSpec, Cut};
pub use checkpoint::{CheckpointSpec, Every};
pub use data::DataSpec;
pub use layer::{LayerConfig, LayerSpec, Naming, Rules};
pub use optimizer::{Kind, OptimizerSpec};
pub use preset::Preset;
pub use reader::Table;
pub use recipe::Recipe;
pub use selection::Selection;
pub use training::{Document, TrainSpec};
pub use writer::Writer;
