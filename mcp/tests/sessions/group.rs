//! The group as a whole: calls, closing from anywhere, any order.

use std::time::Duration;

use moored_mcp::{CallError, CallOptions, Outcome, Policy};
use serde_json::{Map, Value, json};

use crate::support::http::{Reply, Server, legacy};
use crate::support::{at, brisk_group, fleet_server, within_limit};

fn text(value: &str) -> Map<String, Value> {
    let mut args = Map::new();
    args.insert("text".into(), json!(value));
    args
}

#[tokio::test]
async fn equal_tool_names_are_routed_by_their_servers() {
    within_limit(async {
        let said = |name: &'static str| {
            move |request: &crate::support::http::Request| match request.rpc.as_str() {
                "tools/call" => Reply::json(json!({"jsonrpc": "2.0", "id": request.id,
                    "result": {"content": [{"type": "text", "text": name}]}})),
                _ => legacy(request),
            }
        };
        let (one, two) = (Server::start(said("one")).await, Server::start(said("two")).await);
        let group = brisk_group();
        let servers = vec![at("a", &one.url), at("a/b", &two.url)];
        for result in group.connect_many(servers, Policy::BestEffort).await {
            result.expect("it comes up");
        }
        let names: Vec<_> = group.list().into_iter().map(|component| component.hooked).collect();
        assert_eq!(names, ["a__echo", "a-x2f-b__echo"]);
        for (tool, answer) in [("a/echo", "one"), ("a/b/echo", "two")] {
            let result = group.call_tool(tool, Map::new(), CallOptions::default()).await;
            assert_eq!(result.expect("an answer")["content"][0]["text"], answer);
        }
        let unknown = group.call_tool("a/none", Map::new(), CallOptions::default()).await;
        assert!(matches!(unknown, Err(CallError::UnknownTool(_))), "{unknown:?}");
        assert!(group.close().await.all_well());
    })
    .await;
}

#[tokio::test]
async fn a_call_that_is_not_answered_ends_at_its_limit_and_the_server_is_told() {
    within_limit(async {
        let server = Server::start(|request| match request.rpc.as_str() {
            "tools/call" if request.params["arguments"]["text"] == "slow" => Reply::Hang,
            _ => legacy(request),
        })
        .await;
        let group = brisk_group();
        group.connect(at("s", &server.url)).await.expect("up");
        let limit = CallOptions::timeout(Duration::from_millis(200));
        let slow = group.call_tool("s/echo", text("slow"), limit).await;
        assert!(matches!(slow, Err(CallError::TimedOut { .. })), "{slow:?}");
        // The session is still up.
        let quick = group.call_tool("s/echo", text("quick"), CallOptions::default()).await;
        assert_eq!(quick.expect("an answer")["content"][0]["text"], "quick");
        let told = |line: &String| line == "POST notifications/cancelled";
        server.asked("POST notifications/cancelled").await;
        assert!(group.close().await.all_well());
        assert_eq!(server.log().iter().filter(|line| told(line)).count(), 1);
        assert_eq!(server.log().last().map(String::as_str), Some("DELETE s-1"));
    })
    .await;
}

#[tokio::test]
async fn one_503_fails_one_call_only() {
    within_limit(async {
        let server = Server::start(|request| match request.rpc.as_str() {
            "tools/call" if request.params["arguments"]["text"] == "bad" => Reply::status(503),
            _ => legacy(request),
        })
        .await;
        let group = brisk_group();
        group.connect(at("s", &server.url)).await.expect("up");
        let bad = group.call_tool("s/echo", text("bad"), CallOptions::default()).await;
        let Err(CallError::Failed { report, .. }) = &bad else { panic!("{bad:?}") };
        assert!(report.message.contains("HTTP 503"), "{report:?}");
        group.call_tool("s/echo", text("good"), CallOptions::default()).await.expect("an answer");
        assert!(group.close().await.all_well());
    })
    .await;
}

#[tokio::test]
async fn a_server_that_exits_in_a_call_is_named_with_its_status_and_withdrawn() {
    within_limit(async {
        let group = brisk_group();
        let flags = ["--exit-code", "7", "--exit-at", "call"];
        group.connect(fleet_server("frail", &flags)).await.expect("up");
        let gone = group.call_tool("frail/echo", text("x"), CallOptions::default()).await;
        let Err(CallError::ServerGone { report, .. }) = &gone else { panic!("{gone:?}") };
        assert!(report.message.contains("status 7"), "{report:?}");
        assert!(group.list().is_empty());
        let again = group.call_tool("frail/echo", text("x"), CallOptions::default()).await;
        assert!(matches!(again, Err(CallError::ServerGone { .. })), "{again:?}");
        let report = group.close().await;
        assert_eq!(report.servers[0].outcome, Outcome::Exited);
        assert!(report.servers[0].connect_ms.is_some());
    })
    .await;
}

