//! The HTTP side: the admission of requests, and the choice of the era for each.

pub(crate) mod body;
mod health;
mod legacy;
mod listen;
mod modern;
mod pages;
pub(super) mod sessions;
mod streams;

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use http::header::{
    ALLOW, CONTENT_ENCODING, CONTENT_TYPE, EXPECT, HeaderName, ORIGIN, RETRY_AFTER,
    WWW_AUTHENTICATE,
};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use rmcp::model::{ErrorData, JsonRpcError, RequestId, ServerJsonRpcMessage};
use rmcp::transport::streamable_http_server::session::ServerSseMessage;

use self::body::{Body, BodyError};
use super::guard::Refused;
use super::message::{self, Incoming, Unreadable};
use super::{Core, Gateway, accept, guard, headers};
use crate::component::ComponentKind;

/// The revision that a request is of.
const VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
/// The session that a request belongs to.
const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");
/// The last event that a client has seen.
const LAST_EVENT: HeaderName = HeaderName::from_static("last-event-id");

impl Gateway {
    /// Answers one HTTP request, for use inside another HTTP server: the endpoint under
    /// [`path`](super::GatewayOptions::path), and `/health`.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future, or the body of the answer, cancels a request of the newer era. A request of the older era
    /// goes on, because a client of that era may ask for its stream again.
    pub async fn handle<B>(&self, request: Request<B>) -> Response<Body>
    where
        B: hyper::body::Body<Data = Bytes> + Send,
        B::Error: std::fmt::Display,
    {
        self.0.core.handle(request).await
    }
}

/// The form of an answer that a client can read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taste {
    /// A stream, which can carry notifications and questions before the answer.
    Stream,
    /// One JSON object: the answer and nothing else.
    Object,
}

impl Core {
    pub(super) async fn handle<B>(self: &Arc<Self>, request: Request<B>) -> Response<Body>
    where
        B: hyper::body::Body<Data = Bytes> + Send,
        B::Error: std::fmt::Display,
    {
        let (parts, body) = request.into_parts();
        if let Err(refused) = guard::admit(&self.options, &parts.uri, &parts.headers) {
            return turned_away(refused);
        }
        let origin = parts.headers.get(ORIGIN).cloned();
        let mut response = match pages::preflight(&parts.method, &parts.headers) {
            Some(told) => told,
            None => self.admitted(&parts, body).await,
        };
        pages::share(&mut response, origin);
        response
    }

    /// Answers a request whose `Host` and `Origin` are allowed.
    async fn admitted<B>(self: &Arc<Self>, parts: &Parts, body: B) -> Response<Body>
    where
        B: hyper::body::Body<Data = Bytes> + Send,
        B::Error: std::fmt::Display,
    {
        let headers = &parts.headers;
        let path = parts.uri.path();
        let authorized = guard::authorize(&self.options, headers);
        if path == health::PATH {
            return self.health(&parts.method, authorized.is_ok());
        }
        if path.trim_end_matches('/') != self.options.path.trim_end_matches('/') {
            let text = format!("there is nothing here: the endpoint is {}", self.options.path);
            return body::refused(StatusCode::NOT_FOUND, -32600, &text);
        }
        if let Err(refused) = authorized {
            return turned_away(refused);
        }
        // Otherwise the gateway and a proxy before it could each take another value.
        for name in [&VERSION, &SESSION, &LAST_EVENT, &CONTENT_TYPE] {
            if let Err(why) = guard::single(headers, name) {
                return body::refused(StatusCode::BAD_REQUEST, -32600, &why);
            }
        }
        let named = text_of(headers, &VERSION);
        // The body of a POST may say more.
        if parts.method != Method::POST
            && let Some(unknown) = named.filter(|version| !message::is_known(version))
        {
            let error = message::unknown_version(unknown);
            return error_answer(StatusCode::BAD_REQUEST, None, error);
        }
        let is_modern = named.is_some_and(message::is_modern);
        match parts.method {
            Method::DELETE | Method::GET if is_modern && text_of(headers, &SESSION).is_none() => {
                not_allowed("POST")
            }
            // A session can be ended even while the gateway closes.
            Method::DELETE => self.end_session(headers),
            _ if self.is_closing() => closing(),
            Method::POST => self.post(headers, body).await,
            Method::GET => self.listen_to_session(headers),
            _ => not_allowed("GET, POST, DELETE"),
        }
    }

