//! The callbacks of a client, for the requests and the notifications of servers.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

mod elicit;
mod log;
mod message;
mod roots;
mod sample;

pub use self::elicit::{ElicitAnswer, Elicitation};
pub use self::log::{LogLevel, LogMessage};
pub(crate) use self::message::Why;
pub use self::message::{RequestError, ServerMessage, Tag};
pub use self::roots::{Root, Roots};
pub use self::sample::{SampleAnswer, Sampling};

pub(crate) const SAMPLE: &str = "sampling/createMessage";
pub(crate) const ELICIT: &str = "elicitation/create";
pub(crate) const LIST_ROOTS: &str = "roots/list";
const LOG: &str = "notifications/message";

/// The answer to a request, on its way.
pub(crate) type Answering = BoxFuture<'static, Result<Value, RequestError>>;
type OnRequest = Arc<dyn Fn(ServerMessage) -> Answering + Send + Sync>;
type OnNotification = Arc<dyn Fn(ServerMessage) -> BoxFuture<'static, ()> + Send + Sync>;

/// The callbacks of a client: they answer the requests of servers and receive their notifications.
///
/// They are registered before a server is connected, because the handshake announces the client's capabilities, which
/// follow from them. A request without a callback is refused with -32601; only `ping` is always answered.
///
/// A callback runs in a task of its session. It is cancelled when the server withdraws its request, and when the
/// session is left. A callback that ignores its cancellation delays the leaving by a part of the budget at most: then
/// it is named among the suppressed faults of the report, and is left running. A callback that panics answers its
/// request with -32603, and a warning of the session describes the panic.
///
/// A callback must not wait for the end of its own session or group, because that waits for the callback: it may begin the
/// end, and is cancelled as soon as it waits for it. Its request is answered with -32603, a warning of the session names
/// both, and the session or the group is left, or drains, all the same. Let another task call
/// [`close`](crate::SessionGroup::close), [`drain`](crate::SessionGroup::drain) or
/// [`disconnect`](crate::SessionGroup::disconnect), and do not wait for that task.
///
/// Notifications are passed to their callbacks one by one, in the order in which the server sent them on one stream.
///
/// A server of the newer era sends its requests inside an answer. The same callbacks answer them, and the call is sent
/// again with their answers: see [`CallOptions::rounds`](crate::CallOptions::rounds).
///
/// ```
/// use moored_mcp::{Callbacks, ElicitAnswer, GroupOptions, Root, Roots};
///
/// let roots = Roots::new([Root::new("file:///srv/project")]);
/// let callbacks = Callbacks::new()
///     .roots(roots.clone())
///     .on_elicitation(async |asked| {
///         println!("{} asks: {}", asked.server, asked.params.message);
///         Ok(ElicitAnswer::Decline)
///     })
///     .on_log(async |told| println!("{}: {}", told.server, told.params.data));
/// let options = GroupOptions::default().callbacks(callbacks);
/// // Later: the servers are told that the list has changed.
/// roots.set([Root::new("file:///srv/other")]);
/// # drop(options);
/// ```
#[derive(Clone, Default)]
pub struct Callbacks(Arc<Registered>);

#[derive(Clone, Default)]
struct Registered {
    /// By method. The callback for elicitation here is the one for forms.
    requests: BTreeMap<String, OnRequest>,
    url_elicitation: Option<OnRequest>,
    any_request: Option<OnRequest>,
    /// By method.
    notifications: Vec<(Option<String>, OnNotification)>,
    roots: Option<Roots>,
    announced: Map<String, Value>,
}

impl Callbacks {
    /// No callbacks.
    pub fn new() -> Self {
        Self::default()
    }

    /// Answers `sampling/createMessage`, and announces the capability.
    pub fn on_sampling<F, A>(self, answer: F) -> Self
    where
        F: Fn(ServerMessage<Sampling>) -> A + Send + Sync + 'static,
        A: Future<Output = Result<SampleAnswer, RequestError>> + Send + 'static,
    {
        self.request(SAMPLE, typed(answer, |_: &Value, answer: SampleAnswer| answer.into()))
    }

