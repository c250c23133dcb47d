//! `moored-mcp`: connects to MCP servers, and leaves them cleanly.
#![forbid(unsafe_code)]

mod cli;
mod fleet;

fn main() -> std::process::ExitCode {
    cli::main()
}
