//! The states of a group's sessions, read at any time.

use futures_util::FutureExt;
use moored_mcp::{EventKind, SessionStage, SessionState};
use serde_json::json;

use crate::support::http::{Reply, Server, legacy};
use crate::support::{at, brisk_group, fleet_server, shell_server, within_limit};

#[tokio::test]
async fn a_session_tells_what_it_is_at_every_stage() {
    within_limit(async {
        let server = Server::start(|request| match request.rpc.as_str() {
            "initialize" => Reply::json(json!({"jsonrpc": "2.0", "id": request.id, "result": {
                "protocolVersion": "2025-11-25",
                "capabilities": {"tools": {"listChanged": true}, "logging": {}},
                "serverInfo": {"name": "scripted", "version": "1", "title": "The Scripted"},
                "instructions": "Ask for an echo.",
            }})),
            _ => legacy(request),
        })
        .await;
        let group = brisk_group();
        let connecting = group.connect(at("s", &server.url));
        tokio::pin!(connecting);
        // Polled once: the session has its place in the group, and its owner has not run yet.
        assert!(connecting.as_mut().now_or_never().is_none());
        let before = &group.sessions()[0];
        assert_eq!((before.stage, before.starts), (SessionStage::Connecting, 0));
        connecting.await.expect("up");
        let up = group.sessions().remove(0);
        assert_eq!((up.index, up.name.as_str(), up.stage), (0, "s", SessionStage::Up));
        assert_eq!(up.era.as_deref(), Some("2025-11-25"));
        assert_eq!(up.instructions.as_deref(), Some("Ask for an echo."));
        assert_eq!(up.server.as_ref().expect("it said")["title"], "The Scripted");
        assert_eq!(up.capabilities["tools"]["listChanged"], true);
        assert_eq!((up.tools, up.starts, &up.error), (1, 1, &None));
        assert!(up.since_unix_ms >= before.since_unix_ms);
        let text = serde_json::to_string(&up).expect("JSON");
        assert_eq!(serde_json::from_str::<SessionState>(&text).expect("the same"), up);

        group.disconnect("s").await.expect("it was up");
        let left = &group.sessions()[0];
        assert_eq!((left.stage, left.tools), (SessionStage::Left, 0));
        assert_eq!(left.instructions.as_deref(), Some("Ask for an echo."));
        assert!(group.close().await.all_well());
    })
    .await;
}

#[tokio::test]
async fn a_session_that_failed_or_was_lost_tells_why() {
    within_limit(async {
        let group = brisk_group();
        group.connect(at("refused", "http://127.0.0.1:1/mcp")).await.expect_err("refused");
        let flags = ["--exit-code", "7", "--exit-at", "call"];
        group.connect(fleet_server("frail", &flags)).await.expect("up");
        crate::support::echo(&group, "frail").await.expect_err("it exits");
        let sessions = group.sessions();
        let why = |at: usize| sessions[at].error.clone().expect("a reason").chain.join(": ");
        assert!(why(0).contains("Connection refused"), "{}", why(0));
        assert!(why(1).contains("status 7"), "{}", why(1));
        group.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_warning_of_a_running_server_is_told_and_stands_in_its_state() {
    within_limit(async {
        let group = brisk_group();
        let mut events = group.events();
        let noisy = shell_server("noisy", r#"echo "ahoy!"; say '"result":{"content":[]}'"#);
        group.connect(noisy).await.expect("up");
        assert!(group.sessions()[0].warnings.is_empty());
        crate::support::echo(&group, "noisy").await.expect("an answer");
        let told = crate::support::event(&mut events, |kind| match kind {
            EventKind::Warning { message } => Some(message),
            _ => None,
        })
        .await;
        assert!(told.contains("ahoy!"), "{told}");
        assert_eq!(group.sessions()[0].warnings, [told]);
        let report = group.close().await;
        assert_eq!(report.servers[0].warnings.len(), 1);
    })
    .await;
}
