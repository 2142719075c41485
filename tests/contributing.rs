//! The worked changes in CONTRIBUTING.md apply to the tree as it is: a guide that has fallen behind misleads.

use std::io::Write;
use std::process::{Command, Stdio};

#[test]
fn the_worked_changes_apply() {
    let guide = include_str!("../CONTRIBUTING.md");
    let changes: Vec<&str> = guide.split("```diff\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert_eq!(changes.len(), 3, "one worked change for each kind of operation");
    for change in changes {
        let mut git = Command::new("git")
            .args(["apply", "--check", "-"])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("git runs");
        git.stdin.take().expect("a pipe").write_all(change.as_bytes()).expect("git reads");
        let output = git.wait_with_output().expect("git ends");
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "CONTRIBUTING.md has fallen behind the code; make this change anew:\n{change}\n{complaint}"
        );
    }
}
