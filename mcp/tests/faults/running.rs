//! Servers that fail once they are connected, and callers that give up.

use std::sync::Arc;
use std::time::{Duration, Instant};

use moored_mcp::{CallError, CallOptions, Callbacks, ExitStatusReport, Outcome, ServerParams};
use serde_json::{Value, json};
use tokio::sync::{Notify, watch};

use crate::scene::{Row, Scene, args, call, plain, told_of_call};
use crate::soak::resident;
use crate::support::http::{End, Reply, Request, legacy, modern};
use crate::support::{at, fleet_server, shell_server, until};

/// A server with a special answer to calls.
fn on_call(reply: Reply) -> impl Fn(&Request) -> Reply {
    move |request| if request.rpc == "tools/call" { reply.clone() } else { legacy(request) }
}

pub(crate) async fn exits_in_call() -> Row {
    let mut scene = Scene::brisk().await;
    scene.up(fleet_server("faulty", &["--exit-code", "7", "--exit-at", "call"])).await;
    let error = scene.call_fails("faulty", CallOptions::default()).await;
    let CallError::ServerGone { report, .. } = error else { panic!("{error:?}") };
    assert_eq!(report.exit_status, Some(ExitStatusReport::Code(7)));
    let offered = scene.group.list();
    assert!(!offered.iter().any(|it| it.server == "faulty"), "its components are withdrawn");
    let began = Instant::now();
    scene.call_fails("faulty", CallOptions::default()).await;
    assert!(began.elapsed() < Duration::from_millis(500), "later calls fail fast");
    scene.leave_and(|faulty| assert_eq!(faulty[0].outcome, Outcome::Exited)).await
}

pub(crate) async fn killed_in_call() -> Row {
    let mut scene = Scene::brisk().await;
    // It has read the call when it ends: the call is on its way, whichever thread comes first.
    scene.up(shell_server("faulty", "kill -9 $$")).await;
    scene.call_fails("faulty", CallOptions::default()).await;
    scene.leave().await
}

pub(crate) async fn closes_output_in_call() -> Row {
    let mut scene = Scene::brisk().await;
    scene.up(shell_server("faulty", "exec 1>&-; while read -r line; do :; done")).await;
    scene.call_fails("faulty", CallOptions::default()).await;
    scene.leave().await
}

pub(crate) async fn http_server_dies() -> Row {
    let mut scene = Scene::brisk().await;
    // Not counted, because no server is left that could get the DELETE.
    let server = crate::support::http::Server::start(on_call(Reply::Reset)).await;
    scene.up(at("faulty", &server.url)).await;
    scene.call_fails("faulty", CallOptions::default()).await;
    drop(server);
    // A kept connection may break once more before the next one is refused.
    loop {
        let error = scene.call("faulty").await.expect_err("it is gone");
        if told_of_call(&error).contains("Connection refused") {
            scene.tell(format!("later: {}", told_of_call(&error)));
            break;
        }
    }
    scene.leave().await
}

/// A call whose answer is that.
async fn call_is(reply: Reply) -> Row {
    let mut scene = Scene::brisk().await;
    let server = scene.server(on_call(reply)).await;
    scene.up(at("faulty", &server.url)).await;
    let began = Instant::now();
    scene.call_fails("faulty", CallOptions::default()).await;
    assert!(began.elapsed() < Duration::from_secs(2), "at once");
    scene.leave().await
}

pub(crate) async fn stream_without_answer() -> Row {
    call_is(Reply::events(": nothing\n\n", End::Whole)).await
}

pub(crate) async fn resumption_refused() -> Row {
    let mut scene = Scene::brisk().await;
    let server = scene.server(|request| match (request.verb.as_str(), request.rpc.as_str()) {
        ("GET", _) => Reply::status(404),
        (_, "tools/call") => Reply::events("id: 1\nretry: 10\ndata:\n\n", End::Whole),
        _ => legacy(request),
    });
    let server = server.await;
    scene.up(at("faulty", &server.url)).await;
    scene.call_fails("faulty", CallOptions::default()).await;
    scene.leave().await
}

