//! The older era over HTTP: sessions, each with a service that lives as long as it does.

use std::sync::Arc;

use futures_util::{FutureExt, Stream, StreamExt, future, stream};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use moored::CancelScope;
use rmcp::ErrorData;
use rmcp::model::{
    ClientJsonRpcMessage, JsonRpcError, ProtocolVersion, RequestId, ServerJsonRpcMessage,
};
use rmcp::service::serve_server_with_ct;
use rmcp::transport::streamable_http_server::session::ServerSseMessage;
use tokio_util::sync::CancellationToken;

use super::super::answering::Front;
use super::super::client::{Client, served};
use super::super::message::{self, Incoming, Unreadable};
use super::super::{Core, accept};
use super::body::{self, Body};
use super::sessions::{SessionId, Use};
use super::streams::{NotAsked, Rest};
use super::{
    LAST_EVENT, SESSION, Taste, VERSION, answer_of, error_answer, not_acceptable, streams, text_of,
    unavailable, with,
};

impl Core {
    pub(super) async fn answer_legacy(
        self: &Arc<Self>,
        headers: &HeaderMap,
        incoming: Incoming,
        taste: Taste,
    ) -> Response<Body> {
        let id = incoming.id();
        if incoming.method() == Some("initialize") {
            if id.is_none() {
                let error =
                    ErrorData::invalid_request("initialize is a request: it has an id", None);
                return error_answer(StatusCode::BAD_REQUEST, None, error);
            }
            if headers.get(SESSION).is_none() {
                return self.begin_session(incoming, taste).await;
            }
        }
        let used = match self.session(headers) {
            Ok(used) => used,
            Err((status, error)) => return error_answer(status, id, error),
        };
        let mut message = incoming.message;
        if !matches!(message, ClientJsonRpcMessage::Request(_)) {
            return match used.streams.tell(message).await {
                true => body::empty(StatusCode::ACCEPTED),
                false => gone(None),
            };
        }
        message.insert_extension(taste);
        let events = match used.streams.ask(message).await {
            Ok(events) => events,
            Err(NotAsked::Over) => return gone(id),
            Err(NotAsked::IdInUse) => {
                return error_answer(StatusCode::BAD_REQUEST, id, message::id_in_use());
            }
            Err(NotAsked::TakenBack) => return taken_back(id),
        };
        let streams = used.streams.clone();
        let events = with(for_version(events, headers), used);
        match taste {
            Taste::Stream => body::events(events, &self.flushing),
            Taste::Object => match answer_of(events).await {
                Some(answer) => body::json(StatusCode::OK, &*answer),
                None if streams.is_over() => gone(id),
                // A client that reads of no session would begin another one.
                None => taken_back(id),
            },
        }
    }

    /// A message that cannot be read was the answer to a question of the gateway: nobody waits for a better one.
    pub(super) async fn fail_questions(&self, headers: &HeaderMap, unreadable: &Unreadable) {
        let Ok(used) = self.session(headers) else { return };
        for failure in unreadable.failures() {
            let _over = used.streams.tell(failure).await;
        }
    }

    async fn begin_session(self: &Arc<Self>, incoming: Incoming, taste: Taste) -> Response<Body> {
        let id = incoming.id();
        let (streams, wire) = streams::pair();
        let scope = CancelScope::new().named("session of a client");
        let end = scope.handle();
        let Ok(added) = self.sessions.add(streams.clone(), end.clone()) else {
            return unavailable("too many sessions are open");
        };
        let session = added.id.clone();
        // Guarded until the client has the session's id, because a client that goes away before that would leave the
        // session behind.
        let unknown = end.clone().drop_guard();
        let front =
            Front { core: self.clone(), client: Client::new(end.clone(), &*session).into() };
        let core = self.clone();
        self.rest(async move {
            let token = CancellationToken::new();
            let wire = front.client.reasons.read_from(wire);
            let service = serve_server_with_ct(front, wire, token.clone());
            let service = async {
                if let Ok(service) = service.await {
                    let _ended = service.waiting().await;
                }
            };
            let mut served = std::pin::pin!(served(scope, token, service.boxed()));
            tokio::select! {
                () = &mut served => {}
                () = core.sessions.idle(&added.id) => {
                    end.cancel_because("the session was idle for too long");
                    served.await;
                }
            }
        });
        let answer = match streams.ask(incoming.message).await {
            Ok(events) => answer_of(events).await,
            Err(_) => None,
        };
        let Some(answer) = answer else {
            let error = ErrorData::internal_error("the session has ended at its beginning", None);
            return error_answer(StatusCode::INTERNAL_SERVER_ERROR, id, error);
        };
        let is_refused = matches!(*answer, ServerJsonRpcMessage::Error(_));
        let mut response = match taste {
            Taste::Object => body::json(StatusCode::OK, &*answer),
            Taste::Stream => {
                let mut event = ServerSseMessage::default();
                event.message = Some(answer);
                body::events(stream::iter([event]), &self.flushing)
            }
        };
        if is_refused {
            return response;
        }
        unknown.disarm();
        if let Ok(session) = HeaderValue::from_str(&session) {
            response.headers_mut().insert(SESSION, session);
        }
        response
    }

