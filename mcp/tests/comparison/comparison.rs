//! The comparison: the same faults against stock rmcp, against this crate and, where there is one, against the Python SDK's
//! `ClientSessionGroup`: what the caller is told, how long it took, and what is left behind two seconds later.
//!
//! Each is played in a process of its own. The faulty server lives in a runtime of its own, so that the tasks that are counted
//! are the client's.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use moored_mcp::{GroupOptions, ServerParams, SessionGroup};
use rmcp::RoleClient;
use rmcp::model::{CallToolRequestParams, ClientConfig, Implementation, ProtocolVersion};
use rmcp::service::{ClientLifecycleMode, RunningService, serve_client_with_lifecycle};
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use rmcp::transport::{StreamableHttpClientTransport, TokioChildProcess};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::invariants::Left;
use crate::scene::{args, call, plain};
use crate::support::http::{Reply, Request, Server, legacy};
use crate::support::{at, fleet_server};

/// Says what this process is to play, and with whom.
pub(crate) const PLAY: &str = "MOORED_MCP_COMPARE";
const PYTHONS: &str = "MOORED_MCP_PYTHONS";
const PAGE: &str = "MOORED_MCP_COMPARISON_PAGE";
/// The time for which a caller waits.
const PATIENCE: Duration = Duration::from_secs(12);
/// The time for which this crate waits for a server to come up; the default is half a minute.
const CONNECT: Duration = Duration::from_secs(10);
/// When what is left behind is counted.
const AFTERWARDS: Duration = Duration::from_secs(2);

/// The calls that are made on a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Play {
    Connect,
    Call,
    Close,
    /// Closed with large calls under way.
    CloseWhileSending,
    /// A close that is dropped midway, and called again.
    CloseAgain,
    /// Closed from another task than the one that has connected.
    CloseElsewhere,
    /// The caller goes away while it connects.
    DropConnect,
    /// The runtime is shut down while it is connected.
    ShutDown,
}

impl Play {
    /// Its name in the Python script, which knows some.
    fn in_python(self) -> Option<&'static str> {
        match self {
            Self::Connect => Some("connect"),
            Self::Call => Some("call"),
            Self::Close => Some("close"),
            Self::CloseElsewhere => Some("close-elsewhere"),
            _ => None,
        }
    }
}

/// The faulty server.
enum Faulty {
    Refusing,
    Http(fn(&Request) -> Reply),
    Child(&'static [&'static str]),
}

struct Case {
    words: &'static str,
    faulty: Faulty,
    play: Play,
}

const CASES: &[Case] = &[
    Case { words: "nobody listens", faulty: Faulty::Refusing, play: Play::Connect },
    Case {
        words: "401 with a challenge",
        faulty: Faulty::Http(|_| Reply::status(401).with("www-authenticate", "Bearer scope=\"x\"")),
        play: Play::Connect,
    },
    Case {
        words: "`notifications/initialized` answered 500",
        faulty: Faulty::Http(|request| match request.rpc.as_str() {
            "notifications/initialized" => Reply::status(500).saying("out of order"),
            _ => legacy(request),
        }),
        play: Play::Connect,
    },
    Case {
        words: "`initialize` is never answered",
        faulty: Faulty::Http(|request| match request.rpc.as_str() {
            "initialize" => Reply::Hang,
            _ => legacy(request),
        }),
        play: Play::Connect,
    },
    Case {
        words: "the caller goes away during `initialize`",
        faulty: Faulty::Http(|request| match request.rpc.as_str() {
            "initialize" => Reply::Hang,
            _ => legacy(request),
        }),
        play: Play::DropConnect,
    },
    Case {
        words: "a child exits with 7 at once, with words on stderr",
        faulty: Faulty::Child(&[
            "--exit-code",
            "7",
            "--exit-at",
            "start",
            "--stderr",
            "no licence",
        ]),
        play: Play::Connect,
    },
    Case {
        words: "a child exits with 7 during a call",
        faulty: Faulty::Child(&["--exit-code", "7", "--exit-at", "call"]),
        play: Play::Call,
    },
    Case {
        words: "the connection is closed during a call",
        faulty: Faulty::Http(|request| match request.rpc.as_str() {
            "tools/call" => Reply::Reset,
            _ => legacy(request),
        }),
        play: Play::Call,
    },
    Case {
        words: "a child ignores the end of its input and SIGTERM",
        faulty: Faulty::Child(&["--ignore-eof", "--ignore-sigterm"]),
        play: Play::Close,
    },
    Case {
        words: "a grandchild holds the pipes",
        faulty: Faulty::Child(&["--grandchild"]),
        play: Play::Close,
    },
    Case {
        words: "a child stops reading with 3 MiB on their way to it",
        faulty: Faulty::Child(&["--stop-reading"]),
        play: Play::CloseWhileSending,
    },
    Case {
        words: "DELETE is never answered",
        faulty: Faulty::Http(|request| match request.verb.as_str() {
            "DELETE" => Reply::Hang,
            _ => legacy(request),
        }),
        play: Play::Close,
    },
    Case {
        words: "DELETE answered 500",
        faulty: Faulty::Http(|request| match request.verb.as_str() {
            "DELETE" => Reply::status(500),
            _ => legacy(request),
        }),
        play: Play::Close,
    },
    Case {
        words: "a close is dropped midway and called again",
        faulty: Faulty::Child(&["--ignore-eof", "--ignore-sigterm"]),
        play: Play::CloseAgain,
    },
    Case {
        words: "closed from another task",
        faulty: Faulty::Http(legacy),
        play: Play::CloseElsewhere,
    },
    Case {
        words: "the runtime is shut down with a child that ignores the end of its input",
        faulty: Faulty::Child(&["--ignore-eof", "--ignore-sigterm", "--grandchild"]),
        play: Play::ShutDown,
    },
];

