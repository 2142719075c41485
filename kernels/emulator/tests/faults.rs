//! What a kernel can do wrong: each fault is found, with its line, its block and its thread.

mod common;

use common::{line_of, module, run, run_on};
use gradus_emulator::isa::Space;
use gradus_emulator::{Fault, FaultKind, Launch, Memory, Module};

const ONES: [u32; 64] = [1; 64];

/// The fault of a kernel that begins with `body`; its line must be that of `text`.
fn fault(body: &str, text: &str, grid: u32, block: u32) -> Fault {
    let module = module(body);
    let fault = run(&module, grid, block, &ONES, 64).err().expect("a fault");
    assert_eq!(fault.place.line, line_of(&module, text), "{fault}");
    assert_eq!(fault.place.text, module.lines().nth(fault.place.line as usize - 1).unwrap().trim());
    fault
}

fn loads(offset: &str) -> String {
    format!("add.u64 %l0, %x, %at; add.u64 %l1, %l0, {offset};\nld.global.u32 %r0, [%l1];\nret;")
}

#[test]
fn an_access_outside_of_every_allocation_is_found() {
    let below = fault(&loads("-4"), "ld.global", 1, 32);
    assert_eq!(below.place.thread, [0, 0, 0]);
    assert!(matches!(below.kind, FaultKind::OutOfBounds { access: "a read", bytes: 4, .. }), "{below}");
    let above = fault(&loads("132"), "ld.global", 1, 32);
    assert_eq!(above.place.thread, [31, 0, 0], "one element too far is one thread's fault");
    let body = "add.u64 %l0, %y, 252;\nst.global.v2.u32 [%l0], {%t, %t};";
    assert!(matches!(fault(body, "st.global", 1, 1).kind, FaultKind::Misaligned { bytes: 8, .. }));
    let body = "mov.u32 %r0, tile;\nst.shared.u32 [%r0+4096], %t;";
    assert!(matches!(fault(body, "st.shared", 1, 1).kind, FaultKind::OutOfBounds { .. }));
    let body = "mov.u64 %l0, 16;\nld.global.u32 %r0, [%l0];";
    assert!(matches!(fault(body, "ld.global", 1, 1).kind, FaultKind::OutOfBounds { .. }), "near a null pointer");
    let body = "add.u64 %l0, %x, %at;\nld.global.u32 %r0, [%l0+2];";
    assert!(matches!(fault(body, "ld.global", 1, 1).kind, FaultKind::Misaligned { bytes: 4, .. }));
}

#[test]
fn memory_that_nobody_wrote_is_found() {
    let body = "ld.global.u32 %r0, [%y+8];";
    assert!(matches!(fault(body, "ld.global", 1, 1).kind, FaultKind::Unwritten { .. }));
    let body = "mov.u32 %r0, tile;\nst.shared.u16 [%r0], %h0;\nld.shared.u32 %r1, [%r0];";
    let unwritten = fault(body, "ld.shared", 1, 1);
    assert!(matches!(unwritten.kind, FaultKind::Unwritten { address: 2, .. }), "{unwritten}");
    let body =
        ".local .align 4 .b8 own[8];\nst.local.u8 [own+5], %t;\nld.local.u8 %h0, [own+5];\nld.local.u16 %h0, [own+4];";
    let unwritten = fault(body, "ld.local.u16", 1, 40);
    assert!(matches!(unwritten.kind, FaultKind::Unwritten { address: 4, space: Space::Local }), "{unwritten}");
}

/// Threads write their element of the tile and read that of their neighbour.
fn neighbours(between: &str, distance: u32) -> String {
    format!(
        "mov.u32 %r0, tile; shl.b32 %r1, %t, 2; add.u32 %r2, %r0, %r1;\nst.shared.u32 [%r2], %b;\nbar.sync 0;\n\
         st.shared.u32 [%r2], %t;\n{between}\n\
         xor.b32 %r3, %t, {distance}; shl.b32 %r3, %r3, 2; add.u32 %r3, %r0, %r3;\nld.shared.u32 %r4, [%r3];\n\
         add.u64 %l0, %y, %at; st.global.u32 [%l0], %r4;"
    )
}

