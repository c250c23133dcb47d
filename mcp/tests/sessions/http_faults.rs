//! HTTP servers that fail while a session is being set up.

use std::time::{Duration, Instant};

use moored_mcp::{Delete, Era, Outcome, SessionGroup};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::http::{End, Reply, Server, legacy};
use crate::support::{at, brisk, brisk_group, within_limit};

#[tokio::test]
async fn a_refused_connection_is_unreachable_down_to_the_operating_systems_text() {
    within_limit(async {
        // A port that was free a moment ago, and on which no server listens.
        let url = {
            let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port");
            format!("http://{}/mcp", listener.local_addr().expect("its address"))
        };
        let group = brisk_group();
        let error = group.connect(at("gone", &url)).await.expect_err("nobody listens");
        assert_eq!(error.outcome(), Outcome::Unreachable);
        let chain = &error.report().chain;
        assert_eq!(chain.first(), Some(&error.report().message));
        assert!(
            chain.last().expect("a chain").contains("Connection refused (os error 111)"),
            "{chain:?}"
        );
        let mut source = std::error::Error::source(&error);
        let mut last = String::new();
        while let Some(error) = source {
            last = error.to_string();
            source = error.source();
        }
        assert!(last.contains("Connection refused (os error 111)"), "{last}");

        // Nothing is registered, and the group is usable.
        assert!(group.list().is_empty());
        let server = Server::start(legacy).await;
        group.connect(at("gone", &server.url)).await.expect("the name is free again");
        let report = group.close().await;
        assert!(report.all_well(), "{report:?}");
        assert_eq!(report.servers.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn an_unreachable_server_has_nothing_to_leave() {
    within_limit(async {
        let group = brisk_group();
        let _ = group.connect(at("gone", "http://127.0.0.1:1/mcp")).await;
        let report = group.close().await;
        let leave = serde_json::to_value(&report.servers[0].leave).expect("JSON");
        assert_eq!(
            leave,
            json!({"clean": true, "ms": 0, "phases": [], "delete": "not_applicable", "signals": [],
                "exit_status": null, "survivors": [], "suppressed": []})
        );
    })
    .await;
}

#[tokio::test]
async fn a_401_is_auth_required_with_its_challenge() {
    within_limit(async {
        let server = Server::start(|_| {
            Reply::status(401).with("www-authenticate", "Bearer resource_metadata=\"x\"")
        })
        .await;
        let error = brisk_group().connect(at("locked", &server.url)).await.expect_err("locked");
        assert_eq!(error.outcome(), Outcome::AuthRequired);
        assert!(error.to_string().contains("Bearer resource_metadata"), "{error}");
    })
    .await;
}

#[tokio::test]
async fn a_401_without_a_challenge_is_auth_required_as_well() {
    within_limit(async {
        let server = Server::start(|_| Reply::status(401)).await;
        let error = brisk_group().connect(at("locked", &server.url)).await.expect_err("locked");
        assert_eq!(error.outcome(), Outcome::AuthRequired);
    })
    .await;
}

/// A server that gives the same bytes to every connection once something came over it, and then closes it or keeps it open.
async fn saying(answer: Vec<u8>, closes: bool) -> String {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let url = format!("http://{}/mcp", listener.local_addr().expect("its address"));
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let answer = answer.clone();
            tokio::spawn(async move {
                let mut asked = [0; 4_096];
                let _ = stream.read(&mut asked).await;
                let _ = stream.write_all(&answer).await;
                while !closes && stream.read(&mut asked).await.is_ok_and(|read| read > 0) {}
            });
        }
    });
    url
}

#[tokio::test]
async fn an_answer_that_came_and_is_wrong_is_no_fault_of_the_connection() {
    within_limit(async {
        let head =
            |more: &str| format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n{more}\r\n");
        let gzip = head("Content-Encoding: gzip\r\nContent-Length: 12\r\n").into_bytes();
        let gzip = [gzip, b"\x1f\x8b\x08\0\0\0\0\0\0\xff\xab\x56".to_vec()].concat();
        for (answer, outcome, text) in [
            (b"SSH-2.0-OpenSSH\r\n\r\n".to_vec(), Outcome::ProtocolError, "is not HTTP"),
            (head("Content-Length: -5\r\n").into(), Outcome::ProtocolError, "is not HTTP"),
            (
                head("Transfer-Encoding: chunked\r\n").into_bytes(),
                Outcome::Unreachable,
                "broke off",
            ),
            (
                (head("Transfer-Encoding: chunked\r\n") + "ZZ\r\n").into(),
                Outcome::ProtocolError,
                "cannot be read",
            ),
            ((head("Content-Length: 9\r\n") + "{").into(), Outcome::Unreachable, "broke off"),
            (gzip, Outcome::ProtocolError, "cannot be read"),
        ] {
            let shown = String::from_utf8_lossy(&answer).into_owned();
            let url = saying(answer, true).await;
            let error = brisk_group().connect(at("odd", &url).era(Era::Legacy)).await;
            let error = error.expect_err("it says nothing");
            assert_eq!(error.outcome(), outcome, "{shown}: {error}");
            assert!(error.to_string().contains(text), "{shown}: {error}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_server_that_speaks_first_is_none_of_http() {
    within_limit(async {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let url = format!("http://{}/mcp", listener.local_addr().expect("its address"));
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let _ = stream.write_all(b"SSH-2.0-OpenSSH_9.2\r\n").await;
                let _ = stream.read(&mut [0; 4_096]).await;
            }
        });
        for _ in 0..8 {
            let error = brisk_group().connect(at("odd", &url).era(Era::Legacy)).await;
            let error = error.expect_err("it is no server of MCP");
            assert_eq!(error.outcome(), Outcome::ProtocolError, "{error}");
            assert!(error.to_string().contains("is not HTTP"), "{error}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_status_counts_however_long_its_body_is_and_whether_or_not_it_ends() {
    within_limit(async {
        let long = format!(
            "HTTP/1.1 403 No\r\nContent-Length: 99999\r\n\r\nsome words{}",
            "!".repeat(99_989)
        );
        let open = "HTTP/1.1 401 No\r\nContent-Length: 99999\r\n\r\nsome words".to_owned();
        for (answer, outcome) in [(long, Outcome::Forbidden), (open, Outcome::AuthRequired)] {
            let url = saying(answer.into_bytes(), false).await;
            let error = brisk_group().connect(at("locked", &url).era(Era::Legacy)).await;
            let error = error.expect_err("locked");
            assert_eq!(error.outcome(), outcome, "{error}");
            assert!(error.to_string().contains("some words"), "{error}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_session_id_that_cannot_be_sent_back_is_named() {
    within_limit(async {
        let server = Server::start(|request| match request.rpc.as_str() {
            "initialize" => {
                let mut reply = legacy(request);
                if let Reply::Answer { headers, .. } = &mut reply {
                    headers.retain(|(name, _)| name != "mcp-session-id");
                }
                reply.with("mcp-session-id", "\u{e9}")
            }
            _ => legacy(request),
        })
        .await;
        let group = brisk_group();
        let info = group.connect(at("odd", &server.url)).await.expect("it comes up");
        assert!(
            info.warnings.iter().any(|it| it.contains("Mcp-Session-Id")),
            "{:?}",
            info.warnings
        );
        group.close().await;
    })
    .await;
}

#[tokio::test]
async fn an_event_of_another_type_that_tells_the_cause_is_a_part_of_the_error() {
    within_limit(async {
        let server = Server::start(|request| match request.rpc.as_str() {
            "initialize" => {
                Reply::events("event: error\ndata: {\"message\":\"backend down\"}\n\n", End::Whole)
            }
            _ => legacy(request),
        })
        .await;
        let error = brisk_group().connect(at("gateway", &server.url)).await.expect_err("no answer");
        assert_eq!(error.outcome(), Outcome::ProtocolError);
        assert!(error.to_string().contains("backend down"), "{error}");
    })
    .await;
}

#[tokio::test]
async fn a_403_is_forbidden() {
    within_limit(async {
        let server = Server::start(|_| Reply::status(403)).await;
        let error = brisk_group().connect(at("locked", &server.url)).await.expect_err("locked");
        assert_eq!(error.outcome(), Outcome::Forbidden);
    })
    .await;
}

#[tokio::test]
async fn an_initialize_that_is_never_answered_times_out_and_names_the_phase() {
    within_limit(async {
        let server = Server::start(|request| match request.rpc.as_str() {
            "initialize" => Reply::Hang,
            _ => legacy(request),
        })
        .await;
        let group = SessionGroup::start(brisk().connect_timeout(Duration::from_millis(600)));
        let began = Instant::now();
        let error = group.connect(at("mute", &server.url)).await.expect_err("no answer");
        assert_eq!(error.outcome(), Outcome::TimedOut);
        assert!(error.to_string().contains("initialize"), "{error}");
        assert!(began.elapsed() < Duration::from_secs(2));
        let report = group.close().await;
        assert_eq!(report.servers[0].leave.delete, Delete::NotApplicable);
        // `initialize` is not to be cancelled by a notification.
        assert!(!server.log().iter().any(|line| line.contains("cancelled")), "{:?}", server.log());
    })
    .await;
}

#[tokio::test]
async fn a_probe_that_is_never_answered_makes_a_legacy_session() {
    within_limit(async {
        let server = Server::start(|request| match request.rpc.as_str() {
            "server/discover" => Reply::Hang,
            _ => legacy(request),
        })
        .await;
        let group = brisk_group();
        let info = group.connect(at("old", &server.url)).await.expect("it comes up");
        assert_eq!(info.era.as_deref(), Some("2025-11-25"));
        assert!(info.warnings.iter().any(|it| it.contains("server/discover")), "{info:?}");
        assert!(group.close().await.all_well());
    })
    .await;
}

#[tokio::test]
async fn initialized_answered_500_keeps_the_status_and_ends_the_session() {
    within_limit(async {
        let server = Server::start(|request| match request.rpc.as_str() {
            "notifications/initialized" => Reply::status(500).saying("out of order"),
            _ => legacy(request),
        })
        .await;
        let group = brisk_group();
        let error = group.connect(at("broken", &server.url)).await.expect_err("500");
        assert_eq!(error.outcome(), Outcome::UpstreamError);
        assert!(error.to_string().contains("HTTP 500"), "{error}");
        assert!(error.to_string().contains("out of order"), "{error}");
        let report = group.close().await;
        assert_eq!(report.servers[0].leave.delete, Delete::Terminated);
        assert_eq!(server.log().last().map(String::as_str), Some("DELETE s-1"));
        assert_eq!(server.deletes(), 1);
    })
    .await;
}

#[tokio::test]
async fn initialized_answered_500_with_a_json_error_is_an_error_all_the_same() {
    within_limit(async {
        let server = Server::start(|request| match request.rpc.as_str() {
            "notifications/initialized" => Reply::Answer {
                status: 500,
                headers: vec![("content-type".into(), "application/json".into())],
                body: json!({"jsonrpc": "2.0", "id": null, "error": {"code": -32603, "message": "sick"}})
                    .to_string()
                    .into_bytes(),
            },
            _ => legacy(request),
        })
        .await;
        let error = brisk_group().connect(at("broken", &server.url)).await.expect_err("500");
        assert_eq!(error.outcome(), Outcome::UpstreamError);
        assert!(error.to_string().contains("HTTP 500"), "{error}");
        assert!(error.to_string().contains("sick"), "{error}");
    })
    .await;
}

#[tokio::test]
async fn initialize_answered_503_is_an_upstream_error() {
    within_limit(async {
        let server = Server::start(|_| Reply::status(503)).await;
        let error = brisk_group().connect(at("busy", &server.url)).await.expect_err("503");
        assert_eq!(error.outcome(), Outcome::UpstreamError);
        assert!(error.to_string().contains("HTTP 503"), "{error}");
    })
    .await;
}

#[tokio::test]
async fn initialize_answered_404_hints_at_the_removed_transport() {
    within_limit(async {
        let server = Server::start(|_| Reply::status(404)).await;
        let error = brisk_group().connect(at("sse", &server.url)).await.expect_err("404");
        assert_eq!(error.outcome(), Outcome::UpstreamError);
        assert!(error.to_string().contains("HTTP+SSE"), "{error}");
    })
    .await;
}

#[tokio::test]
async fn a_web_page_is_a_protocol_error() {
    within_limit(async {
        let server = Server::start(|_| {
            Reply::status(200).with("content-type", "text/html").saying("<html></html>")
        })
        .await;
        let error = brisk_group().connect(at("page", &server.url)).await.expect_err("a page");
        assert_eq!(error.outcome(), Outcome::ProtocolError);
        assert!(error.to_string().contains("text/html"), "{error}");
    })
    .await;
}

#[tokio::test]
async fn garbage_in_the_place_of_an_answer_is_a_protocol_error() {
    within_limit(async {
        let server = Server::start(|request| match request.rpc.as_str() {
            "initialize" => {
                Reply::status(200).with("content-type", "application/json").saying("{\"hello\": 1")
            }
            _ => legacy(request),
        })
        .await;
        let error = brisk_group().connect(at("garbage", &server.url)).await.expect_err("garbage");
        assert_eq!(error.outcome(), Outcome::ProtocolError);
        assert!(error.to_string().contains("hello"), "{error}");
    })
    .await;
}

#[tokio::test]
async fn a_202_in_the_place_of_an_answer_is_a_protocol_error() {
    within_limit(async {
        let server = Server::start(|request| match request.rpc.as_str() {
            "initialize" => Reply::status(202),
            _ => legacy(request),
        })
        .await;
        let error = brisk_group().connect(at("vague", &server.url)).await.expect_err("202");
        assert_eq!(error.outcome(), Outcome::ProtocolError);
        assert!(error.to_string().contains("202"), "{error}");
    })
    .await;
}

#[tokio::test]
async fn an_answer_with_the_wrong_id_is_a_protocol_error_and_the_session_is_ended() {
    within_limit(async {
        let server = Server::start(|request| match request.rpc.as_str() {
            "initialize" => {
                let mut wrong = request.clone();
                wrong.id = json!(4_711);
                legacy(&wrong)
            }
            _ => legacy(request),
        })
        .await;
        let group = brisk_group();
        let error = group.connect(at("wrong", &server.url)).await.expect_err("a wrong id");
        assert_eq!(error.outcome(), Outcome::ProtocolError);
        assert_eq!(group.close().await.servers[0].leave.delete, Delete::Terminated);
    })
    .await;
}

#[tokio::test]
async fn an_event_stream_that_ends_without_an_answer_is_a_protocol_error() {
    within_limit(async {
        let server = Server::start(|request| match request.rpc.as_str() {
            "initialize" => Reply::status(200)
                .with("content-type", "text/event-stream")
                .with("mcp-session-id", "s-7")
                .saying(": nothing\n\n"),
            _ => legacy(request),
        })
        .await;
        let group = brisk_group();
        let error = group.connect(at("empty", &server.url)).await.expect_err("no answer");
        assert_eq!(error.outcome(), Outcome::ProtocolError);
        assert!(error.to_string().contains("without an answer"), "{error}");
        group.close().await;
        assert_eq!(server.log().last().map(String::as_str), Some("DELETE s-7"));
    })
    .await;
}

#[tokio::test]
async fn a_connection_closed_without_a_word_is_unreachable() {
    within_limit(async {
        let server = Server::start(|_| Reply::Reset).await;
        let error = brisk_group().connect(at("shy", &server.url)).await.expect_err("closed");
        assert_eq!(error.outcome(), Outcome::Unreachable);
    })
    .await;
}

#[tokio::test]
async fn a_secret_in_an_address_is_in_no_error() {
    within_limit(async {
        let error = brisk_group()
            .connect(at("gone", "http://user:hunter2@127.0.0.1:1/mcp?key=swordfish"))
            .await
            .expect_err("nobody listens");
        let told = serde_json::to_string(error.report()).expect("JSON") + &format!("{error:?}");
        assert!(!told.contains("hunter2") && !told.contains("swordfish"), "{told}");
    })
    .await;
}

#[cfg(feature = "tls")]
#[tokio::test]
async fn plain_http_on_a_tls_address_tells_the_tls_error() {
    within_limit(async {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let url = format!("https://{}/mcp", listener.local_addr().expect("its address"));
        // The answer of an HTTP server to a TLS handshake.
        let serving = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let _ = stream.read(&mut [0; 16]).await;
                let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
            }
        });
        let error = brisk_group().connect(at("plain", &url)).await.expect_err("no TLS there");
        assert_eq!(error.outcome(), Outcome::Unreachable);
        let innermost = error.report().chain.last().expect("a chain").clone();
        assert!(innermost.contains("InvalidContentType"), "{:?}", error.report().chain);
        serving.abort();
    })
    .await;
}
