//! Nodes, and the walk over them.

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use gradus_kernels::layout::Dims;

use super::op::{Grads, Op, Saved};
use crate::{Error, Result, Tensor};

/// What a hook does: it sees a gradient and may replace it.
type Hook = Box<dyn Fn(&Tensor) -> Result<Tensor> + Send + Sync>;

/// A recorded operation, or a leaf.
pub struct Node {
    id: u64,
    /// `None` in a leaf.
    op: Option<Box<dyn Op>>,
    /// The nodes of the inputs; `None` where an input is a constant.
    parents: Vec<Option<Arc<Node>>>,
    shapes: Vec<Dims>,
    /// The inputs, if the op saves them.
    inputs: Vec<Tensor>,
    /// The result, if the op saves it: without its node, which would make a cycle.
    output: Option<Tensor>,
    hooks: Mutex<Vec<Hook>>,
}

impl Node {
    pub(crate) fn leaf() -> Arc<Self> {
        Arc::new(Self::new(None))
    }

    fn new(op: Option<Box<dyn Op>>) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            op,
            parents: Vec::new(),
            shapes: Vec::new(),
            inputs: Vec::new(),
            output: None,
            hooks: Mutex::default(),
        }
    }

    /// The node's number: higher than those of its inputs.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The op's name, or `leaf`.
    pub fn name(&self) -> &'static str {
        self.op.as_ref().map_or("leaf", |op| op.name())
    }

    /// The node of input `i`, unless that is a constant.
    pub fn parent(&self, i: usize) -> Option<&Arc<Node>> {
        self.parents.get(i)?.as_ref()
    }

    pub(super) fn inputs(&self) -> &[Tensor] {
        &self.inputs
    }

    pub(super) fn input_shape(&self, i: usize) -> &[usize] {
        &self.shapes[i]
    }

    pub(super) fn is_leaf(&self) -> bool {
        self.op.is_none()
    }

    /// Lets the node's hooks see the gradient that gathered here, in the order of their registration.
    fn run_hooks(&self, gradient: Gradient) -> Result<Gradient> {
        let hooks = self.hooks.lock().unwrap_or_else(PoisonError::into_inner);
        let run = |gradient: Gradient, hook: &Hook| Ok(Gradient::known(hook(gradient.value()?)?));
        hooks.iter().try_fold(gradient, run)
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.name(), self.id)
    }
}

impl Drop for Node {
    /// Takes the graph below apart in a loop: the compiler's own recursive drop would overflow the stack on a long chain.
    fn drop(&mut self) {
        fn take_apart(node: &mut Node, queue: &mut Vec<Arc<Node>>) {
            queue.extend(node.parents.drain(..).flatten());
            queue.extend(node.inputs.drain(..).filter_map(|mut input| input.take_node()));
        }
        let mut queue = Vec::new();
        take_apart(self, &mut queue);
        while let Some(node) = queue.pop() {
            if let Some(mut last_handle) = Arc::into_inner(node) {
                take_apart(&mut last_handle, &mut queue);
            }
        }
    }
}

thread_local!(static RECORDING: Cell<bool> = const { Cell::new(true) });

/// Whether operations on tracked tensors are recorded on this thread.
pub fn is_recording() -> bool {
    RECORDING.get()
}

/// Runs `f` without recording: for validation, for prediction, for updates of weights.
pub fn no_grad<T>(f: impl FnOnce() -> T) -> T {
    with_recording(false, f)
}

fn with_recording<T>(on: bool, f: impl FnOnce() -> T) -> T {
    /// Restores when unwinding as well.
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            RECORDING.set(self.0);
        }
    }
    let _restore = Restore(RECORDING.replace(on));
    f()
}

