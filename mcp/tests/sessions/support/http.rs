//! A small HTTP server, with answers that a test decides, and a log of its requests.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// The parts of a request that a script may look at.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) verb: String,
    pub(crate) path: String,
    /// The JSON-RPC method of a POST.
    pub(crate) rpc: String,
    pub(crate) id: Value,
    pub(crate) params: Value,
    pub(crate) headers: HashMap<String, String>,
    #[cfg_attr(not(feature = "auth"), expect(dead_code, reason = "the tests of OAuth read it"))]
    pub(crate) body: String,
    /// The number of earlier requests on its connection.
    pub(crate) before: usize,
}

/// The reaction of the server to a request.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    Answer {
        status: u16,
        headers: Vec<(String, String)>,
        body: Vec<u8>,
    },
    /// A stream of events, sent without a `Content-Length`.
    Events {
        headers: Vec<(String, String)>,
        text: Vec<u8>,
        end: End,
    },
    /// A stream of the events that a test pushes.
    Fed(Feed),
    /// Another reply, once the gate is open.
    Gated(watch::Receiver<bool>, Box<Reply>),
    /// Keeps the connection open and sends nothing.
    Hang,
    /// Closes the connection without an answer.
    Reset,
    /// Gives the inner reply after a delay, as a server does that is slow to start.
    After(Duration, Box<Reply>),
}

/// The source of streams of events. Each stream with this feed as its reply sends all of its events, from the first.
#[derive(Debug, Clone)]
pub(crate) struct Feed(Arc<watch::Sender<Fed>>);

#[derive(Debug, Default)]
struct Fed {
    events: Vec<String>,
    is_over: bool,
}

impl Feed {
    pub(crate) fn new() -> Self {
        Self(Arc::new(watch::channel(Fed::default()).0))
    }

    pub(crate) fn push(&self, message: &Value) {
        self.0.send_modify(|fed| fed.events.push(format!("data: {message}\n\n")));
    }

    /// Ends the streams with the last chunk of HTTP, so that they are complete.
    pub(crate) fn end(&self) {
        self.0.send_modify(|fed| fed.is_over = true);
    }

    /// Waits until at least `count` streams are open on this feed.
    pub(crate) async fn streams(&self, count: usize) {
        super::until(|| self.0.receiver_count() >= count).await;
    }

    /// The number of streams that are open on this feed.
    #[allow(dead_code, reason = "the fault suite has this file too")]
    pub(crate) fn receivers(&self) -> usize {
        self.0.receiver_count()
    }

    /// Waits until no stream is open on this feed.
    pub(crate) async fn idle(&self) {
        self.0.closed().await;
    }

    async fn run(&self, stream: &mut BufReader<TcpStream>) -> std::io::Result<()> {
        let mut watch = self.0.subscribe();
        let mut told = 0;
        loop {
            let (new, is_over) = {
                let fed = watch.borrow_and_update();
                (fed.events[told..].to_vec(), fed.is_over)
            };
            told += new.len();
            for event in new {
                let chunk = format!("{:x}\r\n{event}\r\n", event.len());
                stream.get_mut().write_all(chunk.as_bytes()).await?;
            }
            if is_over {
                return stream.get_mut().write_all(b"0\r\n\r\n").await;
            }
            let mut byte = [0];
            tokio::select! {
                changed = watch.changed() => changed.map_err(std::io::Error::other)?,
                // The client has closed the connection.
                _ = stream.read(&mut byte) => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            }
        }
    }
}

/// The end of a stream of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Complete.
    Whole,
    /// Broken off in the middle.
    Broken,
    /// It stays open.
    Open,
}

impl Reply {
    pub(crate) fn status(status: u16) -> Self {
        Self::Answer { status, headers: Vec::new(), body: Vec::new() }
    }

    pub(crate) fn events(text: impl Into<Vec<u8>>, end: End) -> Self {
        Self::Events { headers: Vec::new(), text: text.into(), end }
    }

    pub(crate) fn json(value: Value) -> Self {
        Self::status(200).with("content-type", "application/json").saying(value.to_string())
    }

    pub(crate) fn with(self, name: &str, value: &str) -> Self {
        match self {
            Self::Answer { status, mut headers, body } => {
                headers.push((name.into(), value.into()));
                Self::Answer { status, headers, body }
            }
            Self::Events { mut headers, text, end } => {
                headers.push((name.into(), value.into()));
                Self::Events { headers, text, end }
            }
            other => other,
        }
    }

