//! The stdio server of the fleet: this program, started again by itself with a hidden subcommand.
//!
//! Without flags it is a well-behaved server. Each flag adds one fault, so that tests can combine
//! them, with a program that exists anyway.

mod gate;

use std::process::{ExitCode, Stdio};
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use moored_mcp::config::parse_duration;
use rmcp::ServiceExt;
use rmcp::service::ServerInitializeError;
use tokio::io::AsyncReadExt;
use tokio::signal::unix::{SignalKind, signal};

use super::handler::{Eras, FleetHandler};
use gate::{Gate, Gated};

/// `moored-mcp fleet-server`: how this server misbehaves.
#[derive(Debug, Args)]
pub(crate) struct StdioServerArgs {
    /// The name it gives itself.
    #[arg(long, default_value = "fleet-server")]
    name: String,
    /// The revisions of the protocol it speaks.
    #[arg(long, value_enum, default_value_t = Eras::All)]
    eras: Eras,
    /// Refuse every handshake.
    #[arg(long)]
    reject: bool,
    /// Stay alive when stdin ends.
    #[arg(long)]
    ignore_eof: bool,
    /// Stay alive on SIGTERM.
    #[arg(long)]
    ignore_sigterm: bool,
    /// Exit with this code, at the moment that --exit-at names.
    #[arg(long, value_name = "N")]
    exit_code: Option<i32>,
    /// When --exit-code applies.
    #[arg(long, value_enum, default_value_t = ExitAt::Eof)]
    exit_at: ExitAt,
    /// Print this line on stdout before the first message.
    #[arg(long, value_name = "TEXT")]
    banner: Option<String>,
    /// Print this line on stderr before the first message.
    #[arg(long, value_name = "TEXT")]
    stderr: Option<String>,
    /// Start a process that holds the same stdout and stderr and does not go away by itself.
    #[arg(long)]
    grandchild: bool,
    /// Stop reading stdin at the first tool call.
    #[arg(long)]
    stop_reading: bool,
    /// Read everything and answer nothing.
    #[arg(long)]
    silent: bool,
    /// Write this process's id, and a grandchild's, into this file, one a line.
    #[arg(long, value_name = "FILE")]
    pid_file: Option<std::path::PathBuf>,
    /// Exit by itself after this long, in spite of all other flags: a test that fails must not leave a
    /// process for ever.
    #[arg(long, value_name = "DURATION", default_value = "2m", value_parser = parse_duration)]
    life: Duration,
    /// Be the grandchild: do nothing at all.
    #[arg(long, hide = true)]
    linger: bool,
}

/// A moment in a server's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ExitAt {
    /// Before the first message.
    Start,
    /// When a tool is called, instead of an answer.
    Call,
    /// When stdin ends.
    Eof,
}

/// Serves on stdin and stdout until stdin ends.
///
/// Ends through [`std::process::exit`]: a read of stdin that is still under way in a thread of the
/// runtime would otherwise keep the process alive.
pub(crate) async fn serve(args: StdioServerArgs) -> ExitCode {
    // Done first, so that an early SIGTERM is ignored as well. Catching a signal without an
    // action ignores it.
    let _ignored = args.ignore_sigterm.then(|| signal(SignalKind::terminate()));
    let life = args.life;
    tokio::spawn(async move {
        tokio::time::sleep(life).await;
        std::process::exit(124);
    });
    if args.linger {
        return std::future::pending().await;
    }
    let grandchild = if args.grandchild { spawn_grandchild(life).ok() } else { None };
    if let Some(file) = &args.pid_file {
        let mut pids = format!("{}\n", std::process::id());
        if let Some(pid) = grandchild {
            pids.push_str(&format!("{pid}\n"));
        }
        if let Err(error) = std::fs::write(file, pids) {
            eprintln!("cannot write {}: {error}", file.display());
        }
    }
    if let Some(text) = &args.stderr {
        eprintln!("{text}");
    }
    if let Some(text) = &args.banner {
        println!("{text}");
    }
    if let (Some(code), ExitAt::Start) = (args.exit_code, args.exit_at) {
        std::process::exit(code);
    }

    if args.silent {
        swallow().await;
    } else {
        converse(&args).await;
    }
    if args.reject && args.exit_code.is_none() {
        // A server that refuses one handshake waits for another.
        swallow().await;
    }
    if args.ignore_eof {
        std::future::pending::<()>().await;
    }
    std::process::exit(match args.exit_at {
        ExitAt::Eof => args.exit_code.unwrap_or(0),
        ExitAt::Start | ExitAt::Call => 0,
    })
}

/// Serves the protocol until stdin ends.
async fn converse(args: &StdioServerArgs) {
    let gate = Gate::default();
    let exit = args.exit_code.filter(|_| args.exit_at == ExitAt::Call);
    let stop = args.stop_reading.then(|| gate.clone());
    let handler = FleetHandler::new(args.name.clone(), args.eras).rejecting(args.reject).on_call(
        Arc::new(move || {
            if let Some(code) = exit {
                std::process::exit(code);
            }
            if let Some(gate) = &stop {
                gate.shut();
            }
        }),
    );
    let transport = (Gated::new(tokio::io::stdin(), gate), tokio::io::stdout());
    match handler.serve(transport).await {
        Ok(service) => {
            if let Err(error) = service.waiting().await {
                eprintln!("the service ended badly: {error}");
            }
        }
        // A client that disconnects before its first message is no fault.
        Err(ServerInitializeError::ConnectionClosed(_)) => {}
        Err(error) => eprintln!("no session: {error}"),
    }
}

/// Reads stdin to its end and ignores it.
async fn swallow() {
    let mut stdin = tokio::io::stdin();
    let mut buffer = [0; 4096];
    while matches!(stdin.read(&mut buffer).await, Ok(n) if n > 0) {}
}

/// Starts a process of the same group that holds our stdout and stderr open.
fn spawn_grandchild(life: Duration) -> std::io::Result<u32> {
    let child = std::process::Command::new(std::env::current_exe()?)
        .args(["fleet-server", "--linger", "--life"])
        .arg(format!("{}ms", life.as_millis()))
        .stdin(Stdio::null())
        .spawn()?;
    Ok(child.id())
}
