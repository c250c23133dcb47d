//! The limits of the HTTP side: connections, requests, bodies, and the time that a client may take.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::http::{Reply, Server, legacy};
use crate::support::{Raw, Served, at, come_true, initialize, options, within_limit};

/// A stream of a session, whose head was read.
async fn listening(served: &Served, session: &str) -> TcpStream {
    let listen =
        Raw::new("GET", "/mcp").with("Mcp-Session-Id", session).with("Accept", "text/event-stream");
    let mut stream = served.send(&listen).await;
    let mut head = [0; 12];
    stream.read_exact(&mut head).await.expect("it has begun");
    assert_eq!(&head, b"HTTP/1.1 200");
    stream
}

#[tokio::test]
async fn more_connections_than_allowed_wait_and_none_is_refused() {
    within_limit(async {
        let mut limited = options();
        limited.connections = 2;
        let served = Served::with(Vec::new(), limited).await;
        let session = served.session().await;
        let first = listening(&served, &session).await;
        let _second = listening(&served, &session).await;
        let mut third = served.send(&Raw::new("GET", "/health")).await;
        let mut byte = [0];
        let early = timeout(Duration::from_millis(200), third.read(&mut byte)).await;
        assert!(early.is_err(), "it has no connection yet: {early:?}");
        drop(first);
        assert_eq!(third.read(&mut byte).await.expect("an answer"), 1);
        // A gateway closes although a connection waits.
        let _fourth = served.send(&Raw::new("GET", "/health")).await;
        assert!(served.gateway.close().await.clean);
    })
    .await;
}

#[tokio::test]
async fn more_requests_than_allowed_are_refused_at_once_and_admitted_when_there_is_room() {
    within_limit(async {
        let server = Server::start(|request| match request.rpc.as_str() {
            "tools/call" => Reply::Hang,
            _ => legacy(request),
        })
        .await;
        let mut limited = options();
        limited.requests = 1;
        let served = Served::with(vec![at("s", &server.url)], limited).await;
        served.gateway.settled().await;
        let session = served.session().await;
        let list = || {
            Raw::post(&json!({"jsonrpc": "2.0", "id": 7, "method": "tools/list"}))
                .with("Mcp-Session-Id", &session)
        };
        let hanging = served.send(&Raw::modern("tools/call", json!({"name": "s__echo"}))).await;
        come_true(async || server.log().iter().any(|line| line == "POST tools/call")).await;
        for request in [Raw::modern("tools/list", json!({})), list()] {
            let refused = served.ask(request).await.message();
            let text = refused["error"]["message"].as_str().unwrap_or_default();
            assert!(text.contains("too many requests"), "{refused}");
        }
        drop(hanging);
        come_true(async || served.ask(list()).await.message()["result"].is_object()).await;
    })
    .await;
}

#[tokio::test]
async fn a_client_that_sends_a_body_beyond_the_limit_reads_that_it_is_too_large() {
    within_limit(async {
        let served = Served::start(Vec::new()).await;
        let limit = options().body_limit;
        for (what, more) in [("a little", 1), ("much", 3 * limit)] {
            for encoding in ["length", "chunked"] {
                let body = vec![b' '; limit + more];
                let mut stream = TcpStream::connect(&served.address).await.expect("a connection");
                let framing = match encoding {
                    "chunked" => "Transfer-Encoding: chunked".to_owned(),
                    _ => format!("Content-Length: {}", body.len()),
                };
                let head = format!(
                    "POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
                     Connection: close\r\n{framing}\r\n\r\n"
                );
                stream.write_all(head.as_bytes()).await.expect("sent");
                if encoding == "chunked" {
                    stream
                        .write_all(format!("{:x}\r\n", body.len()).as_bytes())
                        .await
                        .expect("sent");
                }
                stream.write_all(&body).await.expect("the gateway reads on");
                if encoding == "chunked" {
                    stream.write_all(b"\r\n0\r\n\r\n").await.expect("sent");
                }
                let mut answer = String::new();
                stream.read_to_string(&mut answer).await.expect("no reset");
                assert!(answer.starts_with("HTTP/1.1 413"), "{what} {encoding}: {answer}");
            }
        }
    })
    .await;
}

/// The text that the gateway sends until it closes the connection, after it was sent `text`. The clock is stopped, so the
/// limits pass as soon as there is nothing to do.
async fn until_closed(served: &Served, text: &str) -> String {
    let mut stream = TcpStream::connect(&served.address).await.expect("a connection");
    stream.write_all(text.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("closed");
    answer
}

#[tokio::test]
async fn a_client_that_stops_in_the_middle_loses_its_connection_after_a_time() {
    let served = Served::start(Vec::new()).await;
    let body = initialize().to_string();
    let head = format!(
        "POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    tokio::time::pause();
    for (what, text, status) in [
        ("nothing", String::new(), ""),
        ("half a head", head[..head.len() / 2].to_owned(), ""),
        ("half a body", head.clone() + &body[..body.len() / 2], "HTTP/1.1 408"),
        ("a request, and no further one", head.clone() + &body, "HTTP/1.1 200"),
    ] {
        let answer = until_closed(&served, &text).await;
        assert!(answer.starts_with(status), "{what}: {answer}");
    }
    // The limit for a body is no limit for a stream.
    tokio::time::resume();
    let session = within_limit(served.session()).await;
    let mut stream = listening(&served, &session).await;
    tokio::time::pause();
    let mut alive = [0; 4096];
    let mut read = Vec::new();
    while !read.windows(3).any(|text| text == b":\n\n") {
        let count = stream.read(&mut alive).await.expect("open");
        assert!(count > 0, "the stream has ended");
        read.extend_from_slice(&alive[..count]);
    }
}

#[tokio::test]
async fn many_clients_at_once_get_their_own_answers() {
    within_limit(async {
        let served = Served::start(vec![crate::support::fleet_server("s", &[])]).await;
        served.gateway.settled().await;
        let alive = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
        let baseline = alive();
        let one = async |client: usize| {
            let echo = |id: usize| {
                let params =
                    json!({"name": "s__echo", "arguments": {"message": format!("{client}-{id}")}});
                (
                    json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params}),
                    params,
                )
            };
            let read = |answer: Value| answer["result"]["content"][0]["text"].clone();
            if client.is_multiple_of(2) {
                let session = served.session().await;
                let accept =
                    if client.is_multiple_of(4) { "text/event-stream" } else { "application/json" };
                let calls = (1..5).map(|id| {
                    let request = Raw::post(&echo(id).0)
                        .with("Mcp-Session-Id", &session)
                        .with("Accept", accept);
                    async { read(served.ask(request).await.message()) }
                });
                let answers = futures_util::future::join_all(calls).await;
                for (answer, id) in answers.into_iter().zip(1..) {
                    assert_eq!(answer, format!("{client}-{id}"));
                }
                let delete = Raw::new("DELETE", "/mcp").with("Mcp-Session-Id", &session);
                assert_eq!(served.ask(delete).await.status, 204);
            } else {
                for id in 1..5 {
                    let answer = served.ask(Raw::modern("tools/call", echo(id).1)).await.message();
                    assert_eq!(read(answer), format!("{client}-{id}"));
                }
            }
        };
        futures_util::future::join_all((0..60).map(one)).await;
        come_true(async || alive() <= baseline).await;
        assert_eq!(served.ask(Raw::new("GET", "/health")).await.message()["sessions"], 0);
        assert!(served.gateway.close().await.all_well());
    })
    .await;
}
