//! The rows of layers for images.

use serde_json::Value;
use toml::Table;

use super::fields::Fields;
use super::rows::{Row, Settings, copy, read_weighted, settings, write_weighted};
use crate::Result;
use crate::spec::Writer;

/// All of them.
pub(super) const ROWS: &[Row] = &[
    Row {
        class: "Conv2D",
        weights: KERNEL,
        read: |f, out| conv("conv2d", f, out),
        write: |layer| write_conv(layer, 2),
    },
    Row {
        class: "Conv1D",
        weights: KERNEL,
        read: |f, out| conv("conv1d", f, out),
        write: |layer| write_conv(layer, 1),
    },
    Row {
        class: "Conv2DTranspose",
        weights: KERNEL,
        read: |f, out| conv("conv2d_transpose", f, out),
        write: |layer| write_conv(layer, 2),
    },
    Row {
        class: "DepthwiseConv2D",
        weights: KERNEL,
        read: |f, out| conv("depthwise_conv2d", f, out),
        write: |layer| write_conv(layer, 2),
    },
    Row {
        class: "SeparableConv2D",
        weights: &["depthwise_kernel", "pointwise_kernel", "bias"],
        read: |f, out| conv("separable_conv2d", f, out),
        write: |layer| write_conv(layer, 2),
    },
    Row { class: "MaxPooling2D", weights: &[], read: |f, out| pool("max_pool2d", f, out), write: write_pool },
    Row { class: "AveragePooling2D", weights: &[], read: |f, out| pool("avg_pool2d", f, out), write: write_pool },
    Row {
        class: "GlobalMaxPooling2D",
        weights: &[],
        read: |f, out| global("global_max_pool2d", f, out),
        write: write_global,
    },
    Row {
        class: "GlobalAveragePooling2D",
        weights: &[],
        read: |f, out| global("global_avg_pool2d", f, out),
        write: write_global,
    },
    Row {
        class: "UpSampling2D",
        weights: &[],
        read: read_up_sampling,
        write: |layer| copied(layer, &["size", "interpolation"]),
    },
    Row { class: "ZeroPadding2D", weights: &[], read: read_zero_padding, write: write_zero_padding },
    Row { class: "Rescaling", weights: &[], read: read_rescaling, write: |layer| copied(layer, &["scale", "offset"]) },
    Row {
        class: "SpatialDropout2D",
        weights: &[],
        read: read_spatial_dropout,
        write: |layer| copied(layer, &["rate"]),
    },
    Row {
        class: "LayerNormalization",
        weights: &["gamma", "beta"],
        read: |f, out| norm("layer_norm", f, out),
        write: |layer| copied(layer, &["epsilon", "center", "scale"]),
    },
    Row {
        class: "GroupNormalization",
        weights: &["gamma", "beta"],
        read: read_group_norm,
        write: |layer| copied(layer, &["groups", "epsilon", "center", "scale"]),
    },
    Row {
        class: "RMSNormalization",
        weights: &["scale"],
        read: read_rms_norm,
        write: |layer| copied(layer, &["epsilon"]),
    },
];

const KERNEL: &[&str] = &["kernel", "bias"];

/// Settings that are called the same in both.
fn copied(layer: &Table, keys: &[&str]) -> Settings {
    Ok(keys.iter().map(|&key| (key.to_owned(), copy(layer, key))).collect())
}

/// A size for each side of a window.
fn sides(fields: &Fields, theirs: &'static str, ours: &str, out: &mut Writer) -> Result<()> {
    let Some(sides) = fields.whole(theirs)? else { return Ok(()) };
    let sizes: Option<Vec<usize>> = sides.iter().map(|&side| usize::try_from(side).ok()).collect();
    match sizes.as_deref() {
        Some(&[one]) => out.put_number(ours, one),
        Some(sizes @ [_, _]) => out.put_sizes(ours, sizes),
        _ => return Err(fields.complain(format!("{theirs} = {sides:?}: it must be one or two sizes"))),
    }
    Ok(())
}

