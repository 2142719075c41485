//! What decides speed on a GPU, counted.

mod banks;

use std::ops::AddAssign;

pub(crate) use banks::{Memo, Places, Served};

/// Counts over a whole launch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Instructions, each counted once for a warp.
    pub instructions: u64,
    /// Instructions, each counted for every lane that took part.
    pub lane_instructions: u64,
    /// Multiply-adds of `f32`, for every lane.
    pub multiply_adds: u64,
    /// Products of the tensor core, for every warp.
    pub tensor_products: u64,
    /// Branches that lanes of a warp took differently.
    pub divergent_branches: u64,
    /// Accesses to global memory, each counted once for a warp.
    pub global_requests: u64,
    /// Sectors of 32 bytes that those touched. The fewest possible are the bytes asked for over 32.
    pub global_sectors: u64,
    /// Bytes that lanes asked for in global memory.
    pub global_bytes: u64,
    /// Accesses to shared memory, each counted once for a warp.
    pub shared_requests: u64,
    /// Turns that those took: a bank serves one word a turn, so lanes that want different words of a bank wait.
    pub shared_turns: u64,
    /// Turns that those would have taken without conflicts.
    pub shared_turns_ideal: u64,
    /// Barriers, each counted once for a block.
    pub barriers: u64,
    /// Atomics on global memory, for every lane.
    pub global_atomics: u64,
}

impl Counters {
    /// Sectors a request of global memory touches on average; 4 is the fewest for 32 lanes of 4 bytes.
    pub fn sectors_per_request(&self) -> f64 {
        ratio(self.global_sectors, self.global_requests)
    }

    /// The share of the bytes in touched sectors that lanes asked for; above 1 where lanes share bytes.
    pub fn sector_use(&self) -> f64 {
        ratio(self.global_bytes, 32 * self.global_sectors)
    }

    /// How many turns were lost to conflicts between banks.
    pub fn bank_conflicts(&self) -> u64 {
        self.shared_turns - self.shared_turns_ideal
    }

    /// The share of all lanes of executed instructions that took part.
    pub fn active_lanes(&self) -> f64 {
        ratio(self.lane_instructions, 32 * self.instructions)
    }

    /// The share of executed instructions that are multiply-adds.
    pub fn multiply_add_share(&self) -> f64 {
        ratio(self.multiply_adds, self.lane_instructions)
    }

    /// Counts an access of a whole warp to global memory in which each lane's bytes follow those of the lane before.
    pub(crate) fn global_run(&mut self, first: u64, bytes: usize) {
        let all = 32 * bytes as u64;
        self.global_requests += 1;
        self.global_bytes += all;
        self.global_sectors += (first + all - 1) / 32 - first / 32 + 1;
    }

    /// Counts an access of a warp to global memory: `bytes` at each of the addresses.
    pub(crate) fn global(&mut self, addresses: &[u64; 32], mask: u32, bytes: usize) {
        self.global_requests += 1;
        self.global_bytes += u64::from(mask.count_ones()) * bytes as u64;
        let mut sectors = [u64::MAX; 32];
        let mut count = 0;
        for lane in lanes(mask) {
            // An aligned access of up to 16 bytes lies in one sector.
            let sector = addresses[lane] / 32;
            if count == 0 || sectors[count - 1] != sector {
                sectors[count] = sector;
                count += 1;
            }
        }
        let sectors = &mut sectors[..count];
        if !sectors.is_sorted() {
            sectors.sort_unstable();
        }
        self.global_sectors += sectors.chunk_by(|a, b| a == b).count() as u64;
    }

    /// Counts an access of a warp to shared memory.
    #[inline(always)]
    pub(crate) fn shared(&mut self, served: &Served) {
        self.shared_requests += 1;
        self.shared_turns += served.turns;
        self.shared_turns_ideal += served.ideal;
    }
}

impl AddAssign for Counters {
    fn add_assign(&mut self, other: Counters) {
        self.instructions += other.instructions;
        self.lane_instructions += other.lane_instructions;
        self.multiply_adds += other.multiply_adds;
        self.tensor_products += other.tensor_products;
        self.divergent_branches += other.divergent_branches;
        self.global_requests += other.global_requests;
        self.global_sectors += other.global_sectors;
        self.global_bytes += other.global_bytes;
        self.shared_requests += other.shared_requests;
        self.shared_turns += other.shared_turns;
        self.shared_turns_ideal += other.shared_turns_ideal;
        self.barriers += other.barriers;
        self.global_atomics += other.global_atomics;
    }
}

/// Calls `f` with the number of each lane in a mask; faster than [`lanes`] where it is all of them.
#[inline(always)]
pub(crate) fn each(mask: u32, mut f: impl FnMut(usize)) {
    if mask == u32::MAX {
        (0..32).for_each(f);
    } else {
        lanes(mask).for_each(&mut f);
    }
}

/// The numbers of the lanes in a mask.
pub(crate) fn lanes(mut mask: u32) -> impl Iterator<Item = usize> + Clone {
    std::iter::from_fn(move || {
        let lane = mask.trailing_zeros() as usize;
        mask &= mask.wrapping_sub(1);
        (lane < 32).then_some(lane)
    })
}

fn ratio(part: u64, whole: u64) -> f64 {
    part as f64 / whole.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sectors(address: impl Fn(u64) -> u64, bytes: usize) -> u64 {
        let mut counters = Counters::default();
        counters.global(&std::array::from_fn(|lane| address(lane as u64)), u32::MAX, bytes);
        counters.global_sectors
    }

    #[test]
    fn sectors_are_counted_once() {
        assert_eq!(sectors(|lane| 4 * lane, 4), 4);
        assert_eq!(sectors(|lane| 4 * (31 - lane), 4), 4);
        assert_eq!(sectors(|lane| 4 * (lane % 2) * 1000, 4), 2);
        assert_eq!(sectors(|lane| 128 * lane, 4), 32);
        assert_eq!(sectors(|lane| 16 * lane, 16), 16);
    }

    #[test]
    fn a_run_is_counted_as_its_lanes_are() {
        for (first, bytes) in [(256, 4), (260, 4), (256, 8), (272, 16), (284, 4), (264, 8)] {
            let (mut run, mut lanes) = (Counters::default(), Counters::default());
            run.global_run(first, bytes);
            lanes.global(&std::array::from_fn(|lane| first + (lane * bytes) as u64), u32::MAX, bytes);
            assert_eq!(run, lanes, "{bytes} bytes from {first} on");
        }
    }
}
