//! The bodies of requests and answers.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::Stream;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use moored::{CancelHandle, StopRequest};
use rmcp::transport::streamable_http_server::session::ServerSseMessage;
use serde::Serialize;
use serde_json::json;
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::wire::skeleton::Skeleton;

/// The body of an answer of a [`Gateway`](crate::Gateway).
pub type Body = http_body_util::combinators::BoxBody<Bytes, Infallible>;

/// The interval between comments on an idle stream, which show that it is still open.
const ALIVE: Duration = Duration::from_secs(15);

/// The time that a client may take to send a body.
const SENT: Duration = Duration::from_secs(60);
/// The time for which the rest of a body that is too large is read and thrown away.
const DRAINED: Duration = Duration::from_secs(2);

/// The reason why a body was not read.
#[derive(Debug)]
pub(super) enum BodyError {
    /// With the outline of the part that was read.
    TooLarge(Box<Skeleton>),
    Slow,
    Broken(String),
}

/// Reads the body of a request, no further than `limit`, and no longer than [`SENT`]: a client that sends a part of a body
/// and no more would keep its connection for ever.
pub(super) async fn read<B>(body: Pin<&mut B>, limit: usize) -> Result<Bytes, BodyError>
where
    B: hyper::body::Body<Data = Bytes>,
    B::Error: std::fmt::Display,
{
    let read = tokio::time::timeout(SENT, whole(body, limit)).await;
    read.unwrap_or(Err(BodyError::Slow))
}

/// Reads the rest of a body that is too large, for a short time, into its outline. A client that still sends while its
/// connection is closed gets a reset in the place of the answer.
pub(super) async fn drain<B>(mut body: Pin<&mut B>, outline: &mut Skeleton)
where
    B: hyper::body::Body<Data = Bytes>,
{
    let drained = async {
        while let Some(Ok(frame)) = body.frame().await {
            if let Some(data) = frame.data_ref() {
                outline.feed(data);
            }
        }
    };
    let _drained_or_cut_off = tokio::time::timeout(DRAINED, drained).await;
}

async fn whole<B>(mut body: Pin<&mut B>, limit: usize) -> Result<Bytes, BodyError>
where
    B: hyper::body::Body<Data = Bytes>,
    B::Error: std::fmt::Display,
{
    // Refused before it is read, if its length is known and too large.
    if body.size_hint().lower() > limit as u64 {
        return Err(BodyError::TooLarge(Box::default()));
    }
    let mut read = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| BodyError::Broken(error.to_string()))?;
        let Ok(data) = frame.into_data() else { continue };
        if read.len() + data.len() > limit {
            let mut outline = Skeleton::of(&read);
            outline.feed(&data);
            return Err(BodyError::TooLarge(Box::new(outline)));
        }
        read.extend_from_slice(&data);
    }
    Ok(read.freeze())
}

/// An answer with a status and no body.
pub(super) fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Full::default().boxed());
    *response.status_mut() = status;
    response
}

/// An answer in JSON.
pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Response<Body> {
    // Serialising cannot fail, because all keys are texts.
    let text = serde_json::to_vec(value).unwrap_or_default();
    let mut response = Response::new(Full::from(text).boxed());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// An answer to a request that was not read: a JSON-RPC error without an id.
pub(super) fn refused(status: StatusCode, code: i32, message: &str) -> Response<Body> {
    json(status, &json!({"jsonrpc": "2.0", "error": {"code": code, "message": message}}))
}

/// An answer that is a stream of events. It ends with `events`, or when `until` is asked to stop.
pub(super) fn events<S>(events: S, until: &CancelHandle) -> Response<Body>
where
    S: Stream<Item = ServerSseMessage> + Send + Sync + 'static,
{
    let mut alive = interval(ALIVE);
    alive.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // Reset, because the first tick of an interval comes at once.
    alive.reset();
    let stream = Events { events: Box::pin(events), alive, until: until.stop_requested() };
    let mut response = Response::new(StreamBody::new(stream).boxed());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, no-transform"));
    // The header keeps a proxy from buffering the answer, which would delay progress and questions.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

/// Events as the frames of a body, with a comment after each idle interval.
struct Events<S> {
    events: Pin<Box<S>>,
    alive: Interval,
    until: StopRequest,
}

impl<S: Stream<Item = ServerSseMessage>> Stream for Events<S> {
    type Item = Result<Frame<Bytes>, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Poll::Ready(event) = self.events.as_mut().poll_next(cx) {
            self.alive.reset();
            return Poll::Ready(event.map(|event| Ok(Frame::data(written(&event)))));
        }
        // Checked after the events, so that the events so far are sent before the end.
        if Pin::new(&mut self.until).poll(cx).is_ready() {
            return Poll::Ready(None);
        }
        self.alive.poll_tick(cx).map(|_| Some(Ok(Frame::data(Bytes::from_static(b":\n\n")))))
    }
}

/// An event as text.
fn written(event: &ServerSseMessage) -> Bytes {
    let mut text = String::new();
    if let Some(id) = &event.event_id {
        text.push_str(&format!("id: {id}\n"));
    }
    if let Some(retry) = event.retry {
        text.push_str(&format!("retry: {}\n", retry.as_millis()));
    }
    // JSON is written without a line break. An event without a message has only an id.
    let message = event.message.as_ref().and_then(|it| serde_json::to_string(it).ok());
    text.push_str(&format!("data: {}\n\n", message.unwrap_or_default()));
    text.into()
}
