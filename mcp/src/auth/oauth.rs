//! OAuth 2.1 as the protocol uses it: discovered from the server's refusal, with PKCE, and with refreshed tokens.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::{Mutex, OwnedMutexGuard};

use super::store::Memory;
use super::{Authorize, BoxError, HeaderMap, HeadersWanted, Refused, TokenStore};
use crate::wire::oauth::{Authority, NoToken, is_insufficient_scope};

/// The authorisation of a server's requests by OAuth 2.1. Clones share their tokens; each value is for one server.
///
/// No authorisation server is contacted before the server refuses a request with 401. The server's metadata then names
/// the authorisation server that it trusts. An unknown client registers there (as a client that was registered
/// beforehand, else by the address of its metadata, else by dynamic registration), and gets a token. The request is
/// sent again with that token.
///
/// A token that has expired, or that the server refuses, is refreshed once. If that is impossible, a program authorises itself
/// anew. A user is asked to log in only while the server is being connected, and not again after a login in vain; later the
/// request fails as [`Outcome::AuthRequired`](crate::Outcome::AuthRequired). A missing scope (403, `insufficient_scope`) is
/// asked of the user at any time, once in a session. If the server then still lacks it, the request fails in the same way.
///
/// Give more time than the default to a server that needs a login by a user: see
/// [`GroupOptions::connect_timeout`](crate::GroupOptions::connect_timeout).
#[derive(Clone)]
pub struct OAuth {
    config: Arc<Config>,
    state: Arc<Mutex<Option<Authority>>>,
}

type Visit = Arc<dyn Fn(String) -> BoxFuture<'static, Result<String, BoxError>> + Send + Sync>;

/// The settings of a client.
#[derive(Clone)]
pub(crate) struct Config {
    pub(crate) grant: Grant,
    pub(crate) scopes: Vec<String>,
    pub(crate) client_name: Option<String>,
    pub(crate) registered: Option<(String, Option<String>)>,
    pub(crate) metadata_url: Option<String>,
    pub(crate) private_addresses: bool,
    pub(crate) store: Arc<dyn TokenStore>,
}

/// The way to get a token.
#[derive(Clone)]
pub(crate) enum Grant {
    /// A user logs in.
    Code { redirect_uri: String, visit: Visit },
    /// The program has a secret of its own.
    Secret { client_id: String, secret: String },
    /// The program has a key of its own.
    Key { client_id: String, pem: Vec<u8>, algorithm: String },
    /// The token is in the store.
    Stored,
}

impl OAuth {
    /// A user logs in. `visit` gets the address to open, and returns the whole address to which the user was sent back. That
    /// address must have the scheme, the host, the port and the path of `redirect_uri`; otherwise its code is not used, and the
    /// login fails.
    pub fn user<F, V, E>(redirect_uri: impl Into<String>, visit: F) -> Self
    where
        F: Fn(String) -> V + Send + Sync + 'static,
        V: Future<Output = Result<String, E>> + Send + 'static,
        E: Into<BoxError>,
    {
        let visit: Visit =
            Arc::new(move |url| visit(url).map(|back| back.map_err(Into::into)).boxed());
        Self::new(Grant::Code { redirect_uri: redirect_uri.into(), visit })
    }

    /// The program itself is the client, with a secret (client credentials).
    pub fn client_secret(client_id: impl Into<String>, secret: impl Into<String>) -> Self {
        Self::new(Grant::Secret { client_id: client_id.into(), secret: secret.into() })
    }

    /// The program itself is the client, with a private key in PEM (client credentials, RFC 7523). `algorithm` is `RS256`,
    /// `RS384`, `RS512`, `ES256` or `ES384`.
    pub fn client_key(
        client_id: impl Into<String>,
        pem: impl Into<Vec<u8>>,
        algorithm: impl Into<String>,
    ) -> Self {
        let (client_id, pem, algorithm) = (client_id.into(), pem.into(), algorithm.into());
        Self::new(Grant::Key { client_id, pem, algorithm })
    }

    /// No user logs in: the tokens come from the [`store`](Self::store), and are refreshed.
    pub fn stored() -> Self {
        Self::new(Grant::Stored)
    }

    fn new(grant: Grant) -> Self {
        let config = Config {
            grant,
            scopes: Vec::new(),
            client_name: None,
            registered: None,
            metadata_url: None,
            private_addresses: false,
            store: Arc::new(Memory::default()),
        };
        Self { config: Arc::new(config), state: Arc::default() }
    }

    /// Requests these scopes instead of the scopes that the server names.
    pub fn scopes(self, scopes: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.with(|config| config.scopes = scopes.into_iter().map(Into::into).collect())
    }

    /// The name that people see when they log in; this crate's unless it is set.
    pub fn client_name(self, name: impl Into<String>) -> Self {
        self.with(|config| config.client_name = Some(name.into()))
    }

    /// The client is known to the authorisation server already, with a secret or without.
    pub fn registered(self, client_id: impl Into<String>, secret: Option<String>) -> Self {
        self.with(|config| config.registered = Some((client_id.into(), secret)))
    }

    /// The address of the client's own metadata, which begins with `https://` (client ID metadata documents).
    pub fn metadata_url(self, url: impl Into<String>) -> Self {
        self.with(|config| config.metadata_url = Some(url.into()))
    }

    /// Allows an authorisation server with a private address, such as 10.0.0.9, for a server with a public one. By
    /// default this is refused, because a server could make this client send requests into its own network.
    pub fn allow_private_addresses(self) -> Self {
        self.with(|config| config.private_addresses = true)
    }

