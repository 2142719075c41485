//! Layers one after the other.

use crate::core::Tensor;
use crate::layers::Activation;
use crate::module::{Ctx, Module};
use crate::param::Param;
use crate::{Error, Result};

/// Layers one after the other: a layer itself, so that chains can stand in chains and graphs.
///
/// ```
/// # use gradus_nn::core::RandomKey;
/// # use gradus_nn::layers::{Activation, Dense, DenseOptions, Flatten};
/// # use gradus_nn::models::Sequential;
/// # use gradus_nn::module::Module;
/// let key = RandomKey::new(42);
/// let net = Sequential::default()
///     .with("flatten", Flatten)
///     .with("hidden", Dense::new(784, &DenseOptions::keras(300), key.named("hidden"))?)
///     .with("relu", Activation::Relu)
///     .with("output", Dense::new(300, &DenseOptions::keras(10), key.named("output"))?);
/// assert_eq!(net.output_shape(&[28, 28])?, [10]);
/// # Ok::<(), gradus_nn::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct Sequential {
    layers: Vec<(String, Box<dyn Module>)>,
}

impl Sequential {
    /// The same chain with one more layer at its end; `name` begins the path of the layer's parameters.
    pub fn with(mut self, name: &str, layer: impl Module + 'static) -> Self {
        self.layers.push((name.into(), Box::new(layer)));
        self
    }
}

impl Module for Sequential {
    fn forward(&self, x: &Tensor, ctx: &Ctx) -> Result<Tensor> {
        let (raw, left) = self.forward_raw(x, ctx)?;
        left.apply(&raw)
    }

    fn forward_raw(&self, x: &Tensor, ctx: &Ctx) -> Result<(Tensor, Activation)> {
        let Some(((_, last), before)) = self.layers.split_last() else {
            return Err(Error::Config("the chain has no layers".into()));
        };
        let mut x = x.clone();
        for (i, (_, layer)) in before.iter().enumerate() {
            x = layer.forward(&x, &ctx.for_layer(i as u64))?;
        }
        last.forward_raw(&x, &ctx.for_layer(before.len() as u64))
    }

    fn params(&self, visit: &mut dyn FnMut(&str, &Param)) {
        for (name, layer) in &self.layers {
            layer.params(&mut |local, param| visit(&format!("{name}.{local}"), param));
        }
    }

    fn multiply_adds(&self, input: &[usize]) -> usize {
        let mut shape = input.to_vec();
        let mut sum = 0;
        for (_, layer) in &self.layers {
            sum += layer.multiply_adds(&shape);
            // A chain that does not fit together never gets as far as being counted.
            shape = layer.output_shape(&shape).unwrap_or_default();
        }
        sum
    }

    fn is_steady(&self) -> bool {
        self.layers.iter().all(|(_, layer)| layer.is_steady())
    }

    fn output_shape(&self, input: &[usize]) -> Result<Vec<usize>> {
        self.layers.iter().try_fold(input.to_vec(), |shape, (_, layer)| layer.output_shape(&shape))
    }
}
