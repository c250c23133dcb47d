//! The messages of one session, by the streams that carry them to its client.
//!
//! Each request of the client has a stream of its own, which ends with the answer. One more stream, the common one, carries
//! the messages that belong to no request. A stream does not depend on the connection that reads it: a client that has
//! lost the connection reads the rest of the stream over another one, even if the answer was given in between.
//!
//! # Invariants
//!
//! 1. Nothing here waits for a client to read. A stream holds at most [`EVENTS`] messages, and drops others for the answer.
//! 2. A stream in `open` has no answer; `answered` holds at most [`ANSWERED`] streams, and `forgotten` at most
//!    [`FORGOTTEN`] numbers of others. A reader holds its stream itself, so
//!    an answer is not lost to a client that is about to read it.

mod reader;
mod stream;

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rmcp::model::{
    ClientJsonRpcMessage, ClientNotification, GetExtensions, GetMeta, ProgressToken, RequestId,
    ServerJsonRpcMessage, ServerNotification,
};
use rmcp::service::{OriginatingRequestId, RoleServer};
use rmcp::transport::Transport;
use tokio::sync::mpsc;
use tokio::time::Instant;

pub(super) use self::reader::Reader;
use self::stream::Stream;
use crate::wire::withdrawn::Withdrawn;

/// The largest number of messages that a stream holds.
const EVENTS: usize = 256;
/// The number of streams that are kept after their answers, for clients that have lost their connections.
const ANSWERED: usize = 32;
/// The number of streams of which it is remembered, after that, which request they answered.
const FORGOTTEN: usize = 256;
/// The time for which they are kept.
const KEPT: Duration = Duration::from_secs(60);
/// The number of messages of the client that wait to be handled. With more, the client waits.
const INBOX: usize = 64;
/// The number of the common stream.
const COMMON: u64 = 0;

/// The client's side of a session.
#[derive(Debug, Clone)]
pub(super) struct Streams {
    inbox: mpsc::Sender<ClientJsonRpcMessage>,
    table: Arc<Mutex<Table>>,
}

/// The streams of a session, by the messages that belong to them.
#[derive(Debug)]
struct Table {
    common: Arc<Stream>,
    open: HashMap<u64, Arc<Stream>>,
    answered: VecDeque<Answered>,
    /// The numbers of the streams that were dropped from `answered`, with their requests.
    forgotten: VecDeque<(u64, RequestId)>,
    requests: HashMap<RequestId, u64>,
    tokens: HashMap<ProgressToken, u64>,
    /// The questions to the client that have no answer.
    questions: HashMap<RequestId, u64>,
    /// The requests that the client has taken back: each of its messages may come over a connection of its own.
    withdrawn: Withdrawn,
    /// The number of the newest stream.
    newest: u64,
    is_over: bool,
}

/// A stream with its answer.
#[derive(Debug)]
struct Answered {
    at: Instant,
    request: RequestId,
    stream: Arc<Stream>,
}

/// The rest of a stream that a client asks for.
#[derive(Debug)]
pub(super) enum Rest {
    /// It is there.
    Kept(Reader),
    /// It is not kept any more; the answer of this request was in it.
    Forgotten(RequestId),
    /// There was no such stream, or its request was cancelled.
    Unknown,
}

/// The streams of a new session, and its service's side of them.
pub(super) fn pair() -> (Streams, Wire) {
    let (inbox, messages) = mpsc::channel(INBOX);
    let table = Arc::new(Mutex::new(Table {
        common: Stream::new(COMMON),
        open: HashMap::new(),
        answered: VecDeque::new(),
        forgotten: VecDeque::new(),
        requests: HashMap::new(),
        tokens: HashMap::new(),
        questions: HashMap::new(),
        withdrawn: Withdrawn::default(),
        newest: COMMON,
        is_over: false,
    }));
    (Streams { inbox, table: table.clone() }, Wire { messages, table })
}

