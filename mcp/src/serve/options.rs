//! The options of a gateway.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

type OnDropped = Arc<dyn Fn(&str) + Send + Sync>;

/// The options of a [`Gateway`](super::Gateway): its limits, and the requests that it admits.
#[derive(Clone)]
#[non_exhaustive]
pub struct GatewayOptions {
    /// The path of the endpoint over HTTP.
    pub path: String,
    /// The time that a list waits for servers whose first attempt is under way, and that a request waits for such a
    /// server.
    pub settle: Duration,
    /// The time that requests under way may take when the gateway closes; then they are cancelled.
    pub drain: Duration,
    /// The limit of a request whose server reports progress. Every step starts the server's usual limit anew.
    pub longest: Duration,
    /// The first wait before a server that is down is connected again. It doubles each time.
    pub retry: Duration,
    /// The longest such wait.
    pub retry_most: Duration,
    /// The largest body of an HTTP request, and the longest line of a client on a pipe, in bytes.
    pub body_limit: usize,
    /// The largest number of open sessions of the older era.
    pub sessions: usize,
    /// The time that such a session may be idle before it is ended. Open streams and requests under way count as use.
    pub session_idle: Duration,
    /// The largest number of open HTTP connections; more wait to be accepted.
    pub connections: usize,
    /// The largest number of requests under way, over all clients.
    pub requests: usize,
    /// The largest number of requests of the newer era that wait for their client's input.
    pub parked: usize,
    /// The time that such a request waits.
    pub parked_for: Duration,
    /// The time for which a client may read nothing although messages wait for it. Then it is dropped: its connection or
    /// pipe is closed, and its requests are cancelled as for any client that goes away.
    pub unread_for: Duration,
    /// Gets a line for the log for each client that is dropped.
    on_dropped: Option<OnDropped>,
    /// The bearer token that HTTP requests have to carry.
    pub token: Option<String>,
    /// Names other than those of loopback that `Host` may have.
    pub allowed_hosts: Vec<String>,
    /// Origins other than those of loopback from which pages may send requests, such as `https://app.example`.
    pub allowed_origins: Vec<String>,
}

impl Default for GatewayOptions {
    fn default() -> Self {
        Self {
            path: "/mcp".into(),
            settle: Duration::from_secs(10),
            drain: Duration::from_secs(2),
            longest: Duration::from_secs(60 * 60),
            retry: Duration::from_secs(1),
            retry_most: Duration::from_secs(60),
            body_limit: 4 << 20,
            sessions: 256,
            session_idle: Duration::from_secs(30 * 60),
            connections: 1024,
            requests: 1024,
            parked: 64,
            parked_for: Duration::from_secs(5 * 60),
            unread_for: Duration::from_secs(60),
            on_dropped: None,
            token: None,
            allowed_hosts: Vec::new(),
            allowed_origins: Vec::new(),
        }
    }
}

impl GatewayOptions {
    /// Requires this bearer token of every HTTP request.
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(token.into());
        self
    }

    /// Also accepts this name in `Host`.
    pub fn allow_host(mut self, name: impl Into<String>) -> Self {
        self.allowed_hosts.push(name.into());
        self
    }

    /// Lets pages of this origin send requests.
    pub fn allow_origin(mut self, origin: impl Into<String>) -> Self {
        self.allowed_origins.push(origin.into());
        self
    }

    /// Sets the time that requests under way may take when the gateway closes.
    pub fn drain(mut self, limit: Duration) -> Self {
        self.drain = limit;
        self
    }

    /// Sets the time for which a client may leave its messages unread.
    pub fn unread_for(mut self, limit: Duration) -> Self {
        self.unread_for = limit;
        self
    }

    /// Calls `log` with a line for each client that is dropped because it does not read. The line names the client by the
    /// address of its connection, and contains nothing that the client has sent.
    pub fn on_dropped(mut self, log: impl Fn(&str) + Send + Sync + 'static) -> Self {
        self.on_dropped = Some(Arc::new(log));
        self
    }

    /// A client was dropped.
    pub(super) fn dropped(&self, line: &str) {
        if let Some(log) = &self.on_dropped {
            log(line);
        }
    }

    /// Sets the time that lists wait for servers whose first attempt is under way.
    pub fn settle(mut self, limit: Duration) -> Self {
        self.settle = limit;
        self
    }
}

/// Shows that a token is set, without the token.
impl fmt::Debug for GatewayOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GatewayOptions")
            .field("path", &self.path)
            .field("settle", &self.settle)
            .field("drain", &self.drain)
            .field("sessions", &self.sessions)
            .field("unread_for", &self.unread_for)
            .field("token", &self.token.as_ref().map(|_| format_args!("..")))
            .field("allowed_hosts", &self.allowed_hosts)
            .field("allowed_origins", &self.allowed_origins)
            .finish_non_exhaustive()
    }
}
