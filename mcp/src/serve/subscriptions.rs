//! The subscriptions of clients to resources. The gateway subscribes to a resource once, however many clients do.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use parking_lot::Mutex;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Mutex as Turn, broadcast};

use super::Core;
use crate::error::CallError;
use crate::event::EventKind;

/// The number of updates that a client may fall behind. A client that is further behind is told that each of its resources may
/// have changed.
const UPDATES: usize = 256;

/// The subscriptions to each resource.
#[derive(Debug)]
pub(super) struct Subscriptions {
    resources: Mutex<HashMap<String, Resource>>,
    updates: broadcast::Sender<Arc<str>>,
}

/// The subscriptions to one resource. It stays in the table while a task has or awaits its turn, because a second turn for the
/// same resource would let a subscription begin while the last one ends.
#[derive(Debug, Default)]
struct Resource {
    /// Including each that has ended and of which the end was not acted on.
    subscriptions: usize,
    /// Held while the server is asked, so that its state follows the count. A turn for each resource, because a server that is
    /// slow to answer must not delay another one.
    turn: Arc<Turn<()>>,
}

impl Default for Subscriptions {
    fn default() -> Self {
        Self { resources: Mutex::default(), updates: broadcast::channel(UPDATES).0 }
    }
}

impl Subscriptions {
    /// The addresses of the resources.
    fn all(&self) -> Vec<String> {
        self.resources.lock().keys().cloned().collect()
    }

    /// Counts a subscription in, and returns the turn for the server of the resource.
    fn count_in(&self, uri: &str) -> Arc<Turn<()>> {
        let mut resources = self.resources.lock();
        let resource = resources.entry(uri.to_owned()).or_default();
        resource.subscriptions += 1;
        resource.turn.clone()
    }

    /// Counts a subscription out, in its turn. Returns whether it was the last one.
    fn count_out(&self, uri: &str) -> bool {
        let mut resources = self.resources.lock();
        let Some(resource) = resources.get_mut(uri) else { return false };
        resource.subscriptions -= 1;
        resource.subscriptions == 0
    }

    /// The turn for the server of a resource, if there is a subscription to the resource.
    fn turn(&self, uri: &str) -> Option<Arc<Turn<()>>> {
        self.resources.lock().get(uri).map(|resource| resource.turn.clone())
    }

    /// Whether a resource has subscriptions. Asked in its turn, which may have been awaited for long.
    fn is_wanted(&self, uri: &str) -> bool {
        self.resources.lock().get(uri).is_some_and(|it| it.subscriptions > 0)
    }

    /// The server of a resource without subscriptions was asked to end its own.
    fn forget(&self, uri: &str) {
        let mut resources = self.resources.lock();
        if resources.get(uri).is_some_and(|it| it.subscriptions == 0) {
            resources.remove(uri);
        }
    }

    /// A resource has changed, or may have.
    fn updated(&self, uri: impl Into<Arc<str>>) {
        let _nobody_listens = self.updates.send(uri.into());
    }
}

/// A subscription, until it is dropped.
#[derive(Debug)]
pub(super) struct Subscribed {
    core: Weak<Core>,
    uri: String,
}

impl Subscribed {
    /// The address of the resource.
    pub(super) fn uri(&self) -> &str {
        &self.uri
    }
}

impl Drop for Subscribed {
    fn drop(&mut self) {
        let Some(core) = self.core.upgrade() else { return };
        let uri = std::mem::take(&mut self.uri);
        let at_work = core.clone();
        core.rest(async move { at_work.unsubscribe(&uri).await });
    }
}

