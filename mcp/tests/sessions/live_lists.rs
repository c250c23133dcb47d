//! Lists that change while a server is up.

use std::sync::Arc;
use std::time::Duration;

use moored_mcp::{CallError, ComponentKind, Event, EventKind, Names, Outcome, SessionGroup};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::broadcast::Receiver;

use crate::support::http::{End, Feed, Reply, Request, Server, legacy, modern};
use crate::support::{at, brisk, brisk_group, echo, event, shell_server_with, within_limit};

type Tools = Arc<Mutex<Vec<&'static str>>>;

fn tools(names: &[&'static str]) -> Tools {
    Arc::new(Mutex::new(names.to_vec()))
}

fn listed(tools: &Tools) -> Value {
    let tool = |name: &&str| json!({"name": name, "inputSchema": {"type": "object"}});
    let tools: Vec<_> = tools.lock().iter().map(tool).collect();
    json!({"resultType": "complete", "tools": tools, "ttlMs": 60_000, "cacheScope": "private"})
}

fn result(request: &Request, value: Value) -> Reply {
    Reply::json(json!({"jsonrpc": "2.0", "id": request.id, "result": value}))
}

fn changed() -> Value {
    json!({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"})
}

/// A legacy server that lists `tools` and sends the events of `feed`.
async fn legacy_server(tools: &Tools, feed: &Feed) -> Server {
    let (tools, feed) = (tools.clone(), feed.clone());
    Server::start(move |request| match (request.verb.as_str(), request.rpc.as_str()) {
        ("GET", _) => Reply::Fed(feed.clone()),
        (_, "tools/list") => result(request, listed(&tools)),
        _ => legacy(request),
    })
    .await
}

/// A modern server that lists `tools` and reports changes. It acknowledges each stream through `feed`.
async fn modern_server(tools: &Tools, feed: &Feed) -> Server {
    let (tools, feed) = (tools.clone(), feed.clone());
    Server::start(move |request| match request.rpc.as_str() {
        "server/discover" => result(
            request,
            json!({
                "resultType": "complete",
                "supportedVersions": ["2026-07-28"],
                "capabilities": {"tools": {"listChanged": true}},
                "ttlMs": 0,
                "cacheScope": "private",
            }),
        ),
        "tools/list" => result(request, listed(&tools)),
        "tools/call" => result(request, json!({"resultType": "complete", "content": []})),
        "subscriptions/listen" => {
            feed.push(&json!({
                "jsonrpc": "2.0",
                "method": "notifications/subscriptions/acknowledged",
                "params": {
                    "notifications": request.params["notifications"],
                    "_meta": {"io.modelcontextprotocol/subscriptionId": request.id},
                },
            }));
            Reply::Fed(feed.clone())
        }
        _ => modern(request),
    })
    .await
}

/// The next change of a list of tools: the added names and the removed names.
async fn change(events: &mut Receiver<Event>) -> (Vec<String>, Vec<String>) {
    event(events, |kind| match kind {
        EventKind::ListChanged { kind: ComponentKind::Tool, added, removed, .. } => {
            Some((added, removed))
        }
        _ => None,
    })
    .await
}

fn hooked(group: &SessionGroup) -> Vec<String> {
    group.list().into_iter().map(|it| it.hooked).collect()
}

#[tokio::test]
async fn a_tool_that_a_legacy_http_server_adds_is_listed_and_callable() {
    within_limit(async {
        let (tools, feed) = (tools(&["echo", "old"]), Feed::new());
        let server = legacy_server(&tools, &feed).await;
        let group = brisk_group();
        let mut events = group.events();
        group.connect(at("s", &server.url)).await.expect("up");
        *tools.lock() = vec!["echo", "new"];
        feed.push(&changed());
        assert_eq!(change(&mut events).await, (vec!["s__new".into()], vec!["s__old".into()]));
        assert_eq!(hooked(&group), ["s__echo", "s__new"]);
        assert_eq!(group.sessions()[0].tools, 2);
        group.call_tool("s__new", Default::default(), Default::default()).await.expect("an answer");
        let gone = group.call_tool("s__old", Default::default(), Default::default()).await;
        assert!(matches!(gone, Err(CallError::UnknownTool(_))), "{gone:?}");
        assert!(group.close().await.all_well());
    })
    .await;
}

#[tokio::test]
async fn a_hundred_notifications_are_one_reading_or_two() {
    within_limit(async {
        let (tools, feed) = (tools(&["echo"]), Feed::new());
        let server = legacy_server(&tools, &feed).await;
        let group = brisk_group();
        let mut events = group.events();
        group.connect(at("s", &server.url)).await.expect("up");
        let before = server.log().iter().filter(|line| line.ends_with("tools/list")).count();
        tools.lock().push("new");
        for _ in 0..100 {
            feed.push(&changed());
        }
        change(&mut events).await;
        let after = server.log().iter().filter(|line| line.ends_with("tools/list")).count();
        assert!(after - before <= 2, "{} readings", after - before);
        assert!(group.close().await.all_well());
    })
    .await;
}

#[tokio::test]
async fn a_tool_that_a_child_adds_is_listed_and_callable() {
    within_limit(async {
        let lists = r#"*'"method":"tools/list"'*) say '"result":{"tools":[{"name":"echo","inputSchema":{"type":"object"}}'"$more"']}' ;;"#;
        let on_call = r#"more=',{"name":"new","inputSchema":{"type":"object"}}'
            printf '{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}\n'
            say '"result":{"content":[]}'"#;
        let group = brisk_group();
        let mut events = group.events();
        group.connect(shell_server_with("s", lists, on_call)).await.expect("up");
        echo(&group, "s").await.expect("an answer");
        assert_eq!(change(&mut events).await.0, ["s__new"]);
        group.call_tool("s__new", Default::default(), Default::default()).await.expect("an answer");
        assert!(group.close().await.all_well());
    })
    .await;
}

#[tokio::test]
async fn a_modern_server_is_asked_to_tell_and_what_it_tells_is_read_past_any_cache() {
    within_limit(async {
        let (tools, feed) = (tools(&["echo"]), Feed::new());
        let server = modern_server(&tools, &feed).await;
        let group = brisk_group();
        let mut events = group.events();
        group.connect(at("s", &server.url)).await.expect("up");
        feed.streams(1).await;
        tools.lock().push("new");
        feed.push(&changed());
        assert_eq!(change(&mut events).await.0, ["s__new"]);
        group.call_tool("s__new", Default::default(), Default::default()).await.expect("an answer");
        let report = group.close().await;
        assert!(report.all_well(), "{report:?}");
        feed.idle().await;
        assert_eq!(server.deletes(), 0);
    })
    .await;
}

#[tokio::test]
async fn a_stream_that_the_server_ends_gracefully_is_asked_for_again_after_a_pause() {
    let tools = tools(&["echo"]);
    let (server, group, mut events) = within_limit(async {
        let (inner, more) = (tools.clone(), tools.clone());
        let server = Server::start(move |request| match request.rpc.as_str() {
            "server/discover" => result(
                request,
                json!({
                    "resultType": "complete",
                    "supportedVersions": ["2026-07-28"],
                    "capabilities": {"tools": {"listChanged": true}},
                    "ttlMs": 0,
                    "cacheScope": "private",
                }),
            ),
            "tools/list" => result(request, listed(&inner)),
            "subscriptions/listen" => {
                let mut tools = more.lock();
                let name = ["first", "second", "third"][(tools.len() - 1).min(2)];
                tools.push(name);
                let meta = json!({"io.modelcontextprotocol/subscriptionId": request.id});
                let acknowledged = json!({
                    "jsonrpc": "2.0",
                    "method": "notifications/subscriptions/acknowledged",
                    "params": {"notifications": {"toolsListChanged": true}, "_meta": meta},
                });
                let ended = json!({
                    "jsonrpc": "2.0",
                    "id": request.id,
                    "result": {"resultType": "complete", "_meta": meta},
                });
                Reply::events(format!("data: {acknowledged}\n\ndata: {ended}\n\n"), End::Whole)
            }
            _ => modern(request),
        })
        .await;
        let group = brisk_group();
        let mut events = group.events();
        group.connect(at("s", &server.url)).await.expect("up");
        assert_eq!(change(&mut events).await.0, ["s__first"]);
        (server, group, events)
    })
    .await;
    let asked = || server.requested("subscriptions/listen").len();
    let mut seconds = 0;
    while asked() == 1 {
        assert!(seconds < 3_600, "{:?}", server.log());
        seconds += 5;
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(5)).await;
        tokio::time::resume();
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(seconds >= 30, "after {seconds} s");
    let second = within_limit(change(&mut events)).await;
    assert_eq!(second.0, ["s__second"]);
    let report = within_limit(group.close()).await;
    assert!(report.all_well() && report.servers[0].warnings.is_empty(), "{report:?}");
    assert_eq!(asked(), 2);
}

#[tokio::test]
async fn a_component_that_takes_a_name_later_is_left_out_with_a_warning_that_names_both() {
    within_limit(async {
        let bare = Names::by(|_, _, name| name.to_owned());
        let group = SessionGroup::start(brisk().names(bare));
        let mut events = group.events();
        let (first, second) = (tools(&["echo"]), tools(&["other"]));
        let (one_feed, two_feed) = (Feed::new(), Feed::new());
        let one = legacy_server(&first, &one_feed).await;
        let two = legacy_server(&second, &two_feed).await;
        group.connect(at("one", &one.url)).await.expect("up");
        group.connect(at("two", &two.url)).await.expect("up");
        *second.lock() = vec!["other", "echo", "more"];
        two_feed.push(&changed());
        let warning = event(&mut events, |kind| match kind {
            EventKind::Warning { message } => Some(message),
            _ => None,
        })
        .await;
        for part in ["\"echo\"", "\"one\"", "\"two\"", "left out"] {
            assert!(warning.contains(part), "{warning}");
        }
        assert_eq!(change(&mut events).await.0, ["more"]);
        assert_eq!(hooked(&group), ["echo", "other", "more"]);
        assert_eq!(group.sessions()[1].warnings, [warning]);

        // The name is free once its first holder has withdrawn it, and the next reading of the other list takes it.
        first.lock().clear();
        one_feed.push(&changed());
        assert_eq!(change(&mut events).await.1, ["echo"]);
        two_feed.push(&changed());
        assert_eq!(change(&mut events).await.0, ["echo"]);
        assert_eq!(hooked(&group), ["other", "echo", "more"]);
        assert!(group.close().await.clean);
    })
    .await;
}

#[tokio::test]
async fn a_list_that_cannot_be_read_again_stays_as_it_was() {
    within_limit(async {
        let (feed, broken) = (Feed::new(), Arc::new(Mutex::new(false)));
        let (stream, is_broken) = (feed.clone(), broken.clone());
        let server = Server::start(move |request| match request.verb.as_str() {
            "GET" => Reply::Fed(stream.clone()),
            _ if request.rpc == "tools/list" && *is_broken.lock() => Reply::status(500),
            _ => legacy(request),
        })
        .await;
        let group = brisk_group();
        let mut events = group.events();
        group.connect(at("s", &server.url)).await.expect("up");
        *broken.lock() = true;
        feed.push(&changed());
        let warning = event(&mut events, |kind| match kind {
            EventKind::Warning { message } => Some(message),
            _ => None,
        })
        .await;
        assert!(warning.contains("tools/list") && warning.contains("500"), "{warning}");
        assert_eq!(hooked(&group), ["s__echo"]);
        assert!(group.close().await.all_well());
    })
    .await;
}

#[tokio::test]
async fn a_change_between_the_lists_and_the_stream_of_changes_is_not_lost() {
    within_limit(async {
        let (tools, feed) = (tools(&["echo"]), Feed::new());
        let (inner, stream) = (tools.clone(), feed.clone());
        let server = Server::start(move |request| match request.rpc.as_str() {
            "server/discover" => result(
                request,
                json!({
                    "resultType": "complete",
                    "supportedVersions": ["2026-07-28"],
                    "capabilities": {"tools": {"listChanged": true}},
                    "ttlMs": 0,
                    "cacheScope": "private",
                }),
            ),
            "tools/list" => result(request, listed(&inner)),
            "subscriptions/listen" => {
                // Changed before there is a stream on which the server could tell.
                inner.lock().push("new");
                let meta = json!({"io.modelcontextprotocol/subscriptionId": request.id});
                stream.push(&json!({
                    "jsonrpc": "2.0",
                    "method": "notifications/subscriptions/acknowledged",
                    "params": {"notifications": {"toolsListChanged": true}, "_meta": meta},
                }));
                Reply::Fed(stream.clone())
            }
            _ => modern(request),
        })
        .await;
        let group = brisk_group();
        let mut events = group.events();
        group.connect(at("s", &server.url)).await.expect("up");
        assert_eq!(change(&mut events).await.0, ["s__new"]);
        assert!(group.close().await.all_well());
    })
    .await;
}

#[tokio::test]
async fn a_list_that_can_be_read_again_is_no_error_any_more() {
    within_limit(async {
        let (feed, broken) = (Feed::new(), Arc::new(Mutex::new(true)));
        let (stream, is_broken) = (feed.clone(), broken.clone());
        let server = Server::start(move |request| match request.verb.as_str() {
            "GET" => Reply::Fed(stream.clone()),
            _ if request.rpc == "tools/list" && *is_broken.lock() => Reply::status(503),
            _ => legacy(request),
        })
        .await;
        let group = brisk_group();
        let mut events = group.events();
        group.connect(at("s", &server.url)).await.expect("up");
        let error = group.sessions()[0].error.clone().expect("its list cannot be read");
        assert!(error.chain.join(": ").contains("503"), "{error:?}");
        *broken.lock() = false;
        feed.push(&changed());
        assert_eq!(change(&mut events).await.0, ["s__echo"]);
        assert_eq!(group.sessions()[0].error, None);
        let report = group.close().await;
        assert_eq!(report.servers[0].outcome, Outcome::Ok, "{report:?}");
    })
    .await;
}

#[tokio::test]
async fn a_list_that_could_not_be_read_is_read_again_without_a_notice() {
    within_limit(async {
        let refusals = Arc::new(Mutex::new(1));
        let left = refusals.clone();
        let server = Server::start(move |request| {
            let mut left = left.lock();
            if request.rpc == "tools/list" && *left > 0 {
                *left -= 1;
                return Reply::status(503);
            }
            legacy(request)
        })
        .await;
        let group = brisk_group();
        let mut events = group.events();
        group.connect(at("s", &server.url)).await.expect("up");
        assert!(group.list().is_empty() && group.sessions()[0].error.is_some());
        assert_eq!(change(&mut events).await.0, ["s__echo"]);
        assert_eq!(group.sessions()[0].error, None);

        // The same for a reading that a notice, or a program, has asked for.
        *refusals.lock() = 1;
        let asked = || server.log().iter().filter(|line| line.ends_with("tools/list")).count();
        let before = asked();
        assert!(group.refresh("s"));
        crate::support::until(|| asked() == before + 2).await;
        assert!(group.close().await.all_well());
    })
    .await;
}

#[tokio::test]
async fn a_session_that_is_begun_anew_has_its_lists_read_again() {
    within_limit(async {
        let tools = tools(&["echo"]);
        let (inner, forgotten) = (tools.clone(), Arc::new(Mutex::new(false)));
        let forget = forgotten.clone();
        let server = Server::start(move |request| {
            let knows = request.headers.get("mcp-session-id").is_some_and(|id| id == "s-2");
            match request.rpc.as_str() {
                "initialize" if *forget.lock() => {
                    let mut reply = legacy(request);
                    if let Reply::Answer { headers, .. } = &mut reply {
                        headers.retain(|(name, _)| name != "mcp-session-id");
                    }
                    reply.with("mcp-session-id", "s-2")
                }
                "tools/call" if *forget.lock() && !knows => Reply::status(404),
                "tools/list" => result(request, listed(&inner)),
                _ => legacy(request),
            }
        })
        .await;
        let group = brisk_group();
        let mut events = group.events();
        group.connect(at("s", &server.url)).await.expect("up");
        *forgotten.lock() = true;
        tools.lock().push("new");
        echo(&group, "s").await.expect("an answer, in a new session");
        assert_eq!(change(&mut events).await.0, ["s__new"]);
        assert!(group.close().await.all_well());
    })
    .await;
}
