//! Servers that choose a protocol version which this client does not speak.

use std::sync::atomic::{AtomicUsize, Ordering};

use moored_mcp::{Delete, Era, Outcome, ServerParams};
use serde_json::json;

use crate::support::http::{Reply, Request, Server, legacy, modern};
use crate::support::script::{INITIALIZED, NO_SUCH_METHOD, say, scripted};
use crate::support::{at, brisk_group, within_limit};

const UNKNOWN: [&str; 5] = ["1999-01-01", "2099-01-01", "draft", "", "2025-11-26"];

/// Connects, and expects an error that names the version.
async fn names_the_version(params: ServerParams, version: &str, delete: Delete) {
    let group = brisk_group();
    let error = group.connect(params).await.expect_err(version);
    assert_eq!(error.outcome(), Outcome::ProtocolError, "{error}");
    assert!(error.to_string().contains(&format!("{version:?}")), "{error}");
    assert!(group.list().is_empty());
    let report = group.close().await;
    assert_eq!(report.servers[0].leave.delete, delete, "{version}");
    assert!(report.clean, "{report:?}");
}

fn choosing(version: &'static str) -> impl Fn(&Request) -> Reply {
    move |request| match request.rpc.as_str() {
        "initialize" => Reply::json(json!({
            "jsonrpc": "2.0",
            "id": request.id,
            "result": {
                "protocolVersion": version,
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "scripted", "version": "1"},
            },
        }))
        .with("mcp-session-id", "s-1"),
        _ => legacy(request),
    }
}

#[tokio::test]
async fn an_unknown_version_from_initialize_is_named_and_its_session_ended() {
    within_limit(async {
        for version in UNKNOWN {
            for era in [Era::Auto, Era::Legacy] {
                let server = Server::start(choosing(version)).await;
                let params = at("web", &server.url).era(era);
                names_the_version(params, version, Delete::Terminated).await;
                assert_eq!(server.deletes(), 1, "{version}");
                let initialize = INITIALIZED.replace("2025-11-25", version);
                let child = scripted("child", "", &say(NO_SUCH_METHOD), &say(&initialize));
                names_the_version(child.era(era), version, Delete::NotApplicable).await;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn the_version_that_has_no_handshake_is_not_one_to_answer_initialize_with() {
    within_limit(async {
        let version = "2026-07-28";
        let server = Server::start(choosing(version)).await;
        names_the_version(at("web", &server.url), version, Delete::Terminated).await;
        assert_eq!(server.deletes(), 1);
        // If the server also speaks that version with `server/discover`, the modern era is used.
        let probes = AtomicUsize::new(0);
        let server = Server::start(move |request| match request.rpc.as_str() {
            "server/discover" if probes.fetch_add(1, Ordering::SeqCst) == 0 => Reply::status(503),
            "initialize" => choosing(version)(request),
            _ => modern(request),
        })
        .await;
        let group = brisk_group();
        let info = group.connect(at("web", &server.url)).await.expect("a modern server");
        assert_eq!((info.era.as_deref(), info.tools), (Some(version), 1));
        group.close().await;
        assert_eq!(server.deletes(), 1, "the session that nobody speaks in: {:?}", server.log());
    })
    .await;
}

#[tokio::test]
async fn a_version_that_is_no_text_spoils_no_other() {
    within_limit(async {
        let versions = json!(["2025-11-25", 5, null, "2026-07-28"]);
        let server = Server::start(move |request| match request.rpc.as_str() {
            "server/discover" => Reply::json(json!({
                "jsonrpc": "2.0", "id": request.id, "result": {"supportedVersions": versions, "capabilities": {}},
            })),
            _ => modern(request),
        })
        .await;
        let group = brisk_group();
        let info = group.connect(at("web", &server.url)).await.expect("a modern server");
        assert_eq!(info.era.as_deref(), Some("2026-07-28"));
        assert!(group.close().await.all_well());
    })
    .await;
}

#[tokio::test]
async fn an_unknown_version_from_the_probe_is_named() {
    within_limit(async {
        for version in UNKNOWN {
            let result = json!({
                "resultType": "complete",
                "supportedVersions": [version],
                "capabilities": {},
                "ttlMs": 0,
                "cacheScope": "private",
            });
            let error = json!({
                "code": -32022,
                "message": "Unsupported protocol version",
                "data": {"supported": [version]},
            });
            for (what, said) in [("result", result), ("error", error)] {
                let answer = said.clone();
                let server = Server::start(move |request| match request.rpc.as_str() {
                    "server/discover" => Reply::json(
                        json!({"jsonrpc": "2.0", "id": request.id, what: answer.clone()}),
                    ),
                    _ => modern(request),
                })
                .await;
                let none = Delete::NotApplicable;
                names_the_version(at("web", &server.url), version, none).await;
                let probe = say(&format!("\"{what}\":{said}"));
                let child = scripted("child", "", &probe, &say(NO_SUCH_METHOD));
                names_the_version(child, version, none).await;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn every_version_with_a_handshake_is_spoken() {
    within_limit(async {
        for version in ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"] {
            let server = Server::start(choosing(version)).await;
            let group = brisk_group();
            let info = group.connect(at("web", &server.url)).await.expect(version);
            assert_eq!(info.era.as_deref(), Some(version));
            let initialize = INITIALIZED.replace("2025-11-25", version);
            let child = scripted("child", "", &say(NO_SUCH_METHOD), &say(&initialize));
            let info = group.connect(child).await.expect(version);
            assert_eq!(info.era.as_deref(), Some(version));
            assert!(group.close().await.all_well());
        }
    })
    .await;
}

#[tokio::test]
async fn a_server_that_names_an_older_version_is_asked_for_that_one() {
    within_limit(async {
        let older = |request: &Request| {
            let asked = request.params["protocolVersion"].as_str().unwrap_or_default();
            match request.rpc.as_str() {
                "initialize" if asked != "2024-11-05" => Reply::json(json!({
                    "jsonrpc": "2.0",
                    "id": request.id,
                    "error": {
                        "code": -32602,
                        "message": "Unsupported protocol version",
                        "data": {"supported": ["2024-11-05"], "requested": asked},
                    },
                })),
                "initialize" => choosing("2024-11-05")(request),
                _ => legacy(request),
            }
        };
        let server = Server::start(older).await;
        let group = brisk_group();
        let info = group.connect(at("web", &server.url)).await.expect("up");
        assert_eq!(info.era.as_deref(), Some("2024-11-05"));
        assert!(group.close().await.all_well());
    })
    .await;
}
