//! The admission of requests: checks of `Host`, `Origin` and `Authorization`.
//!
//! A page in a browser can send requests to loopback addresses. With a name of its own that resolves to 127.0.0.1 it may even
//! read the answers (DNS rebinding). The browser tells the name in `Host` and the page's own address in `Origin`; neither can
//! be forged by a page.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::header::{AUTHORIZATION, HOST, ORIGIN};
use http::{HeaderMap, HeaderName, Uri};
use subtle::ConstantTimeEq;

use super::options::GatewayOptions;

/// The reason why a request is refused before its body is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refused {
    /// `Host` is missing, or a header cannot be read (RFC 9112, 3.2).
    Malformed(String),
    /// `Host` or `Origin` is not allowed.
    Forbidden(String),
    /// The token is missing or wrong.
    Unauthorized,
}

/// Checks the name to which a request was sent, and the origin of the page that sent it.
pub(super) fn admit(
    options: &GatewayOptions,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<(), Refused> {
    // A name in the address counts, and not the one in `Host` (RFC 9112, 3.2.2). In HTTP/2 it is always there.
    let host = single(headers, &HOST).map_err(Refused::Malformed)?;
    let host = uri.authority().map(|it| it.as_str()).or(host);
    let malformed = |why: &str| Refused::Malformed(why.to_owned());
    let host = host.ok_or_else(|| malformed("the request names no Host"))?;
    let name =
        host_name(host).ok_or_else(|| malformed("the Host of the request cannot be read"))?;
    if !is_known(&name, &options.allowed_hosts) {
        return Err(forbidden(&format!(
            "the Host {name:?} is not one that this gateway answers to; --allow-host adds it"
        )));
    }
    let origin = single(headers, &ORIGIN).map_err(Refused::Malformed)?;
    let Some(origin) = origin else { return Ok(()) };
    let is_listed = options.allowed_origins.iter().any(|it| it.eq_ignore_ascii_case(origin));
    if is_listed || origin_host(origin).is_some_and(|name| is_loopback(&name)) {
        return Ok(());
    }
    Err(forbidden(&format!(
        "the Origin {origin:?} may not use this gateway; --allow-origin adds it"
    )))
}

/// Checks the bearer token, if one is set. The comparison of two tokens of one length always takes the same time,
/// wherever they differ.
pub(super) fn authorize(options: &GatewayOptions, headers: &HeaderMap) -> Result<(), Refused> {
    let Some(token) = &options.token else { return Ok(()) };
    let given = single(headers, &AUTHORIZATION).ok().flatten().unwrap_or_default();
    let (scheme, given) = given.split_once(' ').unwrap_or_default();
    let is_it = bool::from(given.trim().as_bytes().ct_eq(token.as_bytes()));
    if scheme.eq_ignore_ascii_case("bearer") && is_it { Ok(()) } else { Err(Refused::Unauthorized) }
}

fn forbidden(why: &str) -> Refused {
    Refused::Forbidden(why.to_owned())
}

/// The value of a header that must occur once. Two values are an error, because a proxy may have checked the other one.
///
/// # Errors
///
/// One sentence, which names the header.
pub(super) fn single<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> Result<Option<&'a str>, String> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => match value.to_str() {
            Ok(value) => Ok(Some(value)),
            Err(_) => Err(format!("the header {name} is no text")),
        },
        (Some(_), Some(_)) => Err(format!("the header {name} is there twice")),
    }
}

/// The name without its port, in lower case, and without the dot that may end a whole name.
fn host_name(host: &str) -> Option<String> {
    let authority: http::uri::Authority = host.parse().ok()?;
    let port = authority.as_str().strip_prefix(authority.host())?;
    let is_port = matches!(port, "" | ":") || authority.port_u16().is_some();
    let name = authority.host();
    let name = name.strip_suffix('.').unwrap_or(name);
    // A value with a user name in it is no Host.
    (is_port && !host.contains('@')).then(|| name.to_ascii_lowercase())
}

/// The name in an origin: a scheme, a name, perhaps a port, and nothing else.
fn origin_host(origin: &str) -> Option<String> {
    let (scheme, host) = origin.split_once("://")?;
    let is_web = scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https");
    host_name(host).filter(|_| is_web)
}

/// Whether the gateway answers to this name.
fn is_known(name: &str, allowed: &[String]) -> bool {
    let is_it = |it: &String| it.strip_suffix('.').unwrap_or(it).eq_ignore_ascii_case(name);
    is_loopback(name) || allowed.iter().any(is_it)
}

