//! The protocol: everything that knows `rmcp` is in here.
//!
//! rmcp gives the message types, both protocol eras, and the loop that pairs answers with requests. What it is not
//! given is anything to own: pipes, processes, sockets and the way out are ours, and nothing that rmcp awaits can
//! block on more than our own code.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use parking_lot::Mutex;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, ClientConfig, Implementation, ProtocolVersion,
};
use rmcp::service::{
    ClientInitializeError, ClientLifecycleMode, Peer, RoleClient, ServiceError,
    serve_client_with_lifecycle_and_ct,
};
use rmcp::transport::Transport;
use rmcp::transport::common::client_side_sse::NeverRetry;
use rmcp::transport::streamable_http_client::{
    StreamableHttpClientTransportConfig, StreamableHttpClientWorker,
};
use rmcp::transport::worker::WorkerTransport;
use serde_json::{Map, Value};
use tokio_util::sync::CancellationToken;

use crate::fault::{Fault, Flattened};
use crate::report::Outcome;

mod body;
mod events;
pub(crate) mod http;
mod incoming;
mod lines;
mod lists;
mod message;
pub(crate) mod pending;
pub(crate) mod pipe;
pub(crate) mod pumps;
pub(crate) mod recorder;
mod skeleton;
pub(crate) mod stderr;
mod undelivered;

use self::http::{HttpError, HttpSession, SessionClient};
pub(crate) use self::lists::{Gone, Offers};
use self::message::rejection;
use self::recorder::Recorder;

/// Noted where the era probe was answered on the server's behalf.
const PROBE_IGNORED: &str = "server/discover was not answered in time: taken for a legacy server";

/// The end of rmcp's loop, as many may wait for it.
type Ended = Shared<BoxFuture<'static, ()>>;

/// Where the loop of a connection is found by those who have to wait for its end. It is there before the loop is.
#[derive(Debug, Clone, Default)]
pub(crate) struct LinkEnd(Arc<Mutex<Option<Ended>>>);

impl LinkEnd {
    /// Ready when the loop has ended, or at once where there never was one.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(crate) async fn ended(&self) {
        let ended = self.0.lock().clone();
        if let Some(ended) = ended {
            ended.await;
        }
    }
}

/// A handshake that came to nothing.
#[derive(Debug)]
pub(crate) struct Refusal {
    /// Why.
    pub(crate) fault: Fault,
    /// Whether it was an answer of the server that ended it. Then nothing was broken before we hung up, and what
    /// becomes of the server afterwards is not the cause.
    pub(crate) answered: bool,
}

/// An open connection.
#[derive(Debug)]
pub(crate) struct Link {
    peer: Peer<RoleClient>,
}

