//! Leaving: from anywhere, in any order, however the servers behave.

use std::time::{Duration, Instant};

use moored_mcp::{Delete, Policy, ServerParams, SessionGroup};
use rustix::process::Signal;

use crate::scene::{Books, Row, Scene, told, told_of_call, word};
use crate::support::http::{Reply, Request, Server, legacy};
use crate::support::{at, exists, fleet_server, pids, shell, stubborn, until};

fn on_delete(reply: Reply) -> impl Fn(&Request) -> Reply {
    move |request| if request.verb == "DELETE" { reply.clone() } else { legacy(request) }
}

pub(crate) async fn close_from_another_task() -> Row {
    let mut scene = Scene::brisk().await;
    let server = scene.server(legacy).await;
    scene.up(at("faulty", &server.url)).await;
    let closing = tokio::spawn({
        let group = scene.group.clone();
        async move { group.close().await }
    });
    let report = closing.await.expect("no panic");
    assert_eq!(scene.group.close().await, report, "the same report to whoever asks later");
    scene.judge(report, |_| {})
}

pub(crate) async fn any_order() -> Row {
    let mut scene = Scene::brisk().await;
    let server = scene.server(legacy).await;
    for order in [[0, 1, 2, 3, 4, 5, 6, 7], [7, 6, 5, 4, 3, 2, 1, 0], [3, 0, 6, 1, 7, 5, 2, 4]] {
        let servers = (0..8).map(|n| either(&format!("s{n}"), n, &server)).collect();
        for result in scene.group.connect_many(servers, Policy::BestEffort).await {
            result.expect("it comes up");
        }
        for n in order {
            // Each session is left by another task.
            let group = scene.group.clone();
            let left = tokio::spawn(async move { group.disconnect(&format!("s{n}")).await });
            let report = left.await.expect("no panic").expect("it was connected");
            assert!(report.leave.clean, "{report:?}");
        }
        assert!(scene.group.disconnect("s0").await.is_none());
    }
    scene.tell("each is left alone, the others stay");
    assert_eq!(server.deletes(), 12);
    half_and_half(scene.leave().await)
}

/// The row of many sessions, half over HTTP and half over stdio, that all leave cleanly.
fn half_and_half(mut row: Row) -> Row {
    let (http, stdio) = ("DELETE `terminated`, clean", "exit status 0, clean");
    assert!(row.left.iter().all(|left| left.ends_with(", clean")), "{:?}", row.left);
    row.left = vec![format!("half {http}; half {stdio}")];
    row
}

/// A server over HTTP where `n` is even, a child where it is odd.
fn either(name: &str, n: usize, server: &Server) -> ServerParams {
    if n.is_multiple_of(2) { at(name, &server.url) } else { fleet_server(name, &[]) }
}

pub(crate) async fn two_closes() -> Row {
    let mut scene = Scene::brisk().await;
    let server = scene.server(legacy).await;
    scene.up(at("faulty", &server.url)).await;
    let (one, two) = tokio::join!(scene.group.close(), scene.group.close());
    assert_eq!(one, two);
    scene.tell("one teardown, the same report to both");
    scene.judge(one, |_| {})
}

pub(crate) async fn close_dropped_midway() -> Row {
    let mut scene = Scene::brisk().await;
    scene.up(fleet_server("faulty", &["--ignore-eof"])).await;
    let limit = Duration::from_millis(50);
    let dropped = tokio::time::timeout(limit, scene.group.close()).await;
    assert!(dropped.is_err(), "it waits for the child");
    let report = scene.group.close().await;
    assert!(report.leave_ms >= 400, "it has waited for the real end: {report:?}");
    scene.tell("the second call waits for the end of the first one's teardown");
    scene.judge(report, |_| {})
}

pub(crate) async fn close_with_calls() -> Row {
    let mut scene = Scene::brisk().await;
    let hang = |request: &Request| match request.rpc.as_str() {
        "tools/call" => Reply::Hang,
        _ => legacy(request),
    };
    let server = scene.server(hang).await;
    scene.up(at("faulty", &server.url)).await;
    let calls: Vec<_> = (0..50).map(|_| scene.calling("faulty")).collect();
    // The log has the requests in the order in which they were read, and a call that is sent just before the DELETE may be read
    // after it. As many calls as may wait at once have been read; the others are not sent.
    server.asked_at_least(16, "POST tools/call").await;
    let report = scene.group.close().await;
    for call in calls {
        let error = call.await.expect("no panic").expect_err("no answer");
        scene.tell(told_of_call(&error));
    }
    scene.judge(report, |_| {})
}

