//! Response streams: how they are read, how they break, and how they are asked for again.

use std::time::{Duration, Instant};

use moored_mcp::{CallError, CallOptions, ErrorReport, Outcome};
use serde_json::{Value, json};

use crate::support::http::{End, Reply, Request, Server, legacy};
use crate::support::{at, brisk_group, echo, within_limit};

/// One event that holds a message.
fn event(message: &Value) -> String {
    format!("data: {message}\n\n")
}

/// The answer to a request.
fn answer(request: &Request) -> Value {
    json!({"jsonrpc": "2.0", "id": request.id, "result": {"content": []}})
}

/// Starts a server that answers calls with `on_call`; returns the failure of one call, its duration, and the server.
async fn failure(
    on_call: impl Fn(&Request) -> Reply + Send + Sync + 'static,
) -> (ErrorReport, Duration, Server) {
    let server =
        Server::start(move |request| match (request.verb.as_str(), request.rpc.as_str()) {
            (_, "tools/call") | ("GET", _) => on_call(request),
            _ => legacy(request),
        })
        .await;
    let group = brisk_group();
    group.connect(at("s", &server.url)).await.expect("it comes up");
    let began = Instant::now();
    let result = echo(&group, "s").await;
    let took = began.elapsed();
    group.close().await;
    match result {
        Err(CallError::Failed { report, .. }) => (*report, took, server),
        other => panic!("{other:?}"),
    }
}

/// As [`failure`], for a server that offers no stream on GET.
async fn failure_of_post(on_call: fn(&Request) -> Reply) -> (ErrorReport, Duration) {
    let (report, took, _) = failure(move |request| match request.verb.as_str() {
        "GET" => Reply::status(405),
        _ => on_call(request),
    })
    .await;
    (report, took)
}

#[tokio::test]
async fn a_stream_that_ends_without_an_answer_fails_its_call_at_once() {
    within_limit(async {
        let (report, took) = failure_of_post(|_| Reply::events(": hello\n\n", End::Whole)).await;
        assert!(report.message.contains("ended without an answer"), "{report:?}");
        assert!(took < Duration::from_secs(2), "{took:?}");
    })
    .await;
}

#[tokio::test]
async fn a_stream_that_breaks_off_fails_its_call_at_once_with_the_cause() {
    within_limit(async {
        let (report, took) = failure_of_post(|_| Reply::events(": hello\n\n", End::Broken)).await;
        assert!(report.message.contains("broke off"), "{report:?}");
        assert!(report.chain.len() > 1, "{report:?}");
        assert!(took < Duration::from_secs(2), "{took:?}");
    })
    .await;
}

#[tokio::test]
async fn an_event_that_is_a_broken_answer_fails_its_call_at_once() {
    within_limit(async {
        let (report, took) = failure_of_post(|request| {
            let text =
                format!("data: {{\"jsonrpc\":\"2.0\",\"id\":{},\"result\":{{\n\n", request.id);
            Reply::events(text, End::Open)
        })
        .await;
        assert!(report.message.contains("the answer to tools/call cannot be read"), "{report:?}");
        assert!(took < Duration::from_secs(2), "{took:?}");
    })
    .await;
}

#[tokio::test]
async fn what_the_html_standard_tells_to_ignore_is_ignored() {
    within_limit(async {
        let server = Server::start(|request| match request.rpc.as_str() {
            "initialize" | "tools/list" | "tools/call" => {
                let Reply::Answer { headers, body, .. } = legacy(request) else { panic!() };
                let message = String::from_utf8(body).expect("JSON");
                let text = format!(
                    "\u{feff}: comment\r\nretry: soon\r\nnonsense: 1\r\nno colon\r\n\r\nevent: ping\r\ndata: {{}}\r\n\r\ndata: Hello!\r\n\r\n\
                     data: {{\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\",\"params\":{{\"level\":\"info\",\"data\":1}}}}\r\n\r\ndata: {message}\r\n\r\n"
                );
                let reply = Reply::events(text, End::Whole);
                let id = headers.iter().find(|(name, _)| name == "mcp-session-id");
                id.into_iter().fold(reply, |reply, (name, value)| reply.with(name, value))
            }
            _ => legacy(request),
        })
        .await;
        let group = brisk_group();
        let info = group.connect(at("s", &server.url)).await.expect("it comes up");
        assert_eq!(info.tools, 1);
        echo(&group, "s").await.expect("an answer");
        let report = group.close().await;
        assert!(report.all_well(), "{report:?}");
        assert!(report.servers[0].warnings.iter().any(|it| it.contains("Hello!")), "{report:?}");
    })
    .await;
}