pub(crate) async fn session_expired() -> Row {
    let mut scene = Scene::brisk().await;
    let begun = std::sync::atomic::AtomicUsize::new(0);
    let server = scene.server(move |request| {
        let session = request.headers.get("mcp-session-id").map(String::as_str);
        match (request.rpc.as_str(), session) {
            ("initialize", _) => {
                let number = begun.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1;
                let Reply::Answer { mut headers, body, status } = legacy(request) else {
                    unreachable!("an answer")
                };
                headers.retain(|(name, _)| name != "mcp-session-id");
                headers.push(("mcp-session-id".into(), format!("s-{number}")));
                Reply::Answer { status, headers, body }
            }
            ("tools/call", Some("s-1")) => Reply::status(404),
            _ => legacy(request),
        }
    });
    let server = server.await;
    scene.up(at("faulty", &server.url)).await;
    scene.call("faulty").await.expect("a new session answers");
    scene.tell("the call is answered, over a new session");
    assert_eq!(server.asked_times("POST initialize"), 2);
    assert_eq!(server.asked_times("POST tools/call"), 2);
    // The server has forgotten the first one itself.
    server.forgotten(1);
    scene.leave_and(|_| assert_eq!(server.log().last().expect("a line"), "DELETE s-2")).await
}

/// A status that one call is answered with.
async fn once(status: u16) -> Row {
    let mut scene = Scene::brisk().await;
    let before = std::sync::atomic::AtomicBool::new(false);
    let server = scene.server(move |request| {
        let again = || before.swap(true, std::sync::atomic::Ordering::Relaxed);
        if request.rpc == "tools/call" && !again() {
            Reply::status(status)
        } else {
            legacy(request)
        }
    });
    let server = server.await;
    scene.up(at("faulty", &server.url)).await;
    scene.call_fails("faulty", CallOptions::default()).await;
    scene.call("faulty").await.expect("only that call has failed");
    scene.tell("the next call is answered");
    scene.leave().await
}

pub(crate) async fn one_503() -> Row {
    once(503).await
}

pub(crate) async fn one_429() -> Row {
    once(429).await
}

pub(crate) async fn stream_in_a_loop() -> Row {
    let mut scene = Scene::brisk().await;
    let server = scene.server(|request| match request.verb.as_str() {
        "GET" => Reply::events("retry: 10\n\n", End::Whole),
        _ => legacy(request),
    });
    let server = server.await;
    scene.up(at("faulty", &server.url)).await;
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    let asked = server.log().iter().filter(|line| line.starts_with("GET")).count();
    assert!((1..=3).contains(&asked), "no spin: {asked}");
    scene.tell("at most three tries in 1.2 s");
    scene.leave().await
}

pub(crate) async fn call_times_out_http() -> Row {
    let mut scene = Scene::brisk().await;
    let server = scene.server(on_call(Reply::Hang)).await;
    scene.up(at("faulty", &server.url)).await;
    let limit = CallOptions::timeout(Duration::from_millis(200));
    scene.call_fails("faulty", limit).await;
    server.asked("POST notifications/cancelled").await;
    let row = scene.leave().await;
    assert_eq!(server.asked_times("POST notifications/cancelled"), 1);
    row
}

pub(crate) async fn call_times_out_stateless() -> Row {
    let mut scene = Scene::brisk().await;
    let (never, gate) = watch::channel(false);
    let server = scene.server(move |request| match request.rpc.as_str() {
        "tools/call" => Reply::Gated(gate.clone(), Box::new(Reply::status(500))),
        _ => modern(request),
    });
    let server = server.await;
    scene.up(at("faulty", &server.url)).await;
    let limit = CallOptions::timeout(Duration::from_millis(200));
    scene.call_fails("faulty", limit).await;
    // One receiver is in the server's script, and each open request has another one.
    until(|| never.receiver_count() == 1).await;
    scene.tell("its stream is closed");
    let row = scene.leave().await;
    assert_eq!(server.asked_times("POST tools/call"), 1);
    assert_eq!(server.asked_times("POST notifications/cancelled"), 0);
    row
}

