//! Convolutions.

use std::sync::Arc;

use super::basic::{function, weights_aliases};
use super::images::{SIDES, padding, pair, write_padding};
use super::{Piece, layer, one};
use crate::core::RandomKey;
use crate::layers::{Conv1d, Conv2d, Conv2dTranspose, ConvOptions, DepthwiseConv2d, SeparableConv2d};
use crate::spec::optimizer::fill;
use crate::spec::{LayerConfig, Naming, Preset, Table, Writer};
use crate::{Error, Result};

/// Which convolution is meant.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Image,
    Row,
    Transpose,
    Depthwise,
    Separable,
}

/// A convolution as a text describes it.
#[derive(Debug)]
struct ConvConfig {
    kind: Kind,
    /// `filters` is the multiplier of a depthwise convolution.
    options: ConvOptions,
    /// How many depthwise filters each channel of a separable convolution has.
    multiplier: usize,
}

pub(super) fn conv2d(table: &mut Table, preset: Preset) -> Result<Arc<dyn LayerConfig>> {
    read(Kind::Image, table, preset)
}

pub(super) fn conv1d(table: &mut Table, preset: Preset) -> Result<Arc<dyn LayerConfig>> {
    read(Kind::Row, table, preset)
}

pub(super) fn transpose(table: &mut Table, preset: Preset) -> Result<Arc<dyn LayerConfig>> {
    read(Kind::Transpose, table, preset)
}

pub(super) fn depthwise(table: &mut Table, preset: Preset) -> Result<Arc<dyn LayerConfig>> {
    read(Kind::Depthwise, table, preset)
}

pub(super) fn separable(table: &mut Table, preset: Preset) -> Result<Arc<dyn LayerConfig>> {
    read(Kind::Separable, table, preset)
}

fn read(kind: Kind, table: &mut Table, preset: Preset) -> Result<Arc<dyn LayerConfig>> {
    weights_aliases(table)?;
    for (other, key) in [
        ("out_channels", "filters"),
        ("stride", "strides"),
        ("dilation_rate", "dilation"),
        ("depthwise_initializer", "init"),
    ] {
        table.alias(other, key)?;
    }
    let some = |&count: &usize| count > 0;
    let count = "a whole number of 1 or more";
    let multiplier = match kind {
        Kind::Depthwise | Kind::Separable => table.take_if("depth_multiplier", count, some)?.unwrap_or(1),
        _ => 1,
    };
    let filters = if kind == Kind::Depthwise { multiplier } else { table.need_if("filters", count, some)? };
    let size = sides(kind, table, "kernel_size")?.ok_or_else(|| table.lacks("kernel_size", SIDES))?;
    let mut options = match preset {
        Preset::Keras => ConvOptions::keras(filters, size),
        Preset::Torch => ConvOptions::torch(filters, size),
    };
    fill(&mut options.sliding.stride, sides(kind, table, "strides")?);
    fill(&mut options.sliding.dilation, sides(kind, table, "dilation")?);
    fill(&mut options.sliding.padding, padding(table)?);
    if matches!(kind, Kind::Image | Kind::Row) {
        fill(&mut options.groups, table.take_if("groups", count, some)?);
    }
    fill(&mut options.activation, table.take_parsed("activation", |text| function(text, preset, 0.2))?);
    fill(&mut options.kernel_init, table.take_named("init")?);
    fill(&mut options.bias_init, table.take_named("bias_init")?);
    fill(&mut options.bias, table.take("bias")?);
    Ok(Arc::new(ConvConfig { kind, options, multiplier }))
}

/// A pair for height and width; rows have a height of 1.
fn sides(kind: Kind, table: &mut Table, key: &'static str) -> Result<Option<[usize; 2]>> {
    match kind {
        Kind::Row => {
            let side = table.take_if(key, "a whole number of 1 or more", |&side: &usize| side > 0)?;
            Ok(side.map(|side| [1, side]))
        }
        _ => pair(table, key),
    }
}

impl LayerConfig for ConvConfig {
    fn naming(&self) -> Naming {
        match self.kind {
            Kind::Image => Naming { kind: "conv2d", class: "Conv2D", auto: "conv2d" },
            Kind::Row => Naming { kind: "conv1d", class: "Conv1D", auto: "conv1d" },
            Kind::Transpose => Naming { kind: "conv2d_transpose", class: "Conv2DTranspose", auto: "conv2d_transpose" },
            Kind::Depthwise => Naming { kind: "depthwise_conv2d", class: "DepthwiseConv2D", auto: "depthwise_conv2d" },
            Kind::Separable => Naming { kind: "separable_conv2d", class: "SeparableConv2D", auto: "separable_conv2d" },
        }
    }

