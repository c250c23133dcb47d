//! Servers that do not come up, and callers that go away while they do.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use moored::CancelScope;
use moored_mcp::{
    ExitStatusReport, GroupOptions, Names, Outcome, Policy, ServerParams, StdioParams,
};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::scene::{Books, Row, Scene, told, word};
use crate::support::http::{Reply, Request, legacy};
use crate::support::{at, brisk, fleet_server, pids, shell, until};

/// An address that refuses for as long as the socket is held.
fn refusing() -> (TcpSocket, String) {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(([127, 0, 0, 1], 0).into()).expect("a port");
    let url = format!("http://{}/mcp", socket.local_addr().expect("its address"));
    (socket, url)
}

/// A connection limit that passes soon.
fn hasty() -> GroupOptions {
    brisk().connect_timeout(Duration::from_millis(1_500))
}

/// A server that answers one method in a way of its own.
async fn but(scene: &mut Scene, method: &'static str, reply: Reply) -> Books {
    let answer = move |request: &Request| match request.rpc.as_str() {
        rpc if rpc == method => reply.clone(),
        _ => legacy(request),
    };
    scene.server(answer).await
}

pub(crate) async fn refused() -> Row {
    let mut scene = Scene::brisk().await;
    let (_port, url) = refusing();
    let error = scene.fails(at("faulty", &url)).await;
    assert_eq!(error.outcome(), Outcome::Unreachable);
    assert!(!scene.group.list().iter().any(|it| it.server == "faulty"));
    // The name is free again.
    let server = scene.server(legacy).await;
    let info = scene.group.connect(at("faulty", &server.url)).await;
    info.expect("the group is usable");
    scene.leave().await
}

pub(crate) async fn black_hole() -> Row {
    let mut scene = Scene::start(hasty()).await;
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(([127, 0, 0, 1], 0).into()).expect("a port");
    let listener = socket.listen(1).expect("a listener");
    let address = listener.local_addr().expect("its address");
    // The listener accepts nothing, and when its queue is full the kernel drops connection requests.
    let mut queue = Vec::new();
    while let Ok(Ok(stream)) =
        tokio::time::timeout(Duration::from_millis(100), TcpStream::connect(address)).await
    {
        queue.push(stream);
    }
    let error = scene.fails(at("faulty", &format!("http://{address}/mcp"))).await;
    assert_eq!(error.outcome(), Outcome::TimedOut);
    drop((queue, listener));
    scene.leave().await
}

pub(crate) async fn shy() -> Row {
    let mut scene = Scene::brisk().await;
    let server = scene.server(|_| Reply::Reset).await;
    let error = scene.fails(at("faulty", &server.url)).await;
    assert_eq!(error.outcome(), Outcome::Unreachable);
    scene.leave().await
}

pub(crate) async fn plain_http_on_tls() -> Row {
    let mut scene = Scene::brisk().await;
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let url = format!("https://{}/mcp", listener.local_addr().expect("its address"));
    // The answer of an HTTP server to a TLS handshake.
    let serving = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 16]).await;
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    });
    let error = scene.fails(at("faulty", &url)).await;
    assert_eq!(error.outcome(), Outcome::Unreachable);
    assert!(error.report().chain.iter().any(|text| text.contains("InvalidContentType")));
    serving.abort();
    scene.leave().await
}

