//! OAuth by means of rmcp.
//!
//! rmcp's log records contain codes and other secrets, so they are suppressed.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use rmcp::transport::auth::{
    AuthError, AuthorizationCallback, AuthorizationManager, AuthorizationMetadata,
    AuthorizationRequest, AuthorizationSession, ClientCredentialsConfig, CredentialStore,
    OAuthClientConfig, StoredCredentials, WWWAuthenticateParams,
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

/// A token; `None` if a user has to log in.
type Token = Result<Option<String>, NoToken>;

/// The reason why there is no token, without texts that may be secret.
pub(crate) struct NoToken {
    pub(crate) error: BoxError,
    /// Whether only the refresh has failed, so that a new login may help.
    pub(crate) may_begin: bool,
    /// The token that was not refreshed.
    pub(crate) expired: Option<String>,
}

impl From<BoxError> for NoToken {
    fn from(error: BoxError) -> Self {
        Self { error, may_begin: false, expired: None }
    }
}

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

    /// Gets a token that also has the scope named by the challenges. `before` is the number of earlier refusals of the
    /// request.
    pub(crate) async fn upgrade(&self, challenges: &[String], before: u32, visit: &Visit) -> Token {
        let read = |it: &String| WWWAuthenticateParams::parse(&without_spaces(it), &self.base);
        let required = challenges.iter().map(read);
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

/// The tokens in the store.
#[derive(Default)]
struct Kept {
    access: Option<String>,
    refresh: Option<String>,
}

impl Kept {
    async fn of(store: &dyn TokenStore) -> Result<Self, BoxError> {
        let tokens = store.load().await?;
        let field = |name: &str| {
            let found = tokens.as_ref()?.0.get("token_response")?.get(name)?;
            found.as_str().map(str::to_owned)
        };
        Ok(Self { access: field("access_token"), refresh: field("refresh_token") })
    }
}

/// Whether a refusal is for a scope that is missing.
pub(crate) fn is_insufficient_scope(challenges: &[String]) -> bool {
    challenges.iter().any(|challenge| {
        let base = reqwest::Url::parse("http://localhost/");
        base.is_ok_and(|base| {
            WWWAuthenticateParams::parse(&without_spaces(challenge), &base).is_insufficient_scope()
        })
    })
}

enum Failed {
    Auth(AuthError),
    /// The code in this address was not exchanged for a token.
    Exchange(AuthError, String),
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

/// A challenge without the spaces that a server may put around `=` (RFC 9110, section 11.2), which rmcp does not expect.
fn without_spaces(challenge: &str) -> String {
    let mut text = String::with_capacity(challenge.len());
    let (mut is_quoted, mut is_escaped, mut is_after_equals) = (false, false, false);
    for character in challenge.chars() {
        match character {
            _ if is_escaped => is_escaped = false,
            '\\' if is_quoted => is_escaped = true,
            '"' => is_quoted = !is_quoted,
            ' ' | '\t' if !is_quoted && is_after_equals => continue,
            '=' if !is_quoted => text.truncate(text.trim_end_matches([' ', '\t']).len()),
            _ => {}
        }
        is_after_equals = character == '=' && !is_quoted;
        text.push(character);
    }
    text
}

/// The part of a header from its challenge `Bearer` on. One header may have several challenges.
fn bearer(header: &str) -> Option<&str> {
    let (mut is_quoted, mut is_escaped, mut begins) = (false, false, true);
    for (at, byte) in header.bytes().enumerate() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_quoted => is_escaped = true,
            b'"' => is_quoted = !is_quoted,
            _ if is_quoted => {}
            b',' => begins = true,
            b' ' | b'\t' => {}
            _ if begins => {
                begins = false;
                let rest = &header.as_bytes()[at..];
                let is_it = rest.get(..6).is_some_and(|it| it.eq_ignore_ascii_case(b"bearer"));
                if is_it && matches!(rest.get(6), None | Some(b' ' | b'\t' | b',')) {
                    return header.get(at..);
                }
            }
            _ => {}
        }
    }
    None
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

/// An error of rmcp's, without the secrets that it may repeat.
fn told(error: &AuthError, secrets: &[String]) -> BoxError {
    // A server may repeat the body of the request, in which they are encoded.
    let encoded = |it: &String| {
        let pair = [("", it.as_str())];
        let url = reqwest::Url::parse_with_params("http://localhost/", pair).ok()?;
        url.query().map(|query| query.trim_start_matches('=').to_owned())
    };
    let mut forms: Vec<String> = secrets.iter().filter_map(encoded).collect();
    forms.extend_from_slice(secrets);
    let hidden = |text: String| {
        forms.iter().filter(|it| !it.is_empty()).fold(text, |text, it| text.replace(it, "(hidden)"))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_challenge_for_a_token_is_found_among_others() {
        for (header, wanted) in [
            ("Bearer", Some("Bearer")),
            ("bearer a=\"b\"", Some("bearer a=\"b\"")),
            ("Basic realm=\"x\", Bearer scope=s", Some("Bearer scope=s")),
            ("Negotiate, BEARER scope=s, Basic realm=x", Some("BEARER scope=s, Basic realm=x")),
            ("Basic realm=\"a, Bearer x\"", None),
            ("Basic realm=\"a\\\", Bearer x\"", None),
            ("Bearerish a=b", None),
            ("Basic realm=bearer", None),
            ("Digest a=1,bearer b=2", Some("bearer b=2")),
            ("", None),
        ] {
            assert_eq!(bearer(header), wanted, "{header}");
        }
    }

    #[test]
    fn a_challenge_is_read_with_spaces_around_its_equals_signs() {
        for (came, read) in [
            ("Bearer a = \"b = c\" , d\t=e", "Bearer a=\"b = c\" , d=e"),
            (r#"Bearer a="\" = " , b= c"#, r#"Bearer a="\" = " , b=c"#),
            ("Bearer", "Bearer"),
            ("\u{e9} = \u{e9}", "\u{e9}=\u{e9}"),
        ] {
            assert_eq!(without_spaces(came), read);
        }
        let spaced = ["Bearer error = \"insufficient_scope\"".to_owned()];
        assert!(is_insufficient_scope(&spaced));
    }

    #[test]
    fn a_secret_is_hidden_in_the_form_of_a_request_too() {
        let error = AuthError::TokenRefreshFailed("no refresh_token=a%2Fb%2B+c, a/b+ c".into());
        let text = told(&error, &["a/b+ c".to_owned()]).to_string();
        assert!(text.ends_with("no refresh_token=(hidden), (hidden)"), "{text}");
    }
}
