//! A model as a graph of layers: chains, skips, several inputs.

use std::ops::Range;
use std::sync::Arc;

use crate::core::Tensor;
use crate::core::ops::unary::pointwise;
use crate::layers::{Activation, Merge};
use crate::module::{Ctx, Module};
use crate::optim::Regularizer;
use crate::param::Param;
use crate::spec::catalog::Piece;
use crate::{Error, Result};

/// Layers, each with the values it takes its inputs from; the last one's result is the graph's.
///
/// Shapes are checked while the graph is built, so that a finished graph fits together.
///
/// ```
/// # use gradus_nn::core::{RandomKey, Tensor};
/// # use gradus_nn::layers::{Dense, DenseOptions, Merge};
/// # use gradus_nn::models::Graph;
/// # use gradus_nn::module::Ctx;
/// let mut graph = Graph::default();
/// let x = graph.input("x", &[4])?;
/// let hidden = graph.layer("dense", Dense::new(4, &DenseOptions::keras(4), RandomKey::new(1))?, x)?;
/// graph.merge("add", Merge::Add, &[x, hidden])?;
/// let y = graph.forward(&[&Tensor::from_slice(&[1f32; 8], &[2, 4])?], &Ctx::eval())?;
/// assert_eq!(y.shape(), [2, 4]);
/// # Ok::<(), gradus_nn::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct Graph {
    /// Inputs first, layers after them.
    values: Vec<Node>,
    inputs: usize,
}

/// A value of a graph: an input, or a layer's result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Value(usize);

/// Where a pass through a graph begins.
#[derive(Clone, Copy, Debug)]
pub(super) enum Start<'a> {
    /// At the inputs.
    Inputs(&'a [&'a Tensor]),
    /// Behind the value at this place, which is known.
    Behind(usize, &'a Tensor),
}

/// Sees the name of a layer and its result.
pub(super) type See<'a> = &'a mut dyn FnMut(&str, &Tensor) -> Result<()>;

/// A value and what makes it.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) name: String,
    pub(super) class: &'static str,
    /// `None` for an input.
    pub(super) piece: Option<Piece>,
    pub(super) from: Vec<usize>,
    /// Without the batch.
    pub(super) shape: Vec<usize>,
    /// The last layer that reads the value, after which its memory can go.
    pub(super) last_use: usize,
    /// The penalty on the value that training adds to the loss.
    pub(super) regularizer: Option<Regularizer>,
}

impl Graph {
    /// One more input of the given shape (without the batch). Inputs come before layers.
    pub fn input(&mut self, name: &str, shape: &[usize]) -> Result<Value> {
        if self.inputs != self.values.len() {
            return Err(Error::Config(format!("input {name:?}: inputs come before all layers")));
        }
        self.inputs += 1;
        self.push(name, "Input", None, &[], shape.to_vec())
    }

    /// One more layer, which reads `from`.
    pub fn layer(&mut self, name: &str, layer: impl Module + 'static, from: Value) -> Result<Value> {
        self.piece(name, "Layer", Piece::Layer(Arc::new(layer)), &[from])
    }

    /// Joins several values.
    pub fn merge(&mut self, name: &str, merge: Merge, from: &[Value]) -> Result<Value> {
        self.piece(name, "Merge", Piece::Merge(merge), from)
    }

    /// One more layer, which is the very layer of this name in `other`: training one model changes both.
    ///
    /// Fails with [`Error::Config`] if `other` has no such layer, or if it does not fit.
    pub fn share(&mut self, other: &Graph, name: &str, from: &[Value]) -> Result<Value> {
        let node = other.layers().iter().find(|node| node.name == name);
        let Some((class, piece)) = node.and_then(|node| Some((node.class, node.piece.clone()?))) else {
            let names: Vec<&str> = other.layers().iter().map(|node| node.name.as_str()).collect();
            return Err(Error::Config(format!("layer {name:?} is none of the model's: {}", names.join(", "))));
        };
        let shape = self.shape_of(name, &piece, from)?;
        self.push(name, class, Some(piece), from, shape)
    }

