//! Optimizer steps: all weights of a network in one pass, which is one job for the threads.

use super::copy::{Dense, cast};
use super::math::Real;
use super::simd::mul_add;
use super::threads::for_rows;
use crate::backend::{Adjust, Moving, Rule};
use crate::{Buffer, DType, Element, Error, Layout, Result, View};

/// How many gradients are adjusted before they are used: few enough to stay in the first cache.
const BLOCK: usize = 1024;

crate::simd! {
    fn adjusted<T>(how: Adjust, w: &mut [T], g: &[T], out: &mut [T]) where [T: Real] {
        let [l1, l2, scale] = [how.l1, how.l2, how.scale].map(T::of);
        let [limit, decay, keep] = [how.limit, how.decay, how.keep].map(T::of);
        for ((w, &g), out) in w.iter_mut().zip(g).zip(out) {
            let g = scale * (mul_add::<FMA, T>(l2, *w, g) + sign(*w) * l1);
            // Written so that a NaN is let through, to be seen.
            let g = if g > limit { limit } else { g };
            let g = if g < -limit { -limit } else { g };
            *out = mul_add::<FMA, T>(decay, *w, g);
            *w = keep * *w;
        }
    }
    fn descend<T>(rate: f64, w: &mut [T], g: &[T]) where [T: Real] {
        let rate = T::of(-rate);
        for (w, &g) in w.iter_mut().zip(g) {
            *w = mul_add::<FMA, T>(rate, g, *w);
        }
    }
    fn momentum<T>(how: [f64; 3], nesterov: bool, w: &mut [T], v: &mut [T], g: &[T]) where [T: Real] {
        let [momentum, inner, outer] = how.map(T::of);
        for ((w, v), &g) in w.iter_mut().zip(v).zip(g) {
            let step = -inner * g;
            *v = normal(mul_add::<FMA, T>(momentum, *v, step));
            let step = if nesterov { mul_add::<FMA, T>(momentum, *v, step) } else { *v };
            *w = mul_add::<FMA, T>(outer, step, *w);
        }
    }
    fn moments<T>(how: Moments<T>, w: &mut [T], m: &mut [T], v: &mut [T], g: &[T]) where [T: Real] {
        for (((w, m), v), &g) in w.iter_mut().zip(m).zip(v).zip(g) {
            let (new_m, new_v) = how.remember::<FMA>(g, *m, *v);
            let new_w = *w - how.step::<FMA>(g, new_m, new_v);
            (*w, *m, *v) = (new_w, new_m, new_v);
        }
    }
    fn moments_largest<T>(how: Moments<T>, w: &mut [T], m: &mut [T], v: &mut [T], most: &mut [T], g: &[T]) where [T: Real] {
        for ((((w, m), v), most), &g) in w.iter_mut().zip(m).zip(v).zip(most).zip(g) {
            let (new_m, new_v) = how.remember::<FMA>(g, *m, *v);
            let new_most = larger(*most, new_v);
            let new_w = *w - how.step::<FMA>(g, new_m, new_most);
            (*w, *m, *v, *most) = (new_w, new_m, new_v, new_most);
        }
    }
    fn infinity<T>(how: [f64; 5], w: &mut [T], m: &mut [T], u: &mut [T], g: &[T]) where [T: Real] {
        let [beta1, beta2, rate, inside, outside] = how.map(T::of);
        let rest1 = T::of(1.0 - how[0]);
        for (((w, m), u), &g) in w.iter_mut().zip(m).zip(u).zip(g) {
            *m = normal(mul_add::<FMA, T>(beta1, *m, rest1 * g));
            *u = normal(larger(beta2 * *u, larger(g, -g) + inside));
            *w = *w - rate * *m / (*u + outside);
        }
    }
    fn squares<T>(how: Squares<T>, w: &mut [T], v: &mut [T], g: &[T]) where [T: Real] {
        for ((w, v), &g) in w.iter_mut().zip(v).zip(g) {
            *v = how.square::<FMA>(g, *v);
            *w = mul_add::<FMA, T>(-how.outer, how.step(g, *v), *w);
        }
    }
    fn squares_heavy<T>(how: Squares<T>, w: &mut [T], v: &mut [T], b: &mut [T], g: &[T]) where [T: Real] {
        for (((w, v), b), &g) in w.iter_mut().zip(v).zip(b).zip(g) {
            *v = how.square::<FMA>(g, *v);
            *b = normal(mul_add::<FMA, T>(how.momentum, *b, how.step(g, *v)));
            *w = mul_add::<FMA, T>(-how.outer, *b, *w);
        }
    }
    fn squares_centered<T>(how: Squares<T>, w: &mut [T], v: &mut [T], a: &mut [T], g: &[T]) where [T: Real] {
        for (((w, v), a), &g) in w.iter_mut().zip(v).zip(a).zip(g) {
            *v = how.square::<FMA>(g, *v);
            *a = normal(mul_add::<FMA, T>(how.keep, *a, how.add * g));
            *w = mul_add::<FMA, T>(-how.outer, how.step(g, mul_add::<FMA, T>(-*a, *a, *v)), *w);
        }
    }
    fn squares_both<T>(how: Squares<T>, w: &mut [T], v: &mut [T], a: &mut [T], b: &mut [T], g: &[T]) where [T: Real] {
        for ((((w, v), a), b), &g) in w.iter_mut().zip(v).zip(a).zip(b).zip(g) {
            *v = how.square::<FMA>(g, *v);
            *a = normal(mul_add::<FMA, T>(how.keep, *a, how.add * g));
            *b = normal(mul_add::<FMA, T>(how.momentum, *b, how.step(g, mul_add::<FMA, T>(-*a, *a, *v))));
            *w = mul_add::<FMA, T>(-how.outer, *b, *w);
        }
    }
    fn deltas<T>(how: [f64; 3], w: &mut [T], v: &mut [T], s: &mut [T], g: &[T]) where [T: Real] {
        let [rho, rate, epsilon] = how.map(T::of);
        let rest = T::of(1.0 - how[0]);
        for (((w, v), s), &g) in w.iter_mut().zip(v).zip(s).zip(g) {
            *v = normal(mul_add::<FMA, T>(rho, *v, rest * g * g));
            let d = g * (*s + epsilon).root() / (*v + epsilon).root();
            *s = normal(mul_add::<FMA, T>(rho, *s, rest * d * d));
            *w = mul_add::<FMA, T>(-rate, d, *w);
        }
    }
    fn signs<T>(how: [f64; 3], w: &mut [T], m: &mut [T], g: &[T]) where [T: Real] {
        let [beta1, beta2, rate] = how.map(T::of);
        let (rest1, rest2) = (T::of(1.0 - how[0]), T::of(1.0 - how[1]));
        for ((w, m), &g) in w.iter_mut().zip(m).zip(g) {
            *w = *w - rate * sign(beta1 * *m + rest1 * g);
            *m = normal(mul_add::<FMA, T>(beta2, *m, rest2 * g));
        }
    }
}

