//! NVIDIA GPUs: the kernels' sources, the PTX that was made of them, and the backend that launches it.
//!
//! `kernels/cuda/*.cu` are compiled to PTX by `kernels/cuda/build.py`, and the PTX is part of the repository: whoever builds gradus needs
//! no CUDA toolkit, and what the tests execute is what a driver loads. [`Cuda`] looks for a driver when a GPU is asked for, so one
//! binary runs with and without. The tests run every kernel, and the whole backend, on the emulator of `kernels/emulator` and compare
//! with [`reference`](mod@crate::reference).

use std::collections::HashMap;
use std::sync::LazyLock;

#[cfg(feature = "cuda")]
mod backend;
#[cfg(feature = "cuda")]
mod device;
#[cfg(feature = "cuda")]
mod host;
#[cfg(feature = "cuda")]
mod launch;
#[cfg(feature = "cuda")]
mod memory;
#[cfg(feature = "cuda")]
pub mod nvrtc;
#[cfg(feature = "cuda")]
mod operand;
#[cfg(feature = "cuda")]
mod ops;

#[cfg(feature = "cuda")]
pub use backend::Cuda;
#[cfg(feature = "cuda")]
pub use device::{Found, found};
#[cfg(feature = "cuda")]
pub(crate) use memory::Memory;

/// The kernels of one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Family {
    /// What it is called, which is also the name of its files.
    pub name: &'static str,
    /// The CUDA C that it was made from, besides `common.h`.
    pub source: &'static str,
    /// The PTX.
    pub ptx: &'static str,
}

/// The family that a kernel belongs to; `None` if there is no such kernel.
pub fn family_of(kernel: &str) -> Option<Family> {
    static FAMILY: LazyLock<HashMap<&str, Family>> =
        LazyLock::new(|| FAMILIES.iter().flat_map(|family| family.kernels().map(|name| (name, *family))).collect());
    FAMILY.get(kernel).copied()
}

/// What NVIDIA's assembler made of the kernels, a line each: `kernels/cuda/assemble.py` writes it, and says what the columns are.
pub const REPORT: &str = include_str!("../cuda/report.csv");

/// What all sources include.
pub const COMMON: &str = include_str!("../cuda/common.h");

macro_rules! families {
    ($($name:literal),*) => {
        /// Every family.
        pub const FAMILIES: &[Family] = &[$(Family {
            name: $name,
            source: include_str!(concat!("../cuda/", $name, ".cu")),
            ptx: include_str!(concat!("../cuda/ptx/", $name, ".ptx")),
        }),*];
    };
}

families!(
    "binary",
    "cast",
    "conv",
    "conv_tiles",
    "copy",
    "index",
    "matmul",
    "matmul_any",
    "matmul_tensor",
    "matmul_wide",
    "norm",
    "order",
    "pointwise",
    "random",
    "reduce",
    "softmax",
    "update"
);

impl Family {
    /// The family of this name.
    pub fn named(name: &str) -> Option<Family> {
        FAMILIES.iter().copied().find(|family| family.name == name)
    }

    /// The names of its kernels, in the order of the PTX.
    pub fn kernels(&self) -> impl Iterator<Item = &'static str> {
        let heads = self.ptx.lines().filter_map(|line| line.strip_prefix(".visible .entry "));
        heads.map(|head| head.trim_end_matches('('))
    }

    /// How many bytes each parameter of a kernel has, as the PTX declares them; `None` if there is no such kernel.
    pub fn parameters(&self, name: &str) -> Option<Vec<usize>> {
        let text = self.kernel(name)?;
        let declared = text[..text.find("\n{")?].lines().filter_map(|line| line.trim_start().strip_prefix(".param "));
        declared.map(parameter_size).collect()
    }

    /// The PTX of one kernel, from its head to the end of its body.
    pub fn kernel(&self, name: &str) -> Option<&'static str> {
        let start = self.ptx.find(&format!(".visible .entry {name}("))?;
        let end = self.ptx[start..].find("\n}\n")?;
        Some(&self.ptx[start..start + end + 2])
    }
}

/// The bytes of `.u64 name,` or `.align 4 .b8 name[52]`.
fn parameter_size(declaration: &str) -> Option<usize> {
    let mut words = declaration.trim_end_matches(',').split_whitespace().skip_while(|word| !word.starts_with('.'));
    let mut kind = words.next()?;
    if kind == ".align" {
        kind = words.nth(1)?;
    }
    let bits: usize = kind.trim_start_matches(|c: char| !c.is_ascii_digit()).parse().ok()?;
    let count = match words.next()?.split_once('[') {
        Some((_, count)) => count.trim_end_matches(']').parse().ok()?,
        None => 1,
    };
    Some(bits / 8 * count)
}
