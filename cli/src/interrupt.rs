//! Ctrl-C and SIGTERM: the first one asks a run to finish its step and save, the second one ends the process at once.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level;

/// Knows whether a signal has asked this process to stop.
#[derive(Clone, Debug)]
pub struct Interrupt {
    signal: Arc<AtomicUsize>,
}

/// What listens in this process, once something does.
static LISTENING: Mutex<Option<Interrupt>> = Mutex::new(None);
/// What is done before a second signal ends the process.
static BEFORE_EXIT: Mutex<Option<fn()>> = Mutex::new(None);

impl Interrupt {
    /// From now on signals no longer end the process at once. A thread waits for them, since a handler may do next to nothing, and
    /// the terminal may have to be given back.
    ///
    /// # Errors
    /// If the system refuses to let the signals be caught, or to start the thread.
    pub fn listen() -> io::Result<Interrupt> {
        let mut listening = LISTENING.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(interrupt) = &*listening {
            return Ok(interrupt.clone());
        }
        let signal = Arc::new(AtomicUsize::new(0));
        let (mut signals, first) = (Signals::new([SIGINT, SIGTERM])?, Arc::clone(&signal));
        thread::Builder::new().name("gradus-signals".into()).spawn(move || {
            for number in signals.forever() {
                if first.swap(number as usize, SeqCst) != 0 {
                    if let Some(act) = *BEFORE_EXIT.lock().unwrap_or_else(PoisonError::into_inner) {
                        act();
                    }
                    low_level::exit(128 + number);
                }
            }
        })?;
        Ok(listening.insert(Interrupt { signal }).clone())
    }

    /// The number of the signal that came, if one has.
    pub fn received(&self) -> Option<u8> {
        match self.signal.load(SeqCst) {
            0 => None,
            number => u8::try_from(number).ok(),
        }
    }
}

/// Lets a second signal do this before it ends the process, or nothing more.
#[cfg(feature = "tui")]
pub fn before_exit(act: Option<fn()>) {
    *BEFORE_EXIT.lock().unwrap_or_else(PoisonError::into_inner) = act;
}
