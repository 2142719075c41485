//! Memory of the device and pinned memory of the host, and copies between them.

use std::ffi::{c_int, c_uchar, c_uint, c_ushort, c_void};

use super::error::Code;
use super::exports;
use super::raw::{Out, Source, Target};
use super::state::{Handle, Line, POOL, State, in_context, started};
use crate::memory::MemoryError;

impl From<MemoryError> for Code {
    fn from(error: MemoryError) -> Self {
        match error {
            MemoryError::Full { .. } => Code::OutOfMemory,
            MemoryError::Outside { .. } => Code::InvalidValue,
        }
    }
}

impl State {
    fn allocate(&mut self, bytes: usize) -> Result<u64, Code> {
        if bytes == 0 {
            return Err(Code::InvalidValue);
        }
        let address = self.memory.allocate(bytes as u64)?;
        self.peak = self.peak.max(self.memory.used());
        self.counts.allocations += 1;
        self.counts.live += 1;
        Ok(address)
    }

    fn free(&mut self, address: u64) -> Result<(), Code> {
        // To free a null pointer is allowed, and nothing.
        if address != 0 {
            self.memory.free(address)?;
            self.counts.live -= 1;
        }
        Ok(())
    }

    fn is_pinned(&self, address: usize, bytes: usize) -> bool {
        let block = self.pinned.range(..=address).next_back();
        block.is_some_and(|(start, lines)| address - start + bytes <= 64 * lines.len())
    }

    fn copy_in(&mut self, to: u64, from: &Source, bytes: usize, is_async: bool) -> Result<(), Code> {
        self.memory.write(to, from.bytes(bytes)?)?;
        self.counts.copies_in += 1;
        self.counts.copies_unpinned += u64::from(is_async && !self.is_pinned(from.address(), bytes));
        Ok(())
    }

    fn copy_out(&mut self, to: &Target, from: u64, bytes: usize, is_async: bool) -> Result<(), Code> {
        let mut kept = vec![0; bytes];
        self.memory.read(from, &mut kept)?;
        to.write(&kept)?;
        let is_pinned = self.is_pinned(to.address(), bytes);
        self.counts.copies_out += 1;
        self.counts.copies_unpinned += u64::from(is_async && !is_pinned);
        self.counts.copies_unwritten += u64::from(self.memory.unwritten(from, bytes)?.is_some());
        self.counts.synchronisations += u64::from(!is_async || !is_pinned);
        Ok(())
    }

    fn copy_within(&mut self, to: u64, from: u64, bytes: usize) -> Result<(), Code> {
        self.memory.copy(to, from, bytes)?;
        self.counts.copies_within += 1;
        Ok(())
    }

    fn fill(&mut self, to: u64, value: &[u8], count: usize) -> Result<(), Code> {
        if !to.is_multiple_of(value.len() as u64) {
            return Err(Code::InvalidValue);
        }
        self.memory.fill(to, value, count)?;
        self.counts.fills += 1;
        Ok(())
    }
}

/// For calls on a stream.
fn on_stream<R>(stream: Handle, f: impl FnOnce(&mut State) -> Result<R, Code>) -> Result<R, Code> {
    in_context(|state| state.stream(stream).and_then(|()| f(state)))
}

