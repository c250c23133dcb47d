//! The requests that wait for an answer.
//!
//! An answer that rmcp could not read would never reach its request. Therefore the reader checks here whether a
//! broken message carries the id of a waiting request.

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::sync::Arc;

use parking_lot::Mutex;
use rmcp::model::{
    ClientJsonRpcMessage, ClientRequest, GetExtensions, GetMeta, JsonRpcRequest,
    ProgressNotificationParam, ProgressToken, RequestId, ServerJsonRpcMessage, ServerNotification,
    ServerRequest,
};
use serde_json::{Map, Value};
use tokio::sync::oneshot;

use super::ask::{ProgressSink, Tagged};
use super::desk::Desk;
use super::handshake::FIRST_ID;
use super::lists::Sieve;
use super::message::{Kind, answered_id};
use super::notices::Notices;
use super::raw;
use super::withdrawn::Withdrawn;
use crate::answer::Progress;
use crate::callbacks::Tag;

mod pages;

pub(super) use self::pages::Paged;

/// A request that waits.
#[derive(Debug)]
struct Waiting {
    kind: Kind,
    /// Its place in the order of sending.
    place: u64,
    /// The token of its progress.
    token: Option<ProgressToken>,
    /// The receiver of its progress.
    progress: Option<ProgressSink>,
    /// The tag that the caller has given.
    tag: Option<Tag>,
    /// Whether it waits for room in a queue, so that the server cannot have seen it.
    is_queued: bool,
    /// Dropped with this, which ends the wait for room.
    withdrawn: Option<oneshot::Sender<Infallible>>,
}

impl Waiting {
    fn of(request: &ClientRequest, kind: Kind, place: u64) -> Self {
        let progress = request.extensions().get::<ProgressSink>().cloned();
        let tag = request.extensions().get::<Tagged>().map(|Tagged(tag)| tag.clone());
        let token = request.get_meta().get_progress_token();
        Self { token, progress, tag, ..Self::for_nobody(kind, place) }
    }

    /// A request without progress and without a caller.
    fn for_nobody(kind: Kind, place: u64) -> Self {
        let (token, progress, tag) = (None, None, None);
        Self { kind, place, token, progress, tag, is_queued: false, withdrawn: None }
    }
}

/// The requests of one connection that wait, and the notices of its server.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    waiting: Mutex<Table>,
    pub(super) sieve: Sieve,
    pub(crate) notices: Notices,
    /// The requests of the server that it has taken back.
    withdrawn: Withdrawn,
    /// The last answers to `server/discover` and to `initialize`, as they came.
    introductions: Mutex<[Value; 2]>,
    /// The desk for the server's notifications, which gets them in the order in which they come.
    desk: Option<Arc<Desk>>,
}

#[derive(Debug, Default)]
struct Table {
    requests: HashMap<RequestId, Waiting>,
    /// The requests that rmcp has dropped before their answers. Their cancellations follow.
    dropped: HashSet<RequestId>,
    /// The receivers of the answers that rmcp does not get.
    direct: HashMap<i64, oneshot::Sender<Paged>>,
    /// Whether no more answers come.
    is_over: bool,
    /// The number of requests sent so far.
    sent: u64,
    /// That number when the last notification was sent, until a later request is answered: the server has taken the
    /// notification then.
    told: Option<u64>,
    /// The highest ids sent so far: that of rmcp, and that of the handshake.
    highest: [Option<i64>; 2],
}

impl Pending {
    /// The requests of a connection; `desk` gets the notifications.
    pub(crate) fn with(desk: Option<Arc<Desk>>) -> Self {
        Self { desk: desk.filter(|desk| desk.hears()), ..Self::default() }
    }

    /// The server has described itself, in answer to a request of this kind.
    pub(crate) fn introduced(&self, kind: &Kind, answer: Value) {
        self.introductions.lock()[usize::from(kind.is_initialize())] = answer;
    }

    /// Takes the server's description of itself, as it came: its answer to `initialize` if it is of the older era, or else
    /// to `server/discover`.
    pub(crate) fn take_introduction(&self, is_legacy: bool) -> Option<Map<String, Value>> {
        match std::mem::take(&mut *self.introductions.lock())[usize::from(is_legacy)].take() {
            Value::Object(answer) => Some(answer),
            _ => None,
        }
    }

    /// Records an outgoing request: it waits from now on.
    pub(crate) fn sent(&self, message: &ClientJsonRpcMessage) {
        self.record(message, false);
    }

    /// Records a request that has to wait for room in a queue. It is withdrawn by its cancellation, or
    /// [`written`](Self::written).
    pub(crate) fn queued(&self, message: &ClientJsonRpcMessage) {
        self.record(message, true);
    }

