//! `--device cuda:0`: on the emulator that stands in for a driver, and on a machine that has none.
#![cfg(all(target_os = "linux", feature = "cuda"))]

use serde_json::Value;

use crate::Place;

/// What `gradus` with the emulator for a GPU gives: the exit code, stdout and stderr.
fn emulated(place: &Place, arguments: &[&str], memory: Option<&str>) -> (Option<i32>, String, String) {
    let mut command = place.command(arguments);
    command.env("GRADUS_EMULATE_CUDA", "1").envs(memory.map(|bytes| ("GRADUS_EMULATED_MEMORY", bytes)));
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn without_a_driver_one_line_says_why() {
    let place = Place::new();
    let found = json(&place.ok(&["device", "--json"]));
    if found["no_cuda"].is_null() {
        return eprintln!("skipped: this machine has a driver");
    }
    assert!(found["no_cuda"].as_str().unwrap().contains("there is no NVIDIA driver"), "{found}");
    place.fails(&["train", "digits", "--device", "cuda:0"], 6, &["there is no NVIDIA driver", "--device cpu"]);
}

#[test]
fn a_network_trains_there_and_is_measured_here() {
    let place = Place::new();
    let (code, out, err) = emulated(&place, &["device", "--json"], None);
    assert_eq!((code, json(&out)["devices"][1]["name"].as_str()), (Some(0), Some("cuda:0")), "{err}");

    let train = ["train", "digits", "--epochs", "1", "--device", "cuda:0", "--json"];
    let (code, out, err) = emulated(&place, &train, None);
    assert_eq!(code, Some(0), "{err}");
    let there = json(&out);
    let eval = ["eval", there["run_dir"].as_str().unwrap(), "--json"];
    let here = json(&place.ok(&eval));
    assert_eq!(here["accuracy"], there["test"]["accuracy"], "{here} {there}");

    // The same training on the processor ends in nearly the same place.
    let cpu = json(&place.ok(&["train", "digits", "--epochs", "1", "--json"]));
    let loss = |run: &Value| run["test"]["loss"].as_f64().unwrap();
    assert!((loss(&cpu) / loss(&there) - 1.0).abs() < 1e-3, "{} {}", loss(&cpu), loss(&there));
}

#[test]
fn a_device_that_fails_loses_nothing() {
    let place = Place::new();
    let (code, _, err) = emulated(&place, &["train", "digits", "--device", "cuda:3"], None);
    assert!(code == Some(6) && err.contains("cuda:3: no such device; there is cuda:0"), "{err}");

    let train = ["train", "digits", "--epochs", "1", "--device", "cuda:0"];
    let mut old = place.command(&train);
    let old = old.env("GRADUS_EMULATE_CUDA", "1").env("GRADUS_EMULATED_DRIVER", "11040").output().unwrap();
    let text = String::from_utf8(old.stderr).unwrap();
    assert!(text.contains("the driver is of CUDA 11.4, and the kernels need 11.8"), "{text}");
    let (code, _, err) = emulated(&place, &train, Some("200000"));
    assert!(code == Some(6) && err.contains("out of memory") && err.contains("MiB in use"), "{err}");
    assert!(err.contains("go on with: gradus train --resume runs/0001-digits"), "{err}");
    place.ok(&["train", "--resume", "runs/0001-digits"]);
}