    /// Answers `elicitation/create` for a form, and announces the capability. Fields that the answer leaves out get the
    /// defaults that the form names.
    pub fn on_elicitation<F, A>(self, answer: F) -> Self
    where
        F: Fn(ServerMessage<Elicitation>) -> A + Send + Sync + 'static,
        A: Future<Output = Result<ElicitAnswer, RequestError>> + Send + 'static,
    {
        self.request(ELICIT, typed(answer, elicit::with_defaults))
    }

    /// Answers `elicitation/create` for an address to be visited, and announces the capability.
    pub fn on_url_elicitation<F, A>(mut self, answer: F) -> Self
    where
        F: Fn(ServerMessage<Elicitation>) -> A + Send + Sync + 'static,
        A: Future<Output = Result<ElicitAnswer, RequestError>> + Send + 'static,
    {
        let answer = typed(answer, |_: &Value, answer: ElicitAnswer| answer.into());
        self.registered().url_elicitation = Some(answer);
        self
    }

    /// Answers `roots/list` with these roots, and announces the capability. Servers with a handshake are notified when
    /// the roots change.
    pub fn roots(mut self, roots: Roots) -> Self {
        self.registered().roots = Some(roots.clone());
        self.on_request(LIST_ROOTS, move |_| std::future::ready(Ok(roots.answer())))
    }

    /// Receives the log messages of servers. A server sends the messages that
    /// [`set_log_level`](crate::SessionGroup::set_log_level) requests.
    pub fn on_log<F, A>(mut self, hear: F) -> Self
    where
        F: Fn(ServerMessage<LogMessage>) -> A + Send + Sync + 'static,
        A: Future<Output = ()> + Send + 'static,
    {
        let hear: OnNotification = Arc::new(move |told: ServerMessage| match told.read() {
            Ok(told) => hear(told).boxed(),
            // A log message without a level is no reason to lose the session.
            Err(_) => std::future::ready(()).boxed(),
        });
        self.registered().notifications.push((Some(LOG.to_owned()), hear));
        self
    }

    /// Answers requests of any one method with raw JSON, and replaces an earlier callback for that method. For
    /// `sampling/createMessage`, `elicitation/create` (both modes) and `roots/list` the capability is announced.
    pub fn on_request<F, A>(mut self, method: &str, answer: F) -> Self
    where
        F: Fn(ServerMessage) -> A + Send + Sync + 'static,
        A: Future<Output = Result<Value, RequestError>> + Send + 'static,
    {
        let answer: OnRequest = Arc::new(move |asked| answer(asked).boxed());
        if method == ELICIT {
            self.registered().url_elicitation = Some(answer.clone());
        }
        self.request(method, answer)
    }

    /// Answers every request that has no callback of its own, with raw JSON. It announces nothing: see
    /// [`announce`](Self::announce).
    pub fn on_any_request<F, A>(mut self, answer: F) -> Self
    where
        F: Fn(ServerMessage) -> A + Send + Sync + 'static,
        A: Future<Output = Result<Value, RequestError>> + Send + 'static,
    {
        self.registered().any_request = Some(Arc::new(move |asked| answer(asked).boxed()));
        self
    }

    /// Receives every notification of the servers as raw JSON, even if it has another callback.
    pub fn on_notification<F, A>(mut self, hear: F) -> Self
    where
        F: Fn(ServerMessage) -> A + Send + Sync + 'static,
        A: Future<Output = ()> + Send + 'static,
    {
        let hear: OnNotification = Arc::new(move |told| hear(told).boxed());
        self.registered().notifications.push((None, hear));
        self
    }

    /// Announces these capabilities, in addition to those that follow from the callbacks; a capability with the same
    /// name replaces that one.
    pub fn announce(mut self, capabilities: Map<String, Value>) -> Self {
        self.registered().announced.extend(capabilities);
        self
    }

