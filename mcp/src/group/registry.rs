//! Which sessions a group has, in the order they were given, and which names are taken.

use std::sync::Arc;

use tokio::time::Instant;

use crate::fault::Fault;
use crate::params::ServerParams;
use crate::report::Outcome;
use crate::session::{Session, Stage};

/// How many rejected attempts are remembered for the report.
const REJECTED: usize = 256;

/// The sessions of a group.
#[derive(Debug, Default)]
pub(super) struct Registry {
    next: usize,
    /// In the order they were given. One that has been left stays, for the report, until its name is used again.
    sessions: Vec<Arc<Session>>,
    /// Attempts that were turned away for their name.
    rejected: Vec<Arc<Session>>,
    /// Set once the group is being closed: nothing is added any more.
    pub(super) closing: Option<Closing>,
}

/// When closing began, and when it has to be over.
#[derive(Debug, Clone, Copy)]
pub(super) struct Closing {
    pub(super) began: Instant,
    pub(super) deadline: Instant,
}

/// What became of a request to add a server.
#[derive(Debug)]
pub(super) enum Added {
    /// It has a place and needs an owner.
    Owned(Arc<Session>),
    /// It was turned away.
    Rejected(Arc<Session>, Fault),
}

impl Registry {
    /// Gives a server a place, or says why not.
    pub(super) fn add(&mut self, params: ServerParams) -> Added {
        let session = Arc::new(Session::new(self.next, params));
        if self.closing.is_some() {
            let text = "the group is closing: nothing was started";
            return Added::Rejected(session, Fault::new(Outcome::Closing, text));
        }
        self.next += 1;
        if let Some(holder) = self.named(&session.params.name) {
            let text = format!(
                "the name {:?} belongs to {:?}, so {:?} was not started",
                session.params.name,
                holder.params.endpoint(),
                session.params.endpoint(),
            );
            if self.rejected.len() < REJECTED {
                self.rejected.push(session.clone());
            }
            return Added::Rejected(session, Fault::new(Outcome::DuplicateName, text));
        }
        self.sessions.retain(|old| old.name != session.name);
        self.sessions.push(session.clone());
        Added::Owned(session)
    }

    /// The session that holds a name: it has not been left yet.
    pub(super) fn named(&self, name: &str) -> Option<Arc<Session>> {
        let holds = |session: &&Arc<Session>| {
            &*session.name == name && !matches!(session.stage(), Stage::Left(_))
        };
        self.sessions.iter().find(holds).cloned()
    }

    /// All sessions, in order.
    pub(super) fn sessions(&self) -> &[Arc<Session>] {
        &self.sessions
    }

    /// Everything the report names, in the order it was given.
    pub(super) fn reported(&self) -> Vec<Arc<Session>> {
        let mut all: Vec<_> = self.sessions.iter().chain(&self.rejected).cloned().collect();
        all.sort_by_key(|session| session.index);
        all
    }
}