#[tokio::test]
async fn a_compressed_stream_is_read_event_by_event() {
    within_limit(async {
        let server = Server::start(|request| match request.rpc.as_str() {
            "tools/call" => {
                use std::io::Write;
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), Default::default());
                encoder.write_all(event(&answer(request)).as_bytes()).expect("memory");
                encoder.flush().expect("memory");
                let text = encoder.get_ref().clone();
                // The answer counts while the stream is still open.
                Reply::events(text, End::Open).with("content-encoding", "gzip")
            }
            _ => legacy(request),
        })
        .await;
        let group = brisk_group();
        group.connect(at("s", &server.url)).await.expect("it comes up");
        let began = Instant::now();
        echo(&group, "s").await.expect("an answer");
        assert!(began.elapsed() < Duration::from_secs(2));
        assert!(group.close().await.all_well());
    })
    .await;
}

#[tokio::test]
async fn text_of_a_stream_that_is_not_unicode_is_delivered() {
    within_limit(async {
        let server = Server::start(|request| match request.rpc.as_str() {
            "tools/call" => {
                let before = format!("data: {{\"jsonrpc\":\"2.0\",\"id\":{},", request.id);
                let after =
                    b"\"result\":{\"content\":[{\"type\":\"text\",\"text\":\"a\xffb\"}]}}\n\n";
                Reply::events([before.as_bytes(), after].concat(), End::Whole)
            }
            _ => legacy(request),
        })
        .await;
        let group = brisk_group();
        group.connect(at("s", &server.url)).await.expect("it comes up");
        let answer = echo(&group, "s").await.expect("an answer");
        assert_eq!(answer["content"][0]["text"], "a\u{fffd}b");
        assert!(group.close().await.all_well());
    })
    .await;
}

#[tokio::test]
async fn a_request_on_the_stream_of_initialize_is_answered() {
    within_limit(async {
        let server = Server::start(|request| match request.rpc.as_str() {
            "initialize" => {
                let Reply::Answer { body, .. } = legacy(request) else { panic!() };
                let answer: Value = serde_json::from_slice(&body).expect("JSON");
                let ping = json!({"jsonrpc": "2.0", "id": "p-1", "method": "ping"});
                let roots = json!({"jsonrpc": "2.0", "id": "p-2", "method": "roots/list"});
                let text = [event(&ping), event(&roots), event(&answer)].concat();
                Reply::events(text, End::Whole).with("mcp-session-id", "s-1")
            }
            // Only answers have no method.
            "" if request.verb == "POST" => {
                assert_eq!(request.headers["mcp-session-id"], "s-1");
                Reply::status(202).with("x-answered", request.id.as_str().expect("an id"))
            }
            _ => legacy(request),
        })
        .await;
        let group = brisk_group();
        group.connect(at("s", &server.url)).await.expect("it comes up");
        assert_eq!(server.log().iter().filter(|line| *line == "POST ").count(), 2);
        assert!(group.close().await.all_well());
    })
    .await;
}

#[tokio::test]
async fn a_stream_that_is_lost_is_resumed_where_it_broke_off() {
    within_limit(async {
        let server = Server::start(|request| match (request.verb.as_str(), request.rpc.as_str()) {
            (_, "tools/call") => {
                Reply::events(format!("id: {}\nretry: 50\ndata:\n\n", request.id), End::Whole)
            }
            ("GET", _) if request.headers.contains_key("last-event-id") => {
                assert_eq!(request.headers["mcp-session-id"], "s-1");
                assert_eq!(request.headers["mcp-protocol-version"], "2025-11-25");
                let mut request = request.clone();
                request.id =
                    serde_json::from_str(&request.headers["last-event-id"]).expect("an id");
                Reply::events(event(&answer(&request)), End::Open)
            }
            _ => legacy(request),
        })
        .await;
        let group = brisk_group();
        group.connect(at("s", &server.url)).await.expect("it comes up");
        echo(&group, "s").await.expect("the answer comes over the second stream");
        assert!(group.close().await.all_well());
    })
    .await;
}

#[tokio::test]
async fn a_resumption_that_is_refused_or_brings_nothing_is_bounded_and_named() {
    within_limit(async {
        for (reply, cause) in [
            (Reply::status(500), "HTTP 500"),
            (Reply::events("retry: 10\n\n", End::Whole), "ended without an answer"),
            (Reply::events("id: again\ndata:\n\n", End::Whole), "ended without an answer"),
        ] {
            let (report, took, server) = failure(move |request| match request.verb.as_str() {
                "GET" if !request.headers.contains_key("last-event-id") => Reply::status(405),
                "GET" => reply.clone(),
                _ => Reply::events("id: 1\nretry: 10\ndata:\n\n", End::Whole),
            })
            .await;
            assert!(report.message.contains("was lost and not resumed in 5 tries"), "{report:?}");
            assert!(report.chain.last().expect("a cause").contains(cause), "{report:?}");
            assert!(took < Duration::from_secs(12), "{took:?}");
            let resumptions =
                server.log().iter().filter(|line| line.starts_with("GET")).count() - 1;
            assert_eq!(resumptions, 5);
        }
    })
    .await;
}

