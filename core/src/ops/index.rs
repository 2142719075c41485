//! Reading and adding by index, and sorting. Reading and adding are each other's gradients.

use gradus_kernels::layout::Dims;

use crate::grad::{Grads, Op, Saved, Saves, apply};
use crate::{DType, Error, Result, Tensor};

/// By index. Indices are `i64` or `i32`; one outside of the dimension is an error.
impl Tensor {
    /// `y[.., i, ..] = x[.., index[.., i, ..], ..]` along `axis`; `index` has the shape of `y`. Outside of `axis` it may be
    /// smaller than `x`, whose other elements are then not read.
    pub fn gather(&self, index: &Tensor, axis: isize) -> Result<Tensor> {
        let axis = self.axis("gather", axis)?;
        self.check_index("gather", index)?;
        apply(Gather(axis), &[&self.beside("gather", index, axis)?, index])
    }

    /// A copy of `self` with the elements of `source` added where [`Tensor::gather`] with `index` would read.
    pub fn scatter_add(&self, index: &Tensor, source: &Tensor, axis: isize) -> Result<Tensor> {
        let axis = self.axis("scatter_add", axis)?;
        self.check_index("scatter_add", index)?;
        if source.shape() != index.shape() || source.dtype() != self.dtype() {
            let (shape, dtype) = (source.shape(), source.dtype());
            let what = format!("the source is {dtype} {shape:?}; it must be {} {:?}", self.dtype(), index.shape());
            return Err(Error::shape("scatter_add", what));
        }
        let part = self.beside("scatter_add", index, axis)?;
        if part.shape() == self.shape() {
            return apply(ScatterAdd(axis), &[self, index, source]);
        }
        let added = apply(ScatterAdd(axis), &[&part.zeros_like()?, index, source])?;
        let grow = |added: Tensor, axis: usize| added.pad(axis as isize, 0, self.shape()[axis] - part.shape()[axis]);
        self.add(&(0..self.rank()).try_fold(added, grow)?)
    }

    /// The slices along `axis` that `index`, of one dimension, names.
    pub fn index_select(&self, index: &Tensor, axis: isize) -> Result<Tensor> {
        let axis = self.axis("index_select", axis)?;
        self.check_index("index_select", index)?;
        check_vector("index_select", index)?;
        apply(IndexSelect(axis), &[self, index])
    }

    /// A copy of `self` with the slices of `source` added to those that `index`, of one dimension, names.
    pub fn index_add(&self, index: &Tensor, source: &Tensor, axis: isize) -> Result<Tensor> {
        let axis = self.axis("index_add", axis)?;
        self.check_index("index_add", index)?;
        check_vector("index_add", index)?;
        let mut wanted = Dims::from_slice(self.shape());
        wanted[axis] = index.len();
        if source.shape() != wanted.as_slice() || source.dtype() != self.dtype() {
            let (shape, dtype) = (source.shape(), source.dtype());
            let what = format!("the source is {dtype} {shape:?}; it must be {} {wanted:?}", self.dtype());
            return Err(Error::shape("index_add", what));
        }
        apply(IndexAdd(axis), &[self, index, source])
    }

    fn check_index(&self, op: &'static str, index: &Tensor) -> Result<()> {
        if !matches!(index.dtype(), DType::I64 | DType::I32) {
            return Err(Error::dtype(op, format!("an index must be i64 or i32, not {}", index.dtype())));
        }
        if index.device() != self.device() {
            let what = format!("the tensor is on {}, the index on {}", self.device(), index.device());
            return Err(Error::argument(op, what));
        }
        Ok(())
    }

    /// The part of `self` that lies beside `index`: as large as it outside of `axis`.
    fn beside(&self, op: &'static str, index: &Tensor, axis: usize) -> Result<Tensor> {
        let fits = |a: usize| a == axis || index.shape()[a] <= self.shape()[a];
        if index.rank() != self.rank() || !(0..self.rank()).all(fits) {
            let what = format!("index {:?} reaches outside of {:?} beside axis {axis}", index.shape(), self.shape());
            return Err(Error::shape(op, what));
        }
        let narrow = |part: Tensor, a: usize| match a == axis || part.shape()[a] == index.shape()[a] {
            true => Ok(part),
            false => part.slice(a as isize, 0, index.shape()[a]),
        };
        (0..self.rank()).try_fold(self.clone(), narrow)
    }
}

fn check_vector(op: &'static str, index: &Tensor) -> Result<()> {
    match index.rank() {
        1 => Ok(()),
        _ => Err(Error::shape(op, format!("the index must have one dimension, not {:?}", index.shape()))),
    }
}

