//! Launches: a kernel is declared once, with the types of its parameters.
//!
//! A driver takes untyped pointers to as many arguments as it thinks there are. So a [`Kernel`] carries the types, and when
//! it is first used they are compared with the parameters that its PTX declares.

use std::borrow::Cow;
use std::marker::PhantomData;

use cudarc::driver::{DeviceRepr, LaunchArgs, LaunchConfig, PushKernelArg};

use super::operand::{Adjusted, Images, Strided, Strides};
use crate::cuda::{Family, family_of};
use crate::{Error, Result};

/// Where something stands in the memory of a GPU; 0 for nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
pub struct Address(pub u64);

/// What a kernel takes as one parameter, by value.
///
/// # Safety
/// The bytes of a value are those that the kernel's parameter has in CUDA C.
pub unsafe trait Argument: DeviceRepr {}

// SAFETY: a pointer of 64 bits.
unsafe impl DeviceRepr for Address {}
// SAFETY: `#[repr(C)]` with 32-bit fields, as in `common.h`.
unsafe impl DeviceRepr for Strided {}
// SAFETY: `#[repr(C)]` with the fields of `matmul_any.cu`.
unsafe impl DeviceRepr for Strides {}
// SAFETY: `#[repr(C)]` with 32-bit fields, as in `conv.cu`.
unsafe impl DeviceRepr for Images {}
// SAFETY: `#[repr(C)]` with 32-bit fields, as in `update.cu`.
unsafe impl DeviceRepr for Adjusted {}

macro_rules! arguments {
    ($($T:ty),*) => {$(
        // SAFETY: a number, or one of the structures above.
        unsafe impl Argument for $T {}
    )*};
}

arguments!(u8, u16, u32, u64, i32, i64, f32, f64, Address, Strided, Strides, Images, Adjusted);

/// The arguments of a kernel, in order.
pub trait Arguments {
    /// How many bytes each has.
    const SIZES: &'static [usize];

    /// Names all of them for a launch.
    fn push<'a>(&'a self, launch: &mut LaunchArgs<'a>);
}

macro_rules! tuples {
    ($(($($T:ident $at:tt),*))*) => {$(
        impl<$($T: Argument),*> Arguments for ($($T,)*) {
            const SIZES: &'static [usize] = &[$(size_of::<$T>()),*];

            fn push<'a>(&'a self, launch: &mut LaunchArgs<'a>) {
                $(launch.arg(&self.$at);)*
            }
        }
    )*};
}

tuples! {
    (A 0, B 1, C 2)
    (A 0, B 1, C 2, D 3)
    (A 0, B 1, C 2, D 3, E 4)
    (A 0, B 1, C 2, D 3, E 4, F 5)
    (A 0, B 1, C 2, D 3, E 4, F 5, G 6)
    (A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7)
    (A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8)
    (A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9)
    (A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9, K 10)
    (A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9, K 10, L 11)
    (A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9, K 10, L 11, M 12)
    (A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9, K 10, L 11, M 12, N 13)
    (A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9, K 10, L 11, M 12, N 13, O 14)
}

/// A kernel that takes the arguments `A`.
#[derive(Debug)]
pub struct Kernel<A> {
    /// The family that it belongs to.
    pub family: &'static str,
    /// Its name.
    pub name: Cow<'static, str>,
    arguments: PhantomData<fn(A)>,
}

impl<A: Arguments> Kernel<A> {
    /// The kernel of this name.
    pub const fn new(family: &'static str, name: &'static str) -> Self {
        Self { family, name: Cow::Borrowed(name), arguments: PhantomData }
    }

    /// The kernel of a name that is put together, such as one for each type; `None` if there is none.
    pub fn find(family: &'static str, name: String) -> Option<Self> {
        family_of(&name).filter(|found| found.name == family)?;
        Some(Self { family, name: Cow::Owned(name), arguments: PhantomData })
    }

    /// Compares the arguments with the parameters that the PTX declares.
    ///
    /// # Errors
    /// If there is no such kernel, or if it takes something else: a fault of the program, which a test finds.
    pub fn check(&self) -> Result<Family> {
        let fault = |what: String| Error::Device(format!("kernel {} of {}.ptx {what}", self.name, self.family));
        let family = Family::named(self.family).ok_or_else(|| fault("has no family".into()))?;
        let declared = family.parameters(&self.name).ok_or_else(|| fault("is missing".into()))?;
        if declared != A::SIZES {
            return Err(fault(format!("takes parameters of {declared:?} bytes, and is given {:?}", A::SIZES)));
        }
        Ok(family)
    }
}

/// How many threads run a kernel.
#[derive(Clone, Copy, Debug)]
pub struct Grid {
    /// How many blocks there are, in x, y and z.
    pub blocks: [u32; 3],
    /// How many threads a block has, in x, y and z.
    pub threads: [u32; 3],
}

/// How many threads a block has where nothing else is said.
const THREADS: u32 = 256;

/// The most blocks of a kernel whose threads go on to further elements: enough to fill any GPU of today some times over.
const MOST_BLOCKS: u32 = 4096;

/// So many blocks fill a GPU; less work is cut into parts. The same number for all devices, so that sums are the same on each.
const BUSY: u32 = 128;

/// Into how many parts each of so many blocks is cut so that a GPU is busy, if there is work for at most `most` parts.
pub fn parts(blocks: u32, most: u32) -> u32 {
    (BUSY / blocks.max(1)).min(most).max(1)
}

impl Grid {
    /// Threads for `n` elements. Beyond a number, each takes several.
    pub fn each(n: u32) -> Self {
        Self { blocks: [n.div_ceil(THREADS).clamp(1, MOST_BLOCKS), 1, 1], threads: [THREADS, 1, 1] }
    }

    /// A warp for each row.
    pub fn warps(rows: u32) -> Self {
        Self { blocks: [rows.div_ceil(THREADS / 32).max(1), 1, 1], threads: [THREADS, 1, 1] }
    }

    /// A block for each row.
    pub fn rows(rows: u32) -> Self {
        Self { blocks: [rows.max(1), 1, 1], threads: [THREADS, 1, 1] }
    }

    /// Blocks of 32 by 8 threads, each for 32 columns.
    pub fn columns(columns: u32) -> Self {
        Self { blocks: [columns.div_ceil(32).max(1), 1, 1], threads: [32, 8, 1] }
    }

    pub(super) fn config(self) -> LaunchConfig {
        let [grid_dim, block_dim] = [self.blocks, self.threads].map(|[x, y, z]| (x, y, z));
        LaunchConfig { grid_dim, block_dim, shared_mem_bytes: 0 }
    }
}
