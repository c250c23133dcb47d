//! The lists of servers with irregularities.

use std::time::Duration;

use moored_mcp::{CallError, CallOptions, ComponentKind, Outcome, ServerParams, SessionGroup};
use serde_json::{Map, Value, json};

use crate::support::http::{Reply, Request, Server, legacy, modern};
use crate::support::{at, brisk, brisk_group, shell, until, within_limit};

fn result(request: &Request, value: Value) -> Reply {
    Reply::json(json!({"jsonrpc": "2.0", "id": request.id, "result": value}))
}

/// A server that offers prompts and resources, too; `page` may answer every request but `initialize`.
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

/// Calls a tool of a scripted server, which answers with the text.
async fn call(group: &SessionGroup, tool: &str) -> Result<Value, CallError> {
    let arguments = Map::from_iter([("text".to_owned(), json!("ahoy"))]);
    group.call_tool(tool, arguments, CallOptions::default()).await
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
        assert_eq!((resource.hooked.as_str(), resource.wire.as_str()), ("s__r", "file:///r"));
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
        // Both pages have the same tool.
        assert_eq!(info.tools, 1);
        group.close().await;
    })
    .await;
}

/// A page of tools, whose next one has an empty cursor.
fn page_before_empty(request: &Request, name: &str) -> Reply {
    result(
        request,
        json!({
            "resultType": "complete", "ttlMs": 0, "cacheScope": "private", "nextCursor": "",
            "tools": [{"name": name, "inputSchema": {"type": "object"}}],
        }),
    )
}

#[tokio::test]
async fn an_empty_cursor_is_one_like_others_in_the_newer_era_and_the_end_in_the_older_one() {
    within_limit(async {
        let paged =
            Server::start(|request| match (request.rpc.as_str(), &request.params["cursor"]) {
                ("tools/list", Value::Null) => page_before_empty(request, "first"),
                _ => modern(request),
            })
            .await;
        let marked = Server::start(|request| match request.rpc.as_str() {
            "tools/list" => page_before_empty(request, "first"),
            _ => modern(request),
        })
        .await;
        let refusing =
            Server::start(|request| match (request.rpc.as_str(), &request.params["cursor"]) {
                ("tools/list", Value::Null) => page_before_empty(request, "first"),
                ("tools/list", _) => Reply::json(json!({"jsonrpc": "2.0", "id": request.id,
                "error": {"code": -32602, "message": "no such cursor"}})),
                _ => modern(request),
            })
            .await;
        let older =
            Server::start(|request| match (request.rpc.as_str(), &request.params["cursor"]) {
                ("tools/list", Value::Null) => page_before_empty(request, "first"),
                _ => legacy(request),
            })
            .await;
        let group = brisk_group();
        for (name, server, tools, requests) in [
            ("paged", &paged, 2, 2),
            ("marked", &marked, 1, 2),
            ("refusing", &refusing, 1, 2),
            ("older", &older, 1, 1),
        ] {
            let info = group.connect(at(name, &server.url)).await.expect("up");
            assert_eq!(
                (info.tools, server.requested("tools/list").len()),
                (tools, requests),
                "{name}"
            );
            assert!(info.warnings.is_empty(), "{name}: {info:?}");
        }
        assert!(group.close().await.all_well());
    })
    .await;
}

#[tokio::test]
async fn one_kind_of_list_that_fails_is_the_outcome_and_the_rest_stands() {
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
        assert!(warning.contains("prompts/list") && warning.contains("500"), "{warning}");
        assert!(info.list_error.is_some(), "{info:?}");
        call(&group, "s/echo").await.expect("the tools stand");
        let report = group.close().await;
        assert!(report.clean && !report.all_well(), "{report:?}");
        let [server] = &report.servers[..] else { panic!("{report:?}") };
        assert_eq!((server.outcome, server.tools), (Outcome::UpstreamError, 1));
        assert_eq!(server.warnings, info.warnings);
        let error = server.error.as_ref().expect("why");
        assert_eq!(error.message, "prompts/list cannot be read");
        assert!(error.chain[1].contains("500"), "{error:?}");
        // The session was left at the request of the group.
        let late = call(&group, "s/echo").await;
        assert!(matches!(late, Err(CallError::Left(_))), "{late:?}");
    })
    .await;
}

