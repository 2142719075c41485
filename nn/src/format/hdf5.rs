//! HDF5, of which Keras' files need little: groups, texts and plain arrays. What the bytes mean is the business of `hdf5-pure`.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::io::Cursor;

use gradus_core::{Buffer, DType, Device, Tensor};
use hdf5_pure::{AttrValue, Datatype, DatatypeByteOrder, File, FileBuilder, Group, GroupBuilder};

use super::download;
use crate::data::Input;
use crate::data::array::{Number, Order, read_array};
use crate::data::input::plausible;
use crate::{Error, Result};

/// A group's list of texts may take this many bytes; Keras writes longer ones as `name0`, `name1`, …
const LONGEST_LIST: usize = 64_512;

/// An HDF5 file in memory. Paths have no slash in front; the empty one is the root.
#[derive(Debug)]
pub(crate) struct Hdf5 {
    file: File,
    name: String,
    length: u64,
}

impl Hdf5 {
    /// The file that `bytes` are; errors call it `name`.
    pub(crate) fn new(name: &str, bytes: Vec<u8>) -> Result<Self> {
        let length = bytes.len() as u64;
        let file = File::from_bytes(bytes).map_err(|error| {
            Error::Data(format!("{name}: no HDF5 file, or a damaged or truncated one: {error}; get the file again"))
        })?;
        // What is cut off may be a part that is left out without a word, such as how the model was trained.
        let promised = file.superblock().eof_address;
        if promised > length {
            return Err(Error::Data(format!(
                "{name}: truncated: the file should have {promised} bytes and has {length}; get the file again"
            )));
        }
        Ok(Self { file, name: name.into(), length })
    }

    /// Whether there is a group of this path.
    pub(crate) fn has(&self, path: &str) -> bool {
        self.file.group(path).is_ok()
    }

    /// The groups in a group.
    pub(crate) fn groups(&self, path: &str) -> Result<Vec<String>> {
        self.group(path)?.groups().map_err(|error| self.damaged(path, error))
    }

    /// The arrays in a group.
    pub(crate) fn arrays(&self, path: &str) -> Result<Vec<String>> {
        self.group(path)?.datasets().map_err(|error| self.damaged(path, error))
    }

    /// A text that belongs to a group.
    pub(crate) fn text(&self, path: &str, key: &str) -> Result<Option<String>> {
        Ok(self.attribute(path, key)?.and_then(|value| value.as_str().map(str::to_owned)))
    }

    /// A list of texts that belongs to a group, be it in one piece or in several.
    pub(crate) fn texts(&self, path: &str, key: &str) -> Result<Option<Vec<String>>> {
        let list = |key: &str| -> Result<Option<Vec<String>>> {
            let Some(value) = self.attribute(path, key)? else { return Ok(None) };
            match (value.as_strings(), value.to_f64s()) {
                (Some(texts), _) => Ok(Some(texts.to_vec())),
                // NumPy's list of no texts is one of no numbers.
                (None, Some(numbers)) if numbers.is_empty() => Ok(Some(Vec::new())),
                _ => Err(self.damaged(path, format!("{key} is no list of texts"))),
            }
        };
        if let Some(whole) = list(key)? {
            return Ok(Some(whole));
        }
        let mut all = None;
        for i in 0.. {
            let Some(mut part) = list(&format!("{key}{i}"))? else { break };
            all.get_or_insert_with(Vec::new).append(&mut part);
        }
        Ok(all)
    }

    /// The array at `path`; sizes are checked before memory is taken.
    pub(crate) fn tensor(&self, path: &str) -> Result<Tensor> {
        let refused = |error: hdf5_pure::Error| self.damaged(path, error);
        let array = self.file.dataset(path).map_err(refused)?;
        let (number, order) = match array.datatype().map_err(refused)? {
            Datatype::FloatingPoint { size: 2, byte_order, layout } if layout.exponent_size == 5 => {
                (Number::F16, byte_order)
            }
            Datatype::FloatingPoint { size: 4, byte_order, .. } => (Number::F32, byte_order),
            Datatype::FloatingPoint { size: 8, byte_order, .. } => (Number::F64, byte_order),
            Datatype::FixedPoint { size, byte_order, layout } => match (size, layout.signed) {
                (1, false) => (Number::U8, byte_order),
                (1, true) => (Number::I8, byte_order),
                (4, true) => (Number::I32, byte_order),
                (4, false) => (Number::U32, byte_order),
                (8, _) => (Number::I64, byte_order),
                _ => return Err(self.damaged(path, format!("holds whole numbers of {size} bytes, which gradus lacks"))),
            },
            other => return Err(self.damaged(path, format!("holds {other:?}, and no plain numbers"))),
        };
        let order = match order {
            DatatypeByteOrder::LittleEndian => Order::Little,
            DatatypeByteOrder::BigEndian => Order::Big,
            other => return Err(self.damaged(path, format!("its bytes stand in the order {other:?}"))),
        };
        let sizes = array.shape().map_err(refused)?;
        let shape: Option<Vec<usize>> = sizes.iter().map(|&size| usize::try_from(size).ok()).collect();
        let bytes = sizes.iter().try_fold(number.size() as u64, |bytes, &size| bytes.checked_mul(size));
        let most = if array.is_chunked() { plausible(self.length) } else { self.length };
        let (Some(shape), Some(bytes)) = (shape, bytes.filter(|&bytes| bytes <= most)) else {
            return Err(
                self.damaged(path, format!("claims the shape {sizes:?}, and the file has {} bytes", self.length))
            );
        };
        let raw = array.read_raw().map_err(refused)?;
        if raw.len() as u64 != bytes {
            return Err(self.damaged(path, format!("has {} bytes for the shape {shape:?}", raw.len())));
        }
        let mut input = Input::member(format!("{}: {path}", self.name), Cursor::new(raw), bytes, false);
        Ok(Tensor::from_buffer(read_array(&mut input, number, order, &shape)?, &shape, Device::CPU)?)
    }

