//! Streamable HTTP: the client that rmcp posts through, ours from the socket up.
//!
//! One `reqwest` client serves the whole group. Each session wraps it: every operation ends when the session is
//! stopped, every failure is classified and kept with its chain intact, the session id is seen as soon as its header
//! arrives, and rmcp's own DELETE is a no-op, because leaving sends ours and keeps its status.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use http::{HeaderName, HeaderValue, StatusCode};
use parking_lot::Mutex;
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use rmcp::model::{ClientJsonRpcMessage, ServerJsonRpcMessage};
use rmcp::transport::streamable_http_client::{
    AuthRequiredError, InsufficientScopeError, SseError, StreamableHttpClient, StreamableHttpError,
    StreamableHttpPostResponse,
};
use sse_stream::Sse;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::failure::Failure;
use super::Sieve;
use super::body::{self, BodyError, Flattened};
use super::message::{Kind, probe_answer, probe_aware};
use super::recorder::Recorder;
use crate::fault::Fault;
use crate::report::Outcome;

pub(crate) mod delete;
mod failure;
pub(crate) mod shared;

const SESSION_ID: &str = "mcp-session-id";
const PROTOCOL_VERSION: &str = "mcp-protocol-version";
const LAST_EVENT_ID: &str = "last-event-id";
const JSON: &str = "application/json";
const EVENT_STREAM: &str = "text/event-stream";

/// rmcp's error around our fault.
pub(crate) type HttpError = StreamableHttpError<Fault>;

type Headers = HashMap<HeaderName, HeaderValue>;
type SseEvents = BoxStream<'static, Result<Sse, SseError>>;

/// One HTTP session: what its requests need, and what a DELETE has to name.
#[derive(Debug)]
pub(crate) struct HttpSession {
    url: Arc<str>,
    /// The address without what might be a secret, for texts.
    shown_url: String,
    headers: Headers,
    client: reqwest::Client,
    recorder: Arc<Recorder>,
    stop: CancellationToken,
    probe_timeout: Duration,
    /// The exchanges under way. A DELETE waits for them: one of them may be about to learn the session's id.
    exchanges: TaskTracker,
    open: Mutex<Open>,
    sieve: Sieve,
}

#[derive(Debug, Default)]
struct Open {
    session_id: Option<String>,
    protocol_version: Option<HeaderValue>,
}

impl HttpSession {
    pub(crate) fn new(
        url: &str,
        headers: Headers,
        client: reqwest::Client,
        recorder: Arc<Recorder>,
        stop: CancellationToken,
        probe_timeout: Duration,
    ) -> Self {
        let shown_url = shared::shown(url);
        let url = url.into();
        let exchanges = TaskTracker::new();
        exchanges.close();
        Self {
            url,
            shown_url,
            headers,
            client,
            recorder,
            stop,
            probe_timeout,
            exchanges,
            open: Mutex::default(),
            sieve: Sieve::default(),
        }
    }

    /// The address, as rmcp wants it.
    pub(crate) fn url(&self) -> Arc<str> {
        self.url.clone()
    }

    /// The user's headers.
    pub(crate) fn headers(&self) -> Headers {
        self.headers.clone()
    }
}

/// The session's view of the shared client.
#[derive(Debug, Clone)]
pub(crate) struct SessionClient(pub(crate) Arc<HttpSession>);

impl SessionClient {
    /// Posts one message; whatever fails is recorded before rmcp can flatten it.
    async fn post(
        &self,
        message: ClientJsonRpcMessage,
        session_id: Option<Arc<str>>,
        headers: Headers,
        max_event: usize,
    ) -> Result<StreamableHttpPostResponse, HttpError> {
        let session = &*self.0;
        let _under_way = session.exchanges.token();
        let kind = Kind::of(&message);
        session.recorder.phase(kind.phase());
        session.sieve.watch(&message);
        let version = headers.get(PROTOCOL_VERSION).cloned();
        // `initialize` begins anew: what the probe spoke no longer counts.
        if version.is_some() || kind.is_initialize() {
            session.open.lock().protocol_version = version;
        }
        let result = tokio::select! {
            biased;
            () = session.stop.cancelled() => return Err(HttpError::TransportChannelClosed),
            result = self.exchange(&message, &kind, session_id, headers, max_event) => result,
            () = tokio::time::sleep(session.probe_timeout), if kind.is_probe() => {
                session.recorder.note(super::PROBE_IGNORED);
                return Ok(StreamableHttpPostResponse::Json(probe_answer(&message), None));
            }
        };
        result.map_err(|failure| {
            let fault = failure.fault(session, &kind);
            session.recorder.fault(fault.clone());
            failure.error(fault)
        })
    }

