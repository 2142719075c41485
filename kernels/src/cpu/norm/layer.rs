//! Normalisation of rows by their own statistics.

use super::columns::{LANES, not_negative};
use crate::cpu::copy::Dense;
use crate::cpu::fused::with_real;
use crate::cpu::math::{Real, total};
use crate::cpu::read::for_parts;
use crate::cpu::simd::mul_add;
use crate::cpu::threads::GRAIN;
use crate::{Buffer, DType, Element, Error, Result, View};

/// Squares that are added up in their own precision, side by side, before their sums are in double precision.
const BLOCK: usize = 1024;

/// The sum of squared distances from `mean`.
#[inline(always)]
fn squares<const FMA: bool, T: Real>(x: &[T], mean: T) -> f64 {
    let mut sum = 0.0;
    for x in x.chunks(BLOCK) {
        let mut partial = [T::of(0.0); 2 * LANES];
        let (blocks, rest) = x.as_chunks::<{ 2 * LANES }>();
        for block in blocks {
            for (partial, &x) in partial.iter_mut().zip(block) {
                *partial = mul_add::<FMA, T>(x - mean, x - mean, *partial);
            }
        }
        sum += rest.iter().map(|&x| (x - mean).wide() * (x - mean).wide()).sum::<f64>();
        sum += partial.iter().map(|partial| partial.wide()).sum::<f64>();
    }
    sum
}

crate::simd! {
    /// Each row of `x` with mean 0 and variance 1, times `gamma` plus `beta`.
    fn layer_rows<T>(x: &[T], y: &mut [T], gamma: &[T], beta: &[T], epsilon: f64) where [T: Real] {
        let width = gamma.len();
        for (x, y) in x.chunks_exact(width).zip(y.chunks_exact_mut(width)) {
            let exact = total::<LANES, _>(x, |x| x.wide()) / width as f64;
            let mean = T::of(exact);
            // What rounding took from the mean is in every distance.
            let lost = exact - mean.wide();
            let variance = not_negative(squares::<FMA, T>(x, mean) / width as f64 - lost * lost);
            let factor = T::of(1.0 / (variance + epsilon).sqrt());
            for (((y, &x), &gamma), &beta) in y.iter_mut().zip(x).zip(gamma).zip(beta) {
                *y = mul_add::<FMA, T>((x - mean) * factor, gamma, beta);
            }
        }
    }
}

/// Each row along the last dimension with mean 0 and variance 1, times `gamma` plus `beta`.
pub fn layer_norm(x: View, gamma: View, beta: View, epsilon: f64) -> Result<Buffer> {
    with_real!("layer_norm", x.dtype(), T => {
        let mut y = Buffer::unspecified(T::DTYPE, x.len());
        let [x, gamma, beta] = [x, gamma, beta].map(Dense::<T>::new);
        let (x, gamma, beta) = (x.as_slice(), gamma.as_slice(), beta.as_slice());
        let width = gamma.len().max(1);
        for_parts(y.as_mut_slice::<T>(), (GRAIN / width).max(1) * width, &|start, y| {
            layer_rows(&x[start..][..y.len()], y, gamma, beta, epsilon);
        });
        Ok(y)
    })
}
