//! What an operation is, and what its gradient rule may use.

use std::fmt::Debug;

use super::tape::{Gradient, Node, Pending, is_recording};
use crate::{Error, Result, Tensor};

/// A differentiable operation: how to compute it, and how gradients flow back through it, as one value.
///
/// Implement it for an operation of your own and call [`apply`](super::apply).
pub trait Op: Debug + Send + Sync + 'static {
    /// The name in messages and pictures.
    fn name(&self) -> &'static str;

    /// What `backward` reads. Anything else is freed as soon as `forward` has returned.
    fn saves(&self) -> Saves {
        Saves::NOTHING
    }

    /// Computes the result. Whatever it calls is not recorded: the op itself is.
    fn forward(&self, inputs: &[&Tensor]) -> Result<Tensor>;

    /// Hands `grads` the gradient of each input: the transposed Jacobian applied to `dy`, the gradient of the result.
    ///
    /// Written in tensor operations, which are recorded if the caller wants gradients of gradients.
    fn backward(&self, saved: &Saved<'_>, dy: &Tensor, grads: &mut Grads<'_>) -> Result<()>;
}

/// What an op's gradient rule reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Saves {
    /// Whether the inputs are kept.
    pub inputs: bool,
    /// Whether the result is kept.
    pub output: bool,
}

impl Saves {
    /// Neither inputs nor result: the rule knows `dy` and the shapes.
    pub const NOTHING: Self = Self { inputs: false, output: false };
    /// The inputs.
    pub const INPUTS: Self = Self { inputs: true, output: false };
    /// The result.
    pub const OUTPUT: Self = Self { inputs: false, output: true };
    /// The inputs and the result.
    pub const BOTH: Self = Self { inputs: true, output: true };
}

/// What was kept for a rule.
#[derive(Debug)]
pub struct Saved<'a> {
    pub(super) node: &'a Node,
    pub(super) output: Option<Tensor>,
}

impl Saved<'_> {
    /// The inputs. The op must have declared [`Saves::inputs`].
    pub fn inputs<const N: usize>(&self) -> Result<[&Tensor; N]> {
        let kept = <&[Tensor; N]>::try_from(self.node.inputs());
        kept.map(|kept| kept.each_ref()).map_err(|_| {
            let (name, count) = (self.node.name(), self.node.inputs().len());
            Error::Gradient(format!("{name}: backward reads {N} inputs, {count} were kept; its `saves` must say so"))
        })
    }

    /// The result. The op must have declared [`Saves::output`].
    pub fn output(&self) -> Result<&Tensor> {
        self.output.as_ref().ok_or_else(|| {
            let name = self.node.name();
            Error::Gradient(format!("{name}: backward reads the result, which was not kept; its `saves` must say so"))
        })
    }

    /// The shape of input `i`, which is always known.
    pub fn shape(&self, i: usize) -> &[usize] {
        self.node.input_shape(i)
    }
}

/// Takes the gradients of an op's inputs.
#[derive(Debug)]
pub struct Grads<'a> {
    pub(super) node: &'a Node,
    pub(super) pending: &'a mut Pending,
}

impl Grads<'_> {
    /// Whether input `i` wants a gradient. A rule that computes several at once asks; [`Grads::wrt`] does so by itself.
    pub fn wants(&self, i: usize) -> bool {
        self.node.parent(i).is_some_and(|parent| self.pending.reaches(parent))
    }

    /// Runs `rule` if input `i` wants a gradient, sums the result to the input's shape where that was broadcast, and adds
    /// it to what has gathered there.
    pub fn wrt(&mut self, i: usize, rule: impl FnOnce() -> Result<Tensor>) -> Result<()> {
        match self.node.parent(i) {
            Some(parent) if self.pending.reaches(parent) => {
                let dx = rule()?.sum_to(self.node.input_shape(i))?;
                self.pending.add(parent.clone(), Gradient::known(dx))
            }
            _ => Ok(()),
        }
    }

    /// [`Grads::wrt`] for a gradient that is the product of two matrices and has the input's shape. A leaf gets the two.
    pub fn wrt_product(&mut self, i: usize, rule: impl FnOnce() -> Result<(Tensor, Tensor)>) -> Result<()> {
        match self.node.parent(i) {
            Some(parent) if parent.is_leaf() && !is_recording() && self.pending.reaches(parent) => {
                let (a, b) = rule()?;
                self.pending.add(parent.clone(), Gradient::product(a, b))
            }
            _ => self.wrt(i, || rule().and_then(|(a, b)| a.matmul(&b))),
        }
    }
}
