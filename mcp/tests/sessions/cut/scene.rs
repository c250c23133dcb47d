//! The servers of the cuts: over both transports, in both eras, each with a log of what it was asked, and with answers that it
//! may hold back. The tool `asks` asks the client before it answers. A server that announces changes has one more tool after
//! each call of the tool `other`, and says so.

use std::collections::{HashMap, HashSet};
use std::io::Write;
use std::sync::Arc;

use futures_util::future::join_all;
use moored_mcp::{Era, ServerParams, SessionGroup, StdioParams};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::Left;
use crate::support::http::{Feed, Reply, Request, Server};
use crate::support::{at, until};

/// The address of the one resource.
pub(super) const LOG: &str = "file:///log";

/// More requests than are ever under way at once.
const AT_ONCE: usize = 16;

/// The line with which a child begins its part of the log.
const STARTED: &str = "started";

/// The way to a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wire {
    Stdio,
    Http,
}

/// Every transport with every era.
pub(super) const WAYS: [(Wire, Era); 4] = [
    (Wire::Stdio, Era::Legacy),
    (Wire::Stdio, Era::Modern),
    (Wire::Http, Era::Legacy),
    (Wire::Http, Era::Modern),
];

/// A running server.
pub(super) struct Scene {
    pub(super) era: Era,
    held: &'static str,
    announces: bool,
    place: Place,
}

enum Place {
    /// The folder of the log. The child is started by the session.
    Stdio(TempDir),
    Http(Box<Web>),
}

struct Web {
    server: Server,
    log: Arc<Mutex<Vec<String>>>,
    /// Each held answer has a receiver of this gate.
    gate: watch::Sender<bool>,
    streams: Arc<Mutex<Vec<Feed>>>,
    /// The streams that announce changes of lists.
    lists: Arc<Mutex<Vec<Feed>>>,
    meeting: Arc<Meeting>,
}

/// Requests that are answered when all of them have come, so that each has a connection of its own: their number, and the gate
/// that holds the answers back.
#[derive(Default)]
struct Meeting(Mutex<Option<(usize, watch::Sender<bool>)>>);

impl Meeting {
    fn begin(&self, count: usize) {
        *self.0.lock() = Some((count, watch::channel(false).0));
    }

    /// The reply to a request, held back if there is a meeting.
    fn held(&self, reply: Reply) -> Reply {
        let mut meeting = self.0.lock();
        let Some((missing, gate)) = &mut *meeting else { return reply };
        let held_back = gate.subscribe();
        *missing -= 1;
        if *missing == 0 {
            gate.send_replace(true);
            *meeting = None;
        }
        Reply::Gated(held_back, Box::new(reply))
    }
}

impl Scene {
    /// A server that never answers the method `held`; an empty one is none.
    pub(super) async fn start(way: (Wire, Era), held: &'static str) -> Self {
        Self::with(way, held, false).await
    }

    /// The same, of a server that announces changes of its tools. It answers `tools/list` until they have changed.
    pub(super) async fn announcing(way: (Wire, Era), held: &'static str) -> Self {
        Self::with(way, held, true).await
    }

    async fn with((wire, era): (Wire, Era), held: &'static str, announces: bool) -> Self {
        let place = match wire {
            Wire::Stdio => Place::Stdio(tempfile::tempdir().expect("a folder")),
            Wire::Http => Place::Http(Box::new(web(era, held, announces).await)),
        };
        Self { era, held, announces, place }
    }

    /// The server's parameters. Half of the servers are probed.
    pub(super) fn params(&self, name: &str, era: Era) -> ServerParams {
        let params = match &self.place {
            Place::Http(web) => at(name, &web.server.url),
            Place::Stdio(folder) => {
                let this = std::env::current_exe().expect("this test's binary");
                let mut params = StdioParams::new(this.to_str().expect("its path"));
                let words = ["--exact", "cut::scene::serve", "--ignored", "--nocapture"];
                params.args = words.map(str::to_owned).into();
                let log = folder.path().join("log").to_str().expect("its path").to_owned();
                let era = if self.era == Era::Modern { "modern" } else { "legacy" };
                params.env.insert("LOG".into(), log);
                params.env.insert("ERA".into(), era.into());
                params.env.insert("HELD".into(), self.held.into());
                params.env.insert("ANNOUNCES".into(), self.announces.to_string());
                ServerParams::stdio(name, params)
            }
        };
        params.era(era)
    }