/// -1, 0 or 1; 0 for a NaN.
#[inline(always)]
fn sign<T: Real>(x: T) -> T {
    let (zero, one) = (T::of(0.0), T::of(1.0));
    let above = if x > zero { one } else { zero };
    if x < zero { -one } else { above }
}

#[inline(always)]
fn larger<T: Real>(a: T, b: T) -> T {
    if a > b { a } else { b }
}

/// `x`, or 0 if it is too small to be a normal number.
///
/// What an optimizer remembers of a weight whose gradient stays 0 gets smaller in every step, and the smallest numbers are rounded to
/// themselves when they are multiplied by 0.9: they would stay for good, and processors take a hundred times as long for each.
#[inline(always)]
fn normal<T: Real>(x: T) -> T {
    let least = T::of(if size_of::<T>() == 4 { f32::MIN_POSITIVE.into() } else { f64::MIN_POSITIVE });
    if larger(x, -x) < least { T::of(0.0) } else { x }
}

/// [`Rule::Moments`] in the type of the weights.
#[derive(Clone, Copy)]
struct Moments<T> {
    beta: [T; 2],
    rest: [T; 2],
    rate: [T; 2],
    root: T,
    epsilon: T,
}

impl<T: Real> Moments<T> {
    /// The moments after one more gradient. All memory is read before any is written: reads wait for a write to the same place of
    /// another page, and large buffers begin at the same place of theirs.
    #[inline(always)]
    fn remember<const FMA: bool>(&self, g: T, m: T, v: T) -> (T, T) {
        let m = mul_add::<FMA, T>(self.beta[0], m, self.rest[0] * g);
        let v = mul_add::<FMA, T>(self.beta[1], v, self.rest[1] * g * g);
        (normal(m), normal(v))
    }

    #[inline(always)]
    fn step<const FMA: bool>(&self, g: T, m: T, v: T) -> T {
        let over = mul_add::<FMA, T>(self.rate[0], m, self.rate[1] * g);
        over / mul_add::<FMA, T>(v.root(), self.root, self.epsilon)
    }
}

/// [`Rule::Squares`] in the type of the weights.
#[derive(Clone, Copy)]
struct Squares<T> {
    keep: T,
    add: T,
    momentum: T,
    inner: T,
    outer: T,
    inside: T,
    outside: T,
}

impl<T: Real> Squares<T> {
    #[inline(always)]
    fn square<const FMA: bool>(&self, g: T, v: T) -> T {
        normal(mul_add::<FMA, T>(self.keep, v, self.add * g * g))
    }

    #[inline(always)]
    fn step(&self, g: T, d: T) -> T {
        self.inner * g / ((d + self.inside).root() + self.outside)
    }
}