impl Core {
    /// Subscribes a client to a resource. If no server has it, waits for servers whose first attempt is under way.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the client is not subscribed.
    pub(super) async fn subscribe(self: &Arc<Self>, uri: &str) -> Result<Subscribed, CallError> {
        let (subscribed, turn) = self.count(uri);
        let _turn = turn.lock().await;
        let mut asked = self.fleet.group.subscribe(uri).await;
        if matches!(asked, Err(CallError::Unknown { .. })) && self.fleet.is_starting(None) {
            self.fleet.settled(None).await;
            asked = self.fleet.group.subscribe(uri).await;
        }
        asked.map(|()| subscribed)
    }

    /// Subscribes a client to a resource, now or when a server that has it is up.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the client is not subscribed.
    pub(super) async fn subscribe_in_time(self: Arc<Self>, uri: String) -> Subscribed {
        let (subscribed, turn) = self.count(&uri);
        let _turn = turn.lock().await;
        let _away = self.fleet.group.subscribe(&uri).await;
        subscribed
    }

    /// Counts a subscription in until the first of the returned values is dropped.
    fn count(self: &Arc<Self>, uri: &str) -> (Subscribed, Arc<Turn<()>>) {
        let turn = self.subscriptions.count_in(uri);
        (Subscribed { core: Arc::downgrade(self), uri: uri.to_owned() }, turn)
    }

    async fn unsubscribe(&self, uri: &str) {
        let Some(turn) = self.subscriptions.turn(uri) else { return };
        let _turn = turn.lock().await;
        if self.subscriptions.count_out(uri) {
            // A failure is ignored, because a server that has gone has no subscriptions.
            let _gone = self.fleet.group.unsubscribe(uri).await;
            self.subscriptions.forget(uri);
        }
    }

    /// A receiver of the addresses of changed resources.
    pub(super) fn updates(&self) -> broadcast::Receiver<Arc<str>> {
        self.subscriptions.updates.subscribe()
    }

    /// Follows the sessions and passes on the addresses of changed resources.
    pub(super) async fn follow_updates(self: Arc<Self>) {
        let mut events = self.fleet.group.events();
        loop {
            match events.recv().await {
                Ok(event) => match event.kind {
                    EventKind::ResourceUpdated { uri, .. } => self.subscriptions.updated(uri),
                    EventKind::Up(_) => self.rest(self.clone().renew()),
                    EventKind::SubscriptionEnded { .. } => {
                        let core = self.clone();
                        // A server that ends each of them is not asked without a pause.
                        self.rest(async move {
                            tokio::time::sleep(core.options.retry_most).await;
                            core.renew().await;
                        });
                    }
                    _ => {}
                },
                // The missed events may have been updates, and may have been that a server is up.
                Err(RecvError::Lagged(_)) => {
                    for uri in self.subscriptions.all() {
                        self.subscriptions.updated(uri);
                    }
                    self.rest(self.clone().renew());
                }
                Err(RecvError::Closed) => return,
            }
        }
    }

    /// Subscribes again to all resources, because a server that was lost and connected again knows of no subscription, and
    /// another one may have ended a subscription.
    /// Nothing happens where the subscription still stands.
    async fn renew(self: Arc<Self>) {
        let all = self.subscriptions.all();
        let each = all.iter().map(|uri| self.renew_one(uri));
        each.collect::<FuturesUnordered<_>>().collect::<()>().await;
    }

    async fn renew_one(&self, uri: &str) {
        let Some(turn) = self.subscriptions.turn(uri) else { return };
        let _turn = turn.lock().await;
        if self.subscriptions.is_wanted(uri)
            // A server that is away is subscribed to when it is up again.
            && let Ok(true) = self.fleet.group.subscribe_anew(uri).await
        {
            // Notices of the time without a subscription are lost.
            self.subscriptions.updated(uri);
        }
    }
}

/// Whether an update concerns a subscription, because a server may report a part of the resource.
pub(super) fn concerns(updated: &str, subscribed: &str) -> bool {
    let rest = updated.strip_prefix(subscribed);
    rest.is_some_and(|rest| {
        rest.is_empty() || subscribed.ends_with('/') || rest.starts_with(['/', '?', '#'])
    })
}
