//! The values of a graph one after the other, with what decides where a pass through it may be cut.

use super::Graph;
use super::graph::Node;
use crate::spec::catalog::Piece;

/// A value of a graph, and what makes it.
pub(super) struct Stage<'a> {
    pub place: usize,
    pub node: &'a Node,
    /// How many numbers it has for a sample.
    pub numbers: usize,
    /// Whether a parameter of its layer is trained, and how many numbers these hold.
    pub trained: bool,
    pub weights: usize,
    /// [`Module::multiply_adds`](crate::Module::multiply_adds) of its layer.
    pub multiply_adds: usize,
    /// Whether it is the same for a sample in every pass, see [`Module::is_steady`](crate::Module::is_steady).
    pub is_steady: bool,
    /// Whether nothing behind it reads anything in front of it.
    pub is_closed: bool,
    /// Whether it is the graph's result.
    pub is_last: bool,
}

impl Graph {
    /// All values, the inputs first.
    pub(super) fn stages(&self) -> impl Iterator<Item = Stage<'_>> {
        let (nodes, mut last_read) = (self.nodes(), 0);
        nodes.iter().enumerate().map(move |(place, node)| {
            let (mut trained, mut weights, mut multiply_adds, mut is_steady) = (false, 0, 0, true);
            if let (Some(Piece::Layer(layer)), [from, ..]) = (&node.piece, node.from.as_slice()) {
                layer.params(&mut |_, param| {
                    trained |= param.trainable();
                    weights += param.len();
                });
                multiply_adds = layer.multiply_adds(&nodes[*from].shape);
                is_steady = layer.is_steady();
            }
            let (is_closed, is_last) = (last_read <= place, place + 1 == nodes.len());
            last_read = last_read.max(node.last_use);
            let numbers = node.shape.iter().product();
            Stage { place, node, numbers, trained, weights, multiply_adds, is_steady, is_closed, is_last }
        })
    }
}
