//! OAuth by means of rmcp.
//!
//! rmcp's log records contain codes and other secrets, so they are suppressed.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use rmcp::transport::auth::{
    AuthError, AuthorizationCallback, AuthorizationManager, AuthorizationMetadata,
    AuthorizationRequest, AuthorizationSession, ClientCredentialsConfig, CredentialStore,
    StoredCredentials, WWWAuthenticateParams,
};
use tracing::instrument::WithSubscriber;
use tracing::subscriber::NoSubscriber;

use crate::auth::{BoxError, Config, Grant, TokenStore, Tokens};
use crate::fault::{Flattened, chain};
use crate::wire::body::clipped;

mod key;

/// The authorisation of a server.
pub(crate) struct Authority {
    manager: AuthorizationManager,
    config: Arc<Config>,
    base: reqwest::Url,
}

type Visit = dyn Fn(String) -> BoxFuture<'static, Result<String, BoxError>> + Send + Sync;

/// The reason why a login has failed, without texts that may be secret.
type Token = Result<Option<String>, BoxError>;

impl Authority {
    /// The authority for the server at `url`, with the tokens that are stored.
    pub(crate) async fn of(url: &str, config: Arc<Config>) -> Result<Self, BoxError> {
        let base = reqwest::Url::parse(url)?;
        let made = async {
            let mut manager = if config.private_addresses {
                AuthorizationManager::new_allowing_private_addresses(base.clone()).await
            } else {
                AuthorizationManager::new(base.clone()).await
            }?;
            manager.set_credential_store(Stored(config.store.clone()));
            manager.initialize_from_store().await?;
            Ok(manager)
        };
        let manager = made.with_subscriber(NoSubscriber::default()).await;
        let manager = manager.map_err(|error: AuthError| told(&error, &[]))?;
        Ok(Self { manager, config, base })
    }

    /// The current token, refreshed if it has expired; `None` if a user has to log in.
    pub(crate) async fn token(&self) -> Token {
        let token = self.manager.get_access_token();
        known(token.with_subscriber(NoSubscriber::default()).await).map_err(|it| told(&it, &[]))
    }

    /// A new token for one that was refused; `None` if a user has to log in.
    pub(crate) async fn refresh(&self) -> Token {
        let refreshed = self.manager.refresh_token();
        match refreshed.with_subscriber(NoSubscriber::default()).await {
            Ok(_kept) => self.token().await,
            // No client has been set up yet.
            Err(AuthError::InternalError(_)) => Ok(None),
            Err(error) => known(Err(error)).map_err(|it| told(&it, &[])),
        }
    }

    /// Gets a token according to the server's challenges.
    pub(crate) async fn begin(self, challenges: &[String]) -> (Self, Token) {
        let Self { manager, config, base } = self;
        let secrets = config.secrets();
        let begun = begin(manager, &config, &base, challenges);
        let (manager, result) = begun.with_subscriber(NoSubscriber::default()).await;
        let authority = Self { manager, config, base };
        let token = match result {
            Ok(()) => authority.token().await,
            Err(Failed::Auth(error)) => Err(told(&error, &secrets)),
            Err(Failed::Own(error)) => Err(error),
        };
        (authority, token)
    }

    /// Gets a token that also has the scope named by the challenges. `before` is the number of earlier refusals of the
    /// request.
    pub(crate) async fn upgrade(&self, challenges: &[String], before: u32, visit: &Visit) -> Token {
        let required = challenges.iter().map(|it| WWWAuthenticateParams::parse(it, &self.base));
        let required = required.filter_map(|params| params.scope).collect::<Vec<_>>().join(" ");
        let upgraded = async {
            if before == 0 {
                self.manager.reset_scope_upgrade_attempts().await;
            }
            let url = self.manager.request_scope_upgrade(&required).await?;
            let back = visit(url).await.map_err(Failed::Own)?;
            exchange(&self.manager, &self.config, &back).await
        };
        match upgraded.with_subscriber(NoSubscriber::default()).await {
            Ok(()) => self.token().await,
            Err(Failed::Auth(error)) => Err(told(&error, &self.config.secrets())),
            Err(Failed::Own(error)) => Err(error),
        }
    }
}

/// Whether a refusal is for a scope that is missing.
pub(crate) fn is_insufficient_scope(challenges: &[String]) -> bool {
    challenges.iter().any(|challenge| {
        let base = reqwest::Url::parse("http://localhost/");
        base.is_ok_and(|base| {
            WWWAuthenticateParams::parse(challenge, &base).is_insufficient_scope()
        })
    })
}

