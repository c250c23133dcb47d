//! The time limits.

use std::time::Duration;

use clap::Args;
use moored_mcp::config::parse_duration;
use moored_mcp::{GroupOptions, Names, Watchdog};

use crate::cli::duration::parse_limit;

/// The time limits that the commands share.
#[derive(Debug, Args)]
pub(crate) struct LimitArgs {
    /// How long one server may take to connect and to list its components, from its turn on.
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = parse_limit)]
    pub connect_timeout: Duration,
    /// How long a server may leave server/discover unanswered before it gets initialize as well.
    ///
    /// Never more than half of the rest of --connect-timeout. A later answer still counts.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = parse_duration)]
    pub discover_timeout: Duration,
    /// How many stdio servers may be starting at once [default: twice the processors].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub starts: Option<u16>,
    /// How long leaving all servers may take together.
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = parse_duration)]
    pub budget: Duration,
    /// How long a child may take to exit after its stdin was closed.
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = parse_duration)]
    pub eof_grace: Duration,
    /// How long a child may take to exit after SIGTERM.
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = parse_duration)]
    pub term_grace: Duration,
}

impl LimitArgs {
    /// The same limits, as the session group takes them.
    pub(crate) fn options(&self) -> GroupOptions {
        let mut options = GroupOptions::default().names(Names::slash());
        options.connect_timeout = self.connect_timeout;
        options.discover_timeout = self.discover_timeout;
        if let Some(starts) = self.starts {
            options.starts = starts.into();
        }
        options.budget = self.budget;
        options.eof_grace = self.eof_grace;
        options.term_grace = self.term_grace;
        options.watchdog = watchdog();
        options
    }
}

/// This program itself, in the mode of a watchdog. `None` if the program cannot find its own executable; an error at a
/// later start reports that.
fn watchdog() -> Option<Watchdog> {
    Some(Watchdog::new(std::env::current_exe().ok()?).arg("watchdog"))
}
