//! One session: its public state, and the requests to it. Only its owner acts inside.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast, watch};
use tokio::time::Instant;

use crate::callbacks::LogLevel;
use crate::component::{ComponentInfo, ComponentKind};
use crate::error::ConnectError;
use crate::event::{Event, EventKind};
use crate::fault::Fault;
use crate::order::{OrderWatch, Orders};
use crate::params::{GroupOptions, ServerParams, Transport};
use crate::process::census::Census;
use crate::report::{ServerReport, SessionInfo, TransportKind};
use crate::wire::Caller;
use crate::wire::http::client::{Client, Kind as ClientKind};

mod asking;
mod attempt;
mod exits;
mod leaving;
mod naming;
mod offered;
pub(crate) mod owner;
mod pump;
mod rounds;

pub(crate) use self::leaving::millis;
use self::naming::Claims;
use self::offered::Offered;

/// The state that the sessions of a group share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) options: GroupOptions,
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
            clients: Mutex::default(),
            claims: Arc::default(),
            census: Census::default(),
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

    /// Drops the clients, and so the connections they keep.
    pub(crate) fn drop_clients(&self) {
        let clients = std::mem::take(&mut *self.clients.lock());
        drop(clients);
    }

    /// The steps of all sessions from now on.
    pub(crate) fn watch(&self) -> broadcast::Receiver<Event> {
        self.events.get_or_init(|| broadcast::channel(EVENTS).0).subscribe()
    }
}

/// The stage of a session. It only goes forward.
#[derive(Debug, Clone)]
pub(crate) enum Stage {
    /// The attempt is under way.
    Connecting,
    /// Connected.
    Up(Arc<Live>),
    /// Its exits are running. `fault` is the cause, if it ended without a request.
    Leaving { fault: Option<Fault> },
    /// It has been left.
    Left(Arc<Finished>),
}

/// A connected session, as its users see it.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) info: SessionInfo,
    pub(crate) components: Vec<ComponentInfo>,
    caller: Caller,
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
    stage: watch::Sender<Stage>,
    /// Set once it is up.
    pub(crate) offered: OnceLock<Offered>,
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
            stage: watch::channel(Stage::Connecting).0,
            offered: OnceLock::new(),
            clock: Mutex::default(),
        }
    }

    /// Its transport.
    pub(crate) fn kind(&self) -> TransportKind {
        match self.params.transport {
            Transport::Stdio(_) => TransportKind::Stdio,
            Transport::Http(_) => TransportKind::Http,
        }
    }

    /// Whether it has been left.
    pub(crate) fn has_left(&self) -> bool {
        matches!(*self.stage.borrow(), Stage::Left(_))
    }

    /// Its stage.
    pub(crate) fn stage(&self) -> Stage {
        self.stage.borrow().clone()
    }

    /// Waits until `reached` holds and returns that stage.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(crate) async fn wait_until(&self, reached: impl FnMut(&Stage) -> bool) -> Stage {
        let mut stage = self.stage.subscribe();
        match stage.wait_for(reached).await {
            Ok(stage) => stage.clone(),
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
            self.clock.lock().waited = asked.elapsed();
            // The semaphore is never closed.
            turn.0 = granted?.ok();
        }
        Some(turn)
    }

    /// Waits for the outcome of the attempt, without its clean-up; returns whether the session came up.
    pub(crate) async fn came_up(&self) -> bool {
        let known = self.wait_until(|stage| !matches!(stage, Stage::Connecting)).await;
        match known {
            Stage::Connecting | Stage::Up(_) => true,
            Stage::Leaving { fault } => fault.is_none(),
            Stage::Left(finished) => finished.error.is_none(),
        }
    }

    /// Asks an attempt that is still under way to leave by `deadline`; a session that is up
    /// stays up.
    pub(crate) fn interrupt(&self, deadline: Instant) {
        // Inside the lock of the stage, so that a session cannot come up in between.
        self.stage.send_if_modified(|stage| {
            if matches!(stage, Stage::Connecting) {
                self.orders.leave_by(deadline);
            }
            false
        });
    }

    /// Makes it visible to its users, unless it was asked to leave before it was up.
    fn come_up(&self, live: Live) -> bool {
        // Set once, because a session comes up once.
        self.offered.get_or_init(|| Offered::of(&live.components));
        self.stage.send_if_modified(|stage| {
            let wanted = self.watch.current().leave_by.is_none();
            if wanted {
                *stage = Stage::Up(Arc::new(live));
            }
            wanted
        })
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
        self.stage.send_replace(stage);
    }

    /// Sends an event to the live views.
    fn tell(&self, shared: &Shared, kind: impl FnOnce() -> EventKind) {
        let Some(views) = shared.events.get() else { return };
        let kind = kind();
        // The process is left so that it can be started again: the session is still connecting.
        if matches!(kind, EventKind::Leaving(_))
            && matches!(*self.stage.borrow(), Stage::Connecting)
        {
            return;
        }
        let event = Event {
            index: self.index,
            name: self.name.clone(),
            at: std::time::Instant::now(),
            kind,
        };
        // It is no error if no view listens any more.
        let _ = views.send(event);
    }
}

impl Live {
    /// Whether the server has no handshake.
    pub(crate) fn is_modern(&self) -> bool {
        self.caller.is_modern()
    }

    /// Asks for log messages with every request from now on.
    pub(crate) fn set_log_level(&self, level: LogLevel) {
        self.caller.set_log_level(level);
    }

    /// The number of components of a kind.
    fn count(components: &[ComponentInfo], kind: ComponentKind) -> usize {
        components.iter().filter(|component| component.kind == kind).count()
    }
}
