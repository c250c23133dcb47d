//! The messages of clients: each is read once, as JSON, and converted into rmcp's type.
//!
//! A client's answer to a question is passed on as plain JSON, so that no field of it is lost.

use rmcp::model::{
    ClientCapabilities, ClientJsonRpcMessage, ClientResult, CustomResult, ErrorCode, ErrorData,
    InitializeRequestParams, JsonRpcError, JsonRpcResponse, JsonRpcVersion2_0, ProtocolVersion,
    RequestId,
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::wire::incoming::BOM;
use crate::wire::skeleton::Skeleton;

/// The key in `_meta` under which a message of the newer era names its revision.
pub(super) const VERSION_KEY: &str = "io.modelcontextprotocol/protocolVersion";
/// The key in `_meta` under which it names what its client can do.
pub(super) const CAPABILITIES_KEY: &str = "io.modelcontextprotocol/clientCapabilities";

/// A message of a client.
#[derive(Debug)]
pub(super) struct Incoming {
    pub(super) raw: Value,
    pub(super) message: ClientJsonRpcMessage,
}

/// The reason why a text is no message, and its id if it is a request and one can be read.
#[derive(Debug)]
pub(super) struct Unreadable {
    pub(super) id: Option<RequestId>,
    pub(super) error: ErrorData,
    /// The questions of the gateway that the text answers. Their ids are not those of requests of the client.
    questions: Vec<RequestId>,
}

impl Unreadable {
    pub(super) fn new(id: Option<RequestId>, error: ErrorData) -> Self {
        Self { id, error, questions: Vec::new() }
    }

    /// With the outline of the text, which has the ids in it.
    pub(super) fn with(outline: &Skeleton, error: ErrorData) -> Self {
        let is_answer = outline.has_answer();
        let answered = outline.answers().filter(|_| is_answer).cloned();
        Self { id: outline.request().cloned(), error, questions: answered.collect() }
    }

    /// The answer.
    pub(super) fn answer(self) -> JsonRpcError {
        JsonRpcError::new(self.id, self.error)
    }

    /// The failure of each question that the text answers: nobody else tells those who wait for the answer.
    pub(super) fn failures(&self) -> impl Iterator<Item = ClientJsonRpcMessage> + use<> {
        let error = ErrorData::internal_error(
            format!("the client's answer cannot be read: {}", self.error.message),
            None,
        );
        let failure =
            move |id| ClientJsonRpcMessage::Error(JsonRpcError::new(Some(id), error.clone()));
        self.questions.clone().into_iter().map(failure)
    }
}

/// Reads one message.
pub(super) fn read(text: &[u8]) -> Result<Incoming, Unreadable> {
    let text = text.strip_prefix(BOM).unwrap_or(text);
    let raw: Value = serde_json::from_slice(text).map_err(|error| {
        let error = ErrorData::parse_error(format!("the message is no JSON: {error}"), None);
        Unreadable::with(&Skeleton::of(text), error)
    })?;
    let id = RequestId::deserialize(&raw["id"]).ok();
    let is_request = raw["method"].is_string();
    let is_outcome = raw.get("result").is_some() || raw.get("error").is_some();
    // Without a method, parameters and an outcome it is an answer that lacks its outcome: a request has a method.
    let is_empty = raw["method"].is_null() && raw.get("params").is_none();
    let is_answer = !is_request && (is_outcome || is_empty);
    let wrong = |id: &Option<RequestId>, why: String| {
        let mut wrong = Unreadable::new(id.clone(), ErrorData::invalid_request(why, None));
        if is_answer {
            wrong.questions.extend(wrong.id.take());
        }
        wrong
    };
    if raw.is_array() {
        let why = "batches are not part of the protocol: send one message at a time";
        let error = ErrorData::invalid_request(why, None);
        return Err(Unreadable { id: None, ..Unreadable::with(&Skeleton::of(text), error) });
    }
    if raw["jsonrpc"] != "2.0" {
        return Err(wrong(&id, r#"the message has no "jsonrpc": "2.0""#.into()));
    }
    if is_request && raw.get("id").is_some() && id.is_none() {
        return Err(wrong(&None, r#""id" has to be a string or an integer"#.into()));
    }
    // rmcp takes it for an unknown request otherwise, and complains of fields that `initialize` does not have.
    if raw["method"] == "initialize"
        && id.is_some()
        && let Err(error) = InitializeRequestParams::deserialize(&raw["params"])
    {
        let why = format!("the parameters of initialize cannot be read: {error}");
        return Err(Unreadable::new(id, ErrorData::invalid_params(why, None)));
    }
    // rmcp takes it for a request without a cursor otherwise, and would answer with the first page.
    let cursor = &raw["params"]["cursor"];
    let is_list = raw["method"].as_str().is_some_and(|method| method.ends_with("/list"));
    if is_list && !cursor.is_null() && !cursor.is_string() {
        let why = format!("the cursor {cursor} is not from here: each list has one page");
        return Err(Unreadable::new(id, ErrorData::invalid_params(why, None)));
    }
    let message = match (&id, raw.get("result")) {
        (Some(id), Some(result)) if !is_request => {
            let result = ClientResult::CustomResult(CustomResult(result.clone()));
            ClientJsonRpcMessage::Response(JsonRpcResponse {
                jsonrpc: JsonRpcVersion2_0,
                id: id.clone(),
                result,
            })
        }
        _ if is_answer && !is_outcome => {
            return Err(wrong(
                &id,
                r#"the message has neither "method", "result" nor "error""#.into(),
            ));
        }
        _ => ClientJsonRpcMessage::deserialize(&raw).map_err(|error| {
            wrong(&id, format!("the message is no request, notification or answer: {error}"))
        })?,
    };
    Ok(Incoming { raw, message })
}

impl Incoming {
    /// The method of a request or a notification.
    pub(super) fn method(&self) -> Option<&str> {
        self.raw["method"].as_str()
    }

    /// The id of a request.
    pub(super) fn id(&self) -> Option<RequestId> {
        match &self.message {
            ClientJsonRpcMessage::Request(request) => Some(request.id.clone()),
            _ => None,
        }
    }

    /// Whether the message itself names the capabilities of its client, which the newer era requires of a request.
    pub(super) fn has_capabilities(&self) -> bool {
        ClientCapabilities::deserialize(&self.raw["params"]["_meta"][CAPABILITIES_KEY]).is_ok()
    }

    /// The revision that the message itself names.
    pub(super) fn version(&self) -> Option<&str> {
        self.raw["params"]["_meta"][VERSION_KEY].as_str()
    }
}

/// The error of a request that has the id of another one, which has no answer yet.
pub(super) fn id_in_use() -> ErrorData {
    ErrorData::invalid_request("another request that is under way has the same id", None)
}

/// Whether a revision, by its name, is one without `initialize`.
pub(super) fn is_modern(version: &str) -> bool {
    version >= ProtocolVersion::V_2026_07_28.as_str()
}

/// Whether the gateway speaks a revision.
pub(super) fn is_known(version: &str) -> bool {
    ProtocolVersion::KNOWN_VERSIONS.iter().any(|known| known.as_str() == version)
}

/// The error of a revision that the gateway does not speak.
pub(super) fn unknown_version(version: &str) -> ErrorData {
    let supported: Vec<&str> =
        ProtocolVersion::KNOWN_VERSIONS.iter().map(|it| it.as_str()).collect();
    ErrorData::new(
        ErrorCode::UNSUPPORTED_PROTOCOL_VERSION,
        format!("the revision {version:?} of the protocol is not spoken here"),
        Some(json!({"supported": supported, "requested": version})),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_read_or_it_is_said_what_is_wrong_with_it() {
        for (text, right) in [
            (r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#, ""),
            (r#"{"jsonrpc":"2.0","id":"a","method":"x/unknown","params":{"a":1}}"#, ""),
            (r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#, ""),
            (r#"{"jsonrpc":"2.0","id":1,"result":{"any":"thing"}}"#, ""),
            (r#"{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"m"}}"#, ""),
            ("", "no JSON"),
            ("[]", "batches"),
            ("{}", "jsonrpc"),
            (r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#, "a string or an integer"),
            (r#"{"jsonrpc":"2.0","id":1.5,"method":"ping"}"#, "a string or an integer"),
            (r#"{"jsonrpc":"2.0","id":{},"method":"ping"}"#, "a string or an integer"),
            (r#"{"jsonrpc":"2.0","id":1}"#, r#"neither "method", "result" nor "error""#),
            (r#"{"jsonrpc":"2.0","id":1,"method":7}"#, "no request"),
            (r#"{"jsonrpc":"2.0","id":1,"params":{}}"#, "no request"),
            (r#"{"jsonrpc":"2.0","id":1,"error":{}}"#, "no request"),
            (r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"cursor":5}}"#, "cursor 5"),
            (r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"cursor":null}}"#, ""),
            (r#"{"jsonrpc":"2.0","id":1,"method":"initialize"}"#, "of initialize cannot be read"),
            (
                r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25"}}"#,
                "missing field `capabilities`",
            ),
        ] {
            match read(text.as_bytes()) {
                Ok(_) => assert_eq!(right, "", "{text}"),
                Err(wrong) => {
                    let said = &wrong.error.message;
                    assert!(!right.is_empty() && said.contains(right), "{text}: {said}");
                }
            }
        }
    }

    #[test]
    fn a_broken_request_is_answered_under_its_own_id() {
        for (text, id) in [
            (&br#"{"jsonrpc":"2.0","id":7,"method":"ping","params":{"x":""}}"#[..], Some(7)),
            (br#"{"jsonrpc":"2.0","id":7,"method":"ping","params":{"x":"\ud83d"}}"#, Some(7)),
            (br#"{"jsonrpc":"2.0","id":7,"method":"ping","params":{"x":1,}}"#, Some(7)),
            (br#"{"jsonrpc":"2.0","id":7,"result":{"x":1,}}"#, None),
            (b"hello", None),
        ] {
            let text = text.iter().map(|byte| if *byte == b'\x01' { 0xff } else { *byte });
            let text: Vec<u8> = text.collect();
            let wrong = read(&text).expect_err("it is broken");
            let shown = String::from_utf8_lossy(&text);
            assert_eq!(wrong.id, id.map(RequestId::Number), "{shown}");
        }
    }

    #[test]
    fn a_broken_answer_is_the_failure_of_its_question_and_the_answer_of_no_request() {
        for text in [
            r#"{"jsonrpc":"2.0","id":7,"error":{}}"#,
            r#"{"jsonrpc":"2.0","id":7,"error":"no"}"#,
            r#"{"jsonrpc":"2.0","id":7,"error":{"code":"x","message":"m"}}"#,
            r#"{"jsonrpc":"2.0","id":7,"method":null,"error":{"code":1}}"#,
            r#"{"id":7,"result":{}}"#,
            r#"{"jsonrpc":"2.0","id":7}"#,
            r#"{"jsonrpc":"2.0","id":7,"method":null}"#,
            r#"{"jsonrpc":"2.0","id":7,"result":{"x":1,}}"#,
            r#"[{"jsonrpc":"2.0","id":7,"result":{}}]"#,
        ] {
            let wrong = read(text.as_bytes()).expect_err("it is broken");
            assert_eq!(wrong.id, None, "{text}");
            let failed: Vec<_> = wrong.failures().collect();
            let [ClientJsonRpcMessage::Error(failed)] = &failed[..] else { panic!("{failed:?}") };
            assert_eq!(failed.id, Some(RequestId::Number(7)), "{text}");
            assert!(failed.error.message.contains("cannot be read"), "{text}: {failed:?}");
        }
        for text in [r#"{"jsonrpc":"2.0","id":7,"method":"ping","params":[]}"#, "[]", "hello"] {
            let wrong = read(text.as_bytes()).expect_err("it is broken");
            assert_eq!(wrong.failures().count(), 0, "{text}");
        }
    }

    #[test]
    fn an_answer_keeps_the_fields_that_nobody_knows() {
        let text = r#"{"jsonrpc":"2.0","id":1,"result":{"action":"accept","content":{},"x":1}}"#;
        let ClientJsonRpcMessage::Response(answer) = read(text.as_bytes()).expect("read").message
        else {
            panic!("it is an answer");
        };
        let ClientResult::CustomResult(result) = answer.result else { panic!("it is plain JSON") };
        assert_eq!(result.0["x"], 1);
    }
}
