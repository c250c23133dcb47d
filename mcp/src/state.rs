//! The present state of a session, as a group reports it at any time.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::report::{ErrorReport, TransportKind};

/// The stages of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SessionStage {
    /// The first attempt is under way, or waits for its turn.
    Connecting,
    /// Connected.
    Up,
    /// Connected, while its group [drains](crate::SessionGroup::drain): it takes no new calls.
    Draining,
    /// It is being left.
    Leaving,
    /// Its session was lost and has been left, and its server will be started again, or is being started.
    Restarting,
    /// It has been left.
    Left,
}

/// The present state of a session. It serialises like the reports, with times in whole milliseconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SessionState {
    /// The number of its attempt in the group, as in [`Event::index`](crate::Event::index).
    pub index: usize,
    /// The name it was given.
    pub name: String,
    /// Its transport.
    pub transport: TransportKind,
    /// The stage that it has reached.
    pub stage: SessionStage,
    /// The time at which it reached that stage, in milliseconds since the Unix epoch by the clock of this machine.
    pub since_unix_ms: u64,
    /// The protocol revision agreed on, the last time at which it was up.
    pub era: Option<String>,
    /// The server's description of itself, its `serverInfo`, exactly as it came: fields that this crate does not know
    /// are kept, but for sessions and transports of rmcp that are [adopted](crate::Adopted).
    pub server: Option<Map<String, Value>>,
    /// The server's instructions for language models.
    pub instructions: Option<String>,
    /// The capabilities that the server has announced, exactly as they came, with the same exception.
    pub capabilities: Map<String, Value>,
    /// The whole result of `initialize` or `server/discover`, exactly as it came. Empty for an
    /// [adopted](crate::Adopted::new) session, whose messages this crate does not see.
    #[serde(default)]
    pub introduction: Map<String, Value>,
    /// The number of tools; 0 while it is not up.
    pub tools: usize,
    /// The number of prompts.
    pub prompts: usize,
    /// The number of resources.
    pub resources: usize,
    /// The number of resource templates.
    pub templates: usize,
    /// The addresses of the resources with a subscription, in order.
    pub subscribed: Vec<String>,
    /// The number of starts of the server so far.
    pub starts: u32,
    /// Problems that did not prevent the session, so far.
    pub warnings: Vec<String>,
    /// The cause of its end. For a session that is up, the first list that could not be read.
    pub error: Option<ErrorReport>,
}

/// A server's description of itself.
#[derive(Debug, Clone, Default)]
pub(crate) struct Profile {
    pub(crate) era: Option<String>,
    pub(crate) instructions: Option<String>,
    pub(crate) words: Words,
}

/// The words in which a server describes itself.
#[derive(Debug, Clone)]
pub(crate) enum Words {
    /// The whole answer to `initialize` or `server/discover`, as it came.
    Own(Map<String, Value>),
    /// What rmcp's types have kept of it: `serverInfo` and the capabilities.
    Kept { server: Option<Map<String, Value>>, capabilities: Map<String, Value> },
}

impl Default for Words {
    fn default() -> Self {
        Self::Own(Map::new())
    }
}

/// The key of a server's description of itself in the metadata of its answers, in the newer era.
const SERVER_INFO: &str = "io.modelcontextprotocol/serverInfo";

impl Profile {
    /// The server's `serverInfo`.
    pub(crate) fn server(&self) -> Option<&Map<String, Value>> {
        match &self.words {
            Words::Own(answer) => {
                // The newer era has it in the metadata.
                let newer = answer.get("_meta").and_then(|meta| meta.get(SERVER_INFO)?.as_object());
                newer.or_else(|| answer.get("serverInfo")?.as_object())
            }
            Words::Kept { server, .. } => server.as_ref(),
        }
    }

    /// The capabilities that the server has announced.
    pub(crate) fn capabilities(&self) -> Option<&Map<String, Value>> {
        match &self.words {
            Words::Own(answer) => answer.get("capabilities")?.as_object(),
            Words::Kept { capabilities, .. } => Some(capabilities),
        }
    }

    /// The whole answer, if it is known.
    pub(crate) fn introduction(&self) -> Option<&Map<String, Value>> {
        match &self.words {
            Words::Own(answer) => Some(answer),
            Words::Kept { .. } => None,
        }
    }
}
