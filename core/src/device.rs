//! Where a tensor lives, as a value.

use std::fmt;

use gradus_kernels::Backend;
use gradus_kernels::cpu::Cpu;
use gradus_kernels::reference::Reference;

use crate::{Error, Result};

/// A device: a handle on its arithmetic.
#[derive(Clone, Copy)]
pub struct Device(&'static dyn Backend);

impl Device {
    /// The processor, with the fast kernels.
    pub const CPU: Device = Device(&Cpu);
    /// The processor, with every primitive in plain loops: slow, and right by inspection.
    pub const REFERENCE: Device = Device(&Reference);

    /// The device that users call `name`: `cpu` or `reference`.
    pub fn named(name: &str) -> Result<Self> {
        match name {
            "cpu" => Ok(Self::CPU),
            "reference" => Ok(Self::REFERENCE),
            cuda if cuda == "cuda" || cuda.starts_with("cuda:") => {
                Err(Error::Device(format!("{cuda}: this build has no CUDA backend; use --device cpu")))
            }
            other => Err(Error::Device(format!("{other:?} is no device; there are cpu and reference"))),
        }
    }

    /// What users call the device.
    pub fn name(self) -> &'static str {
        self.0.name()
    }

    /// The device's arithmetic.
    pub fn backend(self) -> &'static dyn Backend {
        self.0
    }
}

impl PartialEq for Device {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

impl Eq for Device {}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
