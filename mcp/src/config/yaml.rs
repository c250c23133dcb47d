//! YAML, with its lines, and with bounds on the expansion of a short text.

use std::ops::Range;

use serde::de::{Deserialize, Deserializer};
use serde_saphyr::options::{DuplicateKeyPolicy, NonFiniteFloatPolicy};
use serde_saphyr::{Location, Spanned};

use super::document::{Node, Value};
use super::error::{ConfigError, ConfigErrorKind};
use super::tree::{Child, Tree};

/// Deeper than any configuration, shallow enough for the stack of a small thread.
const DEEPEST: usize = 24;
/// More than any configuration has, aliases expanded.
const MOST_NODES: usize = 100_000;

pub(super) fn read(text: &str) -> Result<Node, ConfigError> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: DEEPEST,
            flow_nesting_limit: DEEPEST,
            max_events: MOST_NODES,
            max_nodes: MOST_NODES,
            max_aliases: 1_000,
        },
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: MOST_NODES },
        // A server that is named twice must be seen twice.
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        strict_booleans: true,
        non_finite_float_policy: NonFiniteFloatPolicy::AsString,
        // A snippet would show the lines around a mistake, and the credentials on them.
        with_snippet: false,
    };
    match serde_saphyr::from_str_with_options(text, options) {
        Ok(Marked(mut node)) => {
            spell(&mut node, text);
            Ok(node)
        }
        Err(error) => Err(ConfigError::new(
            ConfigErrorKind::Syntax,
            format!("not valid YAML: {}", why(&error)),
        )
        .at_line(error.location().map_or(0, line))),
    }
}

/// The parser's own text; it names places and kinds, and repeats no value but a tag or a key.
fn why(error: &serde_saphyr::Error) -> String {
    use serde_saphyr::Error;
    match error {
        Error::ExternalMessage { msg, .. } => msg.clone(),
        Error::Eof { .. } => "it ends too early".to_owned(),
        Error::MultipleDocuments { .. } => "it holds more than one document".to_owned(),
        Error::UnknownAnchor { .. } => "an alias names an anchor that is not there".to_owned(),
        Error::Budget { .. }
        | Error::AliasReplayLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. } => {
            "it is nested too deep, or larger than a configuration is".to_owned()
        }
        _ => "a value that cannot be read".to_owned(),
    }
}

/// A value with its line and its place in the text.
struct Marked(Node);

impl<'de> Deserialize<'de> for Marked {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Tree<Marked>>::deserialize(deserializer)?;
        // For an alias, the place where its value is written, because a person corrects it
        // there.
        let at = spanned.defined;
        Ok(Self(Node { line: line(at), span: span(at), value: spanned.value.into() }))
    }
}

impl<'de> Child<'de> for Marked {
    type Key = Spanned<String>;

    fn node(self) -> Node {
        self.0
    }

    fn key(key: Spanned<String>) -> (String, usize) {
        (key.value, line(key.defined))
    }
}

fn line(at: Location) -> usize {
    usize::try_from(at.line()).unwrap_or(0)
}

fn span(at: Location) -> Option<Range<usize>> {
    let start = usize::try_from(at.span().byte_offset()?).ok()?;
    let length = usize::try_from(at.span().byte_len()?).ok()?;
    Some(start..start.checked_add(length)?)
}

/// Numbers and truth values exactly as they are written, because `1.10` is not `1.1` if a string is meant.
fn spell(node: &mut Node, text: &str) {
    match &mut node.value {
        Value::Bare(word) => {
            let written = node.span.take().and_then(|span| text.get(span)).map(str::trim);
            let plain = |char: char| char.is_ascii_alphanumeric() || "+-._".contains(char);
            if let Some(written) = written.filter(|w| !w.is_empty() && w.chars().all(plain)) {
                written.clone_into(word);
            }
        }
        Value::List(items) => items.iter_mut().for_each(|item| spell(item, text)),
        Value::Object(pairs) => pairs.iter_mut().for_each(|pair| spell(&mut pair.node, text)),
        Value::Null | Value::Text(_) => {}
    }
}