/// The reason why a request was not handed to the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotAsked {
    /// The session is over.
    Over,
    /// Another request of the session has the same id and no answer: of the two, one answer could not be told from the
    /// other.
    IdInUse,
    /// The client has taken it back before it came.
    TakenBack,
}

impl Streams {
    /// Hands a request to the service, and returns the stream of its answer.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the service does not get the request.
    pub(super) async fn ask(&self, request: ClientJsonRpcMessage) -> Result<Reader, NotAsked> {
        let place = self.inbox.reserve().await.map_err(|_| NotAsked::Over)?;
        let stream = self.table.lock().begin(&request)?;
        place.send(request);
        Ok(Reader::first(stream))
    }

    /// Hands a notification or an answer to the service; `false` if the session is over.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the service does not get the message.
    pub(super) async fn tell(&self, message: ClientJsonRpcMessage) -> bool {
        let Ok(place) = self.inbox.reserve().await else { return false };
        let ended = self.table.lock().heard(&message);
        if let Some(stream) = ended {
            stream.end();
        }
        place.send(message);
        true
    }

    /// Whether the session is over: no message is handled any more.
    pub(super) fn is_over(&self) -> bool {
        self.table.lock().is_over
    }

    /// The common stream, from the first message on that no connection has read.
    pub(super) fn common(&self) -> Reader {
        Reader::unread(self.table.lock().common.clone())
    }

    /// The rest of a stream after the event with this id.
    pub(super) fn resume(&self, last: &str) -> Rest {
        let id = last.split_once('/');
        let id = id.and_then(|(number, event)| Some((number.parse().ok()?, event.parse().ok()?)));
        let Some((number, event)) = id else { return Rest::Unknown };
        let mut table = self.table.lock();
        if let Some(stream) = table.find(number) {
            return Rest::Kept(Reader::after(stream, event));
        }
        let request = table.forgotten.iter().find(|(its, _)| *its == number);
        request.map_or(Rest::Unknown, |(_, request)| Rest::Forgotten(request.clone()))
    }
}

impl Table {
    /// Begins the stream of a request.
    fn begin(&mut self, request: &ClientJsonRpcMessage) -> Result<Arc<Stream>, NotAsked> {
        if let ClientJsonRpcMessage::Request(request) = request {
            if self.requests.contains_key(&request.id) {
                return Err(NotAsked::IdInUse);
            }
            if !self.withdrawn.is_wanted(&request.id) {
                return Err(NotAsked::TakenBack);
            }
        }
        self.newest += 1;
        let stream = Stream::new(self.newest);
        if self.is_over {
            stream.end();
            return Ok(stream);
        }
        self.open.insert(self.newest, stream.clone());
        if let ClientJsonRpcMessage::Request(request) = request {
            self.requests.insert(request.id.clone(), self.newest);
            if let Some(token) = request.request.get_meta().get_progress_token() {
                self.tokens.insert(token, self.newest);
            }
        }
        Ok(stream)
    }

    fn find(&mut self, number: u64) -> Option<Arc<Stream>> {
        self.forget(KEPT);
        let mut answered = self.answered.iter().map(|answered| &answered.stream);
        match number {
            COMMON => Some(self.common.clone()),
            _ => {
                self.open.get(&number).or_else(|| answered.find(|it| it.number == number)).cloned()
            }
        }
    }

    /// Takes note of a message of the client. Returns the stream of a request that the client has cancelled: it has no
    /// answer, and is to be ended.
    fn heard(&mut self, message: &ClientJsonRpcMessage) -> Option<Arc<Stream>> {
        match message {
            ClientJsonRpcMessage::Response(answer) => _ = self.questions.remove(&answer.id),
            ClientJsonRpcMessage::Error(error) => {
                _ = error.id.as_ref().and_then(|id| self.questions.remove(id));
            }
            ClientJsonRpcMessage::Notification(told) => {
                if let ClientNotification::CancelledNotification(it) = &told.notification {
                    let id = it.params.request_id.as_ref()?;
                    self.withdrawn.taken_back(id);
                    return self.over(id);
                }
            }
            ClientJsonRpcMessage::Request(_) => {}
        }
        None
    }

