//! Moving elements: copies of any strides, and casts.
//!
//! What only moves elements does not ask what they mean, so it works on words of their size.

use std::marker::PhantomData;

use bytemuck::{Pod, cast_slice, cast_slice_mut};

use super::read::{BLOCK, Reader, Stage, for_parts, map1};
use super::threads::{chunk_len, columns_of_few, for_blocks, for_chunks};
use super::transpose::{BAND, SIDE};
use crate::{Buffer, DType, Element, Layout, Result, View, with_element};

/// Runs `$body` with `$W` bound to the unsigned integer that has the size of `$dtype`'s elements.
macro_rules! with_word {
    ($dtype:expr, $W:ident => $body:expr) => {
        match $dtype.size() {
            1 => {
                type $W = u8;
                $body
            }
            2 => {
                type $W = u16;
                $body
            }
            4 => {
                type $W = u32;
                $body
            }
            _ => {
                type $W = u64;
                $body
            }
        }
    };
}
pub(super) use with_word;

/// The elements as words.
pub fn words<'a, W: Pod>(x: View<'a>) -> Reader<'a, W> {
    Reader::over(cast_slice(x.buffer.bytes()), x.layout)
}

/// The whole buffer as words, for writing.
pub fn words_mut<W: Pod>(y: &mut Buffer) -> &mut [W] {
    cast_slice_mut(y.bytes_mut())
}

/// The elements in row-major order.
pub fn copy(x: View) -> Buffer {
    let mut y = Buffer::unspecified(x.dtype(), x.len());
    with_word!(x.dtype(), W => {
        let data = cast_slice::<u8, W>(x.buffer.bytes());
        copy_words(data, x.layout, words_mut(&mut y));
    });
    y
}

fn copy_words<W: Pod + Send + Sync>(data: &[W], layout: &Layout, y: &mut [W]) {
    if let [outer @ .., (rows, 1), (columns, stride)] = layout.merged().as_slice()
        && *stride > 1
        && !layout.is_empty()
    {
        return transpose(data, layout.offset(), outer, [*rows, *columns], *stride as usize, y);
    }
    let reader = Reader::over(data, layout);
    for_parts(y, chunk_len(layout.len(), 1), &|start, y| reader.copy_to(start, y));
}

/// Copies matrices whose rows lie `stride` apart column by column, a tile at a time: a tile reads and writes whole cache
/// lines, where a plain loop would fetch a line for each element.
fn transpose<W: Pod + Send + Sync>(
    data: &[W],
    offset: usize,
    outer: &[(usize, isize)],
    [rows, columns]: [usize; 2],
    stride: usize,
    y: &mut [W],
) {
    let (sizes, strides): (Vec<usize>, Vec<isize>) = outer.iter().copied().unzip();
    let matrices: Vec<usize> = Layout::strided(&sizes, &strides, offset).positions().collect();
    let total = size_of_val(y);
    // Work is cut between bands of rows, each within one matrix.
    let band = BAND.min((y.len() / (4 * columns)).next_multiple_of(SIDE)).max(SIDE);
    let mut tasks: Vec<(usize, &mut [W])> = Vec::with_capacity(matrices.len() * rows.div_ceil(band));
    for (y, &start) in y.chunks_mut(rows * columns).zip(&matrices) {
        tasks.extend(y.chunks_mut(band * columns).enumerate().map(|(i, y)| (start + i * band, y)));
    }
    let chunk = (chunk_len(rows * columns * matrices.len(), 1) / (band.min(rows) * columns)).max(1);
    for_chunks(&mut tasks, chunk, &|_, tasks| {
        for (start, y) in tasks {
            let x = &data[*start..];
            if size_of::<W>() == 4 {
                super::transpose::transpose(cast_slice(x), stride, cast_slice_mut(y), columns, total);
            } else {
                by_tiles(x, stride, y, columns);
            }
        }
    });
}

/// `y[r * columns + c] = x[c * stride + r]`, a tile at a time.
fn by_tiles<W: Pod>(x: &[W], stride: usize, y: &mut [W], columns: usize) {
    for (band, y) in y.chunks_mut(SIDE * columns).enumerate() {
        for left in (0..columns).step_by(SIDE) {
            let right = columns.min(left + SIDE);
            for (row, y) in y.chunks_mut(columns).enumerate() {
                for (column, y) in (left..right).zip(&mut y[left..right]) {
                    *y = x[band * SIDE + row + column * stride];
                }
            }
        }
    }
}

/// Writes the elements to the places of `y` that `at` describes.
pub fn copy_into(x: View, y: &mut Buffer, at: &Layout) {
    if at.is_empty() {
        return;
    }
    with_word!(x.dtype(), W => {
        let reader = words::<W>(x);
        let y = words_mut::<W>(y);
        let runs = at.merged();
        match runs.as_slice() {
            _ if at.is_contiguous() => {
                let y = &mut y[at.offset()..][..at.len()];
                for_parts(y, chunk_len(at.len(), 1), &|start, y| reader.copy_to(start, y));
            }
            [outer @ .., (len, 1)] => {
                let (sizes, strides): (Vec<usize>, Vec<isize>) = outer.iter().copied().unzip();
                for (i, position) in Layout::strided(&sizes, &strides, at.offset()).positions().enumerate() {
                    reader.copy_to(i * len, &mut y[position..position + len]);
                }
            }
            _ => {
                let mut stage = Stage::new();
                let mut places = at.positions();
                for start in (0..at.len()).step_by(BLOCK) {
                    let block = reader.read(start, BLOCK.min(at.len() - start), &mut stage);
                    block.iter().zip(&mut places).for_each(|(&value, place)| y[place] = value);
                }
            }
        }
    });
}

