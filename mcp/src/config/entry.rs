//! One server of the configuration: its transport, and the parameters for it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use http::{HeaderName, HeaderValue};

use super::document::{Node, Value};
use super::error::ConfigError;
use super::fields::{Field, Fields};
use super::values::{Values, limit, truth};
use super::{address, auth};
use crate::params::{Era, HttpParams, SecretTexts, ServerParams, StdioParams, Transport};
use crate::policy::{Backoff, Descendants, Restart};

/// Turns one entry into parameters; `None` if it is disabled. `warn` gets the ignored parts.
///
/// # Errors
///
/// The mistake, without the server's name, which the caller adds.
pub(super) fn read(
    name: &str,
    node: Node,
    values: Values<'_>,
    warn: &mut dyn FnMut(String),
) -> Result<Option<ServerParams>, ConfigError> {
    if name.is_empty() {
        return Err(ConfigError::shape("a server needs a name that is not empty"));
    }
    let Value::Object(pairs) = node.value else {
        let why = format!("expected an object, found {}", node.value.kind());
        return Err(ConfigError::shape(why).at_line(node.line));
    };
    let mut fields = Fields::sort(pairs, warn)?;
    let disabled = fields.take("disabled").map(truth).transpose()?.unwrap_or(false);
    let enabled = fields.take("enabled").map(truth).transpose()?.unwrap_or(true);
    if disabled || !enabled {
        // The rest of the entry is not checked, so its variables need not be set.
        warn("it is switched off in the configuration and is not started".to_owned());
        return Ok(None);
    }

    let era = fields.take("era").map(|field| era(field, values)).transpose()?.unwrap_or_default();
    let call_timeout = match fields.take("timeout").map(limit).transpose()? {
        Some((limit, warning)) => {
            warning.into_iter().for_each(&mut *warn);
            Some(limit)
        }
        None => None,
    };
    let restart = fields.take("restart").map(|field| restart(field, values)).transpose()?;
    let restart = restart.unwrap_or_default();
    let (transport, belongs_to) = transport(&mut fields, values, warn)?;
    for key in fields.rest() {
        warn(format!("{key:?} goes with {belongs_to:?} and is ignored"));
    }
    Ok(Some(ServerParams {
        name: name.to_owned(),
        transport,
        era,
        call_timeout,
        callbacks: None,
        restart,
        hidden: SecretTexts::default(),
    }))
}

/// The transport, and the key of the other transport, with which the fields that are left go.
fn transport(
    fields: &mut Fields,
    values: Values<'_>,
    warn: &mut dyn FnMut(String),
) -> Result<(Transport, &'static str), ConfigError> {
    let kind = fields.take("type").map(|field| Kind::read(field, values)).transpose()?;
    let command = fields.take("command");
    let url = fields.take("url");
    match (command, url) {
        (Some(command), Some(url)) => {
            let why = format!("both {:?} and {:?}: a server has one of them", command.key, url.key);
            Err(ConfigError::value(why).at_line(url.node.line))
        }
        (None, None) => {
            let why = "neither \"command\" nor \"url\": a server needs one of them";
            Err(ConfigError::value(why))
        }
        (Some(command), None) => {
            kind.map_or(Ok(()), |kind| kind.expect(Wire::Stdio, "command"))?;
            Ok((Transport::Stdio(stdio(command, fields, values)?), "url"))
        }
        (None, Some(url)) => {
            if let Some(kind) = kind {
                if kind.wire == Wire::Sse {
                    warn(format!(
                        "{:?} is \"sse\": the SSE transport was removed from the protocol, streamable HTTP is used",
                        kind.key
                    ));
                }
                kind.expect(Wire::Http, &url.key)?;
            }
            Ok((Transport::Http(http(url, fields, values, warn)?), "command"))
        }
    }
}

fn stdio(
    command: Field,
    fields: &mut Fields,
    values: Values<'_>,
) -> Result<StdioParams, ConfigError> {
    Ok(StdioParams {
        command: values.filled(command)?,
        args: fields.take("args").map_or_else(|| Ok(Vec::new()), |args| values.list(args))?,
        env: values.texts(fields.take("env"), check_variable)?,
        cwd: fields.take("cwd").map(|cwd| values.filled(cwd).map(PathBuf::from)).transpose()?,
        descendants: fields
            .take("descendants")
            .map(|field| descendants(field, values))
            .transpose()?
            .unwrap_or_default(),
    })
}

