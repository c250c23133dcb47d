//! The reports for a caller: the outcome of each server, how it left, and the two as one
//! report.
//!
//! These types serialise to the machine contract of `moored-mcp doctor --json`, field by field; other programs depend
//! on it. Durations are whole milliseconds, cut off, from a monotonic clock.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::policy::Descendants;

/// The transport to a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TransportKind {
    /// Streamable HTTP.
    Http,
    /// A child process.
    Stdio,
    /// A session, or a transport, that the program has opened itself.
    Adopted,
}

/// The outcome of the attempt to connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Outcome {
    /// The server is (or was) connected.
    Ok,
    /// No server answered there: refused, no such host, no TLS.
    Unreachable,
    /// 401: the challenge is in the error.
    AuthRequired,
    /// 403.
    Forbidden,
    /// The time for the attempt was over.
    TimedOut,
    /// The child exited before it was connected.
    Exited,
    /// The child could not be started.
    SpawnFailed,
    /// The answer is not MCP.
    ProtocolError,
    /// An HTTP error of the server or of a proxy before it.
    UpstreamError,
    /// The name is taken: that of the server, and it was not started; or that of one of its components, and its
    /// process or session is left again.
    DuplicateName,
    /// The attempt was interrupted: the group is closing, another server failed fast, or the caller went away.
    Closing,
    /// Any other failure; the error describes it.
    Other,
}

/// The outcome of the DELETE that ends an HTTP session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Delete {
    /// 2xx.
    Terminated,
    /// 405 or 501: the server does not let clients end sessions.
    NotSupported,
    /// 404 or 410: the session was gone before.
    AlreadyGone,
    /// Sent, and no answer in time.
    TimedOut,
    /// Any other failure; the fault is among the suppressed.
    Failed,
    /// There was a session and no request could be sent: it was forced, or the budget was
    /// spent.
    NotSent,
    /// stdio, the stateless era, or no session id was ever received.
    NotApplicable,
}

impl Delete {
    /// Whether the session is accounted for.
    pub fn is_clean(self) -> bool {
        !matches!(self, Self::TimedOut | Self::Failed | Self::NotSent)
    }
}

/// The end of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExitStatusReport {
    /// It exited with this code.
    Code(i32),
    /// This signal ended it.
    Signal(i32),
}

impl std::fmt::Display for ExitStatusReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit status {code}"),
            Self::Signal(signal) => write!(f, "ended by {}", crate::signal::shown(*signal)),
        }
    }
}

/// The reason why a server is not connected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorReport {
    /// The failure in one line; the first of `chain`.
    pub message: String,
    /// From the failure inwards: each `source()`, without repeated neighbours. The last is the innermost.
    pub chain: Vec<String>,
    /// The last 4 KiB of the child's standard error; `None` for HTTP.
    pub stderr_tail: Option<String>,
    /// The first line of its standard error that begins with "Error", for a person to read. It may have been pushed out
    /// of the tail.
    #[serde(skip)]
    pub stderr_error: Option<String>,
    /// The end of the child, if it ended by itself.
    pub exit_status: Option<ExitStatusReport>,
}

/// The phases of connecting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ConnectPhase {
    /// The child is being started. The time until it answers belongs to the next phase.
    Start,
    /// `server/discover` was sent.
    Probe,
    /// `initialize` was sent. An answer to the probe still counts.
    Initialize,
    /// The lists of components are read.
    List,
}

/// The duration of one phase of connecting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectPhaseReport {
    /// The phase.
    pub phase: ConnectPhase,
    /// From its beginning to the beginning of the next one, or to the end of the attempt.
    pub ms: u64,
}

/// One attempt to connect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptReport {
    /// The duration of the attempt, without the wait for its turn and without its clean-up.
    pub ms: u64,
    /// The phases that it reached, in order.
    pub phases: Vec<ConnectPhaseReport>,
    /// The reason why the server was started again after it: the failure of the attempt, or the end of the session that
    /// followed. `None` if it was not started again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restarted_because: Option<String>,
}

/// The phases of leaving.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum LeavePhase {
    /// The DELETE of an HTTP session is on the wire.
    Delete,
    /// The child's standard input is closed, and it may exit by itself.
    EndOfInput,
    /// SIGTERM was sent.
    Terminate,
    /// SIGKILL was sent.
    Kill,
}

/// The duration of one phase of leaving.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PhaseReport {
    /// The phase.
    pub phase: LeavePhase,
    /// From its beginning to the beginning of the next one, or to the event that it waited for.
    pub ms: u64,
}

/// The report of leaving a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaveReport {
    /// Whether nothing was left behind and no step was forced.
    pub clean: bool,
    /// The duration of leaving.
    pub ms: u64,
    /// The phases that it reached, in order. A child that had exited before has none.
    pub phases: Vec<PhaseReport>,
    /// The outcome of the DELETE.
    pub delete: Delete,
    /// The signals that were sent to the child's process group, in order.
    pub signals: Vec<String>,
    /// The end of the child's leader.
    pub exit_status: Option<ExitStatusReport>,
    /// Processes still in the child's group when leaving ended.
    pub survivors: Vec<i32>,
    /// The policy for the processes that the child has started; `None` without a child.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub descendants: Option<Descendants>,
    /// Faults on the way out, in order.
    pub suppressed: Vec<String>,
}

