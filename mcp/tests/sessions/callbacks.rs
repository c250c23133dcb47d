//! Requests and notifications of servers, over both transports: the arguments of the callbacks, the answers to the
//! server, and the end.

use std::sync::Arc;
use std::time::Duration;

use moored_mcp::{
    CallOptions, Callbacks, ClientInfo, ElicitAnswer, LogLevel, RequestError, Root, Roots,
    SampleAnswer, ServerMessage, ServerParams, SessionGroup, Tag, ToolResult,
};
use rmcp::model::ProtocolVersion;
use serde_json::{Map, Value, json};
use tokio::sync::{Notify, mpsc};

use crate::real_server::LEGACY;
use crate::support::asker::Asker;
use crate::support::real::{Serving, serve};
use crate::support::{at, brisk, shell_server_with, until, within_limit};

/// The protocol's own server over HTTP, and the messages that it gets.
async fn asker(versions: &'static [ProtocolVersion]) -> (Serving, mpsc::UnboundedReceiver<Value>) {
    let (heard, hears) = mpsc::unbounded_channel();
    (serve(Asker { versions, heard }).await, hears)
}

/// A child that sends the request `ask`, and answers the call with the whole reply.
fn asking_child(ask: &str, then: &str) -> ServerParams {
    let before = r#"*'"id":"q'*) ;;"#;
    let on_call = format!(
        r#"printf '%s\n' '{ask}'
        {then}
        IFS= read -r reply
        say "\"result\":{{\"content\":[],\"structuredContent\":$reply}}""#
    );
    shell_server_with("s", before, &on_call)
}

fn args(value: Value) -> Map<String, Value> {
    value.as_object().expect("an object").clone()
}

/// Calls the tool of the only server, and returns its answer.
async fn call(group: &SessionGroup, tool: &str, arguments: Value) -> Value {
    let answer = group.call_tool(tool, args(arguments), CallOptions::default()).await;
    let answer = ToolResult::try_from(answer.expect("an answer")).expect("a result");
    answer.structured_content.unwrap_or_default()
}

/// Sends the request over HTTP, then over a pipe, and returns the replies that the server got: `result` or `error`.
async fn asked(callbacks: Callbacks, method: &str, params: Value) -> [Value; 2] {
    let (server, _hears) = asker(*LEGACY).await;
    let group = SessionGroup::start(brisk().callbacks(callbacks.clone()));
    group.connect(at("s", &server.url)).await.expect("up");
    let over_http = call(&group, "s/ask", json!({"method": method, "params": params})).await;
    assert!(group.close().await.all_well());

    let request = json!({"jsonrpc": "2.0", "id": "q1", "method": method, "params": params});
    let group = SessionGroup::start(brisk().callbacks(callbacks));
    group.connect(asking_child(&request.to_string(), "")).await.expect("up");
    let mut over_pipe = call(&group, "s/echo", json!({})).await;
    assert_eq!(over_pipe["id"], "q1");
    let report = group.close().await;
    assert!(report.all_well(), "{report:?}");
    [over_http, over_pipe.take()]
}

const FORM: &str = "elicitation/create";

fn form() -> Value {
    json!({"message": "who?", "x-unknown": {"kept": [1]}, "requestedSchema": {
        "type": "object", "properties": {"name": {"type": "string", "default": "ada", "x": 1}},
    }})
}

#[tokio::test]
async fn a_form_is_filled_in_and_what_is_left_out_has_its_default() {
    within_limit(async {
        let callbacks = Callbacks::new().on_elicitation(async |asked| {
            assert_eq!((&*asked.server, asked.params.message.as_str()), ("s", "who?"));
            assert_eq!(asked.params.more["x-unknown"], json!({"kept": [1]}), "as it came");
            Ok(ElicitAnswer::Accept(Map::from_iter([("age".to_owned(), json!(36))])))
        });
        for got in asked(callbacks, FORM, form()).await {
            let filled = json!({"action": "accept", "content": {"age": 36, "name": "ada"}});
            assert_eq!(got["result"], filled, "{got}");
        }
    })
    .await;
}

