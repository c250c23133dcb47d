//! The address that a user is sent back to after the login.

use crate::wire::body::clipped;

/// The refusal in the address that the user was sent back to (RFC 6749, section 4.1.2.1).
pub(super) fn refusal(back: &str) -> Option<String> {
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
pub(super) fn at_the_address(redirect_uri: &str, back: &str) -> Result<(), String> {
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
