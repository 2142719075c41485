//! `gradus kernel` and `gradus device peak`.

use serde_json::Value;

use crate::Place;

/// The objects that a call prints, one a line.
fn lines(place: &Place, arguments: &[&str]) -> Vec<Value> {
    let text = place.ok(&[arguments, &["--json"]].concat());
    text.lines().map(|line| serde_json::from_str(line).expect("a line is not JSON")).collect()
}

#[test]
fn the_list_names_operations_shapes_and_variants() {
    let place = Place::new();
    let list = lines(&place, &["kernel", "list"]);
    for (op, shape) in [
        ("matmul", "32x784x300"),
        ("matmul_tn", "784x32x300"),
        ("matmul_nt", "32x300x784"),
        ("relu", "4096x4096"),
        ("softmax", "256x1000"),
        ("transpose", "2048x2048"),
        ("layer_norm", "1024x1024"),
    ] {
        let row = list.iter().find(|row| row["op"] == op).unwrap_or_else(|| panic!("{op} is not in the list"));
        assert!(row["shapes"].as_array().unwrap().contains(&shape.into()), "{row}");
        assert!(row["variants"].as_array().unwrap().contains(&"reference".into()), "{row}");
    }
    let text = place.ok(&["kernel", "list"]);
    assert!(text.contains("\nmatmul ") && text.contains("variants of this machine: reference, "), "{text}");
}

#[test]
fn a_bench_prints_one_object_a_line() {
    let place = Place::new();
    let call =
        ["kernel", "bench", "matmul", "8x16x4", "3x3x3", "--variant", "all", "--threads", "1,2", "--time", "0.01"];
    let rows = lines(&place, &call);
    let variants = lines(&place, &["kernel", "list"])[0]["variants"].as_array().unwrap().len();
    // The reference knows no threads.
    assert_eq!(rows.len(), 2 * (2 * (variants - 1) + 1));
    for row in &rows {
        let keys: Vec<&str> = row.as_object().unwrap().keys().map(String::as_str).collect();
        for key in ["op", "shape", "variant", "threads", "gflops", "gbps", "share_of_peak", "max_rel_error"] {
            assert!(keys.contains(&key), "{key} is not in {row}");
        }
        assert!(row["op"] == "matmul" && row["gflops"].as_f64().unwrap() > 0.0 && row["gbps"].is_null(), "{row}");
        assert!(row["share_of_peak"].as_f64().unwrap() > 0.0, "{row}");
        assert!(row["max_rel_error"].as_f64().unwrap() < 1e-6, "{row}");
    }
    let row = &lines(&place, &["kernel", "bench", "relu", "2^10", "--threads", "1", "--time", "0.01"])[0];
    assert!(row["shape"] == "1024" && row["gflops"].is_null() && row["gbps"].as_f64().unwrap() > 0.0, "{row}");
    let text = place.ok(&["kernel", "bench", "sum_axis1", "7x9", "--time", "0"]);
    assert!(text.starts_with("op ") && text.contains("\nsum_axis1  7x9 "), "{text}");
}

#[test]
fn time_is_drawn_against_work() {
    let place = Place::new();
    let call =
        ["kernel", "bench", "exp", "--sizes", "2^6..2^8", "--threads", "1,2", "--time", "0.01", "--svg", "exp.svg"];
    let text = place.ok(&call);
    assert_eq!(text.lines().count(), 1 + 2 * 3, "{text}");
    let svg = std::fs::read_to_string(place.path().join("exp.svg")).unwrap();
    assert!(svg.starts_with("<svg") && svg.contains("2 threads"), "{svg}");
}

#[test]
fn every_operation_is_verified() {
    let rows = lines(&Place::new(), &["kernel", "verify", "--threads", "2"]);
    assert!(rows.len() > 80, "only {} operations", rows.len());
    assert!(rows.iter().all(|row| row["max_rel_error"].as_f64().unwrap() < 1e-4 && row["gflops"].is_null()));
}

#[test]
fn what_is_not_there_is_refused_with_what_is() {
    let place = Place::new();
    place.fails(&["kernel", "bench", "matmull"], 2, &["no operation \"matmull\"", "Did you mean \"matmul\"?"]);
    place.fails(&["kernel", "bench", "matmul", "3x4"], 2, &["matmul: 3x4 is no shape for it: it takes MxKxN"]);
    place.fails(&["kernel", "bench", "relu", "3xx"], 2, &["shape \"3xx\": write whole numbers"]);
    place.fails(&["kernel", "verify", "relu", "0x4"], 2, &["relu: 0x4: there is nothing to measure"]);
    place.fails(&["kernel", "bench", "relu", "2^50"], 2, &["does not fit into memory"]);
    place.fails(
        &["kernel", "bench", "relu", "--variant", "sse9"],
        2,
        &["--variant: this machine has no variant \"sse9\"", "reference, "],
    );
    place.fails(
        &["kernel", "bench", "relu", "--threads", "0"],
        2,
        &["--threads: 0 is out of range; give a number from 1 to 1024"],
    );
    place.fails(&["kernel", "bench", "relu", "--time", "-1"], 2, &["--time"]);
    place.fails(&["kernel", "bench", "relu", "--sizes", "9..2"], 2, &["--sizes \"9..2\"", "as in 2^6..2^26"]);
    place.fails(&["device", "peak", "--threads", "5000"], 2, &["--threads: 5000 is out of range"]);
}

#[test]
fn the_peak_of_the_machine_is_measured() {
    let place = Place::new();
    let peak = &lines(&place, &["device", "peak", "--threads", "1"])[0];
    assert!(peak["flops"].as_array().unwrap().iter().all(|row| row["gflops"].as_f64().unwrap() > 0.1), "{peak}");
    assert_eq!(peak["triad"].as_array().unwrap().len(), 3, "{peak}");
    assert!(peak["triad"].as_array().unwrap().iter().all(|row| row["gbps"].as_f64().unwrap() > 0.1), "{peak}");
}
