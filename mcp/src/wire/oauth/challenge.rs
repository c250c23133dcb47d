//! The challenges of a server that refuses a request (RFC 6750, section 3).

use rmcp::transport::auth::WWWAuthenticateParams;

/// Whether a refusal is for a scope that is missing.
pub(crate) fn is_insufficient_scope(challenges: &[String]) -> bool {
    challenges.iter().any(|challenge| {
        let base = reqwest::Url::parse("http://localhost/");
        base.is_ok_and(|base| {
            WWWAuthenticateParams::parse(&without_spaces(challenge), &base).is_insufficient_scope()
        })
    })
}

/// The scopes that the challenges name.
pub(super) fn required(challenges: &[String], base: &reqwest::Url) -> String {
    let read = |it: &String| WWWAuthenticateParams::parse(&without_spaces(it), base);
    let required = challenges.iter().map(read);
    required.filter_map(|params| params.scope).collect::<Vec<_>>().join(" ")
}

/// A challenge without the spaces that a server may put around `=` (RFC 9110, section 11.2), which rmcp does not expect.
pub(super) fn without_spaces(challenge: &str) -> String {
    let mut text = String::with_capacity(challenge.len());
    let (mut is_quoted, mut is_escaped, mut is_after_equals) = (false, false, false);
    for character in challenge.chars() {
        match character {
            _ if is_escaped => is_escaped = false,
            '\\' if is_quoted => is_escaped = true,
            '"' => is_quoted = !is_quoted,
            ' ' | '\t' if !is_quoted && is_after_equals => continue,
            '=' if !is_quoted => text.truncate(text.trim_end_matches([' ', '\t']).len()),
            _ => {}
        }
        is_after_equals = character == '=' && !is_quoted;
        text.push(character);
    }
    text
}

/// The part of a header from its challenge `Bearer` on. One header may have several challenges.
pub(super) fn bearer(header: &str) -> Option<&str> {
    let (mut is_quoted, mut is_escaped, mut begins) = (false, false, true);
    for (at, byte) in header.bytes().enumerate() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_quoted => is_escaped = true,
            b'"' => is_quoted = !is_quoted,
            _ if is_quoted => {}
            b',' => begins = true,
            b' ' | b'\t' => {}
            _ if begins => {
                begins = false;
                let rest = &header.as_bytes()[at..];
                let is_it = rest.get(..6).is_some_and(|it| it.eq_ignore_ascii_case(b"bearer"));
                if is_it && matches!(rest.get(6), None | Some(b' ' | b'\t' | b',')) {
                    return header.get(at..);
                }
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_challenge_for_a_token_is_found_among_others() {
        for (header, wanted) in [
            ("Bearer", Some("Bearer")),
            ("bearer a=\"b\"", Some("bearer a=\"b\"")),
            ("Basic realm=\"x\", Bearer scope=s", Some("Bearer scope=s")),
            ("Negotiate, BEARER scope=s, Basic realm=x", Some("BEARER scope=s, Basic realm=x")),
            ("Basic realm=\"a, Bearer x\"", None),
            ("Basic realm=\"a\\\", Bearer x\"", None),
            ("Bearerish a=b", None),
            ("Basic realm=bearer", None),
            ("Digest a=1,bearer b=2", Some("bearer b=2")),
            ("", None),
        ] {
            assert_eq!(bearer(header), wanted, "{header}");
        }
    }

    #[test]
    fn a_challenge_is_read_with_spaces_around_its_equals_signs() {
        for (came, read) in [
            ("Bearer a = \"b = c\" , d\t=e", "Bearer a=\"b = c\" , d=e"),
            (r#"Bearer a="\" = " , b= c"#, r#"Bearer a="\" = " , b=c"#),
            ("Bearer", "Bearer"),
            ("\u{e9} = \u{e9}", "\u{e9}=\u{e9}"),
        ] {
            assert_eq!(without_spaces(came), read);
        }
        let spaced = ["Bearer error = \"insufficient_scope\"".to_owned()];
        assert!(is_insufficient_scope(&spaced));
    }
}
