//! Operations on layouts: none of them computes, most of them copy nothing.

use std::borrow::Cow;

use gradus_kernels::Layout;
use gradus_kernels::layout::Dims;

use crate::grad::{Grads, Op, Saved, apply};
use crate::{DType, Error, Result, Tensor};

/// Other views of the same elements.
impl Tensor {
    /// The elements in row-major order in another shape. One size may be left open with [`Tensor::reshape_infer`].
    pub fn reshape(&self, shape: &[usize]) -> Result<Tensor> {
        let wanted = crate::tensor::element_count("reshape", shape)?;
        if wanted != self.len() {
            let what = format!("{:?} has {} elements, {shape:?} has {wanted}", self.shape(), self.len());
            return Err(Error::shape("reshape", what));
        }
        if shape == self.shape() {
            return Ok(self.clone());
        }
        apply(Reshape(shape.into()), &[self])
    }

    /// [`Tensor::reshape`] in which one size may be -1: whatever is left for it.
    pub fn reshape_infer(&self, shape: &[isize]) -> Result<Tensor> {
        let known: usize = shape.iter().filter(|&&size| size >= 0).map(|&size| size as usize).product();
        let open = shape.iter().filter(|&&size| size < 0).count();
        if open > 1 || (open == 1 && (known == 0 || !self.len().is_multiple_of(known))) {
            let what =
                format!("{:?} cannot become {shape:?}: one size may be -1, and must come out whole", self.shape());
            return Err(Error::shape("reshape", what));
        }
        let sizes = shape.iter().map(|&size| if size < 0 { self.len() / known } else { size as usize });
        self.reshape(&sizes.collect::<Dims>())
    }

    /// Dimensions `first` to `last`, both included, as one.
    pub fn flatten(&self, first: isize, last: isize) -> Result<Tensor> {
        let (first, last) = (self.axis("flatten", first)?, self.axis("flatten", last)?);
        if first > last {
            return Err(Error::argument("flatten", format!("dimension {first} comes after {last}")));
        }
        let (before, rest) = self.shape().split_at(first);
        let (inside, after) = rest.split_at(last + 1 - first);
        let shape: Dims =
            before.iter().copied().chain([inside.iter().product()]).chain(after.iter().copied()).collect();
        self.reshape(&shape)
    }

    /// The dimensions in another order.
    pub fn permute(&self, axes: &[isize]) -> Result<Tensor> {
        let order = axes.iter().map(|&axis| self.axis("permute", axis)).collect::<Result<Dims>>()?;
        if order.len() != self.rank() || (0..self.rank()).any(|axis| !order.contains(&axis)) {
            let what =
                format!("{axes:?} does not name each of the {} dimensions of {:?} once", self.rank(), self.shape());
            return Err(Error::argument("permute", what));
        }
        apply(Permute(order), &[self])
    }

    /// Two dimensions exchanged.
    pub fn transpose(&self, a: isize, b: isize) -> Result<Tensor> {
        let (a, b) = (self.axis("transpose", a)?, self.axis("transpose", b)?);
        let mut order: Dims = (0..self.rank()).collect();
        order.swap(a, b);
        apply(Permute(order), &[self])
    }

    /// The last two dimensions exchanged: the transposed matrix.
    pub fn t(&self) -> Result<Tensor> {
        self.transpose(-2, -1)
    }

    /// A new dimension of size 1 before `axis`; -1 puts it at the end.
    pub fn unsqueeze(&self, axis: isize) -> Result<Tensor> {
        let rank = self.rank() as isize;
        if axis < -rank - 1 || axis > rank {
            let what = format!(
                "axis {axis} is out of range for shape {:?}; it must lie in {}..={rank}",
                self.shape(),
                -rank - 1
            );
            return Err(Error::argument("unsqueeze", what));
        }
        let mut shape = Dims::from_slice(self.shape());
        shape.insert(axis.rem_euclid(rank + 1) as usize, 1);
        self.reshape(&shape)
    }

