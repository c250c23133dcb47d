//! Requests and notifications of servers while they work: they go to the client for which the server works, in any
//! combination of eras.

use std::time::Duration;

use moored_mcp::ServerParams;
use rmcp::model::{CallToolRequestParams, ProtocolVersion};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::clients::{all, arguments, eras, over_http};
use crate::support::asker::Asker;
use crate::support::{
    Raw, Served, Serving, at, come_true, initialize, options, real, within_limit,
};

pub(crate) const ELICIT: &str = "elicitation/create";

pub(crate) fn form(message: &str) -> Value {
    json!({"message": message, "requestedSchema": {"type": "object", "properties": {}}})
}

/// A server that asks, of the older era or of the newer one.
pub(crate) async fn asker(name: &str, modern: bool) -> (ServerParams, Serving) {
    let legacy = ProtocolVersion::known_up_to(&ProtocolVersion::LATEST_WITH_INITIALIZE);
    let versions = if modern { ProtocolVersion::KNOWN_VERSIONS } else { legacy };
    // The notifications that it gets are not needed.
    let (heard, _) = mpsc::unbounded_channel();
    let server = real(Asker { versions, heard }).await;
    (at(name, &server.url), server)
}

/// The arguments that make such a server ask.
pub(crate) fn asking(modern: bool, method: &str, params: Value) -> Value {
    if modern {
        json!({"wanted": {"k": {"method": method, "params": params}}})
    } else {
        json!({"method": method, "params": params})
    }
}

/// The reply that the server got, from any place in its result.
fn got(modern: bool, result: &Value) -> Value {
    let said = &result["structuredContent"];
    if modern { said["responses"]["k"].clone() } else { said["result"].clone() }
}

#[tokio::test]
async fn a_question_of_a_server_reaches_the_client_whose_call_it_works_on() {
    within_limit(async {
        for modern in [false, true] {
            let (server, _task) = asker("s", modern).await;
            let served = Served::start(vec![server]).await;
            for (what, client, _) in all(&served).await {
                let call = async |args: Value| {
                    let call = CallToolRequestParams::new("s__ask").with_arguments(arguments(args));
                    let result = client.call_tool(call).await.expect("a result");
                    got(modern, &serde_json::to_value(result).expect("JSON"))
                };
                let said = call(asking(modern, ELICIT, form(what))).await;
                assert_eq!(said, json!({"action": "accept", "content": {"to": what}}), "{what}");
                let sample = json!({"messages": [{"role": "user", "content": {"type": "text", "text": "?"}}], "maxTokens": 9});
                let said = call(asking(modern, "sampling/createMessage", sample)).await;
                assert_eq!(said["content"]["text"], "said", "{what}: {said}");
                let said = call(asking(modern, "roots/list", json!({}))).await;
                assert_eq!(said["roots"][0]["uri"], "file:///root", "{what}: {said}");
            }
            assert!(served.gateway.close().await.clean);
        }
    })
    .await;
}

#[tokio::test]
async fn several_clients_at_once_are_asked_their_own_questions() {
    within_limit(async {
        let (server, _task) = asker("s", false).await;
        let served = Served::start(vec![server]).await;
        let clients = all(&served).await;
        let calls = clients.iter().map(|(what, client, _)| async move {
            let args = arguments(asking(false, ELICIT, form(what)));
            let result =
                client.call_tool(CallToolRequestParams::new("s__ask").with_arguments(args)).await;
            let result = serde_json::to_value(result.expect("a result")).expect("JSON");
            assert_eq!(got(false, &result)["content"]["to"], *what, "{result}");
        });
        futures_util::future::join_all(calls).await;
    })
    .await;
}

/// A request of the newer era by a client that answers questions.
fn able(params: Value) -> Raw {
    let mut params = params;
    params["name"] = json!("s__ask");
    let raw = Raw::modern("tools/call", params.clone());
    params["_meta"]["io.modelcontextprotocol/protocolVersion"] = json!("2026-07-28");
    params["_meta"]["io.modelcontextprotocol/clientCapabilities"] = json!({"elicitation": {}});
    raw.saying(
        json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}).to_string(),
    )
}