pub(crate) async fn bad_certificate() -> Row {
    use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
    let mut scene = Scene::brisk().await;
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let address = listener.local_addr().expect("its address");
    let certificate = include_bytes!("localhost.crt.der").to_vec().into();
    let key = PrivatePkcs8KeyDer::from(include_bytes!("localhost.key.der").to_vec());
    let provider = rustls::crypto::ring::default_provider().into();
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the usual versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], PrivateKeyDer::from(key))
        .expect("a certificate and its key");
    let (config, over) = (Arc::new(config), Arc::new(AtomicBool::new(false)));
    let serving = std::thread::spawn({
        let over = over.clone();
        move || {
            for mut stream in listener.incoming().flatten() {
                if over.load(Ordering::Relaxed) {
                    break;
                }
                let tls = rustls::ServerConnection::new(config.clone());
                let mut tls = tls.expect("a connection");
                // Until the client has answered the certificate.
                while tls.complete_io(&mut stream).is_ok_and(|(read, _)| read > 0) {}
            }
        }
    });
    let error = scene.fails(at("faulty", &format!("https://{address}/mcp"))).await;
    assert_eq!(error.outcome(), Outcome::Unreachable);
    assert!(error.report().chain.iter().any(|text| text.contains("certificate")), "{error:?}");
    over.store(true, Ordering::Relaxed);
    let _last = std::net::TcpStream::connect(address).expect("it listens");
    serving.join().expect("no panic");
    scene.leave().await
}

pub(crate) async fn one_of_many_fail_fast() -> Row {
    let mut scene = Scene::brisk().await;
    let (_port, url) = refusing();
    let mute = scene.server(|_| Reply::Hang).await;
    let began = Instant::now();
    let servers = vec![at("one", &mute.url), at("two", &url), at("three", &mute.url)];
    let results = scene.group.connect_many(servers, Policy::FailFast).await;
    assert!(began.elapsed() < Duration::from_secs(3), "nobody waits for the others");
    tell_each(&mut scene, results);
    scene.leave().await
}

pub(crate) async fn one_of_many_best_effort() -> Row {
    let mut scene = Scene::brisk().await;
    let (_port, url) = refusing();
    let well = scene.server(legacy).await;
    let servers = vec![fleet_server("one", &[]), at("two", &url), at("three", &well.url)];
    let results = scene.group.connect_many(servers, Policy::BestEffort).await;
    tell_each(&mut scene, results);
    scene.leave().await
}

pub(crate) async fn several_at_once() -> Row {
    let mut scene = Scene::brisk().await;
    let (_port, url) = refusing();
    let locked = scene.server(|_| Reply::status(401)).await;
    let well = scene.server(legacy).await;
    let servers = vec![
        at("one", &url),
        at("two", &well.url),
        at("three", &locked.url),
        fleet_server("four", &[]),
    ];
    let results = scene.group.connect_many(servers, Policy::BestEffort).await;
    tell_each(&mut scene, results);
    scene.leave().await
}

type Results = Vec<Result<moored_mcp::SessionInfo, moored_mcp::ConnectError>>;

/// The outcomes of many, in the order in which the servers were given.
fn tell_each(scene: &mut Scene, results: Results) {
    let names: Vec<String> = results
        .iter()
        .map(|result| match result {
            Ok(info) => info.name.clone(),
            Err(error) => error.server().to_owned(),
        })
        .collect();
    assert_eq!(names, ["one", "two", "three", "four"][..names.len()], "the order");
    for result in results {
        scene.tell(result.map_or_else(|error| told(&error), |_| "up".to_owned()));
    }
}

pub(crate) async fn never_answers_initialize() -> Row {
    let mut scene = Scene::start(hasty()).await;
    let server = but(&mut scene, "initialize", Reply::Hang).await;
    let error = scene.fails(at("faulty", &server.url)).await;
    assert!(error.to_string().contains("initialize"), "the phase is named: {error}");
    let row = scene.leave().await;
    // `initialize` is not to be cancelled by a notification.
    assert_eq!(server.asked_times("POST notifications/cancelled"), 0);
    row
}

pub(crate) async fn auth_required() -> Row {
    let mut scene = Scene::brisk().await;
    let challenge = "Bearer resource_metadata=\"x\"";
    let server =
        scene.server(move |_| Reply::status(401).with("www-authenticate", challenge)).await;
    let error = scene.fails(at("faulty", &server.url)).await;
    assert!(error.to_string().contains(challenge), "the challenge is kept: {error}");
    scene.leave().await
}

pub(crate) async fn forbidden() -> Row {
    let mut scene = Scene::brisk().await;
    let server = scene.server(|_| Reply::status(403).saying("not from there")).await;
    let error = scene.fails(at("faulty", &server.url)).await;
    assert!(error.to_string().contains("not from there"), "{error}");
    scene.leave().await
}