    /// Without dimension `axis`, whose size must be 1.
    pub fn squeeze(&self, axis: isize) -> Result<Tensor> {
        let axis = self.axis("squeeze", axis)?;
        if self.shape()[axis] != 1 {
            let what = format!("dimension {axis} of {:?} has size {}, not 1", self.shape(), self.shape()[axis]);
            return Err(Error::shape("squeeze", what));
        }
        let mut shape = Dims::from_slice(self.shape());
        shape.remove(axis);
        self.reshape(&shape)
    }

    /// The same elements repeated to `shape`: missing dimensions on the left and those of size 1.
    pub fn broadcast_to(&self, shape: &[usize]) -> Result<Tensor> {
        if shape == self.shape() {
            return Ok(self.clone());
        }
        self.broadcast_view(shape)?;
        apply(Broadcast(shape.into()), &[self])
    }

    /// Elements `start` to `end` (excluded) of one dimension.
    pub fn slice(&self, axis: isize, start: usize, end: usize) -> Result<Tensor> {
        self.slice_step(axis, start, end, 1)
    }

    /// Every `step`-th of the elements `start` to `end` (excluded) of one dimension, as in NumPy's `start:end:step`.
    pub fn slice_step(&self, axis: isize, start: usize, end: usize, step: usize) -> Result<Tensor> {
        let axis = self.axis("slice", axis)?;
        let size = self.shape()[axis];
        if start > end || end > size || step == 0 {
            let what =
                format!("{start}..{end} in steps of {step} is no part of dimension {axis} of {:?}", self.shape());
            return Err(Error::argument("slice", what));
        }
        apply(Slice { axis, start, len: (end - start).div_ceil(step), step: step as isize }, &[self])
    }

    /// One element of a dimension, which vanishes.
    pub fn select_index(&self, axis: isize, index: usize) -> Result<Tensor> {
        self.slice(axis, index, index + 1)?.squeeze(axis)
    }

    /// The elements of one dimension in reverse order.
    pub fn flip(&self, axis: isize) -> Result<Tensor> {
        let axis = self.axis("flip", axis)?;
        let len = self.shape()[axis];
        apply(Slice { axis, start: len.saturating_sub(1), len, step: -1 }, &[self])
    }

    /// The same values in row-major order without gaps: a copy unless they stand so already.
    pub fn contiguous(&self) -> Result<Tensor> {
        if self.layout().is_contiguous() { Ok(self.clone()) } else { apply(Contiguous, &[self]) }
    }

    /// The tensor repeated to `shape`, for its elements: not as something to be recorded.
    pub(super) fn broadcast_view(&self, shape: &[usize]) -> Result<Cow<'_, Tensor>> {
        if self.shape() == shape {
            return Ok(Cow::Borrowed(self));
        }
        let layout = self.layout().broadcast_to(shape).ok_or_else(|| {
            let what = format!("{:?} to {shape:?}: aligned at the right, sizes must be equal or 1", self.shape());
            Error::shape("broadcast_to", what)
        })?;
        Ok(Cow::Owned(self.with_layout(layout)))
    }
}

/// Tensors put together.
impl Tensor {
    /// `tensors` one after another along `axis`; the other sizes must agree.
    pub fn cat(tensors: &[&Tensor], axis: isize) -> Result<Tensor> {
        let Some(&first) = tensors.first() else {
            return Err(Error::argument("cat", "needs at least one tensor"));
        };
        let axis = first.axis("cat", axis)?;
        for other in tensors {
            let same = |a: usize| a == axis || first.shape()[a] == other.shape()[a];
            if other.rank() != first.rank() || !(0..first.rank()).all(same) {
                let what = format!("{:?} and {:?} differ outside of axis {axis}", first.shape(), other.shape());
                return Err(Error::shape("cat", what));
            }
            if other.dtype() != first.dtype() || other.device() != first.device() {
                let what =
                    format!("{} on {} and {} on {}", first.dtype(), first.device(), other.dtype(), other.device());
                return Err(Error::dtype("cat", what));
            }
        }
        apply(Cat { axis, sizes: tensors.iter().map(|t| t.shape()[axis]).collect() }, tensors)
    }

    /// `tensors` of one shape along a new dimension before `axis`.
    pub fn stack(tensors: &[&Tensor], axis: isize) -> Result<Tensor> {
        let raised = tensors.iter().map(|tensor| tensor.unsqueeze(axis)).collect::<Result<Vec<_>>>()?;
        Tensor::cat(&raised.iter().collect::<Vec<_>>(), axis)
    }

