//! A response stream: read by the HTML standard, and requested again if it was lost, within bounds.
//!
//! rmcp would do both, but it drops events that it cannot read, and it retries without end if the answers bring
//! nothing. So it gets a stream of messages only. The last of them is the answer: the server's, or the fault that
//! replaces it.

mod patience;

use std::collections::VecDeque;
use std::time::Duration;

use futures_util::stream::{self, BoxStream};
use futures_util::{FutureExt, StreamExt};
use reqwest::Response;
use rmcp::model::ServerJsonRpcMessage;
use rmcp::transport::streamable_http_client::SseError;
use sse_stream_of_rmcp::Sse;
use tokio::task::coop::consume_budget;
use tokio::time::Instant;

use self::patience::{FOR_AN_ANSWER, FOR_NOTHING_IN_PARTICULAR, Patience, pause_away};
use super::failure::Failure;
use super::headers::Headers;
use super::{HttpSession, SessionClient};
use crate::component::ComponentKind;
use crate::fault::{Fault, Flattened};
use crate::wire::events::{self, Events};
use crate::wire::incoming;
use crate::wire::message::{Kind, early_answer};
use crate::wire::pending::Waits;
use crate::wire::undelivered;

/// The stream that rmcp reads.
pub(super) type RmcpEvents = BoxStream<'static, Result<Sse, SseError>>;

/// A stream that was open this long counts as useful, even if no event came over it.
const HELD: Duration = Duration::from_secs(5);
/// The time for which an answer is held back for the end of its stream, which usually follows at once.
const END: Duration = Duration::from_millis(20);
/// The time for the end of a stream after its answer.
const REST: Duration = Duration::from_millis(50);
/// The time that a message of ours on behalf of rmcp may take.
const EARLY_ANSWER: Duration = Duration::from_secs(2);

/// The data for requesting a stream.
#[derive(Debug, Clone)]
pub(super) struct Way {
    pub(super) session_id: Option<String>,
    pub(super) headers: Headers,
    pub(super) max_event: usize,
}

/// The beginning of a stream.
pub(super) enum Begun {
    /// The first message was the answer, and no other one is expected.
    Answer(Box<ServerJsonRpcMessage>),
    /// It was another one, which is still in the stream.
    Other(Box<ResponseStream>),
}

/// A stream under way.
pub(super) struct ResponseStream {
    client: SessionClient,
    kind: Kind,
    /// The request that the stream is to answer; `None` for the stream of the session.
    waits: Option<Waits>,
    way: Way,
    patience: Patience,
    events: Events,
    /// Messages that were read and not taken yet.
    messages: VecDeque<ServerJsonRpcMessage>,
    opened: Instant,
    last_id: Option<String>,
    retry: Option<Duration>,
    /// The time that the server asks to wait before the next try only.
    asked: Option<Duration>,
    noise: Option<String>,
    tries: u32,
    fruitless_since: Option<Instant>,
    /// The number of times in a row that all tries were fruitless, for the stream of the session.
    away: u32,
    /// Whether it was lost before.
    is_resumed: bool,
}

impl ResponseStream {
    /// The stream that answers a request.
    pub(super) fn of_request(
        client: SessionClient,
        kind: Kind,
        waits: Waits,
        way: Way,
        response: Response,
    ) -> Self {
        Self::new(client, kind, Some(waits), way, FOR_AN_ANSWER, Some(response))
    }

    /// The stream of the session.
    pub(super) fn of_session(client: SessionClient, way: Way, response: Response) -> Self {
        Self::new(client, Kind::Stream, None, way, FOR_NOTHING_IN_PARTICULAR, Some(response))
    }

    /// The stream of the session, which cannot be opened at the moment.
    pub(super) fn of_session_later(client: SessionClient, way: Way, failed: &Failure) -> Self {
        let asked = failed.wait();
        let lost = Self::new(client, Kind::Stream, None, way, FOR_NOTHING_IN_PARTICULAR, None);
        Self { asked, ..lost }
    }

    fn new(
        client: SessionClient,
        kind: Kind,
        waits: Option<Waits>,
        way: Way,
        patience: Patience,
        response: Option<Response>,
    ) -> Self {
        let events = response.map_or_else(
            || stream::empty().boxed(),
            |response| events::events(response.bytes_stream(), way.max_event),
        );
        Self {
            client,
            kind,
            waits,
            patience,
            events,
            messages: VecDeque::new(),
            way,
            opened: Instant::now(),
            last_id: None,
            retry: None,
            asked: None,
            noise: None,
            tries: 0,
            fruitless_since: None,
            away: 0,
            is_resumed: false,
        }
    }

