//! The layers that Keras and gradus both have: one row each, which reads Keras' settings into a recipe's and writes them back.

use serde_json::{Map, Value};
use toml::Table;

use super::fields::Fields;
use super::{images, objects};
use crate::Result;
use crate::init::Init;
use crate::layers::Activation;
use crate::spec::Writer;

/// Keras' settings for a layer, or what Keras lacks.
pub(super) type Settings = std::result::Result<Map<String, Value>, String>;

/// A class of Keras, and gradus' layer of the same meaning.
pub(super) struct Row {
    /// Keras' class; also what a summary calls the layer.
    pub(super) class: &'static str,
    /// gradus' names of the weights, in the order in which Keras saves them.
    pub(super) weights: &'static [&'static str],
    /// Puts the layer's settings into a recipe, `type` included.
    pub(super) read: fn(&Fields, &mut Writer) -> Result<()>,
    /// Keras' settings for a layer of a recipe.
    pub(super) write: fn(&Table) -> Settings,
}

/// The row of a class.
pub(super) fn row(class: &str) -> Option<&'static Row> {
    all().find(|row| row.class == class)
}

/// All rows.
pub(super) fn all() -> impl Iterator<Item = &'static Row> {
    ROWS.iter().chain(images::ROWS)
}

/// Those of layers that do not care what a sample is.
const ROWS: &[Row] = &[
    Row { class: "Dense", weights: &["kernel", "bias"], read: read_dense, write: write_dense },
    Row { class: "Flatten", weights: &[], read: read_flatten, write: |_| settings([]) },
    Row {
        class: "Reshape",
        weights: &[],
        read: read_reshape,
        write: |layer| settings([("target_shape", copy(layer, "shape"))]),
    },
    Row {
        class: "Dropout",
        weights: &[],
        read: read_dropout,
        write: |layer| settings([("rate", copy(layer, "rate"))]),
    },
    Row {
        class: "BatchNormalization",
        weights: &["gamma", "beta", "moving_mean", "moving_variance"],
        read: read_batch_norm,
        write: write_batch_norm,
    },
    Row {
        class: "Normalization",
        weights: &["mean", "variance"],
        read: read_normalization,
        write: |_| settings([("axis", (-1).into())]),
    },
    Row { class: "Activation", weights: &[], read: read_activation, write: write_activation },
    Row { class: "ReLU", weights: &[], read: read_relu, write: |_| settings([]) },
    Row { class: "LeakyReLU", weights: &[], read: read_leaky_relu, write: write_slope },
    Row { class: "ELU", weights: &[], read: read_elu, write: write_slope },
    Row { class: "Softmax", weights: &[], read: read_softmax, write: |_| settings([]) },
    Row { class: "Add", weights: &[], read: |_, out| merge("add", out), write: |_| settings([]) },
    Row { class: "Multiply", weights: &[], read: |_, out| merge("multiply", out), write: |_| settings([]) },
    Row { class: "Average", weights: &[], read: |_, out| merge("average", out), write: |_| settings([]) },
    Row { class: "Maximum", weights: &[], read: |_, out| merge("maximum", out), write: |_| settings([]) },
    Row {
        class: "Concatenate",
        weights: &[],
        read: read_concatenate,
        write: |layer| settings([("axis", copy(layer, "axis"))]),
    },
];

