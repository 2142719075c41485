//! How kernels run: divergence, shuffles, atomics, tensor products, and the same result on any number of cores.

mod common;

use common::{module, run};
use gradus_emulator::{Launch, Memory, Module};

/// Stores `%r9` of each thread.
const STORE: &str = "\nadd.u64 %l9, %y, %at;\nst.global.u32 [%l9], %r9;\nret;";

fn words(body: &str, block: u32, x: &[u32]) -> Vec<u32> {
    run(&module(&(body.to_owned() + STORE)), 1, block, x, block as usize).unwrap_or_else(|fault| panic!("{fault}")).y
}

#[test]
fn lanes_that_diverge_meet_again() {
    // Each lane goes through a loop as often as its number says; then all must be together for the vote.
    let body = "mov.u32 %r9, 0;\n$again:\nsetp.ge.u32 %p0, %r9, %t;\n@%p0 bra $done;\nadd.u32 %r9, %r9, 1;\nbra.uni $again;\n\
                $done:\nsetp.gt.u32 %p1, %r9, 3;\nvote.sync.ballot.b32 %r8, %p1, -1;\npopc.b32 %r8, %r8;\nmad.lo.u32 %r9, %r9, 100, %r8;";
    let expected: Vec<u32> = (0..64).map(|t| 100 * t + if t < 32 { 28 } else { 32 }).collect();
    assert_eq!(words(body, 64, &[]), expected);
}

#[test]
fn shuffles_move_values_between_lanes() {
    let shuffled = |how: &str| words(&format!("shfl.sync.{how}, -1;"), 32, &[]);
    let each = |f: fn(u32) -> u32| (0..32).map(f).collect::<Vec<_>>();
    assert_eq!(shuffled("bfly.b32 %r9, %t, 5, 31"), each(|t| t ^ 5));
    assert_eq!(shuffled("down.b32 %r9, %t, 4, 31"), each(|t| if t + 4 < 32 { t + 4 } else { t }));
    assert_eq!(shuffled("up.b32 %r9, %t, 4, 0"), each(|t| if t >= 4 { t - 4 } else { t }));
    assert_eq!(shuffled("idx.b32 %r9, %t, 7, 31"), each(|_| 7));
    // Segments of 8 lanes: the upper bits of a lane's number stay.
    assert_eq!(shuffled("idx.b32 %r9, %t, 2, 0x181f"), each(|t| t & !7 | 2));
    assert_eq!(shuffled("down.b32 %r9, %t, 3, 0x181f"), each(|t| if t % 8 + 3 < 8 { t + 3 } else { t }));
}

#[test]
fn variables_and_local_memory_hold_what_is_put_there() {
    let body = ".local .align 8 .b8 own[16];\nmov.u64 %l0, own;\nmul.lo.u32 %r0, %t, 3;\nst.local.u32 [%l0+4], %r0;\n\
                cvta.local.u64 %l1, %l0;\nld.u32 %r1, [%l1+4];\nmov.u64 %l2, table;\nld.global.u32 %r2, [%l2+4];\nadd.u32 %r9, %r1, %r2;";
    let table = ".global .align 4 .b8 table[8] = {1, 0, 0, 0, 0, 2};\n.visible .entry";
    let text = module(&(body.to_owned() + STORE)).replace(".visible .entry", table);
    let ran = run(&text, 1, 40, &[], 40).unwrap();
    assert!(ran.y.iter().enumerate().all(|(t, &y)| y == 3 * t as u32 + 512));
}

#[test]
fn sums_by_atomics_do_not_depend_on_cores() {
    // Floats of very different size, added by many blocks: any other order would round in another way.
    let body = "shl.b32 %r0, %b, 6; add.u32 %r0, %r0, %t; mul.wide.u32 %l0, %r0, 4; add.u64 %l0, %x, %l0;\n\
                ld.global.f32 %f0, [%l0];\nred.global.add.f32 [%x], %f0;\nret;";
    let text = module(&body.replace("[%l0];", "[%l0+4];"));
    let module = Module::parse(&text).unwrap();
    let values: Vec<u8> = (0..64 * 50 + 1).flat_map(|i| (1.0 / (i as f32 + 0.1)).sin().to_le_bytes()).collect();
    let sum = |cores: usize| {
        let mut memory = Memory::default();
        let x = memory.allocate(values.len() as u64).unwrap();
        memory.write(x, &values).unwrap();
        let args: [&[u8]; 2] = [&x.to_le_bytes(), &x.to_le_bytes()];
        let mut launch = Launch::new(&module, &module.kernels[0], [50, 1, 1], [64, 1, 1], &args).unwrap();
        launch.limits.cores = cores;
        launch.run(&mut memory).unwrap_or_else(|fault| panic!("{fault}"));
        let mut bits = [0; 4];
        memory.read(x, &mut bits).unwrap();
        u32::from_le_bytes(bits)
    };
    let one = sum(1);
    assert!((0..20).all(|_| sum(4) == one));
}

