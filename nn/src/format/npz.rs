//! Writing NPZ; reading it is a matter of [`data`](crate::data).

use gradus_core::{DType, Tensor};

use super::archive::Packer;
use super::download;
use crate::{Error, Result};

/// The bytes of an NPZ file with these arrays, as NumPy's `savez` writes it.
pub(crate) fn npz(tensors: &[(String, Tensor)]) -> Result<Vec<u8>> {
    let mut archive = Packer::new();
    for (name, tensor) in tensors {
        archive.put(&format!("{name}.npy"), &npy(name, tensor)?)?;
    }
    archive.finish()
}

/// An NPY file, version 1: the header fills up to a multiple of 64 bytes.
fn npy(name: &str, tensor: &Tensor) -> Result<Vec<u8>> {
    let descr = match tensor.dtype() {
        DType::F32 => "<f4",
        DType::F64 => "<f8",
        DType::F16 => "<f2",
        DType::I32 => "<i4",
        DType::I64 => "<i8",
        DType::U8 => "|u1",
        DType::Bool => "|b1",
        DType::BF16 => return Err(Error::Config(format!("{name}: NumPy has no bf16; convert it to f32"))),
    };
    let sizes: String = tensor.shape().iter().map(|size| format!("{size}, ")).collect();
    let mut header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({}), }}", sizes.trim_end());
    let start = 10;
    let length = (start + header.len() + 1).next_multiple_of(64) - start;
    header.push_str(&" ".repeat(length - header.len() - 1));
    header.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    let length = u16::try_from(header.len()).map_err(|_| Error::Config(format!("{name}: too many dimensions")))?;
    bytes.extend(length.to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(download(tensor)?.bytes());
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{npz_names, read_npz};

    #[test]
    fn what_is_written_reads_back() {
        let matrix = Tensor::from_slice(&[1f32, -2.5, 3.0, 4.0, 5.0, 6.0], &[2, 3]).unwrap();
        let arrays = [("a.kernel".to_string(), matrix.t().unwrap()), ("n".to_string(), Tensor::scalar(7i64))];
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("w.npz");
        std::fs::write(&path, npz(&arrays).unwrap()).unwrap();
        assert_eq!(npz_names(&path).unwrap(), ["a.kernel", "n"]);
        let back = read_npz(&path, &["a.kernel", "n"]).unwrap();
        assert_eq!(
            (back[0].shape(), back[0].to_vec::<f32>().unwrap()),
            (&[3, 2][..], vec![1.0, 4.0, -2.5, 5.0, 3.0, 6.0])
        );
        assert_eq!((back[1].rank(), back[1].item().unwrap()), (0, 7.0));
    }
}
