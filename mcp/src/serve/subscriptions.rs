//! The subscriptions of clients to resources. The gateway subscribes to a resource once, however many clients do.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Mutex as Turn, broadcast};

use super::Core;
use crate::error::CallError;
use crate::event::EventKind;

/// The number of updates that a client may fall behind. A client that is further behind misses some.
const UPDATES: usize = 256;

/// The number of subscriptions to each resource.
#[derive(Debug)]
pub(super) struct Subscriptions {
    counts: Mutex<HashMap<String, usize>>,
    /// Held while a subscription is begun or ended, so that the servers' state follows the counts.
    turn: Turn<()>,
    updates: broadcast::Sender<Arc<str>>,
}

impl Default for Subscriptions {
    fn default() -> Self {
        let updates = broadcast::channel(UPDATES).0;
        Self { counts: Mutex::default(), turn: Turn::default(), updates }
    }
}

/// A subscription, until it is dropped.
#[derive(Debug)]
pub(super) struct Subscribed {
    core: Weak<Core>,
    uri: String,
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
        let subscribed = self.subscribe_now(uri).await;
        if matches!(subscribed, Err(CallError::Unknown { .. })) && self.fleet.is_starting(None) {
            self.fleet.settled(None).await;
            return self.subscribe_now(uri).await;
        }
        subscribed
    }

    async fn subscribe_now(self: &Arc<Self>, uri: &str) -> Result<Subscribed, CallError> {
        let _turn = self.subscriptions.turn.lock().await;
        // Nothing happens if the session is subscribed to it already.
        self.fleet.group.subscribe(uri).await?;
        Ok(self.count(uri))
    }

    /// Subscribes a client to a resource, now or when a server that has it is up.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the client is not subscribed.
    pub(super) async fn subscribe_in_time(self: &Arc<Self>, uri: &str) -> Subscribed {
        let subscribed = self.count(uri);
        let _turn = self.subscriptions.turn.lock().await;
        let _away = self.fleet.group.subscribe(uri).await;
        subscribed
    }

    /// Counts a subscription in until the returned value is dropped.
    fn count(self: &Arc<Self>, uri: &str) -> Subscribed {
        *self.subscriptions.counts.lock().entry(uri.to_owned()).or_default() += 1;
        Subscribed { core: Arc::downgrade(self), uri: uri.to_owned() }
    }

    async fn unsubscribe(&self, uri: &str) {
        let _turn = self.subscriptions.turn.lock().await;
        let is_last = {
            let mut counts = self.subscriptions.counts.lock();
            let count = counts.get_mut(uri).map(|count| {
                *count -= 1;
                *count
            });
            count == Some(0) && counts.remove(uri).is_some()
        };
        if is_last {
            // A failure is ignored, because a server that has gone has no subscriptions.
            let _gone = self.fleet.group.unsubscribe(uri).await;
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
                    EventKind::ResourceUpdated { uri, .. } => {
                        let _nobody_listens = self.subscriptions.updates.send(uri.into());
                    }
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
                // One of the missed events may have been that a server is up.
                Err(RecvError::Lagged(_)) => self.rest(self.clone().renew()),
                Err(RecvError::Closed) => return,
            }
        }
    }

    /// Subscribes again to all resources, because a server that was lost and connected again knows of no subscription, and
    /// another one may have ended a subscription.
    /// Nothing happens where the subscription still stands.
    async fn renew(self: Arc<Self>) {
        let _turn = self.subscriptions.turn.lock().await;
        let all: Vec<String> = self.subscriptions.counts.lock().keys().cloned().collect();
        for uri in all {
            // A server that is away is subscribed to when it is up again.
            let _away = self.fleet.group.subscribe(&uri).await;
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
