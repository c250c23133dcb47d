//! Subscriptions to resources, on behalf of a user.

use std::time::Duration;

use super::{Live, Session};
use crate::error::CallError;
use crate::params::CallOptions;
use crate::wire::Question;

impl Session {
    /// Subscribes to the resource at `uri`.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before the server has agreed, there is no subscription.
    pub(crate) async fn subscribe(
        &self,
        live: &Live,
        name: &str,
        uri: String,
        usual: Option<Duration>,
    ) -> Result<(), CallError> {
        let _alone = self.subscribing.lock().await;
        if !self.subscribed.send_if_modified(|subscribed| subscribed.insert(uri.clone())) {
            return Ok(());
        }
        // Inserted before the request, because the owner drops the stream of a resource that is not in the set.
        let mut undo = Undo { session: self, uri: Some(&uri) };
        let question = Question::Subscribe { uri: uri.clone() };
        self.ask(live, name, question, CallOptions::default(), usual).await?;
        undo.uri = None;
        Ok(())
    }

    /// Ends a subscription. There is none afterwards, even if the server answers with an error.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the subscription may or may not have ended.
    pub(crate) async fn unsubscribe(
        &self,
        live: &Live,
        name: &str,
        uri: String,
        usual: Option<Duration>,
    ) -> Result<(), CallError> {
        let _alone = self.subscribing.lock().await;
        if !self.subscribed.send_if_modified(|subscribed| subscribed.remove(&uri)) {
            return Ok(());
        }
        let question = Question::Unsubscribe { uri };
        self.ask(live, name, question, CallOptions::default(), usual).await.map(drop)
    }
}

/// Removes a subscription that the server has not agreed to.
struct Undo<'a> {
    session: &'a Session,
    uri: Option<&'a str>,
}

impl Drop for Undo<'_> {
    fn drop(&mut self) {
        if let Some(uri) = self.uri {
            self.session.subscribed.send_if_modified(|subscribed| subscribed.remove(uri));
        }
    }
}
