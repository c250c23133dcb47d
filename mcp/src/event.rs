//! The events for a live view: the steps of each session, as they happen.

use std::sync::Arc;
use std::time::Instant;

use crate::report::{LeavePhase, Outcome, ServerReport, SessionInfo};

/// One step of one session.
#[derive(Debug, Clone)]
pub struct Event {
    /// The number of the attempt in the group, counted from 0 in the order of the servers.
    pub index: usize,
    /// The server's name.
    pub name: Arc<str>,
    /// The time of the step.
    pub at: Instant,
    /// The kind of the step.
    pub kind: EventKind,
}

/// The kind of a step.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum EventKind {
    /// The attempt has begun.
    Connecting,
    /// The server's process ended at the era probe. It is started again and gets `initialize` at once.
    StartedAgain {
        /// The end of the process, in one line.
        message: String,
    },
    /// The session is up.
    Up(Box<SessionInfo>),
    /// The attempt has failed; its clean-up follows.
    Failed {
        /// The kind of failure.
        outcome: Outcome,
        /// One line.
        message: String,
    },
    /// A connected server disconnected by itself; its clean-up follows.
    Lost {
        /// One line.
        message: String,
    },
    /// Leaving has reached this phase.
    Leaving(LeavePhase),
    /// The session has been left; this is its last event.
    Left(Box<ServerReport>),
}
