//! Where a tensor lives, as a value.

#[cfg(feature = "cuda")]
use std::collections::BTreeMap;
use std::fmt;
#[cfg(feature = "cuda")]
use std::sync::{Mutex, PoisonError};

use gradus_kernels::Backend;
use gradus_kernels::backend::Figures;
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

    /// The NVIDIA GPU with this number, which stays open until the program ends.
    ///
    /// # Errors
    /// If there is no driver, or one too old, or no such device; or if gradus was built without the feature `cuda`.
    #[cfg(feature = "cuda")]
    pub fn cuda(ordinal: usize) -> Result<Self> {
        static OPEN: Mutex<BTreeMap<usize, Device>> = Mutex::new(BTreeMap::new());
        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(&device) = open.get(&ordinal) {
            return Ok(device);
        }
        let device = Device(Box::leak(Box::new(gradus_kernels::cuda::Cuda::open(ordinal)?)));
        open.insert(ordinal, device);
        Ok(device)
    }

    /// The NVIDIA GPU with this number; this build has no part for them.
    #[cfg(not(feature = "cuda"))]
    pub fn cuda(ordinal: usize) -> Result<Self> {
        let what = format!("cuda:{ordinal}: this gradus was built without the feature `cuda`; use --device cpu");
        Err(Error::Device(what))
    }

    /// The device that users call `name`: `cpu`, `reference`, or `cuda:0` and so on for NVIDIA GPUs.
    pub fn named(name: &str) -> Result<Self> {
        let ordinal = match name {
            "cuda" => Some("0"),
            _ => name.strip_prefix("cuda:"),
        };
        match (name, ordinal.map(str::parse)) {
            ("cpu", _) => Ok(Self::CPU),
            ("reference", _) => Ok(Self::REFERENCE),
            (_, Some(Ok(ordinal))) => Self::cuda(ordinal),
            (other, _) => {
                Err(Error::Device(format!("{other:?} is no device; there are cpu, reference, and cuda:0 and up")))
            }
        }
    }

    /// What users call the device.
    pub fn name(self) -> &'static str {
        self.0.name()
    }

    /// What happened on a device with memory of its own; nothing on the host.
    pub fn figures(self) -> Option<Figures> {
        self.0.figures()
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
