//! Dictionaries of weights without layers, as PyTorch has them: `conv1.weight`, `norm1.running_mean`.
//!
//! The weights go into a model that is there, layer by layer: by a name that the user gives, by an equal name where the shapes fit, or
//! else to the first layer left whose shapes fit. PyTorch has the outputs of a layer first and colours before pixels; the orders are exchanged here, also
//! behind a `Flatten`, where PyTorch's numbers run by colours and gradus' by pixels.

use std::collections::BTreeMap;

use crate::core::{DType, Tensor};
use crate::format::NamedTensors;
use crate::models::{Model, Row};
use crate::{Error, Result};

/// How PyTorch calls weights.
const NAMES: &[(&str, &str)] = &[
    ("kernel", "weight"),
    ("bias", "bias"),
    ("gamma", "weight"),
    ("beta", "bias"),
    ("moving_mean", "running_mean"),
    ("moving_variance", "running_var"),
];

/// How many batches a batch norm has seen: of no use to anyone but PyTorch.
const BATCHES: &str = "num_batches_tracked";

/// One layer of a dictionary: the names behind the last point, with their tensors.
type Part = BTreeMap<String, Tensor>;

/// Gives a model the weights of a dictionary, be they under gradus' names, PyTorch's, or just numbered; `map` has pairs of a name
/// there and a layer here. Gives what users should know.
pub(super) fn give(model: &Model, tensors: NamedTensors, map: &[(String, String)], from: &str) -> Result<Vec<String>> {
    let tensors: NamedTensors = tensors.into_iter().map(|(name, x)| (plain(&name), x)).collect();
    let is_numbered = |(i, (name, _)): (usize, &(String, Tensor))| *name == format!("arr_{i}");
    if !tensors.is_empty() && tensors.iter().enumerate().all(is_numbered) {
        return numbered(model, tensors, from);
    }
    let own: Vec<String> = model.params().iter().map(crate::Param::name).collect();
    match map.is_empty() && tensors.iter().any(|(name, _)| own.contains(name) && !name.ends_with(".bias")) {
        true => model.set_weights(tensors, from).map(|()| Vec::new()),
        false => by_layer(model, tensors, map, from),
    }
}

/// `dense/kernel:0`, as Keras calls weights, is `dense.kernel` here.
fn plain(name: &str) -> String {
    name.strip_suffix(":0").unwrap_or(name).replace('/', ".")
}

/// The weights in the order of the layers, as NumPy's `savez(path, *model.get_weights())` numbers them.
fn numbered(model: &Model, tensors: NamedTensors, from: &str) -> Result<Vec<String>> {
    let names: Vec<String> = model.params().iter().map(crate::Param::name).collect();
    if names.len() != tensors.len() {
        return Err(Error::Data(format!(
            "{from}: it has {} arrays, and the model {} weights",
            tensors.len(),
            names.len()
        )));
    }
    model.set_weights(names.into_iter().zip(tensors).map(|(name, (_, x))| (name, x)).collect(), from)?;
    Ok(vec!["the arrays have no names and were taken in the order of the layers".into()])
}

fn by_layer(model: &Model, tensors: NamedTensors, map: &[(String, String)], from: &str) -> Result<Vec<String>> {
    let rows = model.summary();
    let open =
        rows.iter().map(|row| (row, wanted(model, row, &rows))).filter(|(_, wanted)| !wanted.is_empty()).collect();
    let mut giving = Giving { parts: parts(tensors), open, values: Vec::new(), remarks: Vec::new(), from };
    giving.check(map)?;
    // Names first, so that no layer takes by its shape what belongs to another by its name.
    giving.round(|name, _, row, _| map.iter().any(|(theirs, ours)| theirs == name && *ours == row.name))?;
    giving.round(|name, part, row, wanted| *name == row.name && fits(part, wanted))?;
    giving.round(|_, part, _, wanted| fits(part, wanted))?;
    giving.finish(model)
}

/// Layers of a dictionary on their way to layers of a model.
struct Giving<'a> {
    /// What is left of the dictionary.
    parts: Vec<(String, Part)>,
    /// The layers that have nothing yet.
    open: Vec<(&'a Row, Wanted)>,
    values: NamedTensors,
    remarks: Vec<String>,
    from: &'a str,
}

