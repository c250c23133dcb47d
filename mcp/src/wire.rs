//! The protocol: only this module uses `rmcp`.
//!
//! rmcp provides the message types, both protocol eras, and the loop that pairs answers with requests. It owns
//! nothing: pipes, processes, sockets and leaving are ours, so nothing that rmcp awaits can block on foreign code.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;

use futures_util::future::{BoxFuture, Shared};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use parking_lot::Mutex;
use rmcp::model::{ClientConfig, ProtocolVersion};
use rmcp::service::{
    ClientCacheConfig, ClientInitializeError, ClientLifecycleMode, RoleClient, ServiceError,
    serve_client_with_lifecycle_and_ct,
};
use rmcp::transport::Transport;
use rmcp::transport::common::client_side_sse::NeverRetry;
use rmcp::transport::streamable_http_client::{
    StreamableHttpClientTransportConfig, StreamableHttpClientWorker,
};
use rmcp::transport::worker::WorkerTransport;
use serde_json::Value;
use tokio::sync::mpsc;

use crate::component::ComponentKind;
use crate::fault::{Fault, Flattened};
use crate::report::Outcome;
use crate::state::{Profile, Words};

mod adopted;
mod answers;
mod ask;
pub(crate) mod attempts;
pub(crate) mod body;
pub(crate) mod desk;
pub(crate) mod events;
pub(crate) mod handshake;
mod hearing;
pub(crate) mod http;
mod inbox;
pub(crate) mod incoming;
mod lent;
pub(crate) mod lines;
mod listen;
mod lists;
pub(crate) mod message;
pub(crate) mod mirrored;
pub(crate) mod notices;
#[cfg(feature = "auth")]
pub(crate) mod oauth;
pub(crate) mod pending;
pub(crate) mod pipe;
pub(crate) mod pumps;
mod raw;
pub(crate) mod recorder;
mod said;
pub(crate) mod secrets;
mod service;
pub(crate) mod skeleton;
pub(crate) mod stderr;
pub(crate) mod stop;
mod undelivered;
mod unplaced;
pub(crate) mod warnings;
pub(crate) mod withdrawn;

/// The handle of a session of rmcp.
pub(crate) type Peer = rmcp::service::Peer<RoleClient>;

pub use self::adopted::Adopted;
pub(crate) use self::ask::{
    Beside, Caller, Given, GivenUp, HandedOver, Input, LogLevelCell, Opened, Question,
};
use self::desk::Desk;
use self::handshake::{Refusal, Terms};
use self::http::{HttpError, HttpSession, Posts, SessionClient};
pub use self::lent::Returned;
pub(crate) use self::listen::{ListenEnd, Listening, Topic};
use self::lists::{Direct, Pace, Way};
pub(crate) use self::lists::{Gone, Offer, Offers};
use self::pending::Pending;
use self::recorder::Recorder;
use self::service::Answering;
use self::stop::Stop;

/// The end of rmcp's loop, for any number of waiters.
type Ended = Shared<BoxFuture<'static, ()>>;

/// The slot in which the exits find the loop of a connection, to wait for its end. It exists before the loop
/// does.
#[derive(Debug, Clone, Default)]
pub(crate) struct LinkEnd(Arc<Mutex<Option<Ended>>>);

impl LinkEnd {
    /// Ready when the loop has ended, or at once if there never was one.
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

/// This client's side of a connection: its description, its callbacks, and the parts that run the connection.
#[derive(Debug, Clone)]
pub(crate) struct Side {
    pub(crate) client: Arc<ClientConfig>,
    pub(crate) desk: Option<Arc<Desk>>,
    pub(crate) pending: Arc<Pending>,
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) stop: Stop,
    pub(crate) end: LinkEnd,
}

/// An open connection.
#[derive(Debug)]
pub(crate) struct Link {
    peer: Peer,
    desk: Option<Arc<Desk>>,
    /// Set over HTTP.
    http: Option<Arc<HttpSession>>,
    /// `None` if the connection is not ours.
    pending: Option<Arc<Pending>>,
    /// Set over a pipe.
    direct: Option<Direct>,
}

