//! NPY and NPZ, the files of NumPy's `save`, `savez` and `savez_compressed` (NEP 1; versions 1 to 3).

use std::io::Read;
use std::path::Path;

use byteorder::{LittleEndian, ReadBytesExt};
use gradus_core::{Device, Tensor};

use super::array::{Number, Order, read_array};
use super::input::Input;
use crate::format::archive::Archive;
use crate::{Error, Result};

/// A longer header is taken for damage; those of plain arrays have some hundred bytes.
const LONGEST_HEADER: usize = 1 << 20;

/// Reads an NPY file, packed by gzip or not.
///
/// Types that gradus lacks are widened without loss (`i1 i2 u2` to `i32`, `u4` to `i64`); both byte orders and both orders
/// of the dimensions are read. Fails with [`Error::Data`] where the file is missing, damaged, or of an unknown type.
pub fn read_npy(path: impl AsRef<Path>) -> Result<Tensor> {
    parse(Input::open(path.as_ref())?)
}

/// Reads an NPY file that is in memory; `name` stands for its path in errors.
pub fn read_npy_bytes(name: &str, bytes: &[u8]) -> Result<Tensor> {
    parse(Input::bytes(name, bytes)?)
}

/// The names of the arrays in an NPZ file, in the file's order.
pub fn npz_names(path: impl AsRef<Path>) -> Result<Vec<String>> {
    Npz::open(path.as_ref())?.names()
}

/// Reads the arrays called `wanted` from an NPZ file, in that order; others are not unpacked.
pub fn read_npz(path: impl AsRef<Path>, wanted: &[&str]) -> Result<Vec<Tensor>> {
    let mut npz = Npz::open(path.as_ref())?;
    let names = npz.names()?;
    wanted.iter().map(|name| npz.array(&names, name)).collect()
}

struct Npz(Archive);

impl Npz {
    fn open(path: &Path) -> Result<Self> {
        Ok(Self(Archive::open(path, "NPZ")?))
    }

    fn names(&self) -> Result<Vec<String>> {
        let name = |member: String| member.strip_suffix(".npy").unwrap_or(&member).to_string();
        Ok(self.0.members()?.into_iter().map(name).collect())
    }

    fn array(&mut self, names: &[String], wanted: &str) -> Result<Tensor> {
        let Some(index) = names.iter().position(|name| name == wanted) else {
            let what = format!("there is no array {wanted:?} in it, only {}", names.join(", "));
            return Err(Error::Data(format!("{}: {what}", self.0.name())));
        };
        parse(self.0.member(index, &format!("array {wanted:?}"))?)
    }
}

fn parse(mut input: Input) -> Result<Tensor> {
    let text = header(&mut input)?;
    let (number, order) = descr(&input, &text)?;
    let fortran = match field(&text, "fortran_order") {
        Some(value) if value.starts_with("True") => true,
        Some(value) if value.starts_with("False") => false,
        _ => return Err(unreadable(&input, "fortran_order", &text)),
    };
    let mut shape = shape(&text).ok_or_else(|| unreadable(&input, "shape", &text))?;
    if fortran {
        shape.reverse();
    }
    let tensor = Tensor::from_buffer(read_array(&mut input, number, order, &shape)?, &shape, Device::CPU)?;
    if !fortran {
        return Ok(tensor);
    }
    // The first dimension runs fastest: row-major with the dimensions reversed.
    let axes: Vec<isize> = (0..shape.len() as isize).rev().collect();
    Ok(tensor.permute(&axes)?.contiguous()?)
}

/// The header's text: a Python dictionary.
fn header(input: &mut Input) -> Result<String> {
    let mut magic = [0; 8];
    input.read_exact(&mut magic).map_err(|error| input.failed("the header", &error))?;
    let [0x93, b'N', b'U', b'M', b'P', b'Y', version, _] = magic else {
        return Err(input.damaged("not an NPY file: it does not begin with \\x93NUMPY"));
    };
    let length = match version {
        1 => input.read_u16::<LittleEndian>().map(usize::from),
        2 | 3 => input.read_u32::<LittleEndian>().map(|length| length as usize),
        _ => return Err(input.damaged(format!("NPY version {version} is unknown; gradus reads 1, 2 and 3"))),
    };
    let length = length.map_err(|error| input.failed("the header", &error))?;
    if length > LONGEST_HEADER {
        return Err(
            input.damaged(format!("the header claims {length} bytes, more than any array's; the file is damaged"))
        );
    }
    let mut text = vec![0; length];
    input.read_exact(&mut text).map_err(|error| input.failed("the header", &error))?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// The text after `'key':`.
fn field<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let at = text.find(&format!("'{key}'")).or_else(|| text.find(&format!("\"{key}\"")))?;
    Some(text[at + key.len() + 2..].trim_start().strip_prefix(':')?.trim_start())
}

