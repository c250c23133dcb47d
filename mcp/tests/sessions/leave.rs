//! Leaving: the requests and signals, their order, the time limits, and that nothing is left.

use std::time::{Duration, Instant};

use moored_mcp::{
    CallOptions, Delete, Descendants, ExitStatusReport, LeaveReport, SessionGroup, Transport,
};
use serde_json::json;

use crate::support::http::{Reply, Server, legacy};
use crate::support::{at, brisk, brisk_group, exists, fleet_server, pids, within_limit};

/// Connects one fleet server with `flags`, closes, and returns its leave report with the ids of its processes.
async fn left(flags: &[&str]) -> (LeaveReport, Vec<i32>, Duration) {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let path = file.path().to_str().expect("a path").to_owned();
    let group = brisk_group();
    let flags: Vec<&str> = flags.iter().copied().chain(["--pid-file", &path]).collect();
    group.connect(fleet_server("child", &flags)).await.expect("it comes up");
    let pids = pids(file.path());
    let began = Instant::now();
    let report = group.close().await;
    let took = began.elapsed();
    (report.servers[0].leave.clone(), pids, took)
}

#[tokio::test]
async fn a_child_that_exits_at_the_end_of_input_gets_no_signal() {
    within_limit(async {
        let (leave, pids, took) = left(&[]).await;
        assert!(leave.clean, "{leave:?}");
        assert!(leave.signals.is_empty(), "{leave:?}");
        assert_eq!(leave.exit_status, Some(ExitStatusReport::Code(0)));
        assert_eq!(leave.delete, Delete::NotApplicable);
        assert!(took < Duration::from_millis(400), "{took:?}");
        assert!(!exists(pids[0]), "reaped");
    })
    .await;
}

#[tokio::test]
async fn a_child_that_ignores_the_end_of_input_gets_exactly_one_sigterm_after_the_grace() {
    within_limit(async {
        let (leave, pids, took) = left(&["--ignore-eof"]).await;
        assert!(leave.clean, "{leave:?}");
        assert_eq!(leave.signals, ["SIGTERM"]);
        assert!(took >= Duration::from_millis(400), "{took:?}");
        assert!(!exists(pids[0]), "reaped");
    })
    .await;
}

#[tokio::test]
async fn a_child_that_ignores_both_is_killed_after_both_graces_and_reaped() {
    within_limit(async {
        let (leave, pids, took) = left(&["--ignore-eof", "--ignore-sigterm"]).await;
        assert!(!leave.clean);
        assert_eq!(leave.signals, ["SIGTERM", "SIGKILL"]);
        assert_eq!(leave.exit_status, Some(ExitStatusReport::Signal(9)));
        assert!(leave.survivors.is_empty());
        assert!(
            took >= Duration::from_millis(800) && took < Duration::from_millis(1_600),
            "{took:?}"
        );
        assert!(!exists(pids[0]), "reaped");
    })
    .await;
}

#[tokio::test]
async fn a_budget_shorter_than_both_graces_shrinks_them() {
    within_limit(async {
        let grace = Duration::from_secs(20);
        let options =
            brisk().budget(Duration::from_millis(1_500)).eof_grace(grace).term_grace(grace);
        let group = SessionGroup::start(options);
        let flags = ["--ignore-eof", "--ignore-sigterm"];
        group.connect(fleet_server("child", &flags)).await.expect("it comes up");
        let report = group.close().await;
        assert_eq!(report.servers[0].leave.signals, ["SIGTERM", "SIGKILL"]);
        assert!((900..1_500).contains(&report.leave_ms), "{report:?}");
    })
    .await;
}

#[tokio::test]
async fn a_grandchild_that_holds_the_pipes_is_swept_after_its_leader_has_gone() {
    within_limit(async {
        let (leave, pids, took) = left(&["--grandchild"]).await;
        assert_eq!(pids.len(), 2);
        assert_eq!(leave.exit_status, Some(ExitStatusReport::Code(0)), "{leave:?}");
        assert_eq!(leave.signals, ["SIGTERM"], "{leave:?}");
        assert!(leave.survivors.is_empty() && leave.clean, "{leave:?}");
        assert!(took < Duration::from_millis(1_500), "{took:?}");
    })
    .await;
}

