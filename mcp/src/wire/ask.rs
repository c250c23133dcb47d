//! The requests of a user to a server, and the way of one request to its answer.

use std::sync::Arc;

use parking_lot::Mutex;
use rmcp::model::{
    ArgumentInfo, CallToolRequest, CallToolRequestParams, CancelledNotification,
    CancelledNotificationParam, ClientNotification, ClientRequest, CompleteRequest,
    CompleteRequestParams, CompletionContext, CustomNotification, CustomRequest, GetExtensions,
    GetPromptRequest, GetPromptRequestParams, MetaObject, ProtocolVersion, ReadResourceRequest,
    ReadResourceRequestParams, Reference, RequestId, RequestMetaObject,
};
use rmcp::service::{Peer, PeerRequestOptions, RoleClient};
use serde_json::{Map, Value};
use tokio::sync::{OwnedMutexGuard, mpsc};

use super::desk::Desk;
use super::listen::{self, Listening, Topic};
use super::{CallFailure, call_failure, raw};
use crate::answer::Progress;
use crate::callbacks::{LogLevel, Tag, Why};
use crate::component::ComponentKind;
use crate::fault::Fault;
use crate::params::CompleteArgs;
use crate::report::Outcome;

/// A request for one component, by its wire name, or of any other method.
#[derive(Debug, Clone)]
pub(crate) enum Question {
    /// `tools/call`.
    Call { tool: String, args: Map<String, Value> },
    /// `prompts/get`.
    Prompt { name: String, args: Map<String, Value> },
    /// `resources/read`.
    Read { uri: String },
    /// `completion/complete`, of a prompt or of a template.
    Complete { kind: ComponentKind, wire: String, args: CompleteArgs },
    /// `resources/subscribe`, or `subscriptions/listen` in the newer era.
    Subscribe { uri: String },
    /// `resources/unsubscribe`, or the end of that stream.
    Unsubscribe { uri: String },
    /// A request of any method.
    Raw { method: String, params: Map<String, Value> },
}

/// The answer to a server that has asked for input, sent with the repeated request.
#[derive(Debug, Clone, Default)]
pub(crate) struct Input {
    pub(crate) responses: Option<Map<String, Value>>,
    pub(crate) state: Option<String>,
}

impl Question {
    /// `logging/setLevel`.
    pub(crate) fn log_level(level: LogLevel) -> Self {
        let params = Map::from_iter([("level".to_owned(), level.as_str().into())]);
        Self::Raw { method: "logging/setLevel".into(), params }
    }

    fn request(self, input: Input) -> ClientRequest {
        let responses = input.responses.map(|it| it.into_iter().collect());
        match self {
            Self::Call { tool, args } => {
                let mut params = CallToolRequestParams::new(tool);
                params.arguments = Some(args);
                (params.input_responses, params.request_state) = (responses, input.state);
                ClientRequest::CallToolRequest(CallToolRequest::new(params))
            }
            Self::Prompt { name, args } => {
                let mut params = GetPromptRequestParams::new(name);
                params.arguments = Some(args).filter(|args| !args.is_empty());
                (params.input_responses, params.request_state) = (responses, input.state);
                ClientRequest::GetPromptRequest(GetPromptRequest::new(params))
            }
            Self::Read { uri } => {
                let mut params = ReadResourceRequestParams::new(uri);
                (params.input_responses, params.request_state) = (responses, input.state);
                ClientRequest::ReadResourceRequest(ReadResourceRequest::new(params))
            }
            Self::Complete { kind, wire, args } => {
                let reference = match kind {
                    ComponentKind::Prompt => Reference::for_prompt(wire),
                    _ => Reference::for_resource(wire),
                };
                let argument = ArgumentInfo::new(args.argument, args.value);
                let mut params = CompleteRequestParams::new(reference, argument);
                if !args.context.is_empty() {
                    let context = args.context.into_iter().collect();
                    params.context = Some(CompletionContext::with_arguments(context));
                }
                ClientRequest::CompleteRequest(CompleteRequest::new(params))
            }
            Self::Subscribe { uri } => listen::subscribe(uri),
            Self::Unsubscribe { uri } => listen::unsubscribe(uri),
            Self::Raw { method, params } => {
                let params = Some(params).filter(|params| !params.is_empty()).map(Value::Object);
                ClientRequest::CustomRequest(CustomRequest::new(method, params))
            }
        }
    }
}

/// The receiver of a request's progress. It is passed with the request to our transport, which reads the server's
/// messages in order; rmcp hands out notifications in no order.
#[derive(Debug, Clone)]
pub(crate) struct ProgressSink(mpsc::Sender<Progress>);

