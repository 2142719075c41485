//! Images as squares of pixels and of points, and where these are.

use super::ALL;
use super::transform::{POINTS, RESULTS};
use crate::{Buffer, DType};

/// Images that are cut into squares of results; or several that stand one below the other as one.
#[derive(Clone, Copy)]
pub struct Grid {
    pub n: usize,
    /// Height and width of the results.
    pub results: [usize; 2],
}

impl Grid {
    /// Squares along each side.
    fn sides(&self) -> [usize; 2] {
        self.results.map(|len| len.div_ceil(RESULTS))
    }

    /// Squares of all images.
    pub fn squares(&self) -> usize {
        self.n * self.sides().iter().product::<usize>()
    }

    /// The image of a square, and its first row and column.
    pub fn place(&self, square: usize) -> [usize; 3] {
        let [height, width] = self.sides();
        [square / width / height, square / width % height * RESULTS, square % width * RESULTS]
    }
}

/// The distance of images of which each has squares of its own: no square reaches so far.
pub const APART: isize = isize::MAX;

/// Row-major images without gaps, of which squares are read.
#[derive(Clone, Copy)]
pub struct Image<'a> {
    pub data: &'a [f32],
    /// Height and width.
    pub sizes: [usize; 2],
    pub channels: usize,
    /// How far before a square of results the square begins that they read; negative where after it.
    pub before: [isize; 2],
    /// How many images there are, and how many rows of results below one the next begins: [`APART`], unless the grid has them as one.
    pub n: usize,
    pub distance: isize,
    /// As many as there are channels, for pixels outside of the image.
    pub zeros: &'a [f32],
}

impl Image<'_> {
    /// Where the pixels of the square of `N x N` that belongs to the one at `place` are.
    pub fn pixels<const N: usize>(&self, [n, row, column]: [usize; 3]) -> [[*const f32; N]; N] {
        let [height, width] = self.sizes;
        let (top, left) = (row as isize - self.before[0], column as isize - self.before[1]);
        let (mut n, mut row) = (n as isize + top.div_euclid(self.distance), top.rem_euclid(self.distance));
        let inside: [bool; N] = std::array::from_fn(|j| (0..width as isize).contains(&(left + j as isize)));
        let mut pixels = [[self.zeros.as_ptr(); N]; N];
        for pixels in &mut pixels {
            if row < height as isize && (0..self.n as isize).contains(&n) {
                let start = (n * height as isize + row) * width as isize + left;
                let start = self.data.as_ptr().wrapping_offset(start * self.channels as isize);
                for (j, (pixel, inside)) in pixels.iter_mut().zip(inside).enumerate() {
                    *pixel = if inside { start.wrapping_add(j * self.channels) } else { *pixel };
                }
            }
            row += 1;
            if row == self.distance {
                (n, row) = (n + 1, 0);
            }
        }
        pixels
    }
}

/// The points of some squares: for each point a matrix with a row for each square, which is filled up to whole vectors.
pub struct Points {
    buffer: Buffer,
    /// Elements of a row and of a matrix.
    pub row: usize,
    plane: usize,
}

impl Points {
    pub fn new(squares: usize, channels: usize, lanes: usize) -> Self {
        let row = channels.next_multiple_of(lanes);
        // A line more than the rows take: points of one square had better not compete for the same place of a cache.
        let plane = squares * row + 16;
        Self { buffer: Buffer::unspecified(DType::F32, ALL * plane), row, plane }
    }

    /// Where the points of a square are.
    pub fn of(&mut self, square: usize) -> [[*mut f32; POINTS]; POINTS] {
        let (row, plane) = (self.row, self.plane);
        let start = self.buffer.as_mut_slice::<f32>()[square * row..].as_mut_ptr();
        std::array::from_fn(|i| std::array::from_fn(|j| start.wrapping_add((i * POINTS + j) * plane)))
    }

    /// The matrix of a point.
    pub fn at(&self, point: usize) -> &[f32] {
        &self.buffer.as_slice::<f32>()[point * self.plane..][..self.plane]
    }

    /// The same, for writing.
    pub fn at_mut(&mut self, point: usize) -> &mut [f32] {
        &mut self.buffer.as_mut_slice::<f32>()[point * self.plane..][..self.plane]
    }
}
