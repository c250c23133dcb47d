//! Logins: by a user, by the program itself, and those that fail.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use moored_mcp::{HttpParams, OAuth, Outcome, SessionGroup};

use super::super::{SECRET, server};
use super::authority::{Authority, CODE, State, form};
use crate::support::http::{Reply, Request, Server};
use crate::support::{brisk, echo, within_limit};

#[tokio::test]
async fn a_user_logs_in_once_and_the_token_is_refreshed_once() {
    within_limit(async {
        let authority = Authority::start().await;
        let group = authority.up(authority.user()).await;
        assert_eq!(authority.state().grants, ["authorization_code"]);
        // The token is revoked while both calls are sent; they share one refresh.
        authority.revoke();
        let (one, two) = tokio::join!(echo(&group, "s"), echo(&group, "s"));
        one.and(two).expect("refreshed");
        assert_eq!(authority.state().grants, ["authorization_code", "refresh_token"]);
        // No token can be got any more, and a connected session starts no login.
        authority.forget();
        let refused = echo(&group, "s").await.expect_err("refused");
        assert_eq!(refused.outcome(), Some(Outcome::AuthRequired), "{refused}");
        assert!(!format!("{refused} {refused:?}").contains(SECRET));
        assert_eq!(authority.logins(), 1, "one login");
        authority.state().valid = format!("{SECRET}-2");
        assert!(group.close().await.all_well());
    })
    .await;
}

/// A user who closes the window after this time; `logins` counts the windows.
fn closed_window(logins: &Arc<AtomicU32>, after: Duration) -> OAuth {
    let logins = logins.clone();
    OAuth::user("http://127.0.0.1/callback", move |_| {
        logins.fetch_add(1, Ordering::Relaxed);
        async move {
            tokio::time::sleep(after).await;
            Err::<String, _>(io::Error::other("the window was closed"))
        }
    })
}

#[tokio::test]
async fn a_login_that_fails_is_the_cause_and_nobody_is_asked_twice() {
    within_limit(async {
        let authority = Authority::start().await;
        let logins = Arc::new(AtomicU32::new(0));
        let shut = closed_window(&logins, Duration::ZERO);
        let (group, connected) = authority.connect(shut).await;
        let error = connected.expect_err("nobody logged in");
        assert_eq!(error.outcome(), Outcome::AuthRequired);
        let chain = error.report().chain.join(": ");
        assert!(chain.ends_with("the window was closed"), "{chain}");
        assert_eq!(logins.load(Ordering::Relaxed), 1);
        assert!(group.close().await.clean);
    })
    .await;
}

/// The probe is given up while the user still logs in, and `initialize` is sent beside it.
#[tokio::test]
async fn a_login_that_fails_late_is_the_cause_and_nobody_is_asked_twice() {
    within_limit(async {
        let authority = Authority::start().await;
        let logins = Arc::new(AtomicU32::new(0));
        let params = authority.params(closed_window(&logins, Duration::from_millis(400)));
        let group = SessionGroup::start(brisk().discover_timeout(Duration::from_millis(50)));
        let error = group.connect(server(params)).await.expect_err("nobody logged in");
        assert_eq!(error.outcome(), Outcome::AuthRequired);
        let chain = error.report().chain.join(": ");
        assert!(chain.ends_with("the window was closed"), "{chain}");
        assert!(group.close().await.clean);
        assert_eq!(logins.load(Ordering::Relaxed), 1);
    })
    .await;
}

/// A server that refuses the very token of the login.
#[tokio::test]
async fn a_login_whose_token_is_refused_is_not_repeated() {
    within_limit(async {
        let authority =
            Authority::start_as(State { refuses_all: true, no_refresh: true, ..State::default() })
                .await;
        let (group, connected) = authority.connect(authority.user()).await;
        let error = connected.expect_err("refused");
        assert_eq!(error.outcome(), Outcome::AuthRequired);
        assert!(error.to_string().contains("HTTP 401"), "{error}");
        assert_eq!(authority.logins(), 1, "one login");
        assert!(group.close().await.clean);
    })
    .await;
}

/// As when the server changes its authority: the first login was not in vain.
#[tokio::test]
async fn a_token_that_was_accepted_and_is_revoked_in_the_same_attempt_is_followed_by_a_login() {
    within_limit(async {
        let authority = Authority::start_as(State {
            revokes_at: Some("tools/list"),
            no_refresh: true,
            ..State::default()
        })
        .await;
        let (group, connected) = authority.connect(authority.user()).await;
        let info = connected.expect("logged in twice");
        assert_eq!((info.tools, &info.list_error), (1, &None));
        assert_eq!(authority.logins(), 2);
        assert!(group.close().await.all_well());
    })
    .await;
}

