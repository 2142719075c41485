//! What the driver remembers: one context, behind one lock.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use super::error::Code;
use super::raw::Out;
use super::settings::Settings;
use crate::memory::Memory;
use crate::parse::Module;

/// How the interface names what it gives out; never a pointer that is followed.
pub(super) type Handle = usize;

/// The one context.
pub(super) const CONTEXT: Handle = 0x10;

/// The one memory pool.
pub(super) const POOL: Handle = 0x20;

/// What a program has asked of the stand-in driver so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Counts {
    /// Kernels launched.
    pub launches: u64,
    /// Calls for which the host waits for the device: a context, stream or event is synchronised, a copy to the host is not
    /// asynchronous or goes to memory that is not pinned, memory is freed outside of the pool.
    pub synchronisations: u64,
    /// Copies from the host to the device.
    pub copies_in: u64,
    /// Copies from the device to the host.
    pub copies_out: u64,
    /// Copies within the device.
    pub copies_within: u64,
    /// Asynchronous copies from or to memory of the host that is not pinned, which a driver has to stage.
    pub copies_unpinned: u64,
    /// Copies to the host in which some byte had never been written.
    pub copies_unwritten: u64,
    /// Memory set to a value.
    pub fills: u64,
    /// Allocations of device memory.
    pub allocations: u64,
    /// Allocations that are live.
    pub live: u64,
}

/// A module, and where its variables are.
#[derive(Debug)]
pub(super) struct Loaded {
    pub module: Module,
    pub variables: Vec<u64>,
}

/// A kernel of a module.
#[derive(Clone, Copy, Debug)]
pub(super) struct Function {
    pub module: Handle,
    /// Its number in the module.
    pub kernel: usize,
    /// How many bytes of shared memory a launch may add.
    pub most_dynamic: usize,
}

/// An event: when it was last recorded, and whether that may be asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Event {
    pub at: Option<Instant>,
    pub has_time: bool,
}

/// Pinned memory of the host, in lines of a cache.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
pub(super) struct Line(#[allow(dead_code)] pub [u8; 64]); // only its address is used

#[derive(Debug)]
pub(super) struct State {
    pub settings: Settings,
    pub memory: Memory,
    /// How often the context was retained.
    pub users: u32,
    pub modules: BTreeMap<Handle, Loaded>,
    pub functions: BTreeMap<Handle, Function>,
    /// The flags of each stream.
    pub streams: BTreeMap<Handle, u32>,
    pub events: BTreeMap<Handle, Event>,
    pub pinned: BTreeMap<usize, Vec<Line>>,
    pub counts: Counts,
    /// The most memory that was ever in use.
    pub peak: u64,
    /// What the pool keeps rather than give it back; remembered, since it is asked for.
    pub threshold: u64,
    /// What every call answers since a kernel went wrong.
    pub fault: Option<Code>,
    next: Handle,
}

static STATE: Mutex<Option<State>> = Mutex::new(None);

thread_local! {
    /// The context of the thread.
    static CURRENT: Cell<Handle> = const { Cell::new(0) };
}

impl State {
    fn new(settings: Settings) -> Self {
        Self {
            settings,
            memory: Memory::new(settings.memory),
            users: 0,
            modules: BTreeMap::new(),
            functions: BTreeMap::new(),
            streams: BTreeMap::new(),
            events: BTreeMap::new(),
            pinned: BTreeMap::new(),
            counts: Counts::default(),
            peak: 0,
            threshold: 0,
            fault: None,
            next: 0x1000,
        }
    }

    /// A name that nothing else has or had.
    pub fn handle(&mut self) -> Handle {
        self.next += 0x10;
        self.next
    }

    /// Lets go of all that the context holds. A fault stays: only the end of the process heals it.
    pub fn destroy_context(&mut self) {
        let kept = Self { counts: self.counts, fault: self.fault, next: self.next, ..Self::new(self.settings) };
        *self = kept;
        self.counts.live = 0;
    }

    /// Fails unless this is a stream.
    pub fn stream(&self, stream: Handle) -> Result<(), Code> {
        // The default stream, under the names that the interface has for it.
        let is_default = stream <= 2;
        if is_default || self.streams.contains_key(&stream) { Ok(()) } else { Err(Code::InvalidHandle) }
    }
}

/// Makes the device.
pub(super) fn start(settings: Settings) {
    let mut state = STATE.lock().unwrap_or_else(PoisonError::into_inner);
    state.get_or_insert_with(|| State::new(settings));
}

/// For calls that need `cuInit` alone.
pub(super) fn started<R>(f: impl FnOnce(&mut State) -> Result<R, Code>) -> Result<R, Code> {
    let mut state = STATE.lock().unwrap_or_else(PoisonError::into_inner);
    f(state.as_mut().ok_or(Code::NotInitialized)?)
}

/// For calls that need the thread's context, and that no kernel has gone wrong.
pub(super) fn in_context<R>(f: impl FnOnce(&mut State) -> Result<R, Code>) -> Result<R, Code> {
    started(|state| match CURRENT.get() {
        0 => Err(Code::InvalidContext),
        _ if state.users == 0 => Err(Code::ContextIsDestroyed),
        _ => state.fault.map_or(Ok(()), Err).and_then(|()| f(state)),
    })
}

/// The thread's context, 0 for none.
pub(super) fn current() -> Handle {
    CURRENT.get()
}

/// Makes it another.
pub(super) fn set_current(context: Handle) {
    CURRENT.set(context);
}

super::exports! {
    fn gradus_emulator_counts(counts: Out<Counts>) {
        counts.put(started(|state| Ok(state.counts)).unwrap_or_default())
    }
}
