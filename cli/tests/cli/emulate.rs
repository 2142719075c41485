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
    place.fails(&call("f32[32]=rang", "32"), 2, &["argument \"f32[32]=rang\"", "range"]);
    place.fails(&call("f32[32]=range", "32")[..11], 2, &["it takes 2 arguments, not 1", "its parameters: u64, f32"]);
    std::fs::write(place.path().join("scale.ptx"), ptx.replace("mul.f32", "mul.sat.f32")).unwrap();
    place.fails(&call("f32[32]=range", "32"), 2, &["PTX line 13", "does not know the instruction mul.sat.f32"]);
    let on_gpu = ["kernel", "run", "scale.ptx", "--grid", "1", "--block", "1"];
    place.fails(&on_gpu, 6, &["--emulate"]);
    place.fails(&["kernel", "run", "none.ptx", "--emulate", "--grid", "1", "--block", "1"], 3, &["none.ptx: "]);
}

/// A kernel that adds a number to every element.
const SHIFT: &str = "#include \"common.h\"\n\
    KERNEL shift(const float* x, float* y, u32 n, float by) { for (EACH(i, n)) { y[i] = x[i] + by; } }\n";

#[test]
fn a_kernel_is_held_against_an_operation() {
    let place = Place::new();
    let call = |size: &'static str, args: [&'static str; 6]| {
        let first = ["kernel", "run", "matmul_tiled", "--emulate", "--grid", size, "--block", "32,32", "--reference"];
        [&first[..], &["matmul:40x36x48"], &args].concat()
    };
    let arrays = ["f32[1440]=input", "f32[1728]=input", "f32[1920]=output", "u32=40", "u32=48", "u32=36"];
    let value = answer(&place, &call("2,2", arrays));
    assert_eq!(value["reference"], "matmul 40x36x48");
    let error = value["max_rel_error"].as_f64().unwrap();
    assert!(error > 0.0 && error < 2e-6, "{value}");
    assert!(place.ok(&call("2,2", arrays)).contains("no fault, matmul 40x36x48 with an error of "));
    // A grid that leaves rows out, a sum that lacks its last product, and arrays that do not fit.
    place.fails(&call("2,1", arrays), 5, &["element 1536 of the output f32[1920] was never written"]);
    let mut wrong = arrays;
    wrong[5] = "u32=35";
    place.fails(&call("2,2", wrong), 5, &["no fault, but not matmul 40x36x48: the error is "]);
    wrong[0] = "f32[1400]=input";
    place.fails(&call("2,2", wrong), 2, &["input 0 of matmul 40x36x48 is f32[1440]"]);
    wrong = arrays;
    wrong[1] = "f32[1728]=ones";
    place.fails(&call("2,2", wrong), 2, &["no argument is the next input of matmul 40x36x48: write f32[1728]=input"]);
    wrong[1] = "f32[1728]=input";
    wrong[2] = "f32[1920]";
    place.fails(&call("2,2", wrong), 2, &["write f32[1920]=output"]);
    for (reference, why) in [("matmul", "write an operation and a shape"), ("all:3", "name one operation")] {
        let call = ["kernel", "run", "softmax", "--emulate", "--grid", "1", "--block", "32", "--reference", reference];
        place.fails(&call, 2, &[why]);
    }
}

#[test]
fn cuda_c_is_compiled_where_the_compiler_is() {
    let place = Place::new();
    std::fs::write(place.path().join("shift.cu"), SHIFT).unwrap();
    let call = |folder: &'static str| {
        let first = ["kernel", "run", "shift.cu", "--emulate", "--grid", "2", "--block", "32", "--nvrtc", folder];
        [&first[..], &["--show", "2", "f32[40]=range", "f32[40]", "u32=40", "f32=0.5"]].concat()
    };
    place.fails(
        &call("nowhere"),
        6,
        &["NVRTC is not here", "nowhere", "pip install nvidia-cuda-nvrtc-cu11", "--nvrtc"],
    );
    let Some(python) = std::env::var_os("GRADUS_NVRTC_PYTHON") else {
        eprintln!("skipped: GRADUS_NVRTC_PYTHON names no Python with NVRTC, so nothing is compiled");
        return;
    };
    let find = "import nvidia.cuda_nvrtc as found; print(list(found.__path__)[0] + '/lib')";
    let found = std::process::Command::new(python).args(["-c", find]).output().unwrap();
    let folder = String::from_utf8(found.stdout).unwrap().trim().to_owned().leak();
    let value = answer(&place, &call(folder));
    assert_eq!(value["arrays"][1]["first"], serde_json::json!(["0.5", "1.5"]));
    // Faults name the line of the source.
    std::fs::write(place.path().join("shift.cu"), SHIFT.replace("EACH(i, n)", "EACH(i, n + 1)")).unwrap();
    place.fails(&call(folder), 5, &["shift.cu:2", "ld.global.f32"]);
    std::fs::write(place.path().join("shift.cu"), SHIFT.replace("y[i] =", "z[i] =")).unwrap();
    place.fails(&call(folder), 2, &["shift.cu does not compile", "identifier \"z\" is undefined"]);
}

#[test]
fn kernels_are_shown() {
    let place = Place::new();
    assert!(place.ok(&["kernel", "show"]).contains("matmul_naive"));
    assert!(place.ok(&["kernel", "show", "matmul"]).contains("KERNEL matmul_tiled("));
    let ptx = place.ok(&["kernel", "show", "matmul_tiled", "--ptx"]);
    assert!(ptx.starts_with(".visible .entry matmul_tiled(") && ptx.trim_end().ends_with('}'), "{ptx}");
    assert!(place.ok(&["kernel", "show", "common"]).contains("#define KERNEL"));
    place.fails(&["kernel", "show", "matmul_tild"], 2, &["Did you mean \"matmul_tiled\"?"]);
}
