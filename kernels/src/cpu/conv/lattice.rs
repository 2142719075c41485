//! A convolution and its gradient, seen alike: along each dimension, some results, evenly spaced, are sums over taps of
//! elements that are evenly spaced too.

use std::ops::Range;

use smallvec::SmallVec;

use crate::window::Axis;

/// Results `first + step * i` for `i` in `0..count`; for each tap, result `i` reads element `source_step * i + offset`, if
/// there is one.
#[derive(Clone, Debug)]
pub struct Lattice {
    pub first: usize,
    pub step: usize,
    pub count: usize,
    /// How many elements there are to read.
    pub source: usize,
    pub source_step: usize,
    /// The taps with their offsets.
    pub taps: SmallVec<[(usize, isize); 8]>,
}

impl Lattice {
    /// The results of a convolution.
    pub fn forward(axis: &Axis) -> Self {
        let taps = (0..axis.kernel).map(|tap| (tap, axis.place(0, tap))).collect();
        Self { first: 0, step: 1, count: axis.output, source: axis.input, source_step: axis.stride, taps }
    }

    /// The gradients of every `stride`-th element from `first` on: they are made of the same taps, since a tap reaches
    /// elements a stride apart.
    pub fn backward(axis: &Axis, first: usize) -> Self {
        let (stride, before) = (axis.stride as isize, axis.before as isize);
        let reach = |tap: usize| first as isize + before - (tap * axis.dilation) as isize;
        let taps = (0..axis.kernel).filter(|&tap| reach(tap).rem_euclid(stride) == 0);
        Self {
            first,
            step: axis.stride,
            count: axis.input.saturating_sub(first).div_ceil(axis.stride),
            source: axis.output,
            source_step: 1,
            taps: taps.map(|tap| (tap, reach(tap).div_euclid(stride))).collect(),
        }
    }

    /// Where a tap with this offset finds an element for a result.
    pub fn read(&self, i: usize, offset: isize) -> Option<usize> {
        usize::try_from((self.source_step * i) as isize + offset).ok().filter(|&place| place < self.source)
    }

    /// The results for which every tap finds an element.
    pub fn inner(&self) -> Range<usize> {
        let lowest = self.taps.iter().map(|&(_, offset)| offset).min().unwrap_or(0);
        let highest = self.taps.iter().map(|&(_, offset)| offset).max().unwrap_or(0);
        let first = (-lowest).max(0) as usize;
        let room = (self.source as isize - highest).max(0) as usize;
        let (first, end) = (first.div_ceil(self.source_step), room.div_ceil(self.source_step).min(self.count));
        first.min(end)..end
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::window::Window;

    #[test]
    fn lattices_read_what_windows_say() {
        for (stride, dilation, before) in [(1, 1, 0), (1, 1, 2), (2, 1, 1), (3, 2, 1), (2, 3, 4)] {
            let window = Window::valid().strided([stride; 2]).dilated([dilation; 2]).padded([[before, 1]; 2]);
            let [axis, _] = window.axes([9; 2], [3; 2]).unwrap();
            let read = |lattice: &Lattice, i: usize| -> Vec<(usize, usize)> {
                let found = |&(tap, offset)| Some((tap, lattice.read(i, offset)?));
                lattice.taps.iter().filter_map(found).collect()
            };
            let forward = Lattice::forward(&axis);
            for o in 0..axis.output {
                assert_eq!(read(&forward, o), axis.taps(o).collect::<Vec<_>>());
                assert_eq!(forward.inner().contains(&o), read(&forward, o).len() == 3);
            }
            let mut seen = 0;
            for first in 0..stride {
                let backward = Lattice::backward(&axis, first);
                for i in 0..backward.count {
                    let found = read(&backward, i);
                    assert_eq!(found, axis.readers(first + stride * i).collect::<Vec<_>>());
                    assert_eq!(backward.inner().contains(&i), found.len() == backward.taps.len());
                    seen += 1;
                }
            }
            assert_eq!(seen, 9);
        }
    }
}
