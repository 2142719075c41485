//! From a recipe to a graph.

use super::{Graph, Value};
use crate::core::RandomKey;
use crate::layers::Flatten;
use crate::spec::catalog::Piece;
use crate::spec::{LayerSpec, Recipe};
use crate::train::Phase;
use crate::{Error, Result};

/// The graph that a recipe describes, for samples of these shapes. The first input is called `input`, others `input_1`, …
pub(super) fn graph(recipe: &Recipe, inputs: &[Vec<usize>]) -> Result<Graph> {
    let mut graph = Graph::default();
    for (i, shape) in inputs.iter().enumerate() {
        let name = if i == 0 { "input".to_string() } else { format!("input_{i}") };
        graph.input(&name, shape)?;
    }
    if let Some(base) = recipe.base.as_ref().filter(|_| recipe.lacks_base()) {
        return Err(base.complain("the layers of the base are not there yet; see Recipe::on"));
    }
    recipe.check_calibration()?;
    let key = RandomKey::new(recipe.seed);
    for layer in &recipe.layers {
        add(&mut graph, layer, key).map_err(|error| explain(&graph, layer, &error))?;
    }
    if let Some(phase) = Phase::all(recipe)?.first() {
        graph.train_only(&phase.trainable);
    }
    Ok(graph)
}

fn add(graph: &mut Graph, layer: &LayerSpec, key: RandomKey) -> Result<()> {
    let from = sources(graph, layer)?;
    let shapes: Vec<&[usize]> = from.iter().map(|&value| graph.shape(value)).collect();
    let piece = layer.config.build(&shapes, key.named(&layer.name))?;
    match &piece {
        Piece::Layer(module) => layer.rules.give_to(&**module)?,
        Piece::Merge(_) => layer.rules.give_to(&Flatten)?,
    }
    let value = graph.piece(&layer.name, layer.config.naming().class, piece, &from)?;
    graph.regularize(value, layer.rules.activity_regularizer.clone());
    Ok(())
}

/// The values that a layer reads: those it names, or the one before it.
fn sources(graph: &Graph, layer: &LayerSpec) -> Result<Vec<Value>> {
    if layer.inputs.is_empty() {
        return Ok(graph.last().into_iter().collect());
    }
    let known = || graph.nodes().iter().map(|node| node.name.as_str()).collect::<Vec<_>>().join(", ");
    let find = |name: &String| {
        let missing = || Error::Config(format!("input {name:?} is no layer before it; there are {}", known()));
        graph.find(name).ok_or_else(missing)
    };
    layer.inputs.iter().map(find).collect()
}

