//! The memory of a GPU: blocks that are kept for the next taker, and copies from and to the host.
//!
//! All work of a device stands in one queue, so a block may serve its next taker while kernels that use it are still
//! waiting: what comes later in the queue finds them done. Asking the driver each time would cost more than small kernels.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use cudarc::driver::{CudaContext, CudaEvent, DriverError, PinnedHostSlice, result};

use super::device::Gpu;
use super::launch::Address;
use crate::Result;
use crate::buffer::memory::size_class;

/// The most bytes that one staging area holds; what is larger is copied in pieces.
const PIECE: usize = 4 << 20;

/// The smallest staging area.
const LEAST_PIECE: usize = 64 << 10;

/// Bytes in the memory of a GPU, which return to its pool when dropped.
#[derive(Debug)]
pub struct Memory {
    gpu: &'static Gpu,
    address: u64,
    size: usize,
}

impl Memory {
    /// At least `bytes` bytes with unspecified contents.
    ///
    /// # Errors
    /// If neither the pool nor the driver has so many.
    pub fn take(gpu: &'static Gpu, bytes: usize) -> Result<Self> {
        // The driver aligns to 256 bytes, and so must the parts that classes have.
        let (_, size) = size_class(bytes.max(256));
        let mut pool = gpu.pool.lock();
        let address = match pool.free.get_mut(&size).and_then(Vec::pop) {
            Some(address) => address,
            None => pool.fresh(gpu, size)?,
        };
        pool.live += size;
        pool.peak = pool.peak.max(pool.live);
        Ok(Self { gpu, address, size })
    }

    /// Where the byte with this number stands.
    pub fn address(&self, byte: usize) -> Address {
        Address(self.address + byte as u64)
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        let mut pool = self.gpu.pool.lock();
        pool.live -= self.size;
        pool.free.entry(self.size).or_default().push(self.address);
    }
}

/// The blocks of a device that nobody uses, and how much is used.
#[derive(Debug, Default)]
pub struct Pool(Mutex<Blocks>);

#[derive(Debug, Default)]
struct Blocks {
    /// By size.
    free: BTreeMap<usize, Vec<u64>>,
    live: usize,
    peak: usize,
}

impl Pool {
    /// The bytes in use now, and the most that ever were.
    pub fn figures(&self) -> [usize; 2] {
        let blocks = self.lock();
        [blocks.live, blocks.peak]
    }

    fn lock(&self) -> MutexGuard<'_, Blocks> {
        // Lists and counts are never half changed when something panics.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Blocks {
    /// A block from the driver. Where it has none left, all unused ones are given back first.
    fn fresh(&mut self, gpu: &Gpu, size: usize) -> Result<u64> {
        // SAFETY: the context is bound; the address is used only within `size` bytes and until it is freed.
        let allocate = || gpu.bound(|| unsafe { result::malloc_sync(size) });
        let address = match allocate() {
            Ok(address) => address,
            Err(_) => {
                self.trim(gpu)?;
                allocate().map_err(|error| {
                    let mib = |bytes: usize| bytes as f64 / (1 << 20) as f64;
                    let free = gpu.bound(result::mem_get_info).map_or(0, |(free, _)| free);
                    let (asked, live) = (mib(size), mib(self.live));
                    let hint = "a smaller batch needs less";
                    let free = mib(free);
                    let what =
                        format!("{asked:.1} MiB asked for, {live:.1} MiB in use, {free:.1} MiB free on the device");
                    gpu.failure(&format!("out of memory: {what}; {hint}"), error)
                })?
            }
        };
        Ok(address)
    }

    fn trim(&mut self, gpu: &Gpu) -> Result<()> {
        for address in std::mem::take(&mut self.free).into_values().flatten() {
            // SAFETY: the address came from `malloc_sync` and nobody uses it; the driver waits for kernels that do.
            gpu.bound(|| unsafe { result::free_sync(address) })
                .map_err(|error| gpu.failure("memory could not be given back", error))?;
        }
        Ok(())
    }
}

/// Memory of the host that the driver copies from while the program goes on.
#[derive(Debug, Default)]
pub struct Staging(Mutex<Vec<Area>>);

#[derive(Debug)]
struct Area {
    memory: PinnedHostSlice<u8>,
    /// When the last copy has left the area.
    done: CudaEvent,
}

impl Staging {
    /// Copies bytes to the device. It returns when they are in a staging area, which may be long before they arrive.
    pub fn upload(&self, gpu: &Gpu, bytes: &[u8], to: &Memory) -> Result<()> {
        let copy = || -> std::result::Result<(), DriverError> {
            for (number, piece) in bytes.chunks(PIECE).enumerate() {
                let mut area = self.area(&gpu.context, piece.len())?;
                area.memory.as_mut_slice()?[..piece.len()].copy_from_slice(piece);
                let from = &area.memory.as_slice()?[..piece.len()];
                let address = to.address(number * PIECE).0;
                // SAFETY: `to` holds all bytes, and the area is not changed until `done` says that the copy has ended.
                unsafe { result::memcpy_htod_async(address, from, gpu.stream.cu_stream())? };
                area.done.record(&gpu.stream)?;
                self.0.lock().unwrap_or_else(PoisonError::into_inner).push(area);
            }
            Ok(())
        };
        gpu.bound(copy).map_err(|error| gpu.failure(&format!("{} bytes could not be uploaded", bytes.len()), error))
    }

    /// An area that nothing is copied from any more.
    fn area(&self, context: &std::sync::Arc<CudaContext>, bytes: usize) -> std::result::Result<Area, DriverError> {
        let mut areas = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = areas.iter().position(|area| area.memory.len() >= bytes && area.done.is_complete());
        if let Some(at) = idle {
            return Ok(areas.swap_remove(at));
        }
        let size = bytes.next_power_of_two().max(LEAST_PIECE);
        // SAFETY: the memory is written before it is read.
        let memory = unsafe { context.alloc_pinned::<u8>(size)? };
        Ok(Area { memory, done: context.new_event(None)? })
    }
}
