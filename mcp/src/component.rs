//! What a connected server offers, as an agent needs it: each component with the server's own words about it.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// What a component is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ComponentKind {
    /// Something to call.
    Tool,
    /// A prompt template.
    Prompt,
    /// Something to read.
    Resource,
    /// A pattern of addresses to read; its wire name is the pattern.
    ResourceTemplate,
}

impl std::fmt::Display for ComponentKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Tool => "tool",
            Self::Prompt => "prompt",
            Self::Resource => "resource",
            Self::ResourceTemplate => "resource template",
        })
    }
}

/// One thing a connected server offers.
///
/// [`raw`](Self::raw) is the JSON object exactly as the server sent it, fields that no revision of the protocol knows
/// included; the methods read the usual fields from there. A field of an unexpected type reads as absent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComponentInfo {
    /// What the group calls it: see [`Names`](crate::Names). Of several with the same name, the first one has it.
    pub hooked: String,
    /// The server that offers it.
    pub server: String,
    /// What the server calls it; a resource's address, or a template's pattern of addresses.
    pub wire: String,
    /// What it is.
    pub kind: ComponentKind,
    /// The server's own words about it.
    pub description: Option<String>,
    /// The server's own object, exactly as it came.
    #[serde(default)]
    pub raw: Map<String, Value>,
}

impl ComponentInfo {
    /// The server's name for it. Unlike [`wire`](Self::wire) this is a name also for a resource and for a template.
    pub fn name(&self) -> &str {
        self.text("name").unwrap_or(&self.wire)
    }

    /// A name for people: `title`, or where that is missing the title among a tool's annotations.
    pub fn title(&self) -> Option<&str> {
        self.text("title").or_else(|| self.annotations()?.get("title")?.as_str())
    }

    /// The JSON schema of a tool's arguments.
    pub fn input_schema(&self) -> Option<&Map<String, Value>> {
        self.object("inputSchema")
    }

    /// The JSON schema of a tool's `structuredContent`.
    pub fn output_schema(&self) -> Option<&Map<String, Value>> {
        self.object("outputSchema")
    }

    /// Hints about it: of a tool `readOnlyHint` and its like, of a resource `audience` and its like.
    pub fn annotations(&self) -> Option<&Map<String, Value>> {
        self.object("annotations")
    }

    /// Its icons.
    pub fn icons(&self) -> &[Value] {
        self.array("icons")
    }

    /// The arguments of a prompt.
    pub fn arguments(&self) -> &[Value] {
        self.array("arguments")
    }

    /// The media type of a resource, or of all that a template matches.
    pub fn mime_type(&self) -> Option<&str> {
        self.text("mimeType")
    }

    /// The size of a resource in bytes.
    pub fn size(&self) -> Option<u64> {
        self.raw.get("size")?.as_u64()
    }

    /// What the server says beside the protocol.
    pub fn meta(&self) -> Option<&Map<String, Value>> {
        self.object("_meta")
    }

    fn text(&self, field: &str) -> Option<&str> {
        self.raw.get(field)?.as_str()
    }

    fn object(&self, field: &str) -> Option<&Map<String, Value>> {
        self.raw.get(field)?.as_object()
    }

    fn array(&self, field: &str) -> &[Value] {
        self.raw.get(field).and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }
}
