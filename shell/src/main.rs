//! `skink`: the server's start, the interactive shell, and the tools around them, in one binary.
//!
//! | exit code | means |
//! | --- | --- |
//! | 0 | done |
//! | 1 | it did not work; the reason is on stderr |
//! | 2 | the command line is wrong, or the configuration file |
//! | 3 | the server stopped because of a fault that it could not go on with; no server tells its status |
//! | 128 + n | ended by signal n |

mod cli;
mod client;
mod demo;
mod inspect;
mod live;
mod membership;
mod numbers;
mod recovery;
mod replicas;
mod report;
mod restore;
mod serve;
mod settings;
mod shell;
mod status;
mod table;
mod verify;

use clap::Parser;
use cli::{Cli, Command};
use std::process::ExitCode;

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Serve(arguments) => report::conclude(serve::run(arguments)),
        Command::Shell(arguments) => report::conclude(shell::run(&arguments)),
        Command::Verify(arguments) => report::conclude(verify::run(&arguments)),
        Command::Inspect(arguments) => report::conclude(inspect::run(&arguments)),
        Command::Restore(arguments) => report::conclude(restore::run(&arguments)),
        Command::Status(arguments) => report::conclude(status::run(&arguments)),
        Command::Replica(arguments) => report::conclude(membership::run(&arguments)),
        Command::Demo(arguments) => report::conclude(demo::run(&arguments)),
    }
}
