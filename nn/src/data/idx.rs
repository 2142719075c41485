//! IDX, the format of MNIST: two zero bytes, a type, the number of dimensions, their sizes (all big-endian), the data.

use std::path::Path;

use byteorder::{BigEndian, ReadBytesExt};
use gradus_core::{Device, Tensor};

use super::array::{Number, Order, read_array};
use super::input::Input;
use crate::Result;

/// Reads an IDX file, packed by gzip or not.
///
/// Bytes stay `u8`; other integers become `i32`, real numbers keep their type. Fails with [`Error::Data`](crate::Error)
/// where the file is missing, is no IDX, or does not hold exactly what its header says.
pub fn read_idx(path: impl AsRef<Path>) -> Result<Tensor> {
    parse(Input::open(path.as_ref())?)
}

/// Reads an IDX file that is in memory; `name` stands for its path in errors.
pub fn read_idx_bytes(name: &str, bytes: &[u8]) -> Result<Tensor> {
    parse(Input::bytes(name, bytes)?)
}

fn parse(mut input: Input) -> Result<Tensor> {
    let mut magic = [0; 4];
    std::io::Read::read_exact(&mut input, &mut magic).map_err(|error| input.failed("the header", &error))?;
    let [0, 0, code, rank] = magic else {
        let [a, b, c, d] = magic;
        return Err(input.damaged(format!(
            "not an IDX file: it begins with the bytes {a:02x} {b:02x} {c:02x} {d:02x}, IDX begins with 00 00"
        )));
    };
    let number = match code {
        0x08 => Number::U8,
        0x09 => Number::I8,
        0x0b => Number::I16,
        0x0c => Number::I32,
        0x0d => Number::F32,
        0x0e => Number::F64,
        _ => {
            let what = "IDX knows 08 (u8), 09 (i8), 0b (i16), 0c (i32), 0d (f32) and 0e (f64)";
            return Err(input.damaged(format!("unknown element type {code:02x} in the third byte; {what}")));
        }
    };
    let shape = (0..rank).map(|_| Ok(input.read_u32::<BigEndian>()? as usize)).collect::<std::io::Result<Vec<_>>>();
    let shape = shape.map_err(|error| input.failed("the header", &error))?;
    let buffer = read_array(&mut input, number, Order::Big, &shape)?;
    Ok(Tensor::from_buffer(buffer, &shape, Device::CPU)?)
}

#[cfg(test)]
mod tests {
    use gradus_core::DType;

    use super::*;
    use crate::data::input::tests::gzip;

