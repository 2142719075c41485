//! Dealing the elements of a product out to threads.

use std::ops::Range;

use super::Problem;
use super::kernels::Kernels;
use crate::cpu::cache::caches;
use crate::cpu::threads;

/// How the elements of `c` are dealt out as tasks.
pub(super) struct Grid {
    rows: Split,
    columns: Split,
}

/// A length cut into parts of almost the same size, each a multiple of `unit` but for the last.
pub(super) struct Split {
    len: usize,
    part: usize,
}

impl Split {
    pub fn new(len: usize, parts: usize, unit: usize) -> Self {
        Self { len, part: len.div_ceil(parts.max(1)).next_multiple_of(unit) }
    }

    pub fn parts(&self) -> usize {
        self.len.div_ceil(self.part)
    }

    pub fn range(&self, i: usize) -> Range<usize> {
        i * self.part..self.len.min((i + 1) * self.part)
    }
}

impl Grid {
    /// Multiply-adds that pay for handing a part to another thread, which takes some tenths of a microsecond where a worker is awake:
    /// one or two microseconds.
    const GRAIN: usize = 1 << 17;

    /// As many parts as there are threads, or as many as are worth a thread's while: a few large parts, since each packs
    /// its own blocks.
    pub fn new<T>(kernels: &Kernels<T>, p: &Problem<T>, products: usize) -> Self {
        let wanted = match threads::threads() {
            1 => 1,
            threads => threads.div_ceil(products).min(p.m * p.n * p.k / Self::GRAIN),
        };
        let fits = |&(down, across): &(usize, usize)| {
            (down == 1 || p.m >= down * kernels.height() / 2) && (across == 1 || p.n >= across * kernels.width())
        };
        // Of all ways to cut into so many parts, the one whose parts read least: a part reads its rows of `a` and whole panels of
        // its columns of `b`. If it makes no difference, each reads all of the one that is cheaper to read twice: of a small `b`,
        // which is read where it lies, else of `a`.
        let is_small = p.k * p.n * size_of::<T>() <= caches().l2;
        let cost = |&(down, across): &(usize, usize)| {
            let reads = p.m.div_ceil(down) + p.n.div_ceil(across).next_multiple_of(kernels.width());
            (reads, if is_small { across } else { down })
        };
        let cuts = |parts: usize| {
            (1..=parts).filter(move |down| parts.is_multiple_of(*down)).map(move |down| (down, parts / down))
        };
        let best = |parts| cuts(parts).filter(fits).min_by_key(cost);
        let (down, across) = (1..=wanted).rev().find_map(best).unwrap_or((1, 1));
        Self { rows: Split::new(p.m, down, 1), columns: Split::new(p.n, across, kernels.lanes) }
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
