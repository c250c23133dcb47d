//! Servers that require authorisation: headers for each request, one refresh, OAuth; and no secret is shown.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use moored_mcp::{
    CallError, CallOptions, HeadersWanted, HttpParams, Outcome, ServerParams, SessionGroup,
};
use parking_lot::Mutex;
use serde_json::Map;

use crate::support::http::{Reply, Request, Server, legacy};
use crate::support::{brisk, echo, within_limit};

const SECRET: &str = "s3cr3t-token";

fn bearer(token: impl std::fmt::Display) -> BTreeMap<String, String> {
    BTreeMap::from([("Authorization".to_owned(), format!("Bearer {token}"))])
}

fn server(params: HttpParams) -> ServerParams {
    ServerParams::http("s", params)
}

#[tokio::test]
async fn each_request_has_headers_of_its_own() {
    within_limit(async {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let seeing = seen.clone();
        let server_ = Server::start(move |request: &Request| {
            seeing.lock().push((request.verb.clone(), request.headers["authorization"].clone()));
            legacy(request)
        })
        .await;
        let count = Arc::new(AtomicU32::new(0));
        let params = HttpParams::new(&server_.url).headers_from(move |_| {
            let headers = bearer(count.fetch_add(1, Ordering::Relaxed));
            std::future::ready(Ok::<_, std::io::Error>(headers))
        });
        let group = SessionGroup::start(brisk());
        group.connect(server(params)).await.expect("up");
        echo(&group, "s").await.expect("an answer");
        assert!(group.close().await.all_well());
        let seen = seen.lock();
        let mut values: Vec<_> = seen.iter().map(|(_, value)| value.clone()).collect();
        let all = values.len();
        values.sort();
        values.dedup();
        assert_eq!(values.len(), all, "{seen:?}");
        for verb in ["POST", "GET", "DELETE"] {
            assert!(seen.iter().any(|(it, _)| it == verb), "{verb}: {seen:?}");
        }
    })
    .await;
}

/// A server that accepts one token at a time, and repeats any other one in its refusal.
async fn strict(valid: Arc<Mutex<String>>) -> Server {
    Server::start(move |request: &Request| {
        let given = request.headers.get("authorization").cloned().unwrap_or_default();
        if given == format!("Bearer {}", valid.lock()) {
            return legacy(request);
        }
        Reply::status(401)
            .with("www-authenticate", &format!("Bearer error=\"invalid_token\", got=\"{given}\""))
            .saying(format!("your {given} is worth nothing"))
    })
    .await
}

#[tokio::test]
async fn a_refusal_in_the_middle_renews_once_and_then_fails_as_what_it_is() {
    within_limit(async {
        let valid = Arc::new(Mutex::new("token-1".to_owned()));
        let server_ = strict(valid.clone()).await;
        let (number, refusals) = (Arc::new(AtomicU32::new(1)), Arc::new(AtomicU32::new(0)));
        let params = HttpParams::new(&server_.url).headers_from({
            let (number, refusals) = (number.clone(), refusals.clone());
            move |wanted: HeadersWanted| {
                if let Some(refused) = wanted.refused {
                    assert_eq!(
                        (refused.status, refused.before, refused.connecting),
                        (401, 0, false)
                    );
                    assert!(refused.challenges[0].contains("invalid_token"), "{refused:?}");
                    assert!(!format!("{refused:?}").contains("token-1"), "{refused:?}");
                    refusals.fetch_add(1, Ordering::Relaxed);
                    number.fetch_add(1, Ordering::Relaxed);
                }
                let token = format!("token-{}", number.load(Ordering::Relaxed));
                std::future::ready(Ok::<_, std::io::Error>(bearer(token)))
            }
        });
        let group = SessionGroup::start(brisk());
        group.connect(server(params)).await.expect("up");
        *valid.lock() = "token-2".to_owned();
        echo(&group, "s").await.expect("renewed");
        assert_eq!(refusals.load(Ordering::Relaxed), 1);
        *valid.lock() = "another-one".to_owned();
        let refused = echo(&group, "s").await.expect_err("nothing helps");
        assert_eq!(refused.outcome(), Some(Outcome::AuthRequired), "{refused}");
        assert_eq!(refusals.load(Ordering::Relaxed), 2, "once for each request");
        let shown = format!("{refused} {refused:?}");
        assert!(!shown.contains("token-2") && !shown.contains("token-3"), "{shown}");
        assert!(shown.contains("is worth nothing"), "the server's words: {shown}");
        *valid.lock() = "token-3".to_owned();
        echo(&group, "s").await.expect("the session stands");
        assert!(group.close().await.all_well());
    })
    .await;
}

