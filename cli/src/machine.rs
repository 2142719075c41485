//! The machine that computes: its instruction sets, threads and device, chosen once before anything is computed.

use nn::core::Device;
use nn::core::kernels::cpu::{simd::Isa, threads};

use crate::args::Machine;
use crate::failure::{Failure, Kind};

/// Refuses a `GRADUS_ISA` that this machine cannot follow, before anything is computed with another one.
///
/// # Errors
/// If the variable names what is not there.
pub fn check_isa() -> Result<Isa, Failure> {
    Isa::from_env().map_err(|error| Failure::new(Kind::Usage, error.to_string()))
}

/// Sets the number of threads and opens the device.
///
/// # Errors
/// If there is no such device, or the number cannot be right.
pub fn open(options: &Machine) -> Result<Device, Failure> {
    if let Some(count) = options.threads {
        threads::set_threads(count).map_err(|error| Failure::new(Kind::Usage, format!("--{error}")))?;
    }
    Device::named(&options.device).map_err(|error| Failure::from(nn::Error::from(error)))
}

/// Runs `work` where kernels share it among the threads.
pub fn compute<R: Send>(work: impl FnOnce() -> R + Send) -> R {
    threads::run(work)
}

/// How many threads kernels use.
pub fn thread_count() -> usize {
    threads::threads()
}
