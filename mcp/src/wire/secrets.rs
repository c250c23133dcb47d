//! The secrets of a server: texts that it was given, and that no error, warning or report may repeat.
//!
//! A server repeats them in its errors, on its standard output and on its standard error. Results of calls are not changed.

use std::borrow::Cow;

use parking_lot::Mutex;
use rmcp::model::ServerJsonRpcMessage;
use serde_json::Value;

use crate::params::{Origin, SHORTEST, ServerParams, Transport, is_secret};

/// A bound, because a provider may return new secrets without end. The newest are kept.
const MOST: usize = 32;
/// A line of a longer secret is hidden too if it has this many bytes, because a program may show one line of a key.
const LINE: usize = 16;
/// The text in the place of a secret.
const HIDDEN: &str = "(hidden)";

/// Texts that must not be seen.
#[derive(Default)]
pub(crate) struct Secrets {
    /// The secrets of the parameters. The longer ones come first, because they may contain shorter ones.
    given: Vec<String>,
    /// The secrets that a provider of headers has returned. The newest ones come last.
    learned: Mutex<Vec<String>>,
}

impl Secrets {
    /// The secrets in the parameters of a server.
    pub(crate) fn of(params: &ServerParams) -> Self {
        let mut all = params.hidden.0.clone();
        match &params.transport {
            Transport::Stdio(stdio) => {
                let secret =
                    |(name, value): &(&String, &String)| is_secret(name, value, Origin::Written);
                all.extend(stdio.env.iter().filter(secret).map(|(_, value)| value.clone()));
            }
            Transport::Http(http) => {
                let values = http.headers.values().flat_map(|value| with_bare(value));
                all.extend(values.map(str::to_owned));
            }
            Transport::Adopted(_) => {}
        }
        let passwords: Vec<_> = all.iter().filter_map(|value| password(value)).collect();
        all.extend(passwords);
        let mut given: Vec<String> = all
            .iter()
            .flat_map(|value| {
                value.lines().filter(|line| line.len() >= LINE).chain([value.as_str()])
            })
            .filter(|value| value.len() >= SHORTEST)
            .map(str::to_owned)
            .collect();
        given.sort_by(|one, other| other.len().cmp(&one.len()).then_with(|| one.cmp(other)));
        given.dedup();
        Self { given, learned: Mutex::default() }
    }

