//! The CUDA kernels: their sources, and the PTX that was made of them.
//!
//! `kernels/cuda/*.cu` are compiled to PTX by `kernels/cuda/build.py`, and the PTX is part of the repository: whoever builds gradus needs
//! no CUDA toolkit, and what the tests execute is what a driver would load. The tests run every kernel on the emulator of
//! `kernels/emulator` and compare it with [`reference`](mod@crate::reference). There is no backend yet that launches them on a GPU.

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

    /// The PTX of one kernel, from its head to the end of its body.
    pub fn kernel(&self, name: &str) -> Option<&'static str> {
        let start = self.ptx.find(&format!(".visible .entry {name}("))?;
        let end = self.ptx[start..].find("\n}\n")?;
        Some(&self.ptx[start..start + end + 2])
    }
}
