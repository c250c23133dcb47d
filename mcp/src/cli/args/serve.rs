//! The arguments of `moored-mcp serve`.

use std::net::SocketAddr;
use std::num::{NonZeroU16, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use moored_mcp::config::parse_duration;
use moored_mcp::{GroupOptions, Names};

use super::limits::LimitArgs;
use crate::cli::duration::parse_limit;

/// `moored-mcp serve`.
#[derive(Debug, Args)]
#[command(after_help = SERVE_HELP)]
pub(crate) struct ServeArgs {
    /// A file that lists servers, JSON or YAML.
    pub config: PathBuf,
    /// Serve one client on stdin and stdout (the default).
    #[arg(long, conflicts_with = "listen")]
    pub stdio: bool,
    /// Serve streamable HTTP at this address. Port 0 is one of the kernel's choice; the address is printed.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: Option<SocketAddr>,
    /// The path of the endpoint.
    #[arg(long, default_value = "/mcp", requires = "listen")]
    pub path: String,
    /// Require of every request the bearer token that this variable of the environment holds.
    #[arg(long, value_name = "NAME", requires = "listen")]
    pub token_env: Option<String>,
    /// Accept this name in Host as well; the names of loopback are always accepted.
    #[arg(long, value_name = "NAME", requires = "listen")]
    pub allow_host: Vec<String>,
    /// Let pages of this origin send requests, such as https://app.example; pages of loopback always may.
    #[arg(long, value_name = "ORIGIN", requires = "listen")]
    pub allow_origin: Vec<String>,
    /// How many sessions of clients may be open at once.
    #[arg(long, value_name = "N", default_value = "256", requires = "listen")]
    pub max_sessions: NonZeroU16,
    /// The largest message of a client, in bytes.
    #[arg(long, value_name = "BYTES", default_value = "4194304")]
    pub max_body: NonZeroUsize,
    /// The names of the components: server__name, as language models take it, or server/name.
    #[arg(long, value_enum, default_value_t = NamesArg::Portable)]
    pub names: NamesArg,
    /// How long a list waits for servers that are still starting.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = parse_duration)]
    pub settle: Duration,
    /// How long requests under way may go on at the end; a part of --budget.
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = parse_duration)]
    pub drain: Duration,
    /// Drop a client that has read none of the messages that wait for it for this long.
    #[arg(long, value_name = "DURATION", default_value = "1m", value_parser = parse_limit)]
    pub unread: Duration,
    /// Print the report as JSON.
    #[arg(long)]
    pub json: bool,
    /// The other time limits.
    #[command(flatten)]
    pub limits: LimitArgs,
}

/// The rules for names that can be typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum NamesArg {
    /// `server__name`
    Portable,
    /// `server/name`
    Slash,
}

impl ServeArgs {
    /// The limits of the servers. The time for requests at the end is subtracted from the budget.
    pub(crate) fn group_options(&self) -> GroupOptions {
        let mut options = self.limits.options().names(match self.names {
            NamesArg::Portable => Names::portable(),
            NamesArg::Slash => Names::slash(),
        });
        options.budget = self.limits.budget.saturating_sub(self.drain);
        options
    }
}

const SERVE_HELP: &str = "\
A server that is down keeps nobody waiting: it is tried again, and a call of its
tools says why it is down. Over stdio the log and the report go to stderr, over
HTTP the address and the report to stdout. Ctrl-C and SIGTERM end the requests
and leave the servers, within --budget. A second signal kills at once. GET
/health says how the servers are doing.

Exit status: 0 everything was left cleanly; 1 something was not; 2 the command
line or the configuration was wrong, and nothing was started; 130 or 143 after a
second signal.";
