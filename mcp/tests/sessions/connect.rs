//! Connecting more than one server: names, policies, interruption.

use std::time::{Duration, Instant};

use moored_mcp::{Outcome, Policy, SessionGroup};

use crate::support::http::{Reply, Server, legacy};
use crate::support::{
    at, brisk, brisk_group, exists, fleet_server, pids, stubborn, until, until_blocking,
    within_limit,
};

#[tokio::test]
async fn a_duplicate_name_names_both_and_starts_nothing() {
    within_limit(async {
        let first = Server::start(legacy).await;
        let second = Server::start(legacy).await;
        let group = brisk_group();
        group.connect(at("twin", &first.url)).await.expect("the first one");
        let error = group.connect(at("twin", &second.url)).await.expect_err("the name is taken");
        assert_eq!(error.outcome(), Outcome::DuplicateName);
        let text = error.to_string();
        assert!(text.contains(&first.url) && text.contains(&second.url), "{text}");
        assert!(second.log().is_empty(), "{:?}", second.log());
        assert_eq!(group.list().len(), 1);
        let report = group.close().await;
        assert_eq!(report.servers.len(), 2);
        assert_eq!(report.servers[1].outcome, Outcome::DuplicateName);
        assert_eq!(report.servers[1].connect_ms, None);
        assert!(report.clean && !report.all_well());
    })
    .await;
}

#[tokio::test]
async fn best_effort_gives_each_server_its_own_outcome_in_the_order_given() {
    within_limit(async {
        let good = Server::start(legacy).await;
        let locked = Server::start(|_| Reply::status(401)).await;
        let group = brisk_group();
        let servers = vec![
            at("refused", "http://127.0.0.1:1/mcp"),
            at("good", &good.url),
            at("locked", &locked.url),
            at("good", &locked.url),
            fleet_server("child", &[]),
        ];
        let outcomes: Vec<_> = group
            .connect_many(servers, Policy::BestEffort)
            .await
            .into_iter()
            .map(|result| result.map_or_else(|error| error.outcome(), |_| Outcome::Ok))
            .collect();
        let expected = [
            Outcome::Unreachable,
            Outcome::Ok,
            Outcome::AuthRequired,
            Outcome::DuplicateName,
            Outcome::Ok,
        ];
        assert_eq!(outcomes, expected);
        let report = group.close().await;
        let reported: Vec<_> = report.servers.iter().map(|server| server.outcome).collect();
        assert_eq!(reported, expected);
        assert!(report.clean, "{report:?}");
    })
    .await;
}

#[tokio::test]
async fn fail_fast_interrupts_what_is_under_way_and_keeps_what_is_up() {
    within_limit(async {
        let mute = Server::start(|_| Reply::Hang).await;
        let good = Server::start(legacy).await;
        let group = brisk_group();
        group.connect(at("good", &good.url)).await.expect("it comes up");
        let began = Instant::now();
        let results = group
            .connect_many(
                vec![at("mute", &mute.url), at("refused", "http://127.0.0.1:1/mcp")],
                Policy::FailFast,
            )
            .await;
        assert!(began.elapsed() < Duration::from_secs(2));
        let outcomes: Vec<_> =
            results.iter().map(|result| result.as_ref().expect_err("neither").outcome()).collect();
        assert_eq!(outcomes, [Outcome::Closing, Outcome::Unreachable]);
        assert_eq!(group.list().len(), 1);
        let report = group.close().await;
        assert_eq!(report.servers[0].outcome, Outcome::Ok);
    })
    .await;
}

#[tokio::test]
async fn a_close_during_connect_makes_it_closing_and_nothing_is_registered() {
    within_limit(async {
        let mute = Server::start(|_| Reply::Hang).await;
        let group = brisk_group();
        let connecting = tokio::spawn({
            let (group, params) = (group.clone(), at("mute", &mute.url));
            async move { group.connect(params).await }
        });
        mute.asked("POST server/discover").await;
        let report = group.close().await;
        let error = connecting.await.expect("no panic").expect_err("interrupted");
        assert_eq!(error.outcome(), Outcome::Closing);
        assert_eq!(report.servers[0].outcome, Outcome::Closing);
        let late = group.connect(at("late", &mute.url)).await.expect_err("too late");
        assert_eq!(late.outcome(), Outcome::Closing);
        assert!(group.list().is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_caller_that_is_dropped_while_connecting_leaves_the_cleanup_to_the_owner() {
    within_limit(async {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let path = file.path().to_str().expect("a path").to_owned();
        let group = brisk_group();
        let params = fleet_server("mute", &["--silent", "--ignore-eof", "--pid-file", &path]);
        let connecting = tokio::spawn({
            let group = group.clone();
            async move { group.connect(params).await }
        });
        until(|| file.path().metadata().is_ok_and(|it| it.len() > 0)).await;
        connecting.abort();
        let _ = connecting.await;
        let pid = pids(file.path())[0];
        until(|| !exists(pid)).await;
        // The name is free again, and the report has the outcome.
        let report = group.close().await;
        assert_eq!(report.servers[0].outcome, Outcome::Closing);
        assert_eq!(report.servers[0].leave.signals, ["SIGTERM"]);
    })
    .await;
}

#[tokio::test]
async fn a_group_can_be_dropped_without_a_close() {
    within_limit(async {
        let server = Server::start(legacy).await;
        let file = tempfile::NamedTempFile::new().expect("a file");
        let path = file.path().to_str().expect("a path").to_owned();
        let group = brisk_group();
        group.connect(at("http", &server.url)).await.expect("up");
        group.connect(fleet_server("child", &["--pid-file", &path])).await.expect("up");
        drop(group);
        let pid = pids(file.path())[0];
        until(|| !exists(pid)).await;
        server.asked("DELETE s-1").await;
    })
    .await;
}

#[test]
fn a_runtime_that_is_shut_down_leaves_no_process_behind() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let (group, pids) = stubborn::connected(&runtime);
    runtime.shutdown_timeout(Duration::from_secs(5));
    stubborn::are_gone(&pids);
    drop(group);
}

#[test]
fn a_group_dropped_while_unwinding_neither_panics_nor_leaves_a_process() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let path = file.path().to_str().expect("a path").to_owned();
    let flags = ["--ignore-eof", "--ignore-sigterm", "--pid-file", &path];
    let unwound = std::panic::catch_unwind(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(within_limit(async {
            let group = SessionGroup::start(brisk());
            group.connect(fleet_server("stubborn", &flags)).await.expect("up");
            std::panic::resume_unwind(Box::new("on purpose"));
        }));
    });
    assert_eq!(unwound.expect_err("it unwound").downcast_ref(), Some(&"on purpose"));
    let pid = pids(file.path())[0];
    until_blocking(|| !(exists(pid)));
}
