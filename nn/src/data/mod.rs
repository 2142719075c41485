//! Data sets: reading them from files, splitting them, and handing them out in batches.

pub(crate) mod array;
pub mod cifar;
pub mod classes;
pub mod csv;
pub mod dataset;
pub mod idx;
pub mod images;
pub(crate) mod input;
pub mod loader;
mod mersenne;
pub mod npy;
pub mod split;

pub use self::cifar::read_cifar10;
pub use self::classes::{Class, ClassMap, Relabel, Relabelling};
pub use self::csv::{Column, CsvOptions, Labels, read_csv, read_csv_bytes};
pub use self::dataset::Dataset;
pub use self::idx::{read_idx, read_idx_bytes};
pub use self::images::{Augment, Preparation};
pub(crate) use self::input::Input;
pub use self::loader::{Batch, Batches, Loader, Scale};
pub use self::npy::{npz_names, read_npy, read_npy_bytes, read_npz};
pub use self::split::{Share, Split};