impl LeaveReport {
    /// The report of a session with nothing to leave.
    pub fn nothing() -> Self {
        Self {
            clean: true,
            ms: 0,
            phases: Vec::new(),
            delete: Delete::NotApplicable,
            signals: Vec::new(),
            exit_status: None,
            survivors: Vec::new(),
            descendants: None,
            suppressed: Vec::new(),
        }
    }

    /// The value that `clean` must have, given the other fields.
    ///
    /// SIGTERM alone and any exit code are clean, and so are survivors of a child whose descendants are to be left. SIGKILL,
    /// a foreign signal, any other survivor, a suppressed fault, or a DELETE that is not accounted for are not.
    pub fn judge(&self) -> bool {
        const SIGTERM: i32 = 15;
        let signal_is_ours = match self.exit_status {
            Some(ExitStatusReport::Signal(signal)) => {
                signal == SIGTERM && self.signals.iter().any(|sent| sent == "SIGTERM")
            }
            Some(ExitStatusReport::Code(_)) | None => true,
        };
        self.delete.is_clean()
            && signal_is_ours
            && !self.signals.iter().any(|sent| sent == "SIGKILL")
            && (self.survivors.is_empty() || self.descendants == Some(Descendants::Leave))
            && self.suppressed.is_empty()
    }
}

/// One server: its connection, its components, its leaving.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerReport {
    /// The name it was given.
    pub name: String,
    /// Its transport.
    pub transport: TransportKind,
    /// The protocol revision agreed on, such as `2025-11-25`; `None` if there was no agreement.
    pub era: Option<String>,
    /// The server's description of itself, its `serverInfo`, exactly as it came; `None` if it never came up.
    #[serde(default)]
    pub server: Option<Map<String, Value>>,
    /// The outcome of the attempt to connect. A server that is up, but of whose lists one could not be read, is not
    /// [`Ok`](Outcome::Ok) here.
    pub outcome: Outcome,
    /// The reason why it is not connected, or why it ended later, or the list that could not be
    /// read.
    pub error: Option<ErrorReport>,
    /// From the server's turn to the outcome of its attempt; `None` if there was no attempt.
    pub connect_ms: Option<u64>,
    /// The time that it waited for its turn to be started.
    pub waited_ms: u64,
    /// Its attempts to connect, one for each of its `starts`, with the time of each phase. The last few if it was started
    /// many times.
    #[serde(default)]
    pub attempts: Vec<AttemptReport>,
    /// The number of its starts: 0 if it never had its turn. A child that exits on the era probe is started once more, and
    /// [`Restart`](crate::Restart) may add others.
    pub starts: u32,
    /// The number of its tools.
    pub tools: usize,
    /// The number of its prompts.
    pub prompts: usize,
    /// The number of its resources.
    pub resources: usize,
    /// Problems that did not prevent the session: noise on stdout, an item of a list that cannot be read.
    pub warnings: Vec<String>,
    /// The report of leaving it.
    pub leave: LeaveReport,
}

/// The whole group, after it has been left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CloseReport {
    /// The version of this contract: [`CloseReport::VERSION`].
    pub version: u32,
    /// Whether every server was left cleanly, those included that `servers` no longer names.
    pub clean: bool,
    /// Wall time from the first attempt to the last outcome.
    pub connect_ms: u64,
    /// Wall time of draining: the wait for the calls that were under way. 0 without
    /// [`drain`](crate::SessionGroup::drain).
    #[serde(default)]
    pub drain_ms: u64,
    /// Wall time of closing.
    pub leave_ms: u64,
    /// The servers in the order in which they were given. A server that was left before the group was closed is missing
    /// if its name was used again, or if many were left after it: a group that lives long remembers some hundreds.
    pub servers: Vec<ServerReport>,
}

impl CloseReport {
    /// The version of the machine contract that these types describe. An added field does not change it.
    pub const VERSION: u32 = 1;

    /// Whether every server came up and was left cleanly, which is exit status 0.
    pub fn all_well(&self) -> bool {
        self.clean && self.servers.iter().all(|server| server.outcome == Outcome::Ok)
    }
}

/// The result of `connect` about a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionInfo {
    /// The name it was given.
    pub name: String,
    /// Its transport.
    pub transport: TransportKind,
    /// The protocol revision agreed on.
    pub era: Option<String>,
    /// From the server's turn to the end of the attempt.
    pub connect_ms: u64,
    /// The number of its tools.
    pub tools: usize,
    /// The number of its prompts.
    pub prompts: usize,
    /// The number of its resources.
    pub resources: usize,
    /// Problems that did not prevent the session: noise on stdout, an item of a list that cannot be read.
    pub warnings: Vec<String>,
    /// The first list that could not be read; the session is up all the same, with everything else it offers.
    pub list_error: Option<ErrorReport>,
}
