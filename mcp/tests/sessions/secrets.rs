//! Values that a server was given and repeats: no error, warning or report shows them.

use moored_mcp::{Adopted, CallError, ServerParams, StdioParams, Transport};
use rmcp::model::{CallToolRequestParams, CallToolResponse, ServerCapabilities, ServerConfig};
use rmcp::service::RequestContext;
use rmcp::transport::IntoTransport;
use rmcp::{ErrorData, RoleClient, RoleServer, ServerHandler, ServiceExt};
use serde_json::{Map, json};

use crate::support::{brisk_group, echo, shell, shell_server, shell_server_with, within_limit};

/// The same server with variables in its environment.
fn with_env(
    mut server: moored_mcp::ServerParams,
    pairs: &[(&str, &str)],
) -> moored_mcp::ServerParams {
    let Transport::Stdio(StdioParams { env, .. }) = &mut server.transport else {
        panic!("a child")
    };
    env.extend(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    server
}

#[tokio::test]
async fn values_of_env_are_hidden_in_the_tail_of_standard_error() {
    within_limit(async {
        let script = r#"echo "Error: key $API_KEY, mode $MODE, at $ROOT" >&2; echo "given given-to-it" >&2; exit 7"#;
        let env =
            [("API_KEY", "sk-123456"), ("MODE", "production"), ("ROOT", "/srv/files")];
        let params = with_env(shell("s", script), &env).secret("given-to-it");
        let group = brisk_group();
        let error = group.connect(params).await.expect_err("it exits");
        let line = "Error: key (hidden), mode production, at /srv/files";
        let report = error.report();
        assert_eq!(report.stderr_error.as_deref(), Some(line));
        let tail = format!("{line}\ngiven (hidden)\n");
        assert_eq!(report.stderr_tail.as_deref(), Some(&*tail));
        let report = group.close().await;
        assert!(!format!("{report:?}").contains("sk-123456"), "{report:?}");
    })
    .await;
}

#[tokio::test]
async fn values_of_env_are_hidden_in_errors_and_in_noise_and_a_result_is_unchanged() {
    within_limit(async {
        let rejects = r#"echo "noise $API_KEY"; say '"error":{"code":-32000,"message":"bad '"$API_KEY"'","data":{"key":"'"$API_KEY"'"}}'"#;
        let group = brisk_group();
        let server = with_env(shell_server("s", rejects), &[("API_KEY", "sk-123456")]);
        group.connect(server).await.expect("up");
        let error = echo(&group, "s").await.expect_err("rejected");
        assert!(matches!(error, CallError::Rejected { .. }), "{error:?}");
        let text = format!("{error} {error:?} {:?}", group.close().await);
        assert!(text.contains("noise (hidden)") && text.contains("bad (hidden)"), "{text}");
        assert!(!text.contains("sk-123456"), "{text}");

        let answers = r#"say '"result":{"content":[{"type":"text","text":"'"$API_KEY"'"}]}'"#;
        let group = brisk_group();
        let server = with_env(shell_server("s", answers), &[("API_KEY", "sk-123456")]);
        group.connect(server).await.expect("up");
        let answer = echo(&group, "s").await.expect("an answer");
        assert_eq!(answer["content"][0]["text"], "sk-123456");
        assert!(group.close().await.all_well());
    })
    .await;
}

/// An error without an id may be for the notification before it, and is held for a while.
#[tokio::test]
async fn a_secret_is_hidden_in_an_error_that_was_held() {
    within_limit(async {
        let list = r#"*'"method":"tools/list"'*)
            printf '{"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"bad %s"}}\n' "$API_KEY" ;;"#;
        let group = brisk_group();
        let server = shell_server_with("s", list, ":");
        let info = group.connect(with_env(server, &[("API_KEY", "sk-123456")])).await.expect("up");
        let error = info.list_error.expect("no list").chain.join(": ");
        assert!(error.contains("bad (hidden)"), "{error}");
        let report = format!("{:?}", group.close().await);
        assert!(!report.contains("sk-123456"), "{report}");
    })
    .await;
}

#[tokio::test]
async fn a_secret_is_hidden_in_the_reason_why_a_result_is_refused() {
    within_limit(async {
        let initialize = r#"*'"method":"initialize"'*)
            say '"result":{"protocolVersion":"'"$API_KEY"'","capabilities":{},"serverInfo":{"name":"s","version":"1"}}' ;;"#;
        let group = brisk_group();
        let server = shell_server_with("s", initialize, ":");
        let server = with_env(server, &[("API_KEY", "sk-123456")]);
        let error = group.connect(server).await.expect_err("no version");
        assert!(error.to_string().contains("version \"(hidden)\""), "{error}");
        let report = format!("{:?}", group.close().await);
        assert!(!report.contains("sk-123456"), "{report}");
    })
    .await;
}

#[tokio::test]
async fn a_secret_argument_is_hidden_where_a_command_line_is_shown() {
    within_limit(async {
        let group = brisk_group();
        let server = || shell_server("s", ": key-123456").secret("key-123456");
        group.connect(server()).await.expect("up");
        let error = group.connect(server()).await.expect_err("the name is taken");
        assert!(error.to_string().contains(": (hidden)"), "{error}");
        assert!(!error.to_string().contains("key-123456"), "{error}");
        group.close().await;
    })
    .await;
}

/// Rejects every call, and repeats a secret in the error.
#[derive(Clone)]
struct Talker;

impl ServerHandler for Talker {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
    }

    async fn call_tool(
        &self,
        _request: CallToolRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        Err(ErrorData::internal_error("bad key-123456", Some(json!({"key": "key-123456"}))))
    }
}

#[tokio::test]
async fn a_secret_is_hidden_in_the_errors_of_adopted_servers() {
    within_limit(async {
        let end = || {
            let (ours, theirs) = tokio::io::duplex(64 * 1024);
            tokio::spawn(async move {
                let server = Talker.serve(theirs).await.expect("a session");
                server.waiting().await.expect("no panic");
            });
            ours
        };
        let client = ().serve(end()).await.expect("a session");
        let transport = IntoTransport::<RoleClient, _, _>::into_transport(tokio::io::split(end()));
        let (transport, _returned) = Adopted::transport(transport);
        let (input, output) = tokio::io::split(end());
        let (pipe, _pipes) = Adopted::pipe(input, output);
        for adopted in [Adopted::new(client.peer().clone()), transport, pipe] {
            let group = brisk_group();
            let params = ServerParams::adopted("s", adopted).secret("key-123456");
            group.connect(params).await.expect("up");
            let asked = group.request(
                "s",
                "tools/call",
                Map::from_iter([("name".into(), json!("t"))]),
                Default::default(),
            );
            let error = asked.await.expect_err("rejected");
            let text = format!("{error} {error:?}");
            assert!(text.contains("bad (hidden)") && !text.contains("key-123456"), "{text}");
            group.close().await;
        }
        client.cancel().await.expect("no panic");
    })
    .await;
}
