//! A token that lacks a scope.

use moored_mcp::Outcome;

use super::authority::{Authority, State};
use crate::support::{echo, within_limit};

#[tokio::test]
async fn a_missing_scope_is_asked_for() {
    within_limit(async {
        let authority =
            Authority::start_as(State { scope: Some("tools:call"), ..State::default() }).await;
        let group = authority.up(authority.user()).await;
        echo(&group, "s").await.expect("with the scope");
        assert_eq!(authority.logins(), 2);
        assert!(group.close().await.all_well());
    })
    .await;
}

/// The challenges of a server that always wants more.
const NEVER: [(&str, &str); 3] = [
    ("Bearer error=\"insufficient_scope\", scope=\"a b\"", "the scope \"a b\""),
    ("Bearer error = \"insufficient_scope\" , scope = \"b a\"", "the scope \"b a\""),
    ("Bearer error=\"insufficient_scope\"", "more rights, which it does not name"),
];

#[tokio::test]
async fn a_scope_that_never_suffices_is_asked_for_once_in_an_attempt_to_connect() {
    within_limit(async {
        for rpc in ["server/discover", "initialize", "notifications/initialized", "tools/list"] {
            for (challenge, named) in NEVER {
                let state = State { never: Some((rpc, challenge)), ..State::default() };
                let authority = Authority::start_as(state).await;
                let (group, connected) = authority.connect(authority.user()).await;
                let chain = match connected {
                    Err(error) => {
                        assert_eq!(error.outcome(), Outcome::AuthRequired, "{rpc} {error}");
                        error.report().chain.join(": ")
                    }
                    Ok(info) => info.list_error.expect("the list cannot be had").chain.join(": "),
                };
                assert!(chain.contains(named), "{rpc}: {chain}");
                assert_eq!(authority.logins(), 2, "{rpc}: one login and one for the scope");
                assert!(group.close().await.clean);
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_scope_that_never_suffices_is_asked_for_once_in_a_session() {
    within_limit(async {
        for (challenge, named) in NEVER {
            let state = State { never: Some(("tools/call", challenge)), ..State::default() };
            let authority = Authority::start_as(state).await;
            let group = authority.up(authority.user()).await;
            for _ in 0..3 {
                let (one, two) = tokio::join!(echo(&group, "s"), echo(&group, "s"));
                for refused in [one, two] {
                    let refused = refused.expect_err("never enough");
                    assert_eq!(refused.outcome(), Some(Outcome::AuthRequired), "{refused}");
                    let text = format!("{refused:?}");
                    assert!(text.contains(&named.replace('"', "\\\"")), "{text}");
                }
            }
            assert_eq!(authority.logins(), 2, "one login and one for the scope");
            // Another scope is another question.
            authority.state().never = None;
            authority.state().scope = Some("c");
            echo(&group, "s").await.expect("with the other scope");
            assert_eq!(authority.logins(), 3);
            assert!(group.close().await.all_well());
        }
    })
    .await;
}

/// A user who was asked in vain may have got the right meanwhile.
#[tokio::test]
async fn a_scope_is_asked_for_again_in_the_next_session() {
    within_limit(async {
        let state = State { never: Some(("initialize", NEVER[0].0)), ..State::default() };
        let authority = Authority::start_as(state).await;
        let user = authority.user();
        for logins in [2, 3] {
            let (group, connected) = authority.connect(user.clone()).await;
            connected.expect_err("never enough");
            assert_eq!(authority.logins(), logins);
            group.close().await;
        }
    })
    .await;
}
