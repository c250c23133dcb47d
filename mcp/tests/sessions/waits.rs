//! Servers that ask to be left alone for a time (`Retry-After`).

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use moored_mcp::{Backoff, CallError, EventKind, Outcome, Restart};
use serde_json::json;

use crate::support::http::{Reply, Server, legacy};
use crate::support::{at, brisk_group, echo, event, within_limit};

#[tokio::test]
async fn the_time_that_a_busy_server_asks_to_wait_is_in_the_error_and_the_session_stays() {
    within_limit(async {
        for (status, body) in [(429, ""), (503, ""), (429, "json"), (503, "slow down")] {
            let server = Server::start(move |request| match request.rpc.as_str() {
                "tools/call" => {
                    let error = json!({"jsonrpc": "2.0", "id": request.id,
                        "error": {"code": -32000, "message": "too many"}});
                    let reply = match body {
                        "json" => Reply::json(error).of_status(status),
                        other => Reply::status(status).saying(other),
                    };
                    reply.with("Retry-After", "30")
                }
                _ => legacy(request),
            })
            .await;
            let group = brisk_group();
            group.connect(at("s", &server.url)).await.expect("up");
            let error = echo(&group, "s").await.expect_err("busy");
            assert!(matches!(error, CallError::Failed { .. }), "{error:?}");
            let text = error.to_string();
            assert!(text.contains(&format!("HTTP {status}")), "{text}");
            assert!(text.contains("(the server asks to wait 30s)"), "{text}");
            let words = if body == "json" { "too many" } else { body };
            assert!(text.contains(words), "{text}");
            assert!(group.close().await.all_well());
        }
    })
    .await;
}

#[tokio::test]
async fn a_server_that_is_connected_while_it_is_busy_says_how_long() {
    within_limit(async {
        let server = Server::start(|_| {
            Reply::status(503).with("Retry-After", "Tue, 01 Jan 2999 00:00:00 GMT")
        })
        .await;
        let error = brisk_group().connect(at("s", &server.url)).await.expect_err("busy");
        assert_eq!(error.outcome(), Outcome::UpstreamError);
        assert!(error.to_string().contains("asks to wait"), "{error}");
    })
    .await;
}

#[tokio::test]
async fn a_restart_waits_as_long_as_the_server_asks_within_its_longest_pause() {
    within_limit(async {
        for (asked, pause) in [("1", 1_000), ("3600", 1_200)] {
            let initialized = AtomicUsize::new(0);
            let lost = Instant::now();
            let server = Server::start(move |request| match request.rpc.as_str() {
                "initialize" if initialized.fetch_add(1, Ordering::Relaxed) == 1 => {
                    Reply::status(503).with("Retry-After", asked)
                }
                "tools/call" if initialized.load(Ordering::Relaxed) < 3 => Reply::status(410),
                _ => legacy(request),
            })
            .await;
            let backoff = Backoff::new(Duration::from_millis(20), Duration::from_millis(1_200));
            let group = brisk_group();
            let mut events = group.events();
            group
                .connect(at("s", &server.url).restart(Restart::OnFailure(backoff)))
                .await
                .expect("up");
            echo(&group, "s").await.expect_err("the session is lost");
            let after = event(&mut events, |kind| match kind {
                EventKind::Restarting { after, .. } => Some(after),
                _ => None,
            })
            .await;
            assert_eq!(after, Duration::from_millis(pause), "{asked}");
            event(&mut events, |kind| matches!(kind, EventKind::Up(_)).then_some(())).await;
            assert!(lost.elapsed() >= Duration::from_millis(pause), "{asked}");
            echo(&group, "s").await.expect("an answer, in another session");
            assert!(group.close().await.all_well());
        }
    })
    .await;
}