#[tokio::test]
async fn a_request_that_waits_for_input_goes_on_once_and_for_nobody_else() {
    within_limit(async {
        let (server, _task) = asker("s", false).await;
        let served = Served::start(vec![server]).await;
        let args = asking(false, ELICIT, form("who"));
        let first = served.ask(able(json!({"arguments": args}))).await.message();
        let asked = &first["result"];
        assert_eq!(asked["resultType"], "input_required", "{first}");
        let (key, request) =
            asked["inputRequests"].as_object().and_then(|it| it.iter().next()).expect("a question");
        assert_eq!(
            (&request["method"], &request["params"]["message"]),
            (&json!(ELICIT), &json!("who"))
        );
        let state = asked["requestState"].as_str().expect("a state");

        let again = |args: Value| {
            let said = json!({"action": "accept", "content": {"name": "n"}});
            able(json!({"arguments": args, "requestState": state, "inputResponses": {(key): said}}))
        };
        let code =
            async |request: Raw| served.ask(request).await.message()["error"]["code"].clone();
        assert_eq!(code(again(json!({"other": 1}))).await, -32602, "another request");
        let stranger = again(args.clone()).with("Authorization", "Bearer other");
        assert_eq!(code(stranger).await, -32602, "another client");
        let last = served.ask(again(args.clone())).await.message();
        let said = got(false, &last["result"]);
        assert_eq!(said, json!({"action": "accept", "content": {"name": "n"}}), "{last}");
        assert_eq!(code(again(args)).await, -32602, "once more");
    })
    .await;
}

#[tokio::test]
async fn requests_that_wait_have_a_number_and_a_time() {
    within_limit(async {
        let (server, _task) = asker("s", false).await;
        let mut limited = options();
        (limited.parked, limited.parked_for) = (1, Duration::from_millis(300));
        let served = Served::with(vec![server], limited).await;
        let args = asking(false, ELICIT, form("who"));
        let ask = async || served.ask(able(json!({"arguments": args}))).await.message();
        let first = ask().await;
        let state = first["result"]["requestState"].as_str().expect("a state").to_owned();
        let second = ask().await;
        assert!(
            second["error"]["message"].as_str().is_some_and(|it| it.contains("too many")),
            "{second}"
        );
        // The place is free again when the time of the first one is over.
        come_true(async || ask().await["result"]["requestState"].is_string()).await;
        let late =
            served.ask(able(json!({"arguments": args, "requestState": state}))).await.message();
        assert_eq!(late["error"]["code"], -32602, "{late}");
        // Requests that still wait are cancelled.
        assert!(served.gateway.close().await.clean);
    })
    .await;
}

#[tokio::test]
async fn a_client_that_answers_nothing_is_not_asked_and_the_server_is_told() {
    within_limit(async {
        let (server, _task) = asker("s", false).await;
        let served = Served::start(vec![server]).await;
        let args = asking(false, ELICIT, form("who"));
        let call = Raw::modern("tools/call", json!({"name": "s__ask", "arguments": args}));
        let answer = served.ask(call).await.message();
        let said = &answer["result"]["structuredContent"]["error"];
        assert!(said.as_str().is_some_and(|it| it.contains("does not answer")), "{answer}");

        // A client of the older era that takes one object for an answer cannot be asked by it.
        let mut hello = initialize();
        hello["params"]["capabilities"] = json!({"elicitation": {}});
        let begun = served.ask(Raw::post(&hello)).await;
        let session = begun.header("mcp-session-id").expect("a session").to_owned();
        let call = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call",
            "params": {"name": "s__ask", "arguments": asking(false, ELICIT, form("who"))}});
        let answer = served.ask(Raw::post(&call).with("Mcp-Session-Id", &session)).await.message();
        let said = &answer["result"]["structuredContent"]["error"];
        assert!(said.as_str().is_some_and(|it| it.contains("one JSON object")), "{answer}");
    })
    .await;
}