pub(crate) async fn delete_hangs() -> Row {
    let mut scene = Scene::brisk().await;
    let server = scene.server(on_delete(Reply::Hang)).await;
    scene.up(at("faulty", &server.url)).await;
    let report = scene.group.close().await;
    let siblings = report.servers.iter().filter(|server| server.name != "faulty");
    for sibling in siblings {
        assert!(sibling.leave.ms < 1_500, "a sibling is delayed: {sibling:?}");
    }
    scene.judge(report, |faulty| assert_eq!(faulty[0].leave.delete, Delete::TimedOut))
}

pub(crate) async fn delete_statuses() -> Row {
    let mut scene = Scene::brisk().await;
    let mut books: Vec<Books> = Vec::new();
    for status in [200, 202, 204, 405, 404, 401, 500] {
        books.push(scene.server(on_delete(Reply::status(status))).await);
    }
    let reset = scene.server(on_delete(Reply::Reset)).await;
    // On a connection from the pool, a request is sent once more after a reset.
    reset.may_be_repeated(1);
    books.push(reset);
    for (number, server) in books.iter().enumerate() {
        scene.up(at(&format!("s{number}"), &server.url)).await;
    }
    scene
        .leave_and(|faulty| {
            let words: Vec<String> = faulty.iter().map(|it| word(it.leave.delete)).collect();
            let [ended, none, gone, failed] =
                ["terminated", "not_supported", "already_gone", "failed"];
            assert_eq!(words, [ended, ended, ended, none, gone, failed, failed, failed]);
        })
        .await
}

/// A child with these flags that is connected and left.
async fn child(flags: &[&str], longest: Duration) -> Row {
    let mut scene = Scene::brisk().await;
    let file = tempfile::NamedTempFile::new().expect("a file");
    let path = file.path().to_str().expect("a path");
    scene.up(fleet_server("faulty", &[flags, &["--pid-file", path]].concat())).await;
    let pids = pids(file.path());
    let row = scene
        .leave_and(|faulty| {
            let took = Duration::from_millis(faulty[0].leave.ms);
            assert!(took < longest, "{took:?}");
        })
        .await;
    assert!(!exists(pids[0]), "it is reaped");
    row
}

pub(crate) async fn exits_on_eof() -> Row {
    child(&[], Duration::from_millis(400)).await
}

pub(crate) async fn ignores_eof() -> Row {
    child(&["--ignore-eof"], Duration::from_millis(1_500)).await
}

pub(crate) async fn ignores_both() -> Row {
    child(&["--ignore-eof", "--ignore-sigterm"], Duration::from_millis(2_000)).await
}

pub(crate) async fn grandchild() -> Row {
    child(&["--grandchild"], Duration::from_millis(1_500)).await
}

pub(crate) async fn launcher() -> Row {
    let mut scene = Scene::brisk().await;
    let server = env!("CARGO_BIN_EXE_moored-mcp");
    scene.up(shell("faulty", &format!("{server} fleet-server --ignore-eof; exit $?"))).await;
    scene.leave().await
}

pub(crate) async fn stray() -> Row {
    let mut scene = Scene::brisk().await;
    let file = tempfile::NamedTempFile::new().expect("a file");
    let path = file.path().to_str().expect("a path");
    let server = env!("CARGO_BIN_EXE_moored-mcp");
    // The `sleep` holds the pipes of the server beside which it was started.
    let script = format!("setsid sleep 60 & echo $! > {path}; exec {server} fleet-server");
    scene.up(shell("faulty", &script)).await;
    let report = scene.group.close().await;
    let stray = rustix::process::Pid::from_raw(pids(file.path())[0]).expect("an id");
    rustix::process::kill_process(stray, rustix::process::Signal::KILL).expect("still there");
    scene.tell("it is not ours: neither signalled nor waited for");
    scene.judge(report, |faulty| assert!(faulty[0].leave.ms < 1_000, "{faulty:?}"))
}

const NO_REPORT: &str = "budget, siblings (nobody is left to get a report)";

