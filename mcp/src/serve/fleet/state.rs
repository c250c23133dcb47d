//! The state of a server behind a gateway, and the reason why it is down.

use crate::report::{ErrorReport, Outcome, ServerReport};

/// The state of a server behind a gateway.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum ServerState {
    /// Its first attempt is under way.
    Starting,
    /// It is connected.
    Up,
    /// It is not connected, and another attempt follows.
    Down {
        /// The kind of the failure.
        outcome: Outcome,
        /// The failure.
        error: Box<ErrorReport>,
    },
}

/// A server that is not connected, and its state.
#[derive(Debug, Clone)]
pub(in crate::serve) struct Away {
    pub(in crate::serve) server: String,
    pub(in crate::serve) state: ServerState,
}

impl Away {
    /// One sentence, down to the innermost cause.
    pub(in crate::serve) fn line(&self) -> String {
        let server = &self.server;
        match &self.state {
            ServerState::Starting => format!("server {server:?} is still on its way up"),
            ServerState::Up => format!("server {server:?} is connected"),
            ServerState::Down { error, .. } => {
                format!("server {server:?} is not connected: {}", cause(error))
            }
        }
    }
}

/// The failure in one line, down to the innermost cause. Of a child that has ended it has the line of standard error that says
/// most.
pub(in crate::serve) fn cause(error: &ErrorReport) -> String {
    const LONGEST: usize = 300;
    // The last line that speaks of an error, or else the last that says anything: a dump of an object ends with a brace. A
    // line of a stack trace speaks of errors only in the names of functions.
    let tail = error.stderr_tail.as_deref().unwrap_or_default();
    let told = || tail.lines().rev().filter(|line| !line.trim_start().starts_with("at "));
    let with = |wanted: fn(&str) -> bool| told().find(|line| wanted(line));
    let last = || {
        let of_error = with(|line| line.to_ascii_lowercase().contains("error"));
        of_error.or_else(|| with(|line| line.chars().filter(|it| it.is_alphanumeric()).count() > 2))
    };
    let said = error.stderr_error.as_deref().or_else(last).filter(|_| error.exit_status.is_some());
    let mut text = error.chain.join(": ");
    if let Some(said) = said {
        text.push_str("; its stderr: ");
        text.extend(said.trim().chars().filter(|it| !it.is_control()).take(LONGEST));
    }
    text
}

/// The state of a server whose session has been left.
pub(super) fn down(report: ServerReport) -> ServerState {
    let error = report.error.unwrap_or_else(|| ErrorReport {
        message: "it was disconnected".into(),
        chain: vec!["it was disconnected".into()],
        stderr_tail: None,
        stderr_error: None,
        exit_status: None,
    });
    ServerState::Down { outcome: report.outcome, error: error.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cause_has_the_line_of_standard_error_that_says_most() {
        for (tail, said) in [
            ("", ""),
            ("starting\nlast words\n\n", "; its stderr: last words"),
            ("Fatal error: refused\n  at f (x.js:1)\n}\n", "; its stderr: Fatal error: refused"),
            ("listening\n}\n", "; its stderr: listening"),
            (
                "failed {\n  [cause]: Error: refused\n      at makeNetworkError (x.js:1)\n}\n",
                "; its stderr: [cause]: Error: refused",
            ),
        ] {
            let exit_status = Some(crate::report::ExitStatusReport::Code(1));
            let error = ErrorReport {
                message: "exited".into(),
                chain: vec!["exited".into()],
                stderr_tail: Some(tail.into()),
                stderr_error: None,
                exit_status,
            };
            assert_eq!(cause(&error), format!("exited{said}"), "{tail}");
        }
    }
}