    fn record(&self, message: &ClientJsonRpcMessage, is_queued: bool) {
        let request = match message {
            ClientJsonRpcMessage::Request(request) => request,
            ClientJsonRpcMessage::Notification(_) => {
                let mut table = self.waiting.lock();
                table.told = Some(table.sent);
                return;
            }
            _ => return,
        };
        self.sieve.watch(message);
        let mut table = self.waiting.lock();
        table.sent += 1;
        if let RequestId::Number(id) = request.id {
            let highest = &mut table.highest[usize::from(id >= FIRST_ID)];
            *highest = (*highest).max(Some(id));
        }
        let mut waiting = Waiting::of(&request.request, Kind::of(message), table.sent);
        waiting.is_queued = is_queued;
        table.requests.insert(request.id.clone(), waiting);
    }

    /// Ready when a queued request is withdrawn; `None` if it was before.
    pub(crate) fn withdrawn(&self, id: &RequestId) -> Option<oneshot::Receiver<Infallible>> {
        let mut table = self.waiting.lock();
        let waiting = table.requests.get_mut(id)?;
        let (withdrawn, ready) = oneshot::channel();
        waiting.withdrawn = Some(withdrawn);
        Some(ready)
    }

    /// There is room for a queued request. Returns whether it is still wanted.
    pub(crate) fn written(&self, id: &RequestId) -> bool {
        let mut table = self.waiting.lock();
        let Some(waiting) = table.requests.get_mut(id) else { return false };
        waiting.is_queued = false;
        true
    }

    /// A request is cancelled. Returns whether the server may be at work on it, and so has to be told.
    pub(crate) fn withdraw(&self, id: &RequestId) -> bool {
        let mut table = self.waiting.lock();
        let waiting = table.requests.remove(id);
        let was_dropped = table.dropped.remove(id);
        if let RequestId::Number(id) = id {
            table.direct.remove(id);
        }
        drop(table);
        self.sieve.forget(id);
        was_dropped || waiting.is_some_and(|waiting| !waiting.is_queued)
    }

