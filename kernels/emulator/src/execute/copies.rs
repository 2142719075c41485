//! Asynchronous copies: what is copied arrives when its group is waited for, not before.

use crate::block::{Block, Done, wrong};
use crate::counters::lanes;
use crate::fault::FaultKind;
use crate::isa::{Address, Operand, Space};
use crate::memory::Access;
use crate::shared::Toucher;
use crate::warp::{Copy, Warp};

use super::access::Spot;

impl Block<'_> {
    /// Starts a copy in each lane.
    pub(super) fn copy_async(
        &mut self,
        warp: &mut Warp,
        (to, from): (Address, Address),
        bytes: usize,
        size: Option<Operand>,
        line: u32,
        mask: u32,
    ) -> Done {
        let (to, from) = (self.addresses(warp, to), self.addresses(warp, from));
        let sizes = size.map_or([bytes as u32; 32], |size| warp.row::<u32>(size));
        self.counters.shared(&self.banks.serve(&to, mask, bytes));
        self.counters.global(&from, mask, bytes);
        for lane in lanes(mask) {
            let (to, from, size) = (to[lane], from[lane], (sizes[lane] as usize).min(bytes));
            for address in [to, from] {
                if !address.is_multiple_of(bytes as u64) {
                    return Err(wrong(lane, FaultKind::Misaligned { access: "a copy", address, bytes }));
                }
            }
            if !self.shared.holds(to, bytes) {
                let kind = FaultKind::OutOfBounds { access: "a copy", space: Space::Shared, address: to, bytes };
                return Err(wrong(lane, kind));
            }
            // What is read is checked now, byte by byte where only a part is.
            let step = if size == bytes { bytes } else { 1 };
            for at in (0..size).step_by(step) {
                self.spot(warp, (Space::Global, line), lane, from + at as u64, step, Access::Read)?;
            }
            let by = self.toucher(warp, lane, line);
            self.shared.begin_copy(to as usize, bytes, by).map_err(|kind| wrong(lane, kind))?;
            let group = warp.groups[lane];
            warp.copies.push(Copy { lane, group, to: to as usize, from, bytes, size });
        }
        Ok(())
    }

    /// Ends the copies of all groups of the lanes in `mask` but the last `unfinished`.
    pub(super) fn wait_group(&mut self, warp: &mut Warp, unfinished: Option<u32>, line: u32, mask: u32) -> Done {
        let copies = std::mem::take(&mut warp.copies);
        for copy in copies {
            let ended = warp.groups[copy.lane];
            let is_done = match unfinished {
                None => true,
                Some(unfinished) => copy.group + unfinished < ended,
            };
            if mask >> copy.lane & 1 == 0 || !is_done {
                warp.copies.push(copy);
                continue;
            }
            for at in 0..copy.bytes {
                let byte = match at < copy.size {
                    // Checked when it started.
                    true => {
                        let from = copy.from + at as u64;
                        match self.memory.find(from).filter(|found| found.holds(from, 1)) {
                            Some(found) => self.get(warp, Spot::Global(found, (from - found.start) as usize), 0, 1),
                            None => 0,
                        }
                    }
                    false => 0,
                };
                self.shared.store(copy.to + at, 1, byte);
            }
            let by = self.toucher(warp, copy.lane, line);
            self.shared.end_copy(copy.to, copy.bytes, by);
        }
        Ok(())
    }

    fn toucher(&self, warp: &Warp, lane: usize, line: u32) -> Toucher {
        let thread = warp.first_thread as u16 + lane as u16;
        Toucher { thread, epoch: self.epoch, warp_epoch: warp.epoch, line }
    }
}