    pub(super) fn piece(&mut self, name: &str, class: &'static str, piece: Piece, from: &[Value]) -> Result<Value> {
        let shape = self.shape_of(name, &piece, from)?;
        if let Piece::Layer(layer) = &piece {
            layer.params(&mut |local, param| param.set_name(format!("{name}.{local}")));
        }
        self.push(name, class, Some(piece), from, shape)
    }

    /// The shape of what `piece` makes of the values `from`.
    fn shape_of(&self, name: &str, piece: &Piece, from: &[Value]) -> Result<Vec<usize>> {
        let shapes: Vec<&[usize]> = from.iter().map(|&value| self.shape(value)).collect();
        match (piece, shapes.as_slice()) {
            (Piece::Layer(layer), &[shape]) => layer.output_shape(shape),
            (Piece::Layer(_), _) => Err(Error::Config(format!("layer {name:?} takes one input"))),
            (Piece::Merge(merge), shapes) => merge.output_shape(shapes),
        }
    }

    fn push(
        &mut self,
        name: &str,
        class: &'static str,
        piece: Option<Piece>,
        from: &[Value],
        shape: Vec<usize>,
    ) -> Result<Value> {
        if self.values.iter().any(|node| node.name == name) {
            return Err(Error::Config(format!("two layers are called {name:?}; rename one")));
        }
        let place = self.values.len();
        let from: Vec<usize> = from.iter().map(|value| value.0).collect();
        for &value in &from {
            self.values[value].last_use = place;
        }
        // What nobody reads yet is the result, and stays.
        self.values.push(Node {
            name: name.into(),
            class,
            piece,
            from,
            shape,
            last_use: usize::MAX,
            regularizer: None,
        });
        Ok(Value(place))
    }

    /// Lets training add a penalty on a value to the loss, or no longer: a mean over the samples of a batch, as in Keras.
    pub fn regularize(&mut self, value: Value, regularizer: Option<Regularizer>) {
        self.values[value.0].regularizer = regularizer;
    }

    /// [`Graph::forward_raw`], and the sum of the penalties on values, if there are any.
    pub fn forward_penalized(&self, inputs: &[&Tensor], ctx: &Ctx) -> Result<(Tensor, Activation, Option<Tensor>)> {
        self.penalized(Start::Inputs(inputs), ctx)
    }

    /// [`Graph::forward_penalized`] from where it begins.
    pub(super) fn penalized(&self, start: Start<'_>, ctx: &Ctx) -> Result<(Tensor, Activation, Option<Tensor>)> {
        let mut sum: Option<Tensor> = None;
        let mut add = |node: &Node, value: &Tensor| -> Result<()> {
            let Some(regularizer) = &node.regularizer else { return Ok(()) };
            let samples = value.shape().first().copied().unwrap_or(1).max(1);
            let penalty = regularizer.penalty(value)?.mul_scalar(1.0 / samples as f64)?;
            sum = Some(match sum.take() {
                Some(sum) => sum.add(&penalty)?,
                None => penalty,
            });
            Ok(())
        };
        let nodes = self.values.split_last();
        let mut see = |name: &str, value: &Tensor| {
            let node = nodes.and_then(|(_, before)| before.iter().find(|node| node.name == name));
            node.map_or(Ok(()), |node| add(node, value))
        };
        let penalties = self.values.iter().any(|node| node.regularizer.is_some());
        let (raw, left) = self.walk(start, self.values.len(), ctx, penalties.then_some(&mut see))?;
        // Of the last value, what comes before its activation is known.
        if let Some((last, _)) = nodes.filter(|(last, _)| last.regularizer.is_some()) {
            add(last, &left.apply(&raw)?)?;
        }
        Ok((raw, left, sum))
    }

    /// The value that is called `name`.
    pub fn find(&self, name: &str) -> Option<Value> {
        self.values.iter().position(|node| node.name == name).map(Value)
    }

    /// The last value added: so far the graph's result.
    pub fn last(&self) -> Option<Value> {
        self.values.len().checked_sub(1).map(Value)
    }

    /// The shape of a value, without the batch.
    pub fn shape(&self, value: Value) -> &[usize] {
        &self.values[value.0].shape
    }

    /// The shapes of the inputs, without the batch.
    pub fn input_shapes(&self) -> Vec<Vec<usize>> {
        self.values[..self.inputs].iter().map(|node| node.shape.clone()).collect()
    }

