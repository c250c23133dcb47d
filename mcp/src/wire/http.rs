//! Streamable HTTP: the client through which rmcp posts, ours from the socket up.
//!
//! One `reqwest` client serves the whole group. Each session wraps it: every operation ends when the session is
//! stopped, every failure is classified and kept with its whole chain, the session id is read as soon as its header
//! arrives, and rmcp's own DELETE does nothing, because leaving sends ours and keeps its status.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use http::HeaderValue;
use moored::GroupSpawner;
use parking_lot::Mutex;
use rmcp::model::{ServerJsonRpcMessage, ServerResult};
use rmcp::transport::streamable_http_client::StreamableHttpError;

use self::cancelling::Cancellations;
use self::client::Client;
use self::cookies::Cookies;
use self::failure::Failure;
use self::headers::Headers;
use self::open::Open;
use self::outliving::Outliving;
use super::handshake::{Agreed, check_version};
use super::incoming;
use super::message::answered_id;
use super::pending::{Pending, Waits};
use super::recorder::Recorder;
use super::stop::Stop;
use super::undelivered;
use crate::auth::Authorize;
#[cfg(feature = "auth")]
use crate::auth::Scopes;
use crate::fault::Fault;

mod authorized;
mod cancelling;
pub(crate) mod client;
mod cookies;
pub(crate) mod delete;
mod failure;
pub(crate) mod headers;
mod line;
mod open;
mod outliving;
mod post;
mod proxy;
mod resend;
mod service;
mod stream;

pub(crate) use self::line::Posts;
pub(crate) use self::post::SessionClient;

const JSON: &str = "application/json";
const EVENT_STREAM: &str = "text/event-stream";

/// rmcp's error around our fault.
pub(crate) type HttpError = StreamableHttpError<Fault>;

/// One HTTP session: the state for its requests and for its DELETE.
#[derive(Debug)]
pub(crate) struct HttpSession {
    url: Arc<str>,
    /// The address as requests have it, parsed once for all of them.
    target: reqwest::Url,
    /// The address without parts that may be secrets, for texts.
    shown_url: String,
    headers: Headers,
    /// The provider of further headers.
    provider: Option<Authorize>,
    /// Whether the provider has been asked because of a 401, and no request has been accepted since.
    has_asked: AtomicBool,
    /// The scopes that a user was asked for.
    #[cfg(feature = "auth")]
    scopes: Scopes,
    cookies: Cookies,
    client: Client,
    recorder: Arc<Recorder>,
    stop: Stop,
    pending: Arc<Pending>,
    outliving: Outliving,
    /// Held by the request that changes a setting of the server: two of them over two connections have no order.
    settings: tokio::sync::Mutex<()>,
    cancellations: Cancellations,
    open: Mutex<Open>,
}

impl HttpSession {
    pub(crate) fn new(
        (url, target): (&str, reqwest::Url),
        (headers, provider): (Headers, Option<Authorize>),
        client: Client,
        recorder: Arc<Recorder>,
        pending: Arc<Pending>,
        (stop, group): (Stop, GroupSpawner<'static, Infallible>),
    ) -> Self {
        let shown_url = recorder.secrets().hide(&headers::shown(url)).into_owned();
        let url = url.into();
        Self {
            url,
            target,
            shown_url,
            headers,
            provider,
            has_asked: AtomicBool::new(false),
            #[cfg(feature = "auth")]
            scopes: Scopes::default(),
            cookies: Cookies::default(),
            client,
            recorder,
            outliving: Outliving::new(group, stop.clone()),
            stop,
            pending,
            settings: tokio::sync::Mutex::default(),
            cancellations: Cancellations::default(),
            open: Mutex::default(),
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

    /// Whether requests that are under way together share a connection.
    pub(crate) fn shares_connection(&self) -> bool {
        self.open.lock().shares_connection
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
            what = match incoming.placed(&self.pending) {
                Err(what) => what,
                Ok((mut message, mark)) => {
                    self.recorder.secrets().hide_in(&mut message);
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
