//! A server that is a child process.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use super::Hidden;
use crate::policy::Descendants;

/// A server that is a child process.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct StdioParams {
    /// The program, looked up on `PATH` when it has no slash.
    pub command: String,
    /// Its arguments.
    pub args: Vec<String>,
    /// Variables set for the child on top of the safe ones it inherits (see [`inherited`](StdioParams::inherited)).
    pub env: BTreeMap<String, String>,
    /// The directory in which it starts; ours if `None`.
    pub cwd: Option<PathBuf>,
    /// The fate of the processes that it has started, when it is left.
    pub descendants: Descendants,
}

impl StdioParams {
    /// A child started as `command`, without arguments.
    pub fn new(command: impl Into<String>) -> Self {
        Self { command: command.into(), ..Self::default() }
    }

    /// Whether a variable of our own environment is passed on to a child.
    ///
    /// Only variables that a program needs to find its files and its language: a server is foreign code, and
    /// our environment may hold keys that must not reach it. Other variables are set with [`env`](Self::env). A group
    /// reads its environment when it starts its first child, and its later children inherit the same.
    pub fn inherited(name: &str) -> bool {
        const SAFE: [&str; 10] =
            ["HOME", "LANG", "LOGNAME", "PATH", "SHELL", "TEMP", "TERM", "TMPDIR", "TZ", "USER"];
        SAFE.contains(&name) || name.starts_with("LC_")
    }
}

/// Shows the names of variables without their values, which are often credentials.
impl fmt::Debug for StdioParams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StdioParams")
            .field("command", &self.command)
            .field("args", &self.args)
            .field("env", &Hidden(&self.env))
            .field("cwd", &self.cwd)
            .field("descendants", &self.descendants)
            .finish()
    }
}
