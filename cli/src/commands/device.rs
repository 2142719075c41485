//! `gradus device`: what this machine computes with.

use nn::core::kernels::cpu::simd::Isa;
use serde_json::json;

use crate::failure::Failure;
use crate::machine;
use crate::report::environment::{cores, cpu_name};
use crate::terminal::Terminal;

/// Shows it.
///
/// # Errors
/// If stdout is closed.
pub fn run(terminal: &Terminal) -> Result<(), Failure> {
    let isa = machine::check_isa()?.to_string();
    let available: Vec<String> = Isa::available().map(|isa| isa.to_string()).collect();
    let cpu = cpu_name();
    let threads = machine::thread_count();
    let value = json!({
        "devices": [{
            "name": "cpu",
            "processor": cpu,
            "cores": cores(),
            "threads": threads,
            "isa": isa,
            "isa_available": available,
        }],
    });
    terminal.answer(&value, || {
        let processor = cpu.clone().unwrap_or_else(|| std::env::consts::ARCH.to_owned());
        let cores = cores().map_or_else(|| "unknown".to_owned(), |count| count.to_string());
        format!(
            "{}  {processor}\n     cores             {cores}\n     threads           {threads}\n     \
             instruction sets  {}, in use: {isa}",
            terminal.bold("cpu"),
            available.join(", "),
        )
    })
}