/// The name of a contender in the environment, and on the page.
const RUST: [(&str, &str); 2] = [("rmcp", "rmcp 3.9.0"), ("moored-mcp", "moored-mcp")];

/// Plays all, one after another, and writes the page.
pub(crate) fn run() -> Result<(), Failed> {
    let pythons = std::env::var(PYTHONS).unwrap_or_default();
    let mut page = String::from(HEAD);
    for (number, case) in CASES.iter().enumerate() {
        page.push_str(&format!("| **{}** | | | |\n", case.words));
        for (contender, title) in RUST {
            page.push_str(&line(title, &in_a_process(number, contender)?));
        }
        for python in pythons.split_whitespace().filter(|_| case.play.in_python().is_some()) {
            let title = format!("Python `mcp` {}", version(python)?);
            page.push_str(&line(&title, &in_a_process(number, python)?));
        }
        eprintln!("{}", case.words);
    }
    match std::env::var_os(PAGE) {
        Some(path) => {
            // The tables of the bench stay.
            let before = std::fs::read_to_string(&path).unwrap_or_default();
            if let Some(at) = before.find(COST) {
                page.push('\n');
                page.push_str(&before[at..]);
            }
            std::fs::write(path, page)?;
        }
        None => println!("{page}"),
    }
    Ok(())
}

fn line(title: &str, seen: &Value) -> String {
    let text = |key: &str| seen[key].as_str().unwrap_or_default().to_owned();
    format!("| {title} | {} | {} | {} |\n", text("told"), seen["ms"], text("left"))
}

fn version(python: &str) -> Result<String, Failed> {
    let code = "import importlib.metadata as m; print(m.version('mcp'))";
    let said = Command::new(python).args(["-c", code]).output()?;
    Ok(String::from_utf8_lossy(&said.stdout).trim().to_owned())
}

fn in_a_process(number: usize, contender: &str) -> Result<Value, Failed> {
    let place = tempfile::tempdir()?;
    let played = Command::new(std::env::current_exe()?)
        .env(PLAY, format!("{number} {contender}"))
        .env("TMPDIR", place.path())
        .stdin(Stdio::null())
        .output()?;
    let said = String::from_utf8_lossy(&played.stdout);
    let last = said.lines().last().unwrap_or_default();
    serde_json::from_str(last).map_err(|_| {
        let words = String::from_utf8_lossy(&played.stderr);
        format!("{contender}, {}: {said}\n{words}", CASES[number].words).into()
    })
}