    async fn post<B>(self: &Arc<Self>, headers: &HeaderMap, body: B) -> Response<Body>
    where
        B: hyper::body::Body<Data = Bytes>,
        B::Error: std::fmt::Display,
    {
        let taste = match taste(headers) {
            Some(taste) => taste,
            None => return not_acceptable("application/json or text/event-stream"),
        };
        if !is_json(headers) {
            let text = "a message is sent as Content-Type: application/json";
            return body::refused(StatusCode::UNSUPPORTED_MEDIA_TYPE, -32600, text);
        }
        if let Some(coding) = coding(headers) {
            let text = format!("the body is sent as it is, and not with the coding {coding:?}");
            return body::refused(StatusCode::UNSUPPORTED_MEDIA_TYPE, -32600, &text);
        }
        let limit = self.options.body_limit;
        let mut body = std::pin::pin!(body);
        let text = match body::read(body.as_mut(), limit).await {
            Ok(text) => text,
            Err(BodyError::TooLarge(mut outline)) => {
                // A client that waits to be told to go on has sent nothing yet.
                if !headers.contains_key(EXPECT) {
                    body::drain(body, &mut outline).await;
                }
                let text = format!("the body has more than {limit} bytes");
                let error = ErrorData::invalid_request(text.clone(), None);
                self.fail_questions(headers, &Unreadable::with(&outline, error)).await;
                return body::refused(StatusCode::PAYLOAD_TOO_LARGE, -32600, &text);
            }
            Err(BodyError::Slow) => {
                let text = "the rest of the body did not come in time";
                return body::refused(StatusCode::REQUEST_TIMEOUT, -32600, text);
            }
            Err(BodyError::Broken(why)) => {
                let text = format!("the body cannot be read: {why}");
                return body::refused(StatusCode::BAD_REQUEST, -32700, &text);
            }
        };
        let incoming = match message::read(&text) {
            Ok(incoming) => incoming,
            Err(unreadable) => {
                self.fail_questions(headers, &unreadable).await;
                return body::json(StatusCode::BAD_REQUEST, &unreadable.answer());
            }
        };
        let named = text_of(headers, &VERSION);
        let disagree = incoming.version().is_some_and(|version| named != Some(version));
        if let Some(unknown) = named.filter(|version| !disagree && !message::is_known(version)) {
            let error = message::unknown_version(unknown);
            return error_answer(StatusCode::BAD_REQUEST, incoming.id(), error);
        }
        if is_modern(&incoming, named) {
            if let Err(error) = self.check_modern(headers, &incoming, named) {
                return error_answer(StatusCode::BAD_REQUEST, incoming.id(), error);
            }
            self.answer_modern(headers, incoming, taste).await
        } else {
            self.answer_legacy(headers, incoming, taste).await
        }
    }

    /// Checks the fields that a message of the newer era must have, in its headers and in `_meta`.
    fn check_modern(
        &self,
        headers: &HeaderMap,
        incoming: &Incoming,
        named: Option<&str>,
    ) -> Result<(), ErrorData> {
        let mismatch =
            |why: String| ErrorData::new(rmcp::model::ErrorCode(headers::MISMATCH), why, None);
        if incoming.id().is_some() {
            let Some(version) = incoming.version() else {
                let why = format!("the request has no {:?} in its _meta", message::VERSION_KEY);
                return Err(ErrorData::invalid_params(why, None));
            };
            match named {
                None => return Err(mismatch("the header MCP-Protocol-Version is missing".into())),
                Some(named) if named != version => {
                    return Err(mismatch(format!(
                        "the header MCP-Protocol-Version says {named:?}, and the message {version:?}"
                    )));
                }
                Some(_) => {}
            }
            if !message::is_known(version) {
                return Err(message::unknown_version(version));
            }
            if !incoming.has_capabilities() {
                let why = format!("the request's _meta lacks {}", message::CAPABILITIES_KEY);
                return Err(ErrorData::invalid_params(why, None));
            }
        }
        headers::check(headers, &incoming.raw, |tool| {
            let tool = self.fleet.group.component(ComponentKind::Tool, tool)?;
            tool.input_schema().cloned()
        })
        .map_err(mismatch)
    }
}

