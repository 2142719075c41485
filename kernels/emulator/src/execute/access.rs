//! Loads, stores and atomics, each access checked.

mod run;
mod whole;

use crate::block::{Block, Done, wrong};
use crate::counters::{Places, lanes};
use crate::fault::FaultKind;
use crate::isa::{Address, Atomic, Op, Operand, Register, Space, Type};
use crate::memory::{self, Access};
use crate::shared;
use crate::warp::{ALL, Lane, Warp, Word, row_of};

use super::numbers::Number;
use super::resolve;

/// The space, the type and the line of an access.
type Form = (Space, Type, u32);

/// A place that has been checked: where to load or store.
#[derive(Clone, Copy)]
pub(super) enum Spot<'a> {
    Global(&'a memory::Allocation, usize),
    Shared(usize),
    /// The lane's own words, by their position in the warp's.
    Local(usize),
}

impl<'a> Block<'a> {
    #[inline(always)]
    pub(super) fn load(
        &mut self,
        warp: &mut Warp,
        (space, ty, line): Form,
        d: &[Register],
        at: Address,
        mask: u32,
    ) -> Done {
        let (size, bytes) = (ty.size(), ty.size() * d.len());
        let addresses = self.addresses(warp, at);
        if mask == ALL && space == Space::Global && self.load_run(warp, d, (&addresses, size, line)) {
            return Ok(());
        }
        let places = self.count(space, &addresses, mask, bytes);
        let whole = whole::Access { space, addresses: &addresses, mask, size, bytes, line, places: &places };
        if self.load_whole(warp, d, whole) {
            return Ok(());
        }
        let mut rows = [[0u64; 32]; 4];
        for lane in lanes(mask) {
            let spot = self.spot(warp, (space, line), lane, addresses[lane], bytes, Access::Read)?;
            for (element, row) in rows[..d.len()].iter_mut().enumerate() {
                row[lane] = self.get(warp, spot, element * size, size);
            }
        }
        for (&d, row) in d.iter().zip(&rows) {
            match ty {
                Type::S8 => warp.write(d, mask, &row.map(i8::from_bits)),
                Type::S16 => warp.write(d, mask, &row.map(i16::from_bits)),
                Type::S32 => warp.write(d, mask, &row.map(i32::from_bits)),
                _ => warp.write(d, mask, row),
            }
        }
        Ok(())
    }

    #[inline(always)]
    pub(super) fn store(
        &mut self,
        warp: &mut Warp,
        (space, ty, line): Form,
        at: Address,
        a: &[Operand],
        mask: u32,
    ) -> Done {
        let (size, bytes) = (ty.size(), ty.size() * a.len());
        let addresses = self.addresses(warp, at);
        if mask == ALL && space == Space::Global && self.store_run(warp, a, (&addresses, size, line)) {
            return Ok(());
        }
        let places = self.count(space, &addresses, mask, bytes);
        let whole = whole::Access { space, addresses: &addresses, mask, size, bytes, line, places: &places };
        if self.store_whole(warp, a, whole) {
            return Ok(());
        }
        let mut rows = [[0u64; 32]; 4];
        rows.iter_mut().zip(a).for_each(|(row, &operand)| *row = warp.row(operand));
        for lane in lanes(mask) {
            let spot = self.spot(warp, (space, line), lane, addresses[lane], bytes, Access::Write)?;
            for (element, row) in rows[..a.len()].iter().enumerate() {
                self.put(warp, spot, element * size, size, row[lane]);
            }
        }
        Ok(())
    }

    pub(super) fn load_param(&mut self, warp: &mut Warp, ty: Type, d: &[Register], offset: usize, mask: u32) -> Done {
        for (element, &d) in d.iter().enumerate() {
            let from = offset + element * ty.size();
            let Some(bytes) = self.launch.params.get(from..from + ty.size()) else {
                let (access, address, bytes) = ("a read", from as u64, ty.size());
                let kind = FaultKind::OutOfBounds { access, space: Space::Generic, address, bytes };
                return Err(wrong(mask.trailing_zeros() as usize, kind));
            };
            let bits = bytes.iter().rev().fold(0, |bits, &byte| bits << 8 | u64::from(byte));
            warp.write(d, mask, &[bits; 32]);
        }
        Ok(())
    }

