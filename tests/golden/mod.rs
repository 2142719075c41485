//! Reads the lists of cases that the scripts of this folder write.

#![allow(dead_code, reason = "each test uses a part of it")]

use std::collections::HashMap;

use gradus::core::Tensor;
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;

/// What somebody else computed.
pub struct Case {
    pub name: String,
    pub op: String,
    pub attributes: Value,
    tensors: HashMap<String, Tensor>,
}

/// Every case of a file.
pub fn read(bytes: &[u8]) -> Vec<Case> {
    let file = SafeTensors::deserialize(bytes).unwrap();
    let (_, header) = SafeTensors::read_metadata(bytes).unwrap();
    let list: Value = serde_json::from_str(&header.metadata().as_ref().unwrap()["cases"]).unwrap();
    let mut tensors: HashMap<String, HashMap<String, Tensor>> = HashMap::new();
    for (path, view) in file.iter() {
        let (case, name) = path.rsplit_once('/').unwrap();
        let words = |size| view.data().chunks_exact(size);
        let shape = view.shape();
        let tensor = match view.dtype() {
            Dtype::F64 => Tensor::from_slice(
                &words(8).map(|b| f64::from_le_bytes(b.try_into().unwrap())).collect::<Vec<_>>(),
                shape,
            ),
            Dtype::I64 => Tensor::from_slice(
                &words(8).map(|b| i64::from_le_bytes(b.try_into().unwrap())).collect::<Vec<_>>(),
                shape,
            ),
            Dtype::F32 => Tensor::from_slice(
                &words(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect::<Vec<_>>(),
                shape,
            ),
            Dtype::BOOL => Tensor::from_bools(&words(1).map(|b| b != [0]).collect::<Vec<_>>(), shape),
            other => panic!("{path} is {other:?}"),
        };
        tensors.entry(case.into()).or_default().insert(name.into(), tensor.unwrap());
    }
    let case = |entry: &Value| {
        let text = |key: &str| entry[key].as_str().unwrap().to_owned();
        let name = text("case");
        let tensors = tensors.remove(&name).unwrap_or_default();
        Case { name, op: text("op"), attributes: entry["attributes"].clone(), tensors }
    };
    list.as_array().unwrap().iter().map(case).collect()
}

impl Case {
    /// A tensor of the case, if it has it.
    pub fn tensor(&self, name: &str) -> Option<Tensor> {
        self.tensors.get(name).cloned()
    }

    /// An attribute that is a number, or a text that stands for one that JSON cannot write.
    pub fn number(&self, key: &str) -> f64 {
        match &self.attributes[key] {
            Value::Number(number) => number.as_f64().unwrap(),
            Value::String(text) => text.parse().unwrap(),
            other => panic!("{}: attribute {key} is {other}", self.name),
        }
    }
}

/// The largest distance, relative where the numbers are large; infinite where one is NaN and the other is not.
pub fn distance(ours: &Tensor, theirs: &Tensor) -> f64 {
    assert_eq!(ours.shape(), theirs.shape());
    let pairs = ours.to_f64_vec().unwrap().into_iter().zip(theirs.to_f64_vec().unwrap());
    let apart = |(a, b): (f64, f64)| match (a == b, a.is_nan() && b.is_nan()) {
        (true, _) | (_, true) => 0.0,
        _ if !a.is_finite() || !b.is_finite() => f64::INFINITY,
        _ => (a - b).abs() / b.abs().max(1.0),
    };
    pairs.map(apart).fold(0.0, f64::max)
}