pub(crate) async fn dropped_inside() -> Row {
    let mut scene = Scene::brisk().await;
    let file = tempfile::NamedTempFile::new().expect("a file");
    let path = file.path().to_str().expect("a path");
    let server = scene.server(legacy).await;
    scene.up(at("http", &server.url)).await;
    scene.up(fleet_server("stdio", &["--ignore-eof", "--pid-file", path])).await;
    let pid = pids(file.path())[0];
    scene.drop_group();
    until(|| !exists(pid)).await;
    server.asked("DELETE s-1").await;
    scene.sibling_is_left().await;
    scene.without_report("in the background, within the budget", NO_REPORT)
}

/// Something that is done with a group whose child ignores all but SIGKILL, in a runtime of another thread.
async fn elsewhere(
    play: impl FnOnce(tokio::runtime::Runtime, SessionGroup) + Send + 'static,
) -> Row {
    let scene = Scene::brisk().await;
    let played = tokio::task::spawn_blocking(|| {
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(1).enable_all().build().expect("a runtime");
        let (group, pids) = stubborn::connected(&runtime);
        play(runtime, group);
        stubborn::are_gone(&pids);
    });
    played.await.expect("no panic");
    scene.leave().await
}

pub(crate) async fn dropped_outside() -> Row {
    let mut row = elsewhere(|runtime, group| {
        drop(group);
        // Closing goes on although no caller waits for it.
        std::thread::sleep(Duration::from_millis(50));
        drop(runtime);
    })
    .await;
    row.left.push("left in the background, or killed with the runtime".into());
    row
}

pub(crate) async fn runtime_shut_down() -> Row {
    let mut row = elsewhere(|runtime, group| {
        runtime.shutdown_timeout(Duration::from_secs(5));
        drop(group);
    })
    .await;
    row.left.push("its group is killed, and it is reaped".into());
    row
}

pub(crate) async fn dropped_unwinding() -> Row {
    let mut row = elsewhere(|runtime, group| {
        let unwound = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
            let _both = (group, runtime);
            std::panic::resume_unwind(Box::new("on purpose"));
        }));
        assert_eq!(unwound.expect_err("it unwound").downcast_ref(), Some(&"on purpose"));
    })
    .await;
    row.left.push("the panic goes on; its group is killed, and it is reaped".into());
    row
}

pub(crate) async fn three_teardown_faults() -> Row {
    let mut scene = Scene::brisk().await;
    for number in 0..3 {
        let server = scene.server(|request| match (request.verb.as_str(), request.rpc.as_str()) {
            (_, "notifications/initialized") => Reply::status(500),
            ("DELETE", _) => Reply::status(503),
            _ => legacy(request),
        });
        let server = server.await;
        let error = scene.fails(at(&format!("s{number}"), &server.url)).await;
        assert!(error.to_string().contains("HTTP 500"), "the primary error is intact: {error}");
    }
    scene
        .leave_and(|faulty| {
            for server in faulty {
                let [suppressed] = &server.leave.suppressed[..] else { panic!("{server:?}") };
                assert!(suppressed.contains("503"), "{server:?}");
            }
        })
        .await
}

pub(crate) async fn caller_cancelled_while_leaving() -> Row {
    let mut scene = Scene::brisk().await;
    scene.up(fleet_server("faulty", &["--ignore-eof"])).await;
    let scope = moored::CancelScope::new().named("caller").timeout(Duration::from_millis(50));
    let cancelled = scope.run(scene.group.close()).await;
    cancelled.expect_err("the caller is cancelled");
    scene.tell("the caller goes on at once; the teardown completes within its own budget");
    let report = scene.group.close().await;
    scene.judge(report, |_| {})
}

pub(crate) async fn forced_while_leaving() -> Row {
    let mut scene = Scene::brisk().await;
    let server = scene.server(on_delete(Reply::Hang)).await;
    scene.up(at("http", &server.url)).await;
    scene.up(fleet_server("stdio", &["--ignore-eof", "--ignore-sigterm"])).await;
    let closing = tokio::spawn({
        let group = scene.group.clone();
        async move { group.close().await }
    });
    server.asked("DELETE s-1").await;
    // By now the siblings have left.
    tokio::time::sleep(Duration::from_millis(250)).await;
    let began = Instant::now();
    scene.group.force();
    let report = closing.await.expect("no panic");
    assert!(began.elapsed() < Duration::from_secs(1), "force is prompt");
    scene.judge(report, |_| {})
}