fn http(
    url: Field,
    fields: &mut Fields,
    values: Values<'_>,
    warn: &mut dyn FnMut(String),
) -> Result<HttpParams, ConfigError> {
    let (key, line) = (url.key.clone(), url.node.line);
    let written = values.word(&key, url.node.clone())?;
    let url = values.filled(url)?;
    address::check(&url, &written)
        .map_err(|why| ConfigError::value(why).of_key(key).at_line(line))?;

    let headers = fields.take("headers");
    let (key, line) = headers
        .as_ref()
        .map_or_else(Default::default, |field| (field.key.clone(), field.node.line));
    let mut headers = values.texts(headers, check_header)?;
    if let Some(name) = named_twice(&headers) {
        return Err(ConfigError::value(
            "stands there twice: upper and lower case are the same in the name of a header",
        )
        .of_key(format!("{key}.{name}"))
        .at_line(line));
    }

    let kind = fields.take("auth_type");
    let value = fields.take("auth_value");
    let (value_key, line) =
        value.as_ref().map_or_else(Default::default, |field| (field.key.clone(), field.node.line));
    let kind = kind.map(|field| values.word(&field.key, field.node)).transpose()?;
    let value = value.map(|field| values.filled(field)).transpose()?;
    match auth::read(kind.as_deref(), value) {
        auth::Auth::None => {}
        auth::Auth::Nothing(why) => warn(why.to_owned()),
        auth::Auth::Header(name, value) => {
            let refuse =
                |why: String| ConfigError::value(why).of_key(value_key.clone()).at_line(line);
            check_header(name, &value).map_err(refuse)?;
            if headers.keys().any(|known| known.eq_ignore_ascii_case(name)) {
                return Err(refuse(format!(
                    "stands for the header {name}, which {key:?} has as well"
                )));
            }
            headers.insert(name.to_owned(), value);
        }
    }
    Ok(HttpParams { url, headers, authorize: None })
}

/// The transport that `type` or `transport` names.
struct Kind {
    key: String,
    line: usize,
    wire: Wire,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Wire {
    Stdio,
    Http,
    Sse,
}

impl Kind {
    fn read(field: Field, values: Values<'_>) -> Result<Self, ConfigError> {
        let (key, line) = (field.key, field.node.line);
        let word = values.word(&key, field.node)?.to_ascii_lowercase();
        let wire = match word.replace(['-', '_', ' '], "").as_str() {
            "stdio" | "local" => Wire::Stdio,
            "http" | "streamablehttp" | "remote" => Wire::Http,
            "sse" => Wire::Sse,
            _ => {
                let why = format!("{word:?}: expected \"stdio\", \"http\" or \"sse\"");
                return Err(ConfigError::value(why).of_key(key).at_line(line));
            }
        };
        Ok(Self { key, line, wire })
    }

    /// Refuses a kind that the other keys contradict.
    fn expect(self, wire: Wire, beside: &str) -> Result<(), ConfigError> {
        if (self.wire == Wire::Stdio) == (wire == Wire::Stdio) {
            return Ok(());
        }
        let said = if self.wire == Wire::Stdio { "stdio" } else { "HTTP" };
        let why = format!("asks for {said}, which does not go with {beside:?}");
        Err(ConfigError::value(why).of_key(self.key).at_line(self.line))
    }
}

fn era(field: Field, values: Values<'_>) -> Result<Era, ConfigError> {
    let words = [("auto", Era::Auto), ("legacy", Era::Legacy), ("modern", Era::Modern)];
    one_of(field, values, &words)
}

fn restart(field: Field, values: Values<'_>) -> Result<Restart, ConfigError> {
    let words = [
        ("never", Restart::Never),
        ("on-failure", Restart::OnFailure(Backoff::default())),
        ("always", Restart::Always(Backoff::default())),
    ];
    one_of(field, values, &words)
}

fn descendants(field: Field, values: Values<'_>) -> Result<Descendants, ConfigError> {
    one_of(field, values, &[("kill", Descendants::Kill), ("leave", Descendants::Leave)])
}

/// The value that a word stands for.
fn one_of<T: Copy>(
    field: Field,
    values: Values<'_>,
    words: &[(&str, T)],
) -> Result<T, ConfigError> {
    let (key, line) = (field.key, field.node.line);
    let word = values.word(&key, field.node)?;
    if let Some((_, value)) = words.iter().find(|(known, _)| *known == word) {
        return Ok(*value);
    }
    let quoted: Vec<_> = words.iter().map(|(known, _)| format!("{known:?}")).collect();
    let expected = match quoted.as_slice() {
        [firsts @ .., last] => format!("{} or {last}", firsts.join(", ")),
        [] => String::new(),
    };
    Err(ConfigError::value(format!("{word:?}: expected {expected}")).of_key(key).at_line(line))
}

/// The value is not repeated: it is often a credential.
fn check_header(name: &str, value: &str) -> Result<(), String> {
    HeaderName::try_from(name).map_err(|_| "is no header name".to_owned())?;
    HeaderValue::try_from(value).map_err(|_| "has a value that cannot be sent".to_owned())?;
    Ok(())
}

fn check_variable(name: &str, _value: &str) -> Result<(), String> {
    if name.is_empty() || name.contains(['=', '\0']) {
        return Err("is no name of a variable".to_owned());
    }
    Ok(())
}

/// A header that is there in two spellings.
fn named_twice(headers: &BTreeMap<String, String>) -> Option<&str> {
    let mut seen = std::collections::HashSet::new();
    headers.keys().find(|name| !seen.insert(name.to_ascii_lowercase())).map(String::as_str)
}