#[tokio::test]
async fn a_code_that_came_to_another_address_is_not_used() {
    within_limit(async {
        let authority = Authority::start().await;
        for (redirect, back, is_it) in [
            ("http://127.0.0.1:8000/callback", "http://127.0.0.1:8000/callback?", true),
            ("http://127.0.0.1:80/callback", "http://127.0.0.1/callback?", true),
            ("http://127.0.0.1:8000", "http://127.0.0.1:8000/?", true),
            ("http://127.0.0.1:8000/callback", "http://127.0.0.1:8000/callback/x?", false),
            ("http://127.0.0.1:8000/callback", "http://127.0.0.1:8001/callback?", false),
            ("http://127.0.0.1:8000/callback", "http://localhost:8000/callback?", false),
            ("http://127.0.0.1:8000/callback", "https://127.0.0.1:8000/callback?", false),
            (
                "http://127.0.0.1:8000/callback",
                "http://me:c0de-secret@evil.example/callback?",
                false,
            ),
            ("http://127.0.0.1:8000/callback", "/callback?", false),
        ] {
            authority.state().grants.clear();
            let oauth = OAuth::user(redirect, move |url: String| {
                let url = reqwest::Url::parse(&url).expect("an address");
                let csrf = form(url.query().unwrap_or_default(), "state");
                let back = format!("{back}code={CODE}&state={csrf}");
                std::future::ready(Ok::<_, io::Error>(back))
            });
            let (group, result) = authority.connect(oauth).await;
            if is_it {
                result.expect(back);
            } else {
                let error = result.expect_err(back);
                assert_eq!(error.outcome(), Outcome::AuthRequired);
                let chain = error.report().chain.join(": ");
                assert!(chain.contains("the user was sent back to"), "{chain}");
                assert!(!chain.contains(CODE), "{chain}");
                assert_eq!(authority.state().grants, [""; 0], "{back}");
            }
            group.close().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_login_that_the_authority_refuses_is_told_in_its_words() {
    within_limit(async {
        let authority = Authority::start().await;
        let denied = OAuth::user("http://127.0.0.1/callback", async |_| {
            let why = "error=access_denied&error_description=not+this+user&state=x";
            Ok::<_, io::Error>(format!("http://127.0.0.1/callback?{why}"))
        });
        let (group, connected) = authority.connect(denied).await;
        let error = connected.expect_err("refused");
        assert_eq!(error.outcome(), Outcome::AuthRequired);
        let chain = error.report().chain.join(": ");
        assert!(chain.ends_with("access_denied: not this user"), "{chain}");
        assert_eq!(authority.state().grants, [""; 0]);
        assert!(group.close().await.clean);
    })
    .await;
}

#[tokio::test]
async fn the_challenge_for_a_token_is_found_behind_another_one() {
    within_limit(async {
        for challenge in [
            "Basic realm=\"a, b\", Bearer resource_metadata=\"METADATA\"",
            "bearer  realm=\"x\\\"y\", resource_metadata=METADATA",
        ] {
            let authority = Authority::start_as(State {
                challenge: Some(challenge),
                metadata: Some("/elsewhere"),
                ..State::default()
            })
            .await;
            let group = authority.up(authority.user()).await;
            assert!(
                authority.server.log().iter().any(|it| it.contains("GET")),
                "{:?}",
                authority.server.log()
            );
            group.close().await;
        }
    })
    .await;
}

#[tokio::test]
async fn an_authority_that_hangs_is_what_a_time_out_names() {
    within_limit(async {
        let server_ = Server::start(|request: &Request| match request.path.as_str() {
            "/mcp" => Reply::status(401).with("www-authenticate", "Bearer"),
            _ => Reply::Hang,
        })
        .await;
        let nobody = OAuth::user("http://127.0.0.1/callback", async |_| {
            unreachable!("nobody is asked") as io::Result<String>
        });
        let params = HttpParams::new(&server_.url).oauth(nobody);
        let group = SessionGroup::start(brisk().connect_timeout(Duration::from_millis(300)));
        let error = group.connect(server(params)).await.expect_err("too late");
        assert_eq!(error.outcome(), Outcome::TimedOut);
        let text = error.to_string();
        assert!(text.contains("for which there are no credentials yet"), "{text}");
        assert!(group.close().await.clean);
    })
    .await;
}
