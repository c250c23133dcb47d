//! The one HTTP client of a group.

use std::collections::{BTreeMap, HashMap};

use http::{HeaderName, HeaderValue};

use crate::fault::Fault;
use crate::report::Outcome;

/// The most redirects that are followed.
const REDIRECTS: usize = 5;
/// Headers that belong to the protocol.
const RESERVED: [&str; 3] = ["accept", "mcp-session-id", "last-event-id"];

/// Builds the client that all sessions of a group share: one pool of connections, one set of roots.
///
/// A redirect is followed only to where it came from: the headers a user gave for one server are not for another.
pub(crate) fn client() -> Result<reqwest::Client, Fault> {
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
    with_tls(builder)
        .build()
        .map_err(|error| Fault::caused(Outcome::Other, "cannot set up the HTTP client", error))
}

/// rustls on ring, with the platform's roots.
#[cfg(feature = "tls")]
fn with_tls(builder: reqwest::ClientBuilder) -> reqwest::ClientBuilder {
    // The process has one default provider. Where the program has chosen another one, that choice stands.
    let _ = rustls::crypto::ring::default_provider().install_default();
    builder
}

#[cfg(not(feature = "tls"))]
fn with_tls(builder: reqwest::ClientBuilder) -> reqwest::ClientBuilder {
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
    fn what_may_be_a_secret_is_not_shown() {
        assert_eq!(shown("http://me:pw@127.0.0.1:1/mcp?key=1"), "http://127.0.0.1:1/mcp");
        assert_eq!(shown("not an address"), "not an address");
    }
}