exports! {
    fn cuMemGetInfo_v2(free: Out<usize>, total: Out<usize>) {
        in_context(|state| {
            free.put((state.memory.limit() - state.memory.used()) as usize)?;
            total.put(state.memory.limit() as usize)
        })
    }

    fn cuMemAlloc_v2(address: Out<u64>, bytes: usize) {
        in_context(|state| address.put(state.allocate(bytes)?))
    }

    fn cuMemAllocAsync(address: Out<u64>, bytes: usize, stream: Handle) {
        on_stream(stream, |state| address.put(state.allocate(bytes)?))
    }

    fn cuMemAllocFromPoolAsync(address: Out<u64>, bytes: usize, pool: Handle, stream: Handle) {
        on_stream(stream, |state| match pool {
            POOL => address.put(state.allocate(bytes)?),
            _ => Err(Code::InvalidHandle),
        })
    }

    // On a GPU this waits for all that is under way.
    fn cuMemFree_v2(address: u64) {
        in_context(|state| {
            state.counts.synchronisations += 1;
            state.free(address)
        })
    }

    fn cuMemFreeAsync(address: u64, stream: Handle) {
        on_stream(stream, |state| state.free(address))
    }

    fn cuMemHostAlloc(address: Out<*mut c_void>, bytes: usize, _flags: c_uint) {
        in_context(|state| {
            if bytes == 0 {
                return Err(Code::InvalidValue);
            }
            let mut lines = Vec::new();
            lines.try_reserve_exact(bytes.div_ceil(64)).map_err(|_| Code::OutOfMemory)?;
            lines.resize(bytes.div_ceil(64), Line([0xcd; 64]));
            let at: *mut Line = lines.as_mut_ptr();
            state.pinned.insert(at.addr(), lines);
            address.put(at.cast())
        })
    }

    fn cuMemFreeHost(address: usize) {
        in_context(|state| state.pinned.remove(&address).map(drop).ok_or(Code::InvalidValue))
    }

    fn cuMemcpyHtoD_v2(to: u64, from: Source, bytes: usize) {
        in_context(|state| state.copy_in(to, &from, bytes, false))
    }

    fn cuMemcpyHtoDAsync_v2(to: u64, from: Source, bytes: usize, stream: Handle) {
        on_stream(stream, |state| state.copy_in(to, &from, bytes, true))
    }

    fn cuMemcpyDtoH_v2(to: Target, from: u64, bytes: usize) {
        in_context(|state| state.copy_out(&to, from, bytes, false))
    }

    fn cuMemcpyDtoHAsync_v2(to: Target, from: u64, bytes: usize, stream: Handle) {
        on_stream(stream, |state| state.copy_out(&to, from, bytes, true))
    }

    fn cuMemcpyDtoD_v2(to: u64, from: u64, bytes: usize) {
        in_context(|state| state.copy_within(to, from, bytes))
    }

    fn cuMemcpyDtoDAsync_v2(to: u64, from: u64, bytes: usize, stream: Handle) {
        on_stream(stream, |state| state.copy_within(to, from, bytes))
    }

    fn cuMemcpyPeerAsync(to: u64, _to_in: Handle, from: u64, _from_in: Handle, bytes: usize, stream: Handle) {
        on_stream(stream, |state| state.copy_within(to, from, bytes))
    }

    fn cuMemsetD8_v2(to: u64, value: c_uchar, count: usize) {
        in_context(|state| state.fill(to, &[value], count))
    }

    fn cuMemsetD8Async(to: u64, value: c_uchar, count: usize, stream: Handle) {
        on_stream(stream, |state| state.fill(to, &[value], count))
    }

    fn cuMemsetD16_v2(to: u64, value: c_ushort, count: usize) {
        in_context(|state| state.fill(to, &value.to_le_bytes(), count))
    }

    fn cuMemsetD16Async(to: u64, value: c_ushort, count: usize, stream: Handle) {
        on_stream(stream, |state| state.fill(to, &value.to_le_bytes(), count))
    }

    fn cuMemsetD32_v2(to: u64, value: c_uint, count: usize) {
        in_context(|state| state.fill(to, &value.to_le_bytes(), count))
    }

    fn cuMemsetD32Async(to: u64, value: c_uint, count: usize, stream: Handle) {
        on_stream(stream, |state| state.fill(to, &value.to_le_bytes(), count))
    }

    fn cuDeviceGetDefaultMemPool(pool: Out<Handle>, _device: c_int) {
        started(|_| pool.put(POOL))
    }

    fn cuDeviceGetMemPool(pool: Out<Handle>, _device: c_int) {
        started(|_| pool.put(POOL))
    }

    fn cuDeviceSetMemPool(_device: c_int, pool: Handle) {
        started(|_| if pool == POOL { Ok(()) } else { Err(Code::InvalidValue) })
    }

    fn cuMemPoolTrimTo(pool: Handle, _keep: usize) {
        started(|_| if pool == POOL { Ok(()) } else { Err(Code::InvalidValue) })
    }

    fn cuMemPoolGetAttribute(pool: Handle, number: c_uint, value: Target) {
        started(|state| match number {
            _ if pool != POOL => Err(Code::InvalidValue),
            // Memory is used again in the order of streams, which is all there is.
            1..=3 => value.write(&1u32.to_ne_bytes()),
            4 => value.write(&state.threshold.to_ne_bytes()),
            5 | 7 => value.write(&state.memory.used().to_ne_bytes()),
            6 | 8 => value.write(&state.peak.to_ne_bytes()),
            _ => Err(Code::InvalidValue),
        })
    }

    fn cuMemPoolSetAttribute(pool: Handle, number: c_uint, value: Out<u64>) {
        started(|state| {
            match number {
                _ if pool != POOL => return Err(Code::InvalidValue),
                1..=3 => {}
                4 => state.threshold = value.get()?,
                // The marks of the most that was in use can be set back to what is.
                6 | 8 if value.get()? == 0 => state.peak = state.memory.used(),
                _ => return Err(Code::InvalidValue),
            }
            Ok(())
        })
    }
}
