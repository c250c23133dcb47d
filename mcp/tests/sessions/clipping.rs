//! Error texts of servers that are longer than any reader wants, and answers with which nobody counts.

use moored_mcp::{CallError, EventKind, LogLevel};
use serde_json::{Value, json};

use crate::subscriptions::{LOG, legacy_resources};
use crate::support::http::{Reply, Request, Server, legacy, modern};
use crate::support::{at, brisk_group, echo, event, shell_server_with, within_limit};

/// The number of bytes up to which such a text may be shown, beside our own words.
const MOST: usize = 3_000;

fn rejection(request: &Request) -> Reply {
    let error = json!({"code": -32000, "message": "no ".repeat(50_000)});
    Reply::json(json!({"jsonrpc": "2.0", "id": request.id, "error": error}))
}

#[tokio::test]
async fn a_list_that_is_rejected_at_length_is_told_in_short() {
    within_limit(async {
        let server = Server::start(|request| match request.rpc.as_str() {
            "tools/list" => rejection(request),
            _ => legacy(request),
        })
        .await;
        let group = brisk_group();
        let info = group.connect(at("s", &server.url)).await.expect("up");
        let error = info.list_error.expect("the list has failed");
        let texts = error.chain.iter().chain(&info.warnings);
        let texts: Vec<_> = texts.inspect(|it| assert!(it.len() < MOST, "{}", it.len())).collect();
        assert!(texts.iter().any(|it| it.contains("(150000 bytes) (code -32000)")), "{texts:?}");
        group.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_stream_of_changes_that_is_rejected_at_length_is_told_in_short() {
    within_limit(async {
        let server = Server::start(|request| match request.rpc.as_str() {
            "server/discover" => {
                Reply::json(json!({"jsonrpc": "2.0", "id": request.id, "result": {
                    "resultType": "complete",
                    "supportedVersions": ["2026-07-28"],
                    "capabilities": {"tools": {"listChanged": true}},
                    "ttlMs": 0,
                    "cacheScope": "private",
                }}))
            }
            "subscriptions/listen" => rejection(request),
            _ => modern(request),
        })
        .await;
        let group = brisk_group();
        let mut events = group.events();
        group.connect(at("s", &server.url)).await.expect("up");
        let warning = event(&mut events, |kind| match kind {
            EventKind::Warning { message } => Some(message),
            _ => None,
        })
        .await;
        assert!(warning.contains("(150000 bytes) (code -32000)"), "{warning}");
        assert!(warning.len() < MOST, "{}", warning.len());
        group.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_subscription_that_is_not_renewed_is_told_in_short() {
    within_limit(async {
        let subscribed = std::sync::atomic::AtomicUsize::new(0);
        let expired = std::sync::atomic::AtomicBool::new(false);
        let order = std::sync::atomic::Ordering::Relaxed;
        let server = Server::start(move |request| match request.rpc.as_str() {
            "resources/subscribe" if subscribed.fetch_add(1, order) > 0 => rejection(request),
            "resources/read" if !expired.swap(true, order) => Reply::status(404),
            _ => legacy_resources(request),
        })
        .await;
        let group = brisk_group();
        let mut events = group.events();
        group.connect(at("s", &server.url)).await.expect("up");
        group.subscribe(LOG).await.expect("subscribed");
        let _rejected = group.read_resource(LOG, Default::default()).await;
        let message = event(&mut events, |kind| match kind {
            EventKind::SubscriptionEnded { message, .. } => Some(message),
            _ => None,
        })
        .await;
        assert!(message.contains("(150000 bytes) (code -32000)"), "{message}");
        assert!(message.len() < MOST, "{}", message.len());
        group.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_modern_server_that_answers_405_fails_that_call_only() {
    within_limit(async {
        let server = Server::start(|request| match request.rpc.as_str() {
            "tools/call" | "subscriptions/listen" => Reply::status(405),
            _ => modern(request),
        })
        .await;
        let group = brisk_group();
        group.connect(at("s", &server.url)).await.expect("up");
        for _ in 0..2 {
            let error = echo(&group, "s").await.expect_err("405");
            assert!(matches!(error, CallError::Failed { .. }), "{error:?}");
            let text = error.to_string();
            assert!(text.contains("HTTP 405") && !text.contains("removed"), "{text}");
        }
        assert!(group.close().await.all_well());
        assert_eq!(server.deletes(), 0);
    })
    .await;
}

#[tokio::test]
async fn a_bad_answer_to_set_level_fails_it_and_is_not_asked_for_again() {
    within_limit(async {
        let answers: [(Value, &str); 3] = [
            (json!({"jsonrpc": "2.0"}), "it has neither \"result\" nor \"error\""),
            (json!({"result": {}}), "it has no \"jsonrpc\""),
            (json!({"jsonrpc": "2.0", "error": {"code": "E", "message": "m"}}), "no whole number"),
        ];
        for (answer, why) in answers {
            let text = answer.to_string();
            let server = Server::start(move |request| match request.rpc.as_str() {
                "logging/setLevel" => {
                    let mut answer = answer.clone();
                    answer["id"] = request.id.clone();
                    Reply::json(answer)
                }
                _ => legacy(request),
            });
            let server = server.await;
            let line = format!(
                r#"*'"logging/setLevel"'*) printf '%s\n' '{}' | sed "s/ID/$id/" ;;"#,
                text.replacen('{', "{\"id\":ID,", 1)
            );
            for params in [at("h", &server.url), shell_server_with("h", &line, ":")] {
                let group = brisk_group();
                group.connect(params).await.expect("up");
                let error = group.set_log_level("h", LogLevel::Info).await.expect_err("bad");
                assert!(error.to_string().contains(why), "{text}: {error}");
                assert!(group.close().await.all_well());
            }
        }
    })
    .await;
}
