//! Help, usage errors, completions.

use crate::Place;

const COMMANDS: &[&str] = &[
    "train",
    "transfer",
    "eval",
    "predict",
    "show",
    "summary",
    "convert",
    "data",
    "device",
    "kernel",
    "list",
    "completions",
];

#[test]
fn every_command_explains_itself_on_stdout() {
    let place = Place::new();
    let help = place.ok(&["--help"]);
    for command in COMMANDS {
        assert!(help.contains(&format!("\n  {command} ")), "{command} is not in --help");
        let help = place.ok(&[command, "--help"]);
        assert!(help.contains("Usage:"), "{help}");
        assert!(help.contains("Example"), "{command} --help shows no example");
    }
    for command in ["list", "info", "path", "fetch", "verify"] {
        assert!(place.ok(&["data", command, "--help"]).contains("Usage: gradus data"));
    }
}

#[test]
fn wrong_usage_ends_with_2_and_a_hint() {
    let place = Place::new();
    place.fails(&["trian", "digits"], 2, &["unrecognized subcommand 'trian'", "'train'"]);
    place.fails(&["train", "digits", "--epoch", "3"], 2, &["'--epoch'", "--epochs"]);
    place.fails(&["train"], 2, &["<NAME|FILE>"]);
    place.fails(&["train", "digits", "--set", "lr"], 2, &["expected KEY=VALUE, as in optimizer.learning_rate=0.01"]);
    place.fails(&["train", "digits", "--json", "--jsonl"], 2, &["cannot be used with"]);
    place.fails(&[], 2, &["Usage: gradus"]);
}

#[test]
fn version_is_one_line() {
    assert_eq!(Place::new().ok(&["--version"]), format!("gradus {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn completions_know_the_commands() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = place.ok(&["completions", shell]);
        assert!(COMMANDS.iter().all(|command| script.contains(command)), "{shell}");
    }
}