    pub(crate) fn of_status(self, status: u16) -> Self {
        match self {
            Self::Answer { headers, body, .. } => Self::Answer { status, headers, body },
            other => other,
        }
    }

    pub(crate) fn after(self, delay: Duration) -> Self {
        Self::After(delay, Box::new(self))
    }

    pub(crate) fn saying(self, text: impl Into<Vec<u8>>) -> Self {
        match self {
            Self::Answer { status, headers, .. } => {
                Self::Answer { status, headers, body: text.into() }
            }
            other => other,
        }
    }
}

/// The answers of a healthy server of the legacy era.
pub(crate) fn legacy(request: &Request) -> Reply {
    let result =
        |value: Value| Reply::json(json!({"jsonrpc": "2.0", "id": request.id, "result": value}));
    match (request.verb.as_str(), request.rpc.as_str()) {
        ("POST", "initialize") => result(json!({
            "protocolVersion": "2025-11-25",
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "scripted", "version": "1"},
        }))
        .with("mcp-session-id", "s-1"),
        ("POST", "notifications/initialized" | "notifications/cancelled") => Reply::status(202),
        ("POST", "tools/list") => result(json!({
            "tools": [{"name": "echo", "inputSchema": {"type": "object"}}],
        })),
        ("POST", "tools/call") => result(json!({
            "content": [{"type": "text", "text": request.params["arguments"]["text"].as_str().unwrap_or_default()}],
        })),
        ("POST", _) => Reply::json(json!({
            "jsonrpc": "2.0", "id": request.id, "error": {"code": -32601, "message": "no such method"},
        })),
        ("GET", _) => Reply::status(405),
        ("DELETE", _) => Reply::status(200),
        _ => Reply::status(400),
    }
}

/// The answers of a healthy server of the modern era.
pub(crate) fn modern(request: &Request) -> Reply {
    let answer =
        |value: Value| Reply::json(json!({"jsonrpc": "2.0", "id": request.id, "result": value}));
    match (request.verb.as_str(), request.rpc.as_str()) {
        ("POST", "server/discover") => answer(json!({
            "resultType": "complete",
            "supportedVersions": ["2026-07-28"],
            "capabilities": {"tools": {}},
            "ttlMs": 0,
            "cacheScope": "private",
        })),
        ("POST", "tools/list") => answer(json!({
            "resultType": "complete",
            "tools": [{"name": "echo", "inputSchema": {"type": "object"}}],
            "ttlMs": 0,
            "cacheScope": "private",
        })),
        ("POST", "initialize") => Reply::json(json!({
            "jsonrpc": "2.0",
            "id": request.id,
            "error": {
                "code": -32022,
                "message": "Unsupported protocol version",
                "data": {"supported": ["2026-07-28"], "requested": "2025-11-25"},
            },
        })),
        _ => Reply::status(404),
    }
}

/// The running server. It stops when this value is dropped.
pub(crate) struct Server {
    pub(crate) url: String,
    log: Log,
    ids: Ids,
    accepting: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Server {
    /// Listens on a port of the kernel's choice and answers by `script`.
    pub(crate) async fn start(script: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port on loopback");
        let url = format!("http://{}/mcp", listener.local_addr().expect("its address"));
        let log = Log::new(watch::channel(Vec::new()).0);
        let ids = Ids::default();
        let accepting = tokio::spawn(accept(listener, Arc::new(script), log.clone(), ids.clone()));
        Self { url, log, ids, accepting }
    }

    /// The requests so far: `POST initialize`, `DELETE s-1`, …
    pub(crate) fn log(&self) -> Vec<String> {
        self.log.borrow().clone()
    }

    /// The ids of the requests of a method so far.
    pub(crate) fn requested(&self, rpc: &str) -> Vec<Value> {
        let ids = self.ids.lock();
        ids.iter().filter(|(method, _)| method == rpc).map(|(_, id)| id.clone()).collect()
    }

    /// Waits until the log has the line `what`.
    pub(crate) async fn asked(&self, what: &str) {
        self.asked_at_least(1, what).await;
    }

    /// Waits until the log has the line `what` so many times, or more.
    pub(crate) async fn asked_at_least(&self, times: usize, what: &str) {
        let mut log = self.log.subscribe();
        let lines = |log: &Vec<String>| log.iter().filter(|line| *line == what).count();
        let asked = log.wait_for(|log| lines(log) >= times).await;
        asked.expect("the server keeps its log");
    }

    /// The number of DELETEs among the requests.
    pub(crate) fn deletes(&self) -> usize {
        self.log().iter().filter(|line| line.starts_with("DELETE")).count()
    }
}

/// The lines of the log; and the ids of the requests, each with its method.
type Log = Arc<watch::Sender<Vec<String>>>;
type Ids = Arc<Mutex<Vec<(String, Value)>>>;
type Script = Arc<dyn Fn(&Request) -> Reply + Send + Sync>;

async fn accept(listener: TcpListener, script: Script, log: Log, ids: Ids) {
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn(converse(stream, script.clone(), log.clone(), ids.clone()));
    }
}

