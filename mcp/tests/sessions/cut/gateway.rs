//! Clients of a gateway that go away: their requests are dropped at any poll, and the servers are told.

use std::cell::Cell;
use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use moored_mcp::{Era, Gateway, GatewayOptions};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use super::scene::{LOG, Scene, Wire};
use super::{Polls, alone, at_each_poll, cut, eventually, everywhere};
use crate::support::brisk;

/// A gateway in front of a scene's server, and a client of it.
pub(super) struct Front<'a> {
    scene: &'a Scene,
    gateway: Gateway,
    /// The session of a client of the older era.
    session: Option<String>,
    asked: Cell<u64>,
}

impl<'a> Front<'a> {
    /// A gateway with a client of this era.
    pub(super) async fn start(scene: &'a Scene, client: Era) -> Self {
        let mut options = GatewayOptions::default();
        options.parked_for = Duration::from_millis(50);
        let gateway = Gateway::open(brisk(), options);
        gateway.keep(vec![scene.params("s", scene.era)]);
        gateway.settled().await;
        let mut front = Self { scene, gateway, session: None, asked: Cell::new(0) };
        if client == Era::Legacy {
            front.session = Some(front.begin().await);
        }
        let other = if scene.held() == "prompts/get" { "resources/read" } else { "prompts/get" };
        scene.open_connections(|| front.ask(other)).await;
        front
    }

    /// Begins a session.
    async fn begin(&self) -> String {
        let params = json!({
            "protocolVersion": "2025-11-25",
            "capabilities": {"elicitation": {}},
            "clientInfo": {"name": "cut", "version": "1"},
        });
        let answer = self.gateway.handle(post(&message(0, "initialize", params), None)).await;
        let session = answer.headers().get("mcp-session-id").expect("a session");
        let session = session.to_str().expect("text").to_owned();
        read(answer).await;
        let told = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
        read(self.gateway.handle(post(&told, Some(&session))).await).await;
        session
    }

    async fn end(&self, session: &str) {
        let delete = Request::delete("/mcp").header("host", "localhost");
        let delete = delete.header("mcp-session-id", session).body(Full::default());
        let answer = self.gateway.handle(delete.expect("a request")).await;
        assert_eq!(answer.status(), 204);
    }

    fn request(&self, method: &str) -> (u64, Request<Full<Bytes>>) {
        self.request_with(method, params(method))
    }

    fn request_with(&self, method: &str, params: Value) -> (u64, Request<Full<Bytes>>) {
        let id = self.asked.get() + 1;
        self.asked.set(id);
        let mut message = message(id, method, params);
        if self.session.is_none() {
            message["params"]["_meta"] = json!({
                "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                "io.modelcontextprotocol/clientCapabilities": {"elicitation": {}},
            });
        }
        (id, post(&message, self.session.as_deref()))
    }

    /// Sends a request and reads its answer to the end. Returns the last message.
    async fn ask(&self, method: &str) -> Value {
        let (_, request) = self.request(method);
        read(self.gateway.handle(request).await).await
    }

    /// Another client of the same era.
    pub(super) async fn another(&self) -> Self {
        let session = if self.session.is_some() { Some(self.begin().await) } else { None };
        let gateway = self.gateway.clone();
        Self { scene: self.scene, gateway, session, asked: Cell::new(0) }
    }

    pub(super) fn scene(&self) -> &Scene {
        self.scene
    }

    /// Ends the session, if there is one.
    pub(super) async fn leave(self) {
        if let Some(session) = &self.session {
            self.end(session).await;
        }
    }

    pub(super) async fn call(&self, tool: &str) {
        let params = json!({"name": tool, "arguments": {}});
        let (_, request) = self.request_with("tools/call", params);
        let answer = read(self.gateway.handle(request).await).await;
        assert!(answer["result"].is_object(), "{answer}");
    }

