//! The newer era over HTTP: no sessions. Each request has its own service, and only the body of its answer connects it
//! with its client.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{FutureExt, StreamExt, stream};
use http::header::AUTHORIZATION;
use http::{HeaderMap, Response, StatusCode};
use moored::CancelScope;
use rmcp::model::{
    ClientCapabilities, ClientJsonRpcMessage, ClientRequest, ErrorCode, Implementation,
    InitializeRequestParams, ProtocolVersion, ServerJsonRpcMessage,
};
use rmcp::service::serve_directly_with_ct;
use rmcp::transport::OneshotTransport;
use rmcp::transport::streamable_http_server::session::ServerSseMessage;
use tokio::sync::mpsc::Receiver;
use tokio_util::sync::CancellationToken;

use super::super::Core;
use super::super::answering::Front;
use super::super::client::{Client, served};
use super::super::message::Incoming;
use super::super::unread::Bounded;
use super::body::{self, Body};
use super::{Taste, answer_of, error_answer, is_answer, with};

/// The time before a stream is begun for an answer. An answer that comes earlier has a status of its own.
const FIRST: Duration = Duration::from_secs(1);

impl Core {
    pub(super) async fn answer_modern(
        self: &Arc<Self>,
        headers: &HeaderMap,
        incoming: Incoming,
        taste: Taste,
    ) -> Response<Body> {
        // The identity of the client, as far as it is known.
        let authorization = headers.get(AUTHORIZATION).map(|value| value.as_bytes());
        let owner = String::from_utf8_lossy(authorization.unwrap_or_default()).into_owned();
        let id = incoming.id();
        let request = match incoming.message {
            message @ ClientJsonRpcMessage::Request(_) => message,
            // Other notifications have no effect, because a request is cancelled by closing its stream.
            ClientJsonRpcMessage::Notification(_) => return body::empty(StatusCode::ACCEPTED),
            _ => {
                let text = "nothing was asked that this could be the answer to";
                return body::refused(StatusCode::BAD_REQUEST, -32600, text);
            }
        };
        let is_relayed = is_relayed(&request);
        let (transport, mut messages) = OneshotTransport::new(request);
        let (scope, token) =
            (CancelScope::new().named("request of a client"), CancellationToken::new());
        let end = scope.handle();
        let front = Front { core: self.clone(), client: Client::new(end.clone(), owner).into() };
        // Dropped with this future, or with the body of the answer, because then no client waits any more.
        let guard = end.drop_guard();
        let service =
            serve_directly_with_ct(front, Bounded::new(transport), Some(nobody()), token.clone());
        let service = async move {
            let _ended = service.waiting().await;
        };
        self.wire(served(scope, token, service.boxed()));
        let first = match taste {
            Taste::Object => {
                let events = events(None, messages);
                let answer = answer_of(events).await;
                return match answer {
                    Some(answer) => body::json(status(&answer, is_relayed), &*answer),
                    None => super::closing(),
                };
            }
            Taste::Stream => tokio::time::timeout(FIRST, messages.recv()).await,
        };
        match first {
            Ok(Some(answer)) if is_answer(&answer) => {
                body::json(status(&answer, is_relayed), &answer)
            }
            Ok(Some(message)) => {
                body::events(with(events(Some(message), messages), guard), &self.flushing)
            }
            Ok(None) => {
                let error = rmcp::ErrorData::internal_error("the request has no answer", None);
                error_answer(StatusCode::INTERNAL_SERVER_ERROR, id, error)
            }
            Err(_) => body::events(with(events(None, messages), guard), &self.flushing),
        }
    }
}

/// The messages to a client as events.
fn events(
    first: Option<ServerJsonRpcMessage>,
    mut rest: Receiver<ServerJsonRpcMessage>,
) -> impl futures_util::Stream<Item = ServerSseMessage> + Send + Sync + 'static {
    let rest = stream::poll_fn(move |cx| rest.poll_recv(cx));
    stream::iter(first).chain(rest).map(ServerSseMessage::from_message)
}

/// Whether a server behind the gateway answers the request.
fn is_relayed(request: &ClientJsonRpcMessage) -> bool {
    let ClientJsonRpcMessage::Request(request) = request else { return false };
    matches!(
        request.request,
        ClientRequest::CallToolRequest(_)
            | ClientRequest::GetPromptRequest(_)
            | ClientRequest::ReadResourceRequest(_)
            | ClientRequest::CompleteRequest(_)
    )
}

/// The status that goes with an answer. 404 is for a method that this endpoint does not have, and not for the error of a server
/// behind it.
fn status(answer: &ServerJsonRpcMessage, is_relayed: bool) -> StatusCode {
    let ServerJsonRpcMessage::Error(error) = answer else { return StatusCode::OK };
    match error.error.code {
        ErrorCode::UNSUPPORTED_PROTOCOL_VERSION
        | ErrorCode::MISSING_REQUIRED_CLIENT_CAPABILITY
        | ErrorCode::HEADER_MISMATCH => StatusCode::BAD_REQUEST,
        ErrorCode::METHOD_NOT_FOUND if !is_relayed => StatusCode::NOT_FOUND,
        _ => StatusCode::OK,
    }
}

/// The description of a client that has sent none: a request of the newer era describes its client in `_meta`.
fn nobody() -> InitializeRequestParams {
    let nobody = Implementation::new("unknown", "0");
    InitializeRequestParams::new(ClientCapabilities::default(), nobody)
        .with_protocol_version(ProtocolVersion::V_2026_07_28)
}
