//! Subscriptions to resources, on behalf of a user.

use std::time::Duration;

use tokio::sync::OwnedMutexGuard;

use super::{Live, Session};
use crate::error::CallError;
use crate::params::CallOptions;
use crate::wire::Question;

impl Session {
    /// Subscribes to the resource at `uri`. `false` if there is a subscription already.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before the server has agreed, there is no subscription: the owner ends one that the server
    /// may have by then.
    pub(crate) async fn subscribe(
        &self,
        live: &Live,
        name: &str,
        uri: String,
        usual: Option<Duration>,
    ) -> Result<bool, CallError> {
        let alone = self.subscribing.clone().lock_owned().await;
        if !self.subscribed.send_if_modified(|subscribed| subscribed.insert(uri.clone())) {
            return Ok(false);
        }
        // Inserted before the request, because the owner drops the stream of a resource that is not in the set.
        let change = Change { session: self, live, uri: uri.clone(), alone: Some(alone) };
        let question = Question::Subscribe { uri };
        let asked = self.ask(live, name, question, CallOptions::default(), usual).await;
        match asked {
            Ok(_) => change.agreed(),
            Err(CallError::Rejected { .. }) => {
                self.forget(&change.uri);
                change.agreed();
            }
            Err(_) => drop(change),
        }
        asked.map(|_| true)
    }

    /// Ends a subscription. There is none afterwards, even if the server answers with an error.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the owner ends the subscription; nothing happens if it still waits for another change.
    pub(crate) async fn unsubscribe(
        &self,
        live: &Live,
        name: &str,
        uri: String,
        usual: Option<Duration>,
    ) -> Result<(), CallError> {
        let alone = self.subscribing.clone().lock_owned().await;
        if !self.forget(&uri) {
            return Ok(());
        }
        let change = Change { session: self, live, uri: uri.clone(), alone: Some(alone) };
        let question = Question::Unsubscribe { uri };
        let asked = self.ask(live, name, question, CallOptions::default(), usual).await;
        if matches!(asked, Ok(_) | Err(CallError::Rejected { .. })) {
            change.agreed();
        }
        asked.map(drop)
    }

    /// From now on the resource has no subscription here. Returns whether it had one.
    fn forget(&self, uri: &str) -> bool {
        self.subscribed.send_if_modified(|subscribed| subscribed.remove(uri))
    }
}

/// A change of which the server's opinion is not known. When this is dropped, there is no subscription here, and the owner ends
/// the one that the server may have.
struct Change<'a> {
    session: &'a Session,
    live: &'a Live,
    uri: String,
    alone: Option<OwnedMutexGuard<()>>,
}

impl Change<'_> {
    /// The server has answered.
    fn agreed(mut self) {
        self.alone = None;
    }
}

impl Drop for Change<'_> {
    fn drop(&mut self) {
        if let Some(alone) = self.alone.take() {
            self.session.forget(&self.uri);
            self.live.connection.caller.take_back(std::mem::take(&mut self.uri), alone);
        }
    }
}
