//! JSON with comments and trailing commas, and no other extension.

use jsonc_parser::ast;
use jsonc_parser::common::Ranged;
use jsonc_parser::errors::ParseErrorKind;
use jsonc_parser::{CollectOptions, CommentCollectionStrategy, ParseOptions, parse_to_ast};

use super::document::{Node, Pair, Value};
use super::error::{ConfigError, ConfigErrorKind};

pub(super) fn read(text: &str) -> Result<Node, ConfigError> {
    let options = ParseOptions {
        allow_comments: true,
        allow_trailing_commas: true,
        allow_loose_object_property_names: false,
        allow_missing_commas: false,
        allow_single_quoted_strings: false,
        allow_hexadecimal_numbers: false,
        allow_unary_plus_numbers: false,
        allow_bare_decimal_point_numbers: false,
        allow_non_finite_numbers: false,
        allow_extended_string_escapes: false,
    };
    let collect = CollectOptions { comments: CommentCollectionStrategy::Off, tokens: false };
    let parsed = parse_to_ast(text, &collect, &options).map_err(|error| {
        let why = match error.kind() {
            // The parser's text repeats a part of the string, which may be a credential.
            ParseErrorKind::String(_) => {
                "a string with a wrong escape or without an end".to_owned()
            }
            kind => uncapitalised(&kind.to_string()),
        };
        let column = error.column_display();
        ConfigError::new(
            ConfigErrorKind::Syntax,
            format!("not valid JSON: {why}, at column {column}"),
        )
        .at_line(error.line_display())
    })?;
    let lines = Lines::of(text);
    match parsed.value {
        Some(value) => Ok(lines.node(value)),
        None => Err(ConfigError::new(
            ConfigErrorKind::Syntax,
            "not valid JSON: there is no value in it",
        )),
    }
}

fn uncapitalised(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_lowercase().chain(chars).collect()).unwrap_or_default()
}

/// The offsets at which lines begin, the first line excepted.
struct Lines(Vec<usize>);

impl Lines {
    fn of(text: &str) -> Self {
        Self(text.match_indices('\n').map(|(at, _)| at + 1).collect())
    }

    fn line(&self, offset: usize) -> usize {
        self.0.partition_point(|start| *start <= offset) + 1
    }

    /// Recursive, because the parser refuses a value that is nested more than 512 deep.
    fn node(&self, value: ast::Value<'_>) -> Node {
        let line = self.line(value.start());
        let value = match value {
            ast::Value::NullKeyword(_) => Value::Null,
            ast::Value::StringLit(text) => Value::Text(text.value.into_owned()),
            ast::Value::NumberLit(number) => Value::Bare(number.value.to_owned()),
            ast::Value::BooleanLit(truth) => Value::Bare(truth.value.to_string()),
            ast::Value::Array(list) => {
                Value::List(list.elements.into_iter().map(|item| self.node(item)).collect())
            }
            ast::Value::Object(object) => {
                Value::Object(object.properties.into_iter().map(|prop| self.pair(prop)).collect())
            }
        };
        Node { line, span: None, value }
    }

    fn pair(&self, prop: ast::ObjectProp<'_>) -> Pair {
        let line = self.line(prop.start());
        Pair { key: prop.name.into_string(), line, node: self.node(prop.value) }
    }
}