impl Link {
    /// Takes up a session that the program has opened itself.
    pub(crate) fn of_adopted(peer: Peer, end: &LinkEnd) -> Result<Self, Fault> {
        if peer.is_transport_closed() {
            return Err(Fault::new(Outcome::Unreachable, "the adopted session is closed"));
        }
        if peer.peer_info().is_none() {
            let text = "the adopted session has not been initialized";
            return Err(Fault::new(Outcome::ProtocolError, text));
        }
        *end.0.lock() = Some(adopted::closed(peer.clone()).boxed().shared());
        Ok(Self { peer, desk: None, http: None, pending: None, direct: None })
    }

    /// Hands the transport to rmcp, which begins as `lifecycle` says and gets a prepared answer to its first request.
    /// Its loop runs until `stop` or the end of the transport.
    async fn open<T>(
        transport: T,
        lifecycle: (ClientConfig, ClientLifecycleMode),
        side: Side,
    ) -> Result<Self, Refusal>
    where
        T: Transport<RoleClient> + Send + 'static,
    {
        let (config, mode) = lifecycle;
        let Side { desk, pending, recorder, stop, end, .. } = side;
        let answering = Answering { config, desk: desk.clone(), pending: pending.clone() };
        let service = serve_client_with_lifecycle_and_ct(answering, transport, mode, stop.token())
            .await
            .map_err(|error| {
                let fault = recorder.recorded_fault();
                let fault = fault.unwrap_or_else(|| opening_fault(&error));
                Refusal { fault, answered: false }
            })?;
        let peer = service.peer().clone();
        // A list is read again because it has changed, so a cached answer would be wrong.
        peer.set_response_cache_config(ClientCacheConfig::disabled()).await;
        *end.0.lock() = Some(service.waiting().map(drop).boxed().shared());
        if let Some(desk) = &desk {
            desk.linked(peer.clone());
        }
        Ok(Self { peer, desk, http: None, pending: Some(pending), direct: None })
    }

    /// Opens a connection through the session's HTTP client.
    pub(crate) async fn over_http(
        session: Arc<HttpSession>,
        terms: Terms,
        side: Side,
    ) -> Result<Self, Refusal> {
        let mut posts = Posts::new(session.clone(), terms.deadline);
        let agreed = handshake::agree(&mut posts, terms, &side.client, &side.recorder).await?;
        let lifecycle = agreed.lifecycle(&side.client);
        session.agreed(agreed);
        let mut config = StreamableHttpClientTransportConfig::with_uri(session.url());
        config.custom_headers = session.headers();
        // This crate reopens streams itself.
        config.retry_config = Arc::new(NeverRetry::default());
        let worker = StreamableHttpClientWorker::new(SessionClient(session.clone()), config);
        let transport = WorkerTransport::spawn_with_ct(worker, side.stop.token());
        let link = Self::open(transport, lifecycle, side).await?;
        Ok(Self { http: Some(session), ..link })
    }

    /// Opens a connection through the session's pumps.
    pub(crate) async fn over_pipe(
        mut transport: pipe::PipeTransport,
        terms: Terms,
        side: Side,
    ) -> Result<Self, Refusal> {
        let agreed = handshake::agree(&mut transport, terms, &side.client, &side.recorder).await?;
        let lifecycle = agreed.lifecycle(&side.client);
        let direct = transport.direct(&agreed, &side.client);
        // A server of the older era is first told that it is initialized.
        agreed.capabilities().inspect(|capabilities| direct.begin(capabilities));
        transport.agreed(agreed.replay());
        let link = Self::open(transport, lifecycle, side).await?;
        Ok(Self { direct: Some(direct), ..link })
    }