enum Failed {
    Auth(AuthError),
    /// An error of the caller, or of ours.
    Own(BoxError),
}

impl From<AuthError> for Failed {
    fn from(error: AuthError) -> Self {
        Self::Auth(error)
    }
}

async fn begin(
    mut manager: AuthorizationManager,
    config: &Config,
    base: &reqwest::Url,
    challenges: &[String],
) -> (AuthorizationManager, Result<(), Failed>) {
    let is_bearer = |it: &&String| it.get(..6).is_some_and(|it| it.eq_ignore_ascii_case("bearer"));
    let challenge = challenges.iter().find(is_bearer).map(String::as_str);
    let metadata = match manager.resolve_metadata_from_challenge(challenge).await {
        Ok(resolution) => resolution.metadata,
        Err(error) => return (manager, Err(error.into())),
    };
    manager.set_metadata(metadata.clone());
    match &config.grant {
        Grant::Code { redirect_uri, visit } => {
            let request = config.request(redirect_uri);
            let session = match AuthorizationSession::new(manager, request).await {
                Ok(session) => session,
                Err((manager, error)) => return (manager, Err(error.into())),
            };
            let back = visit(session.get_authorization_url().to_owned()).await;
            let result = match back {
                Ok(back) => exchange(&session.auth_manager, config, &back).await,
                Err(error) => Err(Failed::Own(error)),
            };
            (session.auth_manager, result)
        }
        Grant::Secret { client_id, secret } => {
            let credentials = ClientCredentialsConfig::ClientSecret {
                client_id: client_id.clone(),
                client_secret: secret.clone(),
                scopes: config.scopes.clone(),
                resource: Some(base.to_string()),
            };
            let result = by_itself(&mut manager, &credentials).await;
            (manager, result)
        }
        Grant::Key { client_id, pem, algorithm } => {
            let key = key::Key { client_id, pem, algorithm };
            let result = by_key(&mut manager, &metadata, base, &key, config).await;
            (manager, result)
        }
        Grant::Stored => (manager, Err(AuthError::AuthorizationRequired.into())),
    }
}

/// Gets a token for the program itself.
async fn by_itself(
    manager: &mut AuthorizationManager,
    credentials: &ClientCredentialsConfig,
) -> Result<(), Failed> {
    manager.validate_client_credentials_metadata(credentials)?;
    manager.configure_client_credentials(credentials)?;
    manager.exchange_client_credentials(credentials).await?;
    Ok(())
}

/// Gets a token for the program itself by its key.
async fn by_key(
    manager: &mut AuthorizationManager,
    metadata: &AuthorizationMetadata,
    base: &reqwest::Url,
    key: &key::Key<'_>,
    config: &Config,
) -> Result<(), Failed> {
    let credentials = key::exchange(metadata, base, key, config).await.map_err(Failed::Own)?;
    manager.configure_client_id(key.client_id)?;
    Stored(config.store.clone()).save(credentials).await?;
    Ok(())
}

/// The refusal in the address that the user was sent back to (RFC 6749, section 4.1.2.1).
fn refusal(back: &str) -> Option<String> {
    let back = reqwest::Url::parse(back).ok()?;
    let field = |name: &str| {
        let found = back.query_pairs().find(|(field, _)| field == name);
        found.map(|(_, value)| value.into_owned())
    };
    let mut text = format!("the authorization server refused the login: {}", field("error")?);
    if let Some(words) = field("error_description") {
        text.push_str(&format!(": {words}"));
    }
    Some(clipped(&text).into_owned())
}

/// Checks that the user was sent back to the address that was given to the authorisation server: a code that came elsewhere
/// may be that of somebody else. The texts show no query, which holds the code.
fn at_the_address(redirect_uri: &str, back: &str) -> Result<(), String> {
    let wanted = reqwest::Url::parse(redirect_uri)
        .map_err(|error| format!("the redirect address {redirect_uri:?} is none: {error}"))?;
    let came = reqwest::Url::parse(back)
        .map_err(|error| format!("the user was sent back to what is no address: {error}"))?;
    let place = |it: &reqwest::Url| {
        let port = it.port_or_known_default();
        (it.scheme().to_owned(), it.host_str().map(str::to_owned), port, it.path().to_owned())
    };
    if place(&came) == place(&wanted) {
        return Ok(());
    }
    let shown = |mut it: reqwest::Url| {
        it.set_query(None);
        it.set_fragment(None);
        // An address without a host has neither.
        let _ = it.set_username("").and_then(|()| it.set_password(None));
        clipped(it.as_str()).into_owned()
    };
    let (came, wanted) = (shown(came), shown(wanted));
    Err(format!("the user was sent back to {came}, which is not the redirect address {wanted}"))
}