impl ProgressSink {
    /// Passes a notification on, unless too many are waiting already.
    pub(super) fn send(&self, progress: Progress) {
        let _full_or_gone = self.0.try_send(progress);
    }
}

/// The tag of a request, on its way to our transport.
#[derive(Debug, Clone)]
pub(super) struct Tagged(pub(super) Tag);

/// The additions to a request.
#[derive(Debug, Clone, Default)]
pub(crate) struct Beside {
    pub(crate) meta: Map<String, Value>,
    pub(crate) progress: Option<mpsc::Sender<Progress>>,
    pub(crate) tag: Option<Tag>,
    pub(crate) input: Input,
}

/// The way from a user to the owner of the session.
pub(crate) type Opened = mpsc::UnboundedSender<HandedOver>;

/// The part of a subscription that is the owner's.
#[derive(Debug)]
pub(crate) enum HandedOver {
    /// The stream that a user has opened, with the address of the resource.
    Stream(String, Box<Listening>),
    /// The address of a resource for which the server may have a subscription that nobody wants. Other changes wait for the
    /// guard, so that a new subscription does not overtake the end of this one.
    Unwanted(String, OwnedMutexGuard<()>),
}

/// The way of a request that its caller has given up to the owner of the session, which cancels it at the server. rmcp's own
/// queue is bounded, and a drop cannot wait for room.
pub(crate) type GivenUp = mpsc::UnboundedSender<Given>;

/// A request that its caller has given up.
#[derive(Debug)]
pub(crate) struct Given {
    id: RequestId,
    /// The reason, if the caller has one.
    why: Option<String>,
}

/// Sends requests over an open connection; any task may.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    peer: Peer<RoleClient>,
    opened: Opened,
    given_up: GivenUp,
    desk: Option<Arc<Desk>>,
    is_adopted: bool,
    /// The level of the log messages that each request asks for, if the server is of the newer era.
    log_level: LogLevelCell,
}

/// The level of the log messages that the user wants, if it was set. It outlives a connection.
pub(crate) type LogLevelCell = Arc<Mutex<Option<LogLevel>>>;

/// The field of `_meta` by which a request of the newer era asks for log messages.
const LOG_LEVEL: &str = "io.modelcontextprotocol/logLevel";
/// The field of `_meta` by which a request of the newer era names what its client can do.
const CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
/// The notification of changed roots.
const ROOTS_CHANGED: &str = "notifications/roots/list_changed";

impl Caller {
    pub(super) fn new(
        peer: Peer<RoleClient>,
        desk: Option<Arc<Desk>>,
        (opened, given_up): (Opened, GivenUp),
        log_level: LogLevelCell,
        is_adopted: bool,
    ) -> Self {
        Self { peer, opened, given_up, desk, is_adopted, log_level }
    }

    /// Whether the connection is not ours, so that its messages do not pass through our transports.
    pub(crate) fn is_adopted(&self) -> bool {
        self.is_adopted
    }

    /// Calls the callbacks of the session.
    pub(crate) fn desk(&self) -> Option<&Arc<Desk>> {
        self.desk.as_ref()
    }

    /// Whether a user has set the level of the log messages.
    pub(crate) fn wants_log(&self) -> bool {
        self.log_level.lock().is_some()
    }

    /// Sends the wanted level to a server with a handshake. Other servers get it with each request.
    pub(crate) async fn send_log_level(&self) -> Result<(), CallFailure> {
        let level = *self.log_level.lock();
        let Some(level) = level.filter(|_| !self.is_modern()) else { return Ok(()) };
        self.ask(Question::log_level(level), Beside::default()).await.map(drop)
    }

    /// Whether the server speaks the revision of the protocol that reports changes on `subscriptions/listen` streams.
    pub(crate) fn is_modern(&self) -> bool {
        is_modern(&self.peer)
    }

    /// Whether the server reports changes of its lists on a stream that a client opens.
    pub(crate) fn tells_of_lists(&self) -> bool {
        let info = self.peer.peer_info();
        self.is_modern() && listen::tells_of_lists(info.as_deref().map(|info| &info.capabilities))
    }

    /// Opens a stream on which a modern server reports changes, and waits for its acknowledgement.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the request is cancelled at the server.
    pub(crate) async fn listen(&self, topic: &Topic) -> Result<Listening, CallFailure> {
        Listening::open(&self.peer, topic).await
    }

