//! Writing to stdout and stderr without dying of it.
//!
//! A reader that goes away (`moored-mcp doctor | head -1`) must not stop the clean-up, so nothing
//! here panics on a closed pipe, which is what `println!` does.

use std::io::{IsTerminal, Write};

use moored_mcp::ServerReport;

use super::render::words;

/// Writes `text` and a line break to stdout. A reader that is gone has all it wanted.
pub(crate) fn print(text: &str) {
    let mut stdout = std::io::stdout().lock();
    let _gone = writeln!(stdout, "{}", text.trim_end()).and_then(|()| stdout.flush());
}

/// Writes an error to stderr, in this program's name.
pub(crate) fn complain(text: &str) {
    let _gone = writeln!(std::io::stderr().lock(), "{}", signed(text));
}

/// The text in this program's name, as everything on stderr is. Much of it is made of words of others.
pub(crate) fn signed(text: &str) -> String {
    format!("moored-mcp: {}", words::plain(text))
}

/// Writes a warning to stderr.
pub(crate) fn warn(text: &str) {
    complain(&format!("warning: {text}"));
}

/// Writes what went wrong with the servers without standing in the way.
pub(crate) fn warn_of(servers: &[ServerReport]) {
    for server in servers {
        for warning in &server.warnings {
            warn(&format!("server {:?}: {warning}", server.name));
        }
    }
}

/// How wide the lines on stdout may be: as wide as the terminal, or as `COLUMNS` says, or 80.
pub(crate) fn width() -> usize {
    const USUAL: usize = 80;
    const NARROWEST: usize = 40;
    let terminal = console::Term::stdout().size_checked().map(|(_, columns)| columns.into());
    let columns = || std::env::var("COLUMNS").ok()?.trim().parse().ok();
    terminal.or_else(columns).filter(|width| *width > 0).unwrap_or(USUAL).max(NARROWEST)
}

/// Who reads the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Audience {
    /// A program: one JSON object.
    Machine,
    /// A person at a terminal: a live view, then a tree.
    Terminal,
    /// A person who reads it later, out of a pipe or a file: plain lines, then a table.
    Pipe,
}

impl Audience {
    /// Looks at what the streams are.
    pub(crate) fn find(json: bool) -> Self {
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        if json {
            Self::Machine
        } else if !dumb && std::io::stdout().is_terminal() && std::io::stderr().is_terminal() {
            Self::Terminal
        } else {
            Self::Pipe
        }
    }
}
