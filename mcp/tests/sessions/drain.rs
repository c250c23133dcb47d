//! Draining: calls that are under way end, and no others begin.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use moored_mcp::{
    Backoff, CallError, CallOptions, EventKind, Outcome, Policy, Restart, SessionGroup,
    SessionStage,
};
use serde_json::Map;
use tokio::sync::watch;

use crate::support::http::{Reply, Server, legacy};
use crate::support::{at, brisk_group, echo, event, shell_server, within_limit};

const LONG: Duration = Duration::from_secs(20);

/// A call of the tool `echo` in a task of its own.
fn call(group: &SessionGroup) -> tokio::task::JoinHandle<Result<serde_json::Value, CallError>> {
    let group = group.clone();
    tokio::spawn(async move { group.call_tool("s/echo", Map::new(), CallOptions::default()).await })
}

/// A server that answers calls once `gate` is open.
async fn gated() -> (Server, watch::Sender<bool>) {
    let (open, gate) = watch::channel(false);
    let server = Server::start(move |request| match request.rpc.as_str() {
        "tools/call" => Reply::Gated(gate.clone(), Box::new(legacy(request))),
        _ => legacy(request),
    })
    .await;
    (server, open)
}

#[tokio::test]
async fn calls_under_way_end_and_no_others_begin() {
    within_limit(async {
        let (server, open) = gated().await;
        let group = brisk_group();
        let mut events = group.events();
        group.connect(at("s", &server.url)).await.expect("up");
        let calls: Vec<_> = (0..5).map(|_| call(&group)).collect();
        crate::support::until(|| server.requested("tools/call").len() == 5).await;
        let draining = tokio::spawn({
            let group = group.clone();
            async move { group.drain(LONG).await }
        });
        event(&mut events, |kind| matches!(kind, EventKind::Draining).then_some(())).await;
        assert_eq!(group.sessions()[0].stage, SessionStage::Draining);
        let refused = echo(&group, "s").await;
        assert!(matches!(refused, Err(CallError::Closing(_))), "{refused:?}");
        let late = group.connect(at("late", &server.url)).await.expect_err("it is too late");
        assert_eq!(late.outcome(), Outcome::Closing);
        assert_eq!(server.deletes(), 0);
        open.send(true).expect("the server waits");
        for call in calls {
            call.await.expect("no panic").expect("an answer");
        }
        let report = draining.await.expect("no panic");
        assert!(report.all_well(), "{report:?}");
        assert_eq!(server.deletes(), 1);
        assert_eq!(group.close().await, report);
    })
    .await;
}

#[tokio::test]
async fn at_the_end_of_the_budget_a_call_ends_once_and_the_sessions_are_left() {
    within_limit(async {
        let (server, _shut) = gated().await;
        let group = brisk_group();
        group.connect(at("s", &server.url)).await.expect("up");
        let call = call(&group);
        server.asked("POST tools/call").await;
        let report = group.drain(Duration::from_millis(200)).await;
        assert!(report.all_well() && report.drain_ms >= 200, "{report:?}");
        let ended = call.await.expect("no panic");
        assert!(matches!(ended, Err(CallError::Closing(_))), "{ended:?}");
    })
    .await;
}

#[tokio::test]
async fn servers_that_were_just_given_do_not_wait_for_the_calls() {
    within_limit(async {
        let (server, open) = gated().await;
        let group = brisk_group();
        group.connect(at("s", &server.url)).await.expect("up");
        let call = call(&group);
        server.asked("POST tools/call").await;
        // More than tokio lets a task receive in one turn.
        let many = (0..300).map(|number| at(&format!("late-{number}"), &server.url)).collect();
        let mut connecting = Box::pin(group.connect_many(many, Policy::BestEffort));
        assert!((&mut connecting).now_or_never().is_none());
        let mut draining = Box::pin(group.drain(LONG));
        assert!((&mut draining).now_or_never().is_none());
        for late in connecting.await {
            assert_eq!(late.expect_err("it is too late").outcome(), Outcome::Closing);
        }
        assert!(!call.is_finished(), "they were left while the call was under way");
        open.send(true).expect("the server waits");
        assert!(draining.await.clean);
        call.await.expect("no panic").expect("an answer");
    })
    .await;
}

#[tokio::test]
async fn a_close_cuts_draining_short_and_a_drain_without_calls_is_a_close() {
    within_limit(async {
        let (server, _shut) = gated().await;
        let group = brisk_group();
        let mut events = group.events();
        group.connect(at("s", &server.url)).await.expect("up");
        let call = call(&group);
        server.asked("POST tools/call").await;
        let draining = tokio::spawn({
            let group = group.clone();
            async move { group.drain(Duration::MAX).await }
        });
        event(&mut events, |kind| matches!(kind, EventKind::Draining).then_some(())).await;
        let report = group.close().await;
        assert_eq!(draining.await.expect("no panic"), report);
        assert!(call.await.expect("no panic").is_err());

        let group = brisk_group();
        group.connect(at("s", &server.url)).await.expect("up");
        let report = group.drain(LONG).await;
        assert!(report.all_well() && report.drain_ms < 1_000, "{report:?}");
        let empty = brisk_group().drain(LONG).await;
        assert!(empty.all_well() && empty.servers.is_empty());
    })
    .await;
}

#[tokio::test]
async fn draining_goes_on_when_its_caller_has_gone() {
    within_limit(async {
        let (server, open) = gated().await;
        let group = brisk_group();
        group.connect(at("s", &server.url)).await.expect("up");
        let call = call(&group);
        server.asked("POST tools/call").await;
        let dropped = tokio::time::timeout(Duration::from_millis(20), group.drain(LONG)).await;
        assert!(dropped.is_err(), "it waits for the call");
        open.send(true).expect("the server waits");
        call.await.expect("no panic").expect("an answer");
        let report = group.drain(Duration::ZERO).await;
        assert!(report.all_well(), "{report:?}");
        assert_eq!(server.deletes(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_server_that_is_lost_while_its_group_drains_is_not_started_again() {
    within_limit(async {
        let (server, open) = gated().await;
        let group = brisk_group();
        let mut events = group.events();
        group.connect(at("s", &server.url)).await.expect("up");
        let backoff = Backoff::new(Duration::from_millis(10), Duration::from_millis(10));
        let child = shell_server("child", "sleep 0.3; exit 7");
        group.connect(child.restart(Restart::Always(backoff))).await.expect("up");
        let held = call(&group);
        let dies = tokio::spawn({
            let group = group.clone();
            async move { echo(&group, "child").await }
        });
        server.asked("POST tools/call").await;
        let group = Arc::new(group);
        let draining = tokio::spawn({
            let group = group.clone();
            async move { group.drain(LONG).await }
        });
        event(&mut events, |kind| matches!(kind, EventKind::Draining).then_some(())).await;
        dies.await.expect("no panic").expect_err("it exits");
        open.send(true).expect("the server waits");
        held.await.expect("no panic").expect("an answer");
        let report = draining.await.expect("no panic");
        assert_eq!(report.servers[1].starts, 1, "{report:?}");
    })
    .await;
}
