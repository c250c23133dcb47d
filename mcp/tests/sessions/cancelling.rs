//! Many calls that are given up: the server is told of each that it can be at work on, and no backlog builds up.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use moored_mcp::{CallError, CallOptions, SessionGroup};
use parking_lot::Mutex;
use serde_json::{Map, Value};
use tokio::sync::watch;

use crate::support::http::{Reply, Server, legacy};
use crate::support::{at, brisk_group, echo, shell_server, within_limit};

fn tasks() -> usize {
    tokio::runtime::Handle::current().metrics().num_alive_tasks()
}

/// A call that is given up after `limit`.
async fn short(group: &SessionGroup, args: Map<String, Value>, limit: Duration) {
    let called = group.call_tool("s/echo", args, CallOptions::timeout(limit)).await;
    assert!(matches!(called, Err(CallError::TimedOut { .. })), "{called:?}");
}

/// Polls until `condition` holds. It reads whole logs, so it leaves the thread to others between two looks.
async fn until(condition: impl Fn() -> bool) {
    while !condition() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Polls `calls`, which do not end, until `condition` holds.
async fn while_calling<T>(
    calls: &mut FuturesUnordered<impl Future<Output = T>>,
    condition: impl Fn() -> bool,
) {
    tokio::select! {
        () = until(condition) => {}
        () = async { while calls.next().await.is_some() {} } => panic!("the calls have ended"),
    }
}

#[tokio::test]
async fn a_slow_server_is_told_of_each_call_that_was_given_up_and_no_task_is_left_over() {
    const ROUNDS: usize = 15;
    const CALLS: usize = 16;
    const AT_ONCE: usize = 8;
    within_limit(async {
        let cancelled = Arc::new(Mutex::new(BTreeSet::new()));
        let told = cancelled.clone();
        // The server accepts none before it has that many. One after another they would never be that many.
        let (open, gate) = watch::channel(false);
        let server = Server::start(move |request| match request.rpc.as_str() {
            "tools/call" => Reply::Hang,
            "notifications/cancelled" => {
                let mut told = told.lock();
                told.insert(request.params["requestId"].to_string());
                if told.len() == AT_ONCE {
                    open.send_replace(true);
                }
                Reply::Gated(gate.clone(), Box::new(Reply::status(202)))
            }
            _ => legacy(request),
        })
        .await;
        let group = brisk_group();
        group.connect(at("s", &server.url)).await.expect("it comes up");
        let before = tasks();
        for round in 1..=ROUNDS {
            let mut calls: FuturesUnordered<_> = (0..CALLS).map(|_| echo(&group, "s")).collect();
            let posted = || server.requested("tools/call").len() >= round * CALLS;
            while_calling(&mut calls, posted).await;
        }
        let called: BTreeSet<String> =
            server.requested("tools/call").iter().map(ToString::to_string).collect();
        until(|| *cancelled.lock() == called).await;
        // The connections of both sides and their requests under way; not one for each call.
        assert!(tasks() < before + 80, "{before} tasks before, {} after", tasks());
        assert!(group.close().await.all_well());
    })
    .await;
}

#[tokio::test]
async fn a_server_that_accepts_no_cancellation_delays_calls_for_a_bounded_time_and_is_warned_of() {
    within_limit(async {
        let server = Server::start(|request| match request.rpc.as_str() {
            "notifications/cancelled" => Reply::Hang,
            "tools/call" if request.params["arguments"]["text"] != "answer" => Reply::Hang,
            _ => legacy(request),
        })
        .await;
        let group = brisk_group();
        group.connect(at("s", &server.url)).await.expect("it comes up");
        let before = tasks();
        for round in 1..=20 {
            let mut calls: FuturesUnordered<_> = (0..16).map(|_| echo(&group, "s")).collect();
            let enough = |posted: usize| posted >= round * 16 || posted >= 256;
            while_calling(&mut calls, || enough(server.requested("tools/call").len())).await;
        }
        // From now on requests wait, and are given up before they are posted.
        for _ in 0..100 {
            short(&group, Map::new(), Duration::from_millis(1)).await;
        }
        let posted = server.requested("tools/call").len();
        assert!(posted <= 320, "{posted}");
        assert!(tasks() < before + 80, "{before} tasks before, {} after", tasks());
        let args = Map::from_iter([("text".to_owned(), "answer".into())]);
        let began = Instant::now();
        let answer = group.call_tool("s/echo", args, CallOptions::default()).await;
        assert!(answer.is_ok() && began.elapsed() < Duration::from_secs(8), "{answer:?}");
        let report = group.close().await;
        let warnings = &report.servers[0].warnings;
        assert!(warnings.iter().any(|it| it.contains("notifications/cancelled")), "{warnings:?}");
    })
    .await;
}

#[tokio::test]
async fn calls_to_a_child_that_reads_no_more_leave_no_backlog() {
    within_limit(async {
        let group = brisk_group();
        group.connect(shell_server("s", "sleep 60")).await.expect("it comes up");
        let before = tasks();
        // 64 KiB fit into the pipe, and 64 messages into the queue before it.
        let args = Map::from_iter([("text".to_owned(), "x".repeat(4 * 1024).into())]);
        for _ in 0..10 {
            let calls: FuturesUnordered<_> =
                (0..50).map(|_| short(&group, args.clone(), Duration::from_millis(20))).collect();
            calls.collect::<()>().await;
        }
        until(|| tasks() < before + 110).await;
        assert!(group.close().await.servers[0].leave.survivors.is_empty());
    })
    .await;
}

#[tokio::test]
async fn no_cancellation_is_lost_when_many_calls_are_given_up_at_the_same_moment() {
    const CALLS: usize = 2_500;
    within_limit(async {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("read");
        let group = brisk_group();
        // The first call makes the child record the rest of its input.
        let script = format!("cat > '{}'", file.display());
        group.connect(shell_server("s", &script)).await.expect("it comes up");
        let count = |what: &str| {
            let text = std::fs::read_to_string(&file).unwrap_or_default();
            text.lines().filter(|line| line.contains(what)).count()
        };
        let mut calls: FuturesUnordered<_> = (0..CALLS).map(|_| echo(&group, "s")).collect();
        while_calling(&mut calls, || count("tools/call") == CALLS - 1).await;
        drop(calls);
        until(|| count("notifications/cancelled") == CALLS).await;
        assert!(group.close().await.servers[0].leave.survivors.is_empty());
    })
    .await;
}
