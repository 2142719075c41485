//! Accesses that are checked for the warp as a whole: words of 32 or 64 bits, all of them in one allocation or in shared memory,
//! and nothing wrong with any. The others go lane by lane, and find what is wrong and with which lane.

use std::sync::atomic::Ordering::Relaxed;

use crate::block::Block;
use crate::counters::{Places, each, lanes};
use crate::isa::{Operand, Register, Space};
use crate::memory::{self, Allocation};
use crate::shared;
use crate::warp::{Warp, row_of};

/// An access, with the address in every lane of `mask`.
#[derive(Clone, Copy)]
pub(super) struct Access<'p> {
    pub space: Space,
    pub addresses: &'p [u64; 32],
    pub mask: u32,
    /// Of an element.
    pub size: usize,
    /// Of all elements of a lane.
    pub bytes: usize,
    pub line: u32,
    /// The places in shared memory.
    pub places: &'p Places,
}

impl<'a> Block<'a> {
    /// Loads, and says whether it could.
    #[inline(always)]
    pub(super) fn load_whole(&mut self, warp: &mut Warp, d: &[Register], access: Access) -> bool {
        let Access { space, addresses, mask, size, bytes, .. } = access;
        if !warp.have_width(d, size) {
            return false;
        }
        let words = size / 4;
        match space {
            Space::Shared if !access.places.is_empty() => {
                let lane_0 = self.lane_0(warp, access.line);
                if !self.shared.read_places(access.places, bytes, lane_0) {
                    return false;
                }
                let shared = &self.shared;
                let numbers = row_of(|lane| (addresses[lane] / 4) as u32);
                warp.fill_words(d, mask, words, |lane, at| shared.word(numbers[lane] as usize + at));
                true
            }
            Space::Global => {
                let Some(allocation) = self.allocation(access) else { return false };
                let by = memory::Toucher { launch: self.memory.launch, block: self.number, line: access.line };
                for lane in lanes(mask) {
                    let offset = (addresses[lane] - allocation.start) as usize;
                    if !allocation.read_plainly(offset, bytes, by) {
                        return false;
                    }
                }
                let from = allocation.words();
                warp.fill_words(d, mask, words, |lane, at| {
                    from[(addresses[lane] - allocation.start) as usize / 4 + at].load(Relaxed)
                });
                true
            }
            _ => false,
        }
    }

    /// Stores, and says whether it could.
    #[inline(always)]
    pub(super) fn store_whole(&mut self, warp: &Warp, a: &[Operand], access: Access) -> bool {
        let Access { space, addresses, mask, size, bytes, .. } = access;
        if size < 4 {
            return false;
        }
        let mut rows = [[0u64; 32]; 4];
        rows.iter_mut().zip(a).for_each(|(row, &operand)| *row = warp.row(operand));
        let rows = &rows[..a.len()];
        match space {
            Space::Shared if !access.places.is_empty() => {
                let lane_0 = self.lane_0(warp, access.line);
                if !self.shared.write_places(access.places, bytes, lane_0) {
                    return false;
                }
                for (element, row) in rows.iter().enumerate() {
                    for lane in lanes(mask) {
                        self.shared.store(addresses[lane] as usize + element * size, size, row[lane]);
                    }
                }
                true
            }
            Space::Global => {
                let Some(allocation) = self.allocation(access) else { return false };
                let by = memory::Toucher { launch: self.memory.launch, block: self.number, line: access.line };
                for lane in lanes(mask) {
                    let offset = (addresses[lane] - allocation.start) as usize;
                    if !allocation.write_plainly(offset, bytes, by) {
                        return false;
                    }
                }
                for (element, row) in rows.iter().enumerate() {
                    for lane in lanes(mask) {
                        let offset = (addresses[lane] - allocation.start) as usize;
                        allocation.store_bytes(offset + element * size, size, row[lane]);
                    }
                }
                true
            }
            _ => false,
        }
    }

    /// The allocation that holds the access in all lanes, if one does and all addresses are aligned.
    fn allocation(&mut self, access: Access) -> Option<&'a Allocation> {
        let Access { addresses, mask, bytes, .. } = access;
        let (mut least, mut most, mut bits) = (u64::MAX, 0, 0);
        each(mask, |lane| {
            let address = addresses[lane];
            (least, most, bits) = (least.min(address), most.max(address), bits | address);
        });
        if !bits.is_multiple_of(bytes as u64) {
            return None;
        }
        let holds = |allocation: &&Allocation| allocation.holds(least, bytes) && allocation.holds(most, bytes);
        let found = self.last.filter(holds).or_else(|| self.memory.find(least).filter(holds));
        self.last = found.or(self.last);
        found
    }

    fn lane_0(&self, warp: &Warp, line: u32) -> shared::Toucher {
        shared::Toucher { thread: warp.first_thread as u16, epoch: self.epoch, warp_epoch: warp.epoch, line }
    }
}
