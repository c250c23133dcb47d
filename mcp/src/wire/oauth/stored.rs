//! The caller's store of tokens, as rmcp and as this crate read it.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use rmcp::transport::auth::{AuthError, CredentialStore, StoredCredentials};

use crate::auth::{BoxError, TokenStore, Tokens};
use crate::fault::chain;

/// The tokens in the store.
#[derive(Default)]
pub(super) struct Kept {
    pub(super) access: Option<String>,
    pub(super) refresh: Option<String>,
}

impl Kept {
    pub(super) async fn of(store: &dyn TokenStore) -> Result<Self, BoxError> {
        let tokens = store.load().await?;
        let field = |name: &str| {
            let found = tokens.as_ref()?.0.get("token_response")?.get(name)?;
            found.as_str().map(str::to_owned)
        };
        Ok(Self { access: field("access_token"), refresh: field("refresh_token") })
    }
}

/// The caller's store, as a store of rmcp's type.
pub(super) struct Stored(pub(super) Arc<dyn TokenStore>);

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