async fn converse(stream: TcpStream, script: Script, log: Log, ids: Ids) {
    let mut stream = BufReader::new(stream);
    let mut before = 0;
    while let Some(mut request) = read_request(&mut stream).await {
        request.before = before;
        before += 1;
        let session = request.headers.get("mcp-session-id").cloned().unwrap_or_default();
        let what = if request.verb == "DELETE" { &session } else { &request.rpc };
        ids.lock().push((request.rpc.clone(), request.id.clone()));
        log.send_modify(|log| log.push(format!("{} {what}", request.verb)));
        let mut reply = script(&request);
        loop {
            reply = match reply {
                Reply::After(delay, then) => {
                    tokio::time::sleep(delay).await;
                    *then
                }
                Reply::Gated(mut gate, then) => {
                    let mut byte = [0];
                    tokio::select! {
                        _ = gate.wait_for(|open| *open) => *then,
                        // The client has closed the connection.
                        _ = stream.read(&mut byte) => return,
                    }
                }
                other => {
                    reply = other;
                    break;
                }
            };
        }
        match reply {
            Reply::After(..) | Reply::Gated(..) => unreachable!("waited for above"),
            Reply::Hang => {
                // Until the client closes the connection.
                let _ = stream.read(&mut [0]).await;
                return;
            }
            Reply::Reset => return,
            Reply::Fed(feed) => {
                let head = "HTTP/1.1 200 Scripted\r\ntransfer-encoding: chunked\r\ncontent-type: text/event-stream\r\n\r\n";
                if stream.get_mut().write_all(head.as_bytes()).await.is_err()
                    || feed.run(&mut stream).await.is_err()
                {
                    return;
                }
            }
            Reply::Answer { status, headers, body } => {
                let mut head =
                    format!("HTTP/1.1 {status} Scripted\r\ncontent-length: {}\r\n", body.len());
                for (name, value) in headers {
                    head.push_str(&format!("{name}: {value}\r\n"));
                }
                head.push_str("\r\n");
                let answer = [head.into_bytes(), body].concat();
                if stream.get_mut().write_all(&answer).await.is_err() {
                    return;
                }
            }
            Reply::Events { headers, text, end } => {
                let mut answer =
                    String::from("HTTP/1.1 200 Scripted\r\ntransfer-encoding: chunked\r\n");
                if !headers.iter().any(|(name, _)| name == "content-type") {
                    answer.push_str("content-type: text/event-stream\r\n");
                }
                for (name, value) in headers {
                    answer.push_str(&format!("{name}: {value}\r\n"));
                }
                answer.push_str("\r\n");
                let mut answer = answer.into_bytes();
                if !text.is_empty() {
                    answer.extend_from_slice(format!("{:x}\r\n", text.len()).as_bytes());
                    answer.extend_from_slice(&text);
                    answer.extend_from_slice(b"\r\n");
                }
                if end == End::Whole {
                    answer.extend_from_slice(b"0\r\n\r\n");
                }
                if stream.get_mut().write_all(&answer).await.is_err() {
                    return;
                }
                match end {
                    End::Whole => {}
                    End::Broken => return,
                    End::Open => {
                        let _ = stream.read(&mut [0]).await;
                        return;
                    }
                }
            }
        }
    }
}

async fn read_request(stream: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut line = String::new();
    stream.read_line(&mut line).await.ok().filter(|read| *read > 0)?;
    let mut words = line.split_whitespace().map(str::to_owned);
    let (verb, path) = (words.next()?, words.next()?);
    let mut headers = HashMap::new();
    loop {
        line.clear();
        stream.read_line(&mut line).await.ok().filter(|read| *read > 0)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").and_then(|value| value.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    let message: Value = serde_json::from_slice(&body).unwrap_or_default();
    Some(Request {
        verb,
        path,
        rpc: message["method"].as_str().unwrap_or_default().to_owned(),
        id: message["id"].clone(),
        params: message["params"].clone(),
        headers,
        body: String::from_utf8_lossy(&body).into_owned(),
        before: 0,
    })
}
