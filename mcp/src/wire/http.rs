//! Streamable HTTP: the client through which rmcp posts, ours from the socket up.
//!
//! One `reqwest` client serves the whole group. Each session wraps it: every operation ends when the session is
//! stopped, every failure is classified and kept with its whole chain, the session id is read as soon as its header
//! arrives, and rmcp's own DELETE does nothing, because leaving sends ours and keeps its status.

use std::sync::Arc;

use http::{HeaderValue, StatusCode};
use parking_lot::Mutex;
use reqwest::Response;
use reqwest::header::CONTENT_TYPE;
use rmcp::model::{ClientJsonRpcMessage, ErrorCode, ServerJsonRpcMessage, ServerResult};
use rmcp::transport::streamable_http_client::{
    AuthRequiredError, InsufficientScopeError, StreamableHttpClient, StreamableHttpError,
    StreamableHttpPostResponse,
};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::authorized::Credentials;
use self::client::Client;
use self::failure::Failure;
use self::headers::{Headers, LAST_EVENT_ID, PROTOCOL_VERSION, SESSION_ID, prepared};
use self::open::Open;
use self::stream::{ResponseStream, RmcpEvents, Way};
use super::handshake::{Agreed, check_version};
use super::incoming::{self, Incoming};
use super::message::{Kind, answered_id};
use super::pending::{Pending, Waits};
use super::recorder::Recorder;
use super::{body, events, undelivered};
use crate::auth::Authorize;
use crate::fault::Fault;

mod authorized;
pub(crate) mod client;
pub(crate) mod delete;
mod failure;
pub(crate) mod headers;
mod line;
mod open;
mod proxy;
mod resend;
mod stream;

pub(crate) use self::line::Posts;

const JSON: &str = "application/json";
const EVENT_STREAM: &str = "text/event-stream";

/// rmcp's error around our fault.
pub(crate) type HttpError = StreamableHttpError<Fault>;

/// One HTTP session: the state for its requests and for its DELETE.
#[derive(Debug)]
pub(crate) struct HttpSession {
    url: Arc<str>,
    /// The address without parts that may be secrets, for texts.
    shown_url: String,
    headers: Headers,
    credentials: Credentials,
    client: Client,
    recorder: Arc<Recorder>,
    stop: CancellationToken,
    pending: Arc<Pending>,
    /// The exchanges under way. A DELETE waits for them, because one of them may be about to receive the
    /// session's id.
    exchanges: TaskTracker,
    open: Mutex<Open>,
}

impl HttpSession {
    pub(crate) fn new(
        url: &str,
        (headers, provider): (Headers, Option<Authorize>),
        client: Client,
        recorder: Arc<Recorder>,
        pending: Arc<Pending>,
        stop: CancellationToken,
    ) -> Self {
        let shown_url = headers::shown(url);
        let credentials = Credentials::new(provider, &headers);
        let url = url.into();
        let (exchanges, open) = (TaskTracker::new(), Mutex::default());
        exchanges.close();
        Self {
            url,
            shown_url,
            headers,
            credentials,
            client,
            recorder,
            stop,
            pending,
            exchanges,
            open,
        }
    }

    /// The address, in rmcp's type.
    pub(crate) fn url(&self) -> Arc<str> {
        self.url.clone()
    }

    /// The user's headers.
    pub(crate) fn headers(&self) -> Headers {
        self.headers.clone()
    }

    /// Records the revision that the server has chosen, because every later request has to name it, including a DELETE
    /// after a failed handshake. It has to be a revision that we speak, also if a session is begun anew.
    fn negotiated(&self, answer: &ServerJsonRpcMessage) -> Result<(), Failure> {
        if let ServerJsonRpcMessage::Response(response) = answer
            && let ServerResult::InitializeResult(result) = &response.result
        {
            check_version(result).map_err(Failure::Told)?;
            let version = HeaderValue::from_str(result.protocol_version.as_str());
            self.open.lock().protocol_version = version.ok();
        }
        Ok(())
    }

    /// Stores the result of the handshake, with which rmcp's own first request will be
    /// answered.
    pub(crate) fn agreed(&self, agreed: Agreed) {
        self.open.lock().agreed(agreed);
    }

