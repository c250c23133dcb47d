//! Helpers of the tests: servers, a gateway in front of them, and clients.

use std::time::Duration;

use moored_mcp::{Gateway, GatewayOptions, GroupOptions, ServerParams};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

#[path = "../sessions/support/http.rs"]
#[allow(dead_code)]
pub(crate) mod http;

#[path = "../sessions/support/asker.rs"]
pub(crate) mod asker;

#[path = "../sessions/support/real.rs"]
mod real;

#[path = "../sessions/support/servers.rs"]
mod servers;

pub(crate) use real::{Serving, serve as real};
pub(crate) use servers::{at, fleet_server, shell};

/// Every test ends within this time, one way or the other.
const LIMIT: Duration = Duration::from_secs(30);

/// Runs a test under its time limit.
pub(crate) async fn within_limit<T>(test: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, Box::pin(test)).await.expect("the test is over within its limit")
}

/// Short graces.
pub(crate) fn brisk() -> GroupOptions {
    GroupOptions::default()
        .connect_timeout(Duration::from_secs(8))
        .budget(Duration::from_millis(2_500))
        .eof_grace(Duration::from_millis(400))
        .term_grace(Duration::from_millis(400))
        .discover_timeout(Duration::from_millis(500))
}

/// Short waits.
pub(crate) fn options() -> GatewayOptions {
    let mut options = GatewayOptions::default();
    options.retry = Duration::from_millis(20);
    options.retry_most = Duration::from_millis(100);
    options.drain = Duration::from_millis(700);
    options
}

/// A gateway that listens.
pub(crate) struct Served {
    pub(crate) gateway: Gateway,
    pub(crate) address: String,
}

impl Served {
    pub(crate) async fn start(servers: Vec<ServerParams>) -> Self {
        Self::with(servers, options()).await
    }

    pub(crate) async fn with(servers: Vec<ServerParams>, options: GatewayOptions) -> Self {
        let gateway = Gateway::open(brisk(), options);
        gateway.keep(servers);
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let address = listener.local_addr().expect("its address").to_string();
        let serving = gateway.clone();
        tokio::spawn(async move { serving.serve_http(listener).await });
        Self { gateway, address }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/mcp", self.address)
    }

    /// Sends one request on a connection of its own.
    pub(crate) async fn ask(&self, request: Raw) -> Answer {
        let mut stream = self.send(&request).await;
        let mut text = Vec::new();
        stream.read_to_end(&mut text).await.expect("an answer");
        Answer::read(&text)
    }

    /// As [`ask`](Self::ask), without reading the answer.
    pub(crate) async fn send(&self, request: &Raw) -> TcpStream {
        let mut stream = TcpStream::connect(&self.address).await.expect("a connection");
        stream.write_all(request.text(&self.address).as_bytes()).await.expect("sent");
        stream
    }

    /// Begins a session of the older era.
    pub(crate) async fn session(&self) -> String {
        let answer = self.ask(Raw::post(&initialize())).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let session = answer.header("mcp-session-id").expect("a session").to_owned();
        let told = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
        let answer = self.ask(Raw::post(&told).with("Mcp-Session-Id", &session)).await;
        assert_eq!(answer.status, 202, "{answer:?}");
        session
    }
}

/// A request as text.
#[derive(Debug, Clone)]
pub(crate) struct Raw {
    verb: &'static str,
    path: String,
    headers: Vec<(String, String)>,
    body: String,
}

impl Raw {
    pub(crate) fn new(verb: &'static str, path: &str) -> Self {
        Self { verb, path: path.into(), headers: Vec::new(), body: String::new() }
    }

    pub(crate) fn post(message: &Value) -> Self {
        let mut raw = Self::new("POST", "/mcp");
        raw.body = message.to_string();
        raw.with("Content-Type", "application/json")
    }

    /// A request of the newer era, with the headers that it needs.
    pub(crate) fn modern(method: &str, mut params: Value) -> Self {
        params["_meta"]["io.modelcontextprotocol/protocolVersion"] = json!("2026-07-28");
        params["_meta"]["io.modelcontextprotocol/clientCapabilities"] = json!({});
        let name = params["name"].as_str().or(params["uri"].as_str()).map(str::to_owned);
        let message = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        let raw = Self::post(&message)
            .with("MCP-Protocol-Version", "2026-07-28")
            .with("Mcp-Method", method);
        match name {
            Some(name) => raw.with("Mcp-Name", &name),
            None => raw,
        }
    }

    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(it, _)| !it.eq_ignore_ascii_case(name));
        self
    }

    pub(crate) fn saying(mut self, body: impl Into<String>) -> Self {
        self.body = body.into();
        self
    }

    fn text(&self, address: &str) -> String {
        let mut text = format!("{} {} HTTP/1.1\r\nConnection: close\r\n", self.verb, self.path);
        let has = |name: &str| self.headers.iter().any(|(it, _)| it.eq_ignore_ascii_case(name));
        if !has("host") {
            text.push_str(&format!("Host: {address}\r\n"));
        }
        for (name, value) in self.headers.iter().filter(|(_, value)| value != "none") {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        if !has("transfer-encoding") {
            text.push_str(&format!("Content-Length: {}\r\n", self.body.len()));
        }
        text + "\r\n" + &self.body
    }
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Answer {
    fn read(text: &[u8]) -> Self {
        let text = String::from_utf8_lossy(text);
        let (head, body) = text.split_once("\r\n\r\n").expect("a head");
        let mut lines = head.lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1)).expect("a status");
        let pair =
            |line: &str| line.split_once(':').map(|(a, b)| (a.to_owned(), b.trim().to_owned()));
        let headers: Vec<_> = lines.filter_map(pair).collect();
        let is_chunked = headers.iter().any(|(_, value)| value == "chunked");
        let body = if is_chunked { unchunked(body) } else { body.to_owned() };
        Self { status: status.parse().expect("a number"), headers, body }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(it, _)| it.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// The last message, whether it came alone or as an event.
    pub(crate) fn message(&self) -> Value {
        self.messages().pop().unwrap_or_default()
    }

    pub(crate) fn messages(&self) -> Vec<Value> {
        if self.header("content-type") == Some("text/event-stream") {
            let data = self.body.lines().filter_map(|line| line.strip_prefix("data: "));
            data.filter_map(|data| serde_json::from_str(data).ok()).collect()
        } else {
            serde_json::from_str(&self.body).into_iter().collect()
        }
    }
}

fn unchunked(mut body: &str) -> String {
    let mut text = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).expect("the size of a chunk");
        text.push_str(&rest[..size]);
        body = rest[size..].trim_start_matches("\r\n");
    }
    text
}

pub(crate) fn initialize() -> Value {
    json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "raw", "version": "1"},
    }})
}

/// Polls until `condition` holds, because there is no event to wait for. The time limit of the test ends a poll that
/// never succeeds.
pub(crate) async fn come_true(condition: impl AsyncFn() -> bool) {
    let mut looks = tokio::time::interval(Duration::from_millis(2));
    while !condition().await {
        looks.tick().await;
    }
}

/// As [`come_true`], for a condition that needs no await.
pub(crate) async fn until(condition: impl Fn() -> bool) {
    come_true(async || condition()).await;
}
