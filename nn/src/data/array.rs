//! Numbers as files store them, read into buffers.

use std::io;

use byteorder::{BigEndian, ByteOrder, LittleEndian, ReadBytesExt};
use gradus_core::{Buffer, DType, Element};

use super::input::Input;
use crate::Result;

/// An element type of a file; those that no [`DType`] matches are widened to the next one without loss.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Number {
    Bool,
    U8,
    I8,
    I16,
    U16,
    I32,
    U32,
    I64,
    F16,
    BF16,
    F32,
    F64,
}

/// In which order the bytes of a number stand.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Order {
    Little,
    Big,
}

impl Number {
    /// Bytes per number in the file.
    pub(crate) fn size(self) -> usize {
        match self {
            Number::Bool | Number::U8 | Number::I8 => 1,
            Number::I16 | Number::U16 | Number::F16 | Number::BF16 => 2,
            Number::I32 | Number::U32 | Number::F32 => 4,
            Number::I64 | Number::F64 => 8,
        }
    }

    /// The type in memory.
    fn dtype(self) -> DType {
        match self {
            Number::Bool => DType::Bool,
            Number::U8 => DType::U8,
            Number::I8 | Number::I16 | Number::U16 | Number::I32 => DType::I32,
            Number::U32 | Number::I64 => DType::I64,
            Number::F16 => DType::F16,
            Number::BF16 => DType::BF16,
            Number::F32 => DType::F32,
            Number::F64 => DType::F64,
        }
    }

    fn read<O: ByteOrder>(self, input: &mut Input, count: usize) -> io::Result<Buffer> {
        let mut buffer = Buffer::unspecified(self.dtype(), count);
        match self {
            Number::Bool | Number::U8 => io::Read::read_exact(input, buffer.bytes_mut())?,
            Number::F16 | Number::BF16 => input.read_u16_into::<O>(bytemuck::cast_slice_mut(buffer.bytes_mut()))?,
            Number::I32 => input.read_i32_into::<O>(buffer.as_mut_slice())?,
            Number::I64 => input.read_i64_into::<O>(buffer.as_mut_slice())?,
            Number::F32 => input.read_f32_into::<O>(buffer.as_mut_slice())?,
            Number::F64 => input.read_f64_into::<O>(buffer.as_mut_slice())?,
            Number::I8 => widen::<i8, i32>(&mut buffer, |stored| input.read_i8_into(stored))?,
            Number::I16 => widen::<i16, i32>(&mut buffer, |stored| input.read_i16_into::<O>(stored))?,
            Number::U16 => widen::<u16, i32>(&mut buffer, |stored| input.read_u16_into::<O>(stored))?,
            Number::U32 => widen::<u32, i64>(&mut buffer, |stored| input.read_u32_into::<O>(stored))?,
        }
        Ok(buffer)
    }
}

/// Reads the rest of `input` as one array of `shape`. Sizes are checked before memory is taken, and never more than one
/// byte beyond the array is unpacked.
pub(crate) fn read_array(input: &mut Input, number: Number, order: Order, shape: &[usize]) -> Result<Buffer> {
    let bytes = shape.iter().try_fold(number.size(), |bytes, &size| bytes.checked_mul(size));
    // In memory a number may take eight times its bytes in the file.
    let Some(bytes) = bytes.filter(|&bytes| bytes <= isize::MAX as usize / 8) else {
        let what =
            format!("the dimensions {shape:?} in the header overflow: no memory holds so much; the file is damaged");
        return Err(input.damaged(what));
    };
    let promised = format!("the header promises {bytes} bytes (shape {shape:?})");
    let left = input.left();
    if bytes as u64 > left {
        let what = if input.is_packed() {
            format!(
                "{promised}, but the packed data can hold only {left}: truncated, or a bomb; if you trust it, unpack it first"
            )
        } else {
            format!("truncated: {promised}, but only {left} are there; get the file again")
        };
        return Err(input.damaged(what));
    }
    let start = input.done();
    let count = bytes / number.size();
    let read = match order {
        Order::Little => number.read::<LittleEndian>(input, count),
        Order::Big => number.read::<BigEndian>(input, count),
    };
    let buffer = read.map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => {
            let there = input.done() - start;
            input.damaged(format!("truncated: {promised}, but only {there} are there; get the file again"))
        }
        _ => input.failed("the data", &error),
    })?;
    input.finish()?;
    Ok(buffer)
}

fn widen<Stored: Copy + Default, Wide: Element + From<Stored>>(
    buffer: &mut Buffer,
    read: impl FnOnce(&mut [Stored]) -> io::Result<()>,
) -> io::Result<()> {
    let mut stored = vec![Stored::default(); buffer.len()];
    read(&mut stored)?;
    for (wide, &stored) in buffer.as_mut_slice::<Wide>().iter_mut().zip(&stored) {
        *wide = stored.into();
    }
    Ok(())
}
