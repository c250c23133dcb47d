//! Whether an address may come from a pattern of addresses.

/// Whether `address` may be an expansion of `template` (RFC 6570): the literal parts stand in it, in their order, the first
/// one at its beginning and the last one at its end.
pub(super) fn fits(template: &str, address: &str) -> bool {
    let Some((first, mut template)) = template.split_once('{') else {
        return template == address;
    };
    let Some(mut address) = address.strip_prefix(first) else { return false };
    loop {
        let Some((_, rest)) = template.split_once('}') else { return false };
        let Some((literal, next)) = rest.split_once('{') else { return address.ends_with(rest) };
        let Some(at) = address.find(literal) else { return false };
        address = &address[at + literal.len()..];
        template = next;
    }
}

/// Whether a template begins with an expression: it may fit every address, so its server is asked last.
pub(super) fn is_wide(template: &str) -> bool {
    template.starts_with('{')
}

#[cfg(test)]
mod tests {
    use super::fits;

    #[test]
    fn literals_stand_in_their_order() {
        for (template, address, right) in [
            ("file:///{path}", "file:///a/b", true),
            ("file:///{path}", "http://a", false),
            ("db://{table}/rows/{id}.json", "db://a/rows/7.json", true),
            ("db://{table}/rows/{id}.json", "db://a/rows/7.txt", false),
            ("db://{table}/rows/{id}.json", "db://a/cols/7.json", false),
            ("x://a{?q}", "x://a?q=1", true),
            ("x://a", "x://a", true),
            ("{+any}", "x://a", true),
            ("{scheme}://a", "x://a", true),
            ("{scheme}://a", "x://b", false),
            ("x://{", "x://a", false),
            ("x://{a}b{c}b", "x://b", false),
            ("x://{a}ä{c}", "x://1ä2", true),
        ] {
            assert_eq!(fits(template, address), right, "{template} {address}");
        }
    }
}