    /// Listens until the tools have changed. `listens` is called when the gateway has begun to tell.
    pub(super) async fn hears_of_tools(&self, listens: impl FnOnce()) {
        let request = match &self.session {
            Some(session) => {
                let get = Request::get("/mcp").header("host", "localhost");
                let get = get.header("accept", "text/event-stream");
                get.header("mcp-session-id", session).body(Full::default()).expect("a request")
            }
            None => {
                let params = json!({"notifications": {"toolsListChanged": true}});
                self.request_with("subscriptions/listen", params).1
            }
        };
        let mut body = self.gateway.handle(request).await.into_body();
        let mut listens = Some(listens);
        if self.session.is_some() {
            listens.take().expect("it was not called")();
        }
        while let Some(Ok(frame)) = body.frame().await {
            let data = frame.into_data().expect("data");
            let data = String::from_utf8_lossy(&data);
            if data.contains("acknowledged") {
                listens.take().expect("it was not called")();
            }
            if data.contains("tools/list_changed") {
                return;
            }
        }
        panic!("the stream ended before the tools have changed");
    }

    /// Shows that the gateway and its server stand.
    pub(super) async fn stands(&self) {
        let other =
            if self.scene.held() == "prompts/get" { "resources/read" } else { "prompts/get" };
        let answer = self.ask(other).await;
        assert!(answer["result"].is_object(), "{answer}");
    }

    /// Tells the gateway that a client of the older era takes a request back. In the newer era it does that by closing the
    /// stream.
    async fn take_back(&self, id: u64) {
        if let Some(session) = &self.session {
            let params = json!({"requestId": id});
            let told =
                json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params});
            let answer = self.gateway.handle(post(&told, Some(session))).await;
            assert_eq!(answer.status(), 202);
        }
    }

    pub(super) async fn close(self) {
        let report = self.gateway.close().await;
        assert!(report.all_well(), "{report:?}");
        self.scene.is_left();
    }
}

fn message(id: u64, method: &str, params: Value) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params})
}

fn params(method: &str) -> Value {
    match method {
        "tools/call" => json!({"name": "s__asks", "arguments": {}}),
        "prompts/get" => json!({"name": "s__greeting"}),
        "completion/complete" => json!({
            "ref": {"type": "ref/prompt", "name": "s__greeting"},
            "argument": {"name": "name", "value": "a"},
        }),
        "subscriptions/listen" => json!({"notifications": {"resourceSubscriptions": [LOG]}}),
        _ => json!({"uri": LOG}),
    }
}

fn post(message: &Value, session: Option<&str>) -> Request<Full<Bytes>> {
    let mut request = Request::post("/mcp")
        .header("host", "localhost")
        .header("accept", "application/json, text/event-stream")
        .header("content-type", "application/json");
    let (method, params) = (message["method"].as_str().expect("a method"), &message["params"]);
    if let Some(session) = session {
        request = request.header("mcp-session-id", session);
    } else if method != "initialize" {
        request = request.header("mcp-protocol-version", "2026-07-28").header("mcp-method", method);
        if let Some(name) = params["name"].as_str().or(params["uri"].as_str()) {
            request = request.header("mcp-name", name);
        }
    }
    request.body(Full::from(message.to_string())).expect("a request")
}

/// The last message of an answer, once it has ended.
async fn read(answer: http::Response<moored_mcp::Body>) -> Value {
    let body: Result<_, Infallible> = answer.into_body().collect().await;
    let Ok(body) = body;
    let body = String::from_utf8(body.to_bytes().into()).expect("text");
    let last = body.lines().rev().find_map(|line| {
        let json = line.strip_prefix("data: ").unwrap_or(line);
        serde_json::from_str(json).ok()
    });
    last.unwrap_or_default()
}

const ERAS: [Era; 2] = [Era::Legacy, Era::Modern];

#[test]
fn a_reading_through_a_gateway_is_cut_anywhere() {
    alone("cut::gateway::readings");
}

#[test]
#[ignore = "run by a_reading_through_a_gateway_is_cut_anywhere in a process of its own"]
fn readings() {
    everywhere(async |way| anywhere(way, "resources/read").await);
}

#[test]
fn a_prompt_through_a_gateway_is_cut_anywhere() {
    alone("cut::gateway::prompts");
}

#[test]
#[ignore = "run by a_prompt_through_a_gateway_is_cut_anywhere in a process of its own"]
fn prompts() {
    everywhere(async |way| anywhere(way, "prompts/get").await);
}

#[test]
fn a_completion_through_a_gateway_is_cut_anywhere() {
    alone("cut::gateway::completions");
}

