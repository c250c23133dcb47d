//! The arguments of `moored-mcp call`.

use std::path::Path;
use std::time::Duration;

use crate::cli::duration::parse_limit;
use clap::Args;

use super::limits::LimitArgs;
use super::typed::TypedArgs;

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
    #[arg(long, value_name = "DURATION", value_parser = parse_limit)]
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
Exit status: 0 the result was printed and everything left cleanly; 1 the tool
reported an error, took too long, or a server failed or left unclean; 2 the
command line, the configuration or the tool's name was wrong; 130 or 143 after
SIGINT or SIGTERM.";
