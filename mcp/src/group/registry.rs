//! The sessions of a group, in the order in which they were given, and the names that are
//! taken.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;

use moored::GroupSpawner;
use tokio::time::Instant;

use crate::fault::Fault;
use crate::order::Ordered;
use crate::params::ServerParams;
use crate::report::Outcome;
use crate::session::{Clock, Session, Stage};

/// The number of rejected attempts that are kept for the report.
const REJECTED: usize = 256;
/// The number of left sessions that are kept for the report.
const LEFT: usize = 256;

/// A handle of the group of the calls.
pub(super) type Calls = GroupSpawner<'static, Infallible>;

/// The sessions of a group.
#[derive(Debug, Default)]
pub(super) struct Registry {
    next: usize,
    /// In the order they were given. A session that has been left stays, for the report, until its name is used again or
    /// [`LEFT`] others have been left after it.
    sessions: Vec<Arc<Session>>,
    /// The newest session of each name, among the sessions of the list.
    named: HashMap<Arc<str>, Arc<Session>>,
    /// The summary of sessions that the report no longer names.
    pub(super) forgotten: Forgotten,
    /// Attempts that were turned away for their name.
    rejected: Vec<Arc<Session>>,
    /// Set once the group drains: no call is begun and no session is added any more.
    pub(super) draining: Option<Draining>,
    /// Set once the group is being closed: no session is added any more.
    pub(super) closing: Option<Closing>,
    /// The group of the calls that are under way. A call runs in the task of its caller, so it keeps a guard of the
    /// group.
    pub(super) calls: Option<Calls>,
}

/// The summary of the sessions that were forgotten.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Forgotten {
    /// Whether one of them was not left cleanly.
    pub(super) unclean: bool,
    /// The earliest beginning and the latest outcome of their attempts.
    pub(super) clock: Clock,
}

impl Forgotten {
    fn add(&mut self, session: &Session) {
        if let Stage::Left(finished) = session.stage() {
            self.unclean |= !finished.report.leave.clean;
        }
        self.clock = self.clock.spanning(*session.clock.lock());
    }
}

/// The beginning of draining, and the end of its budget.
#[derive(Debug, Clone, Copy)]
pub(super) struct Draining {
    pub(super) began: Instant,
    pub(super) deadline: Option<Instant>,
}

/// The time at which closing began.
#[derive(Debug, Clone, Copy)]
pub(super) struct Closing {
    pub(super) began: Instant,
}

/// The result of a request to add a server.
#[derive(Debug)]
pub(super) enum Added {
    /// It has a place and needs an owner, which enters the regions that its orders go to.
    Owned(Arc<Session>, Ordered),
    /// It was turned away.
    Rejected(Arc<Session>, Fault),
}

impl Registry {
    /// An empty registry of a group whose calls are counted by `calls`.
    pub(super) fn with(calls: Calls) -> Self {
        Self { calls: Some(calls), ..Self::default() }
    }

    /// Registers a server, or returns the reason of the refusal.
    pub(super) fn add(&mut self, params: ServerParams) -> Added {
        let (session, ordered) = Session::new(self.next, params);
        let session = Arc::new(session);
        if self.closing.is_some() || self.draining.is_some() {
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
        self.forget_for(&session);
        self.named.insert(session.name.clone(), session.clone());
        self.sessions.push(session.clone());
        Added::Owned(session, ordered)
    }

    /// Forgets the sessions that need not be kept once `newcomer` is there: the session that had its name, and the
    /// oldest of those that have been left.
    fn forget_for(&mut self, newcomer: &Session) {
        let is_follower = self.named.contains_key(&newcomer.name);
        // Usually there is none to forget, and a fleet is added without a look at its earlier servers for each.
        if self.sessions.len() <= LEFT && !is_follower {
            return;
        }
        let left = self.sessions.iter().filter(|session| session.has_left()).count();
        let mut surplus = left.saturating_sub(LEFT);
        let (forgotten, named) = (&mut self.forgotten, &mut self.named);
        self.sessions.retain(|session| {
            let is_surplus = surplus > 0 && session.has_left();
            surplus -= usize::from(is_surplus);
            let stays = !is_surplus && session.name != newcomer.name;
            if !stays {
                forgotten.add(session);
                named.remove(&session.name);
            }
            stays
        });
    }

    /// The session that holds a name, which has not been left yet.
    pub(super) fn named(&self, name: &str) -> Option<Arc<Session>> {
        self.newest(name).filter(|session| !session.has_left())
    }

    /// The newest session of a name, which may have been left.
    pub(super) fn newest(&self, name: &str) -> Option<Arc<Session>> {
        self.named.get(name).cloned()
    }

    /// All sessions, in order.
    pub(super) fn sessions(&self) -> &[Arc<Session>] {
        &self.sessions
    }

    /// All sessions that the report names, in the order in which they were given.
    pub(super) fn reported(&self) -> Vec<Arc<Session>> {
        let mut all: Vec<_> = self.sessions.iter().chain(&self.rejected).cloned().collect();
        all.sort_by_key(|session| session.index);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params::StdioParams;
    use crate::report::LeaveReport;
    use crate::session::owner;

    /// Adds a session and leaves it at once, cleanly or not.
    fn come_and_go(registry: &mut Registry, name: &str, clean: bool) {
        let Added::Owned(session, _) =
            registry.add(ServerParams::stdio(name, StdioParams::new("x")))
        else {
            panic!("{name} is rejected")
        };
        let leave = LeaveReport { clean, ..LeaveReport::nothing() };
        owner::tests::left(&session, leave);
    }

    #[test]
    fn sessions_that_have_been_left_are_forgotten_beyond_a_bound_the_oldest_first() {
        let mut registry = Registry::default();
        let Added::Owned(lasting, _) =
            registry.add(ServerParams::stdio("lasting", StdioParams::new("x")))
        else {
            panic!("the first one is rejected")
        };
        for round in 0..3 * LEFT {
            come_and_go(&mut registry, &format!("s{round}"), true);
        }
        // The newest is kept in any case.
        assert_eq!(registry.sessions().len(), 1 + LEFT + 1);
        assert_eq!(registry.sessions()[0].name, lasting.name, "what has not been left stays");
        let newest = registry.sessions().last().map(|session| session.name.to_string());
        assert_eq!(newest, Some(format!("s{}", 3 * LEFT - 1)));
        assert!(!registry.forgotten.unclean);
    }

    #[test]
    fn what_is_forgotten_still_counts() {
        let mut registry = Registry::default();
        come_and_go(&mut registry, "mule", false);
        come_and_go(&mut registry, "mule", true);
        assert_eq!(registry.sessions().len(), 1);
        assert!(registry.forgotten.unclean);
    }
}
