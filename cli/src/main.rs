//! The `gradus` command: it trains, evaluates and inspects networks, and keeps all arithmetic to the library.

// The library under a short name, in every module.
extern crate gradus_nn as nn;

mod args;
mod bases;
mod checkpoints;
mod commands;
mod datasets;
mod failure;
mod inputs;
mod interrupt;
mod labs;
mod machine;
mod model_file;
mod pretrained;
mod recipes;
mod report;
mod samples;
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
