//! Ctrl-C and SIGTERM: the first one asks a run to finish its step and save, the second one ends the process at once.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

/// Knows whether a signal has asked this process to stop.
#[derive(Clone, Debug)]
pub struct Interrupt {
    signal: Arc<AtomicUsize>,
}

impl Interrupt {
    /// From now on signals no longer end the process at once.
    ///
    /// # Errors
    /// If the system refuses to let the signals be caught.
    pub fn listen() -> io::Result<Interrupt> {
        let signal = Arc::new(AtomicUsize::new(0));
        let again = Arc::new(AtomicBool::new(false));
        for number in [SIGINT, SIGTERM] {
            // The order matters: the first signal finds `again` unset, then sets it for the second.
            flag::register_conditional_shutdown(number, 128 + number, Arc::clone(&again))?;
            flag::register(number, Arc::clone(&again))?;
            flag::register_usize(number, Arc::clone(&signal), number as usize)?;
        }
        Ok(Interrupt { signal })
    }

    /// The number of the signal that came, if one has.
    pub fn received(&self) -> Option<u8> {
        match self.signal.load(SeqCst) {
            0 => None,
            number => u8::try_from(number).ok(),
        }
    }
}