/// Computes `op`, and records it if any input is tracked.
///
/// A result that is no float is a constant: whole numbers and truth values do not change smoothly.
pub fn apply(op: impl Op, inputs: &[&Tensor]) -> Result<Tensor> {
    let output = no_grad(|| op.forward(inputs))?;
    let tracked = inputs.iter().any(|input| input.is_tracked());
    if !tracked || !is_recording() || !output.dtype().is_float() {
        return Ok(output.with_node(None));
    }
    let saves = op.saves();
    let mut node = Node::new(Some(Box::new(op)));
    node.parents = inputs.iter().map(|input| input.node().cloned()).collect();
    node.shapes = inputs.iter().map(|input| Dims::from_slice(input.shape())).collect();
    if saves.inputs {
        node.inputs = inputs.iter().map(|&input| input.clone()).collect();
    }
    if saves.output {
        node.output = Some(output.detach());
    }
    Ok(output.with_node(Some(Arc::new(node))))
}

/// A gradient: a tensor, or the product of two matrices that is computed when somebody looks.
///
/// The gradient of a dense layer's weights is such a product, as large as the weights. An optimizer that does nothing but
/// subtract it from them never needs it by itself: see [`Tensor::descend`].
#[derive(Clone, Debug)]
pub struct Gradient(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    factors: Option<(Tensor, Tensor)>,
    value: OnceLock<Tensor>,
}

impl Gradient {
    pub(super) fn known(value: Tensor) -> Self {
        Self(Arc::new(Inner { factors: None, value: OnceLock::from(value) }))
    }

    pub(super) fn product(a: Tensor, b: Tensor) -> Self {
        Self(Arc::new(Inner { factors: Some((a, b)), value: OnceLock::new() }))
    }

    /// The gradient itself.
    pub fn value(&self) -> Result<&Tensor> {
        let Inner { factors, value } = &*self.0;
        if let (None, Some((a, b))) = (value.get(), factors) {
            _ = value.set(no_grad(|| a.matmul(b))?);
        }
        value.get().ok_or_else(|| Error::Gradient("a gradient has neither a value nor factors".into()))
    }

    /// The two matrices whose product it is, if nobody has computed that yet.
    pub fn factors(&self) -> Option<(&Tensor, &Tensor)> {
        self.0.factors.as_ref().filter(|_| self.0.value.get().is_none()).map(|(a, b)| (a, b))
    }
}

impl From<Tensor> for Gradient {
    fn from(value: Tensor) -> Self {
        Self::known(value)
    }
}

/// Gradients that wait at nodes not yet visited.
#[derive(Debug, Default)]
pub(super) struct Pending {
    at: BTreeMap<u64, (Arc<Node>, Gradient)>,
    /// Nodes below this number are of no interest.
    lowest: u64,
}

impl Pending {
    pub(super) fn reaches(&self, node: &Node) -> bool {
        node.id >= self.lowest
    }

    pub(super) fn add(&mut self, node: Arc<Node>, gradient: Gradient) -> Result<()> {
        let sum = match self.at.remove(&node.id) {
            Some((_, gathered)) => Gradient::known(gathered.value()?.add(gradient.value()?)?),
            None => gradient,
        };
        self.at.insert(node.id, (node, sum));
        Ok(())
    }

    /// Visits all nodes, the youngest first, and shows `visitor` what gathered at each.
    fn walk(mut self, mut visitor: impl FnMut(&Node, &Gradient) -> Result<()>) -> Result<()> {
        while let Some((_, (node, gradient))) = self.at.pop_last() {
            let gradient = node.run_hooks(gradient)?;
            visitor(&node, &gradient)?;
            if let Some(op) = &node.op {
                // The result gets its node back, so that a rule that reads it can be differentiated again.
                let output = node.output.clone().map(|output| output.with_node(Some(node.clone())));
                let saved = Saved { node: &node, output };
                op.backward(&saved, gradient.value()?, &mut Grads { node: &node, pending: &mut self })?;
            }
        }
        Ok(())
    }
}

/// The gradients of a scalar with respect to the leaves it was computed from.
#[derive(Debug, Default)]
pub struct Gradients {
    of: HashMap<u64, Gradient>,
}

