//! What a live view follows: the steps of each session, as they happen.

use std::sync::Arc;
use std::time::Instant;

use crate::report::{LeavePhase, Outcome, ServerReport, SessionInfo};

/// One step of one session.
#[derive(Debug, Clone)]
pub struct Event {
    /// Which attempt of the group it was, counted from 0 in the order they were given.
    pub index: usize,
    /// The server's name.
    pub name: Arc<str>,
    /// When it happened.
    pub at: Instant,
    /// What happened.
    pub kind: EventKind,
}

/// What happened.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum EventKind {
    /// The attempt has begun.
    Connecting,
    /// The server's process ended at the era probe. It is started again and gets `initialize` at once.
    StartedAgain {
        /// One line: how it ended.
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
    /// A connected server went away by itself; its clean-up follows.
    Lost {
        /// One line.
        message: String,
    },
    /// Leaving has come to this phase.
    Leaving(LeavePhase),
    /// The session has been left; this is its last event.
    Left(Box<ServerReport>),
}
