//! Lists that a server does not give: a failure may be over soon, and a refusal stands until something changes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use moored_mcp::{ComponentKind, Event, EventKind, Outcome};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::broadcast::Receiver;
use tokio::time::Instant;

use crate::support::http::{Reply, Request, Server, legacy, modern};
use crate::support::{at, brisk_group, event, shell_server_with, until, within_limit};

fn result(request: &Request, mut value: Value) -> Reply {
    value["resultType"] = json!("complete");
    value["ttlMs"] = json!(0);
    value["cacheScope"] = json!("private");
    Reply::json(json!({"jsonrpc": "2.0", "id": request.id, "result": value}))
}

fn error(request: &Request, code: i64) -> Reply {
    let error = json!({"code": code, "message": "no"});
    Reply::json(json!({"jsonrpc": "2.0", "id": request.id, "error": error}))
}

/// A server of either era that offers tools and prompts; `lists` answers the requests for them.
async fn server(
    is_modern: bool,
    lists: impl Fn(&Request) -> Option<Reply> + Send + Sync + 'static,
) -> Server {
    server_of(json!({"tools": {}, "prompts": {}}), is_modern, lists).await
}

/// As [`server`], with other capabilities.
async fn server_of(
    capabilities: Value,
    is_modern: bool,
    lists: impl Fn(&Request) -> Option<Reply> + Send + Sync + 'static,
) -> Server {
    Server::start(move |request| {
        let capabilities = capabilities.clone();
        match request.rpc.as_str() {
            "server/discover" if is_modern => {
                let versions = json!(["2026-07-28"]);
                result(
                    request,
                    json!({"supportedVersions": versions, "capabilities": capabilities}),
                )
            }
            "initialize" if !is_modern => result(
                request,
                json!({
                    "protocolVersion": "2025-11-25",
                    "capabilities": capabilities,
                    "serverInfo": {"name": "scripted", "version": "1"},
                }),
            ),
            _ => lists(request)
                .unwrap_or_else(|| if is_modern { modern(request) } else { legacy(request) }),
        }
    })
    .await
}

/// Waits until the prompts are listed.
async fn prompts(events: &mut Receiver<Event>) {
    event(events, |kind| match kind {
        EventKind::ListChanged { kind: ComponentKind::Prompt, .. } => Some(()),
        _ => None,
    })
    .await;
}

/// The refusals of a list.
fn refusals() -> Vec<fn(&Request) -> Reply> {
    vec![
        |request| error(request, -32601),
        |request| error(request, -32602),
        |request| error(request, -32600),
        |_| Reply::status(403),
        |_| Reply::status(404),
    ]
}

#[tokio::test]
async fn a_refused_list_is_requested_again_at_a_notice_and_not_by_itself() {
    within_limit(async {
        for is_modern in [false, true] {
            for refusal in refusals() {
                let fails = AtomicUsize::new(1);
                let server = server(is_modern, move |request| match request.rpc.as_str() {
                    "tools/list" => Some(refusal(request)),
                    "prompts/list" if fails.swap(0, Ordering::Relaxed) > 0 => {
                        Some(Reply::status(503))
                    }
                    "prompts/list" => Some(result(request, json!({"prompts": []}))),
                    _ => None,
                })
                .await;
                let group = brisk_group();
                let mut events = group.events();
                let info = group.connect(at("s", &server.url)).await.expect("up");
                assert_eq!(info.warnings.len(), 2, "{info:?}");
                // The failure is over, and the refusal stands.
                prompts(&mut events).await;
                let asked = || server.requested("tools/list").len();
                assert_eq!(asked(), 1, "{:?}", server.log());
                assert!(group.sessions()[0].error.is_some());
                assert!(group.refresh("s"));
                until(|| asked() == 2).await;
                assert!(group.close().await.clean);
            }
        }
    })
    .await;
}

