//! Functions of two numbers with broadcasting: a row has the method, the function, what its rule reads, and the two
//! gradients. `a` and `b` stand for the inputs, `y` for the result, `dy` for its gradient.
//!
//! Shapes are aligned at the right, and a missing dimension or one of size 1 is repeated, as in NumPy. Types are widened
//! to the first of both in the order truth value, u8, i32, i64, f16 and bf16, f32, f64 that holds them. The rules know nothing of broadcasting: the
//! engine sums a gradient to its input's shape.

use std::borrow::Cow;

use gradus_kernels::{Binary, layout};

use crate::grad::{Grads, Op, Saved, Saves, apply};
use crate::{DType, Error, Result, Tensor};

macro_rules! binary {
    ($($(#[$doc:meta])* $name:ident = $Op:ident, $saves:tt ($($arg:ident),*), $da:expr, $db:expr;)*) => {
        impl Tensor {
            $($(#[$doc])* pub fn $name(&self, other: &Tensor) -> Result<Tensor> {
                combine(Binary::$Op, self, other)
            })*
        }

        /// What the rule of `f` reads; `None` where the table has no row.
        fn saves(f: Binary) -> Option<Saves> {
            match f {
                $(Binary::$Op => Some(binary!(@saves $saves)),)*
                _ => None,
            }
        }

        /// Hands both gradients to `grads`; `None` where the table has no row.
        fn rule(f: Binary, saved: &Saved<'_>, dy: &Tensor, grads: &mut Grads<'_>) -> Option<Result<()>> {
            match f {
                $(Binary::$Op => Some(binary!(@rule $saves saved dy grads ($($arg),*) $da, $db)),)*
                _ => None,
            }
        }
    };
    (@saves ab) => { Saves::INPUTS };
    (@saves aby) => { Saves::BOTH };
    (@saves _) => { Saves::NOTHING };
    (@rule _ $saved:ident $dy:ident $grads:ident ($g:ident) $da:expr, $db:expr) => {{
        let $g = $dy;
        $grads.wrt(0, || Ok($da)).and_then(|()| $grads.wrt(1, || Ok($db)))
    }};
    (@rule ab $saved:ident $dy:ident $grads:ident ($a:ident, $b:ident, $g:ident) $da:expr, $db:expr) => {
        $saved.inputs().and_then(|[$a, $b]| {
            let $g = $dy;
            $grads.wrt(0, || Ok($da))?;
            $grads.wrt(1, || Ok($db))
        })
    };
    (@rule aby $saved:ident $dy:ident $grads:ident ($a:ident, $b:ident, $y:ident, $g:ident) $da:expr, $db:expr) => {
        $saved.inputs().and_then(|[$a, $b]| {
            let ($y, $g) = ($saved.output()?, $dy);
            $grads.wrt(0, || Ok($da))?;
            $grads.wrt(1, || Ok($db))
        })
    };
}

binary! {
    /// `a + b`.
    add = Add, _ (dy), dy.clone(), dy.clone();
    /// `a - b`.
    sub = Sub, _ (dy), dy.clone(), -dy;
    /// `a * b`.
    mul = Mul, ab (a, b, dy), dy * b, dy * a;
    /// `a / b`; whole numbers become `f32`.
    div = Div, ab (a, b, dy), dy / b, -(dy * a / (b * b));
    /// `a^b`; whole numbers become `f32`. The gradient of `b` at `a = 0` is 0.
    pow = Pow, aby (a, b, y, dy), dy * (b * a.pow(&(b - 1.0))?), (dy * y * a.select(&a.gt_scalar(0.0)?, &a.ones_like()?)?.log()?);
    /// The larger of both; of equals, each gets half of the gradient.
    maximum = Maximum, ab (a, b, dy), dy * share(&a.gt(b)?, &a.eq(b)?, dy)?, dy * share(&b.gt(a)?, &a.eq(b)?, dy)?;
    /// The smaller of both; of equals, each gets half of the gradient.
    minimum = Minimum, ab (a, b, dy), dy * share(&a.lt(b)?, &a.eq(b)?, dy)?, dy * share(&b.lt(a)?, &a.eq(b)?, dy)?;
    /// The angle of the point `(b, a)` as seen from the origin, in radians.
    atan2 = Atan2, ab (a, b, dy), dy * b / (a * a + b * b), -(dy * a / (a * a + b * b));
    /// The binary cross entropy of logits `a` for truths `b`, from 0 to 1: `b softplus(-a) + (1 - b) softplus(a)`.
    logistic_loss = LogisticLoss, ab (a, b, dy), dy * (a.sigmoid()? - b), -(dy * a);
    /// What division leaves, with the sign of `b`.
    remainder = Remainder, ab (a, b, dy), dy.clone(), -(dy * (a / b).floor()?);
}

/// 1 where `all` holds, 1/2 where `half` does, else 0, in the type of `like`.
fn share(all: &Tensor, half: &Tensor, like: &Tensor) -> Result<Tensor> {
    all.to_dtype(like.dtype())?.add(&half.to_dtype(like.dtype())?.mul_scalar(0.5)?)
}

/// Applies `f` to every pair of elements of `a` and `b`, broadcast to one shape and widened to one type.
pub fn combine(f: Binary, a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let mut dtype = combine_types(a.dtype(), b.dtype());
    if !dtype.is_float() && f.reference_int(1, 1).is_none() {
        dtype = DType::F32;
    }
    apply(Combine(f), &[&*a.as_dtype(dtype)?, &*b.as_dtype(dtype)?])
}

/// Whether the table has a gradient rule for `f`.
pub fn has_gradient(f: Binary) -> bool {
    saves(f).is_some()
}

#[derive(Debug)]
struct Combine(Binary);

impl Op for Combine {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn saves(&self) -> Saves {
        saves(self.0).unwrap_or(Saves::NOTHING)
    }

    fn forward(&self, inputs: &[&Tensor]) -> Result<Tensor> {
        let [a, b] = inputs else { unreachable!("`combine` passes two inputs") };
        let [a, b] = broadcast(self.name(), [a, b])?;
        a.computed(a.backend().binary(self.0, a.view(), b.view())?, a.shape())
    }

    fn backward(&self, saved: &Saved<'_>, dy: &Tensor, grads: &mut Grads<'_>) -> Result<()> {
        rule(self.0, saved, dy, grads).unwrap_or_else(|| {
            let name = self.name();
            Err(Error::Gradient(format!("{name} has no gradient: core/src/ops/binary.rs has no row for it")))
        })
    }
}

/// All of `inputs` in the one shape to which they broadcast; they must be on one device.
pub(super) fn broadcast<'a, const N: usize>(op: &'static str, inputs: [&'a Tensor; N]) -> Result<[Cow<'a, Tensor>; N]> {
    let shapes = inputs.map(Tensor::shape);
    if let Some(other) = inputs.iter().find(|input| input.device() != inputs[0].device()) {
        let what = format!("tensors on {} and {}; move one with to_device", inputs[0].device(), other.device());
        return Err(Error::argument(op, what));
    }
    if shapes.iter().all(|&shape| shape == shapes[0]) {
        return Ok(inputs.map(Cow::Borrowed));
    }
    let Some(shape) = layout::broadcast_shapes(&shapes) else {
        let listed = shapes.map(|shape| format!("{shape:?}")).join(" and ");
        let what = format!("shapes {listed} do not broadcast: aligned at the right, sizes must be equal or 1");
        return Err(Error::shape(op, what));
    };
    let mut all = inputs.map(Cow::Borrowed);
    for (wide, input) in all.iter_mut().zip(inputs) {
        *wide = input.broadcast_view(&shape)?;
    }
    Ok(all)
}

/// The type that holds the values of both.
pub(super) fn combine_types(a: DType, b: DType) -> DType {
    const ORDER: [DType; 8] =
        [DType::Bool, DType::U8, DType::I32, DType::I64, DType::F16, DType::BF16, DType::F32, DType::F64];
    if matches!((a, b), (DType::F16, DType::BF16) | (DType::BF16, DType::F16)) {
        return DType::F32;
    }
    let rank = |dtype| ORDER.iter().position(|&entry| entry == dtype);
    if rank(a) >= rank(b) { a } else { b }
}

impl Tensor {
    /// Every element plus `value`.
    pub fn add_scalar(&self, value: f64) -> Result<Tensor> {
        self.add(&self.scalar_like(value)?)
    }

    /// Every element times `value`.
    pub fn mul_scalar(&self, value: f64) -> Result<Tensor> {
        self.mul(&self.scalar_like(value)?)
    }
}

macro_rules! operator {
    ($($Trait:ident $method:ident;)*) => {$(
        operator!(@ $Trait, $method, &Tensor, &Tensor, |a, b| Tensor::$method(a, b));
        operator!(@ $Trait, $method, &Tensor, Tensor, |a, b| Tensor::$method(a, &b));
        operator!(@ $Trait, $method, Tensor, &Tensor, |a, b| Tensor::$method(&a, b));
        operator!(@ $Trait, $method, Tensor, Tensor, |a, b| Tensor::$method(&a, &b));
        operator!(@ $Trait, $method, &Tensor, f64, |a, b| Tensor::$method(a, &a.scalar_like(b)?));
        operator!(@ $Trait, $method, Tensor, f64, |a, b| Tensor::$method(&a, &a.scalar_like(b)?));
        operator!(@ $Trait, $method, f64, &Tensor, |a, b| Tensor::$method(&b.scalar_like(a)?, b));
        operator!(@ $Trait, $method, f64, Tensor, |a, b| Tensor::$method(&b.scalar_like(a)?, &b));
    )*};
    (@ $Trait:ident, $method:ident, $A:ty, $B:ty, |$a:ident, $b:ident| $value:expr) => {
        impl std::ops::$Trait<$B> for $A {
            type Output = Tensor;
            /// # Panics
            /// Where the method of the same name fails, with its text.
            #[track_caller]
            fn $method(self, other: $B) -> Tensor {
                let ($a, $b) = (self, other);
                let compute = || -> Result<Tensor> { $value };
                compute().unwrap_or_else(|error| panic!("{error}"))
            }
        }
    };
}

operator! {
    Add add;
    Sub sub;
    Mul mul;
    Div div;
}

impl std::ops::Neg for &Tensor {
    type Output = Tensor;
    /// # Panics
    /// Where [`Tensor::neg`] fails, with its text.
    #[track_caller]
    fn neg(self) -> Tensor {
        Tensor::neg(self).unwrap_or_else(|error| panic!("{error}"))
    }
}

impl std::ops::Neg for Tensor {
    type Output = Tensor;
    #[track_caller]
    fn neg(self) -> Tensor {
        -&self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_function_of_two_numbers_has_a_gradient_row() {
        for &f in Binary::ALL {
            assert!(has_gradient(f), "{} has no row in core/src/ops/binary.rs: add one with its gradients", f.name());
        }
    }

    #[test]
    fn types_widen_to_the_one_that_holds_both() {
        assert_eq!(combine_types(DType::U8, DType::F32), DType::F32);
        assert_eq!(combine_types(DType::F16, DType::BF16), DType::F32);
        assert_eq!(combine_types(DType::F64, DType::I64), DType::F64);
    }
}
