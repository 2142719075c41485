//! A model and its training as text.
//!
//! [`value`] turns TOML into a tree with places, [`reader`] takes typed values out of it and complains with file, line,
//! column and the nearest name, [`writer`] writes everything back.

pub mod preset;
pub mod reader;
pub mod value;
pub mod writer;

pub use preset::Preset;
pub use reader::Table;
pub use writer::Writer;
