//! Streams of notices whose server is away for a while: the session goes on without them, and gets them back.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use moored_mcp::{ComponentKind, Event, EventKind};
use serde_json::{Value, json};
use tokio::sync::broadcast::Receiver;

use crate::support::http::{Feed, Reply, Request, Server, legacy, modern};
use crate::support::{at, brisk_group, event, within_limit};

fn changed() -> Value {
    json!({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"})
}

/// A page of one tool, whose name is new each time.
fn page(request: &Request, listed: &AtomicUsize) -> Reply {
    let name = format!("t{}", listed.fetch_add(1, Ordering::Relaxed));
    let tool = json!({"name": name, "inputSchema": {"type": "object"}});
    let fields =
        json!({"resultType": "complete", "tools": [tool], "ttlMs": 0, "cacheScope": "private"});
    Reply::json(json!({"jsonrpc": "2.0", "id": request.id, "result": fields}))
}

/// A server of either era, whose stream of notices answers with `refusal` for the first `times` times.
async fn server(is_modern: bool, times: usize, refusal: Reply, feed: &Feed) -> Server {
    let (feed, listed, asked) = (feed.clone(), AtomicUsize::new(0), AtomicUsize::new(0));
    let is_away = move || asked.fetch_add(1, Ordering::Relaxed) < times;
    Server::start(move |request| match (request.verb.as_str(), request.rpc.as_str()) {
        (_, "server/discover") if is_modern => Reply::json(json!({
            "jsonrpc": "2.0",
            "id": request.id,
            "result": {
                "resultType": "complete",
                "supportedVersions": ["2026-07-28"],
                "capabilities": {"tools": {"listChanged": true}},
                "ttlMs": 0,
                "cacheScope": "private",
            },
        })),
        (_, "tools/list") => page(request, &listed),
        ("GET", _) | (_, "subscriptions/listen") if is_away() => refusal.clone(),
        ("GET", _) => Reply::Fed(feed.clone()),
        (_, "subscriptions/listen") => {
            feed.push(&json!({
                "jsonrpc": "2.0",
                "method": "notifications/subscriptions/acknowledged",
                "params": {
                    "notifications": request.params["notifications"],
                    "_meta": {"io.modelcontextprotocol/subscriptionId": request.id},
                },
            }));
            Reply::Fed(feed.clone())
        }
        _ if is_modern => modern(request),
        _ => legacy(request),
    })
    .await
}

async fn change(events: &mut Receiver<Event>) {
    event(events, |kind| match kind {
        EventKind::ListChanged { kind: ComponentKind::Tool, .. } => Some(()),
        _ => None,
    })
    .await;
}

fn asked(server: &Server) -> usize {
    let is_it = |line: &&String| line.starts_with("GET") || line.ends_with("/listen");
    server.log().iter().filter(is_it).count()
}

/// Lets time pass, five seconds in each round, until `is_done` or `most` seconds are over; returns the seconds.
async fn passes(most: u64, is_done: impl Fn() -> bool) -> u64 {
    let mut seconds = 0;
    while !is_done() && seconds < most {
        seconds += 5;
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(5)).await;
        tokio::time::resume();
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    seconds
}

#[tokio::test]
async fn a_stream_that_is_refused_for_a_moment_at_the_beginning_is_opened_later() {
    for is_modern in [false, true] {
        // A connection that is closed without an answer is tried once more at once, on another connection.
        for (times, refusal) in
            [(1, Reply::status(503)), (1, Reply::status(429)), (2, Reply::Reset)]
        {
            within_limit(async {
                let feed = Feed::new();
                let server = server(is_modern, times, refusal, &feed).await;
                let group = brisk_group();
                let mut events = group.events();
                group.connect(at("s", &server.url)).await.expect("up");
                feed.streams(1).await;
                change(&mut events).await;
                feed.push(&changed());
                change(&mut events).await;
                assert!(group.close().await.all_well());
            })
            .await;
        }
    }
}

#[tokio::test]
async fn a_stream_that_is_away_for_ten_minutes_comes_back() {
    for is_modern in [false, true] {
        let feed = Feed::new();
        let server = server(is_modern, 20, Reply::status(503), &feed).await;
        let group = brisk_group();
        let mut events = group.events();
        within_limit(group.connect(at("s", &server.url))).await.expect("up");
        within_limit(crate::support::until(|| asked(&server) > 0)).await;
        let seconds = passes(3 * 3_600, || asked(&server) > 20).await;
        assert!((300..3 * 3_600).contains(&seconds), "{seconds} s, {}", asked(&server));
        within_limit(change(&mut events)).await;
        feed.push(&changed());
        within_limit(change(&mut events)).await;
        let report = within_limit(group.close()).await;
        assert!(report.all_well(), "{report:?}");
        let warnings = &report.servers[0].warnings;
        assert_eq!(warnings.iter().filter(|it| it.contains("503")).count(), 1, "{warnings:?}");
    }
}

#[tokio::test]
async fn a_stream_that_the_server_refuses_is_not_asked_for_again() {
    for is_modern in [false, true] {
        for status in [403, 404, 405] {
            let feed = Feed::new();
            let server = server(is_modern, usize::MAX, Reply::status(status), &feed).await;
            let group = brisk_group();
            within_limit(group.connect(at("s", &server.url))).await.expect("up");
            within_limit(crate::support::until(|| asked(&server) > 0)).await;
            passes(3_600, || asked(&server) > 1).await;
            assert_eq!(asked(&server), 1, "{status}, {is_modern}");
            within_limit(group.close()).await;
        }
    }
}
