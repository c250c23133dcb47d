//! Cuts at every poll: the caller that connects or closes goes away at its k-th poll, for every k, and nothing is left
//! behind: no session at the server, no process, no second DELETE.
//!
//! There are three ways. The futures are woken seldom and their owner works between the wake-ups, so the counted polls are
//! those that a wake-up asked for, or frequent ones that ask for the next one themselves, which reach every step of the
//! owner. Third, the future is not dropped by its caller but by the cancellation of a scope around it.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use moored::CancelScope;
use moored_mcp::{CallOptions, SessionGroup};
use serde_json::Map;
use tokio::sync::watch;

use crate::invariants::settled;
use crate::subscriptions::{LOG, legacy_resources};
use crate::support::http::{Reply, Server, legacy};
use crate::support::{at, brisk_group, echo, exists, fleet_server, pids, until, within_limit};

/// The source of the next poll.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Polls {
    Woken,
    Always,
    /// Like `Always`, in a scope that is cancelled in the place of the drop.
    Cancelled,
}

/// Polls `polls` times, and drops the future if it is pending then.
async fn cut<F: Future>(polls: usize, who: Polls, future: F) -> Option<F::Output> {
    let mut left = polls;
    if who == Polls::Cancelled {
        let scope = CancelScope::new();
        let ask = scope.handle();
        let mut future = Box::pin(future);
        let counted = poll_fn(move |cx| {
            if left == 0 {
                ask.cancel();
                return Poll::Pending;
            }
            left -= 1;
            cx.waker().wake_by_ref();
            future.as_mut().poll(cx)
        });
        return scope.run(counted).await.ok();
    }
    let mut future = pin!(future);
    poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        if let Poll::Ready(output) = future.as_mut().poll(cx) {
            return Poll::Ready(Some(output));
        }
        if left == 0 {
            return Poll::Ready(None);
        }
        if who == Polls::Always {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    })
    .await
}

/// Cuts `play` after 0, 1, 2, … polls, until it ends before the cut. Self-asked polls are many, so their number grows
/// in larger steps.
async fn everywhere(play: impl AsyncFn(usize, Polls) -> bool) {
    for who in [Polls::Woken, Polls::Always, Polls::Cancelled] {
        let mut polls = 0;
        let mut cuts = 0;
        while play(polls, who).await {
            cuts += 1;
            // Whatever was cut, no task is left.
            settled(0).await;
            polls += match who {
                Polls::Woken => 1,
                Polls::Always | Polls::Cancelled => 1 + polls / 4,
            };
        }
        assert!(cuts > 1, "{who:?}: it was over at once");
        // The form that ci/proof.py reads.
        let name = std::thread::current().name().unwrap_or_default().to_owned();
        println!("explored {name}: {cuts} cuts");
    }
}

#[tokio::test]
async fn a_connect_is_cut_anywhere() {
    within_limit(everywhere(async |polls, who| {
        let server = Server::start(legacy).await;
        let group = brisk_group();
        let connected = cut(polls, who, group.connect(at("s", &server.url))).await;
        let report = group.close().await;
        let log = server.log();
        let begun = log.iter().any(|line| line == "POST notifications/initialized");
        assert!(report.clean, "cut at {polls} {who:?}: {report:?}");
        assert!(server.deletes() <= 1, "cut at {polls} {who:?}: {log:?}");
        assert!(!begun || server.deletes() == 1, "cut at {polls} {who:?}: {log:?}");
        match connected {
            Some(outcome) => {
                outcome.expect("it comes up");
                false
            }
            None => true,
        }
    }))
    .await;
}

#[tokio::test]
async fn a_connect_to_a_child_is_cut_anywhere() {
    within_limit(everywhere(async |polls, who| {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("pids");
        let flags = ["--pid-file", file.to_str().expect("its path")];
        let group = brisk_group();
        let connected = cut(polls, who, group.connect(fleet_server("child", &flags))).await;
        let report = group.close().await;
        for server in &report.servers {
            assert!(server.leave.survivors.is_empty(), "cut at {polls} {who:?}: {report:?}");
        }
        if file.exists() {
            let left: Vec<_> = pids(&file).into_iter().filter(|pid| exists(*pid)).collect();
            assert!(left.is_empty(), "cut at {polls} {who:?}: {left:?} live");
        }
        connected.is_none()
    }))
    .await;
}

#[tokio::test]
async fn a_close_is_cut_anywhere() {
    within_limit(everywhere(async |polls, who| {
        let server = Server::start(legacy).await;
        let group: SessionGroup = brisk_group();
        group.connect(at("s", &server.url)).await.expect("it comes up");
        group.connect(fleet_server("child", &[])).await.expect("it comes up");
        let closed = cut(polls, who, group.close()).await;
        let again = group.close().await;
        assert!(again.all_well(), "cut at {polls} {who:?}: {again:?}");
        assert_eq!(again.servers.len(), 2);
        assert_eq!(server.deletes(), 1, "cut at {polls} {who:?}: {:?}", server.log());
        closed.is_none()
    }))
    .await;
}

