//! Behaviour of published servers that no specification describes.

use std::time::{Duration, Instant};

use moored_mcp::{CallOptions, Outcome, Policy, ServerReport};
use serde_json::{Value, json};

use crate::scene::{Row, Scene, word};
use crate::support::http::{End, Reply, Request, legacy, modern};
use crate::support::script::{DISCOVERED, INITIALIZED, NO_HANDSHAKE, say, scripted};
use crate::support::{at, brisk, shell_server, shell_server_with};

fn result(request: &Request, value: Value) -> Reply {
    Reply::json(json!({"jsonrpc": "2.0", "id": request.id, "result": value}))
}

pub(crate) async fn slow_modern_server() -> Row {
    let mut scene = Scene::start(brisk().discover_timeout(Duration::from_millis(200))).await;
    let server = scene.server(|request| match request.rpc.as_str() {
        "server/discover" => modern(request).after(Duration::from_millis(500)),
        _ => modern(request),
    });
    let server = server.await;
    let slow = format!("sleep 0.5; {}", say(DISCOVERED));
    for params in [at("http", &server.url), scripted("stdio", "", &slow, &say(NO_HANDSHAKE))] {
        let info = scene.up(params).await;
        assert_eq!(info.era.as_deref(), Some("2026-07-28"), "the late answer counts: {info:?}");
    }
    scene.tell("in its own era");
    scene.leave().await
}

pub(crate) async fn exits_on_probe() -> Row {
    let mut scene = Scene::brisk().await;
    scene.up(scripted("faulty", "", "exit 1", &say(INITIALIZED))).await;
    scene.leave_and(|faulty| assert_eq!(faulty[0].starts, 2, "{faulty:?}")).await
}

pub(crate) async fn probe_refused() -> Row {
    let mut scene = Scene::brisk().await;
    let replies = [
        Reply::status(405),
        Reply::status(404),
        Reply::status(500),
        Reply::json(json!({})),
        Reply::Reset,
    ];
    for (number, reply) in replies.into_iter().enumerate() {
        let server = scene.server(move |request| match request.rpc.as_str() {
            "server/discover" => reply.clone(),
            _ => legacy(request),
        });
        let server = server.await;
        let info = scene.up(at(&format!("s{number}"), &server.url)).await;
        assert_eq!(info.era.as_deref(), Some("2025-11-25"), "`initialize` decides: {info:?}");
    }
    scene.leave().await
}

pub(crate) async fn probe_opens_session() -> Row {
    let mut scene = Scene::brisk().await;
    let server = scene.server(|request| match request.rpc.as_str() {
        "server/discover" => Reply::status(400).with("mcp-session-id", "s-0"),
        _ => legacy(request),
    });
    let server = server.await;
    scene.up(at("faulty", &server.url)).await;
    let row = scene.leave().await;
    for session in ["DELETE s-0", "DELETE s-1"] {
        assert_eq!(server.asked_times(session), 1, "{:?}", server.log());
    }
    row
}

pub(crate) async fn names_the_version() -> Row {
    let mut scene = Scene::brisk().await;
    let server = scene.server(|request| {
        let version = request.headers.get("mcp-protocol-version").map(String::as_str);
        match (request.verb.as_str(), version) {
            ("DELETE", Some("2025-11-25")) => Reply::status(200),
            ("DELETE", _) => Reply::status(400),
            _ => legacy(request),
        }
    });
    let server = server.await;
    scene.up(at("faulty", &server.url)).await;
    scene.leave().await
}

pub(crate) async fn answer_before_exit() -> Row {
    let mut scene = Scene::brisk().await;
    let answer = r#""result":{"content":[{"type":"text","text":"done"}]}"#;
    scene.up(shell_server("faulty", &format!("say '{answer}'; exit 3"))).await;
    let answer = scene.call("faulty").await.expect("what was said before the end counts");
    assert_eq!(answer["content"][0]["text"], "done");
    scene.tell("the answer");
    scene.leave_and(|faulty| assert_eq!(faulty[0].outcome, Outcome::Exited)).await
}

pub(crate) async fn pooled_connection_closed() -> Row {
    let mut scene = Scene::brisk().await;
    // Each connection is good for one request; a call is not repeated.
    let server = scene.server(|request| {
        let closed = request.before > 0 && request.rpc != "tools/call";
        if closed { Reply::Reset } else { legacy(request) }
    });
    let server = server.await;
    scene.up(at("faulty", &server.url)).await;
    scene.tell("what is safe to repeat is sent again, the DELETE too");
    server.repeated(1);
    scene.leave().await
}

pub(crate) async fn bad_item() -> Row {
    let mut scene = Scene::brisk().await;
    let server = scene.server(|request| match request.rpc.as_str() {
        "tools/list" => {
            let tools =
                json!([{"name": "bad"}, {"name": "echo", "inputSchema": {"type": "object"}}]);
            result(request, json!({"tools": tools}))
        }
        _ => legacy(request),
    });
    let server = server.await;
    let info = scene.up(at("faulty", &server.url)).await;
    assert_eq!(info.tools, 1, "the good one stands: {info:?}");
    let [warning] = &info.warnings[..] else { panic!("{info:?}") };
    scene.tell(warning.clone());
    scene.leave().await
}

