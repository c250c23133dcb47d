//! The way to an HTTP server and back: headers, connections, redirects, proxies, codings.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use moored_mcp::{CallError, CallOptions, Delete, HttpParams, Outcome, ServerParams};
use parking_lot::Mutex;
use serde_json::json;

use crate::support::http::{End, Reply, Request, Server, legacy, modern};
use crate::support::{at, brisk_group, echo, within_limit};

#[tokio::test]
async fn every_request_after_the_handshake_names_the_revision() {
    within_limit(async {
        let server = Server::start(|request| {
            let version = request.headers.get("mcp-protocol-version").map(String::as_str);
            if !matches!(request.rpc.as_str(), "server/discover" | "initialize") {
                assert_eq!(version, Some("2025-11-25"), "{request:?}");
                assert_eq!(request.headers["mcp-session-id"], "s-1", "{request:?}");
            }
            let agent = &request.headers["user-agent"];
            assert!(agent.starts_with("moored-mcp/"), "{agent}");
            assert_eq!(request.headers["accept"], "application/json, text/event-stream");
            assert_eq!(request.headers["accept-encoding"], "gzip,deflate");
            legacy(request)
        })
        .await;
        let group = brisk_group();
        group.connect(at("s", &server.url)).await.expect("it comes up");
        echo(&group, "s").await.expect("an answer");
        assert!(group.close().await.all_well());
        assert_eq!(server.deletes(), 1);
    })
    .await;
}

#[tokio::test]
async fn the_delete_after_a_failed_handshake_names_the_revision_as_well() {
    within_limit(async {
        let server = Server::start(|request| match (request.verb.as_str(), request.rpc.as_str()) {
            ("DELETE", _) if !request.headers.contains_key("mcp-protocol-version") => {
                Reply::status(400)
            }
            (_, "notifications/initialized") => Reply::status(500),
            _ => legacy(request),
        })
        .await;
        let group = brisk_group();
        group.connect(at("s", &server.url)).await.expect_err("500");
        assert_eq!(group.close().await.servers[0].leave.delete, Delete::Terminated);
    })
    .await;
}

#[tokio::test]
async fn a_session_takes_two_connections_one_of_them_for_its_stream() {
    within_limit(async {
        // A machine that is busy for long may need another one, but not each time.
        for _ in 0..10 {
            let opened = Arc::new(AtomicUsize::new(0));
            let counted = opened.clone();
            let server = Server::start(move |request| {
                counted.fetch_add(usize::from(request.before == 0), Ordering::Relaxed);
                legacy(request)
            })
            .await;
            let group = brisk_group();
            group.connect(at("s", &server.url)).await.expect("it comes up");
            assert!(group.close().await.all_well());
            if opened.load(Ordering::Relaxed) <= 2 {
                return;
            }
        }
        panic!("more than two connections each time");
    })
    .await;
}

/// A server that closes a connection at its second or later request, if `closes` returns `true` for that request.
async fn closing(closes: fn(&Request) -> bool) -> Server {
    Server::start(move |request| {
        if request.before > 0 && closes(request) { Reply::Reset } else { legacy(request) }
    })
    .await
}

#[tokio::test]
async fn a_request_that_meets_a_closed_connection_is_sent_again_on_a_new_one() {
    within_limit(async {
        let server = closing(|request| request.rpc != "tools/call").await;
        for _ in 0..5 {
            let group = brisk_group();
            group.connect(at("s", &server.url)).await.expect("it comes up");
            let report = group.close().await;
            assert!(report.all_well(), "{report:?}");
            assert_eq!(report.servers[0].leave.delete, Delete::Terminated);
        }
    })
    .await;
}