/// Whether this is a name of this machine itself: `localhost`, or an address of loopback in any notation.
fn is_loopback(name: &str) -> bool {
    let inside = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let address = match inside {
        Some(inside) => inside.parse().map(|it: Ipv6Addr| it.to_canonical()),
        None => name.parse().map(|it: Ipv4Addr| IpAddr::V4(it)),
    };
    name == "localhost" || address.is_ok_and(|it| it.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(HeaderName, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), value.parse().expect("a value"))).collect()
    }

    fn admitted(options: &GatewayOptions, pairs: &[(HeaderName, &str)]) -> bool {
        admit(options, &Uri::from_static("/mcp"), &headers(pairs)).is_ok()
    }

    #[test]
    fn only_names_of_this_machine_are_answered_to() {
        let options = GatewayOptions::default();
        for (host, right) in [
            ("localhost", true),
            ("LOCALHOST:8080", true),
            ("127.0.0.1:1", true),
            ("[::1]:1", true),
            ("[::1]", true),
            ("localhost.", true),
            ("localhost.:80", true),
            ("localhost:", true),
            ("127.0.0.2", true),
            ("[0:0:0:0:0:0:0:1]", true),
            ("[::ffff:127.0.0.1]", true),
            ("localhost..", false),
            ("localhost:x", false),
            ("localhost:99999", false),
            ("[::2]", false),
            ("0.0.0.0", false),
            ("127.1", false),
            ("127.0.0.1.", true),
            ("evil.example", false),
            ("evil.example:8080", false),
            ("localhost.evil.example", false),
            ("127.0.0.1.evil.example", false),
            ("127.0.0.1@evil.example", false),
            ("evil.example@127.0.0.1", false),
            ("", false),
            ("a b", false),
        ] {
            assert_eq!(admitted(&options, &[(HOST, host)]), right, "{host}");
        }
        for malformed in [&[][..], &[(HOST, "localhost"), (HOST, "localhost")], &[(HOST, "a b")]] {
            let refused = admit(&options, &Uri::from_static("/mcp"), &headers(malformed));
            assert!(matches!(refused, Err(Refused::Malformed(_))), "{malformed:?}: {refused:?}");
        }
        let named = GatewayOptions::default().allow_host("Gateway.example");
        assert!(admitted(&named, &[(HOST, "gateway.example:443")]));
        assert!(admitted(&named, &[(HOST, "gateway.example.")]));
        for host in [&[][..], &[(HOST, "localhost")]] {
            let authority = Uri::from_static("http://evil.example/mcp");
            let refused = admit(&options, &authority, &headers(host));
            assert!(matches!(refused, Err(Refused::Forbidden(_))), "{host:?}: {refused:?}");
            let authority = Uri::from_static("http://localhost:1/mcp");
            assert_eq!(admit(&options, &authority, &headers(host)), Ok(()), "{host:?}");
        }
        let authority = Uri::from_static("http://localhost/mcp");
        assert_eq!(admit(&options, &authority, &headers(&[(HOST, "evil.example")])), Ok(()));
    }

    #[test]
    fn a_page_of_another_origin_is_turned_away() {
        let options = GatewayOptions::default().allow_origin("https://app.example:8443");
        for (origin, right) in [
            ("http://localhost:6274", true),
            ("https://127.0.0.1", true),
            ("http://[::1]:3000", true),
            ("http://localhost.", true),
            ("http://localhost:x", false),
            ("https://APP.example:8443", true),
            ("https://app.example", false),
            ("https://evil.example", false),
            ("http://localhost.evil.example", false),
            ("http://localhost/x@evil.example", false),
            ("file://localhost", false),
            ("null", false),
            ("", false),
        ] {
            let pairs = [(HOST, "localhost"), (ORIGIN, origin)];
            assert_eq!(admitted(&options, &pairs), right, "{origin}");
        }
    }

    #[test]
    fn a_token_is_asked_for_where_one_is_set() {
        let authorized = |options: &GatewayOptions, pairs: &[(HeaderName, &str)]| {
            authorize(options, &headers(pairs)).is_ok()
        };
        assert!(authorized(&GatewayOptions::default(), &[]));
        let options = GatewayOptions::default().token("s3cret");
        for (value, right) in [
            ("Bearer s3cret", true),
            ("bearer  s3cret ", true),
            ("Bearer s3cre", false),
            ("Bearer s3cret2", false),
            ("Basic s3cret", false),
            ("s3cret", false),
            ("", false),
        ] {
            assert_eq!(authorized(&options, &[(AUTHORIZATION, value)]), right, "{value}");
        }
        assert!(!authorized(&options, &[]));
        let twice = [(AUTHORIZATION, "Bearer s3cret"), (AUTHORIZATION, "Bearer s3cret")];
        assert!(!authorized(&options, &twice));
        assert!(!format!("{options:?}").contains("s3cret"));
    }
}
