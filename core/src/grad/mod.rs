//! Reverse-mode automatic differentiation, from the idea to the code.
//!
//! # The record
//!
//! Computing `y = f(x)` on tensors runs a kernel and, if some input is *tracked*, leaves a [`Node`] on the result: which
//! [`Op`] it was, which nodes its inputs had, and the few tensors that the op's gradient rule will read. A tensor without a
//! node is a constant. A node without an op is a *leaf*: [`Tensor::requires_grad`] makes one. The nodes of all results that
//! are alive form a graph, held together by the handles of its users alone.
//!
//! # The rule
//!
//! For `y = f(x)` and a final scalar `loss`, write `dy` for the gradient of the loss with respect to `y`. An op knows one
//! thing: how to turn `dy` into `dx` ([`Op::backward`]). It is the transposed Jacobian of `f`, applied to `dy`, and it is
//! written in tensor operations. So it works on every device, and it can itself be recorded and differentiated.
//!
//! # The walk
//!
//! [`Tensor::backward`] starts with `dloss = 1` and visits nodes until none is left. Each visit takes the gradient that has
//! gathered at a node and asks the node's op for the gradients of its inputs, which gather at *their* nodes. A node may be
//! visited only when all of its users have been, and since a node is always younger than its inputs, taking the highest
//! number first is such an order: no sorting, no recursion, the same order in every run.
//!
//! # What the engine does, so that no op has to
//!
//! - It **adds up** gradients that reach one node along several paths.
//! - It **undoes broadcasting**: a gradient is summed to the shape of the input it belongs to.
//! - It **skips** inputs that need no gradient: [`Grads::wrt`] takes the rule as a closure and does not call it.
//! - It **stops** below the lowest leaf: an op whose inputs are all constants is never recorded.
//! - It **frees** as it goes: `backward` consumes the loss, so each node dies right after its visit.
//! - It **refuses silence**: asking for a gradient that does not exist is an error.
//!
//! # Gradients of gradients
//!
//! [`grad`] with `create_graph` keeps recording during the walk, so the gradients it returns are tracked themselves.
//!
//! ```
//! use gradus_core::{Tensor, grad};
//! let x = Tensor::scalar(2f64).requires_grad();
//! let y = x.powf(3.0)?;
//! let dy = grad(&[&y], &[&x], true)?; // 3 x^2
//! let ddy = grad(&[&dy[0]], &[&x], false)?; // 6 x
//! assert_eq!((dy[0].item()?, ddy[0].item()?), (12.0, 12.0));
//! # Ok::<(), gradus_core::Error>(())
//! ```
//!
//! # Where to read on
//!
//! `op.rs` has the trait and what its rules receive, `tape.rs` the nodes and the walk, and [`check`] the test that every
//! rule must pass.

pub mod check;
mod op;
mod tape;

pub use op::{Grads, Op, Saved, Saves};
pub use tape::{Gradient, Gradients, Node, apply, grad, is_recording, no_grad};

#[cfg(doc)]
use crate::Tensor;