pub(crate) async fn initialized_500() -> Row {
    let mut scene = Scene::brisk().await;
    let reply = Reply::status(500).saying("out of order");
    let server = but(&mut scene, "notifications/initialized", reply).await;
    let error = scene.fails(at("faulty", &server.url)).await;
    assert!(error.to_string().contains("out of order"), "{error}");
    scene.leave().await
}

/// A server whose answer to `initialize` is none.
async fn initialize_is(reply: Reply) -> Row {
    let mut scene = Scene::brisk().await;
    let server = but(&mut scene, "initialize", reply).await;
    let error = scene.fails(at("faulty", &server.url)).await;
    assert_eq!(error.outcome(), Outcome::ProtocolError);
    scene.leave().await
}

pub(crate) async fn garbage() -> Row {
    let json = Reply::status(200).with("content-type", "application/json");
    initialize_is(json.saying("{\"hello\": 1")).await
}

pub(crate) async fn web_page() -> Row {
    initialize_is(Reply::status(200).with("content-type", "text/html").saying("<html></html>"))
        .await
}

pub(crate) async fn accepted_only() -> Row {
    initialize_is(Reply::status(202)).await
}

pub(crate) async fn wrong_id() -> Row {
    let mut scene = Scene::brisk().await;
    let server = scene.server(|request| {
        let mut wrong = request.clone();
        if request.rpc == "initialize" {
            wrong.id = json!(4_711);
        }
        legacy(&wrong)
    });
    let server = server.await;
    scene.fails(at("faulty", &server.url)).await;
    scene.leave().await
}

pub(crate) async fn unknown_version() -> Row {
    let mut scene = Scene::brisk().await;
    let server = scene.server(|request| {
        if request.rpc != "initialize" {
            return legacy(request);
        }
        let info = json!({"name": "old", "version": "1"});
        let result =
            json!({"protocolVersion": "1999-01-01", "capabilities": {}, "serverInfo": info});
        Reply::json(json!({"jsonrpc": "2.0", "id": request.id, "result": result}))
            .with("mcp-session-id", "s-1")
    });
    let server = server.await;
    let error = scene.fails(at("faulty", &server.url)).await;
    assert!(error.to_string().contains("1999-01-01"), "{error}");
    scene.leave().await
}

pub(crate) async fn no_such_command() -> Row {
    let mut scene = Scene::brisk().await;
    let params = StdioParams::new("moored-mcp-no-such-program");
    scene.fails(ServerParams::stdio("faulty", params)).await;
    scene.leave().await
}

pub(crate) async fn not_executable() -> Row {
    let mut scene = Scene::brisk().await;
    let file = tempfile::NamedTempFile::new().expect("a file");
    let params = StdioParams::new(file.path().to_str().expect("a path"));
    scene.fails(ServerParams::stdio("faulty", params)).await;
    scene.leave().await
}

pub(crate) async fn exits_with_7() -> Row {
    let mut scene = Scene::brisk().await;
    let script = "echo first line >&2; echo the key is missing >&2; exit 7";
    let error = scene.fails(shell("faulty", script)).await;
    assert_eq!(error.report().exit_status, Some(ExitStatusReport::Code(7)));
    let tail = error.report().stderr_tail.clone().expect("a tail");
    assert_eq!(tail, "first line\nthe key is missing\n");
    scene.tell(format!("stderr: {:?}", tail.lines().last().expect("a line")));
    scene.leave().await
}

pub(crate) async fn killed_at_once() -> Row {
    let mut scene = Scene::brisk().await;
    scene.fails(shell("faulty", "kill -9 $$")).await;
    scene.leave().await
}

pub(crate) async fn banner() -> Row {
    let mut scene = Scene::brisk().await;
    let info = scene.up(fleet_server("faulty", &["--banner", "Welcome!"])).await;
    assert!(info.warnings.iter().any(|text| text.contains("Welcome!")), "{info:?}");
    scene.tell("the line is a warning");
    scene.leave().await
}

