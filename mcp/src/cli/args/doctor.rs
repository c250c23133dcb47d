//! The arguments of `moored-mcp doctor`.

use std::path::PathBuf;

use clap::Args;
use moored_mcp::Policy;

use super::limits::LimitArgs;
use super::typed::TypedArgs;

/// `moored-mcp doctor`.
///
/// Exit status: 0 if every server came up and left cleanly, 1 if one did not, 2 if the command
/// line or the configuration was wrong, 130 and 143 after SIGINT and SIGTERM. For the embedded
/// fleet: 0 if every diagnosis is the planted one.
#[derive(Debug, Args)]
#[command(after_help = DOCTOR_HELP)]
pub(crate) struct DoctorArgs {
    /// Files that list servers, JSON or YAML; without one an embedded fleet is examined. A name that is in more than one
    /// of them gets its file before it.
    #[arg(value_name = "CONFIG", conflicts_with_all = ["url", "command"])]
    pub configs: Vec<PathBuf>,
    /// The one server that is examined instead.
    #[command(flatten)]
    pub typed: TypedArgs,
    /// Print one JSON object on stdout, and nothing else.
    #[arg(long)]
    pub json: bool,
    /// Stay connected and show the events, until Ctrl-C or until no server is left. Beside --json the events are on
    /// stderr.
    #[arg(long)]
    pub watch: bool,
    /// Write the events to FILE, for a trace viewer (chrome://tracing, Perfetto): a lane for each server.
    #[arg(long, value_name = "FILE")]
    pub timeline: Option<PathBuf>,
    /// Time limits.
    #[command(flatten)]
    pub limits: LimitArgs,
    /// Keep the connected servers when another one fails (the default).
    #[arg(long, conflicts_with = "fail_fast")]
    pub best_effort: bool,
    /// Interrupt the servers that are still connecting when one fails; connected servers stay up till the end.
    #[arg(long)]
    pub fail_fast: bool,
}

const DOCTOR_HELP: &str = "\
CONFIG is what desktop clients (\"mcpServers\"), VS Code (\"servers\") and LiteLLM
(\"mcp_servers\", YAML) keep:
  {\"mcpServers\": {
      \"files\": {\"command\": \"server\", \"args\": [\"--root\", \".\"],
                \"env\": {}, \"cwd\": \".\"},
      \"web\": {\"url\": \"https://host/mcp\",
              \"headers\": {\"Authorization\": \"Bearer ..\"}}}}
Comments and trailing commas are fine. ${NAME}, ${env:NAME}, ${NAME:-default} and
os.environ/NAME are variables of the environment. \"disabled\": true leaves a
server out; \"timeout\" limits its calls, in milliseconds or as \"30s\". A server
may have an \"era\": \"auto\" probes it with server/discover (the default), \"legacy\"
sends initialize at once, \"modern\" sends server/discover only.

Durations take ms, s and m: 250ms, 10s, 2m.
Exit status: 0 all servers came up and left cleanly; 1 some server failed, left
unclean, or has a list that cannot be read (without CONFIG: 0 all diagnoses are
the planted ones, 1 some are not); 2 the command line or the configuration was
wrong, and nothing was started; 130 or 143 after SIGINT or SIGTERM, once
everything was left. A second signal kills at once.";

impl DoctorArgs {
    /// The effect of a failing server on the others.
    pub(crate) fn policy(&self) -> Policy {
        if self.fail_fast { Policy::FailFast } else { Policy::BestEffort }
    }
}
