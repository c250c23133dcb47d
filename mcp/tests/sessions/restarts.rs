//! Servers that are started again after their sessions were lost.

use std::time::Duration;

use moored_mcp::{
    Backoff, CallError, Event, EventKind, Names, Outcome, Restart, ServerParams, SessionGroup,
    SessionStage,
};
use tokio::sync::broadcast::Receiver;

use crate::support::http::{Reply, Server, legacy};
use crate::support::{at, brisk, brisk_group, echo, event, shell, shell_server, within_limit};

fn quick(tries: u32) -> Backoff {
    Backoff::new(Duration::from_millis(20), Duration::from_millis(100)).tries(tries)
}

fn dies(server: ServerParams, tries: u32) -> ServerParams {
    server.restart(Restart::OnFailure(quick(tries)))
}

async fn up(events: &mut Receiver<Event>) {
    event(events, |kind| matches!(kind, EventKind::Up(_)).then_some(())).await;
}

/// The steps of a session so far, without its warnings.
fn steps(events: &mut Receiver<Event>) -> Vec<&'static str> {
    let mut steps = Vec::new();
    while let Ok(event) = events.try_recv() {
        steps.push(match event.kind {
            EventKind::Connecting => "connecting",
            EventKind::Up(_) => "up",
            EventKind::Lost { .. } => "lost",
            EventKind::Failed { .. } => "failed",
            EventKind::Restarting { .. } => "restarting",
            EventKind::Closing => "closing",
            EventKind::Left(_) => "left",
            _ => continue,
        });
    }
    steps
}

#[tokio::test]
async fn a_child_that_dies_in_a_call_comes_back_with_its_components() {
    within_limit(async {
        let group = brisk_group();
        let mut events = group.events();
        group.connect(dies(shell_server("s", "exit 7"), 5)).await.expect("up");
        up(&mut events).await;
        let lost = echo(&group, "s").await;
        let Err(CallError::ServerGone { report, .. }) = &lost else { panic!("{lost:?}") };
        assert!(report.message.contains("status 7"), "{report:?}");
        up(&mut events).await;
        assert_eq!(group.list().len(), 1);
        let state = &group.sessions()[0];
        assert_eq!((state.stage, state.starts, &state.error), (SessionStage::Up, 2, &None));
        let report = group.close().await;
        assert!(report.all_well(), "{report:?}");
        assert_eq!(report.servers[0].starts, 2);
        let why = report.servers[0].attempts.iter().map(|it| it.restarted_because.as_deref());
        let [Some(first), None] = why.collect::<Vec<_>>()[..] else { panic!("{report:?}") };
        assert!(first.contains("status 7"), "{first}");
    })
    .await;
}

#[tokio::test]
async fn a_session_that_is_down_fails_calls_at_once_with_the_cause_and_keeps_its_names() {
    within_limit(async {
        let bare = Names::by(|_, _, name| name.to_owned());
        let group = SessionGroup::start(brisk().names(bare));
        let mut events = group.events();
        let slow = Backoff::new(Duration::from_secs(60), Duration::from_secs(60));
        let server = shell_server("s", "exit 7").restart(Restart::OnFailure(slow));
        group.connect(server).await.expect("up");
        echo(&group, "s").await.expect_err("it exits");
        event(&mut events, |kind| matches!(kind, EventKind::Restarting { .. }).then_some(())).await;
        for name in ["echo", "s/echo"] {
            let gone = group.call_tool(name, Default::default(), Default::default()).await;
            let Err(CallError::ServerGone { report, .. }) = &gone else { panic!("{gone:?}") };
            assert!(report.message.contains("status 7"), "{report:?}");
        }
        assert!(group.list().is_empty());
        let state = &group.sessions()[0];
        assert_eq!(state.stage, SessionStage::Restarting);
        assert!(state.error.as_ref().expect("the cause").message.contains("status 7"));
        let other = group.connect(shell_server("other", "exit 7")).await.expect_err("it is taken");
        assert_eq!(other.outcome(), Outcome::DuplicateName);

        // Leaving ends the pause, and the cause is in the report.
        let report = group.disconnect("s").await.expect("it has its name");
        assert_eq!((report.outcome, report.starts), (Outcome::Exited, 1));
        assert!(group.close().await.clean);
    })
    .await;
}

#[tokio::test]
async fn after_too_many_restarts_in_a_row_the_session_is_left_with_the_last_cause() {
    within_limit(async {
        let folder = tempfile::tempdir().expect("a folder");
        let flag = folder.path().join("once").display().to_string();
        // The server comes up once, and exits with 9 at every later start.
        let script = format!("test -e {flag} && exit 9; touch {flag};");
        let server = shell_server("s", "exit 7");
        let moored_mcp::Transport::Stdio(params) = &server.transport else { panic!("a child") };
        let server = dies(shell("s", &format!("{script}{}", params.args[1])), 3);
        let group = brisk_group();
        let mut events = group.events();
        group.connect(server).await.expect("up");
        echo(&group, "s").await.expect_err("it exits");
        let report = event(&mut events, |kind| match kind {
            EventKind::Left(report) => Some(report),
            _ => None,
        })
        .await;
        assert_eq!((report.outcome, report.starts, report.tools), (Outcome::Exited, 4, 1));
        let message = &report.error.as_ref().expect("a cause").message;
        assert!(message.contains("status 9"), "{message}");
        assert!(group.close().await.clean);
    })
    .await;
}

#[tokio::test]
async fn each_restart_is_an_event() {
    within_limit(async {
        let group = brisk_group();
        let (mut events, mut all) = (group.events(), group.events());
        group.connect(dies(shell_server("s", "exit 7"), 5)).await.expect("up");
        up(&mut events).await;
        echo(&group, "s").await.expect_err("it exits");
        up(&mut events).await;
        group.close().await;
        let told = steps(&mut all);
        let right =
            ["connecting", "up", "lost", "restarting", "connecting", "up", "closing", "left"];
        assert_eq!(told, right);
    })
    .await;
}

