//! Types of `[[layer]]` that stand for many layers: written as text, in the way a user would write them.
//!
//! A recipe that is spelled out, as in a run folder, holds the layers themselves.

use super::optimizer::fill;
use super::recipe::named;
use super::value::{Value, parse};
use super::{LayerSpec, Preset, Table};
use crate::Result;

/// A type of block.
#[derive(Debug)]
pub struct BlockType {
    /// What users write.
    pub name: &'static str,
    /// What it does, in a sentence.
    pub about: &'static str,
    /// The layers of one, by what the text says.
    layers: fn(&mut Table, Preset, &Place<'_>) -> Result<Chain>,
}

/// All of them.
pub const BLOCKS: &[BlockType] = &[
    BlockType {
        name: "residual",
        about: "two convolutions with batch norms, whose result is added to their input; filters, strides, projection",
        layers: residual,
    },
    BlockType {
        name: "mobilenet_v2",
        about: "all layers of MobileNetV2; alpha, include_top, classes",
        layers: mobilenet_v2,
    },
];

/// Where a block stands.
struct Place<'a> {
    /// What its layers' names begin with.
    name: &'a str,
    /// The layer that it reads.
    input: &'a str,
}

/// Reads one `[[layer]]`: a layer, or the layers of a block. `before` are those in front of it; `blocks` are the names of the blocks
/// so far.
pub(super) fn read(
    mut table: Table,
    preset: Preset,
    before: &mut [LayerSpec],
    blocks: &mut Vec<String>,
) -> Result<Vec<LayerSpec>> {
    let is_meant = |block: &&BlockType| matches!(table.peek("type"), Some(Value::Text(kind)) if kind == block.name);
    let Some(block) = BLOCKS.iter().find(is_meant) else { return Ok(vec![LayerSpec::read(table, preset)?]) };
    _ = table.take_node("type");
    let name = LayerSpec::read_name(&mut table)?.unwrap_or_else(|| {
        let mut names = (0..).map(|i| if i == 0 { block.name.into() } else { format!("{}_{i}", block.name) });
        names.find(|name| !blocks.contains(name)).unwrap_or_default()
    });
    table.title = format!("{} ({name:?})", table.title);
    let input = match table.take_if("inputs", "a list of one layer's name", |inputs: &Vec<String>| inputs.len() == 1)? {
        Some(inputs) => inputs.concat(),
        None => fixed_name(before)?,
    };
    let trainable = table.take("trainable")?.unwrap_or(true);
    let chain = (block.layers)(&mut table, preset, &Place { name: &name, input: &input })?;
    let (place, title) = (table.place().clone(), table.title.clone());
    table.finish()?;
    blocks.push(name);
    let read = |inner| {
        let layer = LayerSpec::read(inner, preset)?;
        let title = format!("{title}: layer {:?}", layer.name);
        Ok(LayerSpec { trainable, place: place.clone(), title, ..layer })
    };
    Table::new(parse(&chain.text, &title)?, &title).take_tables("layer")?.into_iter().map(read).collect()
}

/// The name of the layer that comes last. From now on it keeps it, since a block's layers refer to it.
fn fixed_name(before: &mut [LayerSpec]) -> Result<String> {
    let Some(name) = named(before.to_vec())?.pop().map(|last| last.name) else { return Ok("input".into()) };
    if let Some(last) = before.last_mut() {
        last.named = true;
        last.name.clone_from(&name);
    }
    Ok(name)
}

/// A growing text of layers, each reading the one before.
struct Chain {
    text: String,
    /// The layer that comes last.
    last: String,
    preset: Preset,
}

impl Chain {
    fn new(preset: Preset, input: &str) -> Self {
        Self { text: String::new(), last: input.into(), preset }
    }

    fn add(&mut self, name: &str, kind: &str, more: &str) {
        let inputs = [self.last.clone()];
        self.join(name, kind, &inputs, more);
    }

    fn join(&mut self, name: &str, kind: &str, inputs: &[String], more: &str) {
        self.text += &format!("[[layer]]\nname = \"{name}\"\ntype = \"{kind}\"\ninputs = {inputs:?}\n{more}\n");
        self.last = name.into();
    }

    /// A convolution without a bias: the batch norm behind it has one.
    fn conv(&mut self, name: &str, filters: usize, size: usize, more: &str) {
        self.add(name, "conv2d", &format!("filters = {filters}\nkernel_size = {size}\nbias = false\n{more}"));
    }

    /// A batch norm; `momentum` is the share of the old.
    fn norm(&mut self, name: &str, momentum: f64, epsilon: f64) {
        let momentum = if self.preset == Preset::Keras { momentum } else { 1.0 - momentum };
        self.add(name, "batch_norm", &format!("momentum = {momentum:?}\nepsilon = {epsilon:?}"));
    }
}