#[tokio::test]
async fn a_call_that_may_have_reached_the_server_is_not_sent_again() {
    within_limit(async {
        let server = closing(|request| request.rpc == "tools/call").await;
        let group = brisk_group();
        group.connect(at("s", &server.url)).await.expect("it comes up");
        let error = echo(&group, "s").await.expect_err("closed");
        let CallError::Failed { report, .. } = &error else { panic!("{error:?}") };
        assert!(report.message.contains("cannot reach"), "{report:?}");
        let calls = server.log().iter().filter(|line| *line == "POST tools/call").count();
        assert_eq!(calls, 1);
        group.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_new_connection_that_is_closed_is_not_tried_again() {
    within_limit(async {
        let server = Server::start(|request| match request.rpc.as_str() {
            "server/discover" => legacy(request).with("connection", "close"),
            _ => Reply::Reset,
        })
        .await;
        brisk_group().connect(at("s", &server.url)).await.expect_err("closed");
        let tries = server.log().iter().filter(|line| *line == "POST initialize").count();
        assert_eq!(tries, 1);
    })
    .await;
}

#[tokio::test]
async fn a_redirect_that_would_lose_the_request_is_not_followed_and_names_its_location() {
    within_limit(async {
        for status in [301, 302, 303] {
            let server = Server::start(move |request| match request.verb.as_str() {
                "POST" => Reply::status(status).with("location", "/elsewhere?token=secret"),
                _ => legacy(request),
            })
            .await;
            let error = brisk_group().connect(at("s", &server.url)).await.expect_err("moved");
            let place = server.url.replace("/mcp", "/elsewhere");
            assert_eq!(error.outcome(), Outcome::UpstreamError);
            assert!(error.to_string().contains(&place), "{error}");
            assert!(error.to_string().contains(&status.to_string()), "{error}");
            assert!(!error.to_string().contains("secret"), "{error}");
            assert!(!server.log().iter().any(|line| line.starts_with("GET")), "{:?}", server.log());
        }
    })
    .await;
}

#[tokio::test]
async fn a_redirect_that_keeps_the_request_is_followed() {
    within_limit(async {
        for status in [307, 308] {
            let moved = Arc::new(AtomicUsize::new(0));
            let count = moved.clone();
            let server = Server::start(move |request| {
                if request.path == "/mcp" {
                    count.fetch_add(1, Ordering::Relaxed);
                    return Reply::status(status).with("location", "/moved");
                }
                legacy(request)
            })
            .await;
            let group = brisk_group();
            group.connect(at("s", &server.url)).await.expect("it comes up");
            assert!(group.close().await.all_well());
            assert!(moved.load(Ordering::Relaxed) > 3);
        }
    })
    .await;
}

#[tokio::test]
async fn the_words_and_all_challenges_of_a_refusal_are_kept() {
    within_limit(async {
        for (status, outcome) in [(401, Outcome::AuthRequired), (403, Outcome::Forbidden)] {
            let server = Server::start(move |_| {
                Reply::status(status)
                    .with("www-authenticate", "Bearer realm=\"a\"")
                    .with("www-authenticate", "DPoP algs=\"ES256\"")
                    .saying(
                        "{\"error\":\"invalid_token\",\"error_description\":\"it has expired\"}",
                    )
            })
            .await;
            let error = brisk_group().connect(at("s", &server.url)).await.expect_err("locked");
            assert_eq!(error.outcome(), outcome);
            for said in ["Bearer realm", "DPoP algs", "it has expired"] {
                assert!(error.to_string().contains(said), "{error}");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_media_type_is_read_without_case_and_whole() {
    within_limit(async {
        let typed = |media_type: &'static str| {
            Server::start(move |request| match legacy(request) {
                Reply::Answer { status, mut headers, body } => {
                    for (name, value) in &mut headers {
                        if name == "content-type" {
                            *value = media_type.into();
                        }
                    }
                    Reply::Answer { status, headers, body }
                }
                other => other,
            })
        };
        let server = typed("Application/JSON; Charset=UTF-8").await;
        let group = brisk_group();
        group.connect(at("s", &server.url)).await.expect("it comes up");
        assert!(group.close().await.all_well());
        let server = typed("application/jsonp").await;
        let error = brisk_group().connect(at("s", &server.url)).await.expect_err("a script");
        assert!(error.to_string().contains("application/jsonp"), "{error}");
    })
    .await;
}

#[tokio::test]
async fn a_compressed_answer_is_read_and_an_unknown_coding_named() {
    within_limit(async {
        // Compresses the answer to one request, because it can only be made once the request's id is known.
        let gzip = |body: Vec<u8>| {
            use std::io::Write;
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), Default::default());
            encoder.write_all(&body).expect("memory");
            encoder.finish().expect("memory")
        };
        let coded = move |coding: &'static str| {
            Server::start(move |request| match legacy(request) {
                Reply::Answer { status: 200, headers, body } if !body.is_empty() => {
                    let body = if coding == "gzip" { gzip(body) } else { body };
                    Reply::Answer { status: 200, headers, body }.with("content-encoding", coding)
                }
                other => other,
            })
        };
        let server = coded("gzip").await;
        let group = brisk_group();
        let info = group.connect(at("s", &server.url)).await.expect("it comes up");
        assert_eq!(info.tools, 1);
        assert!(group.close().await.all_well());
        let server = coded("br").await;
        let error = brisk_group().connect(at("s", &server.url)).await.expect_err("brotli");
        assert!(error.to_string().contains("the content coding \"br\""), "{error}");
        // The header claims `deflate`, and the body is not compressed with it.
        let server = coded("deflate").await;
        let error = brisk_group().connect(at("s", &server.url)).await.expect_err("no deflate");
        assert_eq!(error.outcome(), Outcome::ProtocolError, "{error}");
        assert!(error.to_string().contains("to initialize cannot be read"), "{error}");
    })
    .await;
}

#[tokio::test]
async fn a_header_of_the_protocol_in_the_configuration_is_dropped_with_a_warning() {
    within_limit(async {
        let server = Server::start(|request| {
            assert_eq!(request.headers["accept"], "application/json, text/event-stream");
            assert_eq!(request.headers["x-key"], "1");
            legacy(request)
        })
        .await;
        let mut params = HttpParams::new(&server.url);
        params.headers = [("Accept", "*/*"), ("X-Key", "1")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into();
        let group = brisk_group();
        let info = group.connect(ServerParams::http("s", params)).await.expect("it comes up");
        assert!(info.warnings.iter().any(|it| it.contains("\"Accept\"")), "{info:?}");
        assert!(group.close().await.all_well());
    })
    .await;
}

/// A load balancer binds a session to one of its servers by a cookie.
#[tokio::test]
async fn a_cookie_comes_back_in_its_own_session_and_in_no_other() {
    within_limit(async {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let seeing = seen.clone();
        let server = Server::start(move |request| {
            let cookie = request.headers.get("cookie").cloned().unwrap_or_default();
            seeing.lock().push((request.verb.clone(), request.rpc.clone(), cookie));
            let begun = seeing.lock().iter().filter(|it| it.1 == "initialize").count();
            match request.rpc.as_str() {
                "initialize" => legacy(request)
                    .with("set-cookie", &format!("LB=node-{begun}; Path=/; HttpOnly")),
                _ => legacy(request),
            }
        })
        .await;
        let group = brisk_group();
        group.connect(at("one", &server.url)).await.expect("up");
        let mut own = HttpParams::new(&server.url);
        own.headers.insert("Cookie".into(), "mine=1".into());
        group.connect(at("two", &server.url)).await.expect("up");
        group.connect(ServerParams::http("own", own)).await.expect("up");
        seen.lock().clear();
        for (name, cookie) in [("one", "LB=node-1"), ("two", "LB=node-2"), ("own", "mine=1")] {
            echo(&group, name).await.expect("an answer");
            group.disconnect(name).await.expect("left");
            let seen = std::mem::take(&mut *seen.lock());
            assert!(seen.iter().any(|it| it.0 == "DELETE"), "{seen:?}");
            assert!(seen.iter().all(|it| it.2 == cookie), "{name}: {seen:?}");
        }
        group.close().await;
    })
    .await;
}

#[tokio::test]
async fn an_answer_with_many_headers_is_read_and_one_with_too_many_is_told_so() {
    within_limit(async {
        for (count, is_read) in [(99, true), (200, true), (300, false)] {
            let server = Server::start(move |request| {
                (0..count).fold(legacy(request), |reply, at| reply.with(&format!("x-{at}"), "1"))
            })
            .await;
            let group = brisk_group();
            let result = group.connect(at("s", &server.url)).await;
            if is_read {
                result.expect("it comes up");
            } else {
                let error = result.expect_err("too many");
                assert_eq!(error.outcome(), Outcome::ProtocolError);
                let text = error.to_string();
                assert!(
                    text.contains("is too large: it has more than 256 header fields"),
                    "{text}"
                );
            }
            group.close().await;
        }
    })
    .await;
}

/// `7.0` is an integer of JSON, and its header is `7`.
#[tokio::test]
async fn an_integer_that_is_mirrored_to_a_header_is_written_as_one() {
    within_limit(async {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let seeing = seen.clone();
        let server = Server::start(move |request| match request.rpc.as_str() {
            "tools/list" => {
                let schema = json!({"type": "object", "properties": {"n": {"type": "integer", "x-mcp-header": "N"}}});
                let tools = json!([{"name": "echo", "inputSchema": schema}]);
                let result = json!({"resultType": "complete", "tools": tools, "ttlMs": 0, "cacheScope": "private"});
                Reply::json(json!({"jsonrpc": "2.0", "id": request.id, "result": result}))
            }
            "tools/call" => {
                let header = request.headers.get("mcp-param-n").cloned();
                seeing.lock().push((header, request.params["arguments"]["n"].to_string()));
                let result = json!({"resultType": "complete", "content": []});
                Reply::json(json!({"jsonrpc": "2.0", "id": request.id, "result": result}))
            }
            _ => modern(request),
        })
        .await;
        let group = brisk_group();
        group.connect(at("s", &server.url)).await.expect("up");
        let args = json!({"n": 7.0}).as_object().cloned().expect("an object");
        group.call_tool("s/echo", args, CallOptions::default()).await.expect("an answer");
        assert_eq!(*seen.lock(), [(Some("7".to_owned()), "7".to_owned())]);
        assert!(group.close().await.all_well());
    })
    .await;
}

#[tokio::test]
async fn an_answer_that_is_none_fails_its_call_at_once() {
    within_limit(async {
        for (body, why) in [
            (
                json!({"jsonrpc": "2.0", "id": 4_711, "result": {}}),
                "an answer with the id 4711, which was never asked",
            ),
            (json!({"jsonrpc": "2.0", "method": "ping", "id": 1}), "a request or a notification"),
            (json!({"ok": true}), "not a message"),
        ] {
            let server = Server::start(move |request| match request.rpc.as_str() {
                "tools/call" => Reply::json(body.clone()),
                _ => legacy(request),
            })
            .await;
            let group = brisk_group();
            group.connect(at("s", &server.url)).await.expect("it comes up");
            let error = echo(&group, "s").await.expect_err("no answer");
            assert!(error.to_string().contains(why), "{error}");
            assert!(group.close().await.clean);
        }
    })
    .await;
}

#[tokio::test]
async fn a_delete_that_is_refused_says_what_the_server_said() {
    within_limit(async {
        for (reply, said) in [
            (Reply::status(500).saying("out of order"), "HTTP 500"),
            (Reply::status(500).saying("out of order"), "out of order"),
            (Reply::status(302).with("location", "/elsewhere"), "/elsewhere"),
        ] {
            let server = Server::start(move |request| match request.verb.as_str() {
                "DELETE" => reply.clone(),
                _ => legacy(request),
            })
            .await;
            let group = brisk_group();
            group.connect(at("s", &server.url)).await.expect("it comes up");
            let leave = group.close().await.servers[0].leave.clone();
            assert_eq!(leave.delete, Delete::Failed);
            assert!(leave.suppressed[0].contains(said), "{leave:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn an_error_in_the_answer_to_an_accepted_notification_is_a_warning() {
    within_limit(async {
        let server = Server::start(|request| match request.rpc.as_str() {
            "notifications/initialized" => Reply::json(json!({
                "jsonrpc": "2.0", "id": null, "error": {"code": -32600, "message": "too early"},
            })),
            _ => legacy(request),
        })
        .await;
        let group = brisk_group();
        let info = group.connect(at("s", &server.url)).await.expect("the status is 200");
        let warning = info.warnings.iter().find(|it| it.contains("too early")).expect("a warning");
        assert!(warning.contains("notifications/initialized"), "{warning}");
        assert!(group.close().await.all_well());
        // A body without an error, and one that never comes to its end.
        for reply in [
            Reply::json(json!({"jsonrpc": "2.0", "id": null, "result": {}})),
            Reply::json(json!({})).of_status(202),
            Reply::events("{", End::Open).with("content-type", "application/json"),
        ] {
            let server = Server::start(move |request| match request.rpc.as_str() {
                "notifications/initialized" => reply.clone(),
                _ => legacy(request),
            })
            .await;
            let group = brisk_group();
            let info = group.connect(at("s", &server.url)).await.expect("it comes up");
            assert_eq!(info.warnings, Vec::<String>::new());
            assert!(group.close().await.all_well());
        }
    })
    .await;
}
