//! Elicitation: a server asks the user for a form or a visit.

use serde::Deserialize;
use serde_json::{Map, Value, json};

/// The parameters of `elicitation/create`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Elicitation {
    /// The text for the user.
    pub message: String,
    /// The JSON schema of a form: an object whose properties are texts, numbers, truths and choices.
    #[serde(default)]
    pub requested_schema: Option<Map<String, Value>>,
    /// The address that the user is asked to visit. It must not be opened before it was shown to the user, and the user
    /// agreed.
    #[serde(default)]
    pub url: Option<String>,
    /// The id by which the server reports the end of the visit.
    #[serde(default)]
    pub elicitation_id: Option<String>,
    /// All other fields.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

impl Elicitation {
    /// The fields of the form that have a default, with it.
    pub fn defaults(&self) -> Map<String, Value> {
        self.requested_schema.as_ref().map(defaults).unwrap_or_default()
    }
}

/// The answer of a user.
#[derive(Debug, Clone, PartialEq)]
pub enum ElicitAnswer {
    /// The form as it was filled in; nothing for an address.
    Accept(Map<String, Value>),
    /// The user refused.
    Decline,
    /// The user did neither, for example closed the dialog.
    Cancel,
}

impl From<ElicitAnswer> for Value {
    fn from(answer: ElicitAnswer) -> Self {
        match answer {
            ElicitAnswer::Accept(content) if content.is_empty() => json!({"action": "accept"}),
            ElicitAnswer::Accept(content) => json!({"action": "accept", "content": content}),
            ElicitAnswer::Decline => json!({"action": "decline"}),
            ElicitAnswer::Cancel => json!({"action": "cancel"}),
        }
    }
}

/// Whether a request is for an address rather than for a form.
pub(super) fn is_of_an_address(params: &Value) -> bool {
    params["mode"] == "url"
}

/// The answer to a form, completed with the defaults of the fields that it leaves out.
pub(super) fn with_defaults(params: &Value, answer: ElicitAnswer) -> Value {
    let ElicitAnswer::Accept(mut content) = answer else { return answer.into() };
    let schema = params["requestedSchema"].as_object();
    for (field, value) in schema.map(defaults).unwrap_or_default() {
        content.entry(field).or_insert(value);
    }
    // An accepted form always has `content`, which may be empty.
    json!({"action": "accept", "content": content})
}

fn defaults(schema: &Map<String, Value>) -> Map<String, Value> {
    let fields = schema.get("properties").and_then(Value::as_object).into_iter().flatten();
    fields.filter_map(|(name, field)| Some((name.clone(), field.get("default")?.clone()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_accepted_form_leaves_out_has_its_default() {
        let params = json!({"message": "?", "requestedSchema": {"type": "object", "properties": {
            "name": {"type": "string", "default": "ada"}, "age": {"type": "integer", "default": 36}, "x": {"type": "boolean"},
        }}});
        let content = Map::from_iter([("age".to_owned(), json!(7))]);
        let answer = with_defaults(&params, ElicitAnswer::Accept(content));
        assert_eq!(answer, json!({"action": "accept", "content": {"name": "ada", "age": 7}}));
        assert_eq!(with_defaults(&params, ElicitAnswer::Decline), json!({"action": "decline"}));
        let bare = with_defaults(&json!({"message": "?"}), ElicitAnswer::Accept(Map::new()));
        assert_eq!(bare, json!({"action": "accept", "content": {}}));
    }
}
