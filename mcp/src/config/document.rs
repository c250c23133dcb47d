//! A configuration as it is written: objects keep their order and repeated keys, values keep their lines.
//!
//! The order decides the order of the report, and a server that is named twice must be seen twice.

use std::fmt;
use std::ops::Range;

use super::error::{ConfigError, ConfigErrorKind};
use super::{jsonc, yaml};

/// A configuration as it is written, before variables are filled in and before anything is checked.
///
/// It comes from a text ([`parse`](Self::parse)), or from a larger file of another program: it is `Deserialize` for
/// every self-describing format. Only a text has lines. It is `Serialize` too, with its placeholders unfilled.
#[derive(Clone, PartialEq)]
pub struct Document {
    pub(super) root: Node,
    pub(super) format: Format,
}

/// The format of the text, as far as it affects values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// A string is in quotes, and a number is no string.
    Json,
    /// A string needs no quotes, so a number or a truth value may be meant as one.
    Yaml,
}

/// The format that the name of a file suggests. The content decides first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Named {
    Json,
    Yaml,
    Otherwise,
}

/// A value and its line; line 0 if lines are not known.
#[derive(Clone)]
pub(super) struct Node {
    pub line: usize,
    /// The range of bytes that it occupies in the text, while it is needed.
    pub span: Option<Range<usize>>,
    pub value: Value,
}

/// Two nodes are equal if their values are, at any place.
impl PartialEq for Node {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl PartialEq for Pair {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key && self.node == other.node
    }
}

/// One key of an object with its value.
#[derive(Clone)]
pub(super) struct Pair {
    pub key: String,
    pub line: usize,
    pub node: Node,
}

#[derive(Clone, PartialEq)]
pub(super) enum Value {
    Null,
    Text(String),
    /// A number or a truth value, as it is spelled.
    Bare(String),
    List(Vec<Node>),
    Object(Vec<Pair>),
}

impl Value {
    /// The kind of value, for a sentence such as "expected a string, found a list". Never the value, which may be a
    /// credential.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Value::Null => "null",
            Value::Text(_) => "a string",
            Value::Bare(_) if self.truth().is_some() => "a truth value",
            Value::Bare(_) => "a number",
            Value::List(_) => "a list",
            Value::Object(_) => "an object",
        }
    }

    pub(super) fn truth(&self) -> Option<bool> {
        match self {
            Value::Bare(word) if word.eq_ignore_ascii_case("true") => Some(true),
            Value::Bare(word) if word.eq_ignore_ascii_case("false") => Some(false),
            _ => None,
        }
    }
}

impl Document {
    /// Reads a text: JSON with comments and trailing commas if it begins like JSON (a brace, a bracket or a comment of
    /// its kind), YAML otherwise.
    ///
    /// # Errors
    ///
    /// [`ConfigErrorKind::Syntax`], with the line.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        Self::parse_named(text, Named::Otherwise)
    }

    pub(super) fn parse_named(text: &str, named: Named) -> Result<Self, ConfigError> {
        // Some editors put a byte order mark first; it is not part of the text.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        if looks_like_json(text) {
            let wrong = match jsonc::read(text) {
                Ok(root) => return Ok(Self { root, format: Format::Json }),
                Err(wrong) => wrong,
            };
            // YAML may begin with a brace too, but JSON with a mistake in it must not pass as
            // YAML.
            if named == Named::Yaml {
                return yaml::read(text).map(|root| Self { root, format: Format::Yaml });
            }
            return Err(wrong);
        }
        match yaml::read(text) {
            Ok(root) => Ok(Self { root, format: Format::Yaml }),
            // For a file with the extension of JSON, the error is that of the JSON parser.
            Err(_) if named == Named::Json => Err(jsonc::read(text)
                .err()
                .unwrap_or_else(|| ConfigError::new(ConfigErrorKind::Syntax, "not valid JSON"))),
            Err(wrong) => Err(wrong),
        }
    }
}

fn looks_like_json(text: &str) -> bool {
    let text = text.trim_start();
    ["{", "[", "//", "/*"].iter().any(|start| text.starts_with(start))
}

/// Shows no value: it may be a credential.
impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Document").field("format", &self.format).finish_non_exhaustive()
    }
}