    /// `count` copies of `self` one after another along a dimension.
    pub fn tile(&self, axis: isize, count: usize) -> Result<Tensor> {
        if count == 0 {
            return self.slice(axis, 0, 0);
        }
        Tensor::cat(&vec![self; count], axis)
    }

    /// Every element `count` times in a row along a dimension.
    pub fn repeat_interleave(&self, axis: isize, count: usize) -> Result<Tensor> {
        let axis = self.axis("repeat_interleave", axis)?;
        let mut shape = Dims::from_slice(self.shape());
        shape.insert(axis + 1, count);
        let raised = self.unsqueeze(axis as isize + 1)?.broadcast_to(&shape)?;
        raised.flatten(axis as isize, axis as isize + 1)
    }

    /// The elements moved by `shift` places along a dimension; those pushed out at one end come in at the other.
    pub fn roll(&self, axis: isize, shift: isize) -> Result<Tensor> {
        let size = self.size(axis)?;
        if size == 0 {
            return Ok(self.clone());
        }
        let cut = (-shift).rem_euclid(size as isize) as usize;
        Tensor::cat(&[&self.slice(axis, cut, size)?, &self.slice(axis, 0, cut)?], axis)
    }

    /// `self` in the middle of zeros: `before` and `after` of them along a dimension.
    pub fn pad(&self, axis: isize, before: usize, after: usize) -> Result<Tensor> {
        let axis = self.axis("pad", axis)?;
        let size = before + self.shape()[axis] + after;
        apply(Place { axis, start: before, step: 1, size }, &[self])
    }
}

#[derive(Debug)]
struct Reshape(Dims);

impl Op for Reshape {
    fn name(&self) -> &'static str {
        "reshape"
    }

    fn forward(&self, inputs: &[&Tensor]) -> Result<Tensor> {
        match inputs[0].layout().reshape(&self.0) {
            Some(layout) => Ok(inputs[0].with_layout(layout)),
            None => inputs[0].computed(inputs[0].backend().copy(inputs[0].view())?, &self.0),
        }
    }

    fn backward(&self, saved: &Saved<'_>, dy: &Tensor, grads: &mut Grads<'_>) -> Result<()> {
        grads.wrt(0, || dy.reshape(saved.shape(0)))
    }
}

#[derive(Debug)]
struct Permute(Dims);

impl Op for Permute {
    fn name(&self) -> &'static str {
        "permute"
    }

    fn forward(&self, inputs: &[&Tensor]) -> Result<Tensor> {
        Ok(inputs[0].with_layout(inputs[0].layout().permute(&self.0)))
    }

    fn backward(&self, _: &Saved<'_>, dy: &Tensor, grads: &mut Grads<'_>) -> Result<()> {
        grads.wrt(0, || {
            let mut inverse: Dims = self.0.clone();
            for (to, &from) in self.0.iter().enumerate() {
                inverse[from] = to;
            }
            apply(Permute(inverse), &[dy])
        })
    }
}

#[derive(Debug)]
struct Broadcast(Dims);

impl Op for Broadcast {
    fn name(&self) -> &'static str {
        "broadcast_to"
    }

    fn forward(&self, inputs: &[&Tensor]) -> Result<Tensor> {
        inputs[0].broadcast_view(&self.0).map(Cow::into_owned)
    }

    fn backward(&self, _: &Saved<'_>, dy: &Tensor, grads: &mut Grads<'_>) -> Result<()> {
        // The engine sums every gradient to its input's shape; that is all there is to do.
        grads.wrt(0, || Ok(dy.clone()))
    }
}

#[derive(Debug)]
struct Contiguous;

impl Op for Contiguous {
    fn name(&self) -> &'static str {
        "contiguous"
    }

    fn forward(&self, inputs: &[&Tensor]) -> Result<Tensor> {
        inputs[0].computed(inputs[0].backend().copy(inputs[0].view())?, inputs[0].shape())
    }

    fn backward(&self, _: &Saved<'_>, dy: &Tensor, grads: &mut Grads<'_>) -> Result<()> {
        grads.wrt(0, || Ok(dy.clone()))
    }
}

