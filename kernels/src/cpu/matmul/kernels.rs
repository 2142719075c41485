//! The tables of microkernels: for each instruction set and type one function for every height and width of a tile, and those of
//! the loops beside it that are compiled with the same registers.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{__m256, __m256d, __m512, __m512d};
use std::mem::MaybeUninit;
use std::ops::Range;

use super::lane::Lane;
use super::pack::{Copied, copy};
use super::tile::{Kernel, MAX_WIDTH, Tile, compute, parted, write_rest, write_whole};
use super::{Problem, vector};
use crate::cpu::conv::{channels, nine};
use crate::cpu::simd::Isa;

/// Every tile's microkernel for one instruction set and type.
pub struct Kernels<T: 'static> {
    /// How many numbers a vector holds.
    pub(in crate::cpu) lanes: usize,
    /// How many vectors wide the widest tile is.
    pub(super) vectors: usize,
    /// By height - 1 and by width: one vector, one and a half, two, and two with a copy of `b`; the last height is the tallest.
    tiles: &'static [[Kernel<T>; 4]],
    /// Copies a block of an operand.
    pub(in crate::cpu) copy: unsafe fn(&Copied<T>),
    /// Computes some columns of a product with one row.
    pub(super) vector: unsafe fn(vector::Form, &Problem<T>, Range<usize>),
    /// Sums of pixels times weights, channel by channel.
    pub(in crate::cpu) weigh: unsafe fn(&channels::Strip<T>),
    /// Products of pixels with pixels, channel by channel, added up.
    pub(in crate::cpu) correlate: unsafe fn(&channels::Pairs<T>),
    /// Both for three by three taps.
    pub(in crate::cpu) weigh_nine: unsafe fn(&nine::Patch<T>, &nine::Weights<T>, *const T, *mut T),
    pub(in crate::cpu) correlate_nine: unsafe fn(&nine::Patch<T>, *const T, *mut T, *mut T),
}

impl<T> Kernels<T> {
    /// The height of the tallest tile.
    pub fn height(&self) -> usize {
        self.tiles.len()
    }

    /// The width of the widest tile, in elements.
    pub fn width(&self) -> usize {
        self.lanes * self.vectors
    }

    /// The microkernel of a tile of so many rows and columns.
    pub(in crate::cpu) fn tile(&self, rows: usize, columns: usize) -> Kernel<T> {
        // Halves of the shortest registers are put together no faster than whole ones are multiplied.
        let half = if self.lanes < 8 { 0 } else { self.lanes / 2 };
        let width = match columns {
            columns if columns <= self.lanes => 0,
            columns if columns <= self.lanes + half => 1,
            _ => 2,
        };
        self.tiles[rows - 1][width]
    }

    /// The microkernel of a tile of so many rows and all columns, which also writes what it reads of `b` to `b_copy`.
    pub(super) fn copying_tile(&self, rows: usize) -> Kernel<T> {
        self.tiles[rows - 1][3]
    }
}

