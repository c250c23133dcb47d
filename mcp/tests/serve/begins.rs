//! Changes at the moment at which a client begins to listen, and clients that begin twice.

use std::time::Duration;

use moored_mcp::{Gateway, SessionGroup};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, DuplexStream, ReadHalf, WriteHalf};
use tokio::sync::watch;

use crate::support::http::{Feed, Reply, Server, legacy};
use crate::support::{Raw, Served, at, brisk, come_true, fleet_server, initialize, options};
use crate::support::{until, within_limit};

/// A client at a pipe that reads and writes lines by itself.
pub(crate) struct Line {
    read: BufReader<ReadHalf<DuplexStream>>,
    write: WriteHalf<DuplexStream>,
}

impl Line {
    /// `room` bytes are on their way to the client before the gateway has to wait.
    pub(crate) fn to(gateway: &Gateway, room: usize) -> Self {
        let (ours, theirs) = tokio::io::duplex(room);
        let gateway = gateway.clone();
        tokio::spawn(async move {
            let (input, output) = tokio::io::split(theirs);
            gateway.serve_pipe(input, output).await;
        });
        let (read, write) = tokio::io::split(ours);
        Self { read: BufReader::new(read), write }
    }

    pub(crate) async fn send(&mut self, message: &Value) {
        self.say(&message.to_string()).await;
    }

    /// Sends a line, which may be no message.
    pub(crate) async fn say(&mut self, line: &str) {
        self.write.write_all(format!("{line}\n").as_bytes()).await.expect("written");
    }

    pub(crate) async fn next(&mut self) -> Value {
        let mut line = String::new();
        self.read.read_line(&mut line).await.expect("a line");
        serde_json::from_str(&line).expect("a message")
    }

    /// Reads until a message for which `is_it` holds has come; returns those before.
    pub(crate) async fn until(&mut self, is_it: impl Fn(&Value) -> bool) -> Vec<Value> {
        let mut before = Vec::new();
        loop {
            let message = self.next().await;
            if is_it(&message) {
                return before;
            }
            before.push(message);
        }
    }
}

fn asks(id: u64, method: &str, mut params: Value) -> Value {
    params["_meta"]["io.modelcontextprotocol/protocolVersion"] = json!("2026-07-28");
    params["_meta"]["io.modelcontextprotocol/clientCapabilities"] = json!({});
    json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params})
}

fn is_changed(message: &Value) -> bool {
    message["method"] == "notifications/tools/list_changed"
}

/// The number of tools that the gateway lists for another client.
async fn tools(served: &Served) -> usize {
    let list = served.ask(Raw::modern("tools/list", json!({}))).await.message();
    list["result"]["tools"].as_array().map_or(0, Vec::len)
}

#[tokio::test]
async fn a_change_before_the_acknowledgement_has_gone_out_is_told() {
    within_limit(async {
        let called = Server::start(legacy).await;
        let served = Served::start(vec![at("called", &called.url)]).await;
        served.gateway.settled().await;
        let mut client = Line::to(&served.gateway, 256);
        client.send(&asks(0, "server/discover", json!({}))).await;
        client.until(|message| message["id"] == 0).await;
        // Their answers fill the way to the client, so that the acknowledgement has to wait.
        for id in 1..=100 {
            client.send(&asks(id, "prompts/list", json!({}))).await;
        }
        let filter = json!({"notifications": {"toolsListChanged": true}});
        client.send(&asks(200, "subscriptions/listen", filter)).await;
        client
            .send(&asks(201, "tools/call", json!({"name": "called__echo", "arguments": {}})))
            .await;
        // It was read after the request to listen.
        called.asked("POST tools/call").await;
        served.gateway.keep(vec![fleet_server("late", &[])]);
        come_true(async || tools(&served).await == 4).await;
        client
            .until(|message| message["method"] == "notifications/subscriptions/acknowledged")
            .await;
        client.until(is_changed).await;
        assert!(served.gateway.close().await.clean);
    })
    .await;
}

