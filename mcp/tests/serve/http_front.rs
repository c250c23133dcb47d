//! The requests that the HTTP side accepts and refuses.

use moored_mcp::GatewayOptions;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{Raw, Served, fleet_server, initialize, options, within_limit};

const STREAM: &str = "text/event-stream";
const OBJECT: &str = "application/json";

#[tokio::test]
async fn accept_decides_on_the_form_of_the_answer_and_406_is_for_those_who_exclude_all() {
    within_limit(async {
        let served = Served::start(Vec::new()).await;
        for (accept, status, form) in [
            (&[][..], 200, OBJECT),
            (&["*/*"], 200, OBJECT),
            (&["application/*"], 200, OBJECT),
            (&["application/json"], 200, OBJECT),
            (&["application/json, text/event-stream"], 200, STREAM),
            (&["text/event-stream", "application/json"], 200, STREAM),
            (&["text/event-stream"], 200, STREAM),
            (&["text/*"], 200, STREAM),
            (&["TEXT/event-stream;q=0.5, application/json;q=0.5"], 200, STREAM),
            (&["text/event-stream;q=0.1, application/json"], 200, OBJECT),
            (&["application/json;q=0, */*;q=0.1"], 200, STREAM),
            (&["text/event-stream;q=0, */*"], 200, OBJECT),
            (&["text/html"], 406, OBJECT),
            (&["*/*;q=0"], 406, OBJECT),
            (&["application/json;q=0, text/event-stream;q=0.000"], 406, OBJECT),
        ] {
            let request =
                accept.iter().fold(Raw::post(&initialize()), |it, value| it.with("Accept", value));
            let answer = served.ask(request).await;
            assert_eq!(answer.status, status, "{accept:?}: {answer:?}");
            assert_eq!(answer.header("content-type"), Some(form), "{accept:?}");
            if status == 200 {
                assert_eq!(
                    answer.message()["result"]["protocolVersion"],
                    "2025-11-25",
                    "{answer:?}"
                );
            }
        }
        let listen = Raw::new("GET", "/mcp").with("Accept", "application/json");
        assert_eq!(served.ask(listen).await.status, 406);
    })
    .await;
}

