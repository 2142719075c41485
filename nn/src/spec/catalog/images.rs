//! Pools, and layers that make images larger or give their numbers another range.

use std::sync::Arc;

use super::{Piece, layer, one};
use crate::Result;
use crate::core::RandomKey;
use crate::layers::{
    AdaptivePool2d, GlobalPool, Interpolation, Padding, Pool2d, Pooling, Rescaling, Sliding, UpSampling2d,
    ZeroPadding2d,
};
use crate::spec::optimizer::fill;
use crate::spec::value::Value;
use crate::spec::{LayerConfig, Naming, Preset, Table, Writer};

/// What a pair of whole numbers must be.
pub(super) const SIDES: &str = "a whole number of 1 or more, or two of them for height and width";

/// One number for both sides, or two.
pub(super) fn pair(table: &mut Table, key: &'static str) -> Result<Option<[usize; 2]>> {
    let Some(node) = table.take_node(key) else { return Ok(None) };
    match numbers(&node.value).as_deref() {
        Some(&[side]) if side > 0 => Ok(Some([side; 2])),
        Some(&[height, width]) if height > 0 && width > 0 => Ok(Some([height, width])),
        _ => Err(table.refuse(key, &node, format!("must be {SIDES}"))),
    }
}

/// A number, or a list of them, none of them negative.
fn numbers(value: &Value) -> Option<Vec<usize>> {
    match value {
        Value::Integer(number) => Some(vec![usize::try_from(*number).ok()?]),
        Value::List(nodes) => {
            nodes.iter().map(|node| numbers(&node.value)?.try_into().ok().map(|[one]: [usize; 1]| one)).collect()
        }
        _ => None,
    }
}

/// `"valid"`, `"same"`, a number for all sides, one for height and one for width, or one a side: top, bottom, left, right.
pub(super) fn padding(table: &mut Table) -> Result<Option<Padding>> {
    let Some(node) = table.take_node("padding") else { return Ok(None) };
    if let Value::Text(text) = &node.value {
        return text.parse().map(Some).map_err(|error| table.refuse("padding", &node, error));
    }
    let wanted = "must be \"valid\", \"same\", a number for all sides, [height, width], or [top, bottom, left, right]";
    let sides = numbers(&node.value).and_then(|numbers| match numbers[..] {
        [all] => Some([[all; 2]; 2]),
        [height, width] => Some([[height; 2], [width; 2]]),
        [top, bottom, left, right] => Some([[top, bottom], [left, right]]),
        _ => None,
    });
    // More than this is a slip; an image so wide would not fit into memory.
    let sides = sides.filter(|sides| sides.as_flattened().iter().all(|&side| side <= 1 << 20));
    sides.map(|sides| Some(Padding::Explicit(sides))).ok_or_else(|| table.refuse("padding", &node, wanted))
}

/// Writes what [`padding`] reads.
pub(super) fn write_padding(padding: Padding, out: &mut Writer) {
    match padding {
        Padding::Explicit(sides) => out.put_sizes("padding", sides.as_flattened()),
        rule => out.put_named("padding", rule),
    }
}

fn pool(kind: Pooling, table: &mut Table, preset: Preset) -> Result<Arc<dyn LayerConfig>> {
    table.alias("kernel_size", "pool_size")?;
    table.alias("stride", "strides")?;
    let size = match pair(table, "pool_size")? {
        Some(size) => size,
        None if preset == Preset::Keras => [2; 2],
        None => return Err(table.lacks("pool_size", SIDES)),
    };
    let stride = pair(table, "strides")?.unwrap_or(size);
    let padding = padding(table)?.unwrap_or_default();
    let mut count_padding = preset == Preset::Torch;
    if kind == Pooling::Average {
        table.alias("count_include_pad", "count_padding")?;
        fill(&mut count_padding, table.take("count_padding")?);
    }
    Ok(Arc::new(Pool2d { kind, sliding: Sliding { stride, padding, ..Sliding::new(size) }, count_padding }))
}

pub(super) fn max_pool(table: &mut Table, preset: Preset) -> Result<Arc<dyn LayerConfig>> {
    pool(Pooling::Max, table, preset)
}

pub(super) fn avg_pool(table: &mut Table, preset: Preset) -> Result<Arc<dyn LayerConfig>> {
    pool(Pooling::Average, table, preset)
}

impl LayerConfig for Pool2d {
    fn naming(&self) -> Naming {
        match self.kind {
            Pooling::Max => Naming { kind: "max_pool2d", class: "MaxPooling2D", auto: "max_pooling2d" },
            Pooling::Average => Naming { kind: "avg_pool2d", class: "AveragePooling2D", auto: "average_pooling2d" },
        }
    }

    fn write(&self, out: &mut Writer) {
        out.put_sizes("pool_size", &self.sliding.size);
        out.put_sizes("strides", &self.sliding.stride);
        write_padding(self.sliding.padding, out);
        if self.kind == Pooling::Average {
            out.put("count_padding", self.count_padding);
        }
    }

    fn build(&self, inputs: &[&[usize]], _: RandomKey) -> Result<Piece> {
        one(inputs)?;
        layer(*self)
    }
}