    pub(super) fn atomic(&mut self, warp: &mut Warp, op: &Op, line: u32, mask: u32) -> Done {
        let &Op::Atomic { op, space, ty, d, address, a, b } = op else { unreachable!("the caller looked") };
        let addresses = self.addresses(warp, address);
        let (a, b) = (warp.row::<u64>(a), warp.row::<u64>(b));
        if space != Space::Shared {
            self.take_turn();
            self.counters.global_atomics += u64::from(mask.count_ones());
        }
        self.count(space, &addresses, mask, ty.size());
        let mut old = [0u64; 32];
        for lane in lanes(mask) {
            let spot = self.spot(warp, (space, line), lane, addresses[lane], ty.size(), Access::Atomic)?;
            old[lane] = self.get(warp, spot, 0, ty.size());
            let new = modify(op, ty, old[lane], a[lane], b[lane]);
            self.put(warp, spot, 0, ty.size(), new);
        }
        warp.write(d, mask, &old);
        Ok(())
    }

    /// The address in every lane.
    #[inline]
    pub(super) fn addresses(&self, warp: &Warp, at: Address) -> [u64; 32] {
        match at.base {
            // Addresses of 32 bits stay so.
            Operand::Register(Register::Narrow(_)) => {
                let base = u32::row(warp, at.base);
                row_of(|lane| u64::from(base[lane].wrapping_add(at.offset as u32)))
            }
            base => {
                let base = u64::row(warp, base);
                row_of(|lane| base[lane].wrapping_add_signed(at.offset))
            }
        }
    }

    /// Counts an access, and gives its places if it is to shared memory.
    #[inline(always)]
    fn count(&mut self, space: Space, addresses: &[u64; 32], mask: u32, bytes: usize) -> Places {
        let space = match space {
            Space::Generic => resolve(addresses[mask.trailing_zeros() as usize]).0,
            space => space,
        };
        match space {
            Space::Shared => {
                let served = self.banks.serve(addresses, mask, bytes);
                self.counters.shared(&served);
                return served.places;
            }
            Space::Global => self.counters.global(addresses, mask, bytes),
            Space::Local | Space::Generic => {}
        }
        Places::none()
    }

