//! Instruction sets: which ones this machine has, and how one kernel body is compiled for each of them.
//!
//! A plain build targets the oldest machine of its architecture. The `simd!` macro compiles a function's body once more
//! for every wider instruction set and picks one at run time, so a default build gives full speed everywhere.

use std::fmt;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

use crate::{Error, Result};

/// The environment variable that narrows the choice.
pub const VARIABLE: &str = "GRADUS_ISA";

/// An instruction set that kernels are compiled for, narrowest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Isa {
    /// What every machine of the architecture has: SSE2 on x86-64, NEON on 64-bit Arm.
    Baseline = 1,
    /// AVX2 with FMA: 256 bits.
    Avx2,
    /// AVX-512 F, VL, BW and DQ: 512 bits, with masks.
    Avx512,
}

/// The set in use as a number, 0 before anyone asked.
static CURRENT: AtomicU8 = AtomicU8::new(0);

impl Isa {
    const ALL: [Isa; 3] = [Isa::Baseline, Isa::Avx2, Isa::Avx512];

    /// Whether a multiplication and an addition are one instruction, and therefore rounded once, in baseline code.
    pub const BASELINE_HAS_FMA: bool = cfg!(any(target_arch = "aarch64", target_feature = "fma"));

    /// The name that users write; on 64-bit Arm the baseline is called `neon`.
    pub const fn name(self) -> &'static str {
        match self {
            Isa::Baseline if cfg!(target_arch = "aarch64") => "neon",
            Isa::Baseline => "baseline",
            Isa::Avx2 => "avx2",
            Isa::Avx512 => "avx512",
        }
    }

    /// Whether this machine can run it.
    pub fn is_available(self) -> bool {
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 = || is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
            let avx512 = || {
                is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
            };
            match self {
                Isa::Baseline => true,
                Isa::Avx2 => avx2(),
                Isa::Avx512 => avx2() && avx512(),
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        {
            self == Isa::Baseline
        }
    }

    /// Every set that this machine can run, narrowest first; never empty.
    pub fn available() -> impl DoubleEndedIterator<Item = Isa> {
        Isa::ALL.into_iter().filter(|isa| isa.is_available())
    }

    /// The set that is called `word`.
    ///
    /// # Errors
    /// If the machine lacks it or there is none of that name; the text names what is there.
    pub fn named(word: &str) -> Result<Isa> {
        let word = word.trim().to_ascii_lowercase();
        let known = Isa::ALL.into_iter().find(|isa| isa.name() == word);
        let asked = if word == "baseline" { Some(Isa::Baseline) } else { known };
        let isa = asked.ok_or_else(|| Isa::refusal(format!("unknown instruction set `{word}`")))?;
        isa.require().map(|()| isa)
    }

    /// The set that `GRADUS_ISA` names, or the widest of this machine if the variable is not set.
    ///
    /// # Errors
    /// If the machine lacks what the variable asks for, or the word is unknown; the text names what is there.
    pub fn from_env() -> Result<Isa> {
        match std::env::var_os(VARIABLE) {
            Some(word) => Isa::named(&word.to_string_lossy()),
            None => Ok(Isa::widest()),
        }
    }

    /// The set in use: on the first call what [`Isa::from_env`] says, or the widest there is if that is an error, which
    /// programs report by calling `from_env` when they start.
    #[inline]
    pub fn get() -> Isa {
        match CURRENT.load(Relaxed) {
            1 => Isa::Baseline,
            2 => Isa::Avx2,
            3 => Isa::Avx512,
            _ => Isa::choose(),
        }
    }

    /// Makes every kernel of this process use this set from now on; to compare one variant with another.
    ///
    /// # Errors
    /// If this machine lacks it.
    pub fn select(self) -> Result<()> {
        self.require()?;
        CURRENT.store(self as u8, Relaxed);
        Ok(())
    }

    /// Refuses a set that this machine lacks.
    ///
    /// # Errors
    /// If it does; the text names what is there.
    pub fn require(self) -> Result<()> {
        match self.is_available() {
            true => Ok(()),
            false => Err(Isa::refusal(format!("this machine has no {self}"))),
        }
    }

    #[cold]
    fn choose() -> Isa {
        let isa = Isa::from_env().unwrap_or_else(|_| Isa::widest());
        CURRENT.store(isa as u8, Relaxed);
        isa
    }

    fn widest() -> Isa {
        Isa::available().next_back().unwrap_or(Isa::Baseline)
    }

    fn refusal(what: String) -> Error {
        let there: Vec<_> = Isa::available().map(Isa::name).collect();
        Error::Isa(format!("{VARIABLE}: {what}; set it to one of {}, or unset it", there.join(", ")))
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// `a * b + c`: in one instruction and rounded once where the instruction set has one (`FMA`), else in two.
///
/// Without the hardware `mul_add` is a library call, a hundred times slower than two instructions.
#[inline(always)]
pub fn mul_add<const FMA: bool, T: MulAdd>(a: T, b: T, c: T) -> T {
    if FMA { a.fused(b, c) } else { a.separate(b, c) }
}

/// Numbers for [`mul_add`].
pub trait MulAdd: Copy {
    /// `self * b + c`, rounded once.
    fn fused(self, b: Self, c: Self) -> Self;
    /// `self * b + c`, rounded after each step.
    fn separate(self, b: Self, c: Self) -> Self;
}

macro_rules! mul_add {
    ($($T:ty)*) => {$(
        impl MulAdd for $T {
            #[inline(always)]
            fn fused(self, b: Self, c: Self) -> Self { self.mul_add(b, c) }
            #[inline(always)]
            fn separate(self, b: Self, c: Self) -> Self { self * b + c }
        }
    )*};
}
mul_add!(f32 f64);

/// Compiles functions once for every [`Isa`] and picks one at each call.
///
/// Inside a body the constant `FMA` tells whether [`mul_add`](mul_add()) is one instruction. Everything that a body calls
/// must be inlined into it (`#[inline(always)]`, small generic functions, closures), since what stays a call of its own is
/// compiled for the baseline only. Type parameters are listed by name, constant ones after a semicolon (`<T; const N: usize>`),
/// and bounds stand in brackets after `where`:
///
/// ```
/// use gradus_kernels::cpu::simd::{MulAdd, mul_add};
///
/// gradus_kernels::simd! {
///     /// `y += a * x`.
///     fn axpy<T>(a: T, x: &[T], y: &mut [T]) where [T: MulAdd] {
///         for (y, &x) in y.iter_mut().zip(x) {
///             *y = mul_add::<FMA, T>(a, x, *y);
///         }
///     }
/// }
///
/// let mut y = [1.0, 2.0];
/// axpy(2.0, &[3.0, 4.0], &mut y);
/// assert_eq!(y, [7.0, 10.0]);
/// ```
#[macro_export]
macro_rules! simd {
    ($(
        $(#[$meta:meta])*
        $vis:vis fn $name:ident $(<$($G:ident),+ $(; $(const $N:ident: $Size:ty),+)?>)? ($($arg:ident: $type:ty),* $(,)?) $(-> $result:ty)?
        $(where [$($bounds:tt)*])?
        $body:block
    )*) => {$(
        $(#[$meta])*
        $vis fn $name $(<$($G,)+ $($(const $N: $Size),+)?>)? ($($arg: $type),*) $(-> $result)? $(where $($bounds)*)? {
            // Every variant takes its parameters from here, so the body is written, and type-checked, once.
            #[inline(always)]
            #[allow(unused_mut, clippy::too_many_arguments, clippy::extra_unused_type_parameters)]
            fn body<const FMA: bool, $($($G,)+ $($(const $N: $Size),+)?)?>($($arg: $type),*) $(-> $result)? $(where $($bounds)*)? $body

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx2,fma")]
            #[allow(clippy::too_many_arguments)]
            fn avx512 $(<$($G,)+ $($(const $N: $Size),+)?>)? ($($arg: $type),*) $(-> $result)? $(where $($bounds)*)? {
                body::<true, $($($G,)+ $($($N),+)?)?>($($arg),*)
            }

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            #[allow(clippy::too_many_arguments)]
            fn avx2 $(<$($G,)+ $($(const $N: $Size),+)?>)? ($($arg: $type),*) $(-> $result)? $(where $($bounds)*)? {
                body::<true, $($($G,)+ $($($N),+)?)?>($($arg),*)
            }

            match $crate::cpu::simd::Isa::get() {
                // SAFETY: `Isa::get` only names what this machine was seen to have.
                #[cfg(target_arch = "x86_64")]
                $crate::cpu::simd::Isa::Avx512 => unsafe { avx512 $(::<$($G,)+ $($($N),+)?>)? ($($arg),*) },
                // SAFETY: as above.
                #[cfg(target_arch = "x86_64")]
                $crate::cpu::simd::Isa::Avx2 => unsafe { avx2 $(::<$($G,)+ $($($N),+)?>)? ($($arg),*) },
                _ => body::<{ $crate::cpu::simd::Isa::BASELINE_HAS_FMA }, $($($G,)+ $($($N),+)?)?>($($arg),*),
            }
        }
    )*};
}

#[cfg(test)]
mod tests {
    use super::*;

    crate::simd! {
        /// Whether the chosen variant fuses.
        fn fuses() -> bool {
            FMA
        }
        /// The sum of `f` over `x`.
        fn sum_of<T, F>(x: &[T], f: F) -> T where [T: Copy + std::iter::Sum<T>, F: Fn(T) -> T] {
            x.iter().map(|&x| f(x)).sum()
        }
    }

    #[test]
    fn the_chosen_variant_runs() {
        let isa = Isa::get();
        assert!(isa.is_available());
        assert_eq!(fuses(), isa != Isa::Baseline || Isa::BASELINE_HAS_FMA);
        assert_eq!(sum_of(&[1, 2, 3], |x| 2 * x), 12);
    }

    #[test]
    fn words_are_understood_or_refused_with_what_is_there() {
        assert_eq!(Isa::named("baseline"), Ok(Isa::Baseline));
        for isa in Isa::ALL {
            match Isa::named(isa.name()) {
                Ok(named) => assert!(named == isa && isa.is_available()),
                Err(error) => assert!(!isa.is_available() && error.to_string().contains("has no"), "{error}"),
            }
        }
        let text = Isa::named("avx1024").unwrap_err().to_string();
        assert!(
            text.contains("GRADUS_ISA") && text.contains("avx1024") && text.contains(Isa::Baseline.name()),
            "{text}"
        );
    }
}
