//! The requests that wait for an answer.
//!
//! An answer that rmcp could not read would never reach its request. Therefore the reader checks here whether a
//! broken message carries the id of a waiting request.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use rmcp::model::{
    ClientJsonRpcMessage, ClientNotification, ClientRequest, GetExtensions, GetMeta,
    ProgressNotificationParam, ProgressToken, RequestId, ServerJsonRpcMessage,
};

use super::ask::ProgressSink;
use super::lists::Sieve;
use super::message::Kind;
use super::notices::Notices;
use crate::answer::Progress;

/// A request that waits.
#[derive(Debug)]
struct Waiting {
    kind: Kind,
    /// Its place in the order of sending.
    place: u64,
    /// The receiver of its progress, and the token by which that is known.
    progress: Option<(ProgressToken, ProgressSink)>,
}

impl Waiting {
    fn of(request: &ClientRequest, kind: Kind, place: u64) -> Self {
        let sink = request.extensions().get::<ProgressSink>().cloned();
        let token = request.get_meta().get_progress_token();
        Self { kind, place, progress: token.zip(sink) }
    }
}

/// The requests of one connection that wait, and the notices of its server.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    waiting: Mutex<Table>,
    sieve: Sieve,
    pub(crate) notices: Notices,
}

#[derive(Debug, Default)]
struct Table {
    requests: HashMap<RequestId, Waiting>,
    /// The number of requests sent so far.
    sent: u64,
}

impl Pending {
    /// Records an outgoing message: a request waits from now on, a cancelled one no longer does.
    pub(crate) fn sent(&self, message: &ClientJsonRpcMessage) {
        match message {
            ClientJsonRpcMessage::Request(request) => {
                self.sieve.watch(message);
                let mut table = self.waiting.lock();
                table.sent += 1;
                let waiting = Waiting::of(&request.request, Kind::of(message), table.sent);
                table.requests.insert(request.id.clone(), waiting);
            }
            ClientJsonRpcMessage::Notification(notification) => {
                if let ClientNotification::CancelledNotification(cancelled) =
                    &notification.notification
                    && let Some(id) = &cancelled.params.request_id
                {
                    self.answered(id);
                }
            }
            _ => {}
        }
    }

    /// The same for as long as the returned value lives.
    pub(crate) fn waits(self: &Arc<Self>, message: &ClientJsonRpcMessage) -> Waits {
        self.sent(message);
        let id = super::message::request_id(message).cloned();
        Waits { pending: self.clone(), id }
    }

    /// The request for which an answer with this id is. `"7"` is taken for `7`, as rmcp does.
    pub(crate) fn named(&self, id: &RequestId) -> Option<(RequestId, Kind)> {
        let table = self.waiting.lock();
        let found = |id: &RequestId| Some((id.clone(), table.requests.get(id)?.kind.clone()));
        found(id).or_else(|| match id {
            RequestId::String(text) => found(&RequestId::Number(text.parse().ok()?)),
            RequestId::Number(_) => None,
        })
    }

    /// The waiting request, if it is the only one. A stream of notifications does not count.
    pub(crate) fn only(&self) -> Option<RequestId> {
        let table = self.waiting.lock();
        let mut waiting = table.requests.iter().filter(|(_, waiting)| !waiting.kind.listens());
        let (id, _) = waiting.next()?;
        waiting.next().is_none().then(|| id.clone())
    }

    /// The request that has waited longest.
    pub(crate) fn oldest(&self) -> Option<Kind> {
        let table = self.waiting.lock();
        let waiting = table.requests.values().filter(|waiting| !waiting.kind.listens());
        let oldest = waiting.min_by_key(|waiting| waiting.place);
        oldest.map(|waiting| waiting.kind.clone())
    }

    /// A request has its answer.
    pub(crate) fn answered(&self, id: &RequestId) {
        self.waiting.lock().requests.remove(id);
        self.sieve.forget(id);
    }

    /// The server has reported progress of a request.
    pub(crate) fn progressed(&self, told: &ProgressNotificationParam) {
        let table = self.waiting.lock();
        let mut sinks = table.requests.values().filter_map(|waiting| waiting.progress.as_ref());
        if let Some((_, sink)) = sinks.find(|(token, _)| *token == told.progress_token) {
            sink.send(Progress::new(told.progress, told.total, told.message.clone()));
        }
    }

    /// Reads a message. The items of a list that cannot be read are removed from it.
    pub(crate) fn read(&self, text: &[u8]) -> serde_json::Result<ServerJsonRpcMessage> {
        self.sieve.read(text)
    }
}

/// A request that waits until this is dropped.
#[derive(Debug)]
pub(crate) struct Waits {
    pending: Arc<Pending>,
    id: Option<RequestId>,
}

impl Waits {
    /// The request; `None` for a message that expects no answer.
    pub(crate) fn id(&self) -> Option<&RequestId> {
        self.id.as_ref()
    }

    /// Whether a message is the awaited answer. A message that was read names the request by the id that it was sent
    /// with.
    pub(crate) fn is_answered_by(&self, message: &ServerJsonRpcMessage) -> bool {
        self.id.is_some() && super::message::answered_id(message) == self.id.as_ref()
    }

    /// Whether the answer has not come yet, on any stream.
    pub(crate) fn still(&self) -> bool {
        self.id.as_ref().is_some_and(|id| self.pending.waiting.lock().requests.contains_key(id))
    }
}

impl Drop for Waits {
    fn drop(&mut self) {
        if let Some(id) = &self.id {
            self.pending.answered(id);
        }
    }
}
