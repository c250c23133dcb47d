//! The components that a connected server offers, as an agent needs them: each with the server's own
//! description.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The kind of a component.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ComponentKind {
    /// A tool, which can be called.
    Tool,
    /// A prompt template.
    Prompt,
    /// A resource, which can be read.
    Resource,
    /// A pattern of addresses to read; its wire name is the pattern.
    ResourceTemplate,
}

impl ComponentKind {
    /// All kinds, in the order of a listing.
    pub const ALL: [Self; 4] = [Self::Tool, Self::Prompt, Self::Resource, Self::ResourceTemplate];
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

/// A component of a connected server.
///
/// [`raw`](Self::raw) is the JSON object exactly as the server sent it, fields that no revision of the protocol knows
/// included; the methods read the usual fields from there. A field of an unexpected type reads as absent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComponentInfo {
    /// Its name in the group: see [`Names`](crate::Names). If several components have the same name, it belongs
    /// to the first.
    pub hooked: String,
    /// The server that offers it.
    pub server: String,
    /// Its name at the server; a resource's address, or a template's pattern of addresses.
    pub wire: String,
    /// Its kind.
    pub kind: ComponentKind,
    /// The server's own description.
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

    /// A name for people: `title`, or, if that is missing, the title among a tool's annotations.
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

    /// Hints about it: of a tool `readOnlyHint` and similar ones, of a resource `audience` and
    /// similar ones.
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

    /// The media type of a resource, or of all resources that a template matches.
    pub fn mime_type(&self) -> Option<&str> {
        self.text("mimeType")
    }

    /// The size of a resource in bytes.
    pub fn size(&self) -> Option<u64> {
        self.raw.get("size")?.as_u64()
    }

    /// Metadata of the server, outside the protocol.
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
