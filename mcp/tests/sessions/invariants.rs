//! The invariants after every fault: no task, no descriptor, no process is left.

use std::time::Duration;

use moored_mcp::{CallOptions, Policy, ServerParams, SessionGroup};
use serde_json::Map;

use crate::support::http::{Reply, Server, legacy};
use crate::support::{at, brisk, fleet_server, shell, until, within_limit};

/// The numbers of live tasks and of open descriptors.
fn counts() -> (usize, usize) {
    let tasks = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let descriptors = std::fs::read_dir("/proc/self/fd").expect("/proc").count();
    (tasks, descriptors)
}

/// Waits until there are at most `baseline` tasks, because a task that was just joined is still counted for a moment.
pub(crate) async fn settled(baseline: usize) {
    until(|| counts().0 <= baseline).await;
}

/// Returns the group, so that its processes and tasks are checked while the group is still
/// held.
async fn every_fault_at_once() -> SessionGroup {
    let healthy = Server::start(legacy).await;
    let mute = Server::start(|request| match request.rpc.as_str() {
        "initialize" => Reply::Hang,
        _ => legacy(request),
    })
    .await;
    let broken = Server::start(|request| match request.rpc.as_str() {
        "notifications/initialized" => Reply::status(500),
        _ => legacy(request),
    })
    .await;
    let hanging = Server::start(|request| match request.verb.as_str() {
        "DELETE" => Reply::Hang,
        _ => legacy(request),
    })
    .await;
    let servers: Vec<ServerParams> = vec![
        at("healthy", &healthy.url),
        at("mute", &mute.url),
        at("broken", &broken.url),
        at("hanging", &hanging.url),
        at("refused", "http://127.0.0.1:1/mcp"),
        fleet_server("child", &[]),
        fleet_server("stubborn", &["--ignore-eof", "--ignore-sigterm"]),
        fleet_server("silent", &["--silent"]),
        shell("flood", "exec yes 'not a message'"),
        shell("dead", "exit 7"),
    ];
    let options = brisk()
        .connect_timeout(Duration::from_millis(1_500))
        .discover_timeout(Duration::from_millis(300));
    let group = SessionGroup::start(options);
    let results = group.connect_many(servers, Policy::BestEffort).await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 4, "{results:?}");
    let mut args = Map::new();
    args.insert("text".into(), "hello".into());
    let echo = group.call_tool("healthy/echo", args, CallOptions::default()).await;
    echo.expect("a healthy sibling is unaffected");
    let report = group.close().await;
    assert!(report.leave_ms <= 2_500, "{report:?}");
    assert!(report.servers.iter().all(|server| server.leave.survivors.is_empty()), "{report:?}");
    for server in [&healthy, &broken, &hanging] {
        assert_eq!(server.deletes(), 1, "{:?}", server.log());
    }
    assert_eq!(mute.deletes(), 0);
    group
}

/// Runs the faults twice: the first run sets up state that the process keeps (signal handling, roots), the second is
/// measured.
async fn leaves_nothing() {
    within_limit(async {
        let _first = every_fault_at_once().await;
        settled(0).await;
        let before = counts();
        let _second = every_fault_at_once().await;
        settled(before.0).await;
        let after = counts();
        assert!(after.1 <= before.1, "descriptors: {} before, {} after", before.1, after.1);
    })
    .await;
}

#[test]
fn no_task_and_no_descriptor_is_left_on_one_thread() {
    // A process of its own, so that other tests' descriptors are not counted.
    alone("invariants::on_one_thread");
}

#[test]
fn no_task_and_no_descriptor_is_left_on_many_threads() {
    alone("invariants::on_many_threads");
}

#[tokio::test]
#[ignore = "run by no_task_and_no_descriptor_is_left_on_one_thread in a process of its own"]
async fn on_one_thread() {
    leaves_nothing().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "run by no_task_and_no_descriptor_is_left_on_many_threads in a process of its own"]
async fn on_many_threads() {
    leaves_nothing().await;
}

fn alone(test: &str) {
    let binary = std::env::current_exe().expect("this test's binary");
    let output = std::process::Command::new(binary)
        .args(["--exact", test, "--ignored", "--test-threads", "1"])
        .output()
        .expect("it runs");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forty_sessions_leave_far_below_the_sum_of_their_budgets() {
    within_limit(async {
        let server = Server::start(legacy).await;
        let servers = (0..40)
            .map(|n| match n % 2 {
                0 => at(&format!("s{n}"), &server.url),
                _ => fleet_server(&format!("s{n}"), &[]),
            })
            .collect();
        let group = SessionGroup::start(brisk());
        for result in group.connect_many(servers, Policy::BestEffort).await {
            result.expect("it comes up");
        }
        let report = group.close().await;
        assert!(report.all_well(), "{report:?}");
        assert!(report.leave_ms < 2_000, "{} ms, and the sum is 100 s", report.leave_ms);
        assert_eq!(server.deletes(), 20);
    })
    .await;
}