#[tokio::test]
async fn an_exit_with_status_0_is_no_failure_and_always_means_always() {
    within_limit(async {
        let group = brisk_group();
        let mut events = group.events();
        group.connect(dies(shell_server("failure", "exit 0"), 5)).await.expect("up");
        let always = shell_server("always", "exit 0").restart(Restart::Always(quick(5)));
        group.connect(always).await.expect("up");
        up(&mut events).await;
        up(&mut events).await;
        for server in ["failure", "always"] {
            echo(&group, server).await.expect_err("it exits");
        }
        up(&mut events).await;
        let report = group.close().await;
        let starts: Vec<_> = report.servers.iter().map(|server| server.starts).collect();
        assert_eq!(starts, [1, 2], "{report:?}");
    })
    .await;
}

#[tokio::test]
async fn a_close_in_every_phase_of_a_restart_ends_it() {
    within_limit(async {
        // The second start answers nothing, so that the close comes while it is starting.
        let folder = tempfile::tempdir().expect("a folder");
        let flag = folder.path().join("once").display().to_string();
        let script =
            format!("test -e {flag} && {{ touch {flag}-2; exec sleep 60; }}; touch {flag};");
        let server = shell_server("s", "exit 7");
        let moored_mcp::Transport::Stdio(params) = &server.transport else { panic!("a child") };
        let server = dies(shell("s", &format!("{script}{}", params.args[1])), 3);
        let group = brisk_group();
        group.connect(server).await.expect("up");
        echo(&group, "s").await.expect_err("it exits");
        let second = std::path::PathBuf::from(format!("{flag}-2"));
        crate::support::until(|| second.exists()).await;
        let report = group.close().await;
        let server = &report.servers[0];
        assert_eq!((server.outcome, server.starts), (Outcome::Exited, 2), "{report:?}");
        assert!(server.error.as_ref().expect("the cause").message.contains("status 7"));
        assert!(server.leave.survivors.is_empty());
    })
    .await;
}

#[tokio::test]
async fn an_http_session_that_cannot_be_begun_anew_is_lost_and_comes_back() {
    within_limit(async {
        use std::sync::atomic::{AtomicUsize, Ordering};
        static INITIALIZED: AtomicUsize = AtomicUsize::new(0);
        let server = Server::start(|request| match request.rpc.as_str() {
            // The session is forgotten after the first one, and the second `initialize` is refused.
            "initialize" if INITIALIZED.fetch_add(1, Ordering::Relaxed) == 1 => Reply::status(503),
            "tools/call" if INITIALIZED.load(Ordering::Relaxed) < 3 => Reply::status(404),
            _ => legacy(request),
        })
        .await;
        let group = brisk_group();
        let mut events = group.events();
        group.connect(dies(at("s", &server.url), 5)).await.expect("up");
        up(&mut events).await;
        let lost = echo(&group, "s").await.expect_err("the session is lost");
        assert!(lost.to_string().contains("503"), "{lost}");
        up(&mut events).await;
        echo(&group, "s").await.expect("an answer, in another session");
        let report = group.close().await;
        assert!(report.all_well(), "{report:?}");
        assert_eq!(report.servers[0].starts, 2);
    })
    .await;
}

#[tokio::test]
async fn a_server_without_a_policy_is_left_and_an_attempt_that_fails_is_not_repeated() {
    within_limit(async {
        let group = brisk_group();
        group.connect(shell_server("s", "exit 7")).await.expect("up");
        echo(&group, "s").await.expect_err("it exits");
        group.connect(dies(shell("t", "exit 7"), 5)).await.expect_err("it exits");
        let report = group.close().await;
        assert!(report.servers.iter().all(|server| server.starts == 1), "{report:?}");
    })
    .await;
}

/// The names of the first start belong to nobody any more, unless the second one has them too.
#[tokio::test]
async fn a_server_that_comes_back_with_other_tools_has_those_alone() {
    within_limit(async {
        let place = tempfile::tempdir().expect("a place");
        let mark = place.path().join("started").display().to_string();
        let lists = format!(
            r#"*'"method":"tools/list"'*) if [ -e {mark} ]; then kept=integer; name=new; else kept=string; name=old; : >{mark}; fi
            say "\"result\":{{\"tools\":[{{\"name\":\"$name\",\"inputSchema\":{{\"type\":\"object\"}}}},{{\"name\":\"kept\",\"inputSchema\":{{\"type\":\"object\",\"properties\":{{\"a\":{{\"type\":\"$kept\"}}}}}}}}]}}" ;;"#
        );
        let group = brisk_group();
        let mut events = group.events();
        let server = crate::support::shell_server_with("s", &lists, "exit 7");
        group.connect(dies(server, 5)).await.expect("up");
        up(&mut events).await;
        let call = |tool: &'static str| group.call_tool(tool, Default::default(), Default::default());
        let schema = || {
            let all = group.list();
            let kept = all.iter().find(|it| it.wire == "kept").expect("it is there");
            kept.raw["inputSchema"]["properties"]["a"]["type"].clone()
        };
        assert_eq!(schema(), "string");
        call("s/old").await.expect_err("it dies");
        up(&mut events).await;
        let names: Vec<_> = group.list().into_iter().map(|it| it.wire).collect();
        assert_eq!(names, ["new", "kept"]);
        assert_eq!(schema(), "integer");
        let gone = call("s/old").await;
        assert!(matches!(gone, Err(CallError::UnknownTool(_))), "{gone:?}");
        assert!(group.close().await.clean);
    })
    .await;
}
