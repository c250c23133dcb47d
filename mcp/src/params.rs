//! The parameters that a caller sets before a server is started: the servers, and the limits.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::answer::Progress;
use crate::auth::{Authorize, HeadersWanted};
use crate::callbacks::{Callbacks, Tag};
use crate::names::Names;
use crate::policy::{Descendants, Restart};
use crate::watchdog::Watchdog;
use crate::wire::Adopted;

/// One server of a group: its name, and its transport.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerParams {
    /// Unique in its group; a part of the names that the group has for its components.
    pub name: String,
    /// The transport to the server.
    pub transport: Transport,
    /// The era of the protocol that it speaks.
    pub era: Era,
    /// The limit of a call of its tools without a limit of its own; the group's if `None`.
    pub call_timeout: Option<Duration>,
    /// The callbacks for this server; the group's if `None`.
    pub callbacks: Option<Callbacks>,
    /// Whether it is started again after its session was lost.
    pub restart: Restart,
}

/// The era of the protocol that a server speaks: with an `initialize` handshake, or with `server/discover`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Era {
    /// Not known: the server is probed with `server/discover`, and gets `initialize` if it does not answer as a modern
    /// server.
    #[default]
    Auto,
    /// `initialize`: the revisions from 2024-11-05 to 2025-11-25. No probe is sent.
    Legacy,
    /// `server/discover`: the revisions from 2026-07-28 on. There is no way back to `initialize`.
    Modern,
}

impl ServerParams {
    /// A server that is a child process speaking on its standard streams.
    pub fn stdio(name: impl Into<String>, params: StdioParams) -> Self {
        Self::new(name.into(), Transport::Stdio(params))
    }

    /// A server that listens for streamable HTTP.
    pub fn http(name: impl Into<String>, params: HttpParams) -> Self {
        Self::new(name.into(), Transport::Http(params))
    }

    /// A session that the program has opened itself.
    pub fn adopted(name: impl Into<String>, session: Adopted) -> Self {
        Self::new(name.into(), Transport::Adopted(session))
    }

    fn new(name: String, transport: Transport) -> Self {
        Self {
            name,
            transport,
            era: Era::Auto,
            call_timeout: None,
            callbacks: None,
            restart: Restart::Never,
        }
    }

    /// Limits calls of its tools.
    pub fn call_timeout(mut self, limit: Duration) -> Self {
        self.call_timeout = Some(limit);
        self
    }

    /// Sets the callbacks for this server.
    pub fn callbacks(mut self, callbacks: Callbacks) -> Self {
        self.callbacks = Some(callbacks);
        self
    }

    /// Sets the era, if it is known.
    pub fn era(mut self, era: Era) -> Self {
        self.era = era;
        self
    }

    /// Sets whether it is started again after its session was lost.
    pub fn restart(mut self, restart: Restart) -> Self {
        self.restart = restart;
        self
    }

    /// The server as an error shows it: its command line, or its address without user, password and query, which may be
    /// secrets.
    pub fn endpoint(&self) -> String {
        match &self.transport {
            Transport::Stdio(stdio) => {
                let mut line = stdio.command.clone();
                for arg in &stdio.args {
                    line.push(' ');
                    line.push_str(arg);
                }
                line
            }
            Transport::Http(http) => crate::wire::http::headers::shown(&http.url),
            Transport::Adopted(_) => "an adopted session".to_owned(),
        }
    }
}

/// The transport to a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transport {
    /// A child process of ours.
    Stdio(StdioParams),
    /// Streamable HTTP. The removed SSE transport is not spoken: a server without another transport is reported
    /// as a protocol error.
    Http(HttpParams),
    /// A session that the program has opened itself, and that the group never closes.
    Adopted(Adopted),
}

/// A server that is a child process.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct StdioParams {
    /// The program, looked up on `PATH` when it has no slash.
    pub command: String,
    /// Its arguments.
    pub args: Vec<String>,
    /// Variables set for the child on top of the safe ones it inherits (see [`inherited`](StdioParams::inherited)).
    pub env: BTreeMap<String, String>,
    /// The directory in which it starts; ours if `None`.
    pub cwd: Option<PathBuf>,
    /// The fate of the processes that it has started, when it is left.
    pub descendants: Descendants,
}

impl StdioParams {
    /// A child started as `command`, without arguments.
    pub fn new(command: impl Into<String>) -> Self {
        Self { command: command.into(), ..Self::default() }
    }