#[test]
fn a_missing_barrier_is_a_race() {
    let race = fault(&neighbours("", 1), "ld.shared", 1, 64);
    let FaultKind::SharedRace { other_thread: 1, other_line, .. } = race.kind else { panic!("{race}") };
    assert_eq!(other_line, line_of(&module(&neighbours("", 1)), "st.shared.u32 [%r2], %t"));
    // Here the first warp reads before the second one writes.
    for between in ["", "bar.warp.sync -1;"] {
        let race = fault(&neighbours(between, 32), "st.shared.u32 [%r2], %t", 1, 64);
        assert!(matches!(race.kind, FaultKind::SharedRace { other_thread: 0, .. }), "{race}");
        assert_eq!(race.place.thread, [32, 0, 0]);
    }
    for (between, distance) in [("bar.sync 0;", 32), ("bar.sync 0;", 1), ("bar.warp.sync -1;", 1)] {
        let ran = run(&module(&neighbours(between, distance)), 1, 64, &ONES, 64).unwrap();
        assert!(ran.y.iter().enumerate().all(|(i, &y)| y == i as u32 ^ distance));
    }
}

#[test]
fn blocks_that_share_a_place_race() {
    let race = fault("add.u64 %l0, %y, %at;\nst.global.u32 [%l0], %b;", "st.global", 3, 32);
    assert!(matches!(race.kind, FaultKind::GlobalRace { access: "a write", other_access: "a write", .. }), "{race}");
    let reads_and_writes = "add.u64 %l0, %x, %at;\nld.global.u32 %r0, [%x];\nst.global.u32 [%l0], %b;";
    assert!(matches!(fault(reads_and_writes, "ld.global", 2, 1).kind, FaultKind::GlobalRace { .. }));
    // All read the same run of words, and then the last one writes to it.
    let last = "add.u64 %l0, %x, %at;\nld.global.u32 %r0, [%l0];\nsetp.eq.u32 %p0, %b, 2;\n@%p0 st.global.u32 [%l0], %r0;\nret;";
    let race = fault(last, "st.global", 3, 32);
    assert!(matches!(race.kind, FaultKind::GlobalRace { access: "a write", other_access: "a read", .. }), "{race}");
    assert!(
        run(&module(&last.replace("%b, 2", "%b, 0")), 1, 32, &ONES, 1).is_ok(),
        "a block may write what it alone read"
    );
    let atomics = run(&module("red.global.add.u32 [%x], %t;\nret;"), 7, 64, &ONES, 1);
    assert_eq!(atomics.unwrap().counters.global_atomics, 7 * 64);
}

#[test]
fn barriers_and_shuffles_need_all_their_threads() {
    let skipped = "setp.lt.u32 %p0, %t, 40;\n@%p0 bra $over;\nbar.sync 0;\n$over:\nret;";
    let fault_there = fault(skipped, "bar.sync", 1, 64);
    assert_eq!(fault_there.place.thread, [40, 0, 0]);
    assert!(matches!(fault_there.kind, FaultKind::DivergentBarrier { other_thread: 0, .. }), "{fault_there}");
    let two = "setp.lt.u32 %p0, %t, 32;\n@%p0 bra $other;\nbar.sync 0;\nret;\n$other:\nbar.sync 0; ret;";
    let FaultKind::DivergentBarrier { other, .. } = fault(two, "bar.sync 0; ret", 1, 64).kind else { panic!() };
    assert!(other.starts_with("waits at another one"), "{other}");
    let shuffle = "setp.lt.u32 %p0, %t, 7;\n@%p0 bra $over;\nshfl.sync.bfly.b32 %r0, %t, 1, 31, -1;\n$over:\nret;";
    let divergent = fault(shuffle, "shfl.sync", 1, 32);
    assert!(matches!(divergent.kind, FaultKind::DivergentWarp { here: 0xffff_ff80, .. }), "{divergent}");
    let half = "vote.sync.ballot.b32 %r0, %p0, 0xffff;";
    assert!(
        matches!(fault(half, "vote.sync", 1, 32).kind, FaultKind::DivergentWarp { .. }),
        "a lane that is not named"
    );
}

