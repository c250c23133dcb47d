//! The HTTP client that the sessions of a group share.

use std::collections::{BTreeMap, HashMap};

use http::{HeaderName, HeaderValue};

use crate::fault::Fault;
use crate::report::Outcome;

/// The most redirects that are followed.
const REDIRECTS: usize = 5;
/// Headers that belong to the protocol.
const RESERVED: [&str; 3] = ["accept", "mcp-session-id", "last-event-id"];

/// Where a proxy for `http://` is named. It may itself be reached by TLS.
const PROXIES: [&str; 4] = ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"];

/// What a client is built for.
///
/// To read the platform's roots takes longer than to connect to a server on this machine, and nothing that begins with
/// `http://` ever needs them: a redirect to `https://` has another origin and is not followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `http://`, no proxy.
    Plain,
    /// Anything else.
    Tls,
}

impl Kind {
    /// The client that `url` needs.
    pub(crate) fn of(url: &str) -> Self {
        let plain = reqwest::Url::parse(url).is_ok_and(|url| url.scheme() == "http");
        let proxied = || PROXIES.iter().any(|name| std::env::var_os(name).is_some());
        if plain && !proxied() { Self::Plain } else { Self::Tls }
    }
}

/// Builds the client that all sessions of a kind share: one pool of connections, one set of roots.
///
/// A redirect is followed only to where it came from: the headers a user gave for one server are not for another.
pub(crate) fn client(kind: Kind) -> Result<reqwest::Client, Fault> {
    let same_origin = reqwest::redirect::Policy::custom(|attempt| {
        let from = attempt.previous().last().map(reqwest::Url::origin);
        if attempt.previous().len() > REDIRECTS {
            attempt.error("too many redirects")
        } else if from == Some(attempt.url().origin()) {
            attempt.follow()
        } else {
            attempt.stop()
        }
    });
    let builder = reqwest::Client::builder().redirect(same_origin);
    with_tls(builder, kind)
        .build()
        .map_err(|error| Fault::caused(Outcome::Other, "cannot set up the HTTP client", error))
}

/// rustls on ring, with the platform's roots where they may be needed.
#[cfg(feature = "tls")]
fn with_tls(builder: reqwest::ClientBuilder, kind: Kind) -> reqwest::ClientBuilder {
    // The process has one default provider. Where the program has chosen another one, that choice stands.
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

/// The headers a user gave, checked.
pub(crate) fn headers(
    given: &BTreeMap<String, String>,
) -> Result<HashMap<HeaderName, HeaderValue>, Fault> {
    let mut headers = HashMap::new();
    for (name, value) in given {
        let (Ok(parsed), Ok(value)) = (name.parse::<HeaderName>(), value.parse::<HeaderValue>())
        else {
            let text = format!("the header {name:?} cannot be sent as it is");
            return Err(Fault::new(Outcome::Other, text));
        };
        if RESERVED.contains(&parsed.as_str()) {
            let text = format!("the header {name:?} belongs to the protocol");
            return Err(Fault::new(Outcome::Other, text));
        }
        headers.insert(parsed, value);
    }
    Ok(headers)
}

/// An address as it may be shown: without user, password and query, which may be secrets.
pub(crate) fn shown(url: &str) -> String {
    let Ok(mut url) = reqwest::Url::parse(url) else {
        return url.to_owned();
    };
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_plain_address_needs_no_roots() {
        // Proxies of the environment that the tests run in count as well, so only the other direction is certain.
        for url in ["https://127.0.0.1/mcp", "HTTPS://127.0.0.1/mcp", "not an address"] {
            assert_eq!(Kind::of(url), Kind::Tls, "{url}");
        }
        client(Kind::Plain).expect("a client without roots");
    }

    #[test]
    fn what_may_be_a_secret_is_not_shown() {
        assert_eq!(shown("http://me:pw@127.0.0.1:1/mcp?key=1"), "http://127.0.0.1:1/mcp");
        assert_eq!(shown("not an address"), "not an address");
    }
}
