//! The command line: from arguments to an exit status.

mod args;
mod call;
mod doctor;
pub(crate) mod duration;
mod output;
mod progress;
mod render;
mod run;
mod serve;
mod signals;
mod source;
mod timeline;
mod unread;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use moored_mcp::Watchdog;
use tokio::runtime::Builder;

use args::{Cli, Command};
pub(crate) use render::words;

/// The exit status of a run with wrong arguments or a wrong configuration. No server was started.
const WRONG_USE: u8 = 2;
/// The exit status of a run in which some server failed, or was left unclean.
const FAILED: u8 = 1;

/// Runs the command of the command line.
pub(crate) fn main() -> ExitCode {
    let status = command();
    match output::lost() {
        Some(why) => {
            output::log(&format!("the output is not complete: {why}"));
            if status == ExitCode::SUCCESS { ExitCode::from(FAILED) } else { status }
        }
        None => status,
    }
}

fn command() -> ExitCode {
    match Cli::parse().command {
        Command::Doctor(args) => run(Builder::new_multi_thread(), doctor::run(args)),
        Command::Call(args) => run(Builder::new_multi_thread(), call::run(args)),
        Command::Serve(args) => run(Builder::new_multi_thread(), serve::run(*args)),
        // A server of the fleet has one client and little to do.
        Command::FleetServer(args) => {
            run(Builder::new_current_thread(), crate::fleet::stdio::serve(args))
        }
        Command::Completions(args) => {
            let mut script = Vec::new();
            clap_complete::generate(args.shell, &mut Cli::command(), "moored-mcp", &mut script);
            output::print(&String::from_utf8_lossy(&script));
            ExitCode::SUCCESS
        }
        Command::Watchdog => {
            Watchdog::run();
            ExitCode::SUCCESS
        }
    }
}

/// Runs a command that needs a runtime.
fn run(mut runtime: Builder, command: impl Future<Output = ExitCode>) -> ExitCode {
    let runtime = match runtime.enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            output::complain(&format!("no runtime: {error}"));
            return ExitCode::from(FAILED);
        }
    };
    let status = runtime.block_on(command);
    // All sessions have been left or reported by now. Waiting for the runtime would only delay the
    // exit status.
    runtime.shutdown_background();
    status
}
