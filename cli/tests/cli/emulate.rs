//! `gradus kernel run --emulate` and `gradus kernel show`.

use serde_json::Value;

use crate::Place;

/// What a call with `--json` prints.
fn answer(place: &Place, arguments: &[&str]) -> Value {
    serde_json::from_str(&place.ok(&[arguments, &["--json"]].concat())).expect("no JSON")
}

const MATRICES: [&str; 6] = ["f32[16384]=random", "f32[16384]=random", "f32[16384]", "u32=128", "u32=128", "u32=128"];

#[test]
fn the_chapter_says_what_is_counted() {
    let place = Place::new();
    let chapter = include_str!("../../../docs/cuda.md");
    for (kernel, grid, block) in [
        ("matmul_naive", "4,4", "32,32"),
        ("matmul_coalesced", "4,4", "32,32"),
        ("matmul_tiled", "4,4", "32,32"),
        ("matmul_128", "1", "256"),
    ] {
        let call = [&["kernel", "run", kernel, "--emulate", "--grid", grid, "--block", block][..], &MATRICES].concat();
        let counters = &answer(&place, &call)["counters"];
        let row = format!(
            "| `{kernel}` | {} | {} | {:.1} | {} | {} | {:.0} % |",
            counters["instructions"],
            counters["global_sectors"],
            counters["sectors_per_request"].as_f64().unwrap(),
            counters["shared_requests"],
            counters["bank_conflicts"],
            100.0 * counters["multiply_add_share"].as_f64().unwrap(),
        );
        assert!(chapter.contains(&row), "docs/cuda.md has no row {row}");
    }
}

#[test]
fn the_assembler_s_report_is_shown() {
    let place = Place::new();
    let rows = answer(&place, &["kernel", "show", "matmul_128", "--sass-report"]);
    let row = &rows[0];
    assert_eq!(
        (row["sm"].as_u64(), row["registers"].as_u64(), row["spilled_bytes"].as_u64()),
        (Some(80), Some(128), Some(0))
    );
    assert!(row["multiplies"].as_f64().unwrap() / row["loop"].as_f64().unwrap() > 0.88, "{row}");
    let text = place.ok(&["kernel", "show", "softmax", "--sass-report"]);
    assert!(text.contains("cross_entropy_grad") && text.contains("90"), "{text}");
    place.fails(&["kernel", "show", "soft", "--sass-report"], 2, &["no CUDA kernel or family"]);
}

#[test]
fn a_kernel_of_ones_own_runs_or_is_told_its_fault() {
    let place = Place::new();
    let ptx = ".version 7.8\n.target sm_70\n.address_size 64\n.visible .entry scale(.param .u64 x, .param .f32 by)\n{\n\
               .reg .b64 %l<4>; .reg .b32 %r<4>; .reg .f32 %f<4>;\nld.param.u64 %l0, [x];\nld.param.f32 %f0, [by];\n\
               mov.u32 %r0, %tid.x;\nmul.wide.u32 %l1, %r0, 4;\nadd.u64 %l2, %l0, %l1;\nld.global.f32 %f1, [%l2];\n\
               mul.f32 %f2, %f1, %f0;\nst.global.f32 [%l2], %f2;\nret;\n}\n";
    std::fs::write(place.path().join("scale.ptx"), ptx).unwrap();
    let call = |array: &'static str, block: &'static str| {
        ["kernel", "run", "scale.ptx", "--emulate", "--grid", "1", "--block", block, "--show", "3", array, "f32=0.5"]
    };
    let value = answer(&place, &call("f32[32]=range", "32"));
    assert_eq!(value["arrays"][0]["first"], serde_json::json!(["0", "0.5", "1"]));
    assert_eq!(value["counters"]["global_sectors"], 8);
    let text = place.ok(&call("f32[32]=range", "32"));
    assert!(text.contains("no fault") && text.contains("f32[32]      0, 0.5, 1, .."), "{text}");
    let outside = ["PTX line 12, block (0, 0, 0), thread (32, 0, 0): a read of 4 bytes", "ld.global.f32"];
    place.fails(&call("f32[32]=range", "64"), 5, &outside);
    place.fails(&call("f32[32]", "32"), 5, &["nobody has written"]);
    place.fails(&call("f32[32]=range", "2048"), 2, &["a block of [2048, 1, 1] threads"]);
    place.fails(
        &["kernel", "run", "mine.cu", "--emulate", "--grid", "1", "--block", "1"],
        2,
        &["CUDA C has to be compiled first", "then run mine.ptx"],
    );
    place.fails(&call("f32[32]=rang", "32"), 2, &["argument \"f32[32]=rang\"", "range"]);
    place.fails(&call("f32[32]=range", "32")[..11], 2, &["it takes 2 arguments, not 1", "its parameters: u64, f32"]);
    std::fs::write(place.path().join("scale.ptx"), ptx.replace("mul.f32", "mul.sat.f32")).unwrap();
    place.fails(&call("f32[32]=range", "32"), 2, &["PTX line 13", "does not know the instruction mul.sat.f32"]);
    let on_gpu = ["kernel", "run", "scale.ptx", "--grid", "1", "--block", "1"];
    place.fails(&on_gpu, 6, &["--emulate"]);
    place.fails(&["kernel", "run", "none.ptx", "--emulate", "--grid", "1", "--block", "1"], 3, &["none.ptx: "]);
}

#[test]
fn kernels_are_shown() {
    let place = Place::new();
    assert!(place.ok(&["kernel", "show"]).contains("matmul_naive"));
    assert!(place.ok(&["kernel", "show", "matmul"]).contains("KERNEL matmul_tiled("));
    let ptx = place.ok(&["kernel", "show", "matmul_tiled", "--ptx"]);
    assert!(ptx.starts_with(".visible .entry matmul_tiled(") && ptx.trim_end().ends_with('}'), "{ptx}");
    place.fails(&["kernel", "show", "matmul_tild"], 2, &["Did you mean \"matmul_tiled\"?"]);
}