/// One table of microkernels: a function for every height and width, compiled with the lane's instruction set.
macro_rules! kernels {
    ($name:ident, $Lane:ty, $T:ty, [$($height:literal)*] $(, $feature:literal)?) => {
        static $name: Kernels<$T> = {
            $(#[target_feature(enable = $feature)])?
            unsafe fn tile<const H: usize, const W: usize, const HALF: bool, const COPY: bool>(t: &Tile<$T>) {
                // SAFETY: passed on to the caller; the instruction set is enabled here.
                unsafe {
                    let sums = compute::<$Lane, H, W, HALF, COPY>(t);
                    let sums = if HALF { parted(sums) } else { sums };
                    let whole = if HALF { t.plain } else { t.columns == W * <$Lane as Lane>::LANES };
                    if t.c_col == 1 && whole {
                        write_whole::<$Lane, H, W, HALF>(t, &sums);
                    } else {
                        // Stored one by one, so that only this path needs the sums to have an address.
                        let mut stored = [[MaybeUninit::<$Lane>::uninit(); W]; H];
                        for (stored, sums) in stored.iter_mut().zip(sums) {
                            for (stored, sum) in stored.iter_mut().zip(sums) {
                                stored.write(sum);
                            }
                        }
                        rest(t, stored.as_ptr().cast(), H, W * <$Lane as Lane>::LANES);
                    }
                }
            }
            $(#[target_feature(enable = $feature)])?
            #[inline(never)]
            unsafe fn rest(t: &Tile<$T>, sums: *const $T, height: usize, width: usize) {
                // SAFETY: as above.
                unsafe { write_rest::<$Lane>(t, sums, height, width) }
            }
            $(#[target_feature(enable = $feature)])?
            unsafe fn copied(c: &Copied<$T>) {
                // SAFETY: as above.
                unsafe { copy::<$Lane>(c) }
            }
            $(#[target_feature(enable = $feature)])?
            unsafe fn vector(form: vector::Form, p: &Problem<$T>, columns: Range<usize>) {
                // SAFETY: as above.
                unsafe { vector::product::<$Lane>(form, p, columns) }
            }
            $(#[target_feature(enable = $feature)])?
            unsafe fn weigh(strip: &channels::Strip<$T>) {
                // SAFETY: as above.
                unsafe { channels::weigh::<$Lane>(strip) }
            }
            $(#[target_feature(enable = $feature)])?
            unsafe fn correlate(pairs: &channels::Pairs<$T>) {
                // SAFETY: as above.
                unsafe { channels::correlate::<$Lane>(pairs) }
            }
            $(#[target_feature(enable = $feature)])?
            unsafe fn weigh_nine(patch: &nine::Patch<$T>, weights: &nine::Weights<$T>, base: *const $T, to: *mut $T) {
                // SAFETY: as above.
                unsafe { nine::weigh::<$Lane>(patch, weights, base, to) }
            }
            $(#[target_feature(enable = $feature)])?
            unsafe fn correlate_nine(patch: &nine::Patch<$T>, other: *const $T, sums: *mut $T, total: *mut $T) {
                // SAFETY: as above.
                unsafe { nine::correlate::<$Lane>(patch, other, sums, total) }
            }
            Kernels {
                lanes: <$Lane as Lane>::LANES,
                vectors: 2,
                tiles: &[$([
                    tile::<$height, 1, false, false>,
                    tile::<$height, 2, true, false>,
                    tile::<$height, 2, false, false>,
                    tile::<$height, 2, false, true>,
                ]),*],
                copy: copied,
                vector,
                weigh,
                correlate,
                weigh_nine,
                correlate_nine,
            }
        };
    };
}

#[cfg(not(target_arch = "aarch64"))]
kernels!(BASELINE_F32, wide::f32x4, f32, [1 2 3 4 5 6]);
#[cfg(not(target_arch = "aarch64"))]
kernels!(BASELINE_F64, wide::f64x2, f64, [1 2 3 4 5 6]);
#[cfg(target_arch = "aarch64")]
kernels!(BASELINE_F32, wide::f32x8, f32, [1 2 3 4 5 6]);
#[cfg(target_arch = "aarch64")]
kernels!(BASELINE_F64, wide::f64x4, f64, [1 2 3 4 5 6]);

#[cfg(target_arch = "x86_64")]
kernels!(AVX2_F32, __m256, f32, [1 2 3 4 5 6], "avx2,fma");
#[cfg(target_arch = "x86_64")]
kernels!(AVX2_F64, __m256d, f64, [1 2 3 4 5 6], "avx2,fma");
#[cfg(target_arch = "x86_64")]
kernels!(AVX512_F32, __m512, f32, [1 2 3 4 5 6 7 8 9 10 11 12 13 14], "avx512f,avx512vl,avx512bw,avx512dq,avx2,fma");
#[cfg(target_arch = "x86_64")]
kernels!(AVX512_F64, __m512d, f64, [1 2 3 4 5 6 7 8 9 10 11 12 13 14], "avx512f,avx512vl,avx512bw,avx512dq,avx2,fma");

/// Where a type's microkernels are found; nobody outside can name this trait, so nobody can add a type without any.
pub trait HasKernels: Sized + 'static {
    /// A row to add where there is nothing to add.
    const ZEROS: &'static [Self; MAX_WIDTH];
    /// The microkernels for an instruction set that this machine has.
    fn kernels(isa: Isa) -> &'static Kernels<Self>;
}

impl HasKernels for f32 {
    const ZEROS: &'static [Self; MAX_WIDTH] = &[0.0; MAX_WIDTH];
    fn kernels(isa: Isa) -> &'static Kernels<Self> {
        match isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => &AVX512_F32,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => &AVX2_F32,
            _ => &BASELINE_F32,
        }
    }
}

impl HasKernels for f64 {
    const ZEROS: &'static [Self; MAX_WIDTH] = &[0.0; MAX_WIDTH];
    fn kernels(isa: Isa) -> &'static Kernels<Self> {
        match isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => &AVX512_F64,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => &AVX2_F64,
            _ => &BASELINE_F64,
        }
    }
}
