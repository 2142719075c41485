//! Reading and adding at places that an index names.

use std::ops::Range;

use super::copy::{Dense, copy};
use super::read::for_parts;
use super::threads::{GRAIN, chunk_len, for_chunks};
use crate::{Buffer, DType, Element, Error, Result, Scalar, View, with_element};

/// The indices in row-major order, each checked to lie in `0..size`.
pub fn indices(op: &'static str, index: View, size: usize) -> Result<Vec<usize>> {
    Ok(checked(op, index, size)?.as_slice().iter().map(|&index| index as usize).collect())
}

/// As [`indices`], in the memory where they stand if that is possible.
fn checked<'a>(op: &'static str, index: View<'a>, size: usize) -> Result<Dense<'a, i64>> {
    if !matches!(index.dtype(), DType::I64 | DType::I32) {
        return Err(Error::DType { op, dtype: index.dtype(), hint: "an index must be i64 or i32" });
    }
    let indices = Dense::<i64>::converted(index);
    // As an unsigned number, a negative one is too large as well.
    let outside = |index: i64| index as u64 >= size as u64;
    let all = indices.as_slice();
    if all.iter().fold(false, |any, &index| any | outside(index))
        && let Some(position) = all.iter().position(|&index| outside(index))
    {
        return Err(Error::Index { op, index: all[position], position, size });
    }
    Ok(indices)
}

/// `y[.., i, ..] = x[.., index[.., i, ..], ..]` along `axis`.
pub fn gather(x: View, index: View, axis: usize) -> Result<Buffer> {
    let indices = checked("gather", index, x.shape()[axis])?;
    let indices = indices.as_slice();
    let (size, (_, inner)) = (x.shape()[axis], around(x.shape(), axis));
    let group = index.shape()[axis] * inner;
    let mut y = Buffer::unspecified(x.dtype(), indices.len());
    with_element!(x.dtype(), T => {
        let x = Dense::<T>::new(x);
        let x = x.as_slice();
        for_parts(y.as_mut_slice::<T>(), chunk_len(indices.len(), 4), &|start, y| {
            // Where the group begins that an element belongs to, and its column.
            let (mut base, mut rest, mut column) = (start / group * size * inner, group - start % group, start % inner);
            for (y, &i) in y.iter_mut().zip(&indices[start..]) {
                *y = x[base + i as usize * inner + column];
                column = if column + 1 == inner { 0 } else { column + 1 };
                rest -= 1;
                if rest == 0 {
                    (base, rest) = (base + size * inner, group);
                }
            }
        });
    });
    Ok(y)
}

/// A copy of `x` with `source` added at the places that [`gather`] would read.
pub fn scatter_add(x: View, index: View, source: View, axis: usize) -> Result<Buffer> {
    let indices = checked("scatter_add", index, x.shape()[axis])?;
    let indices = indices.as_slice();
    let (size, (_, inner)) = (x.shape()[axis], around(x.shape(), axis));
    let group = index.shape()[axis] * inner;
    let mut y = copy(x);
    if y.is_empty() || indices.is_empty() {
        return Ok(y);
    }
    with_element!(x.dtype(), T => {
        let source = Dense::<T>::new(source);
        let source = source.as_slice();
        // Groups are told apart, places within one are not: looking for those of a range costs as much as adding to them.
        let (to, together) = (size * inner, (GRAIN / group).max(1));
        for_parts(y.as_mut_slice::<T>(), together * to, &|start, y| {
            let first = start / to * group;
            let parts = indices[first..].chunks(group).zip(source[first..].chunks(group));
            for (y, (indices, source)) in y.chunks_mut(to).zip(parts) {
                for (indices, source) in indices.chunks(inner).zip(source.chunks(inner)) {
                    for (column, (&i, &source)) in indices.iter().zip(source).enumerate() {
                        let place = &mut y[i as usize * inner + column];
                        *place = sum(*place, source);
                    }
                }
            }
        });
    });
    Ok(y)
}

/// What is done to a range of slices of a group: the group's number, the range, and its elements.
type InRange<'f, T> = dyn Fn(usize, Range<usize>, &mut [T]) + Sync + 'f;

/// Calls `f(outer, range, y)` for the slices `range` of the groups of `size` slices of `inner` elements that `y` consists
/// of, on several threads; `work` elements are added to each group.
///
/// Places may be named more than once, so what is added to one of them is added in order, on one thread: each looks through
/// all indices for those of its range.
fn for_ranges<T: Send>(y: &mut [T], size: usize, inner: usize, work: usize, f: &InRange<T>) {
    // More ranges would look at more indices than they add elements, and short slices are added in no time.
    let most = inner.min(8);
    let groups = y.len() / (size * inner);
    let parts = if groups < most { (groups * work / GRAIN).clamp(1, most) } else { 1 };
    let slices = size.div_ceil(parts);
    let mut tasks: Vec<(usize, usize, &mut [T])> = Vec::new();
    for (outer, y) in y.chunks_mut(size * inner).enumerate() {
        tasks.extend(y.chunks_mut(slices * inner).enumerate().map(|(i, y)| (outer, i * slices, y)));
    }
    let together = (GRAIN * parts / work.max(1)).max(1);
    for_chunks(&mut tasks, together, &|_, tasks| {
        for (outer, first, y) in tasks {
            f(*outer, *first..*first + y.len() / inner, y);
        }
    });
}

/// The slices of `x` along `axis` that `index` names.
pub fn index_select(x: View, index: View, axis: usize) -> Result<Buffer> {
    let size = x.shape()[axis];
    let indices = checked("index_select", index, size)?;
    let indices = indices.as_slice();
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
                let from = (row / indices.len() * size + indices[row % indices.len()] as usize) * inner;
                y.copy_from_slice(&x[from..from + inner]);
            }
        });
    });
    Ok(y)
}

/// A copy of `x` with the slices of `source` added to the slices that `index` names.
pub fn index_add(x: View, index: View, source: View, axis: usize) -> Result<Buffer> {
    let size = x.shape()[axis];
    let indices = checked("index_add", index, size)?;
    let indices = indices.as_slice();
    let (_, inner) = around(x.shape(), axis);
    let mut y = copy(x);
    if y.is_empty() || indices.is_empty() {
        return Ok(y);
    }
    with_element!(x.dtype(), T => {
        let source = Dense::<T>::new(source);
        let source = source.as_slice();
        let group = indices.len() * inner;
        for_ranges(y.as_mut_slice::<T>(), size, inner, group, &|outer, range, y| {
            for (&i, source) in indices.iter().zip(source[outer * group..][..group].chunks(inner)) {
                let i = i as usize;
                if range.contains(&i) {
                    let y = &mut y[(i - range.start) * inner..][..inner];
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