pub(crate) async fn silent_child() -> Row {
    let mut scene = Scene::start(hasty()).await;
    let error = scene.fails(fleet_server("faulty", &["--silent"])).await;
    assert_eq!(error.outcome(), Outcome::TimedOut);
    scene.leave().await
}

/// A child that is on its way up, and tells its process id.
struct Slow {
    file: tempfile::NamedTempFile,
}

impl Slow {
    fn new() -> Self {
        Self { file: tempfile::NamedTempFile::new().expect("a file") }
    }

    fn params(&self) -> ServerParams {
        let path = self.file.path().to_str().expect("a path");
        fleet_server("faulty", &["--silent", "--ignore-eof", "--pid-file", path])
    }

    async fn started(&self) {
        until(|| self.file.path().metadata().is_ok_and(|it| it.len() > 0)).await;
    }

    /// The owner cleans up by itself.
    async fn is_gone(&self) {
        let pid = pids(self.file.path())[0];
        until(|| !crate::support::exists(pid)).await;
    }
}

/// The end of an attempt after its caller has gone.
async fn abandoned(mut scene: Scene, slow: Slow) -> Row {
    slow.is_gone().await;
    scene.tell("nobody is left to be told; the owner cleans up at once");
    scene
        .leave_and(|faulty| {
            assert_eq!(faulty[0].outcome, Outcome::Closing, "{faulty:?}");
            assert_eq!(faulty[0].leave.signals, ["SIGTERM"]);
        })
        .await
}

pub(crate) async fn caller_dropped() -> Row {
    let (scene, slow) = (Scene::brisk().await, Slow::new());
    let connecting = tokio::spawn({
        let (group, params) = (scene.group.clone(), slow.params());
        async move { group.connect(params).await }
    });
    slow.started().await;
    connecting.abort();
    let _ = connecting.await;
    abandoned(scene, slow).await
}

pub(crate) async fn caller_timed_out() -> Row {
    let (scene, slow) = (Scene::brisk().await, Slow::new());
    let connecting = scene.group.connect(slow.params());
    let limit = Duration::from_millis(300);
    tokio::time::timeout(limit, connecting).await.expect_err("the caller's own limit");
    slow.started().await;
    abandoned(scene, slow).await
}

pub(crate) async fn caller_cancelled() -> Row {
    let (scene, slow) = (Scene::brisk().await, Slow::new());
    let scope = CancelScope::new().named("caller");
    let handle = scope.handle();
    let connecting = scope.run(scene.group.connect(slow.params()));
    let (connected, ()) = tokio::join!(connecting, async {
        slow.started().await;
        handle.cancel();
    });
    connected.expect_err("cancelled");
    abandoned(scene, slow).await
}

pub(crate) async fn close_during_connect() -> Row {
    let mut scene = Scene::brisk().await;
    let mute = scene.server(|_| Reply::Hang).await;
    let connecting = tokio::spawn({
        let (group, params) = (scene.group.clone(), at("faulty", &mute.url));
        async move { group.connect(params).await }
    });
    mute.asked("POST server/discover").await;
    let report = scene.group.close().await;
    let error = connecting.await.expect("no panic").expect_err("interrupted");
    scene.tell(told(&error));
    let late = scene.group.connect(at("late", &mute.url)).await.expect_err("too late");
    scene.tell(format!("afterwards: {}", told(&late)));
    assert!(scene.group.list().is_empty());
    scene.judge(report, |_| {})
}

pub(crate) async fn duplicate_name() -> Row {
    let mut scene = Scene::brisk().await;
    let (first, second) = (scene.server(legacy).await, scene.server(legacy).await);
    scene.up(at("twin", &first.url)).await;
    let error = scene.fails(at("twin", &second.url)).await;
    let text = error.to_string();
    assert!(text.contains(&first.url) && text.contains(&second.url), "both are named: {text}");
    assert!(second.log().is_empty(), "nothing was started");
    scene.leave().await
}

