//! A server's description of itself, which answers the probe, if a field of the description cannot be read.

use moored_mcp::{Era, Outcome, SessionInfo};
use serde_json::{Value, json};

use crate::support::http::{Reply, Server, legacy, modern};
use crate::support::script::{INITIALIZED, NO_HANDSHAKE, say, scripted};
use crate::support::{at, brisk_group, within_limit};

const TTL: &str = "the answer to server/discover: \"ttlMs\" cannot be read and is ignored";
const CAPABILITIES: &str =
    "the answer to server/discover cannot be read: it has no \"capabilities\"";

/// A description of a modern server with one field replaced.
fn described(field: &str, value: Value) -> Value {
    let mut result = json!({
        "resultType": "complete",
        "supportedVersions": ["2026-07-28"],
        "capabilities": {"tools": {}},
        "ttlMs": 0,
        "cacheScope": "private",
    });
    match value {
        Value::Null => drop(result.as_object_mut().expect("an object").remove(field)),
        value => result[field] = value,
    }
    result
}

fn warns_of(info: &SessionInfo, text: &str) -> bool {
    info.warnings.iter().any(|it| it.starts_with(text))
}

#[tokio::test]
async fn a_modern_server_with_a_bad_field_that_nothing_depends_on_is_modern_and_warned_of() {
    within_limit(async {
        let result = described("ttlMs", json!("soon"));
        let answer = result.clone();
        let server = Server::start(move |request| match request.rpc.as_str() {
            "server/discover" => {
                Reply::json(json!({"jsonrpc": "2.0", "id": request.id, "result": answer}))
            }
            _ => modern(request),
        })
        .await;
        let stdio = scripted("s", "", &say(&format!("\"result\":{result}")), &say(NO_HANDSHAKE));
        for params in [at("h", &server.url), stdio] {
            let group = brisk_group();
            let info = group.connect(params).await.expect("it comes up");
            assert_eq!((info.era.as_deref(), info.tools), (Some("2026-07-28"), 1), "{info:?}");
            assert!(warns_of(&info, TTL), "{info:?}");
            assert!(group.close().await.all_well());
        }
    })
    .await;
}

#[tokio::test]
async fn a_description_without_capabilities_is_named_and_initialize_is_tried() {
    within_limit(async {
        let result = described("capabilities", Value::Null);
        let answer = result.clone();
        let both = Server::start(move |request| match request.rpc.as_str() {
            "server/discover" => {
                Reply::json(json!({"jsonrpc": "2.0", "id": request.id, "result": answer}))
            }
            _ => legacy(request),
        })
        .await;
        let discovers = say(&format!("\"result\":{result}"));
        let stdio = scripted("s", "", &discovers, &say(INITIALIZED));
        for params in [at("h", &both.url), stdio] {
            let group = brisk_group();
            let info = group.connect(params).await.expect("it comes up");
            assert_eq!(info.era.as_deref(), Some("2025-11-25"), "{info:?}");
            assert!(warns_of(&info, CAPABILITIES), "{info:?}");
            assert!(group.close().await.all_well());
        }
        let answer = result.clone();
        let only = Server::start(move |request| match request.rpc.as_str() {
            "server/discover" => {
                Reply::json(json!({"jsonrpc": "2.0", "id": request.id, "result": answer}))
            }
            _ => modern(request),
        })
        .await;
        let stdio = scripted("s", "", &discovers, &say(NO_HANDSHAKE));
        for params in [
            at("h", &only.url),
            stdio.clone(),
            at("h", &only.url).era(Era::Modern),
            stdio.era(Era::Modern),
        ] {
            let group = brisk_group();
            let era = params.era;
            let error = group.connect(params).await.expect_err("it has no capabilities");
            assert_eq!(error.outcome(), Outcome::ProtocolError);
            let text = error.to_string();
            assert_eq!(text.matches(CAPABILITIES).count(), 1, "{era:?}: {text}");
            assert!(group.close().await.clean);
        }
    })
    .await;
}

#[tokio::test]
async fn an_answer_to_the_probe_of_another_kind_is_told_if_initialize_is_rejected() {
    within_limit(async {
        let stdio = scripted("s", "", &say("\"result\":[1]"), &say(NO_HANDSHAKE));
        let error = brisk_group().connect(stdio).await.expect_err("it has no handshake");
        let told = "the server answered server/discover with something else";
        assert_eq!(error.to_string().matches(told).count(), 1, "{error}");
    })
    .await;
}