fn padding(fields: &Fields, out: &mut Writer) -> Result<()> {
    match fields.text("padding")? {
        None => Ok(()),
        Some(rule @ ("valid" | "same")) => {
            out.put("padding", rule);
            Ok(())
        }
        Some(rule) => Err(fields.complain(format!("padding = {rule:?}, and gradus has valid and same"))),
    }
}

/// Keras pads by a rule; gradus also by numbers, which Keras has a layer of its own for.
fn write_padding(layer: &Table) -> std::result::Result<Value, String> {
    match layer.get("padding") {
        None => Ok("valid".into()),
        Some(toml::Value::String(rule)) => Ok(rule.as_str().into()),
        Some(toml::Value::Array(sides)) if sides.iter().all(|side| side.as_integer() == Some(0)) => Ok("valid".into()),
        Some(sides) => Err(format!(
            "Keras pads by valid and same, not by padding = {sides}; put a layer zero_padding2d in front of it instead"
        )),
    }
}

fn conv(kind: &str, fields: &Fields, out: &mut Writer) -> Result<()> {
    fields.only("data_format", "channels_last")?;
    out.put("type", kind);
    if kind != "depthwise_conv2d" {
        out.put_number("filters", fields.size("filters")?);
    }
    if matches!(kind, "depthwise_conv2d" | "separable_conv2d") {
        out.put_number("depth_multiplier", fields.number("depth_multiplier")?.unwrap_or(1.0));
    }
    for (theirs, ours) in [("kernel_size", "kernel_size"), ("strides", "strides"), ("dilation_rate", "dilation")] {
        sides(fields, theirs, ours, out)?;
    }
    padding(fields, out)?;
    match (kind, fields.number("groups")?) {
        ("conv2d" | "conv1d", Some(groups)) => out.put_number("groups", groups),
        (_, None | Some(1.0)) => {}
        (_, Some(groups)) => return Err(fields.complain(format!("groups = {groups}, and gradus' {kind} has 1"))),
    }
    read_weighted(fields, out)
}

/// The settings of a convolution; rows of numbers have one size where images have two.
fn write_conv(layer: &Table, rank: usize) -> Settings {
    let mut map = write_weighted(layer)?;
    for (theirs, ours) in [
        ("filters", "filters"),
        ("depth_multiplier", "depth_multiplier"),
        ("kernel_size", "kernel_size"),
        ("strides", "strides"),
        ("dilation_rate", "dilation"),
        ("groups", "groups"),
    ] {
        let value = copy(layer, ours);
        let is_size = matches!(ours, "kernel_size" | "strides" | "dilation");
        if value.is_null() {
            continue;
        }
        let value = if is_size && value.is_number() { std::iter::repeat_n(value, rank).collect() } else { value };
        map.insert(theirs.into(), value);
    }
    map.insert("padding".into(), write_padding(layer)?);
    map.insert("data_format".into(), "channels_last".into());
    // Layers without a kernel of that name draw their depthwise one.
    if map.contains_key("depth_multiplier")
        && let Some(init) = map.remove("kernel_initializer")
    {
        map.insert("depthwise_initializer".into(), init);
    }
    Ok(map)
}

fn pool(kind: &str, fields: &Fields, out: &mut Writer) -> Result<()> {
    fields.only("data_format", "channels_last")?;
    out.put("type", kind);
    sides(fields, "pool_size", "pool_size", out)?;
    sides(fields, "strides", "strides", out)?;
    padding(fields, out)
}

fn write_pool(layer: &Table) -> Settings {
    let padding = write_padding(layer)?;
    if padding != "valid" && layer.get("count_padding").and_then(toml::Value::as_bool) == Some(true) {
        return Err("Keras' means leave the padding out; give it count_padding = false to export it".into());
    }
    settings([
        ("pool_size", copy(layer, "pool_size")),
        ("strides", copy(layer, "strides")),
        ("padding", padding),
        ("data_format", "channels_last".into()),
    ])
}

fn global(kind: &str, fields: &Fields, out: &mut Writer) -> Result<()> {
    fields.only("data_format", "channels_last")?;
    out.put("type", kind);
    out.put("keepdims", fields.truth("keepdims")?.unwrap_or(false));
    Ok(())
}

