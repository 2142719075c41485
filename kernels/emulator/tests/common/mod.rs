//! Small kernels in PTX, and what becomes of them.
#![allow(dead_code)] // each test uses a part

use gradus_emulator::{Counters, Fault, Launch, Memory, Module};

/// A module with the kernel `k`, whose parameters are `x` and `y`; `%x` and `%y` hold the addresses, `%t` the thread's number in
/// its block, `%b` the block's, `%at` four times `%t`.
pub fn module(body: &str) -> String {
    format!(
        "\
.version 7.8
.target sm_80
.address_size 64
.visible .entry k(.param .u64 x, .param .u64 y)
{{
.reg .pred %p<8>;
.reg .b16 %h<8>;
.reg .b32 %r<32>;
.reg .f32 %f<32>;
.reg .b64 %l<16>;
.reg .b32 %t, %b;
.reg .b64 %x, %y, %at;
.shared .align 16 .b8 tile[4096];
ld.param.u64 %x, [x];
ld.param.u64 %y, [y];
mov.u32 %t, %tid.x;
mov.u32 %b, %ctaid.x;
mul.wide.u32 %at, %t, 4;
{body}
}}
"
    )
}

/// The line of a module's text that holds `text`.
pub fn line_of(module: &str, text: &str) -> u32 {
    module.lines().position(|line| line.contains(text)).expect("a line with this text") as u32 + 1
}

/// What a kernel left in `y`, and its counters.
pub struct Ran {
    pub y: Vec<u32>,
    pub counters: Counters,
}

/// Runs the kernel on `x`, its blocks one after another; `y` has as many words as are asked for.
pub fn run(text: &str, grid: u32, block: u32, x: &[u32], y: usize) -> Result<Ran, Fault> {
    run_on(1, text, grid, block, x, y)
}

/// As `run`, on so many cores.
pub fn run_on(cores: usize, text: &str, grid: u32, block: u32, x: &[u32], y: usize) -> Result<Ran, Fault> {
    let module = Module::parse(text).unwrap_or_else(|error| panic!("{error}"));
    let mut memory = Memory::default();
    let variables = module.place(&mut memory).unwrap();
    let bytes: Vec<u8> = x.iter().flat_map(|word| word.to_le_bytes()).collect();
    let from = memory.allocate(bytes.len() as u64).unwrap();
    memory.write(from, &bytes).unwrap();
    let to = memory.allocate(4 * y as u64).unwrap();
    let args: [&[u8]; 2] = [&from.to_le_bytes(), &to.to_le_bytes()];
    let mut launch = Launch::new(&module, &module.kernels[0], [grid, 1, 1], [block, 1, 1], &args).unwrap();
    launch.variables = &variables;
    launch.limits.steps = 100_000;
    launch.limits.cores = cores;
    let counters = launch.run(&mut memory)?;
    let mut bytes = vec![0; 4 * y];
    memory.read(to, &mut bytes).unwrap();
    let y = bytes.chunks(4).map(|word| u32::from_le_bytes(word.try_into().unwrap())).collect();
    Ok(Ran { y, counters })
}