pub(crate) async fn taken_component() -> Row {
    let names = Names::by(|_, server, name| match server {
        "one" | "two" => name.to_owned(),
        _ => format!("{server}/{name}"),
    });
    let mut scene = Scene::start(brisk().names(names)).await;
    let (first, second) = (scene.server(legacy).await, scene.server(legacy).await);
    scene.up(at("one", &first.url)).await;
    let error = scene.fails(at("two", &second.url)).await;
    assert_eq!(error.outcome(), Outcome::DuplicateName);
    scene.leave().await
}

pub(crate) async fn hook_panics() -> Row {
    let names = Names::by(|kind, server, name| {
        assert!(server != "faulty", "no name for a {kind}");
        format!("{server}/{name}")
    });
    let mut scene = Scene::start(brisk().names(names)).await;
    scene.expect_panics(1);
    let server = scene.server(legacy).await;
    scene.fails(at("faulty", &server.url)).await;
    scene.leave().await
}

/// A page of a list, or an error.
fn paged(list: fn(&Request) -> Reply) -> impl Fn(&Request) -> Reply {
    move |request| if request.rpc == "tools/list" { list(request) } else { legacy(request) }
}

fn result(request: &Request, value: Value) -> Reply {
    Reply::json(json!({"jsonrpc": "2.0", "id": request.id, "result": value}))
}

pub(crate) async fn nothing_offered() -> Row {
    let mut scene = Scene::brisk().await;
    let server = scene.server(paged(|request| result(request, json!({"tools": []})))).await;
    let info = scene.up(at("faulty", &server.url)).await;
    assert_eq!((info.tools, info.prompts, info.resources), (0, 0, 0));
    scene.leave_and(|faulty| assert_eq!(faulty[0].outcome, Outcome::Ok)).await
}

pub(crate) async fn one_list_fails() -> Row {
    let mut scene = Scene::brisk().await;
    let server = scene.server(|request| match request.rpc.as_str() {
        "initialize" => {
            let offers = json!({"tools": {}, "prompts": {}, "resources": {}});
            let info = json!({"name": "s", "version": "1"});
            let agreed =
                json!({"protocolVersion": "2025-11-25", "capabilities": offers, "serverInfo": info});
            result(request, agreed).with("mcp-session-id", "s-1")
        }
        "prompts/list" => Reply::status(500),
        "resources/list" => result(request, json!({"resources": [{"uri": "x:y", "name": "y"}]})),
        _ => legacy(request),
    });
    let server = server.await;
    let info = scene.up(at("faulty", &server.url)).await;
    assert_eq!((info.tools, info.resources), (1, 1), "the rest stands");
    scene
        .leave_and(|faulty| assert_eq!(word(faulty[0].outcome), "upstream_error", "{faulty:?}"))
        .await
}

pub(crate) async fn repeating_cursor() -> Row {
    let mut scene = Scene::brisk().await;
    let page = |request: &Request| {
        result(request, json!({"tools": [{"name": "echo", "inputSchema": {}}], "nextCursor": "x"}))
    };
    let server = scene.server(paged(page)).await;
    let info = scene.up(at("faulty", &server.url)).await;
    assert!(info.warnings.iter().any(|text| text.contains("cursor")), "{info:?}");
    scene.tell("the list ends with a warning");
    scene.leave().await
}

pub(crate) async fn endless_pages() -> Row {
    let mut options = brisk();
    options.page_cap = 20;
    let mut scene = Scene::start(options).await;
    let page = |request: &Request| {
        let cursor = request.params["cursor"].as_str().and_then(|it| it.parse().ok()).unwrap_or(0);
        let tool = json!({"name": format!("echo{cursor}"), "inputSchema": {}});
        result(request, json!({"tools": [tool], "nextCursor": (cursor + 1).to_string()}))
    };
    let server = scene.server(paged(page)).await;
    let info = scene.up(at("faulty", &server.url)).await;
    assert_eq!(server.asked_times("POST tools/list"), 20);
    assert!(info.warnings.iter().any(|text| text.contains("20")), "{info:?}");
    scene.tell("the list ends at the page cap, with a warning");
    scene.leave().await
}
