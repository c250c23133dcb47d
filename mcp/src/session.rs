//! One session: its public state, and the requests to it. Only its owner acts inside.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast, watch};
use tokio::time::Instant;

use crate::component::ComponentKind;
use crate::error::ConnectError;
use crate::event::{Event, EventKind};
use crate::fault::Fault;
use crate::order::{OrderWatch, Orders};
use crate::params::{GroupOptions, ServerParams, Transport};
use crate::process::ProcessGroup;
use crate::process::census::Census;
use crate::process::guard::Guard;
use crate::report::{ErrorReport, ServerReport, SessionInfo, TransportKind};
use crate::state::Profile;
use crate::wire::http::client::{Client, Kind as ClientKind};
use crate::wire::pending::Pending;
use crate::wire::warnings::Warnings;
use crate::wire::{Caller, LogLevelCell};

mod asking;
mod attempt;
mod connecting;
mod exits;
mod leaving;
mod listening;
mod listing;
mod naming;
pub(crate) mod owner;
mod pump;
mod refreshing;
mod reporting;
mod restarting;
mod rounds;
mod start;
mod state;
mod subscribing;

pub(crate) use self::leaving::millis;
pub(crate) use self::listing::{Listing, Places};
use self::naming::Claims;
pub(crate) use self::reporting::ended;

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
    start_turns: Arc<Semaphore>,
    /// Bounds the number of DELETEs under way.
    delete_turns: Semaphore,
    /// The names, and the servers that hold them.
    claims: Arc<Claims>,
    /// The living processes in the children's groups.
    census: Census,
    /// The watchdog, once the first child has been started; the reason if it could not be started.
    guard: Mutex<Option<Result<Arc<Guard>, String>>>,
    /// Made for the first view. A group without a view sends no events.
    events: OnceLock<broadcast::Sender<Event>>,
}

/// The number of steps that a view may fall behind.
const EVENTS: usize = 4096;

impl Shared {
    pub(crate) fn new(options: GroupOptions) -> Self {
        Self {
            start_turns: Arc::new(Semaphore::new(options.starts.clamp(1, Semaphore::MAX_PERMITS))),
            delete_turns: Semaphore::new(options.delete_concurrency.max(1)),
            options,
            draining: AtomicBool::new(false),
            clients: Mutex::default(),
            claims: Arc::default(),
            census: Census::default(),
            guard: Mutex::default(),
            events: OnceLock::new(),
        }
    }