#[tokio::test]
async fn an_address_is_visited_only_where_there_is_a_callback_for_that() {
    within_limit(async {
        let visit = json!({"mode": "url", "message": "go", "url": "https://x.example/", "elicitationId": "e"});
        let forms = Callbacks::new().on_elicitation(async |_| Ok(ElicitAnswer::Decline));
        for got in asked(forms.clone(), FORM, visit.clone()).await {
            assert!(got["error"].to_string().contains("-32601"), "{got}");
        }
        let both = forms.on_url_elicitation(async |asked| {
            assert_eq!(asked.params.url.as_deref(), Some("https://x.example/"));
            Ok(ElicitAnswer::Accept(Map::new()))
        });
        for got in asked(both, FORM, visit).await {
            assert_eq!(got["result"]["action"], "accept", "{got}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_model_answers_and_roots_are_listed() {
    within_limit(async {
        let callbacks = Callbacks::new()
            .roots(Roots::new([Root::new("file:///a").named("a")]))
            .on_sampling(async |asked| {
                assert_eq!(asked.params.more["temperature"], 0.5);
                Ok(SampleAnswer::text("m-1", format!("{} messages", asked.params.messages.len())))
            });
        let params = json!({"messages": [{"role": "user", "content": {"type": "text", "text": "?"}}],
            "maxTokens": 9, "temperature": 0.5});
        for got in asked(callbacks.clone(), "sampling/createMessage", params).await {
            assert_eq!(got["result"]["content"]["text"], "1 messages", "{got}");
            assert_eq!(got["result"]["model"], "m-1");
        }
        for got in asked(callbacks, "roots/list", json!({})).await {
            assert_eq!(got["result"], json!({"roots": [{"uri": "file:///a", "name": "a"}]}), "{got}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_request_without_a_callback_is_refused_and_a_ping_is_answered() {
    within_limit(async {
        for callbacks in [Callbacks::new(), Callbacks::new().on_log(async |_| {})] {
            for got in asked(callbacks.clone(), FORM, form()).await {
                assert!(got["error"].to_string().contains("-32601"), "{got}");
            }
            for got in asked(callbacks, "ping", json!({})).await {
                assert_eq!(got["result"], json!({}), "{got}");
            }
        }
        let picky = Callbacks::new().on_elicitation(async |_| Ok(ElicitAnswer::Cancel));
        for got in asked(picky, FORM, json!({"message": 7})).await {
            assert!(got["error"].to_string().contains("-32602"), "{got}");
        }
    })
    .await;
}

#[tokio::test]
async fn raw_requests_and_refusals_pass_through_as_they_are() {
    within_limit(async {
        let callbacks = Callbacks::new()
            .on_request("vendor/ask", async |asked: ServerMessage| Ok(asked.params))
            .on_any_request(async |asked: ServerMessage| {
                let refusal = RequestError::new(-4711, format!("no {}", asked.method));
                Err(refusal.with_data(json!({"why": "so"})))
            });
        let params = json!({"n": 12345678901234567890_u64, "deep": [{"null": null}]});
        for mut got in asked(callbacks.clone(), "vendor/ask", params.clone()).await {
            // rmcp's server adds the token of its progress.
            got["result"].as_object_mut().expect("an object").remove("_meta");
            assert_eq!(got["result"], params, "{got}");
        }
        for got in asked(callbacks, FORM, form()).await {
            let error = got["error"].to_string();
            assert!(error.contains("-4711") && error.contains("no elicitation/create"), "{got}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_panic_is_an_internal_error_and_a_warning_and_the_session_stands() {
    within_limit(async {
        let callbacks = Callbacks::new()
            .on_elicitation(async |_| panic!("a secret of the callback"))
            .on_request("vendor/early", |_| -> std::future::Ready<Result<Value, RequestError>> {
                panic!("before there is a future")
            })
            .on_notification(async |told: ServerMessage| {
                assert_ne!(told.params["data"], 1, "the second one");
            });
        for got in asked(callbacks.clone(), FORM, form()).await {
            let error = got["error"].to_string();
            assert!(error.contains("-32603") && !error.contains("secret"), "{got}");
        }
        let (server, _hears) = asker(*LEGACY).await;
        let group = SessionGroup::start(brisk().callbacks(callbacks));
        group.connect(at("s", &server.url)).await.expect("up");
        let got = call(&group, "s/ask", json!({"method": "vendor/early"})).await;
        assert!(got["error"].to_string().contains("-32603"), "{got}");
        call(&group, "s/ask", json!({"tell": "notifications/message", "method": "ping"})).await;
        let report = group.close().await;
        assert!(report.clean, "{report:?}");
        let warnings = &report.servers[0].warnings;
        let has = |text: &str| warnings.iter().any(|warning| warning.contains(text));
        assert!(
            has("the callback for vendor/early panicked: before there is a future"),
            "{warnings:?}"
        );
        assert!(has("the callback for notifications/message panicked"), "{warnings:?}");
    })
    .await;
}

/// Reports its drop.
struct Dropped(mpsc::UnboundedSender<&'static str>);

impl Drop for Dropped {
    fn drop(&mut self) {
        let _ = self.0.send("dropped");
    }
}

/// A callback that never answers; it reports its beginning and its drop.
fn never(says: &mpsc::UnboundedSender<&'static str>) -> Callbacks {
    let says = says.clone();
    Callbacks::new().on_request("vendor/ask", move |_| {
        let says = says.clone();
        async move {
            let _dropped = Dropped(says.clone());
            says.send("begun").expect("somebody listens");
            std::future::pending().await
        }
    })
}

#[tokio::test]
async fn a_request_that_the_server_takes_back_cancels_its_callback() {
    within_limit(async {
        let request = json!({"jsonrpc": "2.0", "id": "q1", "method": "vendor/ask"});
        let taken_back = json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": "q1"}});
        let then = json!({"jsonrpc": "2.0", "id": "q2", "method": "ping"});
        // The child cancels only after a line from this test, so the callback runs by then.
        let child = asking_child(
            &request.to_string(),
            &format!("IFS= read -r word; printf '%s\\n' '{taken_back}' '{then}'"),
        );
        let (says, mut hears) = mpsc::unbounded_channel();
        let group = SessionGroup::start(brisk().callbacks(never(&says)));
        group.connect(child).await.expect("up");
        let (got, ()) = tokio::join!(call(&group, "s/echo", json!({})), async {
            assert_eq!(hears.recv().await, Some("begun"));
            group.notify("s", "vendor/word", Map::new()).await.expect("sent");
            assert_eq!(hears.recv().await, Some("dropped"));
        });
        assert_eq!(got["id"], "q2", "a request that is taken back gets no answer: {got}");
        assert!(group.close().await.all_well());
    })
    .await;
}

#[tokio::test]
async fn a_request_that_is_taken_back_over_http_cancels_its_callback() {
    use crate::support::http::{Feed, Reply, Request, Server, legacy};
    within_limit(async {
        let feed = Feed::new();
        let calls = feed.clone();
        let server = Server::start(move |request: &Request| match request.rpc.as_str() {
            "tools/call" => Reply::Fed(calls.clone()),
            _ => legacy(request),
        })
        .await;
        let (says, mut hears) = mpsc::unbounded_channel();
        let group = SessionGroup::start(brisk().callbacks(never(&says)));
        group.connect(at("s", &server.url)).await.expect("up");
        tokio::join!(call(&group, "s/echo", json!({})), async {
            feed.push(&json!({"jsonrpc": "2.0", "id": "q1", "method": "vendor/ask"}));
            assert_eq!(hears.recv().await, Some("begun"));
            feed.push(&json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": "q1"}}));
            assert_eq!(hears.recv().await, Some("dropped"));
            let id = server.requested("tools/call")[0].clone();
            feed.push(&json!({"jsonrpc": "2.0", "id": id, "result": {"content": []}}));
            feed.end();
        });
        let posts = server.log().iter().filter(|it| *it == "POST ").count();
        assert_eq!(posts, 0, "a request that is taken back gets no answer");
        assert!(group.close().await.all_well());
    })
    .await;
}

/// Two streams of a server have no common order.
#[tokio::test]
async fn a_request_that_comes_after_its_cancellation_on_another_stream_is_not_passed_on() {
    use crate::support::http::{Feed, Reply, Request, Server, legacy};
    within_limit(async {
        let (common, own) = (Feed::new(), Feed::new());
        let (gets, calls) = (common.clone(), own.clone());
        let server = Server::start(move |request: &Request| match request.rpc.as_str() {
            _ if request.verb == "GET" => Reply::Fed(gets.clone()),
            "tools/call" => Reply::Fed(calls.clone()),
            _ => legacy(request),
        })
        .await;
        let (says, mut hears) = mpsc::unbounded_channel();
        let heard = says.clone();
        let callbacks = Callbacks::new()
            .on_request("vendor/ask", move |asked: ServerMessage| {
                let _sent = says.send(asked.params["n"].clone());
                async { Ok(json!({})) }
            })
            .on_notification(move |_| {
                let _sent = heard.send(json!("a word"));
                async {}
            });
        let group = SessionGroup::start(brisk().callbacks(callbacks));
        group.connect(at("s", &server.url)).await.expect("up");
        let asks = |n: i32| json!({"jsonrpc": "2.0", "id": format!("q{n}"), "method": "vendor/ask", "params": {"n": n}});
        tokio::join!(call(&group, "s/echo", json!({})), async {
            server.asked("POST tools/call").await;
            common.push(&json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": "q1"}}));
            common.push(&json!({"jsonrpc": "2.0", "method": "vendor/word"}));
            assert_eq!(hears.recv().await, Some(json!("a word")), "the cancellation has been read");
            own.push(&asks(1));
            own.push(&asks(2));
            assert_eq!(hears.recv().await, Some(json!(2)), "the first one is not passed on");
            // The server uses the id again.
            own.push(&asks(1));
            assert_eq!(hears.recv().await, Some(json!(1)));
            let id = server.requested("tools/call")[0].clone();
            own.push(&json!({"jsonrpc": "2.0", "id": id, "result": {"content": []}}));
            own.end();
        });
        assert!(group.close().await.all_well());
    })
    .await;
}

#[tokio::test]
async fn the_log_level_is_set_again_in_another_session() {
    use crate::support::http::{Reply, Request, Server, legacy};
    within_limit(async {
        let expired = std::sync::atomic::AtomicBool::new(false);
        let server = Server::start(move |request: &Request| match request.rpc.as_str() {
            "logging/setLevel" => {
                Reply::json(json!({"jsonrpc": "2.0", "id": request.id, "result": {}}))
            }
            "tools/call" if !expired.swap(true, std::sync::atomic::Ordering::Relaxed) => {
                Reply::status(404)
            }
            _ => legacy(request),
        })
        .await;
        let group = SessionGroup::start(brisk());
        group.connect(at("s", &server.url)).await.expect("up");
        group.set_log_level("s", LogLevel::Error).await.expect("a log");
        let count = || server.log().iter().filter(|it| *it == "POST logging/setLevel").count();
        assert_eq!(count(), 1);
        call(&group, "s/echo", json!({})).await;
        until(|| count() == 2).await;
        assert!(group.close().await.all_well());
    })
    .await;
}

#[tokio::test]
async fn leaving_cancels_the_callbacks() {
    within_limit(async {
        let (says, mut hears) = mpsc::unbounded_channel();
        let (server, _server_hears) = asker(*LEGACY).await;
        let group = SessionGroup::start(brisk().callbacks(never(&says)));
        group.connect(at("s", &server.url)).await.expect("up");
        let calling = tokio::spawn({
            let group = group.clone();
            async move {
                let ask = args(json!({"method": "vendor/ask"}));
                group.call_tool("s/ask", ask, CallOptions::default()).await
            }
        });
        assert_eq!(hears.recv().await, Some("begun"));
        let report = group.close().await;
        assert!(report.all_well(), "{report:?}");
        assert_eq!(hears.recv().await, Some("dropped"));
        assert!(calling.await.expect("no panic").is_err());
    })
    .await;
}

#[tokio::test]
async fn a_callback_that_ignores_its_cancellation_holds_nothing_up_and_is_named() {
    within_limit(async {
        let (begun, free) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let callbacks = Callbacks::new().on_request("vendor/ask", {
            let (begun, free) = (begun.clone(), free.clone());
            move |_| {
                let (begun, free) = (begun.clone(), free.clone());
                async move {
                    begun.notify_one();
                    moored::shield(free.notified()).await;
                    Ok(Value::Null)
                }
            }
        });
        let request = json!({"jsonrpc": "2.0", "id": "q1", "method": "vendor/ask"});
        let group = SessionGroup::start(brisk().callbacks(callbacks));
        group.connect(asking_child(&request.to_string(), "")).await.expect("up");
        let calling = tokio::spawn({
            let group = group.clone();
            async move { group.call_tool("s/echo", Map::new(), CallOptions::default()).await }
        });
        begun.notified().await;
        let began = std::time::Instant::now();
        let report = group.close().await;
        assert!(began.elapsed() < Duration::from_millis(2_500), "the budget");
        assert!(calling.await.expect("no panic").is_err());
        let suppressed = &report.servers[0].leave.suppressed;
        assert!(
            suppressed.iter().any(|it| it.ends_with("left to themselves: vendor/ask")),
            "{suppressed:?}"
        );
        assert!(!report.clean);
        free.notify_one();
    })
    .await;
}

#[tokio::test]
async fn notifications_are_heard_in_order_and_know_their_call() {
    within_limit(async {
        let (saying, mut said) = mpsc::unbounded_channel();
        let callbacks = Callbacks::new()
            .on_log(async |told| assert_eq!(told.params.level, LogLevel::Info))
            .on_notification(move |told: ServerMessage| {
                let saying = saying.clone();
                async move {
                    let call = told.tag.as_ref().and_then(Tag::get::<u32>).copied();
                    let kept = told.params["x"]["kept"] == true;
                    saying.send((told.params["data"].clone(), call, kept)).expect("heard");
                }
            });
        let (server, mut hears) = asker(*LEGACY).await;
        let group = SessionGroup::start(brisk().callbacks(callbacks));
        group.connect(at("s", &server.url)).await.expect("up");
        group.set_log_level("s", LogLevel::Warning).await.expect("a server with a log");
        assert_eq!(hears.recv().await, Some(json!({"level": "warning"})));
        let options = CallOptions::default().tag(Tag::new(7_u32));
        // The server sends each message in a task of its own, and its answer ends the stream. It answers after its ping, so
        // all notifications are on the stream by then.
        let tell = args(json!({"tell": "notifications/message", "method": "ping"}));
        group.call_tool("s/ask", tell, options).await.expect("an answer");
        for step in 0..3 {
            assert_eq!(said.recv().await, Some((json!(step), Some(7), true)));
        }
        assert!(group.close().await.all_well());
    })
    .await;
}

#[tokio::test]
async fn a_request_of_the_server_knows_the_call_it_belongs_to() {
    within_limit(async {
        let callbacks = Callbacks::new().on_request("vendor/ask", async |asked: ServerMessage| {
            Ok(json!(asked.tag.as_ref().and_then(Tag::get::<&str>)))
        });
        let (server, _hears) = asker(*LEGACY).await;
        let group = SessionGroup::start(brisk().callbacks(callbacks));
        group.connect(at("s", &server.url)).await.expect("up");
        let ask = |tag: &'static str| {
            let ask = args(json!({"method": "vendor/ask"}));
            group.call_tool("s/ask", ask, CallOptions::default().tag(Tag::new(tag)))
        };
        // The calls run side by side, because over HTTP each has its own stream.
        let (one, two) = tokio::join!(ask("one"), ask("two"));
        for (answer, tag) in [(one, "one"), (two, "two")] {
            assert_eq!(answer.expect("an answer")["structuredContent"]["result"], tag);
        }
        assert!(group.close().await.all_well());

        let request = json!({"jsonrpc": "2.0", "id": "q1", "method": "vendor/ask"});
        let callbacks = Callbacks::new().on_request("vendor/ask", async |asked: ServerMessage| {
            Ok(json!(asked.tag.as_ref().and_then(Tag::get::<&str>)))
        });
        let child = asking_child(&request.to_string(), "").callbacks(callbacks);
        let group = SessionGroup::start(brisk());
        group.connect(child).await.expect("up");
        let options = CallOptions::default().tag(Tag::new("the only one"));
        let answer = group.call_tool("s/echo", Map::new(), options).await.expect("an answer");
        assert_eq!(answer["structuredContent"]["result"], "the only one");
        assert!(group.close().await.all_well());
    })
    .await;
}

#[tokio::test]
async fn what_is_registered_is_announced_in_both_eras() {
    within_limit(async {
        let eras: [(&'static [ProtocolVersion], bool); 2] =
            [(*LEGACY, false), (ProtocolVersion::KNOWN_VERSIONS, true)];
        for (versions, _is_modern) in eras {
            let callbacks = Callbacks::new()
                .on_sampling(async |_| Ok(SampleAnswer::text("m", "t")))
                .on_url_elicitation(async |_| Ok(ElicitAnswer::Decline))
                .roots(Roots::new([]))
                .announce(args(json!({"experimental": {"x": {"y": 1}}})));
            let info = ClientInfo::new("agent", "7").title("An agent");
            let (server, mut hears) = asker(versions).await;
            let group = SessionGroup::start(brisk().callbacks(callbacks).client_info(info));
            group.connect(at("s", &server.url)).await.expect("up");
            call(&group, "s/ask", json!({})).await;
            let heard = hears.recv().await.expect("a call");
            assert_eq!(heard["info"]["name"], "agent", "{heard}");
            assert_eq!(heard["info"]["title"], "An agent");
            assert_eq!(
                heard["capabilities"],
                json!({"sampling": {}, "elicitation": {"url": {}}, "roots": {"listChanged": true}, "experimental": {"x": {"y": 1}}})
            );
            assert!(group.close().await.all_well());

            let group = SessionGroup::start(brisk());
            group.connect(at("s", &server.url)).await.expect("up");
            call(&group, "s/ask", json!({})).await;
            assert_eq!(hears.recv().await.expect("a call")["capabilities"], json!({}));
            assert!(group.close().await.all_well());
        }
    })
    .await;
}

#[tokio::test]
async fn a_capability_that_is_none_fails_the_connection_with_a_word() {
    within_limit(async {
        let callbacks = Callbacks::new().announce(args(json!({"roots": 7})));
        let group = SessionGroup::start(brisk());
        let error = group.connect(asking_child("", "").callbacks(callbacks)).await;
        let error = error.expect_err("no capability");
        assert!(error.to_string().contains("Callbacks::announce"), "{error}");
        assert!(group.close().await.clean);
    })
    .await;
}

#[tokio::test]
async fn servers_are_told_when_the_roots_change() {
    within_limit(async {
        let roots = Roots::new([Root::new("file:///a")]);
        let (server, mut hears) = asker(*LEGACY).await;
        let group = SessionGroup::start(brisk().callbacks(Callbacks::new().roots(roots.clone())));
        group.connect(at("s", &server.url)).await.expect("up");
        roots.set([Root::new("file:///a")]);
        roots.set([Root::new("file:///b")]);
        assert_eq!(hears.recv().await, Some(json!("roots changed")));
        let got = call(&group, "s/ask", json!({"method": "roots/list"})).await;
        assert_eq!(got["result"]["roots"][0]["uri"], "file:///b");
        assert!(group.close().await.all_well());
    })
    .await;
}

#[tokio::test]
async fn a_result_that_comes_as_an_event_keeps_every_field() {
    use crate::support::http::{End, Reply, Request, Server, legacy};
    within_limit(async {
        let result =
            json!({"content": [{"type": "text", "text": "t", "x": [1]}], "y": {"z": null}});
        let answer = result.clone();
        let server = Server::start(move |request: &Request| match request.rpc.as_str() {
            "tools/call" => {
                let answer = json!({"jsonrpc": "2.0", "id": request.id, "result": answer});
                Reply::events(format!("data: {answer}\n\n"), End::Whole)
            }
            "vendor/ask" => Reply::json(
                json!({"jsonrpc": "2.0", "id": request.id, "result": {"got": request.params}}),
            ),
            _ => legacy(request),
        })
        .await;
        let group = SessionGroup::start(brisk());
        group.connect(at("s", &server.url)).await.expect("up");
        let got = group.call_tool("s/echo", Map::new(), CallOptions::default()).await;
        assert_eq!(got.expect("an answer"), result);
        let params = args(json!({"a": 1, "_meta": {"k": "v"}}));
        let got = group.request("s", "vendor/ask", params, CallOptions::default()).await;
        let got = got.expect("an answer");
        assert_eq!(
            (&got["got"]["a"], &got["got"]["_meta"]["k"]),
            (&json!(1), &json!("v")),
            "{got}"
        );
        assert!(group.close().await.all_well());
    })
    .await;
}

/// It would wait for itself: the group waits for the call, the call for the callback.
#[tokio::test]
async fn a_callback_that_waits_for_the_end_of_its_own_group_is_cancelled_and_told() {
    use moored_mcp::CallError;
    const LONG: Duration = Duration::from_secs(20);
    within_limit(async {
        for (modern, how) in [
            (false, "drain"),
            (true, "drain"),
            (false, "close"),
            (true, "close"),
            (false, "disconnect"),
            (true, "disconnect"),
        ] {
            let own = Arc::new(parking_lot::Mutex::new(None::<SessionGroup>));
            let callbacks = Callbacks::new().on_request("roots/list", {
                let own = own.clone();
                move |_| {
                    let group = own.lock().clone().expect("the group");
                    async move {
                        match how {
                            "drain" => drop(group.drain(LONG).await),
                            "close" => drop(group.close().await),
                            _ => drop(group.disconnect("s").await),
                        }
                        panic!("it has waited for itself")
                    }
                }
            });
            let (server, _hears) =
                asker(if modern { ProtocolVersion::KNOWN_VERSIONS } else { *LEGACY }).await;
            let group = SessionGroup::start(brisk().callbacks(callbacks).budget(LONG));
            *own.lock() = Some(group.clone());
            group.connect(at("s", &server.url)).await.expect("up");
            let began = std::time::Instant::now();
            let call_ = match modern {
                true => args(json!({"wanted": {"places": {"method": "roots/list"}}})),
                false => args(json!({"method": "roots/list"})),
            };
            let answer = group.call_tool("s/ask", call_, CallOptions::default()).await;
            let report = group.close().await;
            assert!(began.elapsed() < LONG / 4, "{how}: {:?}", began.elapsed());
            let waits = format!(
                "the callback for roots/list of server \"s\" waits for the end of its own {}",
                if how == "disconnect" { "session \"s\"" } else { "group" }
            );
            let warnings = &report.servers[0].warnings;
            assert_eq!(
                warnings.iter().filter(|it| it.starts_with(&waits)).count(),
                1,
                "{warnings:?}"
            );
            match answer {
                Ok(answer) if !modern => {
                    let error = answer["structuredContent"]["error"].as_str().expect("refused");
                    assert!(error.contains(&waits), "{error}");
                }
                Err(CallError::Failed { report, .. }) if modern => {
                    assert!(report.chain[1].contains(&waits), "{report:?}");
                }
                Err(CallError::Closing(_) | CallError::Left(_)) if how != "drain" => {}
                other => panic!("{how}: {other:?}"),
            }
            *own.lock() = None;
        }
    })
    .await;
}

#[tokio::test]
async fn a_callback_for_a_notification_that_closes_its_own_group_delays_nothing() {
    within_limit(async {
        let own = Arc::new(parking_lot::Mutex::new(None::<SessionGroup>));
        let callbacks = Callbacks::new().on_notification({
            let own = own.clone();
            move |_| {
                let group = own.lock().clone().expect("the group");
                async move { drop(group.close().await) }
            }
        });
        let budget = Duration::from_secs(20);
        let group = SessionGroup::start(brisk().callbacks(callbacks).budget(budget));
        *own.lock() = Some(group.clone());
        let told = r#"printf '{"jsonrpc":"2.0","method":"notifications/x"}\n'"#;
        group.connect(shell_server_with("s", "", told)).await.expect("up");
        let began = std::time::Instant::now();
        let _closing = group.call_tool("s/echo", Map::new(), CallOptions::default()).await;
        let report = group.close().await;
        assert!(began.elapsed() < budget / 8, "{:?}", began.elapsed());
        let told =
            "the callback for notifications/x of server \"s\" waits for the end of its own group";
        assert!(report.servers[0].warnings.iter().any(|it| it.starts_with(told)), "{report:?}");
        *own.lock() = None;
    })
    .await;
}