    fn write(&self, out: &mut Writer) {
        let ConvOptions { filters, sliding, groups, bias, kernel_init, bias_init, activation } = &self.options;
        if self.kind != Kind::Depthwise {
            out.put_number("filters", filters);
        }
        if matches!(self.kind, Kind::Depthwise | Kind::Separable) {
            out.put_number("depth_multiplier", self.multiplier);
        }
        for (key, pair) in [("kernel_size", sliding.size), ("strides", sliding.stride), ("dilation", sliding.dilation)]
        {
            match self.kind {
                Kind::Row => out.put_number(key, pair[1]),
                _ => out.put_sizes(key, &pair),
            }
        }
        write_padding(sliding.padding, out);
        if matches!(self.kind, Kind::Image | Kind::Row) {
            out.put_number("groups", groups);
        }
        out.put_named("activation", activation);
        out.put_named("init", kernel_init);
        out.put_named("bias_init", bias_init);
        out.put("bias", *bias);
    }

    fn build(&self, inputs: &[&[usize]], key: RandomKey) -> Result<Piece> {
        let sample = one(inputs)?;
        let channels = *sample.last().ok_or_else(|| {
            Error::Config(format!("a sample is a single number here; {} needs images", self.naming().kind))
        })?;
        let options = &self.options;
        match self.kind {
            Kind::Image => layer(Conv2d::new(channels, options, key)?),
            Kind::Row => layer(Conv1d::new(channels, options, key)?),
            Kind::Transpose => layer(Conv2dTranspose::new(channels, options, key)?),
            Kind::Depthwise => layer(DepthwiseConv2d::new(channels, options, key)?),
            Kind::Separable => layer(SeparableConv2d::new(channels, self.multiplier, options, key)?),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::models::Model;
    use crate::spec::Recipe;

    fn recipe(layers: &str, preset: &str) -> Recipe {
        let text = format!(
            "preset = \"{preset}\"\n[data]\nsource = \"x\"\n{layers}\n[optimizer]\nkind = \"sgd\"\n[train]\nloss = \"mse\"\n"
        );
        Recipe::parse(&text, "r.toml").unwrap_or_else(|error| panic!("{error}"))
    }

    /// Every type of layer for images, and the shape that it makes of 12 x 10 x 8.
    const ALL: &[(&str, &[usize])] = &[
        ("type = \"conv2d\"\nfilters = 4\nkernel_size = 3", &[10, 8, 4]),
        (
            "type = \"conv2d\"\nout_channels = 4\nkernel_size = [3, 5]\nstride = 2\npadding = [1, 2]\ngroups = 2",
            &[6, 5, 4],
        ),
        ("type = \"conv2d_transpose\"\nfilters = 4\nkernel_size = 3\nstrides = 2\npadding = \"same\"", &[24, 20, 4]),
        ("type = \"conv2d_transpose\"\nfilters = 4\nkernel_size = 3\nstrides = 2\npadding = 1", &[23, 19, 4]),
        ("type = \"depthwise_conv2d\"\nkernel_size = 3\ndepth_multiplier = 2\ndilation = 2", &[8, 6, 16]),
        ("type = \"separable_conv2d\"\nfilters = 5\nkernel_size = 3\npadding = [0, 1, 0, 1]\nstrides = 2", &[6, 5, 5]),
        ("type = \"max_pool2d\"\npool_size = 2\nstrides = 2", &[6, 5, 8]),
        ("type = \"avg_pool2d\"\npool_size = [2, 3]\npadding = \"same\"\ncount_padding = true", &[6, 4, 8]),
        ("type = \"global_avg_pool2d\"", &[8]),
        ("type = \"global_max_pooling2d\"\nkeepdims = true", &[1, 1, 8]),
        ("type = \"adaptive_avg_pool2d\"\noutput_size = [5, 3]", &[5, 3, 8]),
        ("type = \"adaptive_max_pool2d\"\noutput_size = 7", &[7, 7, 8]),
        ("type = \"up_sampling2d\"\nsize = [2, 3]\ninterpolation = \"bilinear\"", &[24, 30, 8]),
        ("type = \"zero_padding2d\"\npadding = [1, 0, 2, 3]", &[13, 15, 8]),
        ("type = \"rescaling\"\nscale = 2\noffset = -1", &[12, 10, 8]),
        ("type = \"spatial_dropout2d\"\nrate = 0.5", &[12, 10, 8]),
        ("type = \"batch_norm\"", &[12, 10, 8]),
        ("type = \"layer_norm\"\nepsilon = 1e-4", &[12, 10, 8]),
        ("type = \"group_norm\"\ngroups = 2", &[12, 10, 8]),
        ("type = \"instance_norm\"\nscale = false", &[12, 10, 8]),
        ("type = \"rms_norm\"", &[12, 10, 8]),
    ];

    #[test]
    fn layers_for_images_read_back_as_they_are_written_and_infer_their_shapes() {
        for preset in ["keras", "torch"] {
            for (text, shape) in ALL {
                let recipe = recipe(&format!("[[layer]]\n{text}\n"), preset);
                let again =
                    Recipe::parse(&recipe.to_toml(), "again.toml").unwrap_or_else(|error| panic!("{text}: {error}"));
                assert_eq!(again.to_toml(), recipe.to_toml());
                let model = Model::build(&again, &[12, 10, 8]).unwrap_or_else(|error| panic!("{text}: {error}"));
                assert_eq!(model.output_shape(), *shape, "{text}");
            }
        }
        let row = recipe(
            "[[layer]]\ntype = \"conv1d\"\nfilters = 4\nkernel_size = 3\nstrides = 2\npadding = \"same\"\n",
            "keras",
        );
        assert_eq!(Model::build(&row, &[9, 2]).unwrap().output_shape(), [5, 4]);
        assert!(row.to_toml().contains("kernel_size = 3\nstrides = 2\n"));
    }

    #[test]
    fn weights_start_as_both_frameworks_have_them() {
        let text = "[[layer]]\ntype = \"conv2d\"\nfilters = 64\nkernel_size = 3\n";
        let largest = |preset| {
            let model = Model::build(&recipe(text, preset), &[8, 8, 16]).unwrap();
            let largest = |i: usize| model.params()[i].value().abs().unwrap().max(&[]).unwrap().item().unwrap();
            (largest(0), largest(1))
        };
        // Glorot: the root of 6 / (9 * 16 + 9 * 64); PyTorch: 1 / the root of 9 * 16, for the bias too.
        let (kernel, bias) = largest("keras");
        assert!(kernel <= 0.091_288 && kernel > 0.0909 && bias == 0.0, "{kernel} {bias}");
        let (kernel, bias) = largest("torch");
        assert!(kernel <= 0.083_334 && kernel > 0.083 && bias > 0.07 && bias <= 0.083_334, "{kernel} {bias}");
    }

    #[test]
    fn slips_are_refused_with_the_layer_and_its_place() {
        let conv = "[[layer]]\ntype = \"conv2d\"\nfilters = 4\nkernel_size = 3\n";
        let parse = |layers: &str| {
            let text =
                format!("[data]\nsource = \"x\"\n{layers}[optimizer]\nkind = \"sgd\"\n[train]\nloss = \"mse\"\n");
            let built = Recipe::parse(&text, "r.toml").and_then(|recipe| Model::build(&recipe, &[12, 10, 8]));
            built.unwrap_err().to_string()
        };
        let padded = parse(&format!("{conv}padding = \"smae\"\n"));
        assert!(
            padded.contains("r.toml:7:11: padding = \"smae\" in [[layer]] number 1")
                && padded.contains("did you mean \"same\"?"),
            "{padded}"
        );
        assert!(parse(&format!("{conv}padding = [1, 2, 3]\n")).contains("or [top, bottom, left, right]"));
        assert!(
            parse(&conv.replace("kernel_size = 3", "kernel_size = 0")).contains("must be a whole number of 1 or more")
        );
        assert!(parse(&conv.replace("kernel_size = 3\n", "")).contains("lacks kernel_size"));
        let large = parse(&conv.replace("kernel_size = 3", "kernel_size = 13"));
        assert!(
            large.contains(
                "[[layer]] number 1 (\"conv2d\"): conv2d: a window of 13 x 13 is larger than images of 12 x 10"
            ),
            "{large}"
        );
        let flat = parse(&format!("[[layer]]\ntype = \"flatten\"\n{conv}"));
        assert!(flat.contains("conv2d: takes images [height, width, channels], a sample has shape [960]"), "{flat}");
        assert!(parse(&format!("{conv}groups = 3\n")).contains("3 groups do not divide 8 channels"));
    }
}