    /// Keeps the headers of a provider.
    pub(crate) fn learn<'a>(&self, headers: impl Iterator<Item = &'a str>) {
        let mut learned = self.learned.lock();
        for secret in headers.flat_map(with_bare).filter(|it| it.len() >= SHORTEST) {
            if !learned.iter().any(|it| it == secret) {
                learned.push(secret.to_owned());
            }
        }
        let surplus = learned.len().saturating_sub(MOST);
        learned.drain(..surplus);
    }

    /// `text` without the secrets.
    pub(crate) fn hide<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let learned = self.learned.lock();
        let mut hidden = Cow::Borrowed(text);
        for secret in self.given.iter().chain(learned.iter()) {
            if hidden.contains(secret.as_str()) {
                hidden = hidden.replace(secret.as_str(), HIDDEN).into();
            }
        }
        hidden
    }

    /// The part of `text` from `start` to `end`, without the secrets. A secret that lies across one of the two is left out
    /// as a whole.
    pub(crate) fn hide_between(&self, text: &str, start: usize, end: usize) -> String {
        let (mut start, mut end) = (start, end.min(text.len()));
        for secret in &self.given {
            for (at, _) in text.match_indices(secret.as_str()) {
                let past = at + secret.len();
                if at < start && start < past {
                    start = past;
                }
                if at < end && end < past {
                    end = at;
                }
            }
        }
        while !text.is_char_boundary(start) {
            start += 1;
        }
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        self.hide(text.get(start..end).unwrap_or_default()).into_owned()
    }

    /// Removes the secrets from an error of the server, because people read its text. A result is passed on unchanged.
    pub(crate) fn hide_in(&self, message: &mut ServerJsonRpcMessage) {
        let ServerJsonRpcMessage::Error(answer) = message else { return };
        if let Cow::Owned(hidden) = self.hide(&answer.error.message) {
            answer.error.message = hidden.into();
        }
        if let Some(data) = &mut answer.error.data {
            self.hide_in_value(data);
        }
    }

    /// Removes the secrets from all texts of a value.
    pub(crate) fn hide_in_value(&self, value: &mut Value) {
        match value {
            Value::String(text) => {
                if let Cow::Owned(hidden) = self.hide(text) {
                    *text = hidden;
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.hide_in_value(item)),
            Value::Object(fields) => fields.values_mut().for_each(|it| self.hide_in_value(it)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
}

/// The value of a header, and the part of it after the scheme of `Authorization`.
fn with_bare(value: &str) -> impl Iterator<Item = &str> {
    let bare = value.split_once(' ').map(|(_scheme, bare)| bare.trim());
    [Some(value), bare].into_iter().flatten()
}

/// The password in an address.
fn password(value: &str) -> Option<String> {
    reqwest::Url::parse(value).ok()?.password().map(str::to_owned)
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secrets")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params::{HttpParams, StdioParams};

    fn of_env(pairs: &[(&str, &str)]) -> Secrets {
        let env = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let params = StdioParams { env: env.collect(), ..StdioParams::default() };
        Secrets::of(&ServerParams::stdio("s", params).secret("given-1"))
    }

    #[test]
    fn a_secret_that_a_server_repeats_is_not_shown() {
        let mut params = HttpParams::new("http://127.0.0.1/");
        params.headers = [("Authorization".to_owned(), "Bearer t0ken-1234".to_owned())].into();
        let secrets = Secrets::of(&ServerParams::http("s", params));
        assert_eq!(secrets.hide("bad token t0ken-1234!"), "bad token (hidden)!");
        assert_eq!(secrets.hide("got Bearer t0ken-1234"), "got (hidden)");
        secrets.learn(["short", "a"].into_iter());
        assert_eq!(secrets.hide("a short word"), "a short word");
        for round in 0..100 {
            secrets.learn([format!("secret {round}").as_str()].into_iter());
        }
        assert_eq!(secrets.learned.lock().len(), MOST);
        assert_eq!(secrets.hide("secret 99"), "(hidden)");
        assert_eq!(secrets.hide("t0ken-1234"), "(hidden)", "it outlives those of a provider");
    }

    #[test]
    fn values_of_variables_are_hidden_longest_first_with_their_lines_and_passwords() {
        let secrets = of_env(&[
            ("API_KEY", "abcdef"),
            ("LONG_KEY", "abcdef-abcdef"),
            ("PEM_KEY", "-----BEGIN-----\nMIIEvQIBADANBgkqhkiG\n-----END-----"),
            ("DATABASE_URL", "postgres://me:passw0rd@host/db"),
            ("LOG_LEVEL", "warning"),
        ]);
        for (text, shown) in [
            ("key abcdef-abcdef!", "key (hidden)!"),
            ("key abcdef", "key (hidden)"),
            ("given-1", "(hidden)"),
            ("line MIIEvQIBADANBgkqhkiG", "line (hidden)"),
            ("no login with passw0rd", "no login with (hidden)"),
            ("warning: at /srv", "warning: at /srv"),
        ] {
            assert_eq!(secrets.hide(text), shown);
        }
    }

    #[test]
    fn a_secret_that_is_cut_off_is_left_out() {
        let secrets = of_env(&[("API_KEY", "abcdef")]);
        let text = "x abcdef yé abcdef z";
        assert_eq!(secrets.hide_between(text, 0, text.len()), "x (hidden) yé (hidden) z");
        assert_eq!(secrets.hide_between(text, 4, 15), " yé ");
        assert_eq!(secrets.hide_between(text, 2, 100), "(hidden) yé (hidden) z");
        assert_eq!(secrets.hide_between(text, 11, 12), "", "inside a character");
        assert_eq!(secrets.hide_between("abcdef", 2, 4), "");
    }
}
