//! Helpers of the tests: bounded time, servers, and a look at the process table.

use std::time::Duration;

use moored_mcp::{GroupOptions, ServerParams, SessionGroup};

// By their paths, because the fault suite has this file too, from another directory.
#[path = "support/asker.rs"]
pub(crate) mod asker;
#[path = "support/http.rs"]
pub(crate) mod http;
#[path = "support/real.rs"]
pub(crate) mod real;
#[path = "support/script.rs"]
pub(crate) mod script;
#[path = "support/servers.rs"]
mod servers;
#[path = "support/stubborn.rs"]
pub(crate) mod stubborn;

pub(crate) use servers::{at, fleet_server, shell};

/// Every test ends within this time, or fails.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

/// Runs a test under its time limit.
pub(crate) async fn within_limit<T>(test: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, test).await.expect("the test is over within its limit")
}

/// Short graces, so that a test of all phases takes a second.
pub(crate) fn brisk() -> GroupOptions {
    GroupOptions::default()
        .connect_timeout(Duration::from_secs(8))
        .budget(Duration::from_millis(2_500))
        .eof_grace(Duration::from_millis(400))
        .term_grace(Duration::from_millis(400))
        .discover_timeout(Duration::from_millis(500))
}

/// A group with short graces.
pub(crate) fn brisk_group() -> SessionGroup {
    SessionGroup::start(brisk())
}

/// A legacy server in a few lines of shell. `on_call` is its code for a tool call; `id` is then the id of the request,
/// and `say` prints an answer: `say '"result":{}'`.
pub(crate) fn shell_server(name: &str, on_call: &str) -> ServerParams {
    shell_server_with(name, "", on_call)
}

/// As [`shell_server`], with further `case` branches of the shell in `before`, which are tried first.
pub(crate) fn shell_server_with(name: &str, before: &str, on_call: &str) -> ServerParams {
    let script = format!(
        r#"
say() {{ printf '{{"jsonrpc":"2.0","id":%s,%s}}\n' "$id" "$1"; }}
while IFS= read -r line; do
    id=$(printf '%s' "$line" | sed -n 's/.*"id":\([0-9]*\).*/\1/p')
    case "$line" in
    {before}
    *'"method":"server/discover"'*) say '"error":{{"code":-32601,"message":"no such method"}}' ;;
    *'"method":"initialize"'*) say '"result":{{"protocolVersion":"2025-11-25","capabilities":{{"tools":{{}}}},"serverInfo":{{"name":"sh","version":"1"}}}}' ;;
    *'"method":"tools/list"'*) say '"result":{{"tools":[{{"name":"echo","inputSchema":{{"type":"object"}}}}]}}' ;;
    *'"method":"tools/call"'*) {on_call} ;;
    esac
done"#
    );
    shell(name, &script)
}

/// Calls the tool `echo` of a server.
pub(crate) async fn echo(
    group: &SessionGroup,
    server: &str,
) -> Result<serde_json::Value, moored_mcp::CallError> {
    group.call_tool(&format!("{server}/echo"), Default::default(), Default::default()).await
}

/// Waits for the first event for which `pick` returns a value, and returns that value.
pub(crate) async fn event<T>(
    events: &mut tokio::sync::broadcast::Receiver<moored_mcp::Event>,
    mut pick: impl FnMut(moored_mcp::EventKind) -> Option<T>,
) -> T {
    loop {
        let event = events.recv().await.expect("the group tells its events");
        if let Some(picked) = pick(event.kind) {
            return picked;
        }
    }
}

/// Whether a process exists, zombies included: a reaped process does not.
pub(crate) fn exists(pid: i32) -> bool {
    std::path::Path::new(&format!("/proc/{pid}")).exists()
}

/// The process ids that a fleet server has written into `file`.
pub(crate) fn pids(file: &std::path::Path) -> Vec<i32> {
    let text = std::fs::read_to_string(file).expect("the file of process ids");
    text.lines().map(|line| line.trim().parse().expect("a process id")).collect()
}

/// Polls until `condition` holds, because there is no event to wait for. The time limit of the test ends a poll that
/// never succeeds.
pub(crate) async fn until(condition: impl Fn() -> bool) {
    let mut looks = tokio::time::interval(Duration::from_millis(2));
    while !condition() {
        looks.tick().await;
    }
}

/// As [`until`], for a test that has no runtime any more.
pub(crate) fn until_blocking(condition: impl Fn() -> bool) {
    let end = std::time::Instant::now() + LIMIT;
    while !condition() {
        assert!(std::time::Instant::now() < end, "it did not come to that");
        std::thread::yield_now();
    }
}
