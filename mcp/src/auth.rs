//! Authorisation: the source of the headers that differ from request to request.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

#[cfg(feature = "auth")]
mod oauth;
#[cfg(feature = "auth")]
mod scopes;
#[cfg(feature = "auth")]
mod store;

#[cfg(feature = "auth")]
pub use self::oauth::OAuth;
#[cfg(feature = "auth")]
pub(crate) use self::oauth::{Config, Grant};
#[cfg(feature = "auth")]
pub(crate) use self::scopes::Scopes;
#[cfg(feature = "auth")]
pub use self::store::{TokenStore, Tokens};

/// The reason why there are no headers, as an error of the caller.
pub(crate) type BoxError = Box<dyn Error + Send + Sync>;
/// Headers by their names.
pub(crate) type HeaderMap = BTreeMap<String, String>;
type Headers = BoxFuture<'static, Result<HeaderMap, BoxError>>;

/// A request for headers.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct HeadersWanted {
    /// The address of the server.
    pub url: Arc<str>,
    /// The refusal of the same request, if it was sent before. If the provider then returns other headers than the
    /// refused ones, the request is sent once more with them; otherwise it has failed.
    pub refused: Option<Refused>,
}

/// The refusal of a request.
#[derive(Clone)]
#[non_exhaustive]
pub struct Refused {
    /// 401 or 403.
    pub status: u16,
    /// The values of `WWW-Authenticate`.
    pub challenges: Vec<String>,
    /// The headers that were refused.
    pub headers: BTreeMap<String, String>,
    /// The number of earlier refusals of the request.
    pub before: u32,
    /// Whether the server is being connected, and no headers that the provider has given after an earlier 401 of the attempt
    /// were in vain. At any other time a user does not expect to be asked for a password.
    pub connecting: bool,
    /// The scopes of the session that a user was asked for.
    #[cfg(feature = "auth")]
    pub(crate) scopes: Scopes,
}

/// Shows the names of the headers without their values, which are credentials, and no challenge, because a server may
/// repeat a credential in it.
impl fmt::Debug for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refused")
            .field("status", &self.status)
            .field("challenges", &self.challenges.len())
            .field("headers", &self.headers.keys())
            .field("before", &self.before)
            .field("connecting", &self.connecting)
            .finish()
    }
}

/// The source of the headers of a server's requests; see [`HttpParams::headers_from`](crate::HttpParams::headers_from).
#[derive(Clone)]
pub struct Authorize(Arc<dyn Fn(HeadersWanted) -> Headers + Send + Sync>);

impl Authorize {
    pub(crate) fn from_fn<F, H, E>(provider: F) -> Self
    where
        F: Fn(HeadersWanted) -> H + Send + Sync + 'static,
        H: Future<Output = Result<HeaderMap, E>> + Send + 'static,
        E: Into<BoxError>,
    {
        Self(Arc::new(move |wanted| {
            provider(wanted).map(|headers| headers.map_err(Into::into)).boxed()
        }))
    }

    /// Asks for headers.
    pub(crate) fn headers(&self, wanted: HeadersWanted) -> Headers {
        (self.0)(wanted)
    }
}

impl fmt::Debug for Authorize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Authorize")
    }
}

/// Equal if they are the same provider, not if they do the same.
impl PartialEq for Authorize {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Authorize {}