#[tokio::test]
async fn a_change_between_a_list_and_the_end_of_the_handshake_is_told() {
    within_limit(async {
        let served = Served::start(Vec::new()).await;
        let mut client = Line::to(&served.gateway, 64 * 1024);
        client.send(&initialize()).await;
        client.until(|message| message["id"] == 0).await;
        client.send(&json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"})).await;
        client.until(|message| message["id"] == 1).await;
        served.gateway.keep(vec![fleet_server("late", &[])]);
        come_true(async || tools(&served).await == 3).await;
        client.send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).await;
        client.until(is_changed).await;
        assert!(served.gateway.close().await.clean);
    })
    .await;
}

#[tokio::test]
async fn a_client_that_says_twice_that_it_is_ready_is_told_of_a_change_once() {
    within_limit(async {
        let group = SessionGroup::start(brisk());
        let gateway = Gateway::start(group.clone(), options());
        let mut client = Line::to(&gateway, 64 * 1024);
        client.send(&initialize()).await;
        for _ in 0..3 {
            client.send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).await;
        }
        group.connect(fleet_server("a", &[])).await.expect("it comes up");
        client.until(is_changed).await;
        for id in 1..4 {
            client.send(&json!({"jsonrpc": "2.0", "id": id, "method": "tools/list"})).await;
            let more = client.until(|message| message["id"] == id).await;
            assert!(!more.iter().any(is_changed), "{more:?}");
        }
        assert!(gateway.close().await.clean);
    })
    .await;
}

#[tokio::test]
async fn a_client_that_initializes_twice_hears_each_log_message_once() {
    within_limit(async {
        let feed = Feed::new();
        let stream = feed.clone();
        let logger = Server::start(move |request| match request.verb.as_str() {
            "GET" => Reply::Fed(stream.clone()),
            _ => legacy(request),
        })
        .await;
        let served = Served::start(vec![at("logger", &logger.url)]).await;
        served.gateway.settled().await;
        let mut client = Line::to(&served.gateway, 64 * 1024);
        for id in 0..2 {
            let mut again = initialize();
            again["id"] = json!(id);
            client.send(&again).await;
            client.until(|message| message["id"] == id).await;
        }
        let log = |text: &str| {
            let params = json!({"level": "error", "data": text});
            json!({"jsonrpc": "2.0", "method": "notifications/message", "params": params})
        };
        feed.push(&log("first"));
        feed.push(&log("last"));
        let told = client.until(|message| message["params"]["data"] == "last").await;
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(served.gateway.close().await.clean);
    })
    .await;
}

