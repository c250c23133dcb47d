//! What a server offers, where it does not make it easy.

use moored_mcp::{CallOptions, ComponentKind, Outcome};
use serde_json::{Map, Value, json};

use crate::support::http::{Reply, Request, Server, legacy};
use crate::support::{at, brisk_group, within_limit};

fn result(request: &Request, value: Value) -> Reply {
    Reply::json(json!({"jsonrpc": "2.0", "id": request.id, "result": value}))
}

/// A server with prompts and resources as well, and pages by `page`.
fn offering(page: impl Fn(&Request) -> Option<Reply> + Send + Sync) -> impl Fn(&Request) -> Reply {
    move |request| match request.rpc.as_str() {
        "initialize" => result(
            request,
            json!({
                "protocolVersion": "2025-11-25",
                "capabilities": {"tools": {}, "prompts": {}, "resources": {}},
                "serverInfo": {"name": "scripted", "version": "1"},
            }),
        )
        .with("mcp-session-id", "s-1"),
        _ => page(request).unwrap_or_else(|| legacy(request)),
    }
}

#[tokio::test]
async fn all_pages_are_read() {
    within_limit(async {
        let server = Server::start(offering(|request| {
            let cursor = request.params["cursor"].as_str().unwrap_or("0");
            let page: usize = cursor.parse().expect("our own cursor");
            Some(match request.rpc.as_str() {
                "tools/list" => {
                    let tool =
                        json!({"name": format!("t{page}"), "inputSchema": {"type": "object"}});
                    let mut value = json!({"tools": [tool]});
                    if page < 4 {
                        value["nextCursor"] = json!((page + 1).to_string());
                    }
                    result(request, value)
                }
                "prompts/list" => result(request, json!({"prompts": [{"name": "p"}]})),
                "resources/list" => {
                    result(request, json!({"resources": [{"name": "r", "uri": "file:///r"}]}))
                }
                _ => return None,
            })
        }))
        .await;
        let group = brisk_group();
        let info = group.connect(at("s", &server.url)).await.expect("up");
        assert_eq!((info.tools, info.prompts, info.resources), (5, 1, 1), "{info:?}");
        assert!(info.warnings.is_empty(), "{info:?}");
        let resource = group.list().into_iter().find(|it| it.kind == ComponentKind::Resource);
        let resource = resource.expect("one");
        assert_eq!((resource.hooked.as_str(), resource.wire.as_str()), ("s/r", "file:///r"));
        assert!(group.close().await.all_well());
    })
    .await;
}

#[tokio::test]
async fn a_repeating_cursor_ends_the_list_with_a_warning() {
    within_limit(async {
        let server = Server::start(offering(|request| match request.rpc.as_str() {
            "tools/list" => Some(result(
                request,
                json!({"tools": [{"name": "t", "inputSchema": {"type": "object"}}], "nextCursor": "again"}),
            )),
            _ => None,
        }))
        .await;
        let group = brisk_group();
        let info = group.connect(at("s", &server.url)).await.expect("up");
        assert!(info.warnings.iter().any(|it| it.contains("repeats its cursor")), "{info:?}");
        assert_eq!(info.tools, 2);
        group.close().await;
    })
    .await;
}

#[tokio::test]
async fn one_kind_of_list_that_fails_is_a_warning_and_the_rest_stands() {
    within_limit(async {
        let server = Server::start(offering(|request| match request.rpc.as_str() {
            "prompts/list" => Some(Reply::status(500)),
            "resources/list" => Some(result(request, json!({"resources": []}))),
            _ => None,
        }))
        .await;
        let group = brisk_group();
        let info = group.connect(at("s", &server.url)).await.expect("up");
        assert_eq!(info.tools, 1);
        let [warning] = &info.warnings[..] else { panic!("{info:?}") };
        assert!(warning.contains("prompts") && warning.contains("500"), "{warning}");
        assert!(group.close().await.all_well());
    })
    .await;
}

#[tokio::test]
async fn a_server_that_offers_nothing_stays_connected() {
    within_limit(async {
        let server = Server::start(|request| match request.rpc.as_str() {
            "initialize" => result(
                request,
                json!({"protocolVersion": "2025-06-18", "capabilities": {},
                    "serverInfo": {"name": "bare", "version": "0"}}),
            ),
            _ => legacy(request),
        })
        .await;
        let group = brisk_group();
        let info = group.connect(at("s", &server.url)).await.expect("up");
        assert_eq!((info.tools, info.era.as_deref()), (0, Some("2025-06-18")));
        let report = group.close().await;
        assert!(report.all_well(), "{report:?}");
        // It never gave a session id, so there is none to end.
        assert_eq!(server.deletes(), 0);
    })
    .await;
}

#[tokio::test]
async fn a_session_that_has_expired_is_begun_anew_once_and_the_new_one_is_ended() {
    within_limit(async {
        let server = Server::start(|request| {
            let session = request.headers.get("mcp-session-id").map(String::as_str);
            match (request.rpc.as_str(), session) {
                ("tools/call", Some("s-1")) => Reply::status(404),
                _ => legacy(request),
            }
        })
        .await;
        let group = brisk_group();
        group.connect(at("s", &server.url)).await.expect("up");
        // The scripted server hands out the same id again, so the second try fails as well: once is enough.
        let failed = group.call_tool("s/echo", Map::new(), CallOptions::default()).await;
        failed.expect_err("404 twice");
        let count = |what: &str| server.log().iter().filter(|line| *line == what).count();
        assert_eq!(count("POST initialize"), 2, "{:?}", server.log());
        assert_eq!(count("POST tools/call"), 2, "{:?}", server.log());
        let report = group.close().await;
        assert_eq!(report.servers[0].outcome, Outcome::Ok);
        assert_eq!(server.deletes(), 1);
    })
    .await;
}
