//! The command line: from arguments to an exit status.

mod args;
mod call;
mod doctor;
pub(crate) mod duration;
mod output;
mod progress;
mod render;
mod serve;
mod signals;
mod source;
mod voyage;

use std::process::ExitCode;

use clap::Parser;

use args::{Cli, Command};
pub(crate) use render::words;

/// The exit status of a run with wrong arguments or a wrong configuration. No server was started.
const WRONG_USE: u8 = 2;
/// The exit status of a run in which some server failed, or was left unclean.
const FAILED: u8 = 1;

/// Runs the command of the command line.
pub(crate) fn main() -> ExitCode {
    let cli = Cli::parse();
    let mut runtime = match cli.command {
        // A server of the fleet has one client and little to do.
        Command::FleetServer(_) => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    let runtime = match runtime.enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            output::complain(&format!("no runtime: {error}"));
            return ExitCode::from(FAILED);
        }
    };
    let status = runtime.block_on(async {
        match cli.command {
            Command::Doctor(args) => doctor::run(args).await,
            Command::Call(args) => call::run(args).await,
            Command::Serve(args) => serve::run(*args).await,
            Command::FleetServer(args) => crate::fleet::stdio::serve(args).await,
        }
    });
    // All sessions have been left or reported by now. Waiting for the runtime would only delay the
    // exit status.
    runtime.shutdown_background();
    status
}