#[tokio::test]
async fn a_server_of_the_newer_era_reads_what_the_client_of_the_request_can_do() {
    within_limit(async {
        let (heard, mut hears) = mpsc::unbounded_channel();
        let server = real(Asker { versions: ProtocolVersion::KNOWN_VERSIONS, heard }).await;
        let served = Served::start(vec![at("s", &server.url)]).await;
        let call = Raw::modern("tools/call", json!({"name": "s__ask"}));
        served.ask(call).await;
        assert_eq!(hears.recv().await.expect("heard")["capabilities"], json!({}));
        served.ask(able(json!({}))).await;
        let told = hears.recv().await.expect("heard");
        assert_eq!(told["capabilities"], json!({"elicitation": {}}));

        // A client of the older era has said it at its beginning, and can be asked only on a stream.
        let mut hello = initialize();
        hello["params"]["capabilities"] = json!({"sampling": {}, "experimental": {"x": {}}});
        let begun = served.ask(Raw::post(&hello)).await;
        let session = begun.header("mcp-session-id").expect("a session").to_owned();
        let call = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "s__ask"}});
        for (accept, can) in [
            ("application/json, text/event-stream", json!({"sampling": {}})),
            ("application/json", json!({})),
        ] {
            let call = Raw::post(&call).with("Mcp-Session-Id", &session).with("Accept", accept);
            served.ask(call).await;
            assert_eq!(hears.recv().await.expect("heard")["capabilities"], can, "{accept}");
        }
    })
    .await;
}

#[tokio::test]
async fn log_messages_reach_the_client_with_the_name_of_their_server() {
    within_limit(async {
        let (server, _task) = asker("s", false).await;
        let served = Served::start(vec![server]).await;
        let (client, noting) = over_http(&served, eras()[0].clone()).await;
        let tell = arguments(json!({"tell": "notifications/message"}));
        let call = || CallToolRequestParams::new("s__ask").with_arguments(tell.clone());
        client.call_tool(call()).await.expect("a result");
        come_true(async || noting.log.lock().len() == 3).await;
        assert!(noting.log.lock().iter().all(|(logger, _)| logger == "s"));

        // In the newer era a request names the level of the log messages that it wants.
        let mut quiet = json!({"name": "s__ask", "arguments": {"tell": "notifications/message"}});
        let heard = async |params: &Value| {
            let request =
                Raw::modern("tools/call", params.clone()).with("Accept", "text/event-stream");
            let messages = served.ask(request).await.messages();
            let told = messages.into_iter().filter(|it| it["method"] == "notifications/message");
            told.map(|it| it["params"].clone()).collect::<Vec<_>>()
        };
        assert_eq!(heard(&quiet).await, Vec::<Value>::new());
        quiet["_meta"]["io.modelcontextprotocol/logLevel"] = json!("warning");
        assert_eq!(heard(&quiet).await, Vec::<Value>::new());
        quiet["_meta"]["io.modelcontextprotocol/logLevel"] = json!("info");
        // The server's notifications and its answer take different ways, so only those that come in time are required.
        for told in heard(&quiet).await {
            assert_eq!(
                (&told["logger"], &told["x"]["kept"]),
                (&json!("s"), &json!(true)),
                "{told}"
            );
        }
    })
    .await;
}

#[tokio::test]
async fn a_server_that_waits_for_its_client_is_not_slow() {
    within_limit(async {
        let (server, _task) = asker("s", false).await;
        let served = Served::start(vec![server.call_timeout(Duration::from_millis(300))]).await;
        for (what, client, _) in all(&served).await {
            let args = arguments(asking(false, ELICIT, form("slow")));
            let call = CallToolRequestParams::new("s__ask").with_arguments(args);
            let result = client.call_tool(call).await.expect("a result");
            let result = serde_json::to_value(result).expect("JSON");
            assert_eq!(got(false, &result)["content"]["to"], "slow", "{what}: {result}");
        }
    })
    .await;
}
