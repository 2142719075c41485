//! How many blocks fit on a multiprocessor, as far as threads and shared memory decide it; registers are unknown here.
//! And what the driver has functions for that the emulator does not do.

use std::ffi::{c_int, c_uint};

use super::device::{MULTIPROCESSORS, RESIDENT_BLOCKS, RESIDENT_SHARED, RESIDENT_THREADS};
use super::error::Code;
use super::exports;
use super::raw::Out;
use super::state::{Handle, in_context};
use crate::parse::Kernel;

/// Shared memory that each block takes besides its own.
const RESERVED: usize = 1 << 10;

/// How much shared memory a block needs, from how many threads it has.
type Needs = Option<extern "C" fn(c_int) -> usize>;

fn most_threads(kernel: &Kernel) -> i32 {
    kernel.max_threads.map_or(1024, |sizes| sizes.iter().product::<u32>().min(1024) as i32)
}

fn resident(kernel: &Kernel, threads: c_int, dynamic: usize) -> Result<i32, Code> {
    if threads <= 0 {
        return Err(Code::InvalidValue);
    }
    if threads > most_threads(kernel) {
        return Ok(0);
    }
    let warps = (threads + 31) / 32;
    let by_shared = RESIDENT_SHARED as usize / (kernel.shared_bytes + dynamic + RESERVED);
    Ok((RESIDENT_THREADS / 32 / warps).min(by_shared as i32).min(RESIDENT_BLOCKS))
}

/// The size of block that keeps most threads on a multiprocessor, and how many such blocks fill the device.
fn best(kernel: &Kernel, needs: Needs, dynamic: usize, limit: c_int) -> Result<(i32, i32), Code> {
    let limit = if limit <= 0 { 1024 } else { limit };
    let mut best = (0, 0);
    let mut most = 0;
    for threads in (32..=most_threads(kernel).min(limit)).rev().step_by(32) {
        let blocks = resident(kernel, threads, needs.map_or(dynamic, |needs| needs(threads)))?;
        if blocks * threads > most {
            (most, best) = (blocks * threads, (blocks * MULTIPROCESSORS, threads));
        }
    }
    if most == 0 { Err(Code::InvalidValue) } else { Ok(best) }
}

fn put_best(
    (grid, block): (Out<c_int>, Out<c_int>),
    function: Handle,
    needs: Needs,
    dynamic: usize,
    limit: c_int,
) -> Result<(), Code> {
    in_context(|state| {
        let found = best(state.function(function)?.2, needs, dynamic, limit)?;
        grid.put(found.0)?;
        block.put(found.1)
    })
}

exports! {
    fn cuOccupancyMaxActiveBlocksPerMultiprocessor(
        blocks: Out<c_int>, function: Handle, threads: c_int, dynamic: usize,
    ) {
        in_context(|state| blocks.put(resident(state.function(function)?.2, threads, dynamic)?))
    }

    fn cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(
        blocks: Out<c_int>, function: Handle, threads: c_int, dynamic: usize, _flags: c_uint,
    ) {
        in_context(|state| blocks.put(resident(state.function(function)?.2, threads, dynamic)?))
    }

    fn cuOccupancyMaxPotentialBlockSize(
        grid: Out<c_int>, block: Out<c_int>, function: Handle, needs: Needs, dynamic: usize, limit: c_int,
    ) {
        put_best((grid, block), function, needs, dynamic, limit)
    }

    fn cuOccupancyMaxPotentialBlockSizeWithFlags(
        grid: Out<c_int>, block: Out<c_int>, function: Handle, needs: Needs, dynamic: usize, limit: c_int, _flags: c_uint,
    ) {
        put_best((grid, block), function, needs, dynamic, limit)
    }

    fn cuOccupancyAvailableDynamicSMemPerBlock(bytes: Out<usize>, function: Handle, blocks: c_int, _threads: c_int) {
        in_context(|state| {
            let kernel = state.function(function)?.2;
            let blocks = usize::try_from(blocks).ok().filter(|&blocks| blocks > 0).ok_or(Code::InvalidValue)?;
            let each = RESIDENT_SHARED as usize / blocks;
            bytes.put(each.saturating_sub(kernel.shared_bytes + RESERVED).min(super::launch::MOST_SHARED))
        })
    }
}

macro_rules! unsupported {
    ($($name:ident)*) => { exports! { $(fn $name() { Err(Code::NotSupported) })* } };
}

// Contexts besides the one, peers, memory that both sides see, pools besides the one, graphs, cooperative launches, clusters,
// memory of other programs, profilers. A caller's arguments are not looked at.
unsupported! {
    cuCtxCreate_v3 cuCtxDestroy_v2 cuCtxGetLimit cuCtxSetLimit cuCtxSetFlags
    cuCtxEnablePeerAccess cuCtxDisablePeerAccess
    cuMemAllocManaged cuMemPrefetchAsync cuMemAdvise cuStreamAttachMemAsync
    cuMemPoolCreate cuMemPoolDestroy
    cuStreamBeginCapture_v2 cuStreamEndCapture
    cuGraphInstantiateWithFlags cuGraphLaunch cuGraphUpload cuGraphExecDestroy cuGraphDestroy
    cuLaunchCooperativeKernel cuOccupancyMaxActiveClusters cuOccupancyMaxPotentialClusterSize
    cuImportExternalMemory cuExternalMemoryGetMappedBuffer cuDestroyExternalMemory
    cuProfilerStart cuProfilerStop
}
