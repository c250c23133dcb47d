//! The address of a server, and the part of it that an error may show.

use reqwest::Url;

/// Checks an address; `written` is the address before variables were filled in.
pub(super) fn check(url: &str, written: &str) -> Result<(), String> {
    let parsed = Url::parse(url).map_err(|error| format!("{:?}: {error}", shown(written)))?;
    match parsed.scheme() {
        "http" | "https" => Ok(()),
        // Even the scheme of an address that comes from a variable may be the beginning of a
        // credential.
        _ if written.contains("${") => Err("must be an address of http or https".to_owned()),
        other => Err(format!("{:?}: expected http or https, not {other}", shown(written))),
    }
}

/// The scheme and the host of an address: paths, queries and user names often hold credentials.
fn shown(written: &str) -> String {
    let (scheme, rest) = match written.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None => (String::new(), written),
    };
    let end = rest.find(['/', '?', '#', '\\', '$']).unwrap_or(rest.len());
    let host = &rest[..end];
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    // The text after a colon is a password if the `@` is missing.
    let usual = |char: char| char.is_alphanumeric() || ".-_ ".contains(char);
    let length = host.find(|char| !usual(char)).unwrap_or(host.len());
    match &rest[end..] {
        tail if length == host.len() && tail.len() <= 1 => format!("{scheme}{host}{tail}"),
        _ => format!("{scheme}{}/..", &host[..length]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_shows_the_host_and_no_credential() {
        for (written, expected) in [
            ("ftp://h/", "ftp://h/"),
            ("ftp://h", "ftp://h"),
            ("ftp://user:secret@h/secret?key=secret", "ftp://h/.."),
            ("nowhere", "nowhere"),
            ("user:secret@h", "h"),
            ("http://user:secret", "http://user/.."),
            ("ws://h?key=secret", "ws://h/.."),
            ("ws://${HOST:-secret}/x", "ws:///.."),
        ] {
            assert_eq!(shown(written), expected, "{written}");
        }
    }
}
