//! The limits of a group, and the description of its program.

use std::sync::LazyLock;
use std::time::Duration;

use crate::callbacks::Callbacks;
use crate::names::Names;
use crate::watchdog::Watchdog;

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
/// to another one. Counted once, because the operating system reads several files for it.
fn default_starts() -> usize {
    static STARTS: LazyLock<usize> = LazyLock::new(|| {
        std::thread::available_parallelism().map_or(2, |processors| processors.get() * 2)
    });
    *STARTS
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
