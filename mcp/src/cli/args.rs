//! The command line, as a person types it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use moored_mcp::config::parse_duration;
use moored_mcp::{GroupOptions, Names, Policy, Watchdog};

use crate::fleet::stdio::StdioServerArgs;

/// Connects to MCP servers, and leaves them cleanly.
#[derive(Debug, Parser)]
#[command(name = "moored-mcp", version, propagate_version = true)]
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
CONFIG is what desktop clients (\"mcpServers\"), VS Code (\"servers\") and LiteLLM (\"mcp_servers\", YAML) keep:
  {\"mcpServers\": {
      \"files\": {\"command\": \"server\", \"args\": [\"--root\", \".\"], \"env\": {}, \"cwd\": \".\"},
      \"web\": {\"url\": \"https://host/mcp\", \"headers\": {\"Authorization\": \"Bearer ..\"}}}}
Comments and trailing commas are fine. ${NAME}, ${env:NAME}, ${NAME:-default} and os.environ/NAME are
variables of the environment. \"disabled\": true leaves a server out; \"timeout\" limits its calls, in
milliseconds or as \"30s\". A server may have an \"era\": \"auto\" probes it with server/discover (the default), \"legacy\" sends
initialize at once, \"modern\" sends server/discover only.

Durations take ms, s and m: 250ms, 10s, 2m.
Exit status: 0 all servers came up and left cleanly; 1 some server failed, left unclean, or has a
list that cannot be read (without CONFIG: 0 all diagnoses are the planted ones, 1 some are not);
2 the command line or the configuration was wrong, and nothing was started;
130 or 143 after SIGINT or SIGTERM, once everything was left. A second signal kills at once.";

impl DoctorArgs {
    /// The effect of a failing server on the others.
    pub(crate) fn policy(&self) -> Policy {
        if self.fail_fast { Policy::FailFast } else { Policy::BestEffort }
    }
}

/// One server that was typed, which needs no configuration.
#[derive(Debug, Args)]
pub(crate) struct TypedArgs {
    /// The server at this address takes the place of CONFIG.
    #[arg(long, value_name = "URL", conflicts_with = "command", value_parser = address)]
    pub url: Option<String>,
    /// The server that this command starts takes the place of CONFIG. All words after it belong to the command, so it
    /// comes last.
    #[arg(long, value_name = "WORD", num_args = 1.., allow_hyphen_values = true)]
    pub command: Vec<String>,
}

/// An address of streamable HTTP, as it was typed.
fn address(text: &str) -> Result<String, String> {
    let parsed = reqwest::Url::parse(text).map_err(|error| error.to_string())?;
    match parsed.scheme() {
        "http" | "https" => Ok(text.to_owned()),
        other => Err(format!("expected http or https, not {other}")),
    }
}

impl TypedArgs {
    /// Whether there is one.
    pub(crate) fn is_given(&self) -> bool {
        self.url.is_some() || !self.command.is_empty()
    }
}

/// `moored-mcp completions`.
#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// The shell.
    pub shell: clap_complete::Shell,
}

/// `moored-mcp call`.
#[derive(Debug, Args)]
#[command(after_help = CALL_HELP, override_usage = CALL_USAGE)]
pub(crate) struct CallArgs {
    /// CONFIG is a file that lists servers, and left out beside --url and --command. TOOL is `server/tool`, which starts
    /// that server only, or a bare tool name that only one server has. JSON is the tool's arguments: one JSON object.
    #[arg(num_args = 2..=3, required = true, value_names = ["CONFIG", "TOOL", "JSON"])]
    words: Vec<String>,
    /// The one server that is called instead.
    #[command(flatten)]
    pub typed: TypedArgs,
    /// How long the tool may take [default: the server's "timeout" in CONFIG, or 5s].
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub timeout: Option<Duration>,
    /// The other time limits.
    #[command(flatten)]
    pub limits: LimitArgs,
}

impl CallArgs {
    /// The configuration, unless a server was typed; the tool, and its arguments.
    ///
    /// # Errors
    ///
    /// If there are too few or too many words.
    pub(crate) fn understood(&self) -> Result<(Option<&Path>, &str, &str), String> {
        match (&self.words[..], self.typed.is_given()) {
            ([config, tool, json], false) => Ok((Some(Path::new(config)), tool, json)),
            ([tool, json], true) => Ok((None, tool, json)),
            (_, false) => {
                Err("CONFIG, TOOL and JSON are wanted, or TOOL and JSON with --url or --command"
                    .into())
            }
            (_, true) => {
                Err("with --url or --command there is no CONFIG: TOOL and JSON are wanted".into())
            }
        }
    }
}

const CALL_USAGE: &str = "\
moored-mcp call [OPTIONS] <CONFIG> <TOOL> <JSON>
       moored-mcp call [OPTIONS] --url <URL> <TOOL> <JSON>
       moored-mcp call [OPTIONS] <TOOL> <JSON> --command <WORD>...";

const CALL_HELP: &str = "\
Exit status: 0 the result was printed and everything left cleanly; 1 the tool reported an error,
took too long, or a server failed or left unclean; 2 the command line, the configuration or the
tool's name was wrong; 130 or 143 after SIGINT or SIGTERM.";

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
    #[arg(long, value_name = "N", default_value_t = 256, requires = "listen")]
    pub max_sessions: u16,
    /// The largest message of a client, in bytes.
    #[arg(long, value_name = "BYTES", default_value_t = 4 << 20)]
    pub max_body: usize,
    /// The names of the components: server__name, as language models take it, or server/name.
    #[arg(long, value_enum, default_value_t = NamesArg::Portable)]
    pub names: NamesArg,
    /// How long a list waits for servers that are still starting.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = parse_duration)]
    pub settle: Duration,
    /// How long requests under way may go on at the end; a part of --budget.
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = parse_duration)]
    pub drain: Duration,
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
A server that is down keeps nobody waiting: it is tried again, and a call of its tools says why it is down.
Over stdio the log and the report go to stderr, over HTTP the address and the report to stdout.
Ctrl-C and SIGTERM end the requests and leave the servers, within --budget. A second signal kills at once.
GET /health says how the servers are doing.