#[tokio::test]
async fn the_end_of_a_failed_attempt_does_not_count_as_connecting() {
    within_limit(async {
        let server_ = Server::start(|request: &Request| match request.rpc.as_str() {
            "server/discover" | "initialize" => legacy(request),
            _ => Reply::status(401).with("www-authenticate", "Bearer"),
        })
        .await;
        let refusals = Arc::new(Mutex::new(Vec::new()));
        let refused = refusals.clone();
        let params = HttpParams::new(&server_.url).headers_from(move |wanted: HeadersWanted| {
            refused.lock().extend(wanted.refused.map(|refused| refused.connecting));
            std::future::ready(Ok::<_, std::io::Error>(bearer("token")))
        });
        let group = SessionGroup::start(brisk());
        let error = group.connect(server(params)).await.expect_err("refused");
        assert_eq!(error.outcome(), Outcome::AuthRequired, "{error}");
        assert_eq!(server_.deletes(), 1, "{:?}", server_.log());
        // Of notifications/initialized, then of the DELETE: a user must not be asked to log in for that one.
        assert_eq!(*refusals.lock(), [true, false]);
        group.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_provider_that_fails_or_panics_is_the_cause() {
    within_limit(async {
        let server_ = Server::start(legacy).await;
        let failing = HttpParams::new(&server_.url).headers_from(async |_| {
            Err::<BTreeMap<_, _>, _>(std::io::Error::other("the vault is shut"))
        });
        let panicking = HttpParams::new(&server_.url).headers_from(
            |_| -> std::future::Ready<std::io::Result<BTreeMap<String, String>>> {
                panic!("no vault")
            },
        );
        let silent = bearer("a\nb");
        let unsendable = HttpParams::new(&server_.url)
            .headers_from(move |_| std::future::ready(Ok::<_, std::io::Error>(silent.clone())));
        for (params, word) in [
            (failing, "the vault is shut"),
            (panicking, "provider panicked"),
            (unsendable, "\"Authorization\""),
        ] {
            let group = SessionGroup::start(brisk());
            let error = group.connect(server(params)).await.expect_err("no headers");
            let chain = error.report().chain.join(": ");
            assert!(chain.contains(word), "{chain}");
            assert!(group.close().await.clean);
        }
        assert_eq!(server_.log(), [""; 0], "nothing was sent without them");
    })
    .await;
}

#[tokio::test]
async fn a_token_that_a_provider_repeats_in_its_error_is_hidden() {
    within_limit(async {
        let server_ = Server::start(legacy).await;
        let is_up = Arc::new(AtomicBool::new(false));
        let fails = is_up.clone();
        let params = HttpParams::new(&server_.url).headers_from(move |_| {
            std::future::ready(match fails.load(Ordering::Relaxed) {
                true => Err(std::io::Error::other(format!("cannot renew {SECRET}"))),
                false => Ok(bearer(SECRET)),
            })
        });
        let group = SessionGroup::start(brisk());
        group.connect(server(params)).await.expect("up");
        is_up.store(true, Ordering::Relaxed);
        let error = echo(&group, "s").await.expect_err("no headers");
        let text = format!("{error:?} {:?}", group.close().await);
        assert!(text.contains("cannot renew (hidden)") && !text.contains(SECRET), "{text}");
    })
    .await;
}

#[tokio::test]
async fn a_provider_that_hangs_does_not_hold_up_the_close() {
    within_limit(async {
        let server_ = Server::start(legacy).await;
        let hangs = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let hanging = hangs.clone();
        let params = HttpParams::new(&server_.url).headers_from(move |_| {
            let hangs = hanging.load(Ordering::Relaxed);
            async move {
                if hangs {
                    std::future::pending::<()>().await;
                }
                Ok::<_, std::io::Error>(bearer(SECRET))
            }
        });
        let group = SessionGroup::start(brisk());
        group.connect(server(params)).await.expect("up");
        hangs.store(true, Ordering::Relaxed);
        let options = CallOptions::timeout(std::time::Duration::from_millis(50));
        let late = group.call_tool("s/echo", Map::new(), options).await;
        assert!(matches!(late, Err(CallError::TimedOut { .. })), "{late:?}");
        let began = std::time::Instant::now();
        let report = group.close().await;
        assert!(began.elapsed() < std::time::Duration::from_millis(2_600), "the budget");
        assert_eq!(report.servers[0].leave.delete, moored_mcp::Delete::TimedOut);
    })
    .await;
}

#[tokio::test]
async fn a_secret_is_in_no_debug_and_in_no_address() {
    let mut params = HttpParams::new(format!("https://me:{SECRET}@host.example/mcp?key={SECRET}"));
    params.headers.insert("X-Key".into(), SECRET.into());
    let server_ = server(params.headers_from(async |_| Ok::<_, std::io::Error>(bearer(SECRET))));
    let shown = format!("{server_:?} {:#?} {}", server_, server_.endpoint());
    assert!(!shown.contains(SECRET), "{shown}");
    assert!(shown.contains("host.example"));
}

#[cfg(feature = "auth")]
mod oauth;
