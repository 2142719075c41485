//! Comparisons, logic, and choice by condition.

use gradus_kernels::{Binary, Compare};

use super::binary::{broadcast, combine};
use super::cast::same_types;
use crate::grad::{Grads, Op, Saved, Saves, apply};
use crate::{DType, Error, Result, Tensor};

macro_rules! comparisons {
    ($($(#[$doc:meta])* $name:ident $scalar:ident = $Op:ident;)*) => {
        /// Comparisons give truth values, which have no gradient; NaN equals nothing.
        impl Tensor {
            $(
                $(#[$doc])* pub fn $name(&self, other: &Tensor) -> Result<Tensor> {
                    compare(Compare::$Op, self, other)
                }

                #[doc = concat!("[`Tensor::", stringify!($name), "`] with one number.")]
                pub fn $scalar(&self, value: f64) -> Result<Tensor> {
                    compare(Compare::$Op, self, &self.scalar_like(value)?)
                }
            )*
        }
    };
}

comparisons! {
    /// Whether `self == other`, element by element.
    eq eq_scalar = Eq;
    /// Whether `self != other`, element by element.
    ne ne_scalar = Ne;
    /// Whether `self < other`, element by element.
    lt lt_scalar = Lt;
    /// Whether `self <= other`, element by element.
    le le_scalar = Le;
    /// Whether `self > other`, element by element.
    gt gt_scalar = Gt;
    /// Whether `self >= other`, element by element.
    ge ge_scalar = Ge;
}

fn compare(op: Compare, a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let (a, b) = (a.detach(), b.detach());
    let [a, b] = same_types([&a, &b])?;
    let [a, b] = broadcast(op.name(), [&a, &b])?;
    a.computed(a.backend().compare(op, a.view(), b.view())?, a.shape())
}

/// Logic on truth values.
impl Tensor {
    /// Both hold.
    pub fn logical_and(&self, other: &Tensor) -> Result<Tensor> {
        combine(Binary::Minimum, &self.truth()?, &other.truth()?)
    }

    /// At least one holds.
    pub fn logical_or(&self, other: &Tensor) -> Result<Tensor> {
        combine(Binary::Maximum, &self.truth()?, &other.truth()?)
    }

    /// Exactly one holds.
    pub fn logical_xor(&self, other: &Tensor) -> Result<Tensor> {
        self.truth()?.ne(&other.truth()?)
    }

    /// It does not hold.
    pub fn logical_not(&self) -> Result<Tensor> {
        self.truth()?.eq_scalar(0.0)
    }

    /// Whether every element is NaN, element by element.
    pub fn is_nan(&self) -> Result<Tensor> {
        self.ne(self)
    }

    /// Whether `low < x < high`, element by element.
    pub fn between(&self, low: f64, high: f64) -> Result<Tensor> {
        self.gt_scalar(low)?.logical_and(&self.lt_scalar(high)?)
    }

    /// As truth values: whether not zero.
    fn truth(&self) -> Result<Tensor> {
        self.detach().to_dtype(DType::Bool)
    }
}

/// Choice.
impl Tensor {
    /// The elements of `self` where `condition` holds, else those of `other`; NumPy's `where`. All three broadcast.
    pub fn select(&self, condition: &Tensor, other: &Tensor) -> Result<Tensor> {
        if condition.dtype() != DType::Bool {
            let what = format!("the condition holds {}, not truth values; compare first", condition.dtype());
            return Err(Error::dtype("select", what));
        }
        let [a, b] = same_types([self, other])?;
        apply(Select, &[condition, &a, &b])
    }

    /// The elements of `self` where `condition` holds, else 0.
    pub fn masked(&self, condition: &Tensor) -> Result<Tensor> {
        self.select(condition, &self.scalar_like(0.0)?)
    }

    /// `value` where `condition` holds, else the elements of `self`.
    pub fn masked_fill(&self, condition: &Tensor, value: f64) -> Result<Tensor> {
        self.scalar_like(value)?.select(condition, self)
    }
}

#[derive(Debug)]
struct Select;

impl Op for Select {
    fn name(&self) -> &'static str {
        "select"
    }

    fn saves(&self) -> Saves {
        Saves::INPUTS
    }

    fn forward(&self, inputs: &[&Tensor]) -> Result<Tensor> {
        let [condition, a, b] = inputs else { unreachable!("`select` passes three inputs") };
        let [condition, a, b] = broadcast(self.name(), [condition, a, b])?;
        a.computed(a.backend().select(condition.view(), a.view(), b.view())?, a.shape())
    }

    fn backward(&self, saved: &Saved<'_>, dy: &Tensor, grads: &mut Grads<'_>) -> Result<()> {
        let [condition, _, _] = saved.inputs()?;
        grads.wrt(1, || dy.masked(condition))?;
        grads.wrt(2, || dy.scalar_like(0.0)?.select(condition, dy))
    }
}