    pub(super) fn wire(&self) -> Wire {
        match self.place {
            Place::Stdio(_) => Wire::Stdio,
            Place::Http(_) => Wire::Http,
        }
    }

    /// The method that it never answers.
    pub(super) fn held(&self) -> &'static str {
        self.held
    }

    /// Everything that exists now. The server has taken all connections that were made, so that none of them is counted in
    /// part: it takes them in order, and a further one is taken and closed last.
    pub(super) async fn up(&self) -> Left {
        if let Place::Http(web) = &self.place {
            let address = web.server.url.trim_start_matches("http://").trim_end_matches("/mcp");
            let mut last = TcpStream::connect(address).await.expect("it listens");
            last.shutdown().await.expect("it is connected");
            last.read_to_end(&mut Vec::new()).await.expect("it is closed");
        }
        Left::now()
    }

    /// Opens more connections than are ever used at once, each by a request. They stay idle in the pool of the client, so that
    /// no later one looks as if it were left behind.
    pub(super) async fn open_connections<F: Future>(&self, ask: impl Fn() -> F) {
        if let Place::Http(web) = &self.place {
            web.meeting.begin(AT_ONCE);
        }
        join_all((0..AT_ONCE).map(|_| ask())).await;
    }

    /// A group with one session with the server.
    pub(super) async fn connected(&self) -> SessionGroup {
        let group = crate::support::brisk_group();
        group.connect(self.params("s", self.era)).await.expect("it comes up");
        group
    }

    /// The lines of the server's log, one for each request: `METHOD ID`, `notifications/cancelled ID`, `DELETE SESSION`; and `begun SESSION`,
    /// or for each child `started`.
    pub(super) fn log(&self) -> Vec<String> {
        match &self.place {
            Place::Stdio(folder) => {
                let text = std::fs::read_to_string(folder.path().join("log")).unwrap_or_default();
                // A line without its end is being written.
                text.split_inclusive('\n')
                    .filter_map(|it| it.strip_suffix('\n'))
                    .map(str::to_owned)
                    .collect()
            }
            Place::Http(web) => web.log.lock().clone(),
        }
    }

    /// The second words of the lines that begin with `first`.
    pub(super) fn of(&self, first: &str) -> Vec<String> {
        let second = |line: &String| Some(line.strip_prefix(first)?.strip_prefix(' ')?.to_owned());
        self.log().iter().filter_map(second).collect()
    }

    /// As [`of`](Scene::of), of the last child alone: every child counts its requests from the same number.
    fn of_the_last_child(&self, first: &str) -> Vec<String> {
        let (lines, mut found) = (self.log(), Vec::new());
        for line in lines.iter().rev().take_while(|line| *line != STARTED) {
            found.extend(
                line.strip_prefix(first).and_then(|id| id.strip_prefix(' ')).map(str::to_owned),
            );
        }
        found
    }

    /// Whether each request of a method that was never answered has been taken back: by one notification, or over HTTP in the
    /// newer era by the end of its connection.
    pub(super) fn are_taken_back(&self, method: &str) -> bool {
        let cancelled = self.of("notifications/cancelled");
        let once = |id: &String| cancelled.iter().filter(|it| *it == id).count() == 1;
        match &self.place {
            Place::Http(web) => {
                // One receiver is in the server's script.
                let closed = web.gate.receiver_count() == 1;
                closed && (self.era == Era::Modern || self.of(method).iter().all(once))
            }
            Place::Stdio(_) => self.of(method).iter().all(once),
        }
    }

    /// Whether the server would report changes of the resource.
    pub(super) fn has_subscription(&self) -> bool {
        if self.era == Era::Legacy {
            let log = self.log();
            let last = log.iter().rfind(|line| line.contains("subscribe "));
            return last.is_some_and(|line| line.starts_with("resources/subscribe"));
        }
        match &self.place {
            Place::Http(web) => web.streams.lock().iter().any(|stream| stream.receivers() > 0),
            Place::Stdio(_) => {
                let cancelled = self.of_the_last_child("notifications/cancelled");
                let listens = self.of_the_last_child("subscriptions/listen");
                listens.iter().any(|id| !cancelled.contains(id))
            }
        }
    }

    /// Whether a client would be told of changes of the tools, of a server that announces them.
    pub(super) fn has_list_stream(&self) -> bool {
        match &self.place {
            Place::Http(web) => web.lists.lock().iter().any(|stream| stream.receivers() > 0),
            Place::Stdio(_) if self.era == Era::Legacy => true,
            Place::Stdio(_) => {
                let cancelled = self.of_the_last_child("notifications/cancelled");
                self.of_the_last_child("lists/listen").iter().any(|id| !cancelled.contains(id))
            }
        }
    }

    /// Every session that the server has begun has had one DELETE. The group has been closed.
    pub(super) fn is_left(&self) {
        let (mut begun, mut deleted) = (self.of("begun"), self.of("DELETE"));
        begun.sort();
        deleted.sort();
        assert_eq!(begun, deleted, "{:?}", self.log());
    }

    /// Waits until the log has at least `count` lines that begin with `first`.
    pub(super) async fn heard(&self, first: &str, count: usize) {
        until(|| self.of(first).len() >= count).await;
    }
}