#[tokio::test]
async fn host_origin_and_token_are_checked_before_anything_is_read() {
    within_limit(async {
        let open = Served::start(Vec::new()).await;
        let asked = async |served: &Served, name: &str, value: &str| {
            served.ask(Raw::post(&initialize()).with(name, value)).await.status
        };
        for (host, status) in [
            ("localhost", 200),
            ("127.0.0.1:9", 200),
            ("evil.example", 403),
            ("evil.example:80", 403),
        ] {
            assert_eq!(asked(&open, "Host", host).await, status, "{host}");
        }
        let raw = |head: &str| format!("GET /health HTTP/1.1\r\n{head}Connection: close\r\n\r\n");
        for head in ["", "Host: localhost\r\nHost: localhost\r\n", "Host: a b\r\n"] {
            let mut stream = TcpStream::connect(&open.address).await.expect("a connection");
            stream.write_all(raw(head).as_bytes()).await.expect("sent");
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.expect("an answer");
            assert!(answer.starts_with("HTTP/1.1 400 "), "{head}: {answer}");
        }
        for (origin, status) in
            [("http://localhost:3000", 200), ("https://evil.example", 403), ("null", 403)]
        {
            assert_eq!(asked(&open, "Origin", origin).await, status, "{origin}");
        }
        let closed = Served::with(Vec::new(), options().token("t0ken")).await;
        let answer = closed.ask(Raw::post(&initialize())).await;
        assert_eq!((answer.status, answer.header("www-authenticate")), (401, Some("Bearer")));
        assert_eq!(asked(&closed, "Authorization", "Bearer other").await, 401);
        assert_eq!(asked(&closed, "Authorization", "Bearer t0ken").await, 200);
        for verb in ["GET", "DELETE"] {
            assert_eq!(closed.ask(Raw::new(verb, "/mcp")).await.status, 401, "{verb}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_page_of_an_admitted_origin_may_send_and_read_and_another_one_may_not() {
    within_limit(async {
        let options = options().allow_origin("https://app.example").token("t");
        let served = Served::with(Vec::new(), options).await;
        let ask = |origin: &str| {
            Raw::new("OPTIONS", "/mcp")
                .with("Origin", origin)
                .with("Access-Control-Request-Method", "POST")
                .with("Access-Control-Request-Headers", "authorization,content-type,mcp-param-x")
        };
        for origin in ["https://app.example", "http://localhost:6274"] {
            let told = served.ask(ask(origin)).await;
            assert_eq!(told.status, 204, "{told:?}");
            assert_eq!(told.header("access-control-allow-origin"), Some(origin));
            assert_eq!(told.header("access-control-allow-methods"), Some("GET, POST, DELETE"));
            let sent = Some("authorization,content-type,mcp-param-x");
            assert_eq!(told.header("access-control-allow-headers"), sent);
            assert_eq!(told.header("access-control-allow-credentials"), None);
            // The answer can be read, also that of a request without the token.
            for (token, status) in [("Bearer t", 200), ("none", 401)] {
                let post = Raw::post(&initialize()).with("Origin", origin);
                let answer = served.ask(post.with("Authorization", token)).await;
                assert_eq!(answer.status, status, "{answer:?}");
                assert_eq!(answer.header("access-control-allow-origin"), Some(origin));
                assert_eq!(answer.header("vary"), Some("Origin"));
                let read = answer.header("access-control-expose-headers").unwrap_or_default();
                assert!(read.contains("Mcp-Session-Id"), "{answer:?}");
            }
        }
        let refused = served.ask(ask("https://evil.example")).await;
        assert_eq!(
            (refused.status, refused.header("access-control-allow-origin")),
            (403, None),
            "{refused:?}"
        );
        // A program is no page.
        let answer = served.ask(Raw::post(&initialize()).with("Authorization", "Bearer t")).await;
        assert_eq!(
            (answer.status, answer.header("access-control-allow-origin")),
            (200, None),
            "{answer:?}"
        );
        let asked = served.ask(Raw::new("OPTIONS", "/mcp").with("Authorization", "Bearer t")).await;
        assert_eq!(asked.status, 405, "{asked:?}");
    })
    .await;
}

#[tokio::test]
async fn a_revision_that_is_not_spoken_is_told_as_that_whatever_it_is_and_asks() {
    within_limit(async {
        let served = Served::start(Vec::new()).await;
        let session = served.session().await;
        let ping = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"});
        let told = json!({"jsonrpc": "2.0", "method": "notifications/roots/list_changed"});
        for version in ["2024-01-01", "2099-01-01", "nonsense"] {
            for request in [
                Raw::post(&ping),
                Raw::post(&told),
                Raw::new("GET", "/mcp").with("Accept", "text/event-stream"),
                Raw::new("DELETE", "/mcp"),
            ] {
                let request = request.with("Mcp-Session-Id", &session);
                let answer = served.ask(request.with("MCP-Protocol-Version", version)).await;
                assert_eq!(answer.status, 400, "{version}: {answer:?}");
                let error = &answer.message()["error"];
                assert_eq!(error["code"], -32022, "{answer:?}");
                assert_eq!(error["data"]["requested"], version, "{answer:?}");
            }
        }
        let end = Raw::new("DELETE", "/mcp").with("Mcp-Session-Id", &session);
        assert_eq!(served.ask(end).await.status, 204);
    })
    .await;
}

#[tokio::test]
async fn what_is_no_message_is_told_so() {
    within_limit(async {
        let mut limited: GatewayOptions = options();
        limited.body_limit = 1_000;
        let served = Served::with(Vec::new(), limited).await;
        let long = "x".repeat(1_001);
        let post = || Raw::post(&initialize());
        for (what, request, status, code) in [
            ("a long body", post().saying(&long), 413, -32600),
            (
                "a long body of unknown length",
                post()
                    .with("Transfer-Encoding", "chunked")
                    .saying(format!("3e9\r\n{long}\r\n0\r\n\r\n")),
                413,
                -32600,
            ),
            ("no JSON", post().saying("{"), 400, -32700),
            ("a batch", post().saying("[]"), 400, -32600),
            (
                "an id that is null",
                post().saying(r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#),
                400,
                -32600,
            ),
            (
                "another type",
                post().without("Content-Type").with("Content-Type", "text/plain"),
                415,
                -32600,
            ),
            ("no type", post().without("Content-Type"), 415, -32600),
            ("a coding", post().with("Content-Encoding", "gzip"), 415, -32600),
            (
                "a header with two values",
                post().with("Mcp-Session-Id", "a").with("Mcp-Session-Id", "b"),
                400,
                -32600,
            ),
            (
                "initialize without an id",
                Raw::post(&json!({"jsonrpc": "2.0", "method": "initialize", "params": {}})),
                400,
                -32600,
            ),
            (
                "initialize without parameters",
                Raw::post(&json!({"jsonrpc": "2.0", "id": 1, "method": "initialize"})),
                400,
                -32602,
            ),
            ("another path", Raw::new("POST", "/other"), 404, -32600),
            (
                "no session",
                Raw::post(&json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"})),
                400,
                -32600,
            ),
            (
                "a session that is not there",
                Raw::post(&json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"}))
                    .with("Mcp-Session-Id", "s"),
                404,
                -32600,
            ),
            (
                "a revision that nobody knows",
                post().with("MCP-Protocol-Version", "2020-01-01"),
                400,
                -32022,
            ),
        ] {
            let answer = served.ask(request).await;
            assert_eq!(answer.status, status, "{what}: {answer:?}");
            assert_eq!(answer.message()["error"]["code"], code, "{what}: {answer:?}");
        }
        let answer = served
            .ask(
                post()
                    .without("Content-Type")
                    .with("Content-Type", "Application/JSON; charset=utf-8"),
            )
            .await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let answer = served.ask(Raw::new("PATCH", "/mcp")).await;
        assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, POST, DELETE")));
    })
    .await;
}

#[tokio::test]
async fn a_session_lives_from_initialize_to_delete_and_there_are_no_more_than_allowed() {
    within_limit(async {
        let mut limited = options();
        limited.sessions = 2;
        let served = Served::with(Vec::new(), limited).await;
        let one = served.session().await;
        let _two = served.session().await;
        let third = served.ask(Raw::post(&initialize())).await;
        assert_eq!((third.status, third.header("retry-after")), (503, Some("5")), "{third:?}");

        let list = Raw::post(&json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"}));
        let answer = served.ask(list.clone().with("Mcp-Session-Id", &one)).await;
        assert_eq!(answer.message()["result"], json!({"tools": []}), "{answer:?}");
        let delete = Raw::new("DELETE", "/mcp").with("Mcp-Session-Id", &one);
        assert_eq!(served.ask(delete.clone()).await.status, 204);
        assert_eq!(served.ask(delete).await.status, 404);
        assert_eq!(served.ask(list.with("Mcp-Session-Id", &one)).await.status, 404);
        assert_eq!(served.ask(Raw::new("DELETE", "/mcp")).await.status, 400);
        served.session().await;
    })
    .await;
}

#[tokio::test]
async fn a_request_of_the_newer_era_says_what_its_headers_say() {
    within_limit(async {
        let served = Served::start(vec![fleet_server("s", &[])]).await;
        let call = || Raw::modern("tools/call", json!({"name": "s__echo", "arguments": {"message": "ahoy"}}));
        let answer = served.ask(call()).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.message()["result"]["content"][0]["text"], "ahoy");
        assert_eq!(answer.message()["result"]["resultType"], "complete");
        for (what, request, code) in [
            ("no method", call().without("Mcp-Method"), -32020),
            ("another method", call().without("Mcp-Method").with("Mcp-Method", "tools/list"), -32020),
            ("no name", call().without("Mcp-Name"), -32020),
            ("another name", call().without("Mcp-Name").with("Mcp-Name", "s__fail"), -32020),
            ("no version", call().without("MCP-Protocol-Version"), -32020),
            ("another version", call().without("MCP-Protocol-Version").with("MCP-Protocol-Version", "2025-11-25"), -32020),
        ] {
            let answer = served.ask(request).await;
            assert_eq!(answer.status, 400, "{what}: {answer:?}");
            assert_eq!(answer.message()["error"]["code"], code, "{what}: {answer:?}");
        }
        let message = |meta: Value| json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": meta}});
        let raw = |meta: Value, version: &str| {
            Raw::post(&message(meta)).with("MCP-Protocol-Version", version).with("Mcp-Method", "tools/list")
        };
        let key = "io.modelcontextprotocol/protocolVersion";
        let answer = served.ask(raw(json!({}), "2026-07-28")).await;
        assert_eq!((answer.status, answer.message()["error"]["code"].as_i64()), (400, Some(-32602)));
        let answer = served.ask(raw(json!({(key): "2099-01-01"}), "2099-01-01")).await;
        assert_eq!((answer.status, answer.message()["error"]["code"].as_i64()), (400, Some(-32022)));
        assert!(answer.message()["error"]["data"]["supported"].is_array());
        let answer = served.ask(raw(json!({(key): "2026-07-28"}), "2026-07-28")).await;
        let code = answer.message()["error"]["code"].as_i64();
        assert_eq!((answer.status, code), (400, Some(-32602)), "no capabilities: {answer:?}");
        let answer = served.ask(Raw::modern("no/such", json!({}))).await;
        assert_eq!((answer.status, answer.message()["error"]["code"].as_i64()), (404, Some(-32601)));
    })
    .await;
}

#[tokio::test]
async fn health_says_how_the_servers_are_doing_and_why_to_those_who_may_ask() {
    within_limit(async {
        let servers = vec![fleet_server("good", &[]), crate::support::shell("bad", "exit 7")];
        let served = Served::with(servers, options().token("t")).await;
        served.gateway.settled().await;
        let health = served.ask(Raw::new("GET", "/health").with("Authorization", "Bearer t")).await;
        assert_eq!(health.status, 200, "{health:?}");
        let told = health.message();
        assert_eq!(
            (&told["status"], &told["up"], &told["down"]),
            (&json!("ok"), &json!(1), &json!(1))
        );
        assert_eq!(told["servers"]["good"]["state"], "up");
        assert!(told["requests"] == 0 && told["tasks"].as_u64() > Some(0), "{told}");
        assert_eq!(told["servers"]["bad"]["outcome"], "exited");
        assert!(
            told["servers"]["bad"]["error"].as_str().is_some_and(|it| it.contains("status 7")),
            "{told}"
        );
        let stranger = served.ask(Raw::new("GET", "/health")).await.message();
        assert_eq!(
            (&stranger["up"], &stranger["servers"], &stranger["tasks"]),
            (&json!(1), &Value::Null, &Value::Null)
        );
        let posted = served.ask(Raw::new("POST", "/health")).await;
        assert_eq!((posted.status, posted.header("allow")), (405, Some("GET, HEAD")));
        let rebound = Raw::new("GET", "/health").with("Host", "evil.example");
        assert_eq!(served.ask(rebound).await.status, 403);
    })
    .await;
}
