//! Subscriptions to resources, in both eras.

use std::sync::Arc;

use moored_mcp::{CallError, Event, EventKind, LogLevel};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::broadcast::Receiver;

use crate::support::http::{End, Feed, Reply, Request, Server, legacy, modern};
use crate::support::{at, brisk_group, event, within_limit};

pub(crate) const LOG: &str = "file:///log";

fn result(request: &Request, value: Value) -> Reply {
    Reply::json(json!({"jsonrpc": "2.0", "id": request.id, "result": value}))
}

fn resources() -> Value {
    json!({
        "resultType": "complete",
        "resources": [{"name": "log", "uri": LOG}],
        "ttlMs": 0,
        "cacheScope": "private",
    })
}

fn updated(subscription: &Value) -> Value {
    json!({
        "jsonrpc": "2.0",
        "method": "notifications/resources/updated",
        "params": {"uri": LOG, "_meta": {"io.modelcontextprotocol/subscriptionId": subscription}},
    })
}

async fn next_update(events: &mut Receiver<Event>) -> (String, Option<String>) {
    event(events, |kind| match kind {
        EventKind::ResourceUpdated { uri, hooked } => Some((uri, hooked)),
        _ => None,
    })
    .await
}

pub(crate) fn legacy_resources(request: &Request) -> Reply {
    match request.rpc.as_str() {
        "initialize" => result(
            request,
            json!({
                "protocolVersion": "2025-11-25",
                "capabilities": {"resources": {"subscribe": true}},
                "serverInfo": {"name": "scripted", "version": "1"},
            }),
        )
        .with("mcp-session-id", "s-1"),
        "resources/list" => result(request, resources()),
        "resources/subscribe" | "resources/unsubscribe" => result(request, json!({})),
        _ => legacy(request),
    }
}

#[tokio::test]
async fn a_legacy_server_is_subscribed_to_once_and_told_when_nobody_listens_any_more() {
    within_limit(async {
        let feed = Feed::new();
        let stream = feed.clone();
        let server = Server::start(move |request| match request.verb.as_str() {
            "GET" => Reply::Fed(stream.clone()),
            _ => legacy_resources(request),
        })
        .await;
        let group = brisk_group();
        let mut events = group.events();
        group.connect(at("s", &server.url)).await.expect("up");
        group.subscribe("s__log").await.expect("subscribed");
        group.subscribe(LOG).await.expect("subscribed already");
        assert_eq!(group.sessions()[0].subscribed, [LOG]);
        feed.push(&updated(&Value::Null));
        assert_eq!(next_update(&mut events).await, (LOG.into(), Some("s__log".into())));
        group.unsubscribe("s/log").await.expect("done");
        group.unsubscribe("s/log").await.expect("nothing to do");
        assert!(group.sessions()[0].subscribed.is_empty());
        assert!(group.close().await.all_well());
        let count = |what: &str| server.log().iter().filter(|it| it.ends_with(what)).count();
        assert_eq!((count("resources/subscribe"), count("resources/unsubscribe")), (1, 1));
    })
    .await;
}

#[tokio::test]
async fn a_server_that_refuses_a_subscription_is_not_subscribed_to() {
    within_limit(async {
        let server = Server::start(|request| match request.rpc.as_str() {
            "resources/subscribe" => legacy(request),
            _ => legacy_resources(request),
        })
        .await;
        let group = brisk_group();
        group.connect(at("s", &server.url)).await.expect("up");
        let refused = group.subscribe("s__log").await;
        assert!(matches!(refused, Err(CallError::Rejected { code: -32601, .. })), "{refused:?}");
        assert!(group.sessions()[0].subscribed.is_empty());
        assert!(group.close().await.all_well());
    })
    .await;
}

