//! Which elements of a buffer a tensor consists of, and in which order: shape, strides and offset.
//!
//! Transposing, slicing, flipping and broadcasting change only this description. A stride is the distance, in elements,
//! between neighbours along a dimension: 0 repeats one element (broadcasting), a negative one walks backwards.

use smallvec::SmallVec;

/// Sizes of dimensions; up to six stand in place, without memory of their own.
pub type Dims = SmallVec<[usize; 6]>;

/// Distances between neighbours along each dimension, in elements.
pub type Strides = SmallVec<[isize; 6]>;

/// Shape, strides and offset.
#[derive(Debug, PartialEq, Eq)]
pub struct Layout {
    shape: Dims,
    strides: Strides,
    offset: usize,
}

impl Clone for Layout {
    /// Copies dimensions at once, where the derived function would push one after the other: every view is a clone.
    fn clone(&self) -> Self {
        Self::strided(&self.shape, &self.strides, self.offset)
    }
}

impl Layout {
    /// Row-major order without gaps, starting at the buffer's first element.
    pub fn contiguous(shape: &[usize]) -> Self {
        Self { shape: Dims::from_slice(shape), strides: row_major(shape), offset: 0 }
    }

    /// Any shape, strides and offset; [`Layout::fits`] tells whether a buffer covers it.
    pub fn strided(shape: &[usize], strides: &[isize], offset: usize) -> Self {
        assert_eq!(shape.len(), strides.len(), "one stride for each dimension");
        Self { shape: Dims::from_slice(shape), strides: Strides::from_slice(strides), offset }
    }

    /// The sizes of the dimensions.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The distances between neighbours.
    pub fn strides(&self) -> &[isize] {
        &self.strides
    }

    /// Where the first element stands in the buffer.
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// The number of dimensions.
    pub fn rank(&self) -> usize {
        self.shape.len()
    }

    /// The number of elements; 1 for a scalar, which has no dimensions.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether some dimension has size 0.
    pub fn is_empty(&self) -> bool {
        self.shape.contains(&0)
    }

    /// Whether the elements stand in row-major order without gaps.
    pub fn is_contiguous(&self) -> bool {
        let mut expected = 1;
        for (&size, &stride) in self.shape.iter().zip(&self.strides).rev() {
            if size == 0 {
                return true;
            }
            if size > 1 && stride != expected {
                return false;
            }
            expected *= size as isize;
        }
        true
    }

    /// Whether every element lies within a buffer of `len` elements.
    pub fn fits(&self, len: usize) -> bool {
        if self.is_empty() {
            return true;
        }
        let reach = |sign: isize| -> isize {
            let steps = self.shape.iter().zip(&self.strides).filter(|&(_, &stride)| stride.signum() == sign);
            steps.map(|(&size, &stride)| (size as isize - 1) * stride).sum()
        };
        let first = self.offset as isize + reach(-1);
        let last = self.offset as isize + reach(1);
        first >= 0 && (last as usize) < len
    }

    /// The dimensions in the order that `axes` gives.
    pub fn permute(&self, axes: &[usize]) -> Self {
        Self {
            shape: axes.iter().map(|&axis| self.shape[axis]).collect(),
            strides: axes.iter().map(|&axis| self.strides[axis]).collect(),
            offset: self.offset,
        }
    }

    /// Elements `start`, `start + step`, … of one dimension, `len` of them; `step` may be negative.
    pub fn slice(&self, axis: usize, start: usize, len: usize, step: isize) -> Self {
        let mut out = self.clone();
        if len > 0 {
            out.offset = (out.offset as isize + start as isize * self.strides[axis]) as usize;
        }
        out.shape[axis] = len;
        out.strides[axis] *= step;
        out
    }

    /// A new dimension of size 1 before `axis`.
    pub fn insert_axis(&self, axis: usize) -> Self {
        let mut out = self.clone();
        out.shape.insert(axis, 1);
        out.strides.insert(axis, 0);
        out
    }

    /// Without the dimension `axis`, whose size must be 1.
    pub fn remove_axis(&self, axis: usize) -> Self {
        assert_eq!(self.shape[axis], 1, "only a dimension of size 1 can be removed");
        let mut out = self.clone();
        out.shape.remove(axis);
        out.strides.remove(axis);
        out
    }

    /// The same elements repeated to `shape`, or nothing if the shapes do not match.
    ///
    /// Dimensions are aligned at the right; a missing one or one of size 1 is repeated.
    pub fn broadcast_to(&self, shape: &[usize]) -> Option<Self> {
        let missing = shape.len().checked_sub(self.rank())?;
        let mut strides: Strides = SmallVec::from_elem(0, missing);
        for (axis, (&size, &stride)) in self.shape.iter().zip(&self.strides).enumerate() {
            match shape[missing + axis] {
                wanted if wanted == size => strides.push(stride),
                _ if size == 1 => strides.push(0),
                _ => return None,
            }
        }
        Some(Self { shape: Dims::from_slice(shape), strides, offset: self.offset })
    }

    /// The same elements in another shape of the same length, or nothing where that needs a copy.
    pub fn reshape(&self, shape: &[usize]) -> Option<Self> {
        debug_assert_eq!(shape.iter().product::<usize>(), self.len());
        if self.is_contiguous() {
            return Some(Self { offset: self.offset, ..Self::contiguous(shape) });
        }
        // Runs of old dimensions that lie evenly in memory are split anew; each new dimension must fall within one run.
        let runs = self.merged();
        let mut strides: Strides = SmallVec::from_elem(0, shape.len());
        let mut axis = shape.len();
        for &(size, stride) in runs.iter().rev() {
            let mut covered = 1;
            while covered < size {
                axis = axis.checked_sub(1)?;
                strides[axis] = stride * covered as isize;
                covered *= shape[axis];
            }
            if covered != size {
                return None;
            }
        }
        Some(Self { shape: Dims::from_slice(shape), strides, offset: self.offset })
    }