    /// Whether a variable of our own environment is passed on to a child.
    ///
    /// Only variables that a program needs to find its files and its language: a server is foreign code, and
    /// our environment may hold keys that must not reach it. Other variables are set with [`env`](Self::env).
    pub fn inherited(name: &str) -> bool {
        const SAFE: [&str; 10] =
            ["HOME", "LANG", "LOGNAME", "PATH", "SHELL", "TEMP", "TERM", "TMPDIR", "TZ", "USER"];
        SAFE.contains(&name) || name.starts_with("LC_")
    }
}

/// Shows the names of variables without their values, which are often credentials.
impl fmt::Debug for StdioParams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StdioParams")
            .field("command", &self.command)
            .field("args", &self.args)
            .field("env", &Hidden(&self.env))
            .field("cwd", &self.cwd)
            .field("descendants", &self.descendants)
            .finish()
    }
}

/// A server behind streamable HTTP.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct HttpParams {
    /// The address of the endpoint, path included.
    pub url: String,
    /// Headers sent with every request, `Authorization` among them.
    pub headers: BTreeMap<String, String>,
    /// The source of further headers, which is asked before each request.
    pub authorize: Option<Authorize>,
}

impl HttpParams {
    /// A server at `url`, without headers of its own.
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: url.into(), ..Self::default() }
    }

    /// Asks `provider` for headers before each request, such as `Authorization`. They replace those of
    /// [`headers`](Self::headers) with the same names. If the server refuses them (401 or 403), the provider is asked
    /// once more, with the refusal. If it returns other headers, the request is sent again with them; otherwise it
    /// fails as [`Outcome::AuthRequired`](crate::Outcome::AuthRequired) or
    /// [`Outcome::Forbidden`](crate::Outcome::Forbidden).
    ///
    /// An error of the provider fails the request, and is the cause of that failure. Its headers are never shown.
    ///
    /// ```
    /// use std::collections::BTreeMap;
    ///
    /// let params = moored_mcp::HttpParams::new("https://host.example/mcp").headers_from(async |wanted| {
    ///     let renew = wanted.refused.is_some();
    ///     let token = token(renew).await?;
    ///     Ok::<_, std::io::Error>(BTreeMap::from([("Authorization".to_owned(), format!("Bearer {token}"))]))
    /// });
    /// # async fn token(_renew: bool) -> std::io::Result<String> { Ok("t".into()) }
    /// # drop(params);
    /// ```
    pub fn headers_from<F, H, E>(mut self, provider: F) -> Self
    where
        F: Fn(HeadersWanted) -> H + Send + Sync + 'static,
        H: Future<Output = Result<BTreeMap<String, String>, E>> + Send + 'static,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        self.authorize = Some(Authorize::from_fn(provider));
        self
    }

    /// Authorises with OAuth 2.1.
    #[cfg(feature = "auth")]
    pub fn oauth(mut self, oauth: crate::OAuth) -> Self {
        self.authorize = Some(oauth.authorize());
        self
    }
}

/// Shows the names of headers without their values, which are often credentials.
impl fmt::Debug for HttpParams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpParams")
            .field("url", &crate::wire::http::headers::shown(&self.url))
            .field("headers", &Hidden(&self.headers))
            .field("authorize", &self.authorize)
            .finish()
    }
}

/// A map with its values hidden.
struct Hidden<'a>(&'a BTreeMap<String, String>);

impl fmt::Debug for Hidden<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.0.keys().map(|name| (name, format_args!("..")))).finish()
    }
}

/// The limits of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct GroupOptions {
    /// From a server's turn to the outcome of its attempt. Waiting for the turn does not count.
    pub connect_timeout: Duration,
    /// The number of children that may be starting at once; the others wait for their turn. Processes that start
    /// together share the processors, and each takes longer.
    pub starts: usize,
    /// The limit of leaving as a whole, however the servers behave. SIGKILL is sent no later than half a
    /// second before its end.
    pub budget: Duration,
    /// The time that a child may take to exit after its standard input was closed.
    pub eof_grace: Duration,
    /// The time that its process group may take after SIGTERM.
    pub term_grace: Duration,
    /// The time that a server may leave the era probe (`server/discover`) unanswered before it gets `initialize` as
    /// well; never more than half of the rest of the attempt. A later answer still counts.
    pub discover_timeout: Duration,
    /// The limit of a call without a limit of its own, to a server without one: a minute by default. `None` waits as
    /// long as the session lives.
    pub call_timeout: Option<Duration>,
    /// The number of session DELETEs that are sent at once, over the whole group. A DELETE that is not answered soon no
    /// longer counts.
    pub delete_concurrency: usize,
    /// The number of pages of one list that are read before the server is considered to repeat
    /// itself.
    pub page_cap: usize,
    /// The rule for the names of components in the group.
    pub names: Names,
    /// The callbacks for servers without their own.
    pub callbacks: Callbacks,
    /// The description of this program, for the servers.
    pub client_info: ClientInfo,
    /// A program that kills the children if this process is ended by SIGKILL. It is started beside the first child. If
    /// it cannot be started, the children have a warning.
    pub watchdog: Option<Watchdog>,
}