    /// A complaint about what stands at `path`.
    pub(crate) fn damaged(&self, path: &str, what: impl Display) -> Error {
        Error::Data(format!("{}: /{path}: {what}", self.name))
    }

    fn group(&self, path: &str) -> Result<Group> {
        match path {
            "" => Ok(self.file.root()),
            _ => self.file.group(path).map_err(|error| self.damaged(path, error)),
        }
    }

    fn attribute(&self, path: &str, key: &str) -> Result<Option<AttrValue>> {
        let mut values = self.group(path)?.attrs().map_err(|error| self.damaged(path, error))?;
        Ok(values.remove(key))
    }
}

/// What will be a group of an HDF5 file.
#[derive(Debug, Default)]
pub(crate) struct Node {
    groups: BTreeMap<String, Node>,
    arrays: Vec<(String, Tensor)>,
    texts: Vec<(String, AttrValue)>,
}

impl Node {
    /// The group at `path` below this one, made where it is missing.
    pub(crate) fn group(&mut self, path: &str) -> &mut Node {
        path.split('/')
            .filter(|step| !step.is_empty())
            .fold(self, |node, step| node.groups.entry(step.into()).or_default())
    }

    /// Adds a text.
    pub(crate) fn put_text(&mut self, key: &str, text: &str) {
        self.texts.push((key.into(), AttrValue::VarLenString(text.into())));
    }

    /// Adds a list of texts, in pieces where it is long, as Keras does.
    pub(crate) fn put_texts(&mut self, key: &str, texts: &[String]) {
        if texts.is_empty() {
            return self.texts.push((key.into(), AttrValue::F64Array(Vec::new())));
        }
        let widest = texts.iter().map(String::len).max().unwrap_or(1).max(1);
        let pieces: Vec<&[String]> = texts.chunks((LONGEST_LIST / widest).max(1)).collect();
        for (i, piece) in pieces.iter().enumerate() {
            let key = if pieces.len() == 1 { key.to_owned() } else { format!("{key}{i}") };
            self.texts.push((key, AttrValue::StringArray(piece.to_vec())));
        }
    }

    /// Adds an array of `f32` or whole numbers at `path`.
    pub(crate) fn put_tensor(&mut self, path: &str, tensor: &Tensor) {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        self.group(folder).arrays.push((name.into(), tensor.clone()));
    }

    /// The bytes of a file whose root this is.
    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut file = FileBuilder::new();
        for (key, text) in &self.texts {
            file.set_attr(key, text.clone());
        }
        for (name, tensor) in &self.arrays {
            fill(file.create_dataset(name), &download(tensor)?, tensor.shape())?;
        }
        for (name, node) in &self.groups {
            let mut group = file.create_group(name);
            node.write(&mut group)?;
            file.add_group(group.finish());
        }
        file.finish().map_err(|error| Error::Config(format!("the model cannot be written as HDF5: {error}")))
    }

    fn write(&self, group: &mut GroupBuilder) -> Result<()> {
        for (key, text) in &self.texts {
            group.set_attr(key, text.clone());
        }
        for (name, tensor) in &self.arrays {
            fill(group.create_dataset(name), &download(tensor)?, tensor.shape())?;
        }
        for (name, node) in &self.groups {
            let mut inner = group.create_group(name);
            node.write(&mut inner)?;
            group.add_group(inner.finish());
        }
        Ok(())
    }
}

fn fill(array: &mut hdf5_pure::DatasetBuilder, buffer: &Buffer, shape: &[usize]) -> Result<()> {
    match buffer.dtype() {
        DType::F32 => array.with_f32_data(buffer.as_slice()),
        DType::F64 => array.with_f64_data(buffer.as_slice()),
        DType::I64 => array.with_i64_data(buffer.as_slice()),
        DType::I32 => array.with_i32_data(buffer.as_slice()),
        other => return Err(Error::Config(format!("{other} cannot be written as HDF5; convert the weights to f32"))),
    };
    array.with_shape(&shape.iter().map(|&size| size as u64).collect::<Vec<_>>());
    Ok(())
}
