//! The multiply-add of single precision, which is most of what kernels do.

use super::numbers::Canonical;

/// `a b + c` in every lane, each rounded once.
pub(super) fn multiply_add(a: &[f32; 32], b: &[f32; 32], c: &[f32; 32]) -> [f32; 32] {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma") {
        // SAFETY: the processor has both.
        return unsafe { with_fma(a, b, c) };
    }
    rows(a, b, c)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn with_fma(a: &[f32; 32], b: &[f32; 32], c: &[f32; 32]) -> [f32; 32] {
    rows(a, b, c)
}

#[inline(always)]
fn rows(a: &[f32; 32], b: &[f32; 32], c: &[f32; 32]) -> [f32; 32] {
    let mut sums = [0.0; 32];
    for lane in 0..32 {
        sums[lane] = a[lane].mul_add(b[lane], c[lane]).canonical();
    }
    sums
}