#[tokio::test]
async fn descendants_that_are_to_be_left_run_on_and_are_listed() {
    within_limit(async {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let path = file.path().to_str().expect("a path").to_owned();
        let flags = ["--grandchild", "--ignore-eof", "--pid-file", &path];
        let mut server = fleet_server("child", &flags);
        let Transport::Stdio(params) = &mut server.transport else { panic!("a child") };
        params.descendants = Descendants::Leave;
        let group = brisk_group();
        group.connect(server).await.expect("it comes up");
        let pids = pids(file.path());
        let report = group.close().await;
        let leave = &report.servers[0].leave;
        let alive = exists(pids[1]);
        // Before any assertion, so that a failing test leaves no process.
        let killed = std::process::Command::new("kill").args(["-9", &pids[1].to_string()]).status();
        assert!(alive && killed.expect("kill").success(), "{leave:?}");
        assert_eq!(
            (&leave.signals[..], leave.clean),
            (&["SIGTERM".to_owned()][..], true),
            "{leave:?}"
        );
        assert_eq!(
            (&leave.survivors[..], leave.descendants),
            (&pids[1..], Some(Descendants::Leave))
        );
        assert!(!exists(pids[0]), "the child is reaped");
    })
    .await;
}

/// Connects to a server that answers its DELETE with `reply`, closes, and returns the leave
/// report.
async fn deleted(reply: Reply) -> (LeaveReport, Duration, usize) {
    let server = Server::start(move |request| match request.verb.as_str() {
        "DELETE" => reply.clone(),
        _ => legacy(request),
    })
    .await;
    let group = brisk_group();
    group.connect(at("http", &server.url)).await.expect("it comes up");
    let began = Instant::now();
    let report = group.close().await;
    (report.servers[0].leave.clone(), began.elapsed(), server.deletes())
}