/// Plays one case in this process.
pub(crate) fn play(what: &str) {
    let (number, contender) = what.split_once(' ').expect("a number and a name");
    let case = &CASES[number.parse::<usize>().expect("a number")];
    // Stock rmcp needs this of its caller; this crate brings it along.
    let _installed = rustls::crypto::ring::default_provider().install_default();
    let servers = Runtime::new().expect("a runtime of the servers");
    let opened = Arc::new(AtomicUsize::new(0));
    let (target, server) = servers.block_on(target(&case.faulty, opened.clone()));
    let clients = Runtime::new().expect("a runtime of the clients");
    let ((told, ms), clients) = match contender {
        "rmcp" => play_with::<Stock>(clients, case.play, &target),
        "moored-mcp" => play_with::<Ours>(clients, case.play, &target),
        python => (play_in_python(python, case.play, &target), Some(clients)),
    };
    std::thread::sleep(AFTERWARDS);
    let left = clients.map_or_else(Left::without_runtime, |it| it.block_on(async { Left::now() }));
    let mut behind = Vec::new();
    if left.tasks > 0 {
        behind.push(count(left.tasks, "task"));
    }
    if !left.processes.is_empty() {
        behind.push(count(left.processes.len(), "process"));
    }
    let deletes = server.as_ref().map_or(0, Server::deletes);
    let sessions = opened.load(Ordering::Relaxed).saturating_sub(deletes);
    if sessions > 0 {
        behind.push(format!("{} without a DELETE", count(sessions, "session")));
    }
    left.end();
    let behind = if behind.is_empty() { "nothing".to_owned() } else { behind.join(", ") };
    println!("{}", json!({"told": shortened(&plain(&told)), "ms": ms, "left": behind}));
    std::process::exit(0);
}

fn count(number: usize, noun: &str) -> String {
    let plural = match (number, noun.ends_with('s')) {
        (1, _) => "",
        (_, true) => "es",
        (_, false) => "s",
    };
    format!("{number} {noun}{plural}")
}

fn shortened(text: &str) -> String {
    const FITS: usize = 220;
    match text.char_indices().nth(FITS) {
        Some((end, _)) => format!("{} ..", &text[..end]),
        None => text.to_owned(),
    }
}

/// How a server is reached.
#[derive(Clone)]
enum Target {
    Url(String),
    Child(Vec<String>),
}

const BINARY: &str = env!("CARGO_BIN_EXE_moored-mcp");

async fn target(faulty: &Faulty, opened: Arc<AtomicUsize>) -> (Target, Option<Server>) {
    match faulty {
        // A port below those that the kernel hands out, and nobody listens on.
        Faulty::Refusing => (Target::Url("http://127.0.0.1:1/mcp".into()), None),
        Faulty::Child(flags) => {
            let flags = ["fleet-server", "--life", "30s"].iter().chain(*flags);
            (Target::Child(flags.map(|flag| (*flag).to_owned()).collect()), None)
        }
        Faulty::Http(script) => {
            let script = *script;
            let server = Server::start(move |request| {
                let reply = script(request);
                let given = matches!(&reply, Reply::Answer { headers, .. }
                    if headers.iter().any(|(name, _)| name == "mcp-session-id"));
                opened.fetch_add(given.into(), Ordering::Relaxed);
                reply
            });
            let server = server.await;
            (Target::Url(server.url.clone()), Some(server))
        }
    }
}

/// A client under comparison.
trait Contender: Sized + Send + 'static {
    fn connect(target: Target) -> impl Future<Output = Result<Self, String>> + Send;
    fn call(&self) -> impl Future<Output = Result<Value, String>> + Send;
    /// Sends calls of a mebibyte, and does not wait for them.
    fn send_much(&self);
    fn close(&mut self) -> impl Future<Output = String> + Send;
}

/// An error with all its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut said = error.to_string();
    let mut inner = error.source();
    while let Some(error) = inner {
        said.push_str(&format!(": {error}"));
        inner = error.source();
    }
    said
}

struct Stock(RunningService<RoleClient, ClientConfig>);

fn echo_params(text: String) -> CallToolRequestParams {
    CallToolRequestParams::new("echo").with_arguments(args("message", json!(text)))
}