    /// The client for `url`.
    fn client(&self, url: &str) -> Result<Client, Fault> {
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

    /// From now on no server is started again.
    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::SeqCst);
    }

    /// Whether the group drains.
    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::SeqCst)
    }

    /// Puts a new child on the list of the watchdog, if there is one.
    ///
    /// # Errors
    ///
    /// A sentence that says why the child is not on it.
    fn guard(&self, child: &ProcessGroup) -> Result<(), String> {
        let Some(watchdog) = &self.options.watchdog else { return Ok(()) };
        let mut guard = self.guard.lock();
        let guard = guard.get_or_insert_with(|| {
            let started = Guard::start(watchdog).map(Arc::new);
            started.map_err(|error| format!("{}: {error}", watchdog.program().display()))
        });
        let listed = guard.as_ref().map_err(String::clone);
        let listed = listed.and_then(|guard| child.guard(guard).map_err(|error| error.to_string()));
        listed.map_err(|why| format!("no watchdog guards this server against SIGKILL: {why}"))
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
    fn tell(&self, index: usize, name: &Arc<str>, kind: impl FnOnce() -> EventKind) {
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

/// The stage of a session. It only goes forward, except that a session that is down comes up again.
#[derive(Debug, Clone)]
pub(crate) enum Stage {
    /// The attempt is under way.
    Connecting,
    /// Connected.
    Up(Arc<Live>),
    /// Its exits are running. `fault` is the cause, if it ended without a request.
    Leaving { fault: Option<Fault> },
    /// It was lost and has been left, and its server will be started again.
    Down(Arc<Down>),
    /// It has been left.
    Left(Arc<Finished>),
}

/// A stage, and the time at which it was reached.
#[derive(Debug)]
struct Reached {
    stage: Stage,
    at: SystemTime,
}

/// A connected session, as its users see it. It is replaced when the lists of the server change.
#[derive(Debug, Clone)]
pub(crate) struct Live {
    pub(crate) info: SessionInfo,
    pub(crate) listing: Arc<Listing>,
    profile: Arc<Profile>,
    connection: Arc<Connection>,
}

impl Live {
    /// Whether the server has no handshake.
    pub(crate) fn is_modern(&self) -> bool {
        self.connection.caller.is_modern()
    }
}

/// The connection of one start of a server.
#[derive(Debug)]
struct Connection {
    caller: Caller,
    pending: Arc<Pending>,
    /// The cause of its end, if it has ended without a request.
    ended_by: OnceLock<Fault>,
}

/// A session between two starts of its server.
#[derive(Debug)]
pub(crate) struct Down {
    fault: Fault,
    report: ErrorReport,
}

/// A session that has been left.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) report: ServerReport,
    /// The reason why it never came up.
    pub(crate) error: Option<ConnectError>,
    /// The cause of its end, if it ended without a request.
    pub(crate) ended_by: Option<Fault>,
}

/// A turn to be started. Its drop gives the turn to the next session.
#[derive(Debug, Default)]
struct Turn(Option<OwnedSemaphorePermit>);

/// One session of a group.
#[derive(Debug)]
pub(crate) struct Session {
    /// Its place in the order of the servers.
    pub(crate) index: usize,
    pub(crate) name: Arc<str>,
    pub(crate) params: ServerParams,
    pub(crate) orders: Orders,
    watch: OrderWatch,
    reached: watch::Sender<Reached>,
    /// The hooked names of its components, of the last time at which it was up.
    places: Mutex<Arc<Places>>,
    /// The server's description of itself, of the last time at which it was up.
    profile: Mutex<Arc<Profile>>,
    /// The addresses of the resources with a subscription.
    subscribed: watch::Sender<BTreeSet<String>>,
    /// The level of the log messages that a user has requested.
    pub(crate) log_level: LogLevelCell,
    /// Held while a user changes the subscriptions.
    subscribing: tokio::sync::Mutex<()>,
    /// The number of starts of the server.
    starts: AtomicU32,
    /// The warnings of all starts.
    warnings: Arc<Warnings>,
    /// The times at which its attempt began and had an outcome.
    pub(crate) clock: Mutex<Clock>,
}

/// The times that make up `waited_ms` and `connect_ms`.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Clock {
    /// The time that it waited for the turn.
    pub(crate) waited: Duration,
    /// The time at which the turn came.
    pub(crate) began: Option<Instant>,
    pub(crate) outcome: Option<Instant>,
}

impl Clock {
    /// From the earlier beginning to the later outcome.
    pub(crate) fn spanning(self, other: Self) -> Self {
        Self {
            waited: Duration::ZERO,
            began: self.began.into_iter().chain(other.began).min(),
            outcome: self.outcome.into_iter().chain(other.outcome).max(),
        }
    }

    /// From the turn to the outcome.
    pub(crate) fn connect_ms(self) -> Option<u64> {
        self.began.zip(self.outcome).map(|(began, outcome)| millis(outcome - began))
    }
}

impl Session {
    pub(crate) fn new(index: usize, params: ServerParams) -> Self {
        let (orders, watch) = Orders::new();
        Self {
            index,
            name: params.name.as_str().into(),
            params,
            orders,
            watch,
            reached: watch::channel(Reached { stage: Stage::Connecting, at: SystemTime::now() }).0,
            places: Mutex::default(),
            profile: Mutex::default(),
            subscribed: watch::channel(BTreeSet::new()).0,
            log_level: LogLevelCell::default(),
            subscribing: tokio::sync::Mutex::default(),
            starts: AtomicU32::new(0),
            warnings: Arc::default(),
            clock: Mutex::default(),
        }
    }

    /// Its transport.
    pub(crate) fn kind(&self) -> TransportKind {
        match self.params.transport {
            Transport::Stdio(_) => TransportKind::Stdio,
            Transport::Http(_) => TransportKind::Http,
            Transport::Adopted(_) => TransportKind::Adopted,
        }
    }

    /// Whether it has been left.
    pub(crate) fn has_left(&self) -> bool {
        matches!(self.reached.borrow().stage, Stage::Left(_))
    }

    /// Its stage.
    pub(crate) fn stage(&self) -> Stage {
        self.reached.borrow().stage.clone()
    }