#[test]
fn tensor_products_are_products() {
    // A is 16 x 8 by rows, B is 8 x 8 by columns, both in memory as tf32; the sum starts from the thread's number.
    let load = |into: &str, index: &str| {
        format!(
            "{index}\nshl.b32 %r20, %r20, 2; cvt.u64.u32 %l0, %r20; add.u64 %l0, %x, %l0;\nld.global.u32 {into}, [%l0];\n"
        )
    };
    let place = |row: u32, column: u32, base: u32| {
        format!(
            "shr.u32 %r20, %t, 2; add.u32 %r20, %r20, {row}; shl.b32 %r20, %r20, 3; and.b32 %r21, %t, 3; add.u32 %r20, %r20, %r21; add.u32 %r20, %r20, {};",
            column + base
        )
    };
    let mut body = String::new();
    for (register, (row, column)) in [(0, 0), (8, 0), (0, 4), (8, 4)].into_iter().enumerate() {
        body += &load(&format!("%r{register}"), &place(row, column, 0));
    }
    for (register, column) in [0, 4].into_iter().enumerate() {
        body += &load(&format!("%r{}", 4 + register), &place(0, column, 128));
    }
    body += "mov.f32 %f9, 0f40000000;\n\
             mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%f0,%f1,%f2,%f3}, {%r0,%r1,%r2,%r3}, {%r4,%r5}, {%f9,%f9,%f9,%f9};\n\
             shl.b64 %l3, %at, 2; add.u64 %l3, %y, %l3;\nst.global.v4.f32 [%l3], {%f0,%f1,%f2,%f3};\nret;";
    let x: Vec<f32> = (0..192).map(|i| (i * 7 % 23) as f32 - 11.0).collect();
    let bits: Vec<u32> = x.iter().map(|x| x.to_bits()).collect();
    let ran = run(&module(&body), 1, 32, &bits, 128).unwrap_or_else(|fault| panic!("{fault}"));
    for lane in 0..32 {
        for register in 0..4 {
            let (row, column) = (lane / 4 + 8 * (register / 2), 2 * (lane % 4) + register % 2);
            let sum: f32 = (0..8).map(|k| x[8 * row + k] * x[128 + 8 * column + k]).sum();
            assert_eq!(f32::from_bits(ran.y[4 * lane + register]), 2.0 + sum);
        }
    }
    assert_eq!(ran.counters.tensor_products, 1);
}

#[test]
fn matrices_are_loaded_across_the_warp() {
    let load = |form: &str| {
        let body = "shl.b32 %r1, %t, 4; mov.u32 %r0, tile; add.u32 %r0, %r0, %r1; cvt.u64.u32 %l0, %r1; add.u64 %l0, %x, %l0;\n\
                    ld.global.v4.u32 {%r2,%r3,%r4,%r5}, [%l0];\nst.shared.v4.u32 [%r0], {%r2,%r3,%r4,%r5};\nbar.sync 0;\nldmatrix.";
        words(
            &format!("{body}{form}.shared.b16 {{%r6,%r7,%r8,%r9}}, [%r0];"),
            32,
            &(0..128).map(|i| (2 * i) | ((2 * i + 1) << 16)).collect::<Vec<_>>(),
        )
    };
    // The fourth matrix holds the numbers from 192 on.
    let plain: Vec<u32> = (0..32).map(|lane| (192 + 2 * lane) | ((193 + 2 * lane) << 16)).collect();
    assert_eq!(load("sync.aligned.m8n8.x4"), plain);
    let element = |row: u32, column: u32| 192 + 8 * row + column;
    let turned = (0..32).map(|lane| (lane / 4, lane % 4 * 2)).map(|(c, r)| element(r, c) | element(r + 1, c) << 16);
    assert_eq!(load("sync.aligned.m8n8.x4.trans"), turned.collect::<Vec<_>>());
}
