//! The results of requests, typed. A request returns its result as raw JSON, exactly as the server sent it. Each type
//! here reads such a result, and keeps the fields that it does not know.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A step of a request that the server is still working on.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Progress {
    /// The progress so far; it grows from one notification to the next.
    pub progress: f64,
    /// The progress at the end, if it is known.
    pub total: Option<f64>,
    /// A message for people.
    pub message: Option<String>,
}

impl Progress {
    pub(crate) fn new(progress: f64, total: Option<f64>, message: Option<String>) -> Self {
        Self { progress, total, message }
    }
}

/// The result of [`call_tool`](crate::SessionGroup::call_tool).
///
/// ```
/// use moored_mcp::ToolResult;
///
/// let raw = serde_json::json!({"content": [{"type": "text", "text": "ahoy"}], "x": 1});
/// let result = ToolResult::try_from(raw)?;
/// assert_eq!((result.text().as_str(), result.is_error), ("ahoy", false));
/// assert_eq!(result.more["x"], 1);
/// # Ok::<_, serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct ToolResult {
    /// Blocks of text, images and so on.
    #[serde(default)]
    pub content: Vec<Value>,
    /// The content that the tool's output schema describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub structured_content: Option<Value>,
    /// Whether the tool says that it has failed.
    #[serde(default)]
    pub is_error: bool,
    /// Metadata of the server, outside the protocol.
    #[serde(rename = "_meta", default, skip_serializing_if = "Option::is_none")]
    pub meta: Option<Map<String, Value>>,
    /// All other fields.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

impl ToolResult {
    /// The blocks of text, a line break between them.
    pub fn text(&self) -> String {
        let texts: Vec<&str> = self
            .content
            .iter()
            .filter(|block| block["type"] == "text")
            .filter_map(|block| block["text"].as_str())
            .collect();
        texts.join("\n")
    }

    /// Whether this is not a result yet, because a server of the newer era asks for input first. Its
    /// questions are in [`more`](Self::more), under `inputRequests` and `requestState`.
    pub fn needs_input(&self) -> bool {
        self.more.get("resultType").is_some_and(|kind| kind == "input_required")
    }
}

/// The result of [`get_prompt`](crate::SessionGroup::get_prompt).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PromptResult {
    /// The server's own words about the prompt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The messages, each with `role` and `content`.
    #[serde(default)]
    pub messages: Vec<Value>,
    /// Metadata of the server, outside the protocol.
    #[serde(rename = "_meta", default, skip_serializing_if = "Option::is_none")]
    pub meta: Option<Map<String, Value>>,
    /// All other fields.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

/// The result of [`read_resource`](crate::SessionGroup::read_resource).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ResourceResult {
    /// The contents, each with `uri` and either `text` or, in base 64, `blob`.
    #[serde(default)]
    pub contents: Vec<Value>,
    /// Metadata of the server, outside the protocol.
    #[serde(rename = "_meta", default, skip_serializing_if = "Option::is_none")]
    pub meta: Option<Map<String, Value>>,
    /// All other fields.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

/// The result of [`complete`](crate::SessionGroup::complete).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CompleteResult {
    /// The proposals.
    pub completion: Completion,
    /// Metadata of the server, outside the protocol.
    #[serde(rename = "_meta", default, skip_serializing_if = "Option::is_none")]
    pub meta: Option<Map<String, Value>>,
    /// All other fields.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

/// Proposals for the value of an argument.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Completion {
    /// The values, the best one first.
    pub values: Vec<String>,
    /// The number of all values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
    /// Whether there are more than these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub has_more: Option<bool>,
    /// All other fields.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

/// Reads a raw result.
macro_rules! from_raw {
    ($($result:ty),+) => {$(
        impl TryFrom<Value> for $result {
            type Error = serde_json::Error;

            fn try_from(raw: Value) -> serde_json::Result<Self> {
                serde_json::from_value(raw)
            }
        }
    )+};
}

from_raw!(ToolResult, PromptResult, ResourceResult, CompleteResult);
