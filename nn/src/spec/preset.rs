//! The two sets of defaults that people have in mind.

use std::fmt;
use std::str::FromStr;

use super::reader::nearest;
use crate::{Error, Result};

/// Whose defaults fill in what a recipe leaves out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Preset {
    /// Keras: glorot_uniform, batch norm with momentum 0.99 and epsilon 1e-3, Adam with epsilon 1e-7, leaky slope 0.3.
    #[default]
    Keras,
    /// PyTorch: kaiming_uniform(√5) with a uniform bias, batch norm with momentum 0.1 (of the new) and epsilon 1e-5, Adam
    /// with epsilon 1e-8, leaky slope 0.01.
    Torch,
}

impl Preset {
    /// What users write.
    pub const NAMES: &[&str] = &["keras", "torch"];
}

impl fmt::Display for Preset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Preset::Keras => "keras",
            Preset::Torch => "torch",
        })
    }
}

impl FromStr for Preset {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "keras" => Ok(Preset::Keras),
            "torch" => Ok(Preset::Torch),
            _ => Err(Error::Config(format!("unknown preset {text:?}{}", suggest(text, Self::NAMES)))),
        }
    }
}

/// The end of a complaint about an unknown name: the nearest one, or all.
pub fn suggest(wrong: &str, names: &[&str]) -> String {
    match nearest(wrong, names) {
        Some(name) => format!("; did you mean {name:?}?"),
        None => format!("; there are {}", names.join(", ")),
    }
}