/// Over HTTP, two requests have no order but that of their answers.
#[tokio::test]
async fn the_end_of_a_subscription_does_not_overtake_its_beginning_at_a_legacy_server() {
    within_limit(async {
        let (gate, held) = tokio::sync::watch::channel(false);
        let server = Server::start(move |request| match request.rpc.as_str() {
            "resources/subscribe" => {
                Reply::Gated(held.clone(), Box::new(legacy_resources(request)))
            }
            _ => legacy_resources(request),
        })
        .await;
        let group = brisk_group();
        group.connect(at("s", &server.url)).await.expect("up");
        tokio::select! {
            done = group.subscribe(LOG) => panic!("{done:?}"),
            () = server.asked("POST resources/subscribe") => {}
        }
        server.asked("POST notifications/cancelled").await;
        // Each of these is a round trip.
        for _ in 0..3 {
            let read = group.read_resource(LOG, Default::default()).await;
            assert!(matches!(read, Err(CallError::Rejected { .. })), "{read:?}");
        }
        let ended = "POST resources/unsubscribe".to_owned();
        assert!(!server.log().contains(&ended), "{:?}", server.log());
        gate.send_replace(true);
        server.asked(&ended).await;
        assert!(group.close().await.all_well());
    })
    .await;
}

#[tokio::test]
async fn a_setting_that_is_given_up_while_it_waits_for_another_one_is_not_sent() {
    within_limit(async {
        let (gate, held) = tokio::sync::watch::channel(false);
        let server = Server::start(move |request| match request.rpc.as_str() {
            "resources/subscribe" => {
                Reply::Gated(held.clone(), Box::new(legacy_resources(request)))
            }
            "logging/setLevel" => result(request, json!({})),
            _ => legacy_resources(request),
        })
        .await;
        let group = brisk_group();
        group.connect(at("s", &server.url)).await.expect("up");
        let round_trips = async || {
            for _ in 0..3 {
                let read = group.read_resource(LOG, Default::default()).await;
                assert!(matches!(read, Err(CallError::Rejected { .. })), "{read:?}");
            }
        };
        let (subscribed, ()) = tokio::join!(group.subscribe(LOG), async {
            server.asked("POST resources/subscribe").await;
            tokio::select! {
                biased;
                done = group.set_log_level("s", LogLevel::Debug) => panic!("{done:?}"),
                () = round_trips() => {}
            }
            round_trips().await;
            gate.send_replace(true);
        });
        subscribed.expect("an answer");
        group.set_log_level("s", LogLevel::Error).await.expect("an answer");
        assert_eq!(server.requested("logging/setLevel").len(), 1, "{:?}", server.log());
        assert_eq!(server.requested("notifications/cancelled").len(), 0, "{:?}", server.log());
        assert!(group.close().await.all_well());
    })
    .await;
}

#[tokio::test]
async fn a_subscription_outlives_the_session_that_a_legacy_server_has_forgotten() {
    within_limit(async {
        let feed = Feed::new();
        let (stream, forgotten) = (feed.clone(), Arc::new(Mutex::new(false)));
        let forget = forgotten.clone();
        let server = Server::start(move |request| {
            let knows = request.headers.get("mcp-session-id").is_some_and(|id| id == "s-2");
            match (request.verb.as_str(), request.rpc.as_str()) {
                ("GET", _) => Reply::Fed(stream.clone()),
                (_, "initialize") if *forget.lock() => {
                    let mut reply = legacy_resources(request);
                    if let Reply::Answer { headers, .. } = &mut reply {
                        headers.retain(|(name, _)| name != "mcp-session-id");
                    }
                    reply.with("mcp-session-id", "s-2")
                }
                (_, "resources/read") if *forget.lock() && !knows => Reply::status(404),
                (_, "resources/read") => result(request, json!({"contents": []})),
                _ => legacy_resources(request),
            }
        })
        .await;
        let group = brisk_group();
        let mut events = group.events();
        group.connect(at("s", &server.url)).await.expect("up");
        group.subscribe("s__log").await.expect("subscribed");
        *forgotten.lock() = true;
        group.read_resource("s__log", Default::default()).await.expect("an answer");
        // It may have changed while there was no subscription.
        assert_eq!(next_update(&mut events).await.0, LOG);
        let subscriptions =
            || server.log().iter().filter(|it| it.ends_with("resources/subscribe")).count();
        crate::support::until(|| subscriptions() == 2).await;
        assert_eq!(group.sessions()[0].subscribed, [LOG]);
        assert!(group.close().await.all_well());
    })
    .await;
}

