//! The HTTP client that the sessions of a group share.

use std::sync::{Arc, OnceLock};

use super::proxy;
use super::resend::Watched;
use crate::fault::Fault;
use crate::report::Outcome;

/// The most header fields of an answer. The default of the HTTP client, 100, is fewer than some gateways send.
pub(super) const MAX_HEADERS: usize = 256;
/// The most redirects that are followed.
const REDIRECTS: usize = 5;

/// The variables that name a proxy for `http://`. The proxy may itself be reached by TLS.
const PROXIES: [&str; 4] = ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"];

/// The purpose of a client.
///
/// Reading the platform's roots takes longer than connecting to a server on this machine, and an address that begins
/// with `http://` never needs them, because a redirect to `https://` has another origin and is not followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `http://`, no proxy.
    Plain,
    /// Any other address.
    Tls,
}

impl Kind {
    /// The kind of client that `url` needs.
    pub(crate) fn of(url: &str) -> Self {
        let plain = reqwest::Url::parse(url).is_ok_and(|url| url.scheme() == "http");
        let named = || PROXIES.iter().any(|name| std::env::var_os(name).is_some());
        let proxied = || named() && !proxy::is_ruled_out();
        if plain && !proxied() { Self::Plain } else { Self::Tls }
    }
}

/// The client that all sessions of a kind share: one pool of connections, one set of roots.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    kind: Kind,
    pooled: reqwest::Client,
    unpooled: Arc<OnceLock<reqwest::Client>>,
}

impl Client {
    /// Builds a client.
    pub(crate) fn new(kind: Kind) -> Result<Self, Fault> {
        let pooled = builder(kind).build().map_err(|error| {
            Fault::caused(Outcome::Other, "cannot set up the HTTP client", error)
        })?;
        Ok(Self { kind, pooled, unpooled: Arc::default() })
    }

    /// The client that keeps connections for further requests.
    pub(crate) fn pooled(&self) -> &reqwest::Client {
        &self.pooled
    }

    /// The client that makes a new connection for each request; `None` if it cannot be set up. It is built when it is
    /// first needed, which is rare.
    pub(super) fn unpooled(&self) -> Option<&reqwest::Client> {
        if let Some(client) = self.unpooled.get() {
            return Some(client);
        }
        let client = builder(self.kind).pool_max_idle_per_host(0).build().ok()?;
        Some(self.unpooled.get_or_init(|| client))
    }
}

/// The common settings of both clients.
///
/// A redirect is followed only if it keeps the request unchanged (307 and 308), and only to the same origin: 301, 302
/// and 303 turn a POST into a GET, and the headers that a user gave for one server are not for another.
fn builder(kind: Kind) -> reqwest::ClientBuilder {
    let as_it_is = reqwest::redirect::Policy::custom(|attempt| {
        let from = attempt.previous().last().map(reqwest::Url::origin);
        let keeps_request = matches!(attempt.status().as_u16(), 307 | 308);
        if attempt.previous().len() > REDIRECTS {
            attempt.error("too many redirects")
        } else if keeps_request && from == Some(attempt.url().origin()) {
            attempt.follow()
        } else {
            attempt.stop()
        }
    });
    let builder = reqwest::Client::builder()
        .user_agent(concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION")))
        .connector_layer(Watched::layer())
        .http1_max_headers(MAX_HEADERS)
        .redirect(as_it_is);
    let builder = if proxy::is_ruled_out() { builder.no_proxy() } else { builder };
    with_tls(builder, kind)
}

/// rustls on ring, with the platform's roots where they may be needed.
#[cfg(feature = "tls")]
fn with_tls(builder: reqwest::ClientBuilder, kind: Kind) -> reqwest::ClientBuilder {
    // The process has one default provider. If the program has chosen another one, that choice stands.
    let _ = rustls::crypto::ring::default_provider().install_default();
    match kind {
        Kind::Plain => builder.tls_certs_only([]),
        Kind::Tls => builder,
    }
}

#[cfg(not(feature = "tls"))]
fn with_tls(builder: reqwest::ClientBuilder, _kind: Kind) -> reqwest::ClientBuilder {
    builder
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_plain_address_needs_no_roots() {
        // Proxies in the environment of the tests count as well, so only the other direction is certain.
        for url in ["https://127.0.0.1/mcp", "HTTPS://127.0.0.1/mcp", "not an address"] {
            assert_eq!(Kind::of(url), Kind::Tls, "{url}");
        }
        Client::new(Kind::Plain).expect("a client without roots");
    }
}