#[tokio::test]
async fn a_close_from_another_task_is_the_same_close() {
    within_limit(async {
        let server = Server::start(legacy).await;
        let group = brisk_group();
        group.connect(at("s", &server.url)).await.expect("up");
        let closing = tokio::spawn({
            let group = group.clone();
            async move { group.close().await }
        });
        let report = closing.await.expect("no panic");
        assert!(report.all_well(), "{report:?}");
        assert_eq!(group.close().await, report);
        assert_eq!(server.deletes(), 1);
    })
    .await;
}

#[tokio::test]
async fn two_closes_at_once_and_one_dropped_midway_give_one_teardown_and_one_report() {
    within_limit(async {
        let server = Server::start(|request| match request.verb.as_str() {
            "DELETE" => Reply::Hang,
            _ => legacy(request),
        })
        .await;
        let group = brisk_group();
        group.connect(at("s", &server.url)).await.expect("up");
        let dropped = tokio::time::timeout(Duration::from_millis(50), group.close()).await;
        assert!(dropped.is_err(), "it waits for the DELETE");
        let (one, two) = tokio::join!(group.close(), group.close());
        assert_eq!(one, two);
        // Both closes waited for the real end, and report the duration from the first call.
        assert!(one.leave_ms >= 2_300, "{one:?}");
        assert_eq!(server.deletes(), 1);
    })
    .await;
}

#[tokio::test]
async fn sessions_are_disconnected_in_any_order() {
    within_limit(async {
        for order in [[0, 1, 2, 3, 4, 5, 6, 7], [7, 6, 5, 4, 3, 2, 1, 0], [3, 0, 6, 1, 7, 5, 2, 4]]
        {
            let server = Server::start(legacy).await;
            let group = brisk_group();
            let servers = (0..8)
                .map(|n| match n % 2 {
                    0 => at(&format!("s{n}"), &server.url),
                    _ => fleet_server(&format!("s{n}"), &[]),
                })
                .collect();
            for result in group.connect_many(servers, Policy::BestEffort).await {
                result.expect("it comes up");
            }
            for n in order {
                let name = format!("s{n}");
                // Each session is left by another task.
                let left = tokio::spawn({
                    let (group, name) = (group.clone(), name.clone());
                    async move { group.disconnect(&name).await }
                });
                let report = left.await.expect("no panic").expect("it was connected");
                assert!(report.leave.clean, "{report:?}");
                assert!(!group.list().iter().any(|component| component.server == name));
            }
            assert!(group.list().is_empty());
            assert!(group.disconnect("s0").await.is_none());
            let report = group.close().await;
            assert!(report.all_well() && report.servers.len() == 8, "{report:?}");
            assert_eq!(server.deletes(), 4);
        }
    })
    .await;
}

#[tokio::test]
async fn every_call_in_flight_at_a_close_resolves() {
    within_limit(async {
        let server = Server::start(|request| match request.rpc.as_str() {
            "tools/call" => Reply::Hang,
            _ => legacy(request),
        })
        .await;
        let group = brisk_group();
        group.connect(at("s", &server.url)).await.expect("up");
        let calls: Vec<_> = (0..50)
            .map(|_| {
                let group = group.clone();
                tokio::spawn(async move {
                    group.call_tool("s/echo", Map::new(), CallOptions::default()).await
                })
            })
            .collect();
        server.asked("POST tools/call").await;
        let report = group.close().await;
        assert!(report.all_well(), "{report:?}");
        for call in calls {
            let result = call.await.expect("no panic");
            assert!(matches!(result, Err(CallError::Closing(_))), "{result:?}");
        }
        // Nothing was posted after the DELETE.
        assert_eq!(server.log().last().map(String::as_str), Some("DELETE s-1"));
    })
    .await;
}

#[tokio::test]
async fn a_call_whose_caller_goes_away_is_cancelled_at_the_server() {
    within_limit(async {
        let server = Server::start(|request| match request.rpc.as_str() {
            "tools/call" => Reply::Hang,
            _ => legacy(request),
        })
        .await;
        let group = brisk_group();
        group.connect(at("s", &server.url)).await.expect("up");
        let calling = tokio::spawn({
            let group = group.clone();
            async move { group.call_tool("s/echo", Map::new(), CallOptions::default()).await }
        });
        server.asked("POST tools/call").await;
        calling.abort();
        server.asked("POST notifications/cancelled").await;
        assert!(group.close().await.all_well());
    })
    .await;
}

