//! Children that are started again, and children that wait for their turn.

use std::time::Duration;

use moored_mcp::{Era, ExitStatusReport, Outcome, Policy, SessionGroup};

use crate::support::script::{INITIALIZED, NO_SUCH_METHOD, say, scripted};
use crate::support::{brisk, brisk_group, exists, pids, until, within_limit};

/// Lines that write this child's process id into a file, and exit with 9 if an earlier child is still
/// alive.
fn alone(file: &tempfile::NamedTempFile) -> String {
    let file = file.path().display();
    format!(
        r#"for pid in $(cat {file}); do kill -0 $pid 2>/dev/null && exit 9; done; echo $$ >> {file}"#
    )
}

#[tokio::test]
async fn a_child_that_exits_on_the_probe_is_started_again_when_nothing_is_left_of_it() {
    within_limit(async {
        for ending in [
            "exit 1",
            "exit 0",
            "kill -9 $$",
            // The child answers before it exits.
            &format!("answer '{NO_SUCH_METHOD}'; exit 1"),
            // Another process holds the pipes of the child that has ended.
            "sleep 60 & exit 1",
            // The child closes its standard output and goes on.
            "exec 1>&-; while read -r line; do :; done",
        ] {
            let file = tempfile::NamedTempFile::new().expect("a file");
            let group = brisk_group();
            let params = scripted("child", &alone(&file), ending, &say(INITIALIZED));
            let info = group.connect(params).await.expect(ending);
            assert_eq!((info.era.as_deref(), info.tools), (Some("2025-11-25"), 1), "{ending}");
            let again = |text: &String| text.contains("started again");
            assert!(info.warnings.iter().any(again), "{ending}: {info:?}");
            assert_eq!(group.list().len(), 1);
            let pids = pids(file.path());
            assert_eq!(pids.len(), 2, "{ending}");
            assert!(!exists(pids[0]) && exists(pids[1]), "{ending}");
            let report = group.close().await;
            assert!(report.all_well(), "{ending}: {report:?}");
            assert_eq!((report.servers.len(), report.servers[0].starts), (1, 2), "{ending}");
            assert!(!exists(pids[1]), "{ending}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_child_that_exits_once_the_probe_was_given_up_is_started_again_too() {
    within_limit(async {
        let group = SessionGroup::start(brisk().discover_timeout(Duration::from_millis(100)));
        let params = scripted("child", "", "sleep 0.5; exit 1", &say(INITIALIZED));
        group.connect(params).await.expect("it comes up");
        let report = group.close().await;
        assert!(report.all_well(), "{report:?}");
        assert_eq!(report.servers[0].starts, 2);
    })
    .await;
}

#[tokio::test]
async fn a_second_process_that_is_not_up_in_time_tells_the_end_of_the_first_one() {
    within_limit(async {
        let group = SessionGroup::start(brisk().connect_timeout(Duration::from_millis(1_500)));
        let error = group.connect(scripted("child", "", "exit 7", ":")).await.expect_err("mute");
        assert_eq!(error.outcome(), Outcome::TimedOut);
        let text = error.to_string();
        assert!(text.contains("initialize") && text.contains("exited with status 7"), "{text}");
        group.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_child_that_rejects_initialize_after_a_probe_is_started_again() {
    within_limit(async {
        let limits = brisk().discover_timeout(Duration::from_millis(100));
        let limits = limits.connect_timeout(Duration::from_secs(4));
        // Some bridges begin a session of their own at the first message of any kind.
        let unanswered = "probed=1".to_owned();
        let answered = format!("probed=1; {}", say(NO_SUCH_METHOD));
        for (probe, then) in [(&answered, ""), (&answered, "; exit 1"), (&unanswered, "")] {
            let rejects = format!("{}{then}", say(NO_SUCH_METHOD));
            let initialize =
                format!(r#"if [ -n "$probed" ]; then {rejects}; else {}; fi"#, say(INITIALIZED));
            let group = SessionGroup::start(limits.clone());
            let info = group.connect(scripted("bridge", "", probe, &initialize)).await;
            let info = info.unwrap_or_else(|error| panic!("{probe}{then}: {error}"));
            assert_eq!((info.era.as_deref(), info.tools), (Some("2025-11-25"), 1), "{probe}{then}");
            let report = group.close().await;
            assert!(report.all_well(), "{probe}{then}: {report:?}");
            assert_eq!(report.servers[0].starts, 2, "{probe}{then}");
        }
        // A child that rejects it in any case is told by its words.
        let group = SessionGroup::start(limits);
        let rejects = scripted("rejects", "", &say(NO_SUCH_METHOD), &say(NO_SUCH_METHOD));
        let error = group.connect(rejects).await.expect_err("it rejects");
        assert!(error.to_string().contains("no such method"), "{error}");
        assert_eq!(group.close().await.servers[0].starts, 2);
    })
    .await;
}

#[tokio::test]
async fn a_child_that_exits_again_is_told_by_its_second_end() {
    within_limit(async {
        let group = brisk_group();
        let params = scripted("child", "", "exit 3", "echo no licence >&2; exit 4");
        let error = group.connect(params).await.expect_err("it exits");
        assert_eq!(error.outcome(), Outcome::Exited);
        assert_eq!(error.report().exit_status, Some(ExitStatusReport::Code(4)));
        assert_eq!(error.report().stderr_tail.as_deref(), Some("no licence\n"));
        assert!(error.to_string().contains("initialize"), "{error}");
        let report = group.close().await;
        assert_eq!(report.servers[0].starts, 2);
        assert!(report.clean, "{report:?}");
        let first = report.servers[0].attempts[0].restarted_because.as_deref().expect("why");
        assert!(first.contains("status 3") && first.contains("server/discover"), "{first}");
        assert_eq!(report.servers[0].attempts[1].restarted_because, None);
    })
    .await;
}

#[tokio::test]
async fn a_child_that_was_not_probed_is_started_once() {
    within_limit(async {
        let group = brisk_group();
        let params = scripted("child", "", "exit 3", "exit 4").era(Era::Legacy);
        group.connect(params).await.expect_err("it exits");
        let refuses = scripted("refuses", "", "", &say(NO_SUCH_METHOD)).era(Era::Legacy);
        group.connect(refuses).await.expect_err("it refuses");
        let report = group.close().await;
        assert!(report.servers.iter().all(|server| server.starts == 1), "{report:?}");
    })
    .await;
}

#[tokio::test]
async fn a_child_that_exits_without_having_read_the_probe_is_started_once() {
    within_limit(async {
        let group = brisk_group();
        for (name, before) in
            [("at once", "exit 7"), ("later", "sleep 0.3; exit 7"), ("shut", "exec <&-; exit 7")]
        {
            let error = group.connect(scripted(name, before, "", "")).await.expect_err("it exits");
            assert_eq!(error.report().exit_status, Some(ExitStatusReport::Code(7)), "{name}");
        }
        let report = group.close().await;
        assert!(report.servers.iter().all(|server| server.starts == 1), "{report:?}");
    })
    .await;
}

#[tokio::test]
async fn an_order_to_leave_while_the_first_process_is_left_starts_no_second_one() {
    within_limit(async {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let group = SessionGroup::start(brisk().term_grace(Duration::from_secs(20)));
        // The grandchild ignores SIGTERM, so leaving lasts until the grace is over.
        let ending = "(trap '' TERM; while :; do sleep 0.05; done) & exit 1";
        let params = scripted("child", &alone(&file), ending, &say(INITIALIZED));
        let connecting = tokio::spawn({
            let group = group.clone();
            async move { group.connect(params).await }
        });
        until(|| pids(file.path()).first().is_some_and(|pid| is_zombie(*pid))).await;
        let report = group.close().await;
        let error = connecting.await.expect("no panic").expect_err("interrupted");
        assert_eq!(error.outcome(), Outcome::Closing);
        assert_eq!((report.servers.len(), report.servers[0].starts), (1, 1), "{report:?}");
        assert_eq!(pids(file.path()).len(), 1);
    })
    .await;
}

fn is_zombie(pid: i32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('Z')))
}

#[tokio::test]
async fn children_that_wait_for_their_turn_have_all_their_time_when_it_comes() {
    within_limit(async {
        // The starts together take longer than the limit of one.
        let limits = brisk().starts(1).connect_timeout(Duration::from_millis(2_500));
        let group = SessionGroup::start(limits);
        let servers = (0..4)
            .map(|at| {
                let name = format!("child {at}");
                scripted(&name, "sleep 0.8", &say(NO_SUCH_METHOD), &say(INITIALIZED))
            })
            .collect();
        for result in group.connect_many(servers, Policy::BestEffort).await {
            result.expect("it comes up");
        }
        let report = group.close().await;
        assert!(report.all_well(), "{report:?}");
        let mut before = 0;
        for (at, server) in report.servers.iter().enumerate() {
            let least = 800 * u64::try_from(at).expect("small");
            assert!(server.waited_ms >= least && server.waited_ms >= before, "{report:?}");
            let took = server.connect_ms.expect("it was connected");
            assert!((800..2_500).contains(&took), "{report:?}");
            before = server.waited_ms;
        }
        assert!(report.servers[0].waited_ms < 800, "{report:?}");
    })
    .await;
}

#[tokio::test]
async fn a_turn_is_given_back_by_a_child_that_fails_and_by_one_that_stays_up() {
    within_limit(async {
        let limits = brisk().starts(1).connect_timeout(Duration::from_millis(1_500));
        let group = SessionGroup::start(limits.discover_timeout(Duration::from_millis(50)));
        let servers = vec![
            scripted("mute", "", ":", ":"),
            scripted("gone", "exit 3", "", ""),
            scripted("up", "", &say(NO_SUCH_METHOD), &say(INITIALIZED)),
            scripted("up too", "", &say(NO_SUCH_METHOD), &say(INITIALIZED)),
        ];
        let outcomes: Vec<_> = group
            .connect_many(servers, Policy::BestEffort)
            .await
            .into_iter()
            .map(|result| result.map_or_else(|error| error.outcome(), |_| Outcome::Ok))
            .collect();
        assert_eq!(outcomes, [Outcome::TimedOut, Outcome::Exited, Outcome::Ok, Outcome::Ok]);
        assert!(group.close().await.clean);
    })
    .await;
}

#[tokio::test]
async fn a_child_that_is_asked_to_leave_before_its_turn_is_never_started() {
    within_limit(async {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let group = SessionGroup::start(brisk().starts(1));
        let connecting = tokio::spawn({
            let group = group.clone();
            let servers = vec![
                scripted("mute", &format!("echo $$ >> {}", file.path().display()), ":", ":"),
                scripted("waits", &format!("echo $$ >> {}", file.path().display()), ":", ":"),
            ];
            async move { group.connect_many(servers, Policy::BestEffort).await }
        });
        until(|| !pids(file.path()).is_empty()).await;
        let report = group.close().await;
        let results = connecting.await.expect("no panic");
        assert!(results.iter().all(|result| {
            result.as_ref().is_err_and(|error| error.outcome() == Outcome::Closing)
        }));
        let waits = &report.servers[1];
        assert_eq!((waits.connect_ms, waits.starts), (None, 0), "{waits:?}");
        assert_eq!(pids(file.path()).len(), 1);
        assert!(report.clean, "{report:?}");
    })
    .await;
}
