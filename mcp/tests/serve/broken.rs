//! Messages of clients and of servers that are broken, incomplete, or for somebody else.

use serde_json::{Value, json};
use tokio::io::AsyncReadExt;

use crate::begins::Line;
use crate::relay::{ELICIT, asker, asking, form};
use crate::support::http::{End, Reply, Server, legacy};
use crate::support::{Raw, Served, at, initialize, options, within_limit};

/// `initialize` of a client that answers questions.
fn able() -> Value {
    let mut hello = initialize();
    hello["params"]["capabilities"] = json!({"elicitation": {}, "roots": {"listChanged": true}});
    hello
}

/// A call whose server asks the client.
fn asks(id: u64) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "method": "tools/call",
        "params": {"name": "s__ask", "arguments": asking(false, ELICIT, form("who"))}})
}

/// Answers to the question `id` that nobody can read.
fn broken_answers(id: &Value) -> Vec<String> {
    vec![
        json!({"jsonrpc": "2.0", "id": id, "error": {}}).to_string(),
        json!({"jsonrpc": "2.0", "id": id, "error": {"code": "x", "message": "m"}}).to_string(),
        json!({"id": id, "result": {}}).to_string(),
        json!([{"jsonrpc": "2.0", "id": id, "result": {}}]).to_string(),
        format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"x":1,}}}}"#),
        json!({"jsonrpc": "2.0", "id": id, "result": {"x": "x".repeat(2_000)}}).to_string(),
        format!(r#"{{"result":{{"x":"{}"}},"id":{id}}}"#, "x".repeat(2_000)),
    ]
}

fn says(result: &Value, what: &str) -> bool {
    let said = &result["result"]["structuredContent"]["error"];
    said.as_str().is_some_and(|it| it.contains(what))
}

#[tokio::test]
async fn a_broken_answer_over_a_pipe_fails_its_question_and_no_request() {
    within_limit(async {
        let (server, _task) = asker("s", false).await;
        let mut limited = options();
        limited.body_limit = 1_000;
        let served = Served::with(vec![server], limited).await;
        let mut client = Line::to(&served.gateway, 65_536);
        client.send(&able()).await;
        client.until(|it| it["id"] == 0).await;
        for kind in 0..broken_answers(&json!(0)).len() {
            client.send(&asks(100)).await;
            let question = loop {
                let message = client.next().await;
                if message["method"] == ELICIT {
                    break message["id"].clone();
                }
            };
            let broken = broken_answers(&question).remove(kind);
            client.say(&broken).await;
            let answer = loop {
                let message = client.next().await;
                assert!(message["id"] != question, "{broken}: {message}");
                if message["id"] == 100 {
                    break message;
                }
            };
            assert!(says(&answer, "cannot be read"), "{broken}: {answer}");
        }
        assert!(served.gateway.close().await.clean);
    })
    .await;
}

