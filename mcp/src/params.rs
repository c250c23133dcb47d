//! What a caller says before anything is started: which servers, and within which limits.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::answer::Progress;
use crate::names::Names;

/// One server of a group: the name it is known by, and how it is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerParams {
    /// Unique in its group; a part of the names that the group has for its components.
    pub name: String,
    /// How the server is reached.
    pub transport: Transport,
    /// Which era of the protocol it speaks.
    pub era: Era,
    /// The limit of a call of its tools that names none; the group's where `None`.
    pub call_timeout: Option<Duration>,
}

/// The era of the protocol that a server speaks: with an `initialize` handshake, or with `server/discover`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Era {
    /// Not known: the server is probed with `server/discover`, and gets `initialize` where it does not answer like a modern
    /// one.
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

    fn new(name: String, transport: Transport) -> Self {
        Self { name, transport, era: Era::Auto, call_timeout: None }
    }

    /// Limits calls of its tools.
    pub fn call_timeout(mut self, limit: Duration) -> Self {
        self.call_timeout = Some(limit);
        self
    }

    /// Sets the era, where it is known.
    pub fn era(mut self, era: Era) -> Self {
        self.era = era;
        self
    }

    /// What the server is, in the words an error uses: its command line or its address.
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
            Transport::Http(http) => http.url.clone(),
        }
    }
}

/// How a server is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transport {
    /// A child process of ours.
    Stdio(StdioParams),
    /// Streamable HTTP. The removed SSE transport is not spoken: a server that has nothing else is reported as a
    /// protocol error.
    Http(HttpParams),
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
    /// The directory it starts in; ours where `None`.
    pub cwd: Option<PathBuf>,
}

impl StdioParams {
    /// A child started as `command`, without arguments.
    pub fn new(command: impl Into<String>) -> Self {
        Self { command: command.into(), ..Self::default() }
    }

    /// Whether a variable of our own environment is passed on to a child.
    ///
    /// Only what a program needs to find its files and its language: a server is somebody else's code, and our
    /// environment may hold keys that are none of its business. Everything else is named in [`env`](Self::env).
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
}

impl HttpParams {
    /// A server at `url`, without headers of its own.
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: url.into(), ..Self::default() }
    }
}

/// Shows the names of headers without their values, which are often credentials.
impl fmt::Debug for HttpParams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpParams")
            .field("url", &self.url)
            .field("headers", &Hidden(&self.headers))
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

/// The limits a group works within.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct GroupOptions {
    /// From a server's turn to the outcome of its attempt. Waiting for the turn does not count.
    pub connect_timeout: Duration,
    /// How many children may be on their way up at once; the others wait for their turn. Processes that start together
    /// share the processors, and each takes longer.
    pub starts: usize,
    /// All of leaving, whatever the servers do. SIGKILL is sent no later than half a second before its end.
    pub budget: Duration,
    /// How long a child may take to exit after its standard input was closed.
    pub eof_grace: Duration,
    /// How long its process group may take after SIGTERM.
    pub term_grace: Duration,
    /// How long a server may leave the era probe (`server/discover`) unanswered before it gets `initialize` as well; never
    /// more than half of what is left of the attempt. An answer that comes later still counts.
    pub discover_timeout: Duration,
    /// The limit of a call that names none of its own, to a server that has none either: a minute unless it is set. `None`
    /// waits as long as the session lives.
    pub call_timeout: Option<Duration>,
    /// How many session DELETEs are sent at once, over the whole group. One that is not answered soon no longer counts.
    pub delete_concurrency: usize,
    /// How many pages of one list are read before the server is taken to repeat itself.
    pub page_cap: usize,
    /// What the group calls the components of its servers.
    pub names: Names,
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
        }
    }
}

/// Twice the processors: a child that waits for its disk leaves its processor to another one.
fn default_starts() -> usize {
    std::thread::available_parallelism().map_or(2, |processors| processors.get() * 2)
}

impl GroupOptions {
    /// Sets the limit of a connection attempt.
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        self.connect_timeout = limit;
        self
    }

    /// Sets how many children may be on their way up at once. At least one may.
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

    /// Sets the limit of calls that name none.
    pub fn call_timeout(mut self, limit: Option<Duration>) -> Self {
        self.call_timeout = limit;
        self
    }

    /// Sets what the group calls the components of its servers.
    pub fn names(mut self, names: Names) -> Self {
        self.names = names;
        self
    }
}

/// What one failed server means for the others of a [`connect_many`](crate::SessionGroup::connect_many).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Policy {
    /// The others go on; every server has an outcome of its own.
    #[default]
    BestEffort,
    /// The first failure interrupts the attempts that are still under way. What is connected stays so.
    FailFast,
}

/// What a caller may say about one request: a call, a prompt, a resource, a completion.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CallOptions {
    /// The limit of this request; the server's where `None`, and the group's where that has none.
    pub timeout: Option<Duration>,
    /// Where it is set, every notification of progress starts the limit anew, and this is the limit of the whole.
    pub longest: Option<Duration>,
    /// What the request says beside the protocol, in its `_meta`. The token of its progress is added to it.
    pub meta: Map<String, Value>,
    /// Called with the progress of the request, by the task that waits for its answer.
    pub on_progress: Option<OnProgress>,
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

    /// Calls `each` with every step that the server tells of. It runs in the task that waits for the answer, in the order
    /// of the server's notifications and before the answer is returned. While it is behind by more than 64, newer ones are
    /// left out.
    pub fn on_progress(mut self, each: impl Fn(&Progress) + Send + Sync + 'static) -> Self {
        self.on_progress = Some(OnProgress(Arc::new(each)));
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

/// The same callback, not one that does the same.
impl PartialEq for OnProgress {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for OnProgress {}

/// The argument that [`complete`](crate::SessionGroup::complete) asks proposals for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CompleteArgs {
    /// Its name.
    pub argument: String,
    /// What is typed so far.
    pub value: String,
    /// Arguments that have their values already.
    pub context: BTreeMap<String, String>,
}

impl CompleteArgs {
    /// Proposals for `argument` that go on from `value`.
    pub fn new(argument: impl Into<String>, value: impl Into<String>) -> Self {
        Self { argument: argument.into(), value: value.into(), context: BTreeMap::new() }
    }

    /// Names the value that another argument has.
    pub fn given(mut self, argument: impl Into<String>, value: impl Into<String>) -> Self {
        self.context.insert(argument.into(), value.into());
        self
    }
}
