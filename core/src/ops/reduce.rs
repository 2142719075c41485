//! Sums, means, products and extremes over dimensions, and running sums.
//!
//! `axes` may be negative, counting from the end; none means all. The dimensions vanish, or stay with size 1 in the
//! `_keepdim` forms, which broadcast against the input.

use gradus_kernels::layout::Dims;
use gradus_kernels::{ArgReduce, Reduce as Kind};

use crate::grad::{Grads, Op, Saved, Saves, apply};
use crate::{DType, Error, Result, Tensor};

macro_rules! reductions {
    ($($(#[$doc:meta])* $name:ident $keepdim:ident = $Kind:ident;)*) => {
        impl Tensor {
            $(
                $(#[$doc])* pub fn $name(&self, axes: &[isize]) -> Result<Tensor> {
                    reduce(self, Kind::$Kind, stringify!($name), axes, false)
                }

                #[doc = concat!("[`Tensor::", stringify!($name), "`] that leaves the dimensions with size 1.")]
                pub fn $keepdim(&self, axes: &[isize]) -> Result<Tensor> {
                    reduce(self, Kind::$Kind, stringify!($name), axes, true)
                }
            )*
        }
    };
}

reductions! {
    /// The sum; 0 of nothing.
    sum sum_keepdim = Sum;
    /// The arithmetic mean; NaN of nothing. Floats only.
    mean mean_keepdim = Mean;
    /// The product; 1 of nothing.
    prod prod_keepdim = Prod;
    /// The largest element; equal ones share the gradient.
    max max_keepdim = Max;
    /// The smallest element; equal ones share the gradient.
    min min_keepdim = Min;
}

/// Where and how far.
impl Tensor {
    /// The index of the largest element along `axis`, which vanishes; the first of equals.
    pub fn argmax(&self, axis: isize) -> Result<Tensor> {
        self.arg_reduce(ArgReduce::Max, "argmax", axis)
    }

    /// The index of the smallest element along `axis`, which vanishes; the first of equals.
    pub fn argmin(&self, axis: isize) -> Result<Tensor> {
        self.arg_reduce(ArgReduce::Min, "argmin", axis)
    }

    /// Running sums along `axis`.
    pub fn cumsum(&self, axis: isize) -> Result<Tensor> {
        apply(CumSum(self.axis("cumsum", axis)?), &[self])
    }

    /// Summed to `shape`, from which it could have been broadcast: the transpose of broadcasting.
    pub fn sum_to(&self, shape: &[usize]) -> Result<Tensor> {
        if self.shape() == shape {
            return Ok(self.clone());
        }
        let extra = self
            .rank()
            .checked_sub(shape.len())
            .ok_or_else(|| Error::shape("sum_to", format!("{:?} has fewer dimensions than {shape:?}", self.shape())))?;
        let repeated = |axis: usize| axis < extra || (shape[axis - extra] == 1 && self.shape()[axis] != 1);
        let axes: Vec<isize> = (0..self.rank()).filter(|&axis| repeated(axis)).map(|axis| axis as isize).collect();
        self.sum_keepdim(&axes)?.reshape(shape)
    }

    fn arg_reduce(&self, op: ArgReduce, name: &'static str, axis: isize) -> Result<Tensor> {
        let axis = self.axis(name, axis)?;
        if self.shape()[axis] == 0 {
            return Err(Error::shape(name, format!("dimension {axis} of {:?} is empty", self.shape())));
        }
        let mut shape = Dims::from_slice(self.shape());
        shape.remove(axis);
        self.computed(self.backend().arg_reduce(op, self.view(), axis)?, &shape)
    }
}

fn reduce(x: &Tensor, kind: Kind, name: &'static str, axes: &[isize], keepdim: bool) -> Result<Tensor> {
    let axes = x.axes(name, axes)?;
    if kind == Kind::Mean && !x.dtype().is_float() {
        return Err(Error::dtype(name, format!("not defined for {}; convert with to_dtype first", x.dtype())));
    }
    if matches!(kind, Kind::Max | Kind::Min) && axes.iter().any(|&axis| x.shape()[axis] == 0) {
        return Err(Error::shape(name, format!("{:?} has nothing to choose from", x.shape())));
    }
    let kept = |axis: usize| if axes.contains(&axis) { keepdim.then_some(1) } else { Some(x.shape()[axis]) };
    let shape: Dims = (0..x.rank()).filter_map(kept).collect();
    apply(Reduce { kind, name, axes }, &[x])?.reshape(&shape)
}

/// The result keeps all dimensions, so that it broadcasts against the input.
#[derive(Debug)]
struct Reduce {
    kind: Kind,
    name: &'static str,
    axes: Dims,
}

impl Op for Reduce {
    fn name(&self) -> &'static str {
        self.name
    }

    fn saves(&self) -> Saves {
        match self.kind {
            Kind::Sum | Kind::Mean => Saves::NOTHING,
            Kind::Prod => Saves::INPUTS,
            Kind::Max | Kind::Min => Saves::BOTH,
        }
    }

    fn forward(&self, inputs: &[&Tensor]) -> Result<Tensor> {
        let x = inputs[0];
        let mut shape = Dims::from_slice(x.shape());
        for &axis in &self.axes {
            shape[axis] = 1;
        }
        x.computed(x.backend().reduce(self.kind, x.view(), &self.axes)?, &shape)
    }

    fn backward(&self, saved: &Saved<'_>, dy: &Tensor, grads: &mut Grads<'_>) -> Result<()> {
        let shape = saved.shape(0);
        grads.wrt(0, || match self.kind {
            Kind::Sum => dy.broadcast_to(shape),
            Kind::Mean => {
                let count: usize = self.axes.iter().map(|&axis| shape[axis]).product();
                dy.mul_scalar(1.0 / count as f64)?.broadcast_to(shape)
            }
            Kind::Max | Kind::Min => {
                let [x] = saved.inputs()?;
                let chosen = x.eq(saved.output()?)?.to_dtype(dy.dtype())?;
                let axes: Vec<isize> = self.axes.iter().map(|&axis| axis as isize).collect();
                let equals = if axes.is_empty() { chosen.clone() } else { chosen.sum_keepdim(&axes)? };
                dy.div(&equals)?.mul(&chosen)
            }
            Kind::Prod => {
                let [x] = saved.inputs()?;
                dy.mul(&others_product(x, &self.axes)?)
            }
        })
    }
}

/// For each element the product of all *other* elements over `axes`.
///
/// The whole product divided by the element would be wrong at zeros, so the products of all elements before and after it
/// are taken: a table of n by n with the diagonal left out, small for the few elements that are ever multiplied.
fn others_product(x: &Tensor, axes: &[usize]) -> Result<Tensor> {
    let kept = (0..x.rank()).filter(|axis| !axes.contains(axis));
    let order: Vec<isize> = kept.chain(axes.iter().copied()).map(|axis| axis as isize).collect();
    let moved = x.permute(&order)?;
    let (lead, tail) = moved.shape().split_at(x.rank() - axes.len());
    let (rows, n): (usize, usize) = (lead.iter().product(), tail.iter().product());
    let table = moved.reshape(&[rows, 1, n])?.broadcast_to(&[rows, n, n])?;
    let diagonal = Tensor::eye(n, DType::Bool, x.device())?;
    let others = table.masked_fill(&diagonal, 1.0)?.prod(&[-1])?.reshape(moved.shape())?;
    let mut inverse = vec![0; order.len()];
    for (to, &from) in order.iter().enumerate() {
        inverse[from as usize] = to as isize;
    }
    others.permute(&inverse)
}

#[derive(Debug)]
struct CumSum(usize);

impl Op for CumSum {
    fn name(&self) -> &'static str {
        "cumsum"
    }

    fn forward(&self, inputs: &[&Tensor]) -> Result<Tensor> {
        inputs[0].computed(inputs[0].backend().cumsum(inputs[0].view(), self.0)?, inputs[0].shape())
    }

    fn backward(&self, _: &Saved<'_>, dy: &Tensor, grads: &mut Grads<'_>) -> Result<()> {
        let axis = self.0 as isize;
        grads.wrt(0, || dy.flip(axis)?.cumsum(axis)?.flip(axis))
    }
}