/// Elements `start`, `start + step`, … of a dimension. Its gradient is [`Place`], whose gradient it is in turn.
#[derive(Debug)]
struct Slice {
    axis: usize,
    start: usize,
    len: usize,
    step: isize,
}

impl Op for Slice {
    fn name(&self) -> &'static str {
        "slice"
    }

    fn forward(&self, inputs: &[&Tensor]) -> Result<Tensor> {
        Ok(inputs[0].with_layout(inputs[0].layout().slice(self.axis, self.start, self.len, self.step)))
    }

    fn backward(&self, saved: &Saved<'_>, dy: &Tensor, grads: &mut Grads<'_>) -> Result<()> {
        let place = Place { axis: self.axis, start: self.start, step: self.step, size: saved.shape(0)[self.axis] };
        grads.wrt(0, || apply(place, &[dy]))
    }
}

/// The elements at `start`, `start + step`, … of a dimension of `size` zeros.
#[derive(Debug)]
struct Place {
    axis: usize,
    start: usize,
    step: isize,
    size: usize,
}

impl Op for Place {
    fn name(&self) -> &'static str {
        "place"
    }

    fn forward(&self, inputs: &[&Tensor]) -> Result<Tensor> {
        let x = inputs[0];
        let mut shape = Dims::from_slice(x.shape());
        shape[self.axis] = self.size;
        let count = crate::tensor::element_count("place", &shape)?;
        let mut y = x.backend().full(x.dtype(), count, 0i64.into())?;
        let at = Layout::contiguous(&shape).slice(self.axis, self.start, x.shape()[self.axis], self.step);
        x.backend().copy_into(x.view(), &mut y, &at)?;
        x.computed(y, &shape)
    }

    fn backward(&self, saved: &Saved<'_>, dy: &Tensor, grads: &mut Grads<'_>) -> Result<()> {
        let slice = Slice { axis: self.axis, start: self.start, len: saved.shape(0)[self.axis], step: self.step };
        grads.wrt(0, || apply(slice, &[dy]))
    }
}

#[derive(Debug)]
struct Cat {
    axis: usize,
    sizes: Dims,
}

impl Op for Cat {
    fn name(&self) -> &'static str {
        "cat"
    }

    fn forward(&self, inputs: &[&Tensor]) -> Result<Tensor> {
        let first = inputs[0];
        let mut shape = Dims::from_slice(first.shape());
        shape[self.axis] = self.sizes.iter().sum();
        let count = crate::tensor::element_count("cat", &shape)?;
        let mut y = first.backend().full(first.dtype(), count, 0i64.into())?;
        let whole = Layout::contiguous(&shape);
        let mut start = 0;
        for (x, &size) in inputs.iter().zip(&self.sizes) {
            x.backend().copy_into(x.view(), &mut y, &whole.slice(self.axis, start, size, 1))?;
            start += size;
        }
        first.computed(y, &shape)
    }

    fn backward(&self, _: &Saved<'_>, dy: &Tensor, grads: &mut Grads<'_>) -> Result<()> {
        let mut start = 0;
        for (i, &size) in self.sizes.iter().enumerate() {
            grads.wrt(i, || dy.slice(self.axis as isize, start, start + size))?;
            start += size;
        }
        Ok(())
    }
}

impl Tensor {
    /// The class numbers of `self` as rows of zeros with a single 1; a new last dimension of size `classes`.
    pub fn one_hot(&self, classes: usize, dtype: DType) -> Result<Tensor> {
        let numbers = Tensor::arange(0.0, classes as f64, 1.0, self.dtype(), self.device())?;
        let labels = self.detach();
        if !self.is_empty() && (labels.min(&[])?.item()? < 0.0 || labels.max(&[])?.item()? >= classes as f64) {
            let (low, high) = (labels.min(&[])?.item()?, labels.max(&[])?.item()?);
            let what = format!("class numbers run from {low} to {high}, but must lie in 0..{classes}");
            return Err(Error::argument("one_hot", what));
        }
        labels.unsqueeze(-1)?.eq(&numbers)?.to_dtype(dtype)
    }
}
