//! Reading a view of any strides as slices in row-major order.
//!
//! Kernels are written for slices. Where a view's elements stand in a row, [`Reader::read`] hands out the memory itself;
//! where they do not, it gathers a block into a stage that stays in the first cache level. A view that repeats itself
//! after few elements (a scalar, a bias along the last dimension) is gathered once and read at an offset ever after.

use bytemuck::{Pod, cast_slice_mut};
use smallvec::SmallVec;

use super::stream;
use super::threads::for_chunks;
use crate::buffer::scratch::Scratch;
use crate::{Element, Layout, View};

/// How many elements are read at a time, at most.
pub const BLOCK: usize = 1024;

/// How many elements are computed at a time where they are written past the caches: so few that reading, computing and
/// writing overlap, as they do not between longer blocks (12 against 18 GB/s on a thread).
const SMALL_BLOCK: usize = 128;

/// How far ahead of such a block its operands are fetched, in elements.
const AHEAD: usize = 1024;

/// A view's elements, to be read in row-major order.
#[derive(Debug)]
pub struct Reader<'a, T> {
    data: &'a [T],
    /// Sizes and strides, outermost first, where neighbours that form one run are merged.
    runs: SmallVec<[(usize, isize); 6]>,
    offset: usize,
    pattern: Pattern,
}

#[derive(Clone, Copy, Debug)]
enum Pattern {
    /// Row-major without gaps.
    Dense,
    /// Everything repeats after so many elements.
    Periodic(usize),
    /// Anything else.
    General,
}

/// Where a [`Reader`] puts what it gathers. Belongs to one reader.
#[derive(Debug)]
pub struct Stage<T>(Scratch<T>);

impl<T> Stage<T> {
    /// A stage without memory, which it takes when first needed.
    pub const fn new() -> Self {
        Self(Scratch::new())
    }
}

impl<'a, T: Element> Reader<'a, T> {
    /// Reads `view`, whose element type is `T`.
    pub fn new(view: View<'a>) -> Self {
        Self::over(view.buffer.as_slice(), view.layout)
    }
}

impl<'a, T: Pod> Reader<'a, T> {
    /// Reads `data` through `layout`.
    pub fn over(data: &'a [T], layout: &Layout) -> Self {
        let runs = layout.merged();
        let (data, offset) = if layout.is_empty() { (&data[..0], 0) } else { (data, layout.offset()) };
        let pattern = match runs.first() {
            _ if layout.is_contiguous() => Pattern::Dense,
            Some((_, 0)) => {
                let period = runs[1..].iter().map(|&(size, _)| size).product();
                if period <= BLOCK { Pattern::Periodic(period) } else { Pattern::General }
            }
            _ => Pattern::General,
        };
        Self { data, runs, offset, pattern }
    }

    /// Elements `start..start + len`, for `len` up to [`BLOCK`].
    #[inline]
    pub fn read<'s>(&'s self, start: usize, len: usize, stage: &'s mut Stage<T>) -> &'s [T] {
        match self.pattern {
            Pattern::Dense => {
                if len == SMALL_BLOCK {
                    stream::fetch(self.data, self.offset + start + AHEAD, SMALL_BLOCK);
                }
                &self.data[self.offset + start..][..len]
            }
            Pattern::Periodic(period) => {
                let first = start % period;
                if stage.0.len() < first + len {
                    self.repeat(period, first + len, stage);
                }
                &stage.0[first..first + len]
            }
            Pattern::General => match self.within_run(start, len) {
                Some(position) => &self.data[position..][..len],
                None => {
                    if stage.0.len() < len {
                        stage.0 = Scratch::filled(len, T::zeroed());
                    }
                    self.gather(start, &mut stage.0[..len]);
                    &stage.0[..len]
                }
            },
        }
    }

    /// Copies elements `start..start + out.len()`, for any length.
    pub fn copy_to(&self, start: usize, out: &mut [T]) {
        match self.pattern {
            Pattern::Dense => out.copy_from_slice(&self.data[self.offset + start..][..out.len()]),
            _ => self.gather(start, out),
        }
    }

    /// Fills the stage with `len` elements from the start of a period on.
    #[cold]
    fn repeat(&self, period: usize, len: usize, stage: &mut Stage<T>) {
        stage.0 = Scratch::filled(len, T::zeroed());
        let once = period.min(len);
        self.gather(0, &mut stage.0[..once]);
        // What is there is doubled: copied period by period, a number would take a call for every element.
        let mut done = once;
        while done < len {
            let (there, rest) = stage.0.split_at_mut(done);
            let more = done.min(rest.len());
            rest[..more].copy_from_slice(&there[..more]);
            done += more;
        }
    }

    /// Where element `start` stands, if the `len` from there on stand in a row.
    fn within_run(&self, start: usize, len: usize) -> Option<usize> {
        let &(size, stride) = self.runs.last()?;
        (stride == 1 && start % size + len <= size).then(|| self.locate(start).0)
    }

    /// The position of element `start`, and its index along each run.
    fn locate(&self, start: usize) -> (usize, SmallVec<[usize; 6]>) {
        let mut index = SmallVec::from_elem(0, self.runs.len());
        let mut position = self.offset as isize;
        let mut rest = start;
        for (i, &(size, stride)) in self.runs.iter().enumerate().rev() {
            index[i] = rest % size;
            rest /= size;
            position += index[i] as isize * stride;
        }
        (position as usize, index)
    }

