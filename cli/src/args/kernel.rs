//! Options of the commands that measure: `device` and `kernel`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// Options of `gradus device`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  gradus device
  gradus device peak --threads 1,2 --json

GRADUS_ISA=baseline|avx2|avx512 forces a narrower instruction set.")]
pub struct DeviceArgs {
    /// What to do; without it, show what there is
    #[command(subcommand)]
    pub command: Option<DeviceCommand>,
}

/// What to do with devices.
#[derive(Debug, Subcommand)]
pub enum DeviceCommand {
    /// Measure what the machine can do at most: multiply-adds in registers, and a triad in caches and memory
    #[command(after_help = "\
Examples:
  gradus device peak
  gradus device peak --threads 1,2 --json

Arithmetic counts a multiply-add as two operations. The triad a = b + s c counts 12 bytes for each number, with
the faster of plain stores and of stores that pass by the caches. Takes some seconds; other work makes it slower.")]
    Peak(PeakArgs),
}

/// Options of `gradus device peak`.
#[derive(Debug, Args)]
pub struct PeakArgs {
    /// On how many threads.
    #[command(flatten)]
    pub counts: Counts,
}

/// On how many threads to measure.
#[derive(Clone, Debug, Args)]
pub struct Counts {
    /// How many threads to measure with; several numbers with commas between them measure each
    #[arg(long, value_name = "N[,N..]", value_delimiter = ',')]
    pub threads: Vec<usize>,
}

/// Options of `gradus kernel`.
#[derive(Debug, Args)]
#[command(
    arg_required_else_help = true,
    after_help = "\
Examples:
  gradus kernel list                                      every operation and the shapes it is measured at
  gradus kernel bench matmul 32x784x300 --threads 1,2     speed, share of the machine's peak, error
  gradus kernel bench relu --variant all --json           one JSON object a line
  gradus kernel bench exp --sizes 2^6..2^26 --svg exp.svg time against work
  gradus kernel verify                                    every operation against f64; exit code 5 if one is wrong
  gradus kernel show matmul_tiled --ptx                   the PTX of a CUDA kernel
  gradus kernel run mine.ptx --emulate --grid 4 --block 256 f32[1000]=range u32=1000"
)]
pub struct KernelArgs {
    /// What to do with kernels.
    #[command(subcommand)]
    pub command: KernelCommand,
}

/// What to do with kernels.
#[derive(Debug, Subcommand)]
pub enum KernelCommand {
    /// List the operations, the shapes they are measured at, and the variants that this machine has
    List,
    /// Time an operation: GFLOP/s or GB/s, share of the peak measured in the same run, error against f64
    Bench(KernelBench),
    /// Compare operations with the same computed in f64; exit code 5 if one is wrong
    Verify(KernelVerify),
    /// Run a CUDA kernel on an emulated GPU that checks every access and counts what a GPU pays for
    Run(KernelRun),
    /// Show the CUDA kernels that are part of gradus: their CUDA C or their PTX
    Show(KernelShow),
}

/// Options of `gradus kernel bench`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  gradus kernel bench matmul
  gradus kernel bench matmul_tn 784x32x300 --variant avx2,avx512
  gradus kernel bench sum 2^20 --threads 1,2 --json
  gradus kernel bench softmax --sizes 2^10..2^24

A time is that of the run which a tenth of all runs undercut. Bytes are those that must be read and written at
least. The share of the peak is that of a register-only loop of multiply-adds, or of a triad over as many bytes.")]
pub struct KernelBench {
    /// An operation, as `gradus kernel list` names it, or `all`
    #[arg(value_name = "OP")]
    pub op: String,
    /// Shapes, as in 32x784x300 or 2^20 [default: those of the list]
    #[arg(value_name = "SHAPE")]
    pub shapes: Vec<String>,
    /// Which kernels.
    #[command(flatten)]
    pub on: Variants,
    /// How long to time each, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 0.3, allow_negative_numbers = true)]
    pub time: f64,
    /// Time shapes of so many elements (multiply-adds for products), doubled from the first to the last
    #[arg(long, value_name = "FROM..TO", conflicts_with = "shapes")]
    pub sizes: Option<String>,
    /// Write a picture of time against work, with --sizes
    #[arg(long, value_name = "FILE", requires = "sizes")]
    pub svg: Option<PathBuf>,
}

/// Options of `gradus kernel verify`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  gradus kernel verify
  gradus kernel verify matmul 17x33x65 --variant all

Errors of functions are relative to each value, those of sums and products to the sum of magnitudes, all others
to the largest magnitude.")]
pub struct KernelVerify {
    /// An operation, as `gradus kernel list` names it [default: all]
    #[arg(value_name = "OP", default_value = "all")]
    pub op: String,
    /// Shapes, as in 32x784x300 or 2^20 [default: one of about 10,000 elements]
    #[arg(value_name = "SHAPE")]
    pub shapes: Vec<String>,
    /// Which kernels.
    #[command(flatten)]
    pub on: Variants,
}