#[tokio::test]
async fn a_subscription_that_ends_while_a_session_is_renewed_is_not_begun_again() {
    within_limit(async {
        const LAST: &str = "file:///z";
        const OTHER: &str = "file:///other";
        let changes = Arc::new(Mutex::new(Vec::new()));
        let forgotten = Arc::new(Mutex::new(false));
        let (open, gate) = tokio::sync::watch::channel(false);
        let (forget, noting) = (forgotten.clone(), changes.clone());
        let server = Server::start(move |request| {
            let knows = request.headers.get("mcp-session-id").is_some_and(|id| id == "s-2");
            let is_new = *forget.lock();
            let uri = request.params["uri"].as_str().unwrap_or_default().to_owned();
            match request.rpc.as_str() {
                "initialize" if is_new => {
                    let Reply::Answer { status, mut headers, body } = legacy_resources(request)
                    else {
                        unreachable!("it answers")
                    };
                    headers.retain(|(name, _)| name != "mcp-session-id");
                    Reply::Answer { status, headers, body }.with("mcp-session-id", "s-2")
                }
                "resources/read" if is_new && !knows => Reply::status(404),
                "resources/read" => result(request, json!({"contents": []})),
                "resources/subscribe" | "resources/unsubscribe" if is_new => {
                    noting.lock().push((request.rpc.clone(), uri.clone()));
                    let answer = legacy_resources(request);
                    if uri == LOG { Reply::Gated(gate.clone(), Box::new(answer)) } else { answer }
                }
                _ => legacy_resources(request),
            }
        })
        .await;
        let group = brisk_group();
        group.connect(at("s", &server.url)).await.expect("up");
        for uri in [LOG, OTHER, LAST] {
            group.subscribe(&format!("s/{uri}")).await.expect("subscribed");
        }
        *forgotten.lock() = true;
        group.read_resource("s__log", Default::default()).await.expect("an answer");
        crate::support::until(|| changes.lock().len() == 1).await;
        let other = format!("s/{OTHER}");
        let (ended, ()) = tokio::join!(group.unsubscribe(&other), async {
            open.send_replace(true);
        });
        ended.expect("it has ended");
        let is_last = |(_, uri): &(String, String)| uri == LAST;
        crate::support::until(|| changes.lock().iter().any(is_last)).await;
        let of_other = changes.lock().iter().filter(|(_, uri)| uri == OTHER).count();
        assert_eq!(of_other, 1, "only its end: {:?}", changes.lock());
        assert!(group.close().await.all_well());
    })
    .await;
}

#[tokio::test]
async fn a_resource_may_have_changed_while_its_stream_was_lost() {
    within_limit(async {
        let lost = Arc::new(Mutex::new(false));
        let first = lost.clone();
        let server = Server::start(move |request| match request.rpc.as_str() {
            "subscriptions/listen" => {
                let acknowledged = json!({
                    "jsonrpc": "2.0",
                    "method": "notifications/subscriptions/acknowledged",
                    "params": {
                        "notifications": request.params["notifications"],
                        "_meta": {"io.modelcontextprotocol/subscriptionId": request.id},
                    },
                });
                let end = if std::mem::replace(&mut *first.lock(), true) {
                    End::Open
                } else {
                    End::Broken
                };
                Reply::events(format!("data: {acknowledged}\n\n"), end)
            }
            _ => modern_resources(request),
        })
        .await;
        let group = brisk_group();
        let mut events = group.events();
        group.connect(at("s", &server.url)).await.expect("up");
        group.subscribe("s__log").await.expect("subscribed");
        assert_eq!(next_update(&mut events).await, (LOG.into(), Some("s__log".into())));
        assert_eq!(group.sessions()[0].subscribed, [LOG]);
        assert!(group.close().await.all_well());
    })
    .await;
}

