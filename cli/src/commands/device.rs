//! `gradus device`: what this machine computes with, and what it can do at most.

use nn::core::kernels::cpu::peak;
use nn::core::kernels::cpu::simd::Isa;
use nn::core::kernels::cpu::threads;
use serde_json::{Value, json};

use crate::args::{Counts, DeviceArgs, DeviceCommand};
use crate::failure::{Failure, Kind};
use crate::machine;
use crate::report::environment::{cores, cpu_name};
use crate::report::table::Table;
use crate::terminal::Terminal;

/// How many numbers each array of a triad holds, and what that shows: 384 KiB, 12 MiB and 192 MiB in all.
const ARRAYS: [(&str, usize); 3] = [("near cache", 1 << 15), ("cache", 1 << 20), ("memory", 1 << 24)];

/// Shows it.
///
/// # Errors
/// If a number of threads is out of range, or stdout is closed.
pub fn run(args: &DeviceArgs, terminal: &Terminal) -> Result<(), Failure> {
    match &args.command {
        Some(DeviceCommand::Peak(args)) => show_peak(&thread_counts(&args.counts, true)?, terminal),
        None => show(terminal),
    }
}

/// The numbers of threads that were asked for; else all there are, with `single` after a single one.
///
/// # Errors
/// If one is out of range.
pub fn thread_counts(counts: &Counts, single: bool) -> Result<Vec<usize>, Failure> {
    for &count in &counts.threads {
        threads::check(count).map_err(|error| Failure::new(Kind::Usage, format!("--{error}")))?;
    }
    Ok(match (counts.threads.as_slice(), cores().unwrap_or(1)) {
        ([], 1) => vec![1],
        ([], all) if single => vec![1, all],
        ([], all) => vec![all],
        (counts, _) => counts.to_vec(),
    })
}

fn show_peak(counts: &[usize], terminal: &Terminal) -> Result<(), Failure> {
    let failed = |error: nn::core::kernels::Error| Failure::new(Kind::Run, error.to_string());
    let (mut flops, mut triads) = (Vec::new(), Vec::new());
    let mut table = Table::new(["what", "threads", "peak"]).right([1, 2]);
    for &count in counts {
        for isa in Isa::available() {
            let gflops = peak::flops(isa, count).map_err(failed)? / 1e9;
            table.row([format!("multiply-adds, {isa}"), count.to_string(), format!("{gflops:.1} GFLOP/s")]);
            flops.push(json!({ "isa": isa.name(), "threads": count, "gflops": gflops }));
        }
        for (place, len) in ARRAYS {
            let gbps = peak::triad(len, count).map_err(failed)? / 1e9;
            table.row([format!("triad, {place}"), count.to_string(), format!("{gbps:.1} GB/s")]);
            triads.push(json!({ "place": place, "bytes": 12 * len, "threads": count, "gbps": gbps }));
        }
    }
    let value = json!({ "processor": cpu_name(), "cores": cores(), "flops": flops, "triad": triads });
    terminal.answer(&value, || table.to_string())
}

fn show(terminal: &Terminal) -> Result<(), Failure> {
    let isa = machine::check_isa()?.to_string();
    let available: Vec<String> = Isa::available().map(|isa| isa.to_string()).collect();
    let cpu = cpu_name();
    let threads = machine::thread_count();
    let gpus = machine::gpus();
    let mut value = json!({
        "devices": [{
            "name": "cpu",
            "processor": cpu,
            "cores": cores(),
            "threads": threads,
            "isa": isa,
            "isa_available": available,
        }],
    });
    match (&gpus, &mut value["devices"]) {
        (Ok(gpus), Value::Array(devices)) => devices.extend(gpus.iter().map(|gpu| {
            let capability = format!("{}.{}", gpu.capability.0, gpu.capability.1);
            json!({ "name": gpu.name, "model": gpu.model, "compute_capability": capability, "bytes": gpu.memory })
        })),
        (Err(why), _) => value["no_cuda"] = json!(why),
        _ => {}
    }
    terminal.answer(&value, || {
        let processor = cpu.clone().unwrap_or_else(|| std::env::consts::ARCH.to_owned());
        let cores = cores().map_or_else(|| "unknown".to_owned(), |count| count.to_string());
        let cpu = format!(
            "{}  {processor}\n     cores             {cores}\n     threads           {threads}\n     \
             instruction sets  {}, in use: {isa}",
            terminal.bold("cpu"),
            available.join(", "),
        );
        let lines: Vec<String> = match &gpus {
            Ok(gpus) if gpus.is_empty() => vec!["cuda  the driver shows no device".into()],
            Ok(gpus) => gpus.iter().map(|gpu| line_of(gpu, terminal)).collect(),
            Err(why) => vec![format!("no {why}")],
        };
        [cpu].into_iter().chain(lines).collect::<Vec<_>>().join("\n")
    })
}

fn line_of(gpu: &machine::Gpu, terminal: &Terminal) -> String {
    let ((major, minor), gib) = (gpu.capability, gpu.memory as f64 / (1 << 30) as f64);
    format!(
        "{}  {}\n     compute capability  {major}.{minor}\n     memory              {gib:.1} GiB",
        terminal.bold(&gpu.name),
        gpu.model
    )
}
