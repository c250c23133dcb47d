//! The servers behind a gateway: each is connected, and connected again when it is lost. The reason is kept while it is
//! not connected.

mod state;
mod versions;

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;
use tokio::time::Instant;

pub use self::state::ServerState;
use self::state::down;
pub(super) use self::state::{Away, cause};
use self::versions::KINDS;
pub(super) use self::versions::Versions;
use super::instructions;
use super::options::GatewayOptions;
use crate::callbacks::LogLevel;
use crate::component::{ComponentInfo, ComponentKind};
use crate::group::SessionGroup;
use crate::names::Names;
use crate::params::ServerParams;
use crate::report::Outcome;
use crate::state::{SessionStage, SessionState};

/// The longest wait of a client's first request for servers whose instructions belong in the answer. It is short, because a
/// server that is down must not hold up the start of a client.
const INTRODUCED: Duration = Duration::from_millis(500);
/// The time for which changes are collected before clients are notified.
const COALESCED: Duration = Duration::from_millis(50);

/// The servers, in the order in which they were given.
#[derive(Debug)]
pub(super) struct Fleet {
    pub(super) group: SessionGroup,
    /// Watches of values, which any number of tasks read and wait for: there is nothing to stop.
    servers: watch::Sender<Vec<(String, ServerState)>>,
    versions: watch::Sender<Versions>,
    /// A digest of the last announced list of each kind.
    told: Mutex<[u64; 4]>,
    /// The limits of calls that servers have of their own.
    limits: Mutex<HashMap<String, Duration>>,
    settle: Duration,
    retry: (Duration, Duration),
    /// The lowest level of log messages that some client wants.
    log: Mutex<Option<LogLevel>>,
}

impl Fleet {
    pub(super) fn new(group: SessionGroup, options: &GatewayOptions) -> Self {
        let fleet = Self {
            group,
            servers: watch::channel(Vec::new()).0,
            versions: watch::channel(Versions::default()).0,
            told: Mutex::default(),
            limits: Mutex::default(),
            settle: options.settle,
            retry: (options.retry.max(Duration::from_millis(1)), options.retry_most),
            log: Mutex::default(),
        };
        *fleet.told.lock() = fleet.digests();
        fleet
    }

    /// Registers a server, which [`tend`](Self::tend) then connects. `false` if there is one of that name already.
    pub(super) fn expect(&self, params: &ServerParams) -> bool {
        let name = &params.name;
        let is_new = self.servers.send_if_modified(|all| {
            let is_new = !all.iter().any(|(known, _)| known == name);
            if is_new {
                all.push((name.clone(), ServerState::Starting));
            }
            is_new
        });
        if let Some(limit) = params.call_timeout.filter(|_| is_new) {
            self.limits.lock().insert(name.clone(), limit);
        }
        is_new
    }

    /// Keeps one server connected until the group is closed.
    ///
    /// # Cancel safety
    ///
    /// An attempt that is under way is interrupted and cleaned up by the group; a session that is up stays up.
    pub(super) async fn tend(self: Arc<Self>, params: ServerParams) {
        let name = params.name.clone();
        let mut wait = self.retry.0;
        loop {
            let began = Instant::now();
            let mut asked = Duration::ZERO;
            let state = match self.group.connect(params.clone()).await {
                Ok(_) => {
                    self.set(&name, ServerState::Up);
                    self.ask_for_log(&name).await;
                    self.group.left(&name).await.map(down)
                }
                Err(error) if error.outcome() == Outcome::Closing => return,
                Err(error) => {
                    asked = error.asked_wait().unwrap_or_default().min(self.retry.1);
                    Some(ServerState::Down {
                        outcome: error.outcome(),
                        error: error.report().clone().into(),
                    })
                }
            };
            if let Some(state) = state {
                self.set(&name, state);
            }
            if began.elapsed() > self.retry.1 {
                wait = self.retry.0;
            }
            // A server that asks for a longer pause gets it, up to the longest one.
            tokio::time::sleep(wait.max(asked)).await;
            wait = (wait * 2).min(self.retry.1).max(self.retry.0);
        }
    }

    /// Records that a client wants log messages from this level on; `false` if that level was known already.
    pub(super) fn wants_log(&self, level: LogLevel) -> bool {
        let mut log = self.log.lock();
        let is_new = log.is_none_or(|known| level < known);
        if is_new {
            *log = Some(level);
        }
        is_new
    }

    /// Asks a server for the log messages that some client wants.
    pub(super) async fn ask_for_log(&self, server: &str) {
        let level = *self.log.lock();
        if let Some(level) = level {
            // A server without a log refuses, and one that has gone is asked when it is back.
            let _refused = self.group.set_log_level(server, level).await;
        }
    }

    fn set(&self, name: &str, state: ServerState) {
        self.servers.send_modify(|all| {
            if let Some((_, known)) = all.iter_mut().find(|(known, _)| known == name) {
                *known = state;
            }
        });
    }

    /// All servers, each with its state.
    pub(super) fn states(&self) -> Vec<(String, ServerState)> {
        self.servers.borrow().clone()
    }

