//! The states of a group's sessions, read at any time.

use futures_util::FutureExt;
use moored_mcp::{EventKind, SessionStage, SessionState};
use serde_json::json;

use crate::support::http::{Reply, Server, legacy, modern};
use crate::support::script::{NO_SUCH_METHOD, say, scripted};
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

/// The description that a server gives of itself, with fields that no revision has.
fn introductions() -> [(&'static str, serde_json::Value); 2] {
    let info = json!({"name": "odd", "version": "1", "x-build": {"id": [1, null]}, "icons": []});
    let capabilities = json!({
        "tools": {"listChanged": false, "x-limits": {"calls": 7}}, "experimental": {}, "x-new": {"a": null},
    });
    let legacy = json!({
        "protocolVersion": "2025-11-25", "capabilities": capabilities, "serverInfo": info, "x-top": [true],
        "_meta": {"m": 1.5},
    });
    let modern = json!({
        "resultType": "complete", "supportedVersions": ["2026-07-28"], "capabilities": capabilities,
        "ttlMs": 0, "cacheScope": "private", "x-top": [true],
        "_meta": {"io.modelcontextprotocol/serverInfo": info, "m": 1.5},
    });
    [("initialize", legacy), ("server/discover", modern)]
}

#[tokio::test]
async fn a_server_is_described_exactly_as_it_has_described_itself_in_both_eras_and_on_both_transports()
 {
    within_limit(async {
        for (method, result) in introductions() {
            let said = result.clone();
            let server = Server::start(move |request| match request.rpc.as_str() {
                rpc if rpc == method => {
                    Reply::json(json!({"jsonrpc": "2.0", "id": request.id, "result": said.clone()}))
                }
                _ if method == "initialize" => legacy(request),
                _ => modern(request),
            })
            .await;
            let answer = say(&format!(r#""result":{result}"#));
            let child = match method {
                "initialize" => scripted("child", "", &say(NO_SUCH_METHOD), &answer),
                _ => scripted("child", "", &answer, &say(NO_SUCH_METHOD)),
            };
            let group = brisk_group();
            group.connect(at("web", &server.url)).await.expect("up");
            group.connect(child).await.expect("up");
            for session in group.sessions() {
                let info = if method == "initialize" {
                    &result["serverInfo"]
                } else {
                    &result["_meta"]["io.modelcontextprotocol/serverInfo"]
                };
                let name = &session.name;
                assert_eq!(json!(session.server), *info, "{name}");
                assert_eq!(json!(session.capabilities), result["capabilities"], "{name}");
                assert_eq!(json!(session.introduction), result, "{name}");
            }
            let report = group.close().await;
            assert_eq!(report.servers[0].server, report.servers[1].server);
            assert_eq!(
                report.servers[0].server.as_ref().expect("it came up")["x-build"]["id"][0],
                1
            );
        }
    })
    .await;
}

#[tokio::test]
async fn the_report_has_the_phases_of_each_attempt_to_connect() {
    use moored_mcp::ConnectPhase::{Initialize, List, Probe, Start};
    within_limit(async {
        let server = Server::start(legacy).await;
        let group = brisk_group();
        group.connect(at("web", &server.url)).await.expect("up");
        group.connect(fleet_server("child", &[])).await.expect("up");
        // It exits on the probe and is started again without one.
        let shy = scripted("shy", "", "exit 0", &say(crate::support::script::INITIALIZED));
        group.connect(shy).await.expect("up at the second start");
        group.connect(at("gone", "http://127.0.0.1:1/mcp")).await.expect_err("refused");
        let report = group.close().await;
        let phases = |at: usize| -> Vec<Vec<_>> {
            let attempts = report.servers[at].attempts.iter();
            let phases = attempts.map(|it| it.phases.iter().map(|phase| phase.phase).collect());
            phases.collect()
        };
        assert_eq!(phases(0), [vec![Probe, Initialize, List]]);
        assert_eq!(phases(1), [vec![Start, Probe, List]]);
        assert_eq!(phases(2), [vec![Start, Probe], vec![Start, Initialize, List]]);
        assert_eq!(phases(3)[0].first(), Some(&Probe));
        for server in &report.servers {
            assert_eq!(server.attempts.len(), usize::try_from(server.starts).expect("few"));
            for attempt in &server.attempts {
                let sum: u64 = attempt.phases.iter().map(|phase| phase.ms).sum();
                assert!(sum <= attempt.ms, "{attempt:?}");
            }
        }
        assert!(report.servers[0].attempts[0].ms <= report.servers[0].connect_ms.expect("one"));
    })
    .await;
}