    fn file(code: u8, sizes: &[u32], data: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0, 0, code, sizes.len() as u8];
        sizes.iter().for_each(|size| bytes.extend(size.to_be_bytes()));
        bytes.extend(data);
        bytes
    }

    fn refusal(bytes: &[u8]) -> String {
        let error = read_idx_bytes("x-ubyte", bytes).unwrap_err();
        assert!(matches!(error, crate::Error::Data(_)), "{error:?}");
        error.to_string()
    }

    #[test]
    fn reads_every_type() {
        let x = read_idx_bytes("x", &file(8, &[2, 3], &[0, 1, 2, 3, 254, 255])).unwrap();
        assert_eq!((x.dtype(), x.shape()), (DType::U8, &[2, 3][..]));
        assert_eq!(x.to_vec::<u8>().unwrap(), [0, 1, 2, 3, 254, 255]);
        let i8s = read_idx_bytes("x", &file(9, &[2], &[0xff, 7])).unwrap();
        assert_eq!(i8s.to_vec::<i32>().unwrap(), [-1, 7]);
        let i16s = read_idx_bytes("x", &file(0x0b, &[2], &[0x01, 0x02, 0xff, 0xfe])).unwrap();
        assert_eq!(i16s.to_vec::<i32>().unwrap(), [258, -2]);
        let i32s = read_idx_bytes("x", &file(0x0c, &[1], &(-70_000i32).to_be_bytes())).unwrap();
        assert_eq!(i32s.to_vec::<i32>().unwrap(), [-70_000]);
        let f32s = read_idx_bytes("x", &file(0x0d, &[1], &1.5f32.to_be_bytes())).unwrap();
        assert_eq!(f32s.to_vec::<f32>().unwrap(), [1.5]);
        let f64s = read_idx_bytes("x", &file(0x0e, &[1, 1], &0.1f64.to_be_bytes())).unwrap();
        assert_eq!(f64s.to_vec::<f64>().unwrap(), [0.1]);
    }

    #[test]
    fn reads_files_packed_or_not() {
        let folder = tempfile::tempdir().unwrap();
        let plain = file(8, &[3], &[7, 8, 9]);
        for (name, bytes) in [("plain", plain.clone()), ("packed.without.its.ending", gzip(&plain))] {
            let path = folder.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            assert_eq!(read_idx(&path).unwrap().to_vec::<u8>().unwrap(), [7, 8, 9]);
        }
    }

    #[test]
    fn truncated_files_say_how_much_is_missing() {
        let whole = file(8, &[10, 28, 28], &[0; 7_000]);
        let promised = "truncated: the header promises 7840 bytes (shape [10, 28, 28]), but only 7000 are there";
        assert_eq!(refusal(&whole), format!("x-ubyte: {promised}; get the file again"));
        assert_eq!(refusal(&gzip(&whole)), format!("x-ubyte: {promised}; get the file again"));
        let header = "truncated: the data end after 10 bytes, inside the header; get the file again";
        assert_eq!(refusal(&whole[..10]), format!("x-ubyte: {header}"));
        assert_eq!(
            refusal(b""),
            "x-ubyte: truncated: the data end after 0 bytes, inside the header; get the file again"
        );
        let packed = gzip(&file(8, &[100, 100], &(0..10_000u32).map(|i| ((i * i) >> 3) as u8).collect::<Vec<_>>()));
        let cut = refusal(&packed[..packed.len() - 20]);
        assert!(cut.starts_with("x-ubyte: truncated: the header promises 10000 bytes"), "{cut}");
        let without_checksum = refusal(&packed[..packed.len() - 4]);
        assert!(without_checksum.contains("truncated: the data end after 10012 bytes"), "{without_checksum}");
    }

    #[test]
    fn a_wrong_magic_is_shown() {
        let png = refusal(b"\x89PNG\r\n\x1a\n");
        assert_eq!(png, "x-ubyte: not an IDX file: it begins with the bytes 89 50 4e 47, IDX begins with 00 00");
        let unknown = refusal(&file(0x0a, &[1], &[0]));
        assert!(
            unknown.starts_with("x-ubyte: unknown element type 0a in the third byte; IDX knows 08 (u8)"),
            "{unknown}"
        );
    }

    #[test]
    fn dimensions_that_overflow_are_refused() {
        let text = refusal(&file(8, &[u32::MAX, u32::MAX, u32::MAX], &[0; 16]));
        assert_eq!(
            text,
            "x-ubyte: the dimensions [4294967295, 4294967295, 4294967295] in the header overflow: no memory holds so much; \
             the file is damaged"
        );
        let large = refusal(&file(0x0e, &[u32::MAX, 1 << 20], &[0; 16]));
        assert!(large.contains("promises 36028797010575360 bytes") && large.contains("only 16 are there"), "{large}");
    }

    #[test]
    fn bombs_are_refused_before_memory_is_taken() {
        // The header is modest and the data go on and on: one byte beyond the promise is unpacked.
        let hidden = gzip(&file(8, &[2, 2], &vec![0; 1 << 22]));
        let text = "longer than its header says: data go on after byte 16; the file is damaged or not what it seems";
        assert_eq!(refusal(&hidden), format!("x-ubyte: {text}"));
        // The header promises what so short a file cannot hold.
        let lie = gzip(&file(8, &[1 << 20, 1 << 20], &[0; 100]));
        assert!(
            refusal(&lie)
                .contains("promises 1099511627776 bytes (shape [1048576, 1048576]), but the packed data can hold")
        );
        // The header is honest about data that unpack to a thousand times their size.
        let mut honest = gzip(&file(8, &[100 << 20], &[]));
        let member = gzip(&vec![0; 1 << 20]);
        (0..100).for_each(|_| honest.extend(&member));
        assert!(refusal(&honest).ends_with("truncated, or a bomb; if you trust it, unpack it first"));
    }

    #[test]
    fn damage_inside_gzip_is_found() {
        let mut packed = gzip(&file(8, &[64], &[5; 64]));
        let checksum = packed.len() - 8;
        packed[checksum] ^= 1;
        assert!(refusal(&packed).starts_with("x-ubyte: cannot be read on from byte 72, inside the end: "));
    }
}
