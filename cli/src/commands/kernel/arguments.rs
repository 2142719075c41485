//! A kernel's arguments as they are written on the command line.

use std::fs;

use gradus_emulator::Memory;
use nn::core::kernels::random::fill;
use nn::core::kernels::{Distribution, RandomKey};

use super::reference::Reference;
use crate::failure::{Failure, Kind};

/// The most bytes of an array: what fits in the memory of the machine several times over, with the notes on each word.
const MOST_BYTES: usize = 1 << 28;

/// A type of numbers: how it is called, its size, how it is read and shown, and its bytes from a number and back.
pub struct Type {
    /// As in `f32`.
    pub name: &'static str,
    size: usize,
    parse: fn(&str) -> Option<Vec<u8>>,
    show: fn(&[u8]) -> String,
    from_f64: fn(f64) -> Vec<u8>,
    to_f64: fn(&[u8]) -> f64,
}

macro_rules! types {
    ($($T:ident),*) => {
        const TYPES: &[Type] = &[$(Type {
            name: stringify!($T),
            size: size_of::<$T>(),
            parse: |text| text.parse::<$T>().ok().map(|value| value.to_le_bytes().to_vec()),
            show: |bytes| bytes.try_into().map_or_else(|_| String::new(), |bytes| $T::from_le_bytes(bytes).to_string()),
            from_f64: |value| (value as $T).to_le_bytes().to_vec(),
            to_f64: |bytes| bytes.try_into().map_or(f64::NAN, |bytes| $T::from_le_bytes(bytes) as f64),
        }),*];
    };
}

types!(u8, i32, u32, i64, u64, f32, f64);

/// An argument of a launch.
pub struct Argument {
    /// The bytes that the kernel gets: a number, or the address of an array.
    pub bytes: Vec<u8>,
    /// The array, if it is one.
    pub array: Option<Array>,
}

/// An array in device memory.
#[derive(Clone, Copy)]
pub struct Array {
    /// What its elements are.
    pub ty: &'static Type,
    address: u64,
    len: usize,
}

impl Argument {
    /// Reads `TYPE=VALUE`, `TYPE[N]` or `TYPE[N]=CONTENT`, and puts an array into memory. The contents `input` and `output` are those of
    /// `reference`.
    ///
    /// # Errors
    /// If it is none of these, a file cannot be read, or there is no room.
    pub fn read(text: &str, memory: &mut Memory, reference: Option<&mut Reference>) -> Result<Argument, Failure> {
        let wrong = |why: String| Failure::new(Kind::Usage, format!("argument {text:?}: {why}"));
        let (left, content) = text.split_once('=').map_or((text, None), |(left, content)| (left, Some(content)));
        let (name, len) = match left.strip_suffix(']').and_then(|left| left.split_once('[')) {
            Some((name, len)) => (name, Some(len)),
            None => (left, None),
        };
        let ty = TYPES.iter().find(|ty| ty.name == name).ok_or_else(|| {
            let names: Vec<&str> = TYPES.iter().map(|ty| ty.name).collect();
            wrong(format!("there is no type {name:?}; there are {}", names.join(", ")))
        })?;
        let Some(len) = len else {
            let value =
                content.ok_or_else(|| wrong(format!("write {name}=VALUE for a number, {name}[N] for an array")))?;
            let bytes = (ty.parse)(value).ok_or_else(|| wrong(format!("{value:?} is no {name}")))?;
            return Ok(Argument { bytes, array: None });
        };
        let most = MOST_BYTES / ty.size;
        let len: usize = len
            .parse()
            .ok()
            .filter(|len| (1..=most).contains(len))
            .ok_or_else(|| wrong(format!("the length of an array is a number from 1 to {most}")))?;
        let address = memory.allocate((len * ty.size) as u64).map_err(|error| wrong(error.to_string()))?;
        let array = Array { ty, address, len };
        let missing = || "there is no reference: add --reference OP:SHAPE".to_owned();
        let bytes = match (content, reference) {
            (None, _) => None,
            (Some("input"), reference) => Some(reference.ok_or_else(missing).and_then(|r| r.input(&array))),
            (Some("output"), Some(reference)) => reference.output(&array).err().map(Err),
            (Some("output"), None) => Some(Err(missing())),
            (Some(content), _) => Some(fill_array(ty, len, content)),
        };
        if let Some(bytes) = bytes {
            memory.write(address, &bytes.map_err(wrong)?).map_err(|error| wrong(error.to_string()))?;
        }
        Ok(Argument { bytes: address.to_le_bytes().to_vec(), array: Some(array) })
    }
}

impl Array {
    /// The bytes of an element; `None` for one that nobody has written.
    fn element(&self, i: usize, memory: &Memory) -> Option<Vec<u8>> {
        let address = self.address + (i * self.ty.size) as u64;
        let mut bytes = vec![0; self.ty.size];
        let is_known = memory.unwritten(address, self.ty.size) == Ok(None);
        memory.read(address, &mut bytes).ok().filter(|()| is_known).map(|()| bytes)
    }