fn descr(input: &Input, text: &str) -> Result<(Number, Order)> {
    let value = field(text, "descr").ok_or_else(|| unreadable(input, "descr", text))?;
    let quoted = value.strip_prefix(['\'', '"']).and_then(|rest| rest.split(['\'', '"']).next());
    // Without quotes stands the list of a structured type's fields.
    let name = quoted.unwrap_or_else(|| value.split_once("]").map_or(value, |(list, _)| list));
    let order = if name.starts_with('>') { Order::Big } else { Order::Little };
    let number = match name.trim_start_matches(['<', '>', '|', '=']) {
        "b1" => Number::Bool,
        "u1" => Number::U8,
        "i1" => Number::I8,
        "i2" => Number::I16,
        "u2" => Number::U16,
        "i4" => Number::I32,
        "u4" => Number::U32,
        "i8" => Number::I64,
        "f2" => Number::F16,
        "f4" => Number::F32,
        "f8" => Number::F64,
        _ => {
            let known = "gradus reads b1, u1, u2, u4, i1, i2, i4, i8, f2, f4 and f8";
            let mend = "in NumPy, convert it first: array.astype('float32')";
            return Err(input.damaged(format!("unknown dtype {name:?}; {known}; {mend}")));
        }
    };
    Ok((number, order))
}

/// The sizes in `'shape': (3, 4)`; Python 2 wrote `3L`.
fn shape(text: &str) -> Option<Vec<usize>> {
    let (inside, _) = field(text, "shape")?.strip_prefix('(')?.split_once(')')?;
    let sizes = inside.split(',').map(str::trim).filter(|size| !size.is_empty());
    sizes.map(|size| size.trim_end_matches('L').parse().ok()).collect()
}