    pub(super) fn nodes(&self) -> &[Node] {
        &self.values
    }

    /// What stands behind the inputs.
    pub(super) fn layers(&self) -> &[Node] {
        &self.values[self.inputs..]
    }

    /// Freezes every layer whose place says so, and lets the others change; a layer without a word stays as it is.
    pub(super) fn train_only(&self, trainable: &[bool]) {
        for (node, &trainable) in self.layers().iter().zip(trainable) {
            if let Some(Piece::Layer(layer)) = &node.piece {
                layer.params(&mut |_, param| param.set_trainable(trainable));
            }
        }
    }

    /// Shows `visit` every parameter of the layer of this name.
    pub(crate) fn params_of(&self, name: &str, visit: &mut dyn FnMut(&Param)) {
        if let Some(Piece::Layer(layer)) =
            self.layers().iter().find(|node| node.name == name).and_then(|node| node.piece.as_ref())
        {
            layer.params(&mut |_, param| visit(param));
        }
    }

    /// Every parameter once, in the order of the layers.
    pub fn params(&self) -> Vec<Param> {
        let mut params: Vec<Param> = Vec::new();
        for node in &self.values {
            if let Some(Piece::Layer(layer)) = &node.piece {
                layer.params(&mut |_, param| {
                    if !params.iter().any(|known| known.is_same(param)) {
                        params.push(param.clone());
                    }
                });
            }
        }
        params
    }

    /// The graph's result for a batch of every input.
    pub fn forward(&self, inputs: &[&Tensor], ctx: &Ctx) -> Result<Tensor> {
        let (raw, left) = self.forward_raw(inputs, ctx)?;
        left.apply(&raw)
    }

    /// The result before the last activation, and that activation: losses are more exact when they know it.
    pub fn forward_raw(&self, inputs: &[&Tensor], ctx: &Ctx) -> Result<(Tensor, Activation)> {
        self.walk(Start::Inputs(inputs), self.values.len(), ctx, None)
    }

    /// Like [`Graph::forward_raw`], and shows every layer's result to `see`.
    pub fn run(
        &self,
        inputs: &[&Tensor],
        ctx: &Ctx,
        see: impl FnMut(&str, &Tensor) -> Result<()>,
    ) -> Result<(Tensor, Activation)> {
        self.run_from(Start::Inputs(inputs), ctx, see)
    }

    /// [`Graph::run`] from where it begins.
    pub(super) fn run_from(
        &self,
        start: Start<'_>,
        ctx: &Ctx,
        mut see: impl FnMut(&str, &Tensor) -> Result<()>,
    ) -> Result<(Tensor, Activation)> {
        self.walk(start, self.values.len(), ctx, Some(&mut see))
    }

    /// The value at a place, computed from the inputs.
    pub(super) fn value_at(&self, place: usize, inputs: &[&Tensor], ctx: &Ctx) -> Result<Tensor> {
        Ok(self.walk(Start::Inputs(inputs), place + 1, ctx, None)?.0)
    }

    /// Computes the values up to the place `end`, and gives the last of them. Where nobody looks at the others, layers may be computed
    /// together, and the first of them in parts.
    fn walk(&self, start: Start<'_>, end: usize, ctx: &Ctx, see: Option<See<'_>>) -> Result<(Tensor, Activation)> {
        if let Start::Inputs(inputs) = start {
            self.check_inputs(inputs)?;
            if see.is_none()
                && let Some((place, value)) = self.first_in_parts(inputs, end, ctx)?
            {
                return self.pass(Start::Behind(place, &value), end, ctx, see);
            }
        }
        self.pass(start, end, ctx, see)
    }

