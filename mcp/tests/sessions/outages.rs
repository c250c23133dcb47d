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
            passes(600, || asked(&server) > 1).await;
            assert_eq!(asked(&server), 1, "{status}, {is_modern}");
            within_limit(group.close()).await;
        }
    }
}

#[tokio::test]
async fn a_session_that_its_server_has_forgotten_is_begun_anew_although_nothing_is_asked() {
    within_limit(async {
        let (first, second) = (Feed::new(), Feed::new());
        let (old, new) = (first.clone(), second.clone());
        let listed = AtomicUsize::new(0);
        let (forgotten, is_forgotten) = tokio::sync::watch::channel(false);
        let server = Server::start(move |request| {
            let session = request.headers.get("mcp-session-id").map(String::as_str);
            let is_forgotten = *is_forgotten.borrow();
            match (request.verb.as_str(), request.rpc.as_str(), session) {
                ("POST", "initialize", _) if is_forgotten => {
                    let Reply::Answer { status, mut headers, body } = legacy(request) else {
                        unreachable!("it answers")
                    };
                    headers.retain(|(name, _)| name != "mcp-session-id");
                    Reply::Answer { status, headers, body }.with("mcp-session-id", "s-2")
                }
                (_, _, Some("s-1")) if is_forgotten => Reply::status(404),
                ("GET", _, Some("s-2")) => Reply::Fed(new.clone()),
                ("GET", ..) => Reply::Fed(old.clone()),
                (_, "tools/list", _) => page(request, &listed),
                _ => legacy(request),
            }
        })
        .await;
        let group = brisk_group();
        let mut events = group.events();
        group.connect(at("s", &server.url)).await.expect("up");
        first.streams(1).await;
        forgotten.send_replace(true);
        first.end();
        second.streams(1).await;
        change(&mut events).await;
        second.push(&changed());
        change(&mut events).await;
        assert!(group.close().await.all_well());
    })
    .await;
}

#[tokio::test]
async fn a_server_that_forgets_each_session_at_once_is_not_given_sessions_without_a_pause() {
    within_limit(async {
        let (begun, listed) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let streams = parking_lot::Mutex::new(std::collections::HashMap::new());
        let server = Server::start(move |request| {
            let session = request.headers.get("mcp-session-id").cloned().unwrap_or_default();
            let mut streams = streams.lock();
            let opened = streams.entry(session).or_insert(0);
            match (request.verb.as_str(), request.rpc.as_str()) {
                ("POST", "initialize") => {
                    let Reply::Answer { status, mut headers, body } = legacy(request) else {
                        unreachable!("it answers")
                    };
                    headers.retain(|(name, _)| name != "mcp-session-id");
                    let id = format!("s-{}", begun.fetch_add(1, Ordering::Relaxed));
                    Reply::Answer { status, headers, body }.with("mcp-session-id", &id)
                }
                ("GET", _) => {
                    *opened += 1;
                    match *opened {
                        1 => Reply::events(": hello\n\n", crate::support::http::End::Whole),
                        _ => Reply::status(404),
                    }
                }
                ("POST", _) if *opened > 1 => Reply::status(404),
                (_, "tools/list") => page(request, &listed),
                _ => legacy(request),
            }
        })
        .await;
        let group = brisk_group();
        group.connect(at("s", &server.url)).await.expect("up");
        let begun = || server.requested("initialize").len();
        // The lists are read in the new session too, and time that passes before would let its stream be lost first.
        crate::support::until(|| begun() == 2 && server.requested("tools/list").len() == 2).await;
        passes(20, || begun() > 2).await;
        assert_eq!(begun(), 2, "{:?}", server.log());
        assert!(group.close().await.clean);
    })
    .await;
}
