//! Models made of other models: copies, shared layers, and weights taken over.

use super::{Graph, Model, Value};
use crate::spec::Selection;
use crate::{Error, Result};

impl Model {
    /// Freezes the chosen layers (`..-1`, `dense*`, see [`Selection`]), or lets them change again.
    ///
    /// Fails with [`Error::Config`] if a part of the choice is none of the layers; the text lists them.
    pub fn set_trainable(&self, layers: &str, trainable: bool) -> Result<()> {
        let names: Vec<&str> = self.graph.layers().iter().map(|node| node.name.as_str()).collect();
        let chosen = layers.parse::<Selection>()?.of(&names)?;
        for (name, _) in names.iter().zip(chosen).filter(|(_, chosen)| *chosen) {
            self.graph.params_of(name, &mut |param| param.set_trainable(trainable));
        }
        Ok(())
    }

    /// Freezes every layer whose place says so, and lets the others change.
    pub(crate) fn train_only(&self, trainable: &[bool]) {
        self.graph.train_only(trainable);
    }

    /// The beginning of another model: the layers of this one but the last `drop`, shared, so that training one model changes
    /// both. More layers, and then [`Model::new`], make it a whole.
    ///
    /// ```
    /// # use gradus_nn::core::RandomKey;
    /// # use gradus_nn::layers::{Dense, DenseOptions};
    /// # use gradus_nn::models::{Graph, Model};
    /// # let dense = |from, to, name| Dense::new(from, &DenseOptions::keras(to), RandomKey::new(1).named(name));
    /// # let mut graph = Graph::default();
    /// # let x = graph.input("x", &[4])?;
    /// # let hidden = graph.layer("hidden", dense(4, 3, "hidden")?, x)?;
    /// # graph.layer("output", dense(3, 10, "output")?, hidden)?;
    /// # let digits = Model::new(graph);
    /// let (mut graph, body) = digits.shared(1)?;
    /// graph.layer("parity", dense(3, 2, "parity")?, body)?;
    /// let parity = Model::new(graph);
    /// assert!(parity.params()[0].is_same(&digits.params()[0]));
    /// # Ok::<(), gradus_nn::Error>(())
    /// ```
    pub fn shared(&self, drop: usize) -> Result<(Graph, Value)> {
        let nodes = self.graph.nodes();
        let layers = self.graph.layers();
        let kept = layers.len().checked_sub(drop).filter(|&kept| kept > 0);
        let kept = kept.ok_or_else(|| {
            Error::Config(format!("of {} layers the last {drop} cannot be left out; one must stay", layers.len()))
        })?;
        let mut graph = Graph::default();
        let mut values: Vec<Value> = Vec::new();
        for node in &nodes[..nodes.len() - layers.len() + kept] {
            let from: Vec<Value> = node.from.iter().map(|&value| values[value]).collect();
            values.push(match &node.piece {
                None => graph.input(&node.name, &node.shape)?,
                Some(_) => graph.share(&self.graph, &node.name, &from)?,
            });
        }
        let last = values.last().copied().ok_or_else(|| Error::Config("the model has no layers".into()))?;
        Ok((graph, last))
    }

    /// Another model with the same layers and weights, of which none is shared: Keras' `clone_model` and `set_weights` in one.
    ///
    /// Fails with [`Error::Config`] for a model that was not built from a recipe: only a text can be built twice.
    pub fn clone_with_weights(&self) -> Result<Model> {
        let Some(recipe) = self.recipe() else {
            let text = "a model that was built in Rust cannot be cloned; build it again, and give it these weights by set_weights";
            return Err(Error::Config(text.into()));
        };
        let clone = Model::with_inputs(recipe, &self.graph.input_shapes())?;
        clone.set_weights(self.weights(), "the model that is cloned")?;
        if let Some(param) = self.params().first() {
            clone.to_device(param.value().device())?;
        }
        for (new, old) in clone.params().iter().zip(self.params()) {
            new.set_trainable(!old.is_frozen());
        }
        Ok(clone)
    }

