//! The reason why an item of a list cannot be read.

use serde_json::Value;

/// The longest foreign name or reason that is shown, in characters.
const SHOWN: usize = 160;

/// The reason why `item` is not a `T`, with the path to the field if it is known.
pub(crate) fn fault<T: serde::de::DeserializeOwned>(item: &Value) -> Option<String> {
    if !item.is_object() {
        return Some(format!("it is {}, not an object", kind(item)));
    }
    let error = serde_path_to_error::deserialize::<_, T>(item).err()?;
    let path = error.path().to_string();
    let said = in_words_of_json(&error.into_inner().to_string());
    Some(short(&if path == "." { said } else { format!("`{path}`: {said}") }))
}

/// Replaces the names of Rust types, because JSON has arrays and objects only.
fn in_words_of_json(said: &str) -> String {
    match said.split_once(", expected struct ") {
        Some((found, _)) => format!("{found}, expected an object"),
        None => said
            .replace("expected a sequence", "expected an array")
            .replace("expected a map", "expected an object")
            .replace("invalid type: sequence", "invalid type: array")
            .replace("invalid type: map", "invalid type: object"),
    }
}

pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

pub(super) fn short(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
