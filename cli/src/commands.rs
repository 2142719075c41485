//! One module for each command: it reads options, calls the library, and hands the result to the terminal.

mod completions;
mod data;

use crate::args::Command;
use crate::failure::{Failure, Kind};
use crate::terminal::Terminal;

/// Does what the command line asks for.
///
/// # Errors
/// If that fails; the kind of failure becomes the exit code.
pub fn run(command: &Command, terminal: &Terminal) -> Result<(), Failure> {
    match command {
        Command::Data(args) => data::run(args, terminal),
        Command::Completions(args) => completions::run(args, terminal),
        other => Err(Failure::new(Kind::Usage, format!("this version cannot do this yet: {other:?}"))),
    }
}