impl Contender for Stock {
    async fn connect(target: Target) -> Result<Self, String> {
        let this = ClientConfig::new(Default::default(), Implementation::new("comparison", "1"));
        let mode = ClientLifecycleMode::Auto {
            preferred_versions: vec![ProtocolVersion::LATEST],
            legacy_version: Some(ProtocolVersion::LATEST_WITH_INITIALIZE),
        };
        let session = match target {
            Target::Url(url) => {
                let config = StreamableHttpClientTransportConfig::with_uri(url);
                let client = reqwest::Client::new();
                let transport = StreamableHttpClientTransport::with_client(client, config);
                serve_client_with_lifecycle(this, transport, mode).await
            }
            Target::Child(args) => {
                let mut command = tokio::process::Command::new(BINARY);
                command.args(args);
                let transport = TokioChildProcess::new(command).expect("it starts");
                serve_client_with_lifecycle(this, transport, mode).await
            }
        };
        session.map(Self).map_err(|error| chain(&error))
    }

    async fn call(&self) -> Result<Value, String> {
        let answer = self.0.call_tool(echo_params("ahoy".into())).await;
        answer.map(|_| Value::Null).map_err(|error| chain(&error))
    }

    fn send_much(&self) {
        for _ in 0..3 {
            let peer = self.0.peer().clone();
            tokio::spawn(async move {
                let _answer = peer.call_tool(echo_params("x".repeat(1024 * 1024))).await;
            });
        }
    }

    async fn close(&mut self) -> String {
        match self.0.close().await {
            Ok(reason) => format!("Ok({reason:?})"),
            Err(error) => chain(&error),
        }
    }
}

struct Ours(SessionGroup);

impl Contender for Ours {
    async fn connect(target: Target) -> Result<Self, String> {
        let group = SessionGroup::start(GroupOptions::default().connect_timeout(CONNECT));
        let params: ServerParams = match target {
            Target::Url(url) => at("s", &url),
            Target::Child(args) => {
                let args: Vec<&str> = args.iter().skip(1).map(String::as_str).collect();
                fleet_server("s", &args)
            }
        };
        match group.connect(params).await {
            Ok(_) => Ok(Self(group)),
            Err(error) => {
                let mut told = error.report().chain.join(": ");
                if let Some(tail) =
                    error.report().stderr_tail.as_deref().filter(|it| !it.is_empty())
                {
                    told.push_str(&format!("; stderr: {}", tail.trim_end()));
                }
                let outcome = serde_json::to_value(error.outcome()).expect("a word");
                Err(format!("{}: {told}", outcome.as_str().unwrap_or_default()))
            }
        }
    }

    async fn call(&self) -> Result<Value, String> {
        call(&self.0, "s", Default::default()).await.map_err(|error| chain(&error))
    }

    fn send_much(&self) {
        for _ in 0..3 {
            let group = self.0.clone();
            tokio::spawn(async move {
                let text = args("message", json!("x".repeat(1024 * 1024)));
                let _answer = group.call_tool("s/echo", text, Default::default()).await;
            });
        }
    }

    async fn close(&mut self) -> String {
        let report = self.0.close().await;
        let leave = &report.servers[0].leave;
        let mut told = vec![if leave.clean { "clean" } else { "not clean" }.to_owned()];
        if leave.delete != moored_mcp::Delete::NotApplicable {
            told.push(format!("DELETE {}", crate::scene::word(leave.delete)));
        }
        told.extend(leave.signals.iter().cloned());
        told.extend(leave.exit_status.map(|status| status.to_string()));
        told.extend(leave.suppressed.iter().cloned());
        told.join(", ")
    }
}

/// The answer that the caller got, and the time that it took.
type Told = (String, u128);

fn play_with<C: Contender>(
    clients: Runtime,
    play: Play,
    target: &Target,
) -> (Told, Option<Runtime>) {
    if play == Play::ShutDown {
        let connected = clients.block_on(C::connect(target.clone()));
        let began = Instant::now();
        clients.shutdown_timeout(PATIENCE);
        let dropped = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(connected)));
        let told = if dropped.is_ok() { "dropped" } else { "a panic from the drop" };
        return ((told.to_owned(), began.elapsed().as_millis()), None);
    }
    let told = clients.block_on(async {
        let began = Instant::now();
        match tokio::time::timeout(PATIENCE, played::<C>(play, target.clone())).await {
            Ok(told) => told,
            Err(_) => (format!("nothing within {PATIENCE:?}"), began.elapsed().as_millis()),
        }
    });
    (told, Some(clients))
}

