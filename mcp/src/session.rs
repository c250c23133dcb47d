//! One session: its public state, and the requests to it. Only its owner acts inside.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::Instant;

use crate::component::ComponentKind;
use crate::event::EventKind;
use crate::fault::Fault;
use crate::order::{OrderWatch, Ordered, Orders};
use crate::params::{ServerParams, Transport};
use crate::report::TransportKind;
use crate::state::Profile;
use crate::wire::LogLevelCell;
use crate::wire::attempts::Attempts;
use crate::wire::secrets::Secrets;
use crate::wire::warnings::Warnings;

mod asking;
mod attempt;
mod clock;
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
mod shared;
mod stage;
mod start;
mod state;
mod subscribing;

pub(crate) use self::clock::Clock;
pub(crate) use self::listing::{Listing, Places};
pub(crate) use self::reporting::ended;
pub(crate) use self::shared::Shared;
use self::stage::{Connection, Down, Reached};
pub(crate) use self::stage::{Finished, Live, Stage};

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
    /// A watch, because the stage is a value that any number of tasks wait for, and not a request.
    reached: watch::Sender<Reached>,
    /// The hooked names of its components, of the last time at which it was up.
    places: Mutex<Arc<Places>>,
    /// The server's description of itself, of the last time at which it was up.
    profile: Mutex<Arc<Profile>>,
    /// The addresses of the resources with a subscription: a value that is read and followed.
    subscribed: watch::Sender<BTreeSet<String>>,
    /// The level of the log messages that a user has requested.
    pub(crate) log_level: LogLevelCell,
    /// Held while a subscription is changed, by a user or by the owner.
    subscribing: Arc<tokio::sync::Mutex<()>>,
    /// The number of starts of the server.
    starts: AtomicU32,
    /// The warnings of all starts.
    warnings: Arc<Warnings>,
    /// The attempts to connect, and their phases.
    attempts: Arc<Attempts>,
    /// The texts that no error, warning or report of it shows.
    secrets: Arc<Secrets>,
    /// The times at which its attempt began and had an outcome.
    pub(crate) clock: Mutex<Clock>,
}

impl Session {
    /// A session, and the regions that its owner enters.
    pub(crate) fn new(index: usize, params: ServerParams) -> (Self, Ordered) {
        let ordered = Ordered::new(&params.name);
        let orders = ordered.orders();
        let watch = orders.watch();
        let session = Self {
            index,
            name: params.name.as_str().into(),
            secrets: Secrets::of(&params).into(),
            params,
            orders,
            watch,
            reached: watch::channel(Reached { stage: Stage::Connecting, at: SystemTime::now() }).0,
            places: Mutex::default(),
            profile: Mutex::default(),
            subscribed: watch::channel(BTreeSet::new()).0,
            log_level: LogLevelCell::default(),
            subscribing: Arc::default(),
            starts: AtomicU32::new(0),
            warnings: Arc::default(),
            attempts: Arc::default(),
            clock: Mutex::default(),
        };
        (session, ordered)
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
            let granted = tokio::select! {
                biased;
                () = self.watch.asked_to_leave() => None,
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

    /// Asks a first attempt that is still under way to leave within `budget`. A session that has come up stays, even while
    /// its server is started again.
    pub(crate) fn interrupt(&self, budget: Duration) {
        self.leave_if(budget, |stage| matches!(stage, Stage::Connecting));
    }

    /// The group drains: a session that is up stays up, and any other one is asked to leave within the budget.
    pub(crate) fn drain(&self, shared: &Shared) {
        if !self.leave_if(shared.options.budget, |stage| !matches!(stage, Stage::Up(_))) {
            self.tell(shared, || EventKind::Draining);
        }
    }

    /// Asks the session to leave if it is in such a stage; returns whether it is.
    fn leave_if(&self, budget: Duration, is_it: impl FnOnce(&Stage) -> bool) -> bool {
        let mut asked = false;
        // Inside the lock of the stage, so that the stage cannot change in between.
        self.reached.send_if_modified(|reached| {
            asked = is_it(&reached.stage);
            if asked {
                self.orders.leave_within(budget);
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

    /// Replaces the listing that its users see, and the reason why a list of it could not be read. The session stays up, and
    /// so does the time since when it is up.
    fn relist(&self, listing: Listing, list_fault: Option<&Fault>) {
        *self.places.lock() = listing.places();
        let listing = Arc::new(listing);
        self.reached.send_if_modified(|reached| {
            if let Stage::Up(live) = &mut reached.stage {
                let mut relisted = Live::clone(live);
                relisted.info.count(&listing);
                relisted.info.warnings = self.warnings.all();
                relisted.info.list_error = list_fault.map(|fault| fault.report(None));
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