#[tokio::test]
async fn a_call_over_http_is_cut_anywhere_and_the_session_stands() {
    within_limit(everywhere(async |polls, who| {
        let server = Server::start(legacy).await;
        let group = brisk_group();
        group.connect(at("s", &server.url)).await.expect("it comes up");
        let called = cut(polls, who, echo(&group, "s")).await;
        echo(&group, "s").await.expect("the session stands");
        let report = group.close().await;
        assert!(report.all_well(), "cut at {polls} {who:?}: {report:?}");
        let log = server.log();
        assert_eq!((server.deletes(), log.last().map(String::as_str)), (1, Some("DELETE s-1")));
        called.map(|answer| answer.expect("an answer")).is_none()
    }))
    .await;
}

#[tokio::test]
async fn a_call_to_a_child_is_cut_anywhere_and_the_session_stands() {
    within_limit(everywhere(async |polls, who| {
        let group = brisk_group();
        group.connect(fleet_server("child", &[])).await.expect("it comes up");
        let args = || Map::from_iter([("message".to_owned(), "ahoy".into())]);
        let call = || group.call_tool("child/echo", args(), CallOptions::default());
        let called = cut(polls, who, call()).await;
        call().await.expect("the session stands");
        let report = group.close().await;
        assert!(report.all_well(), "cut at {polls} {who:?}: {report:?}");
        called.map(|answer| answer.expect("an answer")).is_none()
    }))
    .await;
}

#[tokio::test]
async fn a_reading_and_a_subscription_are_cut_anywhere() {
    within_limit(everywhere(async |polls, who| {
        let server = Server::start(|request| match request.rpc.as_str() {
            "resources/read" => Reply::json(serde_json::json!({
                "jsonrpc": "2.0", "id": request.id, "result": {"contents": []},
            })),
            _ => legacy_resources(request),
        })
        .await;
        let group = brisk_group();
        group.connect(at("s", &server.url)).await.expect("it comes up");
        let read = cut(polls, who, group.read_resource("s__log", CallOptions::default())).await;
        let subscribed = cut(polls, who, group.subscribe("s__log")).await;
        let stands: &[&str] = if subscribed.is_some() { &[LOG] } else { &[] };
        assert_eq!(group.sessions()[0].subscribed, stands, "cut at {polls} {who:?}");
        group.subscribe("s__log").await.expect("the session stands");
        let unsubscribed = cut(polls, who, group.unsubscribe("s__log")).await;
        group.unsubscribe("s__log").await.expect("the session stands");
        assert!(group.sessions()[0].subscribed.is_empty(), "cut at {polls} {who:?}");
        let report = group.close().await;
        assert!(report.all_well(), "cut at {polls} {who:?}: {report:?}");
        assert_eq!(server.deletes(), 1);
        read.is_none() || subscribed.is_none() || unsubscribed.is_none()
    }))
    .await;
}

#[tokio::test]
async fn a_disconnect_is_cut_anywhere() {
    within_limit(everywhere(async |polls, who| {
        let server = Server::start(legacy).await;
        let group = brisk_group();
        group.connect(at("s", &server.url)).await.expect("it comes up");
        group.connect(at("sibling", &server.url)).await.expect("it comes up");
        let left = cut(polls, who, group.disconnect("s")).await;
        // Another call waits for the same end, or finds that there is nothing to wait for.
        if polls > 0 {
            if let Some(report) = group.disconnect("s").await {
                assert!(report.leave.clean, "cut at {polls} {who:?}: {report:?}");
            }
            assert_eq!(server.deletes(), 1, "cut at {polls} {who:?}: {:?}", server.log());
        }
        echo(&group, "sibling").await.expect("its sibling stands");
        let report = group.close().await;
        assert!(report.all_well(), "cut at {polls} {who:?}: {report:?}");
        assert_eq!(server.deletes(), 2, "cut at {polls} {who:?}: {:?}", server.log());
        left.is_none()
    }))
    .await;
}

#[tokio::test]
async fn a_drain_is_cut_anywhere_and_each_call_resolves_once() {
    within_limit(everywhere(async |polls, who| {
        let (open, gate) = watch::channel(false);
        let server = Server::start(move |request| match request.rpc.as_str() {
            "tools/call" => Reply::Gated(gate.clone(), Box::new(legacy(request))),
            _ => legacy(request),
        })
        .await;
        let group = brisk_group();
        group.connect(at("s", &server.url)).await.expect("it comes up");
        let call = tokio::spawn({
            let group = group.clone();
            async move { echo(&group, "s").await }
        });
        until(|| !server.requested("tools/call").is_empty()).await;
        // While the call is under way nothing wakes the future, so there it is polled once at the most, or asks for
        // polls itself.
        let first = match who {
            Polls::Woken => polls.min(1),
            Polls::Always | Polls::Cancelled => polls / 2,
        };
        let long = Duration::from_secs(20);
        let half = cut(first, who, group.drain(long)).await;
        assert!(half.is_none(), "it waits for the call");
        open.send(true).expect("the server waits");
        let drained = cut(polls - first, who, group.drain(long)).await;
        let report = group.drain(long).await;
        assert!(report.all_well(), "cut at {polls} {who:?}: {report:?}");
        call.await.expect("no panic").expect("an answer");
        assert_eq!(server.deletes(), 1, "cut at {polls} {who:?}: {:?}", server.log());
        drained.is_none()
    }))
    .await;
}