crate::simd! {
    /// Pixels as numbers.
    fn bytes_to_floats(x: &[u8], y: &mut [f32]) {
        y.iter_mut().zip(x).for_each(|(y, &x)| *y = f32::from(x));
    }
    fn bytes_to_quotients(x: &[u8], divisor: f32, y: &mut [f32]) {
        y.iter_mut().zip(x).for_each(|(y, &x)| *y = f32::from(x) / divisor);
    }
    fn singles_to_doubles(x: &[f32], y: &mut [f64]) {
        y.iter_mut().zip(x).for_each(|(y, &x)| *y = f64::from(x));
    }
    fn doubles_to_singles(x: &[f64], y: &mut [f32]) {
        y.iter_mut().zip(x).for_each(|(y, &x)| *y = x as f32);
    }
}

/// The elements as another type. The pairs that training casts between go many elements at a time.
pub fn cast(x: View, to: DType) -> Buffer {
    if x.dtype() == to {
        return copy(x);
    }
    let mut y = Buffer::unspecified(to, x.len());
    let chunk = chunk_len(x.len(), 1);
    match (x.dtype(), to) {
        (DType::U8, DType::F32) => map1(&Reader::new(x), y.as_mut_slice(), chunk, &bytes_to_floats),
        (DType::F32, DType::F64) => map1(&Reader::new(x), y.as_mut_slice(), chunk, &singles_to_doubles),
        (DType::F64, DType::F32) => map1(&Reader::new(x), y.as_mut_slice(), chunk, &doubles_to_singles),
        _ => cast_one_by_one(x, &mut y),
    }
    y
}

/// Samples that are worked on together, and cut between columns.
const FEW: usize = 128;

/// Bytes as `f32`, divided. Each thread writes those columns of a small batch that it reads in a dense layer's product (see
/// `matmul/long.rs`).
pub fn scaled_bytes(x: View, divisor: f32) -> Buffer {
    let mut y = Buffer::unspecified(DType::F32, x.len());
    let rows = x.shape().first().map_or(1, |&rows| rows.max(1));
    let width = x.len() / rows;
    let few = rows.min(FEW);
    let x = Dense::<u8>::new(x);
    for_blocks(y.as_mut_slice::<f32>(), width, (few, columns_of_few(few, width)), &|rows, columns, y| {
        for (row, y) in rows.zip(y.rows()) {
            bytes_to_quotients(&x.as_slice()[row * width..][columns.clone()], divisor, y);
        }
    });
    y
}

fn cast_one_by_one(x: View, y: &mut Buffer) {
    let to = y.dtype();
    with_element!(x.dtype(), X => with_element!(to, Y => {
        map1(&Reader::<X>::new(x), y.as_mut_slice::<Y>(), chunk_len(x.len(), 2), &|x, y| {
            y.iter_mut().zip(x).for_each(|(y, x)| *y = Y::from_scalar(x.to_scalar()));
        });
    }));
}

/// A view's elements in row-major order: borrowed where they stand so, else copied.
pub struct Dense<'a, T> {
    view: View<'a>,
    copied: Option<Buffer>,
    element: PhantomData<T>,
}

impl<'a, T: Element> Dense<'a, T> {
    /// The elements of `view`, whose type is `T`.
    pub fn new(view: View<'a>) -> Self {
        let copied = (!view.layout.is_contiguous()).then(|| copy(view));
        Self { view, copied, element: PhantomData }
    }

    /// The elements of `view`, whatever its type, converted to `T`.
    pub fn converted(view: View<'a>) -> Self {
        let same = view.dtype() == T::DTYPE && view.layout.is_contiguous();
        Self { view, copied: (!same).then(|| cast(view, T::DTYPE)), element: PhantomData }
    }

    /// The elements.
    pub fn as_slice(&self) -> &[T] {
        match &self.copied {
            Some(buffer) => buffer.as_slice(),
            None => self.view.contiguous().unwrap_or_default(),
        }
    }
}

/// What `f` makes of `views` whose dimension `axis` was put last, with the result's dimension put back.
pub fn with_axis_last<const N: usize>(
    views: [View; N],
    axis: usize,
    f: impl FnOnce([View; N]) -> Result<Buffer>,
) -> Result<Buffer> {
    let rank = views[0].shape().len();
    if axis + 1 == rank {
        return f(views);
    }
    let there: Vec<usize> = (0..rank).filter(|&i| i != axis).chain([axis]).collect();
    let layouts = views.map(|view| view.layout.permute(&there));
    let y = f(std::array::from_fn(|i| View::new(views[i].buffer, &layouts[i])))?;
    let mut back = there.clone();
    there.iter().enumerate().for_each(|(to, &from)| back[from] = to);
    let layout = Layout::contiguous(layouts[0].shape()).permute(&back);
    Ok(copy(View::new(&y, &layout)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::Backend;

    #[test]
    fn bytes_are_divided_wherever_they_stand() {
        let reference: &dyn Backend = &crate::reference::Reference;
        for shape in [&[][..], &[7], &[1, 20_000], &[32, 28, 28], &[129, 784], &[0, 5], &[3, 0]] {
            let bytes = Buffer::from_fn(shape.iter().product(), |i| (i * 7919 % 256) as u8);
            let layout = Layout::contiguous(shape);
            let turned: Vec<usize> = (0..shape.len()).rev().collect();
            for layout in [layout.permute(&turned), layout] {
                let x = View::new(&bytes, &layout);
                let [ours, theirs] = [scaled_bytes(x, 255.0), reference.scaled_bytes(x, 255.0).unwrap()];
                assert_eq!(ours.as_slice::<f32>(), theirs.as_slice::<f32>(), "{shape:?}");
            }
        }
    }
}
