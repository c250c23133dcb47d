//! Clients that go away: handlers dropped at each of their awaits, connections closed in the middle.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};

use crate::support::http::{Reply, Server, legacy};
use crate::support::{Raw, Served, at, come_true, fleet_server, initialize, within_limit};

fn request(message: &Value, modern: bool, session: Option<&str>) -> Request<Full<Bytes>> {
    let mut request = Request::post("/mcp")
        .header("host", "localhost")
        .header("accept", "application/json, text/event-stream")
        .header("content-type", "application/json");
    if modern {
        request = request
            .header("mcp-protocol-version", "2026-07-28")
            .header("mcp-method", message["method"].as_str().expect("a method"));
        if let Some(name) = message["params"]["name"].as_str() {
            request = request.header("mcp-name", name);
        }
    }
    if let Some(session) = session {
        request = request.header("mcp-session-id", session);
    }
    request.body(Full::from(message.to_string())).expect("a request")
}

fn call(modern: bool) -> Value {
    let meta = if modern {
        json!({
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {},
        })
    } else {
        json!({})
    };
    json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params":
        {"name": "s__echo", "arguments": {"message": "m"}, "_meta": meta}})
}

/// Polls a future `polls` times and drops it; `true` if it was ready by then.
async fn cut_after<F: Future>(polls: usize, future: F) -> bool {
    let mut future = pin!(future);
    for _ in 0..polls {
        let ready = poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx).is_ready())).await;
        if ready {
            return true;
        }
        // The pause lets the awaited event happen, so that the next poll comes to the next await.
        tokio::task::yield_now().await;
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    false
}

#[tokio::test]
async fn a_handler_that_is_dropped_at_any_await_leaves_nothing_behind() {
    within_limit(async {
        let served = Served::start(vec![fleet_server("s", &[])]).await;
        served.gateway.settled().await;
        let alive = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
        let session = served.session().await;
        come_true(async || served.gateway.servers().len() == 1).await;
        let baseline = {
            // A first request, so that tasks which start only once are running.
            served.ask(Raw::modern("tools/list", json!({}))).await;
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            alive()
        };
        for modern in [true, false] {
            let mut polls = 1;
            loop {
                let gateway = served.gateway.clone();
                let session = (!modern).then_some(session.as_str());
                let whole = async {
                    let answer = gateway.handle(request(&call(modern), modern, session)).await;
                    let read: Result<_, Infallible> = answer.into_body().collect().await;
                    read.expect("a body")
                };
                if cut_after(polls, whole).await {
                    break;
                }
                polls += 1;
                assert!(polls < 2_000, "it never comes to its end");
            }
            // In the older era a client that disconnects has not cancelled its calls, so they come to their end.
            come_true(async || alive() <= baseline).await;
        }
        // A session is ended if its client disconnects before it has the session's id.
        for polls in 1..4 {
            let begin = served.gateway.handle(request(&initialize(), false, None));
            let _cut_or_begun = cut_after(polls, begin).await;
        }
        let answer = served
            .ask(Raw::modern(
                "tools/call",
                json!({"name": "s__echo", "arguments": {"message": "m"}}),
            ))
            .await;
        assert_eq!(answer.message()["result"]["content"][0]["text"], "m");
        assert!(served.gateway.close().await.all_well());
    })
    .await;
}

#[tokio::test]
async fn a_connection_that_closes_cancels_a_call_of_the_newer_era_and_none_of_the_older() {
    within_limit(async {
        let server = Server::start(|request| match request.rpc.as_str() {
            "tools/call" => Reply::Hang,
            _ => legacy(request),
        })
        .await;
        let served = Served::start(vec![at("s", &server.url)]).await;
        let count = |what: &'static str| server.log().iter().filter(|line| *line == what).count();
        // The connection is closed before the stream has begun, then after.
        for (round, wait) in [(1, 0), (2, 1_300)] {
            let stream = served.send(&Raw::modern("tools/call", json!({"name": "s__echo"})).with("Accept", "text/event-stream")).await;
            come_true(async || count("POST tools/call") == round).await;
            tokio::time::sleep(std::time::Duration::from_millis(wait)).await;
            drop(stream);
            come_true(async || count("POST notifications/cancelled") == round).await;
        }
        let session = served.session().await;
        let call = Raw::post(&call(false)).with("Mcp-Session-Id", &session).with("Accept", "text/event-stream");
        let stream = served.send(&call).await;
        come_true(async || count("POST tools/call") == 3).await;
        drop(stream);
        // The notification that does cancel it shows that the closed connection did not.
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        assert_eq!(count("POST notifications/cancelled"), 2);
        let cancel = json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}});
        let told = served.ask(Raw::post(&cancel).with("Mcp-Session-Id", &session)).await;
        assert_eq!(told.status, 202);
        come_true(async || count("POST notifications/cancelled") == 3).await;
    })
    .await;
}
