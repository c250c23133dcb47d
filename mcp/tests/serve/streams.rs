//! The streams of a session over HTTP: lost connections, clients that do not read, and the end of idle sessions.

use std::time::Duration;

use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use tokio::sync::watch;

use crate::support::http::{End, Reply, Server, legacy};
use crate::support::{Raw, Served, at, come_true, options, within_limit};

fn call(id: u64) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params":
        {"name": "s__echo", "arguments": {"message": "m"}, "_meta": {"progressToken": id}}})
}

/// A request of a session, of the revision whose clients know events without a message.
fn of(session: &str, raw: Raw) -> Raw {
    raw.with("Mcp-Session-Id", session)
        .with("MCP-Protocol-Version", "2025-11-25")
        .with("Accept", "text/event-stream, application/json")
}

/// A server whose calls are answered once the gate is open, and the gate.
async fn gated() -> (Server, watch::Sender<bool>) {
    let (gate, open) = watch::channel(false);
    let server = Server::start(move |request| {
        if request.rpc != "tools/call" {
            return legacy(request);
        }
        let answer = json!({"jsonrpc": "2.0", "id": request.id, "result": {"content": [{"type": "text", "text": "late"}]}});
        Reply::Gated(open.clone(), Reply::json(answer).into())
    })
    .await;
    (server, gate)
}

fn count(server: &Server, what: &str) -> usize {
    server.log().iter().filter(|line| *line == what).count()
}

#[tokio::test]
async fn a_client_that_lost_its_connection_gets_the_answer_that_came_meanwhile() {
    within_limit(async {
        let (server, gate) = gated().await;
        let served = Served::start(vec![at("s", &server.url)]).await;
        let session = served.session().await;
        let mut stream = served.send(&of(&session, Raw::post(&call(1)))).await;
        let mut text = String::new();
        while !text.contains("\n\n\r\n") {
            let mut some = [0; 512];
            let read = stream.read(&mut some).await.expect("open");
            text.push_str(&String::from_utf8_lossy(&some[..read]));
        }
        let id =
            text.lines().find_map(|line| line.strip_prefix("id: ")).expect("an id to go on after");
        assert!(text.contains("retry: 3000"), "{text}");
        come_true(async || count(&server, "POST tools/call") == 1).await;
        drop(stream);
        gate.send_replace(true);
        let again = || of(&session, Raw::new("GET", "/mcp")).with("Last-Event-ID", id);
        // While it is under way, and after it was answered.
        for _ in 0..2 {
            let rest = served.ask(again()).await;
            assert_eq!(rest.message()["result"]["content"][0]["text"], "late", "{rest:?}");
            assert!(!rest.body.contains("data: \n"), "nothing that it knows: {rest:?}");
        }
        let other = served.session().await;
        for (what, request) in [
            (
                "an unknown stream",
                of(&session, Raw::new("GET", "/mcp")).with("Last-Event-ID", "77/0"),
            ),
            ("no id", of(&session, Raw::new("GET", "/mcp")).with("Last-Event-ID", "nonsense")),
            ("another session's", of(&other, Raw::new("GET", "/mcp")).with("Last-Event-ID", id)),
        ] {
            let rest = served.ask(request).await;
            assert_eq!(rest.status, 400, "{what}: {rest:?}");
            assert!(
                rest.message()["error"]["message"].as_str().expect(what).contains("Last-Event-ID")
            );
        }
        assert_eq!(count(&server, "POST notifications/cancelled"), 0);
    })
    .await;
}

#[tokio::test]
async fn a_client_that_comes_back_too_late_is_told_that_its_answer_is_not_kept() {
    within_limit(async {
        let served = Served::start(Vec::new()).await;
        let session = served.session().await;
        let ping = |id: u64| json!({"jsonrpc": "2.0", "id": id, "method": "ping"});
        let first = served.ask(of(&session, Raw::post(&ping(100)))).await;
        let id = first.body.lines().find_map(|line| line.strip_prefix("id: ")).expect("an id");
        for more in 101..140 {
            served.ask(of(&session, Raw::post(&ping(more)))).await;
        }
        let rest =
            served.ask(of(&session, Raw::new("GET", "/mcp")).with("Last-Event-ID", id)).await;
        assert_eq!((rest.status, rest.messages().len()), (200, 1), "{rest:?}");
        assert_eq!(rest.message()["id"], 100, "{rest:?}");
        assert!(rest.message()["error"]["message"].as_str().expect("why").contains("not kept"));
    })
    .await;
}

