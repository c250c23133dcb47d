//! A library's client that is ended by SIGKILL, as a process of its own.

use std::path::Path;
use std::process::{Command, Stdio};

use moored_mcp::{Descendants, ServerParams, SessionGroup, StdioParams, Transport, Watchdog};

use crate::support::stubborn::is_running;
use crate::support::{brisk, exists, fleet_server, pids, until, until_blocking, within_limit};

const PLACE: &str = "MOORED_MCP_TEST_PLACE";

/// The watchdog of these tests, which writes its process id down.
fn watchdog(place: &Path) -> Watchdog {
    let binary = env!("CARGO_BIN_EXE_moored-mcp");
    let script = format!("echo $$ > {}; exec {binary} watchdog", place.join("watchdog").display());
    Watchdog::new("sh").arg("-c").arg(script)
}

#[test]
fn a_client_that_is_killed_leaves_neither_children_nor_grandchildren_behind() {
    let place = tempfile::tempdir().expect("a directory");
    let mut client = Command::new(std::env::current_exe().expect("this test's binary"));
    client.args(["--exact", "watchdog::the_client_that_is_killed", "--ignored"]);
    client.env(PLACE, place.path()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut client = client.spawn().expect("it runs");
    let up = place.path().join("up");
    until_blocking(|| up.exists());
    let mut all = pids(&place.path().join("stubborn"));
    all.extend(pids(&place.path().join("well")));
    all.extend(pids(&place.path().join("watchdog")));
    assert!(all.len() == 4 && all.iter().all(|pid| is_running(*pid)), "{all:?}");
    client.kill().expect("SIGKILL");
    client.wait().expect("it is reaped");
    until_blocking(|| !all.iter().any(|pid| is_running(*pid)));
}

#[tokio::test]
#[ignore = "run by a_client_that_is_killed_leaves_neither_children_nor_grandchildren_behind"]
async fn the_client_that_is_killed() {
    let place = std::env::var(PLACE).expect("it is run by the other test");
    let place = Path::new(&place);
    let group = SessionGroup::start(brisk().watchdog(watchdog(place)));
    let file = |name: &str| place.join(name).display().to_string();
    let stubborn = file("stubborn");
    let flags = ["--ignore-eof", "--ignore-sigterm", "--grandchild", "--pid-file", &stubborn];
    group.connect(fleet_server("stubborn", &flags)).await.expect("up");
    group.connect(fleet_server("well", &["--pid-file", &file("well")])).await.expect("up");
    std::fs::write(file("up"), "").expect("the file is written");
    std::future::pending().await
}

#[test]
fn a_client_that_is_killed_leaves_the_descendants_of_a_server_that_are_to_be_left() {
    let place = tempfile::tempdir().expect("a directory");
    let mut client = Command::new(std::env::current_exe().expect("this test's binary"));
    client.args(["--exact", "watchdog::the_client_with_descendants_to_leave", "--ignored"]);
    client.env(PLACE, place.path()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut client = client.spawn().expect("it runs");
    let up = place.path().join("up");
    until_blocking(|| up.exists());
    let [leader, descendant] = pids(&place.path().join("parent"))[..] else { panic!("two ids") };
    let watchdog = pids(&place.path().join("watchdog"))[0];
    client.kill().expect("SIGKILL");
    client.wait().expect("it is reaped");
    until_blocking(|| !is_running(leader) && !is_running(watchdog));
    assert!(is_running(descendant), "the policy holds when the watchdog acts, too");
    let id = rustix::process::Pid::from_raw(descendant).expect("an id");
    rustix::process::kill_process(id, rustix::process::Signal::KILL).expect("it is there");
    until_blocking(|| !is_running(descendant));
}

#[tokio::test]
#[ignore = "run by a_client_that_is_killed_leaves_the_descendants_of_a_server_that_are_to_be_left"]
async fn the_client_with_descendants_to_leave() {
    let place = std::env::var(PLACE).expect("it is run by the other test");
    let place = Path::new(&place);
    let group = SessionGroup::start(brisk().watchdog(watchdog(place)));
    let file = |name: &str| place.join(name).display().to_string();
    let parent = file("parent");
    let flags = ["--ignore-eof", "--ignore-sigterm", "--grandchild", "--pid-file", &parent];
    let mut params = fleet_server("parent", &flags);
    if let Transport::Stdio(stdio) = &mut params.transport {
        stdio.descendants = Descendants::Leave;
    }
    group.connect(params).await.expect("up");
    until(|| std::fs::read_to_string(file("watchdog")).is_ok_and(|it| it.ends_with('\n'))).await;
    std::fs::write(file("up"), "").expect("the file is written");
    std::future::pending().await
}

#[tokio::test]
async fn a_watchdog_lives_from_the_first_child_to_the_end_of_the_group() {
    within_limit(async {
        let place = tempfile::tempdir().expect("a directory");
        let group = SessionGroup::start(brisk().watchdog(watchdog(place.path())));
        let file = place.path().join("watchdog");
        assert!(!file.exists(), "nothing to guard yet");
        group.connect(fleet_server("one", &[])).await.expect("up");
        group.connect(fleet_server("two", &["--ignore-eof"])).await.expect("up");
        until(|| file.metadata().is_ok_and(|it| it.len() > 0)).await;
        let pid = pids(&file)[0];
        group.disconnect("one").await.expect("it was connected");
        assert!(exists(pid));
        let report = group.close().await;
        assert!(report.all_well(), "{report:?}");
        assert!(!exists(pid), "ended and reaped");
    })
    .await;
}

/// A child that is started before its watchdog has none for as long as that takes.
#[tokio::test]
async fn a_watchdog_is_there_before_the_first_child_is_started() {
    within_limit(async {
        let place = tempfile::tempdir().expect("a directory");
        let group = SessionGroup::start(brisk().watchdog(watchdog(place.path())));
        let absent = StdioParams::new("/no/such/program");
        group.connect(ServerParams::stdio("absent", absent)).await.expect_err("it is not there");
        until(|| place.path().join("watchdog").metadata().is_ok_and(|it| it.len() > 0)).await;
        assert!(group.close().await.clean);
    })
    .await;
}

#[tokio::test]
async fn without_a_watchdog_that_starts_a_child_is_up_with_a_warning() {
    within_limit(async {
        let watchdog = Watchdog::new("/no/such/watchdog");
        let group = SessionGroup::start(brisk().watchdog(watchdog));
        let info = group.connect(fleet_server("child", &[])).await.expect("up");
        let warns = |text: &String| text.contains("/no/such/watchdog: No such file or directory");
        assert!(info.warnings.iter().any(warns), "{info:?}");
        assert!(group.close().await.all_well());
    })
    .await;
}

#[tokio::test]
async fn a_watchdog_that_is_gone_costs_a_later_child_its_guard_and_nothing_else() {
    within_limit(async {
        let place = tempfile::tempdir().expect("a directory");
        let group = SessionGroup::start(brisk().watchdog(watchdog(place.path())));
        let file = place.path().join("watchdog");
        group.connect(fleet_server("one", &[])).await.expect("up");
        until(|| file.metadata().is_ok_and(|it| it.len() > 0)).await;
        let pid = pids(&file)[0];
        let id = rustix::process::Pid::from_raw(pid).expect("an id");
        rustix::process::kill_process(id, rustix::process::Signal::KILL).expect("it is there");
        until(|| !is_running(pid)).await;
        let info = group.connect(fleet_server("two", &[])).await.expect("up");
        assert!(info.warnings.iter().any(|text| text.contains("no watchdog")), "{info:?}");
        assert!(group.close().await.all_well());
        assert!(!exists(pid), "reaped");
    })
    .await;
}
