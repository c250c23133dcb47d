//! Notices of change: our transports hear them, and the owner of the session acts on them.
//!
//! A notice says that something can be read again, so equal notices are merged: a list that has changed twice is read
//! once. The memory is therefore bounded, even if the server sends many notices or the owner is slow.

use std::collections::{BTreeSet, HashSet};

use parking_lot::Mutex;
use rmcp::model::ServerNotification;
use tokio::sync::Notify;

use crate::component::ComponentKind;

/// The number of changed resources that wait for the owner. More are dropped; the owner takes them as soon as it runs.
const UPDATED: usize = 1_024;

/// The notices that the owner has not taken yet.
#[derive(Debug, Default)]
pub(crate) struct Notices {
    heard: Mutex<Heard>,
    // They wake the one reader of what was heard: no work begins or ends with them.
    lists: Notify,
    updates: Notify,
    renewals: Notify,
    expiries: Notify,
}

#[derive(Debug, Default)]
struct Heard {
    lists: BTreeSet<ComponentKind>,
    /// In the order of their first notices.
    updated: Vec<String>,
    known: HashSet<String>,
    renewed: bool,
    expired: bool,
}

impl Notices {
    /// Keeps a notification, if it is a notice of change.
    pub(crate) fn hear(&self, notification: &ServerNotification) {
        match notification {
            ServerNotification::ToolListChangedNotification(_) => {
                self.changed([ComponentKind::Tool]);
            }
            ServerNotification::PromptListChangedNotification(_) => {
                self.changed([ComponentKind::Prompt]);
            }
            // The protocol has one notification for both lists.
            ServerNotification::ResourceListChangedNotification(_) => {
                self.changed([ComponentKind::Resource, ComponentKind::ResourceTemplate]);
            }
            ServerNotification::ResourceUpdatedNotification(updated) => {
                self.updated(&updated.params.uri);
            }
            _ => {}
        }
    }

    /// Lists have changed, or may have.
    pub(crate) fn changed(&self, lists: impl IntoIterator<Item = ComponentKind>) {
        self.heard.lock().lists.extend(lists);
        self.lists.notify_one();
    }

    /// A resource has changed, or may have.
    pub(crate) fn updated(&self, uri: &str) {
        {
            let mut heard = self.heard.lock();
            if heard.known.contains(uri) || heard.updated.len() == UPDATED {
                return;
            }
            heard.known.insert(uri.to_owned());
            heard.updated.push(uri.to_owned());
        }
        self.updates.notify_one();
    }

    /// The server has forgotten our session, and another one was begun: its subscriptions are lost, and so are the
    /// notices of the time between.
    pub(crate) fn renewed(&self) {
        self.heard.lock().renewed = true;
        self.renewals.notify_one();
        self.changed(ComponentKind::ALL);
    }

    /// The server seems to have forgotten our session, and no request is under way that would begin another one.
    pub(crate) fn expired(&self) {
        self.heard.lock().expired = true;
        self.expiries.notify_one();
    }

    /// Takes the lists that have changed since the last call.
    pub(crate) fn changed_lists(&self) -> BTreeSet<ComponentKind> {
        std::mem::take(&mut self.heard.lock().lists)
    }

    /// Ready when a list has changed. It does not take the list.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe, for one waiter.
    pub(crate) async fn a_list_changed(&self) {
        while self.heard.lock().lists.is_empty() {
            self.lists.notified().await;
        }
    }

    /// Takes the addresses of changed resources, once there are some.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe, for one waiter.
    pub(crate) async fn updates(&self) -> Vec<String> {
        loop {
            {
                let mut heard = self.heard.lock();
                if !heard.updated.is_empty() {
                    heard.known.clear();
                    return std::mem::take(&mut heard.updated);
                }
            }
            self.updates.notified().await;
        }
    }

    /// Ready when the server seems to have forgotten our session.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe, for one waiter.
    pub(crate) async fn an_expiry(&self) {
        while !std::mem::take(&mut self.heard.lock().expired) {
            self.expiries.notified().await;
        }
    }

    /// Ready when another session was begun.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe, for one waiter.
    pub(crate) async fn a_renewal(&self) {
        while !std::mem::take(&mut self.heard.lock().renewed) {
            self.renewals.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn equal_notices_are_merged_until_they_are_taken() {
        let notices = Notices::default();
        assert!(notices.a_list_changed().now_or_never().is_none());
        for _ in 0..3 {
            notices.changed([ComponentKind::Tool]);
            notices.updated("file:///a");
        }
        assert!(notices.a_list_changed().now_or_never().is_some());
        assert_eq!(notices.changed_lists(), BTreeSet::from([ComponentKind::Tool]));
        assert!(notices.a_list_changed().now_or_never().is_none());
        assert_eq!(notices.updates().now_or_never(), Some(vec!["file:///a".to_owned()]));
        assert_eq!(notices.updates().now_or_never(), None);
    }

    #[test]
    fn the_number_of_notices_is_bounded() {
        let notices = Notices::default();
        for n in 0..2 * UPDATED {
            notices.updated(&format!("file:///{n}"));
        }
        assert_eq!(notices.updates().now_or_never().map(|all| all.len()), Some(UPDATED));
    }
}
