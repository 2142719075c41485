//! One module for each command: it reads options, calls the library, and hands the result to the terminal.

mod compare;
mod completions;
mod convert;
mod data;
mod device;
mod eval;
mod kernel;
mod lab;
mod list;
mod predict;
mod show;
pub mod summary;
mod train;
mod transfer;

use crate::args::Command;
use crate::failure::Failure;
use crate::machine;
use crate::terminal::Terminal;

/// Does what the command line asks for.
///
/// # Errors
/// If that fails; the kind of failure becomes the exit code.
pub fn run(command: &Command, terminal: &Terminal) -> Result<(), Failure> {
    machine::check_isa()?;
    match command {
        Command::Train(args) => train::run(args, terminal),
        Command::Compare(args) => compare::run(args, terminal),
        Command::Transfer(args) => transfer::run(args, terminal),
        Command::Eval(args) => eval::run(args, terminal),
        Command::Predict(args) => predict::run(args, terminal),
        Command::Show(args) => show::run(&args.what, terminal),
        Command::Lab(args) => lab::run(args, terminal),
        Command::Summary(args) => summary::run(args, terminal),
        Command::Convert(args) => convert::run(args, terminal),
        Command::Data(args) => data::run(args, terminal),
        Command::Device(args) => device::run(args, terminal),
        Command::Kernel(args) => kernel::run(args, terminal),
        Command::List(args) => list::run(args.what, terminal),
        Command::Completions(args) => completions::run(args, terminal),
    }
}
