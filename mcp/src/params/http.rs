//! A server behind streamable HTTP.

use std::collections::BTreeMap;
use std::fmt;

use super::Hidden;
use crate::auth::{Authorize, HeadersWanted};

/// A server behind streamable HTTP.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct HttpParams {
    /// The address of the endpoint, path included.
    pub url: String,
    /// Headers sent with every request, `Authorization` among them.
    pub headers: BTreeMap<String, String>,
    /// The source of further headers, which is asked before each request.
    pub authorize: Option<Authorize>,
}

impl HttpParams {
    /// A server at `url`, without headers of its own.
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: url.into(), ..Self::default() }
    }

    /// Asks `provider` for headers before each request, such as `Authorization`. They replace those of
    /// [`headers`](Self::headers) with the same names. If the server refuses them (401 or 403), the provider is asked
    /// once more, with the refusal. If it returns other headers, the request is sent again with them; otherwise it
    /// fails as [`Outcome::AuthRequired`](crate::Outcome::AuthRequired) or
    /// [`Outcome::Forbidden`](crate::Outcome::Forbidden).
    ///
    /// An error of the provider fails the request, and is the cause of that failure. Its headers are never shown.
    ///
    /// ```
    /// use std::collections::BTreeMap;
    ///
    /// let params = moored_mcp::HttpParams::new("https://host.example/mcp").headers_from(async |wanted| {
    ///     let renew = wanted.refused.is_some();
    ///     let token = token(renew).await?;
    ///     Ok::<_, std::io::Error>(BTreeMap::from([("Authorization".to_owned(), format!("Bearer {token}"))]))
    /// });
    /// # async fn token(_renew: bool) -> std::io::Result<String> { Ok("t".into()) }
    /// # drop(params);
    /// ```
    pub fn headers_from<F, H, E>(mut self, provider: F) -> Self
    where
        F: Fn(HeadersWanted) -> H + Send + Sync + 'static,
        H: Future<Output = Result<BTreeMap<String, String>, E>> + Send + 'static,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        self.authorize = Some(Authorize::from_fn(provider));
        self
    }

    /// Authorises with OAuth 2.1.
    #[cfg(feature = "auth")]
    pub fn oauth(mut self, oauth: crate::OAuth) -> Self {
        self.authorize = Some(oauth.authorize());
        self
    }
}

/// Shows the names of headers without their values, which are often credentials.
impl fmt::Debug for HttpParams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpParams")
            .field("url", &crate::wire::http::headers::shown(&self.url))
            .field("headers", &Hidden(&self.headers))
            .field("authorize", &self.authorize)
            .finish()
    }
}