impl Default for GroupOptions {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(30),
            starts: default_starts(),
            budget: Duration::from_secs(5),
            eof_grace: Duration::from_secs(2),
            term_grace: Duration::from_secs(2),
            discover_timeout: Duration::from_secs(10),
            call_timeout: Some(Duration::from_secs(60)),
            delete_concurrency: 64,
            page_cap: 1_000,
            names: Names::default(),
            callbacks: Callbacks::default(),
            client_info: ClientInfo::default(),
            watchdog: None,
        }
    }
}

/// Twice the number of processors, because a child that waits for its disk leaves its processor
/// to another one.
fn default_starts() -> usize {
    std::thread::available_parallelism().map_or(2, |processors| processors.get() * 2)
}

impl GroupOptions {
    /// Sets the limit of a connection attempt.
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        self.connect_timeout = limit;
        self
    }

    /// Sets the number of children that may be starting at once. It is at least one.
    pub fn starts(mut self, starts: usize) -> Self {
        self.starts = starts;
        self
    }

    /// Sets the limit of leaving.
    pub fn budget(mut self, limit: Duration) -> Self {
        self.budget = limit;
        self
    }

    /// Sets the wait between the end of a child's standard input and SIGTERM.
    pub fn eof_grace(mut self, grace: Duration) -> Self {
        self.eof_grace = grace;
        self
    }

    /// Sets the wait between SIGTERM and SIGKILL.
    pub fn term_grace(mut self, grace: Duration) -> Self {
        self.term_grace = grace;
        self
    }

    /// Sets the wait for an answer to the era probe.
    pub fn discover_timeout(mut self, limit: Duration) -> Self {
        self.discover_timeout = limit;
        self
    }

    /// Sets the limit of calls without a limit of their own.
    pub fn call_timeout(mut self, limit: Option<Duration>) -> Self {
        self.call_timeout = limit;
        self
    }

    /// Sets the program that kills the children if this process is ended by SIGKILL.
    pub fn watchdog(mut self, watchdog: Watchdog) -> Self {
        self.watchdog = Some(watchdog);
        self
    }

    /// Sets the rule for the names of components in the group.
    pub fn names(mut self, names: Names) -> Self {
        self.names = names;
        self
    }

    /// Sets the callbacks for servers without their own.
    pub fn callbacks(mut self, callbacks: Callbacks) -> Self {
        self.callbacks = callbacks;
        self
    }

    /// Sets the description of this program, for the servers.
    pub fn client_info(mut self, info: ClientInfo) -> Self {
        self.client_info = info;
        self
    }
}

/// The description of a program for servers; by default this crate's.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientInfo {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// A name for people.
    pub title: Option<String>,
    /// Its address on the web, for people.
    pub website_url: Option<String>,
}

impl ClientInfo {
    /// A program of this name and version.
    pub fn new(name: impl Into<String>, version: impl Into<String>) -> Self {
        Self { name: name.into(), version: version.into(), title: None, website_url: None }
    }

    /// Sets the name for people.
    pub fn title(mut self, title: impl Into<String>) -> Self {
        self.title = Some(title.into());
        self
    }

    /// Sets its address on the web, for people.
    pub fn website_url(mut self, url: impl Into<String>) -> Self {
        self.website_url = Some(url.into());
        self
    }
}

impl Default for ClientInfo {
    fn default() -> Self {
        Self::new(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"))
    }
}

/// The effect of one failed server on the others of a
/// [`connect_many`](crate::SessionGroup::connect_many).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Policy {
    /// The others go on; every server has an outcome of its own.
    #[default]
    BestEffort,
    /// The first failure interrupts the attempts that are still under way. Connected servers stay
    /// connected.
    FailFast,
}

