//! The exchanges of a session: a message is posted, a stream is requested, and the answer is classified.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::OptionFuture;
use http::{StatusCode, Version};
use reqwest::Response;
use reqwest::header::CONTENT_TYPE;
use rmcp::model::{ClientJsonRpcMessage, ErrorCode, ServerJsonRpcMessage};
use rmcp::transport::streamable_http_client::{
    AuthRequiredError, InsufficientScopeError, StreamableHttpPostResponse,
};
use tokio::sync::MutexGuard;

use super::cancelling::Cancellation;
use super::failure::{self, Failure};
use super::headers::{self, Headers, LAST_EVENT_ID, PROTOCOL_VERSION, SESSION_ID, prepared};
use super::outliving::UNTIL_STOPPED;
use super::stream::{Begun, ResponseStream, RmcpEvents, Way};
use super::{EVENT_STREAM, HttpError, HttpSession, JSON};
use crate::wire::body;
use crate::wire::message::{Kind, cancelled_id, request_id};
use crate::wire::pending::Waits;

/// The time for which the body of an answer is read that needs none.
const BESIDE: Duration = Duration::from_millis(200);
/// The time that a setting may take after its caller has gone away: long enough for the server to have taken the request, which
/// is all that the order of settings needs.
const ALONE: Duration = Duration::from_millis(500);

/// The session's view of the shared client.
#[derive(Debug, Clone)]
pub(crate) struct SessionClient(pub(crate) Arc<HttpSession>);