impl Giving<'_> {
    /// Refuses pairs of which one name does not exist.
    fn check(&self, map: &[(String, String)]) -> Result<()> {
        let theirs: Vec<&str> = self.parts.iter().map(|(name, _)| name.as_str()).collect();
        let ours: Vec<&str> = self.open.iter().map(|(row, _)| row.name.as_str()).collect();
        for pair in map {
            for (name, known) in [(&pair.0, &theirs), (&pair.1, &ours)] {
                if !known.contains(&name.as_str()) {
                    let text = format!("{}={}: there is no layer {name:?}, only {}", pair.0, pair.1, known.join(", "));
                    return Err(Error::Config(text));
                }
            }
        }
        Ok(())
    }

    /// Gives each open layer the first part that `belongs` to it.
    fn round(&mut self, belongs: impl Fn(&String, &Part, &Row, &Wanted) -> bool) -> Result<()> {
        for (row, wanted) in std::mem::take(&mut self.open) {
            match self.parts.iter().position(|(name, part)| belongs(name, part, row, &wanted)) {
                Some(found) => {
                    let (name, part) = self.parts.remove(found);
                    self.take(&name, &part, row, wanted)?;
                }
                None => self.open.push((row, wanted)),
            }
        }
        Ok(())
    }

    fn take(&mut self, name: &str, part: &Part, row: &Row, wanted: Wanted) -> Result<()> {
        if !fits(part, &wanted) {
            let (from, needed) = (self.from, needs(&wanted));
            return Err(Error::Data(format!(
                "{from}: {name} has {}, and layer {} needs {needed}",
                show(part),
                row.name
            )));
        }
        if name != row.name {
            self.remarks.push(format!("{name} became {}", row.name));
        }
        for want in wanted {
            if let Some(value) = part.get(want.theirs) {
                self.values.push((format!("{}.{}", row.name, want.ours), want.order.to_ours(value)?));
            }
        }
        Ok(())
    }

    fn finish(self, model: &Model) -> Result<Vec<String>> {
        let from = self.from;
        let left =
            self.parts.iter().map(|(name, part)| format!("{name} ({})", show(part))).collect::<Vec<_>>().join(", ");
        if let Some((row, wanted)) = self.open.first() {
            let there = if left.is_empty() { "nothing is left".into() } else { format!("left are {left}") };
            let needed = needs(wanted);
            return Err(Error::Data(format!(
                "{from}: nothing in it fits layer {}, which needs {needed}; {there}",
                row.name
            )));
        }
        if !left.is_empty() {
            return Err(Error::Data(format!("{from}: it has weights for layers that the model lacks: {left}")));
        }
        model.set_weights(self.values, from)?;
        Ok(self.remarks)
    }
}

/// The weights of a model as PyTorch would have them.
pub(super) fn dictionary(model: &Model) -> Result<NamedTensors> {
    let rows = model.summary();
    let weights: BTreeMap<String, Tensor> = model.weights().into_iter().collect();
    let mut all = Vec::new();
    for row in &rows {
        if row.class == "SeparableConv2D" {
            return Err(Error::Config(format!(
                "layer {:?} ({}) is two layers in PyTorch: write depthwise_conv2d and a conv2d of 1 x 1 in its place",
                row.name, row.class
            )));
        }
        for want in wanted(model, row, &rows) {
            let Some(value) = weights.get(&format!("{}.{}", row.name, want.ours)) else { continue };
            all.push((format!("{}.{}", row.name, want.theirs), want.order.to_theirs(value)?));
        }
        if row.class == "BatchNormalization" {
            all.push((format!("{}.{BATCHES}", row.name), Tensor::scalar(0i64)));
        }
    }
    Ok(all)
}

/// A weight that a layer needs.
struct Want {
    ours: String,
    theirs: &'static str,
    /// As PyTorch has it.
    shape: Vec<usize>,
    order: Exchange,
}

type Wanted = Vec<Want>;

/// How a weight of PyTorch is put into gradus' order.
enum Exchange {
    None,
    /// A kernel, whose inputs may be the flattened numbers of an image of this height, width and depth.
    Kernel(Option<[usize; 3]>),
    /// A weight for each number of such an image.
    Image([usize; 3]),
}

impl Exchange {
    fn to_ours(&self, x: &Tensor) -> Result<Tensor> {
        let x = match (self, x.rank()) {
            (Exchange::None, _) => x.clone(),
            (Exchange::Kernel(None), 2) => x.permute(&[1, 0])?,
            (&Exchange::Kernel(Some([h, w, c])), _) => {
                x.reshape(&[x.shape()[0], c, h, w])?.permute(&[2, 3, 1, 0])?.reshape(&[h * w * c, x.shape()[0]])?
            }
            (Exchange::Kernel(None), 3) => x.permute(&[2, 1, 0])?,
            (Exchange::Kernel(None), _) => x.permute(&[2, 3, 1, 0])?,
            (&Exchange::Image([h, w, c]), _) => x.reshape(&[c, h, w])?.permute(&[1, 2, 0])?.reshape(&[h * w * c])?,
        };
        Ok(x.contiguous()?)
    }

