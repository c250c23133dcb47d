//! The headers that repeat a part of the message (SEP-2243), and the revision that a message of the newer era names.
//!
//! A proxy that routes a request by its headers has to be able to rely on them. So a header that contradicts the body
//! is an error.

use base64::prelude::{BASE64_STANDARD, Engine};
use http::HeaderMap;
use serde_json::{Map, Number, Value};

use crate::wire::mirrored::annotated;

/// The error code for a header that contradicts its message.
pub(super) const MISMATCH: i32 = -32020;

/// Checks `Mcp-Method`, `Mcp-Name` and `Mcp-Param-*` of a message of the newer era. `schema` finds the input schema of a tool.
///
/// # Errors
///
/// One sentence, which names the header and its fault.
pub(super) fn check(
    headers: &HeaderMap,
    message: &Value,
    schema: impl FnOnce(&str) -> Option<Map<String, Value>>,
) -> Result<(), String> {
    let Some(method) = message["method"].as_str() else { return Ok(()) };
    same(headers, "Mcp-Method", Some(method))?;
    let params = &message["params"];
    let key = match method {
        "tools/call" | "prompts/get" => "name",
        "resources/read" => "uri",
        "tasks/get" | "tasks/update" | "tasks/cancel" => "taskId",
        _ => return Ok(()),
    };
    let Some(name) = params[key].as_str() else { return Ok(()) };
    same(headers, "Mcp-Name", Some(name))?;
    if method != "tools/call" {
        return Ok(());
    }
    let Some(schema) = schema(name) else { return Ok(()) };
    for (path, header, _) in annotated(&schema) {
        let found = path.iter().try_fold(&params["arguments"], |value, key| value.get(key));
        let is_same = match found {
            Some(Value::Number(_)) => is_same_number,
            _ => |given: &str, wanted: &str| given == wanted,
        };
        let name = format!("Mcp-Param-{header}");
        same_by(headers, &name, found.and_then(text).as_deref(), is_same)?;
    }
    Ok(())
}

/// Checks that a header has the same value as the message, or that both have none.
fn same(headers: &HeaderMap, name: &str, wanted: Option<&str>) -> Result<(), String> {
    same_by(headers, name, wanted, |given, wanted| given == wanted)
}

/// As [`same`], with another comparison of a header's value with that of the message.
fn same_by(
    headers: &HeaderMap,
    name: &str,
    wanted: Option<&str>,
    is_same: fn(&str, &str) -> bool,
) -> Result<(), String> {
    let mut values = headers.get_all(name).iter();
    let given = values.next();
    if values.next().is_some() {
        return Err(format!("the header {name} is there twice"));
    }
    match (given, wanted) {
        (None, None) => Ok(()),
        (None, Some(_)) => Err(format!("the header {name} is missing")),
        (Some(_), None) => {
            Err(format!("the header {name} is there, and the message has no such value"))
        }
        (Some(given), Some(wanted)) => {
            let given = given.to_str().ok().and_then(decoded);
            let given = given.ok_or_else(|| format!("the header {name} cannot be read"))?;
            if is_same(&given, wanted) {
                return Ok(());
            }
            Err(format!("the header {name} says {given:?}, and the message {wanted:?}"))
        }
    }
}

/// Whether two texts in the form of JSON are one number: `42` and `42.0` are.
fn is_same_number(given: &str, wanted: &str) -> bool {
    let (Ok(given), Ok(wanted)) = (given.parse::<Number>(), wanted.parse::<Number>()) else {
        return false;
    };
    if let (Some(given), Some(wanted)) = (given.as_i64(), wanted.as_i64()) {
        return given == wanted;
    }
    // Beyond this, two numbers may have one value.
    let is_exact = wanted.as_f64().is_some_and(|wanted| wanted.abs() < 9e15);
    given == wanted || (is_exact && given.as_f64() == wanted.as_f64())
}

/// The value of a header. A value that a header cannot contain is encoded as `=?base64?..?=`.
fn decoded(value: &str) -> Option<String> {
    let inner = value.strip_prefix("=?base64?").and_then(|rest| rest.strip_suffix("?="));
    match inner {
        Some(inner) => String::from_utf8(BASE64_STANDARD.decode(inner).ok()?).ok(),
        None => Some(value.to_owned()),
    }
}

/// A primitive value as text for a header.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderName;
    use serde_json::json;

    use super::*;

    fn checked(pairs: &[(&str, &str)], message: Value) -> Result<(), String> {
        let pair = |(name, value): &(&str, &str)| -> (HeaderName, http::HeaderValue) {
            (name.parse().expect("a name"), value.parse().expect("a value"))
        };
        let headers: HeaderMap = pairs.iter().map(pair).collect();
        let schema = json!({"properties": {
            "region": {"type": "string", "x-mcp-header": "Region"},
            "deep": {"properties": {"n": {"type": "integer", "x-mcp-header": "N"}}},
        }});
        check(&headers, &message, |tool| (tool == "t").then(|| schema.as_object().cloned())?)
    }

    #[test]
    fn a_header_says_what_the_message_says() {
        let call = |arguments: Value| json!({"method": "tools/call", "params": {"name": "t", "arguments": arguments}});
        let method = ("mcp-method", "tools/call");
        let name = ("mcp-name", "t");
        let region = ("mcp-param-region", "eu");
        for (pairs, message, wrong) in [
            (&[method, name][..], call(json!({})), ""),
            (&[method, name, region], call(json!({"region": "eu"})), ""),
            (&[method, name, ("mcp-param-n", "7")], call(json!({"deep": {"n": 7}})), ""),
            (&[method, name, ("mcp-param-n", "7.0")], call(json!({"deep": {"n": 7}})), ""),
            (&[method, name, ("mcp-param-n", "7")], call(json!({"deep": {"n": 7.0}})), ""),
            (&[method, name, ("mcp-param-n", "8")], call(json!({"deep": {"n": 7}})), "says \"8\""),
            (
                &[method, name, ("mcp-param-n", "07")],
                call(json!({"deep": {"n": 7}})),
                "says \"07\"",
            ),
            (
                &[method, name, ("mcp-param-region", "7.0")],
                call(json!({"region": "7"})),
                "says \"7.0\"",
            ),
            (&[method, ("mcp-name", "=?base64?dA==?=")], call(json!({})), ""),
            (&[("mcp-method", "ping")], json!({"method": "ping"}), ""),
            (&[], json!({"id": 1, "result": {}}), ""),
            (&[name], call(json!({})), "Mcp-Method is missing"),
            (&[("mcp-method", "ping"), name], call(json!({})), "Mcp-Method says"),
            (&[method], call(json!({})), "Mcp-Name is missing"),
            (&[method, ("mcp-name", "u")], call(json!({})), "Mcp-Name says \"u\""),
            (&[method, name, name], call(json!({})), "Mcp-Name is there twice"),
            (&[method, ("mcp-name", "=?base64?*?=")], call(json!({})), "Mcp-Name cannot be read"),
            (&[method, name], call(json!({"region": "eu"})), "Mcp-Param-Region is missing"),
            (&[method, name, region], call(json!({})), "has no such value"),
            (&[method, name, region], call(json!({"region": null})), "has no such value"),
        ] {
            let found = checked(pairs, message.clone()).err().unwrap_or_default();
            assert!(
                found.contains(wrong) && found.is_empty() == wrong.is_empty(),
                "{pairs:?} {message}: {found:?}"
            );
        }
    }
}