    async fn exchange(
        &self,
        message: &ClientJsonRpcMessage,
        kind: &Kind,
        session_id: Option<Arc<str>>,
        headers: Headers,
        max_event: usize,
    ) -> Result<StreamableHttpPostResponse, Failure> {
        let session = &*self.0;
        let had_session = session_id.is_some();
        let request = prepared(session.client.post(&*session.url), session_id, headers);
        let response = request.json(message).send().await;
        let response = response.map_err(|error| Failure::Send(error.without_url()))?;
        let new_id = header(&response, SESSION_ID);
        if kind.is_initialize() && response.status().is_success() && new_id.is_some() {
            session.open.lock().session_id.clone_from(&new_id);
        }
        if !response.status().is_success() {
            return refused(message, kind, response, had_session).await;
        }
        if !kind.expects_answer() {
            return Ok(StreamableHttpPostResponse::Accepted);
        }
        if is(&response, EVENT_STREAM) {
            let events = body::events(response.bytes_stream(), max_event);
            if !kind.is_lifecycle() {
                return Ok(StreamableHttpPostResponse::Sse(self.watched(events), new_id));
            }
            // The handshake's answer is read here, where its faults can be recorded and its time is bounded.
            let answer = probe_aware(message, kind, body::first_answer(events).await?);
            return Ok(StreamableHttpPostResponse::Json(answer, new_id));
        }
        if is(&response, JSON) {
            let bytes = body::bounded(response, body::JSON_LIMIT).await?;
            let answer = session
                .sieve
                .read(&bytes)
                .map_err(|error| BodyError::not_a_message(error, &bytes))?;
            let answer = probe_aware(message, kind, answer);
            return Ok(StreamableHttpPostResponse::Json(answer, new_id));
        }
        if kind.is_probe() {
            return Ok(StreamableHttpPostResponse::Json(probe_answer(message), None));
        }
        Err(Failure::Unexpected(match header(&response, CONTENT_TYPE.as_str()) {
            _ if response.status() != StatusCode::OK => format!("HTTP {}", response.status()),
            Some(content_type) => format!("the content type {content_type:?}"),
            None => "no content type".into(),
        }))
    }

    /// A response stream that ends with the session, records how it broke, and has its lists sifted.
    fn watched(&self, events: SseEvents) -> SseEvents {
        let session = self.0.clone();
        let stop = session.stop.clone();
        events
            .map(move |event| match event {
                Ok(mut event) => {
                    let sifted = event.data.as_ref().and_then(|text| session.sieve.rewrite(text));
                    event.data = sifted.or(event.data);
                    Ok(event)
                }
                Err(error) => {
                    session.recorder.fault(Fault::caused(
                        Outcome::Unreachable,
                        format!("the response stream of {} broke", session.shown_url),
                        Flattened::of(&error),
                    ));
                    Err(error)
                }
            })
            .take_until(stop.cancelled_owned())
            .boxed()
    }

    async fn open_stream(
        &self,
        session_id: Option<Arc<str>>,
        last_event_id: Option<String>,
        headers: Headers,
        max_event: usize,
    ) -> Result<SseEvents, HttpError> {
        let session = &*self.0;
        let mut request = prepared(session.client.get(&*session.url), session_id, headers);
        if let Some(id) = last_event_id {
            request = request.header(LAST_EVENT_ID, id);
        }
        let response = tokio::select! {
            biased;
            () = session.stop.cancelled() => return Err(HttpError::TransportChannelClosed),
            response = request.send() => response.map_err(|error| Failure::Send(error.without_url())),
        };
        let kind = Kind::OneWay;
        let as_error = |failure: Failure| failure.error(failure.fault(session, &kind));
        let response = response.map_err(as_error)?;
        match response.status() {
            StatusCode::METHOD_NOT_ALLOWED => Err(HttpError::ServerDoesNotSupportSse),
            // These two rmcp does not try again.
            StatusCode::UNAUTHORIZED => {
                Err(HttpError::AuthRequired(AuthRequiredError::new(String::new())))
            }
            StatusCode::FORBIDDEN => {
                Err(HttpError::InsufficientScope(InsufficientScopeError::new(String::new(), None)))
            }
            status if !status.is_success() => Err(as_error(Failure::status(&response))),
            _ if is(&response, EVENT_STREAM) => {
                Ok(self.watched(body::events(response.bytes_stream(), max_event)))
            }
            _ => Err(HttpError::UnexpectedContentType(header(&response, CONTENT_TYPE.as_str()))),
        }
    }
}