impl Link {
    /// Performs the handshake over `transport`; its loop runs until `stop` or the end of the transport.
    async fn open<T>(
        transport: T,
        stop: &CancellationToken,
        end: &LinkEnd,
        recorder: &Recorder,
    ) -> Result<Self, Refusal>
    where
        T: Transport<RoleClient> + Send + 'static,
    {
        let this_program = Implementation::new(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"));
        let mode = ClientLifecycleMode::Auto {
            preferred_versions: vec![ProtocolVersion::LATEST],
            legacy_version: Some(ProtocolVersion::LATEST_WITH_INITIALIZE),
        };
        // A child token: rmcp cancels the one it is given when its service is dropped.
        let service = serve_client_with_lifecycle_and_ct(
            ClientConfig::new(Default::default(), this_program),
            transport,
            mode,
            stop.child_token(),
        )
        .await
        .map_err(|error| match recorder.recorded_fault() {
            Some(fault) => Refusal { fault, answered: false },
            None => Refusal { fault: handshake_fault(&error), answered: is_answer(&error) },
        })?;
        let peer = service.peer().clone();
        *end.0.lock() = Some(service.waiting().map(drop).boxed().shared());
        Ok(Self { peer })
    }

    /// Opens a connection through the session's HTTP client.
    pub(crate) async fn over_http(
        session: Arc<HttpSession>,
        stop: &CancellationToken,
        end: &LinkEnd,
        recorder: &Recorder,
    ) -> Result<Self, Refusal> {
        let mut config = StreamableHttpClientTransportConfig::with_uri(session.url());
        config.custom_headers = session.headers();
        // Our streams are asked for again by ourselves.
        config.retry_config = Arc::new(NeverRetry::default());
        let worker = StreamableHttpClientWorker::new(SessionClient(session), config);
        let transport = WorkerTransport::spawn_with_ct(worker, stop.child_token());
        Self::open(transport, stop, end, recorder).await
    }

    /// Opens a connection through the session's pumps.
    pub(crate) async fn over_pipe(
        transport: pipe::PipeTransport,
        stop: &CancellationToken,
        end: &LinkEnd,
        recorder: &Recorder,
    ) -> Result<Self, Refusal> {
        Self::open(transport, stop, end, recorder).await
    }

    /// The protocol revision agreed on.
    pub(crate) fn era(&self) -> Option<String> {
        self.peer.peer_info().map(|info| info.protocol_version.as_str().to_owned())
    }

    /// Reads what the server offers.
    pub(crate) async fn offers(
        &self,
        page_cap: usize,
        recorder: &Recorder,
    ) -> Result<Offers, Gone> {
        lists::read(&self.peer, page_cap, recorder).await
    }

    /// What calls go through.
    pub(crate) fn caller(&self) -> Caller {
        Caller(self.peer.clone())
    }
}

/// Why a call has no result.
#[derive(Debug)]
pub(crate) enum CallFailure {
    /// The server's own error.
    Rejected { code: i64, message: String, data: Option<Value> },
    /// This request failed; the session may stand.
    Failed(Fault),
    /// The connection is gone; what ended it is known elsewhere.
    Gone,
}

/// Sends requests over an open connection; any task may.
#[derive(Debug, Clone)]
pub(crate) struct Caller(Peer<RoleClient>);

impl Caller {
    /// Calls a tool by its wire name.
    ///
    /// # Cancel safety
    ///
    /// A call that is dropped before its answer tells the server so, without waiting.
    pub(crate) async fn call(
        &self,
        tool: String,
        args: Map<String, Value>,
    ) -> Result<Value, CallFailure> {
        let mut params = CallToolRequestParams::new(tool);
        params.arguments = Some(args);
        let answer = self.0.call_tool_once(params).await.map_err(call_failure)?;
        let value = match answer {
            CallToolResponse::Complete(result) => serde_json::to_value(result),
            CallToolResponse::InputRequired(result) => serde_json::to_value(result),
            CallToolResponse::Task(result) => serde_json::to_value(result),
            _ => {
                let text = "the answer to tools/call is of an unknown kind";
                return Err(CallFailure::Failed(Fault::new(Outcome::ProtocolError, text)));
            }
        };
        value.map_err(|error| {
            let text = "the answer cannot be written as JSON";
            CallFailure::Failed(Fault::caused(Outcome::ProtocolError, text, error))
        })
    }
}

/// What an error of rmcp is to a call.
fn call_failure(error: ServiceError) -> CallFailure {
    match error {
        ServiceError::McpError(error) => match undelivered::fault(&error) {
            Some(fault) => CallFailure::Failed(fault),
            None => CallFailure::Rejected {
                code: error.code.0.into(),
                message: error.message.into_owned(),
                data: error.data,
            },
        },
        ServiceError::TransportSend(error) => match error.error.downcast_ref::<HttpError>() {
            Some(HttpError::Client(fault)) => CallFailure::Failed(fault.clone()),
            Some(HttpError::TransportChannelClosed) | None => CallFailure::Gone,
            Some(other) => {
                CallFailure::Failed(Fault::new(Outcome::UpstreamError, other.to_string()))
            }
        },
        ServiceError::TransportClosed | ServiceError::Cancelled { .. } => CallFailure::Gone,
        other => CallFailure::Failed(Fault::new(Outcome::ProtocolError, other.to_string())),
    }
}

/// What a failed handshake is called where nothing below rmcp saw a fault: then it is the answers that were wrong.
fn handshake_fault(error: &ClientInitializeError) -> Fault {
    match error {
        ClientInitializeError::LegacyFallbackFailed { fallback, .. } => handshake_fault(fallback),
        ClientInitializeError::JsonRpcError(error) => {
            undelivered::fault(error).unwrap_or_else(|| {
                let text = format!("the server rejected initialize: {}", rejection(error));
                Fault::new(Outcome::ProtocolError, text)
            })
        }
        ClientInitializeError::Cancelled => {
            Fault::new(Outcome::Closing, "the attempt was interrupted")
        }
        ClientInitializeError::ConnectionClosed(during) => Fault::new(
            Outcome::ProtocolError,
            format!("the server closed the connection before the {during}"),
        ),
        ClientInitializeError::TransportError { error, .. } => {
            let text = "the connection broke during the handshake";
            Fault::caused(Outcome::Other, text, Flattened::of(error.error.as_ref()))
        }
        other => Fault::new(Outcome::ProtocolError, format!("the handshake failed: {other}")),
    }
}

/// Whether a handshake was ended by what the server said, and not by its silence or its end.
fn is_answer(error: &ClientInitializeError) -> bool {
    match error {
        ClientInitializeError::LegacyFallbackFailed { fallback, .. } => is_answer(fallback),
        ClientInitializeError::Cancelled
        | ClientInitializeError::ConnectionClosed(_)
        | ClientInitializeError::TransportError { .. } => false,
        _ => true,
    }
}
