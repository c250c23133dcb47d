//! The values that a server is given and that no text about it may show.

use std::fmt;

use super::StdioParams;

/// A shorter text stands everywhere, and hiding it would make other texts unreadable.
pub(crate) const SHORTEST: usize = 6;
/// Parts of the names of variables that hold credentials.
const TELLING: [&str; 8] = ["AUTH", "COOKIE", "CRED", "KEY", "PASS", "PRIVATE", "SECRET", "TOKEN"];

/// The origin of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// It is written in a configuration or in a program.
    Written,
    /// A placeholder was filled in with it.
    #[cfg_attr(not(feature = "config"), allow(dead_code, reason = "only `config` fills in"))]
    FilledIn,
}

/// Whether the value of the variable `name` is hidden in texts.
///
/// It is unless that would hide nothing and make texts unreadable: a value of less than [`SHORTEST`] bytes, a variable that
/// every server inherits (`HOME`, `PATH`, ..), and, if the name does not tell of a credential, a number, a path, an
/// address of a host alone, and a written word of letters.
pub(crate) fn is_secret(name: &str, value: &str, origin: Origin) -> bool {
    if value.len() < SHORTEST || StdioParams::inherited(name) {
        return false;
    }
    let name = name.to_ascii_uppercase();
    if TELLING.iter().any(|part| name.contains(part)) {
        return true;
    }
    let is_word = value.bytes().all(|byte| byte.is_ascii_alphabetic());
    let is_path = ["/", "./", "../", "~/"].iter().any(|start| value.starts_with(start));
    let is_plain = is_path
        || value.parse::<f64>().is_ok()
        || is_host(value)
        || (is_word && origin == Origin::Written);
    !is_plain
}

/// Whether a value is an address without user, path and query.
fn is_host(value: &str) -> bool {
    reqwest::Url::parse(value).is_ok_and(|url| {
        url.has_host()
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && matches!(url.path(), "" | "/")
    })
}

/// Texts that are not shown, not even by `Debug`.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct SecretTexts(pub(crate) Vec<String>);

impl fmt::Debug for SecretTexts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} hidden", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_hidden_unless_it_is_ordinary() {
        for (name, value, written, filled_in) in [
            ("API_KEY", "sk-12345", true, true),
            ("password", "swordfish", true, true),
            ("DB_PASS", "/slash", true, true),
            ("X", "hunter2!", true, true),
            ("X", "swordfish", false, true),
            ("DATABASE_URL", "postgres://me:word@host/db", true, true),
            ("HOOK", "https://host.example/services/T0/B1", true, true),
            ("API_KEY", "short", false, false),
            ("DEBUG", "true", false, false),
            ("LIMIT", "1000000", false, false),
            ("LIMIT", "0.500000", false, false),
            ("ROOT", "/srv/files", false, false),
            ("ROOT", "./files", false, false),
            ("BASE", "http://127.0.0.1:8080", false, false),
            ("PATH", "a:b:c:d:e", false, false),
            ("HOME", "secretly", false, false),
        ] {
            assert_eq!(is_secret(name, value, Origin::Written), written, "{name}={value}");
            assert_eq!(is_secret(name, value, Origin::FilledIn), filled_in, "{name}={value}");
        }
        let shown = format!("{:?}", SecretTexts(vec!["s3cret".into()]));
        assert_eq!(shown, "1 hidden");
    }
}
