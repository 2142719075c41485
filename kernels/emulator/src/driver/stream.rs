//! Streams and events. Whatever they order has happened already.

use std::ffi::{c_int, c_uint, c_void};
use std::time::Instant;

use super::error::Code;
use super::exports;
use super::raw::Out;
use super::state::{Event, Handle, State, in_context};

/// The flag of an event whose time is not asked for.
const NO_TIME: c_uint = 2;

impl State {
    fn create_stream(&mut self, flags: c_uint) -> Result<Handle, Code> {
        if flags > 1 {
            return Err(Code::InvalidValue);
        }
        let handle = self.handle();
        self.streams.insert(handle, flags);
        Ok(handle)
    }

    fn event(&mut self, event: Handle) -> Result<&mut Event, Code> {
        self.events.get_mut(&event).ok_or(Code::InvalidHandle)
    }
}

exports! {
    fn cuStreamCreate(stream: Out<Handle>, flags: c_uint) {
        in_context(|state| stream.put(state.create_stream(flags)?))
    }

    fn cuStreamCreateWithPriority(stream: Out<Handle>, flags: c_uint, _priority: c_int) {
        in_context(|state| stream.put(state.create_stream(flags)?))
    }

    fn cuStreamDestroy_v2(stream: Handle) {
        in_context(|state| state.streams.remove(&stream).map(drop).ok_or(Code::InvalidHandle))
    }

    fn cuStreamSynchronize(stream: Handle) {
        in_context(|state| {
            state.stream(stream)?;
            state.counts.synchronisations += 1;
            Ok(())
        })
    }

    fn cuStreamQuery(stream: Handle) {
        in_context(|state| state.stream(stream))
    }

    fn cuStreamWaitEvent(stream: Handle, event: Handle, _flags: c_uint) {
        in_context(|state| {
            state.stream(stream)?;
            state.event(event).map(|_| ())
        })
    }

    fn cuStreamIsCapturing(stream: Handle, status: Out<c_uint>) {
        in_context(|state| {
            state.stream(stream)?;
            status.put(0)
        })
    }

    fn cuLaunchHostFunc(stream: Handle, function: Option<extern "C" fn(*mut c_void)>, data: *mut c_void) {
        in_context(|state| state.stream(stream))?;
        // Outside of the lock: the function may take its time, or one of its own.
        function.ok_or(Code::InvalidValue)?(data);
        Ok(())
    }

    fn cuEventCreate(event: Out<Handle>, flags: c_uint) {
        in_context(|state| {
            let handle = state.handle();
            state.events.insert(handle, Event { at: None, has_time: flags & NO_TIME == 0 });
            event.put(handle)
        })
    }

    fn cuEventDestroy_v2(event: Handle) {
        in_context(|state| state.events.remove(&event).map(drop).ok_or(Code::InvalidHandle))
    }

    fn cuEventRecord(event: Handle, stream: Handle) {
        in_context(|state| {
            state.stream(stream)?;
            state.event(event)?.at = Some(Instant::now());
            Ok(())
        })
    }

    fn cuEventQuery(event: Handle) {
        in_context(|state| state.event(event).map(|_| ()))
    }

    fn cuEventSynchronize(event: Handle) {
        in_context(|state| {
            state.event(event)?;
            state.counts.synchronisations += 1;
            Ok(())
        })
    }

    // The time of this processor, which says nothing about a GPU's.
    fn cuEventElapsedTime(milliseconds: Out<f32>, start: Handle, end: Handle) {
        in_context(|state| {
            let [start, end] = [*state.event(start)?, *state.event(end)?];
            match (start.at, end.at) {
                (Some(first), Some(last)) if start.has_time && end.has_time => {
                    let forward = last.saturating_duration_since(first).as_secs_f64();
                    let back = first.saturating_duration_since(last).as_secs_f64();
                    milliseconds.put(1e3 * (forward - back) as f32)
                }
                _ => Err(Code::InvalidHandle),
            }
        })
    }
}