/// The complaint, and under it the layers so far with the culprit marked.
fn explain(graph: &Graph, layer: &LayerSpec, error: &Error) -> Error {
    let mut rows: Vec<(String, String)> = Vec::new();
    for node in graph.nodes() {
        rows.push((format!("  {} ({})", node.name, node.class), format!("{:?}", node.shape)));
    }
    let takes = match layer.inputs.as_slice() {
        [] => "here".into(),
        names => format!("here, takes {}", names.join(", ")),
    };
    rows.push((format!("> {} ({})", layer.name, layer.config.naming().class), takes));
    let width = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    let chain: String = rows.iter().map(|(name, shape)| format!("\n  {name:width$}  {shape}")).collect();
    Error::Config(format!(
        "{}: {}: {error}; the layers with their shapes, without the batch:{chain}",
        layer.place, layer.title
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::{DType, Device, Distribution, Tensor, no_grad};
    use crate::models::Model;
    use crate::module::Ctx;

    fn recipe(layers: &str) -> Recipe {
        let text = format!(
            "[data]\nsource = \"x\"\n{layers}\n[optimizer]\nkind = \"sgd\"\n[train]\nloss = \"sparse_categorical_crossentropy\"\n"
        );
        Recipe::parse(&text, "r.toml").unwrap_or_else(|error| panic!("{error}"))
    }

    const SKIP: &str = r#"
[[layer]]
type = "dense"
units = 4
[[layer]]
type = "dense"
units = 4
[[layer]]
type = "add"
inputs = ["dense", "dense_1"]
[[layer]]
type = "concatenate"
inputs = ["add", "input"]
"#;

    #[test]
    fn skips_and_joins_are_built_by_name() {
        let model = Model::build(&recipe(SKIP), &[3]).unwrap();
        let rows = model.summary();
        assert_eq!(
            rows.iter().map(|row| row.class).collect::<Vec<_>>(),
            ["Input", "Dense", "Dense", "Add", "Concatenate"]
        );
        assert_eq!((model.output_shape(), model.counts().total), (&[7][..], 16 + 20));
        assert_eq!(rows[4].inputs, ["add", "input"]);
        let names: Vec<_> = model.params().iter().map(crate::Param::name).collect();
        assert_eq!(names, ["dense.kernel", "dense.bias", "dense_1.kernel", "dense_1.bias"]);
        let x = Tensor::ones(&[2, 3], DType::F32, Device::CPU).unwrap();
        let y = model.predict(&x).unwrap();
        assert_eq!(y.shape(), [2, 7]);
        assert_eq!(y.slice(1, 4, 7).unwrap().to_vec::<f32>().unwrap(), [1.0; 6]);
    }

    #[test]
    fn a_layer_that_does_not_fit_is_shown_in_its_chain() {
        let text = SKIP.replacen("units = 4", "units = 5", 1);
        let error = Model::build(&recipe(&text), &[3]).unwrap_err().to_string();
        let (head, chain) = error.split_once('\n').unwrap();
        assert!(head.starts_with("r.toml:10:1: [[layer]] number 3 (\"add\"): "), "{head}");
        assert!(head.contains("[5]") && head.contains("[4]"), "{head}");
        let rows: Vec<_> = chain.lines().map(|row| row.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        assert_eq!(
            rows,
            ["input (Input) [3]", "dense (Dense) [5]", "dense_1 (Dense) [4]", "> add (Add) here, takes dense, dense_1"]
        );
    }

    #[test]
    fn unknown_inputs_are_named() {
        let error = Model::build(&recipe(&SKIP.replace("\"dense_1\"]", "\"dense_2\"]")), &[3]).unwrap_err().to_string();
        assert!(error.contains("input \"dense_2\" is no layer before it; there are input, dense, dense_1"), "{error}");
    }

    #[test]
    fn a_frozen_layer_counts_as_such() {
        let text = SKIP.replacen("units = 4", "units = 4\ntrainable = false", 1);
        let counts = Model::build(&recipe(&text), &[3]).unwrap().counts();
        assert_eq!((counts.total, counts.trainable, counts.non_trainable), (36, 20, 16));
    }

    #[test]
    fn rules_reach_their_parameters_or_are_refused() {
        let model =
            Model::build(&recipe(&SKIP.replacen("units = 4", "units = 4\nl2 = 0.5\nmax_norm = 1.0", 1)), &[3]).unwrap();
        let rules: Vec<_> = model.params().iter().map(|param| (param.regularizer(), param.constraint())).collect();
        assert!(rules[0].0.is_some() && rules[0].1.is_some() && rules[1..].iter().all(|rule| *rule == (None, None)));
        let squares = model.params()[0].value().square().unwrap().sum(&[]).unwrap().item().unwrap();
        assert!((model.penalty().unwrap() - 0.5 * squares).abs() < 1e-6);
        let text = SKIP.replace("type = \"add\"", "type = \"add\"\nl2 = 0.5");
        let error = Model::build(&recipe(&text), &[3]).unwrap_err().to_string();
        assert!(error.contains("kernel_regularizer is given, but the layer has no kernel"), "{error}");
    }

    #[test]
    fn each_layer_draws_from_a_stream_of_its_own() {
        let model = Model::build(&recipe(SKIP), &[4]).unwrap();
        let values = |i: usize| model.params()[i].value().to_vec::<f32>().unwrap();
        assert_ne!(values(0), values(2));
        let again = Model::build(&recipe(SKIP), &[4]).unwrap();
        assert_eq!(model.weights_sha256().unwrap(), again.weights_sha256().unwrap());
    }

    #[test]
    fn a_model_file_stands_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        let model = Model::build(&recipe(SKIP), &[3]).unwrap();
        model.save(&path, [("gradus.note".to_string(), "hello".to_string())].into()).unwrap();
        let (loaded, metadata) = Model::load(&path).unwrap();
        assert_eq!(loaded.weights_sha256().unwrap(), model.weights_sha256().unwrap());
        assert_eq!(loaded.summary(), model.summary());
        assert_eq!(metadata["gradus.note"], "hello");

        let other = Model::build(&recipe(&SKIP.replace("units = 4", "units = 6")), &[3]).unwrap();
        let error = other.set_weights(model.weights(), "m.safetensors").unwrap_err().to_string();
        assert_eq!(error, "m.safetensors: dense.kernel has shape [3, 4] there and [3, 6] in the model");
        let error = model.set_weights(model.weights()[..3].to_vec(), "m").unwrap_err().to_string();
        assert_eq!(error, "m: dense_1.bias is not in it; was it saved from another model?");
    }

    /// Nobody looks at what is between, so that layers are computed together; or somebody does, and each is by itself.
    #[test]
    fn layers_computed_together_give_what_they_give_one_by_one() {
        let text = "[data]\nsource = \"x\"\n[[layer]]\ntype = \"conv2d\"\nfilters = 6\nkernel_size = 3\n\
                    [[layer]]\ntype = \"batch_norm\"\n[[layer]]\ntype = \"activation\"\nfunction = \"relu6\"\n\
                    [[layer]]\ntype = \"residual\"\nfilters = 6\n\
                    [[layer]]\ntype = \"max_pool2d\"\npool_size = 2\nstrides = 1\n\
                    [[layer]]\ntype = \"conv2d\"\nfilters = 5\nkernel_size = 2\nactivation = \"selu\"\n\
                    [[layer]]\ntype = \"max_pool2d\"\npool_size = 2\nstrides = 1\n\
                    [[layer]]\ntype = \"conv2d\"\nfilters = 6\nkernel_size = 1\n\
                    [[layer]]\ntype = \"relu\"\n[[layer]]\ntype = \"max_pool2d\"\npool_size = 1\n\
                    [[layer]]\ntype = \"conv2d\"\nfilters = 4\nkernel_size = 1\n\
                    [[layer]]\ntype = \"relu\"\n\
                    [[layer]]\ntype = \"depthwise_conv2d\"\nkernel_size = 3\n[[layer]]\ntype = \"batch_norm\"\nscale = false\n\
                    [[layer]]\ntype = \"conv2d\"\nfilters = 3\nkernel_size = 1\nactivation = \"tanh\"\n\
                    [[layer]]\ntype = \"batch_norm\"\n[[layer]]\ntype = \"activation\"\nfunction = \"gelu\"\n\
                    [[layer]]\ntype = \"flatten\"\n[[layer]]\ntype = \"dense\"\nunits = 4\n[[layer]]\ntype = \"batch_norm\"\n\
                    [[layer]]\ntype = \"activation\"\nfunction = \"softmax\"\n\
                    [optimizer]\nkind = \"sgd\"\n[train]\nloss = \"mse\"\n";
        let model = Model::build(&Recipe::parse(text, "r.toml").unwrap(), &[9, 10, 2]).unwrap();
        let numbers = |shape: &[usize], key| {
            let spread = Distribution::Uniform { low: -1.0, high: 2.0 };
            Tensor::random(shape, spread, RandomKey::new(key), DType::F32, Device::CPU).unwrap()
        };
        let x = numbers(&[5, 9, 10, 2], 0);
        for (key, param) in (1..).zip(model.params()) {
            let value = numbers(&param.shape(), key);
            // Averages of squares are above 0.
            param.set(if param.name().ends_with("variance") { value.square().unwrap() } else { value }).unwrap();
        }
        let (graph, mut seen) = (model.graph(), Vec::new());
        let mut compare = |ctx: &Ctx, what: &str| {
            seen.clear();
            let one_by_one = graph.run(&[&x], ctx, |name, y| {
                seen.push((name.to_string(), y.len()));
                Ok(())
            });
            assert_eq!(seen.len(), model.summary().len() - 1, "{what}: every layer is seen");
            let (one_by_one, _) = one_by_one.unwrap();
            let (together, _) = graph.forward_raw(&[&x], ctx).unwrap();
            let far = (&one_by_one - &together).abs().unwrap().max(&[]).unwrap().item().unwrap();
            assert!(far < 1e-4 * one_by_one.abs().unwrap().max(&[]).unwrap().item().unwrap(), "{what}: {far}");
            [one_by_one, together]
        };
        no_grad(|| compare(&Ctx::eval(), "evaluation"));
        compare(&Ctx::eval(), "evaluation that is recorded");
        // Twice through training moves the averages, but what comes out follows from the batch.
        let both = compare(&Ctx::train(RandomKey::new(1)), "training");
        let all = both.map(|y| y.square().unwrap().sum(&[]).unwrap().backward().unwrap());
        for param in model.params().iter().filter(|param| param.trainable()) {
            let [a, b] = all.each_ref().map(|all| all.get(&param.value()).unwrap().to_f64_vec().unwrap());
            let scale = a.iter().fold(1e-3, |most: f64, x| most.max(x.abs()));
            assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-3 * scale), "{}", param.name());
        }
    }
}
