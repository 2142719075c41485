//! The events of a run, read back by TensorBoard itself where Python has it.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::train::trained;

/// What TensorBoard's reader finds in a file or folder; `None` where it is not installed.
fn read(path: &Path) -> Option<Value> {
    let python = std::env::var("GRADUS_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let installed = Command::new(&python).args(["-c", "import tensorboard, PIL"]).output();
    if !installed.is_ok_and(|output| output.status.success()) {
        println!("skipped: {python} has no tensorboard and pillow; name one that has them in GRADUS_PYTHON");
        return None;
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/events.py");
    let output = Command::new(&python).arg(script).arg(path).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

#[test]
fn tensorboard_reads_what_a_run_wrote() {
    let trained = trained();
    let Some(seen) = read(&trained.place.path().join(trained.run_dir()).join("tb")) else { return };
    let history = trained.result["history"].as_array().unwrap();
    for (tag, name) in [("loss/training", "loss"), ("accuracy/validation", "val_accuracy")] {
        let points = seen["scalars"][tag].as_array().unwrap_or_else(|| panic!("{tag}: {seen}"));
        assert_eq!(points.len(), 12);
        for (point, epoch) in points.iter().zip(history) {
            assert_eq!(point[0], epoch["epoch"]);
            let (theirs, ours) = (point[1].as_f64().unwrap(), epoch[name].as_f64().unwrap());
            assert!((theirs - ours).abs() < 1e-6, "{tag}: {theirs} {ours}");
        }
    }
    for tag in ["weights/dense.kernel", "gradients/dense.kernel"] {
        let last = &seen["histograms"][tag][11];
        assert_eq!((&last["step"], last["num"].as_f64()), (&Value::from(12), Some(64.0 * 64.0)), "{tag}");
        let counts: f64 = last["counts"].as_array().unwrap().iter().map(|count| count.as_f64().unwrap()).sum();
        assert_eq!(counts, 64.0 * 64.0);
    }
    assert_eq!(seen["images"]["samples"][0]["png"][2], "RGB");
    let graph = seen["graph"].as_array().unwrap();
    let last = &graph[graph.len() - 1];
    assert_eq!((&last["op"], &last["shapes"][0]), (&"Dense".into(), &serde_json::json!([-1, 10])));
}

/// The bytes of the file are those that a unit test of `report/tensorboard.rs` writes.
#[test]
fn tensorboard_reads_the_stored_file_as_before() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden");
    let stored = std::fs::read_to_string(folder.join("events.json")).unwrap();
    let stored: Value = serde_json::from_str(&stored).unwrap();
    assert_eq!(stored["scalars"]["loss/training"], serde_json::json!([[1, 0.5], [300, 0.0016666667070239782]]));
    let copy = tempfile::tempdir().unwrap();
    let file = copy.path().join("events.out.tfevents.1");
    std::fs::copy(folder.join("events.tfevents"), &file).unwrap();
    if let Some(seen) = read(&file) {
        assert_eq!(seen, stored);
    }
}
