//! OAuth by means of rmcp.
//!
//! rmcp's log records contain codes and other secrets, so they are suppressed.

mod challenge;
mod failure;
mod key;
mod redirect;
mod stored;

use std::sync::Arc;

use futures_util::future::BoxFuture;
use rmcp::transport::auth::{
    AuthError, AuthorizationCallback, AuthorizationManager, AuthorizationMetadata,
    AuthorizationRequest, AuthorizationSession, ClientCredentialsConfig, CredentialStore,
    OAuthClientConfig,
};
use tracing::instrument::WithSubscriber;
use tracing::subscriber::NoSubscriber;

pub(crate) use self::challenge::is_insufficient_scope;
use self::challenge::{bearer, without_spaces};
pub(crate) use self::failure::NoToken;
use self::failure::{Failed, told};
use self::redirect::{at_the_address, refusal};
use self::stored::{Kept, Stored};
use crate::auth::{BoxError, Config, Grant};

/// The authorisation of a server.
pub(crate) struct Authority {
    manager: AuthorizationManager,
    config: Arc<Config>,
    base: reqwest::Url,
}

type Visit = dyn Fn(String) -> BoxFuture<'static, Result<String, BoxError>> + Send + Sync;

/// A token; `None` if a user has to log in.
type Token = Result<Option<String>, NoToken>;

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
            if manager.initialize_from_store().await? {
                config.set_up_again(&mut manager)?;
            }
            Ok(manager)
        };
        let manager = made.with_subscriber(NoSubscriber::default()).await;
        let manager = manager.map_err(|error: AuthError| told(&error, &[]))?;
        Ok(Self { manager, config, base })
    }

    /// The current token, refreshed if it has expired; `None` if a user has to log in.
    pub(crate) async fn token(&self) -> Token {
        // Before the refresh, because an error may repeat them.
        let kept = Kept::of(&*self.config.store).await?;
        let token = self.manager.get_access_token();
        match known(token.with_subscriber(NoSubscriber::default()).await) {
            // Whether a token that cannot be refreshed is valid any more is for the server to say: its time is short, or it is
            // said to have none.
            Ok(None) if kept.refresh.is_none() => Ok(kept.access),
            Ok(token) => Ok(token),
            Err(error) => Err(self.not_refreshed(&error, &kept)),
        }
    }

    /// The token that was just given. Its time has not begun, however short it is.
    async fn given(&self) -> Token {
        Ok(Kept::of(&*self.config.store).await?.access)
    }

    fn not_refreshed(&self, error: &AuthError, kept: &Kept) -> NoToken {
        // Without a client that was set up, or with one that the authorisation server no longer knows.
        let may_begin =
            matches!(error, AuthError::TokenRefreshFailed(_) | AuthError::InternalError(_));
        let (error, expired) = (told(error, &self.config.secrets(kept)), kept.access.clone());
        NoToken { error, may_begin, expired }
    }

    /// A new token for one that was refused; `None` if a user has to log in.
    pub(crate) async fn refresh(&self) -> Token {
        let kept = Kept::of(&*self.config.store).await?;
        let refreshed = self.manager.refresh_token();
        match refreshed.with_subscriber(NoSubscriber::default()).await {
            Ok(_kept) => self.token().await,
            // No client has been set up yet.
            Err(AuthError::InternalError(_)) => Ok(None),
            Err(error) => known(Err(error)).map_err(|error| self.not_refreshed(&error, &kept)),
        }
    }

    /// Gets a token according to the server's challenges.
    pub(crate) async fn begin(self, challenges: &[String]) -> (Self, Token) {
        let Self { manager, config, base } = self;
        let begun = begin(manager, &config, &base, challenges);
        let (manager, result) = begun.with_subscriber(NoSubscriber::default()).await;
        let authority = Self { manager, config, base };
        let token = match result {
            Ok(()) => authority.given().await,
            Err(failed) => Err(authority.told(failed).await.into()),
        };
        (authority, token)
    }

    /// The scopes that the challenges name.
    pub(crate) fn required(&self, challenges: &[String]) -> String {
        challenge::required(challenges, &self.base)
    }

    /// Gets a token that also has the scopes `required`. `before` is the number of earlier refusals of the request.
    pub(crate) async fn upgrade(&self, required: &str, before: u32, visit: &Visit) -> Token {
        let upgraded = async {
            if before == 0 {
                self.manager.reset_scope_upgrade_attempts().await;
            }
            let url = self.manager.request_scope_upgrade(required).await?;
            let back = visit(url).await.map_err(Failed::Own)?;
            exchange(&self.manager, &self.config, &back).await
        };
        match upgraded.with_subscriber(NoSubscriber::default()).await {
            Ok(()) => self.given().await,
            Err(failed) => Err(self.told(failed).await.into()),
        }
    }

    /// The reason of a failure, without the secrets that it may repeat.
    async fn told(&self, failed: Failed) -> BoxError {
        let (error, back) = match failed {
            Failed::Auth(error) => (error, None),
            Failed::Exchange(error, back) => (error, Some(back)),
            Failed::Own(error) => return error,
        };
        // A store that fails now has no secrets that the error could repeat.
        let kept = Kept::of(&*self.config.store).await.unwrap_or_default();
        let mut secrets = self.config.secrets(&kept);
        let url = back.and_then(|back| reqwest::Url::parse(&back).ok());
        let fields = url.iter().flat_map(reqwest::Url::query_pairs);
        secrets.extend(fields.filter(|(name, _)| name == "code").map(|(_, it)| it.into_owned()));
        told(&error, &secrets)
    }
}

async fn begin(
    mut manager: AuthorizationManager,
    config: &Config,
    base: &reqwest::Url,
    challenges: &[String],
) -> (AuthorizationManager, Result<(), Failed>) {
    let challenge = challenges.iter().find_map(|it| bearer(it)).map(without_spaces);
    let metadata = match manager.resolve_metadata_from_challenge(challenge.as_deref()).await {
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
    let came = AuthorizationCallback::from_redirect_url(back)?;
    let issuer = came.issuer.as_deref();
    let exchanged =
        manager.exchange_code_for_token_with_issuer(&came.code, &came.csrf_token, issuer).await;
    exchanged.map(drop).map_err(|error| Failed::Exchange(error, back.to_owned()))
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

    /// Sets a client up whose tokens are in the store. The store has no secret of a client.
    fn set_up_again(&self, manager: &mut AuthorizationManager) -> Result<(), AuthError> {
        let Grant::Code { redirect_uri, .. } = &self.grant else { return Ok(()) };
        let Some((client_id, Some(secret))) = &self.registered else { return Ok(()) };
        let client = OAuthClientConfig::new(client_id, redirect_uri).with_client_secret(secret);
        manager.configure_client(client)
    }

    /// The secrets that an authorisation server may repeat in its errors.
    fn secrets(&self, kept: &Kept) -> Vec<String> {
        let own = match &self.grant {
            Grant::Secret { secret, .. } => Some(secret.clone()),
            _ => None,
        };
        let registered = self.registered.as_ref().and_then(|(_, secret)| secret.clone());
        let tokens = kept.access.iter().chain(&kept.refresh).cloned();
        own.into_iter().chain(registered).chain(tokens).collect()
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