/// What a status other than 2xx comes to.
async fn refused(
    message: &ClientJsonRpcMessage,
    kind: &Kind,
    response: reqwest::Response,
    had_session: bool,
) -> Result<StreamableHttpPostResponse, Failure> {
    let status = response.status();
    let failure = Failure::status(&response);
    if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
        return Err(failure);
    }
    // Whatever a server that does not know the probe makes of it: `initialize` is what tells.
    if kind.is_probe() {
        return Ok(StreamableHttpPostResponse::Json(probe_answer(message), None));
    }
    if status == StatusCode::NOT_FOUND && had_session && !kind.is_lifecycle() {
        return Err(Failure::Expired);
    }
    let is_json = is(&response, JSON);
    let text = body::bounded(response, body::ERROR_LIMIT).await.unwrap_or_default();
    let answer = is_json.then(|| serde_json::from_slice::<ServerJsonRpcMessage>(&text).ok());
    match answer.flatten() {
        // The server's own words about one request say more than its status, unless it is the server that failed.
        Some(answer @ ServerJsonRpcMessage::Error(_))
            if kind.expects_answer() && !status.is_server_error() =>
        {
            Ok(StreamableHttpPostResponse::Json(answer, None))
        }
        Some(ServerJsonRpcMessage::Error(error)) => {
            Err(failure.saying(Some(error.error.message.into_owned())))
        }
        _ => Err(failure.saying(body::preview(&text))),
    }
}

/// A request with the headers of the protocol and of the user.
fn prepared(
    request: reqwest::RequestBuilder,
    session_id: Option<Arc<str>>,
    headers: Headers,
) -> reqwest::RequestBuilder {
    let mut request = request.header(ACCEPT, "text/event-stream, application/json");
    for (name, value) in headers {
        request = request.header(name, value);
    }
    match session_id {
        Some(id) => request.header(SESSION_ID, &*id),
        None => request,
    }
}

fn header(response: &reqwest::Response, name: &str) -> Option<String> {
    response.headers().get(name)?.to_str().ok().map(str::to_owned)
}

fn is(response: &reqwest::Response, mime: &str) -> bool {
    header(response, CONTENT_TYPE.as_str()).is_some_and(|value| value.starts_with(mime))
}

impl StreamableHttpClient for SessionClient {
    type Error = Fault;

    async fn post_message(
        &self,
        _uri: Arc<str>,
        message: ClientJsonRpcMessage,
        session_id: Option<Arc<str>>,
        _auth_header: Option<String>,
        headers: Headers,
    ) -> Result<StreamableHttpPostResponse, HttpError> {
        self.post(message, session_id, headers, body::EVENT_LIMIT).await
    }

    async fn post_message_with_max_sse_event_size(
        &self,
        _uri: Arc<str>,
        message: ClientJsonRpcMessage,
        session_id: Option<Arc<str>>,
        _auth_header: Option<String>,
        headers: Headers,
        max_event: usize,
    ) -> Result<StreamableHttpPostResponse, HttpError> {
        self.post(message, session_id, headers, max_event).await
    }

    /// Leaving sends the one DELETE there is (see [`delete`]).
    async fn delete_session(
        &self,
        _uri: Arc<str>,
        _session_id: Arc<str>,
        _auth_header: Option<String>,
        _headers: Headers,
    ) -> Result<(), HttpError> {
        Ok(())
    }

    async fn get_stream(
        &self,
        _uri: Arc<str>,
        session_id: Option<Arc<str>>,
        last_event_id: Option<String>,
        _auth_header: Option<String>,
        headers: Headers,
    ) -> Result<SseEvents, HttpError> {
        self.open_stream(session_id, last_event_id, headers, body::EVENT_LIMIT).await
    }

    async fn get_stream_with_max_sse_event_size(
        &self,
        _uri: Arc<str>,
        session_id: Option<Arc<str>>,
        last_event_id: Option<String>,
        _auth_header: Option<String>,
        headers: Headers,
        max_event: usize,
    ) -> Result<SseEvents, HttpError> {
        self.open_stream(session_id, last_event_id, headers, max_event).await
    }
}