    /// The capabilities that a client with these callbacks has.
    pub fn capabilities(&self) -> Map<String, Value> {
        let registered = &*self.0;
        let has = |method: &str| registered.requests.contains_key(method);
        let mut all = Map::new();
        if has(SAMPLE) {
            all.insert("sampling".into(), json!({}));
        }
        let mut modes = Map::new();
        if has(ELICIT) {
            modes.insert("form".into(), json!({}));
        }
        if registered.url_elicitation.is_some() {
            modes.insert("url".into(), json!({}));
        }
        if !modes.is_empty() {
            all.insert("elicitation".into(), modes.into());
        }
        if has(LIST_ROOTS) {
            all.insert("roots".into(), json!({"listChanged": true}));
        }
        all.extend(registered.announced.clone());
        all
    }

    /// The callback for a request; `None` if there is none.
    pub(crate) fn answering(
        &self,
        method: &str,
        params: &Value,
    ) -> Option<impl FnOnce(ServerMessage) -> Answering + Send + use<>> {
        let registered = &*self.0;
        let own = if method == ELICIT && elicit::is_of_an_address(params) {
            registered.url_elicitation.as_ref()
        } else {
            registered.requests.get(method)
        };
        let answer = own.or(registered.any_request.as_ref())?.clone();
        Some(move |asked| answer(asked))
    }

    /// The callbacks for a notification.
    pub(crate) fn hearing(&self, told: &ServerMessage) -> Vec<BoxFuture<'static, ()>> {
        let all = self.0.notifications.iter();
        let hear = all.filter(|(method, _)| method.as_ref().is_none_or(|it| *it == told.method));
        hear.map(|(_, hear)| {
            let (hear, told) = (hear.clone(), told.clone());
            // The callback is called inside the future, because a panic of it is caught there.
            async move { hear(told).await }.boxed()
        })
        .collect()
    }

    /// Whether no callback and no capability is registered.
    pub(crate) fn is_empty(&self) -> bool {
        let registered = &*self.0;
        registered.requests.is_empty()
            && registered.url_elicitation.is_none()
            && registered.any_request.is_none()
            && registered.notifications.is_empty()
    }

    /// Whether a callback receives notifications.
    pub(crate) fn hears(&self) -> bool {
        !self.0.notifications.is_empty()
    }

    /// The roots that may change.
    pub(crate) fn known_roots(&self) -> Option<&Roots> {
        self.0.roots.as_ref()
    }

    fn request(mut self, method: &str, answer: OnRequest) -> Self {
        self.registered().requests.insert(method.to_owned(), answer);
        self
    }

    fn registered(&mut self) -> &mut Registered {
        Arc::make_mut(&mut self.0)
    }
}

/// Reads the parameters for a callback, and writes its answer.
fn typed<P, T, A>(
    answer: impl Fn(ServerMessage<P>) -> A + Send + Sync + 'static,
    write: impl Fn(&Value, T) -> Value + Clone + Send + Sync + 'static,
) -> OnRequest
where
    P: DeserializeOwned,
    T: Send + 'static,
    A: Future<Output = Result<T, RequestError>> + Send + 'static,
{
    Arc::new(move |asked: ServerMessage| {
        let params = asked.params.clone();
        match asked.read() {
            Ok(asked) => {
                let (answering, write) = (answer(asked), write.clone());
                async move { answering.await.map(|answer| write(&params, answer)) }.boxed()
            }
            Err(error) => std::future::ready(Err(error)).boxed(),
        }
    })
}

/// Shows the registered methods.
impl fmt::Debug for Callbacks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Callbacks")
            .field("requests", &self.0.requests.keys())
            .field("any_request", &self.0.any_request.is_some())
            .field("notifications", &self.0.notifications.len())
            .field("capabilities", &self.capabilities())
            .finish()
    }
}

/// Equal if they are the same callbacks, not if they do the same.
impl PartialEq for Callbacks {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || (self.is_empty() && other.is_empty())
    }
}

impl Eq for Callbacks {}
