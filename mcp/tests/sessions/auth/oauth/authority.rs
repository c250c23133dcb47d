//! A server that is its own authorisation server, and its user.

use std::io;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use moored_mcp::{ConnectError, HttpParams, OAuth, SessionGroup, SessionInfo, TokenStore, Tokens};
use parking_lot::{Mutex, MutexGuard};
use serde_json::{Value, json};

use super::super::{SECRET, server};
use crate::support::brisk;
use crate::support::http::{Reply, Request, Server, legacy};

/// The code that a user comes back with.
pub(super) const CODE: &str = "c0de-secret";

/// The state of the authority.
#[derive(Default)]
pub(super) struct State {
    /// Whether tokens expire at once.
    pub(super) short: bool,
    /// The tokens given so far.
    pub(super) given: u32,
    /// The token that is accepted.
    pub(super) valid: String,
    /// The grant type of every token request, and whether it had a secret of the client.
    pub(super) grants: Vec<String>,
    pub(super) authenticated: Vec<bool>,
    /// Whether refreshing is refused.
    pub(super) no_refresh: bool,
    /// The method whose first request makes the token invalid.
    pub(super) revokes_at: Option<&'static str>,
    /// Whether every token is refused.
    pub(super) refuses_all: bool,
    /// The answer to every refresh.
    pub(super) refresh: Option<(u16, &'static str)>,
    /// The answer to every login: `BODY` in it is the body of the request.
    pub(super) login: Option<(u16, &'static str)>,
    /// Added to, or taken from, each token that is given.
    pub(super) token: Option<Value>,
    /// The challenge, with `METADATA` in the place of the address.
    pub(super) challenge: Option<&'static str>,
    /// The path of the server's metadata, if it is not the usual one.
    pub(super) metadata: Option<&'static str>,
    /// The scope that calls need.
    pub(super) scope: Option<&'static str>,
    /// The method whose requests need more rights than any token has, and the challenge.
    pub(super) never: Option<(&'static str, &'static str)>,
    /// The scopes that were asked for.
    pub(super) asked: Vec<String>,
}

/// A running authority. It stops when this value is dropped.
pub(super) struct Authority {
    pub(super) server: Server,
    state: Arc<Mutex<State>>,
}

impl Authority {
    pub(super) async fn start() -> Self {
        Self::start_as(State::default()).await
    }

    pub(super) async fn start_as(state: State) -> Self {
        let state = Arc::new(Mutex::new(state));
        let answering = state.clone();
        let server =
            Server::start(move |request: &Request| answer(&mut answering.lock(), request)).await;
        Self { server, state }
    }

    /// Its state, which a test may look at and change.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Refuses the tokens that were given so far.
    pub(super) fn revoke(&self) {
        self.state().valid = "nobody's".into();
    }

    /// Refuses the tokens that were given so far, and every refresh.
    pub(super) fn forget(&self) {
        self.revoke();
        self.state().no_refresh = true;
    }

    /// The number of logins by the [`user`](Self::user).
    pub(super) fn logins(&self) -> usize {
        self.state().asked.len()
    }

    /// A user who logs in at once.
    pub(super) fn user(&self) -> OAuth {
        let state = self.state.clone();
        OAuth::user("http://127.0.0.1/callback", move |url: String| {
            let url = reqwest::Url::parse(&url).expect("an address");
            let query = url.query().unwrap_or_default().to_owned();
            assert_eq!(form(&query, "code_challenge_method"), "S256");
            state.lock().asked.push(form(&query, "scope"));
            let csrf = form(&query, "state");
            let back = format!("http://127.0.0.1/callback?code={CODE}&state={csrf}");
            std::future::ready(Ok::<_, io::Error>(back))
        })
    }

    /// The way to the server, for one more setting.
    pub(super) fn params(&self, oauth: OAuth) -> HttpParams {
        HttpParams::new(&self.server.url).oauth(oauth)
    }

    /// A group of its own with the server, which is expected to come up.
    pub(super) async fn up(&self, oauth: OAuth) -> SessionGroup {
        let (group, connected) = self.connect(oauth).await;
        connected.expect("authorised");
        group
    }

    /// A group of its own in which the server is connected, and the outcome.
    pub(super) async fn connect(
        &self,
        oauth: OAuth,
    ) -> (SessionGroup, Result<SessionInfo, ConnectError>) {
        let group = SessionGroup::start(brisk());
        let connected = group.connect(server(self.params(oauth))).await;
        (group, connected)
    }
}

/// A store that a test looks into. Clones share the tokens.
#[derive(Clone, Default)]
pub(super) struct Kept(pub(super) Arc<Mutex<Option<Tokens>>>);

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

pub(super) fn form(body: &str, field: &str) -> String {
    let url = reqwest::Url::parse(&format!("http://x/?{body}")).expect("an address");
    let found = url.query_pairs().find(|(name, _)| name == field);
    found.map(|(_, value)| value.into_owned()).unwrap_or_default()
}

/// The reaction to one request.
fn answer(state: &mut State, request: &Request) -> Reply {
    let base = format!("http://{}", request.headers["host"]);
    match request.path.as_str() {
        "/mcp" => {}
        path if path == state.metadata.unwrap_or("/.well-known/oauth-protected-resource/mcp") => {
            return Reply::json(
                json!({"resource": format!("{base}/mcp"), "authorization_servers": [base]}),
            );
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
                assert_eq!(form(&request.body, "code"), CODE);
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
    if let Some((rpc, challenge)) = state.never
        && request.rpc == rpc
    {
        return Reply::status(403).with("www-authenticate", challenge);
    }
    if let Some(scope) = state.scope
        && request.rpc == "tools/call"
        && !state.asked.iter().any(|asked| asked.contains(scope))
    {
        let challenge = format!("Bearer error=\"insufficient_scope\", scope=\"{scope}\"");
        return Reply::status(403).with("www-authenticate", &challenge);
    }
    legacy(request)
}
