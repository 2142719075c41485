//! Options of `gradus show`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{Layers, Machine};

/// Options of `gradus show`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  gradus show filters runs/0001-cnn-mnist
  gradus show maps runs/0001-cnn-mnist digit.png --layer conv2d_1
  gradus show filters net.pt --recipe cnn-mnist")]
pub struct ShowArgs {
    /// What to look at.
    #[command(subcommand)]
    pub what: Shown,
}

/// What to look at.
#[derive(Debug, Subcommand)]
pub enum Shown {
    /// Draw the filters of a model's convolutions into a PNG file
    #[command(after_help = "Example:\n  gradus show filters runs/0001-cnn-mnist --layer conv2d")]
    Filters(FilterArgs),
    /// Draw what each channel of a model's layers makes of an image into a PNG file
    #[command(after_help = "Example:\n  gradus show maps runs/0001-cnn-mnist digit.png --out maps.png")]
    Maps(MapArgs),
}

/// What both need to know.
#[derive(Debug, Args)]
pub struct Picture {
    /// A run folder, or a model file of gradus, Keras or PyTorch
    #[arg(value_name = "RUN_DIR|FILE")]
    pub model: PathBuf,
    /// Only these layers: a name, conv*, several with commas [default: all that have something to show]
    #[arg(long, value_name = "LAYERS", allow_hyphen_values = true)]
    pub layer: Option<String>,
    /// How many filters or channels of a layer, from the first on
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..))]
    pub most: u16,
    /// The file to write [default: filters.png or maps.png]
    #[arg(long, value_name = "FILE.png")]
    pub out: Option<PathBuf>,
    /// What the model file may lack.
    #[command(flatten)]
    pub layers: Layers,
}

/// Options of `gradus show filters`.
#[derive(Debug, Args)]
pub struct FilterArgs {
    /// Of what, and where to.
    #[command(flatten)]
    pub picture: Picture,
}

/// Options of `gradus show maps`.
#[derive(Debug, Args)]
pub struct MapArgs {
    /// Of what, and where to.
    #[command(flatten)]
    pub picture: Picture,
    /// An image, or an NPY or IDX file, whose first sample is taken; `-` reads it from stdin
    #[arg(value_name = "INPUT")]
    pub input: PathBuf,
    /// Turn a dark on light image into a light on dark one
    #[arg(long)]
    pub invert: bool,
    /// What computes.
    #[command(flatten)]
    pub machine: Machine,
}