    /// Gives every layer that the recipe takes from its base (`weights = "base"`) the weights of the layer of the same name.
    ///
    /// Fails with [`Error::Config`] if `base` has no such layer, or one of another shape.
    pub fn take_weights(&self, base: &Model) -> Result<()> {
        let Some(recipe) = self.recipe() else { return Ok(()) };
        for layer in recipe.layers.iter().filter(|layer| layer.from_base) {
            let mut wrong = None;
            self.graph.params_of(&layer.name, &mut |param| {
                let name = param.name();
                let result = match base.params().iter().find(|other| other.name() == name) {
                    None => Err(Error::Config(format!("the base has no {name}"))),
                    Some(other) if other.shape() != param.shape() => Err(Error::Config(format!(
                        "{name} has shape {:?} in the base and {:?} here; samples were {:?} there and are {:?} here",
                        other.shape(),
                        param.shape(),
                        base.graph.input_shapes().concat(),
                        self.graph.input_shapes().concat()
                    ))),
                    Some(other) => param.set(other.value().detach()),
                };
                wrong = wrong.take().or(result.err());
            });
            if let Some(error) = wrong {
                return Err(Error::Config(format!("{}: {}: {error}", layer.place, layer.title)));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::{RandomKey, Tensor};
    use crate::layers::{BatchNorm, BatchNormOptions, Dense, DenseOptions};
    use crate::loss::Loss;
    use crate::module::Ctx;
    use crate::spec::Recipe;
    use crate::train::{Phase, Trainer};

    const BASE: &str = r#"
[data]
source = "x"
[[layer]]
type = "dense"
units = 5
activation = "tanh"
[[layer]]
type = "batch_norm"
[[layer]]
type = "dense"
units = 3
activation = "softmax"
[optimizer]
kind = "sgd"
learning_rate = 0.1
[train]
loss = "sparse_categorical_crossentropy"
"#;

    fn base() -> Recipe {
        Recipe::parse(BASE, "base.toml").unwrap()
    }

    /// A recipe on top of [`BASE`] with two classes; `keys` go below `[base]`.
    fn on_base(keys: &str) -> Result<Recipe> {
        let head = BASE.find("[[layer]]\ntype = \"dense\"\nunits = 3").unwrap();
        let text = BASE[head..].replace("units = 3", "units = 2");
        Recipe::parse(&format!("[data]\nsource = \"x\"\n[base]\nmodel = \"b\"\n{keys}\n{text}"), "top.toml")?
            .on(&base())
    }

    fn batch(classes: usize) -> (Tensor, Tensor) {
        let numbers: Vec<f32> = (0..24).map(|i| (i * 37 % 11) as f32 / 5.0 - 1.0).collect();
        let labels: Vec<i64> = (0..6).map(|i| (i % classes) as i64).collect();
        (Tensor::from_slice(&numbers, &[6, 4]).unwrap(), Tensor::from_slice(&labels, &[6]).unwrap())
    }

    /// One step of plain descent.
    fn step(model: &Model, classes: usize) {
        let (inputs, targets) = batch(classes);
        let recipe = base();
        let optimizer = recipe.optimizer.build();
        let mut trainer =
            Trainer::new(model, Loss::SparseCategoricalCrossentropy(0.0), Vec::new(), optimizer, RandomKey::new(1));
        trainer.step(&crate::data::Batch { inputs, targets, weights: None, size: 6 }).unwrap();
    }

    #[test]
    fn a_recipe_on_a_base_is_whole_and_reads_back_as_itself() {
        let recipe = on_base("freeze = \"..-1\"\nunfreeze_after = 4").unwrap();
        assert_eq!(recipe.layer_names(), ["dense", "batch_normalization", "dense_1"]);
        assert!(!recipe.lacks_base());
        let again = Recipe::parse(&recipe.to_toml(), "again.toml").unwrap();
        assert_eq!(again.to_toml(), recipe.to_toml());
        assert_eq!(again.layers.iter().map(|layer| layer.from_base).collect::<Vec<_>>(), [true, true, false]);
        assert_eq!(
            again.on(&base()).unwrap().to_toml(),
            recipe.to_toml(),
            "putting it on its base twice changes nothing"
        );
        assert_eq!(on_base("drop = \"batch_normalization\"").unwrap().layer_names(), ["dense", "dense_1"]);
        assert_eq!(on_base("drop = 0").unwrap().layer_names(), ["dense", "batch_normalization", "dense_1", "dense_2"]);
    }

    #[test]
    fn what_a_base_cannot_give_is_refused() {
        let refusal = |keys: &str| on_base(keys).unwrap_err().to_string();
        assert_eq!(
            refusal("drop = 3"),
            "top.toml:3:1: [base]: drop = 3 of the 3 layers of b (dense, batch_normalization, dense_1) none would be left, or \
             there is no such layer"
        );
        assert!(refusal("drop = \"dens\"").contains("drop = \"dens\" of the 3 layers"));
        assert!(refusal("unfreeze_after = 2").contains("nothing is frozen"));
        assert!(refusal("freeze = \"..-1\"\nunfreeze = \"dense\"").contains("say after how many epochs"));
        let build = |keys: &str| Model::build(&on_base(keys).unwrap(), &[4]).unwrap_err().to_string();
        assert_eq!(
            build("freeze = \"conv*\""),
            "top.toml:3:1: [base]: freeze: conv* is none of the 3 layers: dense, batch_normalization, dense_1"
        );
        let recipe = Recipe { base: on_base("").unwrap().base, ..base() };
        assert!(
            Model::build(&recipe, &[4]).unwrap_err().to_string().contains("the layers of the base are not there yet")
        );
        let orphan = BASE.replacen("units = 5", "units = 5\nweights = \"base\"", 1);
        let error = Recipe::parse(&orphan, "r.toml").unwrap_err().to_string();
        assert!(error.contains("there is no [base] to take them from"), "{error}");
    }

    #[test]
    fn weights_are_taken_by_name_and_frozen_ones_stay_bit_for_bit() {
        let trained = Model::build(&base(), &[4]).unwrap();
        (0..3).for_each(|_| step(&trained, 3));
        let recipe = on_base("freeze = \"..-1\"\nunfreeze_after = 1").unwrap();
        let model = Model::build(&recipe, &[4]).unwrap();
        model.take_weights(&trained).unwrap();
        assert_eq!((model.counts().trainable, model.counts().total), (5 * 2 + 2, 25 + 20 + 12));
        let bits = |model: &Model, i: usize| -> Vec<u32> {
            model.params()[i].value().to_vec::<f32>().unwrap().iter().map(|x| x.to_bits()).collect()
        };
        // Weights of the first layer, and both weights and moving statistics of the batch norm, which must not see the batch.
        let body = |model: &Model| (0..6).map(|i| bits(model, i)).collect::<Vec<_>>();
        assert_eq!(body(&model), body(&trained));
        let head = bits(&model, 6);
        step(&model, 2);
        assert_eq!(body(&model), body(&trained));
        assert_ne!(bits(&model, 6), head);

        let phases = Phase::all(&recipe).unwrap();
        assert_eq!(phases.iter().map(|phase| phase.first).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(Phase::at(&phases, 1), Some(&phases[0]));
        assert!(Phase::begin(&model, 1).unwrap().is_none());
        assert!(Phase::begin(&model, 2).unwrap().is_some(), "the optimizer starts afresh");
        assert!(Phase::begin(&model, 3).unwrap().is_none());
        step(&model, 2);
        let changed: Vec<bool> = (0..6).map(|i| bits(&model, i) != bits(&trained, i)).collect();
        assert_eq!(changed, [true; 6]);
    }

    #[test]
    fn a_frozen_batch_norm_normalises_by_its_averages_in_training() {
        let recipe = on_base("freeze = \"batch_*\"").unwrap();
        let model = Model::build(&recipe, &[4]).unwrap();
        let (x, _) = batch(2);
        let train = model.forward(&x, &Ctx::train(RandomKey::new(1))).unwrap().to_vec::<f32>().unwrap();
        assert_eq!(train, model.forward(&x, &Ctx::eval()).unwrap().to_vec::<f32>().unwrap());
        model.set_trainable("batch_*", true).unwrap();
        assert_ne!(train, model.forward(&x, &Ctx::train(RandomKey::new(1))).unwrap().to_vec::<f32>().unwrap());
    }

    #[test]
    fn shared_layers_change_together_and_cloned_ones_do_not() {
        let first = Model::build(&base(), &[4]).unwrap();
        let clone = first.clone_with_weights().unwrap();
        assert_eq!(clone.weights_sha256().unwrap(), first.weights_sha256().unwrap());
        let (mut graph, body) = first.shared(1).unwrap();
        let head = Dense::new(5, &DenseOptions::keras(2), RandomKey::new(2)).unwrap();
        graph.layer("head", head, body).unwrap();
        let second = Model::new(graph);
        let names: Vec<String> = second.params().iter().map(crate::Param::name).collect();
        assert_eq!(names[0], "dense.kernel");
        assert_eq!(names[6..], ["head.kernel", "head.bias"]);
        step(&second, 2);
        assert_ne!(clone.weights_sha256().unwrap(), first.weights_sha256().unwrap());
        assert!(second.params()[..6].iter().zip(first.params()).all(|(a, b)| a.is_same(b)));
        assert!(second.clone_with_weights().unwrap_err().to_string().contains("build it again"));
        assert!(first.shared(3).is_err());
    }

    #[test]
    fn layers_are_replaced_added_and_dropped_by_sharing_the_others() {
        let base = Model::build(&base(), &[4]).unwrap();
        let mut graph = Graph::default();
        let x = graph.input("input", &[4]).unwrap();
        let dense = graph.share(base.graph(), "dense", &[x]).unwrap();
        let norm = graph.layer("norm", BatchNorm::new(5, BatchNormOptions::keras()).unwrap(), dense).unwrap();
        let wide = Dense::new(5, &DenseOptions::keras(5), RandomKey::new(3)).unwrap();
        let wide = graph.layer("wide", wide, norm).unwrap();
        graph.share(base.graph(), "dense_1", &[wide]).unwrap();
        let model = Model::new(graph);
        assert_eq!(model.output_shape(), [3]);
        let same = |name: &str| {
            base.params().iter().any(|param| model.params().iter().any(|p| p.is_same(param) && p.name() == name))
        };
        assert!(same("dense.kernel") && same("dense_1.bias") && !same("batch_normalization.gamma"));
        let mut graph = Graph::default();
        let x = graph.input("input", &[4]).unwrap();
        let error = graph.share(base.graph(), "conv", &[x]).unwrap_err().to_string();
        assert_eq!(error, "layer \"conv\" is none of the model's: dense, batch_normalization, dense_1");
        assert!(graph.share(base.graph(), "dense_1", &[x]).unwrap_err().to_string().contains("takes 5 numbers"));
    }

    #[test]
    fn backward_stops_below_the_lowest_layer_that_is_trained() {
        let model = Model::build(&on_base("").unwrap(), &[4]).unwrap();
        let (x, _) = batch(2);
        // The layers whose results are recorded, so that backward visits them and their inputs are kept for it.
        let recorded = || {
            let mut names = Vec::new();
            let see = |name: &str, y: &Tensor| {
                names.extend(y.is_tracked().then(|| name.to_string()));
                Ok(())
            };
            model.graph().run(&[&x], &Ctx::train(RandomKey::new(1)), see).unwrap();
            names
        };
        assert_eq!(recorded(), ["dense", "batch_normalization", "dense_1"]);
        model.set_trainable("dense", false).unwrap();
        assert_eq!(recorded(), ["batch_normalization", "dense_1"]);
        model.set_trainable("..-1", false).unwrap();
        assert_eq!(recorded(), ["dense_1"]);
        model.set_trainable("..", false).unwrap();
        assert!(recorded().is_empty());
        assert!(Phase::begin(&model, 1).unwrap_err().to_string().contains("there is nothing to train"));
    }
}