    fn session(&self) -> &HttpSession {
        &self.client.0
    }

    /// The next message; `None` if the stream is at its end and nothing is missing.
    async fn next(&mut self) -> Result<Option<ServerJsonRpcMessage>, Failure> {
        loop {
            // One chunk may bring thousands of events that are no messages.
            consume_budget().await;
            if let Some(message) = self.messages.pop_front() {
                (self.tries, self.fruitless_since, self.away) = (0, None, 0);
                return Ok(Some(message));
            }
            match self.events.next().await {
                Some(Ok(event)) => self.take(event),
                _ if self.waits.as_ref().is_some_and(|waits| !waits.still()) => return Ok(None),
                Some(Err(error)) => match events::too_large(&error) {
                    Some(why) => return Err(Failure::Unreadable(why)),
                    None => self.resume(Failure::Broken(Flattened::of(&error))).await?,
                },
                None => {
                    let noise = self.noise.clone();
                    self.resume(Failure::NoAnswer { noise }).await?;
                }
            }
        }
    }

    /// Takes in one event and the messages in it.
    fn take(&mut self, event: sse_stream::Sse) {
        if let Some(other) = events::of_another_type(&event) {
            self.noise(&other);
        }
        let data = events::message(&event).unwrap_or_default().as_bytes();
        let expected = self.waits.as_ref().and_then(Waits::id);
        for incoming in incoming::read(data, &self.session().pending, expected) {
            match incoming.placed(&self.session().pending) {
                Ok((mut message, mark)) => {
                    self.session().recorder.secrets().hide_in(&mut message);
                    if let Some(mark) = mark {
                        self.session().recorder.warn(mark);
                    }
                    self.messages.push_back(message);
                }
                Err(what) => self.noise(&what),
            }
        }
        if let Some(retry) = event.retry {
            self.retry = Some(Duration::from_millis(retry));
        }
        if let Some(id) = event.id {
            // An empty id clears the last one, as the standard has it.
            self.last_id = Some(id).filter(|id| !id.is_empty());
        }
    }

    /// Takes note of an event that is no message.
    fn noise(&mut self, what: &str) {
        let what = self.session().recorder.secrets().hide(what).into_owned();
        let from = &self.session().shown_url;
        self.session().recorder.note(format!("an event of {from} is {what}"));
        self.noise = Some(what);
    }

    /// Requests the rest of the stream, or returns that it is lost.
    async fn resume(&mut self, loss: Failure) -> Result<(), Failure> {
        if self.waits.is_some() && self.last_id.is_none() {
            return Err(loss);
        }
        if self.opened.elapsed() >= HELD {
            (self.tries, self.fruitless_since, self.away) = (0, None, 0);
        }
        let since = *self.fruitless_since.get_or_insert_with(Instant::now);
        let mut last = loss;
        loop {
            let wait = self.wait().max(self.asked.take().unwrap_or_default());
            let over = since.elapsed();
            if self.tries == self.patience.tries || over + wait > self.patience.over {
                return Err(self.not_resumed(over, wait, last));
            }
            tokio::time::sleep(wait).await;
            self.tries += 1;
            self.is_resumed = true;
            let last_id = self.last_id.as_deref();
            match self.client.get(&self.way, last_id).await {
                Ok(response) => {
                    let bytes = response.bytes_stream();
                    self.events = events::events(bytes, self.way.max_event);
                    self.opened = Instant::now();
                    if self.waits.is_none() {
                        // Notifications of the time without a stream are lost.
                        self.session().pending.notices.changed(ComponentKind::ALL);
                    }
                    return Ok(());
                }
                Err(failed) => {
                    self.asked = failed.wait();
                    let is_final = failed.is_final();
                    if self.waits.is_none() && failed.may_be_an_expiry() {
                        self.session().pending.notices.expired();
                    }
                    let fault = failed.fault(self.session(), &Kind::Stream);
                    last = Failure::Told(fault.refused(is_final));
                    if is_final {
                        return Err(self.not_resumed(since.elapsed(), wait, last));
                    }
                }
            }
        }
    }

    /// The stream of the session is lost, and the session goes on without it. Ready when it is to be requested again; never if
    /// that has no use.
    async fn go_without(&mut self, failure: &Failure, fault: &Fault) {
        if self.away == 0 {
            self.session().recorder.warn(fault.line());
        }
        if !failure.may_pass() {
            return std::future::pending().await;
        }
        let pause = pause_away(self.away);
        self.away += 1;
        tokio::time::sleep(pause).await;
        // It has been lost since, so the time does not count as a time in which it was open.
        (self.tries, self.fruitless_since, self.opened) = (0, None, Instant::now());
        self.events = stream::empty().boxed();
    }

