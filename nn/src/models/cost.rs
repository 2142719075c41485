//! What a step of training computes, counted from the shapes.

use super::Model;
use crate::spec::catalog::Piece;

/// Multiply-adds of one sample in a step of training: those of products with weights, which are nearly all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Of the forward pass.
    pub forward: usize,
    /// Of the backward pass: a product for the gradient of each weight that is trained, and one for the gradient of each layer's
    /// input below which something is trained. It stops below the lowest of them.
    pub backward: usize,
}

impl Cost {
    /// Both passes.
    pub fn total(self) -> usize {
        self.forward + self.backward
    }
}

impl Model {
    /// What a step of training costs as the model is: frozen layers cost the forward pass, and less in the backward pass.
    pub fn cost(&self) -> Cost {
        let nodes = self.graph.nodes();
        let mut cost = Cost::default();
        // Whether a value depends on something that is trained.
        let mut moves: Vec<bool> = Vec::with_capacity(nodes.len());
        for node in nodes {
            let below = node.from.iter().any(|&value| moves[value]);
            let mut trained = false;
            if let (Some(Piece::Layer(layer)), [from, ..]) = (&node.piece, node.from.as_slice()) {
                layer.params(&mut |_, param| trained |= param.trainable());
                let products = layer.multiply_adds(&nodes[*from].shape);
                cost.forward += products;
                cost.backward += products * (usize::from(trained) + usize::from(below));
            }
            moves.push(below || trained);
        }
        cost
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Recipe;

    #[test]
    fn a_frozen_body_costs_the_forward_pass_alone() {
        let dense = |units| format!("[[layer]]\ntype = \"dense\"\nunits = {units}\nactivation = \"leaky_relu\"\n");
        let text = format!(
            "[data]\nsource = \"x\"\n[[layer]]\ntype = \"flatten\"\n{}{}{}[optimizer]\nkind = \"sgd\"\n[train]\nloss = \"mse\"\n",
            dense(300),
            dense(100),
            dense(2)
        );
        let model = Model::build(&Recipe::parse(&text, "r.toml").unwrap(), &[28, 28]).unwrap();
        let forward = 784 * 300 + 300 * 100 + 100 * 2;
        // Nobody asks for the gradient of the images.
        assert_eq!(model.cost(), Cost { forward, backward: 2 * forward - 784 * 300 });
        assert_eq!(model.cost().total(), 561_000);
        model.set_trainable("..-1", false).unwrap();
        assert_eq!((model.cost(), model.cost().total()), (Cost { forward, backward: 200 }, 265_600));
        // What lies between the lowest trained layer and the loss is walked through, frozen or not.
        model.set_trainable("dense", true).unwrap();
        model.set_trainable("dense_1, dense_2", false).unwrap();
        assert_eq!(model.cost().backward, 784 * 300 + 30_000 + 200);
    }
}