    /// Waits until the first attempt of every server, or of the server `only`, has had an outcome, but no longer than
    /// the option `settle`.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(super) async fn settled(&self, only: Option<&str>) {
        let mut servers = self.servers.subscribe();
        let settled = servers.wait_for(|all| {
            let mut looked_at = all.iter().filter(|(name, _)| only.is_none_or(|it| it == name));
            !looked_at.any(|(_, state)| matches!(state, ServerState::Starting))
        });
        // Only the time limit can fail here, because the sender is in `self`.
        let _ = tokio::time::timeout(self.settle, settled).await;
    }

    /// Waits like [`settled`](Self::settled) for all servers, and no longer than a moment: a client does not wait long for the
    /// answer to its first request.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(super) async fn introduced(&self) {
        // At the limit the clients get the instructions that are there.
        let _ = tokio::time::timeout(INTRODUCED, self.settled(None)).await;
    }

    /// The instructions of the connected servers for language models, in the order of the servers.
    pub(super) fn instructions(&self) -> Option<String> {
        let sessions = self.group.sessions();
        let states = self.states();
        let each = states.iter().filter_map(|(server, _)| {
            let is_its = |it: &&SessionState| it.name == *server && it.stage == SessionStage::Up;
            let own = sessions.iter().rev().find(is_its)?.instructions.as_deref()?;
            Some((server.as_str(), own))
        });
        instructions::composed(each)
    }

    /// Whether the first attempt of the server `only`, or of any server, is under way.
    pub(super) fn is_starting(&self, only: Option<&str>) -> bool {
        let servers = self.servers.borrow();
        let mut looked_at = servers.iter().filter(|(name, _)| only.is_none_or(|it| it == name));
        looked_at.any(|(_, state)| matches!(state, ServerState::Starting))
    }

    /// The components of one kind, in the order of the servers.
    pub(super) fn offered(&self, kind: ComponentKind) -> Vec<ComponentInfo> {
        let mut all = self.group.components(kind);
        let servers = self.servers.borrow();
        let place = |it: &ComponentInfo| servers.iter().position(|(name, _)| *name == it.server);
        // The sort is stable, so the components of one server keep their order.
        all.sort_by_key(|it| place(it).unwrap_or(usize::MAX));
        all
    }

    /// The server to which a hooked name, or `server/name`, belongs by its form.
    pub(super) fn server_of(&self, name: &str) -> Option<String> {
        let unhooked = Names::unhook(name).map(|(server, _)| server);
        let servers = self.servers.borrow();
        let is_its = |server: &String| {
            let qualified = name.strip_prefix(server.as_str());
            qualified.is_some_and(|rest| rest.starts_with('/')) || unhooked.as_ref() == Some(server)
        };
        servers.iter().map(|(server, _)| server).find(|server| is_its(server)).cloned()
    }

    /// The limit of calls to the server that has the component `name`.
    pub(super) fn limit(&self, kind: ComponentKind, name: &str) -> Option<Duration> {
        let found = self.group.component(kind, name).map(|component| component.server);
        let server = found.or_else(|| self.server_of(name));
        let own = server.and_then(|server| self.limits.lock().get(&server).copied());
        own.or(self.group.call_timeout())
    }

    /// The state of a server that is not connected; `None` if it is connected or unknown.
    pub(super) fn away(&self, server: &str) -> Option<Away> {
        self.all_away().into_iter().find(|away| away.server == server)
    }

    /// All servers that are not connected.
    pub(super) fn all_away(&self) -> Vec<Away> {
        let away = self.states().into_iter().filter(|(_, state)| !matches!(state, ServerState::Up));
        away.map(|(server, state)| Away { server, state }).collect()
    }

    /// A watch on the numbers of changes of the lists.
    pub(super) fn versions(&self) -> watch::Receiver<Versions> {
        self.versions.subscribe()
    }

    /// Follows the sessions and announces the lists that have changed.
    pub(super) async fn follow(self: Arc<Self>) {
        let mut events = self.group.events();
        // A change before that has no event here.
        self.announce();
        // A receiver that fell behind has missed events, so the lists are compared.
        while !matches!(events.recv().await, Err(RecvError::Closed)) {
            tokio::time::sleep(COALESCED).await;
            events = events.resubscribe();
            self.announce();
        }
    }

    /// Announces the lists that have changed since the last announcement, and returns the numbers of all changes so far.
    pub(super) fn announce(&self) -> Versions {
        let changed = {
            // Locked while the lists are read, so that of two announcements the later one has the later lists.
            let mut told = self.told.lock();
            let digests = self.digests();
            let before = std::mem::replace(&mut *told, digests);
            [0, 1, 2, 3].map(|at| before[at] != digests[at])
        };
        self.versions.send_if_modified(|versions| {
            for (kind, changed) in KINDS.into_iter().zip(changed) {
                *versions.of(kind) += u64::from(changed);
            }
            changed.contains(&true)
        });
        *self.versions.borrow()
    }

    /// A digest of each kind of list.
    fn digests(&self) -> [u64; 4] {
        KINDS.map(|kind| {
            let mut hasher = DefaultHasher::new();
            for component in self.group.components(kind) {
                component.hooked.hash(&mut hasher);
                serde_json::to_string(&component.raw).unwrap_or_default().hash(&mut hasher);
            }
            hasher.finish()
        })
    }
}
