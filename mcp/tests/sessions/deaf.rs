//! Servers that close their input and go on: they can be sent nothing more, so they have no session.

use std::time::{Duration, Instant};

use moored_mcp::{CallError, Outcome, Restart, ServerParams, SessionGroup};

use crate::support::script::{INITIALIZED, NO_SUCH_METHOD, say, scripted};
use crate::support::{brisk, brisk_group, echo, shell, shell_server, within_limit};

const CLOSED: &str = "the server has closed its standard input";

#[tokio::test]
async fn a_child_that_closes_its_input_during_the_handshake_is_told_at_once() {
    within_limit(async {
        let sleeps = "exec 0<&-; sleep 20";
        for (what, params, starts) in [
            // The probe is in the pipe, and is never read.
            ("at first", shell("s", sleeps), 1),
            // A process that closes its input because of the probe is started once more.
            ("after the probe", scripted("s", "", sleeps, sleeps), 2),
            (
                "after initialize",
                scripted("s", "", &say(NO_SUCH_METHOD), &format!("{}; {sleeps}", say(INITIALIZED))),
                1,
            ),
        ] {
            let group = SessionGroup::start(brisk().discover_timeout(Duration::from_secs(4)));
            let began = Instant::now();
            let error = group.connect(params).await.expect_err(what);
            assert!(began.elapsed() < Duration::from_secs(6), "{what}: {:?}", began.elapsed());
            assert_eq!(error.outcome(), Outcome::ProtocolError, "{what}: {error}");
            let text = error.to_string();
            assert!(text.contains(CLOSED) || text.contains("no longer reads"), "{what}: {text}");
            assert_eq!(group.close().await.servers[0].starts, starts, "{what}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_child_that_closes_its_input_while_it_is_idle_is_lost() {
    within_limit(async {
        let group = brisk_group();
        // After the answer to the last list.
        let idle = r#"*'"method":"notifications/initialized"'*) (sleep 0.3; kill -USR1 $$) & ;;"#;
        let closes = "trap 'exec 0<&-; sleep 20' USR1";
        let params = scripted_with(closes, idle).restart(Restart::Never);
        group.connect(params).await.expect("it comes up");
        let mut events = group.events();
        let lost = crate::support::event(&mut events, |kind| match kind {
            moored_mcp::EventKind::Lost { message } => Some(message),
            _ => None,
        });
        assert_eq!(lost.await, CLOSED);
        let lost = echo(&group, "s").await;
        assert!(matches!(lost, Err(CallError::ServerGone { .. })), "{lost:?}");
        group.close().await;
    })
    .await;
}

/// A server with a preamble and a further branch.
fn scripted_with(before: &str, branch: &str) -> ServerParams {
    let server = crate::support::shell_server_with("s", branch, ":");
    let moored_mcp::Transport::Stdio(mut params) = server.transport else { unreachable!() };
    params.args[1].insert_str(0, &format!("{before}\n"));
    ServerParams::stdio("s", params)
}

#[tokio::test]
async fn a_call_that_such_a_child_has_read_still_gets_its_answer() {
    within_limit(async {
        let group = brisk_group();
        let answers = r#"exec 0<&-; sleep 2.5; say '"result":{"content":[]}'; sleep 20"#;
        group.connect(shell_server("s", answers)).await.expect("it comes up");
        echo(&group, "s").await.expect("the answer");
        let report = group.close().await;
        assert_eq!(report.servers[0].starts, 1);
    })
    .await;
}

#[tokio::test]
async fn a_call_that_such_a_child_has_not_read_fails_with_the_cause() {
    within_limit(async {
        let group = brisk_group();
        // The shell reads byte by byte, so the second call stays in the pipe.
        group.connect(shell_server("s", "sleep 0.5; exec 0<&-; sleep 20")).await.expect("up");
        let began = Instant::now();
        let both = tokio::join!(echo(&group, "s"), echo(&group, "s"));
        for lost in [both.0, both.1] {
            let Err(CallError::ServerGone { report, .. }) = &lost else { panic!("{lost:?}") };
            assert!(report.message.contains(CLOSED), "{report:?}");
        }
        assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
        group.close().await;
    })
    .await;
}