/// The server over HTTP. It hands out a session for each `initialize`.
async fn web(era: Era, held: &'static str, announces: bool) -> Web {
    let (gate, held_back) = watch::channel(false);
    let log = Arc::new(Mutex::new(Vec::new()));
    let streams = Arc::new(Mutex::new(Vec::new()));
    let lists = Arc::new(Mutex::new(Vec::new()));
    let (heard, opened, listened) = (log.clone(), streams.clone(), lists.clone());
    let changes = Mutex::new(Changes { announces, made: 0 });
    // The streams of the calls that wait for the client, by their ids.
    let asking = Mutex::new(HashMap::new());
    let common = Mutex::new(Vec::new());
    let meeting = Arc::<Meeting>::default();
    let reply = move |request: &Request| {
        let session = request.headers.get("mcp-session-id").cloned().unwrap_or_default();
        match request.verb.as_str() {
            "GET" => {
                if era == Era::Modern {
                    return Reply::status(405);
                }
                let stream = Feed::new();
                common.lock().push(stream.clone());
                if announces {
                    listened.lock().push(stream.clone());
                }
                return Reply::Fed(stream);
            }
            "DELETE" => {
                heard.lock().push(format!("DELETE {session}"));
                return Reply::status(200);
            }
            _ => heard.lock().push(line(&request.rpc, &request.id, &request.params)),
        }
        if changes.lock().holds(&request.rpc, held) {
            return Reply::Gated(held_back.clone(), Box::new(Reply::status(500)));
        }
        if asks(era, &request.rpc, &request.params) {
            let stream = Feed::new();
            stream.push(&question(&request.id));
            asking.lock().insert(request.id.to_string(), stream.clone());
            return Reply::Fed(stream);
        }
        if let Some((id, message)) = replied(&request.rpc, &request.id, &request.params) {
            if let Some(stream) = asking.lock().remove(&id) {
                stream.push(&message);
                stream.end();
                // The client may not read the stream of a call that it has taken back.
                let withdraws = request.rpc == "notifications/cancelled";
                common.lock().iter().filter(|_| withdraws).for_each(|it: &Feed| it.push(&message));
            }
            return Reply::status(202);
        }
        if request.rpc == "subscriptions/listen" {
            let stream = Feed::new();
            stream.push(&acknowledged(request.id.clone(), &request.params));
            let all = if is_for_lists(&request.params) { &listened } else { &opened };
            all.lock().push(stream.clone());
            return Reply::Fed(stream);
        }
        if changes.lock().change(&request.rpc, &request.params) {
            listened.lock().iter().for_each(|it: &Feed| it.push(&changed()));
        }
        let answer = answer(era, &request.rpc, &request.id, &request.params);
        match answer.map(|it| changes.lock().shown(&request.rpc, it)) {
            None => Reply::status(202),
            Some(answer) if request.rpc == "initialize" && era == Era::Legacy => {
                let mut heard = heard.lock();
                let session = format!("s-{}", heard.len());
                heard.push(format!("begun {session}"));
                Reply::json(answer).with("mcp-session-id", &session)
            }
            Some(answer) => Reply::json(answer),
        }
    };
    let meets = meeting.clone();
    let server = Server::start(move |request: &Request| match reply(request) {
        reply if request.id.is_null() => reply,
        reply => meets.held(reply),
    })
    .await;
    Web { server, log, gate, streams, lists, meeting }
}

