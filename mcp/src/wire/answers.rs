//! The answers to calls and similar requests, kept as they came.
//!
//! rmcp's types keep no field that they do not know. Therefore such an answer is passed on as plain JSON, once it has
//! been checked to be an answer of the right kind.

use std::borrow::Cow;

use rmcp::model::{
    CallToolResult, ClientJsonRpcMessage, ClientRequest, CompleteResult, CreateTaskResult,
    GetPromptResult, InputRequiredResult, ReadResourceResult, RequestId,
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::lists::fault;
use super::message::Kind;

/// The request with an answer that is kept as it comes; `None` if `message` is not such a request.
pub(super) fn asked_by(message: &ClientJsonRpcMessage) -> Option<RequestId> {
    let ClientJsonRpcMessage::Request(request) = message else { return None };
    let is_kept = matches!(
        request.request,
        ClientRequest::CallToolRequest(_)
            | ClientRequest::GetPromptRequest(_)
            | ClientRequest::ReadResourceRequest(_)
            | ClientRequest::CompleteRequest(_)
            | ClientRequest::CustomRequest(_)
            | ClientRequest::DiscoverRequest(_)
            | ClientRequest::InitializeRequest(_)
    );
    is_kept.then(|| request.id.clone())
}

/// The reason why `result` is not an answer to a request of this kind; `None` if it is one, or if the kind is not
/// known here.
pub(super) fn wrong(kind: &Kind, result: &Value) -> Option<String> {
    let Kind::Request(method) = kind else { return None };
    let why = match method.as_str() {
        "tools/call" if CreateTaskResult::deserialize(result).is_ok() => None,
        "tools/call" => no_call(result),
        "prompts/get" => fault::<GetPromptResult>(&with_known_blocks(result)),
        "resources/read" => fault::<ReadResourceResult>(result),
        "completion/complete" => fault::<CompleteResult>(result),
        _ => None,
    };
    // A server of the newer era may ask for input before it answers.
    why.filter(|_| InputRequiredResult::deserialize(result).is_err())
}

/// The reason why a result is not that of a call.
fn no_call(result: &Value) -> Option<String> {
    let fields = ["content", "structuredContent", "isError"];
    if result.is_object() && fields.iter().all(|field| result.get(field).is_none()) {
        return Some(
            r#"its "result" has none of "content", "structuredContent" and "isError""#.into(),
        );
    }
    fault::<CallToolResult>(&with_known_blocks(result))
}

/// The types of content that rmcp knows.
const KNOWN: [&str; 5] = ["text", "image", "audio", "resource", "resource_link"];

/// The result with an empty text in the place of each content block of another type, so that the rest of it can be
/// checked. The protocol gains types, and a caller may know one that is not known here.
fn with_known_blocks(result: &Value) -> Cow<'_, Value> {
    let mut known = Cow::Borrowed(result);
    for at in 0.. {
        let (call, prompt) = (format!("/content/{at}"), format!("/messages/{at}/content"));
        let (block, message) = (result.pointer(&call), result.pointer(&prompt));
        if block.is_none() && result.pointer(&format!("/messages/{at}")).is_none() {
            break;
        }
        for (place, block) in [(call, block), (prompt, message)] {
            let kind = block.and_then(|block| block.get("type")?.as_str());
            if kind.is_some_and(|kind| !KNOWN.contains(&kind))
                && let Some(block) = known.to_mut().pointer_mut(&place)
            {
                *block = json!({"type": "text", "text": ""});
            }
        }
    }
    known
}