/// The block of two layers of He et al. 2016 ("Deep residual learning"), with a convolution of 1 x 1 beside it where the number of
/// channels or the size changes.
fn residual(table: &mut Table, preset: Preset, place: &Place<'_>) -> Result<Chain> {
    let some = |&count: &usize| count > 0;
    let filters = table.need_if("filters", "a whole number of 1 or more", some)?;
    let strides = table.take_if("strides", "a whole number of 1 or more", some)?.unwrap_or(1);
    let projection = table.take("projection")?.unwrap_or(strides > 1);
    let (momentum, epsilon) = if preset == Preset::Keras { (0.99, 1e-3) } else { (0.9, 1e-5) };
    let named = |part: &str| format!("{}_{part}", place.name);
    let mut chain = Chain::new(preset, place.input);
    let conv = |strides: usize| format!("strides = {strides}\npadding = 1\ninit = \"he_normal\"");
    chain.conv(&named("conv1"), filters, 3, &conv(strides));
    chain.norm(&named("bn1"), momentum, epsilon);
    chain.add(&named("relu1"), "activation", "function = \"relu\"");
    chain.conv(&named("conv2"), filters, 3, &conv(1));
    chain.norm(&named("bn2"), momentum, epsilon);
    let long = std::mem::replace(&mut chain.last, place.input.into());
    if projection {
        chain.conv(&named("projection"), filters, 1, &format!("strides = {strides}\ninit = \"he_normal\""));
        chain.norm(&named("projection_bn"), momentum, epsilon);
    }
    let short = chain.last.clone();
    chain.join(&named("add"), "add", &[long, short], "");
    chain.add(&named("relu2"), "activation", "function = \"relu\"");
    Ok(chain)
}

/// Channels, how often the block is repeated, the stride of its first, and how many times as wide it is within (Sandler et al. 2018,
/// table 2).
const MOBILENET_V2: [(usize, usize, usize, usize); 7] =
    [(16, 1, 1, 1), (24, 2, 2, 6), (32, 3, 2, 6), (64, 4, 2, 6), (96, 3, 1, 6), (160, 3, 2, 6), (320, 1, 1, 6)];

/// MobileNetV2 (Sandler et al. 2018) with the names, the numbers and the padding of Keras' `applications.MobileNetV2`, whose padding
/// layers are part of the convolutions here.
fn mobilenet_v2(table: &mut Table, preset: Preset, place: &Place<'_>) -> Result<Chain> {
    let mut alpha = 1.0;
    fill(&mut alpha, table.take_if("alpha", "a number above 0, up to 4", |&alpha: &f64| alpha > 0.0 && alpha <= 4.0)?);
    let include_top = table.take("include_top")?.unwrap_or(false);
    let classes = table.take_if("classes", "a whole number of 1 or more", |&count: &usize| count > 0)?.unwrap_or(1000);
    let scaled = |channels: usize| divisible(channels as f64 * alpha);
    let mut chain = Chain::new(preset, place.input);
    let norm = |chain: &mut Chain, name: &str| chain.norm(name, 0.999, 1e-3);
    let relu6 = |chain: &mut Chain, name: &str| chain.add(name, "activation", "function = \"relu6\"");
    let mut channels = scaled(32);
    chain.conv("Conv1", channels, 3, "strides = 2\npadding = \"same\"");
    norm(&mut chain, "bn_Conv1");
    relu6(&mut chain, "Conv1_relu");
    let blocks = MOBILENET_V2.into_iter().flat_map(|(filters, count, stride, widening)| {
        (0..count).map(move |i| (filters, if i == 0 { stride } else { 1 }, widening))
    });
    for (number, (filters, stride, widening)) in blocks.enumerate() {
        let prefix = if number == 0 { "expanded_conv".into() } else { format!("block_{number}") };
        let named = |part: &str| format!("{prefix}_{part}");
        let input = chain.last.clone();
        if widening > 1 {
            chain.conv(&named("expand"), channels * widening, 1, "");
            norm(&mut chain, &named("expand_BN"));
            relu6(&mut chain, &named("expand_relu"));
        }
        let depthwise = format!("kernel_size = 3\nstrides = {stride}\npadding = \"same\"\nbias = false");
        chain.add(&named("depthwise"), "depthwise_conv2d", &depthwise);
        norm(&mut chain, &named("depthwise_BN"));
        relu6(&mut chain, &named("depthwise_relu"));
        let out = scaled(filters);
        chain.conv(&named("project"), out, 1, "");
        norm(&mut chain, &named("project_BN"));
        if stride == 1 && out == channels {
            let result = chain.last.clone();
            chain.join(&named("add"), "add", &[input, result], "");
        }
        channels = out;
    }
    chain.conv("Conv_1", if alpha > 1.0 { scaled(1280) } else { 1280 }, 1, "");
    norm(&mut chain, "Conv_1_bn");
    relu6(&mut chain, "out_relu");
    if include_top {
        chain.add("global_average_pooling2d", "global_avg_pool2d", "");
        chain.add("predictions", "dense", &format!("units = {classes}\nactivation = \"softmax\""));
    }
    Ok(chain)
}