    fn gather(&self, start: usize, mut out: &mut [T]) {
        let Some((&(size, stride), outer)) = self.runs.split_last() else {
            return out.fill(self.data[self.offset]);
        };
        let (position, mut index) = self.locate(start);
        let mut position = position as isize;
        let mut done = index[outer.len()];
        while !out.is_empty() {
            let (now, later) = out.split_at_mut((size - done).min(out.len()));
            copy_run(self.data, position, stride, now);
            out = later;
            // On to the next run: back to this one's beginning, then one step along the dimensions outside.
            position -= done as isize * stride;
            done = 0;
            for (axis, &(size, stride)) in outer.iter().enumerate().rev() {
                index[axis] += 1;
                position += stride;
                if index[axis] < size {
                    break;
                }
                index[axis] = 0;
                position -= stride * size as isize;
            }
        }
    }
}

fn copy_run<T: Pod>(data: &[T], position: isize, stride: isize, out: &mut [T]) {
    match stride {
        1 => out.copy_from_slice(&data[position as usize..][..out.len()]),
        0 => out.fill(data[position as usize]),
        _ => {
            for (i, out) in out.iter_mut().enumerate() {
                *out = data[(position + i as isize * stride) as usize];
            }
        }
    }
}

/// As [`for_chunks`], for plain elements: the machinery that spreads work is compiled once, over bytes, instead of once
/// for every kernel and type.
pub fn for_parts<T: Pod>(y: &mut [T], chunk: usize, f: &(dyn Fn(usize, &mut [T]) + Sync)) {
    let size = size_of::<T>();
    let of_bytes = |start: usize, bytes: &mut [u8]| f(start / size, cast_slice_mut(bytes));
    for_byte_chunks(cast_slice_mut(y), chunk.max(1) * size, &of_bytes);
}

fn for_byte_chunks(y: &mut [u8], chunk: usize, f: &(dyn Fn(usize, &mut [u8]) + Sync)) {
    for_chunks(y, chunk, f);
}

/// Calls a function with where each block of a chunk begins in it, and the block.
type Blocks<'a, Y> = dyn FnMut(&mut dyn FnMut(usize, &mut [Y])) + 'a;

/// Calls `f(start, blocks)` for chunks of `y`. A result that is too large for the caches is computed in one that is not,
/// and written past them.
fn for_blocks<Y: Pod>(y: &mut [Y], chunk: usize, f: &(dyn Fn(usize, &mut Blocks<Y>) + Sync)) {
    let past = stream::pays(size_of_val(y));
    for_parts(y, chunk, &|start, y| {
        f(start, &mut |each| {
            if !past {
                return y.chunks_mut(BLOCK).enumerate().for_each(|(i, y)| each(i * BLOCK, y));
            }
            let mut results = [Y::zeroed(); SMALL_BLOCK];
            for (i, y) in y.chunks_mut(SMALL_BLOCK).enumerate() {
                let results = &mut results[..y.len()];
                each(i * SMALL_BLOCK, results);
                stream::copy(results, y);
            }
            stream::fence();
        });
    });
}

/// Calls `f(x, y)` for blocks of `x` and the places of `y` that they belong to, on several threads.
pub fn map1<T: Pod + Sync, Y: Pod>(x: &Reader<T>, y: &mut [Y], chunk: usize, f: &(dyn Fn(&[T], &mut [Y]) + Sync)) {
    for_blocks(y, chunk, &|start, blocks| {
        let mut stage = Stage::new();
        blocks(&mut |i, y| f(x.read(start + i, y.len(), &mut stage), y));
    });
}

type Pairwise<'f, T, Y> = dyn Fn(&[T], &[T], &mut [Y]) + Sync + 'f;

/// Calls `f(a, b, y)` for blocks of `a` and `b` and the places of `y` that they belong to, on several threads.
pub fn map2<T: Pod + Sync, Y: Pod>(a: &Reader<T>, b: &Reader<T>, y: &mut [Y], chunk: usize, f: &Pairwise<'_, T, Y>) {
    for_blocks(y, chunk, &|start, blocks| {
        let (mut stage_a, mut stage_b) = (Stage::new(), Stage::new());
        blocks(&mut |i, y| {
            f(a.read(start + i, y.len(), &mut stage_a), b.read(start + i, y.len(), &mut stage_b), y);
        });
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_what_the_layout_says() {
        let data: Vec<i32> = (0..6000).collect();
        let wide = Layout::contiguous(&[20, 300]);
        let layouts = [
            Layout::contiguous(&[6000]),
            wide.permute(&[1, 0]),
            wide.slice(1, 290, 280, -1),
            wide.slice(0, 3, 9, 2),
            Layout::strided(&[50, 40], &[0, 0], 7),
            Layout::strided(&[50, 40], &[0, 1], 7),
            Layout::strided(&[50, 2, 40], &[0, 100, 1], 7),
            Layout::strided(&[50, 40], &[1, 0], 7),
            Layout::strided(&[4, 1500], &[0, 2], 7),
            Layout::strided(&[40, 50], &[-3, 5], 500),
            Layout::contiguous(&[]),
            Layout::strided(&[0, 3], &[3, 1], 9999),
        ];
        for layout in layouts {
            let expected: Vec<i32> = layout.positions().map(|position| data[position]).collect();
            let reader = Reader::over(&data, &layout);
            let mut stage = Stage::new();
            for len in [1, 7, 600, BLOCK] {
                for start in (0..expected.len().saturating_sub(len)).step_by(41) {
                    assert_eq!(reader.read(start, len, &mut stage), &expected[start..][..len], "{layout:?}");
                }
            }
            let mut all = vec![0; expected.len()];
            reader.copy_to(0, &mut all);
            assert_eq!(all, expected, "{layout:?}");
        }
    }
}