    fn to_theirs(&self, x: &Tensor) -> Result<Tensor> {
        let x = match (self, x.rank()) {
            (Exchange::None, _) => x.clone(),
            (Exchange::Kernel(None), 2) => x.permute(&[1, 0])?,
            (&Exchange::Kernel(Some([h, w, c])), _) => {
                x.reshape(&[h, w, c, x.shape()[1]])?.permute(&[3, 2, 0, 1])?.reshape(&[x.shape()[1], h * w * c])?
            }
            (Exchange::Kernel(None), 3) => x.permute(&[2, 1, 0])?,
            (Exchange::Kernel(None), _) => x.permute(&[3, 2, 0, 1])?,
            (&Exchange::Image([h, w, c]), _) => x.reshape(&[h, w, c])?.permute(&[2, 0, 1])?.reshape(&[h * w * c])?,
        };
        Ok(x.contiguous()?)
    }
}

/// What a layer needs of a dictionary.
fn wanted(model: &Model, row: &Row, rows: &[Row]) -> Wanted {
    let image = flattened(row, rows);
    let mut wanted = Vec::new();
    model.graph().params_of(&row.name, &mut |param| {
        let name = param.name();
        let ours = name.strip_prefix(&format!("{}.", row.name)).unwrap_or(&name).to_string();
        let theirs = NAMES.iter().find(|(known, _)| *known == ours).map_or("weight", |(_, theirs)| theirs);
        let shape = param.shape();
        let (shape, order) = match (ours.as_str(), shape.as_slice(), image) {
            ("kernel", &[inputs, outputs], _) => (vec![outputs, inputs], Exchange::Kernel(image)),
            ("kernel", &[size, inputs, outputs], _) => (vec![outputs, inputs, size], Exchange::Kernel(None)),
            ("kernel", &[h, w, inputs, outputs], _) => (vec![outputs, inputs, h, w], Exchange::Kernel(None)),
            ("bias", ..) | (_, _, None) => (shape, Exchange::None),
            (_, _, Some(image)) => (shape, Exchange::Image(image)),
        };
        wanted.push(Want { ours, theirs, shape, order });
    });
    wanted
}

/// Height, width and depth of the image whose flattened numbers a layer sees; layers in between that keep their places change nothing.
fn flattened(row: &Row, rows: &[Row]) -> Option<[usize; 3]> {
    let mut at = row;
    loop {
        let [from] = at.inputs.as_slice() else { return None };
        at = rows.iter().find(|row| row.name == *from)?;
        if at.class == "Flatten" {
            let from = rows.iter().find(|row| at.inputs == [row.name.clone()])?;
            return from.shape.as_slice().try_into().ok();
        }
        if at.shape.len() != 1 || matches!(at.class, "Dense" | "Input") {
            return None;
        }
    }
}

/// The layers of a dictionary in its order, or, where that is the alphabet's, in the order of the numbers in their names.
fn parts(tensors: NamedTensors) -> Vec<(String, Part)> {
    let mut parts: Vec<(String, Part)> = Vec::new();
    for (name, tensor) in tensors {
        let (layer, weight) = name.rsplit_once('.').unwrap_or(("", &name));
        if weight == BATCHES {
            continue;
        }
        let at = parts.iter().position(|(name, _)| name == layer).unwrap_or_else(|| {
            parts.push((layer.into(), Part::new()));
            parts.len() - 1
        });
        parts[at].1.insert(weight.into(), tensor);
    }
    let mut sorted: Vec<&String> = parts.iter().map(|(name, _)| name).collect();
    sorted.sort();
    if parts.iter().map(|(name, _)| name).eq(sorted) {
        parts.sort_by_cached_key(|(name, _)| natural(name));
    }
    parts
}

/// A key by which `block.10` comes after `block.2`.
fn natural(name: &str) -> Vec<(u64, String)> {
    let mut key = Vec::new();
    let mut rest = name;
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let number = rest[..digits].parse().unwrap_or(0);
        let text = rest[digits..].find(|c: char| c.is_ascii_digit()).map_or(rest.len(), |end| digits + end);
        key.push((number, rest[digits..text].to_string()));
        rest = &rest[text..];
    }
    key
}

fn fits(part: &Part, wanted: &Wanted) -> bool {
    let has = |want: &Want| part.get(want.theirs).is_some_and(|x| x.shape() == want.shape && x.dtype() != DType::Bool);
    part.len() == wanted.len() && wanted.iter().all(has)
}

fn show(part: &Part) -> String {
    part.iter().map(|(name, x)| format!("{name} {:?}", x.shape())).collect::<Vec<_>>().join(", ")
}

fn needs(wanted: &Wanted) -> String {
    wanted.iter().map(|want| format!("{} {:?}", want.theirs, want.shape)).collect::<Vec<_>>().join(", ")
}
