//! Bugs put into the shipped kernels on purpose. Each must be caught, and a fault must name the line of the CUDA C that it
//! happens in.

mod calls;

use gradus_emulator::{Fault, FaultKind};
use gradus_kernels::cuda::{COMMON, Family};

use crate::gpu::{Arg, Gpu, named};
use calls::{Call, Outcome, prepare};

/// What is done wrong.
enum Bug {
    /// In the PTX of the kernel, the occurrence with this number (from 0) of the first text becomes the second.
    Edit(usize, &'static str, &'static str),
    /// Two arguments change places.
    Swap(usize, usize),
    /// The grid or the block has another size.
    Grid([u32; 3]),
    Block([u32; 3]),
    /// An argument has another value.
    Argument(usize, fn() -> Arg),
}
use Bug::{Argument, Block, Edit, Grid, Swap};

/// How it must come out.
enum Caught {
    /// A fault of this kind, on a line of the source that holds this text.
    At(fn(&FaultKind) -> bool, &'static str),
    /// Another result.
    Wrong,
    /// A result with elements that nobody wrote.
    Incomplete,
}
use Caught::{At, Incomplete, Wrong};

fn race(kind: &FaultKind) -> bool {
    // Where threads read what others are still to write, nobody may have written it yet.
    matches!(kind, FaultKind::SharedRace { .. } | FaultKind::Unwritten { .. })
}

fn block_race(kind: &FaultKind) -> bool {
    matches!(kind, FaultKind::GlobalRace { .. })
}

fn outside(kind: &FaultKind) -> bool {
    matches!(kind, FaultKind::OutOfBounds { .. })
}

fn unwritten(kind: &FaultKind) -> bool {
    matches!(kind, FaultKind::Unwritten { .. })
}

fn in_flight(kind: &FaultKind) -> bool {
    matches!(kind, FaultKind::InFlight { .. })
}

fn misaligned(kind: &FaultKind) -> bool {
    matches!(kind, FaultKind::Misaligned { .. })
}

fn divergent(kind: &FaultKind) -> bool {
    matches!(kind, FaultKind::DivergentWarp { .. })
}

fn half_a_barrier(kind: &FaultKind) -> bool {
    matches!(kind, FaultKind::DivergentBarrier { .. })
}

fn endless(kind: &FaultKind) -> bool {
    matches!(kind, FaultKind::StepLimit { .. })
}

const BARRIER: &str = "bar.sync \t0;";

/// The list: family, kernel, bug, and how it is caught.
const BUGS: &[(&str, &str, Bug, Caught)] = &[
    // Barriers left out.
    ("matmul", "matmul_tiled", Edit(0, BARRIER, ""), At(race, "sum = fmaf(left[y][i], right[i][x], sum)")),
    ("matmul", "matmul_tiled", Edit(1, BARRIER, ""), At(race, "left[y][x] = ")),
    ("matmul", "matmul_128", Edit(0, BARRIER, ""), At(race, "&slices[own_rows + i * TILE]")),
    ("matmul_tensor", "matmul_bf16", Edit(0, BARRIER, ""), At(race, "ldmatrix.sync")),
    ("norm", "layer_norm", Edit(0, BARRIER, ""), At(race, "x = over_warp<F>(lane < warps ? shared[lane]")),
    ("norm", "layer_norm", Edit(1, BARRIER, ""), At(race, "x = over_warp<F>(lane < warps ? shared[lane]")),
    ("norm", "layer_norm", Edit(2, BARRIER, ""), At(race, "shared[warp] = x")),
    ("norm", "moments", Edit(0, BARRIER, ""), At(race, "sum += shared[i][threadIdx.x]")),
    ("norm", "moments", Edit(1, BARRIER, ""), At(race, "sum += shared[i][threadIdx.x]")),
    ("norm", "moments", Edit(2, BARRIER, ""), At(race, "shared[threadIdx.y][threadIdx.x] = x")),
    ("norm", "normalize_grad_params", Edit(0, BARRIER, ""), At(race, "sum += shared[i][threadIdx.x]")),
    ("norm", "normalize_grad_params", Edit(1, BARRIER, ""), At(race, "sum += shared[i][threadIdx.x]")),
    ("norm", "normalize_grad_params", Edit(2, BARRIER, ""), At(race, "shared[threadIdx.y][threadIdx.x] = x")),
    (
        "reduce",
        "reduce_rows_block_sum_f32",
        Edit(0, BARRIER, ""),
        At(race, "x = over_warp<F>(lane < warps ? shared[lane]"),
    ),
    ("reduce", "reduce_columns_sum_f32", Edit(0, BARRIER, ""), At(race, "F::both(shared[here], shared[here + half")),
    ("matmul_any", "matmul_64", Edit(0, BARRIER, ""), At(race, "*(const float4*)&of_left[place * TILE_64]")),
    ("matmul_any", "matmul_64", Edit(1, BARRIER, ""), At(race, "*(float4*)&room[(y + p) * TILE_64 + x]")),
    (
        "matmul_any",
        "matmul_64",
        Edit(2, BARRIER, ""),
        At(race, "finish.write(c, (u64)row * n + column, column, room[i])"),
    ),
    ("matmul_any", "matmul_few", Edit(0, BARRIER, ""), At(race, "all += shared[share][row][threadIdx.x]")),
    ("matmul_any", "matmul_f64", Edit(0, BARRIER, ""), At(race, "sum = fma(left[y][i], right[i][x], sum)")),
    ("matmul_any", "matmul_f64", Edit(1, BARRIER, ""), At(race, "left[y][x] = ")),
    ("matmul_wide", "matmul_wide_tn", Edit(0, BARRIER, ""), At(race, "&room[own_rows + i * TILE]")),
    ("matmul_wide", "matmul_wide_tn", Edit(1, BARRIER, ""), At(race, "&at[p * TILE]")),
    ("matmul_wide", "matmul_wide_tn", Edit(2, BARRIER, ""), At(race, "finish.write_four(")),
    ("matmul_tensor", "matmul_tf32", Edit(0, BARRIER, ""), At(race, "ldmatrix.sync")),
    ("conv_tiles", "conv2d_tiles", Edit(0, BARRIER, ""), At(race, "*(const float4*)&of_left[place * TILE_64]")),
    ("conv_tiles", "conv2d_depthwise_grad_weight", Edit(0, BARRIER, ""), At(race, "all += shared[i][threadIdx.x]")),
    ("norm", "activation_grad", Edit(0, BARRIER, ""), At(race, "sum += shared[i][threadIdx.x]")),
    ("order", "sort_rows_f32", Edit(0, BARRIER, ""), At(race, "T left = key[i], right = key[j]")),
    ("order", "sort_rows_f32", Edit(1, BARRIER, ""), At(race, "values[row + start + i] = key[i]")),
    // A barrier that a part of the block does not reach.
    ("norm", "moments", Edit(3, BARRIER, "@%p1 bar.sync 0;"), At(half_a_barrier, "__syncthreads()")),
    // Copies that nobody waits for, or too few.
    ("matmul_tensor", "matmul_bf16", Edit(0, "cp.async.wait_group 1;", ""), At(in_flight, "ldmatrix.sync")),
    ("matmul_tensor", "matmul_bf16", Edit(0, "wait_group 1;", "wait_group 2;"), At(in_flight, "ldmatrix.sync")),
    ("matmul_tensor", "matmul_bf16", Edit(0, "cp.async.commit_group;", ""), At(in_flight, "ldmatrix.sync")),
    ("matmul_tensor", "matmul_bf16", Edit(2, "cp.async.commit_group;", ""), At(in_flight, "ldmatrix.sync")),
    ("matmul_tensor", "matmul_tf32", Edit(0, "cp.async.wait_group 1;", ""), At(in_flight, "ldmatrix.sync")),
    ("matmul_tensor", "matmul_tf32", Edit(1, "cp.async.commit_group;", ""), At(in_flight, "ldmatrix.sync")),
    // Bounds that are off by one.
    (
        "index",
        "gather_32_i64",
        Edit(0, "setp.lt.u64", "setp.le.u64"),
        At(outside, "y[at] = inside(from, size, at, bad)"),
    ),
    ("order", "sort_merge_f32", Edit(0, "setp.ge.u32", "setp.gt.u32"), At(outside, "T own = row[i]")),
    ("pointwise", "unary_square_f32", Edit(0, "setp.lt.u32", "setp.le.u32"), At(outside, "FLOATS(square, x * x)")),
    (
        "index",
        "index_select_32_i64",
        Edit(0, "setp.ge.u32", "setp.gt.u32"),
        At(outside, "y[at] = inside(from, size, j, bad)"),
    ),
    ("index", "index_add_atomic_f32_i64", Edit(0, "setp.ge.u32", "setp.gt.u32"), At(outside, "atomicAdd(")),
    ("softmax", "softmax", Edit(0, "setp.ge.u32", "setp.gt.u32"), At(outside, "most = Largest::both(most, x[i])")),
    ("order", "cumsum_rows_f32", Edit(0, "setp.ge.u32", "setp.gt.u32"), At(outside, "i < columns ? (A)from[i]")),
    ("update", "update_descend", Edit(0, "setp.lt.u32", "setp.le.u32"), At(outside, "weights[i]")),
    ("matmul", "matmul_tiled", Edit(0, "setp.ge.u32", "setp.gt.u32"), At(outside, "left[y][x] = ")),
    // Shuffles and votes with lanes missing, or from the wrong lanes.
    ("softmax", "softmax", Edit(0, "%r18, %r17, %r19;", "%r18, %r17, 65535;"), At(divergent, "__shfl_xor_sync")),
    ("order", "cumsum_rows_f32", Edit(0, "%r34, %r36;", "%r34, 1;"), At(divergent, "__shfl_up_sync")),
    ("softmax", "softmax", Edit(0, "%r16, %r18, %r17", "%r16, 8, %r17"), Wrong),
    ("order", "cumsum_rows_f32", Edit(0, "%r14, %r35,", "%r14, 2,"), Wrong),
    ("norm", "layer_norm", Block([80, 1, 1]), At(divergent, "__shfl_xor_sync")),
    // Strides and addresses.
    ("matmul", "matmul_tiled", Edit(0, "%r3, 128;", "%r3, 124;"), At(race, "left[y][x] = ")),
    ("matmul", "matmul_tiled", Edit(0, "[%rd9+128]", "[%rd9+132]"), Wrong),
    ("matmul", "matmul_128", Edit(0, "[%rd50+16]", "[%rd50+20]"), At(misaligned, "&slices[own_rows + i * TILE + 4]")),
    ("matmul", "matmul_128", Edit(0, "[%rd52+128]", "[%rd52+16]"), Wrong),
    ("pointwise", "unary_square_f32", Edit(0, "%r10, 4;", "%r10, 8;"), At(outside, "FLOATS(square, x * x)")),
    // A loop that stands still, a constant that is wrong, an atomic that is none.
    (
        "pointwise",
        "unary_square_f32",
        Edit(0, "%r10, %r10, %r3;", "%r10, %r10, 0;"),
        At(endless, "FLOATS(square, x * x)"),
    ),
    ("random", "random_uniform", Edit(0, "-766435501", "-766435502"), Wrong),
    (
        "index",
        "index_add_atomic_f32_i64",
        Edit(0, "atom.global.add.f32 \t%f2, [%rd25], %f1", "st.global.f32 [%rd25], %f1"),
        At(block_race, "atomicAdd("),
    ),
    // Arguments and launches.
    (
        "matmul_any",
        "matmul_64",
        Argument(7, || Arg::words([41, 1, 66, 1, 0, 0, 0, 0])),
        At(outside, "each[e] = e < left ? *here"),
    ),
    ("matmul_any", "matmul_64", Argument(7, || Arg::words([1, 70, 66, 1, 0, 0, 0, 0])), Wrong),
    ("matmul_any", "matmul_64", Grid([1, 2, 1]), Incomplete),
    (
        "matmul_wide",
        "matmul_wide_tn",
        Argument(7, || Arg::words([1, 134, 136, 1, 0, 0, 0, 0])),
        At(misaligned, "*(const float4*)next"),
    ),
    ("matmul_any", "matmul_few", Argument(5, || Arg::from(67u32)), At(outside, "c[at] = finished(")),
    (
        "conv_tiles",
        "conv2d_tiles",
        Argument(4, || Arg::words([2, 9, 9, 4, 7, 7, 6, 3, 3, 1, 1, 1, 1, 1, 0, 0])),
        At(outside, "*(const float4*)from"),
    ),
    ("conv_tiles", "conv2d_tiles_grad_weight", Grid([1, 1, 1]), Incomplete),
    ("conv_tiles", "conv2d_tiles_grad_weight", Swap(0, 1), At(outside, "*(const float4*)from")),
    ("order", "sort_rows_f32", Argument(3, || Arg::from(101u32)), At(outside, "key[i] = x[row + start")),
    ("matmul", "matmul_tiled", Swap(3, 4), At(outside, "right[y][x] = ")),
    ("matmul", "matmul_tiled", Swap(0, 1), At(outside, "left[y][x] = ")),
    ("softmax", "softmax", Swap(0, 1), At(unwritten, "most = Largest::both(most, x[i])")),
    ("norm", "moments", Swap(3, 4), Incomplete),
    ("norm", "layer_norm", Argument(4, || Arg::from(301u32)), At(outside, "x[i]")),
    ("matmul", "matmul_tiled", Grid([1, 2, 1]), Incomplete),
    ("norm", "layer_norm", Grid([4, 1, 1]), At(outside, "sum += x[i]")),
    ("norm", "moments", Block([32, 4, 1]), At(unwritten, "sum += shared[i][threadIdx.x]")),
    ("random", "random_uniform", Argument(5, || Arg::from(4u64)), Wrong),
];

/// The family's PTX with a bug in one kernel.
fn edited(family: Family, kernel: &str, (nth, from, to): (usize, &str, &str)) -> String {
    let text = family.kernel(kernel).expect("the kernel");
    let (at, _) = text.match_indices(from).nth(nth).unwrap_or_else(|| panic!("{kernel} has no {from:?} number {nth}"));
    let broken = format!("{}{to}{}", &text[..at], &text[at + from.len()..]);
    family.ptx.replace(text, &broken)
}

/// The line of the source that a fault happened in.
fn source_line(family: Family, fault: &Fault) -> String {
    let Some((file, line)) = &fault.place.source else { return "(no line)".to_owned() };
    let source = if file.ends_with("common.h") { COMMON } else { family.source };
    source.lines().nth(*line as usize - 1).unwrap_or("(behind the end)").to_owned()
}

fn complaint(family: &str, kernel: &str, bug: &Bug, caught: &Caught) -> Option<String> {
    let family = named(family);
    let mut gpu = Gpu::with_ptx(family.ptx);
    let (call, len) = prepare(&mut gpu, kernel);
    let expected = call.learned(&mut gpu, kernel, len).expected();
    let mut gpu = match bug {
        Edit(nth, from, to) => Gpu::with_ptx(&edited(family, kernel, (*nth, from, to))),
        _ => gpu,
    };
    let (mut call, _): (Call, usize) = prepare(&mut gpu, kernel);
    match bug {
        Edit(..) => {}
        Swap(a, b) => call.args.swap(*a, *b),
        Grid(grid) => call.grid = *grid,
        Block(block) => call.block = *block,
        Argument(at, value) => call.args[*at] = value(),
    }
    match (call.outcome(&mut gpu, kernel, &expected), caught) {
        (Outcome::Wrong, Wrong) | (Outcome::Incomplete, Incomplete) => None,
        (Outcome::Fault(fault), At(kind, text)) => {
            let line = source_line(family, &fault);
            (!kind(&fault.kind) || !line.contains(text))
                .then(|| format!("{fault}\n  on `{}`, not `{text}`", line.trim()))
        }
        (outcome, _) => Some(format!("{outcome:?}")),
    }
}

#[test]
fn every_bug_is_caught_on_its_line() {
    assert!(BUGS.len() >= 70, "{} bugs", BUGS.len());
    let check = |(number, (family, kernel, bug, caught)): (usize, &(&str, &str, Bug, Caught))| {
        complaint(family, kernel, bug, caught).map(|text| format!("bug {number} in {kernel}: {text}"))
    };
    let complaints: Vec<String> = BUGS.iter().enumerate().filter_map(check).collect();
    assert!(complaints.is_empty(), "{} of {}:\n{}", complaints.len(), BUGS.len(), complaints.join("\n"));
}

#[test]
fn without_a_bug_every_call_is_right() {
    for (family, kernel, ..) in BUGS {
        let mut gpu = Gpu::new(family);
        let (call, len) = prepare(&mut gpu, kernel);
        let expected = call.learned(&mut gpu, kernel, len).expected();
        let (call, _) = prepare(&mut gpu, kernel);
        assert!(matches!(call.outcome(&mut gpu, kernel, &expected), Outcome::Right), "{kernel}");
    }
}