pub(crate) async fn list_unauthorized() -> Row {
    let mut scene = Scene::brisk().await;
    let server = scene.server(|request| match request.rpc.as_str() {
        "tools/list" => Reply::status(401),
        _ => legacy(request),
    });
    let server = server.await;
    scene.up(at("faulty", &server.url)).await;
    scene
        .leave_and(|faulty| assert_eq!(word(faulty[0].outcome), "upstream_error", "{faulty:?}"))
        .await
}

pub(crate) async fn exits_while_listing() -> Row {
    let mut scene = Scene::brisk().await;
    let dies = r#"*'"method":"tools/list"'*) exit 4 ;;"#;
    scene.fails(shell_server_with("faulty", dies, "")).await;
    scene.leave().await
}

/// A child whose answer to a call is that line.
async fn answer_is(answer: &str) -> Row {
    let mut scene = Scene::brisk().await;
    scene.up(shell_server("faulty", answer)).await;
    let began = Instant::now();
    scene.call_fails("faulty", CallOptions::default()).await;
    assert!(began.elapsed() < Duration::from_secs(2), "at once");
    scene.leave().await
}

pub(crate) async fn malformed_answer() -> Row {
    answer_is(r#"printf '{"jsonrpc":"2.0","id":%s}\n' "$id""#).await
}

pub(crate) async fn not_unicode() -> Row {
    let mut scene = Scene::brisk().await;
    let answer = r#"printf '{"jsonrpc":"2.0","id":%s,"result":{"content":[{"type":"text","text":"a\377b"}]}}\n' "$id""#;
    scene.up(shell_server("faulty", answer)).await;
    let answer = scene.call("faulty").await.expect("an answer");
    assert_eq!(answer["content"][0]["text"], "a\u{fffd}b");
    scene.tell("the answer, with U+FFFD, and a warning");
    scene.leave_and(|faulty| assert!(!faulty[0].warnings.is_empty(), "{faulty:?}")).await
}

pub(crate) async fn noise_in_stream() -> Row {
    let mut scene = Scene::brisk().await;
    let server = scene.server(|request| match request.rpc.as_str() {
        "tools/call" => {
            let answer = json!({"jsonrpc": "2.0", "id": request.id,
                "result": {"content": [{"type": "text", "text": "ahoy"}]}});
            let noise =
                ": wait\n\nevent: ping\ndata: {}\n\ndata: not JSON\n\nnonsense\nretry: soon\n\n";
            Reply::events(format!("{noise}data: {answer}\n\n"), End::Whole)
        }
        _ => legacy(request),
    });
    let server = server.await;
    scene.up(at("faulty", &server.url)).await;
    scene.call("faulty").await.expect("the answer behind it");
    scene.tell("the answer");
    scene.leave().await
}

pub(crate) async fn post_redirected() -> Row {
    let mut scene = Scene::brisk().await;
    let server = scene
        .server(|_| Reply::status(302).with("location", "https://elsewhere.example/mcp"))
        .await;
    let error = scene.fails(at("faulty", &server.url)).await;
    assert!(error.to_string().contains("https://elsewhere.example/mcp"), "{error}");
    scene.leave().await
}

pub(crate) async fn media_type_in_capitals() -> Row {
    let mut scene = Scene::brisk().await;
    let server = scene.server(|request| match legacy(request) {
        Reply::Answer { status, mut headers, body } => {
            for (name, value) in &mut headers {
                if name == "content-type" {
                    *value = "Application/JSON; Charset=UTF-8".into();
                }
            }
            Reply::Answer { status, headers, body }
        }
        other => other,
    });
    let server = server.await;
    scene.up(at("faulty", &server.url)).await;
    scene.leave().await
}

pub(crate) async fn one_start_at_a_time() -> Row {
    let limit = Duration::from_secs(3);
    let mut scene = Scene::start(brisk().starts(1).connect_timeout(limit)).await;
    // Each takes more than a quarter of the limit, so together they need longer than one may take.
    let slow = format!("sleep 0.8; {}", say(INITIALIZED));
    let servers = (0..4).map(|n| scripted(&format!("s{n}"), "", &refusal(), &slow)).collect();
    for result in scene.group.connect_many(servers, Policy::BestEffort).await {
        let info = result.expect("the clock of each runs from its turn");
        assert!(info.connect_ms < 3_000, "{info:?}");
    }
    scene.tell("up, each within a limit that runs from its turn");
    let longest = |faulty: &[ServerReport]| faulty.iter().map(|server| server.waited_ms).max();
    scene.leave_and(|faulty| assert!(longest(faulty) > Some(2_000), "{faulty:?}")).await
}

/// A refusal of the probe.
fn refusal() -> String {
    say(crate::support::script::NO_SUCH_METHOD)
}