#[tokio::test]
async fn a_client_that_does_not_read_holds_up_nothing_but_itself() {
    within_limit(async {
        let server = Server::start(|request| {
            if request.rpc != "tools/call" {
                return legacy(request);
            }
            let token = &request.params["_meta"]["progressToken"];
            let step = |step: u64| {
                json!({"jsonrpc": "2.0", "method": "notifications/progress", "params":
                {"progressToken": token, "progress": step}})
            };
            let text: String = (0..500).map(|at| format!("data: {}\n\n", step(at))).collect();
            let answer = json!({"jsonrpc": "2.0", "id": request.id, "result": {"content": []}});
            Reply::events(format!("{text}data: {answer}\n\n"), End::Whole)
        })
        .await;
        let served = Served::start(vec![at("s", &server.url)]).await;
        served.gateway.settled().await;
        let alive = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
        let baseline = {
            served.ask(Raw::modern("tools/list", json!({}))).await;
            come_true(async || served.gateway.servers().len() == 1).await;
            alive()
        };
        let session = served.session().await;
        let unread =
            served.gateway.handle(crate::cut::request(&call(1), false, Some(&session))).await;
        come_true(async || count(&server, "POST tools/call") == 1).await;
        let list = json!({"jsonrpc": "2.0", "id": 2, "method": "tools/list"});
        let listed = served.ask(of(&session, Raw::post(&list))).await;
        assert!(listed.message()["result"]["tools"].is_array(), "{listed:?}");
        let second = served.ask(of(&session, Raw::post(&call(3)))).await;
        assert!(second.message()["result"].is_object(), "{second:?}");
        assert_eq!(served.ask(of(&session, Raw::new("DELETE", "/mcp"))).await.status, 204);
        // The session has ended, although the client holds a stream of it.
        come_true(async || alive() <= baseline).await;
        let _messages = unread.into_body().collect().await.expect("a body that ends");
    })
    .await;
}

#[tokio::test]
async fn an_idle_session_ends_with_its_calls_and_one_in_use_does_not() {
    within_limit(async {
        let (server, gate) = gated().await;
        let mut brief = options();
        brief.session_idle = Duration::from_millis(250);
        let served = Served::with(vec![at("s", &server.url)], brief).await;
        served.gateway.settled().await;
        let sessions =
            async || served.ask(Raw::new("GET", "/health")).await.message()["sessions"].clone();
        // A client that died in the middle of a call: nothing reads the stream.
        let dead = served.session().await;
        let stream = served.send(&of(&dead, Raw::post(&call(1)))).await;
        come_true(async || count(&server, "POST tools/call") == 1).await;
        drop(stream);
        come_true(async || sessions().await == 0).await;
        come_true(async || count(&server, "POST notifications/cancelled") == 1).await;
        let list = json!({"jsonrpc": "2.0", "id": 2, "method": "tools/list"});
        let gone = served.ask(of(&dead, Raw::post(&list))).await;
        assert_eq!(gone.status, 404, "{gone:?}");
        assert!(gone.body.contains("initialize again"), "{gone:?}");
        assert_eq!(served.ask(of(&dead, Raw::new("DELETE", "/mcp"))).await.status, 404);

        // Open streams and requests under way are use, in either form of the answer.
        for accept in ["text/event-stream", "application/json"] {
            let session = served.session().await;
            let slow = Raw::post(&call(1)).with("Mcp-Session-Id", &session).with("Accept", accept);
            let opens = async {
                tokio::time::sleep(Duration::from_millis(700)).await;
                gate.send_replace(true);
            };
            let (answer, ()) = tokio::join!(served.ask(slow), opens);
            assert_eq!(answer.message()["result"]["content"][0]["text"], "late", "{answer:?}");
            gate.send_replace(false);
        }
        let session = served.session().await;
        let listening = served.send(&of(&session, Raw::new("GET", "/mcp"))).await;
        tokio::time::sleep(Duration::from_millis(700)).await;
        assert_eq!(served.ask(of(&session, Raw::post(&list))).await.status, 200);
        drop(listening);
        come_true(async || sessions().await == 0).await;
    })
    .await;
}

#[tokio::test]
async fn a_client_that_cancels_a_call_does_not_read_that_its_session_is_over() {
    within_limit(async {
        let (server, _gate) = gated().await;
        let served = Served::start(vec![at("s", &server.url)]).await;
        let session = served.session().await;
        let post = |message: Value| Raw::post(&message).with("Mcp-Session-Id", &session);
        let cancel = async {
            come_true(async || count(&server, "POST tools/call") == 1).await;
            let params = json!({"requestId": 1});
            let told =
                json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params});
            assert_eq!(served.ask(post(told)).await.status, 202);
        };
        // It takes one object for an answer.
        let (answer, ()) = tokio::join!(served.ask(post(call(1))), cancel);
        assert_eq!(answer.status, 400, "{answer:?}");
        assert!(answer.body.contains("was cancelled"), "{answer:?}");
        let ping = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"});
        assert_eq!(served.ask(post(ping)).await.status, 200);
    })
    .await;
}

#[tokio::test]
async fn a_session_that_its_client_ends_cancels_its_calls() {
    within_limit(async {
        let (server, _gate) = gated().await;
        let served = Served::start(vec![at("s", &server.url)]).await;
        let session = served.session().await;
        let mut stream = served.send(&of(&session, Raw::post(&call(1)))).await;
        come_true(async || count(&server, "POST tools/call") == 1).await;
        assert_eq!(served.ask(of(&session, Raw::new("DELETE", "/mcp"))).await.status, 204);
        come_true(async || count(&server, "POST notifications/cancelled") == 1).await;
        let mut rest = String::new();
        stream.read_to_string(&mut rest).await.expect("the stream ends");
        assert!(!rest.contains("\"result\""), "{rest}");
    })
    .await;
}
