//! The state that the sessions of a group share.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use tokio::sync::{Semaphore, broadcast};

use super::naming::Claims;
use super::start::Life;
use crate::event::{Event, EventKind};
use crate::fault::Fault;
use crate::params::GroupOptions;
use crate::process::guard::Guard;
use crate::process::shared_table::SharedTable;
use crate::process::{self, Inherited};
use crate::wire::desk::at_work::AtWork;
use crate::wire::http::client::{Client, Kind as ClientKind};

/// The state that the sessions of a group share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) options: GroupOptions,
    /// Set once the group drains: no server is started again.
    draining: AtomicBool,
    /// The HTTP clients, one for each kind, built when the first server needs it and dropped when the group has been
    /// left.
    clients: Mutex<Vec<(ClientKind, Result<Client, Fault>)>>,
    /// Bounds the number of children that are starting.
    pub(super) start_turns: Arc<Semaphore>,
    /// Bounds the number of DELETEs under way.
    pub(super) delete_turns: Semaphore,
    /// The names, and the servers that hold them.
    pub(super) claims: Arc<Claims>,
    /// The living processes in the children's groups.
    pub(super) processes: SharedTable,
    /// The variables that the children inherit, read when the first of them is started: a copy of the whole environment for
    /// each of them would cost more.
    inherited: OnceLock<Box<Inherited>>,
    /// The callbacks that are running.
    pub(crate) at_work: Arc<AtWork>,
    /// The watchdog, once the first child has been started; the reason if it could not be started.
    guard: Mutex<Option<Result<Arc<Guard>, String>>>,
    /// The memory of sessions that were left while the group closes; `None` before. There is much of it, and the callers
    /// wait for the report only.
    #[expect(
        clippy::vec_box,
        reason = "a life is large, and a list that grows would move all of them"
    )]
    spent: Mutex<Option<Vec<Box<Life>>>>,
    /// Made for the first view. A group without a view sends no events.
    events: OnceLock<broadcast::Sender<Event>>,
}

/// The number of steps that a view may fall behind.
const EVENTS: usize = 4096;

impl Shared {
    pub(crate) fn new(options: GroupOptions) -> Self {
        Self {
            start_turns: Arc::new(Semaphore::new(options.starts.clamp(1, Semaphore::MAX_PERMITS))),
            delete_turns: Semaphore::new(
                options.delete_concurrency.clamp(1, Semaphore::MAX_PERMITS),
            ),
            options,
            draining: AtomicBool::new(false),
            clients: Mutex::default(),
            claims: Arc::default(),
            processes: SharedTable::default(),
            inherited: OnceLock::new(),
            at_work: Arc::default(),
            guard: Mutex::default(),
            spent: Mutex::default(),
            events: OnceLock::new(),
        }
    }

    /// The client for `url`.
    pub(super) fn client(&self, url: &str) -> Result<Client, Fault> {
        let kind = ClientKind::of(url);
        let mut clients = self.clients.lock();
        let found =
            clients.iter().find(|(built, _)| *built == kind).map(|(_, client)| client.clone());
        found.unwrap_or_else(|| {
            let client = Client::new(kind);
            clients.push((kind, client.clone()));
            client
        })
    }

    /// The variables that the children inherit.
    pub(super) fn inherited(&self) -> &Inherited {
        self.inherited.get_or_init(process::inherited)
    }

    /// From now on no server is started again.
    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::SeqCst);
    }

    /// Whether the group drains.
    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::SeqCst)
    }

    /// From now on the memory of a session that was left is kept until [`drop_spent`](Self::drop_spent).
    pub(crate) fn begin_closing(&self) {
        self.spent.lock().get_or_insert_default();
    }

    /// Whether the group closes.
    pub(super) fn is_closing(&self) -> bool {
        self.spent.lock().is_some()
    }

    /// Takes over the memory of a session that has been left.
    pub(super) fn take_spent(&self, life: Box<Life>) {
        let mut spent = self.spent.lock();
        let now = match &mut *spent {
            Some(spent) => {
                spent.push(life);
                None
            }
            None => Some(life),
        };
        // Dropped after the lock.
        drop(spent);
        drop(now);
    }

    /// Frees the memory of the sessions.
    pub(crate) fn drop_spent(&self) {
        let spent = self.spent.lock().take();
        drop(spent);
    }

    /// The watchdog, which is started if it does not run yet; `None` if there is to be none. A child is started after it,
    /// because it has no guard until it is on the list.
    ///
    /// # Errors
    ///
    /// The reason why it could not be started.
    pub(super) fn watchdog(&self) -> Option<Result<Arc<Guard>, String>> {
        let watchdog = self.options.watchdog.as_ref()?;
        let mut guard = self.guard.lock();
        let guard = guard.get_or_insert_with(|| {
            let started = Guard::start(watchdog).map(Arc::new);
            started.map_err(|error| format!("{}: {error}", watchdog.program().display()))
        });
        Some(guard.clone())
    }

    /// Ends the watchdog. Its children have been left.
    pub(crate) async fn end_guard(&self) {
        let guard = self.guard.lock().take();
        if let Some(Ok(guard)) = guard {
            guard.end().await;
        }
    }

    /// Drops the clients, and so the connections they keep.
    pub(crate) fn drop_clients(&self) {
        let clients = std::mem::take(&mut *self.clients.lock());
        drop(clients);
    }

    /// Sends a step of a session to the live views.
    pub(super) fn tell(&self, index: usize, name: &Arc<str>, kind: impl FnOnce() -> EventKind) {
        let Some(views) = self.events.get() else { return };
        let event =
            Event { index, name: name.clone(), at: std::time::Instant::now(), kind: kind() };
        // It is no error if no view listens any more.
        let _ = views.send(event);
    }

    /// The steps of all sessions from now on.
    pub(crate) fn watch(&self) -> broadcast::Receiver<Event> {
        self.events.get_or_init(|| broadcast::channel(EVENTS).0).subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_that_is_left_while_its_group_closes_is_freed_after_the_report() {
        let shared = Shared::new(GroupOptions::default());
        let leave = || {
            let mut life = Life::default();
            life.claim = Some(shared.claims.of(&"s".into()));
            life.withdraw(&shared);
            shared.take_spent(life.spent());
        };
        let claims = || Arc::strong_count(&shared.claims) - 1;
        leave();
        assert_eq!(claims(), 0, "a name is free at once, because the group goes on");
        shared.begin_closing();
        leave();
        assert_eq!(claims(), 1);
        shared.begin_closing();
        leave();
        assert_eq!(claims(), 2, "a second call of `close` frees nothing");
        shared.drop_spent();
        assert_eq!(claims(), 0);
    }
}
