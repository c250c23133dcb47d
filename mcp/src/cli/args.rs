//! The command line, as a person types it.

mod call;
mod doctor;
mod limits;
mod serve;
#[cfg(test)]
mod tests;
mod typed;

use clap::{Args, Parser, Subcommand};

pub(crate) use self::call::CallArgs;
pub(crate) use self::doctor::DoctorArgs;
pub(crate) use self::serve::ServeArgs;
pub(crate) use self::typed::TypedArgs;
use crate::fleet::stdio::StdioServerArgs;

/// The width of the help where the terminal is as wide, or where there is none.
const WIDTH: usize = 80;

/// Connects to MCP servers, and leaves them cleanly.
#[derive(Debug, Parser)]
#[command(name = "moored-mcp", version, propagate_version = true, max_term_width = WIDTH)]
pub(crate) struct Cli {
    /// The command to run.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands; the hidden ones are for this program itself.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Connects to every server of a configuration, leaves them all, and reports the outcome of each.
    Doctor(DoctorArgs),
    /// Calls one tool of a configured server and prints its result as JSON.
    Call(CallArgs),
    /// Serves every server of a configuration behind one endpoint, over stdio or over HTTP.
    Serve(Box<ServeArgs>),
    /// Prints the script with which a shell completes this program's command line.
    Completions(CompletionsArgs),
    /// Kills the children's process groups when the program that started it is ended by SIGKILL.
    #[command(hide = true)]
    Watchdog,
    /// The stdio server of the embedded fleet: this program, started again by itself.
    #[command(hide = true)]
    FleetServer(StdioServerArgs),
}

/// `moored-mcp completions`.
#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// The shell.
    pub shell: clap_complete::Shell,
}
