//! Sampling: a server asks for the answer of a language model.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// The parameters of `sampling/createMessage`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Sampling {
    /// The messages, each with `role` and `content`.
    pub messages: Vec<Value>,
    /// The system prompt that the server asks for.
    #[serde(default)]
    pub system_prompt: Option<String>,
    /// The largest number of tokens in the answer.
    #[serde(default)]
    pub max_tokens: Option<u64>,
    /// All other fields: `modelPreferences`, `temperature`, `stopSequences`, `tools` and so on.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

/// The answer of a language model.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct SampleAnswer {
    /// `assistant`.
    pub role: String,
    /// A block, or several.
    pub content: Value,
    /// The name of the model.
    pub model: String,
    /// The reason of its end: `endTurn`, `stopSequence`, `maxTokens`, `toolUse` or another word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_reason: Option<String>,
    /// All other fields.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

impl SampleAnswer {
    /// A text by `model`.
    pub fn text(model: impl Into<String>, text: impl Into<String>) -> Self {
        Self::new(model, json!({"type": "text", "text": text.into()}))
    }

    /// Any content by `model`.
    pub fn new(model: impl Into<String>, content: Value) -> Self {
        Self {
            role: "assistant".into(),
            content,
            model: model.into(),
            stop_reason: Some("endTurn".into()),
            more: Map::new(),
        }
    }
}

impl From<SampleAnswer> for Value {
    fn from(answer: SampleAnswer) -> Self {
        // Serialising cannot fail, because all keys are texts.
        serde_json::to_value(answer).unwrap_or_default()
    }
}
