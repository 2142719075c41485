//! Element types and devices.

use std::borrow::Cow;

use super::binary::combine_types;
use crate::grad::{Grads, Op, Saved, apply};
use crate::{DType, Device, Error, Result, Tensor};

impl Tensor {
    /// The same values as `dtype`: rounded to nearest between floats, towards zero to integers, "not zero" to truth values.
    pub fn to_dtype(&self, dtype: DType) -> Result<Tensor> {
        if dtype == self.dtype() {
            return Ok(self.clone());
        }
        apply(Cast { from: self.dtype(), to: dtype }, &[self])
    }

    /// Bytes as `f32`, each divided by `divisor` in that type, as pixels are scaled for a network; a constant.
    pub fn scaled_bytes(&self, divisor: f64) -> Result<Tensor> {
        if self.dtype() != DType::U8 {
            return Err(Error::dtype("scaled_bytes", "only bytes are scaled so; divide other numbers"));
        }
        self.computed(self.backend().scaled_bytes(self.view(), divisor)?, self.shape())
    }

    /// The same values on `device`.
    pub fn to_device(&self, device: Device) -> Result<Tensor> {
        if device == self.device() {
            return Ok(self.clone());
        }
        apply(Move { from: self.device(), to: device }, &[self])
    }

    /// [`Tensor::to_dtype`] without another handle where there is nothing to convert.
    pub(super) fn as_dtype(&self, dtype: DType) -> Result<Cow<'_, Tensor>> {
        if dtype == self.dtype() { Ok(Cow::Borrowed(self)) } else { self.to_dtype(dtype).map(Cow::Owned) }
    }
}

/// All tensors in the one type that takes them in.
pub(super) fn same_types<const N: usize>(tensors: [&Tensor; N]) -> Result<[Cow<'_, Tensor>; N]> {
    let dtype = tensors.iter().fold(tensors[0].dtype(), |dtype, x| combine_types(dtype, x.dtype()));
    let mut same = tensors.map(Cow::Borrowed);
    for (same, x) in same.iter_mut().zip(tensors) {
        *same = x.as_dtype(dtype)?;
    }
    Ok(same)
}

/// [`apply`] to tensors in the one type that takes them in.
pub(super) fn apply_to_same<const N: usize>(op: impl Op, tensors: [&Tensor; N]) -> Result<Tensor> {
    apply(op, &same_types(tensors)?.each_ref().map(|x| &**x))
}

#[derive(Debug)]
struct Cast {
    from: DType,
    to: DType,
}

impl Op for Cast {
    fn name(&self) -> &'static str {
        "to_dtype"
    }

    fn forward(&self, inputs: &[&Tensor]) -> Result<Tensor> {
        let x = inputs[0];
        x.computed(x.backend().cast(x.view(), self.to)?, x.shape())
    }

    fn backward(&self, _: &Saved<'_>, dy: &Tensor, grads: &mut Grads<'_>) -> Result<()> {
        grads.wrt(0, || dy.to_dtype(self.from))
    }
}

#[derive(Debug)]
struct Move {
    from: Device,
    to: Device,
}

impl Op for Move {
    fn name(&self) -> &'static str {
        "to_device"
    }

    fn forward(&self, inputs: &[&Tensor]) -> Result<Tensor> {
        let x = inputs[0];
        let packed = x.backend().copy(x.view())?;
        let host = if packed.is_on_host() { packed } else { x.backend().download(&packed)? };
        Tensor::from_buffer(self.to.backend().upload(host)?, x.shape(), self.to)
    }

    fn backward(&self, _: &Saved<'_>, dy: &Tensor, grads: &mut Grads<'_>) -> Result<()> {
        grads.wrt(0, || dy.to_device(self.from))
    }
}
