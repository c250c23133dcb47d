//! What a gateway is told before it begins.

use std::fmt;
use std::time::Duration;

/// How a [`Gateway`](super::Gateway) serves: its limits, and who may ask.
#[derive(Clone)]
#[non_exhaustive]
pub struct GatewayOptions {
    /// The path of the endpoint over HTTP.
    pub path: String,
    /// How long a list, or a request for a server that has had no outcome yet, waits for the servers that are still on their
    /// way up.
    pub settle: Duration,
    /// How long requests under way may go on when the gateway closes; then they are cancelled.
    pub drain: Duration,
    /// The limit of a request whose server tells of its progress. Every step starts the server's usual limit anew.
    pub longest: Duration,
    /// The first wait before a server that is down is connected again. It doubles each time.
    pub retry: Duration,
    /// The longest such wait.
    pub retry_most: Duration,
    /// The largest body of an HTTP request, and the longest line of a client on a pipe, in bytes.
    pub body_limit: usize,
    /// How many sessions of the older era may be open at once.
    pub sessions: usize,
    /// How long such a session may be idle before it is ended. Open streams and requests under way count as use.
    pub session_idle: Duration,
    /// How many HTTP connections may be open at once; more wait to be accepted.
    pub connections: usize,
    /// How many requests may be under way at once, over all clients.
    pub requests: usize,
    /// How many requests of the newer era may wait for their client's input at once.
    pub parked: usize,
    /// How long such a request waits.
    pub parked_for: Duration,
    /// The bearer token that HTTP requests have to carry.
    pub token: Option<String>,
    /// Names other than those of loopback that `Host` may have.
    pub allowed_hosts: Vec<String>,
    /// Origins other than those of loopback whose pages may ask, such as `https://app.example`.
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
            token: None,
            allowed_hosts: Vec::new(),
            allowed_origins: Vec::new(),
        }
    }
}

impl GatewayOptions {
    /// Asks every HTTP request for this bearer token.
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(token.into());
        self
    }

    /// Answers to this name as well.
    pub fn allow_host(mut self, name: impl Into<String>) -> Self {
        self.allowed_hosts.push(name.into());
        self
    }

    /// Lets pages of this origin ask.
    pub fn allow_origin(mut self, origin: impl Into<String>) -> Self {
        self.allowed_origins.push(origin.into());
        self
    }

    /// Sets how long requests under way may go on when the gateway closes.
    pub fn drain(mut self, limit: Duration) -> Self {
        self.drain = limit;
        self
    }

    /// Sets how long lists wait for servers that are on their way up.
    pub fn settle(mut self, limit: Duration) -> Self {
        self.settle = limit;
        self
    }
}

/// Shows that there is a token, and not which.
impl fmt::Debug for GatewayOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GatewayOptions")
            .field("path", &self.path)
            .field("settle", &self.settle)
            .field("drain", &self.drain)
            .field("sessions", &self.sessions)
            .field("token", &self.token.as_ref().map(|_| format_args!("..")))
            .field("allowed_hosts", &self.allowed_hosts)
            .field("allowed_origins", &self.allowed_origins)
            .finish_non_exhaustive()
    }
}