    /// The server's description of itself: as it came, or as rmcp's types have kept it if the session is adopted. Called
    /// once for each handshake.
    pub(crate) fn profile(&self) -> Profile {
        let Some(info) = self.peer.peer_info() else { return Profile::default() };
        let is_legacy = info.protocol_version < ProtocolVersion::V_2026_07_28;
        let introduction = self.pending.as_ref().and_then(|it| it.take_introduction(is_legacy));
        let words = introduction.map_or_else(
            || {
                let object = |value: serde_json::Result<Value>| match value {
                    Ok(Value::Object(object)) => Some(object),
                    _ => None,
                };
                Words::Kept {
                    server: object(serde_json::to_value(&info.server_info)),
                    capabilities: object(serde_json::to_value(&info.capabilities))
                        .unwrap_or_default(),
                }
            },
            Words::Own,
        );
        let era = Some(info.protocol_version.as_str().to_owned());
        Profile { era, instructions: info.instructions.clone(), words }
    }

    /// Reads the lists of these kinds.
    pub(crate) fn offers<'a>(
        &'a self,
        kinds: &'a BTreeSet<ComponentKind>,
        page_cap: usize,
        recorder: &'a Recorder,
    ) -> BoxFuture<'a, Result<Offers, Gone>> {
        // Boxed, because it is large, and an idle session must not keep room for it.
        let pace = match &self.http {
            Some(session) if !session.shares_connection() => Pace::InTurn,
            _ => Pace::Together,
        };
        let way = match &self.direct {
            Some(direct) => Way::Direct(direct),
            None => Way::Peer(&self.peer, self.pending.as_ref().map(|pending| &pending.sieve)),
        };
        lists::read(&self.peer, way, pace, kinds, page_cap, recorder).boxed()
    }

    /// Cancels the requests that their callers have given up.
    pub(crate) async fn cancel(&self, mut given_up: mpsc::UnboundedReceiver<Given>) -> Infallible {
        // Our transports take a cancellation over as soon as rmcp has it, unless a child does not read. Requests that such a
        // child cannot have read need none, so these futures are few.
        let telling = async {
            // Most sessions have none, and so no set either.
            let Some(first) = given_up.recv().await else { return std::future::pending().await };
            let mut told = FuturesUnordered::from_iter([ask::cancel(&self.peer, first)]);
            loop {
                tokio::select! {
                    Some(given) = given_up.recv() => told.push(ask::cancel(&self.peer, given)),
                    Some(()) = told.next(), if !told.is_empty() => {}
                    else => std::future::pending().await,
                }
            }
        };
        let posting = async {
            match &self.http {
                Some(session) => session.post_cancellations().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            never = telling => never,
            never = posting => never,
        }
    }

    /// The handle through which calls go.
    pub(crate) fn caller(&self, owner: (Opened, GivenUp), log_level: LogLevelCell) -> Caller {
        let is_adopted = self.pending.is_none();
        Caller::new(self.peer.clone(), self.desk.clone(), owner, log_level, is_adopted)
    }
}

/// The reason why a call has no result.
#[derive(Debug)]
pub(crate) enum CallFailure {
    /// The server's own error.
    Rejected { code: i64, message: String, data: Option<Value> },
    /// This request failed; the session may still be up.
    Failed(Fault),
    /// The connection is gone; its cause is recorded elsewhere.
    Gone,
}

/// The failure of a call that an error of rmcp stands for.
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

/// The reason why rmcp did not begin, if no fault was seen below it.
fn opening_fault(error: &ClientInitializeError) -> Fault {
    match error {
        ClientInitializeError::Cancelled => {
            Fault::new(Outcome::Closing, "the attempt was interrupted")
        }
        ClientInitializeError::TransportError { error, .. } => {
            let text = "the connection broke during the handshake";
            Fault::caused(Outcome::Other, text, Flattened::of(error.error.as_ref()))
        }
        other => Fault::new(Outcome::ProtocolError, format!("the handshake failed: {other}")),
    }
}
