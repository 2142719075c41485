//! Weights in safetensors: eight bytes with the header's length, the header in JSON, the numbers, all little-endian.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::Path;

use gradus_core::{Buffer, DType, Device, Tensor};
use safetensors::tensor::{Dtype, Metadata, TensorInfo};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{download, write_atomic};
use crate::data::Input;
use crate::{Error, Result};

// Buffers are written as they stand in memory.
const _: () = assert!(cfg!(target_endian = "little"), "safetensors files are little-endian, as this machine must be");

/// Tensors with their names, in order.
pub type NamedTensors = Vec<(String, Tensor)>;

/// The key of the header under which the text stands that belongs to no tensor.
const METADATA: &str = "__metadata__";

/// Saves tensors under their names, with `metadata`, in a file that is replaced as a whole or not at all.
///
/// The same content gives the same bytes. Types with larger elements come first, so that all are aligned; within a type
/// the order is kept.
pub fn save(
    path: impl AsRef<Path>,
    tensors: &[(impl AsRef<str>, Tensor)],
    metadata: &BTreeMap<String, String>,
) -> Result<()> {
    let path = path.as_ref();
    let mut sorted: Vec<(&str, &Tensor)> = tensors.iter().map(|(name, tensor)| (name.as_ref(), tensor)).collect();
    sorted.sort_by_key(|(_, tensor)| std::cmp::Reverse(tensor.dtype().size()));
    let header = header(path, &sorted, metadata)?;
    write_atomic(path, |writer| {
        writer.write_all(&(header.len() as u64).to_le_bytes())?;
        writer.write_all(&header)?;
        sorted.iter().try_for_each(|(_, tensor)| writer.write_all(download(tensor).map_err(io::Error::other)?.bytes()))
    })
}

/// Reads what [`save`] wrote, or any other safetensors file: the tensors in the order in which they are stored, and the
/// metadata.
///
/// Fails with [`Error::Data`] where the file is missing, damaged, or holds a type that gradus lacks.
pub fn load(path: impl AsRef<Path>) -> Result<(NamedTensors, BTreeMap<String, String>)> {
    let mut input = Input::open(path.as_ref())?;
    let mut length = [0; 8];
    input.read_exact(&mut length).map_err(|error| input.failed("the header", &error))?;
    let length = u64::from_le_bytes(length);
    let left = input.left();
    if length > left {
        let what =
            format!("not a safetensors file, or truncated: the header claims {length} bytes, and {left} are there");
        return Err(input.damaged(what));
    }
    let mut text = vec![0; length as usize];
    input.read_exact(&mut text).map_err(|error| input.failed("the header", &error))?;
    let header: Metadata = serde_json::from_slice(&text)
        .map_err(|error| input.damaged(format!("not a safetensors file: its header cannot be read: {error}")))?;
    let (wanted, left) = (header.data_len() as u64, input.left());
    if wanted > left {
        let what = format!("truncated: the header promises {wanted} bytes of numbers, but only {left} are there");
        return Err(input.damaged(format!("{what}; get the file again")));
    }
    let mut tensors = Vec::new();
    for name in header.offset_keys() {
        let Some(info) = header.info(&name) else { continue };
        let Some(dtype) = DType::ALL.into_iter().find(|&dtype| stored_dtype(dtype) == info.dtype) else {
            return Err(input.damaged(format!("tensor {name:?} holds {:?}, which gradus lacks", info.dtype)));
        };
        let mut buffer = Buffer::unspecified(dtype, info.shape.iter().product());
        input.read_exact(buffer.bytes_mut()).map_err(|error| input.failed(&format!("tensor {name:?}"), &error))?;
        tensors.push((name, Tensor::from_buffer(buffer, &info.shape, Device::CPU)?));
    }
    input.finish()?;
    Ok((tensors, header.metadata().clone().unwrap_or_default().into_iter().collect()))
}

