//! The older era over HTTP: sessions, each with a service that lives as long as it does.

use std::pin::Pin;
use std::sync::Arc;

use futures_util::{FutureExt, Stream, StreamExt, future, stream};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use moored::CancelScope;
use rmcp::ErrorData;
use rmcp::model::{ClientJsonRpcMessage, ProtocolVersion};
use rmcp::service::serve_server_with_ct;
use rmcp::transport::streamable_http_server::session::{
    ServerSseMessage, SessionId, SessionManager,
};
use tokio_util::sync::CancellationToken;

use super::super::answering::Front;
use super::super::client::{Client, served};
use super::super::message::Incoming;
use super::super::{Core, accept};
use super::body::{self, Body};
use super::sessions::Use;
use super::{SESSION, Taste, VERSION, answer_of, error_answer, not_acceptable, unavailable, with};

/// The header in which a client names the last event that it has seen.
const LAST_EVENT: &str = "last-event-id";

impl Core {
    pub(super) async fn answer_legacy(
        self: &Arc<Self>,
        headers: &HeaderMap,
        incoming: Incoming,
        taste: Taste,
    ) -> Response<Body> {
        if headers.get(SESSION).is_none() && incoming.method() == Some("initialize") {
            return self.begin_session(incoming, taste).await;
        }
        let id = incoming.id();
        let (session, used) = match self.session(headers) {
            Ok(session) => session,
            Err((status, error)) => return error_answer(status, id, error),
        };
        let message = incoming.message;
        if !matches!(message, ClientJsonRpcMessage::Request(_)) {
            return match self.sessions.manager.accept_message(&session, message).await {
                Ok(()) => body::empty(StatusCode::ACCEPTED),
                Err(_) => gone(None),
            };
        }
        let mut message = message;
        message.insert_extension(taste);
        let events = match self.sessions.manager.create_stream(&session, message).await {
            Ok(events) => with(for_version(events, headers), used),
            Err(_) => return gone(id),
        };
        match taste {
            Taste::Stream => body::events(events, &self.flushing),
            Taste::Object => match answer_of(events).await {
                Some(answer) => body::json(StatusCode::OK, &*answer),
                // The session has ended, or the request was cancelled, so no client waits for an answer.
                None => gone(id),
            },
        }
    }

    async fn begin_session(self: &Arc<Self>, incoming: Incoming, taste: Taste) -> Response<Body> {
        let manager = self.sessions.manager.clone();
        let id = incoming.id();
        let Ok((session, transport)) = manager.create_session().await else {
            return unavailable("no session could be begun");
        };
        let scope = CancelScope::new().named("session of a client");
        let end = scope.handle();
        if self.sessions.add(session.clone(), end.clone()).is_err() {
            let _ = manager.close_session(&session).await;
            return unavailable("too many sessions are open");
        }
        // Guarded until the client has the session's id, because a client that goes away before that would leave the
        // session behind.
        let unknown = end.clone().drop_guard();
        let front =
            Front { core: self.clone(), client: Client::new(end.clone(), &*session).into() };
        let (core, its) = (self.clone(), session.clone());
        self.rest(async move {
            let token = CancellationToken::new();
            let service = serve_server_with_ct(front, transport, token.clone());
            let service = async {
                if let Ok(service) = service.await {
                    let _ended = service.waiting().await;
                }
            };
            let mut served = std::pin::pin!(served(scope, token, service.boxed()));
            tokio::select! {
                () = &mut served => {}
                () = core.sessions.idle(&its) => {
                    end.cancel_because("the session was idle for too long");
                    served.await;
                }
            }
            core.sessions.end(&its);
            let _ = core.sessions.manager.close_session(&its).await;
        });
        let answer = match manager.initialize_session(&session, incoming.message).await {
            Ok(answer) => answer,
            Err(error) => {
                let error = ErrorData::internal_error(format!("no session: {error}"), None);
                return error_answer(StatusCode::INTERNAL_SERVER_ERROR, id, error);
            }
        };
        let is_refused = matches!(answer, rmcp::model::ServerJsonRpcMessage::Error(_));
        let mut response = match taste {
            Taste::Object => body::json(StatusCode::OK, &answer),
            Taste::Stream => {
                let answer = stream::iter([ServerSseMessage::from_message(answer)]);
                body::events(answer, &self.flushing)
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
    pub(super) async fn listen_to_session(self: &Arc<Self>, headers: &HeaderMap) -> Response<Body> {
        if accept::weight(headers, "text", "event-stream") == 0 {
            return not_acceptable("text/event-stream");
        }
        let (session, used) = match self.session(headers) {
            Ok(session) => session,
            Err((status, error)) => return error_answer(status, None, error),
        };
        let manager = &self.sessions.manager;
        let last = headers.get(LAST_EVENT).and_then(|last| last.to_str().ok());
        let events: Pin<Box<dyn Stream<Item = ServerSseMessage> + Send + Sync>> = match last {
            Some(last) => match manager.resume(&session, last.to_owned()).await {
                Ok(events) => Box::pin(events),
                // An error would make the client ask again without end.
                Err(_) => Box::pin(stream::empty()),
            },
            None => match manager.create_standalone_stream(&session).await {
                Ok(events) => Box::pin(events),
                Err(_) => return gone(None),
            },
        };
        body::events(with(for_version(events, headers), used), &self.flushing)
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
    fn session(&self, headers: &HeaderMap) -> Result<(SessionId, Use), (StatusCode, ErrorData)> {
        let Some(id) = session_id(headers) else {
            let text = "the request names no session: initialize first, and send Mcp-Session-Id; or name \
                a revision without sessions in _meta and MCP-Protocol-Version";
            return Err((StatusCode::BAD_REQUEST, ErrorData::invalid_request(text, None)));
        };
        match self.sessions.use_(&id) {
            Some(used) => Ok((id, used)),
            None => Err((StatusCode::NOT_FOUND, no_session())),
        }
    }
}

fn session_id(headers: &HeaderMap) -> Option<SessionId> {
    Some(headers.get(SESSION)?.to_str().ok()?.into())
}

fn no_session() -> ErrorData {
    ErrorData::invalid_request("there is no such session: initialize again", None)
}

/// The answer for a session that does not exist any more.
fn gone(id: Option<rmcp::model::RequestId>) -> Response<Body> {
    error_answer(StatusCode::NOT_FOUND, id, no_session())
}

/// Events in a form that clients of a revision can read: before 2025-11-25 some clients take every event for a message.
fn for_version<S>(
    events: S,
    headers: &HeaderMap,
) -> impl Stream<Item = ServerSseMessage> + Send + Sync + 'static
where
    S: Stream<Item = ServerSseMessage> + Send + Sync + 'static,
{
    let named = headers.get(VERSION).and_then(|version| version.to_str().ok());
    let reads_all = named.is_some_and(|it| it >= ProtocolVersion::V_2025_11_25.as_str());
    events.filter(move |event| future::ready(reads_all || event.message.is_some()))
}