    /// A request waits for as long as the returned value lives.
    pub(crate) fn waits(self: &Arc<Self>, message: &ClientJsonRpcMessage) -> Waits {
        self.sent(message);
        let id = super::message::request_id(message).cloned();
        Waits { pending: self.clone(), id, until_cancelled: false }
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

    /// The request of ours that a request of the server repeats: a terminal between the two does that. A server sends none
    /// of that method.
    pub(super) fn repeated(&self, asked: &JsonRpcRequest<ServerRequest>) -> Option<Kind> {
        let ServerRequest::CustomRequest(request) = &asked.request else { return None };
        let (_, kind) = self.named(&asked.id)?;
        (kind.subject() == request.method).then_some(kind)
    }

    /// Whether a request with this id was ever sent: both sides count their ids up.
    pub(crate) fn was_sent(&self, id: &RequestId) -> bool {
        let id = match id {
            RequestId::Number(id) => *id,
            RequestId::String(id) => match id.parse() {
                Ok(id) => id,
                Err(_) => return false,
            },
        };
        id >= 0 && self.waiting.lock().highest[usize::from(id >= FIRST_ID)] >= Some(id)
    }

    /// Whether a request of the handshake waits.
    pub(crate) fn is_opening(&self) -> bool {
        self.waiting.lock().requests.values().any(|waiting| waiting.kind.opens())
    }

    /// The waiting request, if it is the only one. A stream of notifications does not count.
    pub(crate) fn only(&self) -> Option<RequestId> {
        let table = self.waiting.lock();
        let mut waiting = table.requests.iter().filter(|(_, waiting)| !waiting.kind.listens());
        let (id, _) = waiting.next()?;
        waiting.next().is_none().then(|| id.clone())
    }

    /// Whether a notification was sent that the server has perhaps not taken yet.
    pub(crate) fn has_told(&self) -> bool {
        self.waiting.lock().told.is_some()
    }

    /// The request that has waited longest.
    pub(crate) fn oldest(&self) -> Option<Kind> {
        let table = self.waiting.lock();
        let waiting = table.requests.values().filter(|waiting| !waiting.kind.listens());
        let oldest = waiting.min_by_key(|waiting| waiting.place);
        oldest.map(|waiting| waiting.kind.clone())
    }

    /// A request has its answer. Returns whether it was waiting for it.
    pub(crate) fn answered(&self, id: &RequestId) -> bool {
        let mut table = self.waiting.lock();
        let waiting = table.requests.remove(id);
        if waiting.as_ref().is_some_and(|it| table.told.is_some_and(|told| it.place > told)) {
            table.told = None;
        }
        drop(table);
        self.sieve.forget(id);
        waiting.is_some()
    }

    /// A request is over: no cancellation of it follows.
    pub(crate) fn over(&self, id: &RequestId) {
        self.answered(id);
        self.waiting.lock().dropped.remove(id);
    }

    /// The server has forgotten all requests.
    pub(crate) fn renewed(&self) {
        self.waiting.lock().dropped.clear();
        self.notices.renewed();
        self.withdrawn.renewed();
    }

    /// A request of the server is about to be handled. Returns whether the server has not taken it back.
    pub(super) fn is_wanted(&self, asked: &RequestId) -> bool {
        self.withdrawn.is_wanted(asked)
    }

    /// The server has cancelled a request of its own; or, in the newer era, a stream of ours, which has an id of ours.
    fn cancelled(&self, id: &RequestId) {
        let table = self.waiting.lock();
        let is_stream = table.requests.get(id).is_some_and(|waiting| waiting.kind.listens());
        drop(table);
        if !is_stream {
            self.withdrawn.taken_back(id);
        }
    }

    /// Passes a notification on. It came as `text`, on the stream of the request `stream` if it came on one.
    pub(super) fn told(
        &self,
        notification: &ServerNotification,
        text: &[u8],
        stream: Option<&RequestId>,
    ) {
        let of_progress = match notification {
            ServerNotification::ProgressNotification(told) => self.progressed(&told.params),
            ServerNotification::CancelledNotification(told) => {
                told.params.request_id.as_ref().inspect(|id| self.cancelled(id));
                None
            }
            _ => None,
        };
        let Some(desk) = self.desk.as_ref().filter(|_| !raw::is_internal(notification)) else {
            return;
        };
        let (method, params) = raw::method_and_params(text);
        desk.tell(method, params, of_progress.or_else(|| self.tag(stream)));
    }

    /// The server has reported progress of a request. Returns the tag of that request.
    fn progressed(&self, told: &ProgressNotificationParam) -> Option<Tag> {
        let table = self.waiting.lock();
        let is_it = |waiting: &&Waiting| waiting.token.as_ref() == Some(&told.progress_token);
        let waiting = table.requests.values().find(is_it)?;
        if let Some(sink) = &waiting.progress {
            sink.send(Progress::new(told.progress, told.total, told.message.clone()));
        }
        waiting.tag.clone()
    }

    /// The tag of the request on whose stream something came, or else of the only call that is under way.
    pub(super) fn tag(&self, stream: Option<&RequestId>) -> Option<Tag> {
        let table = self.waiting.lock();
        if let Some(id) = stream {
            return table.requests.get(id)?.tag.clone();
        }
        let mut calls = table.requests.values().filter(|waiting| waiting.kind.is_call());
        let call = calls.next()?;
        if calls.next().is_some() { None } else { call.tag.clone() }
    }

    /// Whether a message that came on `stream` belongs to a request that waits. If the transport has no streams, one
    /// waiting request is enough.
    pub(super) fn is_of_a_request(&self, stream: Option<&RequestId>, streams_tell: bool) -> bool {
        let table = self.waiting.lock();
        match stream {
            Some(id) => table.requests.contains_key(id),
            None => !streams_tell && !table.requests.is_empty(),
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
    /// Whether a cancellation follows if this is dropped before the answer.
    until_cancelled: bool,
}

impl Waits {
    /// The request; `None` for a message that expects no answer.
    pub(crate) fn id(&self) -> Option<&RequestId> {
        self.id.as_ref()
    }

    /// Whether a message is the awaited answer. A message that was read names the request by the id that it was sent
    /// with.
    pub(crate) fn is_answered_by(&self, message: &ServerJsonRpcMessage) -> bool {
        self.id.is_some() && answered_id(message) == self.id.as_ref()
    }

    /// A request that is dropped before its answer will be cancelled by a notification.
    pub(crate) fn until_cancelled(&mut self) {
        self.until_cancelled = true;
    }

    /// Whether the answer has not come yet, on any stream.
    pub(crate) fn still(&self) -> bool {
        self.id.as_ref().is_some_and(|id| self.pending.waiting.lock().requests.contains_key(id))
    }
}

impl Drop for Waits {
    fn drop(&mut self) {
        let Some(id) = self.id.take() else { return };
        if self.pending.answered(&id) && self.until_cancelled {
            self.pending.waiting.lock().dropped.insert(id);
        }
    }
}
