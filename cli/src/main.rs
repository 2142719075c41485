//! The `gradus` command: it trains, evaluates and inspects networks, and keeps all arithmetic to the library.

mod args;
mod commands;
mod datasets;
mod failure;
mod interrupt;
mod report;
mod terminal;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let cli = args::Cli::parse();
    let terminal = terminal::Terminal::new(&cli.common);
    match commands::run(&cli.command, &terminal) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            terminal.fail(&failure);
            failure.exit_code()
        }
    }
}