/// Answers to a list in which no item can be read, and the expected outcomes.
fn failing_lists() -> Vec<(Reply, Outcome, &'static str)> {
    let rpc = |value: Value| Reply::json(json!({"jsonrpc": "2.0", "id": 0, "result": value}));
    vec![
        (Reply::status(401), Outcome::UpstreamError, "401"),
        (Reply::status(403), Outcome::UpstreamError, "403"),
        (Reply::status(500), Outcome::UpstreamError, "500"),
        (Reply::Reset, Outcome::UpstreamError, "connection closed"),
        (rpc(json!({})), Outcome::ProtocolError, "is missing"),
        (rpc(json!([])), Outcome::ProtocolError, "an array, not an object"),
        (Reply::status(200).with("content-type", "text/html"), Outcome::ProtocolError, "text/html"),
    ]
}

/// `reply` with the id of `request`.
fn addressed(reply: Reply, request: &Request) -> Reply {
    let Reply::Answer { status, headers, body } = reply else { return reply };
    let body = match serde_json::from_slice::<Value>(&body) {
        Ok(mut answer) => {
            answer["id"] = request.id.clone();
            answer.to_string().into_bytes()
        }
        Err(_) => body,
    };
    Reply::Answer { status, headers, body }
}

#[tokio::test]
async fn a_list_that_fails_as_a_whole_is_never_a_list_of_nothing() {
    const LISTS: [&str; 4] =
        ["tools/list", "prompts/list", "resources/list", "resources/templates/list"];
    within_limit(async {
        for failing in LISTS {
            for (reply, outcome, why) in failing_lists() {
                let server = Server::start(offering(move |request| match &*request.rpc {
                    rpc if rpc == failing => Some(addressed(reply.clone(), request)),
                    "prompts/list" => Some(result(request, json!({"prompts": []}))),
                    "resources/list" => Some(result(request, json!({"resources": []}))),
                    _ => None,
                }))
                .await;
                let group = brisk_group();
                let info = group.connect(at("s", &server.url)).await.expect("up");
                let [warning] = &info.warnings[..] else { panic!("{info:?}") };
                assert!(warning.starts_with(failing) && warning.contains(why), "{warning}");
                let report = group.close().await;
                assert!(report.clean, "{report:?}");
                assert_eq!(report.servers[0].outcome, outcome, "{failing}: {warning}");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn templates_are_listed_and_a_server_need_not_have_them() {
    within_limit(async {
        for has_templates in [true, false] {
            let server = Server::start(offering(move |request| match &*request.rpc {
                "prompts/list" => Some(result(request, json!({"prompts": []}))),
                "resources/list" => Some(result(request, json!({"resources": []}))),
                "resources/templates/list" if has_templates => Some(result(
                    request,
                    json!({"resourceTemplates": [{"name": "day", "uriTemplate": "log:///{day}"}, {"name": "x"}]}),
                )),
                _ => None,
            }))
            .await;
            let group = brisk_group();
            let info = group.connect(at("s", &server.url)).await.expect("up");
            let listed = group.list();
            let template = listed.iter().find(|it| it.kind == ComponentKind::ResourceTemplate);
            let wire = template.map(|it| (it.hooked.as_str(), it.wire.as_str()));
            assert_eq!(wire, has_templates.then_some(("s__day", "log:///{day}")));
            assert_eq!(info.warnings.len(), usize::from(has_templates), "{info:?}");
            assert!(group.close().await.all_well());
        }
    })
    .await;
}

/// A page of tools with one in the middle that cannot be read.
fn mixed_tools() -> Value {
    json!({"tools": [
        {"name": "one", "inputSchema": {"type": "object"}},
        {"name": "bad", "inputSchema": {"type": "object"}, "icons": "picture.png"},
        {"name": "two", "inputSchema": {"type": "object"}},
    ]})
}

#[tokio::test]
async fn a_bad_item_is_named_and_the_others_stand_as_json_and_as_events() {
    within_limit(async {
        for as_events in [false, true] {
            let server = Server::start(offering(move |request| match &*request.rpc {
                "tools/list" if as_events => {
                    let page = json!({"jsonrpc": "2.0", "id": request.id, "result": mixed_tools()});
                    let events = Reply::status(200).with("content-type", "text/event-stream");
                    Some(events.saying(format!("data: {page}\n\n")))
                }
                "tools/list" => Some(result(request, mixed_tools())),
                "prompts/list" => Some(result(request, json!({"prompts": [{"name": "p"}, {}]}))),
                "resources/list" => Some(result(
                    request,
                    json!({"resources": [{"name": "no address"}, {"name": "r", "uri": "file:///r"}]}),
                )),
                _ => None,
            }))
            .await;
            let group = brisk_group();
            let info = group.connect(at("s", &server.url)).await.expect("up");
            assert_eq!((info.tools, info.prompts, info.resources), (2, 1, 1), "{info:?}");
            for named in [r#"tools/list: tools[1] "bad" "#, "prompts/list: prompts[1] ", "resources[0] "] {
                assert!(info.warnings.iter().any(|it| it.contains(named)), "{named}: {info:?}");
            }
            assert!(info.warnings.iter().any(|it| it.contains("`icons`")), "{info:?}");
            call(&group, "s/two").await.expect("it stands");
            let report = group.close().await;
            assert!(report.all_well(), "{report:?}");
            assert_eq!(report.servers[0].warnings, info.warnings);
        }
    })
    .await;
}

#[tokio::test]
async fn in_the_newer_era_a_tool_that_the_protocol_tells_clients_to_drop_is_named_as_well() {
    within_limit(async {
        let server = Server::start(|request| match &*request.rpc {
            "tools/list" => {
                let mut page = mixed_tools();
                page["resultType"] = json!("complete");
                page["tools"][2]["inputSchema"]["properties"] =
                    json!({"region": {"type": "string", "x-mcp-header": ""}});
                result(request, page)
            }
            _ => modern(request),
        })
        .await;
        let group = brisk_group();
        let info = group.connect(at("s", &server.url)).await.expect("up");
        assert_eq!((info.era.as_deref(), info.tools), (Some("2026-07-28"), 1), "{info:?}");
        for named in [r#"tools[1] "bad" "#, r#"the tool "two" is left out: an `x-mcp-header`"#] {
            assert!(info.warnings.iter().any(|it| it.contains(named)), "{named}: {info:?}");
        }
        assert!(group.close().await.all_well());
    })
    .await;
}

#[tokio::test]
async fn in_the_newer_era_a_list_that_fails_is_the_outcome() {
    within_limit(async {
        for (reply, outcome, why) in failing_lists() {
            let server = Server::start(move |request| match &*request.rpc {
                "tools/list" => addressed(reply.clone(), request),
                _ => modern(request),
            })
            .await;
            let group = brisk_group();
            let info = group.connect(at("s", &server.url)).await.expect("up");
            let [warning] = &info.warnings[..] else { panic!("{info:?}") };
            assert!(warning.starts_with("tools/list") && warning.contains(why), "{warning}");
            let report = group.close().await;
            assert_eq!(report.servers[0].outcome, outcome, "{warning}");
        }
    })
    .await;
}

#[tokio::test]
async fn the_items_before_a_page_that_fails_stand() {
    within_limit(async {
        let server = Server::start(offering(|request| match &*request.rpc {
            "tools/list" if request.params["cursor"].is_null() => Some(result(
                request,
                json!({"tools": [{"name": "t", "inputSchema": {}}], "nextCursor": "2"}),
            )),
            "tools/list" => Some(Reply::status(502)),
            "prompts/list" => Some(result(request, json!({"prompts": []}))),
            "resources/list" => Some(result(request, json!({"resources": []}))),
            _ => None,
        }))
        .await;
        let group = brisk_group();
        let info = group.connect(at("s", &server.url)).await.expect("up");
        assert_eq!(info.tools, 1, "{info:?}");
        let [warning] = &info.warnings[..] else { panic!("{info:?}") };
        assert!(warning.starts_with("tools/list, page 2 cannot be read: "), "{warning}");
        assert_eq!(group.close().await.servers[0].outcome, Outcome::UpstreamError);
    })
    .await;
}

/// A stdio server of the older era in `sh`, which runs `on_list` when it is asked for its tools. `$id` is the request's.
fn listing_shell(on_list: &str) -> ServerParams {
    let script = r#"
        while read -r line; do
            id=$(printf %s "$line" | sed -n 's/.*"id":\([0-9]*\).*/\1/p')
            case $line in
            *'"initialize"'*) echo '{"jsonrpc":"2.0","id":'$id',"result":{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"sh","version":"1"}}}' ;;
            *'"tools/list"'*) ON_LIST ;;
            *'"server/discover"'*) echo '{"jsonrpc":"2.0","id":'$id',"error":{"code":-32601,"message":"no"}}' ;;
            esac
        done"#;
    shell("s", &script.replace("ON_LIST", on_list))
}

#[tokio::test]
async fn a_bad_item_is_named_and_the_others_stand_over_a_pipe() {
    within_limit(async {
        let page = mixed_tools();
        let answer = format!(r#"echo '{{"jsonrpc":"2.0","id":'$id',"result":{page}}}'"#);
        let group = brisk_group();
        let info = group.connect(listing_shell(&answer)).await.expect("up");
        assert_eq!(info.tools, 2, "{info:?}");
        let [warning] = &info.warnings[..] else { panic!("{info:?}") };
        assert!(warning.contains(r#"tools[1] "bad""#) && warning.contains("`icons`"), "{warning}");
        assert!(group.close().await.all_well());
    })
    .await;
}

#[tokio::test]
async fn a_server_that_goes_away_while_it_lists_is_not_up() {
    within_limit(async {
        for (on_list, outcome, why) in [
            (
                "exit 3",
                Outcome::Exited,
                "exited with status 3 while waiting for the answer to tools/list",
            ),
            ("kill -9 $$", Outcome::Exited, "ended by SIGKILL (9)"),
            ("exec >&-; sleep 20", Outcome::ProtocolError, "closed its standard output"),
        ] {
            let group = brisk_group();
            let error = group.connect(listing_shell(on_list)).await.expect_err("it went away");
            assert_eq!(error.outcome(), outcome, "{error}");
            assert!(error.to_string().contains(why), "{error}");
            let report = group.close().await;
            assert!(!report.all_well(), "{report:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_list_that_is_never_answered_is_the_one_that_a_time_out_names() {
    within_limit(async {
        let server = Server::start(|request| match request.rpc.as_str() {
            "initialize" => result(
                request,
                json!({"protocolVersion": "2025-11-25",
                    "capabilities": {"tools": {}, "prompts": {}, "resources": {}},
                    "serverInfo": {"name": "s", "version": "0"}}),
            ),
            "prompts/list" => Reply::Hang,
            "resources/list" => result(request, json!({"resources": []})),
            _ => legacy(request),
        })
        .await;
        let group = SessionGroup::start(brisk().connect_timeout(Duration::from_millis(1_500)));
        let error = group.connect(at("s", &server.url)).await.expect_err("no list");
        assert_eq!(error.outcome(), Outcome::TimedOut);
        let text = error.to_string();
        assert!(text.contains("still waiting for the answer to prompts/list"), "{text}");
    })
    .await;
}

#[tokio::test]
async fn a_server_that_exits_when_nothing_is_asked_waited_for_nothing() {
    within_limit(async {
        let answer = r#"echo '{"jsonrpc":"2.0","id":'$id',"result":{"tools":[{"name":"echo","inputSchema":{}}]}}'; exit 3"#;
        let group = brisk_group();
        // The owner may see the end of the child before the caller sees that the session came up.
        let _up_or_gone = group.connect(listing_shell(answer)).await;
        until(|| group.list().is_empty()).await;
        let report = group.close().await;
        let error = report.servers[0].error.as_ref().expect("it has ended");
        assert_eq!(error.message, "the server exited with status 3");
        assert_eq!(report.servers[0].tools, 1, "{report:?}");
    })
    .await;
}

#[tokio::test]
async fn a_404_that_is_not_about_the_session_is_told_in_the_servers_words() {
    within_limit(async {
        let no_tools = |request: &Request| {
            let error = json!({"code": -32601, "message": "no tools"});
            Reply::json(json!({"jsonrpc": "2.0", "id": request.id, "error": error})).of_status(404)
        };
        let no_route = |_: &Request| Reply::status(404).saying("no such route");
        type Script = fn(&Request) -> Reply;
        let replies: [(Script, _, _); 2] = [
            (no_route, "HTTP 404 Not Found to tools/list: no such route", 2),
            (no_tools, "no tools", 1),
        ];
        for (reply, words, times) in replies {
            let server = Server::start(move |request| match request.rpc.as_str() {
                "tools/list" => reply(request),
                _ => legacy(request),
            })
            .await;
            let group = brisk_group();
            let info = group.connect(at("s", &server.url)).await.expect("up");
            let error = info.list_error.expect("no list").chain.join(": ");
            assert!(error.contains(words), "{error}");
            // The server may have forgotten the session, so a new one is begun, once.
            let count = |what: &str| server.log().iter().filter(|line| *line == what).count();
            assert_eq!(count("POST tools/list"), times, "{:?}", server.log());
            assert_eq!(count("POST initialize"), times, "{:?}", server.log());
            group.close().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_list_that_is_rejected_over_a_pipe_is_the_outcome() {
    within_limit(async {
        let answer =
            r#"echo '{"jsonrpc":"2.0","id":'$id',"error":{"code":-32603,"message":"no database"}}'"#;
        let group = brisk_group();
        let info = group.connect(listing_shell(answer)).await.expect("up");
        assert!(info.warnings[0].contains("no database"), "{info:?}");
        let report = group.close().await;
        assert_eq!(report.servers[0].outcome, Outcome::ProtocolError);
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
        // The server never gave a session id, so there is no session to end.
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
        // The scripted server gives the same id again, so the second try fails as well, and there is no third.
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