Exit status: 0 everything was left cleanly; 1 something was not; 2 the command line or the
configuration was wrong, and nothing was started; 130 or 143 after a second signal.";

/// The time limits that the commands share.
#[derive(Debug, Args)]
pub(crate) struct LimitArgs {
    /// How long one server may take to connect and to list its components, from its turn on.
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = parse_duration)]
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

#[cfg(test)]
mod tests {
    use clap::CommandFactory;
    use clap::error::ErrorKind;

    use super::*;

    fn doctor(words: &[&str]) -> Result<DoctorArgs, clap::Error> {
        let cli = Cli::try_parse_from(["moored-mcp", "doctor"].iter().chain(words))?;
        match cli.command {
            Command::Doctor(args) => Ok(args),
            other => panic!("expected doctor, got {other:?}"),
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_defaults_are_those_of_the_contract() {
        let args = doctor(&[]).expect("no argument is needed");
        assert_eq!(args.configs, Vec::<PathBuf>::new());
        assert!(!args.json);
        assert_eq!(args.limits.connect_timeout, Duration::from_secs(30));
        assert_eq!(args.limits.discover_timeout, Duration::from_secs(10));
        assert_eq!(args.limits.starts, None, "twice the processors");
        let mut options = args.limits.options();
        assert!(options.watchdog.take().is_some(), "the programs have one, the library does not");
        assert_eq!(options, GroupOptions::default().names(Names::slash()));
        assert_eq!(args.limits.budget, Duration::from_secs(5));
        assert_eq!(args.limits.eof_grace, Duration::from_secs(2));
        assert_eq!(args.limits.term_grace, Duration::from_secs(2));
        assert!(matches!(args.policy(), Policy::BestEffort));
    }

    #[test]
    fn fail_fast_and_best_effort_exclude_each_other() {
        assert!(matches!(doctor(&["--fail-fast"]).expect("valid").policy(), Policy::FailFast));
        let both = doctor(&["--fail-fast", "--best-effort"]).expect_err("a contradiction");
        assert_eq!(both.kind(), ErrorKind::ArgumentConflict);
        assert_eq!(both.exit_code(), 2);
    }

    #[test]
    fn at_least_one_server_may_be_on_its_way_up() {
        assert_eq!(doctor(&["--starts", "1"]).expect("valid").limits.options().starts, 1);
        assert_eq!(doctor(&["--starts", "0"]).expect_err("none").exit_code(), 2);
    }

    #[test]
    fn an_address_takes_the_place_of_a_configuration() {
        let call = |words: &[&str]| {
            let cli = Cli::try_parse_from(["moored-mcp", "call"].iter().chain(words));
            match cli.expect("the words are parsed").command {
                Command::Call(args) => args,
                other => panic!("expected call, got {other:?}"),
            }
        };
        let args = call(&["echo", "{}", "--url", "http://127.0.0.1:1/"]);
        assert_eq!(args.understood(), Ok((None, "echo", "{}")));
        let args = call(&["echo", "{}", "--command", "sh", "-c", "--url", "x"]);
        assert_eq!(args.understood(), Ok((None, "echo", "{}")));
        assert_eq!(args.typed.command, ["sh", "-c", "--url", "x"]);
        let args = call(&["c.json", "echo", "{}"]);
        assert_eq!(args.understood(), Ok((Some(Path::new("c.json")), "echo", "{}")));
        assert!(call(&["echo", "{}"]).understood().is_err());
        assert!(
            call(&["c.json", "echo", "{}", "--url", "http://127.0.0.1:1/"]).understood().is_err()
        );
        assert!(doctor(&["c.json", "--url", "http://127.0.0.1:1/"]).is_err());
        assert!(doctor(&["c.json", "--command", "server"]).is_err());
        assert!(doctor(&["--url", "http://127.0.0.1:1/", "--command", "server"]).is_err());
        let args = doctor(&["--json", "--command", "server", "--json", "--", "-x"]).expect("valid");
        assert!(args.json);
        assert_eq!(args.typed.command, ["server", "--json", "--", "-x"]);
        assert_eq!(doctor(&["a.json", "b.yaml"]).expect("valid").configs.len(), 2);
    }

    #[test]
    fn a_wrong_address_is_a_usage_error() {
        for (url, why) in [
            ("nonsense", "relative URL without a base"),
            ("", "relative URL without a base"),
            ("ftp://127.0.0.1/", "expected http or https, not ftp"),
            ("localhost:80", "expected http or https, not localhost"),
        ] {
            let wrong = doctor(&["--url", url]).expect_err("no address");
            assert_eq!(wrong.exit_code(), 2, "{url}");
            assert!(wrong.to_string().contains(why), "{wrong}");
        }
    }

    #[test]
    fn a_wrong_duration_is_a_usage_error() {
        let wrong = doctor(&["--budget", "5"]).expect_err("no unit");
        assert_eq!(wrong.exit_code(), 2);
        assert!(wrong.to_string().contains("a unit is missing"), "{wrong}");
    }
}