#[test]
#[ignore = "run by a_completion_through_a_gateway_is_cut_anywhere in a process of its own"]
fn completions() {
    everywhere(async |way| anywhere(way, "completion/complete").await);
}

async fn anywhere(way: (Wire, Era), method: &'static str) -> usize {
    let mut cuts = 0;
    for client in ERAS {
        cuts += unanswered(way, client, method).await + answered(way, client, method).await;
    }
    cuts
}

/// A server that never answers: each request that reached it is taken back.
async fn unanswered(way: (Wire, Era), client: Era, method: &'static str) -> usize {
    let scene = Scene::start(way, method).await;
    let front = Front::start(&scene, client).await;
    let up = scene.up().await;
    let mut cuts = 0;
    for who in [Polls::Always, Polls::Cancelled] {
        let (mut polls, mut reached) = (0, 0);
        while reached < 3 {
            let before = scene.of(method).len();
            let (id, request) = front.request(method);
            let asking = async { read(front.gateway.handle(request).await).await };
            let answer = cut(polls, who, asking).await;
            assert!(answer.is_none(), "cut at {polls} {who:?}: {answer:?}");
            cuts += 1;
            front.take_back(id).await;
            front.stands().await;
            let place = format!("{client:?} {method} to {way:?} cut at {polls} {who:?}");
            let taken_back =
                || scene.are_taken_back(method).then_some(()).ok_or(format!("{:?}", scene.log()));
            eventually(&place, taken_back).await;
            up.is_all(&place).await;
            reached += usize::from(scene.of(method).len() > before);
            polls = who.after(polls);
            assert!(polls < 1_000_000, "{method} never reaches {way:?}");
        }
    }
    front.close().await;
    cuts
}

/// A server that answers at once.
async fn answered(way: (Wire, Era), client: Era, method: &'static str) -> usize {
    let scene = Scene::start(way, "").await;
    let front = Front::start(&scene, client).await;
    let up = scene.up().await;
    let cuts = at_each_poll(async |polls, who| {
        let place = format!("{client:?} {method} to {way:?} cut at {polls} {who:?}");
        let answer = cut(polls, who, front.ask(method)).await;
        front.stands().await;
        up.is_all(&place).await;
        answer.map(|answer| assert!(answer["result"].is_object(), "{place}: {answer}")).is_none()
    })
    .await;
    front.close().await;
    cuts
}

#[test]
fn a_call_through_a_gateway_is_cut_anywhere_while_its_server_asks() {
    alone("cut::gateway::asking_calls");
}

#[test]
#[ignore = "run by a_call_through_a_gateway_is_cut_anywhere_while_its_server_asks in a process of its own"]
fn asking_calls() {
    everywhere(async |way| {
        // The client of the newer era gets the question as an answer, and never comes back.
        let mut cuts = answered(way, Era::Modern, "tools/call").await;
        // The client of the older era gets it on its stream, and takes its call back.
        let scene = Scene::start(way, "").await;
        let front = Front::start(&scene, Era::Legacy).await;
        let up = scene.up().await;
        for who in [Polls::Always, Polls::Cancelled] {
            let (mut polls, mut reached) = (0, 0);
            while reached < 3 {
                let before = scene.of("tools/call").len();
                let (id, request) = front.request("tools/call");
                let asking = async { read(front.gateway.handle(request).await).await };
                let answer = cut(polls, who, asking).await;
                assert!(answer.is_none(), "cut at {polls} {who:?}: {answer:?}");
                cuts += 1;
                front.take_back(id).await;
                front.stands().await;
                let place = format!("an asking call to {way:?} cut at {polls} {who:?}");
                up.is_all(&place).await;
                reached += usize::from(scene.of("tools/call").len() > before);
                polls = who.after(polls);
                assert!(polls < 1_000_000, "the call never reaches {way:?}");
            }
        }
        front.close().await;
        cuts
    });
}

#[test]
fn a_subscription_through_a_gateway_is_cut_anywhere_and_ends_with_its_client() {
    alone("cut::gateway::subscriptions");
}