    /// Reads a body that has to be the answer to the waiting request.
    fn answer(&self, body: &[u8], waits: &Waits) -> Result<ServerJsonRpcMessage, Failure> {
        let mut what = "an empty body".to_owned();
        for incoming in incoming::read(body, &self.pending, waits.id()) {
            what = match incoming {
                Incoming::Noise(what) => what,
                Incoming::Message(mut message, mark) => {
                    self.credentials.hide_in(&mut message);
                    if let Some(mark) = mark {
                        self.recorder.warn(mark);
                    }
                    if waits.is_answered_by(&message) {
                        return match undelivered::fault_in(&message) {
                            Some(fault) => Err(Failure::Told(fault)),
                            None => Ok(message),
                        };
                    }
                    match answered_id(&message) {
                        Some(id) => format!("the answer to another request ({id})"),
                        None => "a request or a notification".into(),
                    }
                }
            };
        }
        Err(Failure::NotAnAnswer(what))
    }
}

/// The session's view of the shared client.
#[derive(Debug, Clone)]
pub(crate) struct SessionClient(pub(crate) Arc<HttpSession>);

impl SessionClient {
    /// Posts one message; a failure is recorded before rmcp can flatten it.
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
        if let Some(answer) = session.open.lock().replay(&message, &kind) {
            return Ok(answer);
        }
        if kind.is_lifecycle() {
            session.recorder.phase(kind.phase());
        }
        let version = headers.get(&PROTOCOL_VERSION).cloned();
        // `initialize` begins anew: the revision of the probe no longer counts.
        if version.is_some() || kind.is_initialize() {
            session.open.lock().protocol_version = version;
        }
        let result = tokio::select! {
            biased;
            () = session.stop.cancelled() => return Err(HttpError::TransportChannelClosed),
            result = self.exchange(&message, &kind, session_id, headers, max_event) => result,
        };
        if result.is_ok() && session.open.lock().taken(&kind) {
            session.pending.notices.renewed();
        }
        result.map_err(|failure| {
            let fault = failure.fault(session, &kind);
            session.recorder.fault(fault.clone());
            if session.open.lock().renews(&kind) {
                session.recorder.not_renewed(fault.clone());
            }
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
        let waits = session.pending.waits(message);
        let response = session
            .send(kind.is_repeatable(), |client| {
                prepared(client.post(&*session.url), session_id.as_deref(), &headers).json(message)
            })
            .await?;
        let new_id = headers::text(&response, &SESSION_ID).filter(|id| !id.is_empty());
        if let Some(id) = &new_id {
            session.open.lock().learned(kind, id);
        }
        if !response.status().is_success() {
            return refused(session, kind, response, had_session, &waits).await;
        }
        if !kind.expects_answer() {
            return Ok(StreamableHttpPostResponse::Accepted);
        }
        if let Some(coding) = headers::unknown_coding(&response) {
            let what = format!("the content coding {coding:?}, which was not asked for");
            return Err(Failure::Unexpected(what));
        }
        if headers::is(&response, EVENT_STREAM) {
            let session_id = session_id.map(|id| id.to_string()).or_else(|| new_id.clone());
            let way = Way { session_id, headers, max_event };
            let stream =
                ResponseStream::of_request(self.clone(), kind.clone(), waits, way, response);
            if !kind.is_lifecycle() {
                return Ok(StreamableHttpPostResponse::Sse(stream.into_events(), new_id));
            }
            // The answer of the handshake is read here, where its faults can be recorded and its time is
            // bounded.
            let answer = stream.answer().await?;
            session.negotiated(&answer)?;
            return Ok(StreamableHttpPostResponse::Json(answer, new_id));
        }
        if headers::is(&response, JSON) {
            let bytes = body::bounded(response, body::JSON_LIMIT).await?;
            let answer = session.answer(&bytes, &waits)?;
            session.negotiated(&answer)?;
            return Ok(StreamableHttpPostResponse::Json(answer, new_id));
        }
        Err(Failure::Unexpected(other_content(&response)))
    }

    /// Posts the answer to a request of the server that came before the handshake was over.
    async fn post_early(&self, answer: &ClientJsonRpcMessage, way: &Way) -> Result<(), Failure> {
        let session = &*self.0;
        let response = session
            .send(true, |client| {
                let request = client.post(&*session.url);
                prepared(request, way.session_id.as_deref(), &way.headers).json(answer)
            })
            .await?;
        if response.status().is_success() { Ok(()) } else { Err(Failure::of(response).await.0) }
    }

    /// Requests a stream of events: that of the session, or the rest of a lost stream.
    async fn get(&self, way: &Way, last_event_id: Option<&str>) -> Result<Response, Failure> {
        let session = &*self.0;
        let response = session
            .send(true, |client| {
                let request = client.get(&*session.url);
                let request = prepared(request, way.session_id.as_deref(), &way.headers);
                match last_event_id {
                    Some(id) => request.header(LAST_EVENT_ID, id),
                    None => request,
                }
            })
            .await?;
        if !response.status().is_success() {
            return Err(Failure::of(response).await.0);
        }
        if !headers::is(&response, EVENT_STREAM) {
            return Err(Failure::Unexpected(other_content(&response)));
        }
        Ok(response)
    }

    /// Opens the stream of the session.
    async fn open_stream(
        &self,
        way: Way,
        last_id: Option<String>,
    ) -> Result<RmcpEvents, HttpError> {
        let session = &*self.0;
        let opened = tokio::select! {
            biased;
            () = session.stop.cancelled() => return Err(HttpError::TransportChannelClosed),
            opened = self.get(&way, last_id.as_deref()) => opened,
        };
        match opened {
            Ok(response) => {
                Ok(ResponseStream::of_session(self.clone(), way, response).into_events())
            }
            // rmcp does not retry these.
            Err(Failure::Status { status: StatusCode::METHOD_NOT_ALLOWED, .. }) => {
                Err(HttpError::ServerDoesNotSupportSse)
            }
            Err(Failure::Status { status: StatusCode::UNAUTHORIZED, .. }) => {
                Err(HttpError::AuthRequired(AuthRequiredError::new(String::new())))
            }
            Err(Failure::Status { status: StatusCode::FORBIDDEN, .. }) => {
                Err(HttpError::InsufficientScope(InsufficientScopeError::new(String::new(), None)))
            }
            Err(failure) => Err(failure.error(failure.fault(session, &Kind::Stream))),
        }
    }
}

/// A content type that is neither of the two in the protocol.
fn other_content(response: &Response) -> String {
    match headers::text(response, &CONTENT_TYPE) {
        _ if response.status() != StatusCode::OK => format!("HTTP {}", response.status()),
        Some(content_type) => format!("the content type {content_type:?}"),
        None => "no content type".into(),
    }
}

/// The result of a status other than 2xx.
async fn refused(
    session: &HttpSession,
    kind: &Kind,
    response: Response,
    had_session: bool,
    waits: &Waits,
) -> Result<StreamableHttpPostResponse, Failure> {
    let status = response.status();
    let is_json = headers::is(&response, JSON);
    let (failure, text) = Failure::of(response).await;
    if status == StatusCode::NOT_FOUND && had_session && !kind.is_lifecycle() {
        // A server that does not know the method knows the session, even if its status is 404.
        if is_json
            && let Ok(answer @ ServerJsonRpcMessage::Error(_)) = session.answer(&text, waits)
            && is_unknown_method(&answer)
        {
            return Ok(StreamableHttpPostResponse::Json(answer, None));
        }
        // In a new session the same answer has another reason.
        let is_first = session.open.lock().expires(waits.id());
        return Err(if is_first { Failure::Expired } else { failure });
    }
    if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
        return Err(failure);
    }
    // The server's error text about a request is more precise than its status, unless the server itself
    // failed.
    if is_json
        && kind.expects_answer()
        && status.is_client_error()
        && let Ok(answer @ ServerJsonRpcMessage::Error(_)) = session.answer(&text, waits)
    {
        return Ok(StreamableHttpPostResponse::Json(answer, None));
    }
    Err(failure)
}

fn is_unknown_method(answer: &ServerJsonRpcMessage) -> bool {
    matches!(answer, ServerJsonRpcMessage::Error(error) if error.error.code == ErrorCode::METHOD_NOT_FOUND)
}

fn way(session_id: Option<Arc<str>>, headers: Headers, max_event: usize) -> Way {
    Way { session_id: session_id.map(|id| id.to_string()), headers, max_event }
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
        self.post(message, session_id, headers, events::EVENT_LIMIT).await
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

    /// Leaving sends the only DELETE (see [`delete`]).
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
    ) -> Result<RmcpEvents, HttpError> {
        self.open_stream(way(session_id, headers, events::EVENT_LIMIT), last_event_id).await
    }

    async fn get_stream_with_max_sse_event_size(
        &self,
        _uri: Arc<str>,
        session_id: Option<Arc<str>>,
        last_event_id: Option<String>,
        _auth_header: Option<String>,
        headers: Headers,
        max_event: usize,
    ) -> Result<RmcpEvents, HttpError> {
        self.open_stream(way(session_id, headers, max_event), last_event_id).await
    }
}
