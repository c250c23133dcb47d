//! Tokens: kept, refreshed, expired, revoked.

use moored_mcp::{OAuth, Outcome};
use serde_json::{Value, json};

use super::super::SECRET;
use super::authority::{Authority, Kept, State};
use crate::support::{echo, within_limit};

#[tokio::test]
async fn an_expired_token_is_refreshed_and_nobody_logs_in_in_the_middle() {
    within_limit(async {
        let authority = Authority::start_as(State { short: true, ..State::default() }).await;
        let group = authority.up(authority.user()).await;
        echo(&group, "s").await.expect("refreshed");
        authority.forget();
        let refused = echo(&group, "s").await.expect_err("refused");
        assert_eq!(refused.outcome(), Some(Outcome::AuthRequired), "{refused}");
        assert_eq!(authority.logins(), 1, "one login");
        group.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_program_gets_a_new_token_by_itself() {
    within_limit(async {
        let authority = Authority::start().await;
        let oauth = OAuth::client_secret("client-1", "client-secret-1");
        let group = authority.up(oauth).await;
        authority.forget();
        echo(&group, "s").await.expect("a new token");
        let grants = ["client_credentials", "refresh_token", "client_credentials"];
        assert_eq!(authority.state().grants, grants);
        assert!(group.close().await.all_well());
    })
    .await;
}

#[tokio::test]
async fn stored_tokens_serve_the_next_run_and_a_program_has_its_own() {
    within_limit(async {
        let authority = Authority::start().await;
        let kept = Kept::default();
        let first = OAuth::client_secret("client-1", "client-secret-1").store(kept.clone());
        for oauth in [first, OAuth::stored().store(kept.clone())] {
            let group = authority.up(oauth).await;
            echo(&group, "s").await.expect("an answer");
            assert!(group.close().await.all_well());
        }
        assert_eq!(authority.state().grants, ["client_credentials"]);
        assert_eq!(format!("{:?}", kept.0.lock()), "Some(Tokens)");
        let nobody = OAuth::stored();
        let (group, connected) = authority.connect(nobody).await;
        let error = connected.expect_err("nobody logs in");
        assert_eq!(error.outcome(), Outcome::AuthRequired);
        group.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_token_without_a_refresh_is_used_however_short_its_time_is_said_to_be() {
    within_limit(async {
        for expires_in in [json!(0), json!(1), json!(20), Value::Null] {
            let token =
                json!({"refresh_token": null, "expires_in": expires_in, "token_type": "bEARER"});
            let authority =
                Authority::start_as(State { token: Some(token), ..State::default() }).await;
            let group = authority.up(authority.user()).await;
            echo(&group, "s").await.expect("with the same token");
            assert_eq!(authority.state().grants, ["authorization_code"], "{expires_in}");
            // Once the server refuses it, nobody is asked in the middle.
            authority.revoke();
            let refused = echo(&group, "s").await.expect_err("refused");
            assert_eq!(refused.outcome(), Some(Outcome::AuthRequired), "{refused}");
            assert_eq!(authority.logins(), 1);
            group.close().await;
        }
    })
    .await;
}

/// An authorisation server that has forgotten its clients answers a refresh with 401.
#[tokio::test]
async fn a_refresh_that_fails_for_good_is_followed_by_a_login_at_the_next_connect() {
    const GONE: (u16, &str) = (401, r#"{"error": "invalid_client", "error_description": "BODY"}"#);
    within_limit(async {
        let authority = Authority::start_as(State { short: true, ..State::default() }).await;
        let kept = Kept::default();
        for expected in [1, 2] {
            let oauth = authority.user().store(kept.clone());
            let group = authority.up(oauth).await;
            assert_eq!(authority.logins(), expected, "logins");
            // In the middle nobody is asked, and the cause is told without a secret.
            authority.state().refresh = Some(GONE);
            authority.revoke();
            let refused = echo(&group, "s").await.expect_err("refused");
            assert_eq!(refused.outcome(), Some(Outcome::AuthRequired), "{refused}");
            let shown = format!("{refused} {refused:?}");
            assert!(shown.contains("invalid_client"), "{shown}");
            assert!(!shown.contains(SECRET), "{shown}");
            group.close().await;
            // For the first request of the next run.
            authority.state().short = false;
        }
        // A program has its own way.
        let authority = Authority::start_as(State {
            short: true,
            refresh: Some((400, r#"{"error": "unsupported_grant_type"}"#)),
            ..State::default()
        })
        .await;
        let oauth = OAuth::client_secret("client-1", "client-secret-1");
        let group = authority.up(oauth).await;
        echo(&group, "s").await.expect("a new token");
        assert!(group.close().await.all_well());
    })
    .await;
}

/// The store has no secret of a client, so a client that was registered beforehand gets its own again.
#[tokio::test]
async fn stored_tokens_of_a_registered_client_are_refreshed_with_its_secret() {
    within_limit(async {
        let authority = Authority::start().await;
        let kept = Kept::default();
        for run in 0..2 {
            let secret = Some("client-secret-1".to_owned());
            let oauth = authority.user().registered("client-1", secret).store(kept.clone());
            if run == 1 {
                authority.revoke();
            }
            authority.up(oauth).await.close().await;
        }
        let state = authority.state();
        assert_eq!(state.grants, ["authorization_code", "refresh_token"]);
        assert_eq!(state.authenticated, [true, true]);
    })
    .await;
}