/// A client in a process of its own that gets a signal while its server, which ignores all but SIGKILL, is up.
async fn client(signal: Signal, budget: &'static str, status: Option<i32>) -> Scene {
    let scene = Scene::brisk().await;
    let played = tokio::task::spawn_blocking(move || {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let path = file.path().to_str().expect("a path").to_owned();
        let binary = env!("CARGO_BIN_EXE_moored-mcp");
        let mut client = std::process::Command::new(binary);
        client.args(["doctor", "--watch", "--json", "--budget", budget]);
        client.args(["--command", binary, "fleet-server"]);
        client.args(["--ignore-eof", "--ignore-sigterm", "--grandchild", "--pid-file", &path]);
        client.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::piped());
        let mut client = client.spawn().expect("the client");
        let said = std::io::BufReader::new(client.stderr.take().expect("piped"));
        let mut lines = std::io::BufRead::lines(said).map_while(Result::ok);
        assert!(lines.any(|line| line.contains("up, ")), "its server comes up");
        let pids = pids(file.path());
        let id = rustix::process::Pid::from_child(&client);
        rustix::process::kill_process(id, signal).expect("it is there");
        // It goes on speaking.
        lines.for_each(drop);
        assert_eq!(client.wait().expect("it is reaped").code(), status);
        stubborn::are_gone(&pids);
    });
    played.await.expect("no panic");
    scene
}

/// A signal that asks the client to leave.
async fn client_is_asked(signal: Signal, status: i32) -> Row {
    let began = Instant::now();
    let scene = client(signal, "1s", Some(status)).await;
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    let mut row = scene.leave().await;
    row.left.push(format!("within the client's budget; its exit status is {status}"));
    row
}

pub(crate) async fn client_interrupted() -> Row {
    client_is_asked(Signal::INT, 130).await
}

pub(crate) async fn client_terminated() -> Row {
    client_is_asked(Signal::TERM, 143).await
}

pub(crate) async fn client_killed() -> Row {
    let mut row = client(Signal::KILL, "5s", None).await.leave().await;
    row.left.push("the watchdog kills what is left, and ends".into());
    row
}

pub(crate) async fn forty_at_once() -> Row {
    let mut scene = Scene::brisk().await;
    let server = scene.server(legacy).await;
    let servers = (0..40).map(|n| either(&format!("s{n}"), n, &server)).collect();
    for result in scene.group.connect_many(servers, Policy::BestEffort).await {
        result.expect("it comes up");
    }
    scene.tell("up");
    half_and_half(scene.leave_and(|faulty| assert_eq!(faulty.len(), 40)).await)
}

pub(crate) async fn descriptor_limit() -> Row {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let mut scene = Scene::brisk().await;
    let usual = getrlimit(Resource::Nofile);
    let open = std::fs::read_dir("/proc/self/fd").expect("/proc").count() as u64;
    // Enough for a few children more, and not for thirty.
    let low = Rlimit { current: Some(open + 50), ..usual };
    setrlimit(Resource::Nofile, low).expect("a lower limit");
    let servers = (0..30).map(|n| fleet_server(&format!("s{n}"), &[])).collect();
    let results = scene.group.connect_many(servers, Policy::BestEffort).await;
    setrlimit(Resource::Nofile, usual).expect("the usual limit");
    let (up, failed): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
    assert!(up.len() >= 5 && failed.len() >= 5, "{} up, {} failed", up.len(), failed.len());
    let mut kinds: Vec<String> =
        failed.into_iter().map(|result| told(&result.expect_err("failed"))).collect();
    kinds.iter_mut().for_each(|kind| *kind = kind.rsplit(": ").next().unwrap_or_default().into());
    kinds.dedup();
    assert_eq!(kinds, ["Too many open files (os error 24)"]);
    scene.tell("those that find none fail with `Too many open files`, the others are up");
    for name in up.into_iter().filter_map(Result::ok).map(|info| info.name) {
        let report = scene.group.disconnect(&name).await.expect("it is connected");
        assert!(report.leave.clean, "{report:?}");
    }
    let mut row = scene.leave().await;
    // How many there are of each kind is the machine's affair.
    row.left = vec!["each that was up: clean; the others: nothing to leave".into()];
    row
}