fn write_global(layer: &Table) -> Settings {
    settings([("keepdims", copy(layer, "keepdims")), ("data_format", "channels_last".into())])
}

fn read_up_sampling(fields: &Fields, out: &mut Writer) -> Result<()> {
    fields.only("data_format", "channels_last")?;
    out.put("type", "up_sampling2d");
    sides(fields, "size", "size", out)?;
    match fields.text("interpolation")? {
        None => Ok(()),
        Some(rule @ ("nearest" | "bilinear")) => {
            out.put("interpolation", rule);
            Ok(())
        }
        Some(rule) => Err(fields.complain(format!("interpolation = {rule:?}, and gradus has nearest and bilinear"))),
    }
}

fn read_zero_padding(fields: &Fields, out: &mut Writer) -> Result<()> {
    fields.only("data_format", "channels_last")?;
    let value = fields.get("padding").cloned().unwrap_or(Value::from(1));
    let side = |value: &Value| value.as_u64().and_then(|side| usize::try_from(side).ok());
    let pair = |value: &Value| match (side(value), value.as_array().map(Vec::as_slice)) {
        (Some(both), _) => Some([both; 2]),
        (None, Some([first, last])) => Some([side(first)?, side(last)?]),
        _ => None,
    };
    let sides = match (side(&value), value.as_array().map(Vec::as_slice)) {
        (Some(all), _) => Some([[all; 2]; 2]),
        (None, Some([height, width])) => pair(height).zip(pair(width)).map(|(height, width)| [height, width]),
        _ => None,
    };
    let sides =
        sides.ok_or_else(|| fields.complain(format!("padding = {value}: it must be numbers of rows and columns")))?;
    out.put("type", "zero_padding2d");
    out.put_sizes("padding", sides.as_flattened());
    Ok(())
}

fn write_zero_padding(layer: &Table) -> Settings {
    let sides = copy(layer, "padding");
    let pairs = match sides.as_array().map(Vec::as_slice) {
        Some([top, bottom, left, right]) => serde_json::json!([[top, bottom], [left, right]]),
        _ => sides,
    };
    settings([("padding", pairs), ("data_format", "channels_last".into())])
}

fn read_rescaling(fields: &Fields, out: &mut Writer) -> Result<()> {
    let scale = fields.number("scale")?.ok_or_else(|| fields.complain("scale is missing"))?;
    out.put("type", "rescaling");
    out.put("scale", scale);
    out.put("offset", fields.number("offset")?.unwrap_or(0.0));
    Ok(())
}

fn read_spatial_dropout(fields: &Fields, out: &mut Writer) -> Result<()> {
    fields.only("data_format", "channels_last")?;
    out.put("type", "spatial_dropout2d");
    out.put("rate", fields.number("rate")?.unwrap_or(0.5));
    Ok(())
}

/// Normalisation of the last dimension of each sample.
fn norm(kind: &str, fields: &Fields, out: &mut Writer) -> Result<()> {
    last_axis(fields)?;
    out.put("type", kind);
    out.put("epsilon", fields.number("epsilon")?.unwrap_or(1e-3));
    out.put("center", fields.truth("center")?.unwrap_or(true));
    out.put("scale", fields.truth("scale")?.unwrap_or(true));
    Ok(())
}

fn read_group_norm(fields: &Fields, out: &mut Writer) -> Result<()> {
    let groups = fields.number("groups")?.unwrap_or(32.0);
    // In Keras -1 stands for as many groups as channels.
    if groups == -1.0 {
        return norm("instance_norm", fields, out);
    }
    norm("group_norm", fields, out)?;
    out.put_number("groups", groups);
    Ok(())
}

fn read_rms_norm(fields: &Fields, out: &mut Writer) -> Result<()> {
    last_axis(fields)?;
    out.put("type", "rms_norm");
    out.put("epsilon", fields.number("epsilon")?.unwrap_or(1e-6));
    Ok(())
}

fn last_axis(fields: &Fields) -> Result<()> {
    match fields.whole("axis")?.as_deref() {
        None | Some([-1]) => Ok(()),
        Some(axes) => Err(fields.complain(format!("axis = {axes:?}, and gradus normalises the last one, -1"))),
    }
}
