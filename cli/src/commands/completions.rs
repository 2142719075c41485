//! `gradus completions`: what a shell needs to complete our commands and options.

use clap::CommandFactory;

use crate::args::{Cli, CompletionsArgs};
use crate::failure::Failure;
use crate::terminal::Terminal;

/// Prints the script.
///
/// # Errors
/// If stdout is closed.
pub fn run(args: &CompletionsArgs, terminal: &Terminal) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "gradus", &mut script);
    terminal.result(String::from_utf8_lossy(&script).trim_end())
}