/// Turns the address that the user was sent back to into a token.
async fn exchange(
    manager: &AuthorizationManager,
    config: &Config,
    back: &str,
) -> Result<(), Failed> {
    if let Grant::Code { redirect_uri, .. } = &config.grant {
        at_the_address(redirect_uri, back).map_err(|why| Failed::Own(why.into()))?;
    }
    if let Some(refusal) = refusal(back) {
        return Err(Failed::Own(refusal.into()));
    }
    let back = AuthorizationCallback::from_redirect_url(back)?;
    let issuer = back.issuer.as_deref();
    manager.exchange_code_for_token_with_issuer(&back.code, &back.csrf_token, issuer).await?;
    Ok(())
}

impl Config {
    fn request(&self, redirect_uri: &str) -> AuthorizationRequest {
        let name = self.client_name.as_deref().unwrap_or(env!("CARGO_PKG_NAME"));
        let mut request = AuthorizationRequest::new(redirect_uri)
            .with_scopes(self.scopes.iter().cloned())
            .with_client_name(name);
        if let Some((client_id, secret)) = &self.registered {
            request = request.with_preregistered_client(client_id);
            if let Some(secret) = secret {
                request = request.with_client_secret(secret);
            }
        }
        match &self.metadata_url {
            Some(url) => request.with_client_metadata_url(url),
            None => request,
        }
    }

    /// The secrets that an authorisation server may repeat in its errors.
    fn secrets(&self) -> Vec<String> {
        let own = match &self.grant {
            Grant::Secret { secret, .. } => Some(secret.clone()),
            _ => None,
        };
        let registered = self.registered.as_ref().and_then(|(_, secret)| secret.clone());
        own.into_iter().chain(registered).collect()
    }
}

/// The token; `None` if a user has to log in.
fn known(token: Result<String, AuthError>) -> Result<Option<String>, AuthError> {
    match token {
        Ok(token) => Ok(Some(token)),
        Err(AuthError::AuthorizationRequired | AuthError::TokenRefreshRejected(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// An error of rmcp's, without the secrets that it may repeat.
fn told(error: &AuthError, secrets: &[String]) -> BoxError {
    let hidden = |text: String| {
        secrets
            .iter()
            .filter(|it| !it.is_empty())
            .fold(text, |text, it| text.replace(it, "(hidden)"))
    };
    let texts = chain(error).into_iter().map(hidden).collect();
    match Flattened::from_texts(texts) {
        Some(flat) => flat.into(),
        None => "no reason is known".into(),
    }
}

/// The caller's store, as a store of rmcp's type.
struct Stored(Arc<dyn TokenStore>);

/// The futures of a trait whose methods are asynchronous by a macro.
type Boxed<'a, T> = BoxFuture<'a, Result<T, AuthError>>;

impl CredentialStore for Stored {
    fn load<'s, 'f>(&'s self) -> Boxed<'f, Option<StoredCredentials>>
    where
        's: 'f,
        Self: 'f,
    {
        Box::pin(async move {
            let Some(tokens) = self.0.load().await.map_err(failed)? else { return Ok(None) };
            serde_json::from_value(tokens.0).map(Some).map_err(|error| failed(error.into()))
        })
    }

    fn save<'s, 'f>(&'s self, credentials: StoredCredentials) -> Boxed<'f, ()>
    where
        's: 'f,
        Self: 'f,
    {
        Box::pin(async move {
            let tokens = serde_json::to_value(credentials).map_err(|error| failed(error.into()))?;
            self.0.save(Tokens(tokens)).await.map_err(failed)
        })
    }

    fn clear<'s, 'f>(&'s self) -> Boxed<'f, ()>
    where
        's: 'f,
        Self: 'f,
    {
        Box::pin(async move { self.0.clear().await.map_err(failed) })
    }
}

fn failed(error: BoxError) -> AuthError {
    AuthError::CredentialStoreError(chain(&*error).join(": "))
}
