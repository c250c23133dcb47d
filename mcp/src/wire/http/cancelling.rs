//! The cancellations on their way to a server of the older era.
//!
//! rmcp posts one at a time, and each takes a round trip. Calls that are given up faster than that would leave a backlog
//! without bound. So rmcp's own POST of a cancellation only puts it into a queue, from which several are posted at once.
//!
//! # Invariants
//!
//! 1. A cancellation enters the queue only if its request was posted and has no answer.
//! 2. No request is posted while [`MOST`] cancellations wait. With the first invariant, the queue is no longer than that
//!    number and the number of requests under way.
//! 3. A cancellation leaves the queue when it is posted. All of them leave it if the server has not accepted an earlier one
//!    within [`PATIENCE`], so that such a server delays calls for a bounded time.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use rmcp::model::{ClientJsonRpcMessage, RequestId};
use tokio::sync::watch;

use super::headers::Headers;
use super::{HttpSession, SessionClient};
use crate::wire::events::EVENT_LIMIT;
use crate::wire::message::Kind;

/// The number of cancellations that may wait before requests wait for them.
const MOST: usize = 256;
/// The number of cancellations that are posted at once.
const AT_ONCE: usize = 8;
/// The time in which a server has to accept a cancellation.
const PATIENCE: Duration = Duration::from_secs(5);

/// A cancellation, and the session that it belongs to.
#[derive(Debug)]
pub(super) struct Cancellation {
    pub(super) message: ClientJsonRpcMessage,
    pub(super) session_id: Option<Arc<str>>,
    pub(super) headers: Headers,
}

/// The cancellations that wait.
#[derive(Debug)]
pub(super) struct Cancellations(watch::Sender<VecDeque<Cancellation>>);

impl Default for Cancellations {
    fn default() -> Self {
        Self(watch::channel(VecDeque::new()).0)
    }
}

impl Cancellations {
    /// Puts a cancellation into the queue.
    fn add(&self, cancellation: Cancellation) {
        self.0.send_modify(|waiting| waiting.push_back(cancellation));
    }

    /// Ready when fewer than [`MOST`] wait.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(super) async fn room(&self) {
        if self.0.borrow().len() >= MOST {
            // An error is impossible, because `self` is the sender.
            let _ = self.0.subscribe().wait_for(|waiting| waiting.len() < MOST).await;
        }
    }

    /// Takes the oldest cancellation, once there is one.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    async fn next(&self) -> Cancellation {
        loop {
            let mut oldest = None;
            self.0.send_if_modified(|waiting| {
                oldest = waiting.pop_front();
                oldest.is_some()
            });
            if let Some(oldest) = oldest {
                return oldest;
            }
            let _ = self.0.subscribe().wait_for(|waiting| !waiting.is_empty()).await;
        }
    }

    /// Empties the queue.
    fn clear(&self) {
        self.0.send_modify(VecDeque::clear);
    }
}

impl HttpSession {
    /// Takes over a cancellation of the request `id`, if the server may still work on it.
    pub(super) fn cancel(&self, id: &RequestId, cancellation: Cancellation) {
        if self.pending.withdraw(id) {
            self.cancellations.add(cancellation);
        }
    }

    /// Posts the cancellations, until it is dropped.
    pub(crate) async fn post_cancellations(self: &Arc<Self>) -> Infallible {
        let client = SessionClient(self.clone());
        // Most sessions have none, and so no set either.
        let first = self.cancellations.next().await;
        let mut posts = FuturesUnordered::from_iter([client.post_cancellation(first)]);
        loop {
            tokio::select! {
                Some(()) = posts.next(), if !posts.is_empty() => {}
                next = self.cancellations.next(), if posts.len() < AT_ONCE => {
                    posts.push(client.post_cancellation(next));
                }
            }
        }
    }
}

impl SessionClient {
    async fn post_cancellation(&self, cancellation: Cancellation) {
        let session = &*self.0;
        let Some(_under_way) = session.stop.exchange() else { return };
        let Cancellation { message, session_id, headers } = cancellation;
        // A session that was begun anew knows nothing of the requests of the one before.
        if session.open.lock().session_id.as_deref() != session_id.as_deref() {
            return;
        }
        let posted = self.exchange(&message, &Kind::OneWay, session_id, headers, EVENT_LIMIT);
        match tokio::time::timeout(PATIENCE, posted).await {
            Ok(Ok(_)) => {}
            // A refusal is no reason to keep the others back: it is the answer for this request only.
            Ok(Err(failure)) => session.recorder.fault(failure.fault(session, &Kind::OneWay)),
            Err(_) => {
                session.cancellations.clear();
                session.recorder.warn(format!(
                    "it has not accepted notifications/cancelled within {PATIENCE:?}, so it may go on with calls that were given up"
                ));
            }
        }
    }
}