    /// The fewest `(size, stride)` pairs that visit the same elements in the same order, outermost first.
    pub fn merged(&self) -> SmallVec<[(usize, isize); 6]> {
        let mut runs: SmallVec<[(usize, isize); 6]> = SmallVec::new();
        for (&size, &stride) in self.shape.iter().zip(&self.strides) {
            if size == 1 {
                continue;
            }
            match runs.last_mut() {
                Some((outer, outer_stride)) if *outer_stride == stride * size as isize => {
                    *outer *= size;
                    *outer_stride = stride;
                }
                _ => runs.push((size, stride)),
            }
        }
        runs
    }

    /// Buffer positions of the elements in row-major order.
    pub fn positions(&self) -> Positions<'_> {
        Positions {
            layout: self,
            index: SmallVec::from_elem(0, self.rank()),
            next: self.offset as isize,
            left: self.len(),
        }
    }
}

/// Strides of `shape` in row-major order.
pub fn row_major(shape: &[usize]) -> Strides {
    let mut strides: Strides = SmallVec::from_elem(1, shape.len());
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis] * shape[axis].max(1) as isize;
    }
    strides
}

/// The shape to which all of `shapes` can be broadcast, or nothing if two of them clash.
pub fn broadcast_shapes(shapes: &[&[usize]]) -> Option<Dims> {
    let rank = shapes.iter().map(|shape| shape.len()).max().unwrap_or(0);
    let mut out: Dims = SmallVec::from_elem(1, rank);
    for shape in shapes {
        for (wanted, &size) in out[rank - shape.len()..].iter_mut().zip(*shape) {
            match (*wanted, size) {
                (have, size) if have == size || size == 1 => {}
                (1, size) => *wanted = size,
                _ => return None,
            }
        }
    }
    Some(out)
}

/// Iterator over buffer positions; see [`Layout::positions`].
#[derive(Debug)]
pub struct Positions<'a> {
    layout: &'a Layout,
    index: Dims,
    next: isize,
    left: usize,
}

impl Iterator for Positions<'_> {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        self.left = self.left.checked_sub(1)?;
        let here = self.next as usize;
        for axis in (0..self.index.len()).rev() {
            let (size, stride) = (self.layout.shape[axis], self.layout.strides[axis]);
            self.index[axis] += 1;
            self.next += stride;
            if self.index[axis] < size {
                break;
            }
            self.index[axis] = 0;
            self.next -= stride * size as isize;
        }
        Some(here)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Positions<'_> {}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(layout: &Layout) -> Vec<usize> {
        layout.positions().collect()
    }

    #[test]
    fn views_visit_the_elements_that_their_names_promise() {
        let layout = Layout::contiguous(&[2, 3]);
        assert_eq!(order(&layout), [0, 1, 2, 3, 4, 5]);
        assert_eq!(order(&layout.permute(&[1, 0])), [0, 3, 1, 4, 2, 5]);
        assert_eq!(order(&layout.slice(1, 2, 3, -1)), [2, 1, 0, 5, 4, 3]);
        assert_eq!(order(&layout.slice(1, 1, 2, 1)), [1, 2, 4, 5]);
        assert_eq!(order(&Layout::contiguous(&[3]).broadcast_to(&[2, 3]).unwrap()), [0, 1, 2, 0, 1, 2]);
        assert_eq!(order(&Layout::contiguous(&[])), [0]);
        assert!(order(&Layout::contiguous(&[2, 0])).is_empty());
    }

    #[test]
    fn reshape_keeps_the_order_or_refuses() {
        let layout = Layout::contiguous(&[4, 6]);
        let halves = layout.slice(1, 0, 3, 2);
        let split = halves.reshape(&[2, 2, 3]).unwrap();
        assert_eq!(order(&split), order(&halves));
        let merged = layout.slice(0, 3, 2, -2).reshape(&[2, 3, 2]).unwrap();
        assert_eq!(order(&merged), order(&layout.slice(0, 3, 2, -2)));
        assert_eq!(layout.permute(&[1, 0]).reshape(&[24]), None);
        let wide = Layout::contiguous(&[2]).broadcast_to(&[3, 2]).unwrap();
        assert_eq!(order(&wide.reshape(&[3, 1, 2]).unwrap()), order(&wide));
    }

    #[test]
    fn fits_knows_both_ends() {
        let backwards = Layout::strided(&[3], &[-1], 2);
        assert!(backwards.fits(3) && !backwards.fits(2));
        assert!(!Layout::strided(&[3], &[-2], 2).fits(100));
        assert!(Layout::strided(&[0, 9], &[1, 1], 50).fits(0));
    }

    #[test]
    fn shapes_broadcast_as_in_numpy() {
        assert_eq!(broadcast_shapes(&[&[2, 1], &[3]]).unwrap().as_slice(), [2, 3]);
        assert_eq!(broadcast_shapes(&[&[0], &[1]]).unwrap().as_slice(), [0]);
        assert_eq!(broadcast_shapes(&[&[2], &[3]]), None);
        assert_eq!(broadcast_shapes(&[]).unwrap().len(), 0);
    }
}