/// Whether a message belongs to the newer era. `initialize` never does: with it, a client of the newer era asks for the
/// older one.
fn is_modern(incoming: &Incoming, named: Option<&str>) -> bool {
    match incoming.method() {
        Some("initialize") => false,
        Some("server/discover") => true,
        _ => incoming.version().is_some() || named.is_some_and(message::is_modern),
    }
}

/// The form of an answer to a POST that a client can read; `None` if it accepts neither form.
///
/// A stream is sent only to a client that names its type, because a client that accepts everything may be a person with
/// `curl`.
fn taste(headers: &HeaderMap) -> Option<Taste> {
    let object = accept::weight(headers, "application", "json");
    let stream = accept::weight(headers, "text", "event-stream");
    if stream > 0 && accept::is_named(headers, "text", "event-stream") && stream >= object {
        Some(Taste::Stream)
    } else if object > 0 {
        Some(Taste::Object)
    } else {
        (stream > 0).then_some(Taste::Stream)
    }
}

/// The value of a header, if it is text.
fn text_of<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// The coding of a body, if it has one.
fn coding(headers: &HeaderMap) -> Option<String> {
    let coding = headers.get(CONTENT_ENCODING)?;
    let coding = String::from_utf8_lossy(coding.as_bytes());
    (!coding.trim().eq_ignore_ascii_case("identity")).then(|| coding.into_owned())
}

fn is_json(headers: &HeaderMap) -> bool {
    let read =
        text_of(headers, &CONTENT_TYPE).and_then(|value| mediatype::MediaType::parse(value).ok());
    read.is_some_and(|it| it.ty == "application" && it.subty == "json" && it.suffix.is_none())
}

/// The answer to a method that the endpoint does not have.
fn not_allowed(offered: &'static str) -> Response<Body> {
    let mut response = body::empty(StatusCode::METHOD_NOT_ALLOWED);
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(offered));
    response
}

fn not_acceptable(offered: &str) -> Response<Body> {
    let text = format!("what is offered here is {offered}, and Accept excludes it");
    body::refused(StatusCode::NOT_ACCEPTABLE, -32600, &text)
}

fn turned_away(refused: Refused) -> Response<Body> {
    match refused {
        Refused::Malformed(why) => body::refused(StatusCode::BAD_REQUEST, -32600, &why),
        Refused::Forbidden(why) => body::refused(StatusCode::FORBIDDEN, -32600, &why),
        Refused::Unauthorized => {
            let text = "this gateway asks for Authorization: Bearer with its token";
            let mut response = body::refused(StatusCode::UNAUTHORIZED, -32600, text);
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            response
        }
    }
}

/// The answer of a gateway that accepts no requests any more.
fn closing() -> Response<Body> {
    unavailable("the gateway is closing")
}

/// The answer if a limit is reached at the moment.
fn unavailable(why: &str) -> Response<Body> {
    let mut response = body::refused(StatusCode::SERVICE_UNAVAILABLE, -32603, why);
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("5"));
    response
}

/// A JSON-RPC error as the whole answer.
fn error_answer(status: StatusCode, id: Option<RequestId>, error: ErrorData) -> Response<Body> {
    body::json(status, &JsonRpcError::new(id, error))
}

/// Whether a message is an answer, after which nothing comes on its stream.
fn is_answer(message: &ServerJsonRpcMessage) -> bool {
    matches!(message, ServerJsonRpcMessage::Response(_) | ServerJsonRpcMessage::Error(_))
}

/// Keeps `value` for as long as a stream lives.
fn with<S, T>(stream: S, value: T) -> impl Stream<Item = S::Item> + Send + Sync + 'static
where
    S: Stream + Send + Sync + 'static,
    T: Send + Sync + 'static,
{
    stream.map(move |item| {
        let _kept = &value;
        item
    })
}

/// Reads a stream up to its answer, for a client that cannot read a stream.
async fn answer_of(
    events: impl Stream<Item = ServerSseMessage>,
) -> Option<Arc<ServerJsonRpcMessage>> {
    let mut events = std::pin::pin!(events);
    while let Some(event) = events.next().await {
        if let Some(message) = event.message.filter(|message| is_answer(message)) {
            return Some(message);
        }
    }
    None
}

/// The result of the service of a connection.
type Answered = Result<Response<Body>, Infallible>;