impl Gradients {
    /// The gradient with respect to `leaf`; an error if the scalar does not depend on it.
    pub fn get(&self, leaf: &Tensor) -> Result<&Tensor> {
        let shape = leaf.shape();
        let Some(node) = leaf.node() else {
            let what = format!("no gradient for a constant of shape {shape:?}; call requires_grad on it first");
            return Err(Error::Gradient(what));
        };
        let gradient = self.of.get(&node.id).ok_or_else(|| {
            Error::Gradient(match node.op {
                Some(_) => format!("{node:?} of shape {shape:?} is no leaf; grad(outputs, inputs, ..) reaches it"),
                None => format!("no gradient for {node:?} of shape {shape:?}: the scalar was not computed from it"),
            })
        })?;
        gradient.value()
    }

    /// Takes the gradient with respect to `leaf` out; `None` if the scalar does not depend on it.
    pub fn take(&mut self, leaf: &Tensor) -> Option<Gradient> {
        self.of.remove(&leaf.node()?.id)
    }

    /// How many leaves have a gradient.
    pub fn len(&self) -> usize {
        self.of.len()
    }

    /// Whether no leaf has a gradient.
    pub fn is_empty(&self) -> bool {
        self.of.is_empty()
    }
}

impl Tensor {
    /// The gradients of this scalar with respect to every leaf that it was computed from.
    ///
    /// Consumes the scalar, so that its graph is freed while it is walked.
    pub fn backward(mut self) -> Result<Gradients> {
        if self.len() != 1 {
            let what = format!("starts at a scalar, not at shape {:?}; sum or average it first", self.shape());
            return Err(Error::shape("backward", what));
        }
        let seed = self.ones_like()?;
        let Some(root) = self.take_node() else {
            let what = "backward: nothing was recorded: no input requires a gradient, or no_grad was in force";
            return Err(Error::Gradient(what.into()));
        };
        let mut pending = Pending::default();
        pending.add(root, Gradient::known(seed))?;
        let mut leaves = Gradients::default();
        with_recording(false, || {
            pending.walk(|node, gradient| {
                if node.is_leaf() {
                    leaves.of.insert(node.id, gradient.clone());
                }
                Ok(())
            })
        })?;
        Ok(leaves)
    }

    /// Calls `hook` with the gradient of this tensor in every later walk; what it returns takes the gradient's place.
    pub fn register_hook(&self, hook: impl Fn(&Tensor) -> Result<Tensor> + Send + Sync + 'static) -> Result<()> {
        let Some(node) = self.node() else {
            let what = "register_hook: a constant never gets a gradient; call requires_grad on it first";
            return Err(Error::Gradient(what.into()));
        };
        node.hooks.lock().unwrap_or_else(PoisonError::into_inner).push(Box::new(hook));
        Ok(())
    }
}

/// The gradients of the sum of all `outputs` with respect to each of `inputs`, leaves or not.
///
/// With `create_graph` the gradients are recorded themselves and can be differentiated again. The graph is left as it is.
/// An input that the outputs do not depend on is an error.
pub fn grad(outputs: &[&Tensor], inputs: &[&Tensor], create_graph: bool) -> Result<Vec<Tensor>> {
    let Some(wanted) = inputs.iter().map(|input| Some(input.node()?.id)).collect::<Option<Vec<u64>>>() else {
        return Err(Error::Gradient("grad: an input is a constant; call requires_grad on it first".into()));
    };
    let mut pending = Pending { lowest: wanted.iter().copied().min().unwrap_or(0), ..Pending::default() };
    let mut found: HashMap<u64, Tensor> = HashMap::new();
    with_recording(create_graph, || {
        for output in outputs {
            if let Some(node) = output.node().filter(|node| pending.reaches(node)) {
                pending.add(node.clone(), Gradient::known(output.ones_like()?))?;
            }
        }
        pending.walk(|node, gradient| {
            if wanted.contains(&node.id) {
                found.insert(node.id, gradient.value()?.clone());
            }
            Ok(())
        })
    })?;
    let gradient = |(id, input): (&u64, &&Tensor)| {
        let missing = || format!("grad: the outputs do not depend on the input of shape {:?}", input.shape());
        found.get(id).cloned().ok_or_else(|| Error::Gradient(missing()))
    };
    wanted.iter().zip(inputs).map(gradient).collect()
}