pub(super) fn global_avg_pool(table: &mut Table, _: Preset) -> Result<Arc<dyn LayerConfig>> {
    Ok(Arc::new(GlobalPool { kind: Pooling::Average, keepdims: table.take("keepdims")?.unwrap_or(false) }))
}

pub(super) fn global_max_pool(table: &mut Table, _: Preset) -> Result<Arc<dyn LayerConfig>> {
    Ok(Arc::new(GlobalPool { kind: Pooling::Max, keepdims: table.take("keepdims")?.unwrap_or(false) }))
}

impl LayerConfig for GlobalPool {
    fn naming(&self) -> Naming {
        match self.kind {
            Pooling::Max => {
                Naming { kind: "global_max_pool2d", class: "GlobalMaxPooling2D", auto: "global_max_pooling2d" }
            }
            Pooling::Average => {
                Naming { kind: "global_avg_pool2d", class: "GlobalAveragePooling2D", auto: "global_average_pooling2d" }
            }
        }
    }

    fn write(&self, out: &mut Writer) {
        out.put("keepdims", self.keepdims);
    }

    fn build(&self, inputs: &[&[usize]], _: RandomKey) -> Result<Piece> {
        one(inputs)?;
        layer(*self)
    }
}

fn adaptive(kind: Pooling, table: &mut Table) -> Result<Arc<dyn LayerConfig>> {
    let output = pair(table, "output_size")?.ok_or_else(|| table.lacks("output_size", SIDES))?;
    Ok(Arc::new(AdaptivePool2d { kind, output }))
}

pub(super) fn adaptive_avg_pool(table: &mut Table, _: Preset) -> Result<Arc<dyn LayerConfig>> {
    adaptive(Pooling::Average, table)
}

pub(super) fn adaptive_max_pool(table: &mut Table, _: Preset) -> Result<Arc<dyn LayerConfig>> {
    adaptive(Pooling::Max, table)
}

impl LayerConfig for AdaptivePool2d {
    fn naming(&self) -> Naming {
        match self.kind {
            Pooling::Max => {
                Naming { kind: "adaptive_max_pool2d", class: "AdaptiveMaxPooling2D", auto: "adaptive_max_pooling2d" }
            }
            Pooling::Average => Naming {
                kind: "adaptive_avg_pool2d",
                class: "AdaptiveAveragePooling2D",
                auto: "adaptive_average_pooling2d",
            },
        }
    }

    fn write(&self, out: &mut Writer) {
        out.put_sizes("output_size", &self.output);
    }

    fn build(&self, inputs: &[&[usize]], _: RandomKey) -> Result<Piece> {
        one(inputs)?;
        layer(*self)
    }
}

pub(super) fn up_sampling(table: &mut Table, _: Preset) -> Result<Arc<dyn LayerConfig>> {
    let size = pair(table, "size")?.unwrap_or([2; 2]);
    let interpolation: Option<Interpolation> = table.take_named("interpolation")?;
    Ok(Arc::new(UpSampling2d { size, interpolation: interpolation.unwrap_or_default() }))
}

impl LayerConfig for UpSampling2d {
    fn naming(&self) -> Naming {
        Naming { kind: "up_sampling2d", class: "UpSampling2D", auto: "up_sampling2d" }
    }

    fn write(&self, out: &mut Writer) {
        out.put_sizes("size", &self.size);
        out.put_named("interpolation", self.interpolation);
    }

    fn build(&self, inputs: &[&[usize]], _: RandomKey) -> Result<Piece> {
        one(inputs)?;
        layer(*self)
    }
}

pub(super) fn zero_padding(table: &mut Table, _: Preset) -> Result<Arc<dyn LayerConfig>> {
    match padding(table)? {
        None => Ok(Arc::new(ZeroPadding2d([[1; 2]; 2]))),
        Some(Padding::Explicit(sides)) => Ok(Arc::new(ZeroPadding2d(sides))),
        Some(rule) => {
            Err(table.complain(format!("padding = \"{rule}\" says no number; give as many rows and columns as wanted")))
        }
    }
}

impl LayerConfig for ZeroPadding2d {
    fn naming(&self) -> Naming {
        Naming { kind: "zero_padding2d", class: "ZeroPadding2D", auto: "zero_padding2d" }
    }

    fn write(&self, out: &mut Writer) {
        write_padding(Padding::Explicit(self.0), out);
    }

    fn build(&self, inputs: &[&[usize]], _: RandomKey) -> Result<Piece> {
        one(inputs)?;
        layer(*self)
    }
}

pub(super) fn rescaling(table: &mut Table, _: Preset) -> Result<Arc<dyn LayerConfig>> {
    let finite = |x: &f64| x.is_finite();
    let scale = table.need_if("scale", "a finite number", finite)?;
    let offset = table.take_if("offset", "a finite number", finite)?.unwrap_or(0.0);
    Ok(Arc::new(Rescaling { scale, offset }))
}

impl LayerConfig for Rescaling {
    fn naming(&self) -> Naming {
        Naming { kind: "rescaling", class: "Rescaling", auto: "rescaling" }
    }

    fn write(&self, out: &mut Writer) {
        out.put("scale", self.scale);
        out.put("offset", self.offset);
    }

    fn build(&self, inputs: &[&[usize]], _: RandomKey) -> Result<Piece> {
        one(inputs)?;
        layer(*self)
    }
}