/// Moves weights by their rules.
pub fn update(all: &mut [Moving]) -> Result<()> {
    for moving in all.iter_mut() {
        match moving.weights.dtype() {
            DType::F32 | DType::F64 => {}
            DType::F16 | DType::BF16 => widened(moving)?,
            dtype => return Err(Error::DType { op: "update", dtype, hint: "cast to f32 first" }),
        }
    }
    together::<f32>(all);
    together::<f64>(all);
    Ok(())
}

/// Moves weights of a narrow type through `f32`.
fn widened(moving: &mut Moving) -> Result<()> {
    let narrow = moving.weights.dtype();
    let layout = Layout::contiguous(&[moving.weights.len()]);
    let wide = |buffer: &Buffer| cast(View::new(buffer, &layout), DType::F32);
    let (mut weights, gradient) = (wide(moving.weights), cast(moving.gradient, DType::F32));
    let mut states = moving.states.each_ref().map(|state| state.as_deref().map(wide));
    update(&mut [Moving {
        weights: &mut weights,
        gradient: View::new(&gradient, &layout),
        states: states.each_mut().map(Option::as_mut),
        adjust: moving.adjust,
        rule: moving.rule,
    }])?;
    *moving.weights = cast(View::new(&weights, &layout), narrow);
    for (buffer, wide) in moving.states.iter_mut().zip(&states) {
        if let (Some(buffer), Some(wide)) = (buffer, wide) {
            **buffer = cast(View::new(wide, &layout), narrow);
        }
    }
    Ok(())
}

/// Moves those of the weights whose type is `T`.
fn together<T: Real + Element>(all: &mut [Moving]) {
    let (mut rows, mut given) = (Vec::with_capacity(all.len()), Vec::with_capacity(all.len()));
    let mut states = 0;
    for moving in all.iter_mut().filter(|moving| moving.weights.dtype() == T::DTYPE) {
        states = states.max(moving.rule.states());
        given.push((moving.rule, moving.adjust, Dense::<T>::new(moving.gradient)));
        let [a, b, c] = moving.states.each_mut().map(|state| match state {
            Some(state) => state.as_mut_slice::<T>(),
            None => &mut [],
        });
        rows.push([moving.weights.as_mut_slice::<T>(), a, b, c]);
    }
    for_rows(&mut rows, 2 * (1 + states), &|row, start, [w, a, b, c]| {
        let (rule, adjust, gradient) = &given[row];
        let g = &gradient.as_slice()[start..][..w.len()];
        if *adjust == Adjust::NOTHING {
            return apply(rule, w, [a, b, c], g);
        }
        let mut block = [T::of(0.0); BLOCK];
        for (i, g) in g.chunks(BLOCK).enumerate() {
            let (range, block) = (i * BLOCK..i * BLOCK + g.len(), &mut block[..g.len()]);
            // Where a rule has fewer states, the others are empty.
            let states = [&mut *a, &mut *b, &mut *c].map(|x| x.get_mut(range.clone()).unwrap_or_default());
            let w = &mut w[range];
            adjusted(*adjust, w, g, block);
            apply(rule, w, states, block);
        }
    });
}

/// Moves some weights, whose gradients are as they are to be.
fn apply<T: Real>(rule: &Rule, w: &mut [T], [a, b, c]: [&mut [T]; 3], g: &[T]) {
    match *rule {
        Rule::Descend { rate } => descend(rate, w, g),
        Rule::Momentum { momentum: share, inner, outer, nesterov } => {
            momentum([share, inner, outer], nesterov, w, a, g);
        }
        Rule::Moments { beta1, beta2, rate_m, rate_g, root, epsilon, largest } => {
            let how = Moments {
                beta: [beta1, beta2].map(T::of),
                rest: [1.0 - beta1, 1.0 - beta2].map(T::of),
                rate: [rate_m, rate_g].map(T::of),
                root: T::of(root),
                epsilon: T::of(epsilon),
            };
            if largest { moments_largest(how, w, a, b, c, g) } else { moments(how, w, a, b, g) }
        }
        Rule::Infinity { beta1, beta2, rate, inside, outside } => {
            infinity([beta1, beta2, rate, inside, outside], w, a, b, g);
        }
        Rule::Squares { keep, add, centered, momentum, inner, outer, inside, outside } => {
            let [keep, add, inner, outer] = [keep, add, inner, outer].map(T::of);
            let [inside, outside] = [inside, outside].map(T::of);
            let how = Squares { keep, add, momentum: T::of(momentum), inner, outer, inside, outside };
            match (centered, momentum != 0.0) {
                (false, false) => squares(how, w, a, g),
                (false, true) => squares_heavy(how, w, a, b, g),
                (true, false) => squares_centered(how, w, a, b, g),
                (true, true) => squares_both(how, w, a, b, c, g),
            }
        }
        Rule::Deltas { rho, rate, epsilon } => deltas([rho, rate, epsilon], w, a, b, g),
        Rule::Sign { beta1, beta2, rate } => signs([beta1, beta2, rate], w, a, g),
    }
}
