//! The events for a live view: the steps of each session, as they happen.

use std::sync::Arc;
use std::time::Instant;

use crate::component::ComponentKind;
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
    /// The server's process ended at the era probe, or rejected `initialize` after it. It is started again and gets
    /// `initialize` at once.
    StartedAgain {
        /// The end of the process, or its rejection, in one line.
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
    /// A list of the server has changed and was read again. The names are the hooked names of components. All three
    /// lists of names are empty if only the order has changed, or if the list could not be read before.
    ListChanged {
        /// The kind of the list.
        kind: ComponentKind,
        /// The components that are new.
        added: Vec<String>,
        /// The components that are gone.
        removed: Vec<String>,
        /// The components with a changed description, schema or other field.
        altered: Vec<String>,
    },
    /// A resource has changed, and there is a [subscription](crate::SessionGroup::subscribe) to it. Or it may have changed,
    /// because the subscription was interrupted and has been renewed.
    ResourceUpdated {
        /// Its address, or the address of a part of it.
        uri: String,
        /// Its hooked name, if the server lists it.
        hooked: Option<String>,
    },
    /// A subscription to a resource has ended without a call of [`unsubscribe`](crate::SessionGroup::unsubscribe).
    SubscriptionEnded {
        /// The address of the resource.
        uri: String,
        /// The reason, in one line.
        message: String,
    },
    /// A new line of [`SessionState::warnings`](crate::SessionState::warnings). Beyond a bound such lines are only
    /// counted, and there is no event for them.
    Warning {
        /// The line.
        message: String,
    },
    /// The session was lost and has been left. Its server is started again after a pause, by its
    /// [`Restart`](crate::Restart) policy. [`Connecting`](Self::Connecting) follows, and [`Up`](Self::Up) or
    /// [`Failed`](Self::Failed).
    Restarting {
        /// The cause of the loss, in one line.
        message: String,
        /// The pause.
        after: std::time::Duration,
    },
    /// The group drains: the session takes no new calls, and is left when the calls under way are over.
    Draining,
    /// The session was asked to leave, and begins to.
    Closing,
    /// Leaving has reached this phase.
    Leaving(LeavePhase),
    /// The session has been left; this is its last event.
    Left(Box<ServerReport>),
}