pub(crate) async fn call_times_out_stdio() -> Row {
    let mut scene = Scene::brisk().await;
    scene.up(fleet_server("faulty", &[])).await;
    let limit = CallOptions::timeout(Duration::from_millis(200));
    let long = args("ms", json!(700));
    let error = scene.group.call_tool("faulty/sleep", long, limit).await.expect_err("too long");
    scene.tell(plain(&error.to_string()));
    // Its answer comes while the next one is waited for, and is not taken for it.
    let again = args("ms", json!(800));
    let answer = scene.group.call_tool("faulty/sleep", again, CallOptions::default()).await;
    let answer = answer.expect("an answer");
    assert_eq!(answer["content"][0]["text"], "slept 800 ms");
    scene.tell("a late answer is nobody's");
    scene.leave().await
}

pub(crate) async fn caller_drops_call() -> Row {
    let mut scene = Scene::brisk().await;
    let server = scene.server(on_call(Reply::Hang)).await;
    scene.up(at("faulty", &server.url)).await;
    let calling = scene.calling("faulty");
    server.asked("POST tools/call").await;
    calling.abort();
    server.asked("POST notifications/cancelled").await;
    scene.tell("nobody is left to be told; the server is");
    let row = scene.leave().await;
    assert_eq!(server.asked_times("POST notifications/cancelled"), 1);
    row
}

pub(crate) async fn cancel_races_answer() -> Row {
    let mut scene = Scene::brisk().await;
    let server = scene.server(|request| match request.rpc.as_str() {
        "tools/call" => legacy(request).after(Duration::from_millis(10)),
        _ => legacy(request),
    });
    let server = server.await;
    scene.up(at("faulty", &server.url)).await;
    let (mut answered, mut late) = (0, 0);
    for number in 0..40u64 {
        let limit = CallOptions::timeout(Duration::from_micros(9_000 + number * 100));
        match call(&scene.group, "faulty", limit).await {
            Ok(_) => answered += 1,
            Err(CallError::TimedOut { .. }) => late += 1,
            Err(other) => panic!("{other:?}"),
        }
    }
    assert_eq!(answered + late, 40);
    scene.tell("each is answered, or timed out; never both");
    scene.leave().await
}

pub(crate) async fn stops_reading() -> Row {
    let mut scene = Scene::brisk().await;
    scene.up(fleet_server("faulty", &["--stop-reading"])).await;
    // The first call makes the server stop reading. It may have its answer.
    let limit = || CallOptions::timeout(Duration::from_millis(300));
    let _ = call(&scene.group, "faulty", limit()).await;
    let calls: Vec<_> = (0..3)
        .map(|_| {
            let group = scene.group.clone();
            let large = args("message", json!("x".repeat(1024 * 1024)));
            tokio::spawn(async move {
                group.call_tool("faulty/echo", large, CallOptions::default()).await
            })
        })
        .collect();
    // This call shows that it has stopped.
    call(&scene.group, "faulty", limit()).await.expect_err("it does not read");
    let report = scene.group.close().await;
    for call in calls {
        let error = call.await.expect("no panic").expect_err("no answer");
        scene.tell(told_of_call(&error));
    }
    let mut row = scene.judge(report, |_| {});
    // It may have read the end of its input before it stopped.
    row.left = vec!["by SIGTERM, or by itself: clean".into()];
    row
}

