//! The processor's vectors: what runs warps and works on whole rows is compiled for the plain instruction set and for wide
//! vectors, and the better one that the processor has is taken.

/// Defines functions on rows, each compiled twice.
macro_rules! vectorised {
    ($($(#[$doc:meta])* $vis:vis fn $name:ident($($arg:ident: $T:ty),* $(,)?) $(-> $R:ty)? $body:block)*) => {$(
        $(#[$doc])*
        $vis fn $name($($arg: $T),*) $(-> $R)? {
            #[inline(always)]
            fn plain($($arg: $T),*) $(-> $R)? $body

            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2,fma,bmi1,bmi2,lzcnt,popcnt")]
                fn wide($($arg: $T),*) $(-> $R)? {
                    plain($($arg),*)
                }

                if $crate::execute::vector::is_wide() {
                    // SAFETY: the processor has these instructions.
                    return unsafe { wide($($arg),*) };
                }
            }
            plain($($arg),*)
        }
    )*};
}
pub(crate) use vectorised;

/// Whether the processor has vectors of 256 bits, fused products and the newer instructions on bits.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub(crate) fn is_wide() -> bool {
    use std::arch::is_x86_feature_detected as has;
    has!("avx2") && has!("fma") && has!("bmi1") && has!("bmi2") && has!("lzcnt") && has!("popcnt")
}
