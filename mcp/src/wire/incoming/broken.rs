//! An answer that is JSON but no message: its request, and its fault.

use rmcp::model::{InitializeResult, RequestId};
use serde_json::{Map, Value};

use crate::wire::lists::fault;
use crate::wire::message::Kind;
use crate::wire::pending::Pending;
use crate::wire::skeleton::Skeleton;

/// A JSON object that is no message.
pub(super) enum Broken {
    /// It answers this request, and this is the reason why it is no message.
    Of(RequestId, Kind, String),
    /// It is an answer without an id: to this request, or to a notification that was sent.
    Unplaced(RequestId, Kind, String),
    /// It is an answer, and its id, of which this is said, could be for any request.
    OfNone(String),
    NoAnswer,
}

/// Finds the request that a JSON object answers although it is not a message.
pub(super) fn broken(
    object: &Map<String, Value>,
    pending: &Pending,
    expected: Option<&RequestId>,
) -> Broken {
    // Null is what a serialiser of all fields writes for the method of an answer.
    if object.get("method").is_some_and(|method| !method.is_null()) {
        return Broken::NoAnswer;
    }
    // A line of a log may have an "id" as well, or a "result".
    let has_outcome = object.contains_key("result") || object.contains_key("error");
    let has_version = object.contains_key("jsonrpc");
    let id = match object.get("id") {
        Some(Value::String(text)) => Some(RequestId::String(text.as_str().into())),
        Some(Value::Number(number)) => {
            Skeleton::of(format!("{{\"id\":{number},").as_bytes()).answers().next().cloned()
        }
        _ => None,
    };
    if let Some(id) = id {
        return match pending.named(&id).filter(|_| has_version || has_outcome) {
            Some((id, kind)) => Broken::Of(id, kind, wrong_in(object)),
            None => Broken::NoAnswer,
        };
    }
    if !(has_version && has_outcome) {
        return Broken::NoAnswer;
    }
    let why = match object.get("id") {
        None => r#"it has no "id""#.to_owned(),
        Some(id) => format!(r#"its "id" is {id}"#),
    };
    // Some servers answer a notification as well, and have no id for that answer.
    let is_doubtful = object.get("id").is_none_or(Value::is_null) && pending.has_told();
    let only = expected.cloned().or_else(|| pending.only());
    match only.and_then(|id| pending.named(&id)) {
        Some((id, kind)) if expected.is_none() && is_doubtful => Broken::Unplaced(id, kind, why),
        Some((id, kind)) => Broken::Of(id, kind, why),
        None => Broken::OfNone(why),
    }
}

/// The fault of an answer that is well-formed JSON.
fn wrong_in(object: &Map<String, Value>) -> String {
    match object.get("jsonrpc") {
        None => return r#"it has no "jsonrpc""#.into(),
        Some(version) if version != "2.0" => {
            return format!(r#"its "jsonrpc" is {version} and not "2.0""#);
        }
        Some(_) => {}
    }
    match (object.get("result"), object.get("error")) {
        (None, None) => r#"it has neither "result" nor "error""#.into(),
        (Some(_), Some(Value::Null)) => r#"it has "error": null beside "result""#.into(),
        (Some(_), Some(_)) => r#"it has both "result" and "error""#.into(),
        (None, Some(Value::Object(error))) => match (error.get("code"), error.get("message")) {
            (None, _) => r#"its "error" has no "code""#.into(),
            (_, None) => r#"its "error" has no "message""#.into(),
            (Some(code), _)
                if code.as_i64().and_then(|code| i32::try_from(code).ok()).is_none() =>
            {
                r#"the "code" of its "error" is no whole number of 32 bits"#.into()
            }
            _ => r#"the "message" of its "error" is no text"#.into(),
        },
        (None, Some(Value::Null)) => r#"its "error" is null"#.into(),
        (None, Some(_)) => r#"its "error" is no object"#.into(),
        (Some(_), None) => r#"its "result" or its "id" has the wrong shape"#.into(),
    }
}

/// The parts that a result lacks as one of `initialize`.
pub(super) fn lacking(result: &Value) -> String {
    let is_text: fn(&Value) -> bool = Value::is_string;
    let is_object: fn(&Value) -> bool = Value::is_object;
    for (field, value, is_right) in [
        ("protocolVersion", &result["protocolVersion"], is_text),
        ("capabilities", &result["capabilities"], is_object),
        ("serverInfo", &result["serverInfo"], is_object),
        ("serverInfo.name", &result["serverInfo"]["name"], is_text),
        ("serverInfo.version", &result["serverInfo"]["version"], is_text),
    ] {
        if value.is_null() {
            return format!("it has no {field:?}");
        }
        if !is_right(value) {
            return format!("its {field:?} has the wrong shape");
        }
    }
    fault::<InitializeResult>(result)
        .unwrap_or_else(|| r#"its "result" has the wrong shape"#.into())
}
