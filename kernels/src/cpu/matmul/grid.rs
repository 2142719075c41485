//! Dealing the elements of a product out to threads.

use std::ops::Range;

use super::Problem;
use super::tile::Kernels;
use crate::cpu::threads;

/// How the elements of `c` are dealt out as tasks.
pub(super) struct Grid {
    rows: Split,
    columns: Split,
}

/// A length cut into parts of almost the same size, each a multiple of `unit` but for the last.
struct Split {
    len: usize,
    part: usize,
}

impl Split {
    fn new(len: usize, parts: usize, unit: usize) -> Self {
        Self { len, part: len.div_ceil(parts.max(1)).next_multiple_of(unit) }
    }

    fn parts(&self) -> usize {
        self.len.div_ceil(self.part)
    }

    fn range(&self, i: usize) -> Range<usize> {
        i * self.part..self.len.min((i + 1) * self.part)
    }
}

impl Grid {
    /// Multiply-adds that pay for waking a thread.
    const GRAIN: usize = 1 << 20;

    /// Cuts the longer side again and again while parts are worth a thread's while and there are threads without one.
    pub fn new<T>(kernels: &Kernels<T>, p: &Problem<T>, products: usize) -> Self {
        let wanted = match threads::threads() {
            1 => 1,
            threads => (2 * threads).div_ceil(products).min(p.m * p.n * p.k / Self::GRAIN),
        };
        let (height, width) = (kernels.height(), kernels.width());
        let (mut down, mut across) = (1, 1);
        while down * across < wanted {
            let (rows, columns) = (p.m / down, p.n / across);
            if columns >= 2 * width && (columns >= rows || rows < 2 * height) {
                across *= 2;
            } else if rows >= 2 * height {
                down *= 2;
            } else {
                break;
            }
        }
        Self { rows: Split::new(p.m, down, height), columns: Split::new(p.n, across, width) }
    }

    /// How many tasks there are.
    pub fn len(&self) -> usize {
        self.rows.parts() * self.columns.parts()
    }

    /// The rows and columns of a task.
    pub fn part(&self, i: usize) -> (Range<usize>, Range<usize>) {
        (self.rows.range(i / self.columns.parts()), self.columns.range(i % self.columns.parts()))
    }
}
