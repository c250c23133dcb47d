//! Clients that stop reading: they are dropped after a time, and delay nobody else.

use std::sync::Arc;
use std::time::{Duration, Instant};

use moored_mcp::GatewayOptions;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::http::{Feed, Reply, Server, legacy};
use crate::support::{Raw, Served, at, come_true, fleet_server, initialize, options, within_limit};

/// The time for which a client may read nothing.
const UNREAD: Duration = Duration::from_millis(400);
const MIB: usize = 1024 * 1024;

/// Options with a log of the clients that were dropped.
fn logged() -> (GatewayOptions, Arc<Mutex<Vec<String>>>) {
    let log = Arc::new(Mutex::new(Vec::new()));
    let lines = log.clone();
    let options =
        options().unread_for(UNREAD).on_dropped(move |line| lines.lock().push(line.into()));
    (options, log)
}

/// A server whose tool `echo` answers with 12 MiB, or, if `feed` is given, sends log messages and no answer.
async fn talkative(feed: Option<Feed>) -> Server {
    if let Some(feed) = &feed {
        for _ in 0..16 {
            let params = json!({"level": "error", "data": "x".repeat(MIB)});
            feed.push(
                &json!({"jsonrpc": "2.0", "method": "notifications/message", "params": params}),
            );
        }
    }
    Server::start(move |request| match (request.rpc.as_str(), &feed) {
        ("tools/call", Some(feed)) => Reply::Fed(feed.clone()),
        ("tools/call", None) => Reply::json(json!({"jsonrpc": "2.0", "id": request.id, "result": {
            "content": [{"type": "text", "text": "x".repeat(12 * MIB)}],
        }})),
        _ => legacy(request),
    })
    .await
}

fn call(log: bool) -> Value {
    let meta = if log { json!({"io.modelcontextprotocol/logLevel": "debug"}) } else { json!({}) };
    json!({"name": "s__echo", "_meta": meta})
}

#[tokio::test]
async fn a_client_that_does_not_read_its_stream_is_dropped_and_its_call_cancelled() {
    within_limit(async {
        let feed = Feed::new();
        let server = talkative(Some(feed.clone())).await;
        let (limited, log) = logged();
        let served =
            Served::with(vec![at("s", &server.url), fleet_server("t", &[])], limited).await;
        served.gateway.settled().await;
        let alive = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
        served
            .ask(Raw::modern(
                "tools/call",
                json!({"name": "t__echo", "arguments": {"message": "m"}}),
            ))
            .await;
        let baseline = alive();
        let began = Instant::now();
        let deaf = Raw::modern("tools/call", call(true)).with("Accept", "text/event-stream");
        let unread = served.send(&deaf).await;
        feed.streams(1).await;
        // Another client, and another server, are as quick as before.
        let other =
            Raw::modern("tools/call", json!({"name": "t__echo", "arguments": {"message": "m"}}));
        assert_eq!(served.ask(other).await.message()["result"]["content"][0]["text"], "m");
        come_true(async || !log.lock().is_empty()).await;
        assert!(began.elapsed() >= UNREAD);
        let lines = log.lock().clone();
        let address = unread.local_addr().expect("its address");
        let expected =
            format!("the client at {address} was dropped: it has read nothing for 400ms");
        assert_eq!(lines, [expected]);
        // Its call is taken back.
        feed.idle().await;
        come_true(async || alive() <= baseline).await;
        let health = served.ask(Raw::new("GET", "/health")).await.message();
        assert_eq!(health["requests"], 0, "{health}");
        assert!(served.gateway.close().await.all_well());
    })
    .await;
}

#[tokio::test]
async fn a_client_that_does_not_read_an_answer_is_dropped_in_either_era() {
    within_limit(async {
        let server = talkative(None).await;
        let (limited, log) = logged();
        let served = Served::with(vec![at("s", &server.url)], limited).await;
        served.gateway.settled().await;
        let session = served.session().await;
        let of_session = |id: usize| {
            let message =
                json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": call(false)});
            Raw::post(&message).with("Mcp-Session-Id", &session)
        };
        let mut unread = Vec::new();
        for (id, accept) in [(1, "application/json"), (2, "text/event-stream")] {
            for request in [Raw::modern("tools/call", call(false)), of_session(id)] {
                unread.push(served.send(&request.with("Accept", accept)).await);
            }
        }
        come_true(async || log.lock().len() == unread.len()).await;
        // The session of the older era is there still.
        let list = json!({"jsonrpc": "2.0", "id": 3, "method": "tools/list"});
        let listed = served.ask(Raw::post(&list).with("Mcp-Session-Id", &session)).await.message();
        assert_eq!(listed["result"]["tools"][0]["name"], "s__echo");
        assert!(served.gateway.close().await.all_well());
        drop(unread);
    })
    .await;
}

#[tokio::test]
async fn a_client_that_reads_slowly_gets_all_of_its_answer() {
    within_limit(async {
        let server = talkative(None).await;
        let (limited, log) = logged();
        let served = Served::with(vec![at("s", &server.url)], limited).await;
        served.gateway.settled().await;
        let mut slow = served.send(&Raw::modern("tools/call", call(false))).await;
        let (mut read, mut part) = (0, vec![0; MIB]);
        let began = Instant::now();
        loop {
            tokio::time::sleep(UNREAD / 8).await;
            match slow.read(&mut part).await.expect("it is open") {
                0 => break,
                more => read += more,
            }
        }
        assert!(read > 12 * MIB && began.elapsed() > UNREAD, "{read}");
        assert_eq!(*log.lock(), Vec::<String>::new());
    })
    .await;
}

#[tokio::test]
async fn a_client_that_does_not_read_its_pipe_is_dropped_and_its_requests_are_not_read_without_end()
{
    within_limit(async {
        let (limited, log) = logged();
        let served = Served::with(vec![fleet_server("s", &[])], limited).await;
        served.gateway.settled().await;
        let alive = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
        let baseline = alive();
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let (input, output) = tokio::io::split(theirs);
        let gateway = served.gateway.clone();
        let serving = tokio::spawn(async move { gateway.serve_pipe(input, output).await });
        let (unread, mut ours) = tokio::io::split(ours);
        let mut sent = 0;
        let list = json!({"jsonrpc": "2.0", "method": "tools/list"});
        ours.write_all(format!("{}\n", initialize()).as_bytes()).await.expect("read");
        for id in 1..100_000 {
            let mut list = list.clone();
            list["id"] = id.into();
            if ours.write_all(format!("{list}\n").as_bytes()).await.is_err() {
                break;
            }
            sent = id;
        }
        serving.await.expect("no panic");
        assert!(sent < 20_000, "{sent} requests of a client that reads no answer");
        assert_eq!(
            *log.lock(),
            ["the client at the pipe was dropped: it has read nothing for 400ms"]
        );
        drop((unread, ours));
        come_true(async || alive() <= baseline).await;
        assert!(served.gateway.close().await.all_well());
    })
    .await;
}