#[tokio::test]
async fn numbers_beyond_those_of_the_machine_are_passed_on_or_refused_and_never_swallowed() {
    within_limit(async {
        let numbers = Server::start(|request| match request.rpc.as_str() {
            "tools/call" => {
                let number = request.params["arguments"]["n"].as_str().unwrap_or_default();
                let text = format!(
                    r#"{{"jsonrpc":"2.0","id":{},"result":{{"content":[],"structuredContent":{{"n":{number}}}}}}}"#,
                    request.id
                );
                Reply::json(json!({})).saying(text)
            }
            _ => legacy(request),
        })
        .await;
        let served = Served::start(vec![at("n", &numbers.url)]).await;
        let call = |n: &str| {
            Raw::modern("tools/call", json!({"name": "n__echo", "arguments": {"n": n}}))
        };
        for n in ["18446744073709551615", "-9223372036854775808", "0.1", "1e+300", "-0.0"] {
            let answer = served.ask(call(n)).await;
            assert!(answer.body.contains(&format!(r#""n":{n}"#)), "{n}: {answer:?}");
        }
        let rounded = served.ask(call("18446744073709551616")).await.message();
        assert_eq!(rounded["result"]["structuredContent"]["n"], 18_446_744_073_709_551_616.0);
        let beyond = served.ask(call("1e400")).await.message();
        let told = beyond["result"]["content"][0]["text"].as_str().unwrap_or_default();
        assert!(told.contains("cannot be read"), "{beyond}");

        for id in ["18446744073709551616", "9223372036854775808", "1.5"] {
            let text = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/list"}}"#);
            let session = served.session().await;
            let post = Raw::post(&json!({})).saying(text).with("Mcp-Session-Id", &session);
            let refused = served.ask(post).await;
            assert_eq!((refused.status, &refused.message()["error"]["code"]), (400, &json!(-32600)));
        }
        assert!(served.gateway.close().await.clean);
    })
    .await;
}

/// A server with the resource `{name}:///1`, which answers a subscription once the gate is open.
async fn with_resource(name: &'static str, gate: watch::Receiver<bool>) -> Server {
    Server::start(move |request| {
        let result = |value: Value| {
            Reply::json(json!({"jsonrpc": "2.0", "id": request.id, "result": value}))
        };
        match request.rpc.as_str() {
            "initialize" => result(json!({
                "protocolVersion": "2025-11-25",
                "capabilities": {"resources": {"subscribe": true}},
                "serverInfo": {"name": name, "version": "1"},
            })),
            "resources/list" => {
                result(json!({"resources": [{"name": "r", "uri": format!("{name}:///1")}]}))
            }
            "resources/subscribe" => Reply::Gated(gate.clone(), Box::new(result(json!({})))),
            "resources/unsubscribe" => result(json!({})),
            _ => legacy(request),
        }
    })
    .await
}

fn subscribe(id: u64, name: &str) -> Value {
    let params = json!({"uri": format!("{name}:///1")});
    json!({"jsonrpc": "2.0", "id": id, "method": "resources/subscribe", "params": params})
}

#[tokio::test]
async fn a_server_that_is_slow_to_subscribe_delays_no_other_server() {
    within_limit(async {
        let (open, gate) = watch::channel(false);
        let (_always, open_gate) = watch::channel(true);
        let (slow, quick) =
            (with_resource("slow", gate).await, with_resource("quick", open_gate).await);
        let served = Served::start(vec![at("slow", &slow.url), at("quick", &quick.url)]).await;
        let session = served.session().await;
        let waiting =
            served.send(&Raw::post(&subscribe(1, "slow")).with("Mcp-Session-Id", &session)).await;
        slow.asked("POST resources/subscribe").await;
        let asked = served.ask(Raw::post(&subscribe(2, "quick")).with("Mcp-Session-Id", &session));
        let answer = tokio::time::timeout(Duration::from_secs(5), asked).await;
        assert_eq!(answer.expect("it waits for no other server").message()["result"], json!({}));
        // The same for a subscription that is renewed.
        served.gateway.group().disconnect("quick").await.expect("it was up");
        let renewed = || quick.requested("resources/subscribe").len() == 2;
        tokio::time::timeout(Duration::from_secs(5), until(renewed)).await.expect("renewed");
        open.send_replace(true);
        drop(waiting);
        assert!(served.gateway.close().await.clean);
    })
    .await;
}

#[tokio::test]
async fn a_client_that_listens_to_a_resource_is_acknowledged_once_the_server_is_subscribed_to() {
    within_limit(async {
        let (open, gate) = watch::channel(false);
        let server = with_resource("slow", gate).await;
        let served = Served::start(vec![at("slow", &server.url)]).await;
        served.gateway.settled().await;
        let mut client = Line::to(&served.gateway, 64 * 1024);
        client.send(&asks(0, "server/discover", json!({}))).await;
        client.until(|message| message["id"] == 0).await;
        let filter = json!({"notifications": {"resourceSubscriptions": ["slow:///1"]}});
        client.send(&asks(1, "subscriptions/listen", filter)).await;
        server.asked("POST resources/subscribe").await;
        client.send(&asks(2, "prompts/list", json!({}))).await;
        let before = client.until(|message| message["id"] == 2).await;
        assert_eq!(before, Vec::<Value>::new());
        open.send_replace(true);
        let is_acknowledged =
            |message: &Value| message["method"] == "notifications/subscriptions/acknowledged";
        client.until(is_acknowledged).await;
        assert!(served.gateway.close().await.clean);
    })
    .await;
}
