//! The values of keys: strings with their variables filled in, lists and objects of them, truth values, limits.

use std::collections::BTreeMap;
use std::time::Duration;

use super::document::{Format, Node, Value};
use super::duration::parse_duration;
use super::error::{ConfigError, ConfigErrorKind};
use super::expand::{Env, Unfilled, expand};
use super::fields::Field;

/// The context in which values are read.
#[derive(Clone, Copy)]
pub(super) struct Values<'a> {
    pub env: Env<'a>,
    pub format: Format,
}

impl Values<'_> {
    /// A string as it is written.
    pub(super) fn word(&self, key: &str, node: Node) -> Result<String, ConfigError> {
        match node.value {
            Value::Text(text) => Ok(text),
            Value::Bare(text) if self.format == Format::Yaml => Ok(text),
            other => Err(wrong_kind(key, node.line, "a string", &other)),
        }
    }

    /// A string with its variables filled in.
    pub(super) fn text(&self, key: &str, node: Node) -> Result<String, ConfigError> {
        let line = node.line;
        let written = self.word(key, node)?;
        let filled = expand(&written, self.env)
            .map_err(|unfilled| unfilled_in(unfilled).of_key(key).at_line(line))?;
        if filled.contains('\0') {
            let why = "has a value with a NUL character in it";
            return Err(ConfigError::value(why).of_key(key).at_line(line));
        }
        Ok(filled)
    }

    /// A string that is not empty.
    pub(super) fn filled(&self, field: Field) -> Result<String, ConfigError> {
        let Field { key, node, .. } = field;
        let line = node.line;
        let text = self.text(&key, node)?;
        if text.is_empty() {
            return Err(ConfigError::value("is empty").of_key(key).at_line(line));
        }
        Ok(text)
    }

    pub(super) fn list(&self, field: Field) -> Result<Vec<String>, ConfigError> {
        let Field { key, node, .. } = field;
        match node.value {
            Value::List(items) => items
                .into_iter()
                .enumerate()
                .map(|(at, item)| self.text(&format!("{key}[{at}]"), item))
                .collect(),
            other => Err(wrong_kind(&key, node.line, "a list", &other)),
        }
    }

    /// An object of strings: `env` and `headers`. `check` sees each of them.
    pub(super) fn texts(
        &self,
        field: Option<Field>,
        check: impl Fn(&str, &str) -> Result<(), String>,
    ) -> Result<BTreeMap<String, String>, ConfigError> {
        let mut texts = BTreeMap::new();
        let Some(Field { key, node, .. }) = field else { return Ok(texts) };
        let pairs = match node.value {
            Value::Object(pairs) => pairs,
            other => return Err(wrong_kind(&key, node.line, "an object of strings", &other)),
        };
        for pair in pairs {
            let inner = format!("{key}.{}", pair.key);
            let value = self.text(&inner, pair.node)?;
            let refuse = |why| ConfigError::value(why).of_key(&inner).at_line(pair.line);
            check(&pair.key, &value).map_err(refuse)?;
            if texts.insert(pair.key, value).is_some() {
                return Err(refuse("stands there twice".to_owned()));
            }
        }
        Ok(texts)
    }
}

pub(super) fn truth(field: Field) -> Result<bool, ConfigError> {
    let Field { key, node, .. } = field;
    node.value.truth().ok_or_else(|| wrong_kind(&key, node.line, "true or false", &node.value))
}

/// A limit, and a warning if it looks like a number of seconds.
pub(super) fn limit(field: Field) -> Result<(Duration, Option<String>), ConfigError> {
    let Field { key, node, .. } = field;
    let refuse = |why: String| ConfigError::value(why).of_key(&key).at_line(node.line);
    let (limit, warning) = match &node.value {
        Value::Bare(number) if node.value.truth().is_none() => {
            let limit = parse_duration(&format!("{number}ms")).map_err(|_| {
                refuse("must be a whole number of milliseconds, a day at most".into())
            })?;
            let few = limit < Duration::from_secs(1);
            let warning = few.then(|| {
                format!(
                    "{key:?} {number} is read as milliseconds; seconds are written \"{number}s\""
                )
            });
            (limit, warning)
        }
        Value::Text(text) => {
            (parse_duration(text).map_err(|why| refuse(format!("cannot be read: {why}")))?, None)
        }
        other => {
            let wanted = "a number of milliseconds, or a string with a unit";
            return Err(wrong_kind(&key, node.line, wanted, other));
        }
    };
    if limit.is_zero() {
        return Err(refuse("is zero, so that no call could succeed".to_owned()));
    }
    Ok((limit, warning))
}

fn wrong_kind(key: &str, line: usize, wanted: &str, found: &Value) -> ConfigError {
    let why = format!("must be {wanted}, not {}", found.kind());
    ConfigError::value(why).of_key(key).at_line(line)
}

fn unfilled_in(unfilled: Unfilled) -> ConfigError {
    match unfilled {
        Unfilled::Missing(name) => ConfigError::new(
            ConfigErrorKind::Variable,
            format!(
                "needs the environment variable {name}, which is not set; set it, or write a default: ${{{name}:-..}}"
            ),
        )
        .of_variable(&name),
        Unfilled::NotText(name) => ConfigError::new(
            ConfigErrorKind::Variable,
            format!("needs the environment variable {name}, which is not Unicode text"),
        )
        .of_variable(&name),
        Unfilled::Asked => ConfigError::value(
            "holds \"${input:..}\", a question that an editor asks; name a variable: ${env:NAME}",
        ),
        Unfilled::Malformed => ConfigError::value(
            "holds a placeholder that is none of ${NAME}, ${env:NAME} and ${NAME:-default}; \
             a dollar and a brace that mean themselves are written $${",
        ),
    }
}