/// In order.
impl Tensor {
    /// The elements in order along `axis` and, as `i64`, where each stood. Stable; NaN counts as the largest.
    pub fn sort(&self, axis: isize, descending: bool) -> Result<(Tensor, Tensor)> {
        let axis_number = self.axis("sort", axis)?;
        let (values, order) = self.backend().sort(self.view(), axis_number, descending)?;
        let order = self.computed(order, self.shape())?;
        // A sorted tensor is a gathered one: its gradient is known already.
        let values = if self.is_tracked() { self.gather(&order, axis)? } else { self.computed(values, self.shape())? };
        Ok((values, order))
    }

    /// Where each element of the sorted tensor stands in this one, as `i64`.
    pub fn argsort(&self, axis: isize, descending: bool) -> Result<Tensor> {
        Ok(self.detach().sort(axis, descending)?.1)
    }

    /// The `count` largest elements along `axis`, in descending order, and where they stand.
    pub fn topk(&self, count: usize, axis: isize) -> Result<(Tensor, Tensor)> {
        let size = self.size(axis)?;
        if count > size {
            let what = format!("{count} elements asked for, dimension {axis} of {:?} has {size}", self.shape());
            return Err(Error::argument("topk", what));
        }
        let (values, order) = self.sort(axis, true)?;
        Ok((values.slice(axis, 0, count)?, order.slice(axis, 0, count)?))
    }
}

#[derive(Debug)]
struct Gather(usize);

impl Op for Gather {
    fn name(&self) -> &'static str {
        "gather"
    }

    fn saves(&self) -> Saves {
        Saves::INPUTS
    }

    fn forward(&self, inputs: &[&Tensor]) -> Result<Tensor> {
        let [x, index] = inputs else { unreachable!("`gather` passes two inputs") };
        x.computed(x.backend().gather(x.view(), index.view(), self.0)?, index.shape())
    }

    fn backward(&self, saved: &Saved<'_>, dy: &Tensor, grads: &mut Grads<'_>) -> Result<()> {
        let [x, index] = saved.inputs()?;
        grads.wrt(0, || x.zeros_like()?.scatter_add(index, dy, self.0 as isize))
    }
}

#[derive(Debug)]
struct ScatterAdd(usize);

impl Op for ScatterAdd {
    fn name(&self) -> &'static str {
        "scatter_add"
    }

    fn saves(&self) -> Saves {
        Saves::INPUTS
    }

    fn forward(&self, inputs: &[&Tensor]) -> Result<Tensor> {
        let [x, index, source] = inputs else { unreachable!("`scatter_add` passes three inputs") };
        x.computed(x.backend().scatter_add(x.view(), index.view(), source.view(), self.0)?, x.shape())
    }

    fn backward(&self, saved: &Saved<'_>, dy: &Tensor, grads: &mut Grads<'_>) -> Result<()> {
        let [_, index, _] = saved.inputs()?;
        grads.wrt(0, || Ok(dy.clone()))?;
        grads.wrt(2, || dy.gather(index, self.0 as isize))
    }
}

#[derive(Debug)]
struct IndexSelect(usize);

impl Op for IndexSelect {
    fn name(&self) -> &'static str {
        "index_select"
    }

    fn saves(&self) -> Saves {
        Saves::INPUTS
    }

    fn forward(&self, inputs: &[&Tensor]) -> Result<Tensor> {
        let [x, index] = inputs else { unreachable!("`index_select` passes two inputs") };
        let mut shape = Dims::from_slice(x.shape());
        shape[self.0] = index.len();
        x.computed(x.backend().index_select(x.view(), index.view(), self.0)?, &shape)
    }

    fn backward(&self, saved: &Saved<'_>, dy: &Tensor, grads: &mut Grads<'_>) -> Result<()> {
        let [x, index] = saved.inputs()?;
        grads.wrt(0, || x.zeros_like()?.index_add(index, dy, self.0 as isize))
    }
}

#[derive(Debug)]
struct IndexAdd(usize);

impl Op for IndexAdd {
    fn name(&self) -> &'static str {
        "index_add"
    }

    fn saves(&self) -> Saves {
        Saves::INPUTS
    }

    fn forward(&self, inputs: &[&Tensor]) -> Result<Tensor> {
        let [x, index, source] = inputs else { unreachable!("`index_add` passes three inputs") };
        x.computed(x.backend().index_add(x.view(), index.view(), source.view(), self.0)?, x.shape())
    }

    fn backward(&self, saved: &Saved<'_>, dy: &Tensor, grads: &mut Grads<'_>) -> Result<()> {
        let [_, index, _] = saved.inputs()?;
        grads.wrt(0, || Ok(dy.clone()))?;
        grads.wrt(2, || dy.index_select(index, self.0 as isize))
    }
}