    /// Takes the stream of a request out of the open ones.
    fn over(&mut self, id: &RequestId) -> Option<Arc<Stream>> {
        let number = self.requests.remove(id)?;
        self.tokens.retain(|_, its| *its != number);
        self.questions.retain(|_, its| *its != number);
        self.open.remove(&number)
    }

    /// The stream for a message of the service, and whether the message is the last one of it.
    fn place(&mut self, message: &ServerJsonRpcMessage) -> (Arc<Stream>, bool) {
        let answered = match message {
            ServerJsonRpcMessage::Response(answer) => Some(&answer.id),
            ServerJsonRpcMessage::Error(error) => error.id.as_ref(),
            _ => None,
        };
        if let Some((request, stream)) = answered.and_then(|id| Some((id, self.over(id)?))) {
            self.forget(KEPT);
            let (at, request) = (Instant::now(), request.clone());
            self.answered.push_back(Answered { at, request, stream: stream.clone() });
            return (stream, true);
        }
        let number = match message {
            ServerJsonRpcMessage::Request(question) => {
                let of = question.request.extensions().get::<OriginatingRequestId>();
                let number = of.and_then(|of| self.requests.get(&of.0)).copied();
                let number = number.unwrap_or(COMMON);
                self.questions.insert(question.id.clone(), number);
                Some(number)
            }
            ServerJsonRpcMessage::Notification(told) => match &told.notification {
                ServerNotification::ProgressNotification(step) => {
                    self.tokens.get(&step.params.progress_token).copied()
                }
                ServerNotification::CancelledNotification(it) => {
                    it.params.request_id.as_ref().and_then(|id| self.questions.remove(id))
                }
                _ => None,
            },
            _ => None,
        };
        let stream = number.and_then(|number| self.open.get(&number));
        (stream.unwrap_or(&self.common).clone(), false)
    }

    /// Drops answered streams that are too many, or were answered longer than `kept` ago.
    fn forget(&mut self, kept: Duration) {
        let is_over = |its: &mut Answered| its.at.elapsed() >= kept;
        while self.answered.len() >= ANSWERED || self.answered.front_mut().is_some_and(is_over) {
            let Some(Answered { request, stream, .. }) = self.answered.pop_front() else { return };
            if self.forgotten.len() == FORGOTTEN {
                self.forgotten.pop_front();
            }
            self.forgotten.push_back((stream.number, request));
        }
    }
}

/// The service's side of the streams.
#[derive(Debug)]
pub(super) struct Wire {
    messages: mpsc::Receiver<ClientJsonRpcMessage>,
    table: Arc<Mutex<Table>>,
}

impl Transport<RoleServer> for Wire {
    type Error = Infallible;

    fn send(
        &mut self,
        message: ServerJsonRpcMessage,
    ) -> impl Future<Output = Result<(), Infallible>> + Send + 'static {
        let (stream, is_last) = self.table.lock().place(&message);
        stream.push(message, is_last);
        ready(Ok(()))
    }

    async fn receive(&mut self) -> Option<ClientJsonRpcMessage> {
        self.messages.recv().await
    }

    async fn close(&mut self) -> Result<(), Infallible> {
        self.end();
        Ok(())
    }
}

impl Wire {
    /// Ends all streams.
    fn end(&self) {
        let ended: Vec<Arc<Stream>> = {
            let mut table = self.table.lock();
            table.is_over = true;
            let common = table.common.clone();
            table.open.drain().map(|(_, stream)| stream).chain([common]).collect()
        };
        ended.iter().for_each(|stream| stream.end());
    }
}

/// A service that was dropped gives no answers any more.
impl Drop for Wire {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests;
