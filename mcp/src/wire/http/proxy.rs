//! The proxy on the way to a server, for the text of a failure.

use std::io::ErrorKind;

use hyper_util::client::proxy::matcher::Matcher;

use super::headers::shown;

/// The proxy for requests to `url`, in a form that may be shown.
pub(super) fn on_the_way_to(url: &str) -> Option<String> {
    // The HTTP client reads the same environment in the same way.
    let proxy = Matcher::from_system().intercept(&url.parse().ok()?)?;
    let shown = shown(&proxy.uri().to_string());
    Some(shown.trim_end_matches('/').to_owned())
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