/// A fingerprint of tensors: SHA-256 over their names, types, shapes and numbers, in the given order, in hexadecimal.
pub fn weights_sha256(tensors: &[(impl AsRef<str>, Tensor)]) -> Result<String> {
    let mut hash = Sha256::new();
    for (name, tensor) in tensors {
        // Lengths stand before texts and shapes, so that no two lists of tensors give the same bytes.
        for text in [name.as_ref(), tensor.dtype().name()] {
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text);
        }
        hash.update((tensor.rank() as u64).to_le_bytes());
        tensor.shape().iter().for_each(|&size| hash.update((size as u64).to_le_bytes()));
        hash.update(download(tensor)?.bytes());
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The header, filled up with spaces to a multiple of eight bytes so that the numbers are aligned. Its keys are sorted,
/// where the library's own writer leaves those of the metadata in random order.
fn header(path: &Path, tensors: &[(&str, &Tensor)], metadata: &BTreeMap<String, String>) -> Result<Vec<u8>> {
    let refused = |what: String| Error::Config(format!("{}: cannot be saved: {what}", path.display()));
    let json = |value| serde_json::to_value(value).map_err(|error| refused(error.to_string()));
    let mut entries: BTreeMap<&str, Value> = BTreeMap::new();
    if !metadata.is_empty() {
        let texts = metadata.iter().map(|(key, text)| (key.clone(), Value::from(text.as_str())));
        entries.insert(METADATA, Value::Object(texts.collect()));
    }
    let mut start = 0;
    for (name, tensor) in tensors {
        let end = start + tensor.len() * tensor.dtype().size();
        let info = TensorInfo {
            dtype: stored_dtype(tensor.dtype()),
            shape: tensor.shape().to_vec(),
            data_offsets: (start, end),
        };
        if *name == METADATA || entries.insert(name, json(info)?).is_some() {
            return Err(refused(format!("the name {name:?} is taken twice; every tensor needs one of its own")));
        }
        start = end;
    }
    let mut text = serde_json::to_vec(&entries).map_err(|error| refused(error.to_string()))?;
    text.resize(text.len().next_multiple_of(8), b' ');
    Ok(text)
}

fn stored_dtype(dtype: DType) -> Dtype {
    match dtype {
        DType::F32 => Dtype::F32,
        DType::F64 => Dtype::F64,
        DType::F16 => Dtype::F16,
        DType::BF16 => Dtype::BF16,
        DType::I32 => Dtype::I32,
        DType::I64 => Dtype::I64,
        DType::U8 => Dtype::U8,
        DType::Bool => Dtype::BOOL,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensors() -> Vec<(String, Tensor)> {
        let f32s = Tensor::from_slice(&[1f32, -0.0, f32::MIN_POSITIVE, 4.5, 5.0, 6.0], &[2, 3]).unwrap();
        let mut tensors: Vec<_> =
            DType::ALL.iter().map(|&dtype| (format!("as {dtype}"), f32s.to_dtype(dtype).unwrap())).collect();
        tensors.push(("view".into(), f32s.t().unwrap()));
        tensors.push(("scalar".into(), Tensor::scalar(7i64)));
        tensors.push(("empty".into(), Tensor::from_slice::<f32>(&[], &[0, 3]).unwrap()));
        tensors
    }

    fn saved(tensors: &[(String, Tensor)], metadata: &[(&str, &str)]) -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("w.safetensors");
        let metadata = metadata.iter().map(|(key, text)| (key.to_string(), text.to_string())).collect();
        save(&path, tensors, &metadata).unwrap();
        (folder, path)
    }

    #[test]
    fn every_type_comes_back_bit_by_bit() {
        let tensors = tensors();
        let (_folder, path) = saved(&tensors, &[("gradus.model", "[[layer]]\ntype = \"dense\"\n"), ("a", "b")]);
        let (back, metadata) = load(&path).unwrap();
        assert_eq!(back.len(), tensors.len());
        for (name, tensor) in &tensors {
            let found = &back.iter().find(|(known, _)| known == name).unwrap().1;
            assert_eq!((found.shape(), found.dtype()), (tensor.shape(), tensor.dtype()), "{name}");
            assert_eq!(download(found).unwrap().bytes(), download(tensor).unwrap().bytes(), "{name}");
        }
        assert_eq!(metadata["gradus.model"], "[[layer]]\ntype = \"dense\"\n");
        let floats: Vec<_> =
            back.iter().filter(|(_, tensor)| tensor.dtype().size() == 4).map(|(name, _)| name.as_str()).collect();
        assert_eq!(floats, ["as f32", "as i32", "view", "empty"], "the order is kept within a size");
    }

    #[test]
    fn the_library_reads_it_and_the_bytes_are_always_the_same() {
        let metadata: Vec<(String, String)> = (0..20).map(|i| (format!("key {i}"), "text".into())).collect();
        let metadata: Vec<(&str, &str)> = metadata.iter().map(|(key, text)| (key.as_str(), text.as_str())).collect();
        let (_folder, path) = saved(&tensors(), &metadata);
        let bytes = std::fs::read(&path).unwrap();
        let theirs = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        assert_eq!(theirs.tensor("view").unwrap().shape(), [3, 2]);
        assert_eq!(u64::from_le_bytes(bytes[..8].try_into().unwrap()) % 8, 0);
        let (_other, again) = saved(&tensors(), &metadata);
        assert_eq!(std::fs::read(again).unwrap(), bytes);
    }

    #[test]
    fn damaged_files_are_refused() {
        let (_folder, path) = saved(&tensors(), &[]);
        let whole = std::fs::read(&path).unwrap();
        let refusal = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            match load(&path) {
                Err(Error::Data(text)) => text.strip_prefix(&format!("{}: ", path.display())).unwrap().to_string(),
                other => panic!("{other:?}"),
            }
        };
        let cut = refusal(&whole[..whole.len() - 1]);
        assert!(
            cut.starts_with("truncated: the header promises 212 bytes of numbers, but only 211 are there"),
            "{cut}"
        );
        assert!(refusal(&[&whole[..], b"x"].concat()).starts_with("longer than its header says"));
        assert!(refusal(&whole[..4]).starts_with("truncated: the data end after 4 bytes, inside the header"));
        let text = "not a safetensors file, or truncated: the header claims 8100041059028070220 bytes, and 9 are there";
        assert_eq!(refusal(b"Lorem ipsum dolor"), text);
        let header = |json: &str| [&(json.len() as u64).to_le_bytes(), json.as_bytes()].concat();
        assert!(refusal(&header("no json")).starts_with("not a safetensors file: its header cannot be read: "));
        let overflow = "{\"w\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,4]}}";
        assert!(refusal(&header(overflow)).starts_with("not a safetensors file: its header cannot be read: "));
        let unknown = "{\"w\":{\"dtype\":\"U16\",\"shape\":[1],\"data_offsets\":[0,2]}}";
        let text = refusal(&[header(unknown), vec![0; 2]].concat());
        assert_eq!(text, "tensor \"w\" holds U16, which gradus lacks");
        std::fs::remove_file(&path).unwrap();
        assert!(load(&path).unwrap_err().to_string().ends_with("there is no such file; check the path"));
    }

    #[test]
    fn names_must_be_different() {
        let folder = tempfile::tempdir().unwrap();
        let twice = [("w", Tensor::scalar(1f32)), ("w", Tensor::scalar(2f32))];
        let path = folder.path().join("w");
        let text = save(&path, &twice, &BTreeMap::new()).unwrap_err().to_string();
        assert!(
            text.ends_with("cannot be saved: the name \"w\" is taken twice; every tensor needs one of its own"),
            "{text}"
        );
        assert!(save(&path, &[(METADATA, Tensor::scalar(1f32))], &BTreeMap::new()).is_err());
        assert!(!path.exists());
    }

    #[test]
    fn the_fingerprint_sees_names_shapes_types_and_numbers() {
        let hash = |name: &str, tensor: Tensor| weights_sha256(&[(name, tensor)]).unwrap();
        let x = Tensor::from_slice(&[1f32, 2.0], &[2]).unwrap();
        let first = hash("w", x.clone());
        assert_eq!(first.len(), 64);
        assert_eq!(first, hash("w", x.clone()));
        let others = [
            hash("v", x.clone()),
            hash("w", x.reshape(&[1, 2]).unwrap()),
            hash("w", x.flip(0).unwrap()),
            hash("w", Tensor::from_slice(&[1f32.to_bits() as i32, 2f32.to_bits() as i32], &[2]).unwrap()),
            weights_sha256(&[("w", x.clone()), ("w", x)]).unwrap(),
        ];
        assert!(others.iter().all(|other| *other != first));
        let nothing: [(&str, Tensor); 0] = [];
        // SHA-256 of no bytes (FIPS 180-4).
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(weights_sha256(&nothing).unwrap(), empty);
    }

    /// A disk that fills up while weights are written, as a process meets it that may not write long files: the test runs
    /// itself again under such a limit.
    #[cfg(unix)]
    #[test]
    fn a_full_disk_leaves_the_old_weights() {
        const PATH: &str = "GRADUS_TEST_FULL_DISK";
        let large = [("w", Tensor::zeros(&[1 << 20], DType::F32, Device::CPU).unwrap())];
        if let Some(path) = std::env::var_os(PATH) {
            let error = save(path, &large, &BTreeMap::new()).unwrap_err();
            assert!(matches!(error, Error::Io { .. }));
            println!("refused: {error}");
            return;
        }
        let (folder, path) = saved(&tensors(), &[]);
        let old = std::fs::read(&path).unwrap();
        // Without the trap, the signal for too long a file would end the process before it sees the error.
        let child = std::process::Command::new("sh")
            .args(["-c", "trap '' XFSZ; ulimit -f 64; exec \"$0\" --exact --nocapture \"$1\""])
            .arg(std::env::current_exe().unwrap())
            .arg("format::safetensors::tests::a_full_disk_leaves_the_old_weights")
            .env(PATH, &path)
            .output()
            .unwrap();
        let output = String::from_utf8_lossy(&child.stdout);
        assert!(child.status.success(), "{output}{}", String::from_utf8_lossy(&child.stderr));
        let text = format!("refused: {}: cannot be saved: File too large (os error 27); the file", path.display());
        assert!(output.contains(&text) && output.contains("that was there before is unchanged"), "{output}");
        assert_eq!(std::fs::read(&path).unwrap(), old);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing half-written is left");
    }
}