#[tokio::test]
async fn a_broken_answer_over_http_fails_its_question_and_is_refused() {
    within_limit(async {
        let (server, _task) = asker("s", false).await;
        let mut limited = options();
        limited.body_limit = 1_000;
        let served = Served::with(vec![server], limited).await;
        let begun = served.ask(Raw::post(&able())).await;
        let session = begun.header("mcp-session-id").expect("a session").to_owned();
        for kind in 0..broken_answers(&json!(0)).len() {
            let call = Raw::post(&asks(100)).with("Accept", "application/json, text/event-stream");
            let mut stream = served.send(&call.with("Mcp-Session-Id", &session)).await;
            let mut text = String::new();
            let question: Value = loop {
                let data = text.split_once("data: {").and_then(|(_, it)| it.split_once("\n\n"));
                if let Some((data, _)) = data {
                    let message = serde_json::from_str::<Value>(&format!("{{{data}"));
                    break message.expect("a message")["id"].clone();
                }
                let mut some = [0; 512];
                let read = stream.read(&mut some).await.expect("open");
                text.push_str(&String::from_utf8_lossy(&some[..read]));
            };
            let broken = broken_answers(&question).remove(kind);
            let status = if broken.len() > 1_000 { 413 } else { 400 };
            let answer = Raw::post(&json!(0)).saying(&broken).with("Mcp-Session-Id", &session);
            // Not all of them tell their length beforehand.
            let answer = match kind % 2 {
                0 => answer,
                _ => answer
                    .with("Transfer-Encoding", "chunked")
                    .saying(format!("{:x}\r\n{broken}\r\n0\r\n\r\n", broken.len())),
            };
            let refused = served.ask(answer).await;
            assert_eq!(refused.status, status, "{broken}: {refused:?}");
            assert_eq!(refused.message()["id"], Value::Null, "{refused:?}");
            stream.read_to_string(&mut text).await.expect("the stream ends");
            assert!(text.contains("the client's answer cannot be read"), "{broken}: {text}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_notification_without_parameters_has_none_that_are_null() {
    within_limit(async {
        let (told, mut heard) = tokio::sync::mpsc::unbounded_channel();
        let server = Server::start(move |request| match request.rpc.as_str() {
            "notifications/roots/list_changed" => {
                let _nobody_listens = told.send(request.params.clone());
                Reply::status(202)
            }
            "tools/call" => {
                // A server of the older era has them from the handshake.
                let meta = &request.params["_meta"];
                assert!(meta.get("io.modelcontextprotocol/clientCapabilities").is_none(), "{meta}");
                let told = json!({"jsonrpc": "2.0", "method": "notifications/vendor"});
                let answer = json!({"jsonrpc": "2.0", "id": request.id, "result": {"content": []}});
                let text = format!("data: {told}\n\ndata: {answer}\n\n");
                Reply::events(text, End::Whole).with("content-type", "text/event-stream")
            }
            _ => legacy(request),
        })
        .await;
        let served = Served::start(vec![at("s", &server.url)]).await;
        served.gateway.settled().await;
        let mut client = Line::to(&served.gateway, 65_536);
        client.send(&able()).await;
        client.until(|it| it["id"] == 0).await;
        for method in ["notifications/initialized", "notifications/roots/list_changed"] {
            client.send(&json!({"jsonrpc": "2.0", "method": method})).await;
        }
        // A parameter that is `null` and one that is not there look the same here, and an object is neither.
        assert_eq!(heard.recv().await, Some(json!({})));
        let call = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "s__echo"}});
        client.send(&call).await;
        loop {
            let message = client.next().await;
            if message["method"] == "notifications/vendor" {
                assert_eq!(message["params"], json!({}), "{message}");
                break;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_servers_error_has_a_code_that_means_the_same_to_the_client() {
    within_limit(async {
        let server = Server::start(|request| match request.rpc.as_str() {
            "tools/call" => Reply::json(json!({"jsonrpc": "2.0", "id": request.id,
                "error": {"code": request.params["arguments"]["code"], "message": "m", "data": {"d": 1}}})),
            _ => legacy(request),
        })
        .await;
        let served = Served::start(vec![at("s", &server.url)]).await;
        let session = served.session().await;
        for (code, newer, older) in [
            (-32002, -32602, -32002),
            (-32042, -32603, -32042),
            (-32020, -32603, -32603),
            (-32022, -32603, -32603),
            (-32602, -32602, -32602),
            (-32000, -32000, -32000),
            (7, 7, 7),
        ] {
            let params = json!({"name": "s__echo", "arguments": {"code": code}});
            let answer = served.ask(Raw::modern("tools/call", params.clone())).await;
            let error = &answer.message()["error"];
            assert_eq!((answer.status, error["code"].as_i64()), (200, Some(newer)), "{answer:?}");
            assert_eq!((&error["message"], &error["data"]["d"]), (&json!("m"), &json!(1)));
            let call = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params});
            let answer = served.ask(Raw::post(&call).with("Mcp-Session-Id", &session)).await;
            assert_eq!(answer.message()["error"]["code"], older, "{answer:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_request_of_the_newer_era_with_bad_fields_is_told_which() {
    within_limit(async {
        let served = Served::start(Vec::new()).await;
        let call =
            || json!({"name": "s__echo", "_meta": {"io.modelcontextprotocol/logLevel": "loud"}});
        for (what, request, status, code) in [
            // A client that reads of an unknown method would not listen any more.
            ("no filter", Raw::modern("subscriptions/listen", json!({})), 200, -32602),
            (
                "no filter that can be read",
                Raw::modern(
                    "subscriptions/listen",
                    json!({"notifications": {"resourceSubscriptions": "x"}}),
                ),
                200,
                -32602,
            ),
            ("no level", Raw::modern("tools/call", call()), 200, -32602),
            (
                "a method of the older era alone",
                Raw::modern("logging/setLevel", json!({})),
                404,
                -32601,
            ),
            ("another one", Raw::modern("resources/unsubscribe", json!({})), 404, -32601),
            ("a method of both eras", Raw::modern("tools/call", json!({})), 200, -32602),
            // Only three methods have a name in their headers.
            (
                "a method of the older era",
                Raw::modern("resources/subscribe", json!({"uri": "file:///r"})).without("Mcp-Name"),
                404,
                -32601,
            ),
        ] {
            let answer = served.ask(request).await;
            let error = &answer.message()["error"]["code"];
            assert_eq!((answer.status, error.as_i64()), (status, Some(code)), "{what}: {answer:?}");
        }
        let read = Raw::modern("resources/read", json!({"uri": "file:///r"}));
        let error = served.ask(read).await.message()["error"].take();
        assert_eq!((&error["code"], &error["data"]["uri"]), (&json!(-32602), &json!("file:///r")));
    })
    .await;
}