/// Settings of these names and values.
pub(super) fn settings<const N: usize>(pairs: [(&str, Value); N]) -> Settings {
    Ok(pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

/// A value of a recipe's layer.
pub(super) fn copy(layer: &Table, key: &str) -> Value {
    layer.get(key).and_then(|value| serde_json::to_value(value).ok()).unwrap_or_default()
}

/// The activation in a recipe's layer.
fn activation_of(layer: &Table, key: &str) -> std::result::Result<Activation, String> {
    layer
        .get(key)
        .and_then(toml::Value::as_str)
        .unwrap_or("linear")
        .parse()
        .map_err(|error: crate::Error| error.to_string())
}

/// `activation`, `init`, `bias_init` and `bias`, which layers with weights share.
pub(super) fn read_weighted(fields: &Fields, out: &mut Writer) -> Result<()> {
    if let Some(activation) = fields.get("activation") {
        let activation =
            objects::activation(activation, fields.version).map_err(|what| fields.complain(format!("has {what}")))?;
        out.put_named("activation", activation);
    }
    for (theirs, ours) in [("kernel_initializer", "init"), ("bias_initializer", "bias_init")] {
        if let Some(init) = fields.get(theirs).and_then(objects::init) {
            out.put_named(ours, init);
        }
    }
    if let Some(bias) = fields.truth("use_bias")? {
        out.put("bias", bias);
    }
    Ok(())
}

/// The other direction of [`read_weighted`].
pub(super) fn write_weighted(layer: &Table) -> Settings {
    let mut map = Map::new();
    map.insert("activation".into(), objects::activation_json(&activation_of(layer, "activation")?)?);
    map.insert("use_bias".into(), copy(layer, "bias"));
    for (theirs, ours) in [("kernel_initializer", "init"), ("bias_initializer", "bias_init")] {
        let init = layer.get(ours).and_then(toml::Value::as_str).and_then(|text| text.parse::<Init>().ok());
        if let Some(init) = init.and_then(|init| objects::init_json(&init)) {
            map.insert(theirs.into(), init);
        }
    }
    Ok(map)
}

fn read_dense(fields: &Fields, out: &mut Writer) -> Result<()> {
    out.put("type", "dense");
    out.put_number("units", fields.size("units")?);
    read_weighted(fields, out)
}

fn write_dense(layer: &Table) -> Settings {
    let mut map = write_weighted(layer)?;
    map.insert("units".into(), copy(layer, "units"));
    Ok(map)
}

fn read_flatten(fields: &Fields, out: &mut Writer) -> Result<()> {
    fields.only("data_format", "channels_last")?;
    out.put("type", "flatten");
    Ok(())
}

fn read_reshape(fields: &Fields, out: &mut Writer) -> Result<()> {
    let shape = fields.whole("target_shape")?.unwrap_or_default();
    let sizes: Option<Vec<usize>> =
        shape.iter().map(|&size| usize::try_from(size).ok().filter(|&size| size > 0)).collect();
    let sizes = sizes
        .ok_or_else(|| fields.complain(format!("target_shape = {shape:?}: gradus needs every size spelled out")))?;
    out.put("type", "reshape");
    out.put_sizes("shape", &sizes);
    Ok(())
}

fn read_dropout(fields: &Fields, out: &mut Writer) -> Result<()> {
    out.put("type", "dropout");
    out.put("rate", fields.number("rate")?.unwrap_or(0.5));
    Ok(())
}

fn read_batch_norm(fields: &Fields, out: &mut Writer) -> Result<()> {
    let axes = fields.whole("axis")?.unwrap_or_else(|| vec![-1]);
    let &[axis] = axes.as_slice() else {
        return Err(fields.complain(format!("axis = {axes:?}, and gradus has one axis of features")));
    };
    // Of use with renorm = true alone, which is refused as a setting that nobody takes.
    _ = fields.get("renorm_momentum");
    out.put("type", "batch_norm");
    out.put_number("axis", axis);
    // These are Keras' own, where a file leaves them out.
    out.put("momentum", fields.number("momentum")?.unwrap_or(0.99));
    out.put("epsilon", fields.number("epsilon")?.unwrap_or(1e-3));
    out.put("center", fields.truth("center")?.unwrap_or(true));
    out.put("scale", fields.truth("scale")?.unwrap_or(true));
    Ok(())
}

fn write_batch_norm(layer: &Table) -> Settings {
    if layer.get("unbiased").and_then(toml::Value::as_bool) == Some(true) {
        return Err("Keras' BatchNormalization keeps the biased variance, and this one the unbiased; its results are the same, its \
                    training is not. Give it unbiased = false to export it"
            .into());
    }
    let keys = ["axis", "momentum", "epsilon", "center", "scale"];
    Ok(keys.iter().map(|&key| (key.to_owned(), copy(layer, key))).collect())
}

fn read_normalization(fields: &Fields, out: &mut Writer) -> Result<()> {
    fields.only("invert", false)?;
    let axes = fields.whole("axis")?.unwrap_or_else(|| vec![-1]);
    if axes.len() != 1 {
        return Err(fields.complain(format!("axis = {axes:?}, and gradus normalises along the last one")));
    }
    if fields.get("mean").is_some() || fields.get("variance").is_some() {
        return Err(fields.complain("its mean and variance were given, not learnt, which gradus' layer lacks"));
    }
    out.put("type", "normalization");
    Ok(())
}

fn read_activation(fields: &Fields, out: &mut Writer) -> Result<()> {
    let linear = Value::from("linear");
    let named = fields.get("activation").unwrap_or(&linear);
    put_activation(
        objects::activation(named, fields.version).map_err(|what| fields.complain(format!("is {what}")))?,
        out,
    )
}

fn put_activation(activation: Activation, out: &mut Writer) -> Result<()> {
    out.put("type", "activation");
    out.put_named("function", activation);
    Ok(())
}

fn write_activation(layer: &Table) -> Settings {
    settings([("activation", objects::activation_json(&activation_of(layer, "function")?)?)])
}

fn read_relu(fields: &Fields, out: &mut Writer) -> Result<()> {
    fields.only("threshold", 0.0)?;
    let slope = fields.number("negative_slope")?.unwrap_or(0.0);
    let activation = match (fields.number("max_value")?, slope) {
        (None, 0.0) => Activation::Relu,
        (None, slope) => Activation::LeakyRelu(slope),
        (Some(6.0), 0.0) => Activation::Relu6,
        (most, slope) => {
            let what =
                format!("max_value = {most:?} with negative_slope = {slope}: gradus has relu, relu6 and leaky_relu");
            return Err(fields.complain(what));
        }
    };
    put_activation(activation, out)
}

fn read_leaky_relu(fields: &Fields, out: &mut Writer) -> Result<()> {
    let slope = fields.number("negative_slope")?.or(fields.number("alpha")?);
    put_activation(Activation::LeakyRelu(slope.unwrap_or(0.3)), out)
}

fn read_elu(fields: &Fields, out: &mut Writer) -> Result<()> {
    put_activation(Activation::Elu(fields.number("alpha")?.unwrap_or(1.0)), out)
}

fn write_slope(layer: &Table) -> Settings {
    match activation_of(layer, "function")? {
        Activation::LeakyRelu(slope) => settings([("negative_slope", slope.into())]),
        Activation::Elu(alpha) => settings([("alpha", alpha.into())]),
        _ => settings([]),
    }
}

fn read_softmax(fields: &Fields, out: &mut Writer) -> Result<()> {
    fields.only("axis", -1)?;
    put_activation(Activation::Softmax, out)
}

fn merge(kind: &str, out: &mut Writer) -> Result<()> {
    out.put("type", kind);
    Ok(())
}

fn read_concatenate(fields: &Fields, out: &mut Writer) -> Result<()> {
    out.put("type", "concatenate");
    let axis = fields.whole("axis")?.unwrap_or_else(|| vec![-1]);
    out.put_number("axis", axis.first().copied().unwrap_or(-1));
    Ok(())
}
