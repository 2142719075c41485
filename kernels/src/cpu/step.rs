//! Optimizer steps, each in one pass over all that belongs to a weight.

use super::copy::Dense;
use super::fused::with_real;
use super::math::Real;
use super::simd::mul_add;
use super::threads::{chunk_len, for_chunks};
use super::widen::widen_in_place;
use crate::backend::{Adam, Sgd};
use crate::{Buffer, DType, Error, Result, View};

crate::simd! {
    fn sgd_plain<T>(rate: T, w: &mut [T], g: &[T]) where [T: Real] {
        for (w, &g) in w.iter_mut().zip(g) {
            *w = mul_add::<FMA, T>(-rate, g, *w);
        }
    }
    fn sgd_momentum<T>(rate: T, momentum: T, nesterov: bool, w: &mut [T], v: &mut [T], g: &[T]) where [T: Real] {
        for ((w, v), &g) in w.iter_mut().zip(v).zip(g) {
            let step = -rate * g;
            *v = mul_add::<FMA, T>(momentum, *v, step);
            *w = *w + if nesterov { mul_add::<FMA, T>(momentum, *v, step) } else { *v };
        }
    }
    fn adam_all<T>(how: Factors<T>, w: &mut [T], m: &mut [T], v: &mut [T], g: &[T]) where [T: Real] {
        let Factors { beta1, rest1, beta2, rest2, rate, root, epsilon } = how;
        for (((w, m), v), &g) in w.iter_mut().zip(m).zip(v).zip(g) {
            *m = mul_add::<FMA, T>(beta1, *m, rest1 * g);
            *v = mul_add::<FMA, T>(beta2, *v, rest2 * g * g);
            *w = *w - rate * *m / mul_add::<FMA, T>(v.root(), root, epsilon);
        }
    }
}

/// What Adam multiplies with, computed once for all weights.
#[derive(Clone, Copy)]
struct Factors<T> {
    beta1: T,
    rest1: T,
    beta2: T,
    rest2: T,
    /// The step size with the corrections that fall to it.
    rate: T,
    /// What the second moment's root is multiplied with.
    root: T,
    epsilon: T,
}

impl<T: Real> Factors<T> {
    fn new(how: &Adam) -> Self {
        let correction1 = 1.0 - how.beta1.powf(how.step as f64);
        let correction2 = (1.0 - how.beta2.powf(how.step as f64)).sqrt();
        let rate = how.learning_rate / correction1;
        // Dividing root and epsilon by the correction is the same as multiplying the rate with it.
        let (rate, root) = if how.epsilon_inside { (rate * correction2, 1.0) } else { (rate, 1.0 / correction2) };
        Self {
            beta1: T::of(how.beta1),
            rest1: T::of(1.0 - how.beta1),
            beta2: T::of(how.beta2),
            rest2: T::of(1.0 - how.beta2),
            rate: T::of(rate),
            root: T::of(root),
            epsilon: T::of(how.epsilon),
        }
    }
}

/// One step of gradient descent.
pub fn sgd(how: &Sgd, weights: &mut Buffer, gradient: View, velocity: Option<&mut Buffer>) -> Result<()> {
    let Some(velocity) = velocity else {
        return widen_in_place([weights], gradient, |[w], g| {
            with_real!("sgd_step", g.dtype(), T => {
                let g = Dense::<T>::new(g);
                let (w, g) = (w.as_mut_slice::<T>(), g.as_slice());
                let rate = T::of(how.learning_rate);
                super::read::for_parts(w, chunk_len(g.len(), 1), &|start, w| sgd_plain(rate, w, &g[start..]));
            });
            Ok(())
        });
    };
    widen_in_place([weights, velocity], gradient, |[w, v], g| {
        with_real!("sgd_step", g.dtype(), T => {
            let g = Dense::<T>::new(g);
            let (rate, momentum) = (T::of(how.learning_rate), T::of(how.momentum));
            for_parts(g.as_slice(), [w.as_mut_slice(), v.as_mut_slice()], |g, [w, v]| {
                sgd_momentum(rate, momentum, how.nesterov, w, v, g);
            });
        });
        Ok(())
    })
}

/// One step of Adam.
pub fn adam(how: &Adam, weights: &mut Buffer, gradient: View, m: &mut Buffer, v: &mut Buffer) -> Result<()> {
    widen_in_place([weights, m, v], gradient, |[w, m, v], g| {
        with_real!("adam_step", g.dtype(), T => {
            let g = Dense::<T>::new(g);
            let factors = Factors::<T>::new(how);
            for_parts(g.as_slice(), [w.as_mut_slice(), m.as_mut_slice(), v.as_mut_slice()], |g, [w, m, v]| {
                adam_all(factors, w, m, v, g);
            });
        });
        Ok(())
    })
}

/// Calls `f` for parts of `g` and the parts of `buffers` beside them, on several threads.
fn for_parts<T: Send + Sync, const N: usize>(g: &[T], buffers: [&mut [T]; N], f: impl Fn(&[T], [&mut [T]; N]) + Sync) {
    let chunk = chunk_len(g.len(), 2 * N);
    let mut each = buffers.map(|buffer| buffer.chunks_mut(chunk));
    let parts = g.chunks(chunk).map(|g| (g, each.each_mut().map(|parts| parts.next().unwrap_or_default())));
    let mut parts: Vec<_> = parts.collect();
    for_chunks(&mut parts, 1, &|_, parts| {
        for (g, buffers) in parts {
            f(g, buffers.each_mut().map(|part| &mut **part));
        }
    });
}