    fn not_resumed(&self, over: Duration, wait: Duration, last: Failure) -> Failure {
        Failure::NotResumed { tries: self.tries, over, wait, last: Box::new(last) }
    }

    /// The wait before the next try: the time that the server has requested, or more if earlier tries brought
    /// nothing. A server that breaks off after each message must not cause retries without a pause.
    fn wait(&self) -> Duration {
        let doubled = self.patience.first.saturating_mul(1 << self.tries.min(16));
        let ours = doubled.min(self.patience.longest);
        match self.retry {
            Some(theirs) if !self.is_resumed => theirs,
            Some(theirs) => theirs.max(ours),
            None => ours,
        }
    }

    /// Reads the first message.
    pub(super) async fn begin(mut self) -> Result<Begun, Failure> {
        let Some(message) = self.next().await? else {
            return Err(Failure::NoAnswer { noise: self.noise.take() });
        };
        if !self.waits.as_ref().is_some_and(|waits| waits.is_answered_by(&message)) {
            self.messages.push_front(message);
            return Ok(Begun::Other(Box::new(self)));
        }
        self.finish().await;
        match undelivered::fault_in(&message) {
            Some(fault) => Err(Failure::Told(fault)),
            None => Ok(Begun::Answer(Box::new(message))),
        }
    }

    /// The answer has come. The rest of the stream is read, because the connection can be used again only if it is at its
    /// end: first for a moment here, so that the next request finds a connection and opens no other one, then beside it.
    async fn finish(self) {
        let Self { client, mut events, .. } = self;
        if tokio::time::timeout(END, read_out(&mut events)).await.is_ok() {
            return;
        }
        let rest = async move { read_out(&mut events).await };
        let _goes_on = client.0.outliving.begin(REST, rest);
    }

    /// Reads to the answer. Requests of the server that come before it are answered here, because rmcp does not get
    /// them.
    pub(super) async fn answer(mut self) -> Result<ServerJsonRpcMessage, Failure> {
        loop {
            match self.next().await? {
                None => return Err(Failure::NoAnswer { noise: self.noise.take() }),
                Some(ServerJsonRpcMessage::Request(request)) => {
                    let answer = early_answer(request.id, &request.request);
                    let posted = self.client.post_early(&answer, &self.way);
                    if tokio::time::timeout(EARLY_ANSWER, posted).await.is_err() {
                        let recorder = &self.session().recorder;
                        recorder.warn(
                            "a request of the server before the handshake was not answered in time",
                        );
                    }
                }
                Some(message)
                    if self.waits.as_ref().is_some_and(|waits| waits.is_answered_by(&message)) =>
                {
                    self.finish().await;
                    return match undelivered::fault_in(&message) {
                        Some(fault) => Err(Failure::Told(fault)),
                        None => Ok(message),
                    };
                }
                Some(_) => {}
            }
        }
    }

    /// The stream as rmcp reads it. It does not fail, and it does not end before the answer, because rmcp would then
    /// request it again.
    pub(super) fn into_events(self) -> RmcpEvents {
        let stop = self.session().stop.clone();
        let events = stream::unfold(Some(self), |state| async move {
            let mut stream = state?;
            loop {
                let failure = match stream.next().await {
                    Ok(Some(message)) => return Some((event(&message), Some(stream))),
                    Ok(None) => return None,
                    Err(failure) => failure,
                };
                let fault = failure.fault(stream.session(), &stream.kind);
                if let Some(id) = stream.waits.as_ref().and_then(Waits::id) {
                    stream.session().recorder.fault(fault.clone());
                    stream.session().pending.over(id);
                    return Some((event(&undelivered::answer(id.clone(), &fault)), None));
                }
                // Boxed, because it is rare, and every stream of an answer would keep room for it.
                Box::pin(stream.go_without(&failure, &fault)).await;
            }
        });
        events.take_until(async move { stop.requested().await }.boxed()).boxed()
    }
}

/// Reads a stream to its end.
async fn read_out(events: &mut Events) {
    while events.next().await.is_some() {
        // One chunk may bring thousands of events.
        consume_budget().await;
    }
}

/// A message as an event of rmcp's.
fn event(message: &ServerJsonRpcMessage) -> Result<Sse, SseError> {
    // It was read from JSON, so it can be written as JSON.
    let data = serde_json::to_string(message).unwrap_or_default();
    Ok(Sse::default().data(data))
}