/// The options of one request: a call, a prompt, a resource, a completion.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CallOptions {
    /// The limit of this request; the server's if `None`, and the group's if the server has none.
    pub timeout: Option<Duration>,
    /// If it is set, every notification of progress starts the limit anew, and this is the limit of the whole
    /// request.
    pub longest: Option<Duration>,
    /// The request's metadata outside the protocol, its `_meta`. The token of its progress is added to it.
    pub meta: Map<String, Value>,
    /// Called with the progress of the request, by the task that waits for its answer.
    pub on_progress: Option<OnProgress>,
    /// A value that comes with the server's requests and notifications on behalf of this request.
    pub tag: Option<Tag>,
    /// The number of times that the request is sent again, after the server has asked for input and the callbacks have
    /// answered; 10 if `None`.
    pub rounds: Option<u32>,
    /// The answers to the server's `inputRequests` of an earlier answer, by their keys.
    pub input_responses: Option<Map<String, Value>>,
    /// The `requestState` of that answer.
    pub request_state: Option<String>,
}

impl CallOptions {
    /// Limits the request.
    pub fn timeout(limit: Duration) -> Self {
        Self { timeout: Some(limit), ..Self::default() }
    }

    /// Lets progress start the limit anew, up to `longest` in total.
    pub fn longest(mut self, longest: Duration) -> Self {
        self.longest = Some(longest);
        self
    }

    /// Sends `meta` as the request's `_meta`.
    pub fn meta(mut self, meta: Map<String, Value>) -> Self {
        self.meta = meta;
        self
    }

    /// Calls `each` with every step of progress that the server reports. It runs in the task that waits for the answer,
    /// in the order of the server's notifications and before the answer is returned. While it is behind by more than
    /// 64, newer notifications are left out.
    pub fn on_progress(mut self, each: impl Fn(&Progress) + Send + Sync + 'static) -> Self {
        self.on_progress = Some(OnProgress(Arc::new(each)));
        self
    }

    /// Sets the tag that comes with the server's requests and notifications on behalf of this request: see
    /// [`ServerMessage::tag`](crate::ServerMessage::tag).
    pub fn tag(mut self, tag: Tag) -> Self {
        self.tag = Some(tag);
        self
    }

    /// Bounds the number of times that the request is sent again. A server of the newer era may answer that it needs
    /// input first (`resultType: input_required`). If there are [callbacks](crate::Callbacks) for all of its requests,
    /// they are called, and the request is sent again with their answers. Otherwise, and with 0 rounds, that answer is
    /// the result: see [`ToolResult::needs_input`](crate::ToolResult::needs_input).
    pub fn rounds(mut self, rounds: u32) -> Self {
        self.rounds = Some(rounds);
        self
    }

    /// Sets the answers to a server's `inputRequests`, by their keys.
    pub fn input_responses(mut self, responses: Map<String, Value>) -> Self {
        self.input_responses = Some(responses);
        self
    }

    /// Sets the `requestState` of the server's earlier answer, which the server needs back.
    pub fn request_state(mut self, state: impl Into<String>) -> Self {
        self.request_state = Some(state.into());
        self
    }
}

/// A callback for progress; see [`CallOptions::on_progress`].
#[derive(Clone)]
pub struct OnProgress(Arc<dyn Fn(&Progress) + Send + Sync>);

impl OnProgress {
    pub(crate) fn call(&self, progress: &Progress) {
        (self.0)(progress);
    }
}

impl std::fmt::Debug for OnProgress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OnProgress")
    }
}

/// Equal if they are the same callback, not if they do the same.
impl PartialEq for OnProgress {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for OnProgress {}

/// The argument for which [`complete`](crate::SessionGroup::complete) asks proposals.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CompleteArgs {
    /// Its name.
    pub argument: String,
    /// The text typed so far.
    pub value: String,
    /// Arguments that have their values already.
    pub context: BTreeMap<String, String>,
}

impl CompleteArgs {
    /// Proposals for `argument` that continue `value`.
    pub fn new(argument: impl Into<String>, value: impl Into<String>) -> Self {
        Self { argument: argument.into(), value: value.into(), context: BTreeMap::new() }
    }

    /// Sets the value that another argument has.
    pub fn given(mut self, argument: impl Into<String>, value: impl Into<String>) -> Self {
        self.context.insert(argument.into(), value.into());
        self
    }
}