impl SessionClient {
    /// Posts one message; a failure is recorded before rmcp can flatten it.
    pub(super) async fn post(
        &self,
        message: ClientJsonRpcMessage,
        session_id: Option<Arc<str>>,
        headers: Headers,
        max_event: usize,
    ) -> Result<StreamableHttpPostResponse, HttpError> {
        let session = &*self.0;
        if let Some(id) = cancelled_id(&message).cloned() {
            session.cancel(&id, Cancellation { message, session_id, headers });
            return Ok(StreamableHttpPostResponse::Accepted);
        }
        let Some(_under_way) = session.stop.exchange() else {
            return Err(HttpError::TransportChannelClosed);
        };
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
        let asked = request_id(&message).cloned();
        let exchange = async {
            if kind.is_initialize() || kind.is_setting() {
                return self.outliving(message, kind.clone(), session_id, headers, max_event).await;
            }
            if !kind.is_lifecycle() && kind.expects_answer() {
                session.cancellations.room().await;
            }
            self.exchange(&message, &kind, session_id, headers, max_event).await
        };
        let result = tokio::select! {
            biased;
            () = session.stop.requested() => return Err(HttpError::TransportChannelClosed),
            result = exchange => result,
        };
        // Otherwise rmcp drops the future, and a cancellation follows.
        if let Some(id) = &asked
            && !matches!(result, Ok(StreamableHttpPostResponse::Sse(..)))
        {
            session.pending.over(id);
        }
        if result.is_ok() && session.open.lock().taken(&kind) {
            session.pending.renewed();
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

    /// An exchange that goes on if rmcp no longer waits for it. The answer to `initialize` may carry the id of a new session,
    /// which has to be ended. A setting takes effect at the server even then, and the next one must not overtake it.
    async fn outliving(
        &self,
        message: ClientJsonRpcMessage,
        kind: Kind,
        session_id: Option<Arc<str>>,
        headers: Headers,
        max_event: usize,
    ) -> Result<StreamableHttpPostResponse, Failure> {
        let (session, client) = (&*self.0, self.clone());
        let alone = if kind.is_setting() { ALONE } else { UNTIL_STOPPED };
        if kind.is_setting() {
            session.pending.queued(&message);
        }
        let asked = session.outliving.begin(alone, async move {
            let turn = OptionFuture::from(kind.is_setting().then(|| client.in_turn(&message)));
            let _in_turn = turn.await.transpose()?;
            client.exchange(&message, &kind, session_id, headers, max_event).await
        });
        asked.await.unwrap_or_else(|| Err(Failure::NoAnswer { noise: None }))
    }

    /// Waits until the settings before have taken effect. Fails if the request is withdrawn before that.
    async fn in_turn(&self, message: &ClientJsonRpcMessage) -> Result<MutexGuard<'_, ()>, Failure> {
        let turn = self.0.settings.lock().await;
        let is_wanted = request_id(message).is_some_and(|id| self.0.pending.written(id));
        if is_wanted { Ok(turn) } else { Err(Failure::NoAnswer { noise: None }) }
    }

    pub(super) async fn exchange(
        &self,
        message: &ClientJsonRpcMessage,
        kind: &Kind,
        session_id: Option<Arc<str>>,
        headers: Headers,
        max_event: usize,
    ) -> Result<StreamableHttpPostResponse, Failure> {
        let session = &*self.0;
        let had_session = session_id.is_some();
        let mut waits = session.pending.waits(message);
        if session.open.lock().is_legacy() {
            waits.until_cancelled();
        }
        let response = session
            .send(kind.is_repeatable(), |client| {
                prepared(client.post(session.target.clone()), session_id.as_deref(), &headers)
                    .json(message)
            })
            .await?;
        if kind.is_lifecycle() {
            session.open.lock().shares_connection = response.version() >= Version::HTTP_2;
        }
        if headers::is_no_text(&response, &SESSION_ID) {
            session.recorder.warn(
                "the Mcp-Session-Id of the server is not visible ASCII, so its session is neither used nor ended",
            );
        }
        let new_id = headers::text(&response, &SESSION_ID).filter(|id| !id.is_empty());
        if let Some(id) = &new_id {
            session.open.lock().learned(kind, id);
        }
        if !response.status().is_success() {
            return refused(session, kind, response, had_session, &waits).await;
        }
        if !kind.expects_answer() {
            if headers::is(&response, JSON) {
                self.note_error_in(response, kind).await;
            }
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
            return self.answered_by(stream, kind, new_id).await;
        }
        if headers::is(&response, JSON) {
            let bytes = body::bounded(response, body::JSON_LIMIT).await?;
            let answer = session.answer(&bytes, &waits)?;
            session.negotiated(&answer)?;
            return Ok(StreamableHttpPostResponse::Json(answer, new_id));
        }
        Err(Failure::Unexpected(other_content(&response)))
    }

    /// The answer to a request is in a stream, or will be.
    async fn answered_by(
        &self,
        stream: ResponseStream,
        kind: &Kind,
        new_id: Option<String>,
    ) -> Result<StreamableHttpPostResponse, Failure> {
        if kind.is_list() {
            // A page is not written and read again on its way through rmcp.
            return Ok(match stream.begin().await? {
                Begun::Answer(page) => StreamableHttpPostResponse::Json(*page, new_id),
                Begun::Other(stream) => {
                    StreamableHttpPostResponse::Sse(stream.into_events(), new_id)
                }
            });
        }
        if !kind.is_lifecycle() {
            return Ok(StreamableHttpPostResponse::Sse(stream.into_events(), new_id));
        }
        // The answer of the handshake is read here, where its faults can be recorded and its time is
        // bounded.
        let answer = stream.answer().await?;
        self.0.negotiated(&answer)?;
        Ok(StreamableHttpPostResponse::Json(answer, new_id))
    }

    /// A message that needs no answer was accepted. An error in the body all the same is a warning, because the status says
    /// that the session goes on.
    async fn note_error_in(&self, response: Response, kind: &Kind) {
        let session = &*self.0;
        // Such a body comes with its head. The session does not wait for one that is late.
        let body = tokio::time::timeout(BESIDE, body::beginning(response)).await;
        if let Some(words) = body.ok().and_then(|body| failure::error_in(&body)) {
            let (url, to) = (&session.shown_url, kind.subject());
            session
                .recorder
                .warn(format!("{url} accepted {to} and answered with an error: {words}"));
        }
    }

    /// Posts the answer to a request of the server that came before the handshake was over.
    pub(super) async fn post_early(
        &self,
        answer: &ClientJsonRpcMessage,
        way: &Way,
    ) -> Result<(), Failure> {
        let session = &*self.0;
        let response = session
            .send(true, |client| {
                let request = client.post(session.target.clone());
                prepared(request, way.session_id.as_deref(), &way.headers).json(answer)
            })
            .await?;
        if response.status().is_success() { Ok(()) } else { Err(Failure::of(response).await.0) }
    }

    /// Requests a stream of events: that of the session, or the rest of a lost stream.
    pub(super) async fn get(
        &self,
        way: &Way,
        last_event_id: Option<&str>,
    ) -> Result<Response, Failure> {
        let session = &*self.0;
        let response = session
            .send(true, |client| {
                let request = client.get(session.target.clone());
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
    pub(super) async fn open_stream(
        &self,
        way: Way,
        last_id: Option<String>,
    ) -> Result<RmcpEvents, HttpError> {
        let session = &*self.0;
        let opened = tokio::select! {
            biased;
            () = session.stop.requested() => return Err(HttpError::TransportChannelClosed),
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
            // rmcp would go on without the stream.
            Err(failure) if !failure.is_final() => {
                Ok(ResponseStream::of_session_later(self.clone(), way, &failure).into_events())
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
    if matches!(status, StatusCode::NOT_FOUND | StatusCode::GONE)
        && had_session
        && !kind.is_lifecycle()
    {
        // A server that does not know the method knows the session, even if its status is 404.
        if is_json
            && let Ok(answer @ ServerJsonRpcMessage::Error(_)) = session.answer(&text, waits)
            && is_unknown_method(&answer)
        {
            return Ok(StreamableHttpPostResponse::Json(answer, None));
        }
        // In a new session the same answer has another reason.
        let is_first = session.open.lock().expires(kind, waits.id());
        return Err(if is_first { Failure::Expired(status) } else { failure });
    }
    if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
        return Err(failure);
    }
    // The server's error text about a request is more precise than its status, unless the server itself
    // failed, or asks to wait.
    if is_json
        && kind.expects_answer()
        && status.is_client_error()
        && status != StatusCode::TOO_MANY_REQUESTS
        && let Ok(answer @ ServerJsonRpcMessage::Error(_)) = session.answer(&text, waits)
    {
        return Ok(StreamableHttpPostResponse::Json(answer, None));
    }
    Err(failure)
}

fn is_unknown_method(answer: &ServerJsonRpcMessage) -> bool {
    matches!(answer, ServerJsonRpcMessage::Error(error) if error.error.code == ErrorCode::METHOD_NOT_FOUND)
}
