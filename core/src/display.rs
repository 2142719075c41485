//! Printing: rows and columns as NumPy shows them, long dimensions with their middle left out.

use std::fmt;

use gradus_kernels::{Scalar, with_element};

use crate::{Result, Tensor};

/// A dimension longer than this shows only its first and last [`EDGE`] elements.
const LONG: usize = 8;
const EDGE: usize = 3;

impl fmt::Display for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ok(shown) = self.shown() else { return f.write_str("(unreadable tensor)") };
        let width = shown.iter().map(String::len).max().unwrap_or(0);
        let mut elements = shown.iter();
        write_level(f, self.shape(), 0, width, &mut elements)?;
        write!(f, "\n{:?} {}", self.shape(), self.dtype())?;
        if self.device() != crate::Device::CPU {
            write!(f, " on {}", self.device())?;
        }
        if self.is_tracked() { f.write_str(", tracked") } else { Ok(()) }
    }
}

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Tensor {
    /// The elements that will be seen, as text.
    fn shown(&self) -> Result<Vec<String>> {
        let mut part = self.detach();
        for axis in 0..self.rank() {
            let size = part.shape()[axis];
            if size > LONG {
                let axis = axis as isize;
                part = Tensor::cat(&[&part.slice(axis, 0, EDGE)?, &part.slice(axis, size - EDGE, size)?], axis)?;
            }
        }
        let scalars: Vec<Scalar> =
            with_element!(part.dtype(), T => part.to_vec::<T>()?.into_iter().map(Scalar::from).collect());
        Ok(scalars.into_iter().map(|scalar| self.text(scalar)).collect())
    }

    fn text(&self, scalar: Scalar) -> String {
        match scalar {
            Scalar::Int(x) if self.dtype() == crate::DType::Bool => (x != 0).to_string(),
            Scalar::Int(x) => x.to_string(),
            Scalar::Float(x) if x != 0.0 && x.is_finite() && !(1e-4..1e6).contains(&x.abs()) => format!("{x:.4e}"),
            Scalar::Float(x) => format!("{x:.4}"),
        }
    }
}

fn write_level(
    f: &mut fmt::Formatter<'_>,
    shape: &[usize],
    depth: usize,
    width: usize,
    elements: &mut std::slice::Iter<'_, String>,
) -> fmt::Result {
    let Some((&size, inner)) = shape.split_first() else {
        return elements.next().map_or(Ok(()), |element| write!(f, "{element:>width$}"));
    };
    let separator = if inner.is_empty() {
        ", ".to_owned()
    } else {
        format!(",{}{}", "\n".repeat(inner.len()), " ".repeat(depth + 1))
    };
    f.write_str("[")?;
    let shown = if size > LONG { 2 * EDGE } else { size };
    for i in 0..shown {
        if i > 0 {
            f.write_str(&separator)?;
        }
        if size > LONG && i == EDGE {
            write!(f, "…{separator}")?;
        }
        write_level(f, inner, depth + 1, width, elements)?;
    }
    f.write_str("]")
}

#[cfg(test)]
mod tests {
    use crate::{DType, Device, Tensor};

    #[test]
    fn matrices_are_aligned_and_long_dimensions_shortened() {
        let x = Tensor::from_slice(&[1f32, -2.5, 30.0, 4e-9], &[2, 2]).unwrap();
        let expected = "[[   1.0000,   -2.5000],\n [  30.0000, 4.0000e-9]]\n[2, 2] f32";
        assert_eq!(x.to_string(), expected);
        let long = Tensor::arange(0.0, 100.0, 1.0, DType::I64, Device::CPU).unwrap();
        assert_eq!(long.to_string(), "[ 0,  1,  2, …, 97, 98, 99]\n[100] i64");
        assert_eq!(Tensor::scalar(2f64).to_string(), "2.0000\n[] f64");
        assert_eq!(Tensor::zeros(&[2, 0], DType::U8, Device::CPU).unwrap().to_string(), "[[],\n []]\n[2, 0] u8");
    }
}
