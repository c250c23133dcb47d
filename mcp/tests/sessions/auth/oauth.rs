//! OAuth against a server that is its own authority: discovery, registration, PKCE, refresh, more scopes.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use moored_mcp::{OAuth, TokenStore, Tokens};
use serde_json::{Value, json};
use tracing::instrument::WithSubscriber;

use super::*;

/// The state of the authority.
#[derive(Default)]
struct Authority {
    /// Whether tokens expire at once.
    short: bool,
    /// The tokens given so far.
    given: u32,
    /// The token that is accepted.
    valid: String,
    /// The grant type of every token request, and whether it had a secret of the client.
    grants: Vec<String>,
    authenticated: Vec<bool>,
    /// Whether refreshing is refused.
    no_refresh: bool,
    /// The method whose first request makes the token invalid.
    revokes_at: Option<&'static str>,
    /// Whether every token is refused.
    refuses_all: bool,
    /// The answer to every refresh.
    refresh: Option<(u16, &'static str)>,
    /// The answer to every login: `BODY` in it is the body of the request.
    login: Option<(u16, &'static str)>,
    /// Added to, or taken from, each token that is given.
    token: Option<Value>,
    /// The challenge, with `METADATA` in the place of the address.
    challenge: Option<&'static str>,
    /// The path of the server's metadata, if it is not the usual one.
    metadata: Option<&'static str>,
    /// The scope that calls need.
    scope: Option<&'static str>,
    /// The scopes that were asked for.
    asked: Vec<String>,
}

type Shared = Arc<Mutex<Authority>>;

fn form(body: &str, field: &str) -> String {
    let url = reqwest::Url::parse(&format!("http://x/?{body}")).expect("an address");
    let found = url.query_pairs().find(|(name, _)| name == field);
    found.map(|(_, value)| value.into_owned()).unwrap_or_default()
}

async fn authority(state: Shared) -> Server {
    Server::start(move |request: &Request| {
        let base = format!("http://{}", request.headers["host"]);
        let mut state = state.lock();
        match request.path.as_str() {
            "/mcp" => {}
            path if path == state.metadata.unwrap_or("/.well-known/oauth-protected-resource/mcp") => {
                return Reply::json(json!({"resource": format!("{base}/mcp"), "authorization_servers": [base]}));
            }
            path if path.starts_with("/.well-known/oauth-authorization-server") => {
                return Reply::json(json!({
                    "issuer": base, "authorization_endpoint": format!("{base}/authorize"),
                    "token_endpoint": format!("{base}/token"), "registration_endpoint": format!("{base}/register"),
                    "response_types_supported": ["code"], "code_challenge_methods_supported": ["S256"],
                    "token_endpoint_auth_methods_supported": ["none", "client_secret_post", "client_secret_basic"],
                    "grant_types_supported": ["authorization_code", "refresh_token", "client_credentials"],
                }));
            }
            "/register" => {
                let mut client: Value = serde_json::from_str(&request.body).expect("a client");
                client["client_id"] = json!("client-1");
                return Reply::json(client).of_status(201);
            }
            "/token" => {
                let grant = form(&request.body, "grant_type");
                state.grants.push(grant.clone());
                let has_secret = request.headers.contains_key("authorization")
                    || request.body.contains("client_secret=");
                state.authenticated.push(has_secret);
                if grant == "authorization_code" {
                    assert_eq!(form(&request.body, "code"), "c0de-secret");
                    assert!(!form(&request.body, "code_verifier").is_empty(), "PKCE");
                }
                let planned = if grant == "refresh_token" { state.refresh } else { state.login };
                if let Some((status, text)) = planned {
                    let body = json!(request.body).to_string();
                    let text = text.replace("BODY", body.trim_matches('"'));
                    let answer = Reply::status(status).with("content-type", "application/json");
                    return answer.saying(text);
                }
                if grant == "refresh_token" && state.no_refresh {
                    let no = json!({"error": "invalid_grant", "error_description": request.body});
                    return Reply::json(no).of_status(400);
                }
                state.given += 1;
                state.valid = format!("{SECRET}-{}", state.given);
                let mut token = json!({
                    "access_token": state.valid, "token_type": "Bearer", "expires_in": if state.short { 1 } else { 3600 },
                    "refresh_token": format!("refresh-{SECRET}-{}", state.given),
                });
                for (field, value) in state.token.iter().filter_map(Value::as_object).flatten() {
                    token[field] = value.clone();
                }
                token.as_object_mut().expect("an object").retain(|_, value| !value.is_null());
                return Reply::json(token);
            }
            _ => return Reply::status(404),
        }
        if state.revokes_at.take_if(|at| *at == request.rpc).is_some() {
            state.valid = "nobody's".into();
        }
        let given = request.headers.get("authorization").cloned().unwrap_or_default();
        if state.refuses_all || given != format!("Bearer {}", state.valid) {
            let metadata = state.metadata.unwrap_or("/.well-known/oauth-protected-resource/mcp");
            let challenge = state.challenge.unwrap_or("Bearer resource_metadata=\"METADATA\"");
            return Reply::status(401)
                .with("www-authenticate", &challenge.replace("METADATA", &format!("{base}{metadata}")))
                .saying(format!("no {given}"));
        }
        if let Some(scope) = state.scope
            && request.rpc == "tools/call"
            && !state.asked.iter().any(|asked| asked.contains(scope))
        {
            let challenge = format!("Bearer error=\"insufficient_scope\", scope=\"{scope}\"");
            return Reply::status(403).with("www-authenticate", &challenge);
        }
        legacy(request)
    })
    .await
}

/// A user who logs in at once.
fn user(state: &Shared) -> OAuth {
    let state = state.clone();
    OAuth::user("http://127.0.0.1/callback", move |url: String| {
        let url = reqwest::Url::parse(&url).expect("an address");
        let query = url.query().unwrap_or_default().to_owned();
        assert_eq!(form(&query, "code_challenge_method"), "S256");
        state.lock().asked.push(form(&query, "scope"));
        let csrf = form(&query, "state");
        let back = format!("http://127.0.0.1/callback?code=c0de-secret&state={csrf}");
        std::future::ready(Ok::<_, io::Error>(back))
    })
}

#[tokio::test]
async fn a_user_logs_in_once_and_the_token_is_refreshed_once() {
    within_limit(async {
        let state = Shared::default();
        let server_ = authority(state.clone()).await;
        let group = SessionGroup::start(brisk());
        let params = HttpParams::new(&server_.url).oauth(user(&state));
        group.connect(server(params)).await.expect("logged in");
        assert_eq!(state.lock().grants, ["authorization_code"]);
        // The token is revoked while both calls are sent; they share one refresh.
        state.lock().valid = "nobody's".into();
        let (one, two) = tokio::join!(echo(&group, "s"), echo(&group, "s"));
        one.and(two).expect("refreshed");
        assert_eq!(state.lock().grants, ["authorization_code", "refresh_token"]);
        // No token can be got any more, and a connected session starts no login.
        {
            let mut state = state.lock();
            state.valid = "nobody's".into();
            state.no_refresh = true;
        }
        let refused = echo(&group, "s").await.expect_err("refused");
        assert_eq!(refused.outcome(), Some(Outcome::AuthRequired), "{refused}");
        assert!(!format!("{refused} {refused:?}").contains(SECRET));
        assert_eq!(state.lock().asked.len(), 1, "one login");
        state.lock().valid = format!("{SECRET}-2");
        assert!(group.close().await.all_well());
    })
    .await;
}

#[tokio::test]
async fn an_expired_token_is_refreshed_and_nobody_logs_in_in_the_middle() {
    within_limit(async {
        let state = Shared::default();
        state.lock().short = true;
        let server_ = authority(state.clone()).await;
        let group = SessionGroup::start(brisk());
        let params = HttpParams::new(&server_.url).oauth(user(&state));
        group.connect(server(params)).await.expect("logged in");
        echo(&group, "s").await.expect("refreshed");
        {
            let mut state = state.lock();
            state.valid = "nobody's".into();
            state.no_refresh = true;
        }
        let refused = echo(&group, "s").await.expect_err("refused");
        assert_eq!(refused.outcome(), Some(Outcome::AuthRequired), "{refused}");
        assert_eq!(state.lock().asked.len(), 1, "one login");
        group.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_program_gets_a_new_token_by_itself() {
    within_limit(async {
        let state = Shared::default();
        let server_ = authority(state.clone()).await;
        let group = SessionGroup::start(brisk());
        let oauth = OAuth::client_secret("client-1", "client-secret-1");
        group.connect(server(HttpParams::new(&server_.url).oauth(oauth))).await.expect("up");
        {
            let mut state = state.lock();
            state.valid = "nobody's".into();
            state.no_refresh = true;
        }
        echo(&group, "s").await.expect("a new token");
        let grants = ["client_credentials", "refresh_token", "client_credentials"];
        assert_eq!(state.lock().grants, grants);
        assert!(group.close().await.all_well());
    })
    .await;
}

#[tokio::test]
async fn a_missing_scope_is_asked_for() {
    within_limit(async {
        let state = Shared::default();
        state.lock().scope = Some("tools:call");
        let server_ = authority(state.clone()).await;
        let group = SessionGroup::start(brisk());
        let params = HttpParams::new(&server_.url).oauth(user(&state));
        group.connect(server(params)).await.expect("logged in");
        echo(&group, "s").await.expect("with the scope");
        assert_eq!(state.lock().asked.len(), 2);
        assert!(group.close().await.all_well());
    })
    .await;
}

#[derive(Default)]
struct Kept(Arc<Mutex<Option<Tokens>>>);

impl TokenStore for Kept {
    fn load(
        &self,
    ) -> BoxFuture<'_, Result<Option<Tokens>, Box<dyn std::error::Error + Send + Sync>>> {
        std::future::ready(Ok(self.0.lock().clone())).boxed()
    }

    fn save(
        &self,
        tokens: Tokens,
    ) -> BoxFuture<'_, Result<(), Box<dyn std::error::Error + Send + Sync>>> {
        *self.0.lock() = Some(tokens);
        std::future::ready(Ok(())).boxed()
    }

    fn clear(&self) -> BoxFuture<'_, Result<(), Box<dyn std::error::Error + Send + Sync>>> {
        *self.0.lock() = None;
        std::future::ready(Ok(())).boxed()
    }
}

#[tokio::test]
async fn stored_tokens_serve_the_next_run_and_a_program_has_its_own() {
    within_limit(async {
        let state = Shared::default();
        let server_ = authority(state.clone()).await;
        let kept = Arc::new(Mutex::new(None));
        let first = OAuth::client_secret("client-1", "client-secret-1").store(Kept(kept.clone()));
        for oauth in [first, OAuth::stored().store(Kept(kept.clone()))] {
            let group = SessionGroup::start(brisk());
            let params = HttpParams::new(&server_.url).oauth(oauth);
            group.connect(server(params)).await.expect("authorised");
            echo(&group, "s").await.expect("an answer");
            assert!(group.close().await.all_well());
        }
        assert_eq!(state.lock().grants, ["client_credentials"]);
        assert_eq!(format!("{:?}", kept.lock()), "Some(Tokens)");
        let nobody = OAuth::stored();
        let group = SessionGroup::start(brisk());
        let params = HttpParams::new(&server_.url).oauth(nobody);
        let error = group.connect(server(params)).await.expect_err("nobody logs in");
        assert_eq!(error.outcome(), Outcome::AuthRequired);
        group.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_login_that_fails_is_the_cause_and_nobody_is_asked_twice() {
    within_limit(async {
        let state = Shared::default();
        let server_ = authority(state.clone()).await;
        let logins = Arc::new(AtomicU32::new(0));
        let counted = logins.clone();
        let shut = OAuth::user("http://127.0.0.1/callback", move |_| {
            counted.fetch_add(1, Ordering::Relaxed);
            std::future::ready(Err::<String, _>(io::Error::other("the window was closed")))
        });
        let group = SessionGroup::start(brisk());
        let error = group.connect(server(HttpParams::new(&server_.url).oauth(shut))).await;
        let error = error.expect_err("nobody logged in");
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
        let state = Shared::default();
        let server_ = authority(state.clone()).await;
        let logins = Arc::new(AtomicU32::new(0));
        let counted = logins.clone();
        let shut = OAuth::user("http://127.0.0.1/callback", move |_| {
            counted.fetch_add(1, Ordering::Relaxed);
            async {
                tokio::time::sleep(Duration::from_millis(400)).await;
                Err::<String, _>(io::Error::other("the window was closed"))
            }
        });
        let params = HttpParams::new(&server_.url).oauth(shut);
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
        let state = Shared::default();
        state.lock().refuses_all = true;
        state.lock().no_refresh = true;
        let server_ = authority(state.clone()).await;
        let group = SessionGroup::start(brisk());
        let params = HttpParams::new(&server_.url).oauth(user(&state));
        let error = group.connect(server(params)).await.expect_err("refused");
        assert_eq!(error.outcome(), Outcome::AuthRequired);
        assert!(error.to_string().contains("HTTP 401"), "{error}");
        assert_eq!(state.lock().asked.len(), 1, "one login");
        assert!(group.close().await.clean);
    })
    .await;
}

/// As when the server changes its authority: the first login was not in vain.
#[tokio::test]
async fn a_token_that_was_accepted_and_is_revoked_in_the_same_attempt_is_followed_by_a_login() {
    within_limit(async {
        let state = Shared::default();
        state.lock().revokes_at = Some("tools/list");
        state.lock().no_refresh = true;
        let server_ = authority(state.clone()).await;
        let group = SessionGroup::start(brisk());
        let params = HttpParams::new(&server_.url).oauth(user(&state));
        let info = group.connect(server(params)).await.expect("logged in twice");
        assert_eq!((info.tools, &info.list_error), (1, &None));
        assert_eq!(state.lock().asked.len(), 2);
        assert!(group.close().await.all_well());
    })
    .await;
}

#[tokio::test]
async fn a_code_that_came_to_another_address_is_not_used() {
    within_limit(async {
        let state = Shared::default();
        let server_ = authority(state.clone()).await;
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
            state.lock().grants.clear();
            let oauth = OAuth::user(redirect, move |url: String| {
                let url = reqwest::Url::parse(&url).expect("an address");
                let csrf = form(url.query().unwrap_or_default(), "state");
                let back = format!("{back}code=c0de-secret&state={csrf}");
                std::future::ready(Ok::<_, io::Error>(back))
            });
            let group = SessionGroup::start(brisk());
            let result = group.connect(server(HttpParams::new(&server_.url).oauth(oauth))).await;
            if is_it {
                result.expect(back);
            } else {
                let error = result.expect_err(back);
                assert_eq!(error.outcome(), Outcome::AuthRequired);
                let chain = error.report().chain.join(": ");
                assert!(chain.contains("the user was sent back to"), "{chain}");
                assert!(!chain.contains("c0de-secret"), "{chain}");
                assert_eq!(state.lock().grants, [""; 0], "{back}");
            }
            group.close().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_login_that_the_authority_refuses_is_told_in_its_words() {
    within_limit(async {
        let state = Shared::default();
        let server_ = authority(state.clone()).await;
        let denied = OAuth::user("http://127.0.0.1/callback", async |_| {
            let why = "error=access_denied&error_description=not+this+user&state=x";
            Ok::<_, io::Error>(format!("http://127.0.0.1/callback?{why}"))
        });
        let group = SessionGroup::start(brisk());
        let error = group.connect(server(HttpParams::new(&server_.url).oauth(denied))).await;
        let error = error.expect_err("refused");
        assert_eq!(error.outcome(), Outcome::AuthRequired);
        let chain = error.report().chain.join(": ");
        assert!(chain.ends_with("access_denied: not this user"), "{chain}");
        assert_eq!(state.lock().grants, [""; 0]);
        assert!(group.close().await.clean);
    })
    .await;
}

/// Everything that is logged, at every level.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<String>>);

impl tracing::field::Visit for Log {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
        self.0.lock().push_str(&format!("{field}={value:?} "));
    }
}

impl tracing::Subscriber for Log {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        span.record(&mut self.clone());
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, values: &tracing::span::Record<'_>) {
        values.record(&mut self.clone());
    }

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        event.record(&mut self.clone());
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

#[test]
fn a_secret_is_in_no_log_and_in_no_report() {
    let log = Log::default();
    // For the whole thread, because rmcp has tasks of its own.
    let _everything = tracing::subscriber::set_default(log.clone());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(
        within_limit(async {
            let state = Shared::default();
            let server_ = authority(state.clone()).await;
            let group = SessionGroup::start(brisk());
            let mut events = group.events();
            let mut params = HttpParams::new(&server_.url).oauth(user(&state));
            params.headers.insert("X-Key".into(), format!("static-{SECRET}"));
            group.connect(server(params)).await.expect("logged in");
            let mut seen = String::new();
            state.lock().valid = "nobody's".into();
            echo(&group, "s").await.expect("refreshed");
            {
                let mut state = state.lock();
                state.valid = "nobody's".into();
                state.no_refresh = true;
            }
            let refused = echo(&group, "s").await.expect_err("refused");
            seen.push_str(&format!(
                "{refused} {refused:?} {:?}",
                std::error::Error::source(&refused)
            ));
            seen.push_str(&format!("{group:?}"));
            let report = group.close().await;
            seen.push_str(&format!("{report:?} {}", serde_json::to_string(&report).expect("JSON")));
            while let Ok(event) = events.try_recv() {
                seen.push_str(&format!("{event:?}"));
            }
            for secret in [SECRET, "c0de-secret"] {
                assert!(!seen.contains(secret), "{seen}");
            }
        })
        .with_current_subscriber(),
    );
    let log = log.0.lock();
    assert!(!log.is_empty(), "something is logged");
    for secret in [SECRET, "c0de-secret"] {
        let at = log
            .find(secret)
            .map(|at| log[at.saturating_sub(300)..(at + 40).min(log.len())].to_owned());
        assert_eq!(at, None, "{secret} in the log");
    }
}

#[tokio::test]
async fn a_token_without_a_refresh_is_used_however_short_its_time_is_said_to_be() {
    within_limit(async {
        for expires_in in [json!(0), json!(1), json!(20), Value::Null] {
            let state = Shared::default();
            state.lock().token = Some(json!({"refresh_token": null, "expires_in": expires_in}));
            state.lock().token.as_mut().expect("fields")["token_type"] = json!("bEARER");
            let server_ = authority(state.clone()).await;
            let group = SessionGroup::start(brisk());
            let params = HttpParams::new(&server_.url).oauth(user(&state));
            group.connect(server(params)).await.expect("logged in");
            echo(&group, "s").await.expect("with the same token");
            assert_eq!(state.lock().grants, ["authorization_code"], "{expires_in}");
            // Once the server refuses it, nobody is asked in the middle.
            state.lock().valid = "nobody's".into();
            let refused = echo(&group, "s").await.expect_err("refused");
            assert_eq!(refused.outcome(), Some(Outcome::AuthRequired), "{refused}");
            assert_eq!(state.lock().asked.len(), 1);
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
        let state = Shared::default();
        state.lock().short = true;
        let server_ = authority(state.clone()).await;
        let kept = Arc::new(Mutex::new(None));
        for expected in [1, 2] {
            let oauth = user(&state).store(Kept(kept.clone()));
            let group = SessionGroup::start(brisk());
            let params = HttpParams::new(&server_.url).oauth(oauth);
            group.connect(server(params)).await.expect("logged in");
            assert_eq!(state.lock().asked.len(), expected, "logins");
            // In the middle nobody is asked, and the cause is told without a secret.
            state.lock().refresh = Some(GONE);
            state.lock().valid = "nobody's".into();
            let refused = echo(&group, "s").await.expect_err("refused");
            assert_eq!(refused.outcome(), Some(Outcome::AuthRequired), "{refused}");
            let shown = format!("{refused} {refused:?}");
            assert!(shown.contains("invalid_client"), "{shown}");
            assert!(!shown.contains(SECRET), "{shown}");
            group.close().await;
            // For the first request of the next run.
            state.lock().short = false;
        }
        // A program has its own way.
        let state = Shared::default();
        state.lock().short = true;
        state.lock().refresh = Some((400, r#"{"error": "unsupported_grant_type"}"#));
        let server_ = authority(state.clone()).await;
        let group = SessionGroup::start(brisk());
        let oauth = OAuth::client_secret("client-1", "client-secret-1");
        group.connect(server(HttpParams::new(&server_.url).oauth(oauth))).await.expect("up");
        echo(&group, "s").await.expect("a new token");
        assert!(group.close().await.all_well());
    })
    .await;
}

#[tokio::test]
async fn a_code_that_the_authority_repeats_in_its_refusal_is_hidden() {
    within_limit(async {
        let state = Shared::default();
        let refusal = r#"{"error": "invalid_request", "error_description": "BODY"}"#;
        state.lock().login = Some((400, refusal));
        let server_ = authority(state.clone()).await;
        let group = SessionGroup::start(brisk());
        let params = HttpParams::new(&server_.url).oauth(user(&state));
        let error = group.connect(server(params)).await.expect_err("refused");
        assert_eq!(error.outcome(), Outcome::AuthRequired);
        let shown = format!("{error:?} {:?}", group.close().await);
        assert!(shown.contains("invalid_request") && shown.contains("code=(hidden)"), "{shown}");
        assert!(!shown.contains("c0de-secret"), "{shown}");
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
            let state = Shared::default();
            state.lock().challenge = Some(challenge);
            state.lock().metadata = Some("/elsewhere");
            let server_ = authority(state.clone()).await;
            let group = SessionGroup::start(brisk());
            let params = HttpParams::new(&server_.url).oauth(user(&state));
            group.connect(server(params)).await.expect(challenge);
            assert!(server_.log().iter().any(|it| it.contains("GET")), "{:?}", server_.log());
            group.close().await;
        }
    })
    .await;
}

/// The store has no secret of a client, so a client that was registered beforehand gets its own again.
#[tokio::test]
async fn stored_tokens_of_a_registered_client_are_refreshed_with_its_secret() {
    within_limit(async {
        let state = Shared::default();
        let server_ = authority(state.clone()).await;
        let kept = Arc::new(Mutex::new(None));
        for run in 0..2 {
            let secret = Some("client-secret-1".to_owned());
            let oauth = user(&state).registered("client-1", secret).store(Kept(kept.clone()));
            let group = SessionGroup::start(brisk());
            if run == 1 {
                state.lock().valid = "nobody's".into();
            }
            let params = HttpParams::new(&server_.url).oauth(oauth);
            group.connect(server(params)).await.expect("authorised");
            group.close().await;
        }
        let state = state.lock();
        assert_eq!(state.grants, ["authorization_code", "refresh_token"]);
        assert_eq!(state.authenticated, [true, true]);
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
        let state = Shared::default();
        let params = HttpParams::new(&server_.url).oauth(user(&state));
        let group = SessionGroup::start(brisk().connect_timeout(Duration::from_millis(300)));
        let error = group.connect(server(params)).await.expect_err("too late");
        assert_eq!(error.outcome(), Outcome::TimedOut);
        let text = error.to_string();
        assert!(text.contains("for which there are no credentials yet"), "{text}");
        assert!(group.close().await.clean);
    })
    .await;
}
