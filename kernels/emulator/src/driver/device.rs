//! The device and its context.

use std::ffi::{c_char, c_int, c_uint};

use super::error::Code;
use super::exports;
use super::launch::{MOST_SHARED, STATIC_SHARED};
use super::raw::{Out, Target};
use super::settings::Settings;
use super::state::{CONTEXT, Handle, State, current, in_context, set_current, start, started};
use crate::launch::Limits;

/// What the device is called.
const NAME: &[u8] = b"gradus emulator\0";

/// How many multiprocessors it says that it has.
pub(super) const MULTIPROCESSORS: i32 = 16;

/// How many threads and blocks are on one at a time, and how much shared memory it has.
pub(super) const RESIDENT_THREADS: i32 = 2048;
pub(super) const RESIDENT_BLOCKS: i32 = 32;
pub(super) const RESIDENT_SHARED: i32 = 100 << 10;

/// The attributes are numbered from 1 up to here.
const ATTRIBUTES: c_int = 133;

/// For calls that name the device.
fn on_device<R>(device: c_int, f: impl FnOnce(&mut State) -> Result<R, Code>) -> Result<R, Code> {
    started(|state| if device == 0 { f(state) } else { Err(Code::InvalidDevice) })
}

/// An attribute by CUDA's number for it. What the emulator has no notion of, such as clocks, is 0.
fn attribute(settings: &Settings, number: c_int) -> Result<i32, Code> {
    let Limits { threads, block, grid, .. } = Limits::default();
    Ok(match number {
        1 => threads as i32,
        2..=4 => block[number as usize - 2] as i32,
        5..=7 => grid[number as usize - 5] as i32,
        8 => STATIC_SHARED as i32,
        9 => 64 << 10,          // constant memory
        10 => 32,               // threads of a warp
        11 => i32::MAX,         // the pitch of a copy
        12 | 82 => 1 << 16,     // registers of a block, of a multiprocessor
        14 => 512,              // the alignment of textures
        15 | 31 | 40 | 41 => 1, // copies and kernels overlap; engines that copy; one space of addresses
        16 => MULTIPROCESSORS,
        39 => RESIDENT_THREADS,
        75 => settings.capability.0,
        76 => settings.capability.1,
        81 => RESIDENT_SHARED,
        97 => MOST_SHARED as i32,
        106 => RESIDENT_BLOCKS,
        115 => 1, // memory pools
        number if number > 0 && number < ATTRIBUTES => 0,
        _ => return Err(Code::InvalidValue),
    })
}

exports! {
    fn cuInit(flags: c_uint) {
        if flags != 0 {
            return Err(Code::InvalidValue);
        }
        let settings = Settings::read(|name| std::env::var(name).ok());
        if !settings.has_device {
            return Err(Code::NoDevice);
        }
        start(settings);
        Ok(())
    }

    fn cuDriverGetVersion(version: Out<c_int>) {
        version.put(Settings::read(|name| std::env::var(name).ok()).version)
    }

    fn cuDeviceGetCount(count: Out<c_int>) {
        started(|_| Ok(()))?;
        count.put(1)
    }

    fn cuDeviceGet(device: Out<c_int>, number: c_int) {
        on_device(number, |_| device.put(0))
    }

    fn cuDeviceGetName(name: Target, len: c_int, device: c_int) {
        on_device(device, |_| {
            let len = usize::try_from(len).ok().filter(|&len| len > 0).ok_or(Code::InvalidValue)?;
            let kept = NAME.len().min(len) - 1;
            name.write(&[&NAME[..kept], b"\0"].concat())
        })
    }

    fn cuDeviceGetAttribute(value: Out<c_int>, number: c_int, device: c_int) {
        on_device(device, |state| value.put(attribute(&state.settings, number)?))
    }

    fn cuDeviceTotalMem_v2(bytes: Out<usize>, device: c_int) {
        on_device(device, |state| bytes.put(state.memory.limit() as usize))
    }

    fn cuDeviceGetUuid(uuid: Out<[c_char; 16]>, device: c_int) {
        on_device(device, |_| uuid.put(std::array::from_fn(|at| NAME[at] as c_char)))
    }

    fn cuDeviceCanAccessPeer(can: Out<c_int>, device: c_int, other: c_int) {
        on_device(device, |_| if other == 0 { can.put(0) } else { Err(Code::InvalidDevice) })
    }

    fn cuDevicePrimaryCtxRetain(context: Out<Handle>, device: c_int) {
        on_device(device, |state| {
            context.put(CONTEXT)?;
            state.users += 1;
            Ok(())
        })
    }

    fn cuDevicePrimaryCtxRelease_v2(device: c_int) {
        on_device(device, |state| {
            state.users = state.users.checked_sub(1).ok_or(Code::InvalidContext)?;
            if state.users == 0 {
                state.destroy_context();
            }
            Ok(())
        })
    }

    fn cuCtxGetCurrent(context: Out<Handle>) {
        started(|_| context.put(current()))
    }

    fn cuCtxSetCurrent(context: Handle) {
        started(|_| {
            if context != 0 && context != CONTEXT {
                return Err(Code::InvalidContext);
            }
            set_current(context);
            Ok(())
        })
    }

    fn cuCtxSynchronize() {
        in_context(|state| {
            state.counts.synchronisations += 1;
            Ok(())
        })
    }

    fn cuCtxGetCacheConfig(config: Out<c_uint>) {
        in_context(|_| config.put(0))
    }

    // How caches are split is a hint, and there are none.
    fn cuCtxSetCacheConfig(_config: c_uint) {
        in_context(|_| Ok(()))
    }

    fn cuCtxGetStreamPriorityRange(least: Out<c_int>, greatest: Out<c_int>) {
        in_context(|_| {
            least.put_if_wanted(0);
            greatest.put_if_wanted(0);
            Ok(())
        })
    }
}