fn modern_resources(request: &Request) -> Reply {
    match request.rpc.as_str() {
        "server/discover" => result(
            request,
            json!({
                "resultType": "complete",
                "supportedVersions": ["2026-07-28"],
                "capabilities": {"resources": {"subscribe": true}},
                "ttlMs": 0,
                "cacheScope": "private",
            }),
        ),
        "resources/list" => result(request, resources()),
        "resources/templates/list" => Reply::json(json!({
            "jsonrpc": "2.0", "id": request.id, "error": {"code": -32601, "message": "none"},
        })),
        _ => modern(request),
    }
}

/// A modern server that sends the events of `feed`. It acknowledges the requested notifications if `accepts` is set.
async fn modern_server(feed: &Feed, accepts: bool) -> Server {
    let feed = feed.clone();
    Server::start(move |request| match request.rpc.as_str() {
        "subscriptions/listen" => {
            let filter = if accepts { request.params["notifications"].clone() } else { json!({}) };
            feed.push(&json!({
                "jsonrpc": "2.0",
                "method": "notifications/subscriptions/acknowledged",
                "params": {
                    "notifications": filter,
                    "_meta": {"io.modelcontextprotocol/subscriptionId": request.id},
                },
            }));
            feed.push(&updated(&request.id));
            Reply::Fed(feed.clone())
        }
        _ => modern_resources(request),
    })
    .await
}

#[tokio::test]
async fn a_modern_server_tells_on_a_stream_of_its_own_which_ends_with_the_subscription() {
    within_limit(async {
        let feed = Feed::new();
        let server = modern_server(&feed, true).await;
        let group = brisk_group();
        let mut events = group.events();
        group.connect(at("s", &server.url)).await.expect("up");
        group.subscribe("s__log").await.expect("subscribed");
        assert_eq!(next_update(&mut events).await, (LOG.into(), Some("s__log".into())));
        feed.streams(1).await;
        group.unsubscribe("s__log").await.expect("done");
        feed.idle().await;
        assert!(group.close().await.all_well());
        let asked = server.log().iter().filter(|it| it.ends_with("/listen")).count();
        assert_eq!(asked, 1, "{:?}", server.log());
    })
    .await;
}

#[tokio::test]
async fn a_modern_server_that_does_not_agree_is_not_subscribed_to() {
    within_limit(async {
        let feed = Feed::new();
        let server = modern_server(&feed, false).await;
        let group = brisk_group();
        group.connect(at("s", &server.url)).await.expect("up");
        let refused = group.subscribe("s__log").await.expect_err("it does not agree");
        assert!(refused.to_string().contains(LOG), "{refused}");
        assert!(group.sessions()[0].subscribed.is_empty());
        feed.idle().await;
        assert!(group.close().await.all_well());
    })
    .await;
}

#[tokio::test]
async fn a_subscription_that_a_modern_server_ends_is_told() {
    within_limit(async {
        let feed = Feed::new();
        let server = modern_server(&feed, true).await;
        let group = brisk_group();
        let mut events = group.events();
        group.connect(at("s", &server.url)).await.expect("up");
        group.subscribe("s__log").await.expect("subscribed");
        let ids = server.requested("subscriptions/listen");
        feed.push(&json!({
            "jsonrpc": "2.0",
            "id": ids[0],
            "result": {
                "resultType": "complete",
                "_meta": {"io.modelcontextprotocol/subscriptionId": ids[0]},
            },
        }));
        feed.end();
        let uri = event(&mut events, |kind| match kind {
            EventKind::SubscriptionEnded { uri, .. } => Some(uri),
            _ => None,
        })
        .await;
        assert_eq!(uri, LOG);
        assert!(group.sessions()[0].subscribed.is_empty());
        assert!(group.close().await.all_well());
    })
    .await;
}
