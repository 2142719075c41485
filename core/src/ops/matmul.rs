//! Matrix products: the op to read first, since it implements [`Op`] in full.

use std::borrow::Cow;

use gradus_kernels::layout::{Dims, broadcast_shapes};

use super::cast::apply_to_same;
use crate::grad::{Grads, Op, Saved, Saves};
use crate::{Error, Result, Tensor};

impl Tensor {
    /// The matrix product over the last two dimensions; leading ones broadcast. A vector counts as a row on the left and
    /// as a column on the right, and that dimension vanishes from the result.
    ///
    /// `[.., m, k]` times `[.., k, n]` is `[.., m, n]`.
    pub fn matmul(&self, other: &Tensor) -> Result<Tensor> {
        let (row, column) = (self.rank() == 1, other.rank() == 1);
        if self.rank() == 0 || other.rank() == 0 {
            let what = format!("{:?} x {:?}: a scalar is no matrix; use mul", self.shape(), other.shape());
            return Err(Error::shape("matmul", what));
        }
        let a = if row { Cow::Owned(self.unsqueeze(0)?) } else { Cow::Borrowed(self) };
        let b = if column { Cow::Owned(other.unsqueeze(1)?) } else { Cow::Borrowed(other) };
        let mut y = apply_to_same(MatMul, [&a, &b])?;
        if row {
            y = y.squeeze(-2)?;
        }
        if column { y.squeeze(-1) } else { Ok(y) }
    }

    /// The scalar product of two vectors.
    pub fn dot(&self, other: &Tensor) -> Result<Tensor> {
        if self.rank() != 1 || other.rank() != 1 {
            let what = format!("{:?} and {:?} are not two vectors; use matmul", self.shape(), other.shape());
            return Err(Error::shape("dot", what));
        }
        self.matmul(other)
    }
}

#[derive(Debug)]
struct MatMul;

impl Op for MatMul {
    fn name(&self) -> &'static str {
        "matmul"
    }

    fn saves(&self) -> Saves {
        Saves::INPUTS
    }

    fn forward(&self, inputs: &[&Tensor]) -> Result<Tensor> {
        let [a, b] = inputs else { unreachable!("`matmul` passes two inputs") };
        let fail = |what: &str| Error::shape("matmul", format!("{what}: {:?} x {:?}", a.shape(), b.shape()));
        if a.device() != b.device() {
            let what = format!("tensors on {} and {}; move one with to_device", a.device(), b.device());
            return Err(Error::argument("matmul", what));
        }
        if !a.dtype().is_float() {
            return Err(Error::dtype("matmul", format!("not defined for {}; convert with to_dtype first", a.dtype())));
        }
        let [lead_a @ .., m, k] = a.shape() else { return Err(fail("a matrix has at least two dimensions")) };
        let [lead_b @ .., k_b, n] = b.shape() else { return Err(fail("a matrix has at least two dimensions")) };
        if k != k_b {
            return Err(fail("inner dimensions differ"));
        }
        if lead_a == lead_b {
            let mut shape = Dims::from_slice(a.shape());
            shape[a.rank() - 1] = *n;
            return a.computed(a.backend().matmul(a.view(), b.view())?, &shape);
        }
        let lead = broadcast_shapes(&[lead_a, lead_b]).ok_or_else(|| fail("leading dimensions do not broadcast"))?;
        let whole = |rows: usize, columns: usize| lead.iter().copied().chain([rows, columns]).collect::<Dims>();
        let (a, b) = (a.broadcast_view(&whole(*m, *k))?, b.broadcast_view(&whole(*k, *n))?);
        a.computed(a.backend().matmul(a.view(), b.view())?, &whole(*m, *n))
    }

    fn backward(&self, saved: &Saved<'_>, dy: &Tensor, grads: &mut Grads<'_>) -> Result<()> {
        let [a, b] = saved.inputs()?;
        grads.wrt(0, || dy.matmul(&b.t()?))?;
        grads.wrt(1, || a.t()?.matmul(dy))
    }
}