#[test]
#[ignore = "the server over stdio, which the other tests start as a child"]
fn serve() {
    let given = |name| std::env::var(name).unwrap_or_default();
    let (held, era) = (given("HELD"), given("ERA"));
    let era = if era == "modern" { Era::Modern } else { Era::Legacy };
    let log = std::fs::OpenOptions::new().create(true).append(true).open(given("LOG"));
    let mut log = log.expect("the log");
    let _full = log.write_all(format!("{STARTED}\n").as_bytes());
    let mut waiting = HashSet::new();
    let mut changes = Changes { announces: given("ANNOUNCES") == "true", made: 0 };
    // The harness of the tests has begun a line.
    println!();
    for line_in in std::io::stdin().lines().map_while(Result::ok) {
        let message: Value = serde_json::from_str(&line_in).unwrap_or_default();
        let (rpc, id) = (message["method"].as_str().unwrap_or_default(), &message["id"]);
        let _full = log.write_all(format!("{}\n", line(rpc, id, &message["params"])).as_bytes());
        if changes.holds(rpc, &held) {
            continue;
        }
        let replied = replied(rpc, id, &message["params"]);
        if asks(era, rpc, &message["params"]) {
            println!("{}", question(id));
            waiting.insert(id.to_string());
            continue;
        } else if let Some((id, message)) = replied {
            if waiting.remove(&id) {
                println!("{message}");
            }
            continue;
        }
        if changes.change(rpc, &message["params"]) {
            println!("{}", changed());
        }
        if rpc == "subscriptions/listen" {
            println!("{}", acknowledged(id.clone(), &message["params"]));
        } else if let Some(answer) = answer(era, rpc, id, &message["params"]) {
            println!("{}", changes.shown(rpc, answer));
        }
    }
    std::process::exit(0);
}

fn line(rpc: &str, id: &Value, params: &Value) -> String {
    match rpc {
        "notifications/cancelled" => format!("{rpc} {}", params["requestId"]),
        "subscriptions/listen" if is_for_lists(params) => format!("lists/listen {id}"),
        _ => format!("{rpc} {id}"),
    }
}

fn acknowledged(id: Value, params: &Value) -> Value {
    json!({
        "jsonrpc": "2.0",
        "method": "notifications/subscriptions/acknowledged",
        "params": {
            "notifications": params["notifications"],
            "_meta": {"io.modelcontextprotocol/subscriptionId": id},
        },
    })
}

/// Whether `subscriptions/listen` asks for changes of lists.
fn is_for_lists(params: &Value) -> bool {
    params["notifications"]["toolsListChanged"] == true
}

fn changed() -> Value {
    json!({"jsonrpc": "2.0", "method": "notifications/tools/list_changed", "params": {}})
}

/// The changes of a server's tools.
struct Changes {
    announces: bool,
    made: usize,
}

impl Changes {
    /// Whether a request of this method gets no answer. The answers of the client have no method.
    fn holds(&self, rpc: &str, held: &str) -> bool {
        let is_first_list = self.announces && rpc == "tools/list" && self.made == 0;
        !rpc.is_empty() && rpc == held && !is_first_list
    }

    /// Whether a request changes the tools.
    fn change(&mut self, rpc: &str, params: &Value) -> bool {
        let changes = self.announces && rpc == "tools/call" && params["name"] == "other";
        self.made += usize::from(changes);
        changes
    }

    /// An answer with the changes so far.
    fn shown(&self, rpc: &str, mut answer: Value) -> Value {
        if self.announces
            && matches!(rpc, "initialize" | "server/discover")
            && answer["error"].is_null()
        {
            answer["result"]["capabilities"]["tools"]["listChanged"] = true.into();
        }
        if let Some(tools) = answer["result"]["tools"].as_array_mut() {
            let added =
                |n| json!({"name": format!("added-{n}"), "inputSchema": {"type": "object"}});
            tools.extend((0..self.made).map(added));
        }
        answer
    }
}