/// Which kernels, on how many threads.
#[derive(Clone, Debug, Args)]
pub struct Variants {
    /// Which kernels: reference, baseline, avx2, avx512 (as far as the machine has them), several with commas
    /// between them, or all [default: the widest]
    #[arg(long, visible_alias = "variants", value_name = "NAME[,NAME..]", value_delimiter = ',')]
    pub variant: Vec<String>,
    /// On how many threads.
    #[command(flatten)]
    pub counts: Counts,
}

/// Options of `gradus kernel run`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  gradus kernel run matmul_128 --emulate --grid 1,1 --block 256 f32[16384]=random f32[16384]=random f32[16384] u32=128 u32=128 u32=128
  gradus kernel run mine.cu --reference matmul:64x32x48 --emulate --grid 3,4 --block 16,16 f32[2048]=input f32[1536]=input f32[3072]=output u32=64 u32=48 u32=32
  gradus kernel run mine.ptx --kernel scale --emulate --grid 4 --block 256 --show 4 f32[1000]=range f32=0.5 u32=1000

Arguments stand in the order of the kernel's parameters. TYPE=VALUE is a number; TYPE[N] is an array of N elements in
device memory, which starts as nothing (a read of it before a write is a fault), or as =zeros, =ones, =range (0, 1, 2, ..),
=random (from -1 to 1, the same each time), or as the bytes of a file, =@FILE. Types are u8, i32, u32, i64, u64, f32, f64.

With --reference, arrays of =input get the inputs of that operation in their order, and those of =output are held against the same
computed in f64; if they are wrong, the exit code is 5. CUDA C (.cu) is compiled by NVIDIA's NVRTC, where it is installed; it may
include common.h, which the kernels of gradus include (`gradus kernel show common`).

Every access is checked. A fault (out of bounds, a race, a barrier that not all threads reach, ..) names the line, the block
and the thread, and the exit code is 5. Counters say what decides speed on a GPU; no time is shown, since none is known.")]
pub struct KernelRun {
    /// A file of PTX or CUDA C, or the name of a kernel that is part of gradus (`gradus kernel show` names them)
    #[arg(value_name = "FILE.ptx|FILE.cu|KERNEL")]
    pub source: String,
    /// The kernel's arguments: TYPE=VALUE, TYPE[N] or TYPE[N]=CONTENT
    #[arg(value_name = "ARG")]
    pub args: Vec<String>,
    /// Which kernel of the file [default: the only one]
    #[arg(long, value_name = "NAME")]
    pub kernel: Option<String>,
    /// Run on the emulator
    #[arg(long)]
    pub emulate: bool,
    /// How many blocks, in x, y and z
    #[arg(long, value_name = "X[,Y[,Z]]", value_delimiter = ',', required = true, num_args = 1)]
    pub grid: Vec<u32>,
    /// How many threads in a block, in x, y and z
    #[arg(long, value_name = "X[,Y[,Z]]", value_delimiter = ',', required = true, num_args = 1)]
    pub block: Vec<u32>,
    /// Shared memory besides what the kernel declares, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 0)]
    pub shared: usize,
    /// The most instructions that the warps of a block execute together
    #[arg(long, value_name = "N", default_value_t = 100_000_000)]
    pub steps: u64,
    /// Compare with an operation of `gradus kernel list` at a shape, as in matmul:128x128x128
    #[arg(long, value_name = "OP:SHAPE")]
    pub reference: Option<String>,
    /// What CUDA C is compiled for
    #[arg(long, value_name = "NAME", default_value = "compute_80")]
    pub arch: String,
    /// The folder of NVRTC's library [default: where the system, CUDA_HOME and the active environment of Python have it]
    #[arg(long, value_name = "FOLDER", env = "GRADUS_NVRTC")]
    pub nvrtc: Option<PathBuf>,
    /// How many elements of each array to show
    #[arg(long, value_name = "N", default_value_t = 8)]
    pub show: usize,
}

/// Options of `gradus kernel show`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  gradus kernel show                       the CUDA kernels, by family
  gradus kernel show matmul                the CUDA C of a family
  gradus kernel show matmul_tiled --ptx    the PTX of a kernel
  gradus kernel show matmul --sass-report  registers, spills and the inner loop, from NVIDIA's assembler")]
pub struct KernelShow {
    /// A family or a kernel [default: list them]
    #[arg(value_name = "NAME")]
    pub name: Option<String>,
    /// Show the PTX in place of the CUDA C
    #[arg(long)]
    pub ptx: bool,

    /// Show what NVIDIA's assembler made of it: registers, spills, and how much of the inner loop multiplies
    #[arg(long, conflicts_with = "ptx", requires = "name")]
    pub sass_report: bool,
}
