//! The session group: sessions that are connected, used and left together.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::stream::{FuturesUnordered, StreamExt};
use moored::{CancelHandle, CancelScope, TaskGroup};
use parking_lot::Mutex;
use tokio::sync::{broadcast, mpsc, watch};
use tokio::time::Instant;

use self::attempt::Attempt;
use self::keeper::Closed;
use self::registry::{Added, Registry};
use crate::component::{ComponentInfo, ComponentKind};
#[cfg(doc)]
use crate::error::CallError;
use crate::error::ConnectError;
use crate::event::Event;
#[cfg(doc)]
use crate::event::EventKind;
use crate::fault::Fault;
use crate::order::Ordered;
use crate::params::{GroupOptions, Policy, ServerParams};
use crate::report::{CloseReport, Outcome, ServerReport, SessionInfo};
use crate::session::{Listing, Session, Shared, Stage, owner};
use crate::state::SessionState;
use crate::wire::Adopted;
use crate::wire::desk::at_work::EndOf;

mod attempt;
mod closing;
mod keeper;
mod registry;
mod requests;

/// Sessions that are connected, used and left together.
///
/// Each session has an owner, a task of its own, which connects it, serves it and leaves it. A `SessionGroup` sends
/// requests to the owners: it is cheap to clone, and every method may be called from any task, in any order, any
/// number of times. A request never leaves a session in the wrong task.
///
/// # On drop
///
/// When the last clone is dropped, the sessions are left in the background, within the budget, and the report is
/// dropped. When the runtime is shut down first, the children's process groups are killed and reaped, and no DELETE
/// is sent: call [`close`](Self::close) and wait for it.
#[derive(Debug, Clone)]
pub struct SessionGroup(Arc<Asking>);

/// The state that all clones share. Its channel to the keeper closes when the last clone is
/// dropped.
#[derive(Debug)]
struct Asking {
    state: Arc<State>,
    newcomers: mpsc::UnboundedSender<(Arc<Session>, Ordered)>,
    end: keeper::End,
}

/// The state that clones and keeper share.
#[derive(Debug)]
struct State {
    shared: Arc<Shared>,
    registry: Mutex<Registry>,
    /// The scope in which the keeper takes new servers. It is stopped to drain, and cancelled to close.
    serving: CancelHandle,
}

