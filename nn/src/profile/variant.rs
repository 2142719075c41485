//! Which kernels compute: the plain loops, or the fast ones with an instruction set.

use std::fmt;

use crate::core::Device;
use crate::core::kernels::cpu::simd::Isa;
use crate::{Error, Result};

/// One way to compute every operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Variant {
    /// Plain loops on one thread, with `f64` inside.
    Reference,
    /// The kernels, compiled for this set.
    Cpu(Isa),
}

impl Variant {
    /// All that this machine can run, the slowest first.
    pub fn available() -> Vec<Variant> {
        std::iter::once(Variant::Reference).chain(Isa::available().map(Variant::Cpu)).collect()
    }

    /// The one that computes if nobody chooses.
    pub fn current() -> Variant {
        Variant::Cpu(Isa::get())
    }

    /// The variant that users call `name`.
    ///
    /// # Errors
    /// If this machine has none of that name; the text names what it has.
    pub fn named(name: &str) -> Result<Variant> {
        let variant = match name {
            "reference" => Some(Variant::Reference),
            _ => Isa::named(name).ok().map(Variant::Cpu),
        };
        variant.ok_or_else(|| {
            let there: Vec<String> = Variant::available().iter().map(Variant::to_string).collect();
            Error::Config(format!("this machine has no variant {name:?}; it has {}", there.join(", ")))
        })
    }

    /// The device whose tensors it computes.
    pub fn device(self) -> Device {
        match self {
            Variant::Reference => Device::REFERENCE,
            Variant::Cpu(_) => Device::CPU,
        }
    }

    /// The instruction set whose peak it is held against; for plain loops, what the machine could do.
    pub fn isa(self) -> Isa {
        match self {
            Variant::Reference => Isa::available().next_back().unwrap_or(Isa::Baseline),
            Variant::Cpu(isa) => isa,
        }
    }

    /// Runs `f` with every kernel of this process on the variant's instruction set.
    ///
    /// # Errors
    /// If this machine lacks it.
    pub fn select<R>(self, f: impl FnOnce() -> Result<R>) -> Result<R> {
        let before = Isa::get();
        self.isa().select().map_err(crate::core::Error::from)?;
        let result = f();
        before.select().map_err(crate::core::Error::from)?;
        result
    }
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Variant::Reference => f.write_str("reference"),
            Variant::Cpu(isa) => isa.fmt(f),
        }
    }
}
