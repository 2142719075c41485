//! What a result depends on besides the recipe: the machine, the program, how it was called.

use std::fs::{self, File};
use std::time::{SystemTime, UNIX_EPOCH};

use nn::core::kernels::cpu::simd::Isa;
use serde::Serialize;

use crate::datasets::content;

/// Where and how a run took place.
#[derive(Debug, Serialize)]
pub struct Environment {
    gradus: &'static str,
    binary_sha256: Option<String>,
    command: Vec<String>,
    os: &'static str,
    arch: &'static str,
    cpu: Option<String>,
    cores: Option<usize>,
    threads: usize,
    isa: String,
    device: String,
    started_unix: u64,
}

impl Environment {
    /// Looks around.
    pub fn look(device: &str, threads: usize, isa: Isa) -> Environment {
        let binary = std::env::current_exe().and_then(File::open).and_then(content::hash);
        Environment {
            gradus: env!("CARGO_PKG_VERSION"),
            binary_sha256: binary.ok().map(|(_, sha256)| sha256),
            command: std::env::args_os().map(|argument| argument.to_string_lossy().into_owned()).collect(),
            os: std::env::consts::OS,
            arch: std::env::consts::ARCH,
            cpu: cpu_name(),
            cores: cores(),
            threads,
            isa: isa.to_string(),
            device: device.to_owned(),
            started_unix: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
        }
    }
}

/// What the processor calls itself, where the system tells.
pub fn cpu_name() -> Option<String> {
    let info = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = info.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// How many threads the machine runs at once.
pub fn cores() -> Option<usize> {
    std::thread::available_parallelism().ok().map(usize::from)
}

/// The most memory that this process ever held at one time, in bytes, where the system tells.
pub fn peak_memory() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}
