//! The kinds of list that a server may offer.

use rmcp::model::{
    ClientJsonRpcMessage, ClientRequest, Prompt, RequestId, Resource, ResourceTemplate,
    ServerCapabilities, ServerResult, Tool,
};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::Offer;
use super::fault::fault;
use crate::component::ComponentKind;

/// The kinds of list that a server may offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::wire) enum List {
    Tools,
    Prompts,
    Resources,
    Templates,
}

impl List {
    /// All of them, in the order of their components.
    pub(super) const ALL: [Self; 4] =
        [Self::Tools, Self::Prompts, Self::Resources, Self::Templates];

    /// Whether a server with these capabilities has such a list.
    pub(super) fn is_offered(self, by: &ServerCapabilities) -> bool {
        match self {
            Self::Tools => by.tools.is_some(),
            Self::Prompts => by.prompts.is_some(),
            Self::Resources | Self::Templates => by.resources.is_some(),
        }
    }

    /// The list that a message requests.
    pub(super) fn asked_by(message: &ClientJsonRpcMessage) -> Option<(RequestId, Self)> {
        let ClientJsonRpcMessage::Request(request) = message else { return None };
        let list = match request.request {
            ClientRequest::ListToolsRequest(_) => Self::Tools,
            ClientRequest::ListPromptsRequest(_) => Self::Prompts,
            ClientRequest::ListResourcesRequest(_) => Self::Resources,
            ClientRequest::ListResourceTemplatesRequest(_) => Self::Templates,
            _ => return None,
        };
        Some((request.id.clone(), list))
    }

    /// The kind of its components.
    pub(super) fn kind(self) -> ComponentKind {
        match self {
            Self::Tools => ComponentKind::Tool,
            Self::Prompts => ComponentKind::Prompt,
            Self::Resources => ComponentKind::Resource,
            Self::Templates => ComponentKind::ResourceTemplate,
        }
    }

    /// The method of its requests.
    pub(in crate::wire) fn method(self) -> &'static str {
        match self {
            Self::Tools => "tools/list",
            Self::Prompts => "prompts/list",
            Self::Resources => "resources/list",
            Self::Templates => "resources/templates/list",
        }
    }

    /// The component of an item.
    pub(super) fn offer(self, item: Map<String, Value>) -> Offer {
        let text = |field: &str| item.get(field).and_then(Value::as_str).map(str::to_owned);
        let name = text("name").unwrap_or_default();
        let wire = match self {
            Self::Tools | Self::Prompts => None,
            Self::Resources => text("uri"),
            Self::Templates => text("uriTemplate"),
        };
        let wire = wire.unwrap_or_else(|| name.clone());
        Offer { kind: self.kind(), name, wire, description: text("description"), raw: item }
    }

    /// The field of a page that holds the items.
    pub(super) fn field(self) -> &'static str {
        match self {
            Self::Tools => "tools",
            Self::Prompts => "prompts",
            Self::Resources => "resources",
            Self::Templates => "resourceTemplates",
        }
    }

    /// The fields of an item that may be absent, and that some servers send as null.
    pub(super) fn optional(self) -> &'static [&'static str] {
        match self {
            Self::Tools => &["title", "description", "outputSchema", "annotations", "icons"],
            Self::Prompts => &["title", "description", "arguments", "icons"],
            Self::Resources => {
                &["title", "description", "mimeType", "size", "annotations", "icons"]
            }
            Self::Templates => &["title", "description", "mimeType", "annotations", "icons"],
        }
    }

    /// The reason why an item cannot be read, with the path to the field if it is known.
    pub(super) fn fault(self, item: &Value) -> Option<String> {
        match self {
            Self::Tools => fault::<Tool>(item),
            Self::Prompts => fault::<Prompt>(item),
            Self::Resources => fault::<Resource>(item),
            Self::Templates => fault::<ResourceTemplate>(item),
        }
    }

    /// A page in rmcp's type.
    pub(super) fn typed(self, page: &Value) -> serde_json::Result<ServerResult> {
        Ok(match self {
            Self::Tools => ServerResult::ListToolsResult(Deserialize::deserialize(page)?),
            Self::Prompts => ServerResult::ListPromptsResult(Deserialize::deserialize(page)?),
            Self::Resources => ServerResult::ListResourcesResult(Deserialize::deserialize(page)?),
            Self::Templates => {
                ServerResult::ListResourceTemplatesResult(Deserialize::deserialize(page)?)
            }
        })
    }
}
