//! Reading and adding at places that an index names.

use super::copy::{Dense, cast, copy};
use super::read::for_parts;
use super::threads::{GRAIN, chunk_len};
use crate::{Buffer, DType, Element, Error, Layout, Result, Scalar, View, with_element};

/// The indices in row-major order, each checked to lie in `0..size`.
pub fn indices(op: &'static str, index: View, size: usize) -> Result<Vec<usize>> {
    if !matches!(index.dtype(), DType::I64 | DType::I32) {
        return Err(Error::DType { op, dtype: index.dtype(), hint: "an index must be i64 or i32" });
    }
    let check = |(position, &index): (usize, &i64)| {
        let inside = usize::try_from(index).ok().filter(|&index| index < size);
        inside.ok_or(Error::Index { op, index, position, size })
    };
    cast(index, DType::I64).as_slice::<i64>().iter().enumerate().map(check).collect()
}

/// `y[.., i, ..] = x[.., index[.., i, ..], ..]` along `axis`.
pub fn gather(x: View, index: View, axis: usize) -> Result<Buffer> {
    let indices = indices("gather", index, x.shape()[axis])?;
    let mut y = Buffer::unspecified(x.dtype(), indices.len());
    with_element!(x.dtype(), T => {
        let from = x.buffer.as_slice::<T>();
        let places = Places::new(x.layout, index.shape(), axis);
        for ((y, start), &i) in y.as_mut_slice::<T>().iter_mut().zip(places.starts.positions()).zip(&indices) {
            *y = from[places.step(start, i)];
        }
    });
    Ok(y)
}

/// A copy of `x` with `source` added at the places that [`gather`] would read.
pub fn scatter_add(x: View, index: View, source: View, axis: usize) -> Result<Buffer> {
    let indices = indices("scatter_add", index, x.shape()[axis])?;
    let mut y = copy(x);
    with_element!(x.dtype(), T => {
        let source = Dense::<T>::new(source);
        let to = y.as_mut_slice::<T>();
        let layout = Layout::contiguous(x.shape());
        let places = Places::new(&layout, index.shape(), axis);
        for ((&source, start), &i) in source.as_slice().iter().zip(places.starts.positions()).zip(&indices) {
            let place = &mut to[places.step(start, i)];
            *place = sum(*place, source);
        }
    });
    Ok(y)
}

/// Where elements stand that an index selects along one dimension.
struct Places {
    /// The positions for index 0, in row-major order of the index.
    starts: Layout,
    stride: isize,
}

impl Places {
    fn new(layout: &Layout, shape: &[usize], axis: usize) -> Self {
        let mut strides = layout.strides().to_vec();
        let stride = std::mem::take(&mut strides[axis]);
        Self { starts: Layout::strided(shape, &strides, layout.offset()), stride }
    }

    fn step(&self, start: usize, index: usize) -> usize {
        (start as isize + index as isize * self.stride) as usize
    }
}

/// The slices of `x` along `axis` that `index` names.
pub fn index_select(x: View, index: View, axis: usize) -> Result<Buffer> {
    let size = x.shape()[axis];
    let indices = indices("index_select", index, size)?;
    let (outer, inner) = around(x.shape(), axis);
    let mut y = Buffer::unspecified(x.dtype(), outer * indices.len() * inner);
    if y.is_empty() {
        return Ok(y);
    }
    with_element!(x.dtype(), T => {
        let x = Dense::<T>::new(x);
        let x = x.as_slice();
        let rows = (chunk_len(y.len(), 1) / inner).max(1);
        for_parts(y.as_mut_slice::<T>(), rows * inner, &|start, y| {
            for (row, y) in (start / inner..).zip(y.chunks_mut(inner)) {
                let from = (row / indices.len() * size + indices[row % indices.len()]) * inner;
                y.copy_from_slice(&x[from..from + inner]);
            }
        });
    });
    Ok(y)
}

/// A copy of `x` with the slices of `source` added to the slices that `index` names.
pub fn index_add(x: View, index: View, source: View, axis: usize) -> Result<Buffer> {
    let size = x.shape()[axis];
    let indices = indices("index_add", index, size)?;
    let (_, inner) = around(x.shape(), axis);
    let mut y = copy(x);
    if y.is_empty() || indices.is_empty() {
        return Ok(y);
    }
    with_element!(x.dtype(), T => {
        let source = Dense::<T>::new(source);
        let source = source.as_slice();
        let (to, from) = (size * inner, indices.len() * inner);
        // Slices may be named more than once, so their additions stay in order, on one thread.
        let together = (GRAIN / from).max(1);
        for_parts(y.as_mut_slice::<T>(), together * to, &|start, y| {
            for (y, source) in y.chunks_mut(to).zip(source[start / to * from..].chunks(from)) {
                for (&i, source) in indices.iter().zip(source.chunks(inner)) {
                    let y = &mut y[i * inner..][..inner];
                    y.iter_mut().zip(source).for_each(|(y, &source)| *y = sum(*y, source));
                }
            }
        });
    });
    Ok(y)
}

/// The products of the sizes before and behind `axis`.
fn around(shape: &[usize], axis: usize) -> (usize, usize) {
    (shape[..axis].iter().product(), shape[axis + 1..].iter().product())
}

/// Rounded once for floats (the double-precision sum of two narrower numbers loses nothing that matters), wrapping for
/// integers.
#[inline(always)]
fn sum<T: Element>(a: T, b: T) -> T {
    match (a.to_scalar(), b.to_scalar()) {
        (Scalar::Int(a), Scalar::Int(b)) => T::wrap(a.wrapping_add(b)),
        (a, b) => T::from_scalar(Scalar::Float(a.as_f64() + b.as_f64())),
    }
}