/// A child that floods one of its streams while it is connected, and answers all the same.
async fn flood(stream: &str) -> Row {
    let mut scene = Scene::brisk().await;
    let line = "noise ".repeat(300);
    let noise = format!("(yes '{line}' | head -n 4500) >&{stream}");
    let answer = r#""result":{"content":[{"type":"text","text":"ahoy"}]}"#;
    scene.up(shell_server("faulty", &format!("{noise}; say '{answer}'"))).await;
    let before = resident();
    scene.call("faulty").await.expect("an answer behind the flood");
    let grown = resident().saturating_sub(before);
    assert!(grown < 48, "{grown} MiB more");
    scene.tell("answered behind 8 MB of noise; memory stays bounded");
    scene.leave().await
}

pub(crate) async fn floods_stdout() -> Row {
    flood("1").await
}

pub(crate) async fn floods_stderr() -> Row {
    flood("2").await
}

pub(crate) async fn long_line() -> Row {
    let mut scene = Scene::brisk().await;
    let long = r#"printf '{"jsonrpc":"2.0","id":%s,"result":{"x":"' "$id"; head -c 40000000 /dev/zero | tr '\0' x; echo '"}}'"#;
    scene.up(shell_server("faulty", long)).await;
    let before = resident();
    scene.call_fails("faulty", CallOptions::default()).await;
    let grown = resident().saturating_sub(before);
    assert!(grown < 64, "{grown} MiB more");
    let mut row = scene.leave().await;
    // Whether it has written the rest within the grace is the machine's affair.
    row.left = vec!["by SIGTERM, or by itself: clean".into()];
    row
}

/// A child that notifies its client and asks it at each call, and that answers the call with the client's reply.
fn asking(callbacks: Callbacks) -> ServerParams {
    let asks = r#"
        call=$id
        printf '{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":1}}\n'
        printf '{"jsonrpc":"2.0","id":"q1","method":"vendor/ask"}\n'
        IFS= read -r reply
        id=$call
        case "$reply" in
        *-32603*) say '"result":{"content":[{"type":"text","text":"-32603"}]}' ;;
        *) say '"result":{"content":[]}' ;;
        esac"#;
    shell_server("faulty", asks).callbacks(callbacks)
}

pub(crate) async fn handlers_panic() -> Row {
    let mut scene = Scene::brisk().await;
    scene.expect_panics(2);
    let callbacks = Callbacks::new()
        .on_request("vendor/ask", async |_| panic!("the callback of a request"))
        .on_log(async |_| panic!("the callback of a notification"));
    scene.up(asking(callbacks)).await;
    let answer = scene.call("faulty").await.expect("the session stands");
    assert_eq!(answer["content"][0]["text"], "-32603");
    scene.tell("the server's request is answered -32603; the call is answered");
    scene
        .leave_and(|faulty| {
            let warnings = &faulty[0].warnings;
            for what in ["vendor/ask", "notifications/message"] {
                let told = format!("the callback for {what} panicked");
                assert!(warnings.iter().any(|warning| warning.contains(&told)), "{warnings:?}");
            }
        })
        .await
}

pub(crate) async fn handler_ignores_cancellation() -> Row {
    let mut scene = Scene::brisk().await;
    let (begun, free) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (begins, freed) = (begun.clone(), free.clone());
    let callbacks = Callbacks::new().on_request("vendor/ask", move |_| {
        let (begins, freed) = (begins.clone(), freed.clone());
        async move {
            begins.notify_one();
            moored::shield(freed.notified()).await;
            Ok(Value::Null)
        }
    });
    scene.up(asking(callbacks)).await;
    let calling = scene.calling("faulty");
    begun.notified().await;
    let report = scene.group.close().await;
    let error = calling.await.expect("no panic").expect_err("no answer");
    scene.tell(told_of_call(&error));
    let row = scene.judge(report, |faulty| {
        let [suppressed] = &faulty[0].leave.suppressed[..] else { panic!("{faulty:?}") };
        assert!(suppressed.ends_with("left to themselves: vendor/ask"), "{suppressed}");
    });
    free.notify_one();
    row
}
