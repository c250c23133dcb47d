//! Children that are a few lines of shell, with an answer for each method.

use moored_mcp::ServerParams;

use super::shell;

/// The result of a legacy handshake.
pub(crate) const INITIALIZED: &str = r#""result":{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"scripted","version":"1"}}"#;
/// The answer of a server that does not support `initialize`.
pub(crate) const NO_HANDSHAKE: &str = r#""error":{"code":-32022,"message":"Unsupported protocol version","data":{"supported":["2026-07-28"],"requested":"2025-11-25"}}"#;
/// The answer of a modern server to the probe.
pub(crate) const DISCOVERED: &str = r#""result":{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{"tools":{}},"ttlMs":0,"cacheScope":"private"}"#;
/// The answer of a server that does not know a method.
pub(crate) const NO_SUCH_METHOD: &str = r#""error":{"code":-32601,"message":"no such method"}"#;

const TOOLS: &str = r#""result":{"resultType":"complete","tools":[{"name":"echo","inputSchema":{"type":"object"}}],"ttlMs":0,"cacheScope":"private"}"#;

/// A child that runs a line of shell for `server/discover` and one for `initialize`, and lists one tool. In these lines
/// `answer TEXT` answers the request; `before` runs before anything is read.
pub(crate) fn scripted(name: &str, before: &str, discover: &str, initialize: &str) -> ServerParams {
    shell(
        name,
        &format!(
            r#"
answer() {{ printf '{{"jsonrpc":"2.0","id":%s,%s}}\n' "$id" "$1"; }}
{before}
while IFS= read -r line; do
    id=$(printf '%s' "$line" | sed -n 's/.*"id":\([0-9]*\).*/\1/p')
    case "$line" in
        *'"server/discover"'*) {discover} ;;
        *'"initialize"'*) {initialize} ;;
        *'"tools/list"'*) answer '{TOOLS}' ;;
    esac
done
"#
        ),
    )
}

/// The line of shell that answers with `text`.
pub(crate) fn say(text: &str) -> String {
    format!("answer '{text}'")
}