#[tokio::test]
async fn an_http_server_that_dies_in_a_call_fails_the_call_with_the_cause() {
    within_limit(async {
        let server = Server::start(|request| match request.rpc.as_str() {
            "tools/call" => Reply::Reset,
            _ => legacy(request),
        })
        .await;
        let group = brisk_group();
        group.connect(at("s", &server.url)).await.expect("up");
        let dead = group.call_tool("s/echo", Map::new(), CallOptions::default()).await;
        let Err(CallError::Failed { report, .. }) = &dead else { panic!("{dead:?}") };
        assert!(report.chain.len() > 1, "{report:?}");
        drop(server);
        // A pooled connection may break first; only then is a new one refused.
        loop {
            let gone = group.call_tool("s/echo", Map::new(), CallOptions::default()).await;
            let Err(CallError::Failed { report, .. }) = &gone else { panic!("{gone:?}") };
            let innermost = report.chain.last().expect("a chain");
            if innermost.contains("Connection refused (os error 111)") {
                break;
            }
        }
        // No server is left that could get the DELETE, and the report says so.
        let report = group.close().await;
        assert_eq!(report.servers[0].leave.delete, moored_mcp::Delete::Failed);
        assert!(report.servers[0].leave.suppressed[0].contains("Connection refused"), "{report:?}");
    })
    .await;
}

#[tokio::test]
async fn a_child_that_is_killed_in_a_call_is_named_with_the_signal() {
    within_limit(async {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let path = file.path().to_str().expect("a path").to_owned();
        let group = brisk_group();
        group.connect(fleet_server("victim", &["--pid-file", &path])).await.expect("up");
        let mut args = Map::new();
        args.insert("ms".into(), json!(60_000));
        let calling = tokio::spawn({
            let group = group.clone();
            async move { group.call_tool("victim/sleep", args, CallOptions::default()).await }
        });
        let pid = crate::support::pids(file.path())[0];
        let killed = std::process::Command::new("kill").args(["-9", &pid.to_string()]).status();
        assert!(killed.expect("kill").success());
        let gone = calling.await.expect("no panic");
        let Err(CallError::ServerGone { report, .. }) = &gone else { panic!("{gone:?}") };
        assert!(report.message.contains("SIGKILL (9)"), "{report:?}");
        let report = group.close().await;
        assert!(!report.clean, "a signal that was not ours");
        assert!(report.servers[0].leave.signals.is_empty(), "{report:?}");
    })
    .await;
}

#[tokio::test]
async fn a_name_can_be_used_again_after_its_session_has_been_left() {
    within_limit(async {
        let server = Server::start(legacy).await;
        let group = brisk_group();
        for _ in 0..3 {
            group.connect(at("s", &server.url)).await.expect("up");
            group.disconnect("s").await.expect("it was connected");
        }
        assert_eq!(server.deletes(), 3);
        assert_eq!(group.close().await.servers.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn the_events_of_a_session_come_in_order_and_end_with_its_report() {
    use moored_mcp::{EventKind, LeavePhase};
    within_limit(async {
        let server = Server::start(legacy).await;
        let group = brisk_group();
        let mut events = group.events();
        group.connect(at("s", &server.url)).await.expect("up");
        group.close().await;
        let mut steps = Vec::new();
        while let Ok(event) = events.try_recv() {
            assert_eq!((event.index, &*event.name), (0, "s"));
            steps.push(match event.kind {
                EventKind::Connecting => "connecting",
                EventKind::Up(_) => "up",
                EventKind::Closing => "closing",
                EventKind::Leaving(LeavePhase::Delete) => "delete",
                EventKind::Left(_) => "left",
                other => panic!("{other:?}"),
            });
        }
        assert_eq!(steps, ["connecting", "up", "closing", "delete", "left"]);
    })
    .await;
}

#[test]
fn a_group_may_be_asked_from_any_task() {
    fn any_task<T: Send + Sync + Clone + 'static>() {}
    fn sent<T: Send>(_: T) {}
    any_task::<moored_mcp::SessionGroup>();
    // Checked by the compiler, never run.
    let _ = |group: moored_mcp::SessionGroup| {
        sent(group.connect(at("s", "")));
        sent(group.connect_many(Vec::new(), Policy::FailFast));
        sent(group.call_tool("s/echo", Map::new(), CallOptions::default()));
        sent(group.disconnect("s"));
        sent(group.close());
    };
}
