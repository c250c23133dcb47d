//! The clients of a gateway.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock, Weak};

use parking_lot::Mutex;
use rmcp::service::{Peer, RoleServer};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::errand;
use super::subscriptions::Subscribed;
use crate::callbacks::LogLevel;

/// One client: a session of the older era, the other end of a pipe, or the sender of one request of the newer era.
#[derive(Debug)]
pub(super) struct Client {
    /// Cancelled when it has gone, or to make it go.
    pub(super) end: CancellationToken,
    /// Who it is, as far as is known: a request that waits for input goes on for nobody else.
    pub(super) owner: Arc<str>,
    /// The resources that it wants to be told of, by their addresses.
    pub(super) subscribed: Mutex<HashMap<String, Subscribed>>,
    /// Set when it has introduced itself, in the older era.
    peer: OnceLock<Peer<RoleServer>>,
    log_level: Mutex<Option<LogLevel>>,
}

impl Client {
    pub(super) fn new(end: CancellationToken, owner: impl Into<Arc<str>>) -> Self {
        Self {
            end,
            owner: owner.into(),
            subscribed: Mutex::default(),
            peer: OnceLock::new(),
            // Unless it says something else, a client hears what usual logs show.
            log_level: Mutex::new(Some(LogLevel::Info)),
        }
    }

    /// It has introduced itself.
    pub(super) fn met(&self, peer: Peer<RoleServer>) {
        let _twice = self.peer.set(peer);
    }

    /// Where it is asked and told something; `None` before it has introduced itself, and once it has gone.
    pub(super) fn peer(&self) -> Option<&Peer<RoleServer>> {
        self.peer.get().filter(|_| !self.end.is_cancelled())
    }

    /// Whether it answers such a question.
    pub(super) fn answers(&self, method: &str, params: &Value) -> bool {
        let info = self.peer().and_then(|peer| peer.peer_info());
        info.is_some_and(|info| errand::answers(&info.capabilities, method, params))
    }

    /// From which level on it hears log messages.
    pub(super) fn log_level(&self) -> Option<LogLevel> {
        *self.log_level.lock()
    }

    pub(super) fn set_log_level(&self, level: LogLevel) {
        *self.log_level.lock() = Some(level);
    }
}

/// The clients that have introduced themselves.
#[derive(Debug, Default)]
pub(super) struct Clients(Mutex<Vec<Weak<Client>>>);

impl Clients {
    pub(super) fn add(&self, client: &Arc<Client>) {
        let mut all = self.0.lock();
        all.retain(|client| client.strong_count() > 0);
        all.push(Arc::downgrade(client));
    }

    pub(super) fn all(&self) -> Vec<Arc<Client>> {
        self.0.lock().iter().filter_map(Weak::upgrade).collect()
    }
}