    /// Opens a stream for one resource, and hands it over to the owner of the session.
    async fn open(&self, uri: &str) -> Result<Value, CallFailure> {
        let listening = self.listen(&Topic::Resource(uri.to_owned())).await?;
        let handed_over = self.opened.send(HandedOver::Stream(uri.to_owned(), Box::new(listening)));
        handed_over.map(|()| Value::Null).map_err(|_| CallFailure::Gone)
    }

    /// Has the owner end a subscription that the server may have. A modern server has one only as long as its stream is open.
    pub(crate) fn take_back(&self, uri: String, alone: OwnedMutexGuard<()>) {
        if !self.is_modern() {
            // If the owner is gone, then so is the session, and with it the subscription.
            let _gone = self.opened.send(HandedOver::Unwanted(uri, alone));
        }
    }

    /// Sends a request, and returns the `result` of the answer as it came.
    ///
    /// # Cancel safety
    ///
    /// A request that is dropped before its answer tells the server so, without waiting.
    pub(crate) async fn ask(
        &self,
        question: Question,
        beside: Beside,
    ) -> Result<Value, CallFailure> {
        if self.is_modern() {
            match &question {
                Question::Subscribe { uri } => return self.open(uri).await,
                // The owner drops the stream of the resource, and that tells the server.
                Question::Unsubscribe { .. } => return Ok(Value::Null),
                _ => {}
            }
        }
        let Beside { mut meta, progress, tag, input } = beside;
        let mut request = question.request(input);
        if let Some(sender) = progress {
            request.extensions_mut().insert(ProgressSink(sender));
        }
        let why = tag.as_ref().and_then(Tag::why).cloned();
        if let Some(tag) = tag {
            request.extensions_mut().insert(Tagged(tag));
        }
        if let Some(level) = *self.log_level.lock()
            && self.is_modern()
        {
            meta.entry(LOG_LEVEL).or_insert_with(|| level.as_str().into());
        }
        if !self.is_modern() {
            // It has them from the handshake.
            meta.remove(CAPABILITIES);
        }
        let mut options = PeerRequestOptions::no_options();
        if !meta.is_empty() {
            options = options.with_meta(RequestMetaObject(MetaObject(meta)));
        }
        let sent = self.peer.send_request_with_option(request, options).await;
        let handle = sent.map_err(call_failure)?;
        let id = Some(handle.id.clone());
        let mut unanswered = Unanswered { given_up: &self.given_up, id, why };
        let answer = handle.await_response().await;
        unanswered.id = None;
        raw::take_result(answer.map_err(call_failure)?).map_err(|error| {
            let text = "the answer cannot be written as JSON";
            CallFailure::Failed(Fault::caused(Outcome::ProtocolError, text, error))
        })
    }

    /// Sends a notification. A server without a handshake asks for the roots anew each time, and is not told of a change.
    pub(crate) async fn notify(
        &self,
        method: String,
        params: Map<String, Value>,
    ) -> Result<(), CallFailure> {
        if method == ROOTS_CHANGED && self.is_modern() {
            return Ok(());
        }
        // rmcp writes parameters that are not there as `null`, which is no message.
        let params = Some(Value::Object(params));
        let told = ClientNotification::CustomNotification(CustomNotification::new(method, params));
        self.peer.send_notification(told).await.map_err(call_failure)
    }
}

/// Notifies the server that the roots have changed, if it has a handshake; a server without one asks for them anew each
/// time.
pub(super) async fn roots_changed(peer: &Peer<RoleClient>) {
    if !is_modern(peer) {
        // A failure is ignored, because a server that is gone needs no notification.
        let _ = peer.notify_roots_list_changed().await;
    }
}

/// Whether the server has no handshake.
pub(super) fn is_modern(peer: &Peer<RoleClient>) -> bool {
    peer.peer_info().is_some_and(|info| info.protocol_version >= ProtocolVersion::V_2026_07_28)
}

/// Cancels a request that its caller has given up.
pub(super) async fn cancel(peer: &Peer<RoleClient>, given: Given) {
    let Given { id, why } = given;
    let reason = Some(why.unwrap_or_else(|| "request abandoned by the caller".to_owned()));
    let told = CancelledNotification::new(CancelledNotificationParam::new(Some(id), reason));
    // A failure is ignored, because a server that is gone works on nothing.
    let _ = peer.send_notification(told.into()).await;
}

/// When this is dropped, the server is told not to answer the request any more.
struct Unanswered<'a> {
    given_up: &'a GivenUp,
    id: Option<RequestId>,
    why: Option<Why>,
}

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        if let Some(id) = self.id.take() {
            // The owner is gone if the session has ended, and then nothing has to be cancelled.
            let why = self.why.as_ref().and_then(Why::told);
            let _ended = self.given_up.send(Given { id, why });
        }
    }
}