    /// [`Graph::walk`] with the whole batch, whose shape was checked, at each layer.
    pub(super) fn pass(
        &self,
        start: Start<'_>,
        end: usize,
        ctx: &Ctx,
        mut see: Option<See<'_>>,
    ) -> Result<(Tensor, Activation)> {
        let mut values: Vec<Option<Tensor>> = match start {
            Start::Inputs(inputs) => inputs.iter().map(|&input| Some(input.clone())).collect(),
            // Nothing behind reads anything in front but this.
            Start::Behind(place, value) => (0..=place).map(|at| (at == place).then(|| value.clone())).collect(),
        };
        let mut left = Activation::Linear;
        while let Some(node) = self.values[..end].get(values.len()) {
            let place = values.len();
            let from = node.from.iter().map(|&value| values[value].as_ref());
            let from: Vec<&Tensor> = from.collect::<Option<_>>().unwrap_or_default();
            let together = match (&see, &from[..]) {
                (None, [x]) => self.together(place..end, x, ctx)?,
                _ => None,
            };
            let (result, count) = match (&node.piece, together) {
                (_, Some(together)) => together,
                (Some(Piece::Layer(layer)), _) if place + 1 == self.values.len() => {
                    let (raw, activation) = layer.forward_raw(from[0], &ctx.for_layer(place as u64))?;
                    left = activation;
                    (raw, 1)
                }
                (Some(Piece::Layer(layer)), _) => (layer.forward(from[0], &ctx.for_layer(place as u64))?, 1),
                (Some(Piece::Merge(merge)), _) => (merge.apply(&from)?, 1),
                (None, _) => return Err(Error::Config(format!("input {:?} stands after a layer", node.name))),
            };
            if let Some(see) = &mut see {
                see(&node.name, &result)?;
            }
            for &value in &node.from {
                if self.values[value].last_use == place {
                    values[value] = None;
                }
            }
            values.resize(place + count - 1, None);
            values.push(Some(result));
        }
        let last = values.pop().flatten().ok_or_else(|| Error::Config("the model has no layers".into()))?;
        Ok((last, left))
    }

    /// The result of some layers at once, where each is all that reads the one before, and how many they are: a layer with the scaling
    /// behind it, the function behind it, or both; or a layer, its function and the largest elements of that, which are taken first.
    fn together(&self, places: Range<usize>, x: &Tensor, ctx: &Ctx) -> Result<Option<(Tensor, usize)>> {
        let layer = |place: usize| match &self.values[place].piece {
            Some(Piece::Layer(layer)) => Some(layer.as_ref()),
            _ => None,
        };
        // The last layer of all may leave its function to the loss.
        let follower = |place: usize| {
            let alone = places.contains(&place)
                && place + 1 < self.values.len()
                && self.values[place].from == [place - 1]
                && self.values[place - 1].last_use == place;
            if alone { layer(place) } else { None }
        };
        let place = places.start;
        let (Some(first), Some(second)) = (layer(place), follower(place + 1)) else { return Ok(None) };
        let at = ctx.for_layer(place as u64);
        let largest = |place: usize| follower(place).filter(|layer| layer.takes_largest());
        let pooled = |pool: &dyn Module, y: &Tensor, function, count: usize| {
            let largest = pool.forward(y, &ctx.for_layer((place + count - 1) as u64))?;
            Ok(Some((pointwise(&largest, function)?, count)))
        };
        if let Some(pool) = largest(place + 1) {
            let Some((y, function)) = first.forward_unfinished(x, &at)? else { return Ok(None) };
            return pooled(pool, &y, function, 2);
        }
        if let Some(function) = second.as_function() {
            if let Some(pool) = largest(place + 2).filter(|_| function.is_non_decreasing()) {
                return pooled(pool, &first.forward(x, &at)?, function, 3);
            }
            let y = first.forward_activated(x, &at, function)?;
            return Ok(y.map(|y| (y, 2)));
        }
        let function = follower(place + 2).and_then(Module::as_function);
        let y = first.forward_scaled(x, &at, second, function)?;
        Ok(y.map(|y| (y, if function.is_some() { 3 } else { 2 })))
    }

    fn check_inputs(&self, inputs: &[&Tensor]) -> Result<()> {
        if inputs.len() != self.inputs {
            return Err(Error::Config(format!("the model takes {} inputs, not {}", self.inputs, inputs.len())));
        }
        for (node, input) in self.values.iter().zip(inputs) {
            if input.shape().get(1..) != Some(&node.shape) {
                let (name, shape) = (&node.name, &node.shape);
                let text = format!(
                    "the model's {name:?} takes a batch of {shape:?}, which a tensor of shape {:?} is not",
                    input.shape()
                );
                return Err(Error::Config(text));
            }
        }
        Ok(())
    }
}