/// Whether a call is answered after the client's reply to a request.
fn asks(era: Era, rpc: &str, params: &Value) -> bool {
    era == Era::Legacy && rpc == "tools/call" && params["name"] == "asks"
}

/// The request to the client on behalf of the call `id`.
fn question(id: &Value) -> Value {
    json!({"jsonrpc": "2.0", "id": format!("ask {id}"), "method": "elicitation/create", "params": form()})
}

fn form() -> Value {
    json!({"message": "who?", "requestedSchema": {"type": "object", "properties": {}}})
}

/// The call whose wait for the client ends with this message of the client, and the last message on its behalf: the answer, or,
/// if the call was taken back, the withdrawal of the question.
fn replied(rpc: &str, id: &Value, params: &Value) -> Option<(String, Value)> {
    let of_question = id.as_str().and_then(|id| id.strip_prefix("ask "));
    if let Some(call) = of_question.filter(|_| rpc.is_empty()) {
        let id: Value = serde_json::from_str(call).expect("an id");
        return Some((
            call.to_owned(),
            json!({"jsonrpc": "2.0", "id": id, "result": {"content": []}}),
        ));
    }
    if rpc != "notifications/cancelled" {
        return None;
    }
    let call = params["requestId"].to_string();
    let withdrawn = json!({"requestId": format!("ask {call}")});
    let message = json!({"jsonrpc": "2.0", "method": rpc, "params": withdrawn});
    Some((call, message))
}

/// The answer of a server of this era; none to a notification.
fn answer(era: Era, rpc: &str, id: &Value, params: &Value) -> Option<Value> {
    if id.is_null() {
        return None;
    }
    let offers =
        json!({"tools": {}, "prompts": {}, "resources": {"subscribe": true}, "completions": {}});
    let mut result = match (rpc, era) {
        ("initialize", Era::Legacy) => json!({
            "protocolVersion": "2025-11-25",
            "capabilities": offers,
            "serverInfo": {"name": "scene", "version": "1"},
        }),
        ("server/discover", Era::Modern) => {
            json!({"supportedVersions": ["2026-07-28"], "capabilities": offers})
        }
        ("initialize", _) => {
            let data = json!({"supported": ["2026-07-28"], "requested": "2025-11-25"});
            let error = json!({"code": -32022, "message": "unsupported", "data": data});
            return Some(json!({"jsonrpc": "2.0", "id": id, "error": error}));
        }
        ("tools/list", _) => json!({"tools": [
            {"name": "echo", "inputSchema": {"type": "object"}},
            {"name": "other", "inputSchema": {"type": "object"}},
            {"name": "asks", "inputSchema": {"type": "object"}},
        ]}),
        ("prompts/list", _) => json!({"prompts": [{"name": "greeting"}]}),
        ("resources/list", _) => json!({"resources": [{"name": "log", "uri": LOG}]}),
        ("resources/templates/list", _) => json!({"resourceTemplates": []}),
        ("tools/call", Era::Modern)
            if params["name"] == "asks" && params["requestState"].is_null() =>
        {
            let form = json!({"method": "elicitation/create", "params": form()});
            json!({"resultType": "input_required", "requestState": "s", "inputRequests": {"form": form}})
        }
        ("tools/call", _) => json!({"content": []}),
        ("prompts/get", _) => json!({"messages": []}),
        ("resources/read", _) => json!({"contents": []}),
        ("completion/complete", _) => json!({"completion": {"values": []}}),
        ("resources/subscribe" | "resources/unsubscribe", Era::Legacy) => json!({}),
        _ => {
            let error = json!({"code": -32601, "message": "no such method"});
            return Some(json!({"jsonrpc": "2.0", "id": id, "error": error}));
        }
    };
    if result["resultType"].is_null() {
        result["resultType"] = "complete".into();
    }
    (result["ttlMs"], result["cacheScope"]) = (0.into(), "private".into());
    Some(json!({"jsonrpc": "2.0", "id": id, "result": result}))
}
