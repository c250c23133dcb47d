//! Helpers of the tests: bounded time, servers, and a look at the process table.

use std::time::Duration;

use moored_mcp::{GroupOptions, HttpParams, ServerParams, SessionGroup, StdioParams};

pub(crate) mod asker;
pub(crate) mod http;
pub(crate) mod script;

/// Every test ends within this time, one way or the other.
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

/// The program's own stdio server, with faults.
pub(crate) fn fleet_server(name: &str, flags: &[&str]) -> ServerParams {
    let mut params = StdioParams::new(env!("CARGO_BIN_EXE_moored-mcp"));
    params.args =
        std::iter::once("fleet-server").chain(flags.iter().copied()).map(str::to_owned).collect();
    ServerParams::stdio(name, params)
}

/// A child that is a line of shell.
pub(crate) fn shell(name: &str, script: &str) -> ServerParams {
    let mut params = StdioParams::new("sh");
    params.args = vec!["-c".into(), script.into()];
    ServerParams::stdio(name, params)
}

/// A legacy server in a few lines of shell. `on_call` is its code for a tool call; `id` is then the id of the request,
/// and `say` prints an answer: `say '"result":{}'`.
pub(crate) fn shell_server(name: &str, on_call: &str) -> ServerParams {
    shell_server_with(name, "", on_call)
}

/// The same, doing something else first where a request matches: `before` holds cases of the shell.
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

/// A server behind an address.
pub(crate) fn at(name: &str, url: &str) -> ServerParams {
    ServerParams::http(name, HttpParams::new(url))
}

/// Whether a process exists, zombies included: a reaped process does not.
pub(crate) fn exists(pid: i32) -> bool {
    std::path::Path::new(&format!("/proc/{pid}")).exists()
}

/// The process ids a fleet server has written down.
pub(crate) fn pids(file: &std::path::Path) -> Vec<i32> {
    let text = std::fs::read_to_string(file).expect("the file of process ids");
    text.lines().map(|line| line.trim().parse().expect("a process id")).collect()
}

/// Looks until something is so that the operating system has no event for; the test's limit ends a look that lasts for
/// ever.
pub(crate) async fn until(condition: impl Fn() -> bool) {
    let mut looks = tokio::time::interval(Duration::from_millis(2));
    while !condition() {
        looks.tick().await;
    }
}

/// The same where no runtime is left to wait in.
pub(crate) fn until_blocking(condition: impl Fn() -> bool) {
    let end = std::time::Instant::now() + LIMIT;
    while !condition() {
        assert!(std::time::Instant::now() < end, "it did not come to that");
        std::thread::yield_now();
    }
}
