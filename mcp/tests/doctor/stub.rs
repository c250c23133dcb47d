//! A small HTTP server of the session era, written by hand so that every answer can be chosen.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use parking_lot::Mutex;
use serde_json::{Value, json};

use super::harness::LIMIT;

/// The reaction of the server to a request: by the method of the HTTP request, or of the
/// JSON-RPC message in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The answer of a healthy server.
    Well,
    /// This HTTP status and an empty body.
    Status(u16),
    /// The refusal of a server that speaks only the session era.
    TooOld,
    /// No answer; the connection stays open.
    Hang,
    /// A page of tools with one that cannot be read.
    OneBadTool,
}

/// A running stub. Its threads end with the test's process.
pub(crate) struct Stub {
    url: String,
    log: Arc<Mutex<Vec<String>>>,
    asked: Mutex<Receiver<String>>,
}

impl Stub {
    /// Starts a stub that answers `question` with `answer`, and every other request like a healthy server.
    pub(crate) fn start(question: &'static str, answer: Answer) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a loopback port");
        let url = format!("http://{}/mcp", listener.local_addr().expect("it is bound"));
        let log = Arc::new(Mutex::new(Vec::new()));
        let (sender, asked) = channel();
        let shared = Arc::clone(&log);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let log = Arc::clone(&shared);
                let sender = sender.clone();
                std::thread::spawn(move || {
                    // The client may disconnect half-way, because some tests do that on purpose.
                    let _gone = serve(stream, question, answer, &log, &sender);
                });
            }
        });
        Self { url, log, asked: Mutex::new(asked) }
    }

    /// Starts a stub without a fault.
    pub(crate) fn healthy() -> Self {
        Self::start("nothing", Answer::Well)
    }

    /// The address at which it listens.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Waits until `question` was asked.
    pub(crate) fn wait_for(&self, question: &str) {
        let asked = self.asked.lock();
        while asked.recv_timeout(LIMIT).expect("it is asked in time") != question {}
    }

    /// The number of times that `question` was asked.
    pub(crate) fn count(&self, question: &str) -> usize {
        self.log.lock().iter().filter(|line| *line == question).count()
    }
}

const SESSION: &str = "stub-session";

/// Serves one connection, which carries one request: every answer closes it.
fn serve(
    stream: TcpStream,
    question: &str,
    answer: Answer,
    log: &Mutex<Vec<String>>,
    asked: &Sender<String>,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut start = String::new();
    reader.read_line(&mut start)?;
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header)?;
        let header = header.trim().to_ascii_lowercase();
        if header.is_empty() {
            break;
        }
        if let Some(value) = header.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let message: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let verb = start.split(' ').next().unwrap_or_default().to_owned();
    let what = message["method"].as_str().map_or(verb, str::to_owned);

    log.lock().push(what.clone());
    // The test may have stopped listening.
    let _gone = asked.send(what.clone());
    // A session begins with `initialize`.
    let session = what != "server/discover";
    let chosen = if what == question { answer } else { Answer::Well };
    match chosen {
        Answer::Hang => {
            // The read ends when the client closes the connection.
            let _end = reader.read(&mut [0]);
            Ok(())
        }
        Answer::Status(status) => reply(stream, status, None, session),
        Answer::OneBadTool => {
            let tools = json!([{"name": "bad"}, {"name": "echo", "inputSchema": {}}]);
            let answer = json!({"jsonrpc": "2.0", "id": message["id"], "result": {"tools": tools}});
            reply(stream, 200, Some(answer.to_string()), session)
        }
        Answer::TooOld => {
            let supported = json!({"supported": ["2025-06-18", "2025-11-25"]});
            let error = json!({"code": -32022, "message": "too new", "data": supported});
            let answer = json!({"jsonrpc": "2.0", "id": message["id"], "error": error});
            reply(stream, 200, Some(answer.to_string()), session)
        }
        Answer::Well => match what.as_str() {
            "DELETE" => reply(stream, 200, None, session),
            "GET" => reply(stream, 405, None, session),
            _ if message["id"].is_null() => reply(stream, 202, None, session),
            method => {
                let mut answer = json!({"jsonrpc": "2.0", "id": message["id"]});
                match result(method, &message["params"]) {
                    Some(result) => answer["result"] = result,
                    None => answer["error"] = json!({"code": -32601, "message": "no such method"}),
                }
                reply(stream, 200, Some(answer.to_string()), session)
            }
        },
    }
}

fn result(method: &str, params: &Value) -> Option<Value> {
    Some(match method {
        "initialize" => json!({
            "protocolVersion": "2025-11-25",
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "stub", "version": "1"}
        }),
        "ping" => json!({}),
        "tools/list" => json!({"tools": [{"name": "echo", "inputSchema": {"type": "object"}}]}),
        "tools/call" => {
            let text = params["arguments"]["message"].as_str().unwrap_or_default();
            json!({"content": [{"type": "text", "text": text}], "isError": false})
        }
        _ => return None,
    })
}

fn reply(
    mut stream: TcpStream,
    status: u16,
    body: Option<String>,
    session: bool,
) -> std::io::Result<()> {
    let body = body.unwrap_or_default();
    let kind = if body.is_empty() { "" } else { "Content-Type: application/json\r\n" };
    let session = if session { format!("Mcp-Session-Id: {SESSION}\r\n") } else { String::new() };
    let challenge = if status == 401 { "WWW-Authenticate: Bearer\r\n" } else { "" };
    write!(
        stream,
        "HTTP/1.1 {status} Stub\r\n{kind}{challenge}{session}\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )?;
    stream.flush()
}
