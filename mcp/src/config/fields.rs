//! The keys of one server, sorted by meaning, because programs have different names for one
//! key.

use std::collections::HashMap;

use super::document::{Node, Pair, Value};
use super::error::{ConfigError, shown};

/// Every known key, and its meaning.
const KEYS: [(&str, &str); 21] = [
    ("command", "command"),
    ("args", "args"),
    ("env", "env"),
    ("cwd", "cwd"),
    ("url", "url"),
    ("serverUrl", "url"),
    ("httpUrl", "url"),
    ("headers", "headers"),
    ("static_headers", "headers"),
    ("type", "type"),
    ("transport", "type"),
    ("disabled", "disabled"),
    ("enabled", "enabled"),
    ("timeout", "timeout"),
    ("era", "era"),
    ("restart", "restart"),
    ("descendants", "descendants"),
    ("auth_type", "auth_type"),
    ("auth_value", "auth_value"),
    ("authentication_token", "auth_value"),
    ("allow_all_keys", "ignored"),
];

/// The keys that an entry has.
#[derive(Default)]
pub(super) struct Fields(Vec<Field>);

/// A key as it is written, and its value.
pub(super) struct Field {
    meaning: &'static str,
    pub key: String,
    pub node: Node,
}

impl Fields {
    /// Sorts the keys of an entry; `null` counts as a missing key. `warn` gets the ignored parts.
    pub(super) fn sort(
        entry: Vec<Pair>,
        warn: &mut dyn FnMut(String),
    ) -> Result<Self, ConfigError> {
        let mut fields = Self::default();
        let mut seen = HashMap::new();
        for Pair { key, line, node } in entry {
            if let Some(first) = seen.insert(key.clone(), line) {
                let first = match first {
                    0 => String::new(),
                    _ => format!(", first in line {first}"),
                };
                return Err(ConfigError::value(format!("stands there twice{first}"))
                    .of_key(key)
                    .at_line(line));
            }
            match KEYS.iter().find(|(known, _)| *known == key) {
                None => warn(format!("unknown key {:?} is ignored", shown(&key))),
                Some((_, "ignored")) => warn(format!(
                    "{key:?} is ignored: it tells LiteLLM which of its own keys may use the server"
                )),
                Some(_) if node.value == Value::Null => {}
                Some((_, meaning)) => fields.add(Field { meaning, key, node })?,
            }
        }
        Ok(fields)
    }

    /// Two names of one key may stand side by side if their values are equal.
    fn add(&mut self, field: Field) -> Result<(), ConfigError> {
        match self.0.iter().find(|other| other.meaning == field.meaning) {
            None => self.0.push(field),
            Some(other) if other.node == field.node => {}
            Some(other) => {
                let why = format!("says something else than {:?}, which means the same", other.key);
                return Err(ConfigError::value(why).of_key(field.key).at_line(field.node.line));
            }
        }
        Ok(())
    }

    /// The field with this `meaning`, under any of its names.
    pub(super) fn take(&mut self, meaning: &str) -> Option<Field> {
        let at = self.0.iter().position(|field| field.meaning == meaning)?;
        Some(self.0.remove(at))
    }

    /// The keys that were not used.
    pub(super) fn rest(self) -> impl Iterator<Item = String> {
        self.0.into_iter().map(|field| field.key)
    }
}
