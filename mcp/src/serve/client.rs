//! The clients of a gateway.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock, Weak};

use futures_util::future::BoxFuture;
use moored::{CancelHandle, CancelScope};
use parking_lot::Mutex;
use rmcp::service::{Peer, RoleServer};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::changes::Changes;
use super::errand;
use super::fleet::Versions;
use super::reasons::Reasons;
use super::subscriptions::Subscribed;
use crate::callbacks::LogLevel;
use crate::component::ComponentKind;

/// One client: a session of the older era, the other end of a pipe, or the sender of one request of the newer era.
#[derive(Debug)]
pub(super) struct Client {
    /// Cancelled when the client has gone, or to end it.
    pub(super) end: CancelHandle,
    /// The identity of the client, as far as it is known. A request that waits for input can be resumed only by the
    /// same client.
    pub(super) owner: Arc<str>,
    /// The resources to which it has subscribed, by their addresses.
    pub(super) subscribed: Mutex<HashMap<String, Subscribed>>,
    /// Set by `initialize`, in the older era.
    peer: OnceLock<Peer<RoleServer>>,
    /// The changes since then, until the client is ready for them.
    changes: Mutex<Option<Changes>>,
    log_level: Mutex<Option<LogLevel>>,
    /// The reasons for which it takes requests back.
    pub(super) reasons: Reasons,
    /// The changes that are in the lists that it has got.
    lists: Mutex<Versions>,
}

impl Client {
    pub(super) fn new(end: CancelHandle, owner: impl Into<Arc<str>>) -> Self {
        Self {
            end,
            owner: owner.into(),
            subscribed: Mutex::default(),
            peer: OnceLock::new(),
            changes: Mutex::default(),
            // The default level, as in usual logs.
            log_level: Mutex::new(Some(LogLevel::Info)),
            reasons: Reasons::default(),
            lists: Mutex::default(),
        }
    }

    /// The client gets a list with the changes up to `now`.
    pub(super) fn gets(&self, kind: ComponentKind, mut now: Versions) {
        let mut lists = self.lists.lock();
        let known = lists.of(kind);
        *known = (*known).max(*now.of(kind));
    }

    /// The changes that are in the lists that it has got.
    pub(super) fn lists(&self) -> Versions {
        *self.lists.lock()
    }

    /// The client has sent `initialize`. `false` if it has done so before.
    pub(super) fn met(&self, peer: Peer<RoleServer>, changes: Changes) -> bool {
        let is_new = self.peer.set(peer).is_ok();
        if is_new {
            *self.changes.lock() = Some(changes);
        }
        is_new
    }

    /// Takes the changes since `initialize`.
    pub(super) fn changes(&self) -> Option<Changes> {
        self.changes.lock().take()
    }

    /// The peer for requests and notifications to the client; `None` before `initialize`, and once the client has gone.
    pub(super) fn peer(&self) -> Option<&Peer<RoleServer>> {
        self.peer.get().filter(|_| !self.end.is_cancelled())
    }

    /// Whether the client answers such a request.
    pub(super) fn answers(&self, method: &str, params: &Value) -> bool {
        let info = self.peer().and_then(|peer| peer.peer_info());
        info.is_some_and(|info| errand::answers(&info.capabilities, method, params))
    }

    /// The lowest level of the log messages that it gets.
    pub(super) fn log_level(&self) -> Option<LogLevel> {
        *self.log_level.lock()
    }

    pub(super) fn set_log_level(&self, level: LogLevel) {
        *self.log_level.lock() = Some(level);
    }
}

/// Waits for the end of rmcp's service of a client, whose interface takes a token instead of a region. The service is
/// told to end when `end` is cancelled, and `end` is cancelled when the service has ended. Boxed, because it is large, and
/// each future around it would move it.
pub(super) async fn served(
    end: CancelScope,
    token: CancellationToken,
    mut service: BoxFuture<'_, ()>,
) {
    let handle = end.handle();
    // No future runs in it: rmcp's service has a task of its own, which has to be told.
    let _entered = end.enter();
    tokio::select! {
        biased;
        () = &mut service => {}
        () = handle.cancelled() => {
            token.cancel();
            service.await;
        }
    }
    handle.cancel_because("the client has gone");
}

/// The clients that have sent `initialize`.
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