impl SessionGroup {
    /// Starts an empty group on the current tokio runtime, which needs its IO and time drivers.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn start(options: GroupOptions) -> SessionGroup {
        let serving = CancelScope::new().named("serving");
        let calls = TaskGroup::new().named("calls").keep_going();
        let state = Arc::new(State {
            shared: Arc::new(Shared::new(options)),
            registry: Mutex::new(Registry::with(calls.spawner())),
            serving: serving.handle(),
        });
        let (newcomers, arrivals) = mpsc::unbounded_channel();
        let (ended, end) = watch::channel(None);
        tokio::spawn(keeper::keep(state.clone(), serving, calls, arrivals, ended));
        SessionGroup(Arc::new(Asking { state, newcomers, end }))
    }

    /// Connects one server and reads the lists of its components.
    ///
    /// # Errors
    ///
    /// [`ConnectError`] with the kind of failure and its chain of causes. Everything that had been started has
    /// been left by then: the child is reaped, the HTTP session ended.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future interrupts the attempt; its owner cleans up all the same.
    pub async fn connect(&self, params: ServerParams) -> Result<SessionInfo, ConnectError> {
        match self.add(vec![params]).pop() {
            Some(attempt) => attempt.outcome().await,
            None => unreachable!("one attempt for one server"),
        }
    }

    /// Connects many servers at once; of children, no more than [`GroupOptions::starts`] are being started at the same
    /// time. The results come in the order of `params`; the group as a whole never fails.
    ///
    /// With [`Policy::FailFast`] the first failure interrupts the attempts that are still under way: they end as
    /// [`Outcome::Closing`]. Servers that were connected before stay connected.
    ///
    /// # Cancel safety
    ///
    /// As for [`connect`](Self::connect), for every attempt that is still under way.
    pub async fn connect_many(
        &self,
        params: Vec<ServerParams>,
        policy: Policy,
    ) -> Vec<Result<SessionInfo, ConnectError>> {
        let attempts = self.add(params);
        if policy == Policy::FailFast {
            let sessions: Vec<_> = attempts.iter().map(|attempt| attempt.session.clone()).collect();
            let budget = self.0.state.shared.options.budget;
            let first_failure = async {
                let mut ends: FuturesUnordered<_> =
                    sessions.iter().map(|it| it.came_up()).collect();
                while let Some(up) = ends.next().await {
                    if !up {
                        break;
                    }
                }
                drop(ends);
                for session in &sessions {
                    session.interrupt(budget);
                }
            };
            return tokio::join!(first_failure, outcomes(attempts)).1;
        }
        outcomes(attempts).await
    }

    /// The components of the connected servers, of every kind, in the order of the servers.
    pub fn list(&self) -> Vec<ComponentInfo> {
        let mut all = Vec::new();
        for listing in self.listings() {
            all.extend(listing.components.iter().cloned());
        }
        all
    }

    /// The components of one kind of the connected servers, in the order of the servers.
    pub fn components(&self, kind: ComponentKind) -> Vec<ComponentInfo> {
        self.listings().iter().flat_map(|listing| listing.all(kind).cloned()).collect()
    }

    /// One component by its hooked name. `None` if no connected server offers it.
    pub fn component(&self, kind: ComponentKind, hooked: &str) -> Option<ComponentInfo> {
        self.listings().iter().find_map(|listing| listing.get(kind, hooked).cloned())
    }

    /// The present state of every session, in the order in which the servers were given. Sessions that were rejected or
    /// that have been left are included, like in the [`CloseReport`]. Each change has an event in
    /// [`events`](Self::events).
    pub fn sessions(&self) -> Vec<SessionState> {
        let is_draining = self.0.state.shared.is_draining();
        let sessions = self.0.state.registry.lock().reported();
        sessions.iter().map(|session| session.state(is_draining)).collect()
    }

    /// The listings of the sessions that are up.
    fn listings(&self) -> Vec<Arc<Listing>> {
        let registry = self.0.state.registry.lock();
        let listing = |session: &Arc<Session>| match session.stage() {
            Stage::Up(live) => Some(live.listing.clone()),
            _ => None,
        };
        registry.sessions().iter().filter_map(listing).collect()
    }

    /// Takes up a session, or a transport without a session, that the program has opened itself. It is used like any other
    /// session of the group: its components are listed and routed, and it can be disconnected. But the group never closes
    /// it: see [`Adopted`] for the state in which [`disconnect`](Self::disconnect) and [`close`](Self::close) leave it.
    /// [`Restart`](crate::Restart) does not apply.
    ///
    /// The messages of a [session](Adopted::new) do not pass through this crate. So a tool or a result has the fields that
    /// rmcp's types have, callbacks are not called, progress is not reported, and a change of its lists is seen only in the
    /// newer era. Otherwise call [`refresh`](Self::refresh). Over a [pipe](Adopted::pipe) all of this is as with a child
    /// process.
    ///
    /// # Errors
    ///
    /// As for [`connect`](Self::connect): a session that is closed or not initialized, or a name that is taken.
    ///
    /// # Cancel safety
    ///
    /// As for [`connect`](Self::connect).
    pub async fn adopt(
        &self,
        name: impl Into<String>,
        session: Adopted,
    ) -> Result<SessionInfo, ConnectError> {
        self.connect(ServerParams::adopted(name, session)).await
    }

    /// Has the lists of a server read again, as if the server had reported a change of each. `false` if no session of that
    /// name is up. Changes are events of [`events`](Self::events).
    pub fn refresh(&self, server: &str) -> bool {
        let session = self.0.state.registry.lock().named(server);
        session.is_some_and(|session| session.refresh())
    }

    /// Leaves one session and returns its report. `None` if no session has the name. Any task may call this, in any
    /// order, because sessions share no stack.
    ///
    /// # In a callback
    ///
    /// A callback of this session would wait for itself, so it is cancelled: see [`Callbacks`](crate::Callbacks).
    ///
    /// # Cancel safety
    ///
    /// The session is left even if the future is dropped.
    pub async fn disconnect(&self, name: &str) -> Option<ServerReport> {
        let session = self.0.state.registry.lock().named(name)?;
        session.orders.leave_within(self.0.state.shared.options.budget);
        self.0.state.shared.at_work.about_to_wait(EndOf::Session(name));
        Some(session.left().await.report.clone())
    }

    /// Leaves all sessions, side by side, within the one budget, and waits until all of them have been
    /// left.
    ///
    /// The first call closes the group; every further call, at the same time or later, gets the
    /// same report.
    ///
    /// # In a callback
    ///
    /// The callback would wait for itself, so it is cancelled: see [`Callbacks`](crate::Callbacks).
    ///
    /// # Cancel safety
    ///
    /// Closing goes on if the future is dropped; a further call waits for the same end.
    pub async fn close(&self) -> CloseReport {
        self.0.state.begin_closing();
        self.report().await
    }

    /// Waits until the calls that are under way have ended, for as long as `budget`, and then leaves all sessions like
    /// [`close`](Self::close), within the budget of the group.
    ///
    /// From this call on the group takes no new calls ([`CallError::Closing`]) and no new servers, and starts no server
    /// again. A call that is still under way after `budget` ends as in `close`, so each call resolves exactly once. The
    /// first call sets the budget; every further one waits for the same report. A `close` ends the wait at once.
    ///
    /// # In a callback
    ///
    /// The callback would wait for itself, so it is cancelled: see [`Callbacks`](crate::Callbacks).
    ///
    /// # Cancel safety
    ///
    /// Draining and closing go on if the future is dropped; a further call waits for the same end.
    pub async fn drain(&self, budget: Duration) -> CloseReport {
        self.0.state.begin_draining(budget);
        self.report().await
    }

    /// Waits for the report of the group, which is being closed or drained.
    async fn report(&self) -> CloseReport {
        self.0.state.shared.at_work.about_to_wait(EndOf::Group);
        let mut end = self.0.end.clone();
        let closed = end.wait_for(Option::is_some).await.ok().and_then(|closed| *closed);
        let Closed { began, ended } = closed.unwrap_or_else(|| {
            // The keeper ended with its runtime, so the report has only the sessions that were left by then.
            Closed { began: self.0.state.begin_closing().began, ended: Instant::now() }
        });
        self.0.state.report(began, ended)
    }

    /// Waits until the newest session of this name has been left, and returns its report; `None` if there is no such session.
    #[cfg(feature = "serve")]
    pub(crate) async fn left(&self, name: &str) -> Option<ServerReport> {
        let session = self.0.state.registry.lock().newest(name)?;
        Some(session.left().await.report.clone())
    }

    /// The limit of a call that has none, to a server that has none.
    #[cfg(feature = "serve")]
    pub(crate) fn call_timeout(&self) -> Option<std::time::Duration> {
        self.0.state.shared.options.call_timeout
    }

    /// Kills the process groups of all children at once and sends no more DELETE. A close that is under way ends
    /// soon; without one, every session is left by force and the group stays usable. A session whose leaving has just
    /// begun notices within 50 ms.
    pub fn force(&self) {
        let budget = self.0.state.shared.options.budget;
        for session in self.0.state.registry.lock().sessions() {
            session.orders.force(budget);
        }
    }

    /// The steps of all sessions from now on, and every other change of the result of [`sessions`](Self::sessions) and
    /// [`list`](Self::list). A receiver that falls behind loses the oldest.
    ///
    /// The change is made before its event is sent, so a call after an event sees the change. The one exception is
    /// [`EventKind::Left`], which is sent just before [`close`](Self::close) and [`disconnect`](Self::disconnect) return.
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.0.state.shared.watch()
    }

    /// Registers servers, in order, and hands them to owners.
    fn add(&self, params: Vec<ServerParams>) -> Vec<Attempt> {
        let state = &self.0.state;
        let budget = state.shared.options.budget;
        let mut turned_away = Vec::new();
        let attempts = {
            // One lock for all of them, so that the servers of two callers do not interleave, and a session that is
            // handed over was registered before the group closed.
            let mut registry = state.registry.lock();
            params
                .into_iter()
                .map(|params| match registry.add(params) {
                    Added::Owned(session, ordered) => {
                        // It fails only if the runtime is gone, and then the owner's end is never awaited.
                        let lost = self.0.newcomers.send((session.clone(), ordered)).err();
                        if lost.is_some() {
                            turned_away.push((session.clone(), keeper_gone()));
                        }
                        Attempt { session, budget, settled: false }
                    }
                    Added::Rejected(session, fault) => {
                        turned_away.push((session.clone(), fault));
                        Attempt { session, budget, settled: true }
                    }
                })
                .collect()
        };
        for (session, fault) in turned_away {
            owner::reject(&session, &state.shared, fault);
        }
        attempts
    }
}

fn keeper_gone() -> Fault {
    Fault::new(Outcome::Closing, "the runtime of the group is gone")
}

/// Waits for all attempts, in order.
async fn outcomes(attempts: Vec<Attempt>) -> Vec<Result<SessionInfo, ConnectError>> {
    join_all(attempts.into_iter().map(Attempt::outcome)).await
}
