//! The proxy on the way to a server.

use std::io::ErrorKind;

use hyper_util::client::proxy::matcher::Matcher;

use super::headers::shown;

/// Whether `NO_PROXY` rules out every proxy, for all servers. The HTTP client takes its `*` for all names, and not for
/// addresses such as 127.0.0.1.
pub(super) fn is_ruled_out() -> bool {
    let list = std::env::var("NO_PROXY").or_else(|_| std::env::var("no_proxy"));
    list.is_ok_and(|list| list.split(',').any(|entry| entry.trim() == "*"))
}

/// The proxy for requests to `url`, in a form that may be shown.
pub(super) fn on_the_way_to(url: &str) -> Option<String> {
    if is_ruled_out() {
        return None;
    }
    // Otherwise the HTTP client reads the same environment in the same way.
    let proxy = Matcher::from_system().intercept(&url.parse().ok()?)?;
    let shown = shown(&proxy.uri().to_string());
    Some(shown.trim_end_matches('/').to_owned())
}

/// Whether a proxy has refused to open a tunnel with 407. The error has a type that is not exported.
pub(super) fn wants_authorization(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(cause) = next {
        if cause.to_string() == "tunnel error: proxy authorization required" {
            return true;
        }
        next = cause.source();
    }
    false
}

/// Whether an error belongs to the network up to the next machine, which is the proxy if there is one. Errors of TLS,
/// which the server behind the proxy speaks, have the same type and differ in their kind.
pub(super) fn is_of_the_network(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(cause) = next {
        if let Some(error) = cause.downcast_ref::<std::io::Error>() {
            return !matches!(error.kind(), ErrorKind::InvalidData | ErrorKind::UnexpectedEof);
        }
        next = cause.source();
    }
    false
}