    /// The first `count` elements as text; `?` for one that nobody has written.
    pub fn first(&self, count: usize, memory: &Memory) -> Vec<String> {
        let text = |i| self.element(i, memory).map_or_else(|| "?".to_owned(), |bytes| (self.ty.show)(&bytes));
        (0..count.min(self.len)).map(text).collect()
    }

    /// All elements as numbers.
    ///
    /// # Errors
    /// The first element that nobody has written.
    pub fn numbers(&self, memory: &Memory) -> Result<Vec<f64>, usize> {
        (0..self.len).map(|i| self.element(i, memory).map(|bytes| (self.ty.to_f64)(&bytes)).ok_or(i)).collect()
    }

    /// The bytes that hold these numbers.
    pub fn bytes_of(&self, numbers: &[f64]) -> Vec<u8> {
        numbers.iter().flat_map(|&number| (self.ty.from_f64)(number)).collect()
    }

    /// What it is: `f32[128]`.
    pub fn name(&self) -> String {
        format!("{}[{}]", self.ty.name, self.len)
    }

    /// How many elements there are.
    pub fn len(&self) -> usize {
        self.len
    }
}

fn fill_array(ty: &Type, len: usize, content: &str) -> Result<Vec<u8>, String> {
    let numbers = |value: &dyn Fn(usize) -> f64| -> Result<Vec<u8>, String> {
        let element = |i: usize| {
            let value = value(i);
            let text = if ty.name.starts_with('f') { value.to_string() } else { (value as i64).to_string() };
            (ty.parse)(&text).ok_or_else(|| format!("{text} is no {}", ty.name))
        };
        Ok((0..len).map(element).collect::<Result<Vec<_>, _>>()?.concat())
    };
    match content {
        "zeros" => Ok(vec![0; len * ty.size]),
        "ones" => numbers(&|_| 1.0),
        "range" => numbers(&|i| i as f64),
        "random" if ty.name.starts_with('f') => {
            let mut values = vec![0f64; len];
            // Arrays of different lengths get different numbers.
            let key = RandomKey::new(0).numbered(len as u64);
            fill(Distribution::Uniform { low: -1.0, high: 1.0 }, key, 0, &mut values);
            numbers(&|i| values[i])
        }
        "random" => Err(format!("random numbers are floats, not {}", ty.name)),
        _ => {
            let file = content
                .strip_prefix('@')
                .ok_or_else(|| format!("{content:?} is none of zeros, ones, range, random, input, output and @FILE"))?;
            let found = fs::metadata(file).map_err(|error| format!("{file}: {error}"))?.len();
            let wanted = len * ty.size;
            if found != wanted as u64 {
                return Err(format!("{file} has {found} bytes, and {len} {} take {wanted}", ty.name));
            }
            fs::read(file).map_err(|error| format!("{file}: {error}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<(Argument, Memory), String> {
        let mut memory = Memory::default();
        Argument::read(text, &mut memory, None)
            .map(|argument| (argument, memory))
            .map_err(|failure| failure.to_string())
    }

    #[test]
    fn numbers_and_arrays_are_read() {
        assert_eq!(read("u32=7").unwrap().0.bytes, [7, 0, 0, 0]);
        assert_eq!(read("f32=-0.5").unwrap().0.bytes, (-0.5f32).to_le_bytes());
        let (argument, memory) = read("i64[3]=range").unwrap();
        let array = argument.array.unwrap();
        assert_eq!(
            (array.name(), array.first(8, &memory)),
            ("i64[3]".into(), vec!["0".into(), "1".into(), "2".into()])
        );
        let (argument, memory) = read("f32[2]").unwrap();
        assert_eq!(argument.array.unwrap().first(8, &memory), ["?", "?"]);
        let (argument, memory) = read("f64[1]=random").unwrap();
        let value: f64 = argument.array.unwrap().first(1, &memory)[0].parse().unwrap();
        assert!((-1.0..1.0).contains(&value));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let refused = [
            ("q32=1", "there is no type \"q32\"; there are u8, i32"),
            ("u32", "write u32=VALUE for a number, u32[N] for an array"),
            ("u32=-1", "\"-1\" is no u32"),
            ("f32[0]", "a number from 1 to"),
            ("f32[99999999999999999999]", "a number from 1 to"),
            ("f32[4]=5", "none of zeros, ones, range, random, input, output and @FILE"),
            ("u8[300]=range", "256 is no u8"),
            ("i32[4]=random", "random numbers are floats"),
            ("f32[4]=@/nowhere", "/nowhere: "),
            ("f32[4]=input", "add --reference OP:SHAPE"),
            ("f32[4]=output", "add --reference OP:SHAPE"),
        ];
        for (text, why) in refused {
            let error = read(text).err().unwrap();
            assert!(error.starts_with(&format!("argument {text:?}")) && error.contains(why), "{error}");
        }
    }
}