#[test]
#[ignore = "run by a_subscription_through_a_gateway_is_cut_anywhere_and_ends_with_its_client in a process of its own"]
fn subscriptions() {
    everywhere(async |way| {
        let scene = Scene::start(way, "").await;
        let front = Front::start(&scene, Era::Legacy).await;
        let up = scene.up().await;
        let cuts = at_each_poll(async |polls, who| {
            let mut are_whole = true;
            for (first, then) in
                [("resources/subscribe", "resources/unsubscribe"), ("resources/unsubscribe", "")]
            {
                let place = format!("{first} to {way:?} cut at {polls} {who:?}");
                let session = front.begin().await;
                let one = Front {
                    scene: front.scene,
                    gateway: front.gateway.clone(),
                    session: Some(session.clone()),
                    asked: Cell::new(0),
                };
                if then.is_empty() {
                    one.ask("resources/subscribe").await;
                    assert!(scene.has_subscription(), "{place}");
                }
                are_whole &= cut(polls, who, one.ask(first)).await.is_some();
                // Half of the clients say that they end the subscription, and the others just go.
                if !then.is_empty() && polls.is_multiple_of(2) {
                    one.ask(then).await;
                }
                one.end(&session).await;
                front.stands().await;
                ended(&scene, &place).await;
                up.is_all(&place).await;
            }
            !are_whole
        })
        .await;
        front.close().await;
        cuts
    });
}

#[test]
fn listening_through_a_gateway_is_cut_anywhere_and_ends_with_its_client() {
    alone("cut::gateway::listening");
}

#[test]
#[ignore = "run by listening_through_a_gateway_is_cut_anywhere_and_ends_with_its_client in a process of its own"]
fn listening() {
    everywhere(async |way| {
        let scene = Scene::start(way, "").await;
        let front = Front::start(&scene, Era::Modern).await;
        let up = scene.up().await;
        let cuts = at_each_poll(async |polls, who| {
            let place = format!("listening to {way:?} cut at {polls} {who:?}");
            let listens = async {
                let (_, request) = front.request("subscriptions/listen");
                let mut body = front.gateway.handle(request).await.into_body();
                while let Some(Ok(frame)) = body.frame().await {
                    let data = frame.into_data().expect("data");
                    if String::from_utf8_lossy(&data).contains("acknowledged") {
                        break;
                    }
                }
                // The server is subscribed to after the acknowledgement.
                let subscribed = || scene.has_subscription();
                crate::support::until(subscribed).await;
            };
            let listened = cut(polls, who, listens).await;
            front.stands().await;
            ended(&scene, &place).await;
            up.is_all(&place).await;
            listened.is_none()
        })
        .await;
        front.close().await;
        cuts
    });
}

/// Waits until the server reports no changes any more.
async fn ended(scene: &Scene, place: &str) {
    let is_so = || (!scene.has_subscription()).then_some(()).ok_or(format!("{:?}", scene.log()));
    eventually(place, is_so).await;
}

#[test]
fn a_pipe_to_a_gateway_is_cut_anywhere() {
    alone("cut::gateway::pipes");
}

#[test]
#[ignore = "run by a_pipe_to_a_gateway_is_cut_anywhere in a process of its own"]
fn pipes() {
    everywhere(async |way| {
        let scene = Scene::start(way, "").await;
        let front = Front::start(&scene, Era::Modern).await;
        let up = scene.up().await;
        let cuts = at_each_poll(async |polls, who| {
            let place = format!("a pipe to {way:?} cut at {polls} {who:?}");
            let serving = async {
                let (mut ours, theirs) = tokio::io::duplex(64 * 1024);
                let (input, output) = tokio::io::split(theirs);
                let init = json!({
                    "protocolVersion": "2025-11-25",
                    "capabilities": {},
                    "clientInfo": {"name": "cut", "version": "1"},
                });
                let mut text = format!("{}\n", message(0, "initialize", init));
                let methods =
                    ["resources/subscribe", "resources/read", "prompts/get", "completion/complete"];
                for (method, id) in methods.into_iter().zip(1..) {
                    text.push_str(&format!("{}\n", message(id, method, params(method))));
                }
                ours.write_all(text.as_bytes()).await.expect("written");
                ours.shutdown().await.expect("closed");
                front.gateway.serve_pipe(input, output).await;
            };
            let served = cut(polls, who, serving).await;
            front.stands().await;
            ended(&scene, &place).await;
            up.is_all(&place).await;
            served.is_none()
        })
        .await;
        front.close().await;
        cuts
    });
}
