//! The command as its users meet it: arguments in; stdout, stderr, exit code and files out.

mod compare;
mod convert;
mod data;
mod emulate;
mod errors;
mod fetch;
mod gpu;
mod help;
mod images;
mod kernel;
mod lab;
mod predict;
mod resume;
mod show;
mod tensorboard;
mod train;
mod transfer;

use std::path::Path;
use std::process::{Command, Output, Stdio};

/// An empty folder in which `gradus` runs, with no data of the machine in sight.
struct Place {
    folder: tempfile::TempDir,
}

/// What one call of `gradus` gave.
struct Run {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Place {
    fn new() -> Place {
        Place { folder: tempfile::tempdir().expect("no temporary folder") }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// A call that is not started yet.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gradus"));
        command.args(arguments).current_dir(self.path()).stdin(Stdio::null());
        for variable in ["XDG_CACHE_HOME", "KERAS_HOME", "NO_COLOR", "CLICOLOR_FORCE"] {
            command.env_remove(variable);
        }
        for (variable, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("GRADUS_")) {
            command.env_remove(variable);
        }
        command.env("HOME", self.path().join("home"));
        command
    }

    fn run(&self, arguments: &[&str]) -> Run {
        Run::of(self.command(arguments).output().expect("gradus does not start"))
    }

    /// A call that must succeed; its stdout.
    fn ok(&self, arguments: &[&str]) -> String {
        let run = self.run(arguments);
        assert_eq!(run.code, 0, "gradus {}: {}", arguments.join(" "), run.stderr);
        run.stdout
    }

    /// A call that must fail with this code and say all of this on stderr, and nothing on stdout.
    fn fails(&self, arguments: &[&str], code: i32, texts: &[&str]) {
        let run = self.run(arguments);
        let call = arguments.join(" ");
        for text in texts {
            assert!(run.stderr.contains(text), "gradus {call}: {text:?} is not in:\n{}", run.stderr);
        }
        assert_eq!(run.code, code, "gradus {call}: {}", run.stderr);
        assert_eq!(run.stdout, "", "gradus {call} failed and yet printed a result");
    }
}

impl Run {
    fn of(output: Output) -> Run {
        Run {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).expect("stdout is not UTF-8"),
            stderr: String::from_utf8(output.stderr).expect("stderr is not UTF-8"),
        }
    }
}

/// A file of the repository's bundled data.
fn bundled(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("data").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