    /// Checks an access and notes it.
    #[inline]
    pub(super) fn spot(
        &mut self,
        warp: &Warp,
        (space, line): (Space, u32),
        lane: usize,
        address: u64,
        bytes: usize,
        access: Access,
    ) -> Result<Spot<'a>, Box<crate::block::Wrong>> {
        let (space, address) = if space == Space::Generic { resolve(address) } else { (space, address) };
        let name = access.name();
        if !address.is_multiple_of(bytes as u64) {
            return Err(wrong(lane, FaultKind::Misaligned { access: name, address, bytes }));
        }
        let outside = || wrong(lane, FaultKind::OutOfBounds { access: name, space, address, bytes });
        match space {
            Space::Shared => {
                if !self.shared.holds(address, bytes) {
                    return Err(outside());
                }
                let thread = warp.first_thread as u16 + lane as u16;
                let by = shared::Toucher { thread, epoch: self.epoch, warp_epoch: warp.epoch, line };
                self.shared.touch(address as usize, bytes, access, by).map_err(|kind| wrong(lane, kind))?;
                Ok(Spot::Shared(address as usize))
            }
            Space::Local => {
                let own = 4 * (warp.local.len() / 32);
                if address as usize + bytes > own {
                    return Err(outside());
                }
                let at = lane * own + address as usize;
                let unwritten = (at..at + bytes).find(|&at| !warp.local_written[at]);
                if let (Some(byte), true) = (unwritten, access != Access::Write) {
                    let address = (byte - lane * own) as u64;
                    return Err(wrong(lane, FaultKind::Unwritten { space, address }));
                }
                Ok(Spot::Local(at))
            }
            Space::Global | Space::Generic => {
                let allocation = match self.last.filter(|last| last.holds(address, bytes)) {
                    Some(allocation) => allocation,
                    None => {
                        self.memory.find(address).filter(|found| found.holds(address, bytes)).ok_or_else(outside)?
                    }
                };
                self.last = Some(allocation);
                let offset = (address - allocation.start) as usize;
                let by = memory::Toucher { launch: self.memory.launch, block: self.number, line };
                allocation.touch(offset, bytes, access, by).map_err(|kind| wrong(lane, kind))?;
                Ok(Spot::Global(allocation, offset))
            }
        }
    }

    /// Reads `size` bytes, `offset` behind a spot.
    #[inline]
    pub(super) fn get(&self, warp: &Warp, spot: Spot, offset: usize, size: usize) -> u64 {
        match spot {
            Spot::Global(allocation, at) => allocation.load_bytes(at + offset, size),
            Spot::Shared(at) => self.shared.load(at + offset, size),
            Spot::Local(at) => {
                let at = at + offset;
                let word = u64::from(warp.local[at / 4]);
                match size {
                    8 => word | u64::from(warp.local[at / 4 + 1]) << 32,
                    _ => word >> (8 * (at % 4)) & (u64::MAX >> (64 - 8 * size)),
                }
            }
        }
    }

    /// Writes `size` bytes, `offset` behind a spot.
    #[inline]
    pub(super) fn put(&mut self, warp: &mut Warp, spot: Spot, offset: usize, size: usize, value: u64) {
        match spot {
            Spot::Global(allocation, at) => allocation.store_bytes(at + offset, size, value),
            Spot::Shared(at) => self.shared.store(at + offset, size, value),
            Spot::Local(at) => {
                for (i, byte) in value.to_le_bytes()[..size].iter().enumerate() {
                    let at = at + offset + i;
                    warp.local_written[at] = true;
                    let shift = 8 * (at % 4);
                    let word = &mut warp.local[at / 4];
                    *word = *word & !(255 << shift) | u32::from(*byte) << shift;
                }
            }
        }
    }
}

/// What an atomic leaves in place of `old`.
fn modify(op: Atomic, ty: Type, old: u64, a: u64, b: u64) -> u64 {
    fn apply<T: Lane>(f: impl Fn(T, T) -> T, old: u64, a: u64) -> u64 {
        f(T::from_bits(old), T::from_bits(a)).bits()
    }
    let low = if ty.size() == 4 { 0xffff_ffff } else { u64::MAX };
    match (op, ty) {
        (Atomic::Add, Type::F32) => apply::<f32>(Number::add, old, a),
        (Atomic::Add, Type::F64) => apply::<f64>(Number::add, old, a),
        (Atomic::Add, _) => old.wrapping_add(a),
        (Atomic::Min, Type::S32) => apply::<i32>(Number::lesser, old, a),
        (Atomic::Min, Type::S64) => apply::<i64>(Number::lesser, old, a),
        (Atomic::Min, _) => (old & low).min(a & low),
        (Atomic::Max, Type::S32) => apply::<i32>(Number::greater, old, a),
        (Atomic::Max, Type::S64) => apply::<i64>(Number::greater, old, a),
        (Atomic::Max, _) => (old & low).max(a & low),
        (Atomic::And, _) => old & a,
        (Atomic::Or, _) => old | a,
        (Atomic::Xor, _) => old ^ a,
        (Atomic::Exchange, _) => a,
        (Atomic::CompareExchange, _) if old & low == a & low => b,
        (Atomic::CompareExchange, _) => old,
    }
}
