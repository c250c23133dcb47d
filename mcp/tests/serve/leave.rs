//! Closing, with requests under way and streams open.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::AsyncReadExt;

use crate::clients::{eras, over_a_pipe, over_http};
use crate::support::{Raw, Served, come_true, fleet_server, within_limit};

fn sleep(ms: u64) -> Raw {
    Raw::modern("tools/call", json!({"name": "s__sleep", "arguments": {"ms": ms}}))
}

#[tokio::test]
async fn requests_under_way_come_to_their_end_or_are_cancelled_and_each_is_answered_once() {
    within_limit(async {
        let served = Served::start(vec![fleet_server("s", &[])]).await;
        served.gateway.settled().await;
        let read = async |request: Raw| {
            let mut stream = served.send(&request.with("Accept", "text/event-stream")).await;
            let mut text = String::new();
            stream.read_to_string(&mut text).await.expect("an answer");
            text
        };
        let closing = async {
            // Both requests are under way.
            tokio::time::sleep(Duration::from_millis(200)).await;
            let began = Instant::now();
            let report = served.gateway.close().await;
            (report, began.elapsed())
        };
        let (short, long, (report, took)) =
            tokio::join!(read(sleep(400)), read(sleep(60_000)), closing);
        assert!(short.contains("slept 400 ms"), "{short}");
        assert!(long.contains("the gateway is closing"), "{long}");
        assert_eq!(long.matches("\"id\":1").count(), 1, "{long}");
        assert!(report.clean, "{report:?}");
        // The requests get 700 ms, and then the server exits at once.
        assert!(
            took > Duration::from_millis(600) && took < Duration::from_millis(2_500),
            "{took:?}"
        );
    })
    .await;
}

#[tokio::test]
async fn a_closing_gateway_takes_no_requests_and_says_so() {
    within_limit(async {
        let served = Served::start(vec![fleet_server("s", &[])]).await;
        served.gateway.settled().await;
        let gateway = served.gateway.clone();
        let (client, _) = over_a_pipe(&gateway, eras()[0].clone()).await;
        let under_way = served.send(&sleep(60_000)).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        let closing = tokio::spawn(async move { gateway.close().await });
        come_true(async || {
            let told = client.list_all_tools().await;
            told.is_err_and(|error| error.to_string().contains("the gateway is closing"))
        })
        .await;
        let report = closing.await.expect("closed");
        assert!(report.clean, "{report:?}");
        drop(under_way);
        assert_eq!(served.gateway.close().await, report, "the same report for everybody");
    })
    .await;
}

#[tokio::test]
async fn a_closing_gateway_tells_its_health_over_a_new_connection() {
    within_limit(async {
        let served = Served::start(vec![fleet_server("s", &[])]).await;
        served.gateway.settled().await;
        let under_way = served.send(&sleep(60_000)).await;
        come_true(async || served.ask(Raw::new("GET", "/health")).await.message()["requests"] == 1)
            .await;
        let gateway = served.gateway.clone();
        let closing = tokio::spawn(async move { gateway.close().await });
        come_true(async || {
            let health = served.ask(Raw::new("GET", "/health")).await;
            (health.status, health.message()["status"].as_str()) == (503, Some("closing"))
        })
        .await;
        let list = served.ask(Raw::modern("tools/list", json!({}))).await;
        assert_eq!((list.status, list.header("retry-after")), (503, Some("5")), "{list:?}");
        assert!(closing.await.expect("closed").clean);
        drop(under_way);
        assert!(tokio::net::TcpStream::connect(&served.address).await.is_err());
    })
    .await;
}

#[tokio::test]
async fn streams_end_and_sessions_of_all_kinds_are_left() {
    within_limit(async {
        let alive = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
        let baseline = alive();
        let served = Served::start(vec![
            fleet_server("s", &[]),
            fleet_server("stubborn", &["--ignore-eof"]),
        ])
        .await;
        let mut clients = Vec::new();
        for era in eras() {
            clients.push(over_http(&served, era.clone()).await);
            clients.push(over_a_pipe(&served.gateway, era).await);
        }
        let session = served.session().await;
        let listen = Raw::new("GET", "/mcp")
            .with("Mcp-Session-Id", &session)
            .with("Accept", "text/event-stream");
        let mut stream = served.send(&listen).await;
        let mut head = [0; 12];
        stream.read_exact(&mut head).await.expect("it has begun");
        assert_eq!(&head, b"HTTP/1.1 200");
        let began = Instant::now();
        let report = served.gateway.close().await;
        assert!(
            report.clean && began.elapsed() < Duration::from_secs(3),
            "{:?} {report:?}",
            began.elapsed()
        );
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.expect("it has ended");
        drop(clients);
        drop(served);
        come_true(async || alive() <= baseline).await;
    })
    .await;
}

#[tokio::test]
async fn a_gateway_that_is_dropped_leaves_its_servers() {
    within_limit(async {
        let dir = tempfile::tempdir().expect("a directory");
        let pids = dir.path().join("pids");
        let flag = pids.display().to_string();
        let served = Served::start(vec![fleet_server("s", &["--pid-file", &flag])]).await;
        served.gateway.settled().await;
        let pid: u32 =
            std::fs::read_to_string(&pids).expect("written").trim().parse().expect("a number");
        let process = format!("/proc/{pid}");
        assert!(std::path::Path::new(&process).exists());
        let Served { gateway, address } = served;
        // The task that listens holds a clone.
        gateway.force();
        drop(gateway);
        come_true(async || !std::path::Path::new(&process).exists()).await;
        assert!(tokio::net::TcpStream::connect(&address).await.is_err());
    })
    .await;
}

#[tokio::test]
async fn a_client_that_closes_its_end_of_the_pipe_gets_its_answers_first() {
    within_limit(async {
        use tokio::io::AsyncWriteExt;
        let served = Served::start(vec![fleet_server("s", &[])]).await;
        let (mut ours, theirs) = tokio::io::duplex(64 * 1024);
        let (input, output) = tokio::io::split(theirs);
        let gateway = served.gateway.clone();
        let serving = tokio::spawn(async move { gateway.serve_pipe(input, output).await });
        let list = json!({"jsonrpc": "2.0", "id": 2, "method": "tools/list"});
        let call = json!({"jsonrpc": "2.0", "id": 3, "method": "tools/call",
            "params": {"name": "s__sleep", "arguments": {"ms": 300}}});
        let text = format!("{}\nnonsense\n{list}\n{call}\n", crate::support::initialize());
        ours.write_all(text.as_bytes()).await.expect("written");
        ours.shutdown().await.expect("closed");
        serving.await.expect("served");
        let mut said = String::new();
        ours.read_to_string(&mut said).await.expect("read");
        let messages: Vec<Value> =
            said.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        let of = |id: u64| messages.iter().find(|it| it["id"] == id).cloned().unwrap_or_default();
        assert_eq!(of(0)["result"]["protocolVersion"], "2025-11-25", "{said}");
        assert_eq!(of(2)["result"]["tools"].as_array().map(Vec::len), Some(3), "{said}");
        assert_eq!(of(3)["result"]["content"][0]["text"], "slept 300 ms", "{said}");
        assert!(messages.iter().any(|it| it["error"]["code"] == -32700), "{said}");
    })
    .await;
}