fn unreadable(input: &Input, key: &str, text: &str) -> Error {
    let text: String = text.trim_end().chars().take(200).collect();
    input.damaged(format!("the header has no readable {key:?}: {text}"))
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Write;

    use gradus_core::DType;
    use zip::CompressionMethod;
    use zip::write::{SimpleFileOptions, ZipWriter};

    use super::*;

    fn file(version: u8, dictionary: &str, data: &[u8]) -> Vec<u8> {
        let mut bytes = b"\x93NUMPY".to_vec();
        bytes.extend([version, 0]);
        match version {
            1 => bytes.extend((dictionary.len() as u16).to_le_bytes()),
            _ => bytes.extend((dictionary.len() as u32).to_le_bytes()),
        }
        bytes.extend(dictionary.as_bytes());
        bytes.extend(data);
        bytes
    }

    fn npy(descr: &str, fortran: bool, shape: &str, data: &[u8]) -> Vec<u8> {
        let fortran = if fortran { "True" } else { "False" };
        let text = format!("{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}, }}     \n");
        file(1, &text, data)
    }

    fn bytes_of<T: bytemuck::NoUninit>(values: &[T]) -> &[u8] {
        bytemuck::cast_slice(values)
    }

    fn refusal(bytes: &[u8]) -> String {
        let error = read_npy_bytes("x.npy", bytes).unwrap_err();
        assert!(matches!(error, Error::Data(_)), "{error:?}");
        error.to_string()
    }

    #[test]
    fn reads_every_type_and_version() {
        let f4 = npy("<f4", false, "(2, 2)", bytes_of(&[1f32, 2.0, 3.0, 4.0]));
        let x = read_npy_bytes("x", &f4).unwrap();
        assert_eq!((x.shape(), x.to_vec::<f32>().unwrap()), (&[2, 2][..], vec![1.0, 2.0, 3.0, 4.0]));
        let read = |descr: &str, data: &[u8]| read_npy_bytes("x", &npy(descr, false, "(1,)", data)).unwrap();
        assert_eq!(read("<f8", bytes_of(&[0.1f64])).to_vec::<f64>().unwrap(), [0.1]);
        assert_eq!(read("<i4", bytes_of(&[-5i32])).to_vec::<i32>().unwrap(), [-5]);
        assert_eq!(read("<i8", bytes_of(&[-5i64])).to_vec::<i64>().unwrap(), [-5]);
        assert_eq!(read("|u1", &[200]).to_vec::<u8>().unwrap(), [200]);
        assert_eq!(read("|b1", &[1]).dtype(), DType::Bool);
        assert_eq!(read("|i1", &[0xfe]).to_vec::<i32>().unwrap(), [-2]);
        assert_eq!(read("<u2", bytes_of(&[65_535u16])).to_vec::<i32>().unwrap(), [65_535]);
        assert_eq!(read("<u4", bytes_of(&[u32::MAX])).to_vec::<i64>().unwrap(), [i64::from(u32::MAX)]);
        assert_eq!(read("<f2", bytes_of(&[0x3c00u16])).to_f64_vec().unwrap(), [1.0]);
        assert_eq!(read(">f4", &2.5f32.to_be_bytes()).to_vec::<f32>().unwrap(), [2.5]);
        for version in [2, 3] {
            let text = "{\"descr\": \"<f4\", \"fortran_order\": False, \"shape\": ()}";
            let scalar = read_npy_bytes("x", &file(version, text, bytes_of(&[7f32]))).unwrap();
            assert_eq!((scalar.rank(), scalar.item().unwrap()), (0, 7.0));
        }
    }

    #[test]
    fn the_first_dimension_may_run_fastest() {
        let x = read_npy_bytes("x", &npy("<i4", true, "(2, 3)", bytes_of(&[1, 4, 2, 5, 3, 6]))).unwrap();
        assert_eq!((x.shape(), x.to_vec::<i32>().unwrap()), (&[2, 3][..], vec![1, 2, 3, 4, 5, 6]));
    }

    #[test]
    fn unknown_types_are_named() {
        assert_eq!(
            refusal(&npy("<c8", false, "(1,)", &[0; 8])),
            "x.npy: unknown dtype \"<c8\"; gradus reads b1, u1, u2, u4, i1, i2, i4, i8, f2, f4 and f8; in NumPy, convert it \
             first: array.astype('float32')"
        );
        assert!(refusal(&npy("|O", false, "(1,)", &[0; 8])).contains("unknown dtype \"|O\""));
        let fields = "{'descr': [('shape', '<f4'), ('b', '<i4')], 'fortran_order': False, 'shape': (1,), }";
        let text = refusal(&file(1, fields, &[0; 8]));
        assert!(text.contains("unknown dtype \"[('shape', '<f4'), ('b', '<i4')\""), "{text}");
    }

    #[test]
    fn damage_is_described() {
        assert_eq!(refusal(b"PK\x03\x04 no npy"), "x.npy: not an NPY file: it does not begin with \\x93NUMPY");
        assert_eq!(refusal(&file(9, "", b"")), "x.npy: NPY version 9 is unknown; gradus reads 1, 2 and 3");
        let short = npy("<f4", false, "(1000,)", &[0; 100]);
        let promised = "the header promises 4000 bytes (shape [1000])";
        assert_eq!(
            refusal(&short),
            format!("x.npy: truncated: {promised}, but only 100 are there; get the file again")
        );
        assert!(refusal(&short[..40]).contains("inside the header"));
        assert!(refusal(&npy("<f4", false, "(1,)", &[0; 8])).contains("longer than its header says"));
        let huge = npy("<f8", false, "(99999999999, 99999999999)", &[]);
        assert!(refusal(&huge).contains("the dimensions [99999999999, 99999999999] in the header overflow"));
        let bad = npy("<f4", false, "(-1,)", &[]);
        assert!(refusal(&bad).starts_with("x.npy: the header has no readable \"shape\": {'descr': '<f4'"));
        let mut long = file(2, "", &[]);
        long[8..12].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(refusal(&long).contains("the header claims 4294967295 bytes"));
    }

    fn npz(members: &[(&str, CompressionMethod, Vec<u8>)]) -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("set.npz");
        let mut archive = ZipWriter::new(File::create(&path).unwrap());
        for (name, method, bytes) in members {
            archive.start_file(*name, SimpleFileOptions::default().compression_method(*method)).unwrap();
            archive.write_all(bytes).unwrap();
        }
        archive.finish().unwrap();
        (folder, path)
    }

    #[test]
    fn npz_arrays_are_read_by_name() {
        let images = npy("|u1", false, "(2, 2)", &[1, 2, 3, 4]);
        let labels = npy("<i8", false, "(2,)", bytes_of(&[7i64, 9]));
        let stored = ("y_train.npy", CompressionMethod::Stored, labels);
        let (_folder, path) = npz(&[("x_train.npy", CompressionMethod::Deflated, images), stored]);
        assert_eq!(npz_names(&path).unwrap(), ["x_train", "y_train"]);
        let tensors = read_npz(&path, &["y_train", "x_train"]).unwrap();
        assert_eq!(tensors[0].to_vec::<i64>().unwrap(), [7, 9]);
        assert_eq!(tensors[1].to_vec::<u8>().unwrap(), [1, 2, 3, 4]);
        let missing = read_npz(&path, &["x_test"]).unwrap_err().to_string();
        let there = "there is no array \"x_test\" in it, only x_train, y_train";
        assert_eq!(missing, format!("{}: {there}", path.display()));
    }

    #[test]
    fn npz_bombs_and_damage_are_refused() {
        let hidden = npy("|u1", false, "(2,)", &vec![0; 1 << 22]);
        let lie = npy("|u1", false, "(1000000, 1000000)", &[0; 10]);
        let deflated = CompressionMethod::Deflated;
        let (_folder, path) = npz(&[("a.npy", deflated, hidden), ("b.npy", deflated, lie)]);
        let hidden = read_npz(&path, &["a"]).unwrap_err().to_string();
        assert!(hidden.contains("array \"a\": longer than its header says"), "{hidden}");
        let lie = read_npz(&path, &["b"]).unwrap_err().to_string();
        assert!(lie.contains("promises 1000000000000 bytes") && lie.contains("or a bomb"), "{lie}");
        std::fs::write(&path, b"no zip").unwrap();
        let damaged = npz_names(&path).unwrap_err().to_string();
        assert!(damaged.contains("set.npz: not a readable NPZ (zip) file: "), "{damaged}");
        assert!(read_npz("/nowhere/x.npz", &[]).unwrap_err().to_string().contains("there is no such file"));
    }
}
