//! Clients that go away: handlers dropped at each of their awaits, connections closed in the middle.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use moored::CancelScope;
use serde_json::{Value, json};

use crate::support::http::{Reply, Server, legacy};
use crate::support::{Raw, Served, at, come_true, fleet_server, initialize, options, within_limit};

pub(crate) fn request(
    message: &Value,
    modern: bool,
    session: Option<&str>,
) -> Request<Full<Bytes>> {
    sent(Request::post("/mcp"), message, modern, session)
}

fn sent(
    request: http::request::Builder,
    message: &Value,
    modern: bool,
    session: Option<&str>,
) -> Request<Full<Bytes>> {
    let mut request = request
        .header("host", "localhost")
        .header("accept", "application/json, text/event-stream")
        .header("content-type", "application/json");
    if modern {
        request = request
            .header("mcp-protocol-version", "2026-07-28")
            .header("mcp-method", message["method"].as_str().expect("a method"));
        let params = &message["params"];
        if let Some(name) = params["name"].as_str().or(params["uri"].as_str()) {
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

/// The way in which a future ends early.
#[derive(Debug, Clone, Copy, PartialEq)]
enum End {
    Dropped,
    /// By the cancellation of a scope around it.
    Cancelled,
}

/// Polls a future `polls` times and ends it; `true` if it was ready by then.
async fn cut_after<F: Future>(polls: usize, end: End, future: F) -> bool {
    let scope = CancelScope::new();
    let ask = scope.handle();
    let counted = async move {
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
        if end == End::Cancelled {
            ask.cancel();
            future.await;
        }
        false
    };
    scope.run(counted).await.unwrap_or(false)
}

/// Cuts `play` after 1, 2, 3, … polls, until it ends before the cut. After each cut `holds` has to become true.
async fn everywhere<F: Future>(play: impl Fn() -> F, holds: impl AsyncFn() -> bool) {
    for end in [End::Dropped, End::Cancelled] {
        let mut polls = 1;
        while !cut_after(polls, end, play()).await {
            come_true(&holds).await;
            // The first awaits are the gateway's own; later ones are most often the same wait again.
            polls += 1 + polls / 16;
            assert!(polls < 2_000, "it never comes to its end");
        }
        come_true(&holds).await;
    }
}

async fn whole(served: &Served, request: Request<Full<Bytes>>) {
    let answer = served.gateway.handle(request).await;
    let read: Result<_, Infallible> = answer.into_body().collect().await;
    read.expect("a body");
}

#[tokio::test]
async fn a_handler_that_is_dropped_at_any_await_leaves_nothing_behind() {
    within_limit(async {
        let served = Served::start(vec![fleet_server("s", &[])]).await;
        served.gateway.settled().await;
        let alive = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
        let session = served.session().await;
        come_true(async || served.gateway.servers().len() == 1).await;
        // A first request, so that tasks which start only once are running.
        served.ask(Raw::modern("tools/list", json!({}))).await;
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        let baseline = alive();
        let holds = async || alive() <= baseline;
        let list = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"});
        let notice = json!({"jsonrpc": "2.0", "method": "notifications/roots/list_changed"});
        let complete = json!({"jsonrpc": "2.0", "id": 1, "method": "prompts/get", "params": {"name": "s__none"}});
        let modern_list = json!({"jsonrpc": "2.0", "id": 1, "method": "resources/list", "params": {"_meta": call(true)["params"]["_meta"]}});
        for (message, modern) in [
            (call(true), true),
            // In the older era a client that disconnects has not cancelled its calls, so they come to their end.
            (call(false), false),
            (list, false),
            (notice, false),
            (complete, false),
            (modern_list, true),
        ] {
            let session = (!modern).then_some(session.as_str());
            everywhere(|| whole(&served, request(&message, modern, session)), holds).await;
        }
        assert!(served.gateway.close().await.all_well());
    })
    .await;
}

#[tokio::test]
async fn a_session_is_begun_whole_or_not_at_all() {
    within_limit(async {
        let mut few = options();
        few.sessions = 1;
        let served = Served::with(Vec::new(), few).await;
        let alive = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
        served.ask(Raw::modern("tools/list", json!({}))).await;
        let baseline = alive();
        for end in [End::Dropped, End::Cancelled] {
            for polls in 1.. {
                let id = std::cell::RefCell::new(None);
                let begin = async {
                    let answer = served.gateway.handle(request(&initialize(), false, None)).await;
                    let named = answer.headers().get("mcp-session-id");
                    *id.borrow_mut() = named.map(|id| id.to_str().expect("text").to_owned());
                };
                let begun = cut_after(polls, end, begin).await;
                if let Some(id) = id.take() {
                    let delete = Raw::new("DELETE", "/mcp").with("Mcp-Session-Id", &id);
                    assert_eq!(served.ask(delete).await.status, 204);
                }
                // There is room for a new one.
                come_true(async || {
                    let health = served.ask(Raw::new("GET", "/health")).await.message();
                    health["sessions"] == 0 && alive() <= baseline
                })
                .await;
                if begun {
                    break;
                }
            }
        }
        assert!(served.gateway.close().await.clean);
    })
    .await;
}

#[tokio::test]
async fn a_stream_of_a_session_that_is_dropped_at_any_poll_is_read_again() {
    within_limit(async {
        let served = Served::start(vec![fleet_server("s", &[])]).await;
        served.gateway.settled().await;
        let session = served.session().await;
        let alive = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
        let baseline = alive();
        let list = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"});
        let listen = async || {
            let get = sent(Request::get("/mcp"), &list, false, Some(&session));
            let answer = served.gateway.handle(get).await;
            // It never ends by itself.
            let _ = tokio::time::timeout(
                std::time::Duration::from_millis(20),
                answer.into_body().collect(),
            )
            .await;
        };
        everywhere(listen, async || alive() <= baseline).await;
        let delete = Raw::new("DELETE", "/mcp").with("Mcp-Session-Id", &session);
        assert_eq!(served.ask(delete).await.status, 204);
        assert!(served.gateway.close().await.all_well());
    })
    .await;
}

#[tokio::test]
async fn a_pipe_that_is_dropped_at_any_poll_leaves_nothing_behind() {
    use tokio::io::AsyncWriteExt;
    within_limit(async {
        let served = Served::start(vec![fleet_server("s", &[])]).await;
        served.gateway.settled().await;
        let alive = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
        let baseline = alive();
        let play = async || {
            let (mut ours, theirs) = tokio::io::duplex(64 * 1024);
            let (input, output) = tokio::io::split(theirs);
            let text = format!("{}\n{}\n", initialize(), call(false));
            ours.write_all(text.as_bytes()).await.expect("written");
            ours.shutdown().await.expect("closed");
            served.gateway.serve_pipe(input, output).await;
        };
        everywhere(play, async || alive() <= baseline).await;
        assert!(served.gateway.close().await.all_well());
    })
    .await;
}

#[tokio::test]
async fn a_close_of_a_gateway_is_cut_anywhere_and_goes_on() {
    within_limit(async {
        for end in [End::Dropped, End::Cancelled] {
            for polls in 1.. {
                let alive = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
                let baseline = alive();
                let served = Served::start(vec![fleet_server("s", &[])]).await;
                served.gateway.settled().await;
                let closed = cut_after(polls, end, served.gateway.close()).await;
                assert!(served.gateway.close().await.all_well(), "cut at {polls}");
                drop(served);
                come_true(async || alive() <= baseline).await;
                if closed {
                    break;
                }
                assert!(polls < 2_000, "it never comes to its end");
            }
        }
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
