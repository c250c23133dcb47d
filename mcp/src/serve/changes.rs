//! The changes of which a client is notified: of lists, and of resources that it has subscribed to.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, watch};

use super::Core;
use super::client::Client;
use super::fleet::Versions;
use super::subscriptions::{Subscribed, concerns};
use crate::component::ComponentKind;

/// A change.
#[derive(Debug)]
pub(super) enum Change {
    /// The lists of these kinds.
    Lists(Vec<ComponentKind>),
    /// The resource at an address, or a part of it.
    Resource(Arc<str>),
    /// Perhaps any resource: some changes were missed.
    Resources,
}

impl Change {
    /// Whether the resource at an address has changed, as far as is known.
    pub(super) fn is_of(&self, subscribed: &str) -> bool {
        match self {
            Self::Lists(_) => false,
            Self::Resource(updated) => concerns(updated, subscribed),
            Self::Resources => true,
        }
    }
}

/// The changes from the time on at which this is made.
#[derive(Debug)]
pub(super) struct Changes {
    versions: watch::Receiver<Versions>,
    /// The changes of lists before, and those that were taken from here.
    known: Versions,
    updates: broadcast::Receiver<Arc<str>>,
}

impl Changes {
    pub(super) fn from_now_on(core: &Core) -> Self {
        let mut versions = core.fleet.versions();
        let known = *versions.borrow_and_update();
        Self { versions, known, updates: core.updates() }
    }

    /// Waits for the next change; `None` if no change can come any more. A change of a list that `client` has got by then
    /// is left out.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(super) async fn next(&mut self, client: &Client) -> Option<Change> {
        tokio::select! {
            changed = self.versions.changed() => {
                changed.ok()?;
                let now = *self.versions.borrow_and_update();
                let known = std::mem::replace(&mut self.known, now);
                Some(Change::Lists(now.beyond(known, client.lists())))
            }
            updated = self.updates.recv() => match updated {
                Ok(updated) => Some(Change::Resource(updated)),
                Err(RecvError::Lagged(_)) => Some(Change::Resources),
                Err(RecvError::Closed) => None,
            },
        }
    }
}

/// A client of the newer era that listens, from before it is acknowledged: a change between the acknowledgement and the first
/// look at the changes would be lost otherwise.
pub(super) struct Listener {
    changes: Changes,
    subscribing: FuturesUnordered<BoxFuture<'static, Subscribed>>,
    subscribed: Vec<Subscribed>,
}

impl Listener {
    /// Begins to listen to the lists and to the resources at these addresses.
    pub(super) fn begin(core: &Arc<Core>, mut uris: Vec<String>) -> Self {
        uris.sort_unstable();
        uris.dedup();
        let changes = Changes::from_now_on(core);
        let subscribing = uris.into_iter().map(|uri| core.clone().subscribe_in_time(uri).boxed());
        Self { changes, subscribing: subscribing.collect(), subscribed: Vec::new() }
    }

    /// Waits until the servers of the resources have been subscribed to.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(super) async fn subscribed(&mut self) {
        while let Some(subscribed) = self.subscribing.next().await {
            self.subscribed.push(subscribed);
        }
    }

    /// Waits for the next change; `None` if no change can come any more.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(super) async fn next(&mut self, client: &Client) -> Option<Change> {
        tokio::select! {
            // Its changes since the acknowledgement are lost.
            Some(subscribed) = self.subscribing.next() => {
                let uri = subscribed.uri().into();
                self.subscribed.push(subscribed);
                Some(Change::Resource(uri))
            }
            change = self.changes.next(client) => change,
        }
    }
}

impl std::fmt::Debug for Listener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Listener").field("subscribed", &self.subscribed).finish_non_exhaustive()
    }
}