    /// Waits until `reached` holds and returns that stage.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(crate) async fn wait_until(&self, mut is_it: impl FnMut(&Stage) -> bool) -> Stage {
        let mut watch = self.reached.subscribe();
        match watch.wait_for(|reached| is_it(&reached.stage)).await {
            Ok(reached) => reached.stage.clone(),
            // The sender lives in `self`.
            Err(_) => self.stage(),
        }
    }

    /// Waits for a turn to be started. Only children have to wait, because other servers take no processors of this
    /// machine. `None` if the session was asked to leave before.
    async fn turn(&self, shared: &Shared) -> Option<Turn> {
        let mut turn = Turn::default();
        if let Transport::Stdio(_) = self.params.transport {
            let asked = Instant::now();
            let mut orders = self.watch.clone();
            let granted = tokio::select! {
                biased;
                _ = orders.asked_to_leave(shared.options.budget) => None,
                granted = shared.start_turns.clone().acquire_owned() => Some(granted),
            };
            if self.starts() == 0 {
                self.clock.lock().waited = asked.elapsed();
            }
            // The semaphore is never closed.
            turn.0 = granted?.ok();
        }
        Some(turn)
    }

    /// Waits for the outcome of the attempt, without its clean-up; returns whether the session came up.
    pub(crate) async fn came_up(&self) -> bool {
        let known = self.wait_until(|stage| !matches!(stage, Stage::Connecting)).await;
        match known {
            Stage::Connecting | Stage::Up(_) | Stage::Down(_) => true,
            Stage::Leaving { fault } => fault.is_none(),
            Stage::Left(finished) => finished.error.is_none(),
        }
    }

    /// Asks a first attempt that is still under way to leave by `deadline`. A session that has come up stays, even while
    /// its server is started again.
    pub(crate) fn interrupt(&self, deadline: Instant) {
        self.leave_if(deadline, |stage| matches!(stage, Stage::Connecting));
    }

    /// The group drains: a session that is up stays up, and any other one is asked to leave by `deadline`.
    pub(crate) fn drain(&self, shared: &Shared, deadline: Instant) {
        if !self.leave_if(deadline, |stage| !matches!(stage, Stage::Up(_))) {
            self.tell(shared, || EventKind::Draining);
        }
    }

    /// Asks the session to leave if it is in such a stage; returns whether it is.
    fn leave_if(&self, deadline: Instant, is_it: impl FnOnce(&Stage) -> bool) -> bool {
        let mut asked = false;
        // Inside the lock of the stage, so that the stage cannot change in between.
        self.reached.send_if_modified(|reached| {
            asked = is_it(&reached.stage);
            if asked {
                self.orders.leave_by(deadline);
            }
            false
        });
        asked
    }

    /// Makes it visible to its users, unless it was asked to leave before it was up.
    fn come_up(&self, live: Live) -> bool {
        *self.places.lock() = live.listing.places();
        *self.profile.lock() = live.profile.clone();
        self.reached.send_if_modified(|reached| {
            let wanted = !self.watch.is_asked_to_leave();
            if wanted {
                *reached = Reached { stage: Stage::Up(Arc::new(live)), at: SystemTime::now() };
            }
            wanted
        })
    }

    /// Replaces the listing that its users see. The session stays up, and so does the time since when it is up.
    fn relist(&self, listing: Listing) {
        *self.places.lock() = listing.places();
        let listing = Arc::new(listing);
        self.reached.send_if_modified(|reached| {
            if let Stage::Up(live) = &mut reached.stage {
                let mut relisted = Live::clone(live);
                relisted.info.count(&listing);
                relisted.info.warnings = self.warnings.all();
                relisted.listing = listing;
                *live = Arc::new(relisted);
            }
            // No wait is for a listing.
            false
        });
    }

    /// Has the owner read all lists again. `false` if the session is not up.
    pub(crate) fn refresh(&self) -> bool {
        match self.stage() {
            Stage::Up(live) => {
                live.connection.pending.notices.changed(ComponentKind::ALL);
                true
            }
            _ => false,
        }
    }

    /// Whether the server had a component of this name the last time at which it was up.
    pub(crate) fn has_offered(&self, kind: ComponentKind, hooked: &str) -> bool {
        self.places.lock().hold(kind, hooked)
    }

    /// The number of starts of the server.
    fn starts(&self) -> u32 {
        self.starts.load(Ordering::Relaxed)
    }

    /// Waits until it has been left.
    pub(crate) async fn left(&self) -> Arc<Finished> {
        loop {
            if let Stage::Left(finished) =
                self.wait_until(|stage| matches!(stage, Stage::Left(_))).await
            {
                return finished;
            }
        }
    }

    /// Moves on to `stage`.
    fn advance(&self, stage: Stage) {
        self.reached.send_replace(Reached { stage, at: SystemTime::now() });
    }

    /// Sends an event to the live views.
    fn tell(&self, shared: &Shared, kind: impl FnOnce() -> EventKind) {
        shared.tell(self.index, &self.name, kind);
    }
}