/// The multiple of 8 that is nearest, unless it takes away more than a tenth.
fn divisible(channels: f64) -> usize {
    let nearest = (((channels + 4.0) as usize) / 8 * 8).max(8);
    if (nearest as f64) < 0.9 * channels { nearest + 8 } else { nearest }
}

#[cfg(test)]
mod tests {
    use crate::models::Model;
    use crate::spec::Recipe;

    fn recipe(layers: &str) -> crate::Result<Recipe> {
        let text = format!("[data]\nsource = \"x\"\n{layers}\n[optimizer]\nkind = \"sgd\"\n[train]\nloss = \"mse\"\n");
        Recipe::parse(&text, "r.toml")
    }

    fn counts(layers: &str, sample: &[usize]) -> (usize, usize) {
        let counts = Model::build(&recipe(layers).unwrap(), sample).unwrap().counts();
        (counts.total, counts.trainable)
    }

    #[test]
    fn mobilenet_has_as_many_parameters_as_that_of_keras() {
        let text = |more: &str| format!("[[layer]]\ntype = \"mobilenet_v2\"\n{more}");
        assert_eq!(counts(&text(""), &[32, 32, 3]), (2_257_984, 2_223_872));
        assert_eq!(counts(&text("include_top = true"), &[96, 96, 3]), (3_538_984, 3_504_872));
        // Counted with Keras 3.15.
        for (alpha, total) in [(0.35, 410_208), (0.5, 706_224), (0.75, 1_382_064), (1.3, 3_766_048), (1.4, 4_363_712)] {
            assert_eq!(counts(&text(&format!("alpha = {alpha}")), &[32, 32, 3]).0, total, "{alpha}");
        }
        let model = Model::build(&recipe(&text("")).unwrap(), &[96, 96, 3]).unwrap();
        assert_eq!(model.output_shape(), [3, 3, 1280]);
    }

    #[test]
    fn residual_blocks_stand_on_what_is_before_them() {
        let text = "[[layer]]\ntype = \"conv2d\"\nfilters = 4\nkernel_size = 3\n[[layer]]\ntype = \"residual\"\nfilters = 4\n\
                    [[layer]]\ntype = \"residual\"\nfilters = 8\nstrides = 2\ntrainable = false\n";
        let recipe = recipe(text).unwrap();
        let model = Model::build(&recipe, &[9, 9, 3]).unwrap();
        assert_eq!(model.output_shape(), [4, 4, 8]);
        let rows = model.summary();
        let inputs = |name: &str| rows.iter().find(|row| row.name == name).unwrap().inputs.clone();
        assert_eq!(inputs("residual_add"), ["residual_bn2", "conv2d"]);
        assert_eq!(inputs("residual_1_add"), ["residual_1_bn2", "residual_1_projection_bn"]);
        assert!(recipe.layers.iter().all(|layer| layer.trainable != layer.name.starts_with("residual_1")));
        let again = Recipe::parse(&recipe.to_toml(), "again.toml").unwrap();
        assert_eq!(
            Model::build(&again, &[9, 9, 3]).unwrap().weights_sha256().unwrap(),
            model.weights_sha256().unwrap()
        );
    }

    #[test]
    fn slips_are_refused() {
        let refusal = |layers: &str| recipe(layers).unwrap_err().to_string();
        let error = refusal("[[layer]]\ntype = \"residual\"\nfilter = 4");
        assert_eq!(
            error,
            "r.toml:5:1: unknown key \"filter\" in [[layer]] number 1 (\"residual\"); did you mean \"filters\"?"
        );
        let error = refusal("[[layer]]\ntype = \"mobilenet_v2\"\nalpha = 0");
        assert!(
            error.contains("alpha = 0 in [[layer]] number 1 (\"mobilenet_v2\"): must be a number above 0"),
            "{error}"
        );
        // The block adds eight channels to four.
        let narrow = recipe("[[layer]]\ntype = \"residual\"\nfilters = 8").unwrap();
        let error = Model::build(&narrow, &[9, 9, 4]).unwrap_err().to_string();
        assert!(
            error.contains("layer \"residual_add\"") && error.contains("[9, 9, 8] and [9, 9, 4] differ"),
            "{error}"
        );
    }
}