/// Two of the published servers that do so: `mcp-fetch-server` and `nx-mcp`.
#[tokio::test]
async fn a_server_that_announces_prompts_and_resources_and_knows_neither_method_has_none() {
    within_limit(async {
        for is_modern in [false, true] {
            let all = json!({"tools": {}, "prompts": {}, "resources": {}});
            let server = server_of(all, is_modern, |request| match request.rpc.as_str() {
                "tools/list" => {
                    let tool = json!({"name": "t", "inputSchema": {"type": "object"}});
                    Some(result(request, json!({"tools": [tool]})))
                }
                "prompts/list" | "resources/list" | "resources/templates/list" => {
                    Some(error(request, -32601))
                }
                _ => None,
            })
            .await;
            let group = brisk_group();
            let info = group.connect(at("s", &server.url)).await.expect("up");
            assert_eq!((info.tools, info.list_error.is_none()), (1, true), "{info:?}");
            let none = |method: &str| {
                format!("{method}: it announces such a list and has none: no (code -32601)")
            };
            assert_eq!(info.warnings, [none("prompts/list"), none("resources/list")]);
            let report = group.close().await;
            assert_eq!(report.servers[0].outcome, Outcome::Ok, "{report:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_child_that_refuses_a_list_is_not_asked_for_it_by_itself_again() {
    within_limit(async {
        let lists = r#"
            *'"method":"initialize"'*) say '"result":{"protocolVersion":"2025-11-25","capabilities":{"tools":{},"prompts":{}},"serverInfo":{"name":"sh","version":"1"}}' ;;
            *'"method":"tools/list"'*) asked="$asked."; say '"error":{"code":-32601,"message":"asked '"$asked"'"}' ;;
            *'"method":"prompts/list"'*)
                if [ -z "$failed" ]; then failed=1; say '"error":{"code":-32603,"message":"later"}'
                else say '"result":{"prompts":[]}'; fi ;;"#;
        let group = brisk_group();
        let mut events = group.events();
        group.connect(shell_server_with("s", lists, "say '\"result\":{}'")).await.expect("up");
        prompts(&mut events).await;
        let error = group.sessions()[0].error.clone().expect("a list that is refused");
        let chain = error.chain.join(": ");
        assert!(chain.contains("asked . "), "{chain}");
        assert!(group.close().await.clean);
    })
    .await;
}

#[tokio::test]
async fn a_cursor_that_is_refused_is_no_refusal_of_the_list() {
    within_limit(async {
        let pages = Arc::new(Mutex::new(0));
        let server = server(false, move |request| {
            let tool = json!({"name": "t", "inputSchema": {"type": "object"}});
            match (request.rpc.as_str(), request.params["cursor"].as_str()) {
                ("tools/list", None) => {
                    *pages.lock() += 1;
                    let mut page = json!({"tools": [tool]});
                    if *pages.lock() == 1 {
                        page["nextCursor"] = json!("c");
                    }
                    Some(result(request, page))
                }
                // The list has changed in between.
                ("tools/list", Some(_)) => Some(error(request, -32602)),
                ("prompts/list", _) => Some(result(request, json!({"prompts": []}))),
                _ => None,
            }
        })
        .await;
        let group = brisk_group();
        group.connect(at("s", &server.url)).await.expect("up");
        assert!(group.sessions()[0].error.is_some());
        until(|| group.sessions()[0].error.is_none()).await;
        assert!(group.close().await.all_well());
    })
    .await;
}

#[tokio::test]
async fn a_list_of_a_server_that_asks_for_a_pause_is_requested_again_after_the_pause() {
    within_limit(async {
        let times = Arc::new(Mutex::new(Vec::new()));
        let noting = times.clone();
        let server = server(false, move |request| match request.rpc.as_str() {
            "tools/list" => {
                let mut times = noting.lock();
                times.push(Instant::now());
                (times.len() == 1).then(|| Reply::status(429).with("retry-after", "3"))
            }
            "prompts/list" => Some(result(request, json!({"prompts": []}))),
            _ => None,
        })
        .await;
        let group = brisk_group();
        group.connect(at("s", &server.url)).await.expect("up");
        until(|| group.sessions()[0].error.is_none()).await;
        let [first, second] = times.lock()[..] else { panic!("{:?}", times.lock()) };
        assert!(second - first >= Duration::from_secs(3), "{:?}", second - first);
        assert!(group.close().await.all_well());
    })
    .await;
}
