//! The session group: sessions that are connected, used and left together.

use std::sync::Arc;

use futures_util::future::join_all;
use futures_util::stream::{FuturesUnordered, StreamExt};
use parking_lot::Mutex;
use tokio::sync::{broadcast, mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::registry::{Added, Closing, Registry};
use crate::component::{ComponentInfo, ComponentKind};
use crate::error::ConnectError;
use crate::event::Event;
use crate::fault::Fault;
use crate::params::{GroupOptions, Policy, ServerParams};
use crate::report::{CloseReport, Outcome, ServerReport, SessionInfo};
use crate::session::{Finished, Session, Shared, Stage, millis, owner};

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
    newcomers: mpsc::UnboundedSender<Arc<Session>>,
    report: keeper::Report,
}

/// The state that clones and keeper share.
#[derive(Debug)]
struct State {
    shared: Arc<Shared>,
    registry: Mutex<Registry>,
    closed: CancellationToken,
}

impl SessionGroup {
    /// Starts an empty group on the current tokio runtime, which needs its IO and time drivers.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn start(options: GroupOptions) -> SessionGroup {
        let state = Arc::new(State {
            shared: Arc::new(Shared::new(options)),
            registry: Mutex::default(),
            closed: CancellationToken::new(),
        });
        let (newcomers, arrivals) = mpsc::unbounded_channel();
        let (told, report) = watch::channel(None);
        tokio::spawn(keeper::keep(state.clone(), arrivals, told));
        SessionGroup(Arc::new(Asking { state, newcomers, report }))
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
                let deadline = Instant::now() + budget;
                for session in &sessions {
                    session.interrupt(deadline);
                }
            };
            return tokio::join!(first_failure, outcomes(attempts)).1;
        }
        outcomes(attempts).await
    }

    /// The components of the connected servers, of every kind, in the order of the servers.
    pub fn list(&self) -> Vec<ComponentInfo> {
        let mut all = Vec::new();
        for session in self.0.state.registry.lock().sessions() {
            if let Stage::Up(live) = session.stage() {
                all.extend(live.components.iter().cloned());
            }
        }
        all
    }

    /// The components of one kind of the connected servers, in the order of the servers.
    pub fn components(&self, kind: ComponentKind) -> Vec<ComponentInfo> {
        let mut all = Vec::new();
        for session in self.0.state.registry.lock().sessions() {
            if let Stage::Up(live) = session.stage() {
                all.extend(live.all(kind).cloned());
            }
        }
        all
    }

    /// One component by its hooked name. `None` if no connected server offers it.
    pub fn component(&self, kind: ComponentKind, hooked: &str) -> Option<ComponentInfo> {
        self.0.state.registry.lock().sessions().iter().find_map(|session| {
            let place = session.offered.get()?.place(kind, hooked)?;
            match session.stage() {
                Stage::Up(live) => live.components.get(place).cloned(),
                _ => None,
            }
        })
    }

    /// Leaves one session and returns its report. `None` if no session has the name. Any task may call this, in any
    /// order, because sessions share no stack.
    ///
    /// # Cancel safety
    ///
    /// The session is left even if the future is dropped.
    pub async fn disconnect(&self, name: &str) -> Option<ServerReport> {
        let session = self.0.state.registry.lock().named(name)?;
        session.orders.leave_by(Instant::now() + self.0.state.shared.options.budget);
        Some(session.left().await.report.clone())
    }

    /// Leaves all sessions, side by side, within the one budget, and waits until all of them have been
    /// left.
    ///
    /// The first call closes the group; every further call, at the same time or later, gets the
    /// same report.
    ///
    /// # Cancel safety
    ///
    /// Closing goes on if the future is dropped; a further call waits for the same end.
    pub async fn close(&self) -> CloseReport {
        let closing = self.0.state.begin_closing();
        let mut report = self.0.report.clone();
        let told = report.wait_for(Option::is_some).await.ok().and_then(|report| report.clone());
        match told {
            Some(report) => CloseReport::clone(&report),
            // The keeper ended with its runtime, so the report has only the sessions that were
            // left by then.
            None => self.0.state.report(closing.began, Instant::now()),
        }
    }

    /// Kills the process groups of all children at once and sends no more DELETE. A close that is under way ends
    /// soon; without one, every session is left by force and the group stays usable.
    pub fn force(&self) {
        let deadline = Instant::now() + self.0.state.shared.options.budget;
        for session in self.0.state.registry.lock().sessions() {
            session.orders.force(deadline);
        }
    }

    /// The steps of all sessions from now on. A receiver that falls behind loses the oldest.
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
                    Added::Owned(session) => {
                        // It fails only if the runtime is gone, and then the owner's end is never awaited.
                        let lost = self.0.newcomers.send(session.clone()).err();
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

impl State {
    /// Closes the registry and asks every session to leave; the first call sets the times.
    fn begin_closing(&self) -> Closing {
        let mut registry = self.registry.lock();
        let began = Instant::now();
        let first = Closing { began, deadline: began + self.shared.options.budget };
        let closing = *registry.closing.get_or_insert(first);
        for session in registry.sessions() {
            session.orders.leave_by(closing.deadline);
        }
        drop(registry);
        self.closed.cancel();
        closing
    }

    /// The report of the sessions that have been left by now.
    fn report(&self, began: Instant, ended: Instant) -> CloseReport {
        let (sessions, forgotten) = {
            let registry = self.registry.lock();
            (registry.reported(), registry.forgotten)
        };
        let mut servers: Vec<ServerReport> = Vec::new();
        let mut clock = forgotten.clock;
        for session in sessions {
            clock = clock.spanning(*session.clock.lock());
            if let Stage::Left(finished) = session.stage() {
                servers.push(finished.report.clone());
            }
        }
        CloseReport {
            version: CloseReport::VERSION,
            clean: !forgotten.unclean && servers.iter().all(|server| server.leave.clean),
            connect_ms: clock
                .began
                .zip(clock.outcome)
                .map_or(0, |(first, last)| millis(last - first)),
            leave_ms: millis(ended - began),
            servers,
        }
    }
}

/// The wait of one caller for one attempt.
#[derive(Debug)]
struct Attempt {
    session: Arc<Session>,
    budget: std::time::Duration,
    settled: bool,
}

impl Attempt {
    /// Waits until the session is up, or has been left.
    async fn outcome(mut self) -> Result<SessionInfo, ConnectError> {
        let known = |stage: &Stage| matches!(stage, Stage::Up(_) | Stage::Left(_));
        let stage = self.session.wait_until(known).await;
        self.settled = true;
        match stage {
            Stage::Up(live) => Ok(live.info.clone()),
            Stage::Left(finished) => self.failed(&finished),
            Stage::Connecting | Stage::Leaving { .. } => {
                unreachable!("the wait is for the other two")
            }
        }
    }

    fn failed(&self, finished: &Finished) -> Result<SessionInfo, ConnectError> {
        // It was up for too short a time to be seen: the cause of its end is the result.
        Err(finished.error.clone().unwrap_or_else(|| owner::ended(&self.session, finished)))
    }
}

impl Drop for Attempt {
    /// A caller that drops its wait no longer needs the session; its owner is told and cleans
    /// up.
    fn drop(&mut self) {
        if !self.settled {
            self.session.orders.leave_by(Instant::now() + self.budget);
        }
    }
}