#[tokio::test]
async fn a_resumption_that_is_refused_for_good_is_not_repeated() {
    within_limit(async {
        let (report, took, _) = failure(|request| match request.verb.as_str() {
            "GET" => Reply::status(404),
            _ => Reply::events("id: 1\nretry: 10\ndata:\n\n", End::Whole),
        })
        .await;
        assert!(report.message.contains("in 1 try over"), "{report:?}");
        let cause = report.chain.last().expect("a cause");
        assert!(cause.contains("404") && cause.contains("its stream of events"), "{report:?}");
        assert!(took < Duration::from_secs(2), "{took:?}");
    })
    .await;
}

#[tokio::test]
async fn a_resumption_that_is_asked_for_too_late_is_told_so() {
    within_limit(async {
        let (report, took) =
            failure_of_post(|_| Reply::events("id: 1\nretry: 3600000\ndata:\n\n", End::Whole))
                .await;
        assert!(report.message.contains("asks for a wait of 3600s"), "{report:?}");
        assert!(took < Duration::from_secs(2), "{took:?}");
    })
    .await;
}

#[tokio::test]
async fn a_stream_that_breaks_off_after_each_message_is_not_asked_for_without_a_pause() {
    within_limit(async {
        let server = Server::start(|request| match (request.verb.as_str(), request.rpc.as_str()) {
            ("GET", _) if !request.headers.contains_key("last-event-id") => Reply::status(405),
            (_, "tools/call") | ("GET", _) => {
                let news = json!({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"});
                Reply::events(format!("id: 1\nretry: 0\n{}", event(&news)), End::Whole)
            }
            _ => legacy(request),
        })
        .await;
        let group = brisk_group();
        group.connect(at("s", &server.url)).await.expect("it comes up");
        let options = CallOptions::timeout(Duration::from_secs(1));
        let error = group.call_tool("s/echo", Default::default(), options).await.expect_err("late");
        assert!(matches!(error, CallError::TimedOut { .. }), "{error:?}");
        let asked = server.log().iter().filter(|line| line.starts_with("GET")).count();
        assert!((2..=7).contains(&asked), "{asked}");
        group.close().await;
    })
    .await;
}

#[tokio::test]
async fn an_answer_behind_one_for_nobody_or_in_a_batch_is_delivered() {
    within_limit(async {
        for behind in [true, false] {
            let server = Server::start(move |request| match request.rpc.as_str() {
                "tools/call" if behind => {
                    let other = json!({"jsonrpc": "2.0", "id": 777, "result": {}});
                    let text = [event(&other), event(&answer(request))].concat();
                    Reply::events(text, End::Whole)
                }
                "tools/call" => Reply::events(event(&json!([answer(request)])), End::Whole),
                "tools/list" | "initialize" => {
                    let Reply::Answer { body, .. } = legacy(request) else { panic!() };
                    let answer: Value = serde_json::from_slice(&body).expect("JSON");
                    Reply::json(json!([answer])).with("mcp-session-id", "s-1")
                }
                _ => legacy(request),
            })
            .await;
            let group = brisk_group();
            group.connect(at("s", &server.url)).await.expect("it comes up");
            echo(&group, "s").await.expect("an answer");
            assert!(group.close().await.all_well());
        }
    })
    .await;
}

#[tokio::test]
async fn the_stream_of_a_session_that_ends_at_once_is_asked_for_less_and_less_often() {
    within_limit(async {
        let server = Server::start(|request| match request.verb.as_str() {
            "GET" => Reply::events("retry: 10\n\n", End::Whole),
            _ => legacy(request),
        })
        .await;
        let group = brisk_group();
        group.connect(at("s", &server.url)).await.expect("it comes up");
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        let asked = server.log().iter().filter(|line| line.starts_with("GET")).count();
        assert!((1..=3).contains(&asked), "{asked}");
        assert!(group.close().await.all_well());
    })
    .await;
}

#[tokio::test]
async fn a_call_that_is_given_up_lets_go_of_its_stream() {
    within_limit(async {
        let server = Server::start(|request| match request.rpc.as_str() {
            "tools/call" => Reply::events(": wait\n\n", End::Open),
            _ => legacy(request),
        })
        .await;
        let group = brisk_group();
        group.connect(at("s", &server.url)).await.expect("it comes up");
        let options = CallOptions::timeout(Duration::from_millis(100));
        let error = group.call_tool("s/echo", Default::default(), options).await.expect_err("late");
        assert!(matches!(error, CallError::TimedOut { .. }), "{error:?}");
        server.asked("POST notifications/cancelled").await;
        assert!(group.close().await.all_well());
    })
    .await;
}

#[tokio::test]
async fn initialize_over_a_stream_that_breaks_off_is_unreachable_and_the_session_is_ended() {
    within_limit(async {
        let server = Server::start(|request| match request.rpc.as_str() {
            "initialize" => Reply::events(": \n\n", End::Broken).with("mcp-session-id", "s-1"),
            _ => legacy(request),
        })
        .await;
        let group = brisk_group();
        let error = group.connect(at("s", &server.url)).await.expect_err("broken");
        assert_eq!(error.outcome(), Outcome::Unreachable);
        assert!(error.to_string().contains("broke off"), "{error}");
        group.close().await;
        assert_eq!(server.deletes(), 1);
    })
    .await;
}