async fn played<C: Contender>(play: Play, target: Target) -> Told {
    let mut began = Instant::now();
    let told = |text: String, began: Instant| (text, began.elapsed().as_millis());
    if play == Play::DropConnect {
        let connecting = tokio::spawn(C::connect(target));
        tokio::time::sleep(Duration::from_millis(300)).await;
        began = Instant::now();
        connecting.abort();
        let _ended = connecting.await;
        return told("nobody is left to be told".into(), began);
    }
    let mut client = match C::connect(target).await {
        Ok(client) => client,
        Err(error) => return told(error, began),
    };
    match play {
        Play::Connect => told("connected".into(), began),
        Play::Call => {
            began = Instant::now();
            let answer = client.call().await;
            let told =
                told(answer.map_or_else(|error| error, |it| format!("a result: {it}")), began);
            client.close().await;
            told
        }
        Play::Close => {
            began = Instant::now();
            told(client.close().await, began)
        }
        Play::CloseWhileSending => {
            client.send_much();
            tokio::time::sleep(Duration::from_millis(500)).await;
            began = Instant::now();
            // Bounded here, so that the client is dropped where it hangs.
            match tokio::time::timeout(PATIENCE, client.close()).await {
                Ok(text) => told(text, began),
                Err(_) => told(format!("nothing within {PATIENCE:?}"), began),
            }
        }
        Play::CloseAgain => {
            let limit = Duration::from_millis(50);
            let _dropped = tokio::time::timeout(limit, client.close()).await;
            began = Instant::now();
            told(client.close().await, began)
        }
        Play::CloseElsewhere => {
            began = Instant::now();
            let closing = tokio::spawn(async move { client.close().await });
            told(closing.await.expect("no panic"), began)
        }
        Play::DropConnect | Play::ShutDown => unreachable!("done above"),
    }
}

fn play_in_python(python: &str, play: Play, target: &Target) -> Told {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/comparison/group.py");
    let mut command = Command::new(python);
    command.args([script, play.in_python().expect("a play it knows")]);
    match target {
        Target::Url(url) => command.arg(url),
        Target::Child(args) => command.arg(BINARY).args(args),
    };
    // Its children go on holding what it was given, so it is not read to the end.
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("python");
    let said = std::io::BufReader::new(child.stdout.take().expect("piped"));
    let line = std::io::BufRead::lines(said).map_while(Result::ok).next().unwrap_or_default();
    let end = Instant::now() + PATIENCE;
    let mut ended = "";
    while matches!(child.try_wait(), Ok(None)) {
        if Instant::now() >= end {
            let _gone = child.kill();
            ended = "; the program does not end by itself";
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let said: Value = serde_json::from_str(&line).unwrap_or_default();
    let told = said["told"].as_str().unwrap_or("nothing: the program is gone").to_owned();
    (format!("{told}{ended}"), said["ms"].as_u64().unwrap_or_default().into())
}

/// The heading of the tables that the bench `sessions` writes.
const COST: &str = "## What a session costs without a fault\n";

const HEAD: &str = "\
# The same faults elsewhere

Written by `bash mcp/tests/comparison/run.sh`. Each fault is played once against each client, each time in a process of its own,
with the client's own defaults, but that this crate waits ten seconds for a server to come up, not thirty. *ms* is how long the caller waits: for the outcome of connecting, for the result of the call, or for
the end of the close. A caller has patience for twelve seconds. *Left behind* is counted two seconds after that: tasks of the
client's runtime, processes that it has started, sessions that the server has handed out and got no DELETE for.

`rmcp` is used as its documentation shows: `serve_client_with_lifecycle` in mode Auto, `close()`; of the Python SDK,
`ClientSessionGroup`; of this crate, `SessionGroup`. What a session costs without a fault is at the end.

| fault, client | what the caller is told | ms | left behind |
|---|---|--:|---|
";
