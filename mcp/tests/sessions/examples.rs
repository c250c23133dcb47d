//! The examples, run.

use moored_mcp::config::Config;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::http::{Reply, Server, legacy};
use crate::support::{until, within_limit};

#[allow(dead_code, reason = "its `main` is the example's")]
#[path = "../../examples/agent.rs"]
mod agent;
#[allow(dead_code, reason = "its `main` is the example's")]
#[path = "../../examples/proxy.rs"]
mod proxy;

/// The program's own server, and these.
fn config(more: Value) -> Config {
    let own = json!({"command": env!("CARGO_BIN_EXE_moored-mcp"), "args": ["fleet-server"]});
    let mut servers = json!({"files": own});
    if let (Some(servers), Value::Object(more)) = (servers.as_object_mut(), more) {
        servers.extend(more);
    }
    let text = json!({"mcpServers": servers}).to_string();
    Config::parse(&text, |name| std::env::var(name)).expect("a configuration")
}

#[tokio::test]
async fn an_agent_calls_the_tools_that_came_up_and_leaves_the_fleet() {
    within_limit(async {
        let dead = json!({"url": "http://127.0.0.1:1/mcp"});
        let (answer, report) =
            agent::run(config(json!({"dead": dead})), &mut agent::Parrot, "ahoy").await;
        assert_eq!(answer.as_deref(), Some("files__echo says ahoy"));
        assert!(report.clean, "{report:?}");
    })
    .await;
}

/// One request over a connection of its own: status and body.
async fn ask(at: std::net::SocketAddr, start: &str, body: &str) -> (u16, Value) {
    let mut stream = TcpStream::connect(at).await.expect("it listens");
    let head = format!(
        "{start} HTTP/1.1\r\nhost: {at}\r\nconnection: close\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    let status = answer.split(' ').nth(1).and_then(|it| it.parse().ok()).expect("a status");
    let (_, body) = answer.split_once("\r\n\r\n").expect("a body");
    (status, serde_json::from_str(body).unwrap_or_default())
}

#[tokio::test]
async fn a_proxy_lists_calls_and_takes_a_call_back_when_its_client_hangs_up() {
    within_limit(async {
        let server = Server::start(|request| match request.rpc.as_str() {
            "tools/call" => Reply::Hang,
            _ => legacy(request),
        })
        .await;
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let at = listener.local_addr().expect("its address");
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let config = config(json!({"slow": {"url": server.url}}));
        let running = tokio::spawn(proxy::run(listener, config, async {
            let _stop = stopped.await;
        }));
        let names = async || {
            let (status, tools) = ask(at, "GET /tools", "").await;
            assert_eq!(status, 200);
            let names = tools.as_array().expect("a list").iter().map(|tool| tool["name"].clone());
            names.collect::<Vec<_>>()
        };
        // It listens before its servers are up.
        while names().await.len() < 4 {}
        assert!(names().await.contains(&json!("slow__echo")));

        let said = r#"{"message": "ahoy"}"#;
        let (status, answer) = ask(at, "POST /tools/files__echo", said).await;
        assert_eq!((status, &answer["content"][0]["text"]), (200, &json!("ahoy")));
        let (status, answer) = ask(at, "POST /tools/none", said).await;
        assert_eq!(status, 404, "{answer}");

        let hanging = tokio::spawn(ask(at, "POST /tools/slow__echo", "{}"));
        server.asked("POST tools/call").await;
        hanging.abort();
        server.asked("POST notifications/cancelled").await;

        stop.send(()).expect("it runs");
        let report = running.await.expect("no panic").expect("no error");
        assert!(report.all_well(), "{report:?}");
        until(|| server.deletes() == 1).await;
    })
    .await;
}