#[tokio::test]
async fn a_delete_is_sent_once_and_its_status_is_kept() {
    within_limit(async {
        for (status, delete, clean) in [
            (200, Delete::Terminated, true),
            (202, Delete::Terminated, true),
            (204, Delete::Terminated, true),
            (405, Delete::NotSupported, true),
            (404, Delete::AlreadyGone, true),
            (410, Delete::AlreadyGone, true),
            (501, Delete::NotSupported, true),
            (400, Delete::Failed, false),
            (403, Delete::Failed, false),
            (429, Delete::Failed, false),
            (503, Delete::Failed, false),
            (500, Delete::Failed, false),
            (401, Delete::Failed, false),
        ] {
            let (leave, _, deletes) = deleted(Reply::status(status)).await;
            assert_eq!((leave.delete, leave.clean), (delete, clean), "{status}: {leave:?}");
            assert_eq!(deletes, 1);
            if !clean {
                assert!(leave.suppressed[0].contains(&status.to_string()), "{leave:?}");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_delete_that_is_reset_has_failed() {
    within_limit(async {
        let (leave, _, _) = deleted(Reply::Reset).await;
        assert_eq!(leave.delete, Delete::Failed);
        assert_eq!(leave.suppressed.len(), 1, "{leave:?}");
    })
    .await;
}

#[tokio::test]
async fn a_delete_that_hangs_is_cut_off_at_the_budget_and_delays_nobody() {
    within_limit(async {
        let hanging = Server::start(|request| match request.verb.as_str() {
            "DELETE" => Reply::Hang,
            _ => legacy(request),
        })
        .await;
        let group = brisk_group();
        group.connect(at("hanging", &hanging.url)).await.expect("up");
        group.connect(fleet_server("child", &[])).await.expect("up");
        let report = group.close().await;
        let [hanging, child] = &report.servers[..] else { panic!("{report:?}") };
        assert_eq!(hanging.leave.delete, Delete::TimedOut);
        assert!(!hanging.leave.clean && hanging.leave.suppressed.is_empty(), "{hanging:?}");
        assert!((2_300..=2_500).contains(&report.leave_ms), "{report:?}");
        assert!(child.leave.clean && child.leave.ms < 1_000, "{child:?}");
    })
    .await;
}

#[tokio::test]
async fn hanging_deletes_do_not_take_the_turns_of_others() {
    within_limit(async {
        let hanging = Server::start(|request| match request.verb.as_str() {
            "DELETE" => Reply::Hang,
            _ => legacy(request),
        })
        .await;
        let healthy = Server::start(legacy).await;
        let mut options = brisk();
        options.delete_concurrency = 1;
        let group = SessionGroup::start(options);
        for n in 0..3 {
            group.connect(at(&format!("hanging {n}"), &hanging.url)).await.expect("up");
        }
        group.connect(at("healthy", &healthy.url)).await.expect("up");
        let report = group.close().await;
        let deletes: Vec<_> = report.servers.iter().map(|server| server.leave.delete).collect();
        assert_eq!(
            deletes,
            [Delete::TimedOut, Delete::TimedOut, Delete::TimedOut, Delete::Terminated],
            "{report:?}"
        );
    })
    .await;
}

#[tokio::test]
async fn force_sends_no_delete_and_kills_at_once() {
    within_limit(async {
        let server = Server::start(legacy).await;
        let group = brisk_group();
        group.connect(at("http", &server.url)).await.expect("up");
        group
            .connect(fleet_server("child", &["--ignore-eof", "--ignore-sigterm"]))
            .await
            .expect("up");
        group.force();
        let report = group.close().await;
        assert!(report.leave_ms < 1_000, "{report:?}");
        assert_eq!(report.servers[0].leave.delete, Delete::NotSent);
        assert_eq!(report.servers[1].leave.signals, ["SIGKILL"]);
        assert_eq!(server.deletes(), 0);
    })
    .await;
}

#[tokio::test]
async fn force_cuts_a_close_that_is_under_way_short() {
    within_limit(async {
        let hanging = Server::start(|request| match request.verb.as_str() {
            "DELETE" => Reply::Hang,
            _ => legacy(request),
        })
        .await;
        let group = brisk_group();
        group.connect(at("hanging", &hanging.url)).await.expect("up");
        group
            .connect(fleet_server("child", &["--ignore-eof", "--ignore-sigterm"]))
            .await
            .expect("up");
        let closing = tokio::spawn({
            let group = group.clone();
            async move { group.close().await }
        });
        hanging.asked("DELETE s-1").await;
        group.force();
        let report = closing.await.expect("no panic");
        assert!(report.leave_ms < 1_000, "{report:?}");
        assert_eq!(report.servers[1].leave.signals.last().map(String::as_str), Some("SIGKILL"));
    })
    .await;
}

#[tokio::test]
async fn a_child_that_stops_reading_with_a_large_send_pending_is_left_within_the_budget() {
    within_limit(async {
        let group = brisk_group();
        group.connect(fleet_server("full", &["--stop-reading"])).await.expect("up");
        let calls: Vec<_> = (0..3)
            .map(|_| {
                let group = group.clone();
                let text = "x".repeat(1024 * 1024);
                tokio::spawn(async move {
                    let mut args = serde_json::Map::new();
                    args.insert("text".into(), json!(text));
                    group.call_tool("full/echo", args, CallOptions::default()).await
                })
            })
            .collect();
        // The first call makes the server stop reading. The second call has a limit, and shows that it has stopped.
        let limited = CallOptions::timeout(Duration::from_millis(300));
        let _ = group.call_tool("full/echo", serde_json::Map::new(), limited).await;
        let report = group.close().await;
        assert!(report.leave_ms <= 2_500, "{report:?}");
        for call in calls {
            call.await.expect("no panic").expect_err("there is no answer");
        }
        assert!(report.servers[0].leave.survivors.is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_process_that_left_the_group_is_neither_waited_for_nor_claimed() {
    within_limit(async {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let path = file.path().to_str().expect("a path").to_owned();
        let server = env!("CARGO_BIN_EXE_moored-mcp");
        // The `sleep` holds the pipes of the server beside which it was started.
        let script = format!("setsid sleep 60 & echo $! > {path}; exec {server} fleet-server");
        let group = brisk_group();
        group.connect(crate::support::shell("beside", &script)).await.expect("up");
        let report = group.close().await;
        let stray = pids(file.path())[0].to_string();
        let killed = std::process::Command::new("kill").args(["-9", &stray]).status();
        assert!(killed.expect("kill").success(), "it was still there, and it was not ours to end");
        assert!(report.all_well(), "{report:?}");
        assert!(report.leave_ms < 1_000, "{report:?}");
    })
    .await;
}
