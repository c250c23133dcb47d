//! The error values of the library.

use std::sync::Arc;

use crate::component::ComponentKind;
use crate::duration::show_duration;
use crate::fault::Fault;
use crate::report::{ErrorReport, Outcome};

/// An error as it is passed around: shared, because the same one goes to the caller and into the report.
pub type SharedError = Arc<dyn std::error::Error + Send + Sync + 'static>;

/// A server that did not come up. Its process or session has been cleaned up when this is returned.
///
/// Its `source` chain goes on where the first line of the report ends, down to the operating system's error.
#[derive(Debug, Clone)]
pub struct ConnectError(Box<Failed>);

#[derive(Debug, Clone)]
struct Failed {
    server: String,
    outcome: Outcome,
    report: ErrorReport,
    /// The failure in the report.
    failure: SharedError,
}

impl ConnectError {
    pub(crate) fn new(
        server: String,
        outcome: Outcome,
        report: ErrorReport,
        failure: SharedError,
    ) -> Self {
        Self(Box::new(Failed { server, outcome, report, failure }))
    }

    /// The name of the server.
    pub fn server(&self) -> &str {
        &self.0.server
    }

    /// The kind of the failure.
    pub fn outcome(&self) -> Outcome {
        self.0.outcome
    }

    /// The time that the server asks to wait before the next attempt.
    #[cfg(feature = "serve")]
    pub(crate) fn asked_wait(&self) -> Option<std::time::Duration> {
        self.0.failure.downcast_ref::<Fault>()?.wait
    }

    /// The failure as the report has it.
    pub fn report(&self) -> &ErrorReport {
        &self.0.report
    }
}

impl std::fmt::Display for ConnectError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "server {:?}: {}", self.0.server, self.0.report.message)
    }
}

impl std::error::Error for ConnectError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.failure.source()
    }
}

/// A call that has no result.
///
/// The `source` of a failure goes on where the first line of its report ends, down to the operating system's error.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// No connected server offers a tool of that name.
    #[error("no connected server offers the tool {0:?}")]
    UnknownTool(String),
    /// No connected server offers a prompt, a resource or a template of that name.
    #[error("no connected server offers the {kind} {name:?}")]
    Unknown {
        /// The kind of component.
        kind: ComponentKind,
        /// The name or the address.
        name: String,
    },
    /// There is no server of that name.
    #[error("there is no server {0:?}")]
    UnknownServer(String),
    /// The time for the call was over; the server was told.
    #[error("the call to {tool:?} was not answered within {}", show_duration(*limit))]
    TimedOut {
        /// The name of the tool or other component.
        tool: String,
        /// The limit that was reached.
        limit: std::time::Duration,
    },
    /// The server answered with a protocol error.
    #[error(
        "server {server:?} rejected the call: {} (code {code}){}",
        said(.message),
        .data.as_ref().map(|data| format!(": {data}")).unwrap_or_default()
    )]
    Rejected {
        /// The server.
        server: String,
        /// The JSON-RPC code.
        code: i64,
        /// The server's words.
        message: String,
        /// The data of the error.
        data: Option<serde_json::Value>,
    },
    /// The request failed on its way; the session may still be up.
    #[error("server {server:?}: {}", .report.message)]
    Failed {
        /// The server.
        server: String,
        /// The failure.
        report: Box<ErrorReport>,
        /// Its kind.
        outcome: Outcome,
        /// The cause of the failure, where the chain of the report goes on after its first line.
        #[source]
        source: Option<SharedError>,
    },
    /// The session ended before the answer came.
    #[error("server {server:?} is gone: {}", .report.message)]
    ServerGone {
        /// The server.
        server: String,
        /// The failure that ended it.
        report: Box<ErrorReport>,
        /// The kind of that failure.
        outcome: Outcome,
        /// The cause of the failure, where the chain of the report goes on after its first line.
        #[source]
        source: Option<SharedError>,
    },
    /// The group or the session is being left.
    #[error("server {0:?} is closing")]
    Closing(String),
    /// The session was left before the call.
    #[error("server {0:?} was left and is no longer connected")]
    Left(String),
}

/// The words of a server's error, in a text.
pub(crate) fn said(message: &str) -> &str {
    if message.trim().is_empty() { "no message" } else { message }
}

impl CallError {
    /// The kind of the failure, if the request failed or its server went away. For example, 401 is
    /// [`Outcome::AuthRequired`].
    pub fn outcome(&self) -> Option<Outcome> {
        match self {
            Self::Failed { outcome, .. } | Self::ServerGone { outcome, .. } => Some(*outcome),
            _ => None,
        }
    }

    /// The error of a request that failed by `fault`.
    pub(crate) fn failed(server: String, fault: &Fault) -> Self {
        let report = fault.report(None).into();
        Self::Failed { server, report, outcome: fault.outcome, source: fault.cause() }
    }

    /// The error of a session that has ended by `fault`.
    pub(crate) fn server_gone(server: String, report: ErrorReport, fault: &Fault) -> Self {
        let report = report.into();
        Self::ServerGone { server, report, outcome: fault.outcome, source: fault.cause() }
    }

    /// The error of a name that no component has.
    pub(crate) fn unknown(kind: ComponentKind, name: &str) -> Self {
        match kind {
            ComponentKind::Tool => Self::UnknownTool(name.to_owned()),
            kind => Self::Unknown { kind, name: name.to_owned() },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_source_of_a_failed_call_goes_on_where_its_text_ends() {
        let refused = std::io::Error::from_raw_os_error(111);
        let fault = Fault::caused(Outcome::Unreachable, "cannot reach it", refused);
        let report = fault.report(None);
        let errors = [
            CallError::failed("s".into(), &fault),
            CallError::server_gone("s".into(), report.clone(), &fault),
        ];
        for error in errors {
            assert_eq!(error.outcome(), Some(Outcome::Unreachable));
            let chain = crate::fault::chain(&error);
            assert!(chain[0].ends_with(&report.chain[0]), "{chain:?}");
            assert_eq!(chain[1..], report.chain[1..]);
        }
    }
}
