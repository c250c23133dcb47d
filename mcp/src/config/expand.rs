//! Variables of the environment inside a value.

use std::env::VarError;

/// The look-up of a variable in the environment, such as [`std::env::var`].
pub(super) type Env<'a> = &'a dyn Fn(&str) -> Result<String, VarError>;

/// The reason why a value cannot be filled in. It contains only the name of a variable, and no
/// part of the value.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unfilled {
    Missing(String),
    NotText(String),
    /// `${input:..}`, which an editor asks a person for.
    Asked,
    Malformed,
}

/// The depth to which defaults may contain placeholders; a person writes one or two.
const DEEPEST: usize = 16;

/// `text` with its placeholders filled in. The value of a variable is taken as it is, placeholders
/// included.
pub(super) fn expand(text: &str, env: Env<'_>) -> Result<String, Unfilled> {
    expand_at(text, env, DEEPEST)
}

fn expand_at(text: &str, env: Env<'_>, depth: usize) -> Result<String, Unfilled> {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        if let Some(after) = rest.strip_prefix("$${") {
            filled.push_str("${");
            rest = after;
        } else if let Some(after) = rest.strip_prefix("${") {
            let end = end_of(after).ok_or(Unfilled::Malformed)?;
            filled.push_str(&placeholder(&after[..end], env, depth)?);
            rest = &after[end + 1..];
        } else if let Some((name, after)) = word(&filled, rest) {
            filled.push_str(&ask(name, env)?.ok_or_else(|| Unfilled::Missing(name.to_owned()))?);
            rest = after;
        } else {
            filled.push(next);
            rest = &rest[next.len_utf8()..];
        }
    }
    Ok(filled)
}

/// The position of the closing brace for the one that was opened before `text`.
fn end_of(text: &str) -> Option<usize> {
    let mut open = 1_usize;
    let mut before = ' ';
    for (at, char) in text.char_indices() {
        match char {
            '{' if before == '$' => open += 1,
            '}' if open == 1 => return Some(at),
            '}' => open -= 1,
            _ => {}
        }
        before = char;
    }
    None
}

/// The value of `NAME`, `env:NAME` or `NAME:-default`.
fn placeholder(inside: &str, env: Env<'_>, depth: usize) -> Result<String, Unfilled> {
    if inside.starts_with("input:") {
        return Err(Unfilled::Asked);
    }
    let inside = inside.strip_prefix("env:").unwrap_or(inside);
    let (name, default) = match inside.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inside, None),
    };
    if !is_name(name) {
        return Err(Unfilled::Malformed);
    }
    let found = ask(name, env)?;
    match (found, default) {
        (Some(value), None) => Ok(value),
        (Some(value), Some(_)) if !value.is_empty() => Ok(value),
        (_, Some(default)) => {
            expand_at(default, env, depth.checked_sub(1).ok_or(Unfilled::Malformed)?)
        }
        (None, None) => Err(Unfilled::Missing(name.to_owned())),
    }
}

/// `os.environ/NAME` as a word of its own: the name, and the text after it.
fn word<'a>(before: &str, text: &'a str) -> Option<(&'a str, &'a str)> {
    if !before.chars().next_back().is_none_or(char::is_whitespace) {
        return None;
    }
    let after = text.strip_prefix("os.environ/")?;
    let end = after.find(char::is_whitespace).unwrap_or(after.len());
    let (name, rest) = after.split_at(end);
    is_name(name).then_some((name, rest))
}

fn is_name(name: &str) -> bool {
    !name.starts_with(|first: char| first.is_ascii_digit())
        && !name.is_empty()
        && name.chars().all(|char| char.is_ascii_alphanumeric() || char == '_')
}

fn ask(name: &str, env: Env<'_>) -> Result<Option<String>, Unfilled> {
    match env(name) {
        Ok(value) => Ok(Some(value)),
        Err(VarError::NotPresent) => Ok(None),
        Err(VarError::NotUnicode(_)) => Err(Unfilled::NotText(name.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(name: &str) -> Result<String, VarError> {
        match name {
            "A" => Ok("a".to_owned()),
            "EMPTY" => Ok(String::new()),
            "RAW" => Ok("${A} os.environ/A $${".to_owned()),
            "BYTES" => Err(VarError::NotUnicode("secret".into())),
            _ => Err(VarError::NotPresent),
        }
    }

    #[test]
    fn placeholders_are_filled_in() {
        for (text, expected) in [
            ("", ""),
            ("plain", "plain"),
            ("${A}", "a"),
            ("x${A}y${env:A}", "xaya"),
            ("${A:-b}", "a"),
            ("${NONE:-b c}", "b c"),
            ("${NONE:-}", ""),
            ("${EMPTY:-b}", "b"),
            ("${EMPTY}", ""),
            ("${env:NONE:-b}", "b"),
            ("${NONE:-${A}}", "a"),
            ("${NONE:-${NONE:-{x}}", "{x"),
            ("${NONE:-https://h:1/:-x}", "https://h:1/:-x"),
            ("os.environ/A", "a"),
            ("Bearer os.environ/A", "Bearer a"),
            ("os.environ/A os.environ/A", "a a"),
            ("os.environ/", "os.environ/"),
            ("xos.environ/A", "xos.environ/A"),
            ("/x/os.environ/A", "/x/os.environ/A"),
            ("os.environ/A.json", "os.environ/A.json"),
            // A dollar without a brace after it has no meaning.
            ("$A $$ $1 $", "$A $$ $1 $"),
            ("$${A}", "${A}"),
            ("$$${A}", "$${A}"),
            ("{A} {} }", "{A} {} }"),
            ("é${A}ü", "éaü"),
            ("${RAW}", "${A} os.environ/A $${"),
        ] {
            assert_eq!(expand(text, &env).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_filled_in_is_told() {
        let missing = |name: &str| Unfilled::Missing(name.to_owned());
        for (text, expected) in [
            ("${NONE}", missing("NONE")),
            ("${env:NONE}", missing("NONE")),
            ("os.environ/NONE", missing("NONE")),
            ("${NONE:-${OTHER}}", missing("OTHER")),
            ("${BYTES}", Unfilled::NotText("BYTES".to_owned())),
            ("${BYTES:-x}", Unfilled::NotText("BYTES".to_owned())),
            ("${input:token}", Unfilled::Asked),
            ("${", Unfilled::Malformed),
            ("${}", Unfilled::Malformed),
            ("${A", Unfilled::Malformed),
            ("${A-b}", Unfilled::Malformed),
            ("${1}", Unfilled::Malformed),
            ("${a b}", Unfilled::Malformed),
            ("${é}", Unfilled::Malformed),
            ("${NONE:-${A}", Unfilled::Malformed),
        ] {
            assert_eq!(expand(text, &env), Err(expected), "{text}");
        }
    }

    #[test]
    fn defaults_inside_defaults_are_bounded() {
        for depth in [20, 20_000] {
            let text = format!("{}{}", "${N:-".repeat(depth), "}".repeat(depth));
            assert_eq!(expand(&text, &env), Err(Unfilled::Malformed));
        }
    }
}
