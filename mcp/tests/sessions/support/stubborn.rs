//! A child and a grandchild that ignore all but SIGKILL.

use moored_mcp::SessionGroup;
use tokio::runtime::Runtime;

use super::{brisk, fleet_server, pids, until_blocking, within_limit};

/// Whether a process is alive, and not only not reaped yet.
pub(crate) fn is_running(pid: i32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('Z')))
}

/// A group in `runtime` with such a server, and the process ids of the two.
pub(crate) fn connected(runtime: &Runtime) -> (SessionGroup, Vec<i32>) {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let path = file.path().to_str().expect("a path").to_owned();
    let group = runtime.block_on(within_limit(async {
        let group = SessionGroup::start(brisk());
        let flags = ["--ignore-eof", "--ignore-sigterm", "--grandchild", "--pid-file", &path];
        group.connect(fleet_server("stubborn", &flags)).await.expect("up");
        group
    }));
    let pids = pids(file.path());
    assert_eq!(pids.len(), 2, "a leader and its grandchild");
    (group, pids)
}

/// Waits until neither of them runs. A grandchild is reaped by a process that adopts orphans, if there is one, so only
/// that it does not run is required.
pub(crate) fn are_gone(pids: &[i32]) {
    until_blocking(|| !pids.iter().any(|pid| is_running(*pid)));
}