#[test]
fn a_copy_must_be_waited_for() {
    let body = |wait: &str| {
        format!(
            "mov.u32 %r0, tile; shl.b32 %r1, %t, 4; add.u32 %r0, %r0, %r1; cvt.u64.u32 %l0, %r1; add.u64 %l1, %x, %l0;\n\
             cp.async.cg.shared.global [%r0], [%l1], 16;\ncp.async.commit_group;\n\
             cp.async.ca.shared.global [%r0+1024], [%l1], 16, 4;\ncp.async.commit_group;\n{wait}\n\
             ld.shared.u32 %r2, [%r0+12];\nld.shared.u32 %r3, [%r0+1028];\nadd.u64 %l2, %y, %at;\nst.global.u32 [%l2], %r2;"
        )
    };
    let none = fault(&body(""), "ld.shared.u32 %r2", 1, 16);
    let FaultKind::InFlight { copy_line, .. } = none.kind else { panic!("{none}") };
    assert_eq!(copy_line, line_of(&module(&body("")), "cp.async.cg"));
    let one = fault(&body("cp.async.wait_group 1;"), "ld.shared.u32 %r3", 1, 16);
    assert!(matches!(one.kind, FaultKind::InFlight { .. }), "the second group may still be on its way: {one}");
    let ran = run(&module(&body("cp.async.wait_group 0;")), 1, 16, &ONES, 16).unwrap();
    assert_eq!(ran.y, [1; 16]);
}

#[test]
fn a_kernel_without_end_is_stopped() {
    let endless = fault("$again:\nadd.u32 %r0, %r0, 1;\nbra.uni $again;", "add.u32 %r0", 1, 32);
    assert_eq!(endless.kind, FaultKind::StepLimit { steps: 100_000 });
}

#[test]
fn the_first_block_with_a_fault_is_named() {
    let body = "setp.lt.u32 %p0, %b, 5;\n@%p0 ret;\nld.global.u32 %r0, [%x+1024];";
    for _ in 0..20 {
        let fault = run_on(4, &module(body), 64, 32, &ONES, 64).err().unwrap();
        assert_eq!(fault.place.block, [5, 0, 0]);
    }
}

#[test]
fn the_line_of_the_source_is_named() {
    let text = module("ret;").replace("ret;", ".loc 1 42 7\nld.global.u32 %r0, [%x+4096];") + ".file 1 \"matmul.cu\"\n";
    let fault = run(&text, 1, 1, &ONES, 1).err().unwrap();
    assert_eq!(fault.place.source, Some(("matmul.cu".to_owned(), 42)));
    let shown = fault.to_string();
    assert!(shown.contains("(matmul.cu:42), block (0, 0, 0), thread (0, 0, 0): a read of 4 bytes"), "{shown}");
}

#[test]
fn launches_that_no_gpu_takes_are_refused() {
    let module = Module::parse(&module("ret;")).unwrap();
    let kernel = &module.kernels[0];
    let word = 0u64.to_le_bytes();
    let start = |grid, block, args: &[&[u8]]| {
        Launch::new(&module, kernel, grid, block, args)?.run(&mut Memory::default()).map(drop)
    };
    let two: [&[u8]; 2] = [&word, &word];
    assert_eq!(start([1; 3], [1; 3], &two), Ok(()));
    let text = |result: Result<(), Fault>| result.unwrap_err().to_string();
    assert!(text(start([1; 3], [1; 3], &two[..1])).contains("takes 2 arguments, not 1"));
    assert!(text(start([1; 3], [1; 3], &[&word, &word[..4]])).contains("y takes 8 bytes, not 4"));
    assert!(text(start([1, 0, 1], [1; 3], &two)).contains("grid of [1, 0, 1]"));
    assert!(text(start([1; 3], [512, 4, 1], &two)).contains("block of [512, 4, 1]"));
    let mut launch = Launch::new(&module, kernel, [1; 3], [1; 3], &two).unwrap();
    launch.dynamic_shared = 1 << 20;
    assert!(text(launch.run(&mut Memory::default()).map(drop)).contains("shared memory"));
}
