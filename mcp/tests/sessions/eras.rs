//! Which era a server speaks, found out with servers that answer late, differently, or not at all.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use moored_mcp::{Delete, Era, Outcome, ServerParams, SessionGroup};
use serde_json::json;

use crate::support::http::{Reply, Request, Server, legacy, modern};
use crate::support::script::{
    DISCOVERED, INITIALIZED, NO_HANDSHAKE, NO_SUCH_METHOD, say, scripted,
};
use crate::support::{at, brisk, brisk_group, fleet_server, shell_server_with, within_limit};

const LEGACY: Option<&str> = Some("2025-11-25");
const MODERN: Option<&str> = Some("2026-07-28");
/// The time until the first answer of the slow servers in these tests.
const SLOW: Duration = Duration::from_millis(900);

/// A group that gives up its probe long before a slow server answers.
fn impatient_group() -> SessionGroup {
    SessionGroup::start(brisk().discover_timeout(Duration::from_millis(150)))
}

/// A server that answers no request until `SLOW` has passed since its first one.
async fn slow(script: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Server {
    let up = OnceLock::new();
    Server::start(move |request| {
        let up = *up.get_or_init(|| Instant::now() + SLOW);
        script(request).after(up.saturating_duration_since(Instant::now()))
    })
    .await
}

fn dual(request: &Request) -> Reply {
    if request.rpc == "initialize" { legacy(request) } else { modern(request) }
}

/// The fleet's own server, implemented with the protocol's library, with a slow start.
fn slow_fleet_server(flags: &str) -> ServerParams {
    let line = format!("sleep 0.9; exec {} fleet-server {flags}", env!("CARGO_BIN_EXE_moored-mcp"));
    crate::support::shell("slow", &line)
}

/// Connects, expects the server to come up in `era` after the probe was given up, and leaves it.
async fn comes_up_late(params: ServerParams, era: Option<&str>) {
    let group = impatient_group();
    let info = group.connect(params).await.expect("it comes up");
    assert_eq!(info.era.as_deref(), era);
    assert!(info.tools > 0, "{info:?}");
    let given_up = |text: &String| text.contains("server/discover was given up after 150ms");
    assert!(info.warnings.iter().any(given_up), "{info:?}");
    let report = group.close().await;
    assert!(report.all_well(), "{report:?}");
}

#[tokio::test]
async fn a_late_discover_result_is_taken_over_http() {
    within_limit(async {
        let server = slow(modern).await;
        comes_up_late(at("slow", &server.url), MODERN).await;
        assert_eq!(server.deletes(), 0);
    })
    .await;
}

#[tokio::test]
async fn a_slow_server_of_both_eras_is_not_downgraded_over_http() {
    within_limit(async {
        let server = slow(|request| match request.verb.as_str() {
            // The unused session is of the legacy era, so the request that ends it has to name that era, too.
            "DELETE" => match request.headers.get("mcp-protocol-version").map(String::as_str) {
                LEGACY => Reply::status(204),
                _ => Reply::status(400),
            },
            _ => dual(request),
        })
        .await;
        comes_up_late(at("slow", &server.url), MODERN).await;
        // `initialize` was sent meanwhile, and began a session that is not used.
        server.asked("DELETE s-1").await;
        assert_eq!(server.deletes(), 1, "{:?}", server.log());
    })
    .await;
}

#[tokio::test]
async fn a_slow_legacy_server_comes_up_over_http() {
    within_limit(async {
        let server = slow(legacy).await;
        comes_up_late(at("slow", &server.url), LEGACY).await;
        assert_eq!(server.deletes(), 1, "{:?}", server.log());
    })
    .await;
}

#[tokio::test]
async fn a_late_discover_result_is_taken_over_stdio() {
    within_limit(async {
        let params = scripted("slow", "sleep 0.9", &say(DISCOVERED), &say(NO_HANDSHAKE));
        comes_up_late(params, MODERN).await;
    })
    .await;
}

#[tokio::test]
async fn a_slow_server_of_both_eras_is_not_downgraded_over_stdio() {
    within_limit(async {
        let params = scripted("slow", "sleep 0.9", &say(DISCOVERED), &say(INITIALIZED));
        comes_up_late(params, MODERN).await;
        comes_up_late(slow_fleet_server("--eras all"), MODERN).await;
    })
    .await;
}

#[tokio::test]
async fn a_slow_legacy_server_comes_up_over_stdio() {
    within_limit(async {
        let params = scripted("slow", "sleep 0.9", &say(NO_SUCH_METHOD), &say(INITIALIZED));
        comes_up_late(params, LEGACY).await;
        comes_up_late(slow_fleet_server("--eras legacy"), LEGACY).await;
    })
    .await;
}

#[tokio::test]
async fn a_server_that_is_in_time_is_not_said_to_be_late() {
    within_limit(async {
        let group = SessionGroup::start(brisk().discover_timeout(Duration::from_secs(4)));
        let params = scripted("slow", "sleep 0.9", &say(DISCOVERED), &say(NO_HANDSHAKE));
        let info = group.connect(params).await.expect("it comes up");
        assert_eq!((info.era.as_deref(), info.warnings.len()), (MODERN, 0), "{info:?}");
        assert!(group.close().await.all_well());
    })
    .await;
}

#[tokio::test]
async fn a_probe_that_is_never_answered_leaves_half_of_the_attempt_to_initialize() {
    within_limit(async {
        let limits = brisk().discover_timeout(Duration::from_secs(60));
        let group = SessionGroup::start(limits.connect_timeout(Duration::from_secs(4)));
        let deaf = scripted("deaf", "", ":", &say(INITIALIZED));
        let info = group.connect(deaf).await.expect("it comes up");
        assert_eq!(info.era.as_deref(), LEGACY);
        assert!((1_900..4_000).contains(&info.connect_ms), "{info:?}");
        assert!(group.close().await.all_well());
    })
    .await;
}

#[tokio::test]
async fn an_initialize_that_is_rejected_as_modern_leads_to_the_modern_era() {
    within_limit(async {
        // The first probe is lost, as in a proxy that is still starting.
        let probes = Arc::new(AtomicUsize::new(0));
        let server = Server::start(move |request| match request.rpc.as_str() {
            "server/discover" if probes.fetch_add(1, Ordering::SeqCst) == 0 => Reply::Hang,
            _ => modern(request),
        })
        .await;
        comes_up_late(at("web", &server.url), MODERN).await;
        let probe = r#"if [ -z "$asked" ]; then asked=1; else answer '"#;
        let probe = format!("{probe}{DISCOVERED}'; fi");
        comes_up_late(scripted("child", "", &probe, &say(NO_HANDSHAKE)), MODERN).await;
    })
    .await;
}

#[tokio::test]
async fn an_initialize_that_failed_while_the_probe_was_open_is_sent_once_more() {
    within_limit(async {
        let tries = Arc::new(AtomicUsize::new(0));
        let server = Server::start(move |request| match request.rpc.as_str() {
            "server/discover" => Reply::status(404).after(SLOW),
            "initialize" if tries.fetch_add(1, Ordering::SeqCst) == 0 => Reply::status(503),
            _ => legacy(request),
        })
        .await;
        comes_up_late(at("bridge", &server.url), LEGACY).await;
        let count = |what: &str| server.log().iter().filter(|line| *line == what).count();
        assert_eq!(count("POST initialize"), 2, "{:?}", server.log());
    })
    .await;
}

#[tokio::test]
async fn an_initialize_that_fails_again_is_the_outcome_and_says_that_the_probe_was_given_up() {
    within_limit(async {
        let server = Server::start(|request| match request.rpc.as_str() {
            "server/discover" => Reply::status(404).after(SLOW),
            "initialize" => Reply::status(503).saying("not yet"),
            _ => legacy(request),
        })
        .await;
        let error = impatient_group().connect(at("bridge", &server.url)).await.expect_err("503");
        assert_eq!(error.outcome(), Outcome::UpstreamError);
        let text = error.to_string();
        assert!(text.contains("503") && text.contains("given up after 150ms"), "{text}");
        let count = |what: &str| server.log().iter().filter(|line| *line == what).count();
        assert_eq!(count("POST initialize"), 2, "{:?}", server.log());
    })
    .await;
}

#[tokio::test]
async fn a_time_out_says_that_the_probe_was_given_up() {
    within_limit(async {
        let limits = brisk().discover_timeout(Duration::from_millis(150));
        let group = SessionGroup::start(limits.connect_timeout(Duration::from_millis(500)));
        let mute = Server::start(|_| Reply::Hang).await;
        for params in [at("web", &mute.url), scripted("child", "", ":", ":")] {
            let error = group.connect(params).await.expect_err("no answer");
            assert_eq!(error.outcome(), Outcome::TimedOut);
            let text = error.to_string();
            assert!(text.contains("initialize") && text.contains("given up after"), "{text}");
        }
    })
    .await;
}

#[tokio::test]
async fn whatever_a_server_makes_of_the_probe_initialize_decides() {
    within_limit(async {
        let refusals = [
            ("an empty result", Reply::json(json!({}))),
            ("an empty object", Reply::status(200)),
            ("no MCP", Reply::status(200).with("content-type", "text/html").saying("<p>")),
            ("no JSON", Reply::status(200).with("content-type", "application/json").saying("no")),
            ("202", Reply::status(202)),
            ("204", Reply::status(204)),
            ("a closed connection", Reply::Reset),
        ];
        let statuses = [400, 401, 402, 403, 404, 405, 406, 409, 415, 422, 429, 500, 501, 502, 503];
        let statuses = statuses.map(|status| ("a status", Reply::status(status)));
        for (what, refusal) in refusals.into_iter().chain(statuses) {
            let refused = refusal.clone();
            let server = Server::start(move |request| match request.rpc.as_str() {
                "server/discover" => refused.clone(),
                _ => legacy(request),
            })
            .await;
            let group = brisk_group();
            let info = group.connect(at("old", &server.url)).await;
            let info = info.unwrap_or_else(|error| panic!("{what}, {refusal:?}: {error}"));
            assert_eq!(info.era.as_deref(), LEGACY, "{what}");
            let report = group.close().await;
            assert!(report.all_well(), "{what}: {report:?}");
            assert_eq!(server.deletes(), 1, "{what}");
        }
    })
    .await;
}

#[tokio::test]
async fn an_empty_result_to_the_probe_is_that_of_a_legacy_server_on_both_transports() {
    within_limit(async {
        let server = Server::start(|request| match request.rpc.as_str() {
            "server/discover" => {
                Reply::json(json!({"jsonrpc": "2.0", "id": request.id, "result": {}}))
            }
            _ => legacy(request),
        })
        .await;
        let group = brisk_group();
        let info = group.connect(at("web", &server.url)).await.expect("up");
        assert_eq!(info.era.as_deref(), LEGACY);
        let child = scripted("child", "", &say(r#""result":{}"#), &say(INITIALIZED));
        assert_eq!(group.connect(child).await.expect("up").era.as_deref(), LEGACY);
        assert!(group.close().await.all_well());
    })
    .await;
}

#[tokio::test]
async fn an_answer_to_the_probe_that_names_revisions_is_enough() {
    within_limit(async {
        let result = json!({"supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}});
        let bare = result.to_string();
        let server = Server::start(move |request| match request.rpc.as_str() {
            "server/discover" => {
                Reply::json(json!({"jsonrpc": "2.0", "id": request.id, "result": result}))
            }
            _ => modern(request),
        })
        .await;
        let group = brisk_group();
        let info = group.connect(at("web", &server.url)).await.expect("up");
        assert_eq!((info.era.as_deref(), info.tools), (MODERN, 1));
        let child = scripted("child", "", &say(&format!("\"result\":{bare}")), &say(NO_HANDSHAKE));
        let info = group.connect(child).await.expect("up");
        assert_eq!((info.era.as_deref(), info.tools), (MODERN, 1));
        assert!(group.close().await.all_well());
    })
    .await;
}

#[tokio::test]
async fn where_initialize_fails_too_its_cause_is_the_outcome() {
    within_limit(async {
        for (probe, initialize, outcome) in [
            (500, 401, Outcome::AuthRequired),
            (401, 500, Outcome::UpstreamError),
            (404, 403, Outcome::Forbidden),
            (401, 401, Outcome::AuthRequired),
        ] {
            let server = Server::start(move |request| match request.rpc.as_str() {
                "server/discover" => Reply::status(probe),
                _ => Reply::status(initialize).saying("the words of initialize"),
            })
            .await;
            let group = brisk_group();
            let error = group.connect(at("web", &server.url)).await.expect_err("refused");
            assert_eq!(error.outcome(), outcome);
            assert!(error.to_string().contains(&initialize.to_string()), "{error}");
            assert_eq!(server.log(), ["POST server/discover", "POST initialize"]);
        }
    })
    .await;
}

#[tokio::test]
async fn a_modern_server_whose_answer_to_the_probe_is_broken_is_told_so_by_its_error() {
    within_limit(async {
        let before = r#"
    *'"method":"server/discover"'*) say '"result":{"resultType":"complete","supportedVersions":["2026-07-28"]}' ;;
    *'"method":"initialize"'*) say '"error":{"code":-32601,"message":"no such method"}' ;;
"#;
        let group = brisk_group();
        let error = group.connect(shell_server_with("s", before, ":")).await.expect_err("no");
        assert_eq!(
            error.report().message,
            "the server rejected initialize: no such method (code -32601) (the answer to \
             server/discover cannot be read: it has no \"capabilities\")"
        );
        group.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_session_that_came_with_a_refused_probe_is_ended() {
    within_limit(async {
        for status in [200, 400, 404, 500] {
            let server = Server::start(move |request| match request.rpc.as_str() {
                "server/discover" if status == 200 => legacy(request).with("mcp-session-id", "p-1"),
                "server/discover" => Reply::status(status).with("mcp-session-id", "p-1"),
                _ => legacy(request),
            })
            .await;
            let group = brisk_group();
            group.connect(at("web", &server.url)).await.expect("up");
            let report = group.close().await;
            assert_eq!(report.servers[0].leave.delete, Delete::Terminated);
            assert!(report.all_well(), "{status}: {report:?}");
            let log = server.log();
            for id in ["s-1", "p-1"] {
                let line = format!("DELETE {id}");
                assert_eq!(log.iter().filter(|it| **it == line).count(), 1, "{status}: {log:?}");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_session_that_came_with_a_refused_probe_is_ended_where_initialize_fails_as_well() {
    within_limit(async {
        let server = Server::start(|request| match (request.verb.as_str(), request.rpc.as_str()) {
            ("POST", "server/discover") => Reply::status(400).with("mcp-session-id", "p-1"),
            ("POST", _) => Reply::status(500),
            _ => legacy(request),
        })
        .await;
        let group = brisk_group();
        group.connect(at("web", &server.url)).await.expect_err("500");
        assert_eq!(group.close().await.servers[0].leave.delete, Delete::Terminated);
        assert_eq!(server.log().last().map(String::as_str), Some("DELETE p-1"));
    })
    .await;
}

#[tokio::test]
async fn a_server_that_is_said_to_be_legacy_is_not_probed() {
    within_limit(async {
        let server = Server::start(legacy).await;
        let group = brisk_group();
        let info = group.connect(at("web", &server.url).era(Era::Legacy)).await.expect("up");
        assert_eq!(info.era.as_deref(), LEGACY);
        assert_eq!(server.log()[0], "POST initialize");
        let child = scripted("child", "", "exit 9", &say(INITIALIZED)).era(Era::Legacy);
        assert_eq!(group.connect(child).await.expect("up").era.as_deref(), LEGACY);
        let report = group.close().await;
        assert!(report.all_well(), "{report:?}");
        assert_eq!(report.servers[1].starts, 1);

        let new = scripted("new", "", &say(DISCOVERED), &say(NO_HANDSHAKE)).era(Era::Legacy);
        let error = brisk_group().connect(new).await.expect_err("it has no handshake");
        assert_eq!(error.outcome(), Outcome::ProtocolError);
        assert!(error.to_string().contains("-32022"), "{error}");
    })
    .await;
}

#[tokio::test]
async fn a_server_that_is_said_to_be_modern_gets_no_initialize() {
    within_limit(async {
        let server = Server::start(modern).await;
        let group = brisk_group();
        let info = group.connect(at("web", &server.url).era(Era::Modern)).await.expect("up");
        assert_eq!(info.era.as_deref(), MODERN);
        let child = fleet_server("child", &[]).era(Era::Modern);
        assert_eq!(group.connect(child).await.expect("up").era.as_deref(), MODERN);
        assert!(group.close().await.all_well());

        let old = Server::start(legacy).await;
        let locked = Server::start(|_| Reply::status(401)).await;
        let group = brisk_group();
        for (params, outcome, word) in [
            (at("old", &old.url), Outcome::ProtocolError, "server/discover"),
            (at("locked", &locked.url), Outcome::AuthRequired, "401"),
            (
                scripted("child", "", &say(NO_SUCH_METHOD), &say(INITIALIZED)),
                Outcome::ProtocolError,
                "server/discover",
            ),
            (scripted("exits", "", "exit 3", &say(INITIALIZED)), Outcome::Exited, "status 3"),
        ] {
            let error = group.connect(params.era(Era::Modern)).await.expect_err("not modern");
            assert_eq!(error.outcome(), outcome, "{error}");
            assert!(error.to_string().contains(word), "{error}");
        }
        assert_eq!(old.log(), ["POST server/discover"]);
        let report = group.close().await;
        assert!(report.servers.iter().all(|server| server.starts == 1), "{report:?}");
    })
    .await;
}

#[tokio::test]
async fn a_ping_before_the_session_is_up_is_answered_and_a_foreign_answer_noted() {
    within_limit(async {
        let ping = r#"printf '{"jsonrpc":"2.0","id":7,"method":"ping"}\n'; IFS= read -r pong
            case "$pong" in *'"id":7'*'"result":{}'*|*'"result":{}'*'"id":7'*) ;; *) exit 4 ;; esac"#;
        let foreign = r#"printf '{"jsonrpc":"2.0","id":99,"error":{"code":1,"message":"x"}}\n'"#;
        let initialize = format!("{ping}; {foreign}; answer '{INITIALIZED}'");
        let group = brisk_group();
        let params = scripted("child", "", &say(NO_SUCH_METHOD), &initialize);
        let info = group.connect(params).await.expect("up");
        assert!(info.warnings.iter().any(|it| it.contains("99")), "{info:?}");
        assert!(group.close().await.all_well());
    })
    .await;
}
