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
    if options.device.starts_with("cuda") {
        stand_in()?;
    }
    Device::named(&options.device).map_err(|error| Failure::from(nn::Error::from(error)))
}

/// Where `GRADUS_EMULATE_CUDA=1` asks for it, puts the emulator in the place of NVIDIA's driver. For tests: it shows that
/// training on a GPU is right, and is slow.
///
/// # Errors
/// If the emulator's library does not lie where it was built.
pub fn stand_in() -> Result<(), Failure> {
    if std::env::var_os("GRADUS_EMULATE_CUDA").is_none_or(|value| value != "1") {
        return Ok(());
    }
    match gradus_emulator::driver::load_stand_in() {
        Ok(_) => Ok(()),
        Err(error) => Err(Failure::new(Kind::Device, format!("GRADUS_EMULATE_CUDA: {error}"))),
    }
}

/// The NVIDIA GPUs of this machine, or why there are none.
pub fn gpus() -> Result<Vec<Gpu>, String> {
    #[cfg(feature = "cuda")]
    {
        stand_in().map_err(|failure| failure.to_string())?;
        let found = nn::core::kernels::cuda::found().map_err(|error| error.to_string())?;
        Ok(found
            .into_iter()
            .map(|gpu| Gpu { name: gpu.name, model: gpu.model, capability: gpu.capability, memory: gpu.memory })
            .collect())
    }
    #[cfg(not(feature = "cuda"))]
    Err("cuda: this gradus was built without the feature `cuda`".into())
}

/// What a driver says about a GPU.
#[derive(Clone, Debug)]
pub struct Gpu {
    /// What `--device` calls it.
    pub name: String,
    /// What its maker calls it.
    pub model: String,
    /// Its compute capability.
    pub capability: (i32, i32),
    /// Its memory in bytes.
    pub memory: usize,
}

/// Runs `work` where kernels share it among the threads.
pub fn compute<R: Send>(work: impl FnOnce() -> R + Send) -> R {
    threads::run(work)
}

/// How many threads kernels use.
pub fn thread_count() -> usize {
    threads::threads()
}
