//! Accesses of a whole warp to global memory in which each lane's bytes follow those of the lane before, as they do in kernels that
//! are written well: one check for all.

use std::sync::atomic::Ordering::Relaxed;

use crate::block::Block;
use crate::execute::vector::vectorised;
use crate::isa::{Operand, Register};
use crate::memory::{Allocation, Toucher};
use crate::warp::Warp;

/// The address of every lane, the size of an element, the line.
type Run<'p> = (&'p [u64; 32], usize, u32);

vectorised! {
/// Whether the lanes follow one another.
fn is_run(addresses: &[u64; 32], bytes: u64) -> bool {
    let first = addresses[0];
    let mut other = 0u64;
    for (lane, &address) in (0..).zip(addresses) {
        other |= address ^ first.wrapping_add(lane * bytes);
    }
    other == 0 && first & (bytes - 1) == 0
}
}

impl<'a> Block<'a> {
    /// Loads and counts it, and says whether it could.
    #[inline(always)]
    pub(super) fn load_run(&mut self, warp: &mut Warp, d: &[Register], (addresses, size, line): Run) -> bool {
        let bytes = size * d.len();
        if !warp.have_width(d, size) || !is_run(addresses, bytes as u64) {
            return false;
        }
        let Some((allocation, offset)) = self.whole_run(addresses[0], bytes) else { return false };
        if !allocation.read_plainly(offset, 32 * bytes, self.at(line)) {
            return false;
        }
        let from = &allocation.words()[offset / 4..][..8 * bytes];
        let (words, each) = (size / 4, bytes / 4);
        warp.fill_words(d, u32::MAX, words, |lane, at| from[lane * each + at].load(Relaxed));
        self.counters.global_run(addresses[0], bytes);
        true
    }

    /// Stores and counts it, and says whether it could.
    #[inline(always)]
    pub(super) fn store_run(&mut self, warp: &Warp, a: &[Operand], (addresses, size, line): Run) -> bool {
        let bytes = size * a.len();
        if size < 4 || !is_run(addresses, bytes as u64) {
            return false;
        }
        let Some((allocation, offset)) = self.whole_run(addresses[0], bytes) else { return false };
        if !allocation.write_plainly(offset, 32 * bytes, self.at(line)) {
            return false;
        }
        for (element, &a) in a.iter().enumerate() {
            let row = warp.row::<u64>(a);
            for (lane, &value) in row.iter().enumerate() {
                allocation.store_bytes(offset + lane * bytes + element * size, size, value);
            }
        }
        self.counters.global_run(addresses[0], bytes);
        true
    }

    /// Where the run lies, if an allocation holds all of it.
    fn whole_run(&mut self, first: u64, bytes: usize) -> Option<(&'a Allocation, usize)> {
        let holds = |allocation: &&Allocation| allocation.holds(first, 32 * bytes);
        let found = self.last.filter(holds).or_else(|| self.memory.find(first).filter(holds))?;
        self.last = Some(found);
        Some((found, (first - found.start) as usize))
    }

    fn at(&self, line: u32) -> Toucher {
        Toucher { launch: self.memory.launch, block: self.number, line }
    }
}
