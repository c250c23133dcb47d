//! Requests through the gateway: they are passed on unchanged, and if a server is not connected the answer has the
//! reason.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::http::{Reply, Server, legacy};
use crate::support::{Raw, Served, at, fleet_server, options, shell, within_limit};

/// Sends a request of the newer era, and returns its result.
async fn result(served: &Served, method: &str, params: Value) -> Value {
    let answer = served.ask(Raw::modern(method, params)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.message()["result"].take()
}

#[tokio::test]
async fn fields_that_nobody_knows_come_through_in_lists_and_results() {
    within_limit(async {
        let tool = json!({"name": "t", "inputSchema": {"type": "object", "x-more": [1]}, "x-vendor": {"a": null}});
        let reply = json!({"content": [{"type": "text", "text": "t", "x": 1}], "x-result": true, "_meta": {"m": 1}});
        let (listed, answered) = (tool.clone(), reply.clone());
        let server = Server::start(move |request| {
            let answer = |value: Value| Reply::json(json!({"jsonrpc": "2.0", "id": request.id, "result": value}));
            match request.rpc.as_str() {
                "tools/list" => answer(json!({"tools": [listed]})),
                "tools/call" => {
                    let mut reply = answered.clone();
                    reply["_meta"]["asked"] = request.params["_meta"]["word"].clone();
                    reply["asked"] = request.params["name"].clone();
                    answer(reply)
                }
                _ => legacy(request),
            }
        })
        .await;
        let served = Served::start(vec![at("s", &server.url)]).await;
        let list = result(&served, "tools/list", json!({})).await;
        let mut hooked = tool;
        hooked["name"] = json!("s__t");
        assert_eq!(list, json!({"tools": [hooked], "resultType": "complete", "ttlMs": 0, "cacheScope": "private"}));

        let called = result(&served, "tools/call", json!({"name": "s__t", "_meta": {"word": "w"}})).await;
        let mut expected = reply;
        (expected["_meta"]["asked"], expected["asked"]) = (json!("w"), json!("t"));
        expected["resultType"] = json!("complete");
        assert_eq!(called, expected);
    })
    .await;
}

#[tokio::test]
async fn prompts_resources_and_completions_are_asked_for_by_their_names() {
    within_limit(async {
        let served = Served::start(vec![fleet_server("a", &[]), fleet_server("b", &[])]).await;
        let prompts = result(&served, "prompts/list", json!({})).await;
        let names: Vec<_> =
            prompts["prompts"].as_array().expect("a list").iter().map(|it| &it["name"]).collect();
        assert_eq!(names, ["a__greeting", "b__greeting"]);
        let prompt = result(&served, "prompts/get", json!({"name": "b__greeting"})).await;
        assert!(prompt["messages"][0]["content"]["text"].is_string(), "{prompt}");
        let resources = result(&served, "resources/list", json!({})).await;
        assert_eq!(resources["resources"][0]["uri"], "fleet://about");
        let read = result(&served, "resources/read", json!({"uri": "fleet://about"})).await;
        assert_eq!(
            (&read["contents"][0]["uri"], &read["ttlMs"]),
            (&json!("fleet://about"), &json!(0))
        );
        let templates = result(&served, "resources/templates/list", json!({})).await;
        assert_eq!(templates["resourceTemplates"], json!([]));
        let page = served.ask(Raw::modern("tools/list", json!({"cursor": "2"}))).await.message();
        assert_eq!(page["error"]["code"], -32602);
    })
    .await;
}

/// A server of the older era that introduces itself with these instructions.
async fn instructing(text: &'static str) -> Server {
    Server::start(move |request| match request.rpc.as_str() {
        "initialize" => {
            let result = json!({
                "protocolVersion": "2025-11-25", "capabilities": {"tools": {}},
                "serverInfo": {"name": "s", "version": "1"}, "instructions": text,
            });
            Reply::json(json!({"jsonrpc": "2.0", "id": request.id, "result": result}))
        }
        _ => legacy(request),
    })
    .await
}

#[tokio::test]
async fn the_instructions_of_the_connected_servers_reach_the_client() {
    within_limit(async {
        let (kind, mute) = (instructing("Be kind.").await, Server::start(legacy).await);
        let slow = Server::start(|request| match request.verb.as_str() {
            "POST" => Reply::Hang,
            _ => legacy(request),
        })
        .await;
        let brief = instructing(" Be brief. ").await;
        let servers = [at("b", &kind.url), at("mute", &mute.url), at("a", &brief.url)];
        let wanted = "Instructions of the server \"b\":\n\nBe kind.\n\nInstructions of the server \"a\":\n\nBe brief.";
        for down in [None, Some(at("slow", &slow.url)), Some(shell("dead", "exit 7"))] {
            let served = Served::start(servers.iter().cloned().chain(down).collect()).await;
            let began = std::time::Instant::now();
            let older = served.ask(Raw::post(&crate::support::initialize())).await.message();
            assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
            assert_eq!(older["result"]["instructions"], wanted, "{older}");
            let newer = result(&served, "server/discover", json!({})).await;
            assert_eq!(newer["instructions"], wanted, "{newer}");
            served.gateway.close().await;
        }
        let served = Served::start(vec![at("mute", &mute.url)]).await;
        let none = served.ask(Raw::post(&crate::support::initialize())).await.message();
        assert_eq!(none["result"].get("instructions"), None, "{none}");
    })
    .await;
}

/// 404 is for a method that the endpoint does not have. The error of a server behind it is in the answer.
#[tokio::test]
async fn a_method_that_only_a_server_does_not_know_is_no_404() {
    within_limit(async {
        let server = Server::start(|request| match request.rpc.as_str() {
            "tools/call" => {
                let error = json!({"code": -32601, "message": "no such tool here"});
                Reply::json(json!({"jsonrpc": "2.0", "id": request.id, "error": error}))
            }
            _ => legacy(request),
        })
        .await;
        let served = Served::start(vec![at("s", &server.url)]).await;
        for accept in ["application/json", "application/json, text/event-stream"] {
            let call = Raw::modern("tools/call", json!({"name": "s__echo"}));
            let answer = served.ask(call.with("Accept", accept)).await;
            assert_eq!(answer.status, 200, "{answer:?}");
            assert_eq!(answer.message()["error"]["code"], -32601, "{answer:?}");
            let other = Raw::modern("no/such", json!({})).with("Accept", accept);
            assert_eq!(served.ask(other).await.status, 404);
        }
    })
    .await;
}

#[tokio::test]
async fn a_call_of_a_dead_server_is_answered_with_the_true_cause() {
    within_limit(async {
        let free = tokio::net::TcpSocket::new_v4().expect("a socket");
        free.bind(([127, 0, 0, 1], 0).into()).expect("a port that refuses");
        let url = format!("http://{}/mcp", free.local_addr().expect("its address"));
        let exits = shell("exits", "echo 'Error: no licence' >&2; exit 7");
        let servers = vec![at("dead", &url), exits, fleet_server("good", &[])];
        let served = Served::start(servers).await;
        let called = result(&served, "tools/call", json!({"name": "dead__any"})).await;
        assert_eq!(called["isError"], true, "{called}");
        let text = called["content"][0]["text"].as_str().expect("a text");
        assert!(text.contains("\"dead\"") && text.contains("Connection refused"), "{text}");

        let called = result(&served, "tools/call", json!({"name": "exits/any"})).await;
        let text = called["content"][0]["text"].as_str().expect("a text");
        assert!(text.contains("status 7"), "{text}");

        // The name belongs to no server by its form, so the answer names the servers that are not connected.
        let unknown = served.ask(Raw::modern("tools/call", json!({"name": "any"}))).await.message();
        assert_eq!(unknown["error"]["code"], -32602, "{unknown}");
        let text = unknown["error"]["message"].as_str().expect("a text");
        assert!(text.contains("Connection refused") && text.contains("status 7"), "{text}");

        let prompt =
            served.ask(Raw::modern("prompts/get", json!({"name": "dead__any"}))).await.message();
        let text = prompt["error"]["message"].as_str().expect("a text");
        assert!(text.contains("Connection refused"), "{prompt}");
        // The other servers are not affected.
        let called = result(
            &served,
            "tools/call",
            json!({"name": "good__echo", "arguments": {"message": "m"}}),
        )
        .await;
        assert_eq!(called["content"][0]["text"], "m");
    })
    .await;
}

#[tokio::test]
async fn a_servers_own_error_is_passed_on_and_a_slow_tool_has_a_limit() {
    within_limit(async {
        let server = Server::start(|request| {
            match (request.rpc.as_str(), request.params["arguments"]["slow"].as_bool()) {
                ("tools/call", Some(true)) => Reply::Hang,
                ("tools/call", _) => Reply::json(json!({"jsonrpc": "2.0", "id": request.id,
                "error": {"code": -32050, "message": "no", "data": {"why": [1]}}})),
                _ => legacy(request),
            }
        })
        .await;
        let slow = at("s", &server.url).call_timeout(Duration::from_millis(600));
        let served = Served::start(vec![slow]).await;
        let refused =
            served.ask(Raw::modern("tools/call", json!({"name": "s__echo"}))).await.message();
        assert_eq!(
            refused["error"],
            json!({"code": -32050, "message": "no", "data": {"why": [1]}})
        );
        let late =
            result(&served, "tools/call", json!({"name": "s__echo", "arguments": {"slow": true}}))
                .await;
        assert!(
            late["isError"] == true
                && late["content"][0]["text"].as_str().is_some_and(|it| it.contains("600ms")),
            "{late}"
        );
    })
    .await;
}

#[tokio::test]
async fn a_list_waits_for_servers_on_their_way_up_and_no_longer_than_it_may() {
    within_limit(async {
        let dir = tempfile::tempdir().expect("a directory");
        let flag = dir.path().join("flag");
        // The server answers nothing until the flag exists.
        let binary = env!("CARGO_BIN_EXE_moored-mcp");
        let waits = format!(
            "until [ -e {} ]; do sleep 0.02; done; exec {binary} fleet-server",
            flag.display()
        );
        let mut impatient = options();
        impatient.settle = Duration::from_millis(150);
        let served =
            Served::with(vec![fleet_server("a", &[]), shell("late", &waits)], impatient).await;
        let listed = async || {
            let list = result(&served, "tools/list", json!({})).await;
            list["tools"].as_array().expect("a list").len()
        };
        // On a loaded machine the other server takes longer than a list waits.
        crate::support::come_true(async || listed().await == 3).await;
        let called = result(&served, "tools/call", json!({"name": "late__echo"})).await;
        let text = called["content"][0]["text"].as_str().expect("a text");
        assert!(text.contains("on its way up"), "{text}");
        std::fs::write(&flag, "").expect("written");
        served.gateway.settled().await;
        crate::support::come_true(async || listed().await == 6).await;
    })
    .await;
}