    /// GET: the stream of notifications outside of requests, or the rest of a stream that broke.
    pub(super) fn listen_to_session(&self, headers: &HeaderMap) -> Response<Body> {
        if accept::weight(headers, "text", "event-stream") == 0 {
            return not_acceptable("text/event-stream");
        }
        let used = match self.session(headers) {
            Ok(used) => used,
            Err((status, error)) => return error_answer(status, None, error),
        };
        // An empty id is none (HTML, 9.2).
        let events = match text_of(headers, &LAST_EVENT).filter(|last| !last.is_empty()) {
            Some(last) => used.streams.resume(last),
            None => Rest::Kept(used.streams.common()),
        };
        match events {
            Rest::Kept(events) => {
                body::events(with(for_version(events, headers), used), &self.flushing)
            }
            // A stream that ends without the answer would make many clients ask again without end.
            Rest::Forgotten(request) => {
                let why = "the answer to this request was given, and is not kept any more";
                let error = JsonRpcError::new(Some(request), ErrorData::internal_error(why, None));
                let mut event = ServerSseMessage::default();
                event.message = Some(Arc::new(ServerJsonRpcMessage::Error(error)));
                body::events(stream::iter([event]), &self.flushing)
            }
            Rest::Unknown => {
                let why = "Last-Event-ID names no stream of this session that can be read on";
                let error = ErrorData::invalid_request(why, None);
                error_answer(StatusCode::BAD_REQUEST, None, error)
            }
        }
    }

    /// DELETE: the client ends its session.
    pub(super) fn end_session(&self, headers: &HeaderMap) -> Response<Body> {
        match session_id(headers) {
            None => {
                let error = ErrorData::invalid_request(
                    "DELETE ends the session that it names in Mcp-Session-Id",
                    None,
                );
                error_answer(StatusCode::BAD_REQUEST, None, error)
            }
            Some(id) if self.sessions.end(&id) => body::empty(StatusCode::NO_CONTENT),
            Some(_) => gone(None),
        }
    }

    /// The session that a request names.
    fn session(&self, headers: &HeaderMap) -> Result<Use, (StatusCode, ErrorData)> {
        let Some(id) = session_id(headers) else {
            let text = "the request names no session: initialize first, and send Mcp-Session-Id; or name \
                a revision without sessions in _meta and MCP-Protocol-Version";
            return Err((StatusCode::BAD_REQUEST, ErrorData::invalid_request(text, None)));
        };
        self.sessions.use_(&id).ok_or_else(|| (StatusCode::NOT_FOUND, no_session()))
    }
}

fn session_id(headers: &HeaderMap) -> Option<SessionId> {
    text_of(headers, &SESSION).map(Into::into)
}

fn no_session() -> ErrorData {
    ErrorData::invalid_request("there is no such session: initialize again", None)
}

/// The answer for a session that does not exist any more.
fn gone(id: Option<RequestId>) -> Response<Body> {
    error_answer(StatusCode::NOT_FOUND, id, no_session())
}

/// The answer to a request that was cancelled. Its client does not wait for it.
fn taken_back(id: Option<RequestId>) -> Response<Body> {
    let error = ErrorData::internal_error("the request was cancelled", None);
    error_answer(StatusCode::BAD_REQUEST, id, error)
}

/// Events in a form that clients of a revision can read: before 2025-11-25 some clients take every event for a message.
fn for_version<S>(
    events: S,
    headers: &HeaderMap,
) -> impl Stream<Item = ServerSseMessage> + Send + Sync + 'static
where
    S: Stream<Item = ServerSseMessage> + Send + Sync + 'static,
{
    let reads_all =
        text_of(headers, &VERSION).is_some_and(|it| it >= ProtocolVersion::V_2025_11_25.as_str());
    events.filter(move |event| future::ready(reads_all || event.message.is_some()))
}
