//! The files of `torch.save`: a zip archive with a pickle that describes tensors, and their numbers beside it.

use std::path::Path;

use crate::core::{Device, Tensor};
use crate::data::array::{Order, read_array};
use crate::format::NamedTensors;
use crate::format::archive::Archive;
use crate::format::pickle::{self, Thing, Things, View};
use crate::{Error, Result};

/// Where trainings keep the model's dictionary beside other things.
const INSIDE: &[&str] = &["state_dict", "model_state_dict", "model", "net"];

/// A pickle of descriptions is no longer than this; the numbers stand elsewhere.
const LONGEST_PICKLE: u64 = 64 << 20;

/// The member that describes the tensors, if an archive with these members is PyTorch's.
pub(super) fn pickle_of(members: &[String]) -> Option<&String> {
    members.iter().find(|name| name.as_str() == "data.pkl" || name.ends_with("/data.pkl"))
}

/// Reads a file of `torch.save`: the tensors with their names, in the order of the dictionary.
pub(super) fn read(path: &Path) -> Result<NamedTensors> {
    let mut archive = Archive::open(path, "PyTorch")?;
    let members = archive.members()?;
    let file = archive.name().to_string();
    let lacks = || Error::Data(format!("{file}: no file of PyTorch: it lacks data.pkl"));
    let description = pickle_of(&members).ok_or_else(lacks)?;
    let folder = description.strip_suffix("data.pkl").unwrap_or_default();
    let bytes = archive.bytes(description, LONGEST_PICKLE)?.ok_or_else(lacks)?;
    let things =
        pickle::run(&bytes).map_err(|what| Error::Data(format!("{file}: its pickle cannot be read: {what}")))?;
    let order = match archive.bytes(&format!("{folder}byteorder"), 16)? {
        Some(text) if text == b"big" => Order::Big,
        _ => Order::Little,
    };
    let mut tensors = Vec::new();
    for (name, view) in state(&things).map_err(|what| Error::Data(format!("{file}: {what}")))? {
        let key = things.text(view.storage.key).unwrap_or_default();
        let member = format!("{folder}data/{key}");
        let missing =
            || Error::Data(format!("{file}: {name}: its numbers, {member}, are not in the file; get it again"));
        let index = members.iter().position(|other| *other == member).ok_or_else(missing)?;
        let mut input = archive.member(index, &name)?;
        let numbers = read_array(&mut input, view.storage.number, order, &[view.storage.count])?;
        let numbers = Tensor::from_buffer(numbers, &[view.storage.count], Device::CPU)?;
        let tensor = seen(&numbers, view).map_err(|error| Error::Data(format!("{file}: {name}: {error}")))?;
        tensors.push((name, tensor));
    }
    Ok(tensors)
}

/// The names and descriptions in the dictionary of tensors that the pickle is, or has in it.
fn state(things: &Things) -> std::result::Result<Vec<(String, &View)>, String> {
    let Thing::Dict(entries) = things.root() else {
        return Err("it holds no dictionary of tensors; save model.state_dict()".into());
    };
    let tensors = |entries: &[(usize, usize)]| -> Vec<(String, &View)> {
        let tensor = |&(key, value): &(usize, usize)| match (things.text(key), things.get(value)) {
            (Some(key), Thing::Tensor(view)) => Some((key.to_string(), view)),
            _ => None,
        };
        entries.iter().filter_map(tensor).collect()
    };
    let own = tensors(entries);
    if !own.is_empty() {
        return Ok(own);
    }
    let inside = entries.iter().find_map(|&(key, value)| match things.get(value) {
        Thing::Dict(inner) if things.text(key).is_some_and(|key| INSIDE.contains(&key)) => Some(tensors(inner)),
        _ => None,
    });
    let keys: Vec<&str> = entries.iter().take(20).filter_map(|&(key, _)| things.text(key)).collect();
    inside.filter(|tensors| !tensors.is_empty()).ok_or_else(|| {
        format!("there are no tensors in its dictionary, whose keys are {keys:?}; save model.state_dict()")
    })
}

/// What a description shows of some numbers.
fn seen(numbers: &Tensor, view: &View) -> Result<Tensor> {
    let View { offset, shape, strides, .. } = view;
    let fault =
        |what: &str| Error::Data(format!("{what}: shape {shape:?}, strides {strides:?}, {} numbers", numbers.len()));
    let count =
        shape.iter().try_fold(1usize, |count, &size| count.checked_mul(size)).ok_or_else(|| fault("too large"))?;
    if shape.len() != strides.len() {
        return Err(fault("damaged"));
    }
    if count == 0 {
        return Ok(Tensor::zeros(shape, numbers.dtype(), Device::CPU)?);
    }
    let spans = shape.iter().zip(strides).map(|(&size, &stride)| (size - 1).checked_mul(stride));
    let last = spans.into_iter().try_fold(*offset, |last, span| last.checked_add(span?));
    if last.is_none_or(|last| last >= numbers.len()) {
        return Err(fault("it reaches beyond its numbers"));
    }
    if count > numbers.len() {
        return Err(fault("it shows numbers more than once; save tensor.contiguous()"));
    }
    let mut places = vec![*offset as i64];
    for (&size, &stride) in shape.iter().zip(strides) {
        places = places.iter().flat_map(|&place| (0..size).map(move |i| place + (i * stride) as i64)).collect();
    }
    Ok(numbers.index_select(&Tensor::from_slice(&places, &[count])?, 0)?.reshape(shape)?)
}
