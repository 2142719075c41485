//! How fast the emulator is, in instructions of lanes a second on one core.
//!
//! ```sh
//! cargo run --release -p gradus-emulator --example speed
//! ```

use std::time::{SystemTime, UNIX_EPOCH};

use gradus_emulator::{Launch, Memory, Module};

struct Case {
    family: &'static str,
    kernel: &'static str,
    grid: [u32; 3],
    block: u32,
    /// The elements of each array; all hold `f32`.
    arrays: &'static [usize],
    /// What follows the arrays.
    numbers: &'static [u32],
}

const CASES: &[Case] = &[
    Case {
        family: "matmul",
        kernel: "matmul_128",
        grid: [2, 2, 1],
        block: 256,
        arrays: &[256 * 256; 3],
        numbers: &[256; 3],
    },
    Case {
        family: "softmax",
        kernel: "softmax",
        grid: [64, 1, 1],
        block: 256,
        arrays: &[512 * 256; 2],
        numbers: &[512, 256],
    },
    Case {
        family: "pointwise",
        kernel: "unary_tanh_f32",
        grid: [256, 1, 1],
        block: 256,
        arrays: &[256 * 256; 2],
        numbers: &[256 * 256, 0, 0],
    },
    Case {
        family: "pointwise",
        kernel: "unary_square_f32",
        grid: [1024, 1, 1],
        block: 256,
        arrays: &[1024 * 256; 2],
        numbers: &[1024 * 256, 0, 0],
    },
];

/// The time that this thread has had the processor, where the system tells; else the time of day.
fn seconds() -> f64 {
    let spent = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanoseconds =
        spent.as_deref().and_then(|text| text.split(' ').next()).and_then(|first| first.parse::<f64>().ok());
    nanoseconds.map_or_else(
        || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64()),
        |nanoseconds| nanoseconds / 1e9,
    )
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("{:<18} {:>12} {:>14}", "kernel", "instructions", "millions a s");
    let only = std::env::args().nth(1);
    for case in CASES.iter().filter(|case| only.as_deref().is_none_or(|only| only == case.kernel)) {
        let path = format!("{}/../cuda/ptx/{}.ptx", env!("CARGO_MANIFEST_DIR"), case.family);
        let module = Module::parse(&std::fs::read_to_string(path)?)?;
        let kernel = module.kernel(case.kernel).ok_or("there is no such kernel")?;
        let mut memory = Memory::default();
        let mut args = Vec::new();
        for &len in case.arrays {
            let values: Vec<u8> = (0..len).flat_map(|i| ((i * 37 % 101) as f32 / 50.0 - 1.0).to_le_bytes()).collect();
            let address = memory.allocate(values.len() as u64)?;
            memory.write(address, &values)?;
            args.push(address.to_le_bytes().to_vec());
        }
        args.extend(case.numbers.iter().map(|number| number.to_le_bytes().to_vec()));
        let args: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
        let mut launch = Launch::new(&module, kernel, case.grid, [case.block, 1, 1], &args)?;
        launch.limits.cores = 1;
        let mut best = 0f64;
        let mut instructions = 0;
        for _ in 0..if only.is_some() { 20 } else { 5 } {
            let start = seconds();
            let mut done = 0;
            // The system counts a thread's time in steps of some milliseconds.
            while seconds() - start < 0.1 {
                instructions = launch.run(&mut memory)?.lane_instructions;
                done += instructions;
            }
            best = best.max(done as f64 / (seconds() - start));
        }
        println!("{:<18} {instructions:>12} {:>14.0}", case.kernel, best / 1e6);
    }
    Ok(())
}