    /// Keeps the tokens in `store` instead of in memory.
    pub fn store(self, store: impl TokenStore) -> Self {
        self.with(|config| config.store = Arc::new(store))
    }

    fn with(self, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::clone(&self.config);
        change(&mut config);
        Self { config: Arc::new(config), state: Arc::default() }
    }

    /// The provider of headers with this authorisation.
    pub(crate) fn authorize(self) -> Authorize {
        Authorize::from_fn(move |wanted| {
            let oauth = self.clone();
            async move { oauth.headers(wanted).await }
        })
    }

    /// One call at a time, so that requests that are refused side by side share one refresh and one login.
    async fn headers(&self, wanted: HeadersWanted) -> Result<HeaderMap, BoxError> {
        let mut state = self.state.clone().lock_owned().await;
        if state.is_none() {
            *state = Some(Authority::of(&wanted.url, self.config.clone()).await?);
        }
        let (mut state, token) = quietly(state, Quiet::Token).await?;
        let (token, mut failed) = match (token, &wanted.refused) {
            (Ok(token), _) => (token, None),
            // The server refuses the expired token, and then it is known whether there is another way to a new one.
            (Err(NoToken { may_begin: true, expired, .. }), None) => return Ok(header(expired)),
            (Err(NoToken { error, may_begin: true, .. }), Some(_)) => (None, Some(error)),
            (Err(NoToken { error, .. }), _) => return Err(error),
        };
        let Some(refused) = wanted.refused else { return Ok(header(token)) };
        let sent = refused.headers.get(AUTHORIZATION);
        if token.is_some() && sent != header(token.clone()).get(AUTHORIZATION) {
            // Another request has been refused meanwhile.
            return Ok(header(token));
        }
        if refused.status == 403 {
            return match &self.config.grant {
                Grant::Code { visit, .. } if is_insufficient_scope(&refused.challenges) => {
                    let token = self.upgrade(&mut state, visit, &refused).await;
                    token.map(header).map_err(|it| it.error)
                }
                _ => Ok(header(token)),
            };
        }
        if token.is_some() {
            let (same, fresh) = quietly(state, Quiet::Refresh).await?;
            match fresh {
                Ok(None) => {}
                Ok(fresh) => return Ok(header(fresh)),
                Err(NoToken { error, may_begin: true, .. }) => failed = Some(error),
                Err(NoToken { error, .. }) => return Err(error),
            }
            state = same;
        }
        let may_begin = match self.config.grant {
            Grant::Code { .. } => refused.connecting,
            Grant::Stored => failed.is_none(),
            Grant::Secret { .. } | Grant::Key { .. } => true,
        };
        if !may_begin {
            // The same headers would be refused again, so the request fails.
            return failed.map_or(Ok(refused.headers), Err);
        }
        self.begin(&mut state, &refused).await.map(header).map_err(|it| it.error)
    }

    /// Gets the first token, or a new one for a token that is no longer valid.
    async fn begin(
        &self,
        state: &mut Option<Authority>,
        refused: &Refused,
    ) -> Result<Option<String>, NoToken> {
        // If the login is broken off, the next request begins with the content of the store only.
        let Some(authority) = state.take() else { return Ok(None) };
        let (authority, result) = authority.begin(&refused.challenges).await;
        *state = Some(authority);
        result
    }

    async fn upgrade(
        &self,
        state: &mut Option<Authority>,
        visit: &Visit,
        refused: &Refused,
    ) -> Result<Option<String>, NoToken> {
        let Some(authority) = state.as_ref() else { return Ok(None) };
        let required = authority.required(&refused.challenges);
        if refused.scopes.have(&required) {
            return Err(BoxError::from(in_vain(&required)).into());
        }
        let token = authority.upgrade(&required, refused.before, visit.as_ref()).await?;
        refused.scopes.learn(&required);
        Ok(token)
    }
}

/// The failure of a request for which a login gave a token, and not enough rights.
fn in_vain(required: &str) -> String {
    let wanted = match required {
        "" => "more rights, which it does not name".to_owned(),
        named => format!("the scope {named:?}"),
    };
    format!("the server still asks for {wanted}, after a login for that")
}

const AUTHORIZATION: &str = "Authorization";

fn header(token: Option<String>) -> HeaderMap {
    let token = token.filter(|token| !token.is_empty());
    let value = token.map(|token| (AUTHORIZATION.to_owned(), format!("Bearer {token}")));
    BTreeMap::from_iter(value)
}

/// The steps that need no user.
#[derive(Clone, Copy)]
enum Quiet {
    Token,
    Refresh,
}

type State = OwnedMutexGuard<Option<Authority>>;

/// Runs the step in a task of its own. A refresh that is broken off would lose the tokens, because the old ones become
/// invalid once the server has given new ones. The task ends by its own time limits.
async fn quietly(
    state: State,
    what: Quiet,
) -> Result<(State, Result<Option<String>, NoToken>), BoxError> {
    let task = tokio::spawn(async move {
        let Some(authority) = state.as_ref() else { return (state, Ok(None)) };
        let token = match what {
            Quiet::Token => authority.token().await,
            Quiet::Refresh => authority.refresh().await,
        };
        (state, token)
    });
    Ok(task.await?)
}

/// Shows nothing that is secret.
impl fmt::Debug for OAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let grant = match &self.config.grant {
            Grant::Code { .. } => "a user logs in",
            Grant::Secret { .. } => "client secret",
            Grant::Key { .. } => "client key",
            Grant::Stored => "stored",
        };
        f.debug_struct("OAuth")
            .field("grant", &grant)
            .field("scopes", &self.config.scopes)
            .field("client_name", &self.config.client_name)
            .finish_non_exhaustive()
    }
}
